/* link: the life and the bytes of a connection.
 *
 *     accepted, or dialled --handshake--> up --(peer closes, ticktime passes, it says nonsense, another takes its place)--> over: watches
 * fire
 *
 * Reading: into the shard's scratch, straight to the machine of the state, or through link_tls.c. Writing: into out, at the end of the
 * round to the socket. What the socket does not take stays in out; what is long, and what comes while out is long, waits (link_turn.c).
 *
 * A peer drops a link on which it hears nothing for its ticktime. Any frame counts, so a tick is written only where no byte has been and
 * none waits. While bytes wait, the socket gets them as soon as it takes any; as long as it takes none, a tick could not go out either, and
 * in the middle of a frame there is no place for one: that is why long messages go in fragments of 64 KiB.
 *
 * Invariants: (1) between two calls hand is NULL exactly from when the peers' table has this link as up until fini takes it out there.
 * (2) After the end no byte is written, but TLS's goodbye. */
#include "mesh/link.h"

#include "base/mem.h"
#include "rt/event.h"

#include <stdio.h>

#define READS_MAX 4 /* readings of the socket in a row, before others have their turn */

static void say_end(rt_ctx *cx, mesh_link *l, const char *why) {
    buf text;
    if (l->ended) return;
    l->ended = true;
    if (mesh_link_dials(l)) {
        mesh_call_failed(cx, l, why);
        return;
    }
    buf_init(&text, 4096); /* a name, and the longest of link_hand.c */
    if (l->name_len) {
        buf_add(&text, mesh_link_name(l)); /* graphic ASCII (proto/dist/name.h) */
        buf_add_str(&text, ": ");
    }
    buf_add_str(&text, why);
    if (l->hand)
        rt_event_text(cx, EV_MESH_REFUSED, (uint64_t)l->fd, 0, buf_slice(&text));
    else
        rt_event_text(cx, EV_MESH_DOWN, l->index, l->creation, buf_slice(&text));
    buf_fini(&text);
}

err mesh_link_end(rt_ctx *cx, mesh_link *l, const char *why) {
    say_end(cx, l, why);
    rt_stop(cx, ERR_SHUTDOWN);
    return ERR_OK;
}

/* --- writing ---------------------------------------------------------------------------------------------------------------------- */
/* That many more bytes are written. What waits is moved to the front only when it is not longer than what was written before it, so that no
 * byte costs more than one move however little the socket takes at a time, and out is at most twice as long as what waits. */
static void written(mesh_link *l, size_t n) {
    l->out_off += n;
    size_t left = l->out.len - l->out_off;
    if (left > l->out_off) return;
    if (left)
        buf_consume(&l->out, l->out_off);
    else
        buf_fini(&l->out); /* an idle link has none */
    l->out_off = 0;
}

/* What the socket gets next. */
static err next_out(mesh_link *l, slice *out) {
    *out = mesh_link_waiting(l);
    if (!l->tls) return ERR_OK;
    size_t sealed;
    err e = mesh_tls_wire(l, *out, &sealed, out);
    if (!e && sealed) written(l, sealed);
    return e;
}

/* Until the socket takes no more (AGAIN), or there is no more. *out_done: bytes that it took. */
static err send_out(rt_ctx *cx, mesh_link *l, size_t *out_done) {
    sys *y = rt_ctx_sys(cx);
    slice out;
    err e = next_out(l, &out);
    while (!e && out.len) {
        size_t n = 0;
        sys_iov v = {out.p, out.len};
        e = y->writev(y, l->fd, &v, 1, &n);
        *out_done += n;
        l->n.out_bytes += n;
        if (l->tls)
            mesh_tls_wrote(l, n);
        else
            written(l, n);
        if (!e) e = next_out(l, &out);
    }
    return e;
}

void mesh_link_last(rt_ctx *cx, mesh_link *l) {
    size_t done = 0;
    (void)send_out(cx, l, &done); /* it ends anyhow */
}

/* As long as the socket takes all there is more of what waits, but in turns of MESH_TURN_MAX. */
static err fill_and_send(rt_ctx *cx, mesh_link *l, size_t *out_done) {
    size_t turn = 0;
    err e = ERR_OK;
    do {
        if (l->queue) e = mesh_turn_fill(cx, l, &turn);
        if (e || l->ended) return e;
        e = send_out(cx, l, out_done);
    } while (!e && l->queue && turn < MESH_TURN_MAX);
    return e;
}

static err write_out(rt_ctx *cx, mesh_link *l) {
    size_t done = 0;
    err e = fill_and_send(cx, l, &done);
    if (l->ended) return e;
    l->wrote = l->wrote || done > 0;
    if (done > 0 || !l->blocked) l->stuck = 0;
    l->blocked = e == ERR_AGAIN;
    bool wait = l->blocked || l->queue;
    if (wait != l->polled) {
        l->polled = wait;
        rt_port_interest(cx, l->fd, wait ? SYS_IN | SYS_OUT : SYS_IN);
    }
    if (!l->hand) mesh_turn_press(cx, l);
    return e && !l->blocked ? mesh_link_end(cx, l, err_text(e)) : ERR_OK;
}

void mesh_link_flush(rt_ctx *cx, mesh_link *l) {
    if (!l->hand) mesh_turn_press(cx, l);
    rt_flush_later(cx);
}

static bool waits(const mesh_link *l) { return mesh_link_waiting(l).len > 0 || l->queue || !mesh_tls_idle(l); }

static err link_flush(rt_ctx *cx, void *st) {
    mesh_link *l = st;
    return l->blocked || !waits(l) ? ERR_OK : write_out(cx, l);
}

/* --- reading ---------------------------------------------------------------------------------------------------------------------- */
err mesh_link_feed(rt_ctx *cx, mesh_link *l, slice bytes) { return l->hand ? mesh_hand_feed(cx, l, bytes) : mesh_in_feed(cx, l, bytes); }

static err link_ready(rt_ctx *cx, void *st, int fd, uint32_t events) {
    mesh_link *l = st;
    sys *y = rt_ctx_sys(cx);
    err e = ERR_OK;
    if (mesh_call_connects(l)) return mesh_call_ready(cx, l, events);
    if (events & SYS_OUT) e = write_out(cx, l);
    for (int i = 0; i < READS_MAX && !e && !l->ended && l->fd == fd && events & (SYS_IN | SYS_HUP); i++) {
        uint8_t *p = rt_scratch(cx);
        size_t n = 0;
        err r = y->read(y, fd, p, RT_SCRATCH, &n);
        if (r == ERR_AGAIN) return ERR_OK;
        if (r && l->hand) return mesh_hand_cut(cx, l, r);
        if (r) return mesh_link_end(cx, l, r == ERR_EOF ? "it closed the connection" : err_text(r));
        l->heard = true;
        l->n.in_bytes += n;
        e = l->tls ? mesh_tls_feed(cx, l, slice_of(p, n)) : mesh_link_feed(cx, l, slice_of(p, n));
        if (n < RT_SCRATCH) break;
    }
    return e;
}

/* --- time ------------------------------------------------------------------------------------------------------------------------- */
/* Up: each tick interval a tick, if nothing was written since the last one was due; and the peer is gone if it was silent for a ticktime
 * (OTP: dist_util, con_loop: between T - T/I and T + T/I after its last byte; here between T and T + T/I). As there ticks are counted and
 * not time, so that a node that was stopped itself gives each of its peers an interval to be heard. */
static err link_timer(rt_ctx *cx, void *st, rt_timer *t) {
    mesh_link *l = st;
    usec every = l->m->cfg.ticktime / MESH_TICK_INTENSITY;
    if (l->hand) return mesh_link_end(cx, l, mesh_call_connects(l) ? "connecting took too long" : "the handshake took too long");
    l->silent = l->heard ? 0 : (uint8_t)(l->silent + 1);
    l->stuck = l->blocked ? (uint8_t)(l->stuck + 1) : 0;
    l->heard = false;
    if (l->silent >= MESH_TICK_INTENSITY) return mesh_link_end(cx, l, "it was silent for the ticktime");
    if (l->stuck > MESH_TICK_INTENSITY) return mesh_link_end(cx, l, "it did not read for the ticktime");
    if (!l->wrote && !waits(l)) {
        dist_cache_out_idle(&l->enc.cache); /* likely it stays so */
        dist_frame_tick(&l->out);
        l->n.out_ticks++;
        err e = write_out(cx, l); /* at once: a tick does not count as written, or every second one would be left out */
        if (e) return e;
    }
    l->wrote = false;
    rt_timer_set(cx, t, rt_now(cx) + every);
    return ERR_OK;
}

/* --- messages --------------------------------------------------------------------------------------------------------------------- */
static err told_to_end(rt_ctx *cx, mesh_link *l, const rt_blob *why) {
    char text[256];
    slice s = rt_blob_slice(why);
    err e = l->blocked ? ERR_OK : write_out(cx, l);
    (void)snprintf(text, sizeof text, SLICE_FMT, SLICE_ARG(s));
    return e ? e : mesh_link_end(cx, l, text);
}

static err job_done(rt_ctx *cx, mesh_link *l, rt_msg **m) {
    rt_job_done *d = rt_job_done_of(*m);
    if (mesh_tls_is_step(d)) return mesh_tls_stepped(cx, l, d);
    const mesh_lookup *u = mesh_lookup_of(d);
    return u ? mesh_call_found(cx, l, d, u) : mesh_turn_done(cx, l, m);
}

static err link_handle(rt_ctx *cx, void *st, rt_msg **m) {
    mesh_link *l = st;
    switch ((*m)->tag) {
    case MESH_SEND:
    case MESH_SIGNAL: return l->hand ? ERR_OK : mesh_turn_take(cx, l, m);
    case RT_JOB_DONE: return job_done(cx, l, m);
    case MESH_END: return l->hand ? ERR_OK : told_to_end(cx, l, mesh_end_msg_of(*m)->why);
    case RT_DOWN: return l->hand && rt_down_of(*m)->ref == l->hand->old_ref ? mesh_hand_old_down(cx, l) : ERR_OK;
    default: return ERR_OK;
    }
}

/* --- life ------------------------------------------------------------------------------------------------------------------------- */
static err link_init(rt_ctx *cx, void *st, const void *arg) {
    mesh_link *l = st;
    const mesh_link_arg *a = arg;
    l->m = a->m;
    l->fd = a->fd;
    buf_init(&l->out, UINT32_MAX);
    mesh_rels_init(&l->rels);
    if (a->dial) return mesh_call_begin(cx, l, a);
    err e = rt_port_add(cx, a->fd, SYS_IN);
    if (e) return e;
    rt_timer_set(cx, &l->timer, rt_now(cx) + l->m->cfg.setup_time);
    mesh_hand_begin(l, a->secure ? DIST_CARRIER_TLS : DIST_CARRIER_TCP);
    return a->secure ? mesh_tls_accept(cx, l) : ERR_OK;
}

mesh_node_msg mesh_link_node(rt_ctx *cx, const mesh_link *l, bool up) {
    return (mesh_node_msg){.up = up,
                           .hidden = l->hidden,
                           .index = l->index,
                           .link = rt_self(cx),
                           .creation = l->creation,
                           .flags = l->flags,
                           .name = rt_blob_new(mesh_link_name(l))};
}

static void link_fini(rt_ctx *cx, void *st, err reason) {
    mesh_link *l = st;
    /* Told to by another actor; all else was said. */
    if (mesh_link_dials(l) && reason == ERR_SHUTDOWN) l->hand->call->yields = true;
    if (reason == ERR_SHUTDOWN) say_end(cx, l, l->hand ? "its own connection to us was faster" : "it has connected anew");
    if (reason == ERR_KILLED) say_end(cx, l, "this node ended it"); /* for an operator, or with itself */
    if (!l->hand) {
        mesh_turn_fini(cx, l);
        mesh_loss_begin(cx, l);
        dist_in_fini(&l->in);
        dist_out_fini(&l->enc);
    } else if (l->name_len) {
        mesh_peers_down(l->m, cx, rt_self(cx), mesh_link_name(l), l->invented);
    }
    mesh_hand_free(cx, l);
    mesh_tls_free(cx, l);
    mesh_rpcs_free(l->rpcs);
    mem_free(l->name);
    buf_fini(&l->out);
    rt_timer_cancel(cx, &l->timer);
}

const rt_class mesh_link_class = {
    .name = "link",
    .state_size = sizeof(mesh_link),
    .init = link_init,
    .handle = link_handle,
    .ready = link_ready,
    .timer = link_timer,
    .flush = link_flush,
    .fini = link_fini,
    .bound = RT_BOUND_MUTE,
    .mailbox_bytes_max = 4 * MESH_LINK_BYTES,
    .unflushable = true,
};
