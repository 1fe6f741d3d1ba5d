#ifndef MAIN_VERBS_H
#define MAIN_VERBS_H
/* verbs: what operators ask of the whole node: status, node, load, drain, backup; and which accounts begin with a prefix. */
#include "svc/svc.h"

struct compose;
typedef struct main_env { /* rt_node_env of a murre node */
    svc_env svc;          /* first: svc's verbs find their settings there */
    struct compose *compose;
    bool messaging; /* the node has that role */
    unsigned cores;
    usec started;
} main_env;
main_env *main_env_of(rt_verb_call *c);
void main_env_init(main_env *e, struct compose *c, const svc_cfg *svc, sys *s); /* with all roles */

/* Asks an engine of the store, or whoever has that name; consumes *m. An error: c->why is set. OK: *out is the caller's. */
NODISCARD err main_ask_store(rt_verb_call *c, const char *name, rt_msg **m, usec limit, rt_msg **out);

extern const rt_verb main_verbs[];
extern const size_t main_verbs_count;
extern const rt_verb main_messaging_verbs[]; /* of the role messaging */
extern const size_t main_messaging_verbs_count;
/* The same verbs for a node that has not the role messaging: each says so; but follow watches actors there too. out has room for n. */
void main_verbs_without_role(const rt_verb *of, size_t n, rt_verb *out);

#endif
