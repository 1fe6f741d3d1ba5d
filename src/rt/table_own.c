/* table_own: whose a table is: making, names, heirs, the end of an owner.
 *
 *     owner ends (bury)      owner = heir, under the lock      RT_SIG_TABLE -> heir's shard: alive   -> RT_TRANSFER in its mailbox
 *     rt_table_give_away     owner = to                                                      gone    -> as if it had owned it and ended
 *
 * The owner changes at once, before the new one knows: there is no moment without an owner, in which an end would be missed. The signal
 * travels as EXIT and DOWN do, in order with them, and is sent before them.
 *
 * Invariants: (1) a table is in rt_tables.at exactly while it has not been retired; its name is in `names` exactly as long. (2) An actor
 * that owns a table, and has been told so, has RT_A_TABLES; to one that has not been told, the signal is still under way and finds it, or
 * finds it gone. (3) The lock is not held while anything is sent. (4) What a table hands over (gift) goes with one RT_TRANSFER and is then
 * dropped. */
#include "base/mem.h"
#include "rt/table_int.h"

/* --- where tables are ------------------------------------------------------------------------------------------------------------ */
static inline _Atomic(rt_tab *) *place_of(rt_tables *all, rt_tid t) { return &all->at[t % RT_TABLES_MAX]; }
static inline rt_tab *at(_Atomic(rt_tab *) *place) {
    return atomic_load_explicit(place, memory_order_acquire); /* partners: publish, end */
}

rt_tab *rt_tab_find(rt_node *n, rt_tid t) {
    rt_tab *x = at(place_of(n->tables, t));
    return x && x->id == t ? x : NULL;
}

static rt_pid owner_of(const rt_tab *t) {
    uint64_t o = atomic_load_explicit(&t->owner, memory_order_acquire); /* partner: own */
    return (rt_pid){0, (uint32_t)(o >> 32), (uint32_t)o};
}
static void own(rt_tab *t, rt_pid owner) {
    atomic_store_explicit(&t->owner, (uint64_t)owner.slot << 32 | owner.gen,
                          memory_order_release); /* partner: owner_of, table.c: writable */
}

/* A free place, with the lock held: the next id that falls on one. */
static NODISCARD err free_place(rt_tables *all, rt_tid *out) {
    for (unsigned i = 0; i < RT_TABLES_MAX; i++) {
        rt_tid id = ++all->next_id;
        if (at(place_of(all, id))) continue;
        *out = id;
        return ERR_OK;
    }
    return ERR_LIMIT;
}

static slice id_slice(const rt_tid *id) { return slice_of(id, sizeof *id); }

/* With the lock held; the caller retires it afterwards. */
static void unpublish(rt_reader *r, rt_tab *t) {
    rt_tables *all = r->node->tables;
    if (t->name[0]) (void)check(rt_tab_delete(r, all->names, slice_str(t->name)) == ERR_OK); /* invariant 1 */
    atomic_store_explicit(place_of(all, t->id), NULL, memory_order_release);                 /* partner: at */
}

/* With the lock held, inside an epoch. On failure *out is what has to be retired, or NULL. */
static NODISCARD err publish(rt_reader *r, const rt_table_cfg *c, rt_pid owner, rt_pid heir, rt_tab **out) {
    rt_tables *all = r->node->tables;
    rt_tid id;
    slice taken;
    if (c->name && rt_tab_lookup(all->names, slice_str(c->name), &taken) == ERR_OK) return ERR_EXISTS;
    err e = free_place(all, &id);
    if (e) return e;
    rt_tab *t = rt_tab_new(r->node, id, c);
    own(t, owner);
    t->heir = heir;
    t->heir_data = rt_blob_ref(c->heir_data);
    atomic_store_explicit(place_of(all, id), t, memory_order_release);                   /* partner: at */
    if (c->name) e = rt_tab_put(r, all->names, slice_str(c->name), id_slice(&id), true); /* who finds the name finds the table */
    if (e) {
        t->name[0] = 0;
        unpublish(r, t);
    }
    *out = t;
    return e;
}

/* --- life ------------------------------------------------------------------------------------------------------------------------ */
static bool may_own(const rt_node *n, rt_pid pid) { return pid.node == 0 && rt_pid_shard(pid) < n->n_shards; }

static bool cfg_ok(const rt_node *n, const rt_table_cfg *c) {
    if (c->name && (c->name[0] == 0 || strlen(c->name) > RT_TABLE_NAME_MAX)) return false;
    if (c->stripes > RT_STRIPES_MAX || (c->stripes & (c->stripes - 1)) != 0) return false;
    return !rt_pid_ok(c->heir) || may_own(n, c->heir);
}

err rt_table_create(rt_ctx *cx, const rt_table_cfg *c, rt_tid *out) {
    rt_node *n = cx->sh->node;
    rt_actor *a = cx->self;
    if (!cfg_ok(n, c)) return ERR_INVALID;
    rt_pid heir = c->heir;
    if (!rt_pid_ok(heir) && a && a->flags & RT_A_KEPT) heir = (rt_pid){0, a->parent_slot, a->parent_gen};
    rt_tab *t = NULL;
    lock_take(&n->tables->l);
    err e = publish(&cx->sh->reader, c, rt_self(cx), heir, &t);
    lock_release(&n->tables->l);
    if (e && t) rt_epoch_retire(&cx->sh->reader, &t->retired);
    if (e) return e;
    if (a) a->flags |= RT_A_TABLES;
    *out = t->id;
    return ERR_OK;
}

/* The table, if the caller owns it; with the lock held. */
static NODISCARD err mine(rt_ctx *cx, rt_tid id, rt_tab **out) {
    rt_tab *t = rt_tab_find(cx->sh->node, id);
    if (!t) return ERR_NO_TABLE;
    if (!rt_pid_eq(owner_of(t), rt_self(cx))) return ERR_PERM;
    *out = t;
    return ERR_OK;
}

err rt_table_drop(rt_ctx *cx, rt_tid id) {
    rt_tables *all = cx->sh->node->tables;
    rt_tab *t = NULL;
    lock_take(&all->l);
    err e = mine(cx, id, &t);
    if (!e) unpublish(&cx->sh->reader, t);
    lock_release(&all->l);
    if (!e) rt_epoch_retire(&cx->sh->reader, &t->retired);
    return e;
}

err rt_table_set_heir(rt_ctx *cx, rt_tid id, rt_pid heir, rt_blob *data) {
    rt_tables *all = cx->sh->node->tables;
    if (rt_pid_ok(heir) && !may_own(cx->sh->node, heir)) return ERR_INVALID;
    rt_tab *t = NULL;
    rt_blob *old = NULL;
    lock_take(&all->l);
    err e = mine(cx, id, &t);
    if (!e) {
        old = t->heir_data;
        t->heir = heir;
        t->heir_data = rt_blob_ref(data);
    }
    lock_release(&all->l);
    rt_blob_unref(old);
    return e;
}

/* t changes hands; with the lock held. The signal is to be sent afterwards. */
static void pass(rt_tab *t, rt_pid from, rt_pid to, rt_blob *gift) {
    rt_blob_unref(t->gift); /* of a transfer that was overtaken by this one */
    t->gift = rt_blob_ref(gift);
    t->from = from;
    own(t, to);
}

err rt_table_give_away(rt_ctx *cx, rt_tid id, rt_pid to, rt_blob *data) {
    rt_shard *sh = cx->sh;
    rt_tables *all = sh->node->tables;
    rt_pid self = rt_self(cx);
    rt_tab *t;
    if (!rt_pid_ok(to) || !may_own(sh->node, to) || rt_pid_eq(to, self)) return ERR_INVALID;
    if (rt_pid_shard(to) == sh->id && !rt_actor_find(sh, to)) return ERR_NOPROC;
    lock_take(&all->l);
    err e = mine(cx, id, &t);
    if (!e) pass(t, self, to, data);
    lock_release(&all->l);
    if (!e) rt_signal_send(sh, self, to, RT_SIG_TABLE, id, ERR_OK);
    return e;
}

rt_tid rt_table_whereis(rt_reader *r, slice name) {
    slice v;
    rt_tid t;
    if (rt_tab_lookup(r->node->tables->names, name, &v)) return 0;
    memcpy(&t, v.p, sizeof t);
    return t;
}

/* --- the end of an owner, and what comes of it ------------------------------------------------------------------------------------ */
void rt_tables_arrive(rt_shard *sh, rt_actor *a, rt_pid from, rt_tid id, err reason) {
    rt_tables *all = sh->node->tables;
    rt_pid self = rt_actor_pid(a);
    rt_blob *gift = NULL;
    lock_take(&all->l);
    rt_tab *t = rt_tab_find(sh->node, id);
    bool meant = t && rt_pid_eq(owner_of(t), self) && rt_pid_eq(t->from, from);
    if (meant) {
        gift = t->gift;
        t->gift = NULL;
    }
    lock_release(&all->l);
    if (!meant) return; /* it was dropped or given away meanwhile */
    a->flags |= RT_A_TABLES;
    rt_msg *m = rt_msg_new(&sh->cx, RT_TRANSFER, sizeof(rt_transfer));
    *rt_transfer_of(m) = (rt_transfer){.table = id, .from = from, .reason = reason, .data = gift};
    m->sender = from;
    rt_mailbox_append(sh, a, m);
}

/* Those of pid, one at a time: sending may not be done with the lock held, and the next one is found from where this one was. */
static bool end_one(rt_shard *sh, rt_pid pid, bool inherit, err reason, unsigned *from) {
    rt_tables *all = sh->node->tables;
    rt_tab *t = NULL;
    lock_take(&all->l);
    for (; *from < RT_TABLES_MAX; ++*from) {
        t = at(&all->at[*from]);
        if (t && rt_pid_eq(owner_of(t), pid)) break;
        t = NULL;
    }
    ++*from;
    rt_pid heir = t ? t->heir : RT_PID_NONE;
    rt_tid id = t ? t->id : 0;
    char name[RT_TABLE_NAME_MAX + 1] = "";
    if (t) memcpy(name, t->name, sizeof name);
    bool passes = inherit && rt_pid_ok(heir) && !rt_pid_eq(heir, pid) && !sh->freeing;
    if (t && passes) pass(t, pid, heir, t->heir_data);
    if (t && !passes) unpublish(&sh->reader, t);
    lock_release(&all->l);
    if (!t) return false;
    if (!sh->freeing) /* a table that ends with the node is not lost to anybody */
        rt_event_text(&sh->cx, passes ? EV_TABLE_HEIR : EV_TABLE_LOST, id, passes ? heir.slot : pid.slot, slice_str(name));
    if (passes)
        rt_signal_send(sh, pid, heir, RT_SIG_TABLE, id, reason);
    else
        rt_epoch_retire(&sh->reader, &t->retired);
    return true;
}

void rt_tables_owner_end(rt_shard *sh, rt_pid pid, bool inherit, err reason) {
    unsigned from = 0;
    while (end_one(sh, pid, inherit, reason, &from)) {
    }
}

/* --- looking --------------------------------------------------------------------------------------------------------------------- */
size_t rt_table_list(rt_reader *r, rt_tid *out, size_t max) {
    size_t n = 0;
    for (unsigned i = 0; i < RT_TABLES_MAX && n < max; i++) {
        const rt_tab *t = at(&r->node->tables->at[i]);
        if (t) out[n++] = t->id;
    }
    return n;
}

err rt_table_info_of(rt_reader *r, rt_tid id, rt_table_info *out) {
    rt_tables *all = r->node->tables;
    const rt_tab *t = rt_tab_find(r->node, id);
    if (!t) return ERR_NO_TABLE;
    lock_take(&all->l);
    rt_pid heir = t->heir;
    lock_release(&all->l);
    *out = (rt_table_info){.id = id,
                           .owner = owner_of(t),
                           .heir = heir,
                           .writers = t->writers,
                           .stripes = t->n_stripes,
                           .first_lock = t->stripes[0].l.id,
                           .entries = rt_tab_sum(t, false),
                           .bytes = rt_tab_sum(t, true),
                           .bytes_max = t->bytes_max};
    memcpy(out->name, t->name, sizeof out->name);
    return ERR_OK;
}

/* --- the node's ------------------------------------------------------------------------------------------------------------------ */
/* Written by the runtime alone: nobody but the node owns it, and no actor is the node. */
static rt_tab *own_table(rt_node *n, const char *name) {
    rt_tables *all = n->tables;
    rt_tab *t = rt_tab_new(n, ++all->next_id, &(rt_table_cfg){.name = name, .stripes = 1});
    atomic_store_explicit(place_of(all, t->id), t, memory_order_release); /* partner: at */
    return t;
}

void rt_tables_init(rt_node *n) {
    n->tables = mem_zalloc(sizeof *n->tables);
    lock_init(&n->tables->l, &n->locks, "tables", 0, LOCK_RANK_TABLES);
    n->tables->names = own_table(n, "rt.tables");
    n->tables->actors = own_table(n, "rt.names");
    rt_reader *r = rt_epoch_begin(n);
    const rt_tab *const made[] = {n->tables->names, n->tables->actors};
    for (size_t i = 0; i < ARRAY_LEN(made); i++) /* the table is empty: it has room, and not the name */
        (void)check(rt_tab_put(r, n->tables->names, slice_str(made[i]->name), id_slice(&made[i]->id), true) == ERR_OK);
    rt_epoch_end(&r);
}

void rt_tables_fini(rt_node *n) {
    if (!n->tables) return;
    rt_reader *r = rt_epoch_begin(n);
    for (unsigned i = 0; i < RT_TABLES_MAX; i++) {
        rt_tab *t = at(&n->tables->at[i]);
        if (t) rt_epoch_retire(r, &t->retired);
    }
    rt_epoch_end(&r);
    lock_fini(&n->tables->l);
    mem_free(n->tables);
    n->tables = NULL;
}
