/* dns: nodes that are found by a name whose addresses are their hosts (as libcluster's DNSPoll has it): app@cluster.example stands for
 * app@10.0.0.1, app@10.0.0.2 and so on. Each name is looked up every dns_every; its addresses are a list, which dial.c takes for the one
 * before. While it cannot be looked up the last list stays. */
#include "base/mem.h"
#include "mesh/dial.h"
#include "mesh/lookup.h"
#include "rt/event.h"

#include <stdio.h>

#define ADDRS_MAX 1024u                /* of one name */
#define SAY_AGAIN (600 * USEC_PER_SEC) /* when what is wrong is the same */

typedef struct query {
    mesh_query q;
    rt_timer timer; /* the next look; armed but while one is under way */
    usec said_at;
    char said[MESH_WHY_MAX]; /* what was wrong; empty: nothing */
} query;

typedef struct discoverer {
    mesh *m;
    query *v; /* of cfg.n_dns */
} discoverer;

static void say(rt_ctx *cx, discoverer *d, size_t i, const char *why) {
    query *x = &d->v[i];
    bool same = strcmp(x->said, why) == 0;
    if (*why && (!same || rt_now(cx) - x->said_at >= SAY_AGAIN)) {
        char text[DIST_NAME_MAX + MESH_WHY_MAX];
        (void)snprintf(text, sizeof text, "%s: %s", d->m->cfg.dns[i], why);
        rt_event_text(cx, EV_MESH_DNS_FAIL, 0, 0, slice_str(text));
        x->said_at = rt_now(cx);
    }
    if (!same) (void)snprintf(x->said, sizeof x->said, "%s", why);
}

static void put_node(const discoverer *d, const mesh_query *q, const sys_addr *a, buf *b) {
    char text[SYS_ADDR_TEXT], name[DIST_NAME_MAX + SYS_ADDR_TEXT];
    sys_addr_format(a, text);
    slice host = slice_sub(slice_str(text), 0, strlen(text) - strlen(":0"));
    slice bare = a->family == SYS_INET6 ? slice_sub(host, 1, host.len - 2) : host; /* without the brackets, as names have it */
    (void)snprintf(name, sizeof name, SLICE_FMT "@" SLICE_FMT, SLICE_ARG(q->alive), SLICE_ARG(bare));
    if (slice_is(d->m->cfg.name, name)) return;
    buf_addf(b, SLICE_FMT "@" SLICE_FMT, SLICE_ARG(q->alive), SLICE_ARG(host));
    if (q->port) buf_addf(b, ":%u", q->port);
    buf_add_byte(b, '\n');
}

static void found(rt_ctx *cx, const discoverer *d, const mesh_lookup *u) {
    buf list;
    buf_init(&list, UINT32_MAX);
    for (size_t i = 0; i < u->n; i++) put_node(d, &d->v[u->ticket].q, &u->found[i], &list);
    rt_msg *m = rt_msg_new(cx, MESH_WANT, sizeof(mesh_want_msg));
    *mesh_want_msg_of(m) = (mesh_want_msg){
        .op = MESH_WANT_LIST, .by = (uint32_t)MESH_BY_DNS << u->ticket, .ticket = u->ticket, .seed = rt_blob_new(buf_slice(&list))};
    rt_send(cx, rt_name_find(cx, MESH_DIAL_NAME), &m); /* if it is not there now, it gets the next list */
    buf_fini(&list);
}

static void ask(rt_ctx *cx, const discoverer *d, size_t i) { mesh_lookup_begin(cx, d->v[i].q.host, ADDRS_MAX, d->m->cfg.setup_time, i); }

static void on_lookup(rt_ctx *cx, discoverer *d, rt_job_done *done) {
    const mesh_lookup *u = mesh_lookup_of(done);
    if (!check(u != NULL)) return;
    err e = mesh_lookup_error(done, u);
    if (e)
        say(cx, d, u->ticket, mesh_lookup_text(e));
    else
        found(cx, d, u);
    rt_timer_set(cx, &d->v[u->ticket].timer, rt_now(cx) + d->m->cfg.dns_every);
}

static void on_wanted(rt_ctx *cx, discoverer *d, const mesh_wanted_msg *m) {
    char why[MESH_WHY_MAX] = "";
    if (m->status) (void)snprintf(why, sizeof why, SLICE_FMT, SLICE_ARG(rt_blob_slice(m->text)));
    say(cx, d, m->ticket, why);
}

static err dns_init(rt_ctx *cx, void *st, const void *arg) {
    discoverer *d = st;
    char why[MESH_WHY_MAX];
    d->m = *(mesh *const *)arg;
    d->v = mem_zalloc(d->m->cfg.n_dns * sizeof *d->v);
    for (size_t i = 0; i < d->m->cfg.n_dns; i++) {
        err e = mesh_dns_parse(slice_str(d->m->cfg.dns[i]), &d->v[i].q, why);
        if (e) return e;
        ask(cx, d, i);
    }
    return ERR_OK;
}

static err dns_handle(rt_ctx *cx, void *st, rt_msg **m) {
    if ((*m)->tag == RT_JOB_DONE) on_lookup(cx, st, rt_job_done_of(*m));
    if ((*m)->tag == MESH_WANTED) on_wanted(cx, st, mesh_wanted_msg_of(*m));
    return ERR_OK;
}

static err dns_timer(rt_ctx *cx, void *st, rt_timer *t) {
    const discoverer *d = st;
    ask(cx, d, (size_t)(container_of(t, query, timer) - d->v));
    return ERR_OK;
}

static void dns_fini(rt_ctx *cx, void *st, err reason) {
    discoverer *d = st;
    (void)reason;
    for (size_t i = 0; d->v && i < d->m->cfg.n_dns; i++) rt_timer_cancel(cx, &d->v[i].timer);
    mem_free(d->v);
}

const rt_class mesh_dns_class = {
    .name = "dns",
    .state_size = sizeof(discoverer),
    .init = dns_init,
    .handle = dns_handle,
    .timer = dns_timer,
    .fini = dns_fini,
};
