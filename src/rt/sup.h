#ifndef RT_SUP_H
#define RT_SUP_H
/* sup: supervisors as in OTP's supervisor module: children are started in order, restarted by strategy, stopped in reverse order; more
 * than intensity restarts within period ends the supervisor with ERR_INTENSITY, which its own supervisor sees. */
#include "rt/actor.h"

typedef enum rt_sup_strategy { RT_ONE_FOR_ONE, RT_ONE_FOR_ALL, RT_REST_FOR_ONE } rt_sup_strategy;
typedef enum rt_restart {
    RT_PERMANENT, /* always restarted */
    RT_TRANSIENT, /* restarted unless it ended with OK or SHUTDOWN */
    RT_TEMPORARY, /* never restarted */
} rt_restart;

typedef struct rt_child {
    const char *id; /* unique within the supervisor; a literal */
    const rt_class *cls;
    const void *arg; /* handed to init at every start; must outlive the supervisor */
    rt_restart restart;
    usec shutdown; /* how long it may take to end after ERR_SHUTDOWN before it is killed; 0: killed at once */
    /* Tables that it makes (rt/table.h) outlive it: the supervisor inherits them, unless they name another heir, and gives them to the next
     * start of the child, which gets RT_TRANSFER for each after its init. Those of a child that is not started again are freed. */
    bool tables_kept;
} rt_child;
typedef struct rt_sup_spec {
    rt_sup_strategy strategy;
    uint32_t intensity; /* restarts allowed ... */
    usec period;        /* ... within this */
    const rt_child *children;
    size_t n_children; /* at most RT_SUP_CHILDREN_MAX */
    bool vital;        /* nobody supervises it: when it ends, the node ends, because restart is cheap and a zombie is not */
} rt_sup_spec;
#define RT_SUP_CHILDREN_MAX 4096u

/* The class of all supervisors; its arg is a const rt_sup_spec * that outlives it. A child that fails in init at the start ends the
 * supervisor with that reason. */
extern const rt_class rt_sup_class;
/* For tests and tools: pid of a child by id, RT_PID_NONE if it is not running; called on the supervisor's shard with its state. */
rt_pid rt_sup_child(rt_node *n, rt_pid sup, const char *id);

#endif
