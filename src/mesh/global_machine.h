#ifndef MESH_GLOBAL_MACHINE_H
#define MESH_GLOBAL_MACHINE_H
/* global_machine: what `global` (OTP: kernel, global.erl) has to do with the other nodes, without sockets, clock or actors. global.c runs
 * it; the tests run several against each other.
 *
 *     node_up, node_down, message, down, timer  -->  names, locks, nodes that join  -->  mesh_global_io */
#include "base/hash.h"
#include "base/time.h"
#include "mesh/gen.h"
#include "mesh/global.h"

typedef struct mesh_global mesh_global;

/* What the machine asks of whoever runs it. Nothing here calls back into it. Slices are borrowed for the call. */
typedef struct mesh_global_io {
    void *arg;
    /* Terms in a blob have their version byte; a reference of its own is taken. index 0: of this node. */
    void (*send)(void *arg, uint32_t index, slice name, rt_blob *term); /* to that registered name on a connected node */
    void (*tell)(void *arg, uint32_t index, const etf_pid *to, rt_blob *term);
    void (*kill)(void *arg, uint32_t index, const etf_pid *to); /* exit(To, kill) */
    void (*answer)(void *arg, slice term);                      /* the call that is handled now */
    uint64_t (*keep)(void *arg);                                /* it is answered later: its number */
    void (*answer_kept)(void *arg, uint64_t call, slice term);  /* empty: it never will be */
    uint64_t (*watch)(void *arg, uint32_t index,
                      const etf_pid *pid); /* index 0: of this node. mesh_global_down comes once; 0: it is dead */
    void (*unwatch)(void *arg, uint64_t watch);
    void (*disconnect)(void *arg, uint32_t index, const char *why);
    void (*connect)(void *arg, slice node);                   /* if that can be done from here */
    void (*done)(void *arg, uint64_t ticket, err status);     /* of mesh_global_wish */
    void (*named)(void *arg, slice name, const etf_pid *pid); /* a name has this pid now; NULL: it is gone */
    void (*parted)(void *arg, slice node, const char *what);  /* overlapping partitions are prevented */
    void (*full)(void *arg, const char *what, slice node);    /* one of the limits was reached */
    uint64_t (*random)(void *arg);
} mesh_global_io;

/* --- what goes in. now: monotonic, never less than at the call before */
mesh_global *mesh_global_new(const mesh_global_io *io, slice me, const etf_pid *self, bool hidden, const hash_key *key);
void mesh_global_free(mesh_global *g);
/* conn: not 0, another for every connection. An up that was told already is nothing, and so is a down of an older connection. */
void mesh_global_node_up(mesh_global *g, usec now, slice name, uint32_t index, uint64_t conn, uint32_t creation, bool hidden);
void mesh_global_node_down(mesh_global *g, usec now, slice name, uint64_t conn);
void mesh_global_message(mesh_global *g, usec now, uint32_t index, const mesh_gen *m); /* from a process of the node with that number */
void mesh_global_down(mesh_global *g, usec now, uint64_t watch);
/* An actor of this node wants a name; pid is of this node or of one that is connected. done comes once, later or within the call: ERR_OK;
 * NAME: ERR_EXISTS; UNNAME: ERR_NOT_FOUND; ERR_NOPROC, ERR_LIMIT. What this returns instead: ERR_LIMIT, of names that are wanted or of the
 * bytes of a name. */
NODISCARD err mesh_global_wish(mesh_global *g, usec now, mesh_global_want want, slice name, const etf_pid *pid, mesh_global_clash clash,
                               uint64_t ticket);
usec mesh_global_due(const mesh_global *g); /* when mesh_global_timer is to be called; USEC_NEVER */
void mesh_global_timer(mesh_global *g, usec now);

#endif
