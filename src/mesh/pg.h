#ifndef MESH_PG_H
#define MESH_PG_H
/* pg: process groups of a cluster (OTP: kernel's pg), in scopes that know nothing of each other. This node has those that mesh_cfg names,
 * an actor each, registered under the scope's name; what it knows and tells is pg_scope.h's.
 *
 *     other nodes: pg processes of that name  <-- discover, sync, join, leave -->  scope  <-- MESH_PG_ASK --  actors of this node
 *                                                                                       --  MESH_PG_ANSWER -->
 *
 * Nodes that see each other find each other's scopes; a hidden one (this or that) is not looked for, as OTP does not look for it, but
 * answered if it looks itself.
 *
 * A scope that is flooded, so that its mailbox refuses something, asks all others anew for what they have: so it is wrong for a while at
 * most. A scope that ends has forgotten what was in it, as OTP's has: whoever joined and cares watches it (rt_monitor on what
 * mesh_pg_find returns) and joins its successor.
 *
 * net_kernel of this node is in the group `murre` of the scope `pg`: pg:get_members(murre) on any node names one process for each murre
 * node. */
#include "mesh/msgs.h"
#include "rt/actor.h"

#define MESH_PG_SCOPE      "pg"                /* OTP's default */
#define MESH_PG_OWN        SLICE("w\x05murre") /* the group of net_kernels of murre nodes: an atom, as a term */
#define MESH_PG_SCOPES_MAX 64u

typedef enum mesh_pg_op { MESH_PG_JOIN, MESH_PG_LEAVE, MESH_PG_MEMBERS, MESH_PG_SHARES, MESH_PG_GROUPS } mesh_pg_op;

/* The actor of a scope of this node; RT_PID_NONE: there is no such scope, or it does not run at the moment. */
rt_pid mesh_pg_find(rt_ctx *cx, slice scope);

/* Whether these can be the names of a node's scopes. ERR_INVALID: *out_at is no atom, is empty, or has a NUL; ERR_EXISTS: it is there
 * twice, or a service's name (services.def); ERR_LIMIT: they are more than MESH_PG_SCOPES_MAX. */
NODISCARD err mesh_pg_check(const char *const *names, size_t n, size_t *out_at);

/* From an actor of this node. group: a term without version byte, borrowed. pid: an actor of this node, of a foreign class
 * (rt_class.foreign), or members of other nodes would send to it in vain; once it ends, it is in no group any more. A pid joins as often as
 * this is called, and leaves once for each. ERR_NOPROC: no such scope runs; ERR_INVALID: group is not one term. What else there is comes as
 * MESH_PG_ANSWER with the ticket, unless that is 0: ERR_OK, ERR_LIMIT (of pg_scope.h), ERR_NOT_FOUND from leave: it is not in the group. No
 * answer comes from a scope that ends meanwhile; from one whose mailbox is full the MESH_PG_ASK comes back, refused. */
NODISCARD err mesh_pg_join(rt_ctx *cx, slice scope, slice group, rt_pid pid, uint64_t ticket);
NODISCARD err mesh_pg_leave(rt_ctx *cx, slice scope, slice group, rt_pid pid, uint64_t ticket);
/* All members, of this node first: the answer's rows are mesh_pg_member (pg_scope.h), as of when it was asked, at most max of them; none
 * for a group that there is not. Errors as above. */
NODISCARD err mesh_pg_members(rt_ctx *cx, slice scope, slice group, uint32_t max, uint64_t ticket);
#endif
