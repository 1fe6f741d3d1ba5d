/* edge_memory: what an idle session costs (runtime.md: less than 1 KiB; promises.md: pre-auth state at most 16 KiB). */
#include "edge/edge_rig.h"
#include "rt/core.h"
#include "support/heap.h"

#define SESSIONS    1000
#define IDLE_MAX    600u /* bytes of user space: the actor and its state, the JID, monitor, port, entry at the door */
#define PREAUTH_MAX 16384u

/* Logs in or only connects n clients, and forgets what the test itself keeps of them. */
static size_t cost_of(rig *r, client **c, bool bound) {
    rig_settle(r);
    size_t before = heap_used(), own = 0;
    for (size_t i = 0; i < SESSIONS; i++) {
        c[i] = bound ? client_login(r, "alice", "resource-0123") : client_open(r);
        buf_fini(&c[i]->in);
        own += heap_of(c[i]);
    }
    rig_settle(r);
    return (heap_used() - before - own) / SESSIONS;
}

static void an_idle_session_is_small(void **st) {
    (void)st;
    rig *r = rig_new();
    r->edge.per_ip_max = r->edge.accept_rate_ip = 0;
    rig_start(r);
    client *c[SESSIONS], *first = client_login(r, "alice", "first"); /* what is shared is there already */
    size_t cost = cost_of(r, c, true);
    print_message("an idle bound session without TLS: %zu bytes\n", cost);
    assert_true(cost <= IDLE_MAX);
    for (size_t i = 0; i < SESSIONS; i++) client_free(c[i]);
    client_free(first);
    rig_free(r);
}

static void a_connection_before_authentication_is_bounded(void **st) {
    (void)st;
    rig *r = rig_new();
    r->edge.per_ip_max = r->edge.accept_rate_ip = 0;
    rig_start(r);
    client *c[SESSIONS], *first = client_open(r);
    size_t cost = cost_of(r, c, false);
    print_message("a connection before authentication: %zu bytes\n", cost);
    size_t before = heap_used();
    char *part = mem_zalloc(XMPP_UNIT_MAX_PREAUTH);
    memset(part, 'a', XMPP_UNIT_MAX_PREAUTH - 1);
    memcpy(part, "<auth x='", 9);
    for (size_t i = 0; i < SESSIONS; i++) client_send(c[i], part); /* as much as it may leave unfinished */
    mem_free(part);
    rig_settle(r);
    cost += (heap_used() - before) / SESSIONS;
    print_message("and with a partial unit: %zu bytes\n", cost);
    assert_true(cost <= PREAUTH_MAX);
    for (size_t i = 0; i < SESSIONS; i++) client_free(c[i]);
    client_free(first);
    rig_free(r);
}

static const edge_c2s *state_of(rig *r, rt_pid pid) {
    rt_actor *a = rt_actor_find(&r->node->shards[rt_pid_shard(pid)], pid);
    if (!a) panic("the session is gone");
    return rt_actor_state(a);
}

static void an_idle_session_keeps_no_negotiation_and_no_buffer(void **st) {
    (void)st;
    rig *r = rig_new();
    rig_start(r);
    client *c = client_login(r, "alice", "desk");
    client_sm(c);
    for (uint32_t i = 1; i <= 40; i++) rig_deliver(r, r->session, "text", i);
    client_send(c, "<message to='bob@x.test'><body>x</body></message><mess"); /* busy: a partial unit, stanzas that are not acked */
    rig_until(r, r->n_st == 1);
    const edge_c2s *s = state_of(r, r->session);
    assert_non_null(edge_c2s_in(s));
    assert_int_equal(s->ack->count, 40);
    client_send(c, "age to='bob@x.test'/><a " NSSM " h='40'/><r " NSSM "/>");
    client_expect(c, "<a ");
    rig_until(r, r->acked == 40);
    assert_null(s->nego);
    assert_null(edge_c2s_in(s));
    assert_null(s->out);
    assert_null(s->more);
    assert_null(s->ack->ring);
    assert_null(s->sm.done);
    client_free(c);
    rig_free(r);
}

int main(void) {
    const struct CMUnitTest t[] = {
        cmocka_unit_test(an_idle_session_keeps_no_negotiation_and_no_buffer),
        cmocka_unit_test(an_idle_session_is_small),
        cmocka_unit_test(a_connection_before_authentication_is_bounded),
    };
    return cmocka_run_group_tests(t, NULL, NULL);
}
