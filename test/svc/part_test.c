/* Partitions, sessions and operators: bind, limits, resumption, restarts of partitions and stores, accounts made and removed. */
#include "svc/svc_rig.h"

#include <stdlib.h>

static void kill_actor(rig *r, puppet *p, rt_pid who) {
    puppet victim = {.pid = who};
    r->lossy = true;
    tell(r->w, p, do_kill, ARG(&victim));
    rig_go(r);
}

static void a_second_session_of_a_resource_replaces_the_first(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *b = login(r, "bob@x.test", "b", 0);
    chat(a, "bob@x.test/b", "1");
    sess *b2 = sess_bind(r, "bob@x.test", "b");
    assert_true(b2->bound);
    assert_int_equal(b->kick, STREAM_CONFLICT);
    uint32_t t = say(b, "<message type='chat' to='alice@x.test'><body>late</body></message>"); /* of a stream that is closing */
    assert_false(done(b, t));
    (void)say(b2, "<presence/>");
    assert_bodies(b2, "1");
    unbind(b); /* an old one's farewell does not end the new one */
    chat(a, "bob@x.test/b", "2");
    assert_bodies(b2, "1 2");
    rig_free(r);
}

static void resources_are_made_capped_and_refused(void **state) {
    (void)state;
    rig *r = rig_three();
    r->cfg.resources_max = 2;
    sess *a = sess_bind(r, "alice@x.test", NULL), *b = sess_bind(r, "alice@x.test", NULL);
    assert_true(a->bound && b->bound);
    assert_string_not_equal(a->jid, b->jid);
    assert_int_equal(strlen(a->jid), strlen("alice@x.test/") + 12);
    assert_int_equal(sess_bind(r, "alice@x.test", "c")->bind_error, STANZA_RESOURCE_CONSTRAINT);
    const char *resource = strchr(a->jid, '/') + 1;
    assert_true(sess_bind(r, "alice@x.test", resource)->bound); /* a replacement needs no room */
    unbind(b);
    assert_true(sess_bind(r, "alice@x.test", "c")->bound);
    assert_int_equal(sess_bind(r, "eve@x.test", "c")->bind_error, STANZA_NOT_ALLOWED);
    r->load_status = ERR_IO;
    assert_int_equal(sess_bind(r, "bob@x.test", "c")->bind_error, STANZA_INTERNAL_SERVER_ERROR);
    r->load_status = ERR_OK;
    assert_true(sess_bind(r, "bob@x.test", "c")->bound);
    rig_free(r);
}

static void sm(sess *s, const char *id) {
    rt_msg *m = rt_msg_new_ext(SVC_SM, sizeof(svc_sm));
    svc_sm_of(m)->jid = rt_blob_new(slice_str(s->jid));
    if (id) svc_sm_of(m)->smid = rt_blob_new(slice_str(id));
    sess_send(s, sess_bare(s), m);
    rig_go(s->r);
}
static rt_pid resume(sess *asks, const char *user, const char *id) {
    rt_msg *m = rt_msg_new_ext(SVC_RESUME, sizeof(svc_resume));
    svc_resume_of(m)->user = rt_blob_new(slice_str(user));
    svc_resume_of(m)->smid = rt_blob_new(slice_str(id));
    asks->resumable = RT_PID_NONE;
    sess_send(asks, slice_str(user), m);
    rig_go(asks->r);
    return asks->resumable;
}
static void a_resumption_id_is_looked_up_within_its_account_only(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *b = login(r, "bob@x.test", "b", 0), *x = sess_new(r);
    sm(a, "id-of-alice");
    sm(b, NULL);
    assert_true(rt_pid_eq(resume(x, "alice@x.test", "id-of-alice"), a->pid));
    assert_false(rt_pid_ok(resume(x, "bob@x.test", "id-of-alice")));
    assert_false(rt_pid_ok(resume(x, "alice@x.test", "id-of-alic")));
    assert_false(rt_pid_ok(resume(x, "bob@x.test", "")));
    assert_false(rt_pid_ok(resume(x, "eve@x.test", "id-of-alice")));
    sm(a, NULL);
    assert_false(rt_pid_ok(resume(x, "alice@x.test", "id-of-alice")));
    rig_free(r);
}

static void only_the_session_itself_speaks_for_it(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *b = login_quiet(r, "bob@x.test", "b", 0), *x = sess_new(r);
    chat(a, "bob@x.test", "1");
    (void)snprintf(x->jid, sizeof x->jid, "bob@x.test/b");
    ack(x, 1);
    assert_int_equal(live_records(r), 1);
    unbind(x);
    uint32_t t = say(x, "<message type='chat' to='alice@x.test'><body>forged</body></message>");
    assert_false(done(x, t));
    chat(a, "bob@x.test", "2");
    assert_bodies(b, "1 2");
    rig_free(r);
}

static void a_partition_that_dies_begins_again_with_its_queue_and_new_ids(void **state) {
    (void)state;
    rig *r = rig_three();
    puppet *p = puppet_new(r->w, 0, &puppet_class);
    sess *a = login(r, "alice@x.test", "a", 0);
    chat(a, "bob@x.test", "1");
    (void)say(a, "<message type='chat' to='bob@x.test'><body>2</body><origin-id xmlns='urn:xmpp:sid:0' id='o'/></message>");
    for (int life = 0; life < 3; life++) {
        rt_pid old = svc_partition(r->w->n, &r->cfg, SLICE("bob@x.test"));
        kill_actor(r, p, old);
        rt_pid now = svc_partition(r->w->n, &r->cfg, SLICE("bob@x.test"));
        assert_true(rt_pid_ok(now) && !rt_pid_eq(old, now));
    }
    assert_true(svc_ready(r->w->n, &r->cfg));
    sess *a2 = store_partition(SLICE("alice@x.test"), 4) == store_partition(SLICE("bob@x.test"), 4) ? login(r, "alice@x.test", "a2", 0) : a;
    unsigned puts = r->puts;
    (void)say(a2, "<message type='chat' to='bob@x.test'><body>2</body><origin-id xmlns='urn:xmpp:sid:0' id='o'/></message>");
    assert_int_equal(r->puts, puts); /* known across the restart */
    chat(a2, "bob@x.test", "3");     /* the log of the rig refuses an id that was used before */
    sess *b = login(r, "bob@x.test", "b", 0);
    assert_bodies(b, "1 2 3");
    ack(b, 3);
    assert_int_equal(live_records(r), 0);
    rig_free(r);
    mem_free(p);
}

static void no_stanza_overtakes_what_a_partition_that_died_may_have_lost(void **state) {
    (void)state;
    rig *r = rig_three();
    puppet *p = puppet_new(r->w, 0, &puppet_class);
    sess *a = login(r, "alice@x.test", "a", 0), *c = login(r, "carol@x.test", "c", 0);
    unsigned of_a = store_partition(SLICE("alice@x.test"), 4), of_b = store_partition(SLICE("bob@x.test"), 4),
             of_c = store_partition(SLICE("carol@x.test"), 4);
    assert_true(of_a != of_b && of_c != of_b);
    r->hold_puts = true;
    chat(a, "bob@x.test", "1"); /* its answer does not come */
    kill_actor(r, p, svc_partition_at(r->w->n, of_b));
    r->hold_puts = false;
    rig_release(r, 9, ERR_OK);
    unsigned puts = r->puts;
    chat(a, "carol@x.test", "other"); /* her partition lives on: nothing was lost there */
    assert_int_equal(r->puts, puts + 1);
    assert_int_equal(a->kicks, 0);
    chat(c, "bob@x.test", "2"); /* she waits for no answer */
    assert_int_equal(r->puts, puts + 2);
    assert_int_equal(c->kicks, 0);
    chat(a, "bob@x.test", "3");
    chat(a, "bob@x.test", "4");
    chat(a, "carol@x.test", "5");
    assert_int_equal(r->puts, puts + 2); /* none of them went anywhere */
    assert_int_equal(a->kicks, 1);
    assert_int_equal(a->kick, STREAM_INTERNAL_SERVER_ERROR);
    sess *again = login(r, "alice@x.test", "a", 0);
    chat(again, "bob@x.test", "3");
    assert_int_equal(r->puts, puts + 3);
    rig_free(r);
    mem_free(p);
}

static void a_partition_that_dies_with_everything_under_way_leaks_nothing(void **state) {
    (void)state;
    rig *r = rig_three();
    puppet *p = puppet_new(r->w, 0, &puppet_class);
    sess *a = login(r, "alice@x.test", "a", 0), *b = login(r, "bob@x.test", "b", 0), *tool = sess_new(r);
    (void)say(b, "<presence to='carol@x.test'/>");
    r->hold_puts = r->hold_keyed = true;
    chat(a, "bob@x.test", "1");
    (void)say(a, "<message type='headline' to='bob@x.test'><body>2</body></message>");
    (void)say(b, "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='carol@x.test'/></query></iq>");
    (void)say(b, "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='carol@x.test' subscription='remove'/></query></iq>");
    (void)say(b, "<iq type='get' id='s'><query xmlns='jabber:iq:roster'/></iq>");
    (void)say(b, "<presence type='subscribe' to='alice@x.test'/>");
    (void)say(b, "<iq type='set' id='k'><block xmlns='urn:xmpp:blocking'><item jid='eve@x.test'/></block></iq>");
    chat(a, "eve@x.test", "3");
    admin(tool, SVC_ADMIN_USER_DEL, "bob@x.test", SLICE_NULL);
    admin(tool, SVC_ADMIN_USER_ADD, "dora@x.test", SLICE("secret"));
    for (unsigned i = 0; i < 4; i++) kill_actor(r, p, svc_partition_at(r->w->n, i));
    r->hold_puts = r->hold_keyed = false;
    rig_release(r, 9, ERR_OK); /* answers to a life that is over */
    rig_keyed_release(r, 99);
    assert_true(svc_ready(r->w->n, &r->cfg));
    rig_free(r);
    mem_free(p);
}

static void partitions_begin_again_when_a_store_does(void **state) {
    (void)state;
    for (int which = 0; which < 2; which++) {
        rig *r = rig_three();
        puppet *p = puppet_new(r->w, 0, &puppet_class);
        sess *a = login(r, "alice@x.test", "a", 0);
        chat(a, "bob@x.test", "1");
        r->hold_puts = r->hold_keyed = true;
        chat(a, "bob@x.test", "2");
        chat(a, "carol@x.test", "3");
        for (; !which && r->n_held > 0; r->n_held--)
            rt_msg_drop(r->w->n, &r->held[r->n_held - 1]); /* the log dies with what it was asked */
        kill_actor(r, p, which ? r->keyed : r->log);       /* what they were asked is never answered */
        r->hold_puts = r->hold_keyed = false;
        (void)world_spawn(r->w, 0, which ? &keyed_class : &log_class, NULL);
        rig_later(r, 2 * USEC_PER_SEC);
        assert_true(svc_ready(r->w->n, &r->cfg));
        a = login(r, "alice@x.test", "a", 0);
        chat(a, "carol@x.test", "4");
        sess *b = login(r, "bob@x.test", "b", 0), *c = login(r, "carol@x.test", "c", 0);
        assert_bodies(b, which ? "1 2" : "1"); /* not acked: it may arrive, or not */
        assert_bodies(c, "4");
        rig_free(r);
        mem_free(p);
    }
}

static void keys_of_accounts_that_exist_and_do_not_come_on_one_path(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *x = sess_new(r);
    static const char *const users[] = {"alice@x.test", "eve@x.test"};
    for (int i = 0; i < 2; i++)
        for (int again = 0; again < 2; again++) {
            rt_msg *m = rt_msg_new_ext(SVC_AUTH, sizeof(svc_auth));
            svc_auth_of(m)->user = rt_blob_new(slice_str(users[i]));
            unsigned loads = r->loads, key_loads = r->key_loads;
            sess_send(x, slice_str(users[i]), m);
            rig_go(r);
            assert_int_equal(r->loads, loads + 1);         /* always asks the store */
            assert_int_equal(r->key_loads, key_loads + 1); /* for keys alone */
            assert_int_equal(x->exists, i == 0);
            xmpp_scram_keys k;
            assert_int_equal(svc_keys_unpack(rt_blob_slice(x->key_bytes), DIGEST_SHA256, &k), ERR_OK);
        }
    unsigned loads = r->loads, key_loads = r->key_loads;
    (void)login(r, "alice@x.test", "a", 0);
    assert_int_equal(r->loads, loads + 1); /* the account was not in memory: the bind loads it */
    assert_int_equal(r->key_loads, key_loads);
    rig_free(r);
}

static void operators_make_change_see_and_remove_accounts(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *t = sess_new(r), *a = login(r, "alice@x.test", "a", 0);
    chat(a, "dora@x.test", "too early"); /* remembered as absent */
    admin(t, SVC_ADMIN_USER_ADD, "dora@x.test", SLICE("secret"));
    assert_int_equal(t->admin, ERR_OK);
    const rig_user *u = rig_user_of(r, "dora@x.test");
    assert_int_equal(u->sha256.key_len, 32);
    assert_int_equal(u->sha1.key_len, 20);
    admin(t, SVC_ADMIN_USER_ADD, "dora@x.test", SLICE("secret"));
    assert_int_equal(t->admin, ERR_EXISTS);
    admin(t, SVC_ADMIN_USER_ADD, "emil@x.test", SLICE(""));
    assert_int_equal(t->admin, ERR_INVALID);
    store_keys before = u->sha256;
    admin(t, SVC_ADMIN_USER_PASSWD, "dora@x.test", SLICE("other"));
    assert_int_equal(t->admin, ERR_OK);
    assert_memory_not_equal(&before, &u->sha256, sizeof before);
    admin(t, SVC_ADMIN_USER_PASSWD, "eve@x.test", SLICE("other"));
    assert_int_equal(t->admin, ERR_NOT_FOUND);
    chat(a, "dora@x.test", "hello");
    admin(t, SVC_ADMIN_OFFLINE, "dora@x.test", SLICE_NULL);
    assert_non_null(strstr(t->json, "\"messages\":1"));
    admin(t, SVC_ADMIN_OFFLINE, "eve@x.test", SLICE_NULL);
    assert_int_equal(t->admin, ERR_NOT_FOUND);
    sess *d = login(r, "dora@x.test", "d", 0), *d2 = login(r, "dora@x.test", "d2", 0);
    (void)say(d, "<presence type='subscribe' to='bob@x.test'/>");
    admin(t, SVC_ADMIN_ROSTER, "dora@x.test", SLICE_NULL);
    assert_non_null(strstr(t->json, "\"bob@x.test\""));
    admin(t, SVC_ADMIN_SESSIONS, "dora@x.test", SLICE_NULL);
    assert_non_null(strstr(t->json, "dora@x.test/d2"));
    admin(t, SVC_ADMIN_STATUS, "dora@x.test", SLICE_NULL);
    assert_non_null(strstr(t->json, "\"sessions\":"));
    admin(t, SVC_ADMIN_KICK, "dora@x.test/d2", SLICE("go"));
    assert_int_equal(d2->kicks, 1);
    assert_int_equal(d->kicks, 0);
    admin(t, SVC_ADMIN_KICK, "dora@x.test/d2", SLICE_NULL);
    assert_int_equal(t->admin, ERR_NOT_FOUND);
    r->write_status = ERR_NOSPC;
    admin(t, SVC_ADMIN_USER_DEL, "dora@x.test", SLICE_NULL);
    assert_int_equal(t->admin, ERR_NOSPC);
    assert_int_equal(d->kicks, 0);
    r->write_status = ERR_OK;
    admin(t, SVC_ADMIN_USER_DEL, "dora@x.test", SLICE_NULL);
    assert_int_equal(d->kick, STREAM_NOT_AUTHORIZED);
    assert_int_equal(live_records(r), 0);
    forget(a);
    chat(a, "dora@x.test", "gone");
    assert_int_equal(count(a, "service-unavailable"), 1);
    rig_free(r);
}

static void accounts_leave_memory_when_idle_and_addresses_that_do_not_exist_too(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *a = login(r, "alice@x.test", "a", 0), *t = sess_new(r);
    for (int i = 0; i < 50; i++) (void)sayf(a, "<presence to='nobody%d@x.test'/>", i);
    (void)say(a, "<presence type='unavailable'/>");
    for (int i = 0; i < 3; i++) rig_later(r, 61 * USEC_PER_SEC);
    unsigned in_memory = 0;
    for (unsigned i = 0; i < 4; i++) {
        rt_msg *m = rt_msg_new_ext(SVC_ADMIN, sizeof(svc_admin));
        svc_admin_of(m)->op = SVC_ADMIN_STATUS;
        errand *e = mem_zalloc(sizeof *e);
        *e = (errand){t, svc_partition_at(r->w->n, i), m};
        rt_msg *d = rt_msg_new_ext(T_DO, sizeof(t_do));
        *t_do_of(d) = (t_do){(uint64_t)(uintptr_t)do_errand, (uint64_t)(uintptr_t)e};
        rt_post(r->w->n, t->pid, &d);
        rig_go(r);
        in_memory += (unsigned)strtoul(strstr(t->json, "\"accounts_in_memory\":") + 21, NULL, 10);
    }
    assert_int_equal(in_memory, 1); /* alice, who is bound */
    rig_free(r);
}

static void an_anonymous_account_lives_as_long_as_its_sessions(void **state) {
    (void)state;
    rig *r = rig_three();
    sess *n = login_quiet(r, "n1@anon.test", NULL, 0), *a = login_quiet(r, "alice@x.test", "a", 0);
    unsigned loads = r->loads;
    chat(a, "n1@anon.test", "1");
    chat(n, "alice@x.test", "2");
    assert_bodies(n, "1");
    assert_bodies(a, "2");
    assert_int_equal(r->loads, loads);
    (void)say(n, "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='carol@x.test'/></query></iq>");
    assert_int_equal(count(n, "not-allowed"), 1);
    unbind(n);
    chat(a, "n1@anon.test", "3");
    assert_int_equal(count(a, "service-unavailable"), 1);
    assert_int_equal(r->puts, 1); /* only what was for alice */
    rig_free(r);
}

static const rt_class full_log_class = {
    .name = "log", .state_size = 8, .init = log_init, .handle = log_handle, .mailbox_max = 1, .bound = RT_BOUND_REFUSE};
static const rt_class full_keyed_class = {
    .name = "keyed", .state_size = 8, .init = keyed_init, .handle = keyed_handle, .mailbox_max = 1, .bound = RT_BOUND_REFUSE};

static void what_a_store_has_no_room_for_is_answered_with_a_temporary_error(void **state) {
    (void)state;
    rig *r = rig_new_with(&log_class, &full_keyed_class);
    (void)rig_add(r, "alice@x.test");
    r->cfg.partitions = 1;
    rig_start(r);
    sess *a = login(r, "alice@x.test", "a", NO_PRESENCE);
    for (int i = 0; i < 4; i++) {
        char xml[256];
        (void)snprintf(xml, sizeof xml, "<message type='chat' to='u%d@x.test'><body>m</body></message>", i);
        (void)say_now(a, xml);
    }
    rig_go(r);
    assert_int_equal(count(a, "service-unavailable"), 1);
    assert_int_equal(count(a, "resource-constraint"), 3);
    forget(a);
    (void)say_now(a, "<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='b@x.test'/></query></iq>");
    (void)say_now(a, "<iq type='set' id='2'><query xmlns='jabber:iq:roster'><item jid='c@x.test'/></query></iq>");
    (void)say_now(a, "<iq type='get' id='3'><query xmlns='jabber:iq:roster'/></iq>");
    rig_go(r); /* each is done, once: rig_free looks */
    assert_int_equal(count(a, "id='1'"), 1);
    assert_int_equal(count(a, "id='2'"), 1);
    assert_int_equal(count(a, "id='3'"), 1);
    rig_free(r);
}

static void a_read_that_the_log_has_no_room_for_ends_the_session_only(void **state) {
    (void)state;
    rig *r = rig_new_with(&full_log_class, &keyed_class);
    (void)rig_add(r, "alice@x.test");
    (void)rig_add(r, "bob@x.test");
    r->cfg.partitions = 1;
    assert_int_equal(svc_boot(r->w->n, &r->cfg, &r->services), ERR_OK);
    rig_go(r);
    sess *a = login(r, "alice@x.test", "a", NO_PRESENCE);
    for (int i = 0; i < 2; i++) chat(a, i ? "alice@x.test" : "bob@x.test", "m");
    sess *b = sess_bind(r, "bob@x.test", "b");
    (void)say_now(a, "<presence/>"); /* two reads in one round */
    (void)say_now(b, "<presence/>");
    rig_go(r);
    assert_int_equal(a->kicks + b->kicks, 1);
    assert_bodies(a->kicks ? b : a, "m");
    rig_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_session_of_a_resource_replaces_the_first),
        cmocka_unit_test(resources_are_made_capped_and_refused),
        cmocka_unit_test(a_resumption_id_is_looked_up_within_its_account_only),
        cmocka_unit_test(only_the_session_itself_speaks_for_it),
        cmocka_unit_test(a_partition_that_dies_begins_again_with_its_queue_and_new_ids),
        cmocka_unit_test(no_stanza_overtakes_what_a_partition_that_died_may_have_lost),
        cmocka_unit_test(a_partition_that_dies_with_everything_under_way_leaks_nothing),
        cmocka_unit_test(partitions_begin_again_when_a_store_does),
        cmocka_unit_test(keys_of_accounts_that_exist_and_do_not_come_on_one_path),
        cmocka_unit_test(operators_make_change_see_and_remove_accounts),
        cmocka_unit_test(accounts_leave_memory_when_idle_and_addresses_that_do_not_exist_too),
        cmocka_unit_test(what_a_store_has_no_room_for_is_answered_with_a_temporary_error),
        cmocka_unit_test(a_read_that_the_log_has_no_room_for_ends_the_session_only),
        cmocka_unit_test(an_anonymous_account_lives_as_long_as_its_sessions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
