#ifndef MAIN_VERBS_H
#define MAIN_VERBS_H
/* verbs: what operators ask of the whole node: status, node, load, drain, backup; and which accounts begin with a prefix. */
#include "svc/svc.h"

struct compose;
typedef struct main_env { /* rt_node_env of a murre node */
    svc_env svc;          /* first: svc's verbs find their settings there */
    struct compose *compose;
    unsigned cores;
    usec started;
} main_env;
void main_env_init(main_env *e, struct compose *c, const svc_cfg *svc, sys *s);

extern const rt_verb main_verbs[];
extern const size_t main_verbs_count;

#endif
