/* mesh_peer: a murre node in the cluster of a real Erlang, with actors that do what its processes tell them: so the tests see links and
 * monitors from here to there, which no service of the server has. It prints "listening PORT" and runs until its standard input ends.
 *
 * usage: mesh_peer name=NODE cookie=TEXT epmd=PORT [seed=NODE]
 *
 * The actors have the names a0 to a9, on one shard, and b0 to b9, on another. What they are told, and what they answer to who told them
 * last:
 *
 *     self                  {me, Pid}                      {link, Pid}, {unlink, Pid}
 *     {trap, true | false}                                 {monitor, Pid | Name}, demonitor (the last one)
 *     {exit, Pid}           exit(Pid, kill)                {stop, normal | shutdown | killed}
 *     {long, {Pid, N}}      sends Pid a binary of N bytes  any binary: {got, Size}
 *     {chat, Pid}           pings Pid, and again after each pong
 *     chatted               {chatted, N}: so many of those came
 *     ping                  pong                           a trapped exit: {exit, Reason}; a monitor: {down, Reason}
 *     lost                  {lost, N}: so many of those, since it was asked last, were noconnection, and told nobody
 *
 *     {name, Name}, {name_notify, Name}, {name_both, Name}, {rename, Name}, {unname, Name}    {named, ok | exists ...}: names of the
 * cluster
 *     {whereis, Name}       {whereis, Pid | undefined}     {say, Name}: hello, to who has it {global_name_conflict, ...} of a node
 * {told, {global_name_conflict, ...}} */
#include "base/mem.h"
#include "mesh/actor.h"
#include "mesh/gen.h"
#include "mesh/global.h"
#include "mesh/int.h"
#include "rt/sys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ACTORS 10

static void demand(bool ok) {
    if (!ok) abort();
}

typedef struct obedient {
    mesh *m;
    rt_pid boss, mate; /* mate: of a chat */
    uint64_t ref, lost, chatted;
} obedient;
typedef struct birth {
    mesh *m;
    const char *name;
} birth;

static err obedient_init(rt_ctx *cx, void *st, const void *arg) {
    const birth *b = arg;
    ((obedient *)st)->m = b->m;
    return rt_name_register(cx, b->name);
}

static void answer(rt_ctx *cx, const obedient *o, buf *b) {
    rt_blob *t = rt_blob_new(buf_slice(b));
    mesh_send_pid(cx, o->boss, t);
    rt_blob_unref(t);
    buf_fini(b);
}

static buf pair(const char *what) {
    buf b;
    buf_init(&b, SIZE_MAX);
    etf_put_version(&b);
    etf_put_tuple(&b, 2);
    etf_put_atom(&b, slice_str(what));
    return b;
}

static void report(rt_ctx *cx, obedient *o, const char *what, err reason, const rt_blob *term) {
    if (reason == ERR_NOCONN) { /* who told it last may be on that node */
        o->lost++;
        return;
    }
    buf b = pair(what);
    mesh_reason_out(reason, term, &b);
    answer(cx, o, &b);
}

static void about_me(rt_ctx *cx, const obedient *o) {
    buf b = pair("me");
    etf_pid me = mesh_etf_pid(o->m, rt_self(cx));
    etf_put_pid(&b, &me);
    answer(cx, o, &b);
}

static void about_lost(rt_ctx *cx, obedient *o) {
    buf b = pair("lost");
    etf_put_uint(&b, o->lost);
    o->lost = 0;
    answer(cx, o, &b);
}

static void about_number(rt_ctx *cx, const obedient *o, const char *what, uint64_t n) {
    buf b = pair(what);
    etf_put_uint(&b, n);
    answer(cx, o, &b);
}

static void say_word(rt_ctx *cx, rt_pid to, const char *word) {
    buf b;
    buf_init(&b, SIZE_MAX);
    etf_put_version(&b);
    etf_put_atom(&b, slice_str(word));
    rt_blob *t = rt_blob_new(buf_slice(&b));
    mesh_send_pid(cx, to, t);
    rt_blob_unref(t);
    buf_fini(&b);
}

/* {Pid, N}; the process may be of any node that is connected. */
static void say_long(rt_ctx *cx, const obedient *o, etf_reader *r) {
    uint32_t n;
    int64_t bytes;
    etf_pid p;
    rt_pid to;
    if (!etf_get_tuple(r, &n) || n != 2 || !etf_get_pid(r, &p) || !etf_get_int(r, &bytes) || !mesh_pid_get(o->m, cx, &p, &to)) return;
    rt_blob *t = rt_blob_alloc((size_t)bytes + 6);
    buf head;
    buf_init(&head, 8);
    etf_put_version(&head);
    buf_add_byte(&head, 109); /* BINARY_EXT */
    buf_add_u32be(&head, (uint32_t)bytes);
    memcpy(t->data, head.p, head.len);
    memset(t->data + head.len, 'x', (size_t)bytes);
    buf_fini(&head);
    mesh_send_pid(cx, to, t);
    rt_blob_unref(t);
}

static void chat(rt_ctx *cx, obedient *o, const etf_pid *with) {
    o->chatted = 0;
    if (mesh_pid_get(o->m, cx, with, &o->mate)) say_word(cx, o->mate, "ping");
}

/* A word of one who chats is for that only; that something long has arrived is for who had it sent. */
static bool is_answer(rt_ctx *cx, obedient *o, rt_pid from, etf_reader r) {
    uint32_t n;
    int64_t bytes;
    if (rt_pid_ok(o->mate) && rt_pid_eq(from, o->mate) && etf_get_atom_is(&r, SLICE("pong"))) {
        o->chatted++;
        say_word(cx, o->mate, "ping");
        return true;
    }
    if (!etf_get_tuple(&r, &n) || n != 2 || !etf_get_atom_is(&r, SLICE("got")) || !etf_get_int(&r, &bytes)) return false;
    about_number(cx, o, "got", (uint64_t)bytes);
    return true;
}

static void about_pid(rt_ctx *cx, obedient *o, slice what, rt_pid pid) {
    if (slice_is(what, "link")) rt_link(cx, pid);
    if (slice_is(what, "unlink")) rt_unlink(cx, pid);
    if (slice_is(what, "monitor")) o->ref = rt_monitor(cx, pid);
    if (slice_is(what, "exit")) rt_exit(cx, pid, ERR_KILLED);
}

static void about_name(rt_ctx *cx, obedient *o, slice what, slice name) {
    if (slice_is(what, "monitor")) o->ref = mesh_monitor_name(cx, o->m, o->boss.node, name);
    if (slice_is(what, "trap")) rt_trap_exit(cx, slice_is(name, "true"));
    if (slice_is(what, "stop")) rt_stop(cx, slice_is(name, "normal") ? ERR_OK : slice_is(name, "killed") ? ERR_KILLED : ERR_SHUTDOWN);
}

static void about_whereis(rt_ctx *cx, const obedient *o, slice name) {
    rt_pid pid;
    buf b = pair("whereis");
    if (mesh_global_whereis(o->m, cx, name, &pid) || !mesh_pid_put(o->m, cx, pid, &b)) etf_put_atom(&b, SLICE("undefined"));
    answer(cx, o, &b);
}

static void say_hello(rt_ctx *cx, const obedient *o, slice name) {
    buf b;
    buf_init(&b, SIZE_MAX);
    etf_put_version(&b);
    etf_put_atom(&b, SLICE("hello"));
    rt_blob *t = rt_blob_new(buf_slice(&b));
    demand(mesh_global_send_to(o->m, cx, name, t) == ERR_OK);
    rt_blob_unref(t);
    buf_fini(&b);
}

/* Names of the cluster, which are any terms. False: it is about something else. */
static bool about_global(rt_ctx *cx, const obedient *o, slice what, slice name) {
    err e = ERR_OK;
    if (slice_is(what, "name"))
        e = mesh_global_register(cx, name, rt_self(cx), MESH_GLOBAL_RANDOM_EXIT, 1);
    else if (slice_is(what, "name_notify"))
        e = mesh_global_register(cx, name, rt_self(cx), MESH_GLOBAL_RANDOM_NOTIFY, 1);
    else if (slice_is(what, "name_both"))
        e = mesh_global_register(cx, name, rt_self(cx), MESH_GLOBAL_NOTIFY_ALL, 1);
    else if (slice_is(what, "rename"))
        e = mesh_global_reregister(cx, name, rt_self(cx), MESH_GLOBAL_RANDOM_EXIT, 1);
    else if (slice_is(what, "unname"))
        e = mesh_global_unregister(cx, name, 1);
    else if (slice_is(what, "whereis"))
        about_whereis(cx, o, name);
    else if (slice_is(what, "say"))
        say_hello(cx, o, name);
    else
        return false;
    demand(e == ERR_OK);
    return true;
}

/* That it has lost a name: no order, so who told it last hears of it. */
static bool told(rt_ctx *cx, const obedient *o, slice term) {
    etf_reader r = etf_reader_of(term);
    uint32_t n;
    if (!etf_get_tuple(&r, &n) || !etf_get_atom_is(&r, SLICE("global_name_conflict"))) return false;
    buf b = pair("told");
    buf_add(&b, term);
    answer(cx, o, &b);
    return true;
}

static void obey(rt_ctx *cx, obedient *o, etf_reader r) {
    uint32_t n;
    slice what, name, bytes;
    etf_pid p;
    if (etf_get_binary(&r, &bytes)) {
        about_number(cx, o, "got", bytes.len);
    } else if (etf_get_atom_is(&r, SLICE("chatted"))) {
        about_number(cx, o, "chatted", o->chatted);
    } else if (etf_get_atom_is(&r, SLICE("self"))) {
        about_me(cx, o);
    } else if (etf_get_atom_is(&r, SLICE("ping"))) {
        say_word(cx, o->boss, "pong");
    } else if (etf_get_atom_is(&r, SLICE("lost"))) {
        about_lost(cx, o);
    } else if (etf_get_atom_is(&r, SLICE("demonitor"))) {
        rt_demonitor(cx, o->ref);
    } else if (etf_get_tuple(&r, &n) && n == 2 && etf_get_atom(&r, &what)) {
        etf_reader at = r;
        slice any;
        if (etf_skip(&at, &any) && about_global(cx, o, what, any)) return;
        if (slice_is(what, "long"))
            say_long(cx, o, &r);
        else if (etf_get_pid(&r, &p))
            slice_is(what, "chat") ? chat(cx, o, &p) : about_pid(cx, o, what, (rt_pid){o->boss.node, p.id, p.serial});
        else if (etf_get_atom(&r, &name))
            about_name(cx, o, what, name);
    }
}

static err obedient_handle(rt_ctx *cx, void *st, rt_msg **m) {
    obedient *o = st;
    if ((*m)->tag == RT_EXIT) report(cx, o, "exit", rt_exit_msg_of(*m)->reason, rt_exit_msg_of(*m)->term);
    if ((*m)->tag == RT_DOWN) report(cx, o, "down", rt_down_of(*m)->reason, rt_down_of(*m)->term);
    if ((*m)->tag == MESH_GLOBAL_ANSWER) {
        buf b = pair("named");
        etf_put_atom(&b, slice_str(err_name(mesh_global_answer_of(*m)->status)));
        answer(cx, o, &b);
    }
    if ((*m)->tag != MESH_TERM) return ERR_OK;
    if (told(cx, o, slice_from(rt_blob_slice(mesh_term_of(*m)->term), 1))) return ERR_OK;
    etf_reader r = etf_reader_of(rt_blob_slice(mesh_term_of(*m)->term));
    if (!etf_get_version(&r) || is_answer(cx, o, (*m)->sender, r)) return ERR_OK;
    o->boss = (*m)->sender;
    obey(cx, o, r);
    return ERR_OK;
}

static const rt_class obedient_class = {
    .name = "obedient", .state_size = sizeof(obedient), .init = obedient_init, .handle = obedient_handle, .foreign = true};

static void boot(rt_ctx *cx, void *arg) {
    for (unsigned i = 0; i < ACTORS; i++) {
        char name[4];
        (void)snprintf(name, sizeof name, "%c%u", rt_ctx_shard(cx) ? 'b' : 'a', i % ACTORS);
        birth b = {arg, name};
        rt_pid pid;
        demand(rt_spawn(cx, &obedient_class, &b, 0, &pid, NULL) == ERR_OK);
    }
}

static const char *option(int argc, char **argv, const char *key) {
    size_t len = strlen(key);
    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], key, len) == 0 && argv[i][len] == '=') return argv[i] + len + 1;
    return NULL;
}

static const char *arg_of(int argc, char **argv, const char *key) {
    const char *value = option(argc, argv, key);
    if (value) return value;
    (void)fprintf(stderr, "mesh_peer: %s= is missing\n", key);
    exit(2);
}

int main(int argc, char **argv) {
    sys *s = NULL;
    rt_node *n = NULL;
    mesh *m = NULL;
    rt_node_cfg nc;
    mesh_cfg mc;
    rt_node_cfg_default(&nc);
    mesh_cfg_default(&mc);
    nc.shards = 2;
    mc.name = slice_str(arg_of(argc, argv, "name"));
    mc.cookie = slice_str(arg_of(argc, argv, "cookie"));
    mc.epmd = (sys_addr){.family = SYS_INET4, .port = (uint16_t)strtoul(arg_of(argc, argv, "epmd"), NULL, 10), .ip = {127, 0, 0, 1}};
    mc.mapper_port = mc.epmd.port;
    sys_addr a = {.family = SYS_INET4, .ip = {127, 0, 0, 1}}, bound;
    demand(sys_linux_new(&s) == ERR_OK && rt_node_new(&nc, s, NULL, &n) == ERR_OK && mesh_new(n, &mc, &m) == ERR_OK);
    demand(mesh_boot(m) == ERR_OK);
    for (unsigned i = 0; i < nc.shards; i++) rt_node_boot(n, i, boot, m);
    demand(mesh_listen(m, &a, &bound) == ERR_OK && mesh_register(m) == ERR_OK);
    const char *seed = option(argc, argv, "seed");
    slice seeds[] = {slice_str(seed ? seed : "")};
    demand(mesh_dial(m, seeds, seed ? 1 : 0) == ERR_OK);
    demand(rt_node_start(n) == ERR_OK);
    printf("listening %u\n", bound.port);
    (void)fflush(stdout);
    char c;
    while (read(STDIN_FILENO, &c, 1) > 0) {
    }
    rt_node_stop(n);
    rt_node_free(n);
    mesh_free(m);
    sys_linux_free(s);
    return 0;
}
