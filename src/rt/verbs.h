#ifndef RT_VERBS_H
#define RT_VERBS_H
/* verbs: the plug through which tools act on a node. Each layer exports a table of module:function/arity -> handler; main connects them;
 * murrectl (ctl.h) and, later, rpc from Erlang nodes and the web look them up here.
 *
 * A handler runs on the ctl thread (or wherever the caller is), outside the shards; it may wait, with a time-out, for shards
 * (rt_node_call) and actors (rt_call). It returns its result as a val in c->arena. */
#include "base/time.h"
#include "base/val.h"
#include "rt/msg.h"

/* An answer that goes on: what follows the result, until the caller has enough. On the thread of the ctl; nothing here waits. */
typedef struct rt_stream rt_stream;
struct rt_stream {
    bool (*next)(rt_stream *s, arena *a, val **out);              /* what comes next, in a; false: nothing now, wake will be called */
    void (*wake)(rt_stream *s, void (*fn)(void *arg), void *arg); /* sets what to call, on whatever thread, when next has something */
    void (*close)(rt_stream *s);                                  /* frees it; fn is not called any more */
};

#define RT_VERB_ARGS_MAX 16
typedef struct rt_verb_call {
    rt_node *node;
    void *env; /* rt_node_env */
    slice args[RT_VERB_ARGS_MAX];
    size_t n_args;
    slice input; /* bytes from standard input (passwords, imports); empty if none */
    arena *arena;
    val *result;       /* set by the handler; NULL prints as null */
    rt_stream *stream; /* set by the handler if the answer goes on; the caller closes it. That it was opened is audited, as a change is */
    char why[256];     /* on failure: one sentence for the operator */
} rt_verb_call;

/* What a verb does to whoever else asks. RT_READS: quickly done, on the ctl thread. RT_MUTATES: audited, by an event with the caller's uid;
 * one after the other. RT_WAITS: reads, and takes as long as its caller says, or
 * as an actor that it asks; beside the others (rt/ctl.h). */
typedef enum rt_verb_how { RT_READS, RT_MUTATES, RT_WAITS } rt_verb_how;
typedef struct rt_verb {
    const char *module;   /* "actors", "user" */
    const char *function; /* "list" */
    uint8_t arity_min, arity_max;
    rt_verb_how how;
    err (*fn)(rt_verb_call *c);
    const char *usage; /* "actors [PID]" */
    const char *doc;   /* one sentence */
} rt_verb;

/* A request to an actor from outside the shards: sends *m (rt_msg_new_ext; consumed; its sender is a temporary pid) and waits for the first
 * message sent to that pid. *out_reply is released with rt_msg_drop. ERR_TIMEOUT; ERR_NOPROC if the actor ends or is not there. Not in the
 * simulator. */
NODISCARD err rt_call(rt_node *n, rt_pid to, rt_msg **m, usec timeout, rt_msg **out_reply);

/* How long a verb waits for what an actor or its shard has to say: limit; but only a moment when the watchdog has found that shard stuck,
 * so that who looks into a wedged node is told at once, and the next one who looks does not wait for him. */
usec rt_verb_patience(const rt_node *n, rt_pid to, usec limit);

/* Adds all counts since the start at one moment to a map: what murrectl top compares. A node's own "load" verb says which node it is. */
void rt_verb_load(rt_verb_call *c, val *map);
/* For verbs that watch requests (rt/follow.h): sets c->stream; the caller sets the result. rt_verb_trace_actor: both, for the actor whose
 * pid or name is the first argument. */
struct rt_trace_filter;
NODISCARD err rt_verb_trace(rt_verb_call *c, const struct rt_trace_filter *f);
NODISCARD err rt_verb_trace_actor(rt_verb_call *c);

/* The runtime's own verbs: actors, queues, flush, msacc, locks, log, pool. */
extern const rt_verb rt_verbs[];
extern const size_t rt_verbs_count;

#endif
