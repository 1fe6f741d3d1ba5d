/* lanes: see lanes.h. Two maps, of lanes by pair and of senders, and the row of lanes that take turns. */
#include "mesh/lanes.h"

#include "base/mem.h"

typedef struct lane lane;
typedef struct sender {
    hmap_node node; /* in mesh_lanes.senders */
    rt_pid pid;
    uint32_t pairs; /* lanes but any */
    lane *any;      /* for names; NULL: none */
} sender;
struct lane {
    hmap_node node; /* in mesh_lanes.lanes; of the one for names: not */
    list row;
    sender *from;
    rt_pid to;
    mesh_item *first, *last;
};

void mesh_lanes_init(mesh_lanes *s) {
    *s = (mesh_lanes){0};
    hmap_init(&s->senders);
    hmap_init(&s->lanes);
    list_init(&s->row);
}

void mesh_lanes_fini(mesh_lanes *s) {
    (void)check(mesh_lanes_empty(s) && s->bytes == 0);
    hmap_fini(&s->senders);
    hmap_fini(&s->lanes);
}

static uint64_t pid_hash(rt_pid p) { return hash_u64((uint64_t)p.slot << 32 | p.gen); }
static uint64_t pair_hash(rt_pid from, rt_pid to) { return hash_u64(pid_hash(from) ^ ((uint64_t)to.slot << 32 | to.gen)); }

static sender *sender_of(const mesh_lanes *s, rt_pid pid) {
    for (hmap_node *n = hmap_find(&s->senders, pid_hash(pid)); n; n = hmap_find_next(n)) {
        sender *x = container_of(n, sender, node);
        if (rt_pid_eq(x->pid, pid)) return x;
    }
    return NULL;
}

static lane *lane_of(const mesh_lanes *s, rt_pid from, rt_pid to) {
    for (hmap_node *n = hmap_find(&s->lanes, pair_hash(from, to)); n; n = hmap_find_next(n)) {
        lane *l = container_of(n, lane, node);
        if (rt_pid_eq(l->from->pid, from) && rt_pid_eq(l->to, to)) return l;
    }
    return NULL;
}

bool mesh_lanes_wait(const mesh_lanes *s, rt_pid from, rt_pid to) {
    const sender *x = sender_of(s, from);
    return x && (x->any || !rt_pid_ok(to) || lane_of(s, from, to));
}

static sender *make_sender(mesh_lanes *s, rt_pid pid) {
    sender *x = mem_zalloc(sizeof *x);
    x->pid = pid;
    hmap_insert(&s->senders, &x->node, pid_hash(pid));
    return x;
}

static lane *make_lane(mesh_lanes *s, sender *x, rt_pid to) {
    lane *l = mem_zalloc(sizeof *l);
    l->from = x;
    l->to = to;
    if (rt_pid_ok(to)) {
        x->pairs++;
        hmap_insert(&s->lanes, &l->node, pair_hash(x->pid, to));
    } else {
        x->any = l;
    }
    if (rt_pid_ok(to) || x->pairs == 0) list_push_back(&s->row, &l->row);
    return l;
}

void mesh_lanes_put(mesh_lanes *s, rt_pid from, rt_pid to, mesh_item *i) {
    sender *x = sender_of(s, from);
    if (!x) x = make_sender(s, from);
    lane *l = x->any ? x->any : rt_pid_ok(to) ? lane_of(s, from, to) : NULL;
    if (!l) l = make_lane(s, x, to);
    i->next = NULL;
    if (l->last)
        l->last->next = i;
    else
        l->first = i;
    l->last = i;
    s->bytes += i->bytes;
}

static lane *front(const mesh_lanes *s) {
    list *n = list_first(&s->row);
    return n ? container_of(n, lane, row) : NULL;
}

mesh_item *mesh_lanes_first(const mesh_lanes *s) {
    const lane *l = front(s);
    return l ? l->first : NULL;
}

static void to_the_end(mesh_lanes *s, lane *l) {
    list_remove(&l->row);
    list_push_back(&s->row, &l->row);
}

void mesh_lanes_said(mesh_lanes *s, size_t n) {
    lane *l = front(s);
    if (!check(l && n <= l->first->bytes)) return;
    l->first->bytes -= n;
    s->bytes -= n;
    to_the_end(s, l);
}

/* It has no item any more. */
static void end_lane(mesh_lanes *s, lane *l) {
    sender *x = l->from;
    list_remove(&l->row);
    if (l == x->any) {
        x->any = NULL;
    } else {
        hmap_remove(&s->lanes, &l->node);
        if (--x->pairs == 0 && x->any) list_push_back(&s->row, &x->any->row);
    }
    mem_free(l);
    if (x->pairs || x->any) return;
    hmap_remove(&s->senders, &x->node);
    mem_free(x);
}

mesh_item *mesh_lanes_take(mesh_lanes *s) {
    lane *l = front(s);
    if (!l) return NULL;
    mesh_item *i = l->first;
    s->bytes -= i->bytes;
    l->first = i->next;
    if (l->first) {
        to_the_end(s, l);
    } else {
        l->last = NULL;
        end_lane(s, l);
    }
    return i;
}
