/* What waits for a peer: long messages in pieces with others' between them, pairs in their order whatever the socket takes, senders that
 * are slowed while more waits than link_bytes, and all of it answered when the connection ends. */
#include "base/prng.h"
#include "mesh/link.h"
#include "peer_world.h"

#define LONG 1000000u

/* --- what actors say --------------------------------------------------------------------------------------------------------------- */
typedef struct words { /* to a process of the peer, or to a name there */
    rt_blob *term;
    const char *name;
    uint32_t to;
    unsigned times;
} words;

static void do_say(rt_ctx *cx, puppet *p, uint64_t arg) {
    p->timers++;                                                        /* how often it did */
    for (const words *x = (const words *)(uintptr_t)arg; x->times; x++) /* until the one that says nothing */
        for (unsigned i = 0; i < x->times; i++) {
            if (x->name)
                mesh_send_name(cx, net.m, 1, slice_str(x->name), x->term);
            else
                mesh_send_pid(cx, (rt_pid){1, x->to, 0}, x->term);
        }
}

static rt_blob *bytes_of(size_t n) {
    buf b;
    uint8_t *p = mem_zalloc(n);
    buf_init(&b, n + 16);
    etf_put_version(&b);
    etf_put_binary(&b, slice_of(p, n));
    rt_blob *t = rt_blob_new(buf_slice(&b));
    buf_fini(&b);
    mem_free(p);
    return t;
}

static rt_blob *atom_of(const char *name) {
    buf b;
    buf_init(&b, 100);
    etf_put_version(&b);
    etf_put_atom(&b, slice_str(name));
    rt_blob *t = rt_blob_new(buf_slice(&b));
    buf_fini(&b);
    return t;
}

static void begin_link(size_t link_bytes, bool services) {
    mesh_cfg c = world_cfg();
    c.link_bytes = link_bytes;
    begin_cfg(&c, services);
}

static void say_all(const puppet *a, const words *x) {
    tell(net.w, a, do_say, (uint64_t)(uintptr_t)x);
    (void)world_run(net.w);
}

/* So many bytes at a time, until that many messages came. */
static void drain(peer *p, size_t room, unsigned messages) {
    for (unsigned i = 0; p->messages < messages; i++) {
        assert_in_range(i, 0, 100000);
        p->c->room = room;
        (void)world_run(net.w);
        take(p);
    }
}

/* Others' small messages overtake it, its own sender's next one does not; the sender waits until it is out, the others do not. */
static void a_long_message_lets_others_pass(void **state) {
    (void)state;
    peer p;
    begin_link(200000, true);
    puppet *a = puppet_new(net.w, 0, &puppet_class), *b = puppet_new(net.w, 0, &puppet_class);
    connect_as(&p, PEER);
    rt_blob *big = bytes_of(LONG), *one = atom_of("a"), *two = atom_of("b");
    words of_a[] = {{big, NULL, 91, 1}, {one, NULL, 91, 1}, {.times = 0}}, of_b[] = {{two, NULL, 91, 1}, {.times = 0}};
    unsigned before = p.messages;
    p.c->room = 0;
    say_all(a, of_a);
    assert_int_equal(rt_event_count(net.w->n, EV_MESH_BUSY), 1);
    unsigned handled = a->timers;
    for (int i = 0; i < 3; i++) say_all(b, of_b);
    tell(net.w, a, do_say, (uint64_t)(uintptr_t)&of_a[1]);
    (void)world_run(net.w);
    assert_int_equal(a->timers, handled); /* it is slowed */
    assert_int_equal(b->timers, 3);
    drain(&p, 50000, before + 6);
    heard(&p, "send from pid to pid: b\nsend from pid to pid: b\nsend from pid to pid: b\n"
              "send from pid to pid\nsend from pid to pid: a\nsend from pid to pid: a\n");
    assert_int_equal(a->timers, handled + 1);
    assert_int_equal(rt_event_count(net.w->n, EV_MESH_FREE), 1);
    assert_int_equal(big->refs, 1);
    rt_blob_unref(big);
    rt_blob_unref(one);
    rt_blob_unref(two);
    peer_fini(&p);
    end();
    mem_free(a);
    mem_free(b);
}

/* However much the socket takes, a round of the shard says so much of it and no more. */
static void a_round_has_its_bound(void **state) {
    (void)state;
    peer p;
    begin_link(MESH_LINK_BYTES, true);
    puppet *a = puppet_new(net.w, 0, &puppet_class);
    connect_as(&p, PEER);
    rt_blob *big = bytes_of(4 * LONG);
    words x[] = {{big, NULL, 91, 1}, {.times = 0}};
    unsigned rounds = 0, before = p.messages;
    tell(net.w, a, do_say, (uint64_t)(uintptr_t)x);
    for (size_t out = 0; out < 4 * LONG; rounds++) {
        assert_in_range(rounds, 0, 1000);
        (void)rt_node_step(net.w->n, 0, false);
        assert_in_range(p.c->out.len - out, 0,
                        2 * (MESH_TURN_MAX + DIST_FRAGMENT_BYTES + 1000)); /* the flush, and the socket's readiness */
        out = p.c->out.len;
    }
    assert_true(rounds >= 4 * LONG / (2 * (MESH_TURN_MAX + DIST_FRAGMENT_BYTES + 1000)));
    talk(&p);
    assert_int_equal(p.messages, before + 1);
    rt_blob_unref(big);
    peer_fini(&p);
    end();
    mem_free(a);
}

/* Fragments of three pairs in turns: none comes twice in a row before the others are over. */
static void pairs_take_turns(void **state) {
    (void)state;
    peer p;
    begin_link(MESH_LINK_BYTES, true);
    puppet *a = puppet_new(net.w, 0, &puppet_class), *b = puppet_new(net.w, 0, &puppet_class);
    connect_as(&p, PEER);
    rt_blob *big = bytes_of(LONG);
    words of_a[] = {{big, NULL, 91, 1}, {big, NULL, 92, 1}, {.times = 0}}, of_b[] = {{big, NULL, 91, 1}, {.times = 0}};
    unsigned before = p.messages;
    take(&p);
    p.c->room = 0;
    say_all(a, of_a);
    say_all(b, of_b);
    p.c->room = SIZE_MAX;
    while (p.c->out.len < 3 * LONG) (void)world_run(net.w);
    dist_frames f;
    dist_frames_init(&f, UINT32_MAX);
    uint64_t last[2] = {0, 0}, begun = 0, fragments = 0;
    for (slice in = buf_slice(&p.c->out); in.len;) {
        size_t used;
        dist_frame one;
        dist_frames_next(&f, in, &used, &one);
        in = slice_from(in, used);
        if (one.kind == DIST_FRAME_FIRST) begun++;
        if (one.kind != DIST_FRAME_FIRST && one.kind != DIST_FRAME_NEXT) continue;
        if (begun == 3 && one.number > 1) { /* while all three are under way, and but for their ends */
            assert_true(one.sequence != last[0] && one.sequence != last[1]);
            fragments++;
        }
        last[1] = last[0];
        last[0] = one.sequence;
    }
    assert_true(fragments > 3 * 10);
    dist_frames_fini(&f);
    take(&p);
    assert_int_equal(p.messages, before + 3);
    rt_blob_unref(big);
    peer_fini(&p);
    end();
    mem_free(a);
    mem_free(b);
}

/* A name may be that of whom the long one is for; another process is not. */
static void what_goes_to_a_name_waits(void **state) {
    (void)state;
    peer p;
    begin_link(MESH_LINK_BYTES, true);
    puppet *a = puppet_new(net.w, 0, &puppet_class);
    connect_as(&p, PEER);
    rt_blob *big = bytes_of(LONG), *one = atom_of("a"), *two = atom_of("b");
    words first[] = {{big, NULL, 91, 1}, {one, NULL, 92, 1}, {two, "n", 0, 1}, {one, NULL, 92, 1}, {.times = 0}};
    p.c->room = 0;
    say_all(a, first);
    drain(&p, 100000, p.messages + 4);
    heard(&p, "send from pid to pid: a\nsend from pid to pid\nsend from pid to n: b\nsend from pid to pid: a\n");
    words second[] = {{big, "n", 0, 1}, {one, NULL, 92, 1}, {.times = 0}};
    say_all(a, second);
    drain(&p, 100000, p.messages + 2);
    heard(&p, "send from pid to n\nsend from pid to pid: a\n");
    rt_blob_unref(big);
    rt_blob_unref(one);
    rt_blob_unref(two);
    peer_fini(&p);
    end();
    mem_free(a);
}

/* --- order, whatever the socket takes ---------------------------------------------------------------------------------------------- */
#define TALKERS 4u
#define THEIRS  3u
static struct {
    prng r;
    uint32_t said[TALKERS][THEIRS], got[TALKERS][THEIRS];
    unsigned come;
} talks;

static rt_blob *numbered(uint32_t from, uint32_t to, uint32_t number, size_t n) {
    buf b, body;
    uint8_t *p = mem_zalloc(n + 1);
    buf_init(&body, n + 12);
    buf_init(&b, n + 32);
    buf_add_u32le(&body, from);
    buf_add_u32le(&body, to);
    buf_add_u32le(&body, number);
    buf_add(&body, slice_of(p, n));
    etf_put_version(&b);
    etf_put_binary(&b, buf_slice(&body));
    rt_blob *t = rt_blob_new(buf_slice(&b));
    buf_fini(&b);
    buf_fini(&body);
    mem_free(p);
    return t;
}

/* arg: which talker. Some are long, some go by a name: "n0" is process 90, and so on. */
static void do_talk(rt_ctx *cx, puppet *p, uint64_t from) {
    (void)p;
    for (uint64_t i = prng_below(&talks.r, 5); i; i--) {
        static const char *const names[] = {"n0", "n1", "n2"};
        uint32_t to = (uint32_t)prng_below(&talks.r, THEIRS);
        size_t n = prng_below(&talks.r, 8) ? prng_below(&talks.r, 3000) : prng_below(&talks.r, 400000);
        rt_blob *t = numbered((uint32_t)from, to, talks.said[from][to]++, n);
        if (prng_below(&talks.r, 8) == 0)
            mesh_send_name(cx, net.m, 1, slice_str(names[to]), t);
        else
            mesh_send_pid(cx, (rt_pid){1, 90 + to, 0}, t);
        rt_blob_unref(t);
    }
}

static void on_payload(void *arg, slice payload) {
    (void)arg;
    etf_reader r = etf_reader_of(payload);
    slice body;
    uint32_t from = 0, to = 0, number = 0;
    assert_true(etf_get_binary(&r, &body));
    cursor c = cursor_of(body);
    assert_true(cursor_u32le(&c, &from) && cursor_u32le(&c, &to) && cursor_u32le(&c, &number) && from < TALKERS && to < THEIRS);
    assert_int_equal(number, talks.got[from][to]++);
    talks.come++;
}

static void order_of(uint64_t seed, size_t link_bytes) {
    peer p;
    puppet *a[TALKERS];
    memset(&talks, 0, sizeof talks);
    prng_init(&talks.r, seed);
    begin_link(link_bytes, true);
    for (unsigned i = 0; i < TALKERS; i++) a[i] = puppet_new(net.w, 0, &puppet_class);
    connect_as(&p, PEER);
    p.on_payload = on_payload;
    for (unsigned i = 0; i < 300; i++) {
        unsigned who = (unsigned)prng_below(&talks.r, TALKERS);
        tell(net.w, a[who], do_talk, who);
        p.c->room = prng_below(&talks.r, 3) ? prng_below(&talks.r, 100000) : 0;
        (void)world_run(net.w);
        take(&p);
    }
    unsigned come = 0;
    for (unsigned still = 0; still < 10; still = talks.come == come ? still + 1 : 0) { /* those that were slowed have more to say */
        come = talks.come;
        p.c->room = SIZE_MAX;
        talk(&p);
    }
    assert_false(p.c->closed);
    assert_true(come > 300);
    assert_memory_equal(talks.said, talks.got, sizeof talks.said);
    peer_fini(&p);
    end();
    for (unsigned i = 0; i < TALKERS; i++) mem_free(a[i]);
}

static void pairs_keep_their_order(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) order_of(seed, seed % 2 ? MESH_LINK_BYTES : 5000);
}

/* --- pressure ---------------------------------------------------------------------------------------------------------------------- */
static void do_be(rt_ctx *cx, puppet *p, uint64_t name) {
    (void)p;
    assert_int_equal(rt_name_register(cx, (const char *)(uintptr_t)name), ERR_OK);
}

/* Who works for others too is not slowed, but has a bound. */
static void services_are_not_slowed(void **state) {
    (void)state;
    peer p;
    begin_link(MESH_LINK_BYTES, false);
    puppet *a = puppet_new(net.w, 0, &puppet_class);
    connect_as(&p, PEER);
    tell(net.w, a, do_be, (uint64_t)(uintptr_t) "net_kernel");
    rt_blob *big = bytes_of(LONG);
    words x[] = {{big, NULL, 91, 1}, {.times = 0}};
    p.c->room = 0;
    unsigned n = 0;
    while (!p.c->closed) {
        say_all(a, x);
        assert_in_range(++n, 1, MESH_ANSWERS_MAX / LONG + 3);
        assert_int_equal(a->timers, n);
    }
    assert_true(n > MESH_ANSWERS_MAX / LONG);
    assert_int_equal(rt_event_count(net.w->n, EV_MESH_DOWN), 1);
    assert_int_equal(big->refs, 1);
    rt_blob_unref(big);
    peer_fini(&p);
    end();
    mem_free(a);
}

/* Small messages, too, slow their senders when the socket takes nothing; all come once it does. */
static void a_peer_that_takes_nothing_slows_its_senders(void **state) {
    (void)state;
    peer p;
    begin_link(5000, true);
    puppet *a = puppet_new(net.w, 0, &puppet_class), *b = puppet_new(net.w, 0, &puppet_class);
    connect_as(&p, PEER);
    rt_blob *some = bytes_of(400);
    words x[] = {{some, NULL, 91, 5}, {.times = 0}};
    unsigned before = p.messages;
    p.c->room = 0;
    for (int i = 0; i < 10; i++) say_all(a, x);
    unsigned handled = a->timers;
    assert_in_range(handled, 2, 5);
    say_all(b, x); /* takes part in what is too much already */
    say_all(b, x);
    assert_int_equal(b->timers, 1);
    net.w->now += RT_MUTE_MAX_USEC;
    (void)world_run(net.w);
    assert_int_equal(a->timers, handled);
    drain(&p, 3000, before + 60);
    assert_int_equal(a->timers, 10);
    assert_int_equal(b->timers, 2);
    assert_int_equal(rt_event_count(net.w->n, EV_MESH_BUSY), rt_event_count(net.w->n, EV_MESH_FREE));
    rt_blob_unref(some);
    peer_fini(&p);
    end();
    mem_free(a);
    mem_free(b);
}

/* --- the end ----------------------------------------------------------------------------------------------------------------------- */
static void do_watch(rt_ctx *cx, puppet *p, uint64_t arg) {
    do_say(cx, p, arg);
    (void)rt_monitor(cx, (rt_pid){1, 91, 0});
}

/* A monitor that waits behind a long message is answered when the connection ends, once, and its sender goes on. */
static void what_waits_ends_with_the_link(void **state) {
    (void)state;
    for (unsigned small = 0; small < 2; small++) {
        peer p;
        begin_link(5000, true);
        puppet *a = puppet_new(net.w, 0, &puppet_class);
        connect_as(&p, PEER);
        rt_blob *big = bytes_of(small ? 2000 : LONG);
        words x[] = {{big, NULL, 91, 9}, {.times = 0}};
        p.c->room = 0;
        tell(net.w, a, do_watch, (uint64_t)(uintptr_t)x);
        (void)world_run(net.w);
        assert_int_equal(count_tag(a, RT_DOWN), 0);
        p.c->eof = true;
        (void)world_run(net.w);
        assert_true(p.c->closed);
        assert_int_equal(count_tag(a, RT_DOWN), 1);
        assert_int_equal(a->log[a->n - 1].reason, ERR_NOCONN);
        assert_int_equal(big->refs, 1);
        rt_blob_unref(big);
        peer_fini(&p);
        end();
        mem_free(a);
    }
}

/* --- what the link says itself ----------------------------------------------------------------------------------------------------- */
/* The answer to a call is long: others' messages pass it, what follows from the same process does not. */
static void a_long_answer(void **state) {
    (void)state;
    peer p;
    begin_link(MESH_LINK_BYTES, true);
    puppet *a = puppet_new(net.w, 0, &puppet_class);
    connect_as(&p, PEER);
    rt_blob *one = atom_of("a");
    words x[] = {{one, NULL, 91, 1}, {.times = 0}};
    uint8_t *tag = mem_zalloc(LONG);
    buf args, options = term("[monitor,link]");
    buf_init(&args, 2 * LONG);
    etf_put_list(&args, 4);
    etf_put_binary(&args, slice_of(tag, LONG));
    etf_put_atom(&args, SLICE("erlang"));
    etf_put_atom(&args, SLICE("node"));
    etf_put_nil(&args);
    etf_put_nil(&args);
    dist_ctl c = {.signal = DIST_SIG_SPAWN,
                  .from = to_pid(peer_pid(&p)),
                  .ref = peer_ref(&p),
                  .leader = peer_pid(&p),
                  .module = SLICE("erpc"),
                  .function = SLICE("execute_call"),
                  .arity = 4,
                  .options = buf_slice(&options),
                  .payload = buf_slice(&args)};
    unsigned before = p.messages;
    put(&p, &c);
    p.c->room = 10000;
    talk(&p);
    say_all(a, x);
    drain(&p, 100000, before + 4);
    heard(&p, "spawn_reply from pid to pid flags 3\nsend from pid to pid: a\ndown from pid to pid\nexit from pid to pid\n");
    buf_fini(&args);
    buf_fini(&options);
    mem_free(tag);
    rt_blob_unref(one);
    peer_fini(&p);
    end();
    mem_free(a);
}

/* To a peer that has not agreed on fragments it goes whole, in its place. */
static void without_fragments(void **state) {
    (void)state;
    peer p;
    begin_link(MESH_LINK_BYTES, true);
    puppet *a = puppet_new(net.w, 0, &puppet_class), *b = puppet_new(net.w, 0, &puppet_class);
    peer_init(&p, PEER, COOKIE);
    p.self.flags &= ~DIST_FLAG(FRAGMENTS);
    buf_reset(&p.out);
    assert_int_equal(dist_handshake_dial(&p.h, DIST_CARRIER_TCP, &p.self, SLICE(OWN), SLICE(COOKIE), 77, &p.out), ERR_OK);
    talk(&p);
    assert_true(p.up);
    rt_blob *big = bytes_of(LONG), *two = atom_of("b");
    words of_a[] = {{big, NULL, 91, 2}, {.times = 0}}, of_b[] = {{two, NULL, 91, 1}, {.times = 0}};
    p.c->room = 0;
    say_all(a, of_a);
    say_all(b, of_b);
    drain(&p, 100000, p.messages + 3);
    heard(&p, "send from pid to pid\nsend from pid to pid\nsend from pid to pid: b\n");
    rt_blob_unref(big);
    rt_blob_unref(two);
    peer_fini(&p);
    end();
    mem_free(a);
    mem_free(b);
}

/* --- what comes --------------------------------------------------------------------------------------------------------------------- */
static rt_blob *kept;
static err keep_handle(rt_ctx *cx, void *st, rt_msg **m) {
    (void)cx, (void)st;
    if ((*m)->tag == MESH_TERM) kept = rt_blob_ref(mesh_term_of(*m)->term);
    return ERR_OK;
}
static const rt_class keeper = {.name = "keeper", .handle = keep_handle, .foreign = true};

/* A long message arrives as it was said, in whatever pieces; one that is no term ends the connection. */
static void long_messages_come(void **state) {
    static const uint8_t zeros[200000];
    (void)state;
    for (unsigned wrong = 0; wrong < 2; wrong++) {
        peer p;
        begin_link(MESH_LINK_BYTES, true);
        rt_pid pid = world_spawn(net.w, 0, &keeper, NULL);
        connect_as(&p, PEER);
        p.piece = 70001;
        net.read_max = 50000;
        buf b;
        buf_init(&b, 2 * LONG);
        etf_put_list(&b, 40001);
        for (unsigned i = 0; i < 40000; i++) {
            etf_put_tuple(&b, 2);
            etf_put_atom(&b, i % 2 ? SLICE("odd") : SLICE("even"));
            etf_put_int(&b, i * 7);
        }
        etf_put_binary(&b, slice_of(zeros, sizeof zeros));
        if (wrong)
            buf_add_byte(&b, 80); /* compressed: refused */
        else
            etf_put_nil(&b);
        kept = NULL;
        say(&p,
            (dist_ctl){
                .signal = DIST_SIG_SEND, .from = to_pid(peer_pid(&p)), .to = to_pid(mesh_etf_pid(net.m, pid)), .payload = buf_slice(&b)});
        assert_int_equal(p.c->closed, wrong);
        assert_int_equal(kept != NULL, !wrong);
        if (kept) assert_true(slice_eq(slice_from(rt_blob_slice(kept), 1), buf_slice(&b)) && kept->data[0] == ETF_VERSION);
        rt_blob_unref(kept);
        buf_fini(&b);
        peer_fini(&p);
        end();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_message_lets_others_pass),
        cmocka_unit_test(a_round_has_its_bound),
        cmocka_unit_test(pairs_take_turns),
        cmocka_unit_test(what_goes_to_a_name_waits),
        cmocka_unit_test(pairs_keep_their_order),
        cmocka_unit_test(services_are_not_slowed),
        cmocka_unit_test(a_peer_that_takes_nothing_slows_its_senders),
        cmocka_unit_test(what_waits_ends_with_the_link),
        cmocka_unit_test(a_long_answer),
        cmocka_unit_test(without_fragments),
        cmocka_unit_test(long_messages_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
