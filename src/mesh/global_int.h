#ifndef MESH_GLOBAL_INT_H
#define MESH_GLOBAL_INT_H
/* global_int: what the files of the machine call of each other. global_join.c: how two nodes become one cluster; global_locker.c: the lock
 * on both parts that this takes; global_resolve.c: names that both had; global_names.c, global_locks.c: the two tables; global_part.c:
 * connections that are lost. */
#include "mesh/global_state.h"

/* --- global_names.c. Names are canonical (mesh_global_canon). */
mesh_global_name *mesh_global_name_find(const mesh_global *g, slice name);
/* {Name, Pid, Method}; reg_node: of an external name, else empty. Nothing stays of a name whose process is dead. */
void mesh_global_name_insert(mesh_global *g, slice name, const mesh_global_entry *e, slice reg_node);
void mesh_global_name_delete(mesh_global *g, slice name);
void mesh_global_name_down(mesh_global *g, mesh_global_name *n);
void mesh_global_names_watch(mesh_global *g, slice node); /* it is connected: those that waited for it */
void mesh_global_names_drop(mesh_global *g, slice node);  /* it could not be reached: these go */
void mesh_global_names_free(mesh_global *g);
void mesh_global_names_put(const mesh_global *g, buf *b, uint32_t *out_n); /* entries */
void mesh_global_names_put_exts(const mesh_global *g, buf *b);             /* a list */
/* A watch of a process; 0: it is dead; MESH_GLOBAL_LATER: its node is not connected yet. */
void mesh_global_watch_begin(mesh_global *g, mesh_global_watch *w, mesh_global_watched what, const etf_pid *pid);
void mesh_global_watch_end(mesh_global *g, mesh_global_watch *w);

/* --- global_locks.c. Terms are canonical. */
NODISCARD bool mesh_global_lock_set(mesh_global *g, slice resource, slice requester, const etf_pid *pid);
void mesh_global_lock_del(mesh_global *g, slice resource, slice requester, const etf_pid *pid);
void mesh_global_lock_down(mesh_global *g, mesh_global_hold *h);                   /* its process has ended */
bool mesh_global_lock_free(const mesh_global *g, slice resource, slice requester); /* it is free, or that requester's */
/* Whether names may be changed for the process from, or, if that is NULL, for that requester: it has the lock `global`, or nobody has. */
bool mesh_global_lock_allows(const mesh_global *g, const etf_pid *from, slice requester);
#define MESH_GLOBAL_RESOURCE SLICE("w\x06global") /* the atom, as a term */
void mesh_global_locks_free(mesh_global *g);

/* --- global_nodes.c: the table of nodes, and what several parts ask of it */
slice mesh_global_own(slice s); /* a copy; empty stays empty */
void mesh_global_own_free(slice *s);
mesh_global_node *mesh_global_node_find(const mesh_global *g, slice name);
mesh_global_node *mesh_global_node_at(const mesh_global *g, uint32_t index);
mesh_global_node *mesh_global_node_get(mesh_global *g, slice name); /* made if need be; NULL: MESH_GLOBAL_NODES_MAX */
void mesh_global_node_settle(mesh_global *g, mesh_global_node *n);  /* frees it if nobody needs it any more */
void mesh_global_node_await(mesh_global *g, mesh_global_node *n);   /* it is not connected, and should be */
void mesh_global_nodes_free(mesh_global *g);
void mesh_global_send(mesh_global *g, const mesh_global_node *n,
                      buf *b);                          /* to its global_name_server; nothing if it is not connected. Ends b. */
bool mesh_global_takes_part(const mesh_global_node *n); /* connected and not hidden */
uint32_t mesh_global_known_count(const mesh_global *g);
void mesh_global_put_synced(const mesh_global *g, buf *b);
void mesh_global_put_known(const mesh_global *g, int64_t vsn, buf *b); /* the list, as version vsn has it */

/* --- global_join.c */
void mesh_global_join_begin(mesh_global *g, mesh_global_node *n);
void mesh_global_join_reset(mesh_global *g, mesh_global_node *n); /* forgets what was said in an attempt */
void mesh_global_join_message(mesh_global *g, mesh_global_node *n, const mesh_gen *gen, const mesh_global_msg *m);
void mesh_global_join_locked(mesh_global *g, mesh_global_node *n, slice requester); /* by the locker: both parts are locked */
void mesh_global_join_resolved(mesh_global *g, mesh_global_node *n, slice ops, uint32_t n_ops, slice res,
                               uint32_t n_res); /* by the resolver */
void mesh_global_join_introduce(mesh_global *g,
                                mesh_global_node *n);             /* somebody has: it is to be connected, and hears that it need not join */
void mesh_global_join_leave(mesh_global *g, mesh_global_node *n); /* it is not of our part any more, nor wants to be */

/* --- global_resolve.c */
void mesh_global_resolve_begin(mesh_global *g, mesh_global_node *n, slice names);
void mesh_global_resolve_cancel(mesh_global *g, const mesh_global_node *n); /* if it is that node's */
bool mesh_global_resolve_reply(mesh_global *g, uint64_t call, slice reply); /* false: not its call */
void mesh_global_resolve_node_down(mesh_global *g, const mesh_global_node *n);

/* --- global_locker.c */
void mesh_global_locker_add(mesh_global *g, mesh_global_node *n);            /* it wants to join */
void mesh_global_locker_cancel(mesh_global *g, mesh_global_node *n);         /* not any more, or it is done */
void mesh_global_locker_told(mesh_global *g, mesh_global_node *n, bool set); /* lock_set */
bool mesh_global_locker_reply(mesh_global *g, uint64_t call, slice reply);
void mesh_global_locker_node_up(mesh_global *g, const mesh_global_node *n);
void mesh_global_locker_node_down(mesh_global *g, const mesh_global_node *n);
void mesh_global_locker_timer(mesh_global *g);
void mesh_global_locker_free(mesh_global *g);

/* --- global_part.c: lost connections */
void mesh_global_part_lost(mesh_global *g, const mesh_gen *gen, const mesh_global_msg *m);
void mesh_global_part_remove(mesh_global *g, mesh_global_node *n);
void mesh_global_part_tell(mesh_global *g, const mesh_global_node *lost); /* this node has lost it */
void mesh_global_part_timer(mesh_global *g);
void mesh_global_part_free(mesh_global *g);

/* --- global_multi.c: one question to several nodes */
void mesh_global_multi_ask(mesh_global *g, mesh_global_multi *m, const slice *nodes, uint32_t n, slice request);
bool mesh_global_multi_reply(mesh_global_multi *m, uint64_t call, slice reply);
void mesh_global_multi_node_up(mesh_global *g, mesh_global_multi *m, const mesh_global_node *n);
void mesh_global_multi_node_down(mesh_global *g, mesh_global_multi *m, slice node);
void mesh_global_multi_free(mesh_global_multi *m);

/* --- global_sync.c */
void mesh_global_sync_call(mesh_global *g, slice nodes);
void mesh_global_sync_done(mesh_global *g, slice node); /* it is synced, or gone */
void mesh_global_sync_free(mesh_global *g);
#endif
