#ifndef MESH_PG_SCOPE_H
#define MESH_PG_SCOPE_H
/* pg_scope: what a scope of OTP's pg knows (kernel, pg.erl), as a machine without a world: what happens goes in, what is to be said and
 * watched comes out.
 *
 *     node -> peers: scope processes of that node, mostly one
 *                |
 *                +-- memberships: (group, process of that node, times) --+
 *     process of this node                                               +--> group: here, there
 *                +-- memberships: (group, itself, times) ----------------+
 *
 * A process may be in a group several times, and then leaves it as often. Only the scope of its node tells others of it; a peer's word
 * counts for processes of its own node only.
 *
 *     discover   here I am; answered by sync, and by discover if it is news       {discover, Peer}, {discover, Peer, Version} (OTP 26)
 *     sync       all that the peer's node has in groups, in place of what was known   {'$gen_cast', {sync, Peer, [{Group, [Pid]}]}}
 *     join       {join, Peer, Group, Pid or [Pid]}
 *     leave      {leave, Peer, Pid or [Pid], [Group]}
 *
 * What is written is what all of OTP 23 to 29 read: one that is told anything else, or to leave a group that it was not told of, ends its
 * scope with all that is in it (OTP 27 and before). What is read and is none of these is ignored.
 *
 * Joining and leaving take the same time however many there are; discover and sync take as long as what they carry.
 *
 * Bounds: what one peer says takes at most MESH_PG_PEER_BYTES here, all of them MESH_PG_SCOPE_BYTES, and a node has MESH_PG_PEERS_MAX
 * peers. A peer past it is left out whole, until a sync of it fits: half of what it has would be a wrong answer. Groups whose names are
 * longer than MESH_PG_GROUP_MAX do not exist here. What this node has fits into one sync of MESH_PG_HERE_BYTES.
 *
 * Names of groups are any terms. Two that are the same term are the same group, however a map in them was ordered; terms of other nodes are
 * taken to be written as OTP writes them, with a list of bytes as a string and any other as one row. */
#include "base/hash.h"
#include "base/list.h"
#include "proto/etf/etf.h"
#include "rt/msg.h"

#define MESH_PG_GROUP_MAX   4096u /* bytes of a group's name, as a term without version byte */
#define MESH_PG_PEERS_MAX   8u    /* of one node: one, and others while scopes end and begin */
#define MESH_PG_PEER_BYTES  ((size_t)256 << 20)
#define MESH_PG_SCOPE_BYTES ((size_t)1 << 30)
#define MESH_PG_HERE_BYTES  ((size_t)64 << 20)

typedef struct mesh_pg_group mesh_pg_group;
typedef struct mesh_pg_owner { /* a process of this node, or a scope of another one */
    hmap_node node;
    list in_node; /* of a peer: among those of its node */
    list members; /* memberships */
    rt_pid pid;
    uint64_t no;    /* unique */
    uint64_t watch; /* the monitor on it */
    uint64_t times; /* memberships, each as often as it was joined */
    size_t bytes;   /* what they take */
    bool left_out;  /* of a peer: past a limit, until a sync fits */
    bool long_told; /* of a peer: that it has a group with too long a name was said */
} mesh_pg_owner;

typedef struct mesh_pg_node { /* another node that is connected */
    hmap_node node;
    list in_scope;
    list peers;
    uint32_t n_peers;
    uint32_t index, creation;
    rt_pid link; /* its connection */
    uint32_t name_len;
    uint8_t name[];
} mesh_pg_node;

typedef struct mesh_pg_scope {
    hash_key key;
    etf_pid self; /* the scope's own pid; its node is borrowed */
    hmap groups, memberships, owners, nodes;
    list all_nodes;   /* mesh_pg_node */
    list groups_here; /* those with members of this node */
    uint64_t next_no;
    size_t bytes;                         /* of all peers */
    size_t here_bytes;                    /* of a sync */
    uint64_t here_times;                  /* memberships of this node's processes */
    size_t peer_max, bytes_max, here_max; /* as above; tests have smaller ones */
} mesh_pg_scope;

void mesh_pg_scope_init(mesh_pg_scope *s, const hash_key *key, const etf_pid *self);
void mesh_pg_scope_fini(mesh_pg_scope *s);

/* --- other nodes */
/* NULL: it is not connected, as far as is known. */
mesh_pg_node *mesh_pg_scope_node(const mesh_pg_scope *s, uint32_t index);
/* It is connected by that link. Its number must not be there. */
mesh_pg_node *mesh_pg_scope_node_up(mesh_pg_scope *s, uint32_t index, uint32_t creation, rt_pid link, slice name);
/* With all that it has in groups; n is freed. */
void mesh_pg_scope_node_down(mesh_pg_scope *s, mesh_pg_node *n);

typedef enum mesh_pg_fault {
    MESH_PG_FINE,
    MESH_PG_TOO_MUCH,   /* the peer is left out from now on */
    MESH_PG_LONG_GROUP, /* it has a group with too long a name; said once a peer */
    MESH_PG_MANY_PEERS, /* the node has too many peers: this one is not known */
} mesh_pg_fault;
typedef struct mesh_pg_todo { /* what a message calls for, in this order */
    rt_pid peer;
    bool sync;     /* to be sent to it */
    bool watch;    /* it is to be monitored: peer->watch to be set */
    bool discover; /* to be sent to it */
    mesh_pg_fault fault;
} mesh_pg_todo;
/* What a process of that node says: a term with version byte, as it is in MESH_TERM. */
void mesh_pg_scope_hear(mesh_pg_scope *s, mesh_pg_node *from, slice term, mesh_pg_todo *out);

/* --- owners */
mesh_pg_owner *mesh_pg_scope_owner(const mesh_pg_scope *s, rt_pid pid); /* NULL: nothing is known of it */
/* It has ended, or is of no interest any more; with its memberships. */
void mesh_pg_scope_forget(mesh_pg_scope *s, mesh_pg_owner *o);

/* --- processes of this node */
/* Once more. *out_new: it was in no group, and is to be monitored. ERR_INVALID: the group is not one term; ERR_LIMIT: its name is too
 * long, or this node has too much in groups. */
NODISCARD err mesh_pg_scope_join(mesh_pg_scope *s, slice group, rt_pid pid, mesh_pg_owner **out, bool *out_new);
/* Once less. ERR_INVALID; ERR_NOT_FOUND: it is not in that group. *out_last: the monitor on it, if it is in no group any more, else 0. */
NODISCARD err mesh_pg_scope_leave(mesh_pg_scope *s, slice group, rt_pid pid, uint64_t *out_last);

/* --- what peers are told, with version byte */
void mesh_pg_scope_put_discover(const mesh_pg_scope *s, buf *out);
void mesh_pg_scope_put_sync(const mesh_pg_scope *s, buf *out);
void mesh_pg_scope_put_join(const mesh_pg_scope *s, slice group, rt_pid pid, buf *out);
void mesh_pg_scope_put_leave(const mesh_pg_scope *s, slice group, rt_pid pid, buf *out);
void mesh_pg_scope_put_gone(const mesh_pg_scope *s, const mesh_pg_owner *o, buf *out); /* it leaves all its groups */

/* --- looking: rows of what is said, at most max of them */
typedef struct mesh_pg_member {
    rt_pid pid;
    uint32_t times;
} mesh_pg_member;
void mesh_pg_scope_members(mesh_pg_scope *s, slice group, size_t max, buf *out); /* mesh_pg_member; none: there is no such group */
/* What a node that has the scope has in its groups: u32le index (0: this node, which is first), u64le times, its name with its length
 * before it (cursor_lslice). */
void mesh_pg_scope_shares(const mesh_pg_scope *s, size_t max, buf *out);
/* A group: u64le members of this node, u64le of others, its name, a term, with its length before it. */
void mesh_pg_scope_groups(const mesh_pg_scope *s, size_t max, buf *out);

/* --- for pg_hear.c */
mesh_pg_owner *mesh_pg_scope_peer_new(mesh_pg_scope *s, mesh_pg_node *n, rt_pid pid); /* NULL: MESH_PG_PEERS_MAX */
/* Once more (or, fresh, once more as a sync counts). ERR_LIMIT: past most bytes of that owner, or past what all may have. */
NODISCARD err mesh_pg_scope_add(mesh_pg_scope *s, mesh_pg_owner *o, slice name, rt_pid pid, bool fresh, size_t most);
bool mesh_pg_scope_remove(mesh_pg_scope *s, mesh_pg_owner *o, slice name, rt_pid pid); /* once; false: it is not in there */
void mesh_pg_scope_only_fresh(mesh_pg_scope *s, mesh_pg_owner *o);                     /* what a sync said is all there is */
void mesh_pg_scope_empty(mesh_pg_scope *s, mesh_pg_owner *o);
/* The name of a group as it is kept, with maps in order: term itself, or in *made, which the caller frees. ERR_INVALID, ERR_LIMIT. */
NODISCARD err mesh_pg_scope_name(slice term, buf *made, slice *out);
#endif
