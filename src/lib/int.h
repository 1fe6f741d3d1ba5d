#ifndef LIB_INT_H
#define LIB_INT_H
/* int: what the files of the library know of each other. The public types are names for the runtime's: a murre_ctx is an rt_ctx, a
 * murre_pid an rt_pid, a murre_timer holds an rt_timer. */
#include "base/lock.h"
#include "mesh/actor.h"
#include "mesh/gen.h"
#include "mesh/mesh.h"
#include "rt/node.h"
#include "rt/sup.h"

#include <murre.h>

typedef struct lib_class { /* a class of the program, as the runtime wants it */
    rt_class rt;
    murre_class user; /* a copy: of another size if the program was compiled with another version */
    const murre_class *key;
    struct lib_class *next;
} lib_class;

struct murre_node {
    sys *sys;
    rt_node *node;
    mesh *mesh;
    char *name, *cookie, *control; /* copies */
    uint16_t port;
    _Atomic unsigned next_shard; /* relaxed: only spread */
    lock_set locks;              /* its own: actors use it until the runtime's is gone */
    lock lock;                   /* guards classes */
    lib_class *classes;
};

struct murre_builder {
    buf b; /* with the version byte */
};

#define LIB_PATIENCE (10 * USEC_PER_SEC) /* of a thread outside for a shard */

static inline rt_ctx *lib_cx(murre_ctx *cx) { return (rt_ctx *)(void *)cx; }
static inline murre_node *lib_node(rt_ctx *cx) { return rt_node_env(rt_ctx_node(cx)); }
static inline rt_pid lib_pid(murre_pid p) { return (rt_pid){p.node, p.id, p.serial}; }
static inline murre_pid lib_pid_out(rt_pid p) { return (murre_pid){p.node, p.slot, p.gen}; }

murre_err lib_err(err e);
err lib_err_in(murre_err e); /* what a callback returned, as a reason */

/* class.c */
const rt_class *lib_class_of(murre_node *n, const murre_class *c); /* NULL: it is not one */
void lib_classes_free(murre_node *n);
/* sup.c: the class of supervisors; its arg is a murre_sup. */
extern const murre_class lib_sup_key;
void lib_sup_class(lib_class *c);

/* node.c: from a thread outside, on the shards in turn; arg as in rt_spawn. TIMEOUT: it may still happen. */
murre_err lib_spawn(murre_node *n, const rt_class *cls, const void *arg, murre_pid *out_pid);

/* call.c: what an actor has asked others and has no answer to yet; a pointer behind its state, NULL until it asks. */
typedef struct lib_calls lib_calls;
typedef err lib_hand(rt_ctx *cx, void *st, const murre_msg *m); /* gives the actor a message */
lib_calls **lib_calls_at(rt_ctx *cx, void *st);                 /* class.c */
void lib_calls_free(rt_ctx *cx, lib_calls **c);
/* Is that message, or timer, about one of them? Then the actor has been given the answer, if there was one. */
NODISCARD bool lib_calls_take(rt_ctx *cx, void *st, rt_msg *m, lib_hand *fn, err *out);
NODISCARD bool lib_calls_expire(rt_ctx *cx, void *st, const rt_timer *t, lib_hand *fn, err *out);

/* build.c: takes the builder and gives what is in it, with the version byte; NULL: it does not hold exactly one term. */
rt_blob *lib_build_take(murre_builder **b);
#endif
