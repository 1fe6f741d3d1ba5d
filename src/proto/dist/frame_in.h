#ifndef PROTO_DIST_FRAME_IN_H
#define PROTO_DIST_FRAME_IN_H
/* frame_in: the receiving end of a connection after its handshake: bytes in; ticks and whole messages out. Frames, atom cache and fragments
 * together, so that what has to be in order is.
 *
 *     bytes --> frames --HEADER--> cache ----------------------> message { body, atoms } --> dist_ctl_read
 *                      --FIRST---> cache --> fragments --whole-->
 *                      --NEXT--------------> fragments --whole-->
 *                      --PLAIN---------------------------------->
 *
 * An idle connection owns no memory but for the atoms that the peer has named. Everything that came is counted against the limits of the
 * caller's cfg. */
#include "proto/dist/ctl.h"
#include "proto/dist/fragment.h"
#include "proto/dist/frame.h"

typedef struct dist_in_cfg {
    uint32_t frame_max; /* bytes of a frame */
    size_t cache_max;   /* bytes that the atom cache takes */
    dist_fragments_cfg fragments;
} dist_in_cfg;
/* Ours to choose; OTP has no limits. A cache of 512 KiB has room for a name of 200 bytes in each slot. */
#define DIST_FRAME_MAX           (128u << 20)
#define DIST_CACHE_MAX           (512u << 10)
#define DIST_FRAGMENTS_OPEN_MAX  4096u /* each is a process of the peer that is sending a long message */
#define DIST_FRAGMENTS_EACH_MAX  ((size_t)128 << 20)
#define DIST_FRAGMENTS_BYTES_MAX ((size_t)256 << 20)

typedef struct dist_in {
    const dist_in_cfg *cfg;
    bool headers;        /* agreed: DIST_HDR_ATOM_CACHE */
    bool fragmenting;    /* agreed: FRAGMENTS too */
    err error;           /* after BAD */
    const char *why;     /* likewise */
    dist_frames *frames; /* NULL: between two frames */
    dist_cache_in cache;
    dist_fragments *fragments; /* NULL: no message is in fragments */
} dist_in;

typedef enum dist_in_kind {
    DIST_IN_NONE, /* more bytes are needed */
    DIST_IN_TICK,
    DIST_IN_PART,    /* a part of a message: nothing to do */
    DIST_IN_MESSAGE, /* message */
    DIST_IN_BAD,     /* why: the connection has to be closed */
} dist_in_kind;
typedef struct dist_in_event {
    dist_in_kind kind;
    dist_message message; /* its atoms are in the dist_refs of the call */
    err error;            /* BAD: ERR_PROTO or ERR_LIMIT */
    const char *why;      /* BAD: a sentence without its full stop, a literal */
} dist_in_event;

/* cfg: lives as long as *in. agreed: dist_flags_common. */
void dist_in_init(dist_in *in, const dist_in_cfg *cfg, uint64_t agreed);
void dist_in_share(dist_in *in, dist_atoms *shared); /* as dist_cache_in_share: right after init */
void dist_in_fini(dist_in *in);
/* Takes a piece off the front of `bytes`, *out_used long, which is done with also when the event is NONE, and then it is all of it. The
 * message lies in bytes, in *in and in *refs (the caller's; one for many connections will do), and is valid until the next call and until
 * bytes is reused. Headers are applied in the order of these calls, whatever the caller does with the messages. */
void dist_in_next(dist_in *in, slice bytes, dist_refs *refs, size_t *out_used, dist_in_event *out);
/* Whether the message that was just handed out lies in memory of *in; if so, the caller gets that (mem_free) and the bytes stay as long as
 * it, but not the atoms. */
NODISCARD bool dist_in_take(dist_in *in, uint8_t **out_p);
/* The same for the payload of that message, if it was rewritten: dist_fragments_take_payload. */
NODISCARD bool dist_in_take_payload(dist_in *in, uint8_t **out_p, size_t *out_len);

#endif
