/* Messages of OTP's generic servers (mesh/gen.h): what is a call, a cast or neither, and where an answer goes. */
#include "mesh/gen.h"
#include "rt/remote.h"
#include "rt/rt_world.h"

#include <stdio.h>

/* --- terms, put together from text and identities ---------------------------------------------------------------------------------- */
static const etf_pid caller = {.node = {(const uint8_t *)"p@h", 3}, .id = 91, .serial = 7, .creation = 5};
static const etf_ref ref = {.node = {(const uint8_t *)"p@h", 3}, .creation = 5, .n = 3, .word = {1, 2, 3}};

/* One character a part: ( a tuple of 2, < of 3, [ a list of one element; the next term but one is its tail; P the pid, R the reference, a
 * alias, C $gen_call, K $gen_cast, n nil, h hello. */
static void put(buf *b, const char *shape) {
    for (; *shape; shape++) {
        switch (*shape) {
        case '(': etf_put_tuple(b, 2); break;
        case '<': etf_put_tuple(b, 3); break;
        case '[': etf_put_list(b, 1); break;
        case 'P': etf_put_pid(b, &caller); break;
        case 'R': etf_put_ref(b, &ref); break;
        case 'a': etf_put_atom(b, SLICE("alias")); break;
        case 'C': etf_put_atom(b, SLICE("$gen_call")); break;
        case 'K': etf_put_atom(b, SLICE("$gen_cast")); break;
        case 'n': etf_put_nil(b); break;
        case 'h': etf_put_atom(b, SLICE("hello")); break;
        default: fail_msg("no part '%c'", *shape);
        }
    }
    assert_true(buf_ok(b));
}

static rt_blob *term(const char *shape) {
    buf b;
    buf_init(&b, 4096);
    etf_put_version(&b);
    put(&b, shape);
    rt_blob *out = rt_blob_new(buf_slice(&b));
    buf_fini(&b);
    return out;
}

static void is(slice got, const char *shape) {
    buf b;
    buf_init(&b, 4096);
    put(&b, shape);
    assert_true(slice_eq(got, buf_slice(&b)));
    buf_fini(&b);
}

/* --- reading ----------------------------------------------------------------------------------------------------------------------- */
static const struct {
    const char *tag;
    bool alias;
} tags[] = {{"R", false},   {"[aR", true},  {"[[aRR", true},  {"[[aRn", true}, {"h", false},   {"n", false},
            {"[hR", false}, {"[an", false}, {"[[aPn", false}, {"[ah", false},  {"(aR", false}, {"[[hRn", false}};

static void calls_with_each_form_of_tag(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(tags); i++) {
        char shape[32];
        (void)snprintf(shape, sizeof shape, "<C(P%s(hh", tags[i].tag);
        mesh_term t = {.term = term(shape)};
        mesh_gen g;
        mesh_gen_read(&t, &g);
        assert_int_equal(g.kind, MESH_GEN_CALL);
        is(g.request, "(hh");
        is(g.tag, tags[i].tag);
        assert_true(etf_pid_eq(&g.from, &caller));
        if (tags[i].alias)
            is(g.alias, "R");
        else
            assert_int_equal(g.alias.len, 0);
        rt_blob_unref(t.term);
    }
}

static void casts(void **state) {
    (void)state;
    mesh_term t = {.term = term("(K[hn")};
    mesh_gen g;
    mesh_gen_read(&t, &g);
    assert_int_equal(g.kind, MESH_GEN_CAST);
    is(g.request, "[hn");
    rt_blob_unref(t.term);
}

/* What looks like a call or cast and is none is an info, with all of it as the request. */
static void all_else_is_an_info(void **state) {
    (void)state;
    static const char *const shapes[] = {"h",    "n",       "P",      "(hh",    "<hhh", "(C(PR", "<C(hRh", "<C(RRh",
                                         "<CPh", "<C<PRhh", "<C[PRh", "<K(PRh", "<Khh", "(Ch",   "K",      "<h(PRh"};
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        mesh_term t = {.term = term(shapes[i])};
        mesh_gen g;
        mesh_gen_read(&t, &g);
        assert_int_equal(g.kind, MESH_GEN_INFO);
        is(g.request, shapes[i]);
        assert_int_equal(g.tag.len, 0);
        assert_int_equal(g.alias.len, 0);
        rt_blob_unref(t.term);
    }
}

/* --- answering --------------------------------------------------------------------------------------------------------------------- */
typedef struct plug { /* what was sent last */
    rt_remote r;
    unsigned sent;
    uint16_t tag;
    rt_pid to;
    mesh_send_msg msg; /* with its own references */
} plug;

static void forget(plug *p) {
    rt_blob_unref(p->msg.alias);
    rt_blob_unref(p->msg.term);
    p->msg = (mesh_send_msg){0};
}

static void plug_send(rt_remote *r, rt_ctx *cx, rt_pid to, rt_msg **m) {
    plug *p = container_of(r, plug, r);
    forget(p);
    p->sent++;
    p->tag = (*m)->tag;
    p->to = to;
    assert_int_equal(p->tag, MESH_SEND);
    p->msg = *mesh_send_msg_of(*m);
    rt_blob_ref(p->msg.alias);
    rt_blob_ref(p->msg.term);
    rt_msg_drop(rt_ctx_node(cx), m);
}

static void plug_signal(rt_remote *r, rt_ctx *cx, rt_pid from, rt_pid to, rt_signal sig, uint64_t n, err reason, rt_blob *t) {
    (void)r, (void)cx, (void)from, (void)to, (void)sig, (void)n, (void)reason, (void)t;
    fail_msg("a signal");
}

/* arg: a shape. As an actor does that got it from a process of node 3. */
static void do_answer(rt_ctx *cx, puppet *p, uint64_t arg) {
    rt_msg *m = rt_msg_new(cx, MESH_TERM, sizeof(mesh_term));
    m->sender = (rt_pid){3, p->next_result == ERR_OK ? 91 : 55, 7}; /* 55: passed on by another process */
    p->next_result = ERR_OK;
    mesh_term_of(m)->term = term((const char *)(uintptr_t)arg);
    mesh_gen g;
    mesh_gen_read(mesh_term_of(m), &g);
    mesh_gen_reply(cx, m, &g, SLICE("w\x05hello"));
    rt_msg_drop(rt_ctx_node(cx), &m);
}

static void answers_go_to_the_alias_or_to_the_caller(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    plug p = {.r = {.send = plug_send, .signal = plug_signal}};
    rt_node_add_msgs(w->n, mesh_msgs, mesh_msgs_count);
    rt_node_set_remote(w->n, &p.r);
    puppet *a = puppet_new(w, 0, &puppet_class);
    for (unsigned i = 0; i < ARRAY_LEN(tags); i++) {
        char shape[32], answer[32];
        (void)snprintf(shape, sizeof shape, "<C(P%sh", tags[i].tag);
        (void)snprintf(answer, sizeof answer, "(%sh", tags[i].tag);
        tell(w, a, do_answer, ARG(shape));
        (void)world_run(w);
        assert_int_equal(p.sent, i + 1);
        assert_true(rt_pid_eq(p.to, (rt_pid){3, 91, 7}));
        assert_true(rt_pid_eq(p.msg.to, p.to) && rt_pid_eq(p.msg.from, a->pid));
        assert_int_equal(p.msg.term->data[0], ETF_VERSION);
        is(slice_from(rt_blob_slice(p.msg.term), 1), answer);
        if (tags[i].alias)
            is(rt_blob_slice(p.msg.alias), "R");
        else
            assert_null(p.msg.alias);
    }
    char shape[32];
    (void)snprintf(shape, sizeof shape, "<C(P%sh", tags[0].tag);
    a->next_result = ERR_INVALID;
    tell(w, a, do_answer, ARG(shape));
    (void)world_run(w);
    assert_int_equal(p.sent, ARRAY_LEN(tags)); /* who asked may be of a third node */
    forget(&p);
    world_free(w);
    mem_free(a);
}

/* Only a call has an answer: anything else is our own mistake, and nothing is sent. */
static unsigned reports;
static void count_report(void *arg, const char *line) {
    (void)arg;
    (void)line;
    reports++;
}
static void a_cast_is_not_answered(void **state) {
    (void)state;
    world *w = world_new(1, 1);
    plug p = {.r = {.send = plug_send, .signal = plug_signal}};
    rt_node_add_msgs(w->n, mesh_msgs, mesh_msgs_count);
    rt_node_set_remote(w->n, &p.r);
    puppet *a = puppet_new(w, 0, &puppet_class);
    err_set_reporter(count_report, NULL);
    tell(w, a, do_answer, ARG("(Kh"));
    (void)world_run(w);
    err_set_reporter(NULL, NULL);
    assert_int_equal(reports, 1);
    assert_int_equal(p.sent, 0);
    world_free(w);
    mem_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_with_each_form_of_tag), cmocka_unit_test(casts),
        cmocka_unit_test(all_else_is_an_info),         cmocka_unit_test(answers_go_to_the_alias_or_to_the_caller),
        cmocka_unit_test(a_cast_is_not_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
