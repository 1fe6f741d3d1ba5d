#ifndef RT_CORE_H
#define RT_CORE_H
/* core: what the modules of the shard's core ask of each other. Everything here runs on the shard, unless it says otherwise. */
#include "rt/event.h"
#include "rt/follow.h"
#include "rt/shard.h"

/* Bits of rt_msg.tag while a message travels between shards. A signal has its rt_signal in the low bits and an rt_signal_body as payload;
 * a message with FRONT goes to the front of the mailbox. */
#define RT_M_SIGNAL 0x4000u
#define RT_M_FRONT  0x2000u
/* Work of a pool (workers.c): goes back to its sender, refused, if the receiver ends before it has handled it. Taken off when it is
 * handled. */
#define RT_M_WORK 0x1000u
/* Signals that never leave the node, after those of rt/remote.h: your receiver is full; it has halved; the muted sender has ended; you own
 * a table (ref: its rt_tid). */
typedef enum rt_signal_more { RT_SIG_MUTE = RT_SIG_UNLINKED + 1, RT_SIG_UNMUTE, RT_SIG_MUTE_GONE, RT_SIG_TABLE } rt_signal_more;
typedef struct rt_signal_body {
    uint64_t ref;
    rt_blob *term; /* of ERR_FOREIGN: the reason; else NULL */
    err reason;
} rt_signal_body;

/* A counter with one writer: relaxed, because readers are tools and each value is good on its own. */
static inline void rt_count(_Atomic uint64_t *c, uint64_t by) {
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + by, memory_order_relaxed);
}
static inline uint64_t rt_counted(_Atomic uint64_t *c) { return atomic_load_explicit(c, memory_order_relaxed); }

/* msg.c */
void rt_msg_release(rt_shard *sh, rt_msg *m);             /* with what its fields own */
void rt_msg_free_block(rt_shard *sh, rt_msg *m);          /* the block only */
uint32_t rt_msg_bytes(const rt_node *n, const rt_msg *m); /* payload */
uint64_t rt_msg_blobs(const rt_node *n, const rt_msg *m); /* bytes of the blobs that it holds, shared ones in full */

/* mailbox.c */
void rt_mailbox_arrive(rt_shard *sh, rt_pid to, rt_msg *m, bool front); /* for an actor of this shard: drops it if that is gone */
void rt_mailbox_append(rt_shard *sh, rt_actor *a, rt_msg *m);           /* past the bound: the runtime's own messages */
rt_msg *rt_mailbox_take(rt_shard *sh, rt_actor *a);                     /* NULL: empty */
uint64_t rt_mailbox_clear(rt_shard *sh, rt_actor *a, bool all);         /* all: the runtime's own messages too */
bool rt_mailbox_remove_down(rt_shard *sh, rt_actor *a, uint64_t ref);
uint32_t rt_mailbox_max(const rt_actor *a);

/* actor.c */
static inline rt_slot *rt_actor_slot(const rt_shard *sh, uint32_t index) { return &sh->pages[index / RT_SLOT_PAGE][index % RT_SLOT_PAGE]; }
/* Alive (dying counts), of this shard, or NULL. */
static inline rt_actor *rt_actor_find(const rt_shard *sh, rt_pid pid) {
    uint32_t i = rt_slot_index(pid.slot);
    if (UNLIKELY(i >= sh->n_slots || pid.slot >> 24 != sh->id || pid.node != 0)) return NULL;
    const rt_slot *s = rt_actor_slot(sh, i);
    return LIKELY(s->gen == pid.gen && s->a && !(s->a->flags & RT_A_DEAD)) ? s->a : NULL;
}
/* The same for who asks from another node: only those of a foreign class. */
static inline rt_actor *rt_actor_find_for(const rt_shard *sh, rt_pid pid, rt_pid asker) {
    rt_actor *a = rt_actor_find(sh, pid);
    return LIKELY(asker.node == 0) || (a && a->cls->foreign) ? a : NULL;
}
rt_actor *rt_actor_at(const rt_shard *sh, uint32_t slot); /* whatever has that slot, dead ones too */
void rt_actor_schedule(rt_shard *sh, rt_actor *a);
void rt_actor_end(rt_shard *sh, rt_actor *a, err reason);                     /* it will end when the present callback is over */
void rt_actor_end_term(rt_shard *sh, rt_actor *a, err reason, rt_blob *term); /* the same with the reason as a term, borrowed; NULL: none */
void rt_actor_reap(rt_shard *sh);                                             /* ends those; not within a callback */
void rt_actor_end_all(rt_shard *sh);                                          /* rt_node_free: with KILLED, the youngest first */
void rt_actor_free_dead(rt_shard *sh);                                        /* rt_node_free: those that were pinned */
void rt_actor_unpin(rt_shard *sh, rt_actor *a);                               /* after an armed timer or a list let go of it */
unsigned rt_actor_run(rt_shard *sh, rt_actor *a);                             /* a batch; returns messages taken */
void rt_actor_call_timer(rt_shard *sh, rt_actor *a, rt_timer *t);
void rt_actor_call_ready(rt_shard *sh, rt_actor *a, int fd, uint32_t events);
void rt_actor_call_flush(rt_shard *sh, rt_actor *a);

/* mailbox.c: sends it back to its sender, marked as refused by `by`; drops it if that is not an actor or caller of this node. */
void rt_mailbox_refuse(rt_shard *sh, rt_pid by, rt_msg *m);
/* ctx.c: sends of workers.c. rt_send_work is rt_send with RT_M_WORK; rt_pass_work leaves sender and trace as they are. */
void rt_send_work(rt_ctx *cx, rt_pid to, rt_msg **m);
void rt_pass_work(rt_ctx *cx, rt_pid to, rt_msg **m);

/* signal.c */
void rt_signal_send(rt_shard *sh, rt_pid from, rt_pid to, unsigned sig, uint64_t ref, err reason);
void rt_signal_arrive(rt_shard *sh, rt_pid to, rt_msg *m);                /* from a ring or the inbox; consumes m */
void rt_signal_end(rt_shard *sh, rt_actor *a, err reason, rt_blob *term); /* tells everybody related that it has ended; term as above */
rt_rel *rt_rel_find(rt_shard *sh, uint32_t owner, rt_rel_kind kind, rt_pid other, uint64_t ref);
rt_rel *rt_rel_add(rt_shard *sh, rt_actor *a, rt_rel_kind kind, rt_pid other, uint64_t ref);
void rt_rel_remove(rt_shard *sh, rt_rel *r);

/* mute.c */
void rt_mute_sender(rt_shard *sh, rt_actor *receiver, rt_pid sender);
void rt_mute_release(rt_shard *sh, rt_actor *receiver);                       /* its mailbox has halved */
void rt_mute_begin(rt_shard *sh, rt_actor *a, rt_pid receiver, uint64_t how); /* how: the ref of RT_SIG_MUTE */
void rt_mute_end_one(rt_shard *sh, rt_actor *a, rt_rel *r); /* removes r, of kind MUTED; runs a again if it was the last */
void rt_mute_expire(rt_shard *sh);
usec rt_mute_next(const rt_shard *sh); /* USEC_NEVER */

/* port.c */
void rt_port_end(rt_shard *sh, rt_actor *a); /* closes all of its descriptors */
void rt_port_dispatch(rt_shard *sh, const sys_ready *r, int n);
void rt_port_unmask(rt_shard *sh, rt_actor *a);

/* trace.c */
void rt_trace_install(rt_node *n, unsigned index, const rt_trace_filter *f, usec timeout); /* any thread; f NULL: takes it away */
void rt_trace_named(rt_shard *sh, const rt_actor *a, const char *name);                    /* it has registered; sh->trace is there */
void rt_trace_queued(rt_shard *sh, const rt_actor *a, const rt_msg *m);                    /* with an id, into a mailbox */
void rt_trace_send(rt_ctx *cx, rt_pid to, rt_msg *m);                                      /* it, or what is being handled, has an id */
void rt_trace_handle(rt_shard *sh, rt_actor *a, rt_msg *m); /* it has an id, or a is watched; sets the context's */
void rt_trace_fini(rt_shard *sh);

/* follow.c */
void rt_follow_init(rt_node *n);
void rt_follow_fini(rt_node *n);
void rt_follow_actor_gone(rt_node *n, rt_pid pid);

/* ring.c */
void rt_out_init(rt_shard *sh);
void rt_out_fini(rt_shard *sh);
void rt_out_push(rt_shard *sh, unsigned dst, rt_entry e);
void rt_out_home(rt_shard *sh, rt_msg *m);    /* a block of another shard's slab */
void rt_out_flush(rt_shard *sh, bool chains); /* publishes; with chains also those that are not full */
bool rt_ring_receive(rt_shard *sh);           /* distributes what has arrived; true if anything had */

/* shard.c */
NODISCARD err rt_shard_init(rt_node *n, unsigned id);
void rt_shard_fini(rt_shard *sh);
void rt_shard_poke(rt_shard *dst);             /* any thread, after it has published: wakes it if it sleeps */
void rt_shard_entry(rt_shard *sh, rt_entry e); /* a message, signal or call that came in */
void rt_shard_clock(rt_shard *sh);
void rt_shard_boot(rt_shard *sh, void (*fn)(rt_ctx *cx, void *arg), void *arg);

void rt_workers_fini(rt_node *n); /* workers.c: after the shards' memory: actors have their classes there */

/* table_own.c */
void rt_tables_init(rt_node *n);
void rt_tables_fini(rt_node *n);                                                           /* nobody reads any more */
void rt_tables_arrive(rt_shard *sh, rt_actor *a, rt_pid from, uint64_t table, err reason); /* the table has come to a */
void rt_tables_owner_end(rt_shard *sh, rt_pid pid, bool inherit, err reason);              /* it has ended; inherit: heirs get its tables */

/* name.c */
void rt_name_remove(rt_shard *sh, rt_pid pid);                    /* all that it has */
bool rt_name_of(rt_reader *r, rt_pid pid, char *out, size_t max); /* of several the first in byte order */

/* pool.c, call.c: any thread */
void rt_pool_init(rt_node *n);
NODISCARD err rt_pool_start(rt_node *n);
void rt_pool_stop(rt_node *n);
void rt_pool_fini(rt_node *n);
void rt_calls_init(rt_node *n);
void rt_calls_end(rt_node *n); /* ends all waiting, with ERR_TIMEOUT, now and from now on; the node stops */
void rt_calls_fini(rt_node *n);
void rt_calls_reply(rt_node *n, rt_pid to, rt_msg *m); /* to a caller outside; drops it if that has gone */
void rt_calls_down(rt_node *n, rt_pid to, err reason);
/* Sends the actor a probe that overtakes all that waits in its mailbox, and waits until it has taken it out; how many wait behind it. */
NODISCARD err rt_calls_probe(rt_node *n, rt_pid to, usec timeout, uint64_t *out_queued);
void rt_calls_run(rt_shard *sh, rt_msg *m); /* an RT_CALL that has arrived */
#endif
