/* c2s_resume: a lost connection comes back (XEP-0198 section 5).
 *
 *   new connection N            partition             old session O (any shard; without a connection, or with one that is half-open)
 *     <resume previd h/> --------> SVC_RESUME
 *                        <-------- SVC_RESUMABLE O
 *     EDGE_ATTACH{socket, TLS, unread bytes, h} -----> closes its own old socket, releases what h covers
 *                        <---------------------------- EDGE_ATTACHED taken: N ends. Not taken: N goes on, <failed/>, may bind
 *                                                      <resumed h/>, what h does not cover, what came since, in order
 *
 * <resumed/> waits until all that O has received is complete, so that the client does not send again what is on its way to the disk.
 *
 * Invariants: (1) a socket has one owner: N, the message, or O; dropping the message closes it. (2) A session is resumed only by the
 * account that it belongs to, with its id (compared in constant time), and over TLS if it ran over TLS. */
#include "base/mem.h"
#include "base/plant.h"
#include "edge/c2s_fn.h"

#define PREVID_MAX    256u
#define CONN_WIRE_MAX (1u << 20)

static void conn_free(rt_box *b) {
    edge_conn *c = container_of(b, edge_conn, box);
    if (c->fd >= 0) c->sys->close(c->sys, c->fd);
    if (c->conn) c->tls->conn_free(c->conn);
    buf_fini(&c->unread);
    buf_fini(&c->wire);
    mem_free(c->head);
    mem_free(c);
}

/* Takes the connection out of a session that is not bound. */
static edge_conn *conn_detach(rt_ctx *cx, edge_c2s *s) {
    edge_conn *c = mem_zalloc(sizeof *c);
    c->box.free = conn_free;
    c->sys = s->door->sys;
    c->tls = s->door->tls;
    c->conn = s->tls;
    c->head = s->more ? s->more->head : NULL;
    c->lang_len = s->lang_len;
    memcpy(c->lang, s->lang, sizeof c->lang);
    c->stream = s->stream;
    c->addr = s->nego->addr;
    c->domain = s->domain;
    c->fd = rt_port_detach(cx, s->fd);
    buf_init(&c->unread, SIZE_MAX / 2);
    if (edge_c2s_in(s)) {
        c->unread = *s->more->in;
        mem_free(s->more->in);
    }
    buf_init(&c->wire, CONN_WIRE_MAX);
    if (s->out) buf_add(&c->wire, slice_from(buf_slice(&s->out->wire), s->out->off));
    s->tls = NULL;
    if (s->more) {
        s->more->head = NULL;
        s->more->in = NULL;
    }
    s->fd = -1;
    edge_c2s_closed_fd(cx, s);
    return c;
}

/* Makes it the connection of s, which has none. On failure *c stays the caller's. */
static err conn_adopt(rt_ctx *cx, edge_c2s *s, edge_conn *c) {
    edge_ip *ip = NULL;
    err e = edge_door_enter(s->door, &c->addr, true, &ip); /* by force: it was let in already */
    if (!e) e = rt_port_add(cx, c->fd, SYS_IN);
    if (e) {
        edge_door_leave(s->door, ip);
        return e;
    }
    s->ip = ip;
    s->fd = c->fd;
    s->tls = c->conn;
    if (s->more) mem_free(s->more->head);
    if (s->more || c->head) edge_c2s_more(s)->head = c->head;
    s->lang_len = c->lang_len;
    memcpy(s->lang, c->lang, sizeof s->lang);
    s->stream = c->stream;
    s->flags = (uint16_t)((s->flags & ~EDGE_F_SECURE) | EDGE_F_HEADER | (c->conn ? EDGE_F_SECURE : 0));
    s->last_in = rt_now_msec(cx);
    if (c->unread.len) {
        buf *in = edge_c2s_more(s)->in = mem_alloc(sizeof *in);
        *in = c->unread;
        buf_init(&c->unread, 0);
    }
    if (c->wire.len) {
        rt_flush_later(cx);
        buf_add(&edge_c2s_out_get(s)->wire, buf_slice(&c->wire));
    }
    c->fd = -1;
    c->conn = NULL;
    c->head = NULL;
    return ERR_OK;
}

/* --- the new connection --------------------------------------------------------------------------------------------------------- */
void edge_c2s_resume_failed(rt_ctx *cx, edge_c2s *s) {
    if (s->state != EDGE_OPEN || !s->nego->wanted) return;
    rt_blob_unref(s->nego->wanted);
    s->nego->wanted = NULL;
    xmpp_stream_write_sm_failed(edge_c2s_out(cx, s), STANZA_ITEM_NOT_FOUND, false, 0);
    edge_c2s_in_release(cx, s, EDGE_HOLD_SVC);
}

void edge_c2s_resume_ask(rt_ctx *cx, edge_c2s *s, const xmpp_event *ev) {
    edge_nego *n = s->nego;
    if (!check(n && n->user && !n->wanted)) return;
    n->wanted = rt_blob_new(slice_sub(ev->data, 0, PREVID_MAX));
    n->h = ev->h;
    rt_pid part = svc_partition(s->door->node, edge_c2s_svc(s), rt_blob_slice(n->user));
    if (!rt_pid_ok(part)) {
        edge_c2s_resume_failed(cx, s);
        return;
    }
    rt_msg *m = rt_msg_new(cx, SVC_RESUME, sizeof(svc_resume));
    svc_resume_of(m)->ref = ++n->ref;
    svc_resume_of(m)->user = rt_blob_ref(n->user);
    svc_resume_of(m)->smid = rt_blob_ref(n->wanted);
    s->hold |= EDGE_HOLD_SVC;
    rt_send(cx, part, &m);
}

void edge_c2s_resume_answer(rt_ctx *cx, edge_c2s *s, svc_resumable *r) {
    edge_nego *n = s->nego;
    if (s->state != EDGE_OPEN || !n->wanted || r->ref != n->ref) return;
    if (!rt_pid_ok(r->session)) {
        edge_c2s_resume_failed(cx, s);
        return;
    }
    edge_c2s_out_flush(cx, s);
    if (s->state != EDGE_OPEN) return; /* the socket was gone */
    n->target = r->session;
    rt_msg *m = rt_msg_new(cx, EDGE_ATTACH, sizeof(edge_attach));
    edge_attach *a = edge_attach_of(m);
    a->h = n->h;
    a->previd = rt_blob_ref(n->wanted);
    a->user = rt_blob_ref(n->user);
    a->conn = &conn_detach(cx, s)->box;
    s->state = EDGE_HANDOVER;
    rt_monitor(cx, r->session); /* if it ends with the message unread, the socket is closed and this actor has nothing to do */
    rt_send(cx, r->session, &m);
}

void edge_c2s_resume_attached(rt_ctx *cx, edge_c2s *s, edge_attached *a) {
    if (s->state != EDGE_HANDOVER) return;
    if (a->taken || !a->conn) {
        edge_c2s_gone(cx, s);
        return;
    }
    edge_conn *c = container_of(a->conn, edge_conn, box);
    if (conn_adopt(cx, s, c)) {
        edge_c2s_gone(cx, s); /* the socket closes with the message */
        return;
    }
    s->state = EDGE_OPEN;
    s->nego->target = RT_PID_NONE;
    s->hold |= EDGE_HOLD_SVC; /* released by the next line, which also reads what waits */
    edge_c2s_resume_failed(cx, s);
    edge_c2s_arm(cx, s);
}

/* --- the old session ------------------------------------------------------------------------------------------------------------ */
static bool fits(const edge_c2s *s, const edge_attach *a) {
    bool live = s->state == EDGE_BOUND || s->state == EDGE_LOST;
    if (!live || !edge_c2s_resumable(s) || !a->conn) return false;
    const edge_conn *c = container_of(a->conn, edge_conn, box);
    if (s->flags & EDGE_F_SECURE && !c->conn) return false;
    bool own = slice_eq(rt_blob_slice(a->user), edge_c2s_bare(s));
    bool right = slice_eq_ct(rt_blob_slice(a->previd), slice_str(s->ack->smid));
    return own && right;
}

void edge_c2s_resume_attach(rt_ctx *cx, edge_c2s *s, edge_attach *a, rt_pid from) {
    bool taken = fits(s, a);
    if (taken && s->state == EDGE_BOUND) edge_c2s_lost(cx, s); /* the old connection is half-open: it goes */
    taken = taken && s->state == EDGE_LOST;
    edge_conn *c = a->conn ? container_of(a->conn, edge_conn, box) : NULL;
    taken = taken && conn_adopt(cx, s, c) == ERR_OK;
    rt_msg *m = rt_msg_new(cx, EDGE_ATTACHED, sizeof(edge_attached));
    edge_attached_of(m)->taken = taken;
    if (!taken) {
        edge_attached_of(m)->conn = a->conn;
        a->conn = NULL;
    }
    rt_send(cx, from, &m);
    if (!taken) return;
    xmpp_stream_set_phase(&s->stream, XMPP_PHASE_BOUND);
    s->stream.flags |= XMPP_STREAM_SM;
    s->state = EDGE_BOUND;
    s->flags |= EDGE_F_ATTACHED;
    s->hold |= EDGE_HOLD_RESUME;
    s->ack->dropping = 0; /* it could not ack while it was away */
    edge_c2s_arm(cx, s);
    edge_c2s_ack_got(cx, s, a->h);
    if (s->state == EDGE_BOUND && xmpp_sm_idle(&s->sm)) edge_c2s_resume_go(cx, s);
}

void edge_c2s_resume_go(rt_ctx *cx, edge_c2s *s) {
    const edge_ack *a = s->ack;
    s->flags &= (uint16_t)~EDGE_F_ATTACHED;
    rt_event_text(cx, EV_SM_RESUME, (uint64_t)s->fd, a->count, edge_c2s_full(s));
    xmpp_stream_write_sm_resumed(edge_c2s_out(cx, s), slice_str(a->smid), xmpp_sm_h(&s->sm) + (plant(RESUME_H_TOO_HIGH) ? 1 : 0));
    for (uint32_t i = plant(RESUME_REPLAYS_ONE_LESS) ? 1 : 0; i < a->count; i++) {
        const edge_held *h = &a->ring[(a->head + i) & (a->cap - 1)];
        edge_c2s_out_stanza(cx, s, h->env, h->extra);
    }
    if (a->count) s->flags |= EDGE_F_ASK;
    edge_c2s_in_release(cx, s, EDGE_HOLD_RESUME);
}
