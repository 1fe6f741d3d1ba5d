#ifndef PROTO_DIST_FRAME_H
#define PROTO_DIST_FRAME_H
/* frame: where the frames of a connection begin and end after its handshake (OTP: "Distribution Protocol", erl_dist_protocol, "Protocol
 * between Connected Nodes"; erl_ext_dist, "Distribution Header", for the fragments).
 *
 *     length:32  nothing                           TICK
 *                112  ...                          PLAIN   terms that each begin with 131
 *                131 68  ...                       HEADER  a distribution header, then terms
 *                131 69  sequence:64 number:64 ... FIRST   the first fragment of a message: header, control message, part of the payload
 *                131 70  sequence:64 number:64 ... NEXT    more of its payload
 *
 * A frame that lies whole in what was read is handed out where it lies. Of one that is cut, the bytes are kept until it is whole, but those
 * of NEXT are handed on as they come, because they are collected elsewhere anyway (fragment.h). Invariants: (1) the same frames come out
 * wherever the input is split, except that NEXT comes in as many pieces as it was read in. (2) what is kept is at most twice the bytes that
 * came of the frame, whatever its length claims to be; between frames nothing is kept. (3) after BAD nothing is read. */
#include "base/buf.h"

#define DIST_FRAME_LEN  4u  /* bytes of the length before each frame */
#define DIST_FRAGMENT   18u /* bytes of a fragment before what it carries */
#define DIST_MAGIC      131u
#define DIST_TYPE_PLAIN 112u
#define DIST_TYPE_HEAD  68u
#define DIST_TYPE_FIRST 69u
#define DIST_TYPE_NEXT  70u

typedef enum dist_frame_kind {
    DIST_FRAME_NONE, /* more bytes are needed */
    DIST_FRAME_TICK,
    DIST_FRAME_PLAIN,
    DIST_FRAME_HEADER,
    DIST_FRAME_FIRST,
    DIST_FRAME_NEXT,
    DIST_FRAME_BAD, /* the connection has to be closed */
} dist_frame_kind;

typedef struct dist_frame {
    dist_frame_kind kind;
    slice body;        /* what follows the type, or the numbers of a fragment; of NEXT what came of it by now, which may be nothing */
    uint64_t sequence; /* FIRST, NEXT: which message */
    uint64_t number;   /* FIRST, NEXT: counts down to 1 */
    bool begins;       /* NEXT: body is the first piece of this frame */
    bool more;         /* NEXT: and not the last one */
    err error;         /* BAD: ERR_PROTO or ERR_LIMIT */
    const char *why;   /* BAD: a sentence without its full stop, for the log; a literal */
} dist_frame;

typedef struct dist_frames {
    buf kept;                                     /* a frame that is cut, without its length */
    const char *why;                              /* after BAD; NULL before */
    err error;                                    /* after BAD */
    uint32_t max;                                 /* limit on a frame, without its length */
    uint32_t len;                                 /* of the frame under way, once head has its length */
    uint32_t left;                                /* of a NEXT: bytes that are to come */
    uint8_t head[DIST_FRAME_LEN + DIST_FRAGMENT]; /* the beginning of a frame that is cut */
    uint8_t head_n;                               /* bytes of it */
    uint8_t state;                                /* what becomes of the rest of the frame */
} dist_frames;

/* max: bytes of the longest frame that is accepted, without its length. */
void dist_frames_init(dist_frames *f, uint32_t max);
void dist_frames_fini(dist_frames *f);
bool dist_frames_idle(const dist_frames *f); /* it is as after init: what came ended with a frame, which is not out of it */
/* Takes one frame, or one piece of a NEXT, off the front of in. *out_used bytes are done with, also when the frame is NONE, and then they
 * are all. out->body lies in `in` or in *f, and is valid until in is reused and until the next call. */
void dist_frames_next(dist_frames *f, slice in, size_t *out_used, dist_frame *out);
/* Whether the body of the frame that was just handed out lies in memory of *f; if so, the caller gets that memory (mem_free) and the body
 * stays valid as long as it. */
NODISCARD bool dist_frames_take(dist_frames *f, uint8_t **out_p);

/* --- writing */
static inline void dist_frame_tick(buf *out) { buf_add_u32be(out, 0); }

#endif
