#ifndef MESH_GLOBAL_INT_H
#define MESH_GLOBAL_INT_H
/* global_int: what the files of the machine call of each other. global_join.c: how two nodes become one cluster; global_locker.c: the lock
 * on both parts that this takes; global_resolve.c: names that both had; global_names.c, global_locks.c: the two tables; global_part.c:
 * connections that are lost; global_naming.c: names that actors here want; global_clash.c: what resolvers do. */
#include "mesh/global_state.h"

/* --- global_names.c. Names are canonical (mesh_global_canon). */
mesh_global_name *mesh_global_name_find(const mesh_global *g, slice name);
/* {Name, Pid, Method}; reg_node: of an external name, else empty. Nothing stays of a name whose process is dead. */
void mesh_global_name_insert(mesh_global *g, slice name, const mesh_global_entry *e, slice reg_node);
bool mesh_global_names_full(const mesh_global *g, slice name, const mesh_global_entry *e);
void mesh_global_name_delete(mesh_global *g, slice name);
void mesh_global_name_down(mesh_global *g, mesh_global_name *n);
void mesh_global_names_watch(mesh_global *g, mesh_global_node *n); /* it is connected: those that waited for it */
void mesh_global_names_drop(mesh_global *g, mesh_global_node *n);  /* it could not be reached: these go */
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
/* The same for the node of a process that somebody names; NULL also: it can be no node's name. */
mesh_global_node *mesh_global_node_absent(mesh_global *g, slice name);
void mesh_global_node_settle(mesh_global *g, mesh_global_node *n); /* frees it if nobody needs it any more */
void mesh_global_node_await(mesh_global *g, mesh_global_node *n);  /* it is not connected, and should be */
void mesh_global_node_wait(mesh_global *g, mesh_global_node *n);   /* for that, or for its going; nothing if it is waited for */
void mesh_global_node_know(mesh_global *g, mesh_global_node *n, bool known);
void mesh_global_nodes_free(mesh_global *g);
/* To its global_name_server; nothing if it is not connected. Ends b. */
void mesh_global_send(mesh_global *g, const mesh_global_node *n, buf *b);
/* The same to many: the term with its version byte, which stays the caller's. */
rt_blob *mesh_global_blob(buf *b); /* ends b; NULL: it has failed */
void mesh_global_send_blob(mesh_global *g, const mesh_global_node *n, rt_blob *term);
bool mesh_global_takes_part(const mesh_global_node *n); /* connected and not hidden */
void mesh_global_put_synced(const mesh_global *g, buf *b);
void mesh_global_put_known(const mesh_global *g, int64_t vsn, buf *b); /* the list, as version vsn has it */

/* --- global_join.c */
void mesh_global_join_begin(mesh_global *g, mesh_global_node *n);
void mesh_global_join_reset(mesh_global_node *n); /* forgets what was said in an attempt */
void mesh_global_early_free(mesh_global_node *n);
void mesh_global_join_message(mesh_global *g, mesh_global_node *n, const mesh_global_msg *m);
void mesh_global_join_locked(mesh_global *g, mesh_global_node *n, slice requester); /* by the locker: both parts are locked */
void mesh_global_join_resolved(mesh_global *g, mesh_global_node *n, slice ops, uint32_t n_ops, slice res,
                               uint32_t n_res); /* by the resolver */
void mesh_global_join_introduce(mesh_global *g,
                                mesh_global_node *n);             /* somebody has: it is to be connected, and hears that it need not join */
void mesh_global_join_leave(mesh_global *g, mesh_global_node *n); /* it is not of our part any more, nor wants to be */

/* --- global_resolve.c */
typedef enum mesh_global_verdict { MESH_GLOBAL_HIS, MESH_GLOBAL_MINE, MESH_GLOBAL_NEITHER, MESH_GLOBAL_NOBODY_KNOWS } mesh_global_verdict;
typedef struct mesh_global_claim { /* of a process */
    slice term;
    etf_pid pid;
} mesh_global_claim;
void mesh_global_resolve_begin(mesh_global *g, mesh_global_node *n, slice names);
void mesh_global_resolve_cancel(mesh_global *g, const mesh_global_node *n);                            /* if it is that node's */
bool mesh_global_resolve_reply(mesh_global *g, const mesh_global_node *n, uint64_t call, slice reply); /* false: not its call */
void mesh_global_resolve_node_down(mesh_global *g, const mesh_global_node *n);
void mesh_global_resolve_free(mesh_global *g);
/* [Method, Name, Pid1, Pid2] about a name that a process here has, Pid2: done, and *out is the answer; false: not here. */
NODISCARD bool mesh_global_resolve_it(mesh_global *g, slice args, buf *out);
typedef struct mesh_global_question { /* [Method, Name, Pid1, Pid2] */
    slice method, name;
    mesh_global_claim his, mine;
} mesh_global_question;
NODISCARD bool mesh_global_question_read(slice args, mesh_global_question *out);
void mesh_global_put_verdict(buf *b, mesh_global_verdict v, const mesh_global_question *q); /* but NOBODY_KNOWS */

/* --- global_locker.c */
void mesh_global_locker_add(mesh_global *g, mesh_global_node *n);            /* it wants to join */
void mesh_global_locker_cancel(mesh_global *g, mesh_global_node *n);         /* not any more, or it is done */
void mesh_global_locker_told(mesh_global *g, mesh_global_node *n, bool set); /* lock_set */
bool mesh_global_locker_reply(mesh_global *g, const mesh_global_node *n, uint64_t call, slice reply);
void mesh_global_locker_step(mesh_global *g); /* something may be possible now: a name is wanted */
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
bool mesh_global_multi_reply(mesh_global_multi *m, const mesh_global_node *n, uint64_t call, slice reply); /* false: not its call */
void mesh_global_multi_node_up(mesh_global *g, mesh_global_multi *m, const mesh_global_node *n);
void mesh_global_multi_node_down(mesh_global_multi *m, slice node);
void mesh_global_multi_free(mesh_global_multi *m);

/* --- global.c: the table of names; name: canonical */
#define MESH_GLOBAL_SERVER "global_name_server"
bool mesh_global_lookup(mesh *m, rt_ctx *cx, slice name, etf_pid *out);

/* --- global_clash.c: who keeps a name that two processes have */
/* What a resolver says of two; nothing is done. NOBODY_KNOWS: it is not one of mesh_global_clash. */
mesh_global_verdict mesh_global_clash_judge(slice method, const mesh_global_claim *his, const mesh_global_claim *mine);
void mesh_global_put_method(buf *b, mesh_global_clash clash); /* the same as a term */
/* And what it does to them. name: as they are told. */
void mesh_global_clash_act(mesh_global *g, slice method, slice name, const mesh_global_claim *his, const mesh_global_claim *mine);
void mesh_global_tales_tell(mesh_global *g, mesh_global_node *n); /* it is connected */
void mesh_global_tales_drop(mesh_global *g, mesh_global_node *n);

/* --- global_naming.c: names for actors of this node */
slice mesh_global_naming_requester(const mesh_global *g); /* owned by the caller */
bool mesh_global_naming_ready(const mesh_global *g);      /* the first one may be tried now */
bool mesh_global_naming_locked(mesh_global *g, buf *out); /* all is locked: what to ask of all, and it is done here; false: nothing */
void mesh_global_naming_refused(mesh_global *g);
void mesh_global_naming_over(mesh_global *g); /* all is unlocked */
void mesh_global_naming_free(mesh_global *g);

/* --- global_sync.c */
void mesh_global_sync_call(mesh_global *g, slice nodes);
void mesh_global_sync_done(mesh_global *g, slice node); /* it is synced, or gone */
void mesh_global_sync_free(mesh_global *g);
#endif
