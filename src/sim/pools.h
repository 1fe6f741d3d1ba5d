#ifndef SIM_POOLS_H
#define SIM_POOLS_H
/* pools: two pools of workers (rt/workers.h), one by key, one to an idle one, under random work and crashes; and a model outside the node
 * that knows what became of each piece of work:
 *
 *     sent -> begun (once; by key: in the order of its sender) -> done, or lost with a worker that ended
 *          -> refused: it came back, and was not begun
 *          -> expired: it had a deadline
 *          -> gone, where its sender has ended
 */
#include "rt/workers.h"
#include "sim/world.h"

typedef struct sim_pools sim_pools;
sim_pools *sim_pools_new(sim_world *w);
void sim_pools_free(sim_pools *p);
NODISCARD err sim_pools_boot(sim_pools *p, rt_node *n); /* draws their sizes */
/* From an actor's handler: sends some work, or ends a worker. sender: its number, never of two actors. */
void sim_pools_act(rt_ctx *cx, sim_pools *p, uint32_t sender);
void sim_pools_refused(sim_pools *p, const rt_msg *m, uint32_t by); /* a SIM_WORK came back to this sender */
/* When nothing is under way any more: judges. alive(arg, sender): has that sender not ended? */
void sim_pools_check(sim_pools *p, bool (*alive)(void *arg, uint32_t sender), void *arg);
uint64_t sim_pools_begun(const sim_pools *p);

#endif
