#ifndef MESH_ACTOR_H
#define MESH_ACTOR_H
/* actor: what actors of the layers above need in order to speak with processes of other nodes beyond sending to a pid: who a pid in a term
 * is, names there, reasons as terms, and which nodes there are. On the caller's shard, at once. */
#include "mesh/mesh.h"
#include "proto/etf/etf.h"

/* A pid that stands in a term. False: of an earlier life of this node, or of a node that is not connected, or not in that life. */
NODISCARD bool mesh_pid_get(mesh *m, rt_ctx *cx, const etf_pid *p, rt_pid *out);
/* The reverse. False, and nothing is written: its node is not connected any more. */
NODISCARD bool mesh_pid_put(mesh *m, rt_ctx *cx, rt_pid p, buf *out);
/* Sends to a registered name of another node, as mesh_send_name; term: as in MESH_TERM, takes a reference of its own. ERR_NOCONN;
 * ERR_INVALID: the name is no atom. */
NODISCARD err mesh_send_to(mesh *m, rt_ctx *cx, slice node, slice name, rt_blob *term);
/* Sends one term (with its version byte) to a pid of any node, or to the alias that it asked to be answered at; takes a reference of its
 * own. alias: a reference as a term, empty: none. */
void mesh_send_term(rt_ctx *cx, rt_pid to, slice alias, rt_blob *term);

/* The reason of an exit that is one term, without version byte: an err that both sides have a name for, or ERR_FOREIGN and the caller's
 * *out_term. The caller has checked that it is a term. */
err mesh_reason_of(slice term, rt_blob **out_term);
void mesh_reason_put(err reason, const rt_blob *term, buf *out); /* the reverse, without version byte */

/* The calling actor gets MESH_NODE for each node that is connected, and then for each that comes and goes (on), or no more. */
void mesh_watch_nodes(rt_ctx *cx, bool on);
#endif
