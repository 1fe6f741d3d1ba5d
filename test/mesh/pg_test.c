/* Process groups as a service of a node (mesh/pg.h): what it tells another node, what it takes from it, and what its own actors can ask. */
#include "mesh/pg.h"
#include "mesh/pg_scope.h"
#include "peer_world.h"

#include <stdio.h>

/* --- the node, and an actor of it that uses groups ---------------------------------------------------------------------------------- */
static const char *const scopes[] = {"pg", "other"};
static struct {
    rt_pid pid;
    void (*act)(rt_ctx *cx);
    err result;           /* of act */
    unsigned answers;     /* that came */
    mesh_pg_answer first; /* of them since the last look; rows: how many */
    size_t rows;
    unsigned refused;
} user;

static err user_init(rt_ctx *cx, void *st, const void *arg) {
    (void)st, (void)arg;
    user.pid = rt_self(cx);
    return ERR_OK;
}
static err user_handle(rt_ctx *cx, void *st, rt_msg **m) {
    (void)st;
    if ((*m)->tag == T_NOTE) user.act(cx);
    if ((*m)->tag == (MESH_PG_ASK | RT_MSG_REFUSED)) user.refused++;
    if ((*m)->tag != MESH_PG_ANSWER) return ERR_OK;
    user.answers++;
    user.first = *mesh_pg_answer_of(*m);
    user.rows = rt_blob_slice(user.first.rows).len / sizeof(mesh_pg_member);
    return ERR_OK;
}
static const rt_class user_class = {.name = "user", .init = user_init, .handle = user_handle, .foreign = true};

static void start(size_t n, bool hidden, uint32_t mailbox_max) {
    mesh_cfg c = world_cfg();
    memset(&user, 0, sizeof user);
    c.pg_scopes = scopes;
    c.n_pg_scopes = n;
    c.hidden = hidden;
    begin_cfg(&c, true);
    if (mailbox_max) net.m->scopes[0].cls.mailbox_max = mailbox_max;
    (void)world_spawn(net.w, 0, &user_class, NULL);
    (void)world_run(net.w);
}

static void acts(void (*act)(rt_ctx *cx)) {
    rt_msg *m = rt_msg_new_ext(T_NOTE, sizeof(t_note));
    user.act = act;
    rt_post(net.w->n, user.pid, &m);
    (void)world_run(net.w);
}

static void answered(uint64_t ticket, err status) {
    assert_int_equal(user.result, ERR_OK);
    assert_int_equal(user.answers, 1);
    assert_int_equal(user.first.ticket, ticket);
    assert_int_equal(user.first.status, status);
    user.answers = 0;
}

/* --- the other node: process 91 is its scope ----------------------------------------------------------------------------------------- */
static etf_pid proc_of(const peer *p, uint32_t id) {
    etf_pid x = peer_pid(p);
    x.id = id;
    return x;
}

typedef enum what { DISCOVER, SYNC, JOIN, LEAVE } what;
/* join and leave: process `id` and the group r; sync: that it is all there is. */
static void says(peer *p, what w, uint32_t id) {
    static const char *const verb[] = {"discover", "sync", "join", "leave"};
    etf_pid scope = proc_of(p, 91), member = proc_of(p, id);
    buf b;
    buf_init(&b, SIZE_MAX);
    if (w == SYNC) {
        etf_put_tuple(&b, 2);
        etf_put_atom(&b, SLICE("$gen_cast"));
    }
    etf_put_tuple(&b, w == DISCOVER ? 2 : w == SYNC ? 3 : 4);
    etf_put_atom(&b, slice_str(verb[w]));
    etf_put_pid(&b, &scope);
    if (w == SYNC) {
        etf_put_list(&b, 1);
        etf_put_tuple(&b, 2);
    }
    if (w == SYNC || w == JOIN) etf_put_atom(&b, SLICE("r"));
    if (w == SYNC) etf_put_list(&b, 1);
    if (w != DISCOVER) etf_put_pid(&b, &member);
    if (w == LEAVE) {
        etf_put_list(&b, 1);
        etf_put_atom(&b, SLICE("r"));
    }
    if (w == SYNC || w == LEAVE) etf_put_nil(&b);
    if (w == SYNC) etf_put_nil(&b);
    put(p, &(dist_ctl){.signal = DIST_SIG_SEND, .from = to_pid(scope), .to = to_name("pg"), .payload = buf_slice(&b)});
    buf_fini(&b);
}

/* Lines that were heard, but for monitors; %K, %S, %U: net_kernel, the scope pg, the user. */
static void hears(peer *p, const char *want) {
    static const char letters[] = "KS";
    static const char *const names[] = {"net_kernel", "pg"};
    buf text, got;
    buf_init(&text, SIZE_MAX);
    buf_init(&got, SIZE_MAX);
    for (; *want; want++) {
        rt_pid x = user.pid;
        const char *at = *want == '%' ? strchr(letters, *++want) : NULL;
        if (at) x = rt_name_whereis(net.w->n, names[at - letters]);
        if (at || (*want == 'U' && want[-1] == '%'))
            buf_addf(&text, "<" OWN ".%u.%u>", x.slot, x.gen);
        else
            buf_add_byte(&text, (uint8_t)*want);
    }
    for (slice s = buf_slice(&p->heard); s.len; s = slice_from(s, slice_find(s, '\n') + 1)) {
        slice line = slice_sub(s, 0, slice_find(s, '\n') + 1);
        if (slice_starts(line, SLICE("send from pid"))) buf_add(&got, slice_from(line, strlen("send from pid ")));
    }
    if (!slice_eq(buf_slice(&got), buf_slice(&text)))
        fail_msg("'" SLICE_FMT "' is not '" SLICE_FMT "'", SLICE_ARG(buf_slice(&got)), SLICE_ARG(buf_slice(&text)));
    buf_reset(&p->heard);
    buf_fini(&text);
    buf_fini(&got);
}

static void greet(peer *p) {
    connect_as(p, PEER);
    says(p, DISCOVER, 0);
    talk(p);
    hears(p, "to pg: {discover,%S}\nto pid: {'$gen_cast',{sync,%S,[{murre,[%K]}]}}\nto pid: {discover,%S}\n");
}

static void hang_up(peer *p) {
    p->c->eof = true;
    (void)world_run(net.w);
    assert_true(p->c->closed);
    peer_fini(p);
}

/* --- members of r, as its scope has them */
static void ask_r(rt_ctx *cx) { user.result = mesh_pg_members(cx, SLICE("pg"), SLICE("w\x01r"), 9, 5); }
static void members_are(size_t n) {
    acts(ask_r);
    answered(5, ERR_OK);
    assert_int_equal(user.rows, n);
}

/* --- tests --------------------------------------------------------------------------------------------------------------------------- */
static void scopes_find_each_other(void **state) {
    (void)state;
    peer p;
    start(1, false, 0);
    greet(&p);
    says(&p, DISCOVER, 0);
    talk(&p);
    hears(&p, "to pid: {'$gen_cast',{sync,%S,[{murre,[%K]}]}}\n"); /* it is known by now */
    says(&p, JOIN, 7);
    says(&p, JOIN, 8);
    says(&p, LEAVE, 8);
    talk(&p);
    members_are(1);
    says(&p, SYNC, 9);
    talk(&p);
    members_are(1);
    hang_up(&p);
    members_are(0);
    connect_as(&p, PEER); /* the same life: nothing is left of before */
    says(&p, JOIN, 7);
    talk(&p);
    hears(&p, "to pg: {discover,%S}\n");
    members_are(0);
    hang_up(&p);
    end();
}

static void every_scope_looks_for_its_like(void **state) {
    (void)state;
    peer p;
    start(2, false, 0);
    connect_as(&p, PEER);
    buf_add_byte(&p.heard, 0);
    assert_int_equal(p.messages, 2); /* in no order */
    assert_non_null(strstr((char *)p.heard.p, "to pg: {discover,"));
    assert_non_null(strstr((char *)p.heard.p, "to other: {discover,"));
    hang_up(&p);
    end();
}

/* Neither side looks for the other; whoever does all the same is answered. */
static void hidden_nodes(void **state) {
    (void)state;
    peer p;
    start(1, false, 0);
    peer_init(&p, PEER, COOKIE);
    p.self.flags &= ~DIST_FLAG(PUBLISHED);
    buf_reset(&p.out);
    assert_int_equal(dist_handshake_dial(&p.h, DIST_CARRIER_TCP, &p.self, SLICE(OWN), SLICE(COOKIE), 77, &p.out), ERR_OK);
    talk(&p);
    assert_true(p.up);
    hears(&p, "");
    says(&p, DISCOVER, 0);
    talk(&p);
    hears(&p, "to pid: {'$gen_cast',{sync,%S,[{murre,[%K]}]}}\nto pid: {discover,%S}\n");
    hang_up(&p);
    end();
    start(1, true, 0);
    connect_as(&p, PEER);
    hears(&p, "");
    hang_up(&p);
    end();
}

static void join_g(rt_ctx *cx) { user.result = mesh_pg_join(cx, SLICE("pg"), SLICE("w\x01g"), user.pid, 3); }
static void join_quietly(rt_ctx *cx) { user.result = mesh_pg_join(cx, SLICE("pg"), SLICE("w\x01g"), user.pid, 0); }
static void leave_g(rt_ctx *cx) { user.result = mesh_pg_leave(cx, SLICE("pg"), SLICE("w\x01g"), user.pid, 4); }
static void join_elsewhere(rt_ctx *cx) { user.result = mesh_pg_join(cx, SLICE("net_kernel"), SLICE("w\x01g"), user.pid, 3); }
static void join_nothing(rt_ctx *cx) { user.result = mesh_pg_join(cx, SLICE("pg"), SLICE("w\x09g"), user.pid, 3); }
static void join_two(rt_ctx *cx) { user.result = mesh_pg_join(cx, SLICE("pg"), SLICE("w\x01gw\x01g"), user.pid, 3); }
static void join_for_another(rt_ctx *cx) { user.result = mesh_pg_join(cx, SLICE("pg"), SLICE("w\x01g"), (rt_pid){1, 7, 7}, 3); }
static void stop(rt_ctx *cx) { rt_stop(cx, ERR_SHUTDOWN); }

static void actors_of_this_node(void **state) {
    (void)state;
    peer p;
    start(1, false, 0);
    acts(join_elsewhere);
    assert_int_equal(user.result, ERR_NOPROC);
    acts(join_nothing);
    assert_int_equal(user.result, ERR_INVALID);
    acts(join_two);
    assert_int_equal(user.result, ERR_INVALID);
    acts(join_for_another);
    answered(3, ERR_INVALID);
    acts(leave_g);
    answered(4, ERR_NOT_FOUND);
    greet(&p);
    acts(join_g);
    answered(3, ERR_OK);
    acts(join_quietly);
    assert_int_equal(user.answers, 0);
    talk(&p);
    hears(&p, "to pid: {join,%S,g,%U}\nto pid: {join,%S,g,%U}\n");
    acts(leave_g);
    answered(4, ERR_OK);
    acts(leave_g);
    answered(4, ERR_OK);
    acts(leave_g);
    answered(4, ERR_NOT_FOUND);
    talk(&p);
    hears(&p, "to pid: {leave,%S,%U,[g]}\nto pid: {leave,%S,%U,[g]}\n");
    acts(join_g); /* it is monitored anew */
    acts(join_quietly);
    acts(stop);
    talk(&p);
    hears(&p, "to pid: {join,%S,g,%U}\nto pid: {join,%S,g,%U}\nto pid: {leave,%S,%U,[g,g]}\n");
    hang_up(&p);
    end();
}

/* [{r, [1, 2]}], as an actor may write it; and as OTP does. */
static void join_list(rt_ctx *cx) {
    user.result = mesh_pg_join(cx, SLICE("pg"), SLICE("l\0\0\0\1i\0\0\0\2w\1rl\0\0\0\2b\0\0\0\1a\2jj"), user.pid, 3);
}
static void leave_list(rt_ctx *cx) { user.result = mesh_pg_leave(cx, SLICE("pg"), SLICE("l\0\0\0\1h\2w\1rk\0\2\1\2j"), user.pid, 4); }
static void one_group_in_any_form(void **state) {
    (void)state;
    peer p;
    start(1, false, 0);
    greet(&p);
    acts(join_list);
    answered(3, ERR_OK);
    acts(leave_list);
    answered(4, ERR_OK);
    talk(&p);
    hears(&p, "to pid: {join,%S,[{r,[1,2]}],%U}\nto pid: {leave,%S,%U,[[{r,[1,2]}]]}\n");
    hang_up(&p);
    end();
}

static const char *victim;
static void kill_it(rt_ctx *cx) { rt_exit(cx, rt_name_find(cx, victim), ERR_KILLED); }

/* net_kernel is in murre, whichever of the two starts last. */
static void the_group_of_all_murre_nodes(void **state) {
    (void)state;
    peer p;
    start(1, false, 0);
    greet(&p);
    rt_pid old = rt_name_whereis(net.w->n, "net_kernel");
    victim = "net_kernel";
    acts(kill_it);
    talk(&p);
    char want[100];
    (void)snprintf(want, sizeof want, "to pid: {leave,%%S,<" OWN ".%u.%u>,[murre]}\nto pid: {join,%%S,murre,%%K}\n", old.slot, old.gen);
    hears(&p, want);
    victim = "pg";
    acts(kill_it);
    talk(&p);
    hears(&p, "to pg: {discover,%S}\n");
    says(&p, DISCOVER, 0);
    talk(&p);
    hears(&p, "to pid: {'$gen_cast',{sync,%S,[{murre,[%K]}]}}\nto pid: {discover,%S}\n");
    hang_up(&p);
    end();
}

/* What was refused is asked for anew. */
static void a_flood_is_mended(void **state) {
    (void)state;
    peer p;
    start(1, false, 3);
    greet(&p);
    for (uint32_t i = 0; i < 20; i++) says(&p, JOIN, i + 1);
    talk(&p);
    acts(ask_r);
    assert_true(user.rows < 20);
    user.answers = 0;
    hears(&p, "");
    net.w->now += 2 * USEC_PER_SEC;
    talk(&p);
    hears(&p, "to pid: {discover,%S}\n");
    says(&p, SYNC, 7);
    talk(&p);
    members_are(1);
    net.w->now += 2 * USEC_PER_SEC;
    talk(&p);
    hears(&p, ""); /* once */
    hang_up(&p);
    end();
}

static const struct {
    const char *names[3];
    size_t n, at;
    err want;
} checks[] = {
    {{"pg", "x y", "\xc3\xa4"}, 3, 2, ERR_OK}, {{"pg", ""}, 2, 1, ERR_INVALID},         {{"\xff"}, 1, 0, ERR_INVALID},
    {{"pg", "x", "pg"}, 3, 2, ERR_EXISTS},     {{"x", "net_kernel"}, 2, 1, ERR_EXISTS},
};
static void names_of_scopes(void **state) {
    (void)state;
    const char *many[MESH_PG_SCOPES_MAX + 1] = {0};
    size_t at;
    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        at = 99;
        assert_int_equal(mesh_pg_check(checks[i].names, checks[i].n, &at), checks[i].want);
        if (checks[i].want) assert_int_equal(at, checks[i].at);
    }
    assert_int_equal(mesh_pg_check(many, ARRAY_LEN(many), &at), ERR_LIMIT);
    assert_int_equal(mesh_pg_check(NULL, 0, &at), ERR_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scopes_find_each_other), cmocka_unit_test(every_scope_looks_for_its_like),
        cmocka_unit_test(hidden_nodes),           cmocka_unit_test(actors_of_this_node),
        cmocka_unit_test(one_group_in_any_form),  cmocka_unit_test(the_group_of_all_murre_nodes),
        cmocka_unit_test(a_flood_is_mended),      cmocka_unit_test(names_of_scopes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
