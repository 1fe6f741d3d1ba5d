/* dial: keeps this node connected to the nodes that are wanted (node.seeds, and what an operator adds), and reaches those that somebody has
 * something to say to (MESH_WANT_REACH): one actor, which has no socket: it decides when, an acceptor's shard does it (link_dial.c).
 *
 *        +-----------------------------------------------------------------------+
 *        v                                                                       | lost: at once, with jitter
 *     WAITING --timer--> READY --drawn at random, paced--> DIALLING --> UP ------+
 *        ^                 |                                  |         ^
 *        |                 +---- connected meanwhile ---------|---------+
 *        +---- failed: exponential back-off with jitter ------+
 *
 * Who dials. Where both sides want each other, the one with the greater name does; the other one begins only when there has been no
 * connection for MESH_DIAL_PATIENCE, in case it is not wanted there. If both dial all the same, the table of peers decides (peers.c).
 *
 * How fast. Thousands of nodes that start together want each other at once. Whoever is READY is drawn at random, so that not all dial the
 * same one first; a token bucket gives dial_rate attempts a second, and dials_max are under way at a time.
 *
 * Whether a node is connected says the table of peers alone, when it is asked; its link is then monitored. So an accepted connection counts
 * as one that was dialled, and no message about it can be missed.
 *
 * A node that is to be reached is dialled once: who waits is told when it is connected or the attempt has failed, and then it is forgotten,
 * but for HOLD after an attempt that failed, in which nobody tries again. One that is wanted too is not left to its back-off for it.
 *
 * Invariants: (1) under_way counts the nodes that are DIALLING. (2) A node is in ready[] exactly while it is READY; its timer is armed
 * while it is WAITING or DIALLING; it has a monitor only while it is DIALLING or UP. (3) The table of wanted nodes has an entry for each:
 * it outlives this actor, whose successor begins with it. Those that are only to be reached are not in it. */
#include "mesh/dial.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "rt/event.h"

#include <stdio.h>

#define BURST       (20 * USEC_PER_MSEC) /* what the bucket holds, as time: more than the wheel's resolution */
#define MARGIN      USEC_PER_SEC         /* in which an attempt that is over has told so */
#define AGAIN       (USEC_PER_SEC / 2)   /* after a lost connection: at most */
#define SPREAD      USEC_PER_SEC         /* of those who wait to be dialled first */
#define SAY_SOON    (10 * USEC_PER_SEC)  /* another reason is said after this */
#define SAY_LATER   (600 * USEC_PER_SEC) /* and the same one */
#define RELIST_USEC (2 * USEC_PER_SEC)   /* the main thread waits so long */
#define STEPS_MAX   16u                  /* doublings; far beyond MESH_DIAL_LAST */
#define HOLD        USEC_PER_SEC         /* after an attempt to reach a node that failed */

typedef struct waiter { /* for the node to be reached */
    rt_pid who;
    uint64_t ticket;
} waiter;
typedef struct wanted {
    hmap_node by_name, by_ref;
    mesh_want *row; /* as in the table */
    unsigned step;  /* of the back-off */
    usec up_at, said_at;
    uint64_t ticket;
    rt_pid link;  /* RT_PID_NONE: not known (yet) */
    uint64_t ref; /* of its monitor */
    size_t place; /* READY: in ready[] */
    rt_timer timer;
    bool said; /* row.why was, at said_at */
    bool kept; /* it is in the list that is being taken */
    bool once; /* it is to be reached, and not kept connected */
    bool held; /* an attempt has failed at failed_at, and none was made since */
    usec failed_at;
    waiter *waiters;
    size_t n_waiters, waiters_max;
    uint8_t name_len;
    uint8_t name[];
} wanted;

typedef struct dialler {
    mesh *m;
    hmap by_name, by_ref; /* wanted; by_ref: those with a monitor */
    wanted **ready;
    size_t n_ready, ready_max;
    size_t n_once; /* of by_name: those that are only to be reached */
    uint32_t under_way;
    usec next_at; /* of the bucket: when the next attempt may begin */
    uint64_t next_ticket;
    unsigned next_shard;
    rt_timer pace;
} dialler;

static usec jitter(rt_ctx *cx, usec max) { return (usec)(rt_random(cx) % (uint64_t)max); }

static slice name_of(const wanted *w) { return slice_of(w->name, w->name_len); }
static uint64_t name_hash(const dialler *d, slice name) { return hash_bytes(rt_node_hash_key(d->m->node), name); }

static wanted *find(const dialler *d, slice name) {
    for (hmap_node *n = hmap_find(&d->by_name, name_hash(d, name)); n; n = hmap_find_next(n)) {
        wanted *w = container_of(n, wanted, by_name);
        if (slice_eq(name_of(w), name)) return w;
    }
    return NULL;
}

static wanted *find_ref(const dialler *d, uint64_t ref) {
    for (hmap_node *n = hmap_find(&d->by_ref, hash_u64(ref)); n; n = hmap_find_next(n)) {
        wanted *w = container_of(n, wanted, by_ref);
        if (w->ref == ref) return w;
    }
    return NULL;
}

/* --- what is known of a node ------------------------------------------------------------------------------------------------------- */
static slice row_of(const mesh_want *r) { return slice_of(r, sizeof *r + r->seed_len + r->why_len); }
const mesh_want *mesh_want_of(slice value) { return (const mesh_want *)(const void *)value.p; /* values are aligned (rt/table.h) */ }

/* A copy with these texts: as long as they are, because in a cluster of thousands of nodes there are millions of rows. */
static mesh_want *row_with(const mesh_want *of, slice seed, slice why) {
    mesh_want *r = mem_alloc(sizeof *r + seed.len + why.len);
    *r = *of;
    r->seed_len = (uint16_t)seed.len;
    r->why_len = (uint16_t)why.len;
    memcpy(r->text, seed.p, seed.len);
    if (why.len) memcpy(r->text + seed.len, why.p, why.len);
    return r;
}

static void set_text(wanted *w, slice seed, slice why) {
    mesh_want *r = row_with(w->row, seed, why);
    mem_free(w->row);
    w->row = r;
}

static err publish(rt_ctx *cx, const dialler *d, const wanted *w) {
    return rt_table_insert(rt_epoch_reader(cx), d->m->wanted, name_of(w), row_of(w->row));
}

static void enter(rt_ctx *cx, dialler *d, wanted *w, mesh_want_state s) {
    w->row->state = (uint8_t)s;
    if (!w->once) (void)publish(cx, d, w); /* without room for it whoever looks sees what was */
}

static void set_why(wanted *w, slice why) {
    set_text(w, mesh_want_seed(w->row), slice_sub(why, 0, why.len < MESH_WHY_MAX ? why.len : MESH_WHY_MAX));
}

static void watch(rt_ctx *cx, dialler *d, wanted *w, rt_pid link) {
    w->link = link;
    w->ref = rt_monitor(cx, link);
    hmap_insert(&d->by_ref, &w->by_ref, hash_u64(w->ref));
}

/* Forgets its link, dead or alive. */
static void unwatch(rt_ctx *cx, dialler *d, wanted *w) {
    if (!rt_pid_ok(w->link)) return;
    rt_demonitor(cx, w->ref);
    hmap_remove(&d->by_ref, &w->by_ref);
    w->link = RT_PID_NONE;
}

/* --- when ------------------------------------------------------------------------------------------------------------------------- */
static void get_ready(rt_ctx *cx, dialler *d, wanted *w) {
    if (d->n_ready == d->ready_max) {
        d->ready_max = d->ready_max ? 2 * d->ready_max : 16;
        d->ready = mem_realloc(d->ready, d->ready_max * sizeof d->ready[0]);
    }
    w->place = d->n_ready;
    d->ready[d->n_ready++] = w;
    enter(cx, d, w, MESH_WANT_READY);
}

static void leave_ready(dialler *d, const wanted *w) {
    wanted *last = d->ready[--d->n_ready];
    last->place = w->place;
    d->ready[w->place] = last;
}

static void wait_for(rt_ctx *cx, dialler *d, wanted *w, usec delay) {
    rt_timer_set(cx, &w->timer, rt_now(cx) + delay);
    enter(cx, d, w, MESH_WANT_WAITING);
}

/* Is it the other side that should dial? */
static bool yields(const dialler *d, const wanted *w) { return dist_name_cmp(d->m->cfg.name, name_of(w)) < 0; }

/* How long it is given for that. */
static usec patience(rt_ctx *cx, const dialler *d, const wanted *w) { return yields(d, w) ? MESH_DIAL_PATIENCE + jitter(cx, SPREAD) : 0; }

/* While a large cluster starts, most attempts to reach those who should dial themselves are in vain, and would cost as much as all others.
 */
static usec back_off(rt_ctx *cx, const dialler *d, wanted *w) {
    usec most = usec_min((yields(d, w) ? MESH_DIAL_YIELDING : MESH_DIAL_FIRST) << w->step, MESH_DIAL_LAST);
    if (w->step < STEPS_MAX) w->step++;
    return most / 2 + jitter(cx, most / 2);
}

/* --- who waits for it -------------------------------------------------------------------------------------------------------------- */
static void reply(rt_ctx *cx, rt_pid to, uint64_t ticket, err status, slice text) {
    rt_msg *m = rt_msg_new(cx, MESH_WANTED, sizeof(mesh_wanted_msg));
    *mesh_wanted_msg_of(m) = (mesh_wanted_msg){.ticket = ticket, .status = status, .text = rt_blob_new(text)};
    rt_send(cx, to, &m);
}

static void settle(rt_ctx *cx, wanted *w, err status, slice text) {
    for (size_t i = 0; i < w->n_waiters; i++) reply(cx, w->waiters[i].who, w->waiters[i].ticket, status, text);
    w->n_waiters = w->waiters_max = 0;
    mem_free(w->waiters);
    w->waiters = NULL;
}

/* As it was before it was added; what was about to happen to it does not. */
static void stop(rt_ctx *cx, dialler *d, wanted *w) {
    rt_timer_cancel(cx, &w->timer);
    if (w->row->state == MESH_WANT_READY) leave_ready(d, w);
    if (w->row->state == MESH_WANT_DIALLING) d->under_way--;
    unwatch(cx, d, w);
}

static void forget(rt_ctx *cx, dialler *d, wanted *w) {
    stop(cx, d, w);
    hmap_remove(&d->by_name, &w->by_name);
    if (w->once) d->n_once--;
    settle(cx, w, ERR_NOCONN, SLICE("it is not to be connected any more"));
    mem_free(w->row);
    mem_free(w);
}

/* Is it connected, however that came? Then nothing is left to do, and one that was only to be reached is gone. */
static bool is_up(rt_ctx *cx, dialler *d, wanted *w) {
    rt_pid link = mesh_peers_holder(d->m, cx, name_of(w));
    if (!rt_pid_ok(link)) return false;
    watch(cx, d, w, link);
    if (w->row->state != MESH_WANT_UP) w->up_at = rt_now(cx);
    w->row->attempts = 0;
    if (w->row->why_len) set_why(w, SLICE_NULL);
    enter(cx, d, w, MESH_WANT_UP);
    if (!rt_pid_eq(link, mesh_peers_of(d->m, cx, name_of(w)))) return true; /* its loss is still being told */
    settle(cx, w, ERR_OK, name_of(w));
    if (w->once) forget(cx, d, w);
    return true;
}

/* --- an attempt ------------------------------------------------------------------------------------------------------------------- */
static void say(rt_ctx *cx, wanted *w, bool other) {
    usec since = rt_now(cx) - w->said_at;
    if (w->said && since < (other ? SAY_SOON : SAY_LATER)) return;
    char text[DIST_NAME_MAX + MESH_WHY_MAX + 4];
    (void)snprintf(text, sizeof text, SLICE_FMT ": " SLICE_FMT, SLICE_ARG(name_of(w)), SLICE_ARG(mesh_want_why(w->row)));
    rt_event_text(cx, EV_MESH_UNREACHED, w->row->attempts, 0, slice_str(text));
    w->said = true;
    w->said_at = rt_now(cx);
}

static void over(rt_ctx *cx, dialler *d, wanted *w) {
    rt_timer_cancel(cx, &w->timer);
    unwatch(cx, d, w);
    d->under_way--;
}

static void failed(rt_ctx *cx, dialler *d, wanted *w, slice why) {
    bool other = !slice_eq(why, mesh_want_why(w->row));
    over(cx, d, w);
    if (is_up(cx, d, w)) return;
    set_why(w, why);
    w->row->attempts++;
    w->held = true;
    w->failed_at = rt_now(cx);
    settle(cx, w, ERR_NOCONN, why);
    if (!w->once) say(cx, w, other);
    wait_for(cx, d, w, w->once ? HOLD : back_off(cx, d, w));
}

static void start(rt_ctx *cx, dialler *d, wanted *w) {
    char acceptor[MESH_ACCEPTOR_NAME_MAX];
    mesh_acceptor_name(d->next_shard++ % rt_node_shards(d->m->node), acceptor);
    rt_pid to = rt_name_find(cx, acceptor);
    d->under_way++;
    w->ticket = ++d->next_ticket;
    w->held = false;
    rt_timer_set(cx, &w->timer, rt_now(cx) + d->m->cfg.setup_time + MARGIN);
    enter(cx, d, w, MESH_WANT_DIALLING);
    if (mesh_has_left(d->m)) {
        failed(cx, d, w, SLICE("this node has left the cluster"));
        return;
    }
    if (!rt_pid_ok(to)) {
        failed(cx, d, w, SLICE("nothing dials on that shard at the moment"));
        return;
    }
    rt_msg *m = rt_msg_new(cx, MESH_DIAL, sizeof(mesh_dial_msg));
    *mesh_dial_msg_of(m) = (mesh_dial_msg){.seed = rt_blob_new(mesh_want_seed(w->row)), .ticket = w->ticket};
    rt_send(cx, to, &m);
}

/* Begins as many attempts as may begin now. */
static void pump(rt_ctx *cx, dialler *d) {
    while (d->n_ready > 0 && d->under_way < d->m->cfg.dials_max) {
        usec now = rt_now(cx);
        if (now < d->next_at) {
            rt_timer_set(cx, &d->pace, d->next_at);
            return;
        }
        wanted *w = d->ready[rt_random(cx) % d->n_ready];
        leave_ready(d, w);
        if (is_up(cx, d, w)) continue;
        d->next_at = usec_max(d->next_at, now - BURST) + USEC_PER_SEC / (usec)d->m->cfg.dial_rate;
        start(cx, d, w);
    }
}

static void lost(rt_ctx *cx, dialler *d, wanted *w) {
    unwatch(cx, d, w);
    if (is_up(cx, d, w)) return; /* another connection has taken its place */
    bool steady = rt_now(cx) - w->up_at >= MESH_DIAL_STEADY;
    if (steady) w->step = 0;
    set_why(w, SLICE("the connection was lost"));
    w->said = false;
    if (w->n_waiters) {
        get_ready(cx, d, w);
        return;
    }
    wait_for(cx, d, w, patience(cx, d, w) + (steady ? jitter(cx, AGAIN) : back_off(cx, d, w)));
}

/* --- what is heard ---------------------------------------------------------------------------------------------------------------- */
static void on_dialled(rt_ctx *cx, dialler *d, const mesh_dialled_msg *m, rt_pid sender) {
    wanted *w = find(d, rt_blob_slice(m->name));
    mesh_dialled what = (mesh_dialled)m->what;
    if (!w || w->row->state != MESH_WANT_DIALLING || w->ticket != m->ticket) { /* it is not wanted any more */
        if (what == MESH_DIALLED_BEGUN) rt_exit(cx, sender, ERR_KILLED);
        return;
    }
    switch (what) {
    case MESH_DIALLED_BEGUN: watch(cx, d, w, sender); return;
    case MESH_DIALLED_UP:
        over(cx, d, w);
        if (!is_up(cx, d, w)) lost(cx, d, w); /* already gone again */
        return;
    case MESH_DIALLED_YIELDED:
        over(cx, d, w);
        if (!is_up(cx, d, w)) wait_for(cx, d, w, w->n_waiters ? AGAIN : MESH_DIAL_PATIENCE + jitter(cx, SPREAD));
        return;
    case MESH_DIALLED_FAILED: failed(cx, d, w, rt_blob_slice(m->why)); return;
    }
}

static void on_down(rt_ctx *cx, dialler *d, const rt_down *m) {
    wanted *w = find_ref(d, m->ref);
    if (!w) return;
    if (w->row->state == MESH_WANT_UP)
        lost(cx, d, w);
    else
        failed(cx, d, w, slice_str(err_text(m->reason))); /* it had no time to say why */
}

/* --- wanted nodes ----------------------------------------------------------------------------------------------------------------- */
static void begin(rt_ctx *cx, dialler *d, wanted *w, bool at_once) {
    if (is_up(cx, d, w)) return;
    usec wait = at_once ? 0 : patience(cx, d, w);
    if (wait)
        wait_for(cx, d, w, wait);
    else
        get_ready(cx, d, w);
}

static void set_seed(wanted *w, slice text) { set_text(w, text, mesh_want_why(w->row)); }

static wanted *add(dialler *d, slice name, slice text) {
    wanted *w = mem_zalloc(sizeof *w + name.len);
    w->row = row_with(&(mesh_want){.state = MESH_WANT_WAITING}, text, SLICE_NULL);
    w->name_len = (uint8_t)name.len;
    memcpy(w->name, name.p, name.len);
    hmap_insert(&d->by_name, &w->by_name, name_hash(d, name_of(w)));
    return w;
}

/* From now on it is not only to be reached. */
static void keep(dialler *d, wanted *w) {
    if (w->once) d->n_once--;
    w->once = false;
}

static err want(rt_ctx *cx, dialler *d, slice text, buf *out) {
    mesh_seed s;
    char why[MESH_WHY_MAX];
    err e = mesh_seed_of(d->m, text, &s, why);
    if (e) {
        buf_add_str(out, why);
        return e;
    }
    wanted *w = find(d, mesh_seed_name(&s));
    if (!w && d->by_name.count - d->n_once >= MESH_SEEDS_MAX) e = ERR_LIMIT;
    bool fresh = !e && !w;
    if (fresh) w = add(d, mesh_seed_name(&s), text);
    if (!e && (fresh || w->once)) e = publish(cx, d, w);
    if (e) {
        buf_addf(out, "there are as many nodes to be connected as may be: %s", err_text(e));
        if (fresh) forget(cx, d, w);
        return e;
    }
    keep(d, w);
    buf_add(out, name_of(w));
    w->row->by |= MESH_BY_SETTING;
    (void)publish(cx, d, w); /* it is there already */
    if (w->row->state == MESH_WANT_UP || w->row->state == MESH_WANT_DIALLING) return ERR_OK;
    if (!fresh) stop(cx, d, w);
    set_seed(w, text);
    w->step = 0;
    begin(cx, d, w, true);
    return ERR_OK;
}

static err want_not(rt_ctx *cx, dialler *d, slice name, buf *out) {
    wanted *w = find(d, name);
    rt_pid up = mesh_peers_of(d->m, cx, name), attempt = w && w->row->state == MESH_WANT_DIALLING ? w->link : RT_PID_NONE;
    if (!w && !rt_pid_ok(up)) {
        char safe[200];
        (void)utf8_escape(name, safe, sizeof safe);
        buf_addf(out, "'%s' is neither connected nor to be connected", safe);
        return ERR_NOT_FOUND;
    }
    buf_add(out, name);
    if (w && w->once) {
        forget(cx, d, w);
    } else if (w) {
        (void)check(rt_table_delete(rt_epoch_reader(cx), d->m->wanted, name) == ERR_OK); /* as publish in want was */
        forget(cx, d, w);
    }
    if (rt_pid_ok(up)) rt_exit(cx, up, ERR_KILLED);
    if (rt_pid_ok(attempt)) rt_exit(cx, attempt, ERR_KILLED);
    return ERR_OK;
}

/* --- a list that replaces the one before -------------------------------------------------------------------------------------------- */
static slice next_line(slice *rest) {
    size_t end = slice_find(*rest, '\n');
    slice one = slice_sub(*rest, 0, end);
    *rest = slice_from(*rest, end + 1);
    return one;
}

/* Is all of it good, and is there room for it? Marks those that are there already. */
static err may_relist(dialler *d, uint32_t by, slice list, buf *out) {
    size_t alone = 0, kept = 0, n = 0;
    for (hmap_node *h = hmap_first(&d->by_name); h; h = hmap_next(&d->by_name, h)) {
        wanted *w = container_of(h, wanted, by_name);
        w->kept = false;
        alone += w->row->by == by;
    }
    while (list.len) {
        mesh_seed s;
        char why[MESH_WHY_MAX];
        err e = mesh_seed_of(d->m, next_line(&list), &s, why);
        if (e) {
            buf_add_str(out, why);
            return e;
        }
        wanted *w = find(d, mesh_seed_name(&s));
        n += !w || w->once;
        kept += w && w->row->by == by && !w->kept;
        if (w) w->kept = true;
    }
    if (d->by_name.count - d->n_once - (alone - kept) + n <= MESH_SEEDS_MAX) return ERR_OK;
    buf_add_str(out, "there are more nodes to be connected than may be");
    return ERR_LIMIT;
}

static void forget_rest(rt_ctx *cx, dialler *d, uint32_t by) {
    for (hmap_node *h = hmap_first(&d->by_name), *next; h; h = next) {
        wanted *w = container_of(h, wanted, by_name);
        next = hmap_next(&d->by_name, h);
        if (!(w->row->by & by) || w->kept) continue;
        w->row->by &= ~by;
        if (w->row->by) {
            (void)publish(cx, d, w); /* as in enter */
            continue;
        }
        rt_pid attempt = w->row->state == MESH_WANT_DIALLING ? w->link : RT_PID_NONE;
        (void)check(rt_table_delete(rt_epoch_reader(cx), d->m->wanted, name_of(w)) == ERR_OK);
        forget(cx, d, w);
        if (rt_pid_ok(attempt)) rt_exit(cx, attempt, ERR_KILLED);
    }
}

/* One that is there goes on with what it is about; if only this list has it, its port may be another one from the next attempt on. */
static err relist_one(rt_ctx *cx, dialler *d, uint32_t by, slice text) {
    mesh_seed s;
    char why[MESH_WHY_MAX];
    if (!check(mesh_seed_of(d->m, text, &s, why) == ERR_OK)) return ERR_BUG;
    wanted *w = find(d, mesh_seed_name(&s));
    bool fresh = !w;
    if (fresh) w = add(d, mesh_seed_name(&s), text);
    keep(d, w);
    w->row->by |= by;
    if (w->row->by == by) set_seed(w, text);
    err e = publish(cx, d, w);
    if (fresh && !e) begin(cx, d, w, false);
    if (fresh && e) forget(cx, d, w);
    return e;
}

static err relist(rt_ctx *cx, dialler *d, uint32_t by, slice list, buf *out) {
    err e = may_relist(d, by, list, out);
    if (e) return e;
    forget_rest(cx, d, by);
    while (list.len && !e) e = relist_one(cx, d, by, next_line(&list));
    if (e) buf_addf(out, "there is no room for all of it: %s", err_text(e));
    return e;
}

/* --- a node to be reached ----------------------------------------------------------------------------------------------------------- */
static void add_waiter(wanted *w, rt_pid who, uint64_t ticket) {
    void *arr = w->waiters;
    mem_grow(&arr, &w->waiters_max, w->n_waiters + 1, sizeof *w->waiters);
    w->waiters = arr;
    w->waiters[w->n_waiters++] = (waiter){who, ticket};
}

/* ERR_OK: it is connected, and its name is in out; ERR_AGAIN: who waits will be told; else why not is in out. */
static err reach(rt_ctx *cx, dialler *d, slice text, rt_pid who, uint64_t ticket, buf *out) {
    mesh_seed s;
    char why[MESH_WHY_MAX];
    err e = mesh_seed_of(d->m, text, &s, why);
    if (e) {
        buf_add_str(out, why);
        return e;
    }
    wanted *w = find(d, mesh_seed_name(&s));
    rt_pid up = mesh_peers_of(d->m, cx, mesh_seed_name(&s));
    if (rt_pid_ok(up) && rt_pid_eq(up, mesh_peers_holder(d->m, cx, mesh_seed_name(&s)))) {
        buf_add(out, mesh_seed_name(&s));
        return ERR_OK;
    }
    if (w && w->held && rt_now(cx) - w->failed_at < HOLD) {
        buf_add(out, mesh_want_why(w->row));
        return ERR_NOCONN;
    }
    if (w ? w->n_waiters >= MESH_REACH_MAX : d->n_once >= MESH_SEEDS_MAX) {
        buf_add_str(out, "as many wait to be connected as may");
        return ERR_LIMIT;
    }
    bool fresh = !w;
    if (fresh) {
        w = add(d, mesh_seed_name(&s), text);
        w->once = true;
        d->n_once++;
    }
    add_waiter(w, who, ticket);
    if (!fresh && w->row->state != MESH_WANT_WAITING) return ERR_AGAIN;
    if (!fresh) stop(cx, d, w);
    begin(cx, d, w, true);
    return ERR_AGAIN;
}

static void on_want(rt_ctx *cx, dialler *d, const mesh_want_msg *q, rt_pid sender) {
    buf text;
    err e = ERR_OK;
    buf_init(&text, 2 * MESH_WHY_MAX);
    slice what = rt_blob_slice(q->seed);
    switch ((mesh_want_op)q->op) {
    case MESH_WANT_CONNECT: e = want(cx, d, what, &text); break;
    case MESH_WANT_DISCONNECT: e = want_not(cx, d, what, &text); break;
    case MESH_WANT_LIST: e = relist(cx, d, q->by, what, &text); break;
    case MESH_WANT_REACH: e = reach(cx, d, what, sender, q->ticket, &text); break;
    }
    if (e != ERR_AGAIN) reply(cx, sender, q->ticket, e, buf_slice(&text));
    buf_fini(&text);
}

/* --- from outside ------------------------------------------------------------------------------------------------------------------- */
err mesh_relist(mesh *m, const slice *seeds, size_t n, char why[MESH_WHY_MAX]) {
    buf list;
    buf_init(&list, UINT32_MAX);
    for (size_t i = 0; i < n; i++) {
        buf_add(&list, seeds[i]);
        buf_add_byte(&list, '\n');
    }
    rt_pid to = rt_name_whereis(m->node, MESH_DIAL_NAME);
    rt_msg *q = rt_msg_new_ext(MESH_WANT, sizeof(mesh_want_msg)), *r = NULL;
    *mesh_want_msg_of(q) = (mesh_want_msg){.op = MESH_WANT_LIST, .by = MESH_BY_FILE, .seed = rt_blob_new(buf_slice(&list))};
    buf_fini(&list);
    err e = rt_call(m->node, to, &q, rt_verb_patience(m->node, to, RELIST_USEC), &r);
    if (e) {
        (void)snprintf(why, MESH_WHY_MAX, "%s does not answer: %s", MESH_DIAL_NAME, err_text(e));
        return e;
    }
    e = mesh_wanted_msg_of(r)->status;
    slice text = rt_blob_slice(mesh_wanted_msg_of(r)->text);
    (void)snprintf(why, MESH_WHY_MAX, SLICE_FMT, SLICE_ARG(text));
    rt_msg_drop(m->node, &r);
    return e;
}

/* --- the actor -------------------------------------------------------------------------------------------------------------------- */
err mesh_dial_table(mesh *m, rt_ctx *cx) {
    rt_table_cfg c = {.name = MESH_WANTED_NODES, .writers = RT_TABLE_ALL_WRITE};
    return rt_table_create(cx, &c, &m->wanted);
}

err mesh_dial_add(mesh *m, rt_ctx *cx, slice text, mesh_by by) {
    mesh_seed s;
    char why[MESH_WHY_MAX];
    err e = mesh_seed_of(m, text, &s, why);
    if (e) return e;
    mesh_want *row = row_with(&(mesh_want){.state = MESH_WANT_WAITING, .by = by}, text, SLICE_NULL);
    e = rt_table_insert(rt_epoch_reader(cx), m->wanted, mesh_seed_name(&s), row_of(row));
    mem_free(row);
    return e;
}

typedef struct filling {
    rt_ctx *cx;
    dialler *d;
} filling;
static bool fill(void *arg, slice key, slice value) {
    const filling *f = arg;
    const mesh_want *row = mesh_want_of(value);
    wanted *w = add(f->d, key, mesh_want_seed(row));
    w->row->by = row->by;
    begin(f->cx, f->d, w, false);
    return true;
}

static err dial_init(rt_ctx *cx, void *st, const void *arg) {
    dialler *d = st;
    *d = (dialler){.m = *(mesh *const *)arg};
    err e = rt_name_register(cx, MESH_DIAL_NAME);
    if (e) return e;
    hmap_init(&d->by_name);
    hmap_init(&d->by_ref);
    filling f = {cx, d};
    rt_table_at at = {0};
    while (!at.done && !e) e = rt_table_fold(rt_epoch_reader(cx), d->m->wanted, &at, 1024, fill, &f);
    (void)check(!e);
    d->next_at = rt_now(cx);
    pump(cx, d);
    return ERR_OK;
}

static err dial_handle(rt_ctx *cx, void *st, rt_msg **m) {
    dialler *d = st;
    switch ((*m)->tag) {
    case MESH_DIALLED: on_dialled(cx, d, mesh_dialled_msg_of(*m), (*m)->sender); break;
    case MESH_WANT: on_want(cx, d, mesh_want_msg_of(*m), (*m)->sender); break;
    case RT_DOWN: on_down(cx, d, rt_down_of(*m)); break;
    default: break; /* a MESH_DIAL that an acceptor refused: the timer sees to it */
    }
    pump(cx, d);
    return ERR_OK;
}

static err dial_timer(rt_ctx *cx, void *st, rt_timer *t) {
    dialler *d = st;
    if (t != &d->pace) {
        wanted *w = container_of(t, wanted, timer);
        if (w->row->state == MESH_WANT_DIALLING) {
            if (rt_pid_ok(w->link)) rt_exit(cx, w->link, ERR_KILLED);
            failed(cx, d, w, SLICE("nothing was heard of the attempt"));
        } else if (w->once && !w->n_waiters) {
            forget(cx, d, w);
        } else {
            get_ready(cx, d, w);
        }
    }
    pump(cx, d);
    return ERR_OK;
}

static void dial_fini(rt_ctx *cx, void *st, err reason) {
    dialler *d = st;
    (void)reason;
    for (hmap_node *n = hmap_first(&d->by_name), *next; n; n = next) {
        next = hmap_next(&d->by_name, n);
        forget(cx, d, container_of(n, wanted, by_name));
    }
    rt_timer_cancel(cx, &d->pace);
    hmap_fini(&d->by_name);
    hmap_fini(&d->by_ref);
    mem_free(d->ready);
}

const rt_class mesh_dial_class = {
    .name = "dial",
    .state_size = sizeof(dialler),
    .init = dial_init,
    .handle = dial_handle,
    .timer = dial_timer,
    .fini = dial_fini,
};
