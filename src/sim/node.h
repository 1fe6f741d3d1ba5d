#ifndef SIM_NODE_H
#define SIM_NODE_H
/* node: a whole murre node in a world: boots it through the program's callback, steps its shards and runs its pool jobs at times drawn from
 * the seed, crashes it and boots it again from what its disk holds. */
#include "rt/node.h"
#include "sim/host.h"
#include "sim/tls.h"

typedef struct sim_node sim_node;
/* Makes and boots a node (rt_node_new with cfg.recorder_path, ctl_path NULL and spin 0; spawning, listening). Called at every start. An
 * error must leave nothing behind; the boot is tried again later. */
typedef err sim_boot(void *arg, sys *s, tls *t, const char *dir, rt_node **out);

typedef void sim_unboot(void *arg, rt_node *n); /* frees the node and what boot made with it */

typedef struct sim_node_pace {                        /* how slow the machine is */
    usec wake, wake_rare;                             /* from a wake-up to the shard's step */
    usec step;                                        /* a step takes up to this */
    usec job[RT_POOL_KINDS], job_rare[RT_POOL_KINDS]; /* from submit to the run of a pool job */
} sim_node_pace;

#define SIM_NODE_SHARDS_MAX 16u
#define SIM_NODE_BOOTS_MAX  50u /* failed boots in a row, and the run has failed: recovery refuses to start */

typedef struct sim_shard {
    sim_node *node;
    unsigned id;
    usec at;      /* when its next step is due; USEC_NEVER: when it is woken */
    uint64_t gen; /* of the newest step event */
} sim_shard;

struct sim_node {
    sim_world *w;
    sim_host host;
    sim_tls tls;
    rt_node *rt; /* NULL while it is down */
    sim_boot *boot;
    sim_unboot *unboot; /* NULL: rt_node_free */
    void *boot_arg;
    const char *dir; /* its data directory; exists and is durable from the start */
    sim_node_pace pace;
    sim_shard shard[SIM_NODE_SHARDS_MAX];
    uint64_t life;                 /* grows at every boot and crash: events of another life are known */
    uint32_t jobs[RT_POOL_KINDS];  /* job events under way */
    uint32_t boots_failed;         /* in a row */
    usec restart_min, restart_max; /* how long it stays down after a crash */
    usec frozen_until;             /* its process is stopped until then; its kernel goes on */
    uint64_t steps, crashes, boots, kills;
    void (*up)(void *arg, sim_node *n); /* after each successful boot; NULL: nobody asks */
    void *hook_arg;
};

void sim_node_init(sim_node *n, sim_world *w, sim_net *net, uint32_t index, const char *dir, sim_boot *boot, void *arg);
void sim_node_fini(sim_node *n);
void sim_node_start(sim_node *n);                /* boots it now, or, if that fails, later */
void sim_node_crash(sim_node *n, sim_death how); /* not from within its own step; it boots again after restart_min to restart_max */
void sim_node_crash_soon(sim_node *n, sim_death how, uint32_t calls); /* in the calls-th file call from now, wherever that is */
/* The process is stopped (SIGSTOP) until then, and notices nothing but that time has passed: its kernel goes on taking connections and
 * bytes. */
void sim_node_freeze(sim_node *n, usec until);
void sim_node_kill_actor(sim_node *n, const char *cls); /* any, or a busy one of this class, as by murrectl actor kill: the others go on */
/* Ends it in order, as the program does after its drain, and for good: what it leaves open fails the run. */
void sim_node_quit(sim_node *n);
void sim_node_stop(sim_node *n);                 /* ends it for good, as a kill */
void sim_node_log_to(rt_node *rt, sim_world *w); /* for boot callbacks: the node's log lines are the world's, shown when verbose */
void sim_node_poke(sim_node *n);                 /* something was posted from outside: every shard looks */

#endif
