#ifndef MESH_CALL_H
#define MESH_CALL_H
/* call: what an actor of this node asks processes of others: gen_server:call to a pid or to {Name, Node} (stdlib, gen.erl), and functions
 * of another node, as rpc:call (kernel, rpc.erl and erpc.erl). Nothing waits: the answer is a message that the actor is given, like any.
 *
 *     mesh_calls_init    in its init
 *     mesh_calls_gen     begins one, as mesh_calls_rpc does
 *     mesh_calls_take    of each message that it gets: is it about a call, and is that over?
 *     mesh_calls_expire  of each of its timers: was it a call's?
 *     mesh_calls_fini    in its fini
 *
 * A call is a monitor of who is called, whose reference is the tag of the call: so a callee that is not there, one that ends, and a node
 * that is lost are told apart, and an answer that comes when the call is over finds no call and is dropped. As the actor itself says it, it
 * comes after all that this actor has sent there before. */
#include "base/hash.h"
#include "mesh/mesh.h"
#include "proto/etf/etf.h"

typedef struct mesh_calls { /* of one actor, in its state */
    mesh *m;
    uint32_t max; /* calls that are not answered yet */
    bool leads;   /* functions of other nodes have run with this actor as their group leader */
    hmap by_ref;  /* by the number of its monitor */
    hmap by_timer;
} mesh_calls;

typedef struct mesh_callee {
    rt_pid pid;       /* of any node; not ok: whoever has this name there */
    slice name, node; /* node: empty, or this one: an actor here */
} mesh_callee;

/* What has become of a call. */
typedef struct mesh_answer {
    uint64_t call; /* 0: of one that is over; there is nothing to do */
    /* ERR_OK: it was answered. NOPROC: nobody is there, or not any more; NOCONN: the node is not connected, or was lost; TIMEOUT; LIMIT:
     * too many monitors of that node; UNSUPPORTED: the other node is too old. FOREIGN: a callee ended for another reason, which is term; of
     * a function: term is what rpc:call gives in {badrpc, _}, {'EXIT', Reason} mostly. */
    err status;
    slice term; /* of OK and FOREIGN: without version byte; good until the message is released and mesh_answer_fini was called */
    buf made;   /* what term is of, if it is not of the message */
} mesh_answer;
void mesh_answer_fini(mesh_answer *a);

void mesh_calls_init(mesh_calls *c, mesh *m, uint32_t max);
void mesh_calls_fini(rt_ctx *cx, mesh_calls *c); /* what is not answered yet is given up */

/* gen_server:call. request: one term, without version byte; borrowed. timeout: USEC_NEVER: as long as the other one lives. ERR_LIMIT:
 * c->max are under way; ERR_INVALID: the calling actor itself, a name that is no atom, or too long a request; ERR_NOCONN: the node is not
 * connected. */
NODISCARD err mesh_calls_gen(rt_ctx *cx, mesh_calls *c, const mesh_callee *to, slice request, usec timeout, uint64_t *out_call);
/* rpc:call: a process that the other node makes runs the function; where the node is too old for that, or has no module erpc, its `rex`
 * does. args: a list as a term; borrowed. What the function writes to its group leader is dropped. Errors as above; ERR_INVALID also for
 * this node itself. */
NODISCARD err mesh_calls_rpc(rt_ctx *cx, mesh_calls *c, slice node, slice module, slice function, slice args, usec timeout,
                             uint64_t *out_call);

/* Appends a term as arguments of a function: a proper list, and a string as the list of its characters. False: it is neither. */
NODISCARD bool mesh_args_list(slice term, buf *out);

/* Is m about a call? Then it is done with, and out says what has become of it. The calling actor had m, and drops it afterwards. */
NODISCARD bool mesh_calls_take(rt_ctx *cx, mesh_calls *c, rt_msg *m, mesh_answer *out);
NODISCARD bool mesh_calls_expire(rt_ctx *cx, mesh_calls *c, const rt_timer *t, mesh_answer *out);

/* {'$gen_cast', Request} as a message; NULL: it is too long. */
rt_blob *mesh_cast_blob(slice request);

/* --- caller.c: what operators ask of other nodes: MESH_ASK, answered by MESH_ASKED; verbs_call.c: in words */
#define MESH_CALLER_NAME "murre_caller"
typedef enum mesh_ask_op { MESH_ASK_PING, MESH_ASK_RPC } mesh_ask_op;
err mesh_rpc_verb(rt_verb_call *c);
err mesh_ping_verb(rt_verb_call *c);
#endif
