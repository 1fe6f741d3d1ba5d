#ifndef MESH_GEN_H
#define MESH_GEN_H
/* gen: the messages of OTP's generic servers (stdlib, gen.erl), for actors that other nodes call.
 *
 *     call    {'$gen_call', {From, Tag}, Request}     answered by {Tag, Reply}, to the alias in Tag if it has one, else to From
 *     cast    {'$gen_cast', Request}
 *     info    anything else */
#include "mesh/msgs.h"
#include "proto/etf/etf.h"
#include "rt/actor.h"

typedef enum mesh_gen_kind { MESH_GEN_INFO, MESH_GEN_CALL, MESH_GEN_CAST } mesh_gen_kind;
typedef struct mesh_gen {
    mesh_gen_kind kind;
    slice request; /* one term, without version byte; of an info the whole message */
    slice tag;     /* CALL */
    slice alias;   /* CALL: the reference in the tag, a term; empty: none */
    etf_pid from;  /* CALL; its node is a slice of the message, as is all else */
} mesh_gen;
/* Reads a MESH_TERM. What looks like a call and is none is an info. */
void mesh_gen_read(const mesh_term *t, mesh_gen *out);
/* Answers a call of m, the MESH_TERM that *g was read from, with one term (without version byte). A call that somebody else than From has
 * passed on gets none. */
void mesh_gen_reply(rt_ctx *cx, const rt_msg *m, const mesh_gen *g, slice reply);
#endif
