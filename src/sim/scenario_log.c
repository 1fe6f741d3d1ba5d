/* scenario log: the message log (store/log.h) on a disk that loses power, fails and fills, against a model of what it promised.
 *
 * The engine is called as its actor calls it from disk-pool jobs: put and del into a batch, commit, read, compact step by step, with other
 * work between the steps. The machine dies at a
 * file call drawn from the seed, anywhere, also during recovery. After each start everything that the log says it has is compared:
 *
 *     put -> PENDING --commit called--> MAYBE --OK--> KEPT --del, commit OK--> GONE
 *                                         |---NOSPC--> REFUSED
 *
 * Invariants checked: (1) KEPT is there, with the same bytes. (2) REFUSED and GONE are not. (3) What is there was put once, by us, with
 * these bytes. (4) What a start has shown stays (it will be delivered, and a duplicate of it will be acked): from then on it is KEPT, also
 * when the start followed a mere kill and nothing had been synced before. (5) Epochs grow. (6) Origin-id hashes of what was kept within the
 * window are known after a start. (7) No record is called damaged or lost that only a crash has touched.
 *
 * After a failed sync the kernel's cache shows what the platter may not have, and a process that starts again cannot tell; the store has to
 * write again what it relies on. So here a mere kill may follow a failed sync. */
#include "base/mem.h"
#include "sim/scenario.h"
#include "store/log_int.h"

#include <stdio.h>

#define PARTITIONS  3u
#define USERS       5u
#define OPS_DEFAULT 1500u
#define OPS_TORTURE 700u
#define LIVES_MAX   400u
#define ENV_MAX     9000u
#define STEP_MAX    20000u

typedef enum fate { PENDING, MAYBE, KEPT, REFUSED, GONE_PENDING, GONE_MAYBE, GONE } fate;

typedef struct kept {
    uint64_t id, loc, h0, h1;
    int64_t wall;
    uint32_t user, len;
    uint64_t seed; /* of its bytes */
    fate f;
    bool seen; /* by the comparison under way */
} kept;

typedef struct move {
    uint64_t id, loc;
} move;

typedef struct log_run {
    sim_world w;
    sim_net net;
    sim_host host;
    store_log *log;
    store_log_cfg cfg;
    kept *k;
    size_t n, cap;
    uint64_t epoch, counter[PARTITIONS];
    move *moves; /* copied by the compaction under way, and not told yet */
    size_t n_moves, cap_moves;
    bool copied;      /* that compaction has copied all */
    uint64_t damaged; /* losses that this start has reported */
    bool tortured;    /* one call fails, with any error (sim_run_cfg.fail_nth) */
    bool flaky;       /* EIO happens: a start may fail, and what a failed sync lost may show as damage */
    uint64_t lives, commits, refused, compactions, reads;
} log_run;

static void user_name(uint32_t u, char out[32]) { (void)snprintf(out, 32, "user%u@example.org", u); }

static void fill(uint64_t seed, uint8_t *p, size_t len) {
    prng r;
    prng_init(&r, seed);
    for (size_t i = 0; i < len; i++) p[i] = (uint8_t)prng_next(&r);
}

static kept *find(log_run *r, uint64_t id) {
    for (size_t i = r->n; i--;)
        if (r->k[i].id == id) return &r->k[i];
    return NULL;
}

static void on_damage(void *arg, uint64_t segment, uint64_t offset, const char *text) {
    log_run *r = arg;
    sim_world_log(&r->w, "damage in segment %llu at %llu: %s", (unsigned long long)segment, (unsigned long long)offset, text);
}

/* --- after a start --------------------------------------------------------------------------------------------------------------- */

static bool dead(log_run *r) { return r->host.dead != SIM_ALIVE; }

/* May the disk have been the reason? */
static bool excused(const log_run *r, err e) { return r->tortured ? e != ERR_BUG : r->flaky && e == ERR_IO; }

static void read_back(log_run *r, const kept *k) {
    buf env;
    int64_t wall = 0;
    buf_init(&env, 2 * ENV_MAX);
    err e = store_log_read(r->log, k->id, k->loc, &env, &wall);
    r->reads++;
    if (!dead(r) && !excused(r, e)) {
        uint8_t *want = mem_alloc(k->len + 1);
        fill(k->seed, want, k->len);
        if (e)
            sim_world_fail(&r->w, "message %llx cannot be read: %s", (unsigned long long)k->id, err_name(e));
        else if (!slice_eq(buf_slice(&env), slice_of(want, k->len)) || wall != k->wall)
            sim_world_fail(&r->w, "message %llx comes back altered", (unsigned long long)k->id);
        mem_free(want);
    }
    buf_fini(&env);
}

static void compare_entry(log_run *r, const store_index *x, const store_entry *e) {
    kept *k = find(r, e->id);
    char name[32];
    if (!k) {
        sim_world_fail(&r->w, "message %llx is there and was never put", (unsigned long long)e->id);
        return;
    }
    user_name(k->user, name);
    if (!slice_is(x->users[e->user], name)) sim_world_fail(&r->w, "message %llx changed its owner", (unsigned long long)e->id);
    if (k->f == REFUSED) sim_world_fail(&r->w, "message %llx was refused and is there", (unsigned long long)e->id);
    if (k->f == GONE) sim_world_fail(&r->w, "message %llx was deleted and is there", (unsigned long long)e->id);
    if (k->seen) sim_world_fail(&r->w, "message %llx is there twice", (unsigned long long)e->id);
    k->seen = true;
    k->loc = e->loc;
    k->f = KEPT;
    read_back(r, k);
}

static void compare_recent(log_run *r, const store_index *x, unsigned partition) {
    int64_t now = r->host.sys.wall(&r->host.sys);
    for (size_t i = 0; i < r->n; i++) {
        const kept *k = &r->k[i];
        if (k->f != KEPT || ((k->id >> STORE_ID_PARTITION_SHIFT) & 1023) != partition || now - k->wall > STORE_DEDUP_WINDOW - USEC_PER_SEC)
            continue;
        size_t j = 0;
        while (j < x->n_recent && (x->recent[j].h0 != k->h0 || x->recent[j].h1 != k->h1)) j++;
        if (j == x->n_recent) sim_world_fail(&r->w, "the origin-id of message %llx is forgotten", (unsigned long long)k->id);
    }
}

static void compare(log_run *r) {
    for (size_t i = 0; i < r->n; i++) r->k[i].seen = false;
    for (unsigned p = 0; p < PARTITIONS && !r->w.failed; p++) {
        store_index *x = NULL;
        err e = store_log_index(r->log, p, PARTITIONS, &x);
        if (e) {
            if (!dead(r) && !r->flaky) sim_world_fail(&r->w, "no index: %s", err_name(e));
            if (!dead(r)) sim_host_kill(&r->host, SIM_KILLED);
            return;
        }
        for (size_t i = 0; i < x->n_entries && !dead(r); i++) compare_entry(r, x, &x->entries[i]);
        if (!dead(r)) compare_recent(r, x, p);
        if (x->lost && !r->flaky) sim_world_fail(&r->w, "%llu records are called lost", (unsigned long long)x->lost);
        x->box.free(&x->box);
    }
    if (dead(r)) return;
    for (size_t i = 0; i < r->n; i++) {
        kept *k = &r->k[i];
        if (k->f == KEPT && !k->seen) sim_world_fail(&r->w, "message %llx was committed and is lost", (unsigned long long)k->id);
        if (!k->seen && k->f != REFUSED) k->f = GONE; /* it may not come back either */
    }
    if (r->damaged && !r->flaky) sim_world_fail(&r->w, "%llu losses are reported and nothing was damaged", (unsigned long long)r->damaged);
}

/* --- a life ------------------------------------------------------------------------------------------------------------------------ */

static void put(log_run *r) {
    uint32_t user = (uint32_t)sim_world_below(&r->w, USERS);
    char name[32];
    user_name(user, name);
    unsigned p = store_partition(slice_str(name), PARTITIONS);
    void *v = r->k;
    mem_grow(&v, &r->cap, r->n + 1, sizeof *r->k);
    r->k = v;
    kept *k = &r->k[r->n];
    *k = (kept){.id = r->epoch << STORE_ID_EPOCH_SHIFT | (uint64_t)p << STORE_ID_PARTITION_SHIFT | ++r->counter[p], .f = PENDING};
    k->user = user;
    k->len = (uint32_t)(sim_world_chance(&r->w, 1, 8) ? sim_world_below(&r->w, ENV_MAX) : sim_world_below(&r->w, 300));
    k->wall = r->host.sys.wall(&r->host.sys);
    k->seed = prng_next(&r->w.rng), k->h0 = prng_next(&r->w.rng) | 1, k->h1 = prng_next(&r->w.rng);
    uint8_t *env = mem_alloc(k->len + 1);
    fill(k->seed, env, k->len);
    err e = store_log_put(r->log, k->id, slice_str(name), slice_of(env, k->len), k->wall, k->h0, k->h1, &k->loc);
    mem_free(env);
    if (e == ERR_OK)
        r->n++;
    else if (e != ERR_FULL && !dead(r) && !excused(r, e) && e != ERR_NOSPC)
        sim_world_fail(&r->w, "put: %s", err_name(e));
}

static void del(log_run *r) {
    for (unsigned tries = 0; r->n && tries < 10; tries++) {
        kept *k = &r->k[sim_world_below(&r->w, r->n)];
        if (k->f != KEPT) continue;
        if (store_log_del(r->log, k->id, k->loc) == ERR_OK) k->f = GONE_PENDING;
        return;
    }
}

static void settle(log_run *r, fate pending, fate gone) {
    for (size_t i = 0; i < r->n; i++) {
        if (r->k[i].f == PENDING || r->k[i].f == MAYBE) r->k[i].f = pending;
        if (r->k[i].f == GONE_PENDING || r->k[i].f == GONE_MAYBE) r->k[i].f = gone;
    }
}

static void commit(log_run *r) {
    settle(r, MAYBE, GONE_MAYBE);
    err e = store_log_commit(r->log);
    if (dead(r)) return;
    if (e == ERR_OK) {
        settle(r, KEPT, GONE);
        r->commits++;
    } else if (e == ERR_NOSPC) {
        settle(r, REFUSED, KEPT);
        r->refused++;
    } else if (!r->flaky) {
        sim_world_fail(&r->w, "commit: %s", err_name(e));
    } else {
        sim_host_kill(&r->host, sim_world_chance(&r->w, 1, 2) ? SIM_POWER : SIM_KILLED); /* the node ends */
    }
}

static void moved(void *arg, slice user, uint64_t id, uint64_t loc) {
    (void)user;
    log_run *r = arg;
    void *v = r->moves;
    mem_grow(&v, &r->cap_moves, r->n_moves + 1, sizeof *r->moves);
    r->moves = v;
    r->moves[r->n_moves++] = (move){id, loc};
}

/* Who has messages in the segment has heard where they are now, and it can go. */
static err told(log_run *r) {
    for (size_t i = 0; i < r->n_moves; i++) {
        kept *k = find(r, r->moves[i].id);
        if (k) k->loc = r->moves[i].loc;
    }
    r->n_moves = 0;
    r->copied = false;
    err e = store_log_drop(r->log, r->log->moving->number);
    r->compactions += !e;
    return e;
}

/* A step of compaction. Until all is copied and told, deletions and reads come with the places of before. */
static void compact(log_run *r) {
    commit(r); /* the batch must be empty */
    if (dead(r)) return;
    err e = ERR_OK;
    if (!r->log->moving && r->w.steps % 4) r->w.now += STORE_DEDUP_WINDOW; /* a quiet while: origin-ids are out of the window */
    if (r->copied)
        e = told(r);
    else if (r->log->moving || store_log_wants_compact(r->log, r->host.sys.mono(&r->host.sys), false))
        e = store_log_compact_step(r->log, (size_t)(1 + sim_world_below(&r->w, STEP_MAX)), moved, r, &r->copied);
    if (dead(r) || e == ERR_OK || e == ERR_NOSPC) return;
    if (!r->flaky) sim_world_fail(&r->w, "compaction: %s", err_name(e));
    sim_host_kill(&r->host, SIM_KILLED);
}

static void one(log_run *r) {
    r->w.now += sim_world_latency(&r->w, 20 * USEC_PER_MSEC, 600 * USEC_PER_SEC);
    sim_world_note(&r->w, r->host.file_calls);
    r->w.steps++;
    uint64_t draw = sim_world_below(&r->w, 20);
    if (draw < 10)
        put(r);
    else if (draw < 14)
        del(r);
    else if (draw < 18)
        commit(r);
    else if (draw < 19)
        compact(r);
    else if (r->n) {
        const kept *k = &r->k[sim_world_below(&r->w, r->n)];
        if (k->f == KEPT) read_back(r, k);
    }
}

static bool start(log_run *r) {
    store_log_open_stat st;
    r->damaged = 0;
    r->log = NULL;
    r->n_moves = 0;
    r->copied = false;
    err e = store_log_open(&r->host.sys, &r->cfg, on_damage, r, &r->log, &st);
    if (e) {
        if (!dead(r) && !r->flaky && e != ERR_NOSPC) sim_world_fail(&r->w, "the log does not open: %s", err_name(e));
        return false;
    }
    if (st.epoch <= r->epoch) sim_world_fail(&r->w, "epoch %llu after %llu", (unsigned long long)st.epoch, (unsigned long long)r->epoch);
    sim_world_log(&r->w, "life %llu: epoch %llu, %llu records, %llu live", (unsigned long long)r->lives, (unsigned long long)st.epoch,
                  (unsigned long long)st.records, (unsigned long long)st.live);
    r->epoch = st.epoch;
    r->damaged = st.damaged;
    memset(r->counter, 0, sizeof r->counter);
    compare(r);
    return !dead(r);
}

static void life(log_run *r, unsigned ops, bool last) {
    r->lives++;
    if (!last && !r->tortured && sim_world_chance(&r->w, 7, 8)) {
        sim_death how = sim_world_chance(&r->w, 1, 2) ? SIM_POWER : SIM_KILLED;
        uint32_t soon = sim_world_chance(&r->w, 1, 3) ? 30 : 400;
        sim_host_light(&r->host, how, 1 + (uint32_t)sim_world_below(&r->w, soon));
    }
    if (last) r->host.fault.nth = 0, r->host.disk.capacity = 0, r->host.disk.faults = (sim_disk_faults){0}; /* in the end it must start */
    if (start(r))
        while (ops-- && !dead(r) && !r->w.failed) one(r);
    if (!dead(r) && r->log && !last && sim_world_chance(&r->w, 1, 2)) sim_host_kill(&r->host, SIM_KILLED); /* else it is closed in order */
    settle(r, MAYBE, GONE_MAYBE);
    store_log_close(r->log);
    r->log = NULL;
    if (!dead(r) && sim_host_open_handles(&r->host))
        sim_world_fail(&r->w, "the log was closed and holds %zu files", sim_host_open_handles(&r->host));
    if (!dead(r)) sim_host_kill(&r->host, SIM_KILLED);
    sim_world_log(&r->w, "%s after %llu file calls", r->host.dead == SIM_POWER ? "power cut" : "killed",
                  (unsigned long long)r->host.file_calls);
    sim_host_reset(&r->host);
}

void sim_scenario_log(const sim_run_cfg *c, sim_result *out) {
    log_run *r = mem_zalloc(sizeof *r);
    sys_addr ip;
    sim_host_address(1, &ip);
    sim_world_init(&r->w, c->seed);
    r->w.verbose = c->verbose;
    sim_net_init(&r->net, &r->w);
    sim_host_init(&r->host, &r->w, &r->net, &ip);
    r->host.survives_eio = true;
    store_log_cfg_default(&r->cfg);
    r->cfg.dir = "log";
    r->cfg.partitions = PARTITIONS;
    r->cfg.segment_bytes = 16384u << sim_world_below(&r->w, 4);
    r->cfg.batch_bytes_max = 65536;
    r->cfg.segments_open_max = 1 + (uint32_t)(c->seed % 4); /* files are opened again and again; not drawn: old seeds stay */
    if (c->fail_nth) {
        sim_fault_plan(&r->host.fault, c->fail_nth, c->seed);
        r->tortured = r->flaky = true;
        r->cfg.segment_bytes = 16384;
    }
    bool faults = !c->calm && !c->fail_nth;
    if (faults && sim_world_chance(&r->w, 1, 3)) r->host.disk.capacity = (uint64_t)sim_world_between(&r->w, 300000, 1000000);
    if (faults && sim_world_chance(&r->w, 1, 3)) r->host.disk.faults.nospc = 2000;
    if (faults && sim_world_chance(&r->w, 1, 4)) {
        r->flaky = true;
        r->host.disk.faults.sync_eio = 5000, r->host.disk.faults.write_eio = 2000, r->host.disk.faults.read_eio = 200;
    }
    unsigned left = c->ops ? c->ops : c->fail_nth ? OPS_TORTURE : OPS_DEFAULT;
    while (left && r->lives < LIVES_MAX && !r->w.failed) {
        unsigned ops = 1 + (unsigned)sim_world_below(&r->w, left < 120 ? left : 120);
        life(r, ops, false);
        left -= ops;
    }
    if (c->fail_nth) sim_scenario_calls(&r->host.fault, out); /* the last start is the judge's */
    if (!r->w.failed) life(r, 0, true);
    sim_scenario_finish(
        &r->w, out,
        "%llu lives, %zu messages, %llu commits, %llu refused, %llu compactions, %llu reads, sectors kept %llu dropped %llu torn %llu%s",
        (unsigned long long)r->lives, r->n, (unsigned long long)r->commits, (unsigned long long)r->refused,
        (unsigned long long)r->compactions, (unsigned long long)r->reads, (unsigned long long)r->host.disk.kept,
        (unsigned long long)r->host.disk.dropped, (unsigned long long)r->host.disk.torn, r->flaky ? ", EIO" : "");
    sim_host_fini(&r->host);
    sim_net_fini(&r->net);
    sim_world_fini(&r->w);
    mem_free(r->k);
    mem_free(r->moves);
    mem_free(r);
}
