/* carbon: copies of messages to an account's other resources (XEP-0280 version 1.0).
 *
 * Eligible (section 6, recommended rules): chat, or normal with a body, receipts and markers and chat states among them; not groupchat,
 * headline or error; not what is private or no-copy; never a carbon itself. Copies of what was received are part of delivery (queue.c);
 * copies of what was sent are best effort and never stored. */
#include "base/plant.h"
#include "proto/xmpp/ns.h"
#include "svc/part.h"

bool svc_carbon_wanted(const xmpp_env *e) {
    if (e->kind != XMPP_MESSAGE || e->flags & (XMPP_F_NO_COPY | XMPP_F_CARBON)) return false;
    if (e->type == XMPP_TYPE_CHAT) return true;
    return (e->type == XMPP_TYPE_NORMAL || e->type == XMPP_TYPE_NONE) && e->flags & (XMPP_F_BODY | XMPP_F_RECEIPT);
}

rt_blob *svc_carbon_wrap(svc_part *p, svc_session *s, svc_account *a, const xmpp_env *e, bool sent, slice extra) {
    buf b; /* extra may live in p->out */
    buf_init(&b, 1u << 20);
    const char *dir = sent ? "sent" : "received";
    buf_addf(&b, "<%s xmlns='" NS_CARBONS "'><forwarded xmlns='" NS_FORWARD "'>", dir);
    xmpp_env_write_ns(&b, e, e->to, extra);
    buf_addf(&b, "</forwarded></%s>", dir);
    xmpp_env copy = {
        .kind = XMPP_MESSAGE,
        .type = e->type,
        .flags = XMPP_F_SERVER | XMPP_F_CARBON | XMPP_F_PAYLOAD,
        .from = svc_account_jid(a),
        .to = svc_session_jid(s),
        .inner = buf_slice(&b),
    };
    rt_blob *blob = buf_ok(&b) ? svc_part_pack(p, &copy) : NULL;
    buf_fini(&b);
    return blob;
}

void svc_carbon_sent(svc_part *p, svc_account *a, svc_session *s, const xmpp_env *e) {
    if (!svc_carbon_wanted(e) || a->n_sessions < 2) return;
    slice to_resource = slice_eq(xmpp_jid_bare(e->to), svc_account_jid(a)) ? xmpp_jid_resource(e->to) : SLICE_NULL;
    if (slice_eq(e->to, svc_account_jid(a))) return; /* to oneself: everybody gets the message itself */
    for (svc_session *o = a->sessions; o; o = o->next) {
        if ((o == s && !plant(CARBON_TO_ITSELF)) || !o->carbons || !o->available) continue;
        if (to_resource.p && slice_eq(svc_session_resource(o), to_resource)) continue;
        rt_blob *copy = svc_carbon_wrap(p, o, a, e, true, SLICE_NULL);
        if (copy) svc_session_deliver_blob(p, o, copy);
        rt_blob_unref(copy);
    }
}
