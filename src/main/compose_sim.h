#ifndef MAIN_COMPOSE_SIM_H
#define MAIN_COMPOSE_SIM_H
/* compose_sim: the server as compose makes it, for the simulator: sim_boot and sim_unboot (sim/node.h) over compose_new. */
#include "main/compose.h"
#include "sim/scenario.h"

typedef struct compose_sim compose_sim;
extern const char *const compose_sim_small[]; /* settings for runs of torture: quick to start, with a recorder */
/* settings: NULL-terminated "key=value" on top of what the simulator needs; NULL: none. Panics on a wrong one. */
compose_sim *compose_sim_new(const char *const *settings);
void compose_sim_free(compose_sim *s);
/* Fills boot, unboot and boot_arg; s outlives the run. */
void compose_sim_use(compose_sim *s, sim_run_cfg *c);

#endif
