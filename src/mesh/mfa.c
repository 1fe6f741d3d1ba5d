/* mfa: the table of mfa.def, and what its functions share: arguments, results, asking the shards.
 *
 *     link's shard                    thread of the pool                     each shard, between two handlers
 *     mesh_mfa_find  -- a job -->     mesh_mfa_actors  -- rt_node_call -->   copies up to ACTORS_BATCH actors
 *                                     fn for each      <------------------
 *     the answer     <-- JOB_DONE --  writes the term
 *
 * Invariants: (1) arguments were read through once, as a whole, before a function sees them: reading them again does not fail, but they may
 * be terms of any kind. (2) A shard is held up for one batch at a time. */
#include "mesh/mfa.h"

#include "base/mem.h"
#include "rt/event.h"
#include "rt/verbs_fn.h"

#define ACTORS_BATCH 256u

static const mesh_mfa table[] = {
#define MFA(module, function, arity, fn, when) {module, function, arity, when, mesh_mfa_##fn},
#include "mesh/mfa.def"
#undef MFA
};

const mesh_mfa *mesh_mfa_find(const mesh *m, slice module, slice function, uint32_t arity) {
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (table[i].arity == arity && slice_is(function, table[i].function) && slice_is(module, table[i].module))
            return table[i].when == MESH_STOPS && !m->stop ? NULL : &table[i];
    return NULL;
}

bool mesh_mfa_is_module(slice module) {
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (slice_is(module, table[i].module)) return true;
    return false;
}

/* --- arguments --------------------------------------------------------------------------------------------------------------------- */
etf_reader mesh_mfa_arg(const mesh_mfa_call *c, uint32_t i) {
    etf_reader r = etf_reader_of(c->args);
    etf_item list;
    bool there = etf_next(&r, &list);
    for (uint32_t k = 0; there && k < i; k++) there = etf_skip(&r, NULL);
    (void)check(there);
    return r;
}

bool mesh_mfa_atom(const mesh_mfa_call *c, uint32_t i, slice *out) {
    etf_reader r = mesh_mfa_arg(c, i);
    return etf_get_atom(&r, out);
}

bool mesh_mfa_list(etf_reader *r, uint32_t *out_n) {
    etf_item it;
    etf_reader at = *r;
    if (!etf_next(&at, &it) || (it.kind != ETF_LIST && it.kind != ETF_NIL)) return false;
    *out_n = it.kind == ETF_LIST ? it.n : 0;
    *r = at;
    return true;
}

bool mesh_mfa_args(slice term, buf *text, slice *out, uint32_t *out_arity) {
    etf_reader r = etf_reader_of(term);
    etf_item it, tail = {.kind = ETF_NIL};
    if (!etf_next(&r, &it) || (it.kind != ETF_LIST && it.kind != ETF_NIL && it.kind != ETF_STRING)) return false;
    *out_arity = it.kind == ETF_LIST ? it.n : it.kind == ETF_STRING ? (uint32_t)it.text.len : 0;
    *out = term;
    if (it.kind == ETF_STRING) { /* as a list of integers */
        etf_put_list(text, *out_arity);
        for (uint32_t i = 0; i < *out_arity; i++) etf_put_int(text, it.text.p[i]);
        etf_put_nil(text);
        *out = buf_slice(text);
        return true;
    }
    for (uint32_t i = 0; it.kind == ETF_LIST && i < it.n; i++)
        if (!etf_skip(&r, NULL)) return false;
    return it.kind == ETF_NIL || (etf_next(&r, &tail) && tail.kind == ETF_NIL);
}

/* --- results ----------------------------------------------------------------------------------------------------------------------- */
void mesh_mfa_ok(buf *out) { etf_put_atom(out, SLICE("ok")); }

void mesh_mfa_pair(buf *out, const char *key) {
    etf_put_tuple(out, 2);
    etf_put_atom(out, slice_str(key));
}

void mesh_mfa_pair_uint(buf *out, const char *key, uint64_t v) {
    mesh_mfa_pair(out, key);
    etf_put_uint(out, v);
}

void mesh_mfa_text(buf *out, const char *s) { etf_put_string(out, slice_str(s)); }

void mesh_mfa_call_of(buf *out, const char *cls, const char *callback) {
    etf_put_tuple(out, 3);
    etf_put_atom(out, slice_str(cls));
    etf_put_atom(out, slice_str(callback));
    etf_put_int(out, 3);
}

void mesh_mfa_stamp(buf *out, usec wall) {
    etf_put_tuple(out, 3);
    etf_put_int(out, wall / USEC_PER_SEC / 1000000);
    etf_put_int(out, wall / USEC_PER_SEC % 1000000);
    etf_put_int(out, wall % USEC_PER_SEC);
}

void mesh_mfa_pid(const mesh_mfa_call *c, rt_reader *r, rt_pid pid) {
    mesh_node n = {0};
    slice v;
    etf_pid p = mesh_etf_pid(c->m, pid);
    if (pid.node != 0) {
        if (rt_table_lookup(r, c->m->nodes, slice_of(&pid.node, sizeof pid.node), &v) != ERR_OK) {
            etf_put_atom(c->value, SLICE("undefined"));
            return;
        }
        memcpy(&n, v.p, v.len < sizeof n ? v.len : sizeof n);
        p = (etf_pid){.node = slice_of(n.name, n.name_len), .id = pid.slot, .serial = pid.gen, .creation = n.creation};
    }
    etf_put_pid(c->value, &p);
}

void mesh_mfa_stack(slice module, slice function, slice args, buf *out) {
    etf_put_list(out, 1);
    etf_put_tuple(out, 4);
    etf_put_atom(out, module);
    etf_put_atom(out, function);
    buf_add(out, args);
    etf_put_nil(out);
    etf_put_nil(out);
}

void mesh_mfa_audit(const mesh_mfa_call *c) {
    buf text;
    buf_init(&text, 4096);
    buf_add(&text, c->peer);                                                                     /* graphic ASCII (proto/dist/name.h) */
    buf_addf(&text, ": " SLICE_FMT ":" SLICE_FMT, SLICE_ARG(c->module), SLICE_ARG(c->function)); /* names of mfa.def */
    rt_event_ext(c->m->node, EV_MESH_CHANGED, 0, 0, buf_slice(&text));
    buf_fini(&text);
}

/* --- asking the shards ------------------------------------------------------------------------------------------------------------- */
typedef struct batch {
    rt_verb_ask ask;
    uint32_t from;
    size_t n;
    rt_actor_info info[ACTORS_BATCH];
} batch;
static void do_batch(rt_ctx *cx, rt_shard_call *call) {
    batch *b = container_of(call, batch, ask.call);
    b->n = rt_stat_actors(cx, &b->from, b->info, ACTORS_BATCH);
}

void mesh_mfa_actors(mesh_mfa_call *c, void (*fn)(void *arg, const rt_actor_info *i), void *arg) {
    rt_verb_call v = {.node = c->m->node};
    for (unsigned shard = 0; shard < rt_node_shards(v.node); shard++) {
        uint32_t from = 0;
        for (bool more = true; more;) {
            batch *b = container_of(rt_verb_ask_new(sizeof *b, do_batch), batch, ask);
            b->from = from;
            if (rt_verb_ask_shard(&v, shard, &b->ask)) break; /* it has dropped b */
            for (size_t i = 0; i < b->n; i++) fn(arg, &b->info[i]);
            from = b->from;
            more = b->n == ACTORS_BATCH;
            rt_verb_ask_unref(&b->ask);
        }
    }
}

typedef struct one {
    rt_verb_ask ask;
    rt_pid pid;
    bool alive;
    size_t n, max;
    rt_actor_info info;
    rt_stat_relation relations[];
} one;
static void do_one(rt_ctx *cx, rt_shard_call *call) {
    one *o = container_of(call, one, ask.call);
    o->alive = rt_stat_actor(cx, o->pid, &o->info, o->relations, o->max, &o->n);
}

bool mesh_mfa_actor(mesh_mfa_call *c, rt_pid pid, rt_actor_info *out, rt_stat_relation *relations, size_t max, size_t *out_n) {
    rt_verb_call v = {.node = c->m->node};
    if (!rt_verb_is_ours(&v, pid)) return false; /* a number of a shard that there is not */
    one *o = container_of(rt_verb_ask_new(sizeof *o + max * sizeof o->relations[0], do_one), one, ask);
    o->pid = pid;
    o->max = max;
    if (rt_verb_ask_shard(&v, rt_pid_shard(pid), &o->ask)) return false;
    bool alive = o->alive;
    if (alive) {
        *out = o->info;
        if (max) {
            memcpy(relations, o->relations, o->n * sizeof relations[0]);
            *out_n = o->n;
        }
    }
    rt_verb_ask_unref(&o->ask);
    return alive;
}
