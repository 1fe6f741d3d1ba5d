#ifndef NETWARP_FATE_H
#define NETWARP_FATE_H
/* fate: what happens to one segment, drawn from the seed. Pure: no clock, no descriptor, no state.
 *
 * Invariant: a fate is a function of (seed, connection, direction, position, settings) alone, never of how many bytes a read brought or
 * when, nor of what was drawn before. Each kind of damage is drawn by itself, so that switching one on changes no other. */
#include "warp.h"

typedef struct fate_key {
    uint64_t seed;
    uint64_t conn; /* number of the connection (datagrams: of the flow), from 1 in the order of acceptance */
    dir dir;
} fate_key;

typedef struct fate {
    usec jitter;      /* added to the delay */
    unsigned losses;  /* how often in a row it is lost; above WARP_RETRIES_MAX the connection ends */
    usec stall;       /* how long the retransmissions take */
    bool twice;       /* sent twice */
    bool overtaken;   /* late by the setting gap */
    usec copy_jitter; /* of the second of two */
} fate;

/* pos: for a stream the offset of the segment's first byte, for datagrams its number from 0. */
void fate_draw(const fate_key *k, uint64_t pos, const warp_set *s, fate *out);
/* True if fate_draw could change anything at all. */
bool fate_any(const warp_set *s);
/* How many bytes from pos on pass unchanged before one is flipped, at s->flip per byte; UINT64_MAX if none is. */
uint64_t fate_flip_gap(const fate_key *k, uint64_t pos, const warp_set *s);
/* The bit (as a mask) that is turned in the byte at pos. */
uint8_t fate_flip_mask(const fate_key *k, uint64_t pos);
/* A time in [from, to] for the nth occurrence of statement number id. */
usec fate_between(uint64_t seed, uint64_t id, uint64_t nth, usec from, usec to);

#endif
