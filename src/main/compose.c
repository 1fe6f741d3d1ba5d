/* compose: see compose.h.
 *
 *   settings -> rt_node -> [messaging: store.log, store.keyed (shard 0, supervised) -> partitions (every shard) -> listeners (every shard)]
 *                       -> mesh, if node.name is set -> metrics
 *
 * Everything that a service borrows (settings, domain names, certificate paths) lives in struct compose until the node is freed. */
#include "main/compose.h"

#include "base/codec.h"
#include "base/mem.h"
#include "main/cluster.h"
#include "main/metrics.h"
#include "main/verbs.h"
#include "rt/event.h"
#include "rt/sup.h"
#include "rt/verbs.h"
#include "store/store.h"

#include <idn-free.h>
#include <idna.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES       768
#define DATA_PATH_MAX    400u /* leaves room for the names below */
#define CTL_PATH_MAX     107u /* sockaddr_un */
#define SELF_SIGNED_DAYS 3650
#define SECRET_BYTES     32u
#define SETTLED_WAIT     USEC_PER_SEC /* for the log to say how it is */
#define ROLE             "messaging"

typedef struct certificate {
    char cert[PATH_BYTES], key[PATH_BYTES];
    uint64_t cert_size, key_size;
    usec cert_mtime, key_mtime;
} certificate;

struct compose {
    main_env env; /* first: verbs find it through rt_node_env */
    const config *config;
    sys *sys;
    tls *tls;
    rt_node *node;
    int lock_fd;
    bool has_data;    /* config->data is there, and locked */
    unsigned settled; /* looks in a row that found nothing left to do */
    arena names;
    svc_cfg svc;
    svc_domain *domains;
    slice *domain_names;
    const char **wire_names; /* of domains in DNS, server names and certificates: A-labels where a label is not ASCII */
    svc_services *services;
    store_log_cfg log;
    store_keyed_cfg keyed;
    rt_child store_children[2];
    rt_sup_spec store_sup;
    edge_cfg edge;
    edge_services *edges;
    edge_listen_cfg listen[COMPOSE_BOUND_MAX];
    compose_bound bound[COMPOSE_BOUND_MAX];
    size_t n_bound;
    certificate *certs; /* one per identity */
    size_t n_certs;
    bool self_signed;
    tls_server *server;
    main_metrics *metrics; /* NULL, as is scrape: metrics.listen is empty */
    main_scrape *scrape;
    main_cluster *cluster; /* NULL: node.name is empty */
    rt_verb *refused;      /* verbs of messaging on a node without that role */
    char log_dir[PATH_BYTES], keyed_path[PATH_BYTES], ctl_path[PATH_BYTES], recorder_path[PATH_BYTES];
};

static void join(char out[PATH_BYTES], const char *dir, const char *name) { (void)snprintf(out, PATH_BYTES, "%.400s/%.100s", dir, name); }

/* --- domains */
static bool listed(const config_list *l, const char *s) {
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->v[i], s) == 0) return true;
    return false;
}

static const char *wire_name(compose *c, slice name) {
    char *u = slice_dup_str(name), *a = NULL;
    bool ok = idna_to_ascii_8z(u, &a, 0) == IDNA_SUCCESS; /* otherwise an address literal or the like: it stays as it is */
    slice copy = arena_dup(&c->names, slice_of(ok ? a : u, strlen(ok ? a : u) + 1));
    if (ok) idn_free(a);
    mem_free(u);
    return (const char *)copy.p;
}

static err make_domains(compose *c, char *why) {
    size_t n = c->config->domains.n;
    c->domains = mem_zalloc(n * sizeof *c->domains);
    c->domain_names = mem_zalloc(n * sizeof *c->domain_names);
    c->wire_names = mem_zalloc(n * sizeof *c->wire_names);
    for (size_t i = 0; i < n; i++) {
        slice name;
        const char *text = c->config->domains.v[i];
        if (xmpp_jid_prep_domain(slice_str(text), &c->names, &name) != ERR_OK)
            return config_why(why, ERR_CONFIG, "domains: '%s' is not a domain name", text);
        for (size_t j = 0; j < i; j++)
            if (slice_eq(c->domain_names[j], name)) return config_why(why, ERR_CONFIG, "domains: '%s' is there twice", text);
        c->domains[i] = (svc_domain){.name = name, .anonymous = listed(&c->config->anonymous, text)};
        c->domain_names[i] = name;
        c->wire_names[i] = wire_name(c, name);
    }
    return ERR_OK;
}

/* --- the secret behind fake salts and the hashes of origin-ids: made once, kept, so that both are the same after a restart */
static err make_secret(compose *c, char *why) {
    char path[PATH_BYTES];
    join(path, c->config->data, "secret");
    int fd;
    size_t n = 0;
    err e = c->sys->file_open(c->sys, path, SYS_OPEN_READ, &fd);
    if (e == ERR_OK) {
        e = c->sys->file_read(c->sys, fd, c->svc.fake_salt_secret, SECRET_BYTES, 0, &n);
        c->sys->file_close(c->sys, fd);
        if (e == ERR_OK && n == SECRET_BYTES) return ERR_OK; /* a shorter one was never used: a crash came before it was whole */
    }
    if (e != ERR_OK && e != ERR_NOT_FOUND)
        return config_why(why, e, "%s cannot be read: %s", path, err_text(e)); /* another one would be a loss */
    c->sys->entropy(c->sys, c->svc.fake_salt_secret, SECRET_BYTES);
    e = c->sys->file_open(c->sys, path, SYS_OPEN_WRITE | SYS_OPEN_CREATE | SYS_OPEN_TRUNC, &fd);
    if (e == ERR_OK) {
        e = c->sys->file_write(c->sys, fd, slice_of(c->svc.fake_salt_secret, SECRET_BYTES), 0);
        if (e == ERR_OK) e = c->sys->file_sync(c->sys, fd);
        c->sys->file_close(c->sys, fd);
    }
    if (e == ERR_OK) e = c->sys->dir_sync(c->sys, c->config->data);
    return e == ERR_OK ? ERR_OK : config_why(why, e, "%s cannot be written: %s", path, err_text(e));
}

/* --- certificates */
static void stat_certificate(compose *c, certificate *x) {
    if (c->sys->file_stat(c->sys, x->cert, &x->cert_size, &x->cert_mtime) != ERR_OK) x->cert_mtime = 0;
    if (c->sys->file_stat(c->sys, x->key, &x->key_size, &x->key_mtime) != ERR_OK) x->key_mtime = 0;
}

static err new_server(tls *t, const config *f, const tls_identity *ids, size_t n, tls_server **out, char *why) {
    const char *c12 = f->tls_ciphers12, *c13 = f->tls_ciphers13;
    tls_server_cfg cfg = {
        .ids = ids, .n_ids = n, .alpn = "xmpp-client", .ciphers_tls12 = *c12 ? c12 : NULL, .ciphers_tls13 = *c13 ? c13 : NULL};
    char detail[TLS_ERR_MAX] = "";
    err e = t->server_new(t, &cfg, out, detail);
    return e == ERR_OK ? ERR_OK : config_why(why, e, "TLS: %s", detail);
}

static err load_certificates(compose *c, tls_server **out, char *why) {
    tls_identity *ids = mem_zalloc(c->n_certs * sizeof *ids);
    for (size_t i = 0; i < c->n_certs; i++)
        ids[i] = (tls_identity){.domain = c->wire_names[i], .cert_path = c->certs[i].cert, .key_path = c->certs[i].key};
    err e = new_server(c->tls, c->config, ids, c->n_certs, out, why);
    mem_free(ids);
    return e;
}

err compose_check(const config *f, tls *t, char why[CONFIG_WHY_MAX]) {
    err e = main_cluster_check(f, t, why);
    if (e != ERR_OK || f->tls_cert.n == 0 || !config_has_role(f, ROLE))
        return e; /* certificates that are not named are made when they are needed */
    tls_identity *ids = mem_zalloc(f->tls_cert.n * sizeof *ids);
    tls_server *server;
    for (size_t i = 0; i < f->tls_cert.n; i++) ids[i] = (tls_identity){f->domains.v[i], f->tls_cert.v[i], f->tls_key.v[i]};
    e = new_server(t, f, ids, f->tls_cert.n, &server, why);
    mem_free(ids);
    if (e == ERR_OK) t->server_unref(server);
    return e;
}

static err make_certificates(compose *c, char *why) {
    const config *f = c->config;
    c->self_signed = f->tls_cert.n == 0;
    c->n_certs = c->self_signed || f->tls_cert.n > 1 ? f->domains.n : 1;
    c->certs = mem_zalloc(c->n_certs * sizeof *c->certs);
    char dir[PATH_BYTES], detail[TLS_ERR_MAX] = "";
    join(dir, f->data, "tls");
    if (c->self_signed) {
        err e = c->sys->dir_make(c->sys, dir);
        if (e != ERR_OK && e != ERR_EXISTS) return config_why(why, e, "%s cannot be made: %s", dir, err_text(e));
    }
    for (size_t i = 0; i < c->n_certs; i++) {
        certificate *x = &c->certs[i];
        if (c->self_signed) {
            (void)snprintf(x->cert, PATH_BYTES, "%.420s/%.300s.crt", dir, c->wire_names[i]);
            (void)snprintf(x->key, PATH_BYTES, "%.420s/%.300s.key", dir, c->wire_names[i]);
            uint64_t size;
            usec mtime;
            if (c->sys->file_stat(c->sys, x->cert, &size, &mtime) == ERR_NOT_FOUND) {
                err e = c->tls->make_self_signed(c->tls, c->wire_names[i], SELF_SIGNED_DAYS, x->cert, x->key, detail);
                if (e != ERR_OK) return config_why(why, e, "a certificate for %s cannot be made: %s", f->domains.v[i], detail);
            }
        } else {
            (void)snprintf(x->cert, PATH_BYTES, "%s", f->tls_cert.v[i]);
            (void)snprintf(x->key, PATH_BYTES, "%s", f->tls_key.v[i]);
        }
        stat_certificate(c, x);
    }
    return load_certificates(c, &c->server, why);
}

void compose_watch_certificates(compose *c) {
    bool changed = false;
    main_cluster_watch(c->cluster);
    for (size_t i = 0; i < c->n_certs; i++) {
        certificate was = c->certs[i];
        stat_certificate(c, &c->certs[i]);
        const certificate *now = &c->certs[i];
        changed |= was.cert_mtime != now->cert_mtime || was.key_mtime != now->key_mtime || was.cert_size != now->cert_size ||
                   was.key_size != now->key_size;
    }
    if (!changed) return;
    char why[CONFIG_WHY_MAX];
    tls_server *fresh;
    if (load_certificates(c, &fresh, why) != ERR_OK) {
        rt_event_ext(c->node, EV_TLS_RELOAD_FAIL, 0, 0, slice_str(why));
        return;
    }
    edge_set_tls(c->node, fresh);
    c->tls->server_unref(c->server);
    c->server = fresh;
    rt_event_ext(c->node, EV_TLS_RELOAD, 0, 0, slice_str(c->certs[0].cert));
}

bool compose_fingerprint(const compose *c, size_t i, const char **out_domain, const char **out_cert_path, uint8_t out[32]) {
    if (!c->self_signed || i >= c->n_certs) return false;
    *out_domain = c->config->domains.v[i];
    *out_cert_path = c->certs[i].cert;
    c->tls->fingerprint(c->server, i, out);
    return true;
}

/* --- settings of each layer */
/* The socket for murrectl is opened when the threads start; whatever is in its way is said before anything listens. */
static err check_ctl(compose *c, char *why) {
    sys *s = c->sys;
    if (strlen(c->ctl_path) > CTL_PATH_MAX)
        return config_why(why, ERR_CONFIG, "ctl.socket: a socket's path has at most %u bytes, %s is longer", CTL_PATH_MAX, c->ctl_path);
    if (!s->thread_start) return ERR_OK; /* the simulator has no ctl */
    sys_addr a = {.family = SYS_UNIX, .path = c->ctl_path};
    int fd;
    err e = s->listen(s, &a, 1, false, &fd);
    if (e == ERR_BUSY) return config_why(why, e, "another server answers on %s; ctl.socket names another", c->ctl_path);
    if (e == ERR_EXISTS) return config_why(why, e, "%s is there and is not a socket; ctl.socket names another", c->ctl_path);
    if (e != ERR_OK) return config_why(why, e, "ctl.socket: cannot listen on %s: %s", c->ctl_path, err_text(e));
    s->close(s, fd);
    (void)s->file_unlink(s, c->ctl_path); /* stale if it stays, and replaced */
    return ERR_OK;
}

/* Standard error is the journal's: JOURNAL_STREAM names its device and inode (systemd.exec(5)). Whoever redirected it since has another. */
static bool stderr_is_journal(void) {
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat st;
    uint64_t device, inode;
    slice text = slice_str(stream);
    size_t colon = stream ? slice_find(text, ':') : 0;
    return stream && fstat(STDERR_FILENO, &st) == 0 && dec_parse_u64(slice_sub(text, 0, colon), UINT64_MAX, &device) == ERR_OK &&
           dec_parse_u64(slice_from(text, colon + 1), UINT64_MAX, &inode) == ERR_OK && device == st.st_dev && inode == st.st_ino;
}

static void add_verbs(compose *c) {
    const struct {
        const rt_verb *v;
        size_t n;
    } of[] = {{svc_verbs, svc_verbs_count}, {edge_verbs, edge_verbs_count}, {main_messaging_verbs, main_messaging_verbs_count}};
    size_t total = 0, at = 0;
    rt_node_add_verbs(c->node, rt_verbs, rt_verbs_count);
    rt_node_add_verbs(c->node, main_verbs, main_verbs_count);
    rt_node_add_verbs(c->node, mesh_verbs, mesh_verbs_count);
    for (size_t i = 0; i < ARRAY_LEN(of); i++) total += of[i].n;
    if (!c->env.messaging) c->refused = mem_alloc(total * sizeof *c->refused);
    for (size_t i = 0; i < ARRAY_LEN(of); at += of[i++].n) {
        if (c->refused) main_verbs_without_role(of[i].v, of[i].n, c->refused + at);
        rt_node_add_verbs(c->node, c->refused ? c->refused + at : of[i].v, of[i].n);
    }
}

static err make_node(compose *c, char *why) {
    const config *f = c->config;
    rt_node_cfg n;
    rt_node_cfg_default(&n);
    n.name = f->name;
    n.shards = f->shards ? (unsigned)f->shards : c->env.cores;
    n.spin = f->spin;
    n.table_stripes = (unsigned)f->table_stripes;
    n.pool_threads[RT_POOL_DISK] = (unsigned)f->pool_disk;
    n.pool_threads[RT_POOL_USER] = 2; /* of which looking up hosts takes one at most */
    n.pool_threads[RT_POOL_CRYPTO] = f->pool_crypto ? (unsigned)f->pool_crypto : c->env.cores;
    n.handler_budget = f->handler_budget;
    n.stuck_report = f->stuck_report;
    n.job_stuck = f->job_stuck;
    n.stuck_limit = f->stuck_limit;
    n.queue_long = (uint32_t)f->queue_long;
    join(c->recorder_path, f->data, "recorder");
    n.recorder_path = f->recorder_bytes ? c->recorder_path : NULL;
    n.recorder_bytes = (size_t)f->recorder_bytes;
    n.memory_limit = (uint64_t)f->memory_limit;
    if (*f->ctl_socket)
        (void)snprintf(c->ctl_path, PATH_BYTES, "%s", f->ctl_socket);
    else
        join(c->ctl_path, f->data, "ctl.sock");
    n.ctl_path = c->ctl_path;
    err e = check_ctl(c, why);
    if (e != ERR_OK) return e;
    n.handler_cost_max = c->sys->thread_start ? 0 : 100;
    e = rt_node_new(&n, c->sys, c->tls, &c->node);
    if (e != ERR_OK) return config_why(why, e, "the node cannot be made: %s", err_text(e));
    rt_level level;
    if (rt_log_level_parse(slice_str(f->log_level), &level)) rt_log_level(c->node, level);
    rt_log_style style;
    if (rt_log_style_parse(slice_str(f->log_format), &style)) rt_log_style_set(c->node, style, c->sys->thread_start && stderr_is_journal());
    rt_node_set_env(c->node, &c->env);
    rt_node_add_msgs(c->node, store_msgs, store_msgs_count);
    rt_node_add_msgs(c->node, svc_msgs, svc_msgs_count);
    rt_node_add_msgs(c->node, edge_msgs, edge_msgs_count);
    add_verbs(c);
    return ERR_OK;
}

static void fill_svc(compose *c) {
    const config *f = c->config;
    svc_cfg *s = &c->svc;
    s->domains = c->domains;
    s->n_domains = f->domains.n;
    s->domain_names = c->domain_names;
    s->partitions = (uint32_t)f->partitions;
    s->resources_max = (uint32_t)f->resources_max;
    s->roster_max = (uint32_t)f->roster_max;
    s->blocks_max = (uint32_t)f->blocks_max;
    s->offline_messages_max = (uint32_t)f->offline_messages;
    s->offline_bytes_max = (uint64_t)f->offline_bytes;
    s->window_messages = (uint32_t)f->window_messages;
    s->window_bytes = (uint64_t)f->window_bytes;
    s->scram_iterations = (uint32_t)f->scram_iterations;
    s->idle_accounts_max = (uint32_t)f->idle_accounts_max;
    s->dedup_max = (uint64_t)f->dedup_max;
}

static void fill_edge(compose *c) {
    const config *f = c->config;
    edge_cfg *e = &c->edge;
    edge_cfg_default(e);
    e->svc = &c->svc;
    e->tls_required = f->tls_required;
    e->mechanisms = 0;
    for (size_t i = 0; i < f->mechanisms.n; i++) e->mechanisms |= 1u << xmpp_sasl_mech_find(slice_str(f->mechanisms.v[i]));
    e->stanza_bytes_max = (uint32_t)f->stanza_max;
    e->auth_deadline = f->auth_deadline;
    e->auth_failures_max = (uint32_t)f->auth_failures_max;
    e->account_failures = (uint32_t)f->account_failures;
    e->account_refill = f->account_refill;
    e->address_failures = (uint32_t)f->address_failures;
    e->address_refill = f->address_refill;
    e->slow_failures = (uint32_t)f->slow_failures;
    e->slow_refill = f->slow_refill;
    e->accept_rate = (uint32_t)f->accept_rate;
    e->accept_rate_ip = (uint32_t)f->accept_rate_ip;
    e->idle_ping = f->idle_ping;
    e->idle_timeout = f->idle_timeout;
    e->write_timeout = f->write_timeout;
    e->out_bytes_max = (uint32_t)f->out_max;
    e->resume_timeout = f->resume_timeout;
    e->unacked_max = (uint32_t)f->unacked_max;
    e->per_ip_max = (uint32_t)f->per_ip_max;
    e->connections_max = (uint32_t)f->connections_max;
    e->backlog = (uint32_t)f->backlog;
}

/* --- boot */
typedef struct boot_store {
    compose *c;
    err status;
} boot_store;

static void start_store(rt_ctx *cx, void *arg) {
    boot_store *b = arg;
    rt_pid pid;
    b->status = rt_spawn(cx, &rt_sup_class, &b->c->store_sup, 0, &pid, NULL);
}

/* What the operator must mend before anything can be served is said here, by exit status and one line. In the simulator, whose disks fail
 * at will, the stores find it themselves. */
static err check_stores(compose *c, char *why) {
    if (!c->sys->thread_start) return ERR_OK;
    char detail[256] = "";
    err e = store_check(c->sys, c->config->data, detail);
    return e == ERR_OK ? ERR_OK : config_why(why, e, "%s", detail);
}

static err boot_stores(compose *c, char *why) {
    const config *f = c->config;
    store_log_cfg_default(&c->log);
    join(c->log_dir, f->data, "log");
    join(c->keyed_path, f->data, "accounts.db");
    c->log.dir = c->log_dir;
    c->log.partitions = c->svc.partitions;
    c->log.segment_bytes = (uint64_t)f->segment_bytes;
    c->log.batch_bytes_max = (uint64_t)f->batch_bytes;
    c->keyed.path = c->keyed_path;
    c->store_children[0] = (rt_child){.id = STORE_LOG_NAME, .cls = &store_log_class, .arg = &c->log, .restart = RT_PERMANENT};
    c->store_children[1] = (rt_child){.id = STORE_KEYED_NAME, .cls = &store_keyed_class, .arg = &c->keyed, .restart = RT_PERMANENT};
    c->store_sup = (rt_sup_spec){.strategy = RT_ONE_FOR_ONE,
                                 .intensity = 5,
                                 .period = 10 * USEC_PER_SEC,
                                 .children = c->store_children,
                                 .n_children = 2,
                                 .vital = true};
    boot_store b = {c, ERR_OK};
    rt_node_boot(c->node, 0, start_store, &b);
    return b.status == ERR_OK ? ERR_OK : config_why(why, b.status, "the store cannot start: %s", err_text(b.status));
}

static err open_listeners(compose *c, const config_list *l, edge_transport transport, const char *key_name, char *why) {
    for (size_t i = 0; i < l->n; i++) {
        if (c->n_bound == COMPOSE_BOUND_MAX) return config_why(why, ERR_CONFIG, "%s: too many listeners", key_name);
        edge_listen_cfg *e = &c->listen[c->n_bound];
        *e = (edge_listen_cfg){.transport = transport};
        if (sys_addr_parse(slice_str(l->v[i]), &e->addr) != ERR_OK || e->addr.family == SYS_UNIX)
            return config_why(why, ERR_CONFIG, "%s: '%s' is not an address such as 127.0.0.1:5222 or [::]:5222", key_name, l->v[i]);
        err r = edge_listen(c->edges, e, &c->bound[c->n_bound].addr);
        if (r != ERR_OK) return config_why(why, r, "cannot listen on %s: %s", l->v[i], err_text(r));
        c->bound[c->n_bound++].transport = transport;
    }
    return ERR_OK;
}

/* --- metrics: a thread beside the shards, where there are threads */
static err start_metrics(void *arg) {
    compose *c = arg;
    sys_addr a = {.family = SYS_INET4};
    err e = main_scrape_start(c->scrape);
    if (e != ERR_OK) return e;
    char at[SYS_ADDR_TEXT], text[SYS_ADDR_TEXT + 32];
    main_scrape_addr(c->scrape, &a);
    sys_addr_format(&a, at);
    (void)snprintf(text, sizeof text, "metrics http://%s/metrics", at);
    rt_event_ext(c->node, EV_LISTEN, 0, a.port, slice_str(text));
    return ERR_OK;
}

static void stop_metrics(void *arg) {
    compose *c = arg;
    main_scrape_stop(c->scrape);
}

static err open_metrics(compose *c, char *why) {
    const char *listen = c->config->metrics_listen;
    sys_addr a;
    if (!*listen || !c->sys->thread_start) return ERR_OK;
    if (!check(sys_addr_parse(slice_str(listen), &a) == ERR_OK)) return ERR_BUG; /* config_check has seen to it */
    c->metrics = main_metrics_new(c->node);
    err e = main_scrape_new(c->sys, &a, main_metrics_text, c->metrics, &c->scrape);
    if (e != ERR_OK) return config_why(why, e, "metrics.listen: cannot listen on %s: %s", listen, err_text(e));
    rt_node_set_beside(c->node, &(rt_beside){start_metrics, stop_metrics, c});
    return ERR_OK;
}

/* What is in the way of messaging is said before the node is made. */
static err prepare_messaging(compose *c, char *why) {
    err e = make_domains(c, why);
    if (e == ERR_OK) e = check_stores(c, why);
    if (e != ERR_OK) return e;
    fill_svc(c);
    e = make_secret(c, why);
    return e == ERR_OK && c->tls ? make_certificates(c, why) : e;
}

static err boot_messaging(compose *c, char *why) {
    const config *f = c->config;
    err e = boot_stores(c, why);
    if (e != ERR_OK) return e;
    e = svc_boot(c->node, &c->svc, &c->services);
    if (e != ERR_OK) return config_why(why, e, "the services cannot start: %s", err_text(e));
    fill_edge(c);
    e = edge_boot(c->node, &c->edge, c->server, &c->edges);
    if (e != ERR_OK) return config_why(why, e, "the edge cannot start: %s", err_text(e));
    e = open_listeners(c, &f->listen, EDGE_STARTTLS, "xmpp.listen", why);
    return e == ERR_OK ? open_listeners(c, &f->tls_listen, EDGE_DIRECT_TLS, "xmpp.tls_listen", why) : e;
}

/* A node without messaging whose socket for murrectl is elsewhere and that records nothing leaves no trace on the disk. */
static err take_data(compose *c, char *why) {
    const config *f = c->config;
    if (!c->env.messaging && f->recorder_bytes == 0 && *f->ctl_socket) return ERR_OK;
    if (!*f->data || strlen(f->data) > DATA_PATH_MAX)
        return config_why(why, ERR_CONFIG, "data: a path of 1 to %u bytes is wanted", DATA_PATH_MAX);
    c->has_data = true;
    return store_dir_lock(c->sys, f->data, &c->lock_fd, why);
}

static err compose_boot(compose *c, char *why) {
    const config *f = c->config;
    err e = config_check(f, why);
    if (e == ERR_OK) e = main_cluster_check(f, c->tls, why);
    if (e == ERR_OK) e = take_data(c, why);
    if (e == ERR_OK && c->env.messaging) e = prepare_messaging(c, why);
    if (e == ERR_OK) e = make_node(c, why);
    if (e == ERR_OK) e = main_cluster_new(f, c->node, c->domain_names, c->env.messaging ? f->domains.n : 0, &c->cluster, why);
    if (e == ERR_OK && c->env.messaging) e = boot_messaging(c, why);
    if (e == ERR_OK) e = main_cluster_boot(c->cluster, why);
    return e == ERR_OK ? open_metrics(c, why) : e;
}

err compose_new(const config *f, sys *s, tls *t, compose **out, char why[CONFIG_WHY_MAX]) {
    compose *c = mem_zalloc(sizeof *c);
    c->config = f;
    c->sys = s;
    c->tls = t;
    c->lock_fd = -1;
    arena_init(&c->names, 1u << 20);
    svc_cfg_default(&c->svc);
    c->svc.version = MURRE_VERSION;
    main_env_init(&c->env, c, &c->svc, s);
    c->env.messaging = config_has_role(f, ROLE);
    err e = compose_boot(c, why);
    if (e != ERR_OK) {
        compose_free(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

void compose_free(compose *c) {
    if (!c) return;
    if (c->node) rt_node_free(c->node);
    main_scrape_free(c->scrape);
    main_metrics_free(c->metrics);
    svc_services_free(c->services);
    edge_services_free(c->edges);
    main_cluster_free(c->cluster);
    if (c->server) c->tls->server_unref(c->server);
    if (c->lock_fd >= 0) c->sys->file_close(c->sys, c->lock_fd);
    mem_wipe(&c->svc.fake_salt_secret, sizeof c->svc.fake_salt_secret);
    mem_free(c->refused);
    mem_free(c->certs);
    mem_free(c->domains);
    mem_free(c->domain_names);
    mem_free(c->wire_names);
    arena_fini(&c->names);
    mem_free(c);
}

rt_node *compose_node(compose *c) { return c->node; }
bool compose_ready(compose *c) { return !c->env.messaging || svc_ready(c->node, &c->svc); }
const char *compose_data(const compose *c) { return c->has_data ? c->config->data : NULL; }
mesh *compose_mesh(const compose *c) { return main_cluster_mesh(c->cluster); }
void compose_drain(compose *c, const char *text) {
    if (c->env.messaging) edge_drain(c->node, text);
}

bool compose_settled(compose *c) {
    if (!c->env.messaging) return true;
    if (edge_session_count(c->node) > 0) return false;
    rt_msg *m = rt_msg_new_ext(STORE_STAT, sizeof(store_stat)), *r = NULL;
    err e = rt_call(c->node, rt_name_whereis(c->node, STORE_LOG_NAME), &m, SETTLED_WAIT, &r);
    bool idle = e == ERR_OK && store_status_of(r)->waiting == 0;
    rt_msg_drop(c->node, &r);
    c->settled = idle ? c->settled + 1 : 0;
    return c->settled >= 2; /* the last acks of sessions may have been with their partitions at the first look */
}

const compose_bound *compose_bounds(const compose *c, size_t *out_n) {
    *out_n = c->n_bound;
    return c->bound;
}
