/* cluster: see cluster.h. On loopback the cookie is the only proof that nodes ask of each other: so it is never made up, and a weak or
 * readable one is refused. Any other address has TLS with certificates on both sides besides (cluster_tls.c). */
#include "main/cluster.h"

#include "base/mem.h"
#include "main/cluster_seeds.h"
#include "main/cluster_tls.h"
#include "main/compose.h"
#include "mesh/pg.h"
#include "proto/dist/cookie.h"
#include "proto/dist/name.h"
#include "rt/event.h"
#include "rt/node.h"

#include <stdio.h>

#define COOKIE_FILE_MAX 4096u

struct main_cluster {
    const config *config;
    rt_node *node;
    mesh *mesh;
    bool secure; /* there are certificates */
    main_cluster_tls_seen seen;
    main_seeds_seen seeds_seen;
    uint8_t cookie[COOKIE_FILE_MAX];
};

static err check_scopes(const config *f, char why[CONFIG_WHY_MAX]) {
    const config_list *l = &f->pg_scopes;
    size_t at = 0;
    err e = mesh_pg_check((const char *const *)l->v, l->n, &at);
    if (e == ERR_LIMIT) return config_why(why, ERR_CONFIG, "pg.scopes: at most %u names", MESH_PG_SCOPES_MAX);
    if (e == ERR_EXISTS)
        return config_why(why, ERR_CONFIG, "pg.scopes: '%s' is there twice, or is the name of a service of every node", l->v[at]);
    if (e) return config_why(why, ERR_CONFIG, "pg.scopes: '%s' cannot be an atom", l->v[at]);
    return ERR_OK;
}

static err check_settings(const config *f, char *why) {
    dist_name name;
    if (dist_name_parse_own(slice_str(f->node_name), &name))
        return config_why(why, ERR_CONFIG,
                          "node.name: '%s' is not a name such as murre@host.example, of letters, digits, _ and - before the @",
                          f->node_name);
    if (!*f->node_cookie_file) return config_why(why, ERR_CONFIG, "node.cookie_file: a node with a name needs the cookie of its cluster");
    if (f->node_listen.n == 0) return config_why(why, ERR_CONFIG, "node.listen: a node with a name listens somewhere");
    if (f->node_listen.n > MESH_LISTEN_MAX) return config_why(why, ERR_CONFIG, "node.listen: at most %u addresses", MESH_LISTEN_MAX);
    for (size_t i = 0; i < f->node_listen.n; i++) {
        sys_addr a;
        if (sys_addr_parse(slice_str(f->node_listen.v[i]), &a) || a.family == SYS_UNIX)
            return config_why(why, ERR_CONFIG, "node.listen: '%s' is not an address such as 127.0.0.1:9100", f->node_listen.v[i]);
    }
    if (f->node_seeds.n > MESH_SEEDS_MAX) return config_why(why, ERR_CONFIG, "node.seeds: at most %u nodes", MESH_SEEDS_MAX);
    for (size_t i = 0; i < f->node_seeds.n; i++) {
        char matter[MESH_WHY_MAX];
        if (mesh_seed_check(name.full, *f->node_tls_cert, slice_str(f->node_seeds.v[i]), matter))
            return config_why(why, ERR_CONFIG, "node.seeds: %s", matter);
    }
    if (f->node_dns.n > MESH_DNS_MAX) return config_why(why, ERR_CONFIG, "node.dns: at most %u names", MESH_DNS_MAX);
    for (size_t i = 0; i < f->node_dns.n; i++) {
        char matter[MESH_WHY_MAX];
        if (mesh_dns_check(slice_str(f->node_dns.v[i]), matter)) return config_why(why, ERR_CONFIG, "node.dns: %s", matter);
    }
    main_seeds listed;
    err e = *f->node_seeds_file ? main_seeds_read(f, &listed, why) : ERR_OK;
    if (*f->node_seeds_file) main_seeds_free(&listed);
    if (e) return e;
    if (strcmp(f->node_epmd, "on") != 0 && strcmp(f->node_epmd, "off") != 0 && strcmp(f->node_epmd, "embedded") != 0)
        return config_why(why, ERR_CONFIG, "node.epmd: on, off or embedded, not '%s'", f->node_epmd);
    return ERR_OK;
}

/* *out lies in text. */
static err read_cookie(const char *path, uint8_t text[COOKIE_FILE_MAX], slice *out, char *why) {
    size_t n = 0;
    err e = sys_secret_read(path, text, COOKIE_FILE_MAX, &n);
    if (e == ERR_PERM) return config_why(why, e, "node.cookie_file: %s can be read by others: chmod 600 it", path);
    if (e) return config_why(why, e, "node.cookie_file: %s cannot be read: %s", path, err_text(e));
    if (dist_cookie_parse(slice_of(text, n), out))
        return config_why(why, ERR_CONFIG, "node.cookie_file: %s is not one line of printable ASCII of at most %u bytes", path,
                          DIST_COOKIE_MAX);
    if (dist_cookie_check(*out))
        return config_why(why, ERR_CONFIG,
                          "node.cookie_file: the cookie is worth %u bits; at least %u are wanted, as 20 random capital letters have",
                          dist_cookie_bits(*out), DIST_COOKIE_BITS_MIN);
    return ERR_OK;
}

err main_cluster_check(const config *f, tls *t, char why[CONFIG_WHY_MAX]) {
    uint8_t text[COOKIE_FILE_MAX];
    slice cookie;
    if (!*f->node_name) return ERR_OK;
    err e = check_settings(f, why);
    if (!e) e = check_scopes(f, why);
    if (!e) e = read_cookie(f->node_cookie_file, text, &cookie, why);
    mem_wipe(text, sizeof text);
    tls_server *server = NULL;
    if (!e) e = main_cluster_tls_load(f, t, &server, why);
    if (server) t->server_unref(server);
    return e;
}

err main_cluster_new(const config *f, rt_node *n, const slice *domains, size_t n_domains, main_cluster **out, char why[CONFIG_WHY_MAX]) {
    *out = NULL;
    if (!*f->node_name) return ERR_OK;
    main_cluster *k = mem_zalloc(sizeof *k);
    k->config = f;
    k->node = n;
    mesh_cfg c;
    mesh_cfg_default(&c);
    c.tls = rt_node_tls(n);
    c.tls_required = f->node_tls_required;
    c.name = slice_str(f->node_name);
    c.version = MURRE_VERSION;
    c.domains = domains;
    c.n_domains = n_domains;
    c.hidden = f->node_hidden;
    c.ticktime = f->node_ticktime;
    c.link_bytes = (size_t)f->node_link_bytes;
    c.mapper_port = (uint16_t)f->node_epmd_port;
    c.dial_rate = (uint32_t)f->node_dial_rate;
    c.dials_max = (uint32_t)f->node_dials_max;
    c.handshakes_max = (uint32_t)f->node_handshakes_max;
    c.epmd_serve = strcmp(f->node_epmd, "embedded") == 0;
    c.epmd_conns_max = (uint32_t)f->node_epmd_connections_max;
    c.dns = (const char *const *)f->node_dns.v;
    c.n_dns = f->node_dns.n;
    c.dns_every = f->node_dns_every;
    c.pg_scopes = (const char *const *)f->pg_scopes.v;
    c.n_pg_scopes = f->pg_scopes.n;
    if (strcmp(f->node_epmd, "off") != 0)
        c.epmd = (sys_addr){.family = SYS_INET4, .port = (uint16_t)f->node_epmd_port, .ip = {127, 0, 0, 1}};
    err e = read_cookie(f->node_cookie_file, k->cookie, &c.cookie, why);
    (void)main_cluster_tls_changed(f, rt_node_sys(n), &k->seen); /* as they are now */
    if (!e) e = main_cluster_tls_load(f, c.tls, &c.tls_server, why);
    k->secure = c.tls_server != NULL;
    if (!e && mesh_new(n, &c, &k->mesh)) e = config_why(why, ERR_CONFIG, "node.name: '%s' cannot be a node", f->node_name);
    if (c.tls_server) c.tls->server_unref(c.tls_server);
    if (e) {
        main_cluster_free(k);
        return e;
    }
    *out = k;
    return ERR_OK;
}

static err dial(main_cluster *k, char *why) {
    const config_list *l = &k->config->node_seeds;
    main_seeds listed = {.n = 0};
    slice *seeds = mem_zalloc((l->n + 1) * sizeof *seeds);
    for (size_t i = 0; i < l->n; i++) seeds[i] = slice_str(l->v[i]);
    main_seeds_note(k->config, rt_node_sys(k->node), &k->seeds_seen);
    err bad = *k->config->node_seeds_file ? main_seeds_read(k->config, &listed, why) : ERR_OK;
    err e = bad ? bad : mesh_dial_listed(k->mesh, listed.v, listed.n);
    if (!e) e = mesh_dial(k->mesh, seeds, l->n);
    main_seeds_free(&listed);
    mem_free(seeds);
    return e && !bad ? config_why(why, e, "node.seeds: dialling cannot start: %s", err_text(e)) : e;
}

err main_cluster_boot(main_cluster *k, char why[CONFIG_WHY_MAX]) {
    if (!k) return ERR_OK;
    const config_list *l = &k->config->node_listen;
    err e = mesh_boot(k->mesh);
    if (e) return config_why(why, e, "the mesh cannot start: %s", err_text(e));
    for (size_t i = 0; i < l->n; i++) {
        sys_addr a, bound;
        if (!check(sys_addr_parse(slice_str(l->v[i]), &a) == ERR_OK)) return ERR_BUG; /* main_cluster_check has seen to it */
        e = mesh_listen(k->mesh, &a, &bound);
        if (e) return config_why(why, e, "node.listen: cannot listen on %s: %s", l->v[i], err_text(e));
    }
    e = mesh_register(k->mesh);
    if (e) return config_why(why, e, "the port mapper's client cannot start: %s", err_text(e));
    return dial(k, why);
}

mesh *main_cluster_mesh(const main_cluster *k) { return k ? k->mesh : NULL; }

static void watch_seeds(main_cluster *k) {
    char why[CONFIG_WHY_MAX];
    main_seeds listed;
    if (!*k->config->node_seeds_file || !main_seeds_changed(k->config, rt_node_sys(k->node), &k->seeds_seen)) return;
    err e = main_seeds_read(k->config, &listed, why);
    if (!e) {
        char matter[MESH_WHY_MAX];
        e = mesh_relist(k->mesh, listed.v, listed.n, matter);
        if (e) (void)snprintf(why, sizeof why, "node.seeds_file: %s", matter);
        if (e == ERR_TIMEOUT || e == ERR_NOPROC) k->seeds_seen.used_mtime = -1; /* again at the next look */
    }
    rt_event_ext(k->node, e ? EV_MESH_SEEDS_FAIL : EV_MESH_SEEDS, e ? 0 : listed.n, 0, slice_str(e ? why : k->config->node_seeds_file));
    main_seeds_free(&listed);
}

static void watch_certificates(main_cluster *k) {
    if (!k->secure || !main_cluster_tls_changed(k->config, rt_node_sys(k->node), &k->seen)) return;
    char why[CONFIG_WHY_MAX];
    tls *t = rt_node_tls(k->node);
    tls_server *fresh;
    if (main_cluster_tls_load(k->config, t, &fresh, why)) {
        rt_event_ext(k->node, EV_TLS_RELOAD_FAIL, 0, 0, slice_str(why));
        return;
    }
    mesh_set_tls(k->mesh, fresh);
    t->server_unref(fresh);
    rt_event_ext(k->node, EV_TLS_RELOAD, 0, 0, slice_str(k->config->node_tls_cert));
}

void main_cluster_watch(main_cluster *k) {
    if (!k) return;
    watch_certificates(k);
    watch_seeds(k);
}

void main_cluster_free(main_cluster *k) {
    if (!k) return;
    mesh_free(k->mesh);
    mem_wipe(k->cookie, sizeof k->cookie);
    mem_free(k);
}
