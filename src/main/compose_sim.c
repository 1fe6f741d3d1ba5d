/* compose_sim: what is simulated is what runs: the same composition, with small limits so that they are reached. */
#include "main/compose_sim.h"

#include "base/mem.h"

#include <stdio.h>

#define NODES_MAX 4096u

struct compose_sim {
    const char *const *settings;
    config cfg;
    bool ready;     /* cfg is filled for the present data directory */
    compose **made; /* alive */
    size_t n, cap;
};

static const char *const base_settings[] = {
    "domains=" SIM_DOMAIN, "xmpp.listen=0.0.0.0:5222", "xmpp.tls_listen=0.0.0.0:5223", "recorder.bytes=0", "shards=2", NULL};

const char *const compose_sim_small[] = {"recorder.bytes=64k", "log.segment_bytes=1M", "svc.partitions=4", NULL};

static void set_all(config *c, const char *const *settings) {
    char why[CONFIG_WHY_MAX];
    for (; settings && *settings; settings++)
        if (config_set(c, *settings, why)) panic("%s", why);
}

compose_sim *compose_sim_new(const char *const *settings) {
    compose_sim *s = mem_zalloc(sizeof *s);
    s->settings = settings;
    return s;
}

void compose_sim_free(compose_sim *s) {
    if (!s) return;
    if (s->ready) config_fini(&s->cfg);
    mem_free(s->made);
    mem_free(s);
}

static err boot(void *arg, sys *sy, tls *t, const char *dir, rt_node **out) {
    compose_sim *s = arg;
    char why[CONFIG_WHY_MAX] = "", data[CONFIG_WHY_MAX];
    if (!s->ready) {
        (void)snprintf(data, sizeof data, "data=%s", dir); /* the simulator's directories have short names */
        const char *const at[] = {data, NULL};
        config_init(&s->cfg);
        set_all(&s->cfg, base_settings);
        set_all(&s->cfg, at);
        set_all(&s->cfg, s->settings);
        s->ready = true;
    }
    compose *c = NULL;
    err e = compose_new(&s->cfg, sy, t, &c, why);
    if (e) return e;
    if (s->n == NODES_MAX) panic("too many simulated nodes");
    void *made = s->made;
    mem_grow(&made, &s->cap, s->n + 1, sizeof *s->made);
    s->made = made;
    s->made[s->n++] = c;
    *out = compose_node(c);
    return ERR_OK;
}

static void unboot(void *arg, rt_node *n) {
    compose_sim *s = arg;
    for (size_t i = 0; i < s->n; i++) {
        if (compose_node(s->made[i]) != n) continue;
        compose_free(s->made[i]);
        s->made[i] = s->made[--s->n];
        return;
    }
    panic("a node that was not made here");
}

void compose_sim_use(compose_sim *s, sim_run_cfg *c) {
    c->boot = boot;
    c->unboot = unboot;
    c->boot_arg = s;
}
