#ifndef SIM_TLS_H
#define SIM_TLS_H
/* tls: the simulator's identity layer behind rt/tls.h: a handshake of three messages and records that carry plain text, so that every
 * state of a TLS connection is gone through, at no cost and without keys.
 *
 *     client                         server
 *       'H' 16 bytes of client  --->
 *              <--- 'S' 16 bytes of server
 *       'F' --->                               both know binding = hash(client bytes, server bytes, kind)
 *       among peers, behind 'S' and before 'F': 'P' length:8, name, 32 bytes for who signed it: a certificate
 *       'D' u16le length, bytes  <-->          a record
 *       'C'                      <-->          close_notify
 *
 * Anything else is ERR_TLS. The client's side, for simulated clients, is here too. */
#include "base/prng.h"
#include "rt/sys.h"
#include "rt/tls.h"
#include "sim/fault.h"

#define SIM_TLS_NONCE 16u

typedef struct sim_tls {
    tls tls;        /* what the node is given; tls.self is this */
    prng rng;       /* server bytes */
    sys *files;     /* where make_self_signed writes; NULL: it cannot */
    uint32_t conns; /* connections alive, for leak checks */
    uint32_t servers;
    sim_fault *fault; /* which calls fail; NULL: none */
} sim_tls;
void sim_tls_init(sim_tls *t, uint64_t seed);

typedef struct sim_tls_client {
    uint8_t nonce[2][SIM_TLS_NONCE]; /* client's, server's */
    buf rest;                        /* a partial record */
    bool done, closed;               /* handshake over; close_notify came */
} sim_tls_client;
void sim_tls_client_init(sim_tls_client *c, uint64_t nonce, buf *out); /* appends the first message */
void sim_tls_client_fini(sim_tls_client *c);
/* Consumes all of in: handshake first, then records. Replies go to out, plain text to plain. ERR_TLS; EOF when the server closed. */
NODISCARD err sim_tls_client_read(sim_tls_client *c, slice in, buf *plain, buf *out);
void sim_tls_client_write(sim_tls_client *c, slice plain, buf *out);
void sim_tls_client_binding(const sim_tls_client *c, tls_binding kind, uint8_t out[32]);

#endif
