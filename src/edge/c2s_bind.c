/* c2s_bind: from an authenticated connection to a session (RFC 6120 section 7).
 *
 *      <iq><bind/></iq> --> SVC_BIND --> the account's partition --> SVC_BOUND: a full JID, or an error that the client may try again after
 *
 * From then on the session tells the partition of its end, whatever that is, and the edge actor of the shard monitors the partition:
 * neither outlives the other's memory of it. All that was needed for negotiating is freed. */
#include "base/mem.h"
#include "edge/c2s_fn.h"

/* <iq type='error'> to a request of a client that is not bound: there are no addresses yet. */
static void iq_error(rt_ctx *cx, edge_c2s *s, slice id, xmpp_stanza_error cond) {
    buf *o = edge_c2s_out(cx, s);
    buf_add_str(o, "<iq type='error'");
    xmpp_xml_write_attr(o, "id", id);
    buf_add_str(o, ">");
    xmpp_error_write_stanza(o, cond, NULL, NULL);
    buf_add_str(o, "</iq>");
}

/* For tools. */
static rt_blob *about(const edge_c2s *s) {
    static const char prefix[] = "TLSv1.";
    const sys_addr *addr = &s->nego->addr;
    svc_about b = {.port = addr->port, .family = addr->family, .mech = s->nego->mech};
    memcpy(b.ip, addr->ip, sizeof b.ip);
    tls_info info = {.version = ""};
    if (s->tls) s->door->tls->conn_info(s->tls, &info);
    if (strncmp(info.version, prefix, sizeof prefix - 1) == 0) b.tls = (uint8_t)(info.version[sizeof prefix - 1] - '0');
    return rt_blob_new(slice_of(&b, sizeof b));
}

void edge_c2s_bind_iq(rt_ctx *cx, edge_c2s *s, const xmpp_event *ev) {
    edge_nego *n = s->nego;
    if (!check(n && n->user && !n->iq_id)) return;
    slice resource = SLICE_NULL;
    if (ev->id.len > EDGE_ID_MAX || (ev->data.len && xmpp_jid_prep_resource(ev->data, &s->door->arena, &resource))) {
        iq_error(cx, s, ev->id.len > EDGE_ID_MAX ? SLICE_NULL : ev->id, STANZA_BAD_REQUEST);
        return;
    }
    rt_pid part = svc_partition(s->door->node, edge_c2s_svc(s), rt_blob_slice(n->user));
    if (!rt_pid_ok(part)) {
        iq_error(cx, s, ev->id, STANZA_RESOURCE_CONSTRAINT);
        return;
    }
    n->iq_id = rt_blob_new(ev->id);
    s->part = part;
    rt_msg *m = rt_msg_new(cx, SVC_BIND, sizeof(svc_bind));
    svc_bind *b = svc_bind_of(m);
    b->ref = ++n->ref;
    b->user = rt_blob_ref(n->user);
    b->resource = resource.len ? rt_blob_new(resource) : NULL;
    b->about = about(s);
    b->anonymous = n->anonymous;
    s->hold |= EDGE_HOLD_SVC;
    rt_send(cx, part, &m);
}

void edge_c2s_bind_failed(rt_ctx *cx, edge_c2s *s, xmpp_stanza_error error) {
    if (s->state != EDGE_OPEN || !s->nego->iq_id) return;
    iq_error(cx, s, rt_blob_slice(s->nego->iq_id), error);
    rt_blob_unref(s->nego->iq_id);
    s->nego->iq_id = NULL;
    edge_c2s_in_release(cx, s, EDGE_HOLD_SVC);
}

/* The partition's end is ours: nobody else would know of this session. One monitor serves all sessions of a shard. */
static void watch(rt_ctx *cx, edge_c2s *s) {
    if (!edge_door_watch(s->door, s->part)) return;
    rt_msg *m = rt_msg_new(cx, EDGE_WATCH, sizeof(edge_watch));
    edge_watch_of(m)->part = s->part;
    rt_send(cx, s->door->owner, &m);
}

void edge_c2s_bind_bound(rt_ctx *cx, edge_c2s *s, svc_bound *b) {
    bool waited = s->state == EDGE_OPEN && s->nego->iq_id && b->ref == s->nego->ref;
    if (!waited) return; /* the stream is closing, and edge_c2s_unbind has followed the request */
    if (b->error || !b->jid) {
        edge_c2s_bind_failed(cx, s, b->error ? (xmpp_stanza_error)b->error : STANZA_INTERNAL_SERVER_ERROR);
        return;
    }
    s->jid = b->jid;
    b->jid = NULL;
    s->bare_len = (uint16_t)xmpp_jid_bare(edge_c2s_full(s)).len;
    watch(cx, s);
    xmpp_stream_write_bound(edge_c2s_out(cx, s), rt_blob_slice(s->nego->iq_id), edge_c2s_full(s));
    rt_event_text(cx, EV_BIND, (uint64_t)s->fd, 0, edge_c2s_full(s));
    edge_c2s_nego_free(s);
    xmpp_stream_set_phase(&s->stream, XMPP_PHASE_BOUND);
    s->state = EDGE_BOUND;
    edge_c2s_arm(cx, s);
    edge_c2s_in_release(cx, s, EDGE_HOLD_SVC);
}

/* RFC 3921 section 3 is history, but clients still ask; there is nothing to do. */
void edge_c2s_bind_session(rt_ctx *cx, edge_c2s *s, const xmpp_event *ev) {
    if (s->state != EDGE_BOUND) {
        xmpp_stream_write_iq_result(edge_c2s_out(cx, s), ev->id, edge_c2s_domain(s), SLICE_NULL);
        return;
    }
    xmpp_env e = {.kind = XMPP_IQ, .type = XMPP_TYPE_RESULT, .flags = XMPP_F_SERVER};
    e.from = edge_c2s_domain(s);
    e.to = edge_c2s_full(s);
    e.id = ev->id;
    uint32_t ticket = xmpp_sm_receive(&s->sm); /* it is a stanza, and counts as one */
    edge_c2s_out_env(cx, s, &e);
    if (xmpp_sm_complete(&s->sm, ticket)) edge_c2s_ack_handled(cx, s);
}
