/* node: a node of the runtime with a mesh and nothing else, from a murre_config. What a program gets wrong in it is said in a sentence. */
#include "base/mem.h"
#include "lib/int.h"
#include "proto/dist/cookie.h"
#include "proto/dist/name.h"
#include "rt/event.h"

#include <stdarg.h>
#include <stdio.h>

#define COOKIE_FILE_MAX 4096u
#define EPMD_PORT       4369u
#define LIB_VERSION     "0.1" /* as MURRE_VERSION has it, for tools of other nodes */

typedef struct starting {
    murre_config c; /* of the size that this library knows; what the program did not know is 0 */
    char *why;
    size_t why_size;
} starting;

unsigned murre_version(void) { return MURRE_VERSION; }

static const struct {
    murre_err out;
    err e;
    const char *text;
} errors[] = {
    {MURRE_OK, ERR_OK, "no error"},
    {MURRE_INVALID, ERR_INVALID, "invalid argument"},
    {MURRE_LIMIT, ERR_LIMIT, "a limit was reached"},
    {MURRE_EXISTS, ERR_EXISTS, "it is taken"},
    {MURRE_NOT_FOUND, ERR_NOT_FOUND, "not found"},
    {MURRE_PERM, ERR_PERM, "permission denied"},
    {MURRE_AUTH, ERR_AUTH, "the cookie is too weak"},
    {MURRE_ADDR_IN_USE, ERR_ADDR_IN_USE, "address in use"},
    {MURRE_IO, ERR_IO, "input or output error"},
    {MURRE_TIMEOUT, ERR_TIMEOUT, "timed out"},
    {MURRE_NOCONN, ERR_NOCONN, "that node is not connected"},
    {MURRE_SHUTDOWN, ERR_SHUTDOWN, "shut down"},
    {MURRE_FAILED, ERR_REFUSED, "failed"},
};

murre_err lib_err(err e) {
    for (size_t i = 0; i < ARRAY_LEN(errors); i++)
        if (errors[i].e == e) return errors[i].out;
    return e == ERR_FULL ? MURRE_LIMIT : MURRE_FAILED;
}

err lib_err_in(murre_err e) { return (unsigned)e < ARRAY_LEN(errors) ? errors[e].e : ERR_REFUSED; }
const char *murre_err_text(murre_err e) { return (unsigned)e < ARRAY_LEN(errors) ? errors[e].text : "unknown error"; }

static err fail(const starting *s, err e, const char *fmt, ...) PRINTF_LIKE(3, 4);
static err fail(const starting *s, err e, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    if (s->why && s->why_size) (void)vsnprintf(s->why, s->why_size, fmt, ap);
    va_end(ap);
    return e;
}

/* --- settings --------------------------------------------------------------------------------------------------------------------- */
static err read_cookie(const starting *s, const char *path, char **out) {
    uint8_t text[COOKIE_FILE_MAX];
    size_t n = 0;
    slice cookie;
    err e = sys_secret_read(path, text, sizeof text, &n);
    if (e == ERR_PERM)
        e = fail(s, e, "cookie_file: %s can be read by others: chmod 600 it", path);
    else if (e)
        e = fail(s, e, "cookie_file: %s cannot be read: %s", path, err_text(e));
    else if (dist_cookie_parse(slice_of(text, n), &cookie))
        e = fail(s, ERR_INVALID, "cookie_file: %s is not one line of printable ASCII of at most %u bytes", path, DIST_COOKIE_MAX);
    else
        *out = slice_dup_str(cookie);
    mem_wipe(text, sizeof text);
    return e;
}

static err check_settings(const starting *s) {
    const murre_config *c = &s->c;
    dist_name name;
    if (!c->name || dist_name_parse_own(slice_str(c->name), &name))
        return fail(s, ERR_INVALID, "name: '%s' is not a name such as echo@host.example, of letters, digits, _ and - before the @",
                    c->name ? c->name : "");
    if (!c->cookie == !c->cookie_file) return fail(s, ERR_INVALID, "a node needs the cookie of its cluster: either cookie or cookie_file");
    if (c->shards > RT_SHARDS_MAX) return fail(s, ERR_INVALID, "shards: at most %u", RT_SHARDS_MAX);
    if (c->spin < 0 || c->spin > RT_SPIN_MAX) return fail(s, ERR_INVALID, "spin: 0 to %d microseconds", (int)RT_SPIN_MAX);
    if (c->log_level > MURRE_LOG_ERROR) return fail(s, ERR_INVALID, "log_level: there is none with that number");
    return ERR_OK;
}

static err check_listen(const starting *s, sys_addr *out) {
    const char *text = s->c.listen ? s->c.listen : "127.0.0.1:0";
    if (sys_addr_parse(slice_str(text), out) || out->family == SYS_UNIX)
        return fail(s, ERR_INVALID, "listen: '%s' is not an address such as 127.0.0.1:9100", text);
    if (!sys_addr_is_loopback(out))
        return fail(s, ERR_PERM, "listen: %s is not loopback; what nodes say to each other is not encrypted", text);
    return ERR_OK;
}

/* --- life ------------------------------------------------------------------------------------------------------------------------- */
static err make_rt(murre_node *n, const starting *s) {
    const murre_config *c = &s->c;
    rt_node_cfg cfg;
    rt_node_cfg_default(&cfg);
    cfg.name = n->name;
    cfg.shards = c->shards ? c->shards : 1;
    cfg.spin = c->spin;
    cfg.ctl_path = n->control;
    for (size_t i = 0; i < RT_POOL_KINDS; i++) cfg.pool_threads[i] = 1; /* what other nodes ask of shards waits there, and nothing else */
    err e = sys_linux_new(&n->sys);
    if (!e) e = rt_node_new(&cfg, n->sys, NULL, &n->node);
    if (e) return fail(s, e, "the node cannot be made: %s", err_text(e));
    rt_node_set_env(n->node, n);
    rt_node_add_verbs(n->node, rt_verbs, rt_verbs_count);
    rt_node_add_verbs(n->node, mesh_verbs, mesh_verbs_count);
    rt_log_level(n->node, c->log_level ? (rt_level)(c->log_level - 1) : RT_NOTICE);
    if (c->log) rt_log_sink(n->node, c->log, c->log_arg);
    return ERR_OK;
}

static err make_mesh(murre_node *n, const starting *s, const sys_addr *listen) {
    const murre_config *c = &s->c;
    mesh_cfg cfg;
    sys_addr bound;
    mesh_cfg_default(&cfg);
    cfg.name = slice_str(n->name);
    cfg.cookie = slice_str(n->cookie);
    cfg.hidden = c->hidden;
    cfg.version = LIB_VERSION;
    if (c->ticktime_sec) cfg.ticktime = c->ticktime_sec * USEC_PER_SEC;
    cfg.mapper_port = c->epmd_port ? c->epmd_port : EPMD_PORT;
    if (c->epmd_port) cfg.mapper_port = c->epmd_port;
    if (!c->no_epmd) cfg.epmd = (sys_addr){.family = SYS_INET4, .port = cfg.mapper_port, .ip = {127, 0, 0, 1}};
    err e = mesh_new(n->node, &cfg, &n->mesh);
    if (e == ERR_AUTH)
        return fail(s, e, "the cookie is worth %u bits; at least %u are wanted, as 20 random capital letters have",
                    dist_cookie_bits(cfg.cookie), DIST_COOKIE_BITS_MIN);
    if (e) return fail(s, e, "cookie: one line of printable ASCII of at most %u bytes", DIST_COOKIE_MAX);
    e = mesh_boot(n->mesh);
    if (e) return fail(s, e, "the node cannot start: %s", err_text(e));
    e = mesh_listen(n->mesh, listen, &bound);
    if (e) return fail(s, e, "listen: cannot listen on %s: %s", c->listen ? c->listen : "127.0.0.1", err_text(e));
    n->port = bound.port;
    e = mesh_register(n->mesh);
    if (e) return fail(s, e, "the port mapper's client cannot start: %s", err_text(e));
    e = mesh_dial(n->mesh, NULL, 0); /* those that an operator names */
    return e ? fail(s, e, "dialling cannot start: %s", err_text(e)) : ERR_OK;
}

static err start(murre_node *n, const starting *s) {
    sys_addr listen;
    err e = check_settings(s);
    if (!e) e = check_listen(s, &listen);
    if (e) return e;
    n->name = slice_dup_str(slice_str(s->c.name));
    if (s->c.control) n->control = slice_dup_str(slice_str(s->c.control));
    if (s->c.cookie)
        n->cookie = slice_dup_str(slice_str(s->c.cookie));
    else
        e = read_cookie(s, s->c.cookie_file, &n->cookie);
    if (!e) e = make_rt(n, s);
    if (!e) e = make_mesh(n, s, &listen);
    if (e) return e;
    e = rt_node_start(n->node);
    return e ? fail(s, e, "the node cannot start%s%s: %s", n->control ? ", perhaps because of control: " : "", n->control ? n->control : "",
                    err_text(e))
             : ERR_OK;
}

murre_err murre_node_start(const murre_config *c, murre_node **out, char *why, size_t why_size) {
    starting s = {.why = why, .why_size = why_size};
    if (!c || c->size < offsetof(murre_config, log)) return lib_err(fail(&s, ERR_INVALID, "size is not that of a murre_config"));
    memcpy(&s.c, c, c->size < sizeof s.c ? c->size : sizeof s.c);
    murre_node *n = mem_zalloc(sizeof *n);
    lock_set_init(&n->locks);
    lock_init(&n->lock, &n->locks, "classes", 0, LOCK_RANK_CLASS);
    err e = start(n, &s);
    if (e)
        murre_node_stop(n);
    else
        *out = n;
    return lib_err(e);
}

void murre_node_stop(murre_node *n) {
    if (!n) return;
    if (n->node) {
        rt_node_stop(n->node);
        rt_node_free(n->node);
    }
    lock_fini(&n->lock);
    lock_set_fini(&n->locks);
    mesh_free(n->mesh);
    lib_classes_free(n);
    if (n->sys) sys_linux_free(n->sys);
    if (n->cookie) mem_wipe(n->cookie, strlen(n->cookie));
    mem_free(n->cookie);
    mem_free(n->name);
    mem_free(n->control);
    mem_free(n);
}

uint16_t murre_node_port(const murre_node *n) { return n->port; }

/* --- spawning from outside -------------------------------------------------------------------------------------------------------- */
typedef struct spawning {
    rt_shard_call call;
    _Atomic int refs; /* acq_rel: the last one frees; partners are the runtime's box and the caller */
    const rt_class *cls;
    const void *arg;
    err status;
    rt_pid pid;
} spawning;

static void spawning_unref(rt_box *b) {
    spawning *s = container_of(b, spawning, call.box);
    if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1) mem_free(s);
}

static void spawn_there(rt_ctx *cx, rt_shard_call *c) {
    spawning *s = container_of(c, spawning, call);
    s->status = rt_spawn(cx, s->cls, s->arg, 0, &s->pid, NULL);
}

murre_err lib_spawn(murre_node *n, const rt_class *cls, const void *arg, murre_pid *out_pid) {
    unsigned shard = atomic_fetch_add_explicit(&n->next_shard, 1, memory_order_relaxed) % rt_node_shards(n->node);
    spawning *s = mem_zalloc(sizeof *s);
    s->call = (rt_shard_call){.box = {.free = spawning_unref}, .fn = spawn_there};
    atomic_init(&s->refs, 2);
    s->cls = cls;
    s->arg = arg;
    err e = rt_node_call(n->node, shard, &s->call, LIB_PATIENCE);
    if (!e) e = s->status;
    if (!e && out_pid) *out_pid = lib_pid_out(s->pid);
    spawning_unref(&s->call.box);
    return lib_err(e);
}

murre_err murre_node_spawn(murre_node *n, const murre_class *c, const void *arg, murre_pid *out_pid) {
    const rt_class *cls = lib_class_of(n, c);
    return cls ? lib_spawn(n, cls, arg, out_pid) : MURRE_INVALID;
}
