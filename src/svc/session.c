/* session: the resources of an account: bind, stream management, resumption look-up, end.
 *
 * Invariants: (1) at most one session has a resource; a newer one replaces the older, which is told (RFC 6120 7.7.2.2). (2) A session is
 * there from bind to end; svc_session_end runs exactly once for it, by SVC_UNBIND, which an edge actor sends however it ends, by a
 * conflict, or by the account's end. (3) A resumption id is looked up within one account only, in constant time. */
#include "svc/part.h"

#define RESOURCE_RANDOM 12 /* bytes of entropy in a resource that the server makes */

svc_session *svc_session_find(svc_account *a, slice resource) {
    for (svc_session *s = a->sessions; s; s = s->next)
        if (!s->ending && slice_eq(svc_session_resource(s), resource)) return s;
    return NULL;
}

svc_session *svc_session_of(svc_account *a, rt_pid pid) {
    for (svc_session *s = a->sessions; s; s = s->next)
        if (rt_pid_eq(s->pid, pid)) return s;
    return NULL;
}

void svc_session_deliver_blob(svc_part *p, svc_session *s, rt_blob *env) {
    rt_msg *m = rt_msg_new(p->cx, SVC_DELIVER, sizeof(svc_deliver));
    svc_deliver_of(m)->env = rt_blob_ref(env);
    rt_send(p->cx, s->pid, &m);
}

void svc_session_deliver(svc_part *p, svc_session *s, const xmpp_env *e, slice extra) {
    rt_blob *env = svc_part_pack(p, e);
    if (!env) return; /* too large; it is not kept, and nobody waits for it */
    rt_msg *m = rt_msg_new(p->cx, SVC_DELIVER, sizeof(svc_deliver));
    svc_deliver *d = svc_deliver_of(m);
    d->env = env;
    if (extra.len) d->extra = rt_blob_new(extra);
    rt_send(p->cx, s->pid, &m);
}

void svc_session_kick(svc_part *p, svc_session *s, xmpp_stream_error e, const char *text) {
    rt_msg *m = rt_msg_new(p->cx, SVC_KICK, sizeof(svc_kick));
    svc_kick_of(m)->error = (uint8_t)e;
    if (text) svc_kick_of(m)->text = rt_blob_new(slice_str(text));
    rt_send(p->cx, s->pid, &m);
}

svc_more *svc_session_more(svc_session *s) {
    if (!s->more) {
        s->more = mem_zalloc(sizeof *s->more);
        s->more->redo = UINT64_MAX;
    }
    return s->more;
}

void svc_session_less(svc_session *s) {
    const svc_more *m = s->more;
    if (!m || m->smid || m->directed || m->inflight || m->asking || m->redo < s->cursor) return;
    mem_free(s->more);
    s->more = NULL;
}

static void more_free(svc_more *m) {
    if (!m) return;
    while (m->directed) {
        svc_directed *d = m->directed;
        m->directed = d->next;
        svc_disown(&d->to);
        mem_free(d);
    }
    rt_blob_unref(m->smid);
    mem_free(m->inflight);
    mem_free(m);
}

void svc_session_free(svc_part *p, svc_account *a, svc_session *s) {
    for (svc_session **at = &a->sessions; *at; at = &(*at)->next)
        if (*at == s) {
            *at = s->next;
            a->n_sessions--;
            p->n_sessions--;
            break;
        }
    more_free(s->more);
    rt_blob_unref(s->jid);
    rt_blob_unref(s->presence);
    mem_free(s);
}

void svc_session_end(svc_part *p, svc_account *a, svc_session *s) {
    svc_presence_end(p, a, s);
    svc_queue_session_end(p, a, s);
    svc_session_free(p, a, s);
    if (a->state == SVC_ANONYMOUS && !a->sessions) a->state = SVC_ABSENT;
    svc_account_touch(p, a);
}

/* --- bind */
static void bound(svc_part *p, rt_pid to, uint64_t ref, xmpp_stanza_error e, rt_blob *jid) {
    rt_msg *m = rt_msg_new(p->cx, SVC_BOUND, sizeof(svc_bound));
    svc_bound *b = svc_bound_of(m);
    b->ref = ref;
    b->error = (uint8_t)e;
    b->jid = jid;
    rt_send(p->cx, to, &m);
}

static slice make_resource(svc_part *p, uint8_t text[RESOURCE_RANDOM]) {
    uint8_t raw[RESOURCE_RANDOM];
    rt_entropy(p->cx, raw, sizeof raw);
    static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
    for (size_t i = 0; i < sizeof raw; i++) text[i] = (uint8_t)digits[raw[i] & 31];
    return slice_of(text, sizeof raw);
}

static rt_blob *full_jid(svc_account *a, slice resource) {
    rt_blob *b = rt_blob_alloc(svc_account_jid(a).len + 1 + resource.len);
    memcpy(b->data, svc_account_jid(a).p, svc_account_jid(a).len);
    b->data[svc_account_jid(a).len] = '/';
    if (resource.len) memcpy(b->data + svc_account_jid(a).len + 1, resource.p, resource.len);
    return b;
}

err svc_session_on_bind(svc_part *p, rt_msg **m) {
    svc_bind *q = svc_bind_of(*m);
    rt_pid pid = (*m)->sender;
    svc_account *a = svc_account_get(p, rt_blob_slice(q->user));
    if (a->state == SVC_LOADING) {
        svc_account_wait(a, m);
        return ERR_OK;
    }
    if (q->anonymous && a->state == SVC_ABSENT) a->state = SVC_ANONYMOUS;
    xmpp_stanza_error refuse = STANZA_OK;
    if (a->state == SVC_BROKEN)
        refuse = STANZA_INTERNAL_SERVER_ERROR;
    else if (a->state == SVC_ABSENT)
        refuse = STANZA_NOT_ALLOWED; /* deleted since it authenticated */
    svc_session *old = q->resource && refuse == STANZA_OK ? svc_session_find(a, rt_blob_slice(q->resource)) : NULL;
    if (refuse == STANZA_OK && !old && a->n_sessions >= p->cfg->resources_max) refuse = STANZA_RESOURCE_CONSTRAINT;
    if (refuse != STANZA_OK) {
        bound(p, pid, q->ref, refuse, NULL);
        svc_account_touch(p, a);
        return ERR_OK;
    }
    if (old) {
        svc_session_kick(p, old, STREAM_CONFLICT, "replaced by a new session with the same resource");
        svc_session_end(p, a, old);
        if (a->state == SVC_ABSENT) a->state = SVC_ANONYMOUS; /* the last session of an anonymous account was the one replaced */
    }
    uint8_t made[RESOURCE_RANDOM];
    svc_session *s = mem_zalloc(sizeof *s);
    s->account = a;
    s->pid = pid;
    s->since = SVC_SINCE_NONE;
    s->jid = full_jid(a, q->resource ? rt_blob_slice(q->resource) : make_resource(p, made));
    if (q->about && q->about->len == sizeof s->about) memcpy(&s->about, q->about->data, sizeof s->about);
    rt_blob_unref(a->name); /* one blob holds the address of both */
    a->name = rt_blob_ref(s->jid);
    s->next = a->sessions;
    a->sessions = s;
    a->n_sessions++;
    p->n_sessions++;
    svc_queue_session_bind(a, s);
    svc_account_touch(p, a);
    bound(p, pid, q->ref, STANZA_OK, rt_blob_ref(s->jid));
    return ERR_OK;
}

static svc_session *session_by_jid(svc_part *p, const rt_blob *jid, rt_pid pid, svc_account **out_account) {
    svc_account *a = svc_account_find(p, xmpp_jid_bare(rt_blob_slice(jid)));
    svc_session *s = a ? svc_session_of(a, pid) : NULL;
    *out_account = a;
    return s;
}

err svc_session_on_unbind(svc_part *p, rt_msg **m) {
    svc_account *a;
    svc_session *s = session_by_jid(p, svc_unbind_of(*m)->jid, (*m)->sender, &a);
    if (s)
        svc_session_end(p, a, s);
    else if (a && (a->state == SVC_LOADING || svc_account_waited(a)))
        svc_account_wait(a, m); /* its SVC_BIND may wait there */
    return ERR_OK;
}

/* --- stream management */
err svc_session_on_sm(svc_part *p, rt_msg **m) {
    svc_sm *q = svc_sm_of(*m);
    svc_account *a;
    svc_session *s = session_by_jid(p, q->jid, (*m)->sender, &a);
    if (!s) return ERR_OK;
    s->sm = true;
    rt_blob_unref(svc_session_more(s)->smid);
    s->more->smid = rt_blob_ref(q->smid);
    svc_session_less(s);
    return ERR_OK;
}

err svc_session_on_resume(svc_part *p, rt_msg **m) {
    svc_resume *q = svc_resume_of(*m);
    rt_pid found = RT_PID_NONE;
    svc_account *a = svc_account_find(p, rt_blob_slice(q->user));
    for (svc_session *s = a ? a->sessions : NULL; s; s = s->next)
        if (s->more && s->more->smid && slice_eq_ct(rt_blob_slice(s->more->smid), rt_blob_slice(q->smid))) found = s->pid;
    rt_msg *r = rt_msg_new(p->cx, SVC_RESUMABLE, sizeof(svc_resumable));
    svc_resumable_of(r)->ref = q->ref;
    svc_resumable_of(r)->session = found;
    rt_send(p->cx, (*m)->sender, &r);
    return ERR_OK;
}
