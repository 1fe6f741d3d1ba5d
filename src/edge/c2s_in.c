/* c2s_in: from bytes to requests to the account's partition.
 *
 * A read goes into the shard's scratch and is parsed there; only what is left over, a unit that is not whole yet or units that must wait,
 * is copied into a buffer of the session, which is freed when it is used up.
 *
 *      read ---> [TLS] ---> unread + new bytes ---> xmpp_stream_next* ---> event          hold: stop here, and stop reading
 *
 * Every stanza of a bound client gets a ticket. h, and so an <a/>, covers a prefix of tickets that the partition has reported complete
 * (SVC_DONE), and an <r/> is answered when all that was received before it is complete: that is why our ack is a promise (docs/promises.md,
 * sentence 1).
 *
 * Invariants: (1) every ticket is completed exactly once: by SVC_DONE, by a refusal that was answered with an error, or here. (2) A stanza
 * that leaves this file has as its from the session's full JID. (3) At most XMPP_SM_WINDOW stanzas, and
 * EDGE_BUSY_KIB and one stanza, are in progress. (4) Before
 * authentication at most XMPP_UNIT_MAX_PREAUTH bytes wait. */
#include "base/mem.h"
#include "base/plant.h"
#include "edge/c2s_fn.h"
#include "rt/memory.h"
#include "rt/trace.h"

#define TLS_REPLY_MAX (64u << 10)
#define DISCARD_MAX   (1u << 20) /* bytes read and thrown away while a stream closes, per readiness */

static bool reading(const edge_c2s *s) { return !s->hold && (s->state == EDGE_OPEN || s->state == EDGE_BOUND); }

void edge_c2s_in_drop(edge_c2s *s) {
    buf *b = edge_c2s_in(s);
    if (!b) return;
    buf_fini(b);
    mem_free(b);
    s->more->in = NULL;
}

/* Bytes are counted from idle to idle: what each ticket holds is not remembered. */
static bool window_full(const edge_c2s *s) {
    uint16_t max = rt_memory_tight(s->door->node) ? EDGE_BUSY_KIB_TIGHT : EDGE_BUSY_KIB;
    return xmpp_sm_full(&s->sm) || s->busy_kib >= max;
}

/* While memory is tight nobody comes in, and nobody's input grows: what is not authenticated, or sends a long stanza, is closed. */
static bool shed(rt_ctx *cx, edge_c2s *s, size_t left) {
    bool stranger = s->nego && !s->nego->user;
    if (!rt_memory_tight(s->door->node) || (!stranger && left <= EDGE_TIGHT_INPUT)) return false;
    rt_event_text(cx, EV_MEMORY_SHED, (uint64_t)s->fd, left, stranger ? SLICE("not authenticated") : edge_c2s_full(s));
    edge_c2s_close(cx, s, STREAM_RESOURCE_CONSTRAINT, NULL);
    return true;
}

/* Parses units off the front of in until a hold or the end. Returns the bytes used. */
static size_t parse(rt_ctx *cx, edge_c2s *s, slice in) {
    size_t done = 0;
    for (;;) {
        if (s->state == EDGE_BOUND && window_full(s)) s->hold |= EDGE_HOLD_WINDOW;
        if (!reading(s)) break;
        xmpp_event ev = {0};
        size_t used = 0;
        xmpp_stream_next(&s->stream, slice_from(in, done), edge_c2s_head(s) ? &edge_c2s_head(s)->scope : NULL, &s->door->arena, &used, &ev);
        if (!check(used <= in.len - done)) {
            edge_c2s_close(cx, s, STREAM_INTERNAL_SERVER_ERROR, NULL);
            break;
        }
        done += used;
        if (ev.kind == XMPP_EV_NONE) break;
        edge_c2s_event(cx, s, &ev, used, in.len - done);
        arena_reset(&s->door->arena);
        if (used == 0 && ev.kind == XMPP_EV_FAIL) break;
    }
    return done;
}

void edge_c2s_in_bytes(rt_ctx *cx, edge_c2s *s, slice got) {
    buf *b = edge_c2s_in(s);
    if (b) s->more->in = NULL; /* an event may end the session */
    slice all = got;
    if (b) {
        buf_add(b, got);
        all = buf_slice(b);
    }
    size_t used = parse(cx, s, all);
    bool live = s->state == EDGE_OPEN || s->state == EDGE_BOUND || s->state == EDGE_HANDSHAKE;
    size_t left = live ? all.len - used : 0;
    if (left == 0) {
        if (b) buf_fini(b);
        mem_free(b);
        return;
    }
    if (!b) {
        b = mem_alloc(sizeof *b);
        buf_init(b, SIZE_MAX / 2); /* bounded by the unit limit, or by one read while a hold is set, because nothing is read then */
        buf_add(b, slice_from(all, used));
    } else {
        buf_consume(b, used);
    }
    edge_c2s_more(s)->in = b;
    if (shed(cx, s, left)) return;
    if (s->nego && !s->nego->user && left > XMPP_UNIT_MAX_PREAUTH) edge_c2s_close(cx, s, STREAM_POLICY_VIOLATION, NULL);
}

void edge_c2s_in_tls(rt_ctx *cx, edge_c2s *s, slice got) {
    buf *plain = &s->door->plain;
    buf_reset(plain);
    buf reply; /* of the TLS protocol itself; rare */
    buf_init(&reply, TLS_REPLY_MAX);
    err e = s->door->tls->conn_read(s->tls, got, plain, &reply);
    if (reply.len) {
        rt_flush_later(cx);
        buf_add(&edge_c2s_out_get(s)->wire, buf_slice(&reply));
    }
    buf_fini(&reply);
    if (plain->len) edge_c2s_in_bytes(cx, s, buf_slice(plain));
    if (!e || s->state == EDGE_GONE) return;
    if (e != ERR_EOF)
        edge_c2s_lost(cx, s); /* a forged or damaged record */
    else
        s->flags |= EDGE_F_EOF;
}

/* The stream is closing: what still comes is read so that the kernel does not answer it with a reset, which would destroy our last bytes
 * on their way. */
static void discard(rt_ctx *cx, edge_c2s *s) {
    sys *y = s->door->sys;
    for (size_t sum = 0; sum < DISCARD_MAX;) {
        size_t n = 0;
        err e = y->read(y, s->fd, rt_scratch(cx), RT_SCRATCH, &n);
        if (e == ERR_AGAIN) return;
        if (e) {
            s->flags |= EDGE_F_EOF;
            if (e != ERR_EOF || s->flags & EDGE_F_SHUT)
                edge_c2s_gone(cx, s);
            else { /* it has closed first; our bytes go out, then the descriptor closes */
                s->flags |= EDGE_F_IN_OFF;
                rt_port_interest(cx, s->fd, s->flags & EDGE_F_OUT_ON ? SYS_OUT : 0);
                rt_flush_later(cx);
            }
            return;
        }
        sum += n;
    }
}

void edge_c2s_in_ready(rt_ctx *cx, edge_c2s *s) {
    if (s->state == EDGE_CLOSING) {
        discard(cx, s);
        return;
    }
    sys *y = s->door->sys;
    size_t n = 0;
    size_t max = s->nego && !s->nego->user ? XMPP_UNIT_MAX_PREAUTH : RT_SCRATCH;
    err e = y->read(y, s->fd, rt_scratch(cx), max, &n);
    if (e == ERR_AGAIN) return;
    if (!e) {
        s->last_in = rt_now_msec(cx);
        s->flags &= (uint16_t)~EDGE_F_PINGED;
        slice got = slice_of(rt_scratch(cx), n);
        if (s->state == EDGE_HANDSHAKE)
            edge_c2s_tls_bytes(cx, s, got);
        else if (s->tls)
            edge_c2s_in_tls(cx, s, got);
        else
            edge_c2s_in_bytes(cx, s, got);
    }
    if (s->state == EDGE_GONE) return;
    if (e == ERR_EOF || s->flags & EDGE_F_EOF) {
        if (s->state == EDGE_CLOSING)
            s->flags |= EDGE_F_EOF;
        else
            edge_c2s_out_flush(cx, s); /* it may have closed its side only */
        if (s->state != EDGE_CLOSING && s->fd >= 0) edge_c2s_lost(cx, s);
    } else if (e) {
        edge_c2s_lost(cx, s);
    }
}

void edge_c2s_in_release(rt_ctx *cx, edge_c2s *s, unsigned hold) {
    if (!(s->hold & hold)) return;
    s->hold &= (uint8_t)~hold;
    if (s->hold || s->fd < 0) return;
    if (edge_c2s_in(s) && reading(s)) {
        uint32_t trace = rt_trace_swap(cx, 0); /* what is read now is not part of what let us go on */
        edge_c2s_in_bytes(cx, s, SLICE_NULL);
        (void)rt_trace_swap(cx, trace);
    }
    if (!s->hold && s->fd >= 0 && s->state != EDGE_ENDING && s->flags & EDGE_F_IN_OFF) {
        s->flags &= (uint16_t)~EDGE_F_IN_OFF;
        rt_port_interest(cx, s->fd, SYS_IN | (s->flags & EDGE_F_OUT_ON ? SYS_OUT : 0));
    }
}

/* --- stanzas -------------------------------------------------------------------------------------------------------------------- */
static uint32_t begin(rt_ctx *cx, edge_c2s *s, size_t bytes) {
    if (xmpp_sm_idle(&s->sm)) s->progress = rt_now_msec(cx);
    uint32_t ticket = xmpp_sm_receive(&s->sm);
    s->busy_kib = (uint16_t)(s->busy_kib + 1 + bytes / 1024); /* a stanza is at most 1 MiB, and none is read once this is full */
    if (!(s->flags & EDGE_F_WATCHED)) edge_c2s_arm(cx, s);
    return ticket;
}

static void completed(rt_ctx *cx, edge_c2s *s, uint32_t ticket) {
    if (!xmpp_sm_complete(&s->sm, ticket)) return;
    s->progress = rt_now_msec(cx);
    if (xmpp_sm_idle(&s->sm)) s->busy_kib = 0;
    edge_c2s_ack_handled(cx, s);
}

usec edge_c2s_in_stuck(rt_ctx *cx, const edge_c2s *s) {
    if (xmpp_sm_idle(&s->sm)) return USEC_NEVER;
    uint32_t waited = rt_now_msec(cx) - s->progress;
    return rt_now(cx) - waited * USEC_PER_MSEC + (s->flags & EDGE_F_SUSPECT ? EDGE_STUCK_SUSPECT : EDGE_STUCK);
}

void edge_c2s_in_done(rt_ctx *cx, edge_c2s *s, uint32_t ticket) {
    completed(cx, s, ticket);
    if (!window_full(s)) edge_c2s_in_release(cx, s, EDGE_HOLD_WINDOW);
    if (!xmpp_sm_idle(&s->sm)) return;
    if (s->state == EDGE_ENDING)
        edge_c2s_close(cx, s, (xmpp_stream_error)s->end_error, NULL);
    else if (s->flags & EDGE_F_ATTACHED)
        edge_c2s_resume_go(cx, s);
}

/* RFC 6120 section 8.1.2.1: a client may leave from out, or give its own bare or full JID. */
static bool from_is_own(edge_c2s *s, slice from) {
    if (!from.p || slice_eq(from, edge_c2s_full(s)) || slice_eq(from, edge_c2s_bare(s))) return true;
    xmpp_jid j;
    slice canonical;
    if (xmpp_jid_parse(from, &s->door->arena, &j, &canonical)) return false;
    return slice_eq(canonical, edge_c2s_full(s)) || slice_eq(canonical, edge_c2s_bare(s));
}

/* A stanza that cannot be an env (a malformed address, an iq without id) is answered here; an error or a result is never answered. */
static void answer_malformed(rt_ctx *cx, edge_c2s *s, const xmpp_node *st, xmpp_stanza_error cond) {
    slice type = xmpp_xml_attr(st, "type");
    if (slice_is(type, "error") || (slice_is(st->name, "iq") && slice_is(type, "result"))) return;
    xmpp_jid j;
    slice to = xmpp_xml_attr(st, "to"), canonical;
    bool addressed = to.p && xmpp_jid_parse(to, &s->door->arena, &j, &canonical) == ERR_OK;
    xmpp_env e = {0};
    e.kind = slice_is(st->name, "iq") ? XMPP_IQ : slice_is(st->name, "presence") ? XMPP_PRESENCE : XMPP_MESSAGE;
    e.from = edge_c2s_full(s);
    e.to = addressed ? canonical : edge_c2s_domain(s);
    e.id = xmpp_xml_attr(st, "id");
    xmpp_env reply;
    buf_reset(&s->door->inner);
    xmpp_env_error(&e, cond, NULL, &s->door->inner, &reply);
    edge_c2s_out_env(cx, s, &reply);
}

/* Is it watched: as a stanza of or for a JID, or because this session is? Then it gets a trace id. */
static void trace_in(rt_ctx *cx, edge_c2s *s, const xmpp_env *env, const xmpp_event *ev, size_t bytes, uint32_t ticket) {
    uint32_t mask = rt_trace_self(cx) | rt_trace_subject(cx, edge_c2s_full(s)) | rt_trace_subject(cx, edge_c2s_bare(s));
    slice to = env->to.p ? env->to : edge_c2s_bare(s), bare = xmpp_jid_bare(to);
    mask |= rt_trace_subject(cx, to);
    if (bare.len < to.len) mask |= rt_trace_subject(cx, bare);
    rt_trace_begin(cx, mask);
    if (mask) rt_event_text(cx, EV_TRACE_IN, bytes, ticket, ev->stanza->name);
}

void edge_c2s_in_stanza(rt_ctx *cx, edge_c2s *s, const xmpp_event *ev, size_t bytes) {
    if (!check(s->state == EDGE_BOUND)) return;
    if (!from_is_own(s, xmpp_xml_attr(ev->stanza, "from")) && !plant(FROM_NOT_CHECKED)) {
        edge_c2s_close(cx, s, STREAM_INVALID_FROM, NULL);
        return;
    }
    bool alone = xmpp_sm_idle(&s->sm);
    uint32_t ticket = begin(cx, s, bytes);
    if (edge_c2s_ack_pong(cx, s, ev)) {
        completed(cx, s, ticket);
        return;
    }
    edge_door *d = s->door;
    const svc_cfg *svc = edge_c2s_svc(s);
    xmpp_env_rules rules = {svc->domain_names, svc->n_domains};
    xmpp_env env;
    buf_reset(&d->inner);
    buf_reset(&d->pack);
    xmpp_stanza_error bad = xmpp_env_build(ev->stanza, edge_c2s_full(s), &rules, &d->arena, &d->inner, &env);
    if (bad) {
        answer_malformed(cx, s, ev->stanza, bad);
        completed(cx, s, ticket);
        return;
    }
    if (!env.lang.p) env.lang = edge_c2s_open_lang(s); /* RFC 6120 8.1.5: the stream's is the default */
    xmpp_env_pack(&d->pack, &env);
    if (UNLIKELY(rt_trace_watched(cx))) trace_in(cx, s, &env, ev, bytes, ticket);
    rt_msg *m = rt_msg_new(cx, SVC_STANZA, sizeof(svc_stanza));
    svc_stanza_of(m)->ticket = ticket;
    svc_stanza_of(m)->env = rt_blob_new(buf_slice(&d->pack));
    svc_stanza_of(m)->alone = alone;
    rt_send(cx, s->part, &m);
    (void)rt_trace_swap(cx, 0);                                                        /* the next stanza of this read is another request */
    if (edge_c2s_out_pending(s) > d->cfg->out_bytes_max / 4) s->hold |= EDGE_HOLD_OUT; /* its own requests are what fills it */
}

void edge_c2s_in_refused(rt_ctx *cx, edge_c2s *s, svc_stanza *st) {
    xmpp_env env, reply;
    slice packed = rt_blob_slice(st->env);
    bool told = s->state == EDGE_BOUND || s->state == EDGE_LOST || s->state == EDGE_ENDING;
    if (told && xmpp_env_unpack(packed, &env) == ERR_OK && xmpp_env_may_bounce(&env)) {
        if (!env.to.p) env.to = edge_c2s_bare(s); /* it was for its own account */
        buf_reset(&s->door->inner);
        xmpp_env_error(&env, STANZA_RESOURCE_CONSTRAINT, "the server is busy, try again later", &s->door->inner, &reply);
        edge_c2s_out_env(cx, s, &reply);
    }
    edge_c2s_in_done(cx, s, st->ticket);
}
