/* A connection of another node (mesh/link.h): its handshake, what it asks, time and pressure. */
#include "mesh/rpc.h"
#include "peer_world.h"
#include "rt/shard.h"

#include <stdio.h>

/* --- the handshake ----------------------------------------------------------------------------------------------------------------- */
static void handshake_split_anywhere(void **state) {
    (void)state;
    size_t all = 1;
    for (size_t cut = 0; cut < all; cut++) {
        peer p;
        begin();
        peer_init(&p, PEER, COOKIE);
        p.cut = cut;
        talk(&p);
        assert_true(p.up);
        assert_int_equal(nodes(), 1);
        all = p.sent;
        p.c->eof = true;
        (void)world_run(net.w);
        assert_true(p.c->closed);
        assert_int_equal(nodes(), 0);
        peer_fini(&p);
        end();
    }
    assert_true(all > 40);
}

static void byte_by_byte(void **state) {
    (void)state;
    peer p;
    begin();
    net.read_max = 1;
    peer_init(&p, PEER, COOKIE);
    p.piece = 1;
    talk(&p);
    assert_true(p.up);
    say(&p, monitor_of(&p, "nobody"));
    heard(&p, "down from nobody to pid: noproc\n");
    peer_fini(&p);
    end();
}

/* What comes with the last message of the handshake in one reading is frames. */
static void frames_right_after_the_handshake(void **state) {
    (void)state;
    peer p;
    begin();
    peer_init(&p, PEER, COOKIE);
    p.early = true;
    p.first = monitor_of(&p, "nobody");
    talk(&p);
    assert_true(p.up);
    heard(&p, "down from nobody to pid: noproc\n");
    peer_fini(&p);
    end();
}

static void wrong_cookie(void **state) {
    (void)state;
    peer p;
    begin();
    peer_init(&p, PEER, "XKQJZPWVBNMTRHGFDSLD");
    talk(&p);
    assert_false(p.up);
    assert_true(p.c->closed);
    assert_int_equal(nodes(), 0);
    peer_fini(&p);
    connect_as(&p, PEER); /* and the name is not lost for who knows it */
    peer_fini(&p);
    end();
}

/* Who says that it has our own name. */
static void name_not_allowed(void **state) {
    (void)state;
    peer p;
    begin();
    peer_init(&p, OWN, COOKIE);
    talk(&p);
    assert_false(p.up);
    assert_true(p.c->closed);
    assert_int_equal(nodes(), 0);
    peer_fini(&p);
    end();
}

static void a_handshake_has_its_time(void **state) {
    (void)state;
    peer p;
    begin();
    peer_init(&p, PEER, COOKIE);
    (void)world_run(net.w);
    net.w->now += MESH_SETUP_TIME - USEC_PER_MSEC;
    (void)world_run(net.w);
    assert_false(p.c->closed);
    net.w->now += 3 * USEC_PER_MSEC;
    (void)world_run(net.w);
    assert_true(p.c->closed);
    peer_fini(&p);
    end();
}

/* A place is free again when a handshake has succeeded, failed, or taken too long. */
static void so_many_handshakes_at_a_time(void **state) {
    (void)state;
    peer p[2], late, q;
    begin_with(2, true);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 2; i++) peer_init(&p[i], i ? "b@h" : "a@h", round == 1 ? "XKQJZPWVBNMTRHGFDSLD" : COOKIE);
        (void)world_run(net.w);
        peer_init(&late, "c@h", COOKIE);
        (void)world_run(net.w);
        assert_true(late.c->closed);
        assert_int_equal(late.c->out.len, 0);
        assert_int_equal(rt_event_count(net.w->n, EV_MESH_CROWDED), round + 1);
        assert_false(p[0].c->closed || p[1].c->closed);
        if (round == 2) net.w->now += MESH_SETUP_TIME + 2 * USEC_PER_MSEC;
        for (int i = 0; i < 2; i++) {
            talk(&p[i]);
            assert_int_equal(p[i].up, round == 0);
            p[i].c->eof = true;
            (void)world_run(net.w);
            assert_true(p[i].c->closed);
            peer_fini(&p[i]);
        }
        peer_fini(&late);
    }
    connect_as(&q, PEER);
    peer_fini(&q);
    end();
}

/* A connection that cannot be served is closed, the acceptor pauses, and what that connection took is free again. */
static void a_connection_that_cannot_be_served(void **state) {
    (void)state;
    peer p;
    begin_with(1, true);
    net.deaf = true;
    peer_init(&p, PEER, COOKIE);
    (void)world_run(net.w);
    assert_true(p.c->closed);
    assert_int_equal(rt_event_count(net.w->n, EV_ACCEPT_FAIL), 1);
    peer_fini(&p);
    net.deaf = false;
    peer_init(&p, PEER, COOKIE);
    talk(&p);
    assert_false(p.up); /* it pauses */
    net.w->now += USEC_PER_SEC;
    talk(&p);
    assert_true(p.up);
    assert_int_equal(rt_event_count(net.w->n, EV_MESH_CROWDED), 0);
    peer_fini(&p);
    end();
}

/* Where no acceptor can be started, the socket that it was to have is closed. */
static void a_listener_that_cannot_start(void **state) {
    (void)state;
    begin();
    rt_shard *sh = &net.w->n->shards[0];
    uint32_t slots = sh->n_slots, free_slot = sh->free_slot;
    sys_addr a = {.family = SYS_INET4, .ip = {127, 0, 0, 1}}, bound;
    sh->n_slots = (1u << 24) - 1; /* as if so many actors lived */
    sh->free_slot = 0;
    net.c[1].closed = false;
    assert_int_equal(mesh_listen(net.m, &a, &bound), ERR_LIMIT);
    sh->n_slots = slots;
    sh->free_slot = free_slot;
    assert_true(net.c[1].closed);
    net.c[1].closed = false;
    net.deaf = true; /* and if it starts but cannot serve */
    assert_int_not_equal(mesh_listen(net.m, &a, &bound), ERR_OK);
    assert_true(net.c[1].closed);
    net.deaf = false;
    end();
}

/* A peer that connects anew ends its older link, once it has proved to know the cookie. */
static void take_over(void **state) {
    (void)state;
    peer p, q;
    begin();
    connect_as(&p, PEER);
    peer_init(&q, PEER, "XKQJZPWVBNMTRHGFDSLD");
    talk(&q);
    assert_true(q.c->closed);
    assert_false(p.c->closed);
    peer_fini(&q);
    connect_as(&q, PEER);
    assert_true(p.c->closed);
    assert_int_equal(nodes(), 1);
    say(&q, monitor_of(&q, "nobody"));
    heard(&q, "down from nobody to pid: noproc\n");
    peer_fini(&p);
    peer_fini(&q);
    end();
}

/* Peers that say the name of a connected node and no more do not keep it from coming back; of two that know the cookie the first one to
 * prove it is connected. */
static void take_over_past_who_only_says_the_name(void **state) {
    (void)state;
    peer p, idle, late, q;
    begin();
    connect_as(&p, PEER);
    peer *const both[] = {&idle, &late};
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        peer_init(both[i], PEER, COOKIE);
        buf_add(&both[i]->c->in, buf_slice(&both[i]->out)); /* its name; the answer is not read yet */
        buf_reset(&both[i]->out);
        (void)world_run(net.w);
        assert_true(both[i]->c->out.len > 0);
    }
    connect_as(&q, PEER);
    assert_true(p.c->closed);
    talk(&late);
    assert_false(late.up);
    assert_true(late.c->closed);
    say(&q, monitor_of(&q, "nobody"));
    heard(&q, "down from nobody to pid: noproc\n");
    idle.c->eof = true;
    (void)world_run(net.w);
    assert_true(idle.c->closed);
    assert_false(q.c->closed);
    assert_int_equal(nodes(), 1);
    peer_fini(&p);
    peer_fini(&idle);
    peer_fini(&late);
    peer_fini(&q);
    end();
}

/* --- what it asks ------------------------------------------------------------------------------------------------------------------ */
static void net_kernel_answers_is_auth(void **state) {
    (void)state;
    peer p;
    begin();
    connect_as(&p, PEER);
    for (int alias = 0; alias < 2; alias++) {
        buf b;
        etf_pid me = peer_pid(&p);
        etf_ref r = peer_ref(&p);
        buf_init(&b, 4096);
        etf_put_tuple(&b, 3);
        etf_put_atom(&b, SLICE("$gen_call"));
        etf_put_tuple(&b, 2);
        etf_put_pid(&b, &me);
        if (alias) {
            etf_put_list(&b, 1);
            etf_put_atom(&b, SLICE("alias"));
            etf_put_ref(&b, &r);
        } else {
            etf_put_atom(&b, SLICE("tag"));
        }
        etf_put_tuple(&b, 2);
        etf_put_atom(&b, SLICE("is_auth"));
        etf_put_atom(&b, SLICE(PEER));
        say(&p, (dist_ctl){.signal = DIST_SIG_SEND, .from = to_pid(me), .to = to_name("net_kernel"), .payload = buf_slice(&b)});
        buf_fini(&b);
        assert_int_equal(p.messages, alias + 1);
        if (!alias) {
            heard(&p, "send from pid to pid: {tag,yes}\n");
        } else {
            static const char head[] = "send from pid to alias: {[alias|";
            slice got = buf_slice(&p.heard);
            assert_true(got.len > strlen(head) && memcmp(got.p, head, strlen(head)) == 0);
        }
    }
    peer_fini(&p);
    end();
}

static dist_ctl spawn_of(const peer *p, const char *module, const char *function, uint8_t arity, const buf *args, const buf *options) {
    return (dist_ctl){.signal = DIST_SIG_SPAWN,
                      .from = to_pid(peer_pid(p)),
                      .ref = peer_ref(p),
                      .leader = peer_pid(p),
                      .module = slice_str(module),
                      .function = slice_str(function),
                      .arity = arity,
                      .options = buf_slice(options),
                      .payload = buf_slice(args)};
}

/* What the pool has to do, one job after the other, and what comes of it. */
static void run_jobs(peer *p) {
    while (rt_pool_run_one(net.w->n, RT_POOL_USER)) talk(p);
}

static void spawn_requests(void **state) {
    (void)state;
    static const struct {
        const char *module, *function;
        uint8_t arity;
        const char *args, *options, *heard;
    } cases[] = {
        {"lists", "seq", 2, "[1,2]", "[monitor]",
         "spawn_reply from pid to pid flags 2\ndown from pid to pid: {undef,[{lists,seq,[1,2],[]}]}\n"},
        {"lists", "seq", 2, "[1|2]", "[link]",
         "spawn_reply from pid to pid flags 1\nexit from pid to pid: {badarg,[{lists,seq,[1|2],[]}]}\n"},
        {"erpc", "execute_call", 4, "[r,erlang,node,[1|2]]", "[monitor]",
         "spawn_reply from pid to pid flags 2\ndown from pid to pid: {r,error,badarg,[{erlang,node,[1|2],[]}]}\n"},
        {"erpc", "execute_cast", 3, "[erlang,node,no]", "[monitor]",
         "spawn_reply from pid to pid flags 2\ndown from pid to pid: {badarg,[{erlang,node,no,[]}]}\n"},
        {"erpc", "execute_call", 4, "[r,erlang,process_info,\"a\"]", "[monitor]",
         "spawn_reply from pid to pid flags 2\ndown from pid to pid: {r,error,badarg,[{erlang,process_info,\"a\",[]}]}\n"},
        {"erpc", "execute_call", 4, "[r,erlang,system_info,[schedulers]]", "[monitor]",
         "spawn_reply from pid to pid flags 2\ndown from pid to pid: {r,return,1}\n"},
        {"erlang", "system_info", 1, "[schedulers]", "[monitor]", "spawn_reply from pid to pid flags 2\ndown from pid to pid: normal\n"},
        {"erpc", "execute_call", 4, "[r,erlang,node,[]]", "[monitor]",
         "spawn_reply from pid to pid flags 2\ndown from pid to pid: {r,return,murre@h}\n"},
        {"erpc", "execute_call", 4, "[r,erlang,nodes,[]]", "[{monitor,[]},link]",
         "spawn_reply from pid to pid flags 3\ndown from pid to pid: {r,return,[p@h]}\nexit from pid to pid: {r,return,[p@h]}\n"},
        {"erpc", "execute_call", 4, "[r,os,cmd,[\"ls\"]]", "[monitor]",
         "spawn_reply from pid to pid flags 2\ndown from pid to pid: {r,error,undef,[{os,cmd,[\"ls\"],[]}]}\n"},
        {"erpc", "execute_call", 4, "[r,erlang,whereis,[7]]", "[monitor]",
         "spawn_reply from pid to pid flags 2\ndown from pid to pid: {r,error,badarg,[{erlang,whereis,[7],[]}]}\n"},
        {"erpc", "execute_cast", 3, "[erlang,node,[]]", "[]", "spawn_reply from pid to pid flags 0\n"},
        {"erpc", "execute_call", 4, "[r]", "[monitor]", "spawn_reply from notsup to pid flags 0\n"},
        {"erpc", "execute_cast", 3, "[erlang,node,[]]", "[{priority,high}]", "spawn_reply from pid to pid flags 0\n"},
        {"erpc", "execute_cast", 3, "[erlang,node,[]]", "[monitor,foo]", "spawn_reply from badopt to pid flags 0\n"},
        {"erpc", "execute_cast", 3, "[erlang,node,[]]", "[monitor,{monitor,[],x}]", "spawn_reply from badopt to pid flags 0\n"},
        {"erpc", "execute_cast", 3, "[erlang,node,[]]", "[1,2]", "spawn_reply from badopt to pid flags 0\n"},
        {"erpc", "execute_cast", 3, "[erlang,node,[]]", "[1000]", "spawn_reply from badopt to pid flags 0\n"},
        {"erpc", "execute_cast", 3, "[erlang,node,[]]", "[link|monitor]", "spawn_reply from badopt to pid flags 0\n"},
        {"erpc", "execute_cast", 3, "[erlang,node,[]]", "link", "spawn_reply from badopt to pid flags 0\n"},
    };
    peer p;
    begin();
    connect_as(&p, PEER);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf args = term(cases[i].args), options = term(cases[i].options);
        say(&p, spawn_of(&p, cases[i].module, cases[i].function, cases[i].arity, &args, &options));
        run_jobs(&p);
        heard(&p, cases[i].heard);
        buf_fini(&args);
        buf_fini(&options);
    }
    peer_fini(&p);
    end();
}

static void ask_later(peer *p, unsigned times) {
    buf args = term("[r,erlang,system_info,[schedulers]]"), options = term("[monitor]");
    for (unsigned i = 0; i < times; i++) say(p, spawn_of(p, "erpc", "execute_call", 4, &args, &options));
    buf_fini(&args);
    buf_fini(&options);
}

/* The link goes on while a call runs: its process is there at once, its answer comes when there is one, and those behind it wait. */
static void a_call_that_takes_time(void **state) {
    (void)state;
    peer p;
    begin();
    connect_as(&p, PEER);
    ask_later(&p, 2);
    heard(&p, "spawn_reply from pid to pid flags 2\nspawn_reply from pid to pid flags 2\n");
    assert_int_equal(rt_pool_waiting(net.w->n, RT_POOL_USER), 1);
    say(&p, monitor_of(&p, "nobody"));
    heard(&p, "down from nobody to pid: noproc\n");
    assert_true(rt_pool_run_one(net.w->n, RT_POOL_USER));
    talk(&p);
    heard(&p, "down from pid to pid: {r,return,1}\n");
    run_jobs(&p);
    heard(&p, "down from pid to pid: {r,return,1}\n");
    peer_fini(&p);
    end();
}

/* One that runs and MESH_RPC_WAIT_MAX that wait are all that a peer may have; the next one is told so, and has its turn later. */
static void calls_that_wait_have_a_bound(void **state) {
    (void)state;
    peer p;
    begin();
    connect_as(&p, PEER);
    ask_later(&p, MESH_RPC_WAIT_MAX + 1);
    buf_reset(&p.heard);
    ask_later(&p, 1);
    heard(&p, "spawn_reply from pid to pid flags 2\n"
              "down from pid to pid: {r,error,system_limit,[{erlang,system_info,[schedulers],[]}]}\n");
    unsigned before = p.messages;
    run_jobs(&p);
    assert_int_equal(p.messages - before, MESH_RPC_WAIT_MAX + 1);
    buf_reset(&p.heard);
    ask_later(&p, 1);
    run_jobs(&p);
    heard(&p, "spawn_reply from pid to pid flags 2\ndown from pid to pid: {r,return,1}\n");
    peer_fini(&p);
    end();
}

/* Requests are bounded in bytes, too: of 50,000 each, one runs and 20 wait. */
static void long_calls_that_wait_have_a_bound(void **state) {
    (void)state;
    enum { EACH = 50000 };
    peer p;
    begin();
    connect_as(&p, PEER);
    uint8_t *bytes = mem_zalloc(EACH);
    buf args, options = term("[monitor]");
    buf_init(&args, 2 * EACH);
    etf_put_list(&args, 4);
    etf_put_atom(&args, SLICE("r"));
    etf_put_atom(&args, SLICE("erlang"));
    etf_put_atom(&args, SLICE("system_info"));
    etf_put_list(&args, 1);
    etf_put_binary(&args, slice_of(bytes, EACH));
    etf_put_nil(&args);
    etf_put_nil(&args);
    unsigned taken = 0;
    for (bool more = true; more; taken += more) {
        buf_reset(&p.heard);
        say(&p, spawn_of(&p, "erpc", "execute_call", 4, &args, &options));
        more = slice_is(buf_slice(&p.heard), "spawn_reply from pid to pid flags 2\n");
        assert_true(taken <= MESH_RPC_WAIT_MAX);
    }
    assert_int_equal(taken, 1 + MESH_RPC_WAIT_BYTES / EACH);
    heard(&p, "spawn_reply from pid to pid flags 2\ndown from pid to pid\n"); /* the reason is too long to be noted */
    mem_free(bytes);
    buf_fini(&args);
    buf_fini(&options);
    peer_fini(&p);
    end();
}

/* A connection that is lost takes the calls along: the one that runs ends unheard. */
static void calls_end_with_their_link(void **state) {
    (void)state;
    peer p;
    begin();
    connect_as(&p, PEER);
    ask_later(&p, 3);
    p.c->eof = true;
    (void)world_run(net.w);
    assert_true(p.c->closed);
    assert_true(rt_pool_run_one(net.w->n, RT_POOL_USER));
    (void)world_run(net.w);
    assert_int_equal(rt_pool_waiting(net.w->n, RT_POOL_USER), 0);
    peer_fini(&p);
    end();
}

/* Whoever speaks for a process of a third node is cut off, and what it says after that is not heard, even in the same reading. */
static void a_forged_pid_ends_the_link(void **state) {
    (void)state;
    peer p;
    begin();
    puppet *a = puppet_new(net.w, 0, &puppet_class);
    connect_as(&p, PEER);
    buf b = term("hello");
    dist_addr to = to_pid(mesh_etf_pid(net.m, a->pid));
    dist_ctl send = {.signal = DIST_SIG_SEND, .from = to_pid(peer_pid(&p)), .to = to, .payload = buf_slice(&b)};
    dist_ctl forged = {.signal = DIST_SIG_LINK, .from = to_pid(peer_pid(&p)), .to = to};
    forged.from.pid.node = SLICE("q@h");
    say(&p, send);
    assert_int_equal(a->n, 1);
    assert_int_equal(a->log[0].tag, MESH_TERM);
    put(&p, &forged);
    put(&p, &send);
    talk(&p);
    assert_true(p.c->closed);
    assert_int_equal(a->n, 1);
    assert_int_equal(nodes(), 0);
    buf_fini(&b);
    peer_fini(&p);
    end();
    mem_free(a);
}

/* --- time and pressure ------------------------------------------------------------------------------------------------------------- */
static void ticks(void **state) {
    (void)state;
    peer p;
    begin();
    connect_as(&p, PEER);
    for (int i = 0; i < 40; i++) { /* a quarter of an interval each */
        net.w->now += TICKTIME / MESH_TICK_INTENSITY / 4;
        if (i % 4 == 0) dist_frame_tick(&p.out);
        talk(&p);
        take(&p);
    }
    assert_false(p.c->closed);
    assert_in_range(p.ticks, 9, 11);
    dist_frame_tick(&p.out); /* its last words */
    talk(&p);
    usec heard = net.w->now;
    while (!p.c->closed && net.w->now < heard + 2 * TICKTIME) {
        net.w->now += USEC_PER_SEC / 4;
        (void)world_run(net.w);
    }
    assert_true(p.c->closed);
    assert_in_range(net.w->now - heard, TICKTIME, TICKTIME + TICKTIME / MESH_TICK_INTENSITY + USEC_PER_SEC / 2);
    assert_int_equal(nodes(), 0);
    peer_fini(&p);
    end();
}

/* A process that was stopped and goes on has heard nobody for long, and that is nobody's fault but its own: it listens before it judges. */
static void a_node_that_was_stopped_does_not_blame_its_peers(void **state) {
    (void)state;
    peer p;
    begin();
    connect_as(&p, PEER);
    net.w->now += 10 * TICKTIME;
    (void)world_run(net.w);
    assert_false(p.c->closed);
    dist_frame_tick(&p.out);
    talk(&p);
    for (int i = 0; i < 3; i++) {
        net.w->now += TICKTIME / MESH_TICK_INTENSITY;
        (void)world_run(net.w);
    }
    assert_false(p.c->closed);
    assert_int_equal(nodes(), 1);
    peer_fini(&p);
    end();
}

static rt_blob *big;
static void do_send(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p;
    for (uint64_t i = 0; i < arg; i++) {
        rt_pid to = {1, 91, 0}; /* the first node that was ever up */
        rt_msg *m = rt_msg_new(cx, MESH_TERM, sizeof(mesh_term));
        mesh_term_of(m)->term = rt_blob_ref(big);
        rt_send(cx, to, &m);
    }
}

/* What its socket does not take waits in its buffer up to link_bytes, and the rest as it was sent. */
static void a_peer_that_does_not_read(void **state) {
    (void)state;
    peer p;
    begin();
    puppet *a = puppet_new(net.w, 0, &puppet_class);
    connect_as(&p, PEER);
    buf b;
    uint8_t zeros[400] = {0};
    buf_init(&b, 4096);
    etf_put_version(&b);
    etf_put_binary(&b, slice_of(zeros, sizeof zeros));
    big = rt_blob_new(buf_slice(&b));
    buf_fini(&b);
    p.c->room = 0;
    tell(net.w, a, do_send, 10);
    (void)world_run(net.w);
    assert_in_range(big->refs, 1 + 6, 1 + 8); /* two or three are in its buffer */
    take(&p);
    assert_int_equal(p.messages, 0);
    p.c->room = 300; /* less than one, and nothing more is taken from the mailbox */
    (void)world_run(net.w);
    take(&p);
    assert_int_equal(p.messages, 0);
    for (int i = 0; i < 100 && p.messages < 10; i++) {
        p.c->room = 300;
        (void)world_run(net.w);
        take(&p);
    }
    assert_int_equal(p.messages, 10);
    assert_int_equal(big->refs, 1);
    p.c->room = SIZE_MAX;
    say(&p, monitor_of(&p, "nobody")); /* it goes on as ever */
    assert_int_equal(p.messages, 11);
    rt_blob_unref(big);
    peer_fini(&p);
    end();
    mem_free(a);
}

/* Whatever the socket takes at a time, all comes, once and in order, and what waits is not moved in memory at each writing. */
static void what_waits_goes_out_as_it_was_said(void **state) {
    (void)state;
    peer p;
    begin();
    connect_as(&p, PEER);
    buf want;
    buf_init(&want, SIZE_MAX);
    p.c->room = 0;
    for (unsigned i = 0, sent = 0; i < 240; i++) {
        if (i % 2 == 0) { /* more comes than goes */
            char name[16];
            (void)snprintf(name, sizeof name, "n%u", sent);
            dist_ctl c = monitor_of(&p, name);
            c.ref.word[0] = 100 + sent++;
            say(&p, c);
            buf_addf(&want, "down from %s to pid: noproc\n", name);
        }
        p.c->room = i % 17 + 1;
        talk(&p);
    }
    size_t left = 0;
    for (p.c->moved = 0; p.messages < 120; left++) { /* a byte at a time */
        assert_in_range(left, 0, 100000);
        p.c->room = 1;
        (void)world_run(net.w);
        take(&p);
    }
    assert_true(left > 1000);
    assert_in_range(p.c->moved, 1, 2 * left);
    assert_true(slice_eq(buf_slice(&p.heard), buf_slice(&want)));
    buf_fini(&want);
    peer_fini(&p);
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handshake_split_anywhere),
        cmocka_unit_test(byte_by_byte),
        cmocka_unit_test(frames_right_after_the_handshake),
        cmocka_unit_test(wrong_cookie),
        cmocka_unit_test(name_not_allowed),
        cmocka_unit_test(a_handshake_has_its_time),
        cmocka_unit_test(so_many_handshakes_at_a_time),
        cmocka_unit_test(a_connection_that_cannot_be_served),
        cmocka_unit_test(a_listener_that_cannot_start),
        cmocka_unit_test(take_over),
        cmocka_unit_test(take_over_past_who_only_says_the_name),
        cmocka_unit_test(net_kernel_answers_is_auth),
        cmocka_unit_test(spawn_requests),
        cmocka_unit_test(a_call_that_takes_time),
        cmocka_unit_test(calls_that_wait_have_a_bound),
        cmocka_unit_test(long_calls_that_wait_have_a_bound),
        cmocka_unit_test(calls_end_with_their_link),
        cmocka_unit_test(a_forged_pid_ends_the_link),
        cmocka_unit_test(ticks),
        cmocka_unit_test(a_node_that_was_stopped_does_not_blame_its_peers),
        cmocka_unit_test(a_peer_that_does_not_read),
        cmocka_unit_test(what_waits_goes_out_as_it_was_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
