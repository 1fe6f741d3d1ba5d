#ifndef RT_EVENT_H
#define RT_EVENT_H
/* event: the one spine of instrumentation. events.def lists each event once; from it come a counter per shard, a USDT probe (provider
 * murre, name as in the list), a line in the flight recorder, the simulator's trace digest, from its level a line in the log, and for an
 * argument that the list says is measured a histogram.
 *
 * One call at the site: rt_event(cx, EV_ACCEPT, fd, port, 0). With text: rt_event_text. Outside the shards: rt_event_ext. */
#include "rt/actor.h"
#include "rt/tally.h"

typedef enum rt_level { RT_DEBUG, RT_INFO, RT_NOTICE, RT_WARNING, RT_ERROR } rt_level;
typedef enum rt_event_id {
#define EVENT(id, name, level, a, b, c, doc) EV_##id,
#include "rt/events.def"
    EV_COUNT_
} rt_event_id;
typedef struct rt_event_desc {
    const char *name;
    rt_level level;
    const char *arg[3]; /* names of the arguments; "" when unused */
    const char *doc;
} rt_event_desc;
extern const rt_event_desc rt_event_descs[EV_COUNT_];
typedef struct rt_measure { /* a histogram of one argument of an event */
    rt_event_id id;
    unsigned arg; /* 0 to 2; not the one that a text has taken */
    const char *doc;
} rt_measure;
enum {
    RT_MEASURES = 0
#define MEASURE(id, arg, doc) +1
#include "rt/events.def"
};
extern const rt_measure rt_measures[RT_MEASURES]; /* all of one event are neighbours */

void rt_event(rt_ctx *cx, rt_event_id id, uint64_t a, uint64_t b, uint64_t c);
void rt_event_text(rt_ctx *cx, rt_event_id id, uint64_t a, uint64_t b, slice text); /* text: at most RT_EVENT_TEXT bytes are kept */
void rt_event_ext(rt_node *n, rt_event_id id, uint64_t a, uint64_t b, slice text);  /* any thread */
#define RT_EVENT_TEXT 256

uint64_t rt_event_count(rt_node *n, rt_event_id id); /* sum over shards */
/* Adds the values of rt_measures[i] over all shards and other threads; from any thread, waits for nobody. */
void rt_event_measured(rt_node *n, size_t i, rt_tally_sum *into);
uint64_t rt_event_digest(rt_node *n); /* of all events so far, in order; meaningful with one thread (simulator) */

/* Whether events go into the flight recorder: on at start, if the node has one. Any thread; off keeps what is in it from being written
 * over. */
void rt_event_record(rt_node *n, bool on);
bool rt_event_recording(rt_node *n);

/* The log: events at or above the level, one line each, on standard error or to a function. Lines are written by a thread outside the
 * shards from a bounded buffer: a slow or full sink loses lines, counted, and delays nobody. At most RT_LOG_RATE lines a second per event,
 * the rest counted and reported. */
#define RT_LOG_RATE 20u
void rt_log_level(rt_node *n, rt_level l);
rt_level rt_log_level_get(rt_node *n);
NODISCARD bool rt_log_level_parse(slice name, rt_level *out);
/* How a line looks. TEXT: time, level, event, name=value for each argument, text. JSON: an object with time, level, event, the arguments
 * under their names in events.def, and text; numbers but for slots ("1.23") and errors ("fd_limit"), which are strings. Both are valid
 * UTF-8 without control bytes. priorities: lines begin with <N> for the journal (sd-daemon(3)). Before start. */
typedef enum rt_log_style { RT_LOG_TEXT, RT_LOG_JSON } rt_log_style;
NODISCARD bool rt_log_style_parse(slice name, rt_log_style *out);
void rt_log_style_set(rt_node *n, rt_log_style style, bool priorities);
void rt_log_sink(rt_node *n, void (*fn)(void *arg, const char *line), void *arg); /* before start; NULL: standard error */

#endif
