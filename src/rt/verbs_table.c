/* verbs_table: the looks at tables: chains of hash tables of every kind (maps.h, table.h), and whose the shared ones are.
 *
 *     tables         names of what can be shared, then each shard's own: the shard is asked, a part at a time
 *     tables list    shared tables, the largest first
 *
 * Invariant: a table is read in parts of RT_MAPS_PART buckets, with the epoch left between two: what is replaced meanwhile is freed. */
#include "base/mem.h"
#include "rt/core.h"
#include "rt/table.h"
#include "rt/verbs_fn.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define TABLES_ON_SHARD 4096u /* more than any shard shows; an end to asking */
#define LIST_DEFAULT    100u

/* --- chains ---------------------------------------------------------------------------------------------------------------------- */
typedef struct table_ask {
    rt_verb_ask ask;
    rt_maps_look look;
} table_ask;

static void do_table(rt_ctx *cx, rt_shard_call *call) { rt_maps_look_on(cx, &container_of(call, table_ask, ask.call)->look); }

/* Buckets that a good hash leaves used: b * (1 - (1 - 1/b)^n). */
static double used_by_chance(double entries, double buckets) {
    return buckets > 1 ? buckets * (1 - pow(1 - 1 / buckets, entries)) : entries > 0;
}

static void push_table(rt_verb_call *c, const char *shard, const rt_maps_look *l) {
    const hmap_chains *s = &l->chains;
    val *m = val_map(c->arena);
    rt_verb_text(c, m, "table", l->name);
    rt_verb_uint(c, m, "id", l->id);
    rt_verb_text(c, m, "shard", shard);
    rt_verb_uint(c, m, "entries", l->count);
    rt_verb_uint(c, m, "buckets", l->buckets);
    rt_verb_uint(c, m, "used", s->used);
    rt_verb_uint(c, m, "longest_chain", s->longest);
    val_set(c->arena, m, "average_chain", val_real(c->arena, s->used ? (double)s->entries / (double)s->used : 0));
    double chance = used_by_chance((double)s->entries, (double)l->buckets);
    val_set(c->arena, m, "spread_percent", val_real(c->arena, s->entries ? rt_verb_percent((double)s->used, chance) : 100));
    val_push(c->arena, c->result, m);
}

/* One table of a shard; false: there are no more, or the shard does not answer. */
static bool table_of(rt_verb_call *c, unsigned shard, uint32_t number) {
    rt_maps_look look = {.number = number};
    char text[16];
    (void)snprintf(text, sizeof text, "%u", shard);
    do {
        table_ask *a = container_of(rt_verb_ask_new(sizeof *a, do_table), table_ask, ask);
        a->look = look;
        if (rt_verb_ask_shard(c, shard, &a->ask)) {
            push_table(c, text, &(rt_maps_look){.name = "(does not answer)"});
            return false;
        }
        look = a->look;
        rt_verb_ask_unref(&a->ask);
    } while (!look.done);
    if (look.found) push_table(c, text, &look);
    return look.found;
}

/* The tables that there are; *out is to be freed. */
static size_t shared_tables(rt_node *n, rt_tid **out) {
    *out = mem_alloc(RT_TABLES_MAX * sizeof(rt_tid));
    rt_reader *r = rt_epoch_begin(n);
    size_t count = rt_table_list(r, *out, RT_TABLES_MAX);
    rt_epoch_end(&r);
    return count;
}

/* false: it has gone meanwhile. */
static bool shared_info(rt_node *n, rt_tid id, rt_table_info *out) {
    rt_reader *r = rt_epoch_begin(n);
    err e = rt_table_info_of(r, id, out);
    rt_epoch_end(&r);
    return e == ERR_OK;
}

static void chains_of_shared(rt_verb_call *c, rt_tid id) {
    rt_table_info info;
    if (!shared_info(c->node, id, &info)) return;
    rt_maps_look look = {.name = info.name[0] ? info.name : "(no name)", .id = (uint32_t)(id % RT_TABLES_MAX)};
    err e = ERR_OK;
    for (rt_table_at at = {0}; !e && !at.done;) {
        rt_reader *r = rt_epoch_begin(c->node);
        e = rt_table_chains(r, id, &at, RT_MAPS_PART, &look.chains, &look.buckets);
        rt_epoch_end(&r);
    }
    look.count = look.chains.entries;
    if (!e) push_table(c, "-", &look);
}

err rt_verb_tables(rt_verb_call *c) {
    rt_tid *shared;
    c->result = val_list(c->arena);
    size_t n = shared_tables(c->node, &shared);
    for (size_t i = 0; i < n; i++) chains_of_shared(c, shared[i]);
    mem_free(shared);
    for (unsigned i = 0; i < rt_node_shards(c->node); i++)
        for (uint32_t k = 0; k < TABLES_ON_SHARD && table_of(c, i, k); k++) {
        }
    return ERR_OK;
}

/* --- whose they are -------------------------------------------------------------------------------------------------------------- */
static int larger_first(const void *a, const void *b) {
    const rt_table_info *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static val *info_row(rt_verb_call *c, const rt_table_info *i) {
    val *m = val_map(c->arena);
    rt_verb_text(c, m, "table", i->name);
    rt_verb_uint(c, m, "id", i->id);
    if (rt_pid_ok(i->owner))
        rt_verb_pid(c, m, "owner", i->owner);
    else
        rt_verb_text(c, m, "owner", "node");
    rt_verb_pid(c, m, "heir", i->heir);
    rt_verb_text(c, m, "writers", i->writers == RT_TABLE_ALL_WRITE ? "all" : "owner");
    rt_verb_uint(c, m, "entries", i->entries);
    rt_verb_uint(c, m, "bytes", i->bytes);
    rt_verb_uint(c, m, "bytes_max", i->bytes_max);
    rt_verb_uint(c, m, "stripes", i->stripes);
    rt_verb_uint(c, m, "first_lock", i->first_lock);
    return m;
}

err rt_verb_tables_list(rt_verb_call *c) {
    uint64_t limit;
    err e = rt_verb_number(c, 0, RT_TABLES_MAX, LIST_DEFAULT, &limit);
    if (e) return e;
    rt_tid *shared;
    size_t n = shared_tables(c->node, &shared), k = 0;
    rt_table_info *info = mem_alloc((n + 1) * sizeof *info);
    for (size_t i = 0; i < n; i++) k += shared_info(c->node, shared[i], &info[k]);
    qsort(info, k, sizeof *info, larger_first);
    c->result = val_list(c->arena);
    for (size_t i = 0; i < k && i < limit; i++) val_push(c->arena, c->result, info_row(c, &info[i]));
    mem_free(info);
    mem_free(shared);
    return ERR_OK;
}
