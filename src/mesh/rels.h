#ifndef MESH_RELS_H
#define MESH_RELS_H
/* rels: the links and monitors that cross a connection. The runtime has the ends that are here (rt/remote.h); these are the link's, by
 * which it understands what the peer says of one, and which tell who has to hear of it when the connection is lost.
 *
 *     watch   a process there monitors an actor here     found by the peer's reference and by the runtime's
 *     aim     an actor here monitors a process there     found by our reference
 *     tie     a link between the two                     found by both pids
 *
 * A tie has what OTP's protocol of links needs (erl_dist_protocol, "Link Protocol"): the end of a link is told with a number and
 * acknowledged, and until it is, what the other side says of a link is about the old one.
 *
 *                    link, either side                            our unlink
 *     (none) ------------------------------------> LINKED -----------------------------> UNLINKING (unlink is its number)
 *        ^                                        |     ^                                 |     |
 *        |      exit, either side                 |     |   our link: a new one           |     | its acknowledgement, or an exit
 *        +----------------------------------------+     +---------------------------------+     v
 *        +------------------------------------------------------------------------------------(none)
 *
 * The peer's unlink of a LINKED tie goes to the actor, and its number stays in `leaving` until the runtime says that it has arrived: what
 * the actor says before that is about the old link. */
#include "base/hash.h"
#include "proto/etf/etf.h"
#include "rt/actor.h"

typedef struct mesh_watch { /* by reference, as the peer names it; by number, as the runtime does */
    hmap_node by_ref, by_id;
    uint64_t id;
    etf_pid watcher; /* its node is the peer: not set */
    etf_ref ref;     /* likewise */
    rt_pid watched;
    uint32_t name_len; /* it was asked for by a name, which follows */
    uint8_t name[];
} mesh_watch;

typedef struct mesh_aim {
    hmap_node node;
    uint64_t ref; /* the runtime's, unique for this life of the node */
    rt_pid watcher, watched;
    bool awaited;      /* watched is a process that the peer is to make, and has not said that it did */
    bool given_up;     /* awaited, and nobody wants to hear of it any more */
    uint32_t name_len; /* it is a registered name, which follows; watched only stands for it */
    uint8_t name[];
} mesh_aim;

typedef struct mesh_tie {
    hmap_node node;
    rt_pid here, there;
    uint64_t unlink;  /* UNLINKING: the number of our unlink; 0: LINKED */
    uint64_t leaving; /* LINKED: of the peer's unlink on its way to `here`; 0: none */
    bool ours;        /* an actor here has asked for it, which counts as such */
} mesh_tie;

typedef struct mesh_rels_maps {
    hmap by_ref, by_id; /* mesh_watch */
    hmap aims, ties;
    hmap_node *at; /* mesh_rels_end: the next one in the map that it has come to; NULL: none, or not begun */
} mesh_rels_maps;
typedef struct mesh_rels {
    mesh_rels_maps *maps;  /* NULL: there is nothing in them */
    uint32_t theirs, ours; /* watches and ties that the peer has asked for; aims and ties that actors here have */
} mesh_rels;

void mesh_rels_init(mesh_rels *r);
void mesh_rels_fini(mesh_rels *r); /* nothing is left, or the node is freed */

mesh_watch *mesh_rels_watch(const mesh_rels *r, const etf_ref *ref, const etf_pid *watcher);
mesh_watch *mesh_rels_watch_by_id(const mesh_rels *r, uint64_t id);
/* id: of no other watch of this node, ever. ref and watcher without the texts of their nodes; name NULL: none. */
mesh_watch *mesh_rels_watch_add(mesh_rels *r, uint64_t id, const etf_ref *ref, const etf_pid *watcher, rt_pid watched, slice name);
void mesh_rels_watch_drop(mesh_rels *r, mesh_watch *w);

mesh_aim *mesh_rels_aim(const mesh_rels *r, uint64_t ref);
mesh_aim *mesh_rels_aim_add(mesh_rels *r, uint64_t ref, rt_pid watcher, rt_pid watched, slice name);
void mesh_rels_aim_drop(mesh_rels *r, mesh_aim *a);

mesh_tie *mesh_rels_tie(const mesh_rels *r, rt_pid here, rt_pid there);
mesh_tie *mesh_rels_tie_add(mesh_rels *r, rt_pid here, rt_pid there, bool ours);
void mesh_rels_tie_drop(mesh_rels *r, mesh_tie *t);

/* What stands for a peer's unlink in mesh_tie.leaving: its number; one without a number, of a peer that awaits no answer, counts as well.
 */
static inline uint64_t mesh_rels_leaving(uint64_t number) { return number ? number : UINT64_MAX; }

/* The connection to that node is lost: takes out at most max of them, and tells the actors here NOCONN, of links and of what they monitor.
 * True: nothing is left. Once begun, nothing may be added or looked up. */
NODISCARD bool mesh_rels_end(rt_ctx *cx, mesh_rels *r, uint32_t index, size_t max);
#endif
