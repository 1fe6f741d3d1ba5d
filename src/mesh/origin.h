#ifndef MESH_ORIGIN_H
#define MESH_ORIGIN_H
/* origin: who has started this node, and controls it, as OTP's module peer does (stdlib, peer.erl): by messages over a line of their own,
 * which is the business of the caller (main/peer.c), or over the cluster. What it may call is in mfa.def, and it may end the node. */
#include "mesh/mesh.h"

/* From now on erlang:halt (now: at once, with that exit status) and init:stop (in order) call fn, on any thread, whoever of the cluster
 * calls them. Without this they are undef. Between mesh_new and the start; arg outlives the node. */
void mesh_origin_allow(mesh *m, void (*fn)(void *arg, bool now, int status), void *arg);

/* One message of the line, a term with its version byte:
 *
 *     {call, Seq, M, F, Args}     {reply, Seq, ok, Value}, or {reply, Seq, error, {Reason, [{M, F, Args, []}]}} with undef, badarg or
 * system_limit {cast, M, F, Args}          the same, and nothing is said {message, To, Message}      as erlang:send; one for nobody is
 * dropped {io_reply, _, _, _}         no actor asks for any: dropped
 *
 * What is to be said back, a term with version byte, is added to reply. On a thread that is no shard's; waits for the answer. ERR_CORRUPT:
 * it is none of these. */
NODISCARD err mesh_origin_message(mesh *m, slice message, buf *reply);
/* {started, Node}, with version byte: to be said once the node serves. */
void mesh_origin_started(const mesh *m, buf *reply);

/* Without a line: tells a process that the node has started, once its node is connected (mesh_dial), and ends this one in order when it
 * ends or cannot be reached any more. pid: a term with version byte; *out_node: the node of that process, as long as m. After mesh_boot.
 * ERR_INVALID: it is no pid. */
NODISCARD err mesh_origin_follow(mesh *m, slice pid, slice *out_node);
#endif
