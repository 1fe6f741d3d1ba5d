/* peers: who has which name. The tables are shared (rt/table.h): a link looks up and changes an entry in one step, under the lock of
 * the name's stripe, wherever it runs; senders read without a lock.
 *
 *     name -> number, creation, link that is up, link that takes its place, link that dials it
 *     number -> link, creation, name                                            what a send to rt_pid.node needs
 *
 * Two nodes that dial each other at once have two connections, and both have to keep the same one: that of the node with the greater name
 * (proto/dist/handshake.h). An attempt of our own is therefore noted before its first byte goes out. admit answers by it; but whoever says
 * a name has proved nothing, so win, which is asked when the cookie is proved, decides by it again:
 *
 *     our name is the greater one:  what is accepted does not win while we dial; the other node takes what we dialled
 *     the peer's name is:           what is accepted wins, and our attempt ends; on the other side our attempt would not have won
 *
 * Invariants: (1) a name has at most one link that is up, where one whose loss is still being told counts, and at most one that dials it.
 * (2) A number means one life of one node for ever; a node that comes back with another creation gets another number. (3) An entry of a
 * name that has a number outlives its links, unless the name was made for one connection; only peers that have proved to know the cookie
 * give it one, so that what was dialled in vain leaves nothing. An entry by number is there while its node is connected. */
#include "base/mem.h"
#include "mesh/int.h"

err mesh_peers_init(mesh *m, rt_ctx *cx) {
    rt_table_cfg names = {.name = MESH_NAMES, .writers = RT_TABLE_ALL_WRITE}, nodes = {.name = MESH_NODES, .writers = RT_TABLE_ALL_WRITE};
    rt_table_cfg challenges = {.name = "mesh.challenges", .writers = RT_TABLE_ALL_WRITE};
    err e = rt_table_create(cx, &names, &m->names);
    if (!e) e = rt_table_create(cx, &nodes, &m->nodes);
    return e ? e : rt_table_create(cx, &challenges, &m->challenges);
}

static mesh_peer peer_of(slice old) {
    mesh_peer p = {0};
    if (old.p) memcpy(&p, old.p, sizeof p);
    return p;
}

/* Who has to be gone before another link of that name is up. */
static rt_pid holder(const mesh_peer *p) { return rt_pid_ok(p->loss) ? p->loss : p->up; }

/* --- admitting -------------------------------------------------------------------------------------------------------------------- */
typedef struct step {
    mesh *m;
    slice name;
    rt_pid me, old;
    mesh_peer p;   /* before and after */
    rt_pid beaten; /* the attempt of ours that is over by it */
    bool won, invented;
    bool ours; /* not won: our own attempt goes on */
    uint32_t creation;
} step;

static rt_table_verdict put(step *s, slice *value) {
    *value = slice_of(&s->p, sizeof s->p);
    return RT_TABLE_PUT;
}

/* A step that changes an entry, or removes it, but makes none: that is never refused, however little memory there is (rt/table.h). So no
 * name stays taken for want of memory. */
static bool change(step *s, rt_ctx *cx, slice name, rt_table_change *fn) {
    return check(rt_table_update(rt_epoch_reader(cx), s->m->names, name, fn, s) == ERR_OK);
}

static mesh_peer look(mesh *m, rt_ctx *cx, slice name) {
    slice v;
    return peer_of(rt_table_lookup(rt_epoch_reader(cx), m->names, name, &v) == ERR_OK ? v : SLICE_NULL);
}

/* Only looks: what whoever can connect says about its name must not keep the node of that name out. What is decided here may have changed
 * when the cookie is proved; take and win look again, each in one step. */
dist_verdict mesh_peers_admit(mesh *m, rt_ctx *cx, slice name, rt_pid *out_old) {
    mesh_peer p = look(m, cx, name);
    *out_old = holder(&p);
    dist_peer_view view = {.allowed = !mesh_has_left(m),
                           .attempt_pending = rt_pid_ok(p.attempt),
                           .connected = rt_pid_ok(p.up),
                           .takeover_pending = rt_pid_ok(p.takeover)};
    return dist_handshake_decide(m->cfg.name, name, view);
}

static rt_table_verdict take(void *arg, slice old, slice *value) {
    step *s = arg;
    s->p = peer_of(old);
    bool found = rt_pid_eq(s->p.up, s->old) || rt_pid_eq(holder(&s->p), s->old);
    s->won = !rt_pid_ok(s->p.takeover) && (!rt_pid_ok(s->p.up) || found);
    if (!s->won || !old.p) return RT_TABLE_KEEP; /* gone with its entry: then win decides */
    s->p.takeover = s->me;
    return put(s, value);
}

bool mesh_peers_take(mesh *m, rt_ctx *cx, slice name, rt_pid old) {
    step s = {.m = m, .me = rt_self(cx), .old = old};
    return change(&s, cx, name, take) && s.won;
}

/* --- dialling ---------------------------------------------------------------------------------------------------------------------- */
static rt_table_verdict attempt(void *arg, slice old, slice *value) {
    step *s = arg;
    s->p = peer_of(old);
    s->won = !rt_pid_ok(s->p.up) && !rt_pid_ok(s->p.takeover) && !rt_pid_ok(s->p.attempt);
    if (!s->won) return RT_TABLE_KEEP;
    s->p.attempt = s->me;
    return put(s, value);
}

err mesh_peers_dial(mesh *m, rt_ctx *cx, slice name) {
    step s = {.m = m, .me = rt_self(cx)};
    if (mesh_has_left(m)) return ERR_REFUSED;
    err e = rt_table_update(rt_epoch_reader(cx), m->names, name, attempt, &s);
    return e || s.won ? e : ERR_EXISTS;
}

rt_pid mesh_peers_of(mesh *m, rt_ctx *cx, slice name) { return look(m, cx, name).up; }

rt_pid mesh_peers_holder(mesh *m, rt_ctx *cx, slice name) {
    mesh_peer p = look(m, cx, name);
    return holder(&p);
}

bool mesh_peers_wanted(mesh *m, rt_ctx *cx, slice name) {
    mesh_peer p = look(m, cx, name);
    return rt_pid_eq(p.attempt, rt_self(cx)) && !rt_pid_ok(p.up);
}

/* --- up and down ------------------------------------------------------------------------------------------------------------------ */
static rt_table_verdict win(void *arg, slice old, slice *value) {
    step *s = arg;
    s->p = peer_of(old);
    bool other = rt_pid_ok(s->p.attempt) && !rt_pid_eq(s->p.attempt, s->me);
    s->ours = !rt_pid_ok(s->p.up) && other && dist_name_cmp(s->m->cfg.name, s->name) > 0;
    s->won = !rt_pid_ok(s->p.up) && !s->ours;
    if (!s->won) return RT_TABLE_KEEP;
    if (other) s->beaten = s->p.attempt;
    s->p.attempt = RT_PID_NONE;
    if (s->p.index == 0 || s->p.creation != s->creation)
        s->p.index = atomic_fetch_add_explicit(&s->m->next_index, 1, memory_order_relaxed) + 1; /* only unique */
    s->p.creation = s->creation;
    s->p.up = s->me;
    s->p.takeover = RT_PID_NONE;
    return put(s, value);
}

static rt_table_verdict lose(void *arg, slice old, slice *value) {
    step *s = arg;
    s->p = peer_of(old);
    s->won = rt_pid_eq(s->p.up, s->me);
    bool taking = rt_pid_eq(s->p.takeover, s->me), dialling = rt_pid_eq(s->p.attempt, s->me);
    if (s->won) s->p.up = s->p.loss = RT_PID_NONE;
    if (taking) s->p.takeover = RT_PID_NONE;
    if (dialling) s->p.attempt = RT_PID_NONE;
    bool nobody = !rt_pid_ok(s->p.up) && !rt_pid_ok(s->p.takeover) && !rt_pid_ok(s->p.attempt);
    if (nobody && (s->invented || s->p.index == 0)) return RT_TABLE_REMOVE;
    return s->won || taking || dialling ? put(s, value) : RT_TABLE_KEEP;
}

/* The entry by number of a link that is up. */
static err number(mesh *m, rt_ctx *cx, const mesh_peer *p, slice name, const mesh_node *with) {
    mesh_node n = *with;
    n.creation = p->creation;
    n.name_len = (uint8_t)name.len;
    memcpy(n.name, name.p, name.len);
    return rt_table_insert(rt_epoch_reader(cx), m->nodes, slice_of(&p->index, sizeof p->index),
                           slice_of(&n, offsetof(mesh_node, name) + name.len));
}

/* Not of another link: between the two tables the same node may have come back. */
static rt_table_verdict unlink_of(void *arg, slice old, slice *value) {
    rt_pid link = RT_PID_NONE;
    (void)value; /* it goes */
    if (old.p) memcpy(&link, old.p, sizeof link);
    return rt_pid_eq(link, *(const rt_pid *)arg) ? RT_TABLE_REMOVE : RT_TABLE_KEEP;
}

err mesh_peers_up(mesh *m, rt_ctx *cx, slice name, uint32_t creation, bool hidden, mesh_gauge *gauge, uint32_t *out_index) {
    step s = {.m = m, .name = name, .me = rt_self(cx), .creation = creation};
    if (mesh_has_left(m)) return ERR_REFUSED;
    err e = rt_table_update(rt_epoch_reader(cx), m->names, name, win, &s);
    if (e) return e;
    if (!s.won) return s.ours ? ERR_BUSY : ERR_EXISTS;
    if (rt_pid_ok(s.beaten)) rt_exit(cx, s.beaten, ERR_SHUTDOWN);
    e = number(m, cx, &s.p, name, &(mesh_node){.link = s.me, .gauge = gauge, .hidden = hidden});
    if (e)
        (void)change(&s, cx, name, lose); /* nothing could reach it */
    else
        *out_index = s.p.index;
    return e;
}

void mesh_peers_down(mesh *m, rt_ctx *cx, rt_pid link, slice name, bool invented) {
    step s = {.m = m, .me = link, .invented = invented};
    if (!change(&s, cx, name, lose) || !s.won) return;
    (void)check(rt_table_update(rt_epoch_reader(cx), m->nodes, slice_of(&s.p.index, sizeof s.p.index), unlink_of, &s.me) == ERR_OK);
}

static rt_table_verdict lost(void *arg, slice old, slice *value) {
    step *s = arg;
    s->p = peer_of(old);
    if (!check(rt_pid_eq(s->p.up, s->old))) return RT_TABLE_KEEP;
    s->p.loss = s->me;
    return put(s, value);
}

void mesh_peers_lost(mesh *m, rt_ctx *cx, rt_pid link, slice name) {
    step s = {.m = m, .me = rt_self(cx), .old = link};
    (void)change(&s, cx, name, lost); /* it is checked there */
}

/* --- challenges -------------------------------------------------------------------------------------------------------------------- */
#define DRAWS_MAX 8 /* one that is taken already comes once in a million, when thousands of handshakes are under way */

err mesh_challenge_draw(mesh *m, rt_ctx *cx, uint32_t *out) {
    err e = ERR_EXISTS;
    uint32_t c = 0;
    for (int i = 0; i < DRAWS_MAX && e == ERR_EXISTS; i++) {
        rt_entropy(cx, &c, sizeof c);
        e = rt_table_insert_new(rt_epoch_reader(cx), m->challenges, slice_of(&c, sizeof c), SLICE_NULL);
    }
    if (!e) *out = c;
    return e;
}

bool mesh_challenge_ours(mesh *m, rt_ctx *cx, uint32_t c) {
    slice v;
    return rt_table_lookup(rt_epoch_reader(cx), m->challenges, slice_of(&c, sizeof c), &v) == ERR_OK;
}

void mesh_challenge_over(mesh *m, rt_ctx *cx, uint32_t c) {
    (void)check(rt_table_delete(rt_epoch_reader(cx), m->challenges, slice_of(&c, sizeof c)) == ERR_OK);
}

/* --- looking ---------------------------------------------------------------------------------------------------------------------- */
rt_pid mesh_peers_link(mesh *m, rt_ctx *cx, uint32_t index) {
    slice v;
    rt_pid link = RT_PID_NONE;
    if (rt_table_lookup(rt_epoch_reader(cx), m->nodes, slice_of(&index, sizeof index), &v) == ERR_OK) memcpy(&link, v.p, sizeof link);
    return link;
}

rt_pid mesh_peers_loss(mesh *m, rt_ctx *cx, slice name) { return look(m, cx, name).loss; }

static mesh_node node_of(slice value) {
    mesh_node n = {0};
    memcpy(&n, value.p, value.len < sizeof n ? value.len : sizeof n);
    return n;
}

bool mesh_peers_find(rt_reader *r, slice name, uint32_t *out_index, mesh_node *out) {
    slice v;
    if (rt_table_lookup(r, rt_table_whereis(r, SLICE(MESH_NAMES)), name, &v) != ERR_OK) return false;
    mesh_peer p = peer_of(v);
    if (!rt_pid_ok(p.up) || rt_table_lookup(r, rt_table_whereis(r, SLICE(MESH_NODES)), slice_of(&p.index, sizeof p.index), &v) != ERR_OK)
        return false;
    *out_index = p.index;
    *out = node_of(v);
    return true;
}

typedef struct each {
    void (*fn)(void *arg, uint32_t index, const mesh_node *n);
    void *arg;
} each;
static bool one(void *arg, slice key, slice value) {
    const each *e = arg;
    mesh_node n = node_of(value);
    uint32_t index;
    memcpy(&index, key.p, sizeof index);
    if (rt_pid_ok(n.link)) e->fn(e->arg, index, &n);
    return true;
}

void mesh_peers_each(rt_tid nodes, rt_reader *r, void (*fn)(void *arg, uint32_t index, const mesh_node *n), void *arg) {
    each e = {fn, arg};
    rt_table_at at = {0};
    while (!at.done)
        if (rt_table_fold(r, nodes, &at, 1024, one, &e)) return;
}
