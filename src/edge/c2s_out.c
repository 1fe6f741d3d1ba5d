/* c2s_out: from messages to bytes. What a round produces for a client is collected and written with one writev at the end of the round;
 * under TLS it is encrypted then, so that a round makes one record. When everything is written the buffers are freed.
 *
 *      SVC_DELIVER --> plain ----(seal)----> wire --> socket
 *                      may be dropped        must go out as it is
 *
 * A client that does not read: (1) best-effort stanzas may fill three quarters of out_bytes_max, then they are dropped; kept messages,
 * of which the partition has a bounded number in flight, may fill the rest; (2) a client for which things were dropped for write_timeout,
 * or for which a kept message has no room, is sent a stream error and closed; (3) one that takes no byte for write_timeout is lost.
 *
 * While memory is tight (rt/memory.h) out_bytes_max counts as an EDGE_TIGHT_OUT-th of itself.
 *
 * Invariants: (1) plain + wire <= out_bytes_max plus one stanza and what the edge itself says. (2) s->out is NULL when nothing waits. */
#include "base/mem.h"
#include "base/plant.h"
#include "edge/c2s_fn.h"
#include "rt/memory.h"
#include "rt/trace.h"

edge_out *edge_c2s_out_get(edge_c2s *s) {
    if (s->out) return s->out;
    s->out = mem_zalloc(sizeof *s->out);
    size_t max = 2u * (size_t)s->door->cfg->out_bytes_max + 8u * (size_t)s->door->cfg->stanza_bytes_max;
    buf_init(&s->out->plain, max);
    buf_init(&s->out->wire, 2 * max); /* records and alerts add to it */
    return s->out;
}

buf *edge_c2s_out(rt_ctx *cx, edge_c2s *s) {
    rt_flush_later(cx);
    return &edge_c2s_out_get(s)->plain;
}

void edge_c2s_out_free(edge_c2s *s) {
    if (!s->out) return;
    buf_fini(&s->out->plain);
    buf_fini(&s->out->wire);
    mem_free(s->out);
    s->out = NULL;
}

size_t edge_c2s_out_pending(const edge_c2s *s) { return s->out ? s->out->plain.len + s->out->wire.len - s->out->off : 0; }

void edge_c2s_out_slow(rt_ctx *cx, edge_c2s *s) {
    rt_event_text(cx, EV_SLOW_CLIENT, (uint64_t)(s->fd < 0 ? 0 : s->fd), edge_c2s_out_pending(s), edge_c2s_full(s));
    if (s->out) buf_reset(&s->out->plain); /* what waits would not be read in time either */
    if (!plant(SLOW_CLIENT_STAYS)) edge_c2s_close(cx, s, STREAM_POLICY_VIOLATION, "you do not take what you are sent");
}

/* --- stanzas to the client ------------------------------------------------------------------------------------------------------ */
void edge_c2s_out_stanza(rt_ctx *cx, edge_c2s *s, const rt_blob *env, const rt_blob *extra) {
    xmpp_env e;
    if (!check(xmpp_env_unpack(rt_blob_slice(env), &e) == ERR_OK)) return;
    slice own = e.kind == XMPP_PRESENCE ? edge_c2s_bare(s) : edge_c2s_full(s); /* RFC 6121 4.2.2: a broadcast goes to the bare JID */
    xmpp_env_write(edge_c2s_out(cx, s), &e, e.to.p ? e.to : own, rt_blob_slice(extra));
}

/* Is there room in the buffer? false: it is dropped, or the session was ended. */
static bool room(rt_ctx *cx, edge_c2s *s, size_t bytes, bool kept) {
    size_t max = s->door->cfg->out_bytes_max / (rt_memory_tight(s->door->node) ? EDGE_TIGHT_OUT : 1), pending = edge_c2s_out_pending(s);
    if (pending + bytes <= (kept ? max : max / 4 * 3) || pending == 0) return true;
    if (kept) {
        edge_c2s_out_slow(cx, s);
    } else if (!s->out->dropping) {
        s->out->dropping = rt_now(cx);
        edge_c2s_arm(cx, s);
    }
    return false;
}

/* Takes *env and *extra over, in any case. */
static void deliver(rt_ctx *cx, edge_c2s *s, rt_blob **env, rt_blob **extra, uint32_t keep) {
    bool ending = s->state == EDGE_ENDING && keep == 0; /* answers to its last stanzas; what is kept will be delivered again */
    bool live = s->state == EDGE_BOUND || s->state == EDGE_LOST || ending;
    size_t bytes = (*env ? (*env)->len : 0) + (*extra ? (*extra)->len : 0);
    if (!live || !*env) return;
    if (keep && keep != s->keep_written + 1) { /* one was refused on its way here: acks must not cover it */
        edge_c2s_close(cx, s, STREAM_INTERNAL_SERVER_ERROR, "a message got lost on its way to this session; it will be sent again");
        return;
    }
    if (s->fd >= 0 && !(s->flags & EDGE_F_ATTACHED) && !room(cx, s, bytes, keep > 0)) return;
    if (s->sm.enabled && !edge_c2s_ack_room(cx, s, bytes, keep > 0)) return;
    bool written = s->fd >= 0 && !(s->flags & EDGE_F_ATTACHED);
    if (written) edge_c2s_out_stanza(cx, s, *env, *extra);
    rt_trace_step(cx, rt_trace(cx), EV_TRACE_OUT, keep, bytes, written);
    if (keep) {
        s->keep_written = keep;
        s->flags |= EDGE_F_ASK;
    }
    if (s->sm.enabled) edge_c2s_ack_hold(s, env, extra, keep);
}

void edge_c2s_out_deliver(rt_ctx *cx, edge_c2s *s, svc_deliver *d) {
    deliver(cx, s, &d->env, &d->extra, d->keep); /* what it leaves is released with the message */
}

void edge_c2s_out_env(rt_ctx *cx, edge_c2s *s, const xmpp_env *e) {
    buf *b = &s->door->pack;
    buf_reset(b);
    xmpp_env_pack(b, e);
    rt_blob *env = rt_blob_new(buf_slice(b)), *none = NULL;
    deliver(cx, s, &env, &none, 0);
    rt_blob_unref(env);
}

/* --- to the socket -------------------------------------------------------------------------------------------------------------- */
err edge_c2s_out_seal(edge_c2s *s) {
    edge_out *o = s->out;
    if (!o || o->plain.len == 0) return ERR_OK;
    if (!buf_ok(&o->plain)) return ERR_LIMIT;
    if (s->tls) {
        err e = s->door->tls->conn_write(s->tls, buf_slice(&o->plain), &o->wire);
        if (e) return e;
        buf_fini(&o->plain);
    } else if (o->wire.len == 0) {
        size_t max = o->wire.max;
        o->wire = o->plain;
        o->wire.max = max;
        o->plain = (buf){.max = o->plain.max};
    } else {
        buf_add(&o->wire, buf_slice(&o->plain));
        buf_fini(&o->plain);
    }
    return buf_ok(&o->wire) ? ERR_OK : ERR_LIMIT;
}

static void want_out(rt_ctx *cx, edge_c2s *s, bool on) {
    if (on == (bool)(s->flags & EDGE_F_OUT_ON)) return;
    if (on)
        s->flags |= EDGE_F_OUT_ON;
    else
        s->flags &= (uint16_t)~EDGE_F_OUT_ON;
    rt_port_interest(cx, s->fd, (s->flags & EDGE_F_IN_OFF ? 0 : SYS_IN) | (on ? SYS_OUT : 0));
}

/* Writes until nothing is left (ERR_OK), or nothing more is taken (ERR_AGAIN). */
static err drain(edge_c2s *s) {
    edge_out *o = s->out;
    sys *y = s->door->sys;
    for (;;) {
        if (o->off == o->wire.len) {
            buf_fini(&o->wire);
            o->off = 0;
            if (o->plain.len == 0) return ERR_OK;
            err e = edge_c2s_out_seal(s);
            if (e) return e;
        }
        sys_iov iov = {o->wire.p + o->off, o->wire.len - o->off};
        size_t n = 0;
        err e = y->writev(y, s->fd, &iov, 1, &n);
        if (e && e != ERR_AGAIN) return e;
        if (n > 0) o->stalled = 0; /* it takes something */
        o->off += n;
        if (e == ERR_AGAIN || n < iov.len) return ERR_AGAIN;
    }
}

/* Our last byte is written. */
static void closed(rt_ctx *cx, edge_c2s *s) {
    s->flags |= EDGE_F_SHUT;
    if (s->flags & EDGE_F_EOF) {
        edge_c2s_gone(cx, s);
        return;
    }
    s->door->sys->shutdown(s->door->sys, s->fd);
    uint32_t linger = edge_c2s_deadline(cx, EDGE_CLOSE_LINGER);
    if ((int32_t)(s->deadline - linger) > 0) s->deadline = linger;
    edge_c2s_arm(cx, s);
    if (s->flags & EDGE_F_IN_OFF) { /* to hear its end of the stream */
        s->flags &= (uint16_t)~EDGE_F_IN_OFF;
        rt_port_interest(cx, s->fd, SYS_IN);
    }
}

void edge_c2s_out_flush(rt_ctx *cx, edge_c2s *s) {
    if (s->fd < 0 || s->state == EDGE_GONE) return;
    edge_c2s_ack_write(cx, s);
    if (s->state == EDGE_BOUND) edge_c2s_ack_ask(cx, s, false);
    bool last = s->state == EDGE_CLOSING && !(s->flags & EDGE_F_SHUT);
    if (last && s->tls && edge_c2s_out_seal(s) == ERR_OK) { /* </stream:stream>, then close_notify */
        s->door->tls->conn_close(s->tls, &edge_c2s_out_get(s)->wire);
        s->door->tls->conn_free(s->tls);
        s->tls = NULL; /* what still comes is thrown away unread */
    }
    err e = s->out ? drain(s) : ERR_OK;
    if (e == ERR_OK) {
        want_out(cx, s, false);
        edge_c2s_out_free(s);
        if (last)
            closed(cx, s);
        else
            edge_c2s_in_release(cx, s, EDGE_HOLD_OUT);
    } else if (e == ERR_AGAIN) {
        edge_out *o = s->out;
        want_out(cx, s, true);
        if (o->dropping && edge_c2s_out_pending(s) < s->door->cfg->out_bytes_max / 2) o->dropping = 0;
        if (!o->stalled) {
            o->stalled = rt_now(cx);
            edge_c2s_arm(cx, s);
        }
        if (edge_c2s_out_pending(s) < s->door->cfg->out_bytes_max / 8) edge_c2s_in_release(cx, s, EDGE_HOLD_OUT);
    } else {
        edge_c2s_lost(cx, s);
    }
}
