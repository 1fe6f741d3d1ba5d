#ifndef RT_MEMORY_H
#define RT_MEMORY_H
/* memory: is it getting tight? The node looks at what counts against the nearest limit (sys.h, memory; or cfg.memory_limit) many times a
 * second and says one bit, which whoever would take more memory for a stranger asks before: listeners, sessions, queues. Why so, and not by
 * counting what each part holds: docs/decisions/0006-memory-is-shed-by-what-the-kernel-counts.md.
 *
 *        0 ------------------- low ---- high ------------ limit: the kernel ends the process
 *                               |        |<-- headroom --->|
 *             not tight below --+        +-- tight from here on
 *
 * headroom: three tenths of the limit, at most 1 GiB, but never less than a sixteenth. low: a quarter of it below high. */
#include "rt/node.h"

typedef struct rt_memory {
    uint64_t used, limit; /* bytes; limit 0: not known, and never tight. used is without blocks that lie ready for use again */
    bool tight;
} rt_memory;
void rt_memory_read(const rt_node *n, rt_memory *out); /* as of the last look; any thread */
bool rt_memory_tight(const rt_node *n);                /* any thread; one load */
uint64_t rt_memory_high(uint64_t limit);               /* where tight begins */

/* A look; returns when the next is due. By one thread: the watchdog's, and in the simulator whoever steps the node. */
usec rt_memory_look(rt_node *n, usec now);

#endif
