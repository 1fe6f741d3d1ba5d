/* Actors of other nodes, as the runtime sees them: what goes out through the plug, what comes in from it, reasons that are terms, and
 * holding back. */
#include "rt/remote.h"
#include "rt_world.h"

#include <stdlib.h>

static const rt_pid far_away = {3, 91, 0}, other = {3, 92, 7};

typedef struct told { /* what the plug was told last */
    rt_signal sig;
    rt_pid from, to;
    uint64_t ref;
    err reason;
    char term[16];
} told;
typedef struct plug {
    rt_remote r;
    told log[64];
    size_t n, sent;
    rt_pid sent_to, sent_from;
} plug;

static void plug_send(rt_remote *r, rt_ctx *cx, rt_pid to, rt_msg **m) {
    plug *p = container_of(r, plug, r);
    p->sent++;
    p->sent_to = to;
    p->sent_from = (*m)->sender;
    rt_msg_drop(rt_ctx_node(cx), m);
}

static void plug_signal(rt_remote *r, rt_ctx *cx, rt_pid from, rt_pid to, rt_signal sig, uint64_t ref, err reason, rt_blob *term) {
    plug *p = container_of(r, plug, r);
    (void)cx;
    assert_true(p->n < ARRAY_LEN(p->log));
    told t = {sig, from, to, ref, reason, ""};
    if (term) memcpy(t.term, term->data, term->len);
    p->log[p->n++] = t;
}

typedef struct set {
    world *w;
    plug p;
    puppet *a, *b, peer; /* peer: only a pid that deeds act on */
    rt_blob *term;
} set;

static set *now; /* the test's: deeds have one number as their argument */

static set *begin(void) {
    set *s = mem_zalloc(sizeof *s);
    s->w = world_new(2, 1);
    s->p.r = (rt_remote){.send = plug_send, .signal = plug_signal};
    rt_node_set_remote(s->w->n, &s->p.r);
    s->a = puppet_new(s->w, 0, &puppet_class);
    s->b = puppet_new(s->w, 1, &puppet_class);
    s->peer.pid = far_away;
    s->term = rt_blob_new(SLICE("\x83w\x03why"));
    now = s;
    return s;
}

static void end(set *s) {
    world_free(s->w);
    assert_int_equal(s->term->refs, 1); /* nobody kept it */
    rt_blob_unref(s->term);
    mem_free(s->a);
    mem_free(s->b);
    mem_free(s);
}

static void do_hold(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p;
    rt_hold(cx, arg != 0);
}
static void do_demonitor(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)arg;
    rt_demonitor(cx, p->log[4095].n);
}
static void do_note(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p;
    note(cx, now->peer.pid, arg);
}

static void does(set *s, puppet *p, deed *d, uint64_t arg) {
    tell(s->w, p, d, arg);
    (void)world_run(s->w);
}

/* What the mesh does on a shard: a signal or a note from far_away. */
typedef struct incoming {
    rt_pid to;
    int sig; /* rt_signal; -1: a note */
    uint64_t ref;
    err reason;
    rt_blob *term;
} incoming;
static void come_in(rt_ctx *cx, void *arg) {
    const incoming *in = arg;
    if (in->sig >= 0) {
        rt_remote_signal(cx, far_away, in->to, (rt_signal)in->sig, in->ref, in->reason, in->term);
    } else {
        rt_msg *m = rt_msg_new(cx, T_NOTE, sizeof(t_note));
        t_note_of(m)->n = in->ref;
        rt_remote_send(cx, far_away, in->to, &m);
    }
}
static void comes(set *s, unsigned shard, incoming in) {
    rt_node_boot(s->w->n, shard, come_in, &in);
    (void)world_run(s->w);
}

static void expect_told(const set *s, size_t i, rt_signal sig, rt_pid from, rt_pid to, err reason, const char *term) {
    assert_true(i < s->p.n);
    const told *t = &s->p.log[i];
    assert_int_equal(t->sig, sig);
    assert_true(rt_pid_eq(t->from, from) && rt_pid_eq(t->to, to));
    assert_int_equal(t->reason, reason);
    assert_string_equal(t->term, term);
}

/* A serial of 0 is a pid as any other; only nothing at all is none. */
static void pids(void **state) {
    (void)state;
    char text[RT_PID_TEXT];
    rt_pid p;
    assert_true(rt_pid_ok(far_away));
    assert_false(rt_pid_ok(RT_PID_NONE));
    rt_pid_format(far_away, text);
    assert_string_equal(text, "<3.91.0>");
    assert_true(rt_pid_parse(SLICE("<3.91.0>"), &p));
    assert_true(rt_pid_eq(p, far_away));
    assert_true(rt_pid_parse(SLICE("<0.1.2345.7>"), &p));
    assert_true(rt_pid_eq(p, (rt_pid){0, 1u << 24 | 2345, 7}));
    const char *bad[] = {
        "<0.1.2345>", "<3.1.2.3>", "<0.256.1.1>", "<0.1.16777216.1>", "<0.0.0.0>", "<3.4294967296.0>", "<3.4294967295.4294967296>", "<3.1>",
        "<>",         "<3.1.2",    "<3..2>"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_false(rt_pid_parse(slice_str(bad[i]), &p));
}

static void sends(void **state) {
    (void)state;
    set *s = begin();
    does(s, s->a, do_note, 5);
    assert_int_equal(s->p.sent, 1);
    assert_true(rt_pid_eq(s->p.sent_to, far_away) && rt_pid_eq(s->p.sent_from, s->a->pid));
    comes(s, 0, (incoming){s->a->pid, -1, 8, ERR_OK, NULL});
    comes(s, 0, (incoming){s->b->pid, -1, 9, ERR_OK, NULL}); /* to another shard */
    assert_int_equal(s->a->log[s->a->n - 1].n, 8);
    assert_true(rt_pid_eq(s->a->log[s->a->n - 1].who, far_away));
    assert_int_equal(s->b->log[s->b->n - 1].n, 9);
    assert_true(rt_pid_eq(s->b->log[s->b->n - 1].who, far_away));
    end(s);
}

/* A link goes out and its end comes in once: untrapped it ends the actor, and all who are linked to that one hear the same term. */
static void links(void **state) {
    (void)state;
    set *s = begin();
    does(s, s->a, do_link, ARG(&s->peer));
    expect_told(s, 0, RT_SIG_LINK, s->a->pid, far_away, ERR_OK, "");
    s->peer.pid = other;
    does(s, s->a, do_link, ARG(&s->peer));
    s->peer.pid = s->b->pid;
    does(s, s->a, do_link, ARG(&s->peer));
    does(s, s->b, do_trap, 1);
    comes(s, 1, (incoming){s->a->pid, RT_SIG_EXIT_LINK, 0, ERR_FOREIGN, s->term});
    assert_int_equal(s->a->finis, 1);
    assert_int_equal(s->a->fini_reason, ERR_FOREIGN);
    expect_told(s, s->p.n - 1, RT_SIG_EXIT_LINK, s->a->pid, other, ERR_FOREIGN, "\x83w\x03why");
    assert_int_equal(s->p.n, 3); /* far_away knows */
    assert_int_equal(s->b->log[s->b->n - 1].tag, RT_EXIT);
    assert_int_equal(s->b->log[s->b->n - 1].reason, ERR_FOREIGN);
    end(s);
}

static void a_link_that_is_not_there_does_not_act(void **state) {
    (void)state;
    set *s = begin();
    comes(s, 0, (incoming){s->a->pid, RT_SIG_EXIT_LINK, 0, ERR_FOREIGN, s->term});
    does(s, s->a, do_link, ARG(&s->peer));
    does(s, s->a, do_unlink, ARG(&s->peer));
    expect_told(s, 1, RT_SIG_UNLINK, s->a->pid, far_away, ERR_OK, "");
    comes(s, 0, (incoming){s->a->pid, RT_SIG_EXIT_LINK, 0, ERR_FOREIGN, s->term});
    assert_int_equal(s->a->finis, 0);
    comes(s, 0, (incoming){s->a->pid, RT_SIG_EXIT, 0, ERR_FOREIGN, s->term}); /* exit/2 does */
    assert_int_equal(s->a->finis, 1);
    end(s);
}

/* From the other side: linked and monitored from far away, an actor that ends tells both; one that is gone already answers at once. */
static void watched_from_far(void **state) {
    (void)state;
    set *s = begin();
    comes(s, 0, (incoming){s->a->pid, RT_SIG_LINK, 0, ERR_OK, NULL});
    comes(s, 1, (incoming){s->a->pid, RT_SIG_MONITOR, 77, ERR_OK, NULL});
    assert_int_equal(s->p.n, 0);
    does(s, s->a, do_stop, ERR_SHUTDOWN);
    assert_int_equal(s->p.n, 2);
    size_t down = s->p.log[0].sig == RT_SIG_DOWN ? 0 : 1;
    expect_told(s, down, RT_SIG_DOWN, s->a->pid, far_away, ERR_SHUTDOWN, "");
    assert_int_equal(s->p.log[down].ref, 77);
    expect_told(s, 1 - down, RT_SIG_EXIT_LINK, s->a->pid, far_away, ERR_SHUTDOWN, "");
    comes(s, 0, (incoming){s->a->pid, RT_SIG_LINK, 0, ERR_OK, NULL});
    comes(s, 0, (incoming){s->a->pid, RT_SIG_MONITOR, 78, ERR_OK, NULL});
    expect_told(s, 2, RT_SIG_EXIT_LINK, s->a->pid, far_away, ERR_NOPROC, "");
    expect_told(s, 3, RT_SIG_DOWN, s->a->pid, far_away, ERR_NOPROC, "");
    assert_int_equal(s->p.log[3].ref, 78);
    end(s);
}

static void monitors(void **state) {
    (void)state;
    set *s = begin();
    does(s, s->a, do_monitor, ARG(&s->peer));
    expect_told(s, 0, RT_SIG_MONITOR, s->a->pid, far_away, ERR_OK, "");
    assert_int_equal(s->p.log[0].ref, s->a->log[4095].n);
    comes(s, 1, (incoming){s->a->pid, RT_SIG_DOWN, s->a->log[4095].n + 256, ERR_FOREIGN, s->term}); /* no such monitor */
    assert_int_equal(s->a->n, 0);
    comes(s, 1, (incoming){s->a->pid, RT_SIG_DOWN, s->a->log[4095].n, ERR_FOREIGN, s->term});
    comes(s, 1, (incoming){s->a->pid, RT_SIG_DOWN, s->a->log[4095].n, ERR_FOREIGN, s->term}); /* once */
    assert_int_equal(s->a->n, 1);
    assert_int_equal(s->a->log[0].tag, RT_DOWN);
    assert_int_equal(s->a->log[0].n, s->a->log[4095].n);
    assert_true(rt_pid_eq(s->a->log[0].who, far_away));
    assert_int_equal(s->a->log[0].reason, ERR_FOREIGN);
    does(s, s->a, do_monitor, ARG(&s->peer));
    does(s, s->a, do_demonitor, 0);
    expect_told(s, s->p.n - 1, RT_SIG_DEMONITOR, s->a->pid, far_away, ERR_OK, "");
    assert_int_equal(s->p.log[s->p.n - 1].ref, s->a->log[4095].n);
    end(s);
}

/* Whoever ends tells the far ends of its own links and monitors. */
static void the_end_is_told(void **state) {
    (void)state;
    set *s = begin();
    does(s, s->a, do_link, ARG(&s->peer));
    s->peer.pid = other;
    does(s, s->a, do_monitor, ARG(&s->peer));
    does(s, s->a, do_stop, ERR_OK);
    size_t link = s->p.log[2].sig == RT_SIG_EXIT_LINK ? 2 : 3;
    expect_told(s, link, RT_SIG_EXIT_LINK, s->a->pid, far_away, ERR_OK, "");
    expect_told(s, 5 - link, RT_SIG_DEMONITOR, s->a->pid, other, ERR_OK, "");
    end(s);
}

/* Whatever pid another node makes up: an actor whose class is not foreign gets no message of its processes and does not end by them, and a
 * link or monitor is answered as if nobody were there. What it watches itself answers all the same. */
static void who_is_not_foreign_is_not_there_for_others(void **state) {
    (void)state;
    set *s = begin();
    rt_class own = puppet_class;
    own.foreign = false;
    puppet *mine[2]; /* on the shard of the connection and on the other */
    for (unsigned shard = 0; shard < 2; shard++) {
        puppet *c = mine[shard] = puppet_new(s->w, shard, &own);
        s->p.n = 0;
        comes(s, 0, (incoming){c->pid, -1, 8, ERR_OK, NULL});
        comes(s, 0, (incoming){c->pid, RT_SIG_LINK, 0, ERR_OK, NULL});
        comes(s, 0, (incoming){c->pid, RT_SIG_MONITOR, 77, ERR_OK, NULL});
        comes(s, 0, (incoming){c->pid, RT_SIG_EXIT, 0, ERR_FOREIGN, s->term});
        comes(s, 0, (incoming){c->pid, RT_SIG_EXIT, 0, ERR_KILLED, NULL});
        assert_int_equal(c->n + c->finis, 0);
        assert_int_equal(s->p.n, 2);
        expect_told(s, 0, RT_SIG_EXIT_LINK, c->pid, far_away, ERR_NOPROC, "");
        expect_told(s, 1, RT_SIG_DOWN, c->pid, far_away, ERR_NOPROC, "");
        assert_int_equal(s->p.log[1].ref, 77);
        s->peer.pid = c->pid;
        does(s, s->a, do_note, 5);
        assert_true(c->n == 1 && c->log[0].n == 5);
        s->peer.pid = far_away;
        does(s, c, do_monitor, ARG(&s->peer));
        comes(s, 0, (incoming){c->pid, RT_SIG_DOWN, c->log[4095].n, ERR_FOREIGN, s->term});
        assert_true(c->n == 2 && c->log[1].tag == RT_DOWN);
    }
    end(s);
    mem_free(mine[0]);
    mem_free(mine[1]);
}

/* An unlink from there is answered when it has arrived, whether it found a link, none, or nobody. */
static void an_unlink_is_told_when_it_has_arrived(void **state) {
    (void)state;
    set *s = begin();
    does(s, s->a, do_link, ARG(&s->peer));
    for (uint64_t ref = 5; ref < 8; ref++) {
        comes(s, 1, (incoming){s->a->pid, RT_SIG_UNLINK, ref, ERR_OK, NULL});
        expect_told(s, s->p.n - 1, RT_SIG_UNLINKED, s->a->pid, far_away, ERR_OK, "");
        assert_int_equal(s->p.log[s->p.n - 1].ref, ref);
        if (ref == 6) does(s, s->a, do_stop, ERR_OK);
    }
    assert_int_equal(s->p.n, 4); /* its end was told nobody */
    end(s);
}

static uint64_t far_ref;
static void do_monitor_unnamed(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p, (void)arg;
    far_ref = rt_remote_monitor(cx, far_away);
}

/* A monitor that the plug is not told of, because the mesh tells it in other words; all else of it is as ever. */
static void a_monitor_that_the_mesh_tells(void **state) {
    (void)state;
    set *s = begin();
    does(s, s->a, do_monitor_unnamed, 0);
    assert_int_equal(s->p.n, 0);
    comes(s, 0, (incoming){s->a->pid, RT_SIG_DOWN, far_ref, ERR_NOPROC, NULL});
    assert_int_equal(s->a->n, 1);
    assert_true(s->a->log[0].tag == RT_DOWN && s->a->log[0].n == far_ref && rt_pid_eq(s->a->log[0].who, far_away));
    does(s, s->a, do_monitor_unnamed, 0);
    does(s, s->a, do_stop, ERR_OK);
    expect_told(s, 0, RT_SIG_DEMONITOR, s->a->pid, far_away, ERR_OK, "");
    assert_int_equal(s->p.log[0].ref, far_ref);
    end(s);
}

/* A message of the plug's is given back to it if its receiver ends before it handles it, or had ended; but not when the node is freed. */
static unsigned lost;
static void plug_lost(rt_remote *r, rt_ctx *cx, rt_msg *m) {
    (void)r, (void)cx;
    assert_int_equal(RT_TAG(m), T_NOTE);
    lost += (unsigned)t_note_of(m)->n;
}
static void do_stop_held(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p, (void)arg;
    rt_hold(cx, true);
}

static void what_is_lost_is_told(void **state) {
    (void)state;
    set *s = begin();
    lost = 0;
    s->p.r.lost = plug_lost;
    s->p.r.carrier = T_NOTE;
    does(s, s->b, do_stop_held, 0);
    s->peer.pid = s->b->pid;
    does(s, s->a, do_note, 1);
    does(s, s->a, do_note, 2);
    assert_int_equal(s->b->n + lost, 0);
    does(s, s->a, do_kill, ARG(s->b)); /* it has not handled them */
    assert_int_equal(lost, 3);
    does(s, s->a, do_note, 4); /* it is gone */
    assert_int_equal(lost, 7);
    puppet *c = puppet_new(s->w, 0, &puppet_class);
    does(s, c, do_stop_held, 0);
    s->peer.pid = c->pid;
    does(s, s->a, do_note, 8);
    end(s);
    assert_int_equal(lost, 7);
    mem_free(c);
}

static void without_a_plug(void **state) {
    (void)state;
    set *s = begin();
    rt_node_set_remote(s->w->n, NULL);
    does(s, s->a, do_note, 5);
    does(s, s->a, do_trap, 1);
    does(s, s->a, do_link, ARG(&s->peer));
    does(s, s->a, do_monitor, ARG(&s->peer));
    assert_int_equal(s->a->n, 2);
    assert_int_equal(s->a->log[0].tag, RT_EXIT);
    assert_int_equal(s->a->log[0].reason, ERR_NOCONN);
    assert_int_equal(s->a->log[1].tag, RT_DOWN);
    assert_int_equal(s->a->log[1].reason, ERR_NOCONN);
    assert_int_equal(s->p.n + s->p.sent, 0);
    end(s);
}

/* One that holds back gets no messages, but timers and sockets; signals act; then everything comes, in order. */
PUPPET_CLASS(small_class, 4, RT_BOUND_REFUSE);
static void set_timer(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)arg;
    rt_hold(cx, true);
    rt_timer_set(cx, &p->t[0], rt_now(cx) + 5000);
}
static void release(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p, (void)arg;
    rt_hold(cx, false);
}

static void holding(void **state) {
    (void)state;
    set *s = begin();
    puppet *c = puppet_new(s->w, 0, &small_class);
    c->on_timer = release;
    does(s, c, set_timer, 0);
    s->peer.pid = c->pid;
    for (uint64_t i = 1; i <= 6; i++) does(s, s->a, do_note, i);
    assert_int_equal(c->n, 0);
    assert_int_equal(s->a->n, 2); /* past its bound they came back */
    assert_int_equal(s->a->log[0].n, 5);
    s->w->now += 10000;
    (void)world_run(s->w);
    assert_int_equal(c->timers, 1);
    assert_int_equal(c->n, 4);
    for (uint64_t i = 0; i < 4; i++) assert_int_equal(c->log[i].n, i + 1);
    does(s, c, do_hold, 1);
    comes(s, 1, (incoming){c->pid, RT_SIG_EXIT, 0, ERR_FOREIGN, s->term});
    assert_int_equal(c->finis, 1);
    end(s);
    mem_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pids),
        cmocka_unit_test(sends),
        cmocka_unit_test(links),
        cmocka_unit_test(a_link_that_is_not_there_does_not_act),
        cmocka_unit_test(watched_from_far),
        cmocka_unit_test(monitors),
        cmocka_unit_test(the_end_is_told),
        cmocka_unit_test(who_is_not_foreign_is_not_there_for_others),
        cmocka_unit_test(an_unlink_is_told_when_it_has_arrived),
        cmocka_unit_test(a_monitor_that_the_mesh_tells),
        cmocka_unit_test(what_is_lost_is_told),
        cmocka_unit_test(without_a_plug),
        cmocka_unit_test(holding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
