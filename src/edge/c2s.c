/* c2s: the actor that holds one client's connection, and, when it is bound, is the session of an account.
 *
 *   socket --> c2s_in --> [xmpp_stream] --> event --> c2s_open   headers, features
 *                ^                            |       c2s_tls    STARTTLS, direct TLS: pool jobs
 *                | hold                       |       c2s_auth   SASL: keys from svc, PLAIN on the pool
 *                |                            |       c2s_bind   resource -> BOUND
 *   SVC_DONE ----+                            |       c2s_resume a new socket for an old session
 *   SVC_DELIVER --> c2s_out --> socket        +-----> SVC_STANZA to the account's partition
 *                     ^ c2s_ack: what the client has not acked
 *
 * This file: the class, the table of states, deadlines, and every way for a stream to end.
 *
 * Invariants: (1) the table of states below holds after every callback. (2) Units are read only while no hold is set, and in states that
 * read. (3) While a job has the TLS state, s->tls is NULL and HOLD_JOB is set. (4) svc is told of the end of a bound session exactly once,
 * unless the partition ended first. (5) The timer is due at the earliest deadline or before it: packets only stamp. (6) An idle bound
 * session has no nego, no out, no in. */
#include "base/mem.h"
#include "edge/c2s_fn.h"

static const struct {
    bool reads; /* units are read */
    bool fd;    /* there is a connection */
    bool bound; /* there is a full JID */
    bool nego;  /* there is a negotiation */
    bool any;   /* bound and nego may be either */
} states[EDGE_STATES_] = {
    [EDGE_HANDSHAKE] = {.reads = true, .fd = true, .nego = true},
    [EDGE_OPEN] = {.reads = true, .fd = true, .nego = true},
    [EDGE_BOUND] = {.reads = true, .fd = true, .bound = true},
    [EDGE_LOST] = {.bound = true},
    [EDGE_ENDING] = {.fd = true, .bound = true},
    [EDGE_CLOSING] = {.fd = true, .any = true},
    [EDGE_HANDOVER] = {.nego = true},
};

edge_more *edge_c2s_more(edge_c2s *s) {
    if (!s->more) s->more = mem_zalloc(sizeof *s->more);
    return s->more;
}

static void drop_more(edge_c2s *s) {
    const edge_more *m = s->more;
    if (!m || m->head || m->in || m->ping_id || s->flags & EDGE_F_REQUESTED) return;
    mem_free(s->more);
    s->more = NULL;
}

static err settle(edge_c2s *s) {
    edge_door_clean(s->door);
    drop_more(s);
    if (s->state == EDGE_GONE) return ERR_OK;
    if (!check(states[s->state].fd == (s->fd >= 0))) return ERR_BUG;
    if (!check(states[s->state].any || states[s->state].bound == (s->jid != NULL))) return ERR_BUG;
    if (!check(states[s->state].any || states[s->state].nego == (s->nego != NULL))) return ERR_BUG;
    return ERR_OK;
}

/* --- deadlines ------------------------------------------------------------------------------------------------------------------ */
/* A stamp of ours is at most weeks old or ahead, so the difference modulo 2^32 milliseconds is the real one. */
uint32_t edge_c2s_deadline(rt_ctx *cx, usec in) { return rt_now_msec(cx) + (uint32_t)((in + USEC_PER_MSEC - 1) / USEC_PER_MSEC); }
static usec until(rt_ctx *cx, uint32_t msec) { return rt_now(cx) + (int32_t)(msec - rt_now_msec(cx)) * USEC_PER_MSEC; }

static usec next_deadline(rt_ctx *cx, const edge_c2s *s) {
    const edge_cfg *c = s->door->cfg;
    usec at = USEC_NEVER;
    switch ((edge_state)s->state) {
    case EDGE_HANDSHAKE:
    case EDGE_OPEN:
    case EDGE_HANDOVER: at = s->nego->deadline; break;
    case EDGE_BOUND: at = s->flags & EDGE_F_PINGED ? until(cx, s->deadline) : until(cx, s->last_in) + c->idle_ping; break;
    case EDGE_LOST:
    case EDGE_ENDING:
    case EDGE_CLOSING: at = until(cx, s->deadline); break;
    case EDGE_GONE:
    case EDGE_STATES_: return USEC_NEVER;
    }
    if (s->out && s->out->stalled) at = usec_min(at, s->out->stalled + c->write_timeout);
    if (s->out && s->out->dropping) at = usec_min(at, s->out->dropping + c->write_timeout);
    if (s->ack && s->ack->dropping && s->state == EDGE_BOUND) at = usec_min(at, s->ack->dropping + c->write_timeout);
    if (s->state == EDGE_BOUND || s->state == EDGE_LOST) at = usec_min(at, edge_c2s_in_stuck(cx, s));
    return at;
}

void edge_c2s_arm(rt_ctx *cx, edge_c2s *s) {
    usec at = next_deadline(cx, s);
    if (xmpp_sm_idle(&s->sm))
        s->flags &= (uint16_t) ~(EDGE_F_WATCHED | EDGE_F_SUSPECT);
    else
        s->flags |= EDGE_F_WATCHED;
    if (s->flags & EDGE_F_ACK_AGAIN) at = usec_min(at, rt_now(cx) + EDGE_ACK_RETRY);
    if (at == USEC_NEVER)
        rt_timer_cancel(cx, &s->timer);
    else
        rt_timer_set(cx, &s->timer, at);
}

static void bound_timer(rt_ctx *cx, edge_c2s *s) {
    const edge_cfg *c = s->door->cfg;
    usec now = rt_now(cx);
    bool slow = (s->out && s->out->dropping && now >= s->out->dropping + c->write_timeout) ||
                (s->ack && s->ack->dropping && now >= s->ack->dropping + c->write_timeout);
    if (slow) {
        edge_c2s_out_slow(cx, s);
    } else if (s->flags & EDGE_F_PINGED) {
        if (now >= until(cx, s->deadline)) { /* silent, and no answer: as good as gone */
            if (edge_c2s_resumable(s))
                edge_c2s_lost(cx, s);
            else
                edge_c2s_close(cx, s, STREAM_CONNECTION_TIMEOUT, NULL);
        }
    } else if (now >= until(cx, s->last_in) + c->idle_ping) {
        s->flags |= EDGE_F_PINGED;
        s->deadline = edge_c2s_deadline(cx, c->idle_timeout);
        edge_c2s_ack_ask(cx, s, true);
    }
}

static err c2s_timer(rt_ctx *cx, void *st, rt_timer *t) {
    edge_c2s *s = st;
    (void)t; /* there is only one */
    usec now = rt_now(cx);
    if (s->flags & EDGE_F_ACK_AGAIN) edge_c2s_ack_again(cx, s);
    if (s->out && s->out->stalled && now >= s->out->stalled + s->door->cfg->write_timeout) {
        rt_event_text(cx, EV_SLOW_CLIENT, (uint64_t)s->fd, edge_c2s_out_pending(s), edge_c2s_full(s));
        edge_c2s_lost(cx, s); /* it takes no byte: there is nobody to send an error to */
    }
    if ((s->state == EDGE_BOUND || s->state == EDGE_LOST) && now >= edge_c2s_in_stuck(cx, s)) {
        rt_event_text(cx, EV_STANZA_STUCK, s->sm.received - s->sm.handled, 0, edge_c2s_full(s));
        edge_c2s_close(cx, s, STREAM_INTERNAL_SERVER_ERROR, "a stanza got no answer: what was not acknowledged must be sent again");
    }
    switch ((edge_state)s->state) {
    case EDGE_HANDSHAKE:
    case EDGE_HANDOVER:
        if (now >= s->nego->deadline) edge_c2s_gone(cx, s);
        break;
    case EDGE_OPEN:
        if (now >= s->nego->deadline) edge_c2s_close(cx, s, STREAM_CONNECTION_TIMEOUT, NULL);
        break;
    case EDGE_BOUND: bound_timer(cx, s); break;
    case EDGE_LOST:
        if (now >= until(cx, s->deadline)) edge_c2s_lost(cx, s);
        break;
    case EDGE_ENDING:
        if (now >= until(cx, s->deadline)) edge_c2s_close(cx, s, (xmpp_stream_error)s->end_error, NULL);
        break;
    case EDGE_CLOSING:
        if (now >= until(cx, s->deadline)) edge_c2s_gone(cx, s);
        break;
    case EDGE_GONE:
    case EDGE_STATES_: break;
    }
    if (s->state != EDGE_GONE) edge_c2s_arm(cx, s);
    return settle(s);
}

/* --- ends ----------------------------------------------------------------------------------------------------------------------- */
void edge_c2s_random_id(rt_ctx *cx, char out[33]) {
    static const char digits[] = "0123456789abcdef";
    uint8_t raw[16];
    rt_entropy(cx, raw, sizeof raw);
    for (size_t i = 0; i < sizeof raw; i++) {
        out[2 * i] = digits[raw[i] >> 4];
        out[2 * i + 1] = digits[raw[i] & 15];
    }
    out[32] = '\0';
}

void edge_c2s_gone(rt_ctx *cx, edge_c2s *s) {
    s->state = EDGE_GONE;
    rt_stop(cx, ERR_OK);
}

void edge_c2s_unbind(rt_ctx *cx, edge_c2s *s) {
    rt_blob *jid = s->jid ? s->jid : s->nego && s->nego->iq_id ? s->nego->user : NULL; /* asked to bind counts too */
    if (!jid || s->flags & EDGE_F_UNBOUND) return;
    s->flags |= EDGE_F_UNBOUND;
    rt_msg *m = rt_msg_new(cx, SVC_UNBIND, sizeof(svc_unbind));
    svc_unbind_of(m)->jid = rt_blob_ref(jid);
    rt_send(cx, s->part, &m);
}

void edge_c2s_closed_fd(rt_ctx *cx, edge_c2s *s) {
    if (s->fd >= 0) {
        rt_event(cx, EV_CLOSE, (uint64_t)s->fd, 0, 0);
        rt_port_close(cx, s->fd);
    }
    s->fd = -1;
    if (s->tls) s->door->tls->conn_free(s->tls); /* a node without TLS has no table of functions */
    s->tls = NULL;
    edge_c2s_in_drop(s);
    edge_c2s_out_free(s);
    edge_door_leave(s->door, s->ip);
    s->ip = NULL;
    s->hold = 0;
    s->flags &= EDGE_F_SECURE | EDGE_F_UNBOUND | EDGE_F_ACK_AGAIN | EDGE_F_SUSPECT; /* the rest speaks of the connection that is gone */
}

void edge_c2s_lost(rt_ctx *cx, edge_c2s *s) {
    if (s->state == EDGE_GONE) return;
    if (s->state == EDGE_BOUND && edge_c2s_resumable(s) && !s->door->draining) {
        edge_c2s_closed_fd(cx, s);
        xmpp_stream_set_phase(&s->stream, XMPP_PHASE_CLOSED);
        s->state = EDGE_LOST;
        s->deadline = edge_c2s_deadline(cx, s->ack->wait);
        edge_c2s_arm(cx, s);
        return;
    }
    edge_c2s_unbind(cx, s);
    edge_c2s_gone(cx, s);
}

void edge_c2s_close(rt_ctx *cx, edge_c2s *s, xmpp_stream_error error, const char *text) {
    if (s->state == EDGE_CLOSING || s->state == EDGE_GONE) return;
    edge_c2s_unbind(cx, s);
    if (error != STREAM_OK) {
        const char *why = text ? text : xmpp_error_stream_name(error);
        rt_event_text(cx, EV_STREAM_ERROR, (uint64_t)s->fd, (uint64_t)error, slice_str(why));
    }
    if (s->state == EDGE_HANDSHAKE || s->fd < 0) { /* nobody who could read it */
        edge_c2s_gone(cx, s);
        return;
    }
    if (!(s->flags & EDGE_F_HEADER)) edge_c2s_open_header(cx, s, SLICE_NULL);
    edge_c2s_ack_write(cx, s);
    if (error != STREAM_OK)
        xmpp_error_write_stream(edge_c2s_out(cx, s), error, text);
    else
        xmpp_stream_write_close(edge_c2s_out(cx, s));
    xmpp_stream_set_phase(&s->stream, XMPP_PHASE_CLOSED);
    edge_c2s_in_drop(s);
    s->hold = 0; /* nobody is waited for any more; what still comes is thrown away */
    s->state = EDGE_CLOSING;
    s->deadline = edge_c2s_deadline(cx, EDGE_CLOSE_TIMEOUT);
    edge_c2s_arm(cx, s);
}

void edge_c2s_end(rt_ctx *cx, edge_c2s *s, xmpp_stream_error error, const char *text) {
    if (s->state != EDGE_BOUND || xmpp_sm_idle(&s->sm)) {
        edge_c2s_close(cx, s, error, text);
        return;
    }
    edge_c2s_in_drop(s);
    s->state = EDGE_ENDING;
    s->end_error = (uint8_t)error;
    s->deadline = edge_c2s_deadline(cx, EDGE_CLOSE_TIMEOUT);
    edge_c2s_arm(cx, s);
}

/* --- messages ------------------------------------------------------------------------------------------------------------------- */
static void on_down(rt_ctx *cx, edge_c2s *s, const rt_down *d) {
    bool ours = s->state == EDGE_HANDOVER && rt_pid_eq(d->pid, s->nego->target);
    if (ours) edge_c2s_gone(cx, s); /* and the connection with it: the client comes again */
}

static void on_part_down(rt_ctx *cx, edge_c2s *s, const edge_part_down *d) {
    if (!s->jid) return;
    if (!rt_pid_eq(d->part, s->part)) { /* another's account: what was on its way there gets no answer */
        if (!xmpp_sm_idle(&s->sm)) {
            s->flags |= EDGE_F_SUSPECT;
            edge_c2s_arm(cx, s);
        }
        return;
    }
    s->flags |= EDGE_F_UNBOUND; /* who would be told is gone; its successor does not know this session */
    edge_c2s_close(cx, s, STREAM_RESET, NULL);
}

/* A text for the client as a string; NULL if there is none. */
#define TEXT_MAX 256
static const char *text_of(const rt_blob *b, char out[TEXT_MAX]) {
    slice t = slice_sub(rt_blob_slice(b), 0, TEXT_MAX - 1);
    if (t.len == 0) return NULL;
    memcpy(out, t.p, t.len);
    out[t.len] = '\0';
    return out;
}

static void on_kick(rt_ctx *cx, edge_c2s *s, const svc_kick *k) {
    char text[TEXT_MAX];
    edge_c2s_close(cx, s, k->error ? (xmpp_stream_error)k->error : STREAM_UNDEFINED_CONDITION, text_of(k->text, text));
}

static void on_drain(rt_ctx *cx, edge_c2s *s, const edge_drain_msg *d) {
    char text[TEXT_MAX];
    edge_c2s_end(cx, s, STREAM_SYSTEM_SHUTDOWN, text_of(d->text, text));
}

static void on_job_done(rt_ctx *cx, edge_c2s *s, rt_job_done *d) {
    bool ours = edge_c2s_tls_done(cx, s, d) || edge_c2s_auth_done(cx, s, d);
    (void)check(ours);
}

/* A message of ours came back, because a mailbox was full. What the client waits for is answered with "try again". */
static void on_refused(rt_ctx *cx, edge_c2s *s, rt_msg *m) {
    switch (RT_TAG(m)) {
    case SVC_STANZA: edge_c2s_in_refused(cx, s, svc_stanza_of(m)); break;
    case SVC_AUTH: edge_c2s_auth_refused(cx, s); break;
    case SVC_BIND: edge_c2s_bind_failed(cx, s, STANZA_RESOURCE_CONSTRAINT); break;
    case SVC_RESUME: edge_c2s_resume_failed(cx, s); break;
    case SVC_ACKED:
        s->flags |= EDGE_F_ACK_AGAIN;
        edge_c2s_arm(cx, s);
        break;
    case EDGE_ATTACH: { /* the old session is swamped: the connection comes back */
        edge_attach *a = edge_attach_of(m);
        edge_attached back = {.taken = false, .conn = a->conn};
        a->conn = NULL;
        edge_c2s_resume_attached(cx, s, &back);
        if (back.conn) back.conn->free(back.conn);
        break;
    }
    case SVC_SM: edge_c2s_close(cx, s, STREAM_RESOURCE_CONSTRAINT, NULL); break; /* svc would not know how this session acks */
    default: break;                                                              /* a partition refuses nothing else (RT_BOUND_MUTE) */
    }
}

static err c2s_handle(rt_ctx *cx, void *st, rt_msg **mp) {
    edge_c2s *s = st;
    rt_msg *m = *mp;
    if (m->tag & RT_MSG_REFUSED) {
        on_refused(cx, s, m);
        return settle(s);
    }
    switch (m->tag) {
    case SVC_DELIVER: edge_c2s_out_deliver(cx, s, svc_deliver_of(m)); break;
    case SVC_DONE: edge_c2s_in_done(cx, s, svc_done_of(m)->ticket); break;
    case SVC_KEYS: edge_c2s_auth_keys(cx, s, svc_keys_of(m)); break;
    case SVC_BOUND: edge_c2s_bind_bound(cx, s, svc_bound_of(m)); break;
    case SVC_RESUMABLE: edge_c2s_resume_answer(cx, s, svc_resumable_of(m)); break;
    case SVC_KICK: on_kick(cx, s, svc_kick_of(m)); break;
    case EDGE_ATTACH: edge_c2s_resume_attach(cx, s, edge_attach_of(m), m->sender); break;
    case EDGE_ATTACHED: edge_c2s_resume_attached(cx, s, edge_attached_of(m)); break;
    case EDGE_DRAIN: on_drain(cx, s, edge_drain_msg_of(m)); break;
    case RT_JOB_DONE: on_job_done(cx, s, rt_job_done_of(m)); break;
    case EDGE_PART_DOWN: on_part_down(cx, s, edge_part_down_of(m)); break;
    case RT_DOWN: on_down(cx, s, rt_down_of(m)); break;
    default: break; /* an exit that nobody sent, a tag of a later version: not ours to answer */
    }
    return settle(s);
}

void edge_c2s_event(rt_ctx *cx, edge_c2s *s, const xmpp_event *ev, size_t bytes, size_t behind) {
    switch (ev->kind) {
    case XMPP_EV_NONE:
    case XMPP_EV_SPACE: break;
    case XMPP_EV_OPEN: edge_c2s_open(cx, s, ev); break;
    case XMPP_EV_STARTTLS: edge_c2s_tls_starttls(cx, s, behind); break;
    case XMPP_EV_AUTH: edge_c2s_auth_begin(cx, s, ev); break;
    case XMPP_EV_RESPONSE: edge_c2s_auth_response(cx, s, ev); break;
    case XMPP_EV_ABORT: edge_c2s_auth_abort(cx, s); break;
    case XMPP_EV_BIND: edge_c2s_bind_iq(cx, s, ev); break;
    case XMPP_EV_SESSION: edge_c2s_bind_session(cx, s, ev); break;
    case XMPP_EV_SM_ENABLE: edge_c2s_ack_enable(cx, s, ev); break;
    case XMPP_EV_SM_RESUME: edge_c2s_resume_ask(cx, s, ev); break;
    case XMPP_EV_SM_REQUEST: edge_c2s_ack_requested(cx, s); break;
    case XMPP_EV_SM_ACK: edge_c2s_ack_got(cx, s, ev->h); break;
    case XMPP_EV_STANZA: edge_c2s_in_stanza(cx, s, ev, bytes); break;
    case XMPP_EV_CLOSE: edge_c2s_end(cx, s, STREAM_OK, NULL); break;
    case XMPP_EV_PEER_ERROR: edge_c2s_end(cx, s, STREAM_OK, NULL); break;
    case XMPP_EV_FAIL: edge_c2s_close(cx, s, ev->error, ev->text); break;
    case XMPP_EV_SM_FAIL: xmpp_stream_write_sm_failed(edge_c2s_out(cx, s), STANZA_UNEXPECTED_REQUEST, false, 0); break;
    }
}

/* --- the class ------------------------------------------------------------------------------------------------------------------ */
void edge_c2s_nego_free(edge_c2s *s) {
    edge_nego *n = s->nego;
    if (!n) return;
    xmpp_sasl_free(n->sasl);
    rt_blob_unref(n->user);
    rt_blob_unref(n->wanted);
    rt_blob_unref(n->iq_id);
    mem_wipe(n, sizeof *n); /* channel binding data */
    mem_free(n);
    s->nego = NULL;
}

static err c2s_init(rt_ctx *cx, void *st, const void *arg) {
    edge_c2s *s = st;
    const edge_c2s_arg *a = arg;
    err e = rt_port_add(cx, a->fd, SYS_IN);
    if (e) return e; /* nothing was taken over yet */
    s->door = edge_door_ref(a->door);
    s->ip = a->ip;
    s->fd = a->fd;
    s->last_in = rt_now_msec(cx);
    s->nego = mem_zalloc(sizeof *s->nego);
    s->nego->addr = a->addr;
    s->nego->deadline = rt_now(cx) + s->door->cfg->auth_deadline;
    xmpp_sm_init(&s->sm);
    s->state = EDGE_OPEN;
    bool tls_first = s->door->cfg->tls_required;
    edge_c2s_open_restart(s, tls_first ? XMPP_PHASE_PLAIN : XMPP_PHASE_SECURE, s->door->server ? XMPP_STREAM_STARTTLS : 0);
    if (a->transport == EDGE_DIRECT_TLS) edge_c2s_tls_begin(cx, s);
    edge_c2s_arm(cx, s);
    return ERR_OK;
}

static err c2s_ready(rt_ctx *cx, void *st, int fd, uint32_t events) {
    edge_c2s *s = st;
    if (fd != s->fd) return ERR_OK; /* of a connection that was closed in this round */
    if (events & SYS_OUT) edge_c2s_out_flush(cx, s);
    if (s->fd >= 0 && events & (SYS_IN | SYS_HUP)) {
        bool reads = !s->hold && s->state != EDGE_ENDING;
        if (reads) {
            edge_c2s_in_ready(cx, s);
        } else if (events & SYS_HUP) {
            edge_c2s_lost(cx, s);
        } else { /* not read now; the poller is asked to be silent only when it speaks up */
            s->flags |= EDGE_F_IN_OFF;
            rt_port_interest(cx, s->fd, s->flags & EDGE_F_OUT_ON ? SYS_OUT : 0);
        }
    }
    return settle(s);
}

static err c2s_flush(rt_ctx *cx, void *st) {
    edge_c2s *s = st;
    if (s->fd >= 0) edge_c2s_out_flush(cx, s);
    return settle(s);
}

static void c2s_fini(rt_ctx *cx, void *st, err reason) {
    edge_c2s *s = st;
    edge_c2s_unbind(cx, s);
    rt_timer_cancel(cx, &s->timer); /* or the block would stay until the deadline: who connects and drops would fill the memory */
    rt_event_text(cx, EV_SESSION_END, (uint64_t)reason, 0, edge_c2s_full(s));
    edge_c2s_closed_fd(cx, s);
    edge_c2s_nego_free(s);
    edge_c2s_ack_free(s);
    mem_free(s->more ? s->more->head : NULL);
    mem_free(s->more);
    xmpp_sm_fini(&s->sm);
    rt_blob_unref(s->jid);
    edge_door_unref(s->door);
}

const rt_class edge_c2s_class = {
    .name = "c2s",
    .state_size = sizeof(edge_c2s),
    .init = c2s_init,
    .handle = c2s_handle,
    .ready = c2s_ready,
    .timer = c2s_timer,
    .flush = c2s_flush,
    .fini = c2s_fini,
    .bound = RT_BOUND_REFUSE,
};
