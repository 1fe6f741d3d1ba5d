/* c2s: stanzas that get no answer, clients that send faster than is answered, and sessions that end before they are bound. */
#include "edge_rig.h"
#include "store/store.h"

#define MSG_OF(id) "<message to='bob@x.test' id='" id "'><body>hi</body></message>"

static void a_stanza_without_an_answer_ends_the_session(void **st) {
    (void)st;
    rig *r = rig_new();
    r->auto_done = false;
    rig_start(r);
    client *c = client_login(r, "alice", "desk");
    client_sm(c);
    client_send(c, MSG_OF("1") MSG_OF("2") "<r " NSSM "/>");
    rig_until(r, r->n_st == 2);
    rig_advance(r, EDGE_STUCK / 2);
    rig_done(r, r->session, r->st[0].ticket); /* what moves is not stuck */
    rig_settle(r);
    rig_advance(r, EDGE_STUCK - USEC_PER_SEC);
    assert_true(client_quiet(c, "<stream:error"));
    rig_advance(r, 2 * USEC_PER_SEC);
    client_expect(c, "<internal-server-error");
    client_expect(c, "must be sent again");
    assert_true(client_closed(c));
    rig_until(r, r->unbinds == 1);
    client_free(c);
    rig_free(r);
}

static void end_part(rt_ctx *cx, void *arg) { rt_exit(cx, *(const rt_pid *)arg, ERR_KILLED); }

/* No session here is of that partition; and its second life is watched like its first. */
static void after_the_end_of_another_partition_it_ends_sooner(void **st) {
    (void)st;
    rig *r = rig_new();
    r->auto_done = false;
    r->svc.partitions = 2;
    rig_start(r);
    const char *all[] = {"alice", "bob", "carol", "dave", "erin"}, *two[2] = {NULL};
    unsigned n = 0, own = store_partition(SLICE("alice@x.test"), 2);
    for (size_t i = 0; i < ARRAY_LEN(all) && n < 2; i++) {
        char jid[32];
        (void)snprintf(jid, sizeof jid, "%s@x.test", all[i]);
        if (store_partition(slice_str(jid), 2) == own) two[n++] = all[i];
    }
    assert_int_equal(n, 2);
    client *idle = client_login(r, two[1], "desk"), *c = client_login(r, two[0], "desk");
    for (int life = 0; life < 2; life++) {
        if (life) client_send(c, MSG_OF("1"));
        if (life) rig_until(r, r->n_st == 1);
        rt_pid other = svc_partition_at(r->node, 1 - own);
        rt_node_boot(r->node, 0, end_part, &other);
        rig_settle(r);
        rig_advance(r, USEC_PER_SEC); /* the next one is there, and watched */
        assert_true(!rt_pid_eq(svc_partition_at(r->node, 1 - own), other));
        assert_true(client_quiet(c, "<stream:error"));
    }
    rig_advance(r, EDGE_STUCK_SUSPECT + USEC_PER_SEC);
    client_expect(c, "<internal-server-error");
    assert_true(client_quiet(idle, "<stream:error"));
    client_send(idle, MSG_OF("2")); /* and what it sends later has all its time */
    rig_until(r, r->n_st == 2);
    rig_advance(r, EDGE_STUCK_SUSPECT + USEC_PER_SEC);
    assert_true(client_quiet(idle, "<stream:error"));
    client_free(idle);
    client_free(c);
    rig_free(r);
}

static void a_lost_session_with_a_stuck_stanza_is_not_resumed(void **st) {
    (void)st;
    rig *r = rig_new();
    r->auto_done = false;
    rig_start(r);
    client *c = client_login(r, "alice", "desk");
    client_sm(c);
    client_send(c, MSG_OF("1"));
    rig_until(r, r->n_st == 1);
    client_abort(c);
    rig_settle(r);
    assert_int_equal(r->unbinds, 0);
    rig_advance(r, EDGE_STUCK + USEC_PER_SEC);
    rig_until(r, r->unbinds == 1);
    client_free(c);
    rig_free(r);
}

static void large_stanzas_in_progress_stop_reading(void **st) {
    (void)st;
    enum { BYTES = 250000 };
    rig *r = rig_new();
    r->auto_done = false;
    rig_start(r);
    client *c = client_login(r, "alice", "desk");
    char *big = mem_zalloc(BYTES + 1);
    memset(big, 'a', BYTES);
    memcpy(big, "<message to='bob@x.test'><body>", 31);
    memcpy(big + BYTES - 17, "</body></message>", 17);
    size_t at_once = EDGE_BUSY_KIB * 1024u / BYTES + 1;
    size_t sent = 0;
    for (; sent < at_once; sent++) {
        client_send(c, big);
        rig_until(r, r->n_st == sent + 1);
    }
    client_send(c, MSG_OF("behind"));
    rig_settle(r);
    assert_int_equal(r->n_st, at_once);
    for (size_t i = 0; i + 1 < at_once; i++) rig_done(r, r->session, r->st[i].ticket);
    rig_settle(r);
    assert_int_equal(r->n_st, at_once); /* until none is in progress */
    rig_done(r, r->session, r->st[at_once - 1].ticket);
    rig_until(r, r->n_st == at_once + 1);
    mem_free(big);
    client_free(c);
    rig_free(r);
}

static void a_session_that_ends_while_it_binds_says_so(void **st) {
    (void)st;
    rig *r = rig_new();
    r->silent = true;
    rig_start(r);
    client *c = client_open(r);
    client_auth(c, "alice");
    client_bind(c, "desk");
    rig_until(r, r->binds == 1);
    client_abort(c);
    rig_until(r, r->unbinds == 1);
    client_free(c);
    rig_free(r);
}

/* promises.md, sentence 3: acks are cumulative, so they must not cover what never came. */
static void a_hole_in_the_numbers_ends_the_session(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_login(r, "alice", "desk");
    client_sm(c);
    rig_deliver(r, r->session, "one", 1);
    rig_deliver(r, r->session, "three", 3);
    client_expect(c, "one");
    client_expect(c, "<internal-server-error");
    assert_true(client_closed(c));
    assert_false(client_has(c, "three"));
    assert_int_equal(r->acked, 0);
    rig_until(r, r->unbinds == 1);
    client_free(c);
    rig_free(r);
}

int main(void) {
    const struct CMUnitTest t[] = {
        cmocka_unit_test(a_stanza_without_an_answer_ends_the_session),
        cmocka_unit_test(after_the_end_of_another_partition_it_ends_sooner),
        cmocka_unit_test(a_lost_session_with_a_stuck_stanza_is_not_resumed),
        cmocka_unit_test(large_stanzas_in_progress_stop_reading),
        cmocka_unit_test(a_session_that_ends_while_it_binds_says_so),
        cmocka_unit_test(a_hole_in_the_numbers_ends_the_session),
    };
    return cmocka_run_group_tests(t, NULL, NULL);
}
