/* queue_admin: the rest of the kept-message queue: stanzas that wait behind puts, the index at start, counts, moves, removal. */
#include "rt/trace.h"
#include "svc/queue.h"

void svc_queue_behind(svc_part *p, svc_account *a, rt_blob *packed, rt_pid origin, uint32_t ticket, svc_later *fn) {
    svc_work *w = a->work;
    if (!w || (!w->order_head && w->puts == 0 && !svc_account_writing(a))) {
        xmpp_env e;
        if (xmpp_env_unpack(rt_blob_slice(packed), &e) == ERR_OK) fn(p, a, &e, packed, origin, ticket);
        return;
    }
    svc_order *o = mem_zalloc(sizeof *o);
    *o = (svc_order){.after_put = w->last_put,
                     .after_write = w->last_write,
                     .tail = a->queue ? svc_queue_tail(a->queue) : a->positions,
                     .fn = fn,
                     .packed = rt_blob_ref(packed),
                     .origin = origin,
                     .ticket = ticket,
                     .trace = rt_trace(p->cx)};
    if (w->order_tail)
        w->order_tail->next = o;
    else
        w->order_head = o;
    w->order_tail = o;
    svc_account_touch(p, a);
}

static void pump_all(svc_part *p, svc_account *a) {
    for (svc_session *s = a->sessions; s; s = s->next) svc_queue_pump(p, a, s);
}

void svc_queue_order_run(svc_part *p, svc_account *a) {
    bool ran = false;
    svc_work *w = a->work; /* stays while something waits in it, and while it is held */
    while (w && w->order_head && w->order_head->after_put <= w->put_done && w->order_head->after_write <= w->write_done) {
        svc_order *o = w->order_head;
        w->order_head = o->next;
        if (!w->order_head) w->order_tail = NULL;
        ran = true;
        xmpp_env e;
        svc_account_hold(a); /* fn may end sessions; the account stays until we are done */
        if (a->queue) a->queue->late_limit = o->tail + 1;
        uint32_t trace = rt_trace_swap(p->cx, o->trace);
        if (xmpp_env_unpack(rt_blob_slice(o->packed), &e) == ERR_OK) o->fn(p, a, &e, o->packed, o->origin, o->ticket);
        if (a->queue) a->queue->late_limit = 0;
        (void)rt_trace_swap(p->cx, trace);
        rt_blob_unref(o->packed);
        mem_free(o);
        pump_all(p, a); /* kept messages that came behind this one and before the next */
        svc_account_release(a);
    }
    if (ran) svc_queue_trim(p, a);
}

void svc_queue_attach(svc_part *p, store_index *ix) {
    for (size_t i = 0; i < ix->n_entries;) {
        slice user = ix->users[ix->entries[i].user];
        size_t n = i;
        while (n < ix->n_entries && ix->entries[n].user == ix->entries[i].user) n++;
        svc_account *a = svc_account_stored(p, user);
        svc_queue *q = mem_zalloc(sizeof *q);
        q->e = mem_alloc((n - i) * sizeof *q->e);
        q->cap = n - i;
        for (; i < n; i++) {
            const store_entry *s = &ix->entries[i];
            q->e[q->n++] = (svc_entry){.id = s->id, .loc = s->loc, .wall = s->wall, .bytes = s->bytes, .flags = SVC_ENTRY_COMMITTED};
            q->live++;
            q->bytes += s->bytes;
        }
        a->queue = q;
    }
}

void svc_queue_counts(const svc_account *a, uint64_t *out_messages, uint64_t *out_bytes, int64_t *out_oldest_wall) {
    const svc_queue *q = a->queue;
    *out_messages = q ? q->live : 0;
    *out_bytes = q ? q->bytes : 0;
    if (!out_oldest_wall) return;
    *out_oldest_wall = 0;
    for (size_t i = q ? q->head : 0; q && i < q->n; i++)
        if (!(q->e[i].flags & (SVC_ENTRY_ACKED | SVC_ENTRY_DEAD))) {
            *out_oldest_wall = q->e[i].wall;
            return;
        }
}

err svc_queue_on_moved(svc_part *p, rt_msg **m) {
    store_moved *mv = store_moved_of(*m);
    cursor c = cursor_of(rt_blob_slice(mv->locs));
    slice user;
    uint64_t id, loc;
    while (cursor_lslice(&c, &user) && cursor_u64le(&c, &id) && cursor_u64le(&c, &loc)) {
        svc_account *a = svc_account_find(p, user);
        svc_queue *q = a ? a->queue : NULL;
        for (size_t lo = q ? q->head : 0, hi = q ? q->n : 0; lo < hi;) {
            size_t mid = lo + (hi - lo) / 2;
            if (q->e[mid].id == id) {
                q->e[mid].loc = loc;
                break;
            }
            if (q->e[mid].id < id)
                lo = mid + 1;
            else
                hi = mid;
        }
    }
    rt_msg *r = rt_msg_new(p->cx, STORE_MOVED_OK, sizeof(store_moved_ok));
    store_moved_ok_of(r)->move = mv->move;
    rt_send(p->cx, (*m)->sender, &r);
    return ERR_OK;
}

void svc_queue_drop(svc_part *p, svc_account *a) {
    svc_queue *q = a->queue;
    if (!q) return;
    for (size_t i = q->head; i < q->n; i++) {
        svc_entry *e = &q->e[i];
        if ((e->flags & SVC_ENTRY_COMMITTED) && !(e->flags & (SVC_ENTRY_ACKED | SVC_ENTRY_DEAD))) {
            rt_msg *m = rt_msg_new(p->cx, STORE_DEL, sizeof(store_del));
            store_del_of(m)->id = e->id;
            store_del_of(m)->loc = e->loc;
            rt_send(p->cx, rt_name_find(p->cx, STORE_LOG_NAME), &m);
        }
    }
    a->positions = q->base + (q->n - q->head); /* puts that are not reported yet find no entry and are deleted then */
    svc_queue_free(q);
    a->queue = NULL;
}

void svc_queue_fini(svc_part *p) {
    while (p->put_head) {
        svc_put *t = p->put_head;
        p->put_head = t->next;
        mem_free(t);
    }
    p->put_tail = NULL;
    for (hmap_node *n = hmap_first(&p->accounts); n; n = hmap_next(&p->accounts, n)) {
        svc_account *a = container_of(n, svc_account, node);
        if (a->queue) svc_queue_free(a->queue);
        a->queue = NULL;
        while (a->work && a->work->order_head) {
            svc_order *o = a->work->order_head;
            a->work->order_head = o->next;
            rt_blob_unref(o->packed);
            mem_free(o);
        }
    }
}
