/* fragment: messages that come in pieces, put together again.
 *
 *     parts, by sequence:  part { control message | payload so far -->  }  --last one--> whole: one row of bytes, as if it had
 *                               { the atoms of its header, held         }                  come at once
 *
 * Why the atoms are held: by the time that a message is whole, later headers may have put others into their slots.
 * A payload that is rewritten is beside the control message: front | 131 | term.
 *
 * Why room is made for what is left, guessed from the fragments so far: a message of 100 MB is copied once and not at each doubling. The
 * guess is the peer's word, and so at most three times what came.
 *
 * Invariants: (1) bytes is what the bodies and the held texts of all parts have, and of `whole`. (2) a part is in parts, or it is `whole`.
 */
#include "proto/dist/fragment.h"

#include "base/mem.h"

#define GUESS_MAX 3u /* times what came */

struct dist_part {
    hmap_node node; /* in parts */
    uint64_t sequence;
    uint64_t number; /* of the newest fragment */
    buf body;
    buf payload;            /* if it is rewritten */
    etf_rewrite *rewrite;   /* NULL: it is in body */
    size_t newest, longest; /* bytes of the newest fragment, and of the longest */
    bool open;              /* of the newest fragment, more is to come */
    uint16_t held_n;
    uint32_t texts; /* bytes of the held ones */
    dist_atom *held[];
};

void dist_fragments_init(dist_fragments *f, const dist_fragments_cfg *cfg, dist_cache_in *cache) {
    *f = (dist_fragments){.cfg = cfg, .cache = cache};
    hmap_init(&f->parts);
}

/* That counts. */
static size_t part_bytes(const dist_part *p) { return p->body.len + p->payload.len + (p->rewrite ? etf_rewrite_kept(p->rewrite) : 0); }

static void free_part(dist_fragments *f, dist_part *p) {
    f->bytes -= part_bytes(p) + p->texts;
    dist_cache_in_release(f->cache, p->held, p->held_n);
    buf_fini(&p->body);
    buf_fini(&p->payload);
    etf_rewrite_free(p->rewrite);
    mem_free(p);
}

void dist_fragments_done(dist_fragments *f) {
    if (LIKELY(!f->whole)) return;
    free_part(f, f->whole);
    f->whole = NULL;
}

void dist_fragments_fini(dist_fragments *f) {
    dist_fragments_done(f);
    for (hmap_node *n = hmap_first(&f->parts), *next; n; n = next) {
        next = hmap_next(&f->parts, n);
        free_part(f, container_of(n, dist_part, node));
    }
    hmap_fini(&f->parts);
}

static uint64_t hash_of(const dist_fragments *f, uint64_t sequence) {
    return hash_bytes(&f->cfg->key, slice_of(&sequence, sizeof sequence));
}

static dist_part *find(const dist_fragments *f, uint64_t sequence, uint64_t hash) {
    for (hmap_node *n = hmap_find(&f->parts, hash); n; n = hmap_find_next(n)) {
        dist_part *p = container_of(n, dist_part, node);
        if (p->sequence == sequence) return p;
    }
    return NULL;
}

static err refuse(err e, const char *why, const char **out_why) {
    *out_why = why;
    return e;
}

/* Room for what is left of the message, if each fragment to come is as long as the longest so far, but not for more than GUESS_MAX times
 * what came. */
static void make_room(dist_part *p, buf *to, size_t n) {
    size_t have = to->len, left = to->max - have, want = GUESS_MAX * (have + n);
    if (to->cap - have >= n) return;
    if (p->number < want / (p->longest + 1)) want = (size_t)p->number * p->longest;
    if (want > left) want = left;
    if (want > n) (void)buf_reserve(to, want); /* cannot fail: within its max */
}

/* There is nothing yet of the payload, but for what stands before it. */
static bool is_bare(const dist_fragments *f, const dist_part *p) { return part_bytes(p) == p->body.len + f->cfg->front + 1; }

static NODISCARD err rewrite(dist_part *p, slice bytes, bool last, const char **out_why) {
    dist_refs refs;
    dist_cache_in_held(p->held, p->held_n, &refs);
    etf_atoms atoms = dist_refs_atoms(&refs);
    make_room(p, &p->payload, bytes.len);
    bool good = etf_rewrite_feed(p->rewrite, &atoms, bytes, last, &p->payload);
    if (!buf_ok(&p->payload)) return refuse(ERR_LIMIT, "a message in fragments longer than the limit", out_why);
    if (!good) return refuse(ERR_PROTO, "a message in fragments that is not a term", out_why);
    return ERR_OK;
}

/* last: nothing follows. */
static NODISCARD err append(dist_fragments *f, dist_part *p, slice bytes, bool last, const char **out_why) {
    size_t before = part_bytes(p);
    err e = ERR_OK;
    if (bytes.len > f->cfg->message_max - p->body.len) return refuse(ERR_LIMIT, "a message in fragments longer than the limit", out_why);
    if (bytes.len > f->cfg->bytes_max - f->bytes) return refuse(ERR_LIMIT, "more bytes in fragments than the limit", out_why);
    if (p->rewrite && last && bytes.len == 0 && is_bare(f, p)) {
        /* no payload at all: whether there has to be one is not known here */
    } else if (p->rewrite) {
        e = rewrite(p, bytes, last, out_why);
    } else {
        make_room(p, &p->body, bytes.len);
        buf_add(&p->body, bytes);
    }
    f->bytes += part_bytes(p) - before;
    p->newest += bytes.len;
    if (p->newest > p->longest) p->longest = p->newest;
    return e ? e : f->bytes > f->cfg->bytes_max ? refuse(ERR_LIMIT, "more bytes in fragments than the limit", out_why) : ERR_OK;
}

static uint32_t bytes_of(const dist_refs *r) {
    size_t sum = 0;
    for (size_t i = 0; i < r->n; i++) sum += r->atom[i].len;
    return (uint32_t)sum; /* of 255 texts of a length of 16 bits */
}

/* The newest fragment has all its bytes. */
static bool finish(dist_fragments *f, dist_part *p) {
    if (p->number > 1) return false;
    hmap_remove(&f->parts, &p->node);
    f->whole = p;
    return true;
}

static void begin_rewrite(dist_fragments *f, dist_part *p) {
    static const uint8_t zeros[64];
    buf_init(&p->payload, f->cfg->front + 1 + f->cfg->message_max);
    if (!check(f->cfg->front <= sizeof zeros)) return; /* it would fail */
    buf_add(&p->payload, slice_of(zeros, f->cfg->front));
    etf_put_version(&p->payload);
    f->bytes += p->payload.len;
    p->rewrite = etf_rewrite_new();
}

err dist_fragments_first(dist_fragments *f, uint64_t sequence, uint64_t number, slice body, const dist_refs *refs, bool *out_whole,
                         const char **out_why) {
    dist_fragments_done(f);
    uint64_t hash = hash_of(f, sequence);
    etf_atoms atoms = dist_refs_atoms(refs);
    etf_reader control = {.in = cursor_of(body), .atoms = &atoms};
    if (number == 0) return refuse(ERR_PROTO, "a message of no fragments", out_why);
    if (find(f, sequence, hash)) return refuse(ERR_PROTO, "a first fragment of a message that has begun", out_why);
    if (f->parts.count >= f->cfg->messages_max) return refuse(ERR_LIMIT, "more messages in fragments than the limit", out_why);
    if (bytes_of(refs) > f->cfg->bytes_max - f->bytes) return refuse(ERR_LIMIT, "more bytes in fragments than the limit", out_why);
    if (!etf_skip(&control, NULL)) return refuse(ERR_PROTO, "a first fragment without a whole control message", out_why);
    dist_part *p = mem_alloc(sizeof *p + refs->n * sizeof p->held[0]);
    *p = (dist_part){.sequence = sequence, .number = number, .held_n = (uint16_t)refs->n, .texts = bytes_of(refs)};
    f->bytes += p->texts;
    buf_init(&p->body, f->cfg->message_max);
    buf_init(&p->payload, 0);
    dist_cache_in_hold(refs, p->held);
    hmap_insert(&f->parts, &p->node, hash);
    err e = ERR_OK;
    if (f->cfg->front) {
        size_t n = (size_t)(control.in.p - body.p);
        e = append(f, p, slice_sub(body, 0, n), false, out_why);
        if (!e) body = slice_from(body, n);
        begin_rewrite(f, p);
    }
    if (!e) e = append(f, p, body, number == 1, out_why);
    if (!e) *out_whole = finish(f, p);
    return e;
}

err dist_fragments_next(dist_fragments *f, uint64_t sequence, uint64_t number, slice piece, bool begins, bool more, bool *out_whole,
                        const char **out_why) {
    dist_fragments_done(f);
    dist_part *p = find(f, sequence, hash_of(f, sequence));
    if (!p) return refuse(ERR_PROTO, "a fragment of no message", out_why);
    if (begins ? p->open || number != p->number - 1 || number == 0 : !p->open || number != p->number)
        return refuse(ERR_PROTO, "a fragment out of order", out_why);
    p->number = number;
    p->open = more;
    if (begins) p->newest = 0;
    err e = append(f, p, piece, number == 1 && !more, out_why);
    if (e) return e;
    *out_whole = !more && finish(f, p);
    return ERR_OK;
}

slice dist_fragments_whole(dist_fragments *f, dist_refs *out_refs, slice *out_payload) {
    *out_payload = SLICE_NULL;
    if (!check(f->whole)) return SLICE_NULL;
    if (f->whole->rewrite && !is_bare(f, f->whole)) *out_payload = slice_from(buf_slice(&f->whole->payload), f->cfg->front + 1);
    dist_cache_in_held(f->whole->held, f->whole->held_n, out_refs);
    return buf_slice(&f->whole->body);
}

bool dist_fragments_take(dist_fragments *f, uint8_t **out_p) {
    size_t len;
    if (!f->whole || !f->whole->body.p || f->whole->rewrite) return false;
    f->bytes -= f->whole->body.len;
    buf_take(&f->whole->body, out_p, &len);
    return true;
}

bool dist_fragments_take_payload(dist_fragments *f, uint8_t **out_p, size_t *out_len) {
    if (!f->whole || !f->whole->payload.p) return false;
    f->bytes -= f->whole->payload.len;
    buf_take(&f->whole->payload, out_p, out_len);
    return true;
}
