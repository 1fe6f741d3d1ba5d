#ifndef RT_TRACE_H
#define RT_TRACE_H
/* trace: one request followed through actors, pool and log by an id that its messages carry.
 *
 *     trace id:  31 .. 24                      23 .. 0
 *                who watches, a bit each       number of the request; 0: it is not traced
 *
 * Who wants to watch (rt_follow_trace) gives a filter. What fits it gets an id: at the edge a stanza from or to a subject, anywhere a
 * message that a watched actor handles. From there on the id is handed on: to what is sent while a message with it is handled, to pool jobs
 * and their RT_JOB_DONE, and by whoever keeps a request in its state, with rt_trace_swap. Each step is an event whose name begins with
 * "trace_", and every other event that happens on the way carries the id, too: into the flight recorder and to all who watch.
 *
 * When who watched has gone, the id leads to nothing: the next step drops it. A request that was under way before somebody began to watch
 * is not shown to them. Without watchers all of this is one predictable branch a message. */
#include "rt/event.h"

#define RT_TRACE_NUMBER 0xffffffu /* the part of an id that names the request: 16 million, then from 1 again */
static inline uint32_t rt_trace_number(uint32_t trace) { return trace & RT_TRACE_NUMBER; }

uint32_t rt_trace(const rt_ctx *cx); /* id of what is being handled; 0: none */
/* Makes id that of what is being handled, until the callback returns, and returns the one before: for requests kept in a state, and with 0
 * around what is begun for nobody in particular. */
uint32_t rt_trace_swap(rt_ctx *cx, uint32_t id);
bool rt_trace_watched(const rt_ctx *cx); /* does anybody watch anything? */
/* Who watches a subject, and this actor itself: masks for rt_trace_begin, to be united with |. */
uint32_t rt_trace_subject(const rt_ctx *cx, slice subject);
uint32_t rt_trace_self(const rt_ctx *cx);
/* What is being handled is a request that is watched by mask: gives it an id unless it has one. 0: nobody watches, nothing happens. */
void rt_trace_begin(rt_ctx *cx, uint32_t mask);
/* A step of the request with that id, on a shard and on any other thread. Nothing happens when nobody watches it. */
void rt_trace_step(rt_ctx *cx, uint32_t trace, rt_event_id id, uint64_t a, uint64_t b, uint64_t c);
void rt_trace_step_ext(rt_node *n, uint32_t trace, rt_event_id id, uint64_t a, uint64_t b, uint64_t c);

#endif
