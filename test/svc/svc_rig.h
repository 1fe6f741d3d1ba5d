#ifndef TEST_SVC_RIG_H
#define TEST_SVC_RIG_H
/* svc_rig: real partitions (svc_boot) on a node that is stepped by the test, between two fake stores and fake sessions. The stores hold
 * everything in memory; the test holds answers back, fails them, damages records. A session is an actor that records what it is sent, as
 * the XML that its client would see. Every ticket must be answered by at most one SVC_DONE at any time, and by exactly one at the end. */
#include "base/cursor.h"
#include "proto/xmpp/ns.h"
#include "rt/rt_world.h"
#include "store/ops.h"
#include "svc/part.h"

#include <stdio.h>
#include <stdlib.h>

#define RIG_MAX      4096
#define RIG_SESSIONS 64
#define RIG_USERS    64
#define NO_PRESENCE  1000

typedef struct rig_rec { /* of the log */
    uint64_t id, loc, h0, h1;
    int64_t wall;
    slice user;
    rt_blob *env;
    bool deleted, damaged;
} rig_rec;
typedef struct rig_user { /* of the keyed store */
    slice jid;
    uint64_t ver;
    store_keys sha1, sha256;
    store_item items[128]; /* slices owned */
    size_t n_items;
    slice blocks[64];
    size_t n_blocks;
    bool gone;
} rig_user;
typedef struct rig rig;
typedef struct sess {
    rig *r;
    struct sess *self; /* what its actor is started with */
    rt_pid pid;
    char jid[256];
    char smid[32];
    char *got[RIG_MAX]; /* XML of each SVC_DELIVER */
    uint32_t keep[RIG_MAX];
    const void *last_env; /* the blob of the newest; it may be gone */
    size_t n, n_done;
    uint8_t done[RIG_MAX];
    uint32_t order[RIG_MAX]; /* tickets in the order they were done */
    uint32_t tickets, last_keep;
    unsigned kicks;
    uint8_t kick, bind_error;
    bool bound, dead;
    rt_pid resumable;
    char why[128];   /* of the newest SVC_ADMIN_REPLY */
    err admin;       /* its status */
    char json[8192]; /* and result */
    unsigned keys;   /* SVC_KEYS that came */
    bool exists;
    rt_blob *key_bytes;
} sess;
struct rig {
    world *w;
    svc_cfg cfg;
    svc_domain domain[2];
    slice names[2];
    svc_services *services;
    rt_pid log, keyed;
    rig_rec rec[RIG_MAX];
    size_t n_rec;
    rig_user user[RIG_USERS];
    size_t n_users;
    sess *s[RIG_SESSIONS];
    size_t n_s;
    rt_msg *held[RIG_MAX]; /* for the log */
    size_t n_held;
    rt_msg *keyed_held[RIG_MAX];
    size_t n_keyed;
    bool hold_puts, hold_reads, hold_keyed;
    err put_status, write_status, load_status, read_status;
    unsigned puts, dels, reads, loads, key_loads, writes, attaches, moved_ok; /* key_loads are loads, too */
    rt_pid part_of[16];                                                       /* who attached */
    bool lossy;                                                               /* a partition died: some tickets are never done */
    uint64_t loc;
    size_t bulk; /* so many more messages for bob are in the log from the start: ids of RIG_BULK_EPOCH, counted from 1 */
    size_t bulk_dels;
};
#define RIG_BULK_EPOCH UINT64_C(6)
static rig *rig_now;

/* --- the log */
static inline void log_put(rig *r, rt_msg *m, err status) {
    store_put *p = store_put_of(m);
    rt_msg *a = rt_msg_new_ext(STORE_COMMITTED, sizeof(store_committed));
    store_committed *c = store_committed_of(a);
    c->upto = p->id;
    c->status = status;
    if (status == ERR_OK) {
        assert_true(r->n_rec < RIG_MAX);
        for (size_t i = 0; i < r->n_rec; i++) assert_true(r->rec[i].id != p->id); /* ids are never used twice */
        rig_rec *k = &r->rec[r->n_rec++];
        *k = (rig_rec){
            .id = p->id, .loc = ++r->loc, .h0 = p->dedup0, .h1 = p->dedup1, .wall = p->wall, .user = svc_own(rt_blob_slice(p->user))};
        k->env = rt_blob_ref(p->env);
        uint8_t raw[8];
        for (int i = 0; i < 8; i++) raw[i] = (uint8_t)(k->loc >> (8 * i));
        c->locs = rt_blob_new(slice_of(raw, 8));
    }
    rt_post(r->w->n, m->sender, &a);
}
static inline rig_rec *log_find(rig *r, uint64_t id) {
    for (size_t i = 0; i < r->n_rec; i++)
        if (r->rec[i].id == id) return &r->rec[i];
    return NULL;
}
static inline bool is_bulk(const rig *r, uint64_t id) { return r->bulk > 0 && id >> STORE_ID_EPOCH_SHIFT == RIG_BULK_EPOCH; }
static inline void bulk_env(buf *out, uint64_t id) {
    char inner[64];
    (void)snprintf(inner, sizeof inner, "<body>%u</body>", (unsigned)(id & 0xffffffff));
    const xmpp_env e = {.kind = XMPP_MESSAGE,
                        .type = XMPP_TYPE_CHAT,
                        .flags = XMPP_F_BODY | XMPP_F_PAYLOAD,
                        .from = SLICE("old@x.test/o"),
                        .to = SLICE("bob@x.test"),
                        .inner = slice_str(inner)};
    xmpp_env_pack(out, &e);
}
static inline void log_read(rig *r, rt_msg *m) {
    store_read *q = store_read_of(m);
    cursor c = cursor_of(rt_blob_slice(q->ids));
    uint64_t id, loc;
    buf b;
    buf_init(&b, 64u << 20);
    while (cursor_u64le(&c, &id) && cursor_u64le(&c, &loc)) {
        if (is_bulk(r, id)) {
            buf env;
            buf_init(&env, 4096);
            bulk_env(&env, id);
            buf_add_u64le(&b, id);
            buf_add_byte(&b, ERR_OK);
            buf_add_u64le(&b, 0);
            buf_add_lslice(&b, buf_slice(&env));
            buf_fini(&env);
            continue;
        }
        rig_rec *k = log_find(r, id);
        err e = r->read_status;
        if (!k || k->deleted || k->loc != loc) e = ERR_NOT_FOUND;
        if (k && k->damaged) e = ERR_CORRUPT;
        buf_add_u64le(&b, id);
        buf_add_byte(&b, (uint8_t)e);
        buf_add_u64le(&b, k ? (uint64_t)k->wall : 0);
        buf_add_lslice(&b, e == ERR_OK ? rt_blob_slice(k->env) : SLICE(""));
    }
    rt_msg *a = rt_msg_new_ext(STORE_RECORDS, sizeof(store_records));
    store_records_of(a)->ref = q->ref;
    store_records_of(a)->records = rt_blob_new(buf_slice(&b));
    buf_fini(&b);
    rt_post(r->w->n, m->sender, &a);
}
static inline void index_free(rt_box *b) {
    store_index *x = container_of(b, store_index, box);
    mem_free(x->users);
    mem_free(x->entries);
    mem_free(x->recent);
    mem_free(x);
}
static inline void log_attach(rig *r, rt_msg *m) {
    store_attach *q = store_attach_of(m);
    for (size_t i = 0; i < r->n_held; i++) { /* an index is given when what came before it is written */
        if (r->held[i]->tag == STORE_PUT)
            log_put(r, r->held[i], ERR_OK);
        else
            log_read(r, r->held[i]);
        rt_msg_drop(r->w->n, &r->held[i]);
    }
    r->n_held = 0;
    store_index *x = mem_zalloc(sizeof *x);
    x->box.free = index_free;
    x->users = mem_zalloc((r->n_users + 1) * sizeof *x->users);
    x->entries = mem_zalloc((r->n_rec + r->bulk + 1) * sizeof *x->entries);
    x->recent = mem_zalloc((r->n_rec + 1) * sizeof *x->recent);
    for (size_t u = 0; u < r->n_users; u++) {
        if (store_partition(r->user[u].jid, r->cfg.partitions) != q->partition) continue;
        size_t before = x->n_entries;
        for (uint64_t i = 1; i <= r->bulk && slice_is(r->user[u].jid, "bob@x.test"); i++)
            x->entries[x->n_entries++] = (store_entry){RIG_BULK_EPOCH << STORE_ID_EPOCH_SHIFT | i, i, 0, 100, (uint32_t)x->n_users};
        for (size_t i = 0; i < r->n_rec; i++) {
            rig_rec *k = &r->rec[i];
            if (!slice_eq(k->user, r->user[u].jid)) continue;
            if (k->h0 || k->h1) x->recent[x->n_recent++] = (store_recent){k->h0, k->h1, k->wall};
            if (k->deleted) continue;
            x->entries[x->n_entries++] = (store_entry){k->id, k->loc, k->wall, k->env->len, (uint32_t)x->n_users};
        }
        if (x->n_entries > before) x->users[x->n_users++] = r->user[u].jid;
    }
    r->part_of[q->partition] = m->sender;
    r->attaches++;
    rt_msg *a = rt_msg_new_ext(STORE_INDEX, sizeof(store_index_msg));
    *store_index_msg_of(a) = (store_index_msg){&x->box, 7, ERR_OK};
    rt_post(r->w->n, m->sender, &a);
}
static inline err log_init(rt_ctx *cx, void *st, const void *arg) {
    (void)st;
    (void)arg;
    rig_now->log = rt_self(cx);
    return rt_name_register(cx, STORE_LOG_NAME);
}
static inline err log_handle(rt_ctx *cx, void *st, rt_msg **mp) {
    rig *r = rig_now;
    rt_msg *m = *mp;
    (void)cx;
    (void)st;
    bool held = (m->tag == STORE_PUT && (r->hold_puts || r->n_held > 0)) || /* in order */ (m->tag == STORE_READ && r->hold_reads);
    r->puts += m->tag == STORE_PUT;
    r->reads += m->tag == STORE_READ;
    if (held) {
        assert_true(r->n_held < RIG_MAX);
        r->held[r->n_held++] = m;
        *mp = NULL;
        return ERR_OK;
    }
    switch (m->tag) {
    case STORE_PUT: log_put(r, m, r->put_status); break;
    case STORE_READ: log_read(r, m); break;
    case STORE_ATTACH: log_attach(r, m); break;
    case STORE_MOVED_OK: r->moved_ok++; break;
    case STORE_DEL: {
        if (is_bulk(r, store_del_of(m)->id)) {
            r->bulk_dels++;
            break;
        }
        rig_rec *k = log_find(r, store_del_of(m)->id);
        if (!k) fail_msg("a record that never was is deleted");
        if (!k) break;
        assert_true(k->loc == store_del_of(m)->loc);
        assert_false(k->deleted); /* once */
        k->deleted = true;
        r->dels++;
        break;
    }
    default: break;
    }
    return ERR_OK;
}
static const rt_class log_class = {.name = "log", .state_size = 8, .init = log_init, .handle = log_handle};

/* --- the keyed store */
static inline rig_user *rig_user_find(rig *r, slice jid) {
    for (size_t i = 0; i < r->n_users; i++)
        if (slice_eq(r->user[i].jid, jid) && !r->user[i].gone) return &r->user[i];
    return NULL;
}
/* The same for one that must be there. */
static inline rig_user *rig_user_of(rig *r, const char *jid) {
    static rig_user nobody;
    rig_user *u = rig_user_find(r, slice_str(jid));
    if (!u) fail_msg("the store has no account %s", jid);
    return u ? u : &nobody;
}
static inline store_item item_dup(const store_item *i) {
    store_item o = *i;
    o.jid = svc_own(i->jid);
    o.name = svc_own(i->name);
    o.groups = svc_own(i->groups);
    o.request = svc_own(i->request);
    return o;
}
static inline void item_drop(store_item *i) {
    svc_disown(&i->jid);
    svc_disown(&i->name);
    svc_disown(&i->groups);
    svc_disown(&i->request);
}
static inline store_item *rig_item(rig_user *u, slice jid) {
    for (size_t i = 0; i < u->n_items; i++)
        if (slice_eq(u->items[i].jid, jid)) return &u->items[i];
    return NULL;
}
static inline const store_item *rig_item_of(rig *r, const char *owner, const char *contact) { /* all zero when there is none */
    static const store_item none;
    const store_item *i = rig_item(rig_user_of(r, owner), slice_str(contact));
    return i ? i : &none;
}
static inline void rig_item_put(rig_user *u, const store_item *it) {
    store_item *old = rig_item(u, it->jid);
    store_item fresh = item_dup(it);
    if (old)
        item_drop(old);
    else
        old = &u->items[u->n_items++];
    assert_true(u->n_items < ARRAY_LEN(u->items));
    *old = fresh;
    u->ver = it->ver > u->ver ? it->ver : u->ver;
}
static inline rig_user *rig_add(rig *r, const char *jid) {
    assert_true(r->n_users < RIG_USERS);
    rig_user *u = &r->user[r->n_users++];
    *u = (rig_user){.jid = svc_own(slice_str(jid)), .ver = 1};
    return u;
}
static inline void user_box_free(rt_box *b) {
    store_user *u = container_of(b, store_user, box);
    for (size_t i = 0; i < u->n_items; i++) item_drop(&u->items[i]);
    for (size_t i = 0; i < u->n_blocks; i++) svc_disown(&u->blocks[i]);
    svc_disown(&u->jid);
    mem_free(u->items);
    mem_free(u->blocks);
    mem_free(u);
}
static inline void keyed_do_load(rig *r, rt_msg *m) {
    keyed_load *q = keyed_load_of(m);
    rig_user *u = rig_user_find(r, rt_blob_slice(q->user));
    rt_msg *a = rt_msg_new_ext(KEYED_USER, sizeof(keyed_user));
    keyed_user_of(a)->ref = q->ref;
    keyed_user_of(a)->status = r->load_status != ERR_OK ? r->load_status : u ? ERR_OK : ERR_NOT_FOUND;
    if (u && r->load_status == ERR_OK) {
        store_user *o = mem_zalloc(sizeof *o);
        o->box.free = user_box_free;
        o->jid = svc_own(u->jid);
        o->sha1 = u->sha1;
        o->sha256 = u->sha256;
        o->roster_ver = u->ver;
        o->items = mem_zalloc((u->n_items + 1) * sizeof *o->items);
        o->blocks = mem_zalloc((u->n_blocks + 1) * sizeof *o->blocks);
        for (; o->n_items < u->n_items; o->n_items++) o->items[o->n_items] = item_dup(&u->items[o->n_items]);
        for (; o->n_blocks < u->n_blocks; o->n_blocks++) o->blocks[o->n_blocks] = svc_own(u->blocks[o->n_blocks]);
        keyed_user_of(a)->user = &o->box;
    }
    rt_post(r->w->n, m->sender, &a);
}
static inline err keyed_apply(rig *r, const store_op *op) {
    rig_user *u = rig_user_find(r, op->user);
    char name[256];
    (void)snprintf(name, sizeof name, SLICE_FMT, SLICE_ARG(op->user));
    if (op->kind == OP_USER_ADD) {
        if (u) return ERR_EXISTS;
        u = rig_add(r, name);
    }
    if (!u) return ERR_NOT_FOUND;
    store_item *it = op->item.jid.p ? rig_item(u, op->item.jid) : NULL;
    switch (op->kind) {
    case OP_USER_ADD:
    case OP_USER_SET_KEYS:
        u->sha1 = op->sha1;
        u->sha256 = op->sha256;
        break;
    case OP_USER_DEL: u->gone = true; break;
    case OP_ROSTER_PUT: rig_item_put(u, &op->item); break;
    case OP_ROSTER_PURGE:
        if (!it) break;
        item_drop(it);
        *it = u->items[--u->n_items];
        break;
    case OP_BLOCK_ADD: u->blocks[u->n_blocks++] = svc_own(op->item.jid); break;
    case OP_BLOCK_DEL:
        for (size_t i = 0; i < u->n_blocks; i++)
            if (slice_eq(u->blocks[i], op->item.jid)) {
                svc_disown(&u->blocks[i]);
                u->blocks[i] = u->blocks[--u->n_blocks];
            }
        break;
    case OP_KINDS: break;
    }
    return ERR_OK;
}
static inline void keyed_do_write(rig *r, rt_msg *m) {
    keyed_write *q = keyed_write_of(m);
    err e = r->write_status;
    store_op op;
    size_t at = 0;
    while (e == ERR_OK && store_ops_next(store_ops_of(q->ops), &at, &op)) e = keyed_apply(r, &op);
    rt_msg *a = rt_msg_new_ext(KEYED_WRITTEN, sizeof(keyed_written));
    *keyed_written_of(a) = (keyed_written){q->ref, e};
    rt_post(r->w->n, m->sender, &a);
}
static inline void keyed_do(rig *r, rt_msg *m) {
    if (m->tag == KEYED_LOAD) keyed_do_load(r, m);
    if (m->tag == KEYED_WRITE) keyed_do_write(r, m);
}
static inline err keyed_init(rt_ctx *cx, void *st, const void *arg) {
    (void)st;
    (void)arg;
    rig_now->keyed = rt_self(cx);
    return rt_name_register(cx, STORE_KEYED_NAME);
}
static inline err keyed_handle(rt_ctx *cx, void *st, rt_msg **mp) {
    rig *r = rig_now;
    (void)cx;
    (void)st;
    r->loads += (*mp)->tag == KEYED_LOAD;
    r->key_loads += (*mp)->tag == KEYED_LOAD && keyed_load_of(*mp)->keys_only;
    r->writes += (*mp)->tag == KEYED_WRITE;
    if (!r->hold_keyed) {
        keyed_do(r, *mp);
        return ERR_OK;
    }
    assert_true(r->n_keyed < RIG_MAX);
    r->keyed_held[r->n_keyed++] = *mp;
    *mp = NULL;
    return ERR_OK;
}
static const rt_class keyed_class = {.name = "keyed", .state_size = 8, .init = keyed_init, .handle = keyed_handle};

/* --- sessions */
typedef struct sess_state {
    sess *s;
} sess_state;
static inline char *text_of(slice s) {
    char *t = mem_zalloc(s.len + 1);
    if (s.len) memcpy(t, s.p, s.len);
    return t;
}
static inline void on_deliver(sess *s, svc_deliver *d) {
    xmpp_env e;
    assert_int_equal(xmpp_env_unpack(rt_blob_slice(d->env), &e), ERR_OK);
    buf b;
    buf_init(&b, 64u << 20);
    slice own = e.kind == XMPP_PRESENCE ? xmpp_jid_bare(slice_str(s->jid)) : slice_str(s->jid); /* as the edge does */
    xmpp_env_write(&b, &e, e.to.p ? SLICE_NULL : own, rt_blob_slice(d->extra));
    assert_true(s->n < RIG_MAX);
    s->keep[s->n] = d->keep;
    s->last_env = d->env;
    s->got[s->n++] = text_of(buf_slice(&b));
    buf_fini(&b);
    if (d->keep) {
        assert_int_equal(d->keep, s->last_keep + 1); /* numbered from 1, without holes */
        s->last_keep = d->keep;
    }
}
static inline void on_reply(sess *s, svc_admin_reply *a) {
    s->admin = a->status;
    (void)snprintf(s->why, sizeof s->why, SLICE_FMT, SLICE_ARG(rt_blob_slice(a->why)));
    buf b;
    buf_init(&b, 1u << 20);
    if (a->result) val_json(container_of(a->result, svc_result, box)->value, &b);
    (void)snprintf(s->json, sizeof s->json, SLICE_FMT, SLICE_ARG(buf_slice(&b)));
    buf_fini(&b);
}
static inline err sess_init(rt_ctx *cx, void *st, const void *arg) {
    sess *s = *(sess *const *)arg;
    ((sess_state *)st)->s = s;
    s->pid = rt_self(cx);
    return ERR_OK;
}
static inline err sess_handle(rt_ctx *cx, void *st, rt_msg **mp) {
    sess *s = ((sess_state *)st)->s;
    rt_msg *m = *mp;
    switch (m->tag) {
    case T_DO: ((deed *)(uintptr_t)t_do_of(m)->what)(cx, NULL, t_do_of(m)->arg); break;
    case SVC_DELIVER: on_deliver(s, svc_deliver_of(m)); break;
    case SVC_DONE: {
        uint32_t t = svc_done_of(m)->ticket;
        assert_true(t >= 1 && t <= s->tickets);
        assert_int_equal(s->done[t], 0); /* exactly once */
        s->done[t] = 1;
        s->order[s->n_done++] = t;
        break;
    }
    case SVC_KICK:
        s->kicks++;
        s->kick = svc_kick_of(m)->error;
        break;
    case SVC_BOUND:
        s->bound = svc_bound_of(m)->error == STANZA_OK;
        s->bind_error = svc_bound_of(m)->error;
        if (s->bound) (void)snprintf(s->jid, sizeof s->jid, SLICE_FMT, SLICE_ARG(rt_blob_slice(svc_bound_of(m)->jid)));
        break;
    case SVC_RESUMABLE: s->resumable = svc_resumable_of(m)->session; break;
    case SVC_ADMIN_REPLY: on_reply(s, svc_admin_reply_of(m)); break;
    case SVC_KEYS:
        s->keys++;
        s->exists = svc_keys_of(m)->exists;
        rt_blob_unref(s->key_bytes);
        s->key_bytes = rt_blob_ref(svc_keys_of(m)->keys);
        break;
    default: break;
    }
    return ERR_OK;
}
static inline void sess_fini(rt_ctx *cx, void *st, err reason) { /* as an edge actor does, however it ends */
    const sess *s = ((sess_state *)st)->s;
    (void)reason;
    if (!s->jid[0]) return; /* it never asked to bind */
    rt_msg *m = rt_msg_new(cx, SVC_UNBIND, sizeof(svc_unbind));
    svc_unbind_of(m)->jid = rt_blob_new(slice_str(s->jid));
    rt_send(cx, svc_partition(rt_ctx_node(cx), &s->r->cfg, xmpp_jid_bare(slice_str(s->jid))), &m);
}
static const rt_class sess_class = {
    .name = "sess", .state_size = sizeof(sess_state), .init = sess_init, .handle = sess_handle, .fini = sess_fini};

/* --- the rig */
static inline void rig_go(rig *r) {
    do (void)world_run(r->w);
    while (rt_pool_run_one(r->w->n, RT_POOL_CRYPTO));
}
static inline void rig_later(rig *r, usec by) {
    r->w->now += by;
    rig_go(r);
}
static inline rig *rig_new_with(const rt_class *log_cls, const rt_class *keyed_cls) {
    rig *r = mem_zalloc(sizeof *r);
    rig_now = r;
    r->w = world_new(1, 7);
    svc_cfg_default(&r->cfg);
    r->domain[0] = (svc_domain){SLICE("x.test"), false};
    r->domain[1] = (svc_domain){SLICE("anon.test"), true};
    r->names[0] = r->domain[0].name;
    r->names[1] = r->domain[1].name;
    r->cfg.domains = r->domain;
    r->cfg.domain_names = r->names;
    r->cfg.n_domains = 2;
    r->cfg.partitions = 4;
    r->cfg.scram_iterations = 4096;
    rt_node_add_msgs(r->w->n, store_msgs, store_msgs_count);
    rt_node_add_msgs(r->w->n, svc_msgs, svc_msgs_count);
    (void)world_spawn(r->w, 0, log_cls, NULL);
    (void)world_spawn(r->w, 0, keyed_cls, NULL);
    return r;
}
static inline rig *rig_new(void) { return rig_new_with(&log_class, &keyed_class); }
static inline void rig_start(rig *r) {
    assert_int_equal(svc_boot(r->w->n, &r->cfg, &r->services), ERR_OK);
    rig_go(r);
    assert_true(svc_ready(r->w->n, &r->cfg));
}
/* A started rig with accounts alice, bob and carol. */
static inline rig *rig_three(void) {
    rig *r = rig_new();
    (void)rig_add(r, "alice@x.test");
    (void)rig_add(r, "bob@x.test");
    (void)rig_add(r, "carol@x.test");
    rig_start(r);
    return r;
}
static inline void rig_free(rig *r) {
    for (size_t i = 0; i < r->n_s && !r->lossy; i++)
        for (uint32_t t = 1; t <= r->s[i]->tickets; t++)
            if (!r->s[i]->dead && !r->s[i]->kicks) assert_int_equal(r->s[i]->done[t], 1);
    for (size_t i = 0; i < r->n_held; i++) rt_msg_drop(r->w->n, &r->held[i]);
    for (size_t i = 0; i < r->n_keyed; i++) rt_msg_drop(r->w->n, &r->keyed_held[i]);
    world_free(r->w);
    svc_services_free(r->services);
    for (size_t i = 0; i < r->n_rec; i++) {
        rt_blob_unref(r->rec[i].env);
        svc_disown(&r->rec[i].user);
    }
    for (size_t i = 0; i < r->n_users; i++) {
        rig_user *u = &r->user[i];
        for (size_t k = 0; k < u->n_items; k++) item_drop(&u->items[k]);
        for (size_t k = 0; k < u->n_blocks; k++) svc_disown(&u->blocks[k]);
        svc_disown(&u->jid);
    }
    for (size_t i = 0; i < r->n_s; i++) {
        sess *s = r->s[i];
        for (size_t k = 0; k < s->n; k++) mem_free(s->got[k]);
        rt_blob_unref(s->key_bytes);
        mem_free(s);
    }
    mem_free(r);
    rig_now = NULL;
}
/* Answers what the log was asked and held back: the first n puts (a batch for each partition in a row) with status; reads as they are. */
static inline void rig_release(rig *r, size_t n, err status) {
    for (size_t i = 0; i < n && r->n_held > 0; i++) {
        rt_msg *m = r->held[0];
        memmove(r->held, r->held + 1, --r->n_held * sizeof *r->held);
        if (m->tag == STORE_PUT)
            log_put(r, m, status);
        else
            log_read(r, m);
        rt_msg_drop(r->w->n, &m);
    }
    rig_go(r);
}
/* All puts that are held, which are of one partition, as one batch with one answer. */
static inline void rig_release_batch(rig *r) {
    rt_msg *a = rt_msg_new_ext(STORE_COMMITTED, sizeof(store_committed));
    buf locs;
    buf_init(&locs, 65536);
    rt_pid to = r->held[0]->sender;
    for (size_t i = 0; i < r->n_held; i++) {
        store_put *p = store_put_of(r->held[i]);
        assert_true(rt_pid_eq(to, r->held[i]->sender));
        r->rec[r->n_rec++] = (rig_rec){.id = p->id,
                                       .loc = ++r->loc,
                                       .h0 = p->dedup0,
                                       .h1 = p->dedup1,
                                       .wall = p->wall,
                                       .user = svc_own(rt_blob_slice(p->user)),
                                       .env = rt_blob_ref(p->env)};
        buf_add_u64le(&locs, r->loc);
        store_committed_of(a)->upto = p->id;
        rt_msg_drop(r->w->n, &r->held[i]);
    }
    r->n_held = 0;
    store_committed_of(a)->locs = rt_blob_new(buf_slice(&locs));
    buf_fini(&locs);
    rt_post(r->w->n, to, &a);
    rig_go(r);
}
static inline void rig_keyed_release(rig *r, size_t n) {
    for (size_t i = 0; i < n && r->n_keyed > 0; i++) {
        rt_msg *m = r->keyed_held[0];
        memmove(r->keyed_held, r->keyed_held + 1, --r->n_keyed * sizeof *r->keyed_held);
        keyed_do(r, m);
        rt_msg_drop(r->w->n, &m);
    }
    rig_go(r);
}
/* A message from the session to the partition of an account. */
typedef struct errand {
    sess *s;
    rt_pid to;
    rt_msg *m;
} errand;
static inline void do_errand(rt_ctx *cx, puppet *p, uint64_t arg) {
    errand *e = (errand *)(uintptr_t)arg;
    (void)p;
    if (e->m)
        rt_send(cx, e->to, &e->m);
    else
        rt_stop(cx, ERR_SHUTDOWN);
    mem_free(e);
}
static inline void sess_send(sess *s, slice bare, rt_msg *m) {
    errand *e = mem_zalloc(sizeof *e);
    *e = (errand){s, svc_partition(s->r->w->n, &s->r->cfg, bare), m};
    rt_msg *d = rt_msg_new_ext(T_DO, sizeof(t_do));
    *t_do_of(d) = (t_do){(uint64_t)(uintptr_t)do_errand, (uint64_t)(uintptr_t)e};
    rt_post(s->r->w->n, s->pid, &d);
}
static inline slice sess_bare(const sess *s) { return xmpp_jid_bare(slice_str(s->jid)); }
static inline sess *sess_new(rig *r) {
    sess *s = mem_zalloc(sizeof *s);
    s->r = r;
    assert_true(r->n_s < RIG_SESSIONS);
    r->s[r->n_s++] = s;
    s->self = s;
    (void)world_spawn(r->w, 0, &sess_class, &s->self);
    return s;
}
/* Asks to bind; s->bound and s->bind_error say how it went. */
static inline sess *sess_bind(rig *r, const char *user, const char *resource) {
    sess *s = sess_new(r);
    (void)snprintf(s->jid, sizeof s->jid, "%s", user); /* until it is told */
    rt_msg *m = rt_msg_new_ext(SVC_BIND, sizeof(svc_bind));
    svc_bind_of(m)->user = rt_blob_new(slice_str(user));
    if (resource) svc_bind_of(m)->resource = rt_blob_new(slice_str(resource));
    svc_bind_of(m)->anonymous = strstr(user, "@anon.test") != NULL;
    sess_send(s, slice_str(user), m);
    rig_go(r);
    return s;
}
/* A stanza from the client, through the same checks as at the edge, not run yet. Returns its ticket. */
static inline uint32_t say_now(sess *s, const char *xml) {
    static const xmpp_binding dflt = {{NULL, 0}, {(const uint8_t *)NS_CLIENT, sizeof NS_CLIENT - 1}};
    static const xmpp_scope scope = {&dflt, 1};
    const xmpp_env_rules rules = {s->r->names, 2};
    arena a;
    arena_init(&a, 16u << 20);
    xmpp_node *n;
    xmpp_env e;
    buf inner, pack;
    buf_init(&inner, 1u << 20);
    buf_init(&pack, 2u << 20);
    assert_int_equal(xmpp_xml_parse(slice_str(xml), &scope, &a, &n), STREAM_OK);
    assert_int_equal(xmpp_env_build(n, slice_str(s->jid), &rules, &a, &inner, &e), STANZA_OK);
    xmpp_env_pack(&pack, &e);
    rt_msg *m = rt_msg_new_ext(SVC_STANZA, sizeof(svc_stanza));
    svc_stanza_of(m)->alone = s->n_done == s->tickets;
    svc_stanza_of(m)->ticket = ++s->tickets;
    svc_stanza_of(m)->env = rt_blob_new(buf_slice(&pack));
    sess_send(s, sess_bare(s), m);
    buf_fini(&inner);
    buf_fini(&pack);
    arena_fini(&a);
    return s->tickets;
}
static inline uint32_t say(sess *s, const char *xml) {
    uint32_t t = say_now(s, xml);
    rig_go(s->r);
    return t;
}
static inline uint32_t sayf(sess *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline uint32_t sayf(sess *s, const char *fmt, ...) {
    char xml[4096];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(xml, sizeof xml, fmt, ap);
    va_end(ap);
    return say(s, xml);
}
static inline void forget(sess *s) {
    for (size_t i = 0; i < s->n; i++) mem_free(s->got[i]);
    s->n = 0;
}
/* A bound session that has sent presence of that priority and asked for its roster; what came until then is forgotten. */
static inline sess *login(rig *r, const char *user, const char *resource, int priority) {
    sess *s = sess_bind(r, user, resource);
    assert_true(s->bound);
    if (priority != NO_PRESENCE) {
        (void)say(s, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
        forget(s);
        (void)sayf(s, "<presence><priority>%d</priority></presence>", priority);
    }
    return s;
}
static inline sess *login_quiet(rig *r, const char *user, const char *resource, int priority) {
    sess *s = login(r, user, resource, priority);
    for (size_t i = 0; i < r->n_s; i++) forget(r->s[i]);
    return s;
}
static inline void ack(sess *s, uint32_t upto) {
    rt_msg *m = rt_msg_new_ext(SVC_ACKED, sizeof(svc_acked));
    svc_acked_of(m)->jid = rt_blob_new(slice_str(s->jid));
    svc_acked_of(m)->upto = upto;
    sess_send(s, sess_bare(s), m);
    rig_go(s->r);
}
static inline void unbind(sess *s) {
    rt_msg *m = rt_msg_new_ext(SVC_UNBIND, sizeof(svc_unbind));
    svc_unbind_of(m)->jid = rt_blob_new(slice_str(s->jid));
    s->dead = true;
    sess_send(s, sess_bare(s), m);
    rig_go(s->r);
}
static inline void die(sess *s) { /* its actor ends */
    s->dead = true;
    sess_send(s, sess_bare(s), NULL);
    rig_go(s->r);
}
static inline bool done(const sess *s, uint32_t ticket) { return s->done[ticket] == 1; }
/* How many of what it got contain the text. */
static inline unsigned count(const sess *s, const char *text) {
    unsigned n = 0;
    for (size_t i = 0; i < s->n; i++) n += strstr(s->got[i], text) != NULL;
    return n;
}
/* Where the first one is; fails if there is none. */
static inline size_t where(const sess *s, const char *text) {
    for (size_t i = 0; i < s->n; i++)
        if (strstr(s->got[i], text)) return i;
    fail_msg("%s did not get %s", s->jid, text);
    return 0;
}
static inline void show(const sess *s) { /* for whoever looks for a bug */
    for (size_t i = 0; i < s->n; i++) print_message("%s: keep %u %s\n", s->jid, s->keep[i], s->got[i]);
}
static inline void chat(sess *s, const char *to, const char *body) {
    (void)sayf(s, "<message type='chat' to='%s'><body>%s</body></message>", to, body);
}
/* The bodies that a session got, in order, joined by blanks. */
static inline const char *bodies(const sess *s) {
    static char out[65536];
    out[0] = 0;
    for (size_t i = 0; i < s->n; i++) {
        const char *b = strstr(s->got[i], "<body>"), *e = b ? strstr(b, "</body>") : NULL;
        if (!b) continue;
        size_t n = strlen(out);
        (void)snprintf(out + n, sizeof out - n, "%s%.*s", n ? " " : "", (int)(e - b - 6), b + 6);
    }
    return out;
}
static inline void admin(sess *s, svc_admin_op op, const char *user, slice arg) {
    rt_msg *m = rt_msg_new_ext(SVC_ADMIN, sizeof(svc_admin));
    svc_admin_of(m)->op = (uint8_t)op;
    svc_admin_of(m)->user = rt_blob_new(slice_str(user));
    if (arg.p) svc_admin_of(m)->arg = rt_blob_new(arg);
    s->admin = ERR_AGAIN;
    sess_send(s, xmpp_jid_bare(slice_str(user)), m);
    rig_go(s->r);
}
static inline unsigned live_records(const rig *r) {
    unsigned n = 0;
    for (size_t i = 0; i < r->n_rec; i++) n += !r->rec[i].deleted;
    return n;
}
static inline store_item rig_contact(const char *jid, store_sub sub) {
    return (store_item){.jid = slice_str(jid), .sub = (uint8_t)sub, .ver = 1, .in_roster = true};
}
/* A number from the status of the partition of an account, as a tool sees it. */
static inline uint64_t rig_status(rig *r, sess *tool, const char *user, const char *name) {
    (void)r;
    admin(tool, SVC_ADMIN_STATUS, user, SLICE_NULL);
    char key[64];
    (void)snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = strstr(tool->json, key);
    if (!at) fail_msg("the status has no %s", name);
    return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}
/* Sends a stanza without the edge's limits. */
static inline uint32_t say_env(sess *s, const xmpp_env *e) {
    buf pack;
    buf_init(&pack, 64u << 20);
    xmpp_env_pack(&pack, e);
    assert_true(buf_ok(&pack));
    rt_msg *m = rt_msg_new_ext(SVC_STANZA, sizeof(svc_stanza));
    svc_stanza_of(m)->ticket = ++s->tickets;
    svc_stanza_of(m)->env = rt_blob_new(buf_slice(&pack));
    sess_send(s, sess_bare(s), m);
    buf_fini(&pack);
    rig_go(s->r);
    return s->tickets;
}
#define assert_bodies(s, want) assert_string_equal(bodies(s), want)
#endif
