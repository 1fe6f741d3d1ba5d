/* domains: two nodes of a cluster that serve one domain would each be the whole of it: a message would reach those users only who are on
 * the node where it was sent. Until services span nodes, one of the two leaves the cluster; its users keep their service, each on its own.
 *
 *     up --> {'$murre_node', 1, Since, [Domain]} to the other's murre_node --> the same domain on both: who was started first stays
 *
 * A node of OTP has no process of that name and drops the message, as any to a name that nobody has; a murre node without domains says
 * nothing. Both nodes have both messages, so both decide alike: the earlier Since (microseconds since 1970) stays, of the same the lesser
 * name. So a node that is added by mistake does not push out one that runs. The one that goes ends all its connections and makes no new
 * ones until it is started again, so that the others see one node leave, and not two that see each other only at times.
 *
 * Invariants: (1) what a node says of itself is said before its connection is ended. (2) Once it has left, each connection that still comes
 * up is ended. (3) others has each node between its up and its down, as they stand in the mailbox: what a node said is judged also when its
 * connection is gone by then, because the other side was faster. */
#include "base/mem.h"
#include "mesh/int.h"
#include "proto/etf/etf.h"
#include "rt/event.h"

#include <stdio.h>

#define NAME        "murre_node"
#define VERSION     1
#define DOMAINS_MAX 1024u /* in one message; no setting has more */

typedef struct other { /* a node that is up */
    hmap_node by_index;
    uint32_t index;
    rt_pid link;
    rt_blob *name;
} other;

typedef struct domains {
    mesh *m;
    rt_blob *about; /* what this node says of itself; NULL: it has no domains */
    hmap others;    /* other */
} domains;

/* --- the others -------------------------------------------------------------------------------------------------------------------- */
static other *find(const domains *d, uint32_t index) {
    for (hmap_node *n = hmap_find(&d->others, hash_u64(index)); n; n = hmap_find_next(n)) {
        other *o = container_of(n, other, by_index);
        if (o->index == index) return o;
    }
    return NULL;
}

static void forget(domains *d, other *o) {
    hmap_remove(&d->others, &o->by_index);
    rt_blob_unref(o->name);
    mem_free(o);
}

/* An up may come twice, or with another link (mesh_service_tell). */
static void is_up(domains *d, uint32_t index, rt_pid link, slice name) {
    other *o = find(d, index);
    if (!o) {
        o = mem_zalloc(sizeof *o);
        o->index = index;
        o->name = rt_blob_new(name);
        hmap_insert(&d->others, &o->by_index, hash_u64(index));
    }
    o->link = link;
}

static void is_down(domains *d, uint32_t index, rt_pid link) {
    other *o = find(d, index);
    if (o && rt_pid_eq(o->link, link)) forget(d, o);
}

/* --- what nodes say of themselves --------------------------------------------------------------------------------------------------- */

static rt_blob *about(const mesh *m) {
    buf b;
    buf_init(&b, UINT32_MAX);
    etf_put_version(&b);
    etf_put_tuple(&b, 4);
    etf_put_atom(&b, SLICE("$murre_node"));
    etf_put_int(&b, VERSION);
    etf_put_int(&b, m->since);
    etf_put_list(&b, (uint32_t)m->cfg.n_domains);
    for (size_t i = 0; i < m->cfg.n_domains; i++) etf_put_binary(&b, m->cfg.domains[i]);
    etf_put_nil(&b);
    rt_blob *blob = check(buf_ok(&b)) ? rt_blob_new(buf_slice(&b)) : NULL;
    buf_fini(&b);
    return blob;
}

static const slice *ours(const mesh *m, slice domain) {
    for (size_t i = 0; i < m->cfg.n_domains; i++)
        if (slice_eq(m->cfg.domains[i], domain)) return &m->cfg.domains[i];
    return NULL;
}

/* A domain of ours in what another node says of itself; NULL: there is none, or it is not what a node says. A later version may have more
 * after these. */
static const slice *shared(const mesh *m, slice term, int64_t *out_since) {
    etf_reader r = etf_reader_of(term);
    etf_item it;
    uint32_t n;
    int64_t version, since;
    if (!etf_get_version(&r) || !etf_get_tuple(&r, &n) || n < 4 || !etf_get_atom_is(&r, SLICE("$murre_node"))) return NULL;
    if (!etf_get_int(&r, &version) || !etf_get_int(&r, &since)) return NULL;
    if (!etf_next(&r, &it) || it.kind != ETF_LIST || it.n > DOMAINS_MAX) return NULL;
    for (uint32_t i = 0; i < it.n; i++) {
        slice domain;
        if (!etf_get_binary(&r, &domain)) return NULL;
        const slice *own = ours(m, domain);
        if (!own) continue;
        *out_since = since;
        return own;
    }
    return NULL;
}

/* --- one goes ---------------------------------------------------------------------------------------------------------------------- */
static void end_link(rt_ctx *cx, rt_pid link, const char *why) {
    rt_msg *m = rt_msg_new(cx, MESH_END, sizeof(mesh_end_msg));
    mesh_end_msg_of(m)->why = rt_blob_new(slice_str(why));
    rt_send(cx, link, &m);
}

static void end_each(void *arg, uint32_t index, const mesh_node *n) {
    (void)index;
    end_link(arg, n->link, "this node has left the cluster");
}

static bool stays(const mesh *m, int64_t since, slice name) {
    return m->since != since ? m->since < since : slice_cmp(m->cfg.name, name) < 0;
}

static void clash(rt_ctx *cx, const domains *d, const other *o, slice domain, int64_t since) {
    mesh *m = d->m;
    slice name = rt_blob_slice(o->name);
    bool stay = stays(m, since, name);
    char text[2 * DIST_NAME_MAX + 256];
    (void)snprintf(text, sizeof text, SLICE_FMT ": it serves " SLICE_FMT " too, and was started %s: %s", SLICE_ARG(name),
                   SLICE_ARG(slice_sub(domain, 0, DIST_NAME_MAX)), stay ? "later" : "earlier",
                   stay ? "it leaves the cluster" : "this node leaves the cluster until it is started again");
    rt_event_text(cx, EV_MESH_DOMAIN, o->index, 0, slice_str(text));
    end_link(cx, o->link, "both serve one domain");
    if (stay) return;
    atomic_store_explicit(&m->left, true, memory_order_relaxed); /* a hint to links that begin: (2) is by MESH_NODE */
    mesh_peers_each(m->nodes, rt_epoch_reader(cx), end_each, cx);
}

static void on_term(rt_ctx *cx, const domains *d, rt_msg *m) {
    int64_t since;
    const slice *domain = shared(d->m, rt_blob_slice(mesh_term_of(m)->term), &since);
    const other *o = find(d, m->sender.node);
    if (domain && o && !mesh_has_left(d->m)) clash(cx, d, o, *domain, since);
}

/* --- the actor --------------------------------------------------------------------------------------------------------------------- */
static void tell(rt_ctx *cx, const domains *d, uint32_t index, rt_pid link) {
    if (d->about) mesh_send_name(cx, d->m, index, SLICE(NAME), d->about);
    if (mesh_has_left(d->m)) end_link(cx, link, "this node has left the cluster");
}

typedef struct telling {
    rt_ctx *cx;
    domains *d;
} telling;
static void tell_each(void *arg, uint32_t index, const mesh_node *n) {
    const telling *t = arg;
    is_up(t->d, index, n->link, slice_of(n->name, n->name_len));
    tell(t->cx, t->d, index, n->link);
}

static err domains_init(rt_ctx *cx, void *st, const void *arg) {
    domains *d = st;
    d->m = *(mesh *const *)arg;
    hmap_init(&d->others);
    err e = rt_name_register(cx, NAME);
    if (e) return e;
    if (d->m->cfg.n_domains) d->about = about(d->m);
    mesh_peers_each(d->m->nodes, rt_epoch_reader(cx), tell_each, &(telling){cx, d}); /* after a restart of this actor */
    rt_trap_exit(cx, true);
    return ERR_OK;
}

static err domains_handle(rt_ctx *cx, void *st, rt_msg **m) {
    domains *d = st;
    const mesh_node_msg *n = mesh_node_msg_of(*m);
    if ((*m)->tag == MESH_NODE && n->up) {
        is_up(d, n->index, n->link, rt_blob_slice(n->name));
        tell(cx, d, n->index, n->link);
    }
    if ((*m)->tag == MESH_NODE && !n->up) is_down(d, n->index, n->link);
    if ((*m)->tag == MESH_TERM) on_term(cx, d, *m);
    return ERR_OK;
}

static void domains_fini(rt_ctx *cx, void *st, err reason) {
    domains *d = st;
    (void)cx;
    (void)reason;
    for (hmap_node *n = hmap_first(&d->others), *next; n; n = next) {
        next = hmap_next(&d->others, n);
        forget(d, container_of(n, other, by_index));
    }
    hmap_fini(&d->others);
    rt_blob_unref(d->about);
}

const rt_class mesh_domains_class = {
    .name = "mesh_domains",
    .state_size = sizeof(domains),
    .init = domains_init,
    .handle = domains_handle,
    .fini = domains_fini,
    .mailbox_max = 100000,
    .mailbox_bytes_max = 16u << 20, /* a message has up to 128 MiB */
    .bound = RT_BOUND_DROP_OLDEST,
    .foreign = true,
    .unmuted = true,
    .sure = MESH_NODE,
};
