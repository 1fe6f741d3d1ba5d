/* c2s_ack: who has what. Both directions of stream management (XEP-0198), and what stands for it where a client does not use it.
 *
 *   client --> us   <r/> is answered with <a h/> once everything that was received before it is complete; answers of a round are one.
 *   us --> client   with SM:    stanzas are held until <a h/> covers them; <r/> follows kept messages, one at a time
 *                   without SM: a ping with a random id follows kept messages, one at a time; its answer, or its refusal, acks what was
 *                               written before it, because a stream is read in order (docs/promises.md, sentence 3)
 *   us --> svc      SVC_ACKED upto
 *
 * Invariants: (1) the ring holds exactly the stanzas in (acked, sent], oldest first. (2) keep numbers rise along the ring. (3) At most one
 * question is out. (4) The ring is within unacked_max and out_bytes_max; best-effort stanzas take three quarters of both at most. */
#include "base/codec.h"
#include "base/mem.h"
#include "base/plant.h"
#include "edge/c2s_fn.h"
#include "proto/xmpp/ns.h"

#include <stdio.h>

#define RING_MIN 16u

/* --- what the client acks ------------------------------------------------------------------------------------------------------- */
void edge_c2s_ack_free(edge_c2s *s) {
    edge_ack *a = s->ack;
    if (!a) return;
    for (uint32_t i = 0; i < a->count; i++) {
        edge_held *h = &a->ring[(a->head + i) & (a->cap - 1)];
        rt_blob_unref(h->env);
        rt_blob_unref(h->extra);
    }
    mem_free(a->ring);
    mem_free(a);
    s->ack = NULL;
}

static void ring_grow(edge_ack *a) {
    uint32_t cap = a->cap ? a->cap * 2 : RING_MIN;
    edge_held *ring = mem_alloc(cap * sizeof *ring);
    for (uint32_t i = 0; i < a->count; i++) ring[i] = a->ring[(a->head + i) & (a->cap - 1)];
    mem_free(a->ring);
    a->ring = ring;
    a->cap = cap;
    a->head = 0;
}

bool edge_c2s_ack_room(rt_ctx *cx, edge_c2s *s, size_t bytes, bool kept) {
    edge_ack *a = s->ack;
    const edge_cfg *c = s->door->cfg;
    uint64_t bytes_max = kept ? c->out_bytes_max : c->out_bytes_max / 4 * 3;
    uint32_t count_max = kept ? c->unacked_max : c->unacked_max / 4 * 3;
    if (a->count < count_max && (a->bytes + bytes <= bytes_max || a->count == 0)) return true;
    if (kept) {
        edge_c2s_out_slow(cx, s);
    } else if (!a->dropping) {
        a->dropping = rt_now(cx);
        edge_c2s_arm(cx, s);
    }
    return false;
}

void edge_c2s_ack_hold(edge_c2s *s, rt_blob **env, rt_blob **extra, uint32_t keep) {
    edge_ack *a = s->ack;
    if (a->count == a->cap) ring_grow(a);
    edge_held *h = &a->ring[(a->head + a->count++) & (a->cap - 1)];
    *h = (edge_held){*env, *extra, keep, (*env)->len + (*extra ? (*extra)->len : 0)};
    *env = *extra = NULL;
    a->bytes += h->bytes;
    xmpp_sm_send(&s->sm);
    if (++a->since_ask >= EDGE_ASK_EVERY) s->flags |= EDGE_F_ASK;
}

/* Lets the oldest n go; returns the highest keep number among them, 0 if none was kept. */
static uint32_t ring_release(edge_ack *a, uint32_t n) {
    uint32_t keep = 0;
    for (; n > 0 && check(a->count > 0); n--) {
        edge_held *h = &a->ring[a->head];
        if (h->keep) keep = h->keep;
        a->bytes -= h->bytes;
        rt_blob_unref(h->env);
        rt_blob_unref(h->extra);
        a->head = (a->head + 1) & (a->cap - 1);
        a->count--;
    }
    if (a->count == 0) {
        mem_free(a->ring);
        a->ring = NULL;
        a->head = a->cap = 0;
    }
    return keep;
}

void edge_c2s_ack_tell(rt_ctx *cx, edge_c2s *s, uint32_t upto) {
    if (upto == 0 || s->flags & EDGE_F_UNBOUND) return;
    s->keep_acked = upto;
    rt_msg *m = rt_msg_new(cx, SVC_ACKED, sizeof(svc_acked));
    svc_acked_of(m)->jid = rt_blob_ref(s->jid);
    svc_acked_of(m)->upto = upto;
    rt_send(cx, s->part, &m);
}

void edge_c2s_ack_again(rt_ctx *cx, edge_c2s *s) {
    s->flags &= (uint16_t)~EDGE_F_ACK_AGAIN;
    edge_c2s_ack_tell(cx, s, s->keep_acked);
}

void edge_c2s_ack_got(rt_ctx *cx, edge_c2s *s, uint32_t h) {
    uint32_t released = 0;
    if (!check(s->ack)) return;
    if (xmpp_sm_ack(&s->sm, h, &released)) {
        edge_c2s_close(cx, s, STREAM_UNDEFINED_CONDITION, "you acknowledged stanzas that were not sent");
        return;
    }
    s->flags &= (uint16_t)~EDGE_F_ASKED;
    edge_c2s_ack_tell(cx, s, ring_release(s->ack, released));
    if (s->ack->count < s->door->cfg->unacked_max / 2 && s->ack->bytes < s->door->cfg->out_bytes_max / 2) s->ack->dropping = 0;
    if (s->flags & EDGE_F_ASK && s->fd >= 0) rt_flush_later(cx); /* what was written after the question */
}

bool edge_c2s_ack_pong(rt_ctx *cx, edge_c2s *s, const xmpp_event *ev) {
    edge_more *more = s->more;
    if (!more || more->ping_id == 0 || !slice_is(ev->stanza->name, "iq")) return false;
    slice type = xmpp_xml_attr(ev->stanza, "type");
    if (!slice_is(type, "result") && !slice_is(type, "error")) return false;
    char id[17];
    (void)snprintf(id, sizeof id, "%016llx", (unsigned long long)more->ping_id); /* always 16 digits */
    if (!slice_is(xmpp_xml_attr(ev->stanza, "id"), id)) return false;
    more->ping_id = 0;
    if (!s->sm.enabled) s->flags &= (uint16_t)~EDGE_F_ASKED;
    if (plant(PONG_ACKS_TOO_MUCH)) more->keep_asked = s->keep_written;
    if (more->keep_asked > s->keep_acked) edge_c2s_ack_tell(cx, s, more->keep_asked);
    if (s->flags & EDGE_F_ASK) rt_flush_later(cx);
    return true;
}

/* --- what we ask ---------------------------------------------------------------------------------------------------------------- */
static void write_ping(rt_ctx *cx, edge_c2s *s) {
    edge_more *more = edge_c2s_more(s);
    do rt_entropy(cx, &more->ping_id, sizeof more->ping_id);
    while (more->ping_id == 0);
    more->keep_asked = s->keep_written;
    buf *o = edge_c2s_out(cx, s);
    buf_addf(o, "<iq type='get' id='%016llx'", (unsigned long long)more->ping_id);
    xmpp_xml_write_attr(o, "from", edge_c2s_domain(s));
    xmpp_xml_write_attr(o, "to", edge_c2s_full(s));
    buf_add_str(o, "><ping xmlns='" NS_PING "'/></iq>");
}

void edge_c2s_ack_ask(rt_ctx *cx, edge_c2s *s, bool now) {
    if (s->fd < 0 || s->state != EDGE_BOUND || s->flags & (EDGE_F_ATTACHED | EDGE_F_ASKED)) return;
    if (!now && !(s->flags & EDGE_F_ASK)) return;
    s->flags = (uint16_t)((s->flags & ~EDGE_F_ASK) | EDGE_F_ASKED);
    if (s->sm.enabled) {
        s->ack->since_ask = 0;
        xmpp_stream_write_sm_request(edge_c2s_out(cx, s));
    } else {
        write_ping(cx, s);
    }
}

/* --- what we ack ---------------------------------------------------------------------------------------------------------------- */
void edge_c2s_ack_requested(rt_ctx *cx, edge_c2s *s) {
    edge_more *more = edge_c2s_more(s);
    more->r_last = s->sm.received;
    if (!(s->flags & EDGE_F_REQUESTED)) more->r_first = s->sm.received;
    s->flags |= EDGE_F_REQUESTED;
    edge_c2s_ack_handled(cx, s);
}

static bool reached(uint32_t handled, uint32_t ticket) { return (int32_t)(handled - ticket) >= 0; }

void edge_c2s_ack_handled(rt_ctx *cx, edge_c2s *s) {
    if (!(s->flags & EDGE_F_REQUESTED) || !reached(s->sm.handled, s->more->r_first)) return;
    if (reached(s->sm.handled, s->more->r_last))
        s->flags &= (uint16_t)~EDGE_F_REQUESTED;
    else
        s->more->r_first = s->sm.handled + 1; /* a later <r/> waits still */
    s->flags |= EDGE_F_ACK_DUE;
    if (s->fd >= 0) rt_flush_later(cx);
}

void edge_c2s_ack_write(rt_ctx *cx, edge_c2s *s) {
    if (!(s->flags & EDGE_F_ACK_DUE) || s->fd < 0 || s->state == EDGE_CLOSING) return;
    s->flags &= (uint16_t)~EDGE_F_ACK_DUE;
    xmpp_stream_write_sm_ack(edge_c2s_out(cx, s), xmpp_sm_h(&s->sm) + (plant(RECEIVED_IS_HANDLED) ? s->sm.received - s->sm.handled : 0));
}

void edge_c2s_ack_enable(rt_ctx *cx, edge_c2s *s, const xmpp_event *ev) {
    if (!check(s->state == EDGE_BOUND && !s->ack)) return;
    edge_ack *a = mem_zalloc(sizeof *a);
    usec wait = s->door->cfg->resume_timeout;
    if (ev->max_sec) wait = usec_min(wait, (usec)ev->max_sec * USEC_PER_SEC);
    a->wait = wait;
    a->resumable = ev->resume && wait > 0;
    uint8_t raw[EDGE_SMID_RAW];
    rt_entropy(cx, raw, sizeof raw);
    buf id;
    buf_init(&id, EDGE_SMID);
    base64_encode(&id, slice_of(raw, sizeof raw));
    memcpy(a->smid, id.p, EDGE_SMID);
    buf_fini(&id);
    s->ack = a;
    rt_msg *m = rt_msg_new(cx, SVC_SM, sizeof(svc_sm));
    svc_sm_of(m)->jid = rt_blob_ref(s->jid);
    svc_sm_of(m)->smid = a->resumable ? rt_blob_new(slice_str(a->smid)) : NULL;
    rt_send(cx, s->part, &m);
    xmpp_stream_write_sm_enabled(edge_c2s_out(cx, s), a->resumable ? slice_str(a->smid) : SLICE_NULL, a->resumable,
                                 (uint32_t)(wait / USEC_PER_SEC));
    xmpp_sm_enable(&s->sm);
    s->stream.flags |= XMPP_STREAM_SM;
    s->flags &= (uint16_t)~EDGE_F_ASKED; /* the answer to a ping that is out still counts */
    if (s->keep_written > s->keep_acked) s->flags |= EDGE_F_ASK;
}
