#ifndef MESH_MFA_H
#define MESH_MFA_H
/* mfa: Erlang functions that other nodes may call here (mfa.def), whoever carries the call: rpc.c. Each module of Erlang has its own file,
 * or shares one with those that look at the same things.
 *
 * A function reads its arguments and writes one term. What it says about this node is what murrectl says: both read the runtime's own
 * counters (rt/stat.h, rt/msacc.h, rt/contend.h). A peer looks at every actor, and reaches those of a foreign class only. */
#include "mesh/int.h"
#include "rt/stat.h"

typedef enum mesh_mfa_when {
    MESH_NOW,   /* on the link's shard, at once: reads a few words */
    MESH_LATER, /* on a thread of the pool: asks the shards, or walks over something */
    MESH_STOPS, /* as NOW; but only of a node that another one has started, and may stop (origin.h): undef else */
} mesh_mfa_when;

typedef struct mesh_mfa_call {
    mesh *m;
    rt_ctx *cx;             /* NOW: of the link's shard; LATER: NULL */
    slice peer;             /* name of the node that asks */
    slice module, function; /* as they were asked for */
    slice args;             /* a proper list of as many terms as the function has arguments; without version byte */
    etf_pid self;           /* the process that the caller takes the call for; it ends with the call */
    etf_pid leader;         /* group leader of the caller */
    buf *value;             /* the result: one term */
    etf_pid to;             /* LATER: whom what is in message goes to, from self, before it ends; a process of the peer's */
    buf *message;           /* one term; empty: nothing is sent */
} mesh_mfa_call;
typedef bool mesh_mfa_fn(mesh_mfa_call *c); /* false: badarg */

typedef struct mesh_mfa {
    const char *module, *function;
    uint32_t arity;
    mesh_mfa_when when;
    mesh_mfa_fn *fn;
} mesh_mfa;
/* NULL: undef on this node */
const mesh_mfa *mesh_mfa_find(const mesh *m, slice module, slice function, uint32_t arity);
bool mesh_mfa_is_module(slice module); /* any function of it is there */
/* The arguments of a call, a term: a proper list, *out its bytes as mesh_mfa_call has them. They are those of term, or lie in text, if they
 * came as a string. False: it is no proper list. */
NODISCARD bool mesh_mfa_args(slice term, buf *text, slice *out, uint32_t *out_arity);
/* [{M, F, Args, []}], of a call that went wrong */
void mesh_mfa_stack(slice module, slice function, slice args, buf *out);

/* --- arguments: a reader that stands at argument i, which is there */
etf_reader mesh_mfa_arg(const mesh_mfa_call *c, uint32_t i);
NODISCARD bool mesh_mfa_atom(const mesh_mfa_call *c, uint32_t i, slice *out);
/* A list whatever its tag: how many elements. A string of bytes is none here: no function has one as an argument. */
NODISCARD bool mesh_mfa_list(etf_reader *r, uint32_t *out_n);

/* --- results */
void mesh_mfa_ok(buf *out);                                          /* ok */
void mesh_mfa_pair(buf *out, const char *key);                       /* {key, _: the value follows */
void mesh_mfa_pair_uint(buf *out, const char *key, uint64_t v);      /* {key, V} */
void mesh_mfa_text(buf *out, const char *s);                         /* a string: the list of its bytes */
void mesh_mfa_pid(const mesh_mfa_call *c, rt_reader *r, rt_pid pid); /* of this node or of one that is connected; else undefined */
void mesh_mfa_stamp(buf *out, usec wall);                            /* {MegaSecs, Secs, MicroSecs} */
/* {Class, Callback, 3}: what an actor runs, as a function */
void mesh_mfa_call_of(buf *out, const char *cls, const char *callback);
/* Something was changed because a peer wanted it: an event. */
void mesh_mfa_audit(const mesh_mfa_call *c);

/* --- the actors of all shards, in parts: fn is called on this thread. LATER only. Those of a shard that does not answer are left out. */
void mesh_mfa_actors(mesh_mfa_call *c, void (*fn)(void *arg, const rt_actor_info *i), void *arg);
/* One of them, and how it is related: up to max relations, *out_n of them. False: it is not alive, or its shard does not answer. */
NODISCARD bool mesh_mfa_actor(mesh_mfa_call *c, rt_pid pid, rt_actor_info *out, rt_stat_relation *relations, size_t max, size_t *out_n);

/* --- parts of answers that more than one file gives */
/* [{Type, Bytes}] of these types, n 0: of all. mfa_system.c, as what follows. */
void mesh_mfa_put_memory(mesh_mfa_call *c, const char *const *types, size_t n, buf *out);
NODISCARD bool mesh_mfa_put_info(mesh_mfa_call *c, slice what, buf *out); /* an item of system_info/1; false: there is none of that name */
void mesh_mfa_put_wall_times(mesh_mfa_call *c, buf *out);                 /* statistics(scheduler_wall_time) */
uint64_t mesh_mfa_run_queue(mesh_mfa_call *c);
uint64_t mesh_mfa_uptime_msec(const mesh_mfa_call *c);
NODISCARD bool mesh_mfa_put_msacc(mesh_mfa_call *c, const char *tag); /* mfa_tools.c */

#define MFA(module, function, arity, fn, when) mesh_mfa_fn mesh_mfa_##fn;
#include "mesh/mfa.def"
#undef MFA
#endif
