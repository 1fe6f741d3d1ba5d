/* sm: XEP-0198 counters modulo 2^32, tickets that complete in any order, and a model that keeps lists instead of counters. */
#include "base/mem.h"
#include "base/prng.h"
#include "proto/xmpp/sm.h"
#include "support/cmocka_unit.h"

static unsigned reports;
static void count_report(void *arg, const char *line) {
    (void)arg;
    (void)line;
    reports++;
}

static xmpp_sm fresh(void) {
    xmpp_sm s;
    xmpp_sm_init(&s);
    return s;
}

static void a_new_machine_counts_nothing_and_owns_no_memory(void **state) {
    (void)state;
    xmpp_sm s = fresh();
    assert_int_equal(xmpp_sm_h(&s), 0);
    assert_int_equal(xmpp_sm_unacked(&s), 0);
    assert_true(xmpp_sm_idle(&s));
    assert_null(s.done);
    xmpp_sm_fini(&s);
}

static void h_covers_exactly_the_longest_prefix_of_complete_tickets(void **state) {
    (void)state;
    xmpp_sm s = fresh();
    xmpp_sm_enable(&s);
    uint32_t t[4];
    for (int i = 0; i < 4; i++) t[i] = xmpp_sm_receive(&s);
    assert_false(xmpp_sm_complete(&s, t[2]));
    assert_false(xmpp_sm_complete(&s, t[1]));
    assert_int_equal(xmpp_sm_h(&s), 0);
    assert_true(xmpp_sm_complete(&s, t[0]));
    assert_int_equal(xmpp_sm_h(&s), 3);
    assert_non_null(s.done);
    assert_true(xmpp_sm_complete(&s, t[3]));
    assert_int_equal(xmpp_sm_h(&s), 4);
    assert_null(s.done);
    xmpp_sm_fini(&s);
}

static void tickets_in_order_never_touch_the_heap(void **state) {
    (void)state;
    xmpp_sm s = fresh();
    xmpp_sm_enable(&s);
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t a = xmpp_sm_receive(&s), b = xmpp_sm_receive(&s);
        assert_true(xmpp_sm_complete(&s, a));
        assert_true(xmpp_sm_complete(&s, b));
        assert_null(s.done);
        assert_int_equal(xmpp_sm_h(&s), 2 * (i + 1));
    }
    xmpp_sm_fini(&s);
}

static void the_window_is_full_at_256_in_progress_and_the_last_may_complete_first(void **state) {
    (void)state;
    xmpp_sm s = fresh();
    xmpp_sm_enable(&s);
    for (uint32_t i = 0; i < XMPP_SM_WINDOW; i++) {
        assert_false(xmpp_sm_full(&s));
        assert_int_equal(xmpp_sm_receive(&s), i);
    }
    assert_true(xmpp_sm_full(&s));
    for (uint32_t i = XMPP_SM_WINDOW - 1; i > 0; i--) assert_false(xmpp_sm_complete(&s, i));
    assert_true(xmpp_sm_complete(&s, 0));
    assert_int_equal(xmpp_sm_h(&s), XMPP_SM_WINDOW);
    assert_true(xmpp_sm_idle(&s));
    xmpp_sm_fini(&s);
}

static void our_mistakes_are_reported_and_change_nothing(void **state) {
    (void)state;
    xmpp_sm s = fresh();
    xmpp_sm_enable(&s);
    for (uint32_t i = 0; i < 3; i++) (void)xmpp_sm_receive(&s);
    assert_true(xmpp_sm_complete(&s, 0));
    assert_false(xmpp_sm_complete(&s, 2));
    reports = 0;
    err_set_reporter(count_report, NULL);
    assert_false(xmpp_sm_complete(&s, 0)); /* complete already, counted */
    assert_false(xmpp_sm_complete(&s, 2)); /* complete already, waiting */
    assert_false(xmpp_sm_complete(&s, 3)); /* never given out */
    assert_false(xmpp_sm_complete(&s, UINT32_MAX));
    err_set_reporter(NULL, NULL);
    assert_int_equal(reports, 4);
    assert_int_equal(xmpp_sm_h(&s), 1);
    assert_true(xmpp_sm_complete(&s, 1));
    assert_int_equal(xmpp_sm_h(&s), 3);
    xmpp_sm_fini(&s);
}

static void what_was_received_before_enabling_is_not_in_h(void **state) {
    (void)state;
    xmpp_sm s = fresh();
    uint32_t before1 = xmpp_sm_receive(&s), before2 = xmpp_sm_receive(&s);
    xmpp_sm_enable(&s);
    uint32_t after = xmpp_sm_receive(&s);
    assert_int_equal(xmpp_sm_h(&s), 0);
    assert_false(xmpp_sm_complete(&s, after)); /* done, but h is a prefix */
    assert_true(xmpp_sm_complete(&s, before1));
    assert_int_equal(xmpp_sm_h(&s), 0);
    assert_true(xmpp_sm_complete(&s, before2));
    assert_int_equal(xmpp_sm_h(&s), 1);
    xmpp_sm_fini(&s);
}

static void an_ack_releases_the_oldest_and_refuses_what_was_not_sent(void **state) {
    (void)state;
    xmpp_sm s = fresh();
    uint32_t n = 77;
    assert_int_equal(xmpp_sm_ack(&s, 0, &n), ERR_PROTO); /* not enabled */
    xmpp_sm_enable(&s);
    for (int i = 0; i < 5; i++) xmpp_sm_send(&s);
    assert_int_equal(xmpp_sm_ack(&s, 6, &n), ERR_PROTO);
    assert_int_equal(xmpp_sm_ack(&s, UINT32_MAX, &n), ERR_PROTO);
    assert_int_equal(n, 77); /* untouched on failure */
    assert_int_equal(xmpp_sm_unacked(&s), 5);
    assert_int_equal(xmpp_sm_ack(&s, 3, &n), ERR_OK);
    assert_int_equal(n, 3);
    assert_int_equal(xmpp_sm_ack(&s, 3, &n), ERR_OK);
    assert_int_equal(n, 0);
    assert_int_equal(xmpp_sm_ack(&s, 2, &n), ERR_PROTO); /* behind acked */
    assert_int_equal(xmpp_sm_ack(&s, 5, &n), ERR_OK);
    assert_int_equal(n, 2);
    assert_int_equal(xmpp_sm_unacked(&s), 0);
    xmpp_sm_fini(&s);
}

static void outbound_counters_wrap_at_two_to_the_32(void **state) {
    (void)state;
    xmpp_sm s = fresh();
    xmpp_sm_enable(&s);
    s.sent = s.acked = UINT32_MAX - 1;
    uint32_t n = 0;
    for (int i = 0; i < 4; i++) xmpp_sm_send(&s); /* ..fe, ..ff, 0, 1 -> sent is 2 */
    assert_int_equal(s.sent, 2);
    assert_int_equal(xmpp_sm_ack(&s, 3, &n), ERR_PROTO);
    assert_int_equal(xmpp_sm_ack(&s, UINT32_MAX - 2, &n), ERR_PROTO);
    assert_int_equal(xmpp_sm_ack(&s, UINT32_MAX, &n), ERR_OK);
    assert_int_equal(n, 1);
    assert_int_equal(xmpp_sm_ack(&s, 0, &n), ERR_OK);
    assert_int_equal(n, 1);
    assert_int_equal(xmpp_sm_ack(&s, 2, &n), ERR_OK);
    assert_int_equal(n, 2);
    xmpp_sm_fini(&s);
}

static void inbound_tickets_wrap_at_two_to_the_32_and_h_with_them(void **state) {
    (void)state;
    for (uint32_t offset = 0; offset < 3; offset++) {
        xmpp_sm s = fresh();
        s.received = s.handled = UINT32_MAX - 2 + offset; /* as after that many stanzas; offset: h before the wrap, at it, after it */
        s.offset = offset;
        s.enabled = s.counting = true;
        uint32_t t[8], first = s.handled;
        for (int i = 0; i < 8; i++) t[i] = xmpp_sm_receive(&s);
        for (int i = 7; i > 0; i--) assert_false(xmpp_sm_complete(&s, t[i]));
        assert_int_equal(xmpp_sm_h(&s), first - offset);
        assert_true(xmpp_sm_complete(&s, t[0]));
        assert_int_equal(xmpp_sm_h(&s), (uint32_t)(first - offset + 8));
        xmpp_sm_fini(&s);
    }
}

/* After 2^32 - 1 stanzas handled - offset looks like a ticket from before enabling; it is h all the same. */
static void h_just_below_the_wrap_is_not_mistaken_for_not_yet_counting(void **state) {
    (void)state;
    xmpp_sm s = fresh();
    xmpp_sm_enable(&s);
    s.received = s.handled = UINT32_MAX;
    assert_int_equal(xmpp_sm_h(&s), UINT32_MAX);
    xmpp_sm_fini(&s);
}

/* --- against a model that keeps every ticket in a list and counts in 64 bits */
#define MODEL_MAX 4096
typedef struct model {
    uint64_t base; /* true number of the first ticket */
    bool complete[MODEL_MAX];
    uint64_t received, enabled_at, sent, acked;
    bool enabled;
} model;

static uint64_t model_prefix(const model *m) {
    uint64_t n = 0;
    while (n < m->received && m->complete[n]) n++;
    return n;
}

static uint32_t model_h(const model *m) {
    uint64_t n = model_prefix(m);
    return n > m->enabled_at && m->enabled ? (uint32_t)(n - m->enabled_at) : 0;
}

static void model_ack(xmpp_sm *s, model *m, prng *r) {
    uint64_t forward = prng_chance(r, 1, 4) ? prng_below(r, 600) : prng_below(r, m->sent - m->acked + 1);
    uint32_t h = (uint32_t)(m->acked + forward), n = 12345;
    if (prng_chance(r, 1, 10)) {
        h = (uint32_t)(m->acked - 1 - prng_below(r, 100)); /* behind */
        forward = UINT64_MAX;
    }
    err e = xmpp_sm_ack(s, h, &n);
    if (m->enabled && forward <= m->sent - m->acked) {
        assert_int_equal(e, ERR_OK);
        assert_int_equal(n, forward);
        m->acked += forward;
    } else {
        assert_int_equal(e, ERR_PROTO);
        assert_int_equal(n, 12345);
    }
}

static void model_complete(xmpp_sm *s, model *m, prng *r) {
    uint64_t first = model_prefix(m), open = m->received - first;
    if (open == 0) return;
    uint64_t pick = first + (prng_chance(r, 1, 2) ? 0 : prng_below(r, open));
    if (m->complete[pick]) return;
    m->complete[pick] = true;
    bool advanced = xmpp_sm_complete(s, (uint32_t)(m->base + pick));
    assert_int_equal(advanced, pick == first);
}

static void one_run(uint64_t seed) {
    prng r;
    prng_init(&r, seed);
    model m = {.base = (1ull << 32) - prng_below(&r, 2000)};
    m.sent = m.acked = 0;
    xmpp_sm s = fresh();
    s.received = s.handled = (uint32_t)m.base;
    for (int op = 0; op < 4000; op++) {
        switch (prng_below(&r, 5)) {
        case 0:
        case 1:
            if (xmpp_sm_full(&s) || m.received == MODEL_MAX) break;
            assert_int_equal(xmpp_sm_receive(&s), (uint32_t)(m.base + m.received));
            m.received++;
            break;
        case 2: model_complete(&s, &m, &r); break;
        case 3:
            if (!m.enabled && prng_chance(&r, 1, 40)) {
                xmpp_sm_enable(&s);
                m.enabled = true;
                m.enabled_at = m.received;
                m.sent = m.acked = prng_chance(&r, 1, 2) ? 0 : (1ull << 32) - prng_below(&r, 200);
                s.sent = s.acked = (uint32_t)m.sent; /* as after a long session */
            } else if (m.enabled && m.sent - m.acked < 500) {
                xmpp_sm_send(&s);
                m.sent++;
            }
            break;
        default: model_ack(&s, &m, &r); break;
        }
        if (m.enabled) assert_int_equal(xmpp_sm_h(&s), model_h(&m));
        assert_int_equal(xmpp_sm_full(&s), m.received - model_prefix(&m) >= XMPP_SM_WINDOW);
        assert_int_equal(xmpp_sm_idle(&s), m.received == model_prefix(&m));
        assert_int_equal(xmpp_sm_unacked(&s), m.sent - m.acked);
        if (xmpp_sm_idle(&s)) assert_null(s.done);
    }
    xmpp_sm_fini(&s);
}

static void it_agrees_with_the_model_for_every_seed(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) one_run(seed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_machine_counts_nothing_and_owns_no_memory),
        cmocka_unit_test(h_covers_exactly_the_longest_prefix_of_complete_tickets),
        cmocka_unit_test(tickets_in_order_never_touch_the_heap),
        cmocka_unit_test(the_window_is_full_at_256_in_progress_and_the_last_may_complete_first),
        cmocka_unit_test(our_mistakes_are_reported_and_change_nothing),
        cmocka_unit_test(what_was_received_before_enabling_is_not_in_h),
        cmocka_unit_test(an_ack_releases_the_oldest_and_refuses_what_was_not_sent),
        cmocka_unit_test(outbound_counters_wrap_at_two_to_the_32),
        cmocka_unit_test(inbound_tickets_wrap_at_two_to_the_32_and_h_with_them),
        cmocka_unit_test(h_just_below_the_wrap_is_not_mistaken_for_not_yet_counting),
        cmocka_unit_test(it_agrees_with_the_model_for_every_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
