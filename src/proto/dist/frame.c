/* frame: where the frames of a connection begin and end.
 *
 *             whole in the input, nothing kept: handed out where it lies
 *            +---------------------------------------------------------------------------------------------+
 *     START -+-> HEAD: length and up to 18 bytes --> KEEP: the rest is kept --------------- whole ----------+-> DONE --> START
 *                         |                                                                                |
 *                         +-----------------------> PASS: a NEXT; its bytes are handed on as they come -----+
 *
 * Why the first bytes are looked at before the rest is kept: a type that does not exist is refused at once, not after 100 MB; and why a
 * NEXT is not kept: its bytes would be copied twice, here and into the message.
 *
 * Invariants: (1) kept owns memory only in KEEP, and in DONE while its view is out. (2) head_n > 0 exactly in HEAD, KEEP and PASS.
 * (3) kept.max is the length that the frame claims, so that growing never passes it. */
#include "proto/dist/frame.h"

#include "base/load.h"

enum { ST_START, ST_HEAD, ST_KEEP, ST_PASS, ST_DONE };

void dist_frames_init(dist_frames *f, uint32_t max) {
    *f = (dist_frames){.max = max, .state = ST_START};
    buf_init(&f->kept, 0);
}

void dist_frames_fini(dist_frames *f) { buf_fini(&f->kept); }

bool dist_frames_idle(const dist_frames *f) { return f->state == ST_START && !f->why; }

static void bad(dist_frames *f, dist_frame *out, err e, const char *why) {
    f->error = e;
    f->why = why;
    *out = (dist_frame){.kind = DIST_FRAME_BAD, .error = e, .why = why};
}

/* What is wrong with a frame of len bytes that begins with these, as far as they tell; NULL: nothing. */
static const char *fault(uint32_t len, slice first) {
    if (first.len == 0) return NULL;
    if (first.p[0] == DIST_TYPE_PLAIN) return NULL;
    if (first.p[0] != DIST_MAGIC) return "a frame of an unknown type";
    if (len < 2) return "a frame that ends before its type";
    if (first.len < 2 || first.p[1] == DIST_TYPE_HEAD) return NULL;
    if (first.p[1] != DIST_TYPE_FIRST && first.p[1] != DIST_TYPE_NEXT) return "a frame of an unknown type";
    return len < DIST_FRAGMENT ? "a fragment that ends before its numbers" : NULL;
}

/* A frame, whole and without fault. */
static void classify(slice all, dist_frame *out) {
    if (all.p[0] == DIST_TYPE_PLAIN) {
        *out = (dist_frame){.kind = DIST_FRAME_PLAIN, .body = slice_from(all, 1)};
    } else if (all.p[1] == DIST_TYPE_HEAD) {
        *out = (dist_frame){.kind = DIST_FRAME_HEADER, .body = slice_from(all, 2)};
    } else {
        *out = (dist_frame){.kind = all.p[1] == DIST_TYPE_FIRST ? DIST_FRAME_FIRST : DIST_FRAME_NEXT,
                            .body = slice_from(all, DIST_FRAGMENT),
                            .sequence = load_u64be(all.p + 2),
                            .number = load_u64be(all.p + 10),
                            .begins = true};
    }
}

/* The length stands at the front of a frame; false: the frame ends here, as a tick or as a fault. */
static bool length(dist_frames *f, uint32_t len, dist_frame *out) {
    if (len > f->max) {
        bad(f, out, ERR_LIMIT, "a frame longer than the limit");
        return false;
    }
    if (len == 0) *out = (dist_frame){.kind = DIST_FRAME_TICK};
    return len != 0;
}

static size_t min_size(size_t a, size_t b) { return a < b ? a : b; }

/* HEAD: fills head up to want bytes in all; the bytes that it took. */
static size_t fill(dist_frames *f, slice in, size_t want) {
    if (f->head_n >= want) return 0;
    size_t n = min_size(want - f->head_n, in.len);
    if (n) memcpy(f->head + f->head_n, in.p, n);
    f->head_n = (uint8_t)(f->head_n + n);
    return n;
}

/* HEAD: the length and the first bytes; then KEEP or PASS. The bytes that it took. */
static size_t on_head(dist_frames *f, slice in, dist_frame *out) {
    size_t used = fill(f, in, DIST_FRAME_LEN);
    if (f->head_n < DIST_FRAME_LEN) return used;
    f->len = load_u32be(f->head);
    if (!length(f, f->len, out)) {
        f->head_n = 0;
        f->state = ST_START;
        return used;
    }
    size_t first = min_size(f->len, DIST_FRAGMENT);
    used += fill(f, slice_from(in, used), DIST_FRAME_LEN + first);
    slice have = slice_of(f->head + DIST_FRAME_LEN, f->head_n - DIST_FRAME_LEN);
    const char *why = fault(f->len, have);
    if (why) {
        bad(f, out, ERR_PROTO, why);
        return used;
    }
    if (have.len < first) return used;
    if (have.p[0] == DIST_MAGIC && have.p[1] == DIST_TYPE_NEXT) {
        f->left = f->len - DIST_FRAGMENT;
        f->state = ST_PASS;
    } else {
        f->kept.max = f->len;
        buf_add(&f->kept, have);
        f->state = ST_KEEP;
    }
    return used;
}

static size_t on_keep(dist_frames *f, slice in, dist_frame *out) {
    size_t n = min_size(f->len - f->kept.len, in.len);
    buf_add(&f->kept, slice_sub(in, 0, n));
    if (f->kept.len < f->len) return n;
    classify(buf_slice(&f->kept), out);
    f->head_n = 0;
    f->state = ST_DONE;
    return n;
}

/* begins: the numbers were read in this very call, so that this is the first piece. A frame without bytes is one empty piece. */
static size_t on_pass(dist_frames *f, slice in, bool begins, dist_frame *out) {
    size_t n = min_size(f->left, in.len);
    f->left -= (uint32_t)n;
    classify(slice_of(f->head + DIST_FRAME_LEN, DIST_FRAGMENT), out);
    out->body = slice_sub(in, 0, n);
    out->begins = begins;
    out->more = f->left > 0;
    if (f->left) return n;
    f->head_n = 0;
    f->state = ST_START;
    return n;
}

/* A frame that is whole in the input; false: it is not. */
static bool whole(dist_frames *f, slice in, size_t *out_used, dist_frame *out) {
    if (in.len < DIST_FRAME_LEN) return false;
    uint32_t len = load_u32be(in.p);
    if (len > f->max || len > in.len - DIST_FRAME_LEN) return false;
    *out_used = DIST_FRAME_LEN + len;
    if (!length(f, len, out)) return true;
    slice all = slice_sub(in, DIST_FRAME_LEN, len);
    const char *why = fault(len, all);
    if (UNLIKELY(why))
        bad(f, out, ERR_PROTO, why);
    else
        classify(all, out);
    return true;
}

void dist_frames_next(dist_frames *f, slice in, size_t *out_used, dist_frame *out) {
    *out_used = 0;
    if (UNLIKELY(f->why)) {
        bad(f, out, f->error, f->why);
        return;
    }
    if (f->state == ST_DONE) {
        buf_fini(&f->kept);
        f->state = ST_START;
    }
    if (LIKELY(f->state == ST_START) && LIKELY(whole(f, in, out_used, out))) return;
    *out = (dist_frame){.kind = DIST_FRAME_NONE};
    if (in.len == 0) return;
    if (f->state == ST_START) f->state = ST_HEAD;
    size_t used = 0;
    bool begins = f->state == ST_HEAD;
    if (begins) used = on_head(f, in, out);
    if (f->state == ST_KEEP) used += on_keep(f, slice_from(in, used), out);
    if (f->state == ST_PASS) used += on_pass(f, slice_from(in, used), begins, out);
    *out_used = used;
}

bool dist_frames_take(dist_frames *f, uint8_t **out_p) {
    if (f->state != ST_DONE) return false;
    size_t len;
    buf_take(&f->kept, out_p, &len);
    f->state = ST_START;
    return true;
}
