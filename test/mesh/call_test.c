/* Calls of an actor here (mesh/call.h): gen_server:call and rpc towards a node that the test plays; every way in which a call ends, and
 * that nothing of one is left. */
#include "mesh/call.h"
#include "peer_world.h"

#define CALLS_MAX 3u
#define TIMEOUT   (2 * USEC_PER_SEC)

typedef enum deed_kind { CALL_NAME, CALL_PID, CALL_HERE, CALL_SELF, CALL_RPC, CALL_RPC_HERE, CALL_NOWHERE, CALL_NO_ATOM } deed_kind;
static struct {
    mesh_calls calls;
    rt_pid pid;
    usec timeout;
    err begun;      /* of the last deed */
    uint64_t call;  /* which it was */
    unsigned other; /* messages that were not about a call */
    buf log;        /* a line an answer */
} s;

static void log_answer(const mesh_answer *a) {
    arena mem;
    const etf_term *t;
    if (!a->call) return;
    buf_addf(&s.log, "%s", err_name(a->status));
    if (a->term.len) {
        etf_reader r = etf_reader_of(a->term);
        arena_init(&mem, 1 << 20);
        assert_int_equal(etf_term_read(&r, &mem, &t), ERR_OK);
        assert_int_equal(cursor_left(&r.in), 0);
        buf_add_byte(&s.log, ' ');
        etf_format(t, &s.log);
        arena_fini(&mem);
    }
    buf_add_byte(&s.log, '\n');
}

static err begin_call(rt_ctx *cx, deed_kind what) {
    slice there = SLICE(PEER);
    mesh_callee to = {.name = SLICE("shell"), .node = there};
    buf request = term("{what,1}"), args = term("[1,[2]]");
    err e = ERR_BUG;
    switch (what) {
    case CALL_PID: to.pid = (rt_pid){1, 91, 0}; break;
    case CALL_HERE: to = (mesh_callee){.name = SLICE("net_kernel")}; break;
    case CALL_SELF: to = (mesh_callee){.name = SLICE("asker"), .node = SLICE(OWN)}; break;
    case CALL_NOWHERE: to.node = SLICE("q@h"); break;
    case CALL_NO_ATOM: to.name = SLICE("\xff"); break;
    case CALL_NAME:
    case CALL_RPC:
    case CALL_RPC_HERE: break;
    }
    if (what == CALL_RPC || what == CALL_RPC_HERE)
        e = mesh_calls_rpc(cx, &s.calls, what == CALL_RPC ? there : SLICE(OWN), SLICE("mod"), SLICE("fn"), buf_slice(&args), s.timeout,
                           &s.call);
    else
        e = mesh_calls_gen(cx, &s.calls, &to, buf_slice(&request), s.timeout, &s.call);
    buf_fini(&request);
    buf_fini(&args);
    return e;
}

static err asker_init(rt_ctx *cx, void *st, const void *arg) {
    (void)st, (void)arg;
    mesh_calls_init(&s.calls, net.m, CALLS_MAX);
    return rt_name_register(cx, "asker");
}
static err asker_handle(rt_ctx *cx, void *st, rt_msg **m) {
    mesh_answer a;
    (void)st;
    if (mesh_calls_take(cx, &s.calls, *m, &a)) {
        log_answer(&a);
        mesh_answer_fini(&a);
    } else if ((*m)->tag == T_NOTE) {
        s.begun = begin_call(cx, (deed_kind)t_note_of(*m)->n);
    } else {
        s.other++;
    }
    return ERR_OK;
}
static err asker_timer(rt_ctx *cx, void *st, rt_timer *t) {
    mesh_answer a;
    (void)st;
    assert_true(mesh_calls_expire(cx, &s.calls, t, &a));
    log_answer(&a);
    mesh_answer_fini(&a);
    return ERR_OK;
}
static void asker_fini(rt_ctx *cx, void *st, err reason) {
    (void)st, (void)reason;
    mesh_calls_fini(cx, &s.calls);
}
static const rt_class asker_class = {.name = "asker",
                                     .state_size = 1,
                                     .init = asker_init,
                                     .handle = asker_handle,
                                     .timer = asker_timer,
                                     .fini = asker_fini,
                                     .foreign = true};

static void begin_asker(peer *p) {
    begin();
    memset(&s, 0, sizeof s);
    buf_init(&s.log, 1 << 20);
    s.timeout = TIMEOUT;
    s.pid = world_spawn(net.w, 0, &asker_class, NULL);
    connect_as(p, PEER);
}

static void end_asker(peer *p) {
    assert_int_equal(s.calls.by_ref.count, 0);
    assert_int_equal(s.calls.by_timer.count, 0);
    peer_fini(p);
    end();
    buf_fini(&s.log);
}

static void does(peer *p, deed_kind what) {
    rt_msg *m = rt_msg_new_ext(T_NOTE, sizeof(t_note));
    t_note_of(m)->n = what;
    rt_post(net.w->n, s.pid, &m);
    talk(p);
}

static void answered(const char *want) {
    slice got = buf_slice(&s.log);
    if (!slice_is(got, want)) fail_msg("'" SLICE_FMT "' is not '%s'", SLICE_ARG(got), want);
    buf_reset(&s.log);
}

static void silent(peer *p) { heard(p, ""); }

/* --- what the peer says -------------------------------------------------------------------------------------------------------------- */
/* {Ref, what}, Ref being that of the last monitor or spawn. */
static void says_reply(peer *p, const char *what) {
    buf b, t = term(what);
    buf_init(&b, 4096);
    etf_put_tuple(&b, 2);
    etf_put_ref(&b, &p->ref);
    buf_add(&b, buf_slice(&t));
    say(p, (dist_ctl){.signal = DIST_SIG_SEND, .from = to_pid(peer_pid(p)), .to = to_pid(p->from), .payload = buf_slice(&b)});
    buf_fini(&b);
    buf_fini(&t);
}

static void says_down(peer *p, dist_addr who, const char *why) {
    buf t = term(why);
    say(p, (dist_ctl){.signal = DIST_SIG_DOWN, .from = who, .to = to_pid(p->from), .ref = p->ref, .reason = buf_slice(&t)});
    buf_fini(&t);
}

static void says_made(peer *p, dist_addr what) {
    say(p, (dist_ctl){.signal = DIST_SIG_SPAWN_REPLY, .from = what, .to = to_pid(p->from), .ref = p->ref, .flags = DIST_SPAWN_MONITOR});
}

/* What the node has said since: its lines but for what is in them of references and pids. */
static void heard_like(peer *p, const char *first, const char *last) {
    slice got = buf_slice(&p->heard);
    size_t n = strlen(first), k = strlen(last);
    if (got.len < n + k || memcmp(got.p, first, n) != 0 || memcmp(got.p + got.len - k, last, k) != 0)
        fail_msg("'" SLICE_FMT "' is not '%s...%s'", SLICE_ARG(got), first, last);
    buf_reset(&p->heard);
}

#define CALLED_NAME "monitor from pid to shell\nsend from pid to shell: {'$gen_call',{"

/* --- gen_server:call ----------------------------------------------------------------------------------------------------------------- */
static void a_call_is_answered_once(void **state) {
    (void)state;
    peer p;
    begin_asker(&p);
    does(&p, CALL_NAME);
    assert_int_equal(s.begun, ERR_OK);
    heard_like(&p, CALLED_NAME, "},{what,1}}\n");
    says_reply(&p, "{ok,\"it\"}");
    answered("ok {ok,\"it\"}\n");
    heard(&p, "demonitor from pid to shell\n");
    says_reply(&p, "again"); /* late: there is no call */
    answered("");
    assert_int_equal(s.other, 0);
    does(&p, CALL_PID);
    heard_like(&p, "monitor from pid to pid\nsend from pid to pid: {'$gen_call',{", "},{what,1}}\n");
    says_reply(&p, "[]");
    answered("ok []\n");
    end_asker(&p);
}

/* Each way in which there is no answer is told apart. */
static void a_call_that_is_not_answered(void **state) {
    (void)state;
    peer p;
    begin_asker(&p);
    static const char *const ends[][2] = {{"noproc", "noproc\n"},
                                          {"noconnection", "noconn\n"},
                                          {"normal", "foreign normal\n"},
                                          {"killed", "foreign killed\n"},
                                          {"{shutdown,[1]}", "foreign {shutdown,[1]}\n"}};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        does(&p, CALL_NAME);
        buf_reset(&p.heard);
        says_down(&p, to_name("shell"), ends[i][0]);
        answered(ends[i][1]);
        silent(&p);
    }
    does(&p, CALL_NAME);
    buf_reset(&p.heard);
    net.w->now += TIMEOUT - USEC_PER_MSEC;
    talk(&p);
    answered("");
    net.w->now += 3 * USEC_PER_MSEC;
    talk(&p);
    answered("timeout\n");
    heard(&p, "demonitor from pid to shell\n");
    says_reply(&p, "late");
    says_down(&p, to_name("shell"), "late");
    answered("");
    assert_int_equal(s.other, 0);
    end_asker(&p);
}

static void a_lost_connection_ends_all_calls(void **state) {
    (void)state;
    peer p;
    begin_asker(&p);
    does(&p, CALL_NAME);
    does(&p, CALL_PID);
    does(&p, CALL_RPC);
    assert_int_equal(s.begun, ERR_OK);
    does(&p, CALL_NAME);
    assert_int_equal(s.begun, ERR_LIMIT);
    p.c->eof = true;
    (void)world_run(net.w);
    answered("noconn\nnoconn\nnoconn\n");
    does(&p, CALL_NAME);
    assert_int_equal(s.begun, ERR_NOCONN);
    does(&p, CALL_RPC);
    assert_int_equal(s.begun, ERR_NOCONN);
    end_asker(&p);
}

static void what_cannot_be_called(void **state) {
    (void)state;
    peer p;
    begin_asker(&p);
    static const struct {
        deed_kind what;
        err e;
    } bad[] = {{CALL_SELF, ERR_INVALID}, {CALL_NO_ATOM, ERR_INVALID}, {CALL_RPC_HERE, ERR_INVALID}, {CALL_NOWHERE, ERR_NOCONN}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        does(&p, bad[i].what);
        assert_int_equal(s.begun, bad[i].e);
    }
    answered("");
    silent(&p);
    end_asker(&p);
}

/* An actor of this node is called as one of another. Those that have no answer to a request say nothing, as in OTP. */
static void a_call_of_an_actor_here(void **state) {
    (void)state;
    peer p;
    begin_asker(&p);
    does(&p, CALL_HERE);
    assert_int_equal(s.begun, ERR_OK);
    silent(&p);
    net.w->now += 2 * TIMEOUT;
    talk(&p);
    answered("timeout\n");
    end_asker(&p);
}

static void without_a_time_out(void **state) {
    (void)state;
    peer p;
    begin_asker(&p);
    s.timeout = USEC_NEVER;
    does(&p, CALL_NAME);
    assert_int_equal(s.calls.by_timer.count, 0);
    says_reply(&p, "1");
    answered("ok 1\n");
    s.timeout = USEC_NEVER - 1; /* no sum of it and a clock overflows */
    does(&p, CALL_NAME);
    says_reply(&p, "2");
    answered("ok 2\n");
    end_asker(&p);
}

/* --- rpc ----------------------------------------------------------------------------------------------------------------------------- */
#define SPAWNS "spawn from pid to nobody: [0,mod,fn,[1,[2]]]\n"

static void a_function_of_another_node(void **state) {
    (void)state;
    peer p;
    begin_asker(&p);
    static const char *const ends[][2] = {{"{0,return,{v,[1]}}", "ok {v,[1]}\n"},
                                          {"{0,throw,ball}", "ok ball\n"},
                                          {"{0,exit,why}", "foreign {'EXIT',why}\n"},
                                          {"{0,error,undef,[{mod,fn,[1],[]}]}", "foreign {'EXIT',{undef,[{mod,fn,[1],[]}]}}\n"},
                                          {"killed", "foreign {'EXIT',killed}\n"},
                                          {"noproc", "foreign {'EXIT',noproc}\n"},
                                          {"{0,return}", "foreign {'EXIT',{0,return}}\n"},
                                          {"[x]", "foreign {'EXIT',[x]}\n"},
                                          {"noconnection", "noconn\n"}};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        does(&p, CALL_RPC);
        heard(&p, SPAWNS);
        says_down(&p, to_pid(peer_pid(&p)), "{0,return,early}"); /* of a process that it has not been told of */
        answered("");
        says_made(&p, to_pid(peer_pid(&p)));
        answered("");
        says_down(&p, to_pid(peer_pid(&p)), ends[i][0]);
        answered(ends[i][1]);
        silent(&p);
    }
    end_asker(&p);
}

/* A node that makes no processes for others is asked by way of its rex, whose reply may be {badrpc, _}; any other refusal is told. */
static void a_node_without_spawn(void **state) {
    (void)state;
    peer p;
    begin_asker(&p);
    static const char *const replies[][2] = {
        {"{v,1}", "ok {v,1}\n"}, {"{badrpc,{'EXIT',x}}", "foreign {'EXIT',x}\n"}, {"{badrpc}", "ok {badrpc}\n"}};
    for (size_t i = 0; i < ARRAY_LEN(replies); i++) {
        does(&p, CALL_RPC);
        buf_reset(&p.heard);
        says_made(&p, to_name("notsup"));
        heard_like(&p, "monitor from pid to rex\nsend from pid to rex: {'$gen_call',{", "},{call,mod,fn,[1,[2]],user}}\n");
        says_reply(&p, replies[i][0]);
        answered(replies[i][1]);
        heard(&p, "demonitor from pid to rex\n");
    }
    does(&p, CALL_RPC);
    says_made(&p, to_name("notsup"));
    says_down(&p, to_name("rex"), "noproc");
    answered("noproc\n");
    does(&p, CALL_RPC);
    says_made(&p, to_name("system_limit"));
    answered("foreign {'EXIT',system_limit}\n");
    end_asker(&p);
}

/* Time is up before the other node says that it has made the process, and after: it is then not watched any more. */
static void a_function_that_takes_too_long(void **state) {
    (void)state;
    peer p;
    begin_asker(&p);
    for (int made = 0; made < 2; made++) {
        does(&p, CALL_RPC);
        heard(&p, SPAWNS);
        if (made) says_made(&p, to_pid(peer_pid(&p)));
        net.w->now += TIMEOUT + 2 * USEC_PER_MSEC;
        talk(&p);
        answered("timeout\n");
        heard(&p, made ? "demonitor from pid to pid\n" : "");
        if (!made) says_made(&p, to_pid(peer_pid(&p)));
        heard(&p, made ? "" : "demonitor from pid to pid\n");
        says_down(&p, to_pid(peer_pid(&p)), "{0,return,late}");
        answered("");
    }
    assert_int_equal(s.other, 0);
    end_asker(&p);
}

/* The function's group leader is the actor: who writes to it is answered, who reads is told that it cannot. */
static void what_a_function_writes_is_dropped(void **state) {
    (void)state;
    peer p;
    begin_asker(&p);
    does(&p, CALL_RPC);
    buf_reset(&p.heard);
    static const char *const io[][2] = {{"{put_chars,unicode,<<\"x\">>}", "{io_reply,7,ok}\n"},
                                        {"{get_line,unicode,\"?\"}", "{io_reply,7,{error,enotsup}}\n"}};
    for (size_t i = 0; i < ARRAY_LEN(io); i++) {
        etf_pid from = peer_pid(&p);
        buf b, t = term(io[i][0]);
        buf_init(&b, 4096);
        etf_put_tuple(&b, 4);
        etf_put_atom(&b, SLICE("io_request"));
        etf_put_pid(&b, &from);
        etf_put_int(&b, 7);
        buf_add(&b, buf_slice(&t));
        say(&p, (dist_ctl){.signal = DIST_SIG_SEND, .from = to_pid(from), .to = to_pid(p.from), .payload = buf_slice(&b)});
        heard_like(&p, "send from pid to pid: ", io[i][1]);
        buf_fini(&b);
        buf_fini(&t);
    }
    says_made(&p, to_pid(peer_pid(&p)));
    says_down(&p, to_pid(peer_pid(&p)), "{0,return,done}");
    answered("ok done\n");
    end_asker(&p);
}

/* What is about no call is the actor's. */
static void other_messages_are_left(void **state) {
    (void)state;
    peer p;
    begin_asker(&p);
    static const char *const others[] = {"hello", "{a,b}", "{1,2,3}", "[]", "{io_request,1,2,3}"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        buf t = term(others[i]);
        say(&p, (dist_ctl){.signal = DIST_SIG_SEND, .from = to_pid(peer_pid(&p)), .to = to_name("asker"), .payload = buf_slice(&t)});
        buf_fini(&t);
    }
    assert_int_equal(s.other, ARRAY_LEN(others));
    answered("");
    end_asker(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_is_answered_once),          cmocka_unit_test(a_call_that_is_not_answered),
        cmocka_unit_test(a_lost_connection_ends_all_calls), cmocka_unit_test(what_cannot_be_called),
        cmocka_unit_test(a_call_of_an_actor_here),          cmocka_unit_test(without_a_time_out),
        cmocka_unit_test(a_function_of_another_node),       cmocka_unit_test(a_node_without_spawn),
        cmocka_unit_test(a_function_that_takes_too_long),   cmocka_unit_test(what_a_function_writes_is_dropped),
        cmocka_unit_test(other_messages_are_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
