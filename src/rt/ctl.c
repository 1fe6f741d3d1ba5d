/* ctl: the operator's door, beside the shards.
 *
 *     murrectl          thread "ctl"                                   threads "ctl-run", "ctl-wait"
 *     connect  ----->   credentials, READING
 *     request  ----->   whole: looks the verb up
 *                         reads only: runs it here  -> WRITING
 *                         mutates: RUNNING  ------- runs ----------->  runs it (import, backup: may take minutes)
 *                         waits: RUNNING  --------- waits ---------->  runs it (probe: as long as the operator says)
 *                         WRITING  <-------------- done, poll_wake --
 *     reply    <-----   gone when it is written, or, if the answer goes on,
 *     frame    <-----   STREAMING: whenever there is more, until the client closes
 *
 * Why several threads: `status` must be answered while an import of a million users runs, and `locks on` while somebody probes an actor
 * that does not answer. Verbs that mutate run one after the other; of those that wait, WAITERS at once.
 *
 * Invariants: (1) a client belongs to the ctl thread, except its request and reply while it is RUNNING; then it is in no poller. (2) No
 * client waits for another: sockets never block, and one that makes no progress for CLIENT_IDLE is closed. (3) At most CLIENTS_MAX clients;
 * more wait in the kernel's queue, not in ours. (4) Every request that was read is answered, bad ones and those of strangers too. (5) Verbs
 * run with no lock held. (6) Of an answer that goes on at most FRAMES_BYTES wait for its client: what a slow one misses is lost, and
 * counted, where it comes from. */
#include "rt/ctl.h"

#include "base/cursor.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "rt/core.h"

#include <inttypes.h>
#include <stdio.h>

#define CLIENTS_MAX  64u
#define WAITERS      4u /* as many operators probe at once as an outage has; a thread each */
#define CLIENT_IDLE  (30 * USEC_PER_SEC)
#define STOP_GRACE   USEC_PER_SEC          /* for replies that are on their way when the node stops */
#define ACCEPT_PAUSE (100 * USEC_PER_MSEC) /* when no descriptor is free: without it the listener would be ready for ever */
#define BACKLOG      64
#define READ_CHUNK   65536u
#define FRAMES_BYTES 65536u
#define FRAME_MAX    65536u /* the tree of one */
#define TOKEN_LISTEN UINT64_C(0xffffffff)
#define READY_MAX    32
#define ARENA_MAX    ((size_t)RT_CTL_REPLY_MAX)
#define AUDIT_MAX    RT_EVENT_TEXT

typedef enum client_state { CLIENT_FREE, CLIENT_READING, CLIENT_RUNNING, CLIENT_WRITING, CLIENT_STREAMING } client_state;
typedef struct client {
    client_state state;
    int fd;
    int64_t uid;
    buf in, out;         /* with their length words */
    size_t sent;         /* of out */
    usec idle_end;       /* closed at this time unless something moves; not while RUNNING or STREAMING */
    rt_stream *stream;   /* what follows the reply; NULL: nothing */
    struct client *next; /* in the queue */
} client;

typedef struct work_list { /* RUNNING clients on their way to threads that do nothing else */
    rt_ctl *ctl;
    client *first; /* guarded by ctl->lock, like the rest */
    lock_cond work;
} work_list;

struct rt_ctl {
    rt_node *node;
    char *path;
    int fd, poll;
    int64_t uid;    /* our own */
    bool listening; /* the listener is polled: there is room for a client */
    usec listen_at; /* not polled before this time; 0: no pause */
    sys_thread *thread, *runner, *waiter[WAITERS];
    _Atomic bool stop; /* relaxed: followed by a wake of the poller */
    rt_msacc msacc;
    client at[CLIENTS_MAX];
    lock lock; /* guards what follows, and RUNNING clients on their way */
    work_list runs, waits;
    client *done;
    bool workers_stop;
};

/* --- running a request ----------------------------------------------------------------------------------------------------------- */
static void reply_error(buf *out, err e, const char *why) {
    arena a;
    arena_init(&a, 16384);
    val *v = val_map(&a);
    val_set(&a, v, "ok", val_bool(&a, false));
    val_set(&a, v, "error", val_str(&a, slice_str(err_name(e))));
    val_set(&a, v, "why", val_str(&a, slice_str(why && why[0] ? why : err_text(e))));
    val_json(v, out);
    arena_fini(&a);
}

static err parse_request(slice request, slice *module, slice *function, rt_verb_call *c) {
    cursor in = cursor_of(request);
    if (!cursor_lslice(&in, module) || !cursor_lslice(&in, function) || !cursor_lslice(&in, &c->input)) return ERR_PROTO;
    while (cursor_left(&in) > 0) {
        if (c->n_args == RT_VERB_ARGS_MAX) return ERR_LIMIT;
        if (!cursor_lslice(&in, &c->args[c->n_args])) return ERR_PROTO;
        c->n_args++;
    }
    return ERR_OK;
}

typedef struct near_miss { /* a verb of the name that was asked for, with other arguments */
    slice module, function;
    const rt_verb *verb;
} near_miss;
static void find_near(void *arg, const rt_verb *v) {
    near_miss *m = arg;
    if (!m->verb && slice_is(m->module, v->module) && slice_is(m->function, v->function)) m->verb = v;
}

static void reply_unknown(rt_node *n, slice module, slice function, size_t n_args, buf *out) {
    char text[RT_EVENT_TEXT], mod[64], fun[64];
    near_miss m = {.module = module, .function = function};
    rt_node_each_verb(n, find_near, &m);
    (void)utf8_escape(module, mod, sizeof mod);
    (void)utf8_escape(function, fun, sizeof fun);
    if (m.verb)
        (void)snprintf(text, sizeof text, "wrong number of arguments (%zu); usage: %s", n_args, m.verb->usage);
    else
        (void)snprintf(text, sizeof text, "there is no command %s %s; \"help\" lists them", mod, fun);
    reply_error(out, m.verb ? ERR_INVALID : ERR_NOT_FOUND, text);
}

/* What was asked, without the input, which may be a password. */
static void audit(rt_node *n, int64_t uid, const rt_verb *v, const rt_verb_call *c) {
    buf b;
    buf_init(&b, AUDIT_MAX);
    buf_addf(&b, "%s %s", v->module, v->function);
    for (size_t i = 0; i < c->n_args && buf_ok(&b); i++) {
        buf_add_byte(&b, ' ');
        buf_add(&b, c->args[i]);
    }
    rt_event_ext(n, EV_CTL, (uint64_t)uid, 0, buf_slice(&b));
    buf_fini(&b);
}

static void end_stream(rt_stream **s) {
    if (*s) (*s)->close(*s);
    *s = NULL;
}

static void run_verb(rt_node *n, int64_t uid, const rt_verb *v, rt_verb_call *c, buf *out) {
    arena a;
    arena_init(&a, ARENA_MAX);
    c->node = n;
    c->env = rt_node_env(n);
    c->arena = &a;
    if (v->how == RT_MUTATES) audit(n, uid, v, c);
    err e = v->fn(c);
    if (!e && c->stream && v->how != RT_MUTATES) audit(n, uid, v, c); /* who watches is on record */
    if (e) {
        reply_error(out, e, c->why);
    } else {
        size_t before = out->len;
        val *reply = val_map(&a);
        val_set(&a, reply, "ok", val_bool(&a, true));
        if (c->stream) val_set(&a, reply, "stream", val_bool(&a, true));
        val_set(&a, reply, "result", c->result ? c->result : val_null(&a));
        val_json(reply, out);
        if (!buf_ok(out)) {
            out->len = before;
            out->failed = false;
            reply_error(out, ERR_LIMIT, "the result is too large");
            end_stream(&c->stream);
        }
    }
    arena_fini(&a);
}

static void run_request(rt_node *n, int64_t uid, slice request, buf *out_reply, rt_stream **out_stream) {
    rt_verb_call c = {.n_args = 0};
    slice module, function;
    err e = parse_request(request, &module, &function, &c);
    if (e) {
        reply_error(out_reply, e, e == ERR_LIMIT ? "too many arguments" : "the request is not well formed");
        return;
    }
    const rt_verb *v = rt_node_verb(n, module, function, c.n_args);
    if (v)
        run_verb(n, uid, v, &c, out_reply);
    else
        reply_unknown(n, module, function, c.n_args, out_reply);
    *out_stream = c.stream;
}

void rt_ctl_run(rt_node *n, int64_t uid, slice request, buf *out_reply) {
    rt_stream *stream = NULL;
    run_request(n, uid, request, out_reply, &stream);
    end_stream(&stream); /* nobody is there for what follows */
}

/* Whose work a request is; NULL: the ctl thread's own. */
static work_list *list_for(rt_ctl *ctl, slice request) {
    rt_verb_call c = {.n_args = 0};
    slice module, function;
    if (parse_request(request, &module, &function, &c)) return NULL;
    const rt_verb *v = rt_node_verb(ctl->node, module, function, c.n_args);
    if (!v) return NULL;
    return v->how == RT_MUTATES ? &ctl->runs : v->how == RT_WAITS ? &ctl->waits : NULL;
}

/* --- clients --------------------------------------------------------------------------------------------------------------------- */
static uint64_t token_of(const rt_ctl *c, const client *x) { return (uint64_t)(x - c->at); }

static void listen_more(rt_ctl *c, bool on) {
    sys *s = c->node->s;
    if (on == c->listening || (on && c->listen_at > 0)) return;
    if (!on)
        s->poll_del(s, c->poll, c->fd);
    else if (s->poll_set(s, c->poll, c->fd, SYS_IN, TOKEN_LISTEN))
        return; /* tried again when the next client leaves */
    c->listening = on;
}

/* Of what follows a length word. */
static void set_length(buf *b, size_t head) {
    size_t n = b->len - head - sizeof(uint32_t);
    for (size_t i = 0; i < sizeof(uint32_t); i++) b->p[head + i] = (uint8_t)(n >> (8 * i));
}

static void drop(rt_ctl *c, client *x) {
    c->node->s->close(c->node->s, x->fd);
    end_stream(&x->stream);
    buf_fini(&x->in);
    buf_fini(&x->out);
    x->state = CLIENT_FREE;
    listen_more(c, true);
}

static void wake_up(void *arg) {
    const rt_ctl *c = arg;
    c->node->s->poll_wake(c->node->s, c->poll);
}

/* Puts what the stream has now into out, as far as it may wait there. False: nothing. */
static bool take_frames(client *x) {
    buf_reset(&x->out);
    x->sent = 0;
    arena a;
    arena_init(&a, FRAME_MAX);
    val *frame = NULL;
    while (x->out.len < FRAMES_BYTES && x->stream->next(x->stream, &a, &frame)) {
        size_t head = x->out.len;
        buf_add_u32le(&x->out, 0);
        val_json(frame, &x->out);
        set_length(&x->out, head);
        arena_reset(&a);
    }
    arena_fini(&a);
    return x->out.len > 0;
}

/* What was written before is out: the next frames wait for the socket, or the client for more. */
static void stream_on(rt_ctl *c, client *x) {
    sys *s = c->node->s;
    bool more = take_frames(x);
    if (!more && x->state == CLIENT_STREAMING) return;
    x->state = more ? CLIENT_WRITING : CLIENT_STREAMING;
    x->idle_end = s->mono(s) + CLIENT_IDLE;
    if (s->poll_set(s, c->poll, x->fd, more ? SYS_OUT : SYS_IN, token_of(c, x))) drop(c, x); /* SYS_IN: to hear it close */
}

/* Nothing more is to be said on this connection: what comes is its end, or thrown away. */
static void on_stream_readable(rt_ctl *c, client *x) {
    sys *s = c->node->s;
    uint8_t waste[1024];
    size_t n = 0;
    err e = s->read(s, x->fd, waste, sizeof waste, &n);
    if (e && e != ERR_AGAIN) drop(c, x);
}

static void try_write(rt_ctl *c, client *x) {
    sys *s = c->node->s;
    while (x->sent < x->out.len) {
        sys_iov v = {x->out.p + x->sent, x->out.len - x->sent};
        size_t n = 0;
        err e = s->writev(s, x->fd, &v, 1, &n);
        if (e == ERR_AGAIN) {
            if (s->poll_set(s, c->poll, x->fd, SYS_OUT, token_of(c, x))) drop(c, x);
            return;
        }
        if (e) {
            drop(c, x);
            return;
        }
        x->sent += n;
        x->idle_end = s->mono(s) + CLIENT_IDLE;
    }
    if (x->stream)
        stream_on(c, x);
    else
        drop(c, x);
}

static void start_reply(client *x) {
    buf_reset(&x->out);
    buf_add_u32le(&x->out, 0);
}
static void finish_reply(client *x) {
    set_length(&x->out, 0);
    buf_fini(&x->in);
}
static void send_reply(rt_ctl *c, client *x) {
    x->state = CLIENT_WRITING;
    x->sent = 0;
    x->idle_end = c->node->s->mono(c->node->s) + CLIENT_IDLE;
    try_write(c, x);
}

static void refuse(rt_ctl *c, client *x, err e, const char *why) {
    start_reply(x);
    reply_error(&x->out, e, why);
    finish_reply(x);
    send_reply(c, x);
}

static void execute(rt_ctl *c, client *x) {
    start_reply(x);
    run_request(c->node, x->uid, slice_from(buf_slice(&x->in), sizeof(uint32_t)), &x->out, &x->stream);
    if (x->stream) x->stream->wake(x->stream, wake_up, c);
    finish_reply(x);
}

static void request_complete(rt_ctl *c, client *x) {
    sys *s = c->node->s;
    work_list *to = list_for(c, slice_from(buf_slice(&x->in), sizeof(uint32_t)));
    if (!to) {
        execute(c, x);
        send_reply(c, x);
        return;
    }
    s->poll_del(s, c->poll, x->fd);
    x->state = CLIENT_RUNNING;
    x->next = NULL;
    lock_take(&c->lock);
    client **at = &to->first;
    while (*at) at = &(*at)->next;
    *at = x;
    lock_signal(&to->work);
    lock_release(&c->lock);
}

/* Bytes that the request still lacks; 0: it is whole. False: it is larger than it may be. */
static bool request_lacks(const client *x, size_t *out) {
    cursor in = cursor_of(buf_slice(&x->in));
    uint32_t len;
    if (!cursor_u32le(&in, &len)) {
        *out = sizeof(uint32_t) - x->in.len;
        return true;
    }
    if (len > RT_CTL_REQUEST_MAX) return false;
    *out = len - cursor_left(&in);
    return true;
}

static void on_readable(rt_ctl *c, client *x) {
    sys *s = c->node->s;
    for (;;) {
        size_t lacks, n = 0;
        if (!request_lacks(x, &lacks)) {
            refuse(c, x, ERR_LIMIT, "the request is too large");
            return;
        }
        if (lacks == 0) {
            request_complete(c, x);
            return;
        }
        size_t want = lacks < READ_CHUNK ? lacks : READ_CHUNK; /* never past the request: one a connection */
        uint8_t *p = buf_reserve(&x->in, want);
        err e = p ? s->read(s, x->fd, p, want, &n) : ERR_LIMIT;
        if (e == ERR_AGAIN) return;
        if (e) {
            drop(c, x);
            return;
        }
        buf_added(&x->in, n);
        x->idle_end = s->mono(s) + CLIENT_IDLE;
    }
}

static void on_accept(rt_ctl *c) {
    sys *s = c->node->s;
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        client *x = &c->at[i];
        if (x->state != CLIENT_FREE) continue;
        int fd;
        err e = s->accept(s, c->fd, &fd, NULL);
        if (e == ERR_AGAIN) return;
        if (e) {
            c->listen_at = s->mono(s) + ACCEPT_PAUSE;
            listen_more(c, false);
            return;
        }
        *x = (client){.state = CLIENT_READING, .fd = fd, .uid = -1, .idle_end = s->mono(s) + CLIENT_IDLE};
        buf_init(&x->in, RT_CTL_REQUEST_MAX + sizeof(uint32_t));
        buf_init(&x->out, RT_CTL_REPLY_MAX);
        sys_peer peer;
        if (s->poll_set(s, c->poll, fd, SYS_IN, token_of(c, x)) || s->peer_cred(s, fd, &peer)) {
            drop(c, x);
            continue;
        }
        x->uid = peer.uid;
        if (peer.uid != 0 && peer.uid != c->uid) refuse(c, x, ERR_PERM, "only the server's own user and root may do this");
    }
    listen_more(c, false);
}

static void take_done(rt_ctl *c) {
    lock_take(&c->lock);
    client *x = c->done;
    c->done = NULL;
    lock_release(&c->lock);
    while (x) {
        client *next = x->next;
        send_reply(c, x);
        x = next;
    }
}

/* Closes those that have been silent for too long, and listens again after a pause; returns when there is more of this to do. */
static usec sweep(rt_ctl *c, usec now) {
    usec next = USEC_NEVER;
    if (c->listen_at > now)
        next = c->listen_at;
    else if (c->listen_at > 0) {
        c->listen_at = 0;
        listen_more(c, true);
    }
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        client *x = &c->at[i];
        if (x->state != CLIENT_READING && x->state != CLIENT_WRITING) continue;
        if (x->idle_end <= now)
            drop(c, x);
        else
            next = usec_min(next, x->idle_end);
    }
    return next;
}

static bool answering(const rt_ctl *c) {
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (c->at[i].state == CLIENT_RUNNING || c->at[i].state == CLIENT_WRITING) return true;
    return false;
}

/* --- threads --------------------------------------------------------------------------------------------------------------------- */
static void ctl_thread(void *arg) {
    rt_ctl *c = arg;
    sys *s = c->node->s;
    usec end = USEC_NEVER; /* of the grace, once it stops */
    for (;;) {
        usec now = s->mono(s), until = usec_min(sweep(c, now), end);
        if (end == USEC_NEVER && atomic_load_explicit(&c->stop, memory_order_relaxed)) {
            end = until = now + STOP_GRACE;
            listen_more(c, false);
            c->listen_at = USEC_NEVER;
        }
        if (end != USEC_NEVER && (now >= end || !answering(c))) return;
        sys_ready r[READY_MAX];
        rt_msacc_set(s, &c->msacc, RT_MSACC_SLEEP);
        int n = s->poll_wait(s, c->poll, until == USEC_NEVER ? USEC_NEVER : until - now, r, READY_MAX);
        rt_msacc_set(s, &c->msacc, RT_MSACC_OTHER);
        for (int i = 0; i < n; i++) {
            if (r[i].token == TOKEN_LISTEN) {
                on_accept(c);
                continue;
            }
            client *x = &c->at[r[i].token % CLIENTS_MAX]; /* may have been dropped, or reused, in this round: then the calls say AGAIN */
            if (x->state == CLIENT_READING)
                on_readable(c, x);
            else if (x->state == CLIENT_WRITING)
                try_write(c, x);
            else if (x->state == CLIENT_STREAMING)
                on_stream_readable(c, x);
        }
        for (unsigned i = 0; i < CLIENTS_MAX; i++)
            if (c->at[i].state == CLIENT_STREAMING) stream_on(c, &c->at[i]);
        take_done(c);
    }
}

static void work_thread(void *arg) {
    work_list *from = arg;
    rt_ctl *c = from->ctl;
    lock_take(&c->lock);
    for (;;) {
        client *x = from->first;
        if (!x && c->workers_stop) break;
        if (!x) {
            (void)lock_wait(&from->work, &c->lock, -1); /* the loop looks for itself */
            continue;
        }
        from->first = x->next;
        lock_release(&c->lock);
        execute(c, x);
        lock_take(&c->lock);
        x->next = c->done;
        c->done = x;
        lock_release(&c->lock);
        c->node->s->poll_wake(c->node->s, c->poll);
        lock_take(&c->lock);
    }
    lock_release(&c->lock);
}

/* --- life ------------------------------------------------------------------------------------------------------------------------ */
static err open_all(rt_ctl *c) {
    sys *s = c->node->s;
    sys_addr a = {.family = SYS_UNIX, .path = c->path};
    sys_peer self;
    err e = s->poll_new(s, &c->poll);
    if (e) return e;
    e = s->listen(s, &a, BACKLOG, false, &c->fd);
    if (!e) {
        e = s->peer_cred(s, c->fd, &self); /* of a listening socket: of who listens */
        if (!e) e = s->poll_set(s, c->poll, c->fd, SYS_IN, TOKEN_LISTEN);
        if (!e) {
            c->uid = self.uid;
            c->listening = true;
            return ERR_OK;
        }
        s->close(s, c->fd);
        (void)s->file_unlink(s, c->path); /* made just now; if it stays it is stale, and replaced at the next start */
    }
    s->poll_free(s, c->poll);
    return e;
}

err rt_ctl_new(rt_node *n, const char *path, rt_ctl **out) {
    rt_ctl *c = mem_zalloc(sizeof *c);
    c->node = n;
    c->path = slice_dup_str(slice_str(path));
    err e = open_all(c);
    if (e) {
        mem_free(c->path);
        mem_free(c);
        return e;
    }
    lock_init(&c->lock, &n->locks, "ctl", 0, LOCK_RANK_CTL);
    c->runs.ctl = c->waits.ctl = c;
    lock_cond_init(&c->runs.work);
    lock_cond_init(&c->waits.work);
    rt_msacc_join(n, &c->msacc, RT_MSACC_CTL, 0);
    *out = c;
    return ERR_OK;
}

err rt_ctl_start(rt_ctl *c) {
    sys *s = c->node->s;
    err e = s->thread_start(s, "ctl-run", work_thread, &c->runs, &c->runner);
    for (unsigned i = 0; i < WAITERS && !e; i++) e = s->thread_start(s, "ctl-wait", work_thread, &c->waits, &c->waiter[i]);
    return e ? e : s->thread_start(s, "ctl", ctl_thread, c, &c->thread);
}

static void stop_threads(rt_ctl *c) {
    sys *s = c->node->s;
    atomic_store_explicit(&c->stop, true, memory_order_relaxed);
    s->poll_wake(s, c->poll);
    if (c->thread) s->thread_join(s, c->thread);
    lock_take(&c->lock);
    c->workers_stop = true;
    lock_broadcast(&c->runs.work);
    lock_broadcast(&c->waits.work);
    lock_release(&c->lock);
    if (c->runner) s->thread_join(s, c->runner);
    rt_calls_end(c->node); /* a probe that waits for a minute holds up no end; what changes something was waited for */
    for (unsigned i = 0; i < WAITERS; i++)
        if (c->waiter[i]) s->thread_join(s, c->waiter[i]);
}

void rt_ctl_free(rt_ctl *c) {
    if (!c) return;
    sys *s = c->node->s;
    stop_threads(c);
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        if (c->at[i].state != CLIENT_FREE) drop(c, &c->at[i]);
    (void)s->file_unlink(s, c->path); /* somebody may have removed it */
    s->close(s, c->fd);
    s->poll_free(s, c->poll);
    rt_msacc_leave(c->node, &c->msacc);
    lock_cond_fini(&c->runs.work);
    lock_cond_fini(&c->waits.work);
    lock_fini(&c->lock);
    mem_free(c->path);
    mem_free(c);
}
