/* The checker catches each way in which the contract can be broken (promises.md R1, R7, R8), and lets good histories pass. */
#include "sim/checker.h"

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

/* Accounts 0 and 1 have clients 0 and 1; account 1 also has client 2; account 2 has client 3. */
static void begin(sim_history *h) {
    sim_history_init(h);
    assert_int_equal(sim_history_client(h, 0), 0);
    assert_int_equal(sim_history_client(h, 1), 1);
    assert_int_equal(sim_history_client(h, 1), 2);
    assert_int_equal(sim_history_client(h, 2), 3);
}
static uint64_t body(uint32_t seq) { return 1000 + seq; }
static uint64_t jid(uint32_t client) { return 77 + client; }
static void send_(sim_history *h, usec at, uint32_t seq) {
    sim_history_add(h, &(sim_record){.at = at, .kind = SIM_SEND, .client = 0, .account = 1, .seq = seq, .body = body(seq), .from = jid(0)});
}
static void answer(sim_history *h, usec at, uint32_t seq, sim_record_kind kind) {
    sim_history_add(h, &(sim_record){.at = at, .kind = kind, .client = 0, .seq = seq});
}
static sim_record got(usec at, uint32_t client, uint32_t seq) {
    return (sim_record){.at = at,
                        .kind = SIM_RECV,
                        .client = client,
                        .sender = 0,
                        .account = 1,
                        .seq = seq,
                        .body = body(seq),
                        .from = jid(0),
                        .stanza_id = 500 + seq};
}
static void recv_(sim_history *h, usec at, uint32_t client, uint32_t seq) {
    sim_record r = got(at, client, seq);
    sim_history_add(h, &r);
}
static void session(sim_history *h, usec at, uint32_t client) {
    sim_history_add(h, &(sim_record){.at = at, .kind = SIM_SESSION, .client = client});
}
static void expect(sim_history *h, bool faults, sim_violation want) {
    sim_verdict v;
    sim_check_cfg c = {.drained = true, .faults = faults, .dedup_window = 600 * USEC_PER_SEC};
    bool ok = sim_checker_run(h, &c, &v);
    if (v.what != want) print_message("%s\n", v.text);
    assert_int_equal(v.what, want);
    assert_int_equal(ok, want == SIM_FINE);
    sim_history_fini(h);
}

static void a_good_history_passes(void **state) {
    (void)state;
    sim_history h;
    begin(&h);
    session(&h, 1, 1);
    for (uint32_t i = 1; i <= 3; i++) send_(&h, i, i);
    for (uint32_t i = 1; i <= 3; i++) recv_(&h, 10 + i, 1, i), answer(&h, 10 + i, i, SIM_ACKED);
    recv_(&h, 20, 2, 2); /* another resource has a copy */
    sim_record c = got(21, 2, 3);
    c.kind = SIM_CARBON, c.stanza_id = 0;
    sim_history_add(&h, &c);
    expect(&h, false, SIM_FINE);
}
static void an_acked_message_that_never_arrives_is_lost(void **state) {
    (void)state;
    sim_history h;
    begin(&h);
    send_(&h, 1, 1), answer(&h, 2, 1, SIM_ACKED);
    expect(&h, true, SIM_LOST);
}
static void a_carbon_copy_is_a_delivery_and_one_of_the_own_account_is_not(void **state) {
    (void)state;
    for (int own = 0; own < 2; own++) {
        sim_history h;
        sim_history_init(&h);
        for (uint32_t i = 0; i < 3; i++) assert_int_equal(sim_history_client(&h, i == 2), i); /* 0 and 1 share an account */
        send_(&h, 1, 1), answer(&h, 2, 1, SIM_ACKED);
        sim_record c = got(3, own ? 1 : 2, 1);
        c.kind = own ? SIM_CARBON_SENT : SIM_CARBON;
        sim_history_add(&h, &c);
        expect(&h, true, own ? SIM_LOST : SIM_FINE);
    }
}
static void a_refused_message_may_be_absent_but_not_arrive(void **state) {
    (void)state;
    sim_history h;
    begin(&h);
    send_(&h, 1, 1), answer(&h, 2, 1, SIM_REFUSED);
    expect(&h, true, SIM_FINE);
    begin(&h);
    send_(&h, 1, 1), answer(&h, 2, 1, SIM_REFUSED), recv_(&h, 3, 1, 1);
    expect(&h, true, SIM_REFUSED_SENT);
    begin(&h);
    send_(&h, 1, 1), recv_(&h, 2, 1, 1), answer(&h, 3, 1, SIM_REFUSED);
    expect(&h, true, SIM_REFUSED_SENT);
}
static void silence_is_caught(void **state) {
    (void)state;
    sim_history h;
    begin(&h);
    send_(&h, 1, 1);
    expect(&h, true, SIM_UNANSWERED);
}
static void a_message_that_nobody_sent_is_caught(void **state) {
    (void)state;
    sim_history h;
    begin(&h);
    recv_(&h, 1, 1, 1), send_(&h, 2, 1), answer(&h, 2, 1, SIM_ACKED); /* received before it was sent */
    expect(&h, true, SIM_INVENTED);
    begin(&h);
    sim_record r = got(1, 1, 1);
    r.sender = SIM_NOBODY;
    sim_history_add(&h, &r);
    expect(&h, true, SIM_INVENTED);
}
static void altered_forged_and_misdirected_messages_are_caught(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        sim_history h;
        begin(&h);
        send_(&h, 1, 1), answer(&h, 2, 1, SIM_ACKED);
        sim_record r = got(3, 1, 1);
        if (i == 0) r.body++;
        if (i == 1) r.from++;
        if (i == 2) r.client = 3;
        if (i == 3) r.kind = SIM_CARBON_SENT; /* a copy for the sender's account, at the recipient's */
        sim_history_add(&h, &r);
        expect(&h, true, i == 0 ? SIM_ALTERED : i == 1 ? SIM_FORGED : SIM_MISDIRECTED);
    }
}
static void stanza_ids_are_present_unique_and_stable(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        sim_history h;
        begin(&h);
        session(&h, 0, 1), send_(&h, 1, 1), send_(&h, 1, 2), recv_(&h, 2, 1, 1);
        if (i == 1) session(&h, 3, 1);
        sim_record r = got(4, 1, i == 1 ? 1 : 2);
        r.stanza_id = i == 0 ? 0 : i == 1 ? 999 : 501;
        sim_history_add(&h, &r);
        expect(&h, true, i == 0 ? SIM_NO_ID : i == 1 ? SIM_ID_CHANGED : SIM_ID_SHARED);
    }
}
static void a_first_delivery_that_overtakes_is_caught(void **state) {
    (void)state;
    sim_history h;
    begin(&h); /* one client: always */
    for (uint32_t i = 1; i <= 2; i++)
        sim_history_add(&h, &(sim_record){.at = 1, .kind = SIM_SEND, .client = 0, .account = 2, .seq = i, .body = body(i), .from = jid(0)});
    for (uint32_t i = 2; i >= 1; i--) {
        sim_record r = got(2, 3, i);
        r.account = 2;
        sim_history_add(&h, &r);
    }
    expect(&h, true, SIM_REORDERED);
    for (int late = 0; late < 2; late++) { /* one of several: when its session had settled */
        usec at = late ? 1000 * USEC_PER_SEC : 1;
        begin(&h);
        session(&h, 0, 1), send_(&h, at, 1), send_(&h, at, 2);
        answer(&h, at, 1, SIM_ACKED), answer(&h, at, 2, SIM_ACKED);
        recv_(&h, at + 2, 1, 2), recv_(&h, at + 3, 1, 1);
        expect(&h, true, late ? SIM_REORDERED : SIM_FINE);
    }
}
/* A refusal that got lost: the message is sent again behind others, and only then accepted. */
static void a_message_refused_unheard_may_come_later_where_a_disk_was_full(void **state) {
    (void)state;
    for (int again = 0; again < 2; again++) {
        sim_history h;
        begin(&h);
        usec at = 1000 * USEC_PER_SEC;
        session(&h, 0, 1), send_(&h, at, 1), send_(&h, at, 2);
        if (again) send_(&h, at + 1, 1);
        answer(&h, at + 2, 1, SIM_ACKED), answer(&h, at + 2, 2, SIM_ACKED);
        recv_(&h, at + 3, 1, 2), recv_(&h, at + 4, 1, 1);
        sim_check_cfg c = {.drained = true, .faults = true, .refusals = true, .dedup_window = USEC_PER_SEC};
        sim_verdict v;
        assert_int_equal(sim_checker_run(&h, &c, &v), again != 0);
        assert_int_equal(v.what, again ? SIM_FINE : SIM_REORDERED);
        sim_history_fini(&h);
    }
}
static void a_duplicate_needs_a_fault_and_a_new_session(void **state) {
    (void)state;
    for (int faults = 0; faults < 2; faults++) {
        for (int again = 0; again < 2; again++) {
            sim_history h;
            begin(&h);
            session(&h, 0, 1), send_(&h, 1, 1), answer(&h, 2, 1, SIM_ACKED), recv_(&h, 2, 1, 1);
            if (again) session(&h, 3, 1);
            recv_(&h, 4, 1, 1);
            expect(&h, faults, faults && again ? SIM_FINE : SIM_DOUBLED);
        }
    }
}
static void a_message_sent_again_is_one_message(void **state) {
    (void)state;
    sim_history h;
    begin(&h);
    send_(&h, 1, 1), send_(&h, 5, 1), answer(&h, 6, 1, SIM_ACKED), recv_(&h, 7, 1, 1);
    expect(&h, true, SIM_FINE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_history_passes),
        cmocka_unit_test(an_acked_message_that_never_arrives_is_lost),
        cmocka_unit_test(a_carbon_copy_is_a_delivery_and_one_of_the_own_account_is_not),
        cmocka_unit_test(a_refused_message_may_be_absent_but_not_arrive),
        cmocka_unit_test(silence_is_caught),
        cmocka_unit_test(a_message_that_nobody_sent_is_caught),
        cmocka_unit_test(altered_forged_and_misdirected_messages_are_caught),
        cmocka_unit_test(stanza_ids_are_present_unique_and_stable),
        cmocka_unit_test(a_first_delivery_that_overtakes_is_caught),
        cmocka_unit_test(a_message_refused_unheard_may_come_later_where_a_disk_was_full),
        cmocka_unit_test(a_duplicate_needs_a_fault_and_a_new_session),
        cmocka_unit_test(a_message_sent_again_is_one_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
