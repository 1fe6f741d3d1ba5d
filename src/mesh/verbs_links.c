/* verbs_links: each connection to another node in numbers (murrectl links): the links themselves count, on their shards. */
#include "base/mem.h"
#include "mesh/link.h"
#include "rt/verbs_fn.h"

#define ROWS_MAX 64u /* of a shard at once */

typedef struct row {
    rt_pid pid;
    uint8_t name_len;
    uint8_t name[DIST_NAME_MAX];
    uint32_t index;
    bool tls, hidden, full;
    usec age, silent; /* silent: in whole intervals of ticks */
    mesh_link_counts n;
    uint64_t out_waiting, queued, queued_bytes, relations;
} row;
typedef struct links_ask {
    rt_verb_ask ask;
    uint32_t from;
    bool more;
    size_t n;
    row at[ROWS_MAX];
} links_ask;

static row row_of(rt_ctx *cx, const mesh_link *l, rt_pid pid) {
    rt_actor_info info = {.cls = NULL};
    row r = {.pid = pid,
             .name_len = (uint8_t)l->name_len,
             .index = l->index,
             .tls = l->tls != NULL,
             .hidden = l->hidden,
             .full = l->busy,
             .age = rt_now(cx) - l->n.up_at,
             .silent = l->silent * (l->m->cfg.ticktime / MESH_TICK_INTENSITY),
             .n = l->n,
             .out_waiting = mesh_turn_waiting(l),
             .relations = l->rels.ours + l->rels.theirs};
    memcpy(r.name, l->name, l->name_len);
    if (rt_stat_actor(cx, pid, &info, NULL, 0, NULL)) {
        r.queued = info.messages.queued;
        r.queued_bytes = info.messages.bytes;
    }
    return r;
}

static void do_links(rt_ctx *cx, rt_shard_call *call) {
    links_ask *a = container_of(call, links_ask, ask.call);
    uint32_t slots = rt_stat_slots(cx), end = slots - a->from > RT_STAT_SCAN ? a->from + RT_STAT_SCAN : slots;
    rt_pid pid;
    const mesh_link *l = NULL;
    while (a->n < ROWS_MAX && (l = rt_stat_state(cx, &mesh_link_class, &a->from, end, &pid)) != NULL)
        if (!l->hand) a->at[a->n++] = row_of(cx, l, pid);
    a->more = a->from < slots;
}

static void push(rt_verb_call *c, const row *r) {
    val *m = val_map(c->arena);
    val_set(c->arena, m, "node", val_str(c->arena, slice_of(r->name, r->name_len)));
    rt_verb_uint(c, m, "age_usec", (uint64_t)r->age);
    rt_verb_uint(c, m, "silent_usec", (uint64_t)r->silent);
    rt_verb_uint(c, m, "in_bytes", r->n.in_bytes);
    rt_verb_uint(c, m, "out_bytes", r->n.out_bytes);
    rt_verb_uint(c, m, "in_messages", r->n.in_messages);
    rt_verb_uint(c, m, "out_messages", r->n.out_messages);
    rt_verb_uint(c, m, "in_ticks", r->n.in_ticks);
    rt_verb_uint(c, m, "out_ticks", r->n.out_ticks);
    rt_verb_uint(c, m, "waiting_bytes", r->out_waiting);
    rt_verb_uint(c, m, "queued", r->queued);
    rt_verb_uint(c, m, "queued_bytes", r->queued_bytes);
    val_set(c->arena, m, "full", val_bool(c->arena, r->full));
    rt_verb_uint(c, m, "relations", r->relations);
    val_set(c->arena, m, "tls", val_bool(c->arena, r->tls));
    val_set(c->arena, m, "hidden", val_bool(c->arena, r->hidden));
    rt_verb_pid(c, m, "link", r->pid);
    val_push(c->arena, c->result, m);
}

static bool is_wanted(const rt_verb_call *c, const row *r) {
    return c->n_args == 0 || slice_eq(c->args[0], slice_of(r->name, r->name_len));
}

/* False: the shard does not answer. */
static bool links_of(rt_verb_call *c, unsigned shard, size_t *out_n) {
    uint32_t from = 0;
    for (bool more = true; more;) {
        links_ask *a = container_of(rt_verb_ask_new(sizeof *a, do_links), links_ask, ask);
        a->from = from;
        if (rt_verb_ask_shard(c, shard, &a->ask)) return false;
        for (size_t i = 0; i < a->n; i++) {
            if (!is_wanted(c, &a->at[i])) continue;
            push(c, &a->at[i]);
            (*out_n)++;
        }
        from = a->from;
        more = a->more;
        rt_verb_ask_unref(&a->ask);
    }
    return true;
}

err mesh_links_verb(rt_verb_call *c) {
    size_t n = 0;
    c->result = val_list(c->arena);
    for (unsigned i = 0; i < rt_node_shards(c->node); i++) {
        if (links_of(c, i, &n)) continue;
        val *m = val_map(c->arena);
        val_set(c->arena, m, "node", val_strf(c->arena, "(shard %u does not answer)", i));
        val_push(c->arena, c->result, m);
    }
    return c->n_args && n == 0 ? rt_verb_fail(c, ERR_NOT_FOUND, c->args[0], "is not connected") : ERR_OK;
}
