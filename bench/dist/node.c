/* node: a C program as a node of an Erlang cluster, for bench/dist.py: it sends messages to processes of other nodes and receives theirs,
 * as any program of libmurre would. dist_node.erl is the same for Erlang/OTP; both take the same commands, a line each, on standard input:
 *
 *     flood NODE SENDERS COUNT SIZE WINDOW   each of SENDERS actors sends COUNT messages {Number, Binary} to a receiver of its own on NODE
 *                                            --> flooded NANOSECONDS: from the first message until the last receiver has had its last one
 *     ping NODE COUNT                        an actor there sends each message back  --> pinged P50 P99 MAX, nanoseconds
 *
 * and print "up NODE" when a node is connected. A receiver checks the number and the size of every message; it tells its sender how far it
 * is, who is never more than WINDOW messages ahead. Whatever goes wrong is printed as "failed WHY", and there is no figure.
 *
 *     main --spawn--> sender --{start, Pid, Count, Size, Every}--> sink ("sink", here or there) --spawn--> receiver
 *                     sender <--{ready, Pid}----------------------------------------------------------------- receiver
 *                     sender --{1, Binary} {2, Binary} ...---------------------------------------------------> receiver
 *                     sender <--{had, Number}, every WINDOW/4 and at the last -------------------------------- receiver */
#include <malloc.h>
#include <murre.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SENDERS_MAX 64
#define COUNT_MAX   100000000
#define SIZE_MAX_   (1 << 20)
#define BATCH       256 /* messages in a row, before other actors have their turn */
#define LINE        512
#define SAMPLES_MAX 10000000

static int64_t now_nsec(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* --- what a command asks, and how far it is; main waits for it */
typedef struct order {
    pthread_mutex_t lock; /* guards what follows it */
    pthread_cond_t moved;
    char why[LINE]; /* "": nothing has gone wrong */
    int ready, done;
    int64_t last; /* when the last one was done */
    /* constant while it runs */
    char node[256];
    int64_t senders, count, size, window;
    uint8_t *bytes;
    int64_t *samples; /* of ping */
} order;

static void move(order *o, int *what) {
    pthread_mutex_lock(&o->lock);
    ++*what;
    o->last = now_nsec();
    pthread_cond_signal(&o->moved);
    pthread_mutex_unlock(&o->lock);
}

static murre_err fail(order *o, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    pthread_mutex_lock(&o->lock);
    if (!*o->why) vsnprintf(o->why, sizeof o->why, fmt, ap);
    pthread_cond_signal(&o->moved);
    pthread_mutex_unlock(&o->lock);
    va_end(ap);
    return MURRE_FAILED;
}

/* False: it has failed. */
static bool wait_for(order *o, const int *what, int64_t n) {
    pthread_mutex_lock(&o->lock);
    while (!*o->why && *what < n) pthread_cond_wait(&o->moved, &o->lock);
    bool good = !*o->why;
    pthread_mutex_unlock(&o->lock);
    return good;
}

/* --- the receiver */
typedef struct receiver {
    murre_pid sender;
    int64_t count, size, every, had;
} receiver;

static murre_err tell(murre_ctx *cx, murre_pid to, const char *what, int64_t n) {
    murre_builder *b = murre_build();
    murre_put_tuple(b, 2);
    murre_put_atom(b, what);
    murre_put_int(b, n);
    return murre_send(cx, to, &b);
}

static murre_err receiver_init(murre_ctx *cx, void *st, const void *arg) {
    receiver *r = st;
    *r = *(const receiver *)arg;
    murre_builder *b = murre_build();
    murre_put_tuple(b, 2);
    murre_put_atom(b, "ready");
    murre_put_pid(cx, b, murre_self(cx));
    return murre_send(cx, r->sender, &b);
}

/* The sender monitors its receiver: to end before the last message is to say that something is wrong. */
static murre_err receiver_handle(murre_ctx *cx, void *st, const murre_msg *m) {
    receiver *r = st;
    uint32_t arity;
    int64_t number;
    murre_bytes bytes;
    murre_reader in = murre_read(m->term);
    if (m->kind != MURRE_INFO || !murre_get_tuple(&in, &arity) || arity != 2 || !murre_get_int(&in, &number) ||
        !murre_get_binary(&in, &bytes) || number != r->had + 1 || (int64_t)bytes.len != r->size)
        return MURRE_INVALID;
    r->had = number;
    murre_err e = r->had % r->every == 0 || r->had == r->count ? tell(cx, r->sender, "had", r->had) : MURRE_OK;
    return e || r->had < r->count ? e : murre_stop(cx, NULL);
}

static const murre_class receivers = {
    .size = sizeof receivers, .name = "receiver", .state_size = sizeof(receiver), .init = receiver_init, .handle = receiver_handle};

static murre_err sink_init(murre_ctx *cx, void *st, const void *arg) {
    (void)st, (void)arg;
    return murre_register(cx, "sink");
}

static murre_err sink_handle(murre_ctx *cx, void *st, const murre_msg *m) {
    receiver r = {0};
    uint32_t arity;
    murre_reader in = murre_read(m->term);
    (void)st;
    if (m->kind != MURRE_INFO || !murre_get_tuple(&in, &arity) || arity != 5 || !murre_get_atom_is(&in, "start")) return MURRE_OK;
    if (!murre_get_pid(cx, &in, &r.sender) || !murre_get_int(&in, &r.count) || !murre_get_int(&in, &r.size) ||
        !murre_get_int(&in, &r.every) || r.every < 1)
        return MURRE_INVALID;
    return murre_spawn(cx, &receivers, &r, 0, NULL, NULL);
}

static const murre_class sinks = {.size = sizeof sinks, .name = "sink", .init = sink_init, .handle = sink_handle};

/* --- the sender */
typedef struct sender {
    order *o;
    murre_pid receiver;
    int64_t sent, had;
    bool going; /* a message to itself is under way, to go on */
} sender;

static murre_err sender_init(murre_ctx *cx, void *st, const void *arg) {
    sender *s = st;
    s->o = *(order *const *)arg;
    murre_builder *b = murre_build();
    murre_put_tuple(b, 5);
    murre_put_atom(b, "start");
    murre_put_pid(cx, b, murre_self(cx));
    murre_put_int(b, s->o->count);
    murre_put_int(b, s->o->size);
    murre_put_int(b, s->o->window / 4);
    murre_err e = murre_send_name(cx, "sink", s->o->node, &b);
    return e ? fail(s->o, "%s: %s", s->o->node, murre_err_text(e)) : MURRE_OK;
}

static murre_err pump(murre_ctx *cx, sender *s) {
    const order *o = s->o;
    for (int i = 0; i < BATCH && s->sent < o->count && s->sent - s->had < o->window; i++) {
        murre_builder *b = murre_build();
        murre_put_tuple(b, 2);
        murre_put_int(b, ++s->sent);
        murre_put_binary(b, o->bytes, (size_t)o->size);
        murre_err e = murre_send(cx, s->receiver, &b);
        if (e) return fail(s->o, "message %lld: %s", (long long)s->sent, murre_err_text(e));
    }
    s->going = s->sent < o->count && s->sent - s->had < o->window;
    return s->going ? tell(cx, murre_self(cx), "go", 0) : MURRE_OK;
}

static murre_err sender_handle(murre_ctx *cx, void *st, const murre_msg *m) {
    sender *s = st;
    uint32_t arity;
    int64_t n;
    murre_reader in = murre_read(m->term);
    if (m->kind == MURRE_DOWN) {
        char why[200];
        murre_term_text(m->term, why, sizeof why);
        return fail(s->o, "the receiver has ended after %lld of %lld: %s", (long long)s->had, (long long)s->o->count, why);
    }
    if (m->kind != MURRE_INFO || !murre_get_tuple(&in, &arity) || arity != 2) return MURRE_OK;
    if (murre_get_atom_is(&in, "ready")) {
        if (!murre_get_pid(cx, &in, &s->receiver)) return fail(s->o, "the receiver is no process");
        (void)murre_monitor(cx, s->receiver); /* until this actor ends */
        move(s->o, &s->o->ready);
        return MURRE_OK;
    }
    if (murre_get_atom_is(&in, "go")) return pump(cx, s);
    if (!murre_get_atom_is(&in, "had") || !murre_get_int(&in, &n)) return MURRE_OK;
    s->had = n;
    if (n == s->o->count) {
        move(s->o, &s->o->done);
        return murre_stop(cx, NULL);
    }
    return s->going ? MURRE_OK : pump(cx, s);
}

static const murre_class senders = {
    .size = sizeof senders, .name = "sender", .state_size = sizeof(sender), .init = sender_init, .handle = sender_handle};

/* --- there and back */
typedef struct pinger {
    order *o;
    int64_t n, at;
} pinger;

static murre_err echo_init(murre_ctx *cx, void *st, const void *arg) {
    (void)st, (void)arg;
    return murre_register(cx, "echo");
}

/* {ping, Pid} comes back as pong; a gen_server:call as what it asked. */
static murre_err echo_handle(murre_ctx *cx, void *st, const murre_msg *m) {
    uint32_t arity;
    murre_pid to;
    (void)st;
    murre_builder *b = murre_build();
    murre_put_term(b, m->term);
    if (m->kind == MURRE_CALL) return murre_reply(cx, m, &b);
    murre_build_free(b);
    murre_reader in = murre_read(m->term);
    if (m->kind != MURRE_INFO || !murre_get_tuple(&in, &arity) || arity != 2 || !murre_get_atom_is(&in, "ping") ||
        !murre_get_pid(cx, &in, &to))
        return MURRE_OK;
    b = murre_build();
    murre_put_atom(b, "pong");
    return murre_send(cx, to, &b);
}

static const murre_class echoes = {.size = sizeof echoes, .name = "echo", .init = echo_init, .handle = echo_handle};

static murre_err ping(murre_ctx *cx, pinger *p) {
    murre_builder *b = murre_build();
    murre_put_tuple(b, 2);
    murre_put_atom(b, "ping");
    murre_put_pid(cx, b, murre_self(cx));
    p->at = now_nsec();
    murre_err e = murre_send_name(cx, "echo", p->o->node, &b);
    return e ? fail(p->o, "%s: %s", p->o->node, murre_err_text(e)) : MURRE_OK;
}

static murre_err pinger_init(murre_ctx *cx, void *st, const void *arg) {
    pinger *p = st;
    p->o = *(order *const *)arg;
    return ping(cx, p);
}

static murre_err pinger_handle(murre_ctx *cx, void *st, const murre_msg *m) {
    pinger *p = st;
    murre_reader in = murre_read(m->term);
    if (!murre_get_atom_is(&in, "pong")) return fail(p->o, "an answer that is no pong");
    p->o->samples[p->n++] = now_nsec() - p->at;
    if (p->n < p->o->count) return ping(cx, p);
    move(p->o, &p->o->done);
    return murre_stop(cx, NULL);
}

static const murre_class pingers = {
    .size = sizeof pingers, .name = "pinger", .state_size = sizeof(pinger), .init = pinger_init, .handle = pinger_handle};

/* --- who is connected */
static murre_err watcher_init(murre_ctx *cx, void *st, const void *arg) {
    (void)st, (void)arg;
    murre_watch_nodes(cx, true);
    return MURRE_OK;
}

static murre_err watcher_handle(murre_ctx *cx, void *st, const murre_msg *m) {
    (void)cx, (void)st;
    if (m->kind != MURRE_NODE_UP && m->kind != MURRE_NODE_DOWN) return MURRE_OK;
    printf("%s %.*s\n", m->kind == MURRE_NODE_UP ? "up" : "down", (int)m->node.len, (const char *)m->node.p);
    return MURRE_OK;
}

static const murre_class watchers = {.size = sizeof watchers, .name = "watcher", .init = watcher_init, .handle = watcher_handle};

/* --- commands */
static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void flood(murre_node *n, order *o) {
    murre_pid pids[SENDERS_MAX];
    order *const *arg = &o;
    for (int64_t i = 0; i < o->senders; i++)
        if (murre_node_spawn(n, &senders, arg, &pids[i])) fail(o, "a sender cannot start");
    if (!wait_for(o, &o->ready, o->senders)) return;
    int64_t begun = now_nsec();
    for (int64_t i = 0; i < o->senders; i++) {
        murre_builder *b = murre_build();
        murre_put_text(b, "{go, 0}");
        if (murre_node_send(n, pids[i], &b)) fail(o, "a sender is gone");
    }
    if (wait_for(o, &o->done, o->senders)) printf("flooded %lld\n", (long long)(o->last - begun));
}

static void pingpong(murre_node *n, order *o) {
    order *const *arg = &o;
    o->samples = calloc((size_t)o->count, sizeof *o->samples);
    if (!o->samples || murre_node_spawn(n, &pingers, arg, NULL)) fail(o, "nobody can ping");
    if (wait_for(o, &o->done, 1)) {
        qsort(o->samples, (size_t)o->count, sizeof *o->samples, by_value);
        printf("pinged %lld %lld %lld\n", (long long)o->samples[o->count / 2], (long long)o->samples[o->count * 99 / 100],
               (long long)o->samples[o->count - 1]);
    }
    free(o->samples);
}

static void obey(murre_node *n, const char *line) {
    order o = {.lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};
    long long senders_, count, size, window;
    if (sscanf(line, "flood %255s %lld %lld %lld %lld", o.node, &senders_, &count, &size, &window) == 5 && senders_ >= 1 &&
        senders_ <= SENDERS_MAX && count >= 1 && count <= COUNT_MAX && size >= 0 && size <= SIZE_MAX_ && window >= 4) {
        o.senders = senders_, o.count = count, o.size = size, o.window = window;
        o.bytes = calloc((size_t)size + 1, 1);
        flood(n, &o);
        free(o.bytes);
    } else if (sscanf(line, "ping %255s %lld", o.node, &count) == 2 && count >= 1 && count <= SAMPLES_MAX) {
        o.count = count;
        pingpong(n, &o);
    } else {
        fail(&o, "not a command");
    }
    if (*o.why) printf("failed %s\n", o.why);
}

/* NAME COOKIE-FILE PORT-OF-EPMD CONTROL-SOCKET [SPIN, microseconds] */
int main(int argc, char **argv) {
    char line[LINE], why[200];
    murre_node *n;
    if (argc < 5) return fprintf(stderr, "usage: %s NAME COOKIE-FILE EPMD-PORT SOCKET [SPIN]\n", argv[0]), 2;
    murre_config c = {.size = sizeof c, .name = argv[1], .cookie_file = argv[2], .control = argv[4]};
    c.epmd_port = (uint16_t)strtoul(argv[3], NULL, 10);
    if (argc > 5) c.spin = strtol(argv[5], NULL, 10);
    (void)mallopt(M_TRIM_THRESHOLD, 8 << 20); /* as docs/libmurre.md advises where much comes */
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (murre_node_start(&c, &n, why, sizeof why)) return printf("failed %s\n", why), 1;
    if (murre_node_spawn(n, &sinks, NULL, NULL) || murre_node_spawn(n, &echoes, NULL, NULL) || murre_node_spawn(n, &watchers, NULL, NULL))
        return printf("failed an actor cannot start\n"), 1;
    printf("ready\n");
    while (fgets(line, sizeof line, stdin)) obey(n, line);
    murre_node_stop(n);
}
