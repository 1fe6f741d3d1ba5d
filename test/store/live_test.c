/* live_test: the log actor on a live node, threads and a real disk: puts, reads beside the writer, deletions; the one place where the store
 * meets a data race, so it is the test for SAN=tsan. Prints how many durable puts a second go through the actor. */
#include "base/cursor.h"
#include "base/mem.h"
#include "rt/event.h"
#include "store/log_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#define PARTS  2u
#define PUTS   20000u
#define WINDOW 100u
enum { T_WAIT = RT_TAG_TEST, T_DONE };
#define T_WAIT_FIELDS(F) F(U64, ref, "echoed")
#define T_DONE_FIELDS(F) F(U64, ref, "of T_WAIT") F(U64, reads, "records that were read back and right") F(U64, bad, "and wrong or refused")
RT_MSG_DECLARE(T_WAIT, t_wait, "answer when you are done")
RT_MSG_DECLARE(T_DONE, t_done, "done")
RT_MSG_FIELDS(T_WAIT, t_wait, "answer when you are done")
RT_MSG_FIELDS(T_DONE, t_done, "done")
static const rt_msg_desc t_msgs[] = {RT_MSG_DESC(T_WAIT, t_wait, "answer when you are done") RT_MSG_DESC(T_DONE, t_done, "done")};

typedef struct part { /* puts WINDOW at a time, reads each batch back, deletes half of it */
    uint32_t partition;
    rt_pid log, waiter;
    uint64_t next, committed, reads, bad, epoch, asked, ref;
    char user[32];
} part;
typedef struct part_arg {
    uint32_t partition;
    rt_pid log, pid;
} part_arg;

static uint64_t id_of(const part *p, uint64_t n) {
    return p->epoch << STORE_ID_EPOCH_SHIFT | (uint64_t)p->partition << STORE_ID_PARTITION_SHIFT | n;
}

static void put_window(rt_ctx *cx, part *p) {
    char env[300];
    memset(env, 'e', sizeof env);
    for (unsigned i = 0; i < WINDOW && p->next < PUTS; i++, p->next++) {
        memcpy(env, &p->next, sizeof p->next);
        rt_msg *m = rt_msg_new(cx, STORE_PUT, sizeof(store_put));
        *store_put_of(m) = (store_put){.id = id_of(p, p->next),
                                       .user = rt_blob_new(slice_str(p->user)),
                                       .env = rt_blob_new(slice_of(env, sizeof env)),
                                       .wall = rt_wall(cx),
                                       .dedup0 = p->next,
                                       .dedup1 = 1};
        rt_send(cx, p->log, &m);
    }
}

static void on_committed(rt_ctx *cx, part *p, const store_committed *c) {
    if (c->status != ERR_OK) {
        p->bad++;
        return;
    }
    buf ids;
    buf_init(&ids, 1u << 20);
    for (size_t i = 0; i < c->locs->len / 8; i++, p->committed++) {
        uint64_t loc;
        memcpy(&loc, c->locs->data + 8 * i, 8);
        buf_add_u64le(&ids, id_of(p, p->committed));
        buf_add_u64le(&ids, loc);
        if (p->committed % 2) continue;
        rt_msg *d = rt_msg_new(cx, STORE_DEL, sizeof(store_del));
        *store_del_of(d) = (store_del){id_of(p, p->committed), loc};
        rt_send(cx, p->log, &d);
    }
    if (c->upto != id_of(p, p->committed - 1)) p->bad++;
    rt_msg *m = rt_msg_new(cx, STORE_READ, sizeof(store_read));
    *store_read_of(m) = (store_read){1, rt_blob_new(buf_slice(&ids))};
    buf_fini(&ids);
    rt_send(cx, p->log, &m);
    p->asked++;
    if (p->committed == p->next) put_window(cx, p);
}

static void on_records(part *p, const store_records *r) {
    cursor c = cursor_of(rt_blob_slice(r->records));
    uint64_t id, wall, n;
    uint8_t status;
    slice env;
    p->asked--;
    while (cursor_u64le(&c, &id) && cursor_u8(&c, &status) && cursor_u64le(&c, &wall) && cursor_lslice(&c, &env)) {
        if (env.len >= sizeof n) memcpy(&n, env.p, sizeof n);
        if (status == ERR_OK && env.len == 300 && id == id_of(p, n))
            p->reads++;
        else
            p->bad++;
    }
}

static void answer_if_done(rt_ctx *cx, part *p) {
    if (!rt_pid_ok(p->waiter) || (!p->bad && (p->committed < PUTS || p->asked))) return;
    rt_msg *m = rt_msg_new(cx, T_DONE, sizeof(t_done));
    *t_done_of(m) = (t_done){p->ref, p->reads, p->bad};
    rt_send(cx, p->waiter, &m);
    p->waiter = RT_PID_NONE;
}

static err part_handle(rt_ctx *cx, void *st, rt_msg **m) {
    part *p = st;
    switch ((*m)->tag) {
    case STORE_INDEX:
        p->epoch = store_index_msg_of(*m)->epoch;
        if (store_index_msg_of(*m)->status != ERR_OK) p->bad++;
        put_window(cx, p);
        break;
    case STORE_COMMITTED: on_committed(cx, p, store_committed_of(*m)); break;
    case STORE_RECORDS: on_records(p, store_records_of(*m)); break;
    case T_WAIT:
        p->waiter = (*m)->sender;
        p->ref = t_wait_of(*m)->ref;
        break;
    default: p->bad++;
    }
    answer_if_done(cx, p);
    return ERR_OK;
}

static err part_init(rt_ctx *cx, void *st, const void *arg) {
    part *p = st;
    const part_arg *a = arg;
    p->partition = a->partition;
    p->log = a->log;
    for (unsigned i = 0; !p->user[0] || store_partition(slice_str(p->user), PARTS) != p->partition; i++)
        (void)snprintf(p->user, sizeof p->user, "user%u@x", i);
    rt_msg *m = rt_msg_new(cx, STORE_ATTACH, sizeof(store_attach));
    *store_attach_of(m) = (store_attach){p->partition, PARTS};
    rt_send(cx, p->log, &m);
    return ERR_OK;
}
static const rt_class part_class = {.name = "part", .state_size = sizeof(part), .init = part_init, .handle = part_handle};

static void spawn_log(rt_ctx *cx, void *arg) {
    const store_log_cfg *c = arg;
    rt_pid pid;
    assert_int_equal(rt_spawn(cx, &store_log_class, c, 0, &pid, NULL), ERR_OK);
}
static void spawn_part(rt_ctx *cx, void *arg) {
    part_arg *a = arg;
    a->log = rt_name_find(cx, STORE_LOG_NAME);
    assert_int_equal(rt_spawn(cx, &part_class, a, 0, &a->pid, NULL), ERR_OK);
}

static void readers_run_beside_the_writer_on_threads(void **state) {
    (void)state;
    char dir[] = "/tmp/murre-live-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/log", dir);
    sys *s;
    rt_node *n;
    assert_int_equal(sys_linux_new(&s), ERR_OK);
    rt_node_cfg c;
    rt_node_cfg_default(&c);
    c.shards = 2;
    c.spin = 0;
    assert_int_equal(rt_node_new(&c, s, NULL, &n), ERR_OK);
    rt_log_level(n, RT_ERROR);
    rt_node_add_msgs(n, store_msgs, store_msgs_count);
    rt_node_add_msgs(n, t_msgs, ARRAY_LEN(t_msgs));
    store_log_cfg log;
    store_log_cfg_default(&log);
    log.dir = path;
    log.partitions = PARTS;
    log.segment_bytes = 1u << 18; /* many rotations */
    log.segments_open_max = 1;    /* who reads what lies in an older one opens it, and closes another's */
    rt_node_boot(n, 0, spawn_log, &log);
    part_arg a[PARTS];
    for (uint32_t i = 0; i < PARTS; i++) {
        a[i] = (part_arg){.partition = i};
        rt_node_boot(n, i % 2, spawn_part, &a[i]);
    }
    usec from = s->mono(s);
    assert_int_equal(rt_node_start(n), ERR_OK);
    for (uint32_t i = 0; i < PARTS; i++) {
        rt_msg *m = rt_msg_new_ext(T_WAIT, sizeof(t_wait)), *r = NULL;
        assert_int_equal(rt_call(n, a[i].pid, &m, 60 * USEC_PER_SEC, &r), ERR_OK);
        assert_int_equal(t_done_of(r)->bad, 0);
        assert_int_equal(t_done_of(r)->reads, PUTS);
        rt_msg_drop(n, &r);
    }
    print_message("%.0f durable puts a second, each read back\n", PARTS * PUTS * 1e6 / (double)(s->mono(s) - from));
    rt_node_stop(n);
    rt_node_free(n);
    sys_linux_free(s);
    char rm[96];
    (void)snprintf(rm, sizeof rm, "rm -rf %s", dir);
    assert_int_equal(system(rm), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(readers_run_beside_the_writer_on_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
