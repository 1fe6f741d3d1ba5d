/* account: what stays in memory, and sessions that come and go while their account is being loaded. */
#include "svc/svc_rig.h"

static uint64_t in_memory(rig *r, sess *tool) {
    uint64_t n = 0;
    static const char *const one_of_each[] = {"p0@x.test", "p1@x.test", "p2@x.test", "p3@x.test", "p4@x.test", "p5@x.test", "p6@x.test"};
    bool counted[4] = {false};
    for (size_t i = 0; i < ARRAY_LEN(one_of_each); i++) {
        rt_pid p = svc_partition(r->w->n, &r->cfg, slice_str(one_of_each[i]));
        for (unsigned k = 0; k < 4; k++) {
            if (counted[k] || !rt_pid_eq(p, svc_partition_at(r->w->n, k))) continue;
            counted[k] = true;
            n += rig_status(r, tool, one_of_each[i], "accounts_in_memory");
        }
    }
    assert_true(counted[0] && counted[1] && counted[2] && counted[3]); /* the names above are of every partition */
    return n;
}

/* An attacker who writes to addresses that do not exist gets a bounded number of them remembered, at any rate. */
static void addresses_that_do_not_exist_are_remembered_up_to_a_number(void **state) {
    (void)state;
    rig *r = rig_new();
    r->cfg.idle_accounts_max = 40;
    (void)rig_add(r, "alice@x.test");
    rig_start(r);
    sess *a = login(r, "alice@x.test", "a", 0), *tool = sess_new(r);
    for (int i = 0; i < 400; i++) (void)sayf(a, "<presence to='nobody%d@x.test'/>", i);
    uint64_t n = in_memory(r, tool);
    assert_true(n >= 2 && n <= 41); /* alice, who is bound, and ten for each partition */
    (void)sayf(a, "<message to='nobody399@x.test' type='chat'><body>x</body></message>");
    assert_int_equal(count(a, "service-unavailable"), 1); /* what was forgotten is looked up again */
    rig_free(r);
}

static void an_idle_account_is_dropped_before_one_that_is_used(void **state) {
    (void)state;
    rig *r = rig_new();
    r->cfg.idle_accounts_max = 0; /* nothing idle stays */
    (void)rig_add(r, "alice@x.test");
    (void)rig_add(r, "bob@x.test");
    rig_start(r);
    sess *a = login_quiet(r, "alice@x.test", "a", 0), *tool = sess_new(r);
    (void)say(a, "<message to='bob@x.test' type='chat' id='1'><body>kept</body></message>");
    assert_int_equal(in_memory(r, tool), 2); /* a session, and a queue */
    sess *b = login(r, "bob@x.test", "b", 0);
    assert_int_equal(count(b, "kept"), 1);
    ack(b, 1);
    unbind(b);
    assert_int_equal(in_memory(r, tool), 1);
    rig_free(r);
}

/* The end of a session must not overtake its beginning, or its partition would serve a ghost. */
static void a_session_that_ends_while_its_account_is_loaded_is_not_there_after(void **state) {
    (void)state;
    rig *r = rig_new();
    (void)rig_add(r, "alice@x.test");
    rig_start(r);
    sess *tool = sess_new(r);
    r->hold_keyed = true;
    sess *a = sess_bind(r, "alice@x.test", "a"), *b = sess_bind(r, "alice@x.test", "b");
    assert_false(a->bound || b->bound);
    die(a);
    r->hold_keyed = false;
    rig_keyed_release(r, RIG_MAX);
    assert_true(b->bound);
    assert_int_equal(rig_status(r, tool, "alice@x.test", "sessions"), 1);
    rig_free(r);
}

int main(void) {
    const struct CMUnitTest t[] = {
        cmocka_unit_test(addresses_that_do_not_exist_are_remembered_up_to_a_number),
        cmocka_unit_test(an_idle_account_is_dropped_before_one_that_is_used),
        cmocka_unit_test(a_session_that_ends_while_its_account_is_loaded_is_not_there_after),
    };
    return cmocka_run_group_tests(t, NULL, NULL);
}
