/* The memory of origin-ids (svc/dedup.c): its limit is counted, its hashes cannot be told from outside, and a restart keeps it. */
#include "svc/svc_rig.h"

static void say_id(sess *s, int id) {
    (void)sayf(s, "<message type='chat' to='bob@x.test'><body>%d</body><origin-id xmlns='urn:xmpp:sid:0' id='o%d'/></message>", id, id);
}

static void too_many_within_ten_minutes_end_them_early_and_are_counted(void **state) {
    (void)state;
    rig *r = rig_new();
    (void)rig_add(r, "alice@x.test");
    (void)rig_add(r, "bob@x.test");
    r->cfg.dedup_max = 4 * 9; /* of four partitions: ten in a generation */
    rig_start(r);
    sess *a = login(r, "alice@x.test", "a", 0), *tool = sess_new(r);
    for (int i = 0; i < 10; i++) say_id(a, i);
    assert_int_equal(rig_status(r, tool, "bob@x.test", "origin_ids_early"), 0);
    assert_int_equal(rig_status(r, tool, "bob@x.test", "origin_ids"), 10);
    for (int i = 10; i < 20; i++) say_id(a, i);
    assert_int_equal(rig_status(r, tool, "bob@x.test", "origin_ids_early"), 1);
    say_id(a, 0); /* still remembered: there are two generations */
    assert_int_equal(r->puts, 20);
    say_id(a, 20);
    assert_int_equal(rig_status(r, tool, "bob@x.test", "origin_ids_early"), 2);
    say_id(a, 0);
    assert_int_equal(r->puts, 22);
    for (int i = 0; i < 3; i++) rig_later(r, 601 * USEC_PER_SEC);
    say_id(a, 1); /* a generation that ends in its time is not counted */
    assert_int_equal(rig_status(r, tool, "bob@x.test", "origin_ids_early"), 2);
    rig_free(r);
}

static void hashes(uint8_t secret, uint64_t out[2]) {
    rig *r = rig_new();
    (void)rig_add(r, "alice@x.test");
    (void)rig_add(r, "bob@x.test");
    memset(r->cfg.fake_salt_secret, secret, sizeof r->cfg.fake_salt_secret);
    rig_start(r);
    say_id(login(r, "alice@x.test", "a", 0), 1);
    assert_int_equal(r->n_rec, 1);
    out[0] = r->rec[0].h0;
    out[1] = r->rec[0].h1;
    rig_free(r);
}

/* An id may be as long as a stanza: what differs at its end only is another message. */
static void long_ids_are_told_apart_by_their_last_character(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0);
    char stem[3001];
    memset(stem, 'o', sizeof stem - 1);
    stem[sizeof stem - 1] = 0;
    for (int i = 0; i < 3; i++)
        (void)sayf(a, "<message type='chat' to='bob@x.test'><body>%d</body><origin-id xmlns='urn:xmpp:sid:0' id='%s%d'/></message>", i,
                   stem, i % 2);
    assert_int_equal(r->puts, 2);
    uint64_t x[2], y[2];
    char *id = mem_alloc(10000);
    memset(id, 'o', 10000);
    svc_dedup *d = svc_dedup_new(SLICE("secret"), 16);
    svc_dedup_hash(d, SLICE("a@x"), SLICE("b@x"), slice_of(id, 10000), x);
    id[9999] = 'p';
    svc_dedup_hash(d, SLICE("a@x"), SLICE("b@x"), slice_of(id, 10000), y);
    assert_true(x[0] != y[0] && x[1] != y[1]);
    svc_dedup_free(d);
    mem_free(id);
    rig_free(r);
}

static void the_hash_depends_on_the_secret_of_the_data_directory(void **state) {
    (void)state;
    uint64_t a[2], b[2], c[2];
    hashes(1, a);
    hashes(1, b);
    hashes(2, c);
    assert_memory_equal(a, b, sizeof a); /* a restart finds what the log remembers */
    assert_true(a[0] != c[0] && a[1] != c[1]);
}

static void a_partition_that_begins_again_remembers(void **state) {
    (void)state;
    rig *r = rig_three();
    puppet *p = puppet_new(r->w, 0, &puppet_class);
    sess *a = login(r, "alice@x.test", "a", 0);
    say_id(a, 1);
    puppet victim = {.pid = svc_partition(r->w->n, &r->cfg, SLICE("bob@x.test"))};
    r->lossy = true;
    tell(r->w, p, do_kill, ARG(&victim));
    rig_go(r);
    rig_later(r, 2 * USEC_PER_SEC);
    sess *a2 = login(r, "alice@x.test", "a2", 0);
    say_id(a2, 1);
    assert_int_equal(r->puts, 1);
    say_id(a2, 2);
    assert_int_equal(r->puts, 2);
    rig_free(r);
    mem_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_many_within_ten_minutes_end_them_early_and_are_counted),
        cmocka_unit_test(long_ids_are_told_apart_by_their_last_character),
        cmocka_unit_test(the_hash_depends_on_the_secret_of_the_data_directory),
        cmocka_unit_test(a_partition_that_begins_again_remembers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
