/* cluster_tls: see cluster_tls.h. Whatever a peer would find wrong with the certificate is found when it is read (rt/tls.h). */
#include "main/cluster_tls.h"

#include <string.h>
#include <sys/stat.h>

/* The first NEEDED of them go together. */
enum { NEEDED = 3, FILES };
static const char *path_of(const config *f, int i) {
    const char *const paths[FILES] = {f->node_tls_cert, f->node_tls_key, f->node_tls_ca, f->node_tls_crl};
    return paths[i];
}

/* Who needs TLS, for people; NULL: nobody. */
static const char *needed_by(const config *f) {
    if (f->node_tls_required) return "node.tls.required";
    for (size_t i = 0; i < f->node_listen.n; i++) {
        sys_addr a;
        if (sys_addr_parse(slice_str(f->node_listen.v[i]), &a) == ERR_OK && !sys_addr_is_loopback(&a)) return f->node_listen.v[i];
    }
    return NULL;
}

err main_cluster_tls_load(const config *f, tls *t, tls_server **out, char why[CONFIG_WHY_MAX]) {
    static const char *const names[] = {"node.tls.cert", "node.tls.key", "node.tls.ca"};
    const char *needed = needed_by(f), *host = strchr(f->node_name, '@');
    *out = NULL;
    if (!needed && !*f->node_tls_cert && !*f->node_tls_key && !*f->node_tls_ca && !*f->node_tls_crl) return ERR_OK;
    for (int i = 0; i < NEEDED; i++) {
        if (*path_of(f, i)) continue;
        return needed && !f->node_tls_required
                   ? config_why(why, ERR_CONFIG, "node.listen: %s is not loopback, so nodes speak TLS there: set %s", needed, names[i])
                   : config_why(why, ERR_CONFIG, "%s: it is not set; TLS among nodes needs node.tls.cert, node.tls.key and node.tls.ca",
                                names[i]);
    }
    struct stat st;
    if (stat(f->node_tls_key, &st) == 0 && st.st_mode & 077)
        return config_why(why, ERR_PERM, "node.tls.key: %s can be read by others: chmod 600 it", f->node_tls_key);
    if (!host || !t) return config_why(why, ERR_CONFIG, "node.tls: there is no host in node.name, or no TLS in this build");
    tls_identity id = {.domain = host + 1, .cert_path = f->node_tls_cert, .key_path = f->node_tls_key};
    tls_server_cfg cfg = {.ids = &id, .n_ids = 1, .ca_path = f->node_tls_ca, .crl_path = *f->node_tls_crl ? f->node_tls_crl : NULL};
    char detail[TLS_ERR_MAX] = "";
    err e = t->server_new(t, &cfg, out, detail);
    return e ? config_why(why, e, "node.tls: %s", detail) : ERR_OK;
}

bool main_cluster_tls_changed(const config *f, sys *s, main_cluster_tls_seen *seen) {
    main_cluster_tls_seen now = {0};
    for (int i = 0; i < FILES; i++)
        if (s->file_stat(s, path_of(f, i), &now.size[i], &now.mtime[i]) != ERR_OK) now.mtime[i] = 0;
    bool changed = memcmp(&now, seen, sizeof now) != 0;
    *seen = now;
    return changed;
}
