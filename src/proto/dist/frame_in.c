/* frame_in: the receiving end of a connection. See frame_in.h for the drawing.
 *
 * Why frames that were not agreed are refused although they could be read: a peer that sends them is not what it said in the handshake.
 *
 * Invariants: (1) the header of a frame is applied before the next frame is looked at. (2) after BAD nothing is read. */
#include "proto/dist/frame_in.h"

#include "base/mem.h"

void dist_in_init(dist_in *in, const dist_in_cfg *cfg, uint64_t agreed) {
    *in = (dist_in){.cfg = cfg, .headers = agreed & DIST_FLAG(DIST_HDR_ATOM_CACHE)};
    in->fragmenting = in->headers && (agreed & DIST_FLAG(FRAGMENTS));
    dist_cache_in_init(&in->cache, cfg->cache_max);
}

void dist_in_share(dist_in *in, dist_atoms *shared) { dist_cache_in_share(&in->cache, shared); }

static void frames_free(dist_in *in) {
    if (!in->frames) return;
    dist_frames_fini(in->frames);
    mem_free(in->frames);
    in->frames = NULL;
}

static void fragments_free(dist_in *in) {
    if (!in->fragments) return;
    dist_fragments_fini(in->fragments);
    mem_free(in->fragments);
    in->fragments = NULL;
}

void dist_in_fini(dist_in *in) {
    frames_free(in);
    fragments_free(in);
    dist_cache_in_fini(&in->cache);
}

/* What was handed out is done with. */
static void fragments_done(dist_in *in) {
    dist_fragments_done(in->fragments);
    if (dist_fragments_open(in->fragments) == 0) fragments_free(in);
}

static dist_fragments *fragments(dist_in *in) {
    if (in->fragments) return in->fragments;
    in->fragments = mem_alloc(sizeof *in->fragments);
    dist_fragments_init(in->fragments, &in->cfg->fragments, &in->cache);
    return in->fragments;
}

/* One frame, or a piece. What is needed to go on in the midst of one is kept only then. */
static void next_frame(dist_in *in, slice bytes, size_t *out_used, dist_frame *out) {
    dist_frames fresh;
    if (!in->frames) dist_frames_init(&fresh, in->cfg->frame_max);
    dist_frames_next(in->frames ? in->frames : &fresh, bytes, out_used, out);
    if (in->frames) {
        if (dist_frames_idle(in->frames)) frames_free(in);
    } else if (!dist_frames_idle(&fresh) && !fresh.why) {
        in->frames = mem_alloc(sizeof fresh);
        *in->frames = fresh;
    } else {
        dist_frames_fini(&fresh);
    }
}

static void bad(dist_in *in, err e, const char *why, dist_in_event *out) {
    in->error = e;
    in->why = why;
    *out = (dist_in_event){.kind = DIST_IN_BAD, .error = e, .why = why};
}

static void message(slice body, slice payload, const dist_refs *refs, bool versions, dist_in_event *out) {
    out->kind = DIST_IN_MESSAGE;
    out->message = (dist_message){body, payload, refs ? dist_refs_atoms(refs) : (etf_atoms){NULL, 0}, versions};
}

/* A frame that begins with a header. */
static void on_header(dist_in *in, const dist_frame *f, dist_refs *refs, dist_in_event *out) {
    cursor c = cursor_of(f->body);
    const char *why;
    err e = dist_cache_in_apply(&in->cache, &c, refs, &why);
    slice body = slice_of(c.p, cursor_left(&c)), payload = SLICE_NULL;
    bool whole = false;
    if (!e && f->kind == DIST_FRAME_FIRST) {
        e = dist_fragments_first(fragments(in), f->sequence, f->number, body, refs, &whole, &why);
        if (!e && whole) body = dist_fragments_whole(in->fragments, refs, &payload);
    }
    if (e)
        bad(in, e, why, out);
    else if (f->kind == DIST_FRAME_FIRST && !whole)
        out->kind = DIST_IN_PART;
    else
        message(body, payload, refs, false, out);
}

static void on_next(dist_in *in, const dist_frame *f, dist_refs *refs, dist_in_event *out) {
    bool whole = false;
    const char *why;
    slice payload;
    err e = dist_fragments_next(fragments(in), f->sequence, f->number, f->body, f->begins, f->more, &whole, &why);
    if (e) {
        bad(in, e, why, out);
    } else if (whole) {
        slice body = dist_fragments_whole(in->fragments, refs, &payload);
        message(body, payload, refs, false, out);
    } else {
        out->kind = DIST_IN_PART;
    }
}

void dist_in_next(dist_in *in, slice bytes, dist_refs *refs, size_t *out_used, dist_in_event *out) {
    static const char unagreed[] = "a frame of a kind that was not agreed";
    dist_frame f;
    *out_used = 0;
    if (UNLIKELY(in->why)) {
        bad(in, in->error, in->why, out);
        return;
    }
    if (in->fragments) fragments_done(in);
    next_frame(in, bytes, out_used, &f);
    switch (f.kind) {
    case DIST_FRAME_NONE: out->kind = DIST_IN_NONE; break;
    case DIST_FRAME_TICK: out->kind = DIST_IN_TICK; break;
    case DIST_FRAME_PLAIN:
        if (in->headers)
            bad(in, ERR_PROTO, unagreed, out);
        else
            message(f.body, SLICE_NULL, NULL, true, out);
        break;
    case DIST_FRAME_HEADER:
    case DIST_FRAME_FIRST:
        if (f.kind == DIST_FRAME_HEADER ? in->headers : in->fragmenting)
            on_header(in, &f, refs, out);
        else
            bad(in, ERR_PROTO, unagreed, out);
        break;
    case DIST_FRAME_NEXT:
        if (in->fragmenting)
            on_next(in, &f, refs, out);
        else
            bad(in, ERR_PROTO, unagreed, out);
        break;
    case DIST_FRAME_BAD: bad(in, f.error, f.why, out); break;
    }
}

bool dist_in_take(dist_in *in, uint8_t **out_p) {
    return (in->fragments && dist_fragments_take(in->fragments, out_p)) || (in->frames && dist_frames_take(in->frames, out_p));
}

bool dist_in_take_payload(dist_in *in, uint8_t **out_p, size_t *out_len) {
    return in->fragments && dist_fragments_take_payload(in->fragments, out_p, out_len);
}
