/* verbs: see verbs.h. */
#include "main/verbs.h"

#include "base/cursor.h"
#include "main/backup.h"
#include "main/compose.h"
#include "mesh/mesh.h"
#include "rt/memory.h"
#include "rt/stat.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CALL_USEC (10 * USEC_PER_SEC)

#define FOUND_MAX 100u

void main_env_init(main_env *e, struct compose *c, const svc_cfg *svc, sys *s) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    *e = (main_env){.svc = {svc},
                    .compose = c,
                    .messaging = true,
                    .cores = n < 1                     ? 1
                             : n > (long)RT_SHARDS_MAX ? RT_SHARDS_MAX
                                                       : (unsigned)n,
                    .started = s->mono(s)};
    if (!s->thread_start) e->cores = 2; /* the simulator: the same number wherever a seed is replayed */
}

main_env *main_env_of(rt_verb_call *c) {
    union {
        const void *c;
        void *m;
    } u = {c->env};
    return u.m;
}

err main_ask_store(rt_verb_call *c, const char *name, rt_msg **m, usec limit, rt_msg **out) {
    rt_pid to = rt_name_whereis(c->node, name);
    err e = rt_call(c->node, to, m, rt_verb_patience(c->node, to, limit), out);
    if (e != ERR_OK) (void)snprintf(c->why, sizeof c->why, "%s does not answer: %s", name, err_text(e));
    return e;
}

/* --- what asks neither a shard nor an actor ---------------------------------------------------------------------------------------- */
/* A path as it is from everywhere; as it was configured where the kernel does not know it (simulator). */
static void set_path(rt_verb_call *c, val *map, const char *key, const char *path) {
    char *whole = path ? realpath(path, NULL) : NULL;
    val_set(c->arena, map, key, path ? val_str(c->arena, slice_str(whole ? whole : path)) : val_null(c->arena));
    free(whole);
}

static val *roles(rt_verb_call *c) {
    val *v = val_list(c->arena);
    if (main_env_of(c)->messaging) val_push(c->arena, v, val_str(c->arena, SLICE("messaging")));
    return v;
}

static void set_node(rt_verb_call *c, val *v) {
    main_env *env = main_env_of(c);
    arena *a = c->arena;
    sys *s = rt_node_sys(c->node);
    val_set(a, v, "name", val_str(a, slice_str(rt_node_config(c->node)->name)));
    val_set(a, v, "version", val_str(a, slice_str(env->svc.cfg->version)));
    val_set(a, v, "pid", val_int(a, getpid()));
    val_set(a, v, "ready", val_bool(a, compose_ready(env->compose)));
    val_set(a, v, "uptime_sec", val_int(a, (s->mono(s) - env->started) / USEC_PER_SEC));
    val_set(a, v, "shards", val_int(a, rt_node_shards(c->node)));
    val_set(a, v, "actors", val_int(a, rt_stat_actor_count(c->node)));
    val_set(a, v, "sessions", val_int(a, edge_session_count(c->node)));
}

static err node_show(rt_verb_call *c) {
    c->result = val_map(c->arena);
    set_node(c, c->result);
    set_path(c, c->result, "data", compose_data(main_env_of(c)->compose));
    set_path(c, c->result, "recorder", rt_node_config(c->node)->recorder_path);
    return ERR_OK;
}

/* All counts since the start at one moment, for who compares two moments: murrectl top. */
static err load_read(rt_verb_call *c) {
    c->result = val_map(c->arena);
    set_node(c, c->result);
    rt_verb_load(c, c->result);
    return ERR_OK;
}

/* For completion: names in order, from the prefix on, while they begin with it. */
static err user_find(rt_verb_call *c) {
    rt_msg *m = rt_msg_new_ext(KEYED_LIST, sizeof(keyed_list)), *r = NULL;
    if (c->args[0].len) keyed_list_of(m)->after = rt_blob_new(c->args[0]);
    keyed_list_of(m)->max = FOUND_MAX;
    err e = main_ask_store(c, STORE_KEYED_NAME, &m, CALL_USEC, &r);
    if (e != ERR_OK) return e;
    e = keyed_names_of(r)->status;
    c->result = val_list(c->arena);
    cursor names = cursor_of(e == ERR_OK ? rt_blob_slice(keyed_names_of(r)->names) : SLICE_NULL);
    slice name;
    while (cursor_lslice(&names, &name) && slice_starts(name, c->args[0])) val_push(c->arena, c->result, val_str(c->arena, name));
    if (e != ERR_OK) (void)snprintf(c->why, sizeof c->why, "the accounts cannot be read: %s", err_text(e));
    rt_msg_drop(c->node, &r);
    return e;
}

static err log_status(rt_verb_call *c, val *v) {
    arena *a = c->arena;
    rt_msg *m = rt_msg_new_ext(STORE_STAT, sizeof(store_stat)), *r = NULL;
    err e = main_ask_store(c, STORE_LOG_NAME, &m, CALL_USEC, &r);
    if (e != ERR_OK) return e;
    const store_status *st = store_status_of(r);
    val *log = val_map(a);
    val_set(a, log, "messages", val_int(a, (int64_t)st->live));
    val_set(a, log, "message_bytes", val_int(a, (int64_t)st->live_bytes));
    val_set(a, log, "total_bytes", val_int(a, (int64_t)st->total_bytes));
    val_set(a, log, "segments", val_int(a, st->segments));
    val_set(a, log, "damaged", val_int(a, (int64_t)st->damaged));
    val_set(a, log, "full", val_bool(a, st->full));
    val_set(a, log, "waiting_bytes", val_int(a, (int64_t)st->waiting));
    val_set(a, log, "commits", val_int(a, (int64_t)st->commits));
    val_set(a, log, "commit_average_usec", val_int(a, (int64_t)(st->commits ? st->commit_usec / st->commits : 0)));
    val_set(a, log, "commit_longest_usec", val_int(a, (int64_t)st->commit_longest_usec));
    val_set(a, log, "commit_last_usec", val_int(a, (int64_t)st->commit_last_usec));
    val_set(a, v, "log", log);
    rt_msg_drop(c->node, &r);
    return ERR_OK;
}

static val *cluster(rt_verb_call *c) {
    const mesh *m = compose_mesh(main_env_of(c)->compose);
    if (!m) return val_null(c->arena);
    val *v = val_map(c->arena);
    val_set(c->arena, v, "node", val_str(c->arena, mesh_name(m)));
    val_set(c->arena, v, "left", val_bool(c->arena, mesh_has_left(m)));
    return v;
}

/* A node without the role messaging has no domains, and neither listeners nor a log. */
static err status(rt_verb_call *c) {
    main_env *env = main_env_of(c);
    arena *a = c->arena;
    val *v = c->result = val_map(a);
    set_node(c, v);
    val_set(a, v, "roles", roles(c));
    val_set(a, v, "cluster", cluster(c));
    val *domains = val_list(a), *listen = val_list(a);
    for (size_t i = 0; i < env->svc.cfg->n_domains; i++) val_push(a, domains, val_str(a, env->svc.cfg->domains[i].name));
    val_set(a, v, "domains", domains);
    size_t n;
    const compose_bound *b = compose_bounds(env->compose, &n);
    for (size_t i = 0; i < n; i++) {
        char text[SYS_ADDR_TEXT];
        sys_addr_format(&b[i].addr, text);
        val *o = val_map(a);
        val_set(a, o, "transport", val_str(a, b[i].transport == EDGE_STARTTLS ? SLICE("xmpp") : SLICE("xmpps")));
        val_set(a, o, "address", val_str(a, slice_str(text)));
        val_push(a, listen, o);
    }
    val_set(a, v, "listen", listen);
    rt_memory mem;
    rt_memory_read(c->node, &mem);
    val *memory = val_map(a);
    val_set(a, memory, "used_bytes", val_int(a, (int64_t)mem.used));
    val_set(a, memory, "limit_bytes", val_int(a, (int64_t)mem.limit));
    val_set(a, memory, "tight", val_bool(a, mem.tight));
    val_set(a, v, "memory", memory);
    return env->messaging ? log_status(c, v) : ERR_OK;
}

static err drain(rt_verb_call *c) {
    compose_drain(main_env_of(c)->compose, "the server is going down for a moment");
    c->result = val_int(c->arena, edge_session_count(c->node));
    return ERR_OK;
}

const rt_verb main_verbs[] = {
    {"status", "show", 0, 0, RT_WAITS, status, "status", "shows the node: listeners, sessions, message log"},
    {"node", "show", 0, 0, RT_READS, node_show, "node",
     "shows the process, its data directory and its age; asks no shard, so that it always answers"},
    {"load", "read", 0, 0, RT_READS, load_read, "load",
     "shows all counts since the start at one moment: threads, queues, pools, events; asks no shard"},
};
const size_t main_verbs_count = ARRAY_LEN(main_verbs);

const rt_verb main_messaging_verbs[] = {
    {"user", "find", 1, 1, RT_READS, user_find, "user find PREFIX", "names the first hundred accounts that begin with PREFIX"},
    {"drain", "start", 0, 0, RT_MUTATES, drain, "drain", "refuses new sessions and sends the present ones away"},
    {"backup", "write", 1, 1, RT_MUTATES, main_backup, "backup DIR",
     "writes a copy of the data directory, fit to be started on, to a new directory while running"},
};
const size_t main_messaging_verbs_count = ARRAY_LEN(main_messaging_verbs);

/* --- a node without a role ------------------------------------------------------------------------------------------------------------ */
static err no_role(rt_verb_call *c) {
    (void)snprintf(c->why, sizeof c->why, "this node has not the role messaging (the setting roles)");
    return ERR_UNSUPPORTED;
}

static err follow_actor(rt_verb_call *c) { return slice_find(c->args[0], '@') == c->args[0].len ? rt_verb_trace_actor(c) : no_role(c); }

void main_verbs_without_role(const rt_verb *of, size_t n, rt_verb *out) {
    for (size_t i = 0; i < n; i++) {
        out[i] = of[i];
        out[i].fn = strcmp(of[i].module, "follow") == 0 ? follow_actor : no_role;
        if (of[i].how == RT_MUTATES) out[i].how = RT_READS; /* nothing happens that would have to be on record */
    }
}
