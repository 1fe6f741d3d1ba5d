/* When wanted nodes are dialled (mesh/dial.c), on a clock that the test moves. The acceptor, which would make the links, is played here. */
#include "mesh/dial.h"
#include "rt/epoch.h"
#include "rt/rt_world.h"

#include <stdio.h>

#define OWN       "m@h"
#define DIALS_MAX 4096

typedef struct dialled { /* a MESH_DIAL */
    usec at;
    uint64_t ticket;
    rt_pid teller;
    char name[32];
} dialled;
static struct {
    world *w;
    mesh *m;
    rt_pid acceptor;
    puppet *link; /* plays links that are up */
    dialled d[DIALS_MAX];
    size_t n;
    const char *why; /* NULL: attempts are not answered; else each fails at once */
} at;

/* --- the acceptor ------------------------------------------------------------------------------------------------------------------ */
static void answer(rt_ctx *cx, const dialled *d, mesh_dialled what, const char *why) {
    rt_msg *m = rt_msg_new(cx, MESH_DIALLED, sizeof(mesh_dialled_msg));
    *mesh_dialled_msg_of(m) = (mesh_dialled_msg){.ticket = d->ticket,
                                                 .name = rt_blob_new(slice_str(d->name)),
                                                 .what = (uint8_t)what,
                                                 .why = why ? rt_blob_new(slice_str(why)) : NULL};
    rt_send(cx, d->teller, &m);
}

static err acceptor_init(rt_ctx *cx, void *st, const void *arg) {
    char name[MESH_ACCEPTOR_NAME_MAX];
    (void)st, (void)arg;
    mesh_acceptor_name(0, name);
    return rt_name_register(cx, name);
}

static err acceptor_handle(rt_ctx *cx, void *st, rt_msg **m) {
    (void)st;
    assert_int_equal((*m)->tag, MESH_DIAL);
    assert_true(at.n < DIALS_MAX);
    const mesh_dial_msg *q = mesh_dial_msg_of(*m);
    dialled *d = &at.d[at.n++];
    *d = (dialled){.at = rt_now(cx), .ticket = q->ticket, .teller = (*m)->sender};
    (void)snprintf(d->name, sizeof d->name, SLICE_FMT, SLICE_ARG(rt_blob_slice(q->seed)));
    d->name[strcspn(d->name, ":")] = 0;
    if (at.why) answer(cx, d, MESH_DIALLED_FAILED, at.why);
    return ERR_OK;
}
static const rt_class acceptor_class = {.name = "acceptor", .init = acceptor_init, .handle = acceptor_handle};

/* --- the node ---------------------------------------------------------------------------------------------------------------------- */
static void begin(uint64_t seed, uint32_t rate, uint32_t max, const char *const *names, size_t n) {
    mesh_cfg c;
    slice seeds[DIALS_MAX];
    memset(&at, 0, sizeof at);
    mesh_cfg_default(&c);
    c.name = SLICE(OWN);
    c.cookie = SLICE("XKQJZPWVBNMTRHGFDSLC");
    c.dial_rate = rate;
    c.dials_max = max;
    at.w = world_new(1, seed);
    assert_int_equal(mesh_new(at.w->n, &c, &at.m), ERR_OK);
    assert_int_equal(mesh_boot(at.m), ERR_OK);
    at.acceptor = world_spawn(at.w, 0, &acceptor_class, NULL);
    at.link = puppet_new(at.w, 0, &puppet_class);
    for (size_t i = 0; i < n; i++) seeds[i] = slice_str(names[i]);
    assert_int_equal(mesh_dial(at.m, seeds, n), ERR_OK);
}

static void end(void) {
    world_free(at.w);
    mesh_free(at.m);
    mem_free(at.link);
}

/* Lets time pass, from deadline to deadline. */
static void pass(usec t) {
    usec until = at.w->now + t;
    for (usec next = world_run(at.w); next <= until; next = world_run(at.w))
        if (next > at.w->now) at.w->now = next;
    at.w->now = until;
    (void)world_run(at.w);
}

static size_t dials_of(const char *name, usec *out_last) {
    size_t n = 0;
    for (size_t i = 0; i < at.n; i++)
        if (strcmp(at.d[i].name, name) == 0) {
            n++;
            *out_last = at.d[i].at;
        }
    return n;
}

/* Is the node dialled within min to max of now, and not before? */
static void is_dialled(const char *name, usec min, usec max) {
    usec from = at.w->now, when = 0;
    size_t had = dials_of(name, &when);
    pass(max + 2 * USEC_PER_MSEC);
    if (dials_of(name, &when) == had) fail_msg("%s was not dialled", name);
    assert_int_equal(dials_of(name, &when), had + 1);
    assert_in_range(when - from, min, max + 2 * USEC_PER_MSEC);
}

typedef struct looked {
    uint8_t state; /* 255: there is no row */
    uint32_t attempts;
    char why[MESH_WHY_MAX + 1];
} looked;
static looked look(const char *name) {
    looked out = {.state = 255};
    slice v;
    rt_reader *r = rt_epoch_begin(at.w->n);
    if (rt_table_lookup(r, at.m->wanted, slice_str(name), &v) == ERR_OK) {
        const mesh_want *w = mesh_want_of(v);
        out.state = w->state;
        out.attempts = w->attempts;
        if (w->why_len) memcpy(out.why, mesh_want_why(w).p, w->why_len);
    }
    rt_epoch_end(&r);
    return out;
}

/* --- what links and operators do --------------------------------------------------------------------------------------------------- */
static const char *who;
static dialled *which;
static void do_up(rt_ctx *cx, puppet *p, uint64_t arg) {
    uint32_t index;
    (void)p, (void)arg;
    assert_int_equal(mesh_peers_up(at.m, cx, slice_str(who), 7, false, NULL, &index), ERR_OK);
}
static void do_down(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p;
    mesh_peers_down(at.m, cx, rt_self(cx), slice_str(who), false);
    if (arg) rt_stop(cx, (err)arg);
}
static void do_answer(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p;
    answer(cx, which, (mesh_dialled)arg, "x");
}
static void do_want(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p;
    rt_msg *m = rt_msg_new(cx, MESH_WANT, sizeof(mesh_want_msg));
    *mesh_want_msg_of(m) = (mesh_want_msg){.op = (uint8_t)arg, .by = MESH_BY_FILE, .seed = rt_blob_new(slice_str(who))};
    rt_send(cx, rt_name_find(cx, MESH_DIAL_NAME), &m);
}
static void does(deed *d, uint64_t arg, const char *name) {
    who = name;
    tell(at.w, at.link, d, arg);
    (void)world_run(at.w);
}
static void answers(dialled *d, mesh_dialled what) {
    which = d;
    does(do_answer, what, d->name);
}
/* The node's link ends, as links do; the next one is another. */
static void loses(const char *name) {
    does(do_down, ERR_SHUTDOWN, name);
    assert_int_equal(at.link->finis, 1);
    mem_free(at.link);
    at.link = puppet_new(at.w, 0, &puppet_class);
}

/* --- tests ------------------------------------------------------------------------------------------------------------------------- */
#define MANY 60
static char text[MANY][16];
static const char *many[MANY];
static void make_many(void) {
    for (size_t i = 0; i < MANY; i++) {
        (void)snprintf(text[i], sizeof text[i], "a%02zu@h", i);
        many[i] = text[i];
    }
}

/* dial_rate a second, with hardly more at the start; each once, in an order that another seed changes. */
static void the_rate_and_the_order(void **state) {
    (void)state;
    size_t moved[2] = {0};
    char first[MANY][16];
    make_many();
    for (uint64_t seed = 1; seed <= 2; seed++) {
        begin(seed, 100, MANY, many, MANY);
        (void)world_run(at.w);
        assert_in_range(at.n, 1, 3);
        pass(USEC_PER_SEC / 10);
        assert_in_range(at.n, 9, 13);
        pass(USEC_PER_SEC);
        assert_int_equal(at.n, MANY);
        for (size_t i = 0; i < MANY; i++) {
            usec when;
            assert_int_equal(dials_of(many[i], &when), 1);
            moved[0] += strcmp(at.d[i].name, many[i]) != 0;
            moved[1] += seed == 2 && strcmp(at.d[i].name, first[i]) != 0;
            memcpy(first[i], at.d[i].name, sizeof first[i]);
        }
        end();
    }
    assert_true(moved[0] > MANY);
    assert_true(moved[1] > MANY / 2);
}

static void so_many_at_a_time(void **state) {
    (void)state;
    make_many();
    begin(1, 10000, 4, many, MANY);
    pass(USEC_PER_SEC);
    assert_int_equal(at.n, 4);
    answers(&at.d[0], MESH_DIALLED_FAILED);
    pass(USEC_PER_MSEC);
    assert_int_equal(at.n, 5);
    answers(&at.d[1], MESH_DIALLED_YIELDED);
    pass(USEC_PER_MSEC);
    assert_int_equal(at.n, 6);
    assert_int_equal(look(at.d[0].name).state, MESH_WANT_WAITING);
    assert_int_equal(look(at.d[5].name).state, MESH_WANT_DIALLING);
    end();
}

/* Twice as long each time, half of it by chance, up to a minute; one line in the log until the reason changes, or ten minutes pass. */
static void back_off(void **state) {
    (void)state;
    begin(1, 100, 10, (const char *[]){"a@h:7"}, 1);
    at.why = "refused";
    (void)world_run(at.w);
    assert_int_equal(at.n, 1);
    for (usec most = MESH_DIAL_FIRST; most < MESH_DIAL_LAST; most *= 2) {
        usec last = at.d[at.n - 1].at;
        size_t n = at.n;
        while (at.n == n) pass(most / 50);
        assert_in_range(at.d[n].at - last, most / 2, most + 10 * USEC_PER_MSEC);
    }
    assert_int_equal(look("a@h").attempts, at.n);
    assert_string_equal(look("a@h").why, "refused");
    assert_int_equal(rt_event_count(at.w->n, EV_MESH_UNREACHED), 1);
    at.why = "silent";
    size_t n = at.n;
    pass(5 * MESH_DIAL_LAST);
    assert_in_range(at.n - n, 5, 10);
    assert_int_equal(rt_event_count(at.w->n, EV_MESH_UNREACHED), 2);
    pass(11 * MESH_DIAL_LAST);
    assert_int_equal(rt_event_count(at.w->n, EV_MESH_UNREACHED), 3);
    end();
}

/* A node whose name is greater is left to dial first; what it makes of it counts as connected. */
static void the_greater_name_dials(void **state) {
    (void)state;
    begin(1, 100, 10, (const char *[]){"z@h", "y@h"}, 2);
    does(do_up, 0, "y@h");
    is_dialled("z@h", MESH_DIAL_PATIENCE, MESH_DIAL_PATIENCE + USEC_PER_SEC);
    assert_int_equal(at.n, 1);
    assert_int_equal(look("y@h").state, MESH_WANT_UP);
    loses("y@h");
    is_dialled("y@h", MESH_DIAL_PATIENCE + MESH_DIAL_YIELDING / 2, MESH_DIAL_PATIENCE + USEC_PER_SEC + MESH_DIAL_YIELDING);
    end();
}

/* It dials by itself when it runs: an attempt that failed is repeated seldom. */
static void the_lesser_name_is_patient(void **state) {
    (void)state;
    begin(1, 100, 10, (const char *[]){"z@h:7"}, 1);
    at.why = "refused";
    is_dialled("z@h", MESH_DIAL_PATIENCE, MESH_DIAL_PATIENCE + USEC_PER_SEC);
    for (usec most = MESH_DIAL_YIELDING; most < MESH_DIAL_LAST; most *= 2) {
        usec last = at.d[at.n - 1].at;
        size_t n = at.n;
        while (at.n == n) pass(most / 50);
        assert_in_range(at.d[n].at - last, most / 2, most + 10 * USEC_PER_MSEC);
    }
    end();
}

/* A connection that is lost: at once, if it held; else as after a failure. */
static void a_lost_connection(void **state) {
    (void)state;
    begin(1, 100, 10, (const char *[]){"a@h"}, 1);
    (void)world_run(at.w);
    assert_int_equal(at.n, 1);
    does(do_up, 0, "a@h");
    answers(&at.d[0], MESH_DIALLED_UP);
    assert_int_equal(look("a@h").state, MESH_WANT_UP);
    pass(MESH_DIAL_STEADY);
    loses("a@h");
    is_dialled("a@h", 0, USEC_PER_SEC / 2);
    for (usec most = MESH_DIAL_FIRST; most < 10 * MESH_DIAL_FIRST; most *= 2) {
        does(do_up, 0, "a@h");
        answers(&at.d[at.n - 1], MESH_DIALLED_UP);
        loses("a@h");
        is_dialled("a@h", most / 2, most);
    }
    assert_int_equal(rt_event_count(at.w->n, EV_MESH_UNREACHED), 0); /* losing one is not a failure to dial */
    end();
}

/* Another link has taken its place: nothing is dialled. */
static void a_connection_that_is_replaced(void **state) {
    (void)state;
    begin(1, 100, 10, (const char *[]){"z@h"}, 1);
    does(do_up, 0, "z@h");
    pass(5 * USEC_PER_SEC);
    assert_int_equal(look("z@h").state, MESH_WANT_UP);
    puppet *old = at.link;
    does(do_down, 0, "z@h");
    at.link = puppet_new(at.w, 0, &puppet_class);
    does(do_up, 0, "z@h");
    tell(at.w, old, do_stop, ERR_SHUTDOWN);
    pass(20 * USEC_PER_SEC);
    assert_int_equal(at.n, 0);
    assert_int_equal(look("z@h").state, MESH_WANT_UP);
    end();
    mem_free(old);
}

/* An attempt of which nothing is heard, and one whose link ends without a word, have failed; what comes of them later is ended. */
static void attempts_without_an_answer(void **state) {
    (void)state;
    begin(1, 100, 10, (const char *[]){"a@h"}, 1);
    (void)world_run(at.w);
    assert_int_equal(at.n, 1);
    is_dialled("a@h", MESH_SETUP_TIME + USEC_PER_SEC + MESH_DIAL_FIRST / 2, MESH_SETUP_TIME + USEC_PER_SEC + MESH_DIAL_FIRST);
    assert_int_equal(look("a@h").attempts, 1);
    answers(&at.d[0], MESH_DIALLED_BEGUN); /* the first one */
    assert_int_equal(at.link->finis, 1);
    assert_int_equal(at.link->fini_reason, ERR_KILLED);
    mem_free(at.link);
    at.link = puppet_new(at.w, 0, &puppet_class);
    answers(&at.d[1], MESH_DIALLED_BEGUN);
    loses("a@h");
    assert_int_equal(look("a@h").attempts, 2);
    tell(at.w, at.link, do_kill, ARG(&(puppet){.pid = at.acceptor}));
    pass(10 * USEC_PER_SEC);
    looked w = look("a@h");
    assert_string_equal(w.why, "nothing dials on that shard at the moment");
    end();
}

static rt_pid dial_pid;
static void do_find(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p, (void)arg;
    dial_pid = rt_name_find(cx, MESH_DIAL_NAME);
}

/* What an operator adds is dialled at once, whoever has the greater name; what he takes out ends. Both outlive the actor. */
static void operators(void **state) {
    (void)state;
    begin(1, 100, 10, NULL, 0);
    pass(USEC_PER_SEC);
    assert_int_equal(at.n, 0);
    does(do_want, MESH_WANT_CONNECT, "z@h:7");
    assert_int_equal(at.n, 1);
    does(do_up, 0, "z@h");
    answers(&at.d[0], MESH_DIALLED_UP);
    does(do_want, MESH_WANT_CONNECT, "z@h");
    does(do_want, MESH_WANT_CONNECT, "no such node");
    does(do_want, MESH_WANT_DISCONNECT, "y@h");
    assert_int_equal(count_tag(at.link, MESH_WANTED), 4);
    assert_int_equal(at.n, 1);
    does(do_find, 0, "");
    tell(at.w, at.link, do_kill, ARG(&(puppet){.pid = dial_pid}));
    pass(10 * USEC_PER_SEC);
    assert_int_equal(look("z@h").state, MESH_WANT_UP);
    does(do_want, MESH_WANT_DISCONNECT, "z@h");
    assert_int_equal(at.link->fini_reason, ERR_KILLED);
    assert_int_equal(look("z@h").state, 255);
    pass(100 * USEC_PER_SEC);
    assert_int_equal(at.n, 1);
    end();
}

/* Each state can be left that way. */
static void disconnecting_at_any_time(void **state) {
    (void)state;
    begin(1, 1, 1, (const char *[]){"a@h", "b@h", "z@h"}, 3);
    (void)world_run(at.w);
    assert_int_equal(at.n, 1);
    assert_int_equal(look("z@h").state, MESH_WANT_WAITING);
    does(do_want, MESH_WANT_DISCONNECT, "z@h");
    const char *other = strcmp(at.d[0].name, "a@h") == 0 ? "b@h" : "a@h";
    assert_int_equal(look(other).state, MESH_WANT_READY);
    does(do_want, MESH_WANT_DISCONNECT, other);
    assert_int_equal(look(at.d[0].name).state, MESH_WANT_DIALLING);
    answers(&at.d[0], MESH_DIALLED_BEGUN);
    does(do_want, MESH_WANT_DISCONNECT, at.d[0].name);
    assert_int_equal(at.link->fini_reason, ERR_KILLED); /* the attempt */
    mem_free(at.link);
    at.link = puppet_new(at.w, 0, &puppet_class);
    does(do_want, MESH_WANT_CONNECT, "c@h"); /* and its place is free */
    pass(2 * USEC_PER_SEC);
    assert_int_equal(at.n, 2);
    end();
}

/* A list that replaces another one: who is in both is not disturbed, in whatever state; who is gone is left alone; what node.seeds and an
 * operator want stays. All of it outlives the actor. */
static void lists(void **state) {
    (void)state;
    begin(1, 100, 10, (const char *[]){"a@h"}, 1);
    (void)world_run(at.w);
    does(do_want, MESH_WANT_CONNECT, "b@h");
    does(do_want, MESH_WANT_LIST, "a@h\nc@h\nd@h\nc@h\n"); /* one twice */
    pass(50 * USEC_PER_MSEC);
    assert_int_equal(at.n, 4);
    does(do_up, 0, "c@h");
    for (size_t i = 0; i < at.n; i++)
        if (strcmp(at.d[i].name, "c@h") == 0) answers(&at.d[i], MESH_DIALLED_UP);
    assert_int_equal(look("c@h").state, MESH_WANT_UP);
    assert_int_equal(look("d@h").state, MESH_WANT_DIALLING);
    for (int i = 0; i < 100; i++) {
        does(do_want, MESH_WANT_LIST, i % 2 ? "c@h\nd@h\n" : "d@h:9\nc@h:7\na@h\n");
        assert_int_equal(look("c@h").state, MESH_WANT_UP);
        assert_int_equal(look("d@h").state, MESH_WANT_DIALLING);
    }
    assert_int_equal(at.n, 4);
    does(do_want, MESH_WANT_LIST, "x@h\nno such node\n"); /* all or nothing */
    assert_int_equal(look("x@h").state, 255);
    assert_int_equal(look("d@h").state, MESH_WANT_DIALLING);
    does(do_find, 0, "");
    tell(at.w, at.link, do_kill, ARG(&(puppet){.pid = dial_pid}));
    pass(10 * USEC_PER_SEC);
    assert_int_equal(look("c@h").state, MESH_WANT_UP);
    does(do_want, MESH_WANT_LIST, "");
    assert_int_equal(look("c@h").state, 255);
    assert_int_equal(look("d@h").state, 255);
    assert_int_not_equal(look("a@h").state, 255);
    assert_int_not_equal(look("b@h").state, 255);
    assert_int_equal(at.link->finis, 0); /* c is connected all the same */
    end();
}

static void as_many_as_may_be(void **state) {
    (void)state;
    static char names[MESH_SEEDS_MAX][16];
    static const char *seeds[MESH_SEEDS_MAX];
    for (size_t i = 0; i < MESH_SEEDS_MAX; i++) {
        (void)snprintf(names[i], sizeof names[i], "z%zu@h", i);
        seeds[i] = names[i];
    }
    begin(1, 1, 1, seeds, MESH_SEEDS_MAX);
    (void)world_run(at.w);
    does(do_want, MESH_WANT_CONNECT, "a@h");
    assert_int_equal(look("a@h").state, 255);
    does(do_want, MESH_WANT_DISCONNECT, "z0@h");
    does(do_want, MESH_WANT_CONNECT, "a@h");
    assert_int_not_equal(look("a@h").state, 255);
    static char list[MESH_SEEDS_MAX * 16]; /* all places but those of node.seeds can be those of lists, again and again */
    does(do_want, MESH_WANT_LIST, "b@h\n");
    assert_int_equal(look("b@h").state, 255);
    for (size_t i = 1; i < MESH_SEEDS_MAX; i += 2) does(do_want, MESH_WANT_DISCONNECT, names[i]);
    for (int round = 0; round < 3; round++) {
        size_t n = 0;
        for (size_t i = 0; i < MESH_SEEDS_MAX / 2; i++) n += (size_t)snprintf(list + n, sizeof list - n, "%c%zu@h\n", 'p' + round, i);
        does(do_want, MESH_WANT_LIST, list);
        assert_int_not_equal(look(round == 0 ? "p0@h" : round == 1 ? "q0@h" : "r2047@h").state, 255);
        if (round) assert_int_equal(look("p0@h").state, 255);
    }
    (void)snprintf(list + strlen(list), 8, "s@h\n");
    does(do_want, MESH_WANT_LIST, list);
    assert_int_equal(look("s@h").state, 255);
    assert_int_not_equal(look("r0@h").state, 255);
    slice too_many[1] = {SLICE("a@h")};
    assert_int_equal(mesh_dial_listed(at.m, too_many, MESH_SEEDS_MAX + 1), ERR_LIMIT);
    assert_int_equal(mesh_dial(at.m, too_many, MESH_SEEDS_MAX + 1), ERR_LIMIT);
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rate_and_the_order),
        cmocka_unit_test(so_many_at_a_time),
        cmocka_unit_test(back_off),
        cmocka_unit_test(the_greater_name_dials),
        cmocka_unit_test(the_lesser_name_is_patient),
        cmocka_unit_test(a_lost_connection),
        cmocka_unit_test(a_connection_that_is_replaced),
        cmocka_unit_test(attempts_without_an_answer),
        cmocka_unit_test(operators),
        cmocka_unit_test(disconnecting_at_any_time),
        cmocka_unit_test(lists),
        cmocka_unit_test(as_many_as_may_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
