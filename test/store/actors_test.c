/* actors_test: the store as services see it: messages in, messages out, on a node that is stepped over the simulated disk. */
#include "base/cursor.h"
#include "base/mem.h"
#include "rt/event.h"
#include "store/keyed_backup.h"
#include "store/keyed_sql.h"
#include "store/log_int.h"
#include "support/memsys.h"

#include <stdio.h>
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#define PARTS 2
#define PEERS 3
enum { T_SEND = RT_TAG_TEST, T_FILL };
#define T_SEND_FIELDS(F) F(PID, to, "where") F(U64, what, "the message, owned by the test until it is sent")
RT_MSG_DECLARE(T_SEND, t_send, "send this as yours")
RT_MSG_FIELDS(T_SEND, t_send, "send this as yours")
#define T_FILL_FIELDS(F) F(U32, kind, "rt_pool_kind")
RT_MSG_DECLARE(T_FILL, t_fill, "give this pool a job that does nothing")
RT_MSG_FIELDS(T_FILL, t_fill, "give this pool a job that does nothing")
static const rt_msg_desc t_msgs[] = {RT_MSG_DESC(T_SEND, t_send, "send this as yours")
                                         RT_MSG_DESC(T_FILL, t_fill, "give this pool a job that does nothing")};

typedef struct peer { /* a partition of the test: keeps what it gets */
    rt_pid pid;
    rt_msg *got[2000];
    size_t n;
} peer;
typedef struct world {
    memsys m;
    rt_node *n;
    store_log_cfg log;
    store_keyed_cfg keyed;
    unsigned pool_queue_max; /* of disk and SQL; 0: as always */
    uint64_t segment_bytes;  /* 0: 32 KiB */
    uint64_t queue_bytes_max;
    rt_pid log_pid, keyed_pid;
    peer peer[PEERS];
} world;

static err peer_init(rt_ctx *cx, void *st, const void *arg) {
    peer *p = *(peer *const *)arg;
    *(peer **)st = p;
    p->pid = rt_self(cx);
    return ERR_OK;
}
static void job_run(rt_job *j) { (void)j; }

static err peer_handle(rt_ctx *cx, void *st, rt_msg **m) {
    peer *p = *(peer **)st;
    if ((*m)->tag == T_FILL) {
        rt_job *j = mem_zalloc(sizeof *j);
        *j = (rt_job){.box = {rt_pool_job_free}, .run = job_run, .deadline = USEC_NEVER};
        rt_pool_submit(cx, (rt_pool_kind)t_fill_of(*m)->kind, &j);
        return ERR_OK;
    }
    if ((*m)->tag == RT_JOB_DONE) return ERR_OK;
    if ((*m)->tag == T_SEND) {
        rt_msg *out = (rt_msg *)(uintptr_t)t_send_of(*m)->what;
        rt_send(cx, t_send_of(*m)->to, &out);
        return ERR_OK;
    }
    p->got[p->n++] = *m;
    *m = NULL;
    return ERR_OK;
}
static const rt_class peer_class = {.name = "peer", .state_size = sizeof(peer *), .init = peer_init, .handle = peer_handle};

typedef struct spawn_arg {
    const rt_class *c;
    const void *arg;
    rt_pid pid;
} spawn_arg;
static void do_spawn(rt_ctx *cx, void *arg) {
    spawn_arg *a = arg;
    assert_int_equal(rt_spawn(cx, a->c, a->arg, 0, &a->pid, NULL), ERR_OK);
}
static rt_pid spawn(world *w, const rt_class *c, const void *arg) {
    spawn_arg a = {c, arg, RT_PID_NONE};
    rt_node_boot(w->n, 0, do_spawn, &a);
    return a.pid;
}

static void boot(world *w) {
    rt_node_cfg c;
    rt_node_cfg_default(&c);
    c.shards = 1;
    c.spin = 0;
    if (w->pool_queue_max) c.pool_queue_max[RT_POOL_DISK] = c.pool_queue_max[RT_POOL_SQL] = w->pool_queue_max;
    assert_int_equal(rt_node_new(&c, &w->m.sys, NULL, &w->n), ERR_OK);
    rt_log_level(w->n, RT_ERROR);
    rt_node_add_msgs(w->n, store_msgs, store_msgs_count);
    rt_node_add_msgs(w->n, t_msgs, ARRAY_LEN(t_msgs));
    w->log = (store_log_cfg){.dir = "log",
                             .partitions = PARTS,
                             .segment_bytes = w->segment_bytes ? w->segment_bytes : 32768,
                             .batch_bytes_max = 16384,
                             .compact = true};
    w->log.queue_bytes_max = w->queue_bytes_max;
    w->keyed = (store_keyed_cfg){.path = "accounts.db"};
    w->log_pid = spawn(w, &store_log_class, &w->log);
    w->keyed_pid = spawn(w, &store_keyed_class, &w->keyed);
    for (int i = 0; i < PEERS; i++) {
        peer *p = &w->peer[i];
        p->n = 0;
        (void)spawn(w, &peer_class, &p);
    }
}
static world *world_new(uint64_t seed) {
    world *w = mem_zalloc(sizeof *w);
    memsys_init(&w->m, seed);
    boot(w);
    return w;
}
/* Steps until nothing is left to do now. jobs false: the disk pool stands still. */
static void run(world *w, bool jobs) {
    for (unsigned idle = 0, rounds = 0; idle < 3 && rounds < 100000; rounds++) {
        usec next = rt_node_step(w->n, 0, false);
        bool ran = jobs && (rt_pool_run_one(w->n, RT_POOL_DISK) || rt_pool_run_one(w->n, RT_POOL_SQL));
        idle = ran || next <= w->m.mono ? 0 : idle + 1;
    }
}
static void later(world *w, usec by) {
    w->m.mono += by;
    w->m.wall += by;
    run(w, true);
}
static void drop_got(world *w, peer *p) {
    for (size_t i = 0; i < p->n; i++) rt_msg_drop(w->n, &p->got[i]);
    p->n = 0;
}
static void node_end(world *w) {
    for (int i = 0; i < PEERS; i++) drop_got(w, &w->peer[i]);
    rt_node_free(w->n);
}
static void world_free(world *w) {
    node_end(w);
    memsys_fini(&w->m);
    mem_free(w);
}

static void send_as(world *w, const peer *p, rt_pid to, rt_msg *what) {
    rt_msg *m = rt_msg_new_ext(T_SEND, sizeof(t_send));
    *t_send_of(m) = (t_send){to, (uint64_t)(uintptr_t)what};
    rt_post(w->n, p->pid, &m);
}
static void attach(world *w, const peer *p, uint32_t partition) {
    rt_msg *m = rt_msg_new_ext(STORE_ATTACH, sizeof(store_attach));
    *store_attach_of(m) = (store_attach){partition, PARTS};
    send_as(w, p, w->log_pid, m);
}
/* A user of the partition. */
static slice user_of(uint32_t partition, char out[32]) {
    for (unsigned i = 0;; i++) {
        (void)snprintf(out, 32, "u%u@x", i);
        if (store_partition(slice_str(out), PARTS) == partition) return slice_str(out);
    }
}
static uint64_t id_of(uint32_t partition, uint64_t n) {
    return UINT64_C(1) << STORE_ID_EPOCH_SHIFT | (uint64_t)partition << STORE_ID_PARTITION_SHIFT | n;
}
static void put(world *w, const peer *p, uint32_t partition, uint64_t n, const char *text) {
    char user[32];
    rt_msg *m = rt_msg_new_ext(STORE_PUT, sizeof(store_put));
    *store_put_of(m) = (store_put){.id = id_of(partition, n),
                                   .user = rt_blob_new(user_of(partition, user)),
                                   .env = rt_blob_new(slice_str(text)),
                                   .wall = w->m.wall,
                                   .dedup0 = n,
                                   .dedup1 = 9};
    send_as(w, p, w->log_pid, m);
}
static void del(world *w, const peer *p, uint64_t id, uint64_t loc) {
    rt_msg *m = rt_msg_new_ext(STORE_DEL, sizeof(store_del));
    *store_del_of(m) = (store_del){id, loc};
    send_as(w, p, w->log_pid, m);
}
static rt_msg *last(const peer *p) {
    assert_true(p->n > 0);
    return p->got[p->n - 1];
}
static store_index *index_of(rt_msg *m) {
    assert_int_equal(RT_TAG(m), STORE_INDEX);
    assert_int_equal(store_index_msg_of(m)->status, ERR_OK);
    return container_of(store_index_msg_of(m)->index, store_index, box);
}
static void attach_all(world *w) {
    for (uint32_t i = 0; i < PARTS; i++) attach(w, &w->peer[i], i);
    run(w, true);
    for (uint32_t i = 0; i < PARTS; i++) assert_int_equal(RT_TAG(last(&w->peer[i])), STORE_INDEX);
}
static uint64_t loc_of(const store_committed *c, size_t i) {
    uint64_t v;
    assert_true(8 * i + 8 <= c->locs->len);
    memcpy(&v, c->locs->data + 8 * i, 8);
    return v;
}

static void what_arrives_during_a_commit_is_one_batch_and_one_answer(void **state) {
    (void)state;
    world *w = world_new(1);
    attach_all(w);
    peer *p = &w->peer[0];
    drop_got(w, p);
    put(w, p, 0, 1, "first");
    run(w, false); /* a lone message does not wait for company: its job is under way */
    for (uint64_t n = 2; n <= 40; n++) put(w, p, 0, n, "more");
    run(w, false);
    assert_int_equal(p->n, 0); /* nothing is acked before it is durable */
    uint64_t syncs = w->m.disk.syncs;
    run(w, true);
    assert_int_equal(w->m.disk.syncs, syncs + 2);
    assert_int_equal(p->n, 2);
    store_committed *a = store_committed_of(p->got[0]), *b = store_committed_of(p->got[1]);
    assert_true(a->status == ERR_OK && b->status == ERR_OK);
    assert_int_equal(a->upto, id_of(0, 1));
    assert_int_equal(b->upto, id_of(0, 40));
    assert_int_equal(a->locs->len, 8);
    assert_int_equal(b->locs->len, 39 * 8);
    world_free(w);
}

static void records_are_read_and_deleted_ones_do_not_come_back(void **state) {
    (void)state;
    world *w = world_new(2);
    attach_all(w);
    peer *p = &w->peer[1];
    put(w, p, 1, 1, "one");
    put(w, p, 1, 2, "two");
    run(w, true);
    store_committed *c = store_committed_of(last(p));
    buf ids;
    buf_init(&ids, 100);
    for (uint64_t n = 1; n <= 2; n++) {
        buf_add_u64le(&ids, id_of(1, n));
        buf_add_u64le(&ids, loc_of(c, n - 1));
    }
    rt_msg *m = rt_msg_new_ext(STORE_READ, sizeof(store_read));
    *store_read_of(m) = (store_read){77, rt_blob_new(buf_slice(&ids))};
    buf_fini(&ids);
    uint64_t first = loc_of(c, 0);
    send_as(w, p, w->log_pid, m);
    run(w, true);
    assert_int_equal(RT_TAG(last(p)), STORE_RECORDS);
    assert_int_equal(store_records_of(last(p))->ref, 77);
    cursor r = cursor_of(rt_blob_slice(store_records_of(last(p))->records));
    uint64_t id, wall;
    uint8_t status;
    slice env;
    assert_true(cursor_u64le(&r, &id) && cursor_u8(&r, &status) && cursor_u64le(&r, &wall) && cursor_lslice(&r, &env));
    assert_true(id == id_of(1, 1) && status == ERR_OK && slice_is(env, "one") && (int64_t)wall == w->m.wall);
    assert_true(cursor_u64le(&r, &id) && cursor_u8(&r, &status) && cursor_u64le(&r, &wall) && cursor_lslice(&r, &env));
    assert_true(slice_is(env, "two") && cursor_left(&r) == 0);
    del(w, p, id_of(1, 1), first);
    run(w, true);
    later(w, 10 * USEC_PER_MSEC);
    for (int restart = 0; restart < 2; restart++) {
        node_end(w);
        memsys_power_cut(&w->m);
        boot(w);
        attach_all(w);
        store_index *x = index_of(last(&w->peer[1]));
        assert_int_equal(x->n_entries, 1);
        assert_int_equal(x->entries[0].id, id_of(1, 2));
        assert_int_equal(x->n_recent, 2); /* a delivered one's origin-id still counts */
        assert_int_equal(index_of(last(&w->peer[0]))->n_entries, 0);
    }
    world_free(w);
}

static uint64_t waiting(world *w, peer *p) {
    rt_msg *m = rt_msg_new_ext(STORE_STAT, sizeof(store_stat));
    send_as(w, p, w->log_pid, m);
    for (unsigned i = 0; i < 10; i++) (void)rt_node_step(w->n, 0, false);
    assert_int_equal(RT_TAG(last(p)), STORE_STATUS);
    return store_status_of(last(p))->waiting;
}

/* A sync costs more than all else about a message, so a deletion does not have one of its own where a put comes soon. */
static void a_deletion_waits_for_a_put_but_not_long(void **state) {
    (void)state;
    world *w = world_new(3);
    peer *p = &w->peer[1];
    attach_all(w);
    put(w, p, 1, 1, "one");
    put(w, p, 1, 2, "two");
    run(w, true);
    uint64_t one = loc_of(store_committed_of(last(p)), 0), two = loc_of(store_committed_of(last(p)), 1);
    assert_int_equal(waiting(w, p), 0);
    uint64_t calls = w->m.calls;
    del(w, p, id_of(1, 1), one);
    run(w, true);
    assert_int_equal(w->m.calls, calls); /* nothing was written yet */
    assert_true(waiting(w, p) > 0);
    put(w, p, 1, 3, "three");
    run(w, true);
    assert_int_equal(RT_TAG(last(p)), STORE_COMMITTED);
    assert_int_equal(waiting(w, p), 0); /* both are */
    calls = w->m.calls;
    del(w, p, id_of(1, 2), two);
    run(w, true);
    later(w, 2 * USEC_PER_MSEC);
    assert_int_equal(w->m.calls, calls);
    later(w, 8 * USEC_PER_MSEC);
    assert_true(w->m.calls > calls);
    assert_int_equal(waiting(w, p), 0);
    node_end(w);
    memsys_power_cut(&w->m);
    boot(w);
    attach_all(w);
    const store_index *x = index_of(last(&w->peer[1]));
    assert_int_equal(x->n_entries, 1);
    assert_int_equal(x->entries[0].id, id_of(1, 3));
    world_free(w);
}

/* A partition that comes back gets everything that was put before it asked. */
static void attaching_again_waits_for_what_came_before(void **state) {
    (void)state;
    world *w = world_new(3);
    attach_all(w);
    put(w, &w->peer[0], 0, 1, "one");
    run(w, false);
    put(w, &w->peer[0], 0, 2, "two");
    attach(w, &w->peer[2], 0);
    run(w, true);
    store_index *x = index_of(last(&w->peer[2]));
    assert_int_equal(x->n_entries, 2);
    assert_int_equal(x->entries[1].id, id_of(0, 2));
    world_free(w);
}

/* A partition that ends may put, after the log has started again and before its successor attaches: what recovery found is not all. */
static void a_put_before_the_first_attach_is_in_the_index(void **state) {
    (void)state;
    world *w = world_new(16);
    run(w, true);
    put(w, &w->peer[0], 0, 1, "one");
    attach(w, &w->peer[2], 0);
    run(w, true);
    store_index *x = index_of(last(&w->peer[2]));
    assert_int_equal(x->n_entries, 1);
    assert_int_equal(x->n_recent, 1);
    assert_int_equal(x->entries[0].id, id_of(0, 1));
    world_free(w);
}

static void do_kill_log(rt_ctx *cx, void *arg) { rt_exit(cx, ((world *)arg)->log_pid, ERR_KILLED); }
/* R29: the log is killed while a batch is written. Its successor finds the log in use, waits, and then opens it with that batch in it. */
static void a_log_that_is_still_in_use_is_opened_a_moment_later(void **state) {
    (void)state;
    world *w = world_new(17);
    attach_all(w);
    put(w, &w->peer[0], 0, 1, "one");
    run(w, false);
    rt_node_boot(w->n, 0, do_kill_log, w);
    w->log_pid = spawn(w, &store_log_class, &w->log);
    run(w, false);
    assert_true(rt_pool_run_one(w->n, RT_POOL_DISK)); /* the batch, whose end nobody has seen yet */
    assert_true(rt_pool_run_one(w->n, RT_POOL_DISK)); /* the opening */
    run(w, false);
    assert_int_equal(rt_event_count(w->n, EV_STORE_AGAIN), 1);
    attach(w, &w->peer[2], 0);
    later(w, 2 * USEC_PER_MSEC);
    assert_int_equal(rt_event_count(w->n, EV_LOG_FAIL), 0);
    assert_int_equal(index_of(last(&w->peer[2]))->n_entries, 1);
    world_free(w);
}

/* R6: senders get an error, deliveries go on, and when there is space the service resumes by itself within a second. */
static void a_full_disk_refuses_puts_and_resumes_unaided(void **state) {
    (void)state;
    world *w = world_new(4);
    attach_all(w);
    peer *p = &w->peer[0];
    w->m.disk.capacity = w->m.disk.used + 4096;
    char text[3000];
    memset(text, 't', sizeof text - 1);
    text[sizeof text - 1] = 0;
    uint64_t n = 0, ok = 0, refused = 0;
    drop_got(w, p);
    for (; n < 40 && !refused; n++) {
        put(w, p, 0, n, text);
        run(w, true);
        err e = store_committed_of(last(p))->status;
        assert_true(e == ERR_OK || e == ERR_NOSPC);
        if (e == ERR_OK)
            ok++;
        else
            refused++;
    }
    assert_true(ok > 0 && refused == 1);
    uint64_t loc = loc_of(store_committed_of(p->got[0]), 0);
    put(w, p, 0, n++, "small"); /* full: refused at once */
    run(w, true);
    assert_int_equal(store_committed_of(last(p))->status, ERR_NOSPC);
    assert_int_equal(store_committed_of(last(p))->upto, id_of(0, n - 1));
    del(w, p, id_of(0, 0), loc);
    later(w, USEC_PER_SEC);
    w->m.disk.capacity = 0;
    later(w, USEC_PER_SEC);
    put(w, p, 0, n++, "again");
    run(w, true);
    assert_int_equal(store_committed_of(last(p))->status, ERR_OK);
    assert_int_equal(rt_event_count(w->n, EV_LOG_NOSPC), 1);
    assert_int_equal(rt_event_count(w->n, EV_LOG_SPACE), 1);
    node_end(w);
    memsys_power_cut(&w->m);
    boot(w);
    attach_all(w);
    assert_int_equal(index_of(last(p))->n_entries, ok); /* one deleted, one more put */
    world_free(w);
}

/* The log itself filled the disk: deliveries make room without help from outside. */
static void a_disk_that_the_log_filled_empties_itself(void **state) {
    (void)state;
    enum { MANY = 9000 };
    for (unsigned shape = 0; shape < 3; shape++) { /* few large messages; many small ones; all in one segment */
        world *w = mem_zalloc(sizeof *w);
        memsys_init(&w->m, 5);
        w->segment_bytes = shape == 2 ? 1u << 20 : 32768;
        boot(w);
        attach_all(w);
        peer *p = &w->peer[0];
        w->m.disk.capacity = w->m.disk.used + 300000;
        static uint64_t loc[MANY];
        char text[1001];
        size_t each = shape == 0 ? 1000 : 60;
        memset(text, 't', each);
        text[each] = 0;
        uint64_t n = 0;
        for (bool full = false; n < MANY && !full;) {
            drop_got(w, p);
            put(w, p, 0, n, text);
            run(w, true);
            const store_committed *c = store_committed_of(last(p));
            full = c->status != ERR_OK;
            if (!full) loc[n++] = loc_of(c, 0);
        }
        assert_true(n > 100 && n < MANY);
        for (uint64_t i = 0; i < n; i++) del(w, p, id_of(0, i), loc[i]);
        for (int i = 0; i < 60; i++) later(w, 500 * USEC_PER_MSEC);
        assert_int_equal(waiting(w, p), 0);
        assert_true(rt_event_count(w->n, EV_LOG_SPACE) > 0);
        drop_got(w, p);
        put(w, p, 0, n, "there is room");
        run(w, true);
        assert_int_equal(store_committed_of(last(p))->status, ERR_OK);
        node_end(w);
        memsys_power_cut(&w->m);
        boot(w);
        attach_all(w);
        assert_int_equal(index_of(last(p))->n_entries, 1);
        world_free(w);
    }
}

static void fill(world *w, const peer *p, rt_pool_kind kind) {
    rt_msg *m = rt_msg_new_ext(T_FILL, sizeof(t_fill));
    t_fill_of(m)->kind = (uint32_t)kind;
    rt_post(w->n, p->pid, &m);
}

/* An engine's job that its pool has no room for: asked again after a wait that doubles, never in a loop, and done in the end. */
static void a_full_pool_is_asked_again_after_a_while(void **state) {
    (void)state;
    for (int accounts = 0; accounts < 2; accounts++) {
        world *w = mem_zalloc(sizeof *w);
        memsys_init(&w->m, 13);
        w->pool_queue_max = 1;
        boot(w);
        attach_all(w);
        peer *p = &w->peer[0];
        drop_got(w, p);
        uint64_t before = rt_event_count(w->n, EV_STORE_AGAIN);
        fill(w, p, accounts ? RT_POOL_SQL : RT_POOL_DISK);
        run(w, false);
        rt_msg *m = rt_msg_new_ext(KEYED_LIST, sizeof(keyed_list));
        *keyed_list_of(m) = (keyed_list){1, NULL, 100};
        if (accounts)
            send_as(w, p, w->keyed_pid, m);
        else {
            rt_msg_drop(w->n, &m);
            put(w, p, 0, 1, "waits");
        }
        run(w, false);
        assert_int_equal(rt_event_count(w->n, EV_STORE_AGAIN) - before, 1); /* time stands still: it is not asked again */
        for (int msec = 0; msec < 1000; msec++) {
            w->m.mono += USEC_PER_MSEC;
            run(w, false);
        }
        uint64_t asked = rt_event_count(w->n, EV_STORE_AGAIN) - before;
        assert_true(asked >= 8 && asked <= 16); /* 1, 2, 4 ... 128, 128 ... */
        assert_int_equal(p->n, 0);
        for (int msec = 0; msec < 130 && p->n == 0; msec++) {
            w->m.mono += USEC_PER_MSEC;
            run(w, true);
        }
        assert_int_equal(p->n, 1);
        assert_int_equal(RT_TAG(last(p)), accounts ? KEYED_NAMES : STORE_COMMITTED);
        world_free(w);
    }
}

/* A node that ends while a job waits for room frees it, with what it carries. */
static void a_job_that_waits_for_room_goes_with_its_actor(void **state) {
    (void)state;
    world *w = mem_zalloc(sizeof *w);
    memsys_init(&w->m, 14);
    w->pool_queue_max = 1;
    boot(w);
    attach_all(w);
    fill(w, &w->peer[0], RT_POOL_DISK);
    run(w, false);
    put(w, &w->peer[0], 0, 1, "waits");
    run(w, false);
    assert_true(rt_event_count(w->n, EV_STORE_AGAIN) > 0);
    world_free(w);
}

/* What waits is bounded in bytes: beyond, PUTs are refused, in their order, and their bytes are let go at once. */
static void puts_beyond_the_limit_of_bytes_are_refused_in_order(void **state) {
    (void)state;
    enum { N = 1000, TEXT = 3000, MAX = 100000 };
    world *w = mem_zalloc(sizeof *w);
    memsys_init(&w->m, 15);
    w->queue_bytes_max = MAX;
    boot(w);
    attach_all(w);
    char text[TEXT], user[32];
    memset(text, 't', sizeof text);
    rt_blob *env = rt_blob_new(slice_of(text, sizeof text));
    for (uint32_t i = 0; i < PARTS; i++) drop_got(w, &w->peer[i]);
    for (uint64_t n = 1; n <= N; n++)
        for (uint32_t i = 0; i < PARTS; i++) {
            rt_msg *m = rt_msg_new_ext(STORE_PUT, sizeof(store_put));
            *store_put_of(m) = (store_put){id_of(i, n), rt_blob_new(user_of(i, user)), rt_blob_ref(env), w->m.wall, 0, 0};
            send_as(w, &w->peer[i], w->log_pid, m);
            if (n <= 2) run(w, false); /* one is being written */
        }
    run(w, false);
    uint32_t kept = atomic_load_explicit(&env->refs, memory_order_relaxed) - 1; /* one thread: no partner */
    assert_true(kept * TEXT <= MAX && (kept + 2) * (TEXT + 200) > MAX);
    assert_int_equal(rt_event_count(w->n, EV_LOG_OVERLOAD), 1);
    run(w, true);
    uint64_t ok = 0;
    for (uint32_t i = 0; i < PARTS; i++) {
        const peer *p = &w->peer[i];
        uint64_t mine = 0;
        for (size_t k = 0; k + 1 < p->n; k++) {
            const store_committed *c = store_committed_of(p->got[k]);
            assert_int_equal(c->status, ERR_OK);
            mine += c->locs->len / 8;
            assert_int_equal(c->upto, id_of(i, mine));
        }
        assert_int_equal(store_committed_of(last(p))->status, ERR_OVERLOAD); /* one for all that were refused */
        assert_int_equal(store_committed_of(last(p))->upto, id_of(i, N));
        ok += mine;
    }
    assert_int_equal(ok, kept);
    put(w, &w->peer[0], 0, N + 1, "again");
    run(w, true);
    assert_int_equal(store_committed_of(last(&w->peer[0]))->status, ERR_OK);
    assert_int_equal(store_committed_of(last(&w->peer[0]))->upto, id_of(0, N + 1));
    attach(w, &w->peer[2], 0);
    attach(w, &w->peer[2], 1);
    run(w, true);
    assert_int_equal(index_of(w->peer[2].got[0])->n_entries + index_of(w->peer[2].got[1])->n_entries, kept + 1);
    rt_blob_unref(env);
    world_free(w);
}

/* Refused, accepted and refused again within one wait: each is told its own fate. */
static void refusals_do_not_hide_what_came_between(void **state) {
    (void)state;
    world *w = mem_zalloc(sizeof *w);
    memsys_init(&w->m, 16);
    w->queue_bytes_max = 10000;
    boot(w);
    attach_all(w);
    peer *p = &w->peer[0];
    drop_got(w, p);
    char large[8001];
    memset(large, 't', sizeof large - 1);
    large[sizeof large - 1] = 0;
    put(w, p, 0, 1, "first");
    run(w, false);
    for (uint64_t n = 2; n <= 9; n++) put(w, p, 0, n, n % 4 == 3 ? "small" : large); /* 2 fits; 4 5 6, 8 9 do not; 3 7 are small */
    run(w, true);
    static const struct {
        err status;
        uint64_t upto;
    } want[] = {{ERR_OK, 1}, {ERR_OK, 3}, {ERR_OVERLOAD, 6}, {ERR_OK, 7}, {ERR_OVERLOAD, 9}};
    assert_int_equal(p->n, ARRAY_LEN(want));
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_int_equal(store_committed_of(p->got[i])->status, want[i].status);
        assert_int_equal(store_committed_of(p->got[i])->upto, id_of(0, want[i].upto));
    }
    world_free(w);
}

static rt_msg *ask(world *w, peer *p, rt_msg *m) {
    send_as(w, p, w->keyed_pid, m);
    run(w, true);
    return last(p);
}
static rt_msg *write_msg(uint64_t ref, store_ops *o) {
    rt_msg *m = rt_msg_new_ext(KEYED_WRITE, sizeof(keyed_write));
    *keyed_write_of(m) = (keyed_write){ref, store_ops_box(o)};
    return m;
}
static rt_msg *load_msg(uint64_t ref, slice user) {
    rt_msg *m = rt_msg_new_ext(KEYED_LOAD, sizeof(keyed_load));
    *keyed_load_of(m) = (keyed_load){ref, rt_blob_new(user), false};
    return m;
}
static rt_msg *keys_msg(uint64_t ref, slice user) {
    rt_msg *m = load_msg(ref, user);
    keyed_load_of(m)->keys_only = true;
    return m;
}
static store_ops *add_ops(slice user) {
    store_keys k = {.iterations = 4096, .salt_len = 4, .key_len = 32};
    store_ops *o = store_ops_new();
    store_ops_user_add(o, user, &k, &k, 1);
    return o;
}

/* R5: no ack for the batch, and the node ends rather than go on. */
static void a_failed_sync_ends_the_node(void **state) {
    (void)state;
    for (int accounts = 0; accounts < 2; accounts++) {
        world *w = world_new(11);
        peer *p = &w->peer[0];
        attach_all(w);
        drop_got(w, p);
        w->m.disk.faults.sync_eio = 1000000;
        uint64_t writes = w->m.disk.writes;
        if (accounts)
            send_as(w, p, w->keyed_pid, write_msg(1, add_ops(SLICE("a@x"))));
        else
            put(w, p, 0, 1, "lost");
        run(w, true);
        assert_true(w->m.ended);
        assert_true(w->m.disk.writes > writes);
        for (size_t i = 0; i < p->n; i++) assert_true(RT_TAG(p->got[i]) != STORE_COMMITTED && RT_TAG(p->got[i]) != KEYED_WRITTEN);
        world_free(w);
    }
}

/* A hundred messages of 1 KB are kept, then all but the first deleted: what is left of the segment is worth a compaction. */
static void put_a_hundred_keep_one(world *w, peer *p) {
    char text[1000];
    memset(text, 't', sizeof text - 1);
    text[sizeof text - 1] = 0;
    drop_got(w, p);
    for (uint64_t n = 0; n < 100; n++) {
        put(w, p, 0, n, text);
        run(w, true);
    }
    assert_int_equal(p->n, 100);
    for (uint64_t n = 1; n < 100; n++) del(w, p, id_of(0, n), loc_of(store_committed_of(p->got[n]), 0));
    run(w, true);
}

static void compaction_tells_partitions_and_waits_for_their_word(void **state) {
    (void)state;
    world *w = world_new(5);
    attach_all(w);
    peer *p = &w->peer[0];
    put_a_hundred_keep_one(w, p);
    uint64_t old = loc_of(store_committed_of(p->got[0]), 0);
    drop_got(w, p);
    for (int i = 0; i < 40; i++) later(w, 30 * USEC_PER_SEC); /* past the window of origin-ids */
    assert_int_equal(p->n, 1);
    assert_int_equal(RT_TAG(last(p)), STORE_MOVED);
    cursor c = cursor_of(rt_blob_slice(store_moved_of(last(p))->locs));
    slice user;
    uint64_t id = 0, loc = 0;
    assert_true(cursor_lslice(&c, &user) && cursor_u64le(&c, &id) && cursor_u64le(&c, &loc) && cursor_left(&c) == 0);
    assert_true(id == id_of(0, 0) && loc != old);
    uint64_t used = w->m.disk.used, size = 0;
    usec mtime;
    assert_int_equal(w->m.sys.file_stat(&w->m.sys, "log/000000000001.seg", &size, &mtime), ERR_OK); /* readable until we answer */
    rt_msg *m = rt_msg_new_ext(STORE_MOVED_OK, sizeof(store_moved_ok));
    store_moved_ok_of(m)->move = store_moved_of(last(p))->move;
    send_as(w, p, w->log_pid, m);
    run(w, true);
    for (int i = 0; i < 10; i++) later(w, 30 * USEC_PER_SEC);
    assert_int_equal(w->m.sys.file_stat(&w->m.sys, "log/000000000001.seg", &size, &mtime), ERR_NOT_FOUND);
    assert_true(w->m.disk.used < used / 2);
    attach(w, &w->peer[2], 0);
    run(w, true);
    store_index *x = index_of(last(&w->peer[2]));
    assert_int_equal(x->n_entries, 1);
    assert_int_equal(x->entries[0].loc, loc);

    world_free(w);
}

/* What the writer's jobs find damaged is said as an event, whichever job it was. */
static void what_a_scan_or_a_compaction_cannot_read_is_an_event(void **state) {
    (void)state;
    world *w = world_new(8);
    attach_all(w);
    peer *p = &w->peer[0];
    put_a_hundred_keep_one(w, p);
    w->m.bad_path = "log/000000000001.seg";
    w->m.bad_at = (loc_of(store_committed_of(p->got[0]), 0) & UINT32_MAX) + 40;
    assert_int_equal(rt_event_count(w->n, EV_LOG_DAMAGE), 0);
    attach(w, &w->peer[2], 0);
    run(w, true);
    assert_int_equal(index_of(last(&w->peer[2]))->n_entries, 0);
    assert_int_equal(rt_event_count(w->n, EV_LOG_DAMAGE), 1);
    for (int i = 0; i < 60; i++) later(w, 30 * USEC_PER_SEC); /* past the window of origin-ids */
    assert_int_equal(rt_event_count(w->n, EV_LOG_DAMAGE), 2);
    uint64_t size = 0;
    usec mtime;
    assert_int_equal(w->m.sys.file_stat(&w->m.sys, w->m.bad_path, &size, &mtime), ERR_OK);
    assert_int_equal(rt_event_count(w->n, EV_LOG_FAIL), 0);
    world_free(w);
}

static void keyed_writes_share_a_transaction_and_keep_their_order(void **state) {
    (void)state;
    world *w = world_new(6);
    peer *p = &w->peer[0];
    run(w, true);
    for (uint64_t i = 0; i < 50; i++) {
        char user[32];
        (void)snprintf(user, sizeof user, "u%u@x", (unsigned)(i % 40)); /* ten exist already when their turn comes */
        send_as(w, p, w->keyed_pid, write_msg(i, add_ops(slice_str(user))));
    }
    send_as(w, p, w->keyed_pid, load_msg(99, SLICE("u39@x")));
    uint64_t syncs = w->m.disk.syncs;
    run(w, true);
    assert_true(w->m.disk.syncs - syncs <= 4);
    assert_int_equal(p->n, 51);
    for (uint64_t i = 0; i < 50; i++) {
        assert_int_equal(keyed_written_of(p->got[i])->ref, i);
        assert_int_equal(keyed_written_of(p->got[i])->status, i < 40 ? ERR_OK : ERR_EXISTS);
    }
    assert_int_equal(keyed_user_of(p->got[50])->status, ERR_OK);
    assert_non_null(keyed_user_of(p->got[50])->user);
    assert_int_equal(keyed_user_of(ask(w, p, load_msg(1, SLICE("nobody@x"))))->status, ERR_NOT_FOUND);
    node_end(w);
    memsys_power_cut(&w->m);
    boot(w);
    run(w, true);
    assert_int_equal(keyed_user_of(ask(w, &w->peer[0], load_msg(1, SLICE("u7@x"))))->status, ERR_OK);
    rt_msg *m = rt_msg_new_ext(KEYED_LIST, sizeof(keyed_list));
    *keyed_list_of(m) = (keyed_list){5, NULL, 100};
    m = ask(w, &w->peer[0], m);
    assert_int_equal(keyed_names_of(m)->status, ERR_OK);
    assert_int_equal(keyed_names_of(m)->names->len, 10 * (4 + 4) + 30 * (4 + 5));
    world_free(w);
}

/* Both come with a record, so that who asks does the same with either. */
static void keys_alone_are_answered_alike_for_every_name(void **state) {
    (void)state;
    world *w = world_new(12);
    peer *p = &w->peer[0];
    run(w, true);
    assert_int_equal(keyed_written_of(ask(w, p, write_msg(1, add_ops(SLICE("a@x")))))->status, ERR_OK);
    for (int known = 0; known < 2; known++) {
        keyed_user *k = keyed_user_of(ask(w, p, keys_msg(7, known ? SLICE("a@x") : SLICE("b@x"))));
        assert_int_equal(k->ref, 7);
        assert_int_equal(k->status, known ? ERR_OK : ERR_NOT_FOUND);
        assert_non_null(k->user);
        assert_int_equal(container_of(k->user, store_user, box)->sha256.key_len, known ? 32 : 0);
    }
    keyed_user *k = keyed_user_of(ask(w, p, load_msg(8, SLICE("b@x"))));
    assert_true(k->status == ERR_NOT_FOUND && k->user == NULL);
    world_free(w);
}

static void a_full_disk_is_said_to_who_writes_accounts(void **state) {
    (void)state;
    world *w = world_new(7);
    peer *p = &w->peer[0];
    run(w, true);
    w->m.disk.capacity = w->m.disk.used;
    unsigned refused = 0;
    for (unsigned i = 0; i < 30; i++) {
        char user[32];
        (void)snprintf(user, sizeof user, "u%u@x", i);
        err e = keyed_written_of(ask(w, p, write_msg(i, add_ops(slice_str(user)))))->status;
        if (e == ERR_NOSPC)
            refused++;
        else
            assert_int_equal(e, ERR_OK);
    }
    assert_true(refused > 0);
    w->m.disk.capacity = 0;
    assert_int_equal(keyed_written_of(ask(w, p, write_msg(1, add_ops(SLICE("late@x")))))->status, ERR_OK);
    world_free(w);
}

/* A database that cannot be read is said so; the message log beside it serves. */
static void a_ruined_database_does_not_stop_the_log(void **state) {
    (void)state;
    world *w = world_new(8);
    peer *p = &w->peer[0];
    run(w, true);
    assert_int_equal(keyed_written_of(ask(w, p, write_msg(1, add_ops(SLICE("a@x")))))->status, ERR_OK);
    later(w, 2 * USEC_PER_SEC); /* the WAL is emptied */
    node_end(w);
    memsys_kill(&w->m);
    int fd;
    assert_int_equal(w->m.sys.file_open(&w->m.sys, "accounts.db", SYS_OPEN_WRITE, &fd), ERR_OK);
    assert_int_equal(w->m.sys.file_write(&w->m.sys, fd, SLICE("this is not a database at all"), 0), ERR_OK);
    w->m.sys.file_close(&w->m.sys, fd);
    boot(w);
    run(w, true);
    assert_true(rt_event_count(w->n, EV_SQL_FAIL) > 0);
    assert_int_equal(keyed_user_of(ask(w, p, load_msg(2, SLICE("a@x"))))->status, ERR_CORRUPT);
    attach_all(w);
    put(w, p, 0, 1, "still");
    run(w, true);
    assert_int_equal(store_committed_of(last(p))->status, ERR_OK);
    world_free(w);
}

static void both_engines_back_up_while_running(void **state) {
    (void)state;
    world *w = world_new(9);
    attach_all(w);
    peer *p = &w->peer[0];
    put(w, p, 0, 1, "kept");
    assert_int_equal(keyed_written_of(ask(w, p, write_msg(1, add_ops(SLICE("a@x")))))->status, ERR_OK);
    assert_int_equal(w->m.sys.dir_make(&w->m.sys, "b"), ERR_OK);
    for (int i = 0; i < 2; i++) {
        rt_msg *m = rt_msg_new_ext(STORE_BACKUP, sizeof(store_backup));
        *store_backup_of(m) = (store_backup){(uint64_t)i, rt_blob_new(SLICE("b"))};
        send_as(w, p, i ? w->log_pid : w->keyed_pid, m);
        run(w, true);
        assert_int_equal(RT_TAG(last(p)), STORE_BACKED_UP);
        assert_int_equal(store_backed_up_of(last(p))->status, ERR_OK);
    }
    store_log_cfg c = w->log;
    c.dir = "b";
    store_log *l;
    store_log_open_stat st;
    assert_int_equal(store_log_open(&w->m.sys, &c, NULL, NULL, &l, &st), ERR_OK);
    assert_int_equal(st.live, 1);
    store_log_close(l);
    world_free(w);
}

static rt_msg *backup_msg(uint64_t ref) {
    rt_msg *m = rt_msg_new_ext(STORE_BACKUP, sizeof(store_backup));
    *store_backup_of(m) = (store_backup){ref, rt_blob_new(SLICE("b"))};
    return m;
}
/* Runs the node and the connection's jobs, but not the disk pool, on which a backup's steps wait. */
static void run_sql(world *w) {
    for (unsigned idle = 0; idle < 3;) {
        usec next = rt_node_step(w->n, 0, false);
        idle = rt_pool_run_one(w->n, RT_POOL_SQL) || next <= w->m.mono ? 0 : idle + 1;
    }
}

/* promises.md G2; and one backup at a time, each with what was asked for before it. */
static void a_backup_whose_target_does_not_answer_delays_no_account(void **state) {
    (void)state;
    world *w = world_new(11);
    attach_all(w);
    peer *p = &w->peer[0];
    assert_int_equal(keyed_written_of(ask(w, p, write_msg(1, add_ops(SLICE("before@x")))))->status, ERR_OK);
    assert_int_equal(w->m.sys.dir_make(&w->m.sys, "b"), ERR_OK);
    drop_got(w, p);
    send_as(w, p, w->keyed_pid, write_msg(2, add_ops(SLICE("asked@x"))));
    send_as(w, p, w->keyed_pid, backup_msg(3));
    send_as(w, p, w->keyed_pid, backup_msg(4));
    run_sql(w);
    assert_int_equal(p->n, 1);
    assert_int_equal(RT_TAG(last(p)), KEYED_WRITTEN);
    send_as(w, p, w->keyed_pid, write_msg(5, add_ops(SLICE("after@x"))));
    send_as(w, p, w->keyed_pid, load_msg(6, SLICE("after@x")));
    run_sql(w);
    w->m.mono += 5 * USEC_PER_SEC; /* the WAL is not emptied, either */
    run_sql(w);
    assert_int_equal(p->n, 3);
    assert_int_equal(RT_TAG(last(p)), KEYED_USER);
    assert_int_equal(keyed_user_of(last(p))->status, ERR_OK);
    run(w, true); /* it answers */
    assert_int_equal(p->n, 5);
    assert_int_equal(store_backed_up_of(p->got[3])->ref, 3);
    assert_int_equal(store_backed_up_of(p->got[3])->status, ERR_OK);
    assert_int_equal(store_backed_up_of(p->got[4])->ref, 4);
    assert_int_equal(store_backed_up_of(p->got[4])->status, ERR_EXISTS); /* the first one's copy is there */
    store_sql *q;
    store_user *u = NULL;
    char why[256];
    assert_int_equal(store_sql_open(&w->m.sys, "b/accounts.db", NULL, NULL, &q, why), ERR_OK);
    assert_int_equal(store_sql_load(q, SLICE("asked@x"), &u), ERR_OK);
    u->box.free(&u->box);
    assert_int_equal(store_sql_load(q, SLICE("after@x"), &u), ERR_NOT_FOUND);
    store_sql_close(q);
    later(w, 2 * USEC_PER_SEC);
    uint64_t size = 1;
    usec mtime;
    assert_int_equal(w->m.sys.file_stat(&w->m.sys, "accounts.db-wal", &size, &mtime), ERR_OK);
    assert_int_equal(size, 0); /* the rest goes on as before */
    world_free(w);
}

static void backups_beyond_the_limit_are_refused(void **state) {
    (void)state;
    world *w = world_new(13);
    attach_all(w);
    peer *p = &w->peer[0];
    unsigned refused = 0;
    drop_got(w, p);
    for (uint64_t i = 0; i < STORE_BACKUPS_MAX + 3; i++) send_as(w, p, w->keyed_pid, backup_msg(i));
    run(w, true);
    assert_int_equal(p->n, STORE_BACKUPS_MAX + 3); /* each has its answer: b is not there */
    for (size_t i = 0; i < p->n; i++) {
        err e = store_backed_up_of(p->got[i])->status;
        assert_true(e == ERR_OVERLOAD || e == ERR_NOT_FOUND);
        refused += e == ERR_OVERLOAD;
    }
    assert_int_equal(refused, 3);
    world_free(w);
}

/* A node that ends in the middle of a backup leaves no half of one. */
static void a_backup_goes_with_its_node(void **state) {
    (void)state;
    world *w = world_new(12);
    attach_all(w);
    peer *p = &w->peer[0];
    uint64_t size;
    usec mtime;
    assert_int_equal(w->m.sys.dir_make(&w->m.sys, "b"), ERR_OK);
    for (uint64_t i = 0; i < 30000; i += 1000) {
        for (uint64_t k = i; k < i + 1000; k++) {
            char name[32];
            (void)snprintf(name, sizeof name, "user%u@x", (unsigned)k);
            send_as(w, p, w->keyed_pid, write_msg(k, add_ops(slice_str(name))));
        }
        run(w, true);
        drop_got(w, p);
    }
    send_as(w, p, w->keyed_pid, backup_msg(1));
    run_sql(w);
    assert_true(rt_pool_run_one(w->n, RT_POOL_DISK)); /* the first step */
    run_sql(w);
    assert_int_equal(p->n, 0);
    assert_int_equal(w->m.sys.file_stat(&w->m.sys, "b/accounts.db", &size, &mtime), ERR_OK);
    node_end(w);
    assert_int_equal(w->m.sys.file_stat(&w->m.sys, "b/accounts.db", &size, &mtime), ERR_NOT_FOUND);
    memsys_fini(&w->m);
    mem_free(w);
}

static void a_data_directory_has_one_user_and_one_format(void **state) {
    (void)state;
    memsys m;
    memsys_init(&m, 10);
    char why[256] = "";
    int fd, other;
    assert_int_equal(store_dir_lock(&m.sys, "data", &fd, why), ERR_OK);
    assert_int_equal(store_dir_lock(&m.sys, "data", &other, why), ERR_BUSY);
    assert_true(strstr(why, "data") != NULL);
    assert_int_equal(store_check(&m.sys, "data", why), ERR_OK);
    m.sys.file_close(&m.sys, fd);
    memsys_power_cut(&m);
    assert_int_equal(store_dir_lock(&m.sys, "data", &fd, why), ERR_OK);
    m.sys.file_close(&m.sys, fd);
    assert_int_equal(m.sys.file_open(&m.sys, "data/format", SYS_OPEN_WRITE, &fd), ERR_OK);
    assert_int_equal(m.sys.file_write(&m.sys, fd, SLICE("murre data 2\n"), 0), ERR_OK);
    m.sys.file_close(&m.sys, fd);
    assert_int_equal(store_dir_lock(&m.sys, "data", &fd, why), ERR_VERSION);
    m.disk.capacity = m.disk.used;
    assert_int_equal(store_check(&m.sys, "data", why), ERR_NOSPC);
    memsys_fini(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_arrives_during_a_commit_is_one_batch_and_one_answer),
        cmocka_unit_test(records_are_read_and_deleted_ones_do_not_come_back),
        cmocka_unit_test(a_deletion_waits_for_a_put_but_not_long),
        cmocka_unit_test(attaching_again_waits_for_what_came_before),
        cmocka_unit_test(a_put_before_the_first_attach_is_in_the_index),
        cmocka_unit_test(a_log_that_is_still_in_use_is_opened_a_moment_later),
        cmocka_unit_test(a_full_disk_refuses_puts_and_resumes_unaided),
        cmocka_unit_test(a_disk_that_the_log_filled_empties_itself),
        cmocka_unit_test(a_full_pool_is_asked_again_after_a_while),
        cmocka_unit_test(a_job_that_waits_for_room_goes_with_its_actor),
        cmocka_unit_test(puts_beyond_the_limit_of_bytes_are_refused_in_order),
        cmocka_unit_test(refusals_do_not_hide_what_came_between),
        cmocka_unit_test(keys_alone_are_answered_alike_for_every_name),
        cmocka_unit_test(a_failed_sync_ends_the_node),
        cmocka_unit_test(compaction_tells_partitions_and_waits_for_their_word),
        cmocka_unit_test(what_a_scan_or_a_compaction_cannot_read_is_an_event),
        cmocka_unit_test(keyed_writes_share_a_transaction_and_keep_their_order),
        cmocka_unit_test(a_full_disk_is_said_to_who_writes_accounts),
        cmocka_unit_test(a_ruined_database_does_not_stop_the_log),
        cmocka_unit_test(both_engines_back_up_while_running),
        cmocka_unit_test(a_backup_whose_target_does_not_answer_delays_no_account),
        cmocka_unit_test(backups_beyond_the_limit_are_refused),
        cmocka_unit_test(a_backup_goes_with_its_node),
        cmocka_unit_test(a_data_directory_has_one_user_and_one_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
