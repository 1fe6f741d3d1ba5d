/* What actors of this node learn of others, and what they say to names there (mesh/plug.c, mesh/service.c): a service of the test's own
 * writes down what it hears. */
#include "peer_world.h"

static struct {
    rt_pid pid, link; /* link: of the newest up */
    buf heard;        /* a line a message */
} svc;

static err svc_init(rt_ctx *cx, void *st, const void *arg) {
    (void)st, (void)arg;
    svc.pid = rt_self(cx);
    return rt_name_register(cx, "net_kernel");
}
static err svc_handle(rt_ctx *cx, void *st, rt_msg **m) {
    (void)cx, (void)st;
    const mesh_node_msg *n = mesh_node_msg_of(*m);
    if ((*m)->tag == MESH_TERM) buf_add_str(&svc.heard, "term\n");
    if ((*m)->tag != MESH_NODE) return ERR_OK;
    if (n->up) svc.link = n->link;
    assert_true(rt_pid_ok(n->link) && rt_pid_eq(n->link, svc.link)); /* no other connection is under way here */
    buf_addf(&svc.heard, "%s %u " SLICE_FMT " of %u%s%s\n", n->up ? "up" : "down", n->index, SLICE_ARG(rt_blob_slice(n->name)), n->creation,
             n->hidden ? ", hidden" : "", n->flags & DIST_FLAG(SPAWN) ? "" : ", without spawn");
    return ERR_OK;
}
static const rt_class svc_class = {.name = "svc", .init = svc_init, .handle = svc_handle, .foreign = true};

static void begin_svc(void) {
    begin_with(0, false);
    buf_init(&svc.heard, SIZE_MAX);
    (void)world_spawn(net.w, 0, &svc_class, NULL);
}

static void end_svc(void) {
    end();
    buf_fini(&svc.heard);
}

static void svc_heard(const char *want) {
    slice got = buf_slice(&svc.heard);
    if (!slice_is(got, want)) fail_msg("'" SLICE_FMT "' is not '%s'", SLICE_ARG(got), want);
    buf_reset(&svc.heard);
}

static void hang_up(peer *p) {
    p->c->eof = true;
    (void)world_run(net.w);
    assert_true(p->c->closed);
    peer_fini(p);
}

/* Up before all that comes from the node, also what came with the end of its handshake; down after it. */
static void services_hear_of_nodes(void **state) {
    (void)state;
    peer p;
    begin_svc();
    buf b = term("hello");
    peer_init(&p, PEER, COOKIE);
    p.early = true;
    p.first = (dist_ctl){.signal = DIST_SIG_SEND, .from = to_pid(peer_pid(&p)), .to = to_name("net_kernel"), .payload = buf_slice(&b)};
    talk(&p);
    svc_heard("up 1 p@h of 5\nterm\n");
    put(&p, &p.first);
    buf_add(&p.c->in, buf_slice(&p.out));
    hang_up(&p);
    svc_heard("term\ndown 1 p@h of 5\n");
    connect_as(&p, PEER); /* the same life of it */
    hang_up(&p);
    svc_heard("up 1 p@h of 5\ndown 1 p@h of 5\n");
    peer_init(&p, PEER, COOKIE);
    buf_reset(&p.out);
    p.self.creation = 6;
    p.self.flags &= ~DIST_FLAG(PUBLISHED);
    assert_int_equal(dist_handshake_dial(&p.h, DIST_CARRIER_TCP, &p.self, SLICE(OWN), SLICE(COOKIE), 77, &p.out), ERR_OK);
    talk(&p);
    svc_heard("up 2 p@h of 6, hidden\n");
    hang_up(&p);
    svc_heard("down 2 p@h of 6, hidden\n");
    buf_fini(&b);
    end_svc();
}

/* A node that takes the place of its own older connection: the old one is down before the new one is up. */
static void a_take_over_is_told_in_order(void **state) {
    (void)state;
    peer p, q;
    begin_svc();
    connect_as(&p, PEER);
    connect_as(&q, PEER);
    svc_heard("up 1 p@h of 5\ndown 1 p@h of 5\nup 1 p@h of 5\n");
    hang_up(&q);
    peer_fini(&p);
    end_svc();
}

/* Whoever does not get through its handshake was never up. */
static void a_stranger_is_not_told(void **state) {
    (void)state;
    peer p;
    begin_svc();
    peer_init(&p, PEER, "XKQJZPWVBNMTRHGFDSLD");
    talk(&p);
    assert_true(p.c->closed);
    svc_heard("");
    peer_fini(&p);
    end_svc();
}

/* Whatever fills the mailbox of a service, it hears of each node. */
static void no_service_misses_a_node(void **state) {
    (void)state;
#define SERVICE(class, name, doc) assert_int_equal(mesh_##class##_class.sure, MESH_NODE);
#include "mesh/services.def"
#undef SERVICE
}

/* --- sends ------------------------------------------------------------------------------------------------------------------------- */
static rt_blob *what;
static void do_send_name(rt_ctx *cx, puppet *p, uint64_t index) {
    (void)p;
    mesh_send_name(cx, net.m, (uint32_t)index, SLICE("shell"), what);
}
static void do_send_pid(rt_ctx *cx, puppet *p, uint64_t index) {
    (void)p;
    mesh_send_pid(cx, (rt_pid){(uint32_t)index, 91, 0}, what);
}

static void sends_to_names_and_pids(void **state) {
    (void)state;
    peer p;
    begin();
    puppet *a = puppet_new(net.w, 0, &puppet_class);
    connect_as(&p, PEER);
    what = rt_blob_new(SLICE("\x83w\x05hello"));
    tell(net.w, a, do_send_name, 1);
    tell(net.w, a, do_send_pid, 1);
    tell(net.w, a, do_send_name, 2); /* nobody */
    tell(net.w, a, do_send_pid, 2);
    talk(&p);
    heard(&p, "send from pid to shell: hello\nsend from pid to pid: hello\n");
    hang_up(&p);
    tell(net.w, a, do_send_name, 1); /* it is not connected any more */
    tell(net.w, a, do_send_pid, 1);
    (void)world_run(net.w);
    assert_int_equal(what->refs, 1);
    rt_blob_unref(what);
    end();
    mem_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(services_hear_of_nodes),  cmocka_unit_test(a_take_over_is_told_in_order),
        cmocka_unit_test(a_stranger_is_not_told),  cmocka_unit_test(no_service_misses_a_node),
        cmocka_unit_test(sends_to_names_and_pids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
