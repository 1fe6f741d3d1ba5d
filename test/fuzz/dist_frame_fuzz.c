/* dist_frame_fuzz: a stream of frames; the first byte says how many bytes come at a time. Oracle: the same frames as in one piece, and what
 * is kept of one that is cut is at most twice what came of it. */
#include "proto/dist/frame.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX 4096u

static void demand(bool ok) {
    if (!ok) abort();
}

static void run(buf *log, slice in, size_t step) {
    dist_frames f;
    dist_frames_init(&f, MAX);
    size_t at = 0, have = 0, frame = 0;
    for (;;) {
        dist_frame x;
        size_t used;
        dist_frames_next(&f, slice_sub(in, at, have - at), &used, &x);
        demand(used <= have - at);
        at += used;
        demand(f.kept.cap <= 64 || f.kept.cap <= 2 * (at - frame));
        if (x.kind == DIST_FRAME_NONE) {
            demand(at == have);
            if (have == in.len) break;
            have = have + step < in.len ? have + step : in.len;
            continue;
        }
        frame = at;
        if (x.kind == DIST_FRAME_BAD) {
            demand(x.why && x.error);
            buf_add_str(log, x.why);
            break;
        }
        if (x.kind != DIST_FRAME_NEXT || x.begins)
            buf_addf(log, "|%d %llx %llx ", x.kind, (unsigned long long)x.sequence, (unsigned long long)x.number);
        buf_add(log, x.body);
        if (x.kind == DIST_FRAME_NEXT && !x.more) buf_add_byte(log, '.');
    }
    dist_frames_fini(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    slice in = slice_of(data + 1, size - 1);
    buf whole, cut;
    buf_init(&whole, 1u << 22);
    buf_init(&cut, 1u << 22);
    run(&whole, in, size);
    run(&cut, in, 1u + data[0] % 64);
    demand(slice_eq(buf_slice(&whole), buf_slice(&cut)));
    buf_fini(&whole);
    buf_fini(&cut);
    return 0;
}
