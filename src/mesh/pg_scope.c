/* pg_scope: groups, and who is in them; see pg_scope.h.
 *
 * Invariants: (1) a group has at least one membership, an owner of this node likewise; a peer may have none. (2) `times` of a membership
 * is at least 1 but while a sync is read. (3) bytes, here_bytes and here_times are the sums over the memberships. (4) an owner of another
 * node is in the list of that node, which is connected. */
#include "mesh/pg_scope.h"

#include "base/mem.h"
#include "proto/etf/term.h"

struct mesh_pg_group {
    hmap_node node; /* by name */
    uint64_t no;    /* unique */
    list here, there;
    list in_scope;            /* in groups_here, while it has members here */
    uint64_t n_here, n_there; /* each as often as it was joined */
    uint32_t len;
    uint8_t name[];
};

typedef struct membership {
    hmap_node node; /* by all three */
    list in_group, in_owner;
    mesh_pg_group *group;
    mesh_pg_owner *owner;
    rt_pid pid;
    uint32_t times;
    uint32_t fresh; /* as often in the sync that is being read */
} membership;

/* What a membership takes, with a group of its own: most groups of a peer are shared with others, but they need not be. */
static size_t cost(const mesh_pg_group *g) { return sizeof(membership) + 4 * sizeof(void *) + sizeof *g + g->len; }
/* What it takes in a sync: the pid, and the group, its tuple and its list once again, though they are there once. */
static size_t wire(const mesh_pg_scope *s, const mesh_pg_group *g) { return s->self.node.len + 32 + g->len + 16; }

/* --- life ------------------------------------------------------------------------------------------------------------------------- */
void mesh_pg_scope_init(mesh_pg_scope *s, const hash_key *key, const etf_pid *self) {
    *s = (mesh_pg_scope){
        .key = *key, .self = *self, .peer_max = MESH_PG_PEER_BYTES, .bytes_max = MESH_PG_SCOPE_BYTES, .here_max = MESH_PG_HERE_BYTES};
    hmap_init(&s->groups);
    hmap_init(&s->memberships);
    hmap_init(&s->owners);
    hmap_init(&s->nodes);
    list_init(&s->all_nodes);
    list_init(&s->groups_here);
}

void mesh_pg_scope_fini(mesh_pg_scope *s) {
    for (list *n; (n = list_first(&s->all_nodes));) mesh_pg_scope_node_down(s, container_of(n, mesh_pg_node, in_scope));
    for (hmap_node *n; (n = hmap_first(&s->owners));) mesh_pg_scope_forget(s, container_of(n, mesh_pg_owner, node));
    (void)check(s->groups.count == 0 && s->memberships.count == 0 && s->bytes == 0 && s->here_bytes == 0);
    hmap_fini(&s->groups);
    hmap_fini(&s->memberships);
    hmap_fini(&s->owners);
    hmap_fini(&s->nodes);
}

/* --- names of groups -------------------------------------------------------------------------------------------------------------- */
/* Pairs of maps come in the order that their sender has them in; all else is as it is. */
static bool has_map(slice term) {
    etf_reader r = etf_reader_of(term);
    etf_item it;
    while (etf_next(&r, &it))
        if (it.kind == ETF_MAP) return true;
    return false;
}

err mesh_pg_scope_name(slice term, buf *made, slice *out) {
    etf_reader r = etf_reader_of(term), again = r;
    if (!etf_skip(&r, NULL) || cursor_left(&r.in)) return ERR_INVALID;
    if (term.len > MESH_PG_GROUP_MAX) return ERR_LIMIT;
    if (!has_map(term)) {
        *out = term;
        return ERR_OK;
    }
    arena a;
    const etf_term *t;
    arena_init(&a, (size_t)MESH_PG_GROUP_MAX * ETF_TERM_COST);
    err e = etf_term_read(&again, &a, &t);
    if (!e) {
        buf_reset(made);
        etf_term_write(t, made);
        *out = buf_slice(made);
        e = buf_ok(made) ? ERR_OK : ERR_LIMIT;
    }
    arena_fini(&a);
    return e;
}

/* --- groups ----------------------------------------------------------------------------------------------------------------------- */
static mesh_pg_group *group_find(const mesh_pg_scope *s, slice name, uint64_t hash) {
    for (hmap_node *n = hmap_find(&s->groups, hash); n; n = hmap_find_next(n)) {
        mesh_pg_group *g = container_of(n, mesh_pg_group, node);
        if (slice_eq(slice_of(g->name, g->len), name)) return g;
    }
    return NULL;
}

static mesh_pg_group *group_of(mesh_pg_scope *s, slice name) {
    uint64_t hash = hash_bytes(&s->key, name);
    mesh_pg_group *g = group_find(s, name, hash);
    if (g) return g;
    g = mem_zalloc(sizeof *g + name.len);
    g->no = ++s->next_no;
    g->len = (uint32_t)name.len;
    memcpy(g->name, name.p, name.len);
    list_init(&g->here);
    list_init(&g->there);
    hmap_insert(&s->groups, &g->node, hash);
    return g;
}

static void group_settle(mesh_pg_scope *s, mesh_pg_group *g) {
    bool here = !list_empty(&g->here);
    if (here && !list_linked(&g->in_scope)) list_push_back(&s->groups_here, &g->in_scope);
    if (!here && list_linked(&g->in_scope)) list_remove(&g->in_scope);
    if (here || !list_empty(&g->there)) return;
    hmap_remove(&s->groups, &g->node);
    mem_free(g);
}

/* --- owners ----------------------------------------------------------------------------------------------------------------------- */
static uint64_t pid_hash(const mesh_pg_scope *s, rt_pid p) {
    uint32_t words[3] = {p.node, p.slot, p.gen};
    return hash_bytes(&s->key, slice_of(words, sizeof words));
}

mesh_pg_owner *mesh_pg_scope_owner(const mesh_pg_scope *s, rt_pid pid) {
    for (hmap_node *n = hmap_find(&s->owners, pid_hash(s, pid)); n; n = hmap_find_next(n)) {
        mesh_pg_owner *o = container_of(n, mesh_pg_owner, node);
        if (rt_pid_eq(o->pid, pid)) return o;
    }
    return NULL;
}

static mesh_pg_owner *owner_new(mesh_pg_scope *s, rt_pid pid) {
    mesh_pg_owner *o = mem_zalloc(sizeof *o);
    o->pid = pid;
    o->no = ++s->next_no;
    list_init(&o->members);
    hmap_insert(&s->owners, &o->node, pid_hash(s, pid));
    return o;
}

mesh_pg_owner *mesh_pg_scope_peer_new(mesh_pg_scope *s, mesh_pg_node *n, rt_pid pid) {
    if (!check(pid.node == n->index) || n->n_peers == MESH_PG_PEERS_MAX) return NULL;
    mesh_pg_owner *o = owner_new(s, pid);
    list_push_back(&n->peers, &o->in_node);
    n->n_peers++;
    return o;
}

void mesh_pg_scope_forget(mesh_pg_scope *s, mesh_pg_owner *o) {
    mesh_pg_scope_empty(s, o);
    mesh_pg_node *n = list_linked(&o->in_node) ? mesh_pg_scope_node(s, o->pid.node) : NULL;
    if (n) {
        list_remove(&o->in_node);
        n->n_peers--;
    }
    hmap_remove(&s->owners, &o->node);
    mem_free(o);
}

/* --- memberships ------------------------------------------------------------------------------------------------------------------ */
static uint64_t membership_hash(const mesh_pg_scope *s, const mesh_pg_group *g, const mesh_pg_owner *o, rt_pid pid) {
    uint64_t words[3] = {g->no, o->no, (uint64_t)pid.slot << 32 | pid.gen};
    return hash_bytes(&s->key, slice_of(words, sizeof words));
}

static membership *membership_find(const mesh_pg_scope *s, const mesh_pg_group *g, const mesh_pg_owner *o, rt_pid pid) {
    for (hmap_node *n = hmap_find(&s->memberships, membership_hash(s, g, o, pid)); n; n = hmap_find_next(n)) {
        membership *k = container_of(n, membership, node);
        if (k->group == g && k->owner == o && rt_pid_eq(k->pid, pid)) return k;
    }
    return NULL;
}

/* Its times change by so many, up or down. */
static void times_change(mesh_pg_scope *s, membership *k, uint32_t to) {
    uint64_t more = (uint64_t)to - k->times; /* or less: modulo 2^64, as all of these sums */
    k->times = to;
    k->owner->times += more;
    if (k->pid.node == 0) {
        k->group->n_here += more;
        s->here_times += more;
        s->here_bytes += (size_t)more * wire(s, k->group);
    } else {
        k->group->n_there += more;
    }
}

static membership *membership_new(mesh_pg_scope *s, mesh_pg_group *g, mesh_pg_owner *o, rt_pid pid) {
    membership *k = mem_zalloc(sizeof *k);
    k->group = g;
    k->owner = o;
    k->pid = pid;
    list_push_back(pid.node == 0 ? &g->here : &g->there, &k->in_group);
    list_push_back(&o->members, &k->in_owner);
    hmap_insert(&s->memberships, &k->node, membership_hash(s, g, o, pid));
    o->bytes += cost(g);
    if (pid.node != 0) s->bytes += cost(g);
    group_settle(s, g);
    return k;
}

static void membership_free(mesh_pg_scope *s, membership *k) {
    mesh_pg_group *g = k->group;
    times_change(s, k, 0);
    k->owner->bytes -= cost(g);
    if (k->pid.node != 0) s->bytes -= cost(g);
    hmap_remove(&s->memberships, &k->node);
    list_remove(&k->in_group);
    list_remove(&k->in_owner);
    mem_free(k);
    group_settle(s, g);
}

err mesh_pg_scope_add(mesh_pg_scope *s, mesh_pg_owner *o, slice name, rt_pid pid, bool fresh, size_t most) {
    mesh_pg_group *g = group_of(s, name);
    membership *k = membership_find(s, g, o, pid);
    bool more = !k && (o->bytes + cost(g) > most || (pid.node != 0 && s->bytes + cost(g) > s->bytes_max));
    bool full = k && (fresh ? k->fresh : k->times) == UINT32_MAX;
    if (more || full || (pid.node == 0 && s->here_bytes + wire(s, g) > s->here_max)) {
        group_settle(s, g);
        return ERR_LIMIT;
    }
    if (!k) k = membership_new(s, g, o, pid);
    if (fresh)
        k->fresh++;
    else
        times_change(s, k, k->times + 1);
    return ERR_OK;
}

bool mesh_pg_scope_remove(mesh_pg_scope *s, mesh_pg_owner *o, slice name, rt_pid pid) {
    mesh_pg_group *g = group_find(s, name, hash_bytes(&s->key, name));
    membership *k = g ? membership_find(s, g, o, pid) : NULL;
    if (!k) return false;
    if (k->times > 1)
        times_change(s, k, k->times - 1);
    else
        membership_free(s, k);
    return true;
}

void mesh_pg_scope_only_fresh(mesh_pg_scope *s, mesh_pg_owner *o) {
    for (list *n = list_first(&o->members), *next; n; n = next) {
        membership *k = container_of(n, membership, in_owner);
        next = list_next(&o->members, n);
        uint32_t fresh = k->fresh;
        k->fresh = 0;
        if (fresh)
            times_change(s, k, fresh);
        else
            membership_free(s, k);
    }
}

void mesh_pg_scope_empty(mesh_pg_scope *s, mesh_pg_owner *o) {
    for (list *n; (n = list_first(&o->members));) membership_free(s, container_of(n, membership, in_owner));
    (void)check(o->bytes == 0 && o->times == 0);
}

/* --- other nodes ------------------------------------------------------------------------------------------------------------------ */
mesh_pg_node *mesh_pg_scope_node(const mesh_pg_scope *s, uint32_t index) {
    for (hmap_node *n = hmap_find(&s->nodes, hash_u64(index)); n; n = hmap_find_next(n)) {
        mesh_pg_node *k = container_of(n, mesh_pg_node, node);
        if (k->index == index) return k;
    }
    return NULL;
}

mesh_pg_node *mesh_pg_scope_node_up(mesh_pg_scope *s, uint32_t index, uint32_t creation, rt_pid link, slice name) {
    (void)check(index != 0 && !mesh_pg_scope_node(s, index));
    mesh_pg_node *n = mem_zalloc(sizeof *n + name.len);
    n->index = index;
    n->creation = creation;
    n->link = link;
    n->name_len = (uint32_t)name.len;
    memcpy(n->name, name.p, name.len);
    list_init(&n->peers);
    list_push_back(&s->all_nodes, &n->in_scope);
    hmap_insert(&s->nodes, &n->node, hash_u64(index));
    return n;
}

void mesh_pg_scope_node_down(mesh_pg_scope *s, mesh_pg_node *n) {
    for (list *p; (p = list_first(&n->peers));) mesh_pg_scope_forget(s, container_of(p, mesh_pg_owner, in_node));
    list_remove(&n->in_scope);
    hmap_remove(&s->nodes, &n->node);
    mem_free(n);
}

/* --- processes of this node ------------------------------------------------------------------------------------------------------- */
err mesh_pg_scope_join(mesh_pg_scope *s, slice group, rt_pid pid, mesh_pg_owner **out, bool *out_new) {
    buf made;
    slice name;
    buf_init(&made, MESH_PG_GROUP_MAX);
    err e = pid.node == 0 && rt_pid_ok(pid) ? mesh_pg_scope_name(group, &made, &name) : ERR_INVALID;
    if (!e) {
        mesh_pg_owner *o = mesh_pg_scope_owner(s, pid);
        bool is_new = !o;
        if (is_new) o = owner_new(s, pid);
        e = mesh_pg_scope_add(s, o, name, pid, false, SIZE_MAX);
        if (!e) *out = o, *out_new = is_new;
        if (e && is_new) mesh_pg_scope_forget(s, o);
    }
    buf_fini(&made);
    return e;
}

err mesh_pg_scope_leave(mesh_pg_scope *s, slice group, rt_pid pid, uint64_t *out_last) {
    buf made;
    slice name;
    buf_init(&made, MESH_PG_GROUP_MAX);
    mesh_pg_owner *o = pid.node == 0 ? mesh_pg_scope_owner(s, pid) : NULL;
    err e = mesh_pg_scope_name(group, &made, &name);
    if (!e && (!o || !mesh_pg_scope_remove(s, o, name, pid))) e = ERR_NOT_FOUND;
    buf_fini(&made);
    if (e) return e;
    *out_last = o->times ? 0 : o->watch;
    if (o->times == 0) mesh_pg_scope_forget(s, o);
    return ERR_OK;
}

/* --- what peers are told ---------------------------------------------------------------------------------------------------------- */
static void put_pid(const mesh_pg_scope *s, rt_pid pid, buf *out) {
    etf_pid p = s->self;
    p.id = pid.slot;
    p.serial = pid.gen;
    etf_put_pid(out, &p);
}

static void put_head(const mesh_pg_scope *s, const char *what, uint32_t n, buf *out) {
    etf_put_tuple(out, n);
    etf_put_atom(out, slice_str(what));
    etf_put_pid(out, &s->self);
}

/* The name as it is kept: what was joined with one order of a map is left with the same. */
static void put_group(slice group, buf *out) {
    buf made;
    slice name = group;
    buf_init(&made, MESH_PG_GROUP_MAX);
    (void)check(mesh_pg_scope_name(group, &made, &name) == ERR_OK); /* it has been joined, or left */
    buf_add(out, name);
    buf_fini(&made);
}

void mesh_pg_scope_put_discover(const mesh_pg_scope *s, buf *out) {
    etf_put_version(out);
    put_head(s, "discover", 2, out);
}

void mesh_pg_scope_put_join(const mesh_pg_scope *s, slice group, rt_pid pid, buf *out) {
    etf_put_version(out);
    put_head(s, "join", 4, out);
    put_group(group, out);
    put_pid(s, pid, out);
}

void mesh_pg_scope_put_leave(const mesh_pg_scope *s, slice group, rt_pid pid, buf *out) {
    etf_put_version(out);
    put_head(s, "leave", 4, out);
    put_pid(s, pid, out);
    etf_put_list(out, 1);
    put_group(group, out);
    etf_put_nil(out);
}

void mesh_pg_scope_put_gone(const mesh_pg_scope *s, const mesh_pg_owner *o, buf *out) {
    etf_put_version(out);
    put_head(s, "leave", 4, out);
    put_pid(s, o->pid, out);
    etf_put_list(out, (uint32_t)o->times); /* here_max is less than 2^32 of them */
    for (list *n = list_first(&o->members); n; n = list_next(&o->members, n)) {
        const membership *k = container_of(n, membership, in_owner);
        for (uint32_t i = 0; i < k->times; i++) buf_add(out, slice_of(k->group->name, k->group->len));
    }
    etf_put_nil(out);
}

static void put_members(const mesh_pg_scope *s, const mesh_pg_group *g, buf *out) {
    etf_put_tuple(out, 2);
    buf_add(out, slice_of(g->name, g->len));
    etf_put_list(out, (uint32_t)g->n_here);
    for (list *n = list_first(&g->here); n; n = list_next(&g->here, n)) {
        const membership *k = container_of(n, membership, in_group);
        for (uint32_t i = 0; i < k->times; i++) put_pid(s, k->pid, out);
    }
    etf_put_nil(out);
}

void mesh_pg_scope_put_sync(const mesh_pg_scope *s, buf *out) {
    uint32_t groups = 0;
    for (list *n = list_first(&s->groups_here); n; n = list_next(&s->groups_here, n)) groups++;
    etf_put_version(out);
    etf_put_tuple(out, 2);
    etf_put_atom(out, SLICE("$gen_cast"));
    put_head(s, "sync", 3, out);
    if (groups) etf_put_list(out, groups);
    for (list *n = list_first(&s->groups_here); n; n = list_next(&s->groups_here, n))
        put_members(s, container_of(n, mesh_pg_group, in_scope), out);
    etf_put_nil(out);
}

/* --- looking ---------------------------------------------------------------------------------------------------------------------- */
static size_t put_rows(const list *of, size_t max, buf *out) {
    size_t rows = 0;
    for (list *n = list_first(of); n && rows < max; n = list_next(of, n), rows++) {
        const membership *k = container_of(n, membership, in_group);
        mesh_pg_member row = {k->pid, k->times};
        buf_add(out, slice_of(&row, sizeof row));
    }
    return rows;
}

void mesh_pg_scope_members(mesh_pg_scope *s, slice group, size_t max, buf *out) {
    buf made;
    slice name;
    buf_init(&made, MESH_PG_GROUP_MAX);
    const mesh_pg_group *g = mesh_pg_scope_name(group, &made, &name) == ERR_OK ? group_find(s, name, hash_bytes(&s->key, name)) : NULL;
    size_t rows = g ? put_rows(&g->here, max, out) : 0;
    if (g) (void)put_rows(&g->there, max - rows, out); /* all that there is room for */
    buf_fini(&made);
}

static void put_share(uint32_t index, uint64_t times, slice name, buf *out) {
    buf_add_u32le(out, index);
    buf_add_u64le(out, times);
    buf_add_lslice(out, name);
}

void mesh_pg_scope_shares(const mesh_pg_scope *s, size_t max, buf *out) {
    if (max == 0) return;
    put_share(0, s->here_times, s->self.node, out);
    size_t rows = 1;
    for (list *n = list_first(&s->all_nodes); n && rows < max; n = list_next(&s->all_nodes, n)) {
        const mesh_pg_node *node = container_of(n, mesh_pg_node, in_scope);
        uint64_t times = 0;
        if (node->n_peers == 0) continue; /* it has no such scope */
        for (list *p = list_first(&node->peers); p; p = list_next(&node->peers, p)) times += container_of(p, mesh_pg_owner, in_node)->times;
        put_share(node->index, times, slice_of(node->name, node->name_len), out);
        rows++;
    }
}

void mesh_pg_scope_groups(const mesh_pg_scope *s, size_t max, buf *out) {
    size_t rows = 0;
    for (hmap_node *n = hmap_first(&s->groups); n && rows < max; n = hmap_next(&s->groups, n), rows++) {
        const mesh_pg_group *g = container_of(n, mesh_pg_group, node);
        buf_add_u64le(out, g->n_here);
        buf_add_u64le(out, g->n_there);
        buf_add_lslice(out, slice_of(g->name, g->len));
    }
}
