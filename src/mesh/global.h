#ifndef MESH_GLOBAL_H
#define MESH_GLOBAL_H
/* global: names of processes that mean the same on all nodes of the cluster (OTP: kernel, global.erl). Every node has all of them, so that
 * reading is a look into a table here. Which names there are, and who has them, the nodes decide together under a lock.
 *
 *     actors of this node  -- MESH_GLOBAL_ASK -->     global_name_server  -- lock, register, unlock -->  the other nodes' likes
 *                          <-- MESH_GLOBAL_ANSWER --                      <-- their registrations --
 *
 * An actor that names itself waits for MESH_GLOBAL_ANSWER as for any message; its shard does not. When it ends, its names go on every node.
 * If global_name_server itself starts anew, it has forgotten the names of this node as of all others: who cares watches it
 * (mesh_global_find, rt_monitor) and names itself again. */
#include "mesh/mesh.h"
#include "proto/etf/etf.h"
#include "rt/actor.h"
#include "rt/table.h"

#define MESH_GLOBAL_TABLE    "mesh.global"
#define MESH_GLOBAL_TERM_MAX 65536u /* bytes of a name, as a term */
/* Calls fn for each name that this node has now: a term without version byte, and the process that it stands for, whose node may be any.
 * Nothing if the node is in no cluster. Both are good as long as r is inside. */
void mesh_global_each(rt_reader *r, void (*fn)(void *arg, slice name, const etf_pid *pid), void *arg);

typedef enum mesh_global_want {
    MESH_GLOBAL_NAME,   /* unless somebody has it (OTP: register_name) */
    MESH_GLOBAL_RENAME, /* whoever has it (re_register_name) */
    MESH_GLOBAL_UNNAME, /* whoever has it (unregister_name) */
} mesh_global_want;
typedef enum mesh_global_clash { /* what becomes of two processes with one name, when two parts of a cluster meet */
                                 MESH_GLOBAL_RANDOM_EXIT,   /* one is killed; OTP's default */
                                 MESH_GLOBAL_RANDOM_NOTIFY, /* one is told {global_name_conflict, Name}, as MESH_TERM */
                                 MESH_GLOBAL_NOTIFY_ALL,    /* both are told {global_name_conflict, Name, OtherPid}, and neither keeps it */
} mesh_global_clash;

/* From an actor of this node; name: a term without version byte, borrowed. pid: an actor of this node, of a foreign class
 * (rt_class.foreign), or others would send to it in vain; or a process of a node that is connected. ERR_NOPROC: no global_name_server runs;
 * ERR_NOCONN: pid is of a node that is not connected; ERR_INVALID: name is not one term. What else there is comes as MESH_GLOBAL_ANSWER
 * with the ticket, unless that is 0: ERR_OK; ERR_EXISTS: somebody has the name; ERR_NOPROC: pid has ended; ERR_LIMIT: the name is longer
 * than MESH_GLOBAL_TERM_MAX, or there are too many (global_state.h); of unregister ERR_NOT_FOUND: nobody has it. It comes when the whole
 * cluster has changed the name and the lock is given back, which takes as long as others hold it. No answer comes from a global_name_server
 * that ends meanwhile. */
NODISCARD err mesh_global_register(rt_ctx *cx, slice name, rt_pid pid, mesh_global_clash clash, uint64_t ticket);
NODISCARD err mesh_global_reregister(rt_ctx *cx, slice name, rt_pid pid, mesh_global_clash clash, uint64_t ticket);
NODISCARD err mesh_global_unregister(rt_ctx *cx, slice name, uint64_t ticket);

/* Who has a name, as this node knows it now. ERR_NOT_FOUND: nobody, or a process of a node that is not connected (yet); ERR_INVALID: name
 * is not one term, or longer than MESH_GLOBAL_TERM_MAX. */
NODISCARD err mesh_global_whereis(mesh *m, rt_ctx *cx, slice name, rt_pid *out);
/* Sends one term (with its version byte) to who has the name; takes a reference of its own. Errors as above. */
NODISCARD err mesh_global_send_to(mesh *m, rt_ctx *cx, slice name, rt_blob *term);
rt_pid mesh_global_find(rt_ctx *cx); /* global_name_server of this node; RT_PID_NONE: none runs */
#endif
