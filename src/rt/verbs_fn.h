#ifndef RT_VERBS_FN_H
#define RT_VERBS_FN_H
/* verbs_fn: what the files of the runtime's verbs share, and the handlers that verbs.c lists in its table. */
#include "rt/event.h"
#include "rt/pool.h"
#include "rt/stat.h"

/* --- answers */
err rt_verb_fail(rt_verb_call *c, err e, slice what, const char *matter); /* returns e; the sentence is: 'what' matter */
void rt_verb_uint(rt_verb_call *c, val *map, const char *key, uint64_t x);
void rt_verb_text(rt_verb_call *c, val *map, const char *key, const char *s);
void rt_verb_pid(rt_verb_call *c, val *map, const char *key, rt_pid pid); /* "" if there is none */
val *rt_verb_queue(rt_verb_call *c, const rt_queue_stat *q);
val *rt_verb_pool(rt_verb_call *c, rt_pool_kind kind, const rt_pool_stat *p); /* its counters */
double rt_verb_percent(double part, double whole); /* with two digits after the point, which is what people read; 0 of nothing */

/* --- arguments */
bool rt_verb_is_ours(const rt_verb_call *c, rt_pid pid);
err rt_verb_not_a_pid(rt_verb_call *c, slice text);
err rt_verb_not_ours(rt_verb_call *c, slice text);
NODISCARD err rt_verb_pid_of(rt_verb_call *c, slice text, rt_pid *out); /* a pid as printed, or a registered name */
/* Argument i, if it is there, as a number from 1 to max. */
NODISCARD err rt_verb_number(rt_verb_call *c, size_t i, uint64_t max, uint64_t absent, uint64_t *out);

const char *rt_verb_level_name(rt_level l);
/* All that is known of an actor; a sentence if it is not alive or its shard does not answer. */
NODISCARD err rt_verb_actor_info(rt_verb_call *c, rt_pid pid, rt_actor_info *out);

/* --- asking a shard: something that runs there between two handlers. First member of what fn fills, which is flat memory. */
typedef struct rt_verb_ask {
    rt_shard_call call;
    _Atomic uint32_t refs; /* the shard's and the caller's; acq_rel, pairs with itself: the last one frees */
} rt_verb_ask;
rt_verb_ask *rt_verb_ask_new(size_t size, void (*fn)(rt_ctx *cx, rt_shard_call *call)); /* zeroed */
void rt_verb_ask_unref(rt_verb_ask *a);
/* ERR_OK: it is filled, and the caller drops it. Otherwise it is dropped. */
NODISCARD err rt_verb_ask_shard(rt_verb_call *c, unsigned shard, rt_verb_ask *a);

/* --- handlers */
err rt_verb_queues(rt_verb_call *c); /* verbs_queue.c */
err rt_verb_longest(rt_verb_call *c);
err rt_verb_actor_rates(rt_verb_call *c);
err rt_verb_probe(rt_verb_call *c);
err rt_verb_workers(rt_verb_call *c); /* verbs_workers.c */
err rt_verb_tables(rt_verb_call *c);  /* verbs_table.c */
err rt_verb_tables_list(rt_verb_call *c);
err rt_verb_locks(rt_verb_call *c); /* verbs_lock.c */
err rt_verb_locks_instances(rt_verb_call *c);
err rt_verb_locks_locations(rt_verb_call *c);
err rt_verb_locks_on(rt_verb_call *c);
err rt_verb_locks_off(rt_verb_call *c);
err rt_verb_locks_clear(rt_verb_call *c);
err rt_verb_msacc_read(rt_verb_call *c); /* verbs_msacc.c */
err rt_verb_msacc_print(rt_verb_call *c);
err rt_verb_msacc_start(rt_verb_call *c);
err rt_verb_msacc_stop(rt_verb_call *c);
err rt_verb_msacc_reset(rt_verb_call *c);
err rt_verb_follow_events(rt_verb_call *c); /* verbs_follow.c */

#endif
