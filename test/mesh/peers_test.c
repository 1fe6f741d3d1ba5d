/* Who has which name (mesh/peers.c): links are puppets here, on two shards. */
#include "mesh/int.h"
#include "rt/core.h"
#include "rt/epoch.h"
#include "rt/rt_world.h"

#define NAME SLICE("p@h")
static struct {
    world *w;
    mesh *m;
    puppet *a, *b; /* links, on shard 0 and on shard 1 */
} at;

static void boot_peers(rt_ctx *cx, void *arg) { assert_int_equal(mesh_peers_init(arg, cx), ERR_OK); }

static void begin(void) {
    mesh_cfg c;
    mesh_cfg_default(&c);
    c.name = SLICE("murre@h");
    c.cookie = SLICE("XKQJZPWVBNMTRHGFDSLC");
    at.w = world_new(2, 1);
    assert_int_equal(mesh_new(at.w->n, &c, &at.m), ERR_OK);
    rt_node_boot(at.w->n, 0, boot_peers, at.m);
    at.a = puppet_new(at.w, 0, &puppet_class);
    at.b = puppet_new(at.w, 1, &puppet_class);
}

static void end(void) {
    world_free(at.w);
    mesh_free(at.m);
    mem_free(at.a);
    mem_free(at.b);
}

/* --- what a link does, in its own context ------------------------------------------------------------------------------------------ */
static struct {
    slice name;
    uint32_t creation;
    bool hidden;
    dist_verdict verdict;
    err up;
    bool invented, taken, wanted;
    err dial;
    uint32_t challenge;
    uint32_t index;
    rt_pid pid;
    unsigned nodes; /* that are connected; the last one of them: */
    mesh_node last;
    uint32_t last_index;
} x;

static void does(const puppet *p, deed *d) {
    tell(at.w, p, d, 0);
    (void)world_run(at.w);
}
static void do_admit(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p, (void)arg;
    x.verdict = mesh_peers_admit(at.m, cx, x.name, &x.pid);
}
static void do_up(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p, (void)arg;
    x.up = mesh_peers_up(at.m, cx, x.name, x.creation, x.hidden, NULL, &x.index);
}
static void do_down(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p, (void)arg;
    mesh_peers_down(at.m, cx, rt_self(cx), x.name, x.invented);
}
static void do_take(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p, (void)arg;
    x.taken = mesh_peers_take(at.m, cx, x.name, x.pid);
}
static void do_find(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p, (void)arg;
    x.pid = mesh_peers_link(at.m, cx, x.index);
}
static void one_node(void *arg, uint32_t index, const mesh_node *n) {
    (void)arg;
    x.nodes++;
    x.last = *n;
    x.last_index = index;
}
static void do_each(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p, (void)arg;
    x.nodes = 0;
    mesh_peers_each(at.m->nodes, rt_epoch_reader(cx), one_node, NULL);
}

static void do_dial(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p, (void)arg;
    x.dial = mesh_peers_dial(at.m, cx, x.name);
    x.wanted = mesh_peers_wanted(at.m, cx, x.name);
}
static void do_draw(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p, (void)arg;
    assert_int_equal(mesh_challenge_draw(at.m, cx, &x.challenge), ERR_OK);
}
static void do_ours(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p, (void)arg;
    x.taken = mesh_challenge_ours(at.m, cx, x.challenge);
}
static void do_over(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p, (void)arg;
    mesh_challenge_over(at.m, cx, x.challenge);
}

static dist_verdict admit(const puppet *p, slice name) {
    x.name = name;
    does(p, do_admit);
    return x.verdict;
}
static uint32_t up(const puppet *p, slice name, uint32_t creation) { /* 0: another was faster */
    x.name = name, x.creation = creation, x.index = 0;
    does(p, do_up);
    assert_int_equal(x.up == ERR_OK, x.index != 0);
    return x.index;
}
static void down(const puppet *p, slice name) {
    x.name = name;
    does(p, do_down);
}
static err dial(const puppet *p, slice name) {
    x.name = name;
    does(p, do_dial);
    return x.dial;
}
static rt_pid old(slice name) {
    (void)admit(at.b, name);
    return x.pid;
}
static bool take(const puppet *p, slice name, rt_pid from) {
    x.name = name, x.pid = from;
    does(p, do_take);
    return x.taken;
}
/* Seen from both shards. */
static void is_link(uint32_t index, rt_pid want) {
    x.index = index;
    does(at.a, do_find);
    assert_true(rt_pid_eq(x.pid, want));
    does(at.b, do_find);
    assert_true(rt_pid_eq(x.pid, want));
}
static unsigned nodes(void) {
    does(at.a, do_each);
    return x.nodes;
}

/* --- tests ------------------------------------------------------------------------------------------------------------------------- */
static void up_and_down(void **state) {
    (void)state;
    begin();
    assert_int_equal(nodes(), 0);
    is_link(1, RT_PID_NONE); /* never heard of */
    assert_true(rt_pid_eq(old(NAME), RT_PID_NONE));
    assert_int_equal(admit(at.a, NAME), DIST_VERDICT_OK);
    assert_int_equal(nodes(), 0); /* it has proved nothing yet */
    x.hidden = false;
    uint32_t n = up(at.a, NAME, 7);
    assert_int_not_equal(n, 0);
    is_link(n, at.a->pid);
    assert_true(rt_pid_eq(old(NAME), at.a->pid));
    assert_int_equal(nodes(), 1);
    assert_int_equal(x.last_index, n);
    assert_int_equal(x.last.creation, 7);
    assert_false(x.last.hidden);
    assert_true(slice_eq(slice_of(x.last.name, x.last.name_len), NAME));
    down(at.b, NAME); /* of another link: nothing */
    is_link(n, at.a->pid);
    down(at.a, NAME);
    is_link(n, RT_PID_NONE);
    assert_int_equal(nodes(), 0);
    end();
}

static void two_names_have_two_numbers(void **state) {
    (void)state;
    begin();
    x.hidden = true;
    uint32_t p = up(at.a, NAME, 7), q = up(at.b, SLICE("q@h"), 7);
    assert_int_not_equal(p, q);
    is_link(p, at.a->pid);
    is_link(q, at.b->pid);
    assert_int_equal(nodes(), 2);
    assert_true(x.last.hidden);
    down(at.a, NAME);
    is_link(p, RT_PID_NONE);
    is_link(q, at.b->pid);
    end();
}

/* A number is one life of a node for ever. */
static void numbers_and_creations(void **state) {
    (void)state;
    begin();
    uint32_t first = up(at.a, NAME, 7);
    down(at.a, NAME);
    assert_int_equal(up(at.b, NAME, 7), first);
    is_link(first, at.b->pid);
    down(at.b, NAME);
    uint32_t second = up(at.a, NAME, 8);
    assert_int_not_equal(second, first);
    is_link(first, RT_PID_NONE);
    is_link(second, at.a->pid);
    down(at.a, NAME);
    end();
}

/* Any number may be answered with alive. The first that proves to know the cookie takes over, and is up only when the old link has gone. */
static void take_over(void **state) {
    (void)state;
    begin();
    uint32_t n = up(at.a, NAME, 7);
    puppet *c = puppet_new(at.w, 0, &puppet_class);
    assert_int_equal(admit(c, NAME), DIST_VERDICT_ALIVE);
    assert_int_equal(admit(at.b, NAME), DIST_VERDICT_ALIVE); /* who only says the name does not keep the others out */
    assert_true(take(at.b, NAME, at.a->pid));
    assert_false(take(c, NAME, at.a->pid));
    assert_int_equal(admit(c, NAME), DIST_VERDICT_CLOSE); /* one is under way */
    down(c, NAME);                                        /* which its end does not touch */
    assert_int_equal(admit(c, NAME), DIST_VERDICT_CLOSE);
    is_link(n, at.a->pid);
    assert_true(rt_pid_eq(old(NAME), at.a->pid));
    assert_int_equal(up(at.b, NAME, 7), 0); /* not before */
    assert_int_equal(x.up, ERR_EXISTS);
    down(at.a, NAME);
    assert_true(rt_pid_eq(old(NAME), RT_PID_NONE));
    assert_int_equal(up(at.b, NAME, 7), n);
    is_link(n, at.b->pid);
    assert_false(take(c, NAME, at.a->pid)); /* what it was told was about the other one */
    assert_int_equal(admit(c, NAME), DIST_VERDICT_ALIVE);
    assert_true(take(c, NAME, x.pid)); /* the next may try */
    end();
    mem_free(c);
}

static void a_take_over_that_fails_leaves_the_old_link(void **state) {
    (void)state;
    begin();
    uint32_t n = up(at.a, NAME, 7);
    assert_true(take(at.b, NAME, at.a->pid));
    down(at.b, NAME);
    is_link(n, at.a->pid);
    assert_true(take(at.b, NAME, at.a->pid)); /* its place is free again */
    end();
}

/* The old link may be gone before the cookie is proved. */
static void a_take_over_with_nothing_to_take(void **state) {
    (void)state;
    begin();
    uint32_t n = up(at.a, NAME, 7);
    assert_true(rt_pid_eq(old(NAME), at.a->pid));
    down(at.a, NAME);
    assert_true(take(at.b, NAME, at.a->pid));
    assert_int_equal(up(at.b, NAME, 7), n);
    down(at.b, NAME);
    assert_true(take(at.b, SLICE("q@h"), at.a->pid)); /* with its entry, if the name was invented */
    assert_int_not_equal(up(at.b, SLICE("q@h"), 7), 0);
    end();
}

/* A third one, answered with ok before anything was up, is faster than the one that takes over. */
static void a_take_over_that_is_overtaken(void **state) {
    (void)state;
    begin();
    puppet *c = puppet_new(at.w, 0, &puppet_class);
    assert_int_equal(admit(c, NAME), DIST_VERDICT_OK);
    uint32_t n = up(at.a, NAME, 7);
    assert_true(take(at.b, NAME, at.a->pid));
    down(at.a, NAME);
    assert_int_equal(admit(at.a, NAME), DIST_VERDICT_CLOSE); /* what takes over comes first, even if there is nothing to take */
    uint32_t m = up(c, NAME, 8);
    assert_int_not_equal(m, 0);
    assert_int_not_equal(m, n);
    assert_int_equal(up(at.b, NAME, 8), 0);
    down(at.b, NAME);
    is_link(m, c->pid);
    is_link(n, RT_PID_NONE);
    end();
    mem_free(c);
}

/* A name that was made for one connection leaves nothing behind. */
static void an_invented_name_is_forgotten(void **state) {
    (void)state;
    begin();
    rt_reader *r = rt_epoch_begin(at.w->n);
    rt_table_info before, after;
    assert_int_equal(rt_table_info_of(r, at.m->names, &before), ERR_OK);
    assert_int_not_equal(up(at.a, NAME, 7), 0);
    x.invented = true;
    down(at.a, NAME);
    x.invented = false;
    assert_int_equal(rt_table_info_of(r, at.m->names, &after), ERR_OK);
    assert_int_equal(before.entries, after.entries);
    rt_epoch_end(&r);
    end();
}

/* With no memory for anything new, links still end, and a name is not shut out: it is refused until there is room. */
static void no_room(void **state) {
    (void)state;
    begin();
    x.hidden = false;
    uint32_t n = up(at.a, NAME, 7);
    rt_reader *stays = rt_epoch_begin(at.w->n); /* what is replaced from now on waits for it */
    at.w->n->cfg.table_wait_max = 1;
    assert_true(take(at.b, NAME, at.a->pid)); /* replaces, and is not refused */
    assert_true(rt_epoch_full(at.w->n));
    down(at.a, NAME);
    is_link(n, RT_PID_NONE);
    assert_int_equal(nodes(), 0);
    for (int i = 0; i < 2; i++) { /* the number has to be entered again */
        assert_int_equal(up(at.b, NAME, 7), 0);
        assert_int_equal(x.up, ERR_FULL);
        assert_true(rt_pid_eq(old(NAME), RT_PID_NONE)); /* as if it had not been */
        assert_int_equal(admit(at.a, NAME), DIST_VERDICT_OK);
    }
    assert_int_equal(up(at.b, SLICE("q@h"), 7), 0); /* so has this name */
    assert_int_equal(x.up, ERR_FULL);
    down(at.b, SLICE("q@h"));
    down(at.b, NAME);
    assert_int_equal(nodes(), 0);
    rt_epoch_end(&stays);
    (void)world_run(at.w);
    assert_false(rt_epoch_full(at.w->n));
    assert_int_equal(up(at.a, NAME, 7), n);
    is_link(n, at.a->pid);
    assert_int_not_equal(up(at.b, SLICE("q@h"), 7), 0);
    assert_int_equal(nodes(), 2);
    end();
}

/* Both were answered with ok, before either was up: the first one wins, and the end of the other changes nothing. */
static void two_that_were_both_answered_with_ok(void **state) {
    (void)state;
    begin();
    assert_int_equal(admit(at.a, NAME), DIST_VERDICT_OK);
    assert_int_equal(admit(at.b, NAME), DIST_VERDICT_OK);
    uint32_t n = up(at.b, NAME, 7);
    assert_int_not_equal(n, 0);
    assert_int_equal(up(at.a, NAME, 7), 0);
    down(at.a, NAME);
    is_link(n, at.b->pid);
    assert_int_equal(nodes(), 1);
    end();
}

static void one_that_ends_without_having_been_up(void **state) {
    (void)state;
    begin();
    assert_int_equal(admit(at.a, NAME), DIST_VERDICT_OK);
    down(at.a, NAME);
    assert_true(rt_pid_eq(old(NAME), RT_PID_NONE));
    assert_int_equal(nodes(), 0);
    assert_int_equal(admit(at.b, NAME), DIST_VERDICT_OK);
    assert_int_not_equal(up(at.b, NAME, 7), 0);
    end();
}

/* Two nodes dial each other at once, and the peer's name is the greater one: what we dialled goes on until the other one is up, because who
 * says a name has proved nothing; then it is told to end. */
static void both_dial_and_its_name_is_greater(void **state) {
    (void)state;
    begin();
    assert_int_equal(dial(at.a, NAME), ERR_OK);
    assert_true(x.wanted);
    assert_int_equal(dial(at.b, NAME), ERR_EXISTS); /* one at a time */
    assert_int_equal(admit(at.b, NAME), DIST_VERDICT_OK_SIMULTANEOUS);
    assert_true(rt_pid_eq(x.pid, RT_PID_NONE));
    assert_int_equal(nodes(), 0);
    uint32_t n = up(at.b, NAME, 7);
    assert_int_not_equal(n, 0);
    (void)world_run(at.w);
    assert_int_equal(at.a->finis, 1);
    assert_int_equal(at.a->fini_reason, ERR_SHUTDOWN);
    assert_int_equal(admit(at.b, NAME), DIST_VERDICT_ALIVE);
    rt_pid link = at.b->pid;
    x.index = n;
    does(at.b, do_find);
    assert_true(rt_pid_eq(x.pid, link));
    end();
}

/* Ours is: what comes in is refused, or, if it came in before we began, does not win. */
static void both_dial_and_ours_is_greater(void **state) {
    (void)state;
    slice lesser = SLICE("a@h");
    begin();
    assert_int_equal(admit(at.b, lesser), DIST_VERDICT_OK);
    assert_int_equal(dial(at.a, lesser), ERR_OK);
    assert_int_equal(admit(at.b, lesser), DIST_VERDICT_NOK);
    assert_int_equal(up(at.b, lesser, 7), 0);
    assert_int_equal(x.up, ERR_BUSY);
    down(at.b, lesser);
    uint32_t n = up(at.a, lesser, 7);
    is_link(n, at.a->pid);
    assert_int_equal(at.a->finis + at.b->finis, 0);
    assert_int_equal(dial(at.b, lesser), ERR_EXISTS); /* it is up */
    assert_false(x.wanted);
    down(at.a, lesser);
    assert_int_equal(dial(at.b, lesser), ERR_OK);
    end();
}

/* Ours is up before the accepted one, whose name is greater, has proved itself. */
static void our_attempt_is_up_first(void **state) {
    (void)state;
    begin();
    assert_int_equal(dial(at.a, NAME), ERR_OK);
    assert_int_equal(admit(at.b, NAME), DIST_VERDICT_OK_SIMULTANEOUS);
    uint32_t n = up(at.a, NAME, 7);
    assert_int_equal(up(at.b, NAME, 7), 0);
    assert_int_equal(x.up, ERR_EXISTS);
    down(at.b, NAME);
    is_link(n, at.a->pid);
    end();
}

/* What was dialled in vain leaves nothing, and a name that has a number keeps it; while one takes over, nobody dials. */
static void what_dialling_leaves(void **state) {
    (void)state;
    begin();
    rt_reader *r = rt_epoch_begin(at.w->n);
    rt_table_info before, after;
    assert_int_equal(rt_table_info_of(r, at.m->names, &before), ERR_OK);
    assert_int_equal(dial(at.a, NAME), ERR_OK);
    down(at.b, NAME); /* another link of that name, which never was up */
    assert_int_equal(dial(at.b, NAME), ERR_EXISTS);
    down(at.a, NAME);
    assert_int_equal(rt_table_info_of(r, at.m->names, &after), ERR_OK);
    assert_int_equal(before.entries, after.entries);
    rt_epoch_end(&r);
    assert_int_equal(dial(at.b, NAME), ERR_OK);
    uint32_t n = up(at.b, NAME, 7);
    assert_true(take(at.a, NAME, at.b->pid));
    down(at.b, NAME);
    assert_int_equal(dial(at.b, NAME), ERR_EXISTS);
    assert_int_equal(up(at.a, NAME, 7), n);
    down(at.a, NAME);
    assert_int_equal(dial(at.b, NAME), ERR_OK);
    down(at.b, NAME);
    assert_int_equal(up(at.a, NAME, 7), n);
    end();
}

/* A challenge is ours on every shard, until its handshake is over. */
static void challenges(void **state) {
    (void)state;
    begin();
    does(at.a, do_draw);
    does(at.b, do_ours);
    assert_true(x.taken);
    x.challenge ^= 1;
    does(at.b, do_ours);
    assert_false(x.taken);
    x.challenge ^= 1;
    does(at.b, do_over);
    does(at.a, do_ours);
    assert_false(x.taken);
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(up_and_down),
        cmocka_unit_test(two_names_have_two_numbers),
        cmocka_unit_test(numbers_and_creations),
        cmocka_unit_test(take_over),
        cmocka_unit_test(a_take_over_that_fails_leaves_the_old_link),
        cmocka_unit_test(a_take_over_with_nothing_to_take),
        cmocka_unit_test(a_take_over_that_is_overtaken),
        cmocka_unit_test(an_invented_name_is_forgotten),
        cmocka_unit_test(no_room),
        cmocka_unit_test(two_that_were_both_answered_with_ok),
        cmocka_unit_test(one_that_ends_without_having_been_up),
        cmocka_unit_test(both_dial_and_its_name_is_greater),
        cmocka_unit_test(both_dial_and_ours_is_greater),
        cmocka_unit_test(our_attempt_is_up_first),
        cmocka_unit_test(what_dialling_leaves),
        cmocka_unit_test(challenges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
