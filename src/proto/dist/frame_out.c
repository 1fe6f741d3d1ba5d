/* frame_out: the sending end of a connection.
 *
 *     length:32 | 131 68 header           | control | short payload |  rest, by reference
 *               | 131 69 sequence number header |
 *               | 112                     | 131 control | 131 short payload |
 *
 * Why terms are written before what stands in front of them: the header names the atoms that they used, and is known only then. They are
 * moved back by its length, some fifty bytes, which costs less than a second buffer.
 *
 * Invariants: (1) the length counts what is in the buf and the rest. (2) a buf that failed is given back as it was, not failed. */
#include "proto/dist/frame_out.h"

void dist_out_init(dist_out *o, uint64_t agreed, const slice *hot, size_t hot_n) {
    *o = (dist_out){.agreed = agreed, .headers = agreed & DIST_FLAG(DIST_HDR_ATOM_CACHE), .rewrite_max = DIST_SHORT};
    o->fragmenting = o->headers && (agreed & DIST_FLAG(FRAGMENTS));
    dist_cache_out_init(&o->cache, hot, hot_n);
}

void dist_out_fini(dist_out *o) { dist_cache_out_fini(&o->cache); }

static void store_be(uint8_t *to, uint64_t v, unsigned n) {
    for (unsigned i = 0; i < n; i++) to[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
}

/* The fixed part of a frame, to the numbers of a fragment; sizes as they stand in the drawing. */
static size_t front_size(const dist_out *o, bool fragment) { return DIST_FRAME_LEN + (!o->headers ? 1 : fragment ? DIST_FRAGMENT : 2u); }

static void put_front(const dist_out *o, uint8_t *to, size_t len, const dist_split *s) {
    store_be(to, len, DIST_FRAME_LEN);
    if (!o->headers) {
        to[4] = DIST_TYPE_PLAIN;
        return;
    }
    to[4] = DIST_MAGIC;
    to[5] = s->left ? DIST_TYPE_FIRST : DIST_TYPE_HEAD;
    if (!s->left) return;
    store_be(to + 6, s->sequence, 8);
    store_be(to + 14, s->left, 8);
}

/* Control message and payload, as far as it is short; *rest is what was not written of it. */
static err put_terms(const dist_out *o, const dist_ctl *c, dist_op op, dist_pen *pen, slice *rest) {
    if (!o->headers) etf_put_version(pen->out);
    err e = dist_ctl_write(c, op, o->agreed, pen);
    if (e || !rest->p) return e;
    if (!o->headers) etf_put_version(pen->out);
    if (rest->len > DIST_SHORT) return buf_ok(pen->out) ? ERR_OK : ERR_LIMIT;
    if (rest->len > o->rewrite_max)
        buf_add(pen->out, *rest);
    else
        e = dist_put_term(pen, *rest);
    *rest = SLICE_NULL;
    return e ? e : buf_ok(pen->out) ? ERR_OK : ERR_LIMIT;
}

/* Puts front and header before the terms that begin at `from`. head: NULL if it is to be empty. */
static err put_before(const dist_out *o, const dist_head *head, size_t from, size_t rest, const dist_split *s, buf *to) {
    size_t front = front_size(o, s->left > 0),
           before = front + (!o->headers ? 0
                             : head      ? dist_head_size(head)
                                         : 1u),
           terms = to->len - from;
    size_t part = s->left ? DIST_FRAGMENT_BYTES : rest;
    if (before + terms > UINT32_MAX || part > UINT32_MAX - before - terms) return ERR_LIMIT;
    if (!buf_reserve(to, before)) return ERR_LIMIT;
    buf_added(to, before);
    memmove(to->p + from + before, to->p + from, terms);
    put_front(o, to->p + from, before - DIST_FRAME_LEN + terms + part, s);
    if (head)
        dist_head_write(head, to->p + from + front);
    else if (o->headers)
        to->p[from + front] = 0; /* references */
    return ERR_OK;
}

static err give_up(err e, dist_head *head, buf *to, size_t from) {
    to->len = from;
    to->failed = false;
    if (head) dist_head_abort(head);
    return e;
}

/* head: NULL if no atom goes through the cache. */
static NODISCARD err put_signal(const dist_out *o, dist_head *head, const dist_ctl *c, uint64_t sequence, buf *to, slice *out_rest,
                                dist_split *out_split) {
    dist_op op;
    err e = dist_ctl_choose(c, o->agreed, &op);
    if (e) return e;
    if (!buf_ok(to)) return ERR_LIMIT;
    slice rest = dist_ctl_payload(c, op);
    if (!check(!dist_op_has_payload(op) || rest.len > 0)) return ERR_BUG;
    size_t from = to->len;
    dist_pen pen = {to, head};
    e = put_terms(o, c, op, &pen, &rest);
    if (e) return give_up(e, head, to, from);
    dist_split s = {.sequence = sequence};
    if (o->fragmenting && rest.len > DIST_FRAGMENT_BYTES) s.left = (rest.len - 1) / DIST_FRAGMENT_BYTES + 1;
    e = put_before(o, head, from, rest.len, &s, to);
    if (e) return give_up(e, head, to, from);
    if (s.left) {
        s.left--;
        s.rest = slice_from(rest, DIST_FRAGMENT_BYTES);
        rest = slice_sub(rest, 0, DIST_FRAGMENT_BYTES);
    }
    *out_rest = rest;
    *out_split = s;
    return ERR_OK;
}

err dist_out_signal(dist_out *o, const dist_ctl *c, uint64_t sequence, buf *to, slice *out_rest, dist_split *out_split) {
    dist_head head;
    if (o->headers) dist_head_begin(&head, &o->cache);
    return put_signal(o, o->headers ? &head : NULL, c, sequence, to, out_rest, out_split);
}

err dist_out_apart(const dist_out *o, const dist_ctl *c, uint64_t sequence, buf *to, slice *out_rest, dist_split *out_split) {
    return put_signal(o, NULL, c, sequence, to, out_rest, out_split);
}

err dist_out_fragment(dist_split *s, buf *to, slice *out_rest) {
    if (!check(s->left > 0)) return ERR_BUG;
    slice part = slice_sub(s->rest, 0, DIST_FRAGMENT_BYTES);
    if (!buf_ok(to)) return ERR_LIMIT;
    uint8_t *front = buf_reserve(to, DIST_FRAME_LEN + DIST_FRAGMENT);
    if (!front) {
        to->failed = false;
        return ERR_LIMIT;
    }
    store_be(front, DIST_FRAGMENT + part.len, DIST_FRAME_LEN);
    front[4] = DIST_MAGIC;
    front[5] = DIST_TYPE_NEXT;
    store_be(front + 6, s->sequence, 8);
    store_be(front + 14, s->left, 8);
    buf_added(to, DIST_FRAME_LEN + DIST_FRAGMENT);
    s->rest = slice_from(s->rest, part.len);
    s->left--;
    *out_rest = part;
    return ERR_OK;
}
