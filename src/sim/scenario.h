#ifndef SIM_SCENARIO_H
#define SIM_SCENARIO_H
/* scenario: a named kind of run: what nodes there are, what is done to them, and how the end is judged. A seed chooses everything else. */
#include "history/chat.h"
#include "sim/node.h"

typedef struct sim_run_cfg {
    uint64_t seed;
    unsigned nodes; /* 0: the scenario's own choice */
    unsigned ops;   /* 0: the scenario's own choice; what an operation is, the scenario says */
    bool calm;      /* no faults: what may only happen with them is then a violation (R8) */
    bool verbose;
    uint64_t fail_nth; /* a short run in which the nth fallible call of the seam fails and nothing else; SIM_FAIL_NONE: none; 0: a full run
                          with the scenario's own faults. For "log" and "chat" */
    sim_boot *boot;    /* how the program makes a server node whose data directory is dir and whose domain is SIM_DOMAIN: for "chat" */
    sim_unboot *unboot;
    void *boot_arg;
    void (*on_history)(void *arg, const history_chat *h); /* NULL, or told what the clients of "chat" saw, at the end */
    void *history_arg;
    void (*say)(void *arg, const char *line); /* for people, as a long run goes on: by "cluster"; NULL: nobody listens */
    void *say_arg;
    uint64_t (*nsec)(void); /* real time, for what is said; NULL: nothing is timed. No run depends on it */
} sim_run_cfg;

#define SIM_DOMAIN    "example.org"
#define SIM_PORT      5222 /* STARTTLS */
#define SIM_PORT_TLS  5223 /* direct TLS */
#define SIM_NOTE_MAX  320
#define SIM_FAIL_NONE UINT64_MAX /* fail_nth: a number that no run reaches, to count its calls */
typedef struct sim_result {
    bool ok;
    char why[SIM_FAIL_MAX];  /* when not */
    char note[SIM_NOTE_MAX]; /* counts, for people */
    usec took;               /* virtual time */
    uint64_t digest;         /* of the whole trace */
    uint64_t steps;          /* events run */
    uint64_t calls;          /* fallible calls of the seam, where fail_nth was set */
    int failed_call;         /* sim_call that failed; -1: none */
    err failed_with;         /* what it gave */
    uint64_t ended;          /* nodes that ended for it */
    uint64_t link_bytes;     /* "cluster": memory of an idle end of a link; 0: malloc does not tell */
} sim_result;

typedef struct sim_scenario {
    const char *name;
    const char *doc;
    void (*run)(const sim_run_cfg *c, sim_result *out);
} sim_scenario;

extern const sim_scenario sim_scenarios[];
extern const size_t sim_scenarios_count;
const sim_scenario *sim_scenario_find(const char *name); /* NULL */
/* Runs it with the thread's reporter of failed checks pointing into the run: a check that fails inside a node fails the run. */
void sim_scenario_run(const sim_scenario *s, const sim_run_cfg *c, sim_result *out);

/* For scenarios: fills *out from the world; note says what was done. */
/* The calls of a host, and what became of the plan. */
void sim_scenario_calls(const sim_fault *f, sim_result *out);
void sim_scenario_finish(sim_world *w, sim_result *out, const char *note, ...) PRINTF_LIKE(3, 4);

/* One of the table. */
void sim_scenario_actors(const sim_run_cfg *c, sim_result *out);
void sim_scenario_log(const sim_run_cfg *c, sim_result *out);
void sim_scenario_chat(const sim_run_cfg *c, sim_result *out);
void sim_scenario_mesh(const sim_run_cfg *c, sim_result *out);
void sim_scenario_cluster(const sim_run_cfg *c, sim_result *out);
void sim_scenario_torture(const sim_run_cfg *c, sim_result *out);

#endif
