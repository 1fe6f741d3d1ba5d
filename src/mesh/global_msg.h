#ifndef MESH_GLOBAL_MSG_H
#define MESH_GLOBAL_MSG_H
/* global_msg: what the processes named global_name_server say to each other (OTP: kernel, global.erl, protocol versions 5 to 8), read
 * where it lies and written into a buf. Everything is a slice of the message; a field that is a term is one whole term without version
 * byte.
 *
 *     cast   {init_connect, {Vsn, Tag}, Node, {locker, _, Map, Locker}}      X wants to share its names with Y: its version, its tag
 *     info   {init_connect_ack, Node, YourTag, MyTag}                        both have heard of each other
 *     info   {cancel_connect, Node, YourTag}                                 begin anew
 *     cast   {lock_set, Locker, Bool, _, YourTag}                            my part of the cluster is locked, or could not be
 *     cast   {exchange, Node, [{Name, Pid, Method}], _, YourTag}             these are my names
 *     cast   {resolved, Node, [Op], [{Node, Vsn}], _, [Ext], YourTag}        do this with yours, and these are my nodes
 *     cast   {new_nodes, Node, [Op], [Ext], [{Node, Vsn}], [{Key, Value}]}   we are more now; to those who were known before
 *     cast   {in_sync, Node, _}                                              somebody else has introduced us; OTP does not look at _,
 *                                                                            where a node of this kind says so
 *     info   {lost_connection, Node, Creation, Number, Lost}                 Node cannot reach Lost
 *     info   {remove_connection, Node}                                       Node wants to be disconnected
 *
 * with Op = {insert, {Name, Pid, Method}} | {delete, Name} and Ext = {Name, Pid, Node}; and the calls that lock and name
 * (mesh_global_kind). */
#include "mesh/gen.h"
#include "mesh/global.h"

#define MESH_GLOBAL_VSN     8       /* spoken here; every node up to OTP 29 says 8 */
#define MESH_GLOBAL_VSN_MIN 5       /* OTP 23 */
#define MESH_GLOBAL_ATOM    "murre" /* by which nodes of this kind know each other: a key in the map of init_connect, which OTP ignores */

#define MESH_GLOBAL_TAG_MAX 64u /* bytes of a tag or a creation, which are integers in all versions */

typedef enum mesh_global_kin { /* what a node runs, as far as it has said so in init_connect or in_sync */
                               MESH_GLOBAL_UNHEARD,
                               MESH_GLOBAL_ERLANG,
                               MESH_GLOBAL_MURRE,
} mesh_global_kin;

typedef enum mesh_global_kind {
    MESH_GLOBAL_OTHER, /* none of these */
    MESH_GLOBAL_INIT_CONNECT,
    MESH_GLOBAL_INIT_CONNECT_ACK,
    MESH_GLOBAL_CANCEL_CONNECT,
    MESH_GLOBAL_LOCK_SET,
    MESH_GLOBAL_EXCHANGE,
    MESH_GLOBAL_RESOLVED,
    MESH_GLOBAL_NEW_NODES,
    MESH_GLOBAL_IN_SYNC,
    MESH_GLOBAL_LOST_CONNECTION,
    MESH_GLOBAL_REMOVE_CONNECTION,
    MESH_GLOBAL_SET_LOCK,             /* call {set_lock, {Resource, Requester}}: true, false */
    MESH_GLOBAL_DEL_LOCK,             /* call {del_lock, {Resource, Requester}}: true */
    MESH_GLOBAL_REGISTER,             /* call {register, Name, Pid, Method}: yes */
    MESH_GLOBAL_REGISTER_EXT,         /* call {register_ext, Name, Pid, Method, Node}: yes */
    MESH_GLOBAL_UNREGISTER,           /* call {unregister, Name}: ok */
    MESH_GLOBAL_SYNC,                 /* call {sync, [Node]}: ok, once it is done */
    MESH_GLOBAL_GET_KNOWN,            /* call get_known: [Node] */
    MESH_GLOBAL_GET_SYNCED,           /* call get_synced: [Node] */
    MESH_GLOBAL_GET_NAMES_EXT,        /* call get_names_ext: [Ext] */
    MESH_GLOBAL_GET_PROTOCOL_VERSION, /* call get_protocol_version: MESH_GLOBAL_VSN */
    MESH_GLOBAL_RESOLVE,              /* call {call, global, resolve_it, [Method, Name, Pid1, Pid2], _}, as rex takes it: a pid or none */
} mesh_global_kind;

typedef struct mesh_global_msg {
    mesh_global_kind kind;
    slice node, lost;              /* names of nodes */
    slice tag, my_tag;             /* terms: of who sent it; of this node */
    etf_pid pid;                   /* the locker, or what a name is for */
    slice pid_term;                /* the same as a term */
    int64_t vsn, op_id;            /* of the sender; number of a lost connection */
    slice creation;                /* term: of the sender of lost_connection */
    bool set;                      /* of lock_set */
    bool tagged;                   /* lock_set has a tag: not from versions 5 to 7 */
    mesh_global_kin kin;           /* of the sender of init_connect and in_sync */
    slice names, ops, exts, nodes; /* terms: lists */
    slice extra;                   /* term: list of pairs */
    slice resource, requester;     /* terms */
    slice name, method;            /* terms */
    slice function, args;          /* of RESOLVE: an atom; a list */
} mesh_global_msg;
/* request: as mesh_gen_read has it. What does not have the shape of its tag is MESH_GLOBAL_OTHER. */
void mesh_global_msg_read(mesh_gen_kind how, slice request, mesh_global_msg *out);

/* --- rows of lists. Begin: false if it is no list; next: false at the end; *out_bad if what follows is none of these. */
typedef struct mesh_global_rows {
    etf_reader r;
    uint32_t left; /* elements of the row that r is in */
    bool end;
    bool bad; /* it was no proper list of such elements: what came before the bad one was given out */
} mesh_global_rows;
void mesh_global_rows_begin(slice list, mesh_global_rows *out);
typedef struct mesh_global_entry { /* {Name, Pid, Method}, or {Name, Pid, Node} */
    slice name, pid_term, method;
    etf_pid pid;
} mesh_global_entry;
NODISCARD bool mesh_global_rows_entry(mesh_global_rows *r, mesh_global_entry *out);
/* {insert, Entry}, or {delete, Name}: then only name is set. */
NODISCARD bool mesh_global_rows_op(mesh_global_rows *r, bool *out_insert, mesh_global_entry *out);
/* Node, or {Node, Vsn}; 0: it says no version. */
NODISCARD bool mesh_global_rows_node(mesh_global_rows *r, slice *out_node, int64_t *out_vsn);
/* The requester in {lock, {Resource, Requester}} or {lock, Requester} of extra; empty: there is none. */
slice mesh_global_msg_lock(slice extra);

/* --- writing: one message each, as it goes to global_name_server, without version byte */
void mesh_global_put_init_connect(buf *b, slice me, int64_t tag, const etf_pid *locker);
void mesh_global_put_init_connect_ack(buf *b, slice me, slice his_tag, int64_t tag);
void mesh_global_put_cancel_connect(buf *b, slice me, slice his_tag);
/* his_tag empty: the form of versions 5 to 7; by_cast: not of version 5 */
void mesh_global_put_lock_set(buf *b, bool by_cast, const etf_pid *locker, bool set, slice his_tag);
void mesh_global_put_exchange(buf *b, slice me, uint32_t n, slice entries, slice his_tag);
/* Lists are whole terms. */
void mesh_global_put_resolved(buf *b, slice me, slice ops, slice nodes, slice exts, slice his_tag);
void mesh_global_put_new_nodes(buf *b, slice me, slice ops, slice exts, slice nodes, int64_t vsn, slice resource_requester);
void mesh_global_put_in_sync(buf *b, slice me);
void mesh_global_put_lost_connection(buf *b, slice me, uint64_t creation, int64_t op_id, slice lost);
void mesh_global_put_remove_connection(buf *b, slice me);
/* A call to a generic server, whose answer is {Tag, Reply} with this number as Tag. */
void mesh_global_put_call(buf *b, const etf_pid *from, uint64_t number, slice request);
void mesh_global_put_lock(buf *b, const char *tag, slice requester); /* {Tag, {global, Requester}} */
/* {call, global, resolve_it, [Method, Name, Pid1, Pid2], Leader}, as rex takes it */
void mesh_global_put_resolve(buf *b, slice method, slice name, slice pid1, slice pid2, const etf_pid *leader);
/* As calls to global_name_server: {register, Name, Pid, Method}, {unregister, Name} */
void mesh_global_put_register(buf *b, const mesh_global_entry *e);
void mesh_global_put_unregister(buf *b, slice name);
/* The answer to such a call: false if it is none. */
NODISCARD bool mesh_global_reply_read(slice term, uint64_t *out_number, slice *out_reply);

/* A term in the form that all spellings of it share (keys of maps in order), which is what names and requesters are compared by. False: it
 * is no term, or longer than MESH_GLOBAL_TERM_MAX. */
NODISCARD bool mesh_global_canon(slice term, buf *out);
#endif
