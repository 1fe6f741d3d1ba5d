/* The actor that keeps this node registered (mesh/epmd.c), and the port mapper in it (mesh/mapper.h): on the fake seam, whose sockets are
 * two queues of bytes and whose clock the test moves. The other side is the project's own client, table and bytes by hand. */
#include "mesh/mapper.h"
#include "proto/dist/epmd_server.h"
#include "rt/rt_world.h"

enum { LISTEN_MESH = 1, LISTEN_4, LISTEN_6, FIRST_FD };
#define PORT 4370u

typedef struct conn {
    buf in, out; /* to the node, and from it */
    size_t room; /* bytes that the node may still write */
    bool eof, closed;
} conn;
static struct {
    world *w;
    mesh *m;
    conn c[WORLD_FDS];
    int next, accepted, dialled; /* descriptors: the next one; the first that waits to be accepted; the one that the node made last, or 0 */
    err listen4, listen6;        /* what listening there comes to */
    bool deaf;                   /* the poller takes no more descriptors */
} net;

static int fresh(void) {
    int fd = net.next++;
    assert_in_range(fd, FIRST_FD, WORLD_FDS - 1);
    net.c[fd] = (conn){.room = SIZE_MAX};
    buf_init(&net.c[fd].in, 1 << 20);
    buf_init(&net.c[fd].out, 1 << 24);
    return fd;
}
static err n_listen(sys *s, const sys_addr *a, int backlog, bool reuse_port, int *out) {
    (void)s, (void)backlog;
    int fd = a->port != PORT ? LISTEN_MESH : a->family == SYS_INET4 ? LISTEN_4 : LISTEN_6;
    err e = fd == LISTEN_4 ? net.listen4 : fd == LISTEN_6 ? net.listen6 : ERR_OK;
    assert_true(sys_addr_is_loopback(a) || fd == LISTEN_MESH);
    assert_int_equal(reuse_port, fd == LISTEN_MESH); /* who serves is decided by who has the port */
    if (e) return e;
    net.c[fd].closed = false;
    *out = fd;
    return ERR_OK;
}
static err n_local_addr(sys *s, int fd, sys_addr *out) {
    (void)s, (void)fd;
    out->port = 4711;
    return ERR_OK;
}
static err n_connect(sys *s, const sys_addr *a, int *out) {
    (void)s;
    assert_int_equal(a->port, PORT);
    *out = net.dialled = fresh();
    return ERR_OK;
}
static err n_sock_error(sys *s, int fd) {
    (void)s, (void)fd;
    return ERR_OK;
}
static err n_accept(sys *s, int fd, int *out, sys_addr *out_peer) {
    (void)s;
    if (fd == LISTEN_MESH || !net.accepted) return ERR_AGAIN;
    *out = net.accepted;
    net.accepted = 0;
    *out_peer = (sys_addr){.family = SYS_INET4, .ip = {127, 0, 0, 1}};
    return ERR_OK;
}
static err n_read(sys *s, int fd, void *p, size_t len, size_t *out_n) {
    conn *c = &net.c[fd];
    (void)s;
    assert_false(c->closed);
    size_t n = c->in.len < len ? c->in.len : len;
    if (n == 0) return c->eof ? ERR_EOF : ERR_AGAIN;
    memcpy(p, c->in.p, n);
    buf_consume(&c->in, n);
    *out_n = n;
    return ERR_OK;
}
static err n_writev(sys *s, int fd, const sys_iov *iov, int k, size_t *out_n) {
    conn *c = &net.c[fd];
    (void)s;
    assert_false(c->closed);
    assert_int_equal(k, 1);
    size_t n = iov->len < c->room ? iov->len : c->room;
    if (n == 0) return ERR_AGAIN;
    buf_add(&c->out, slice_of(iov->p, n));
    c->room -= n;
    *out_n = n;
    return ERR_OK;
}
static void n_close(sys *s, int fd) {
    assert_false(net.c[fd].closed);
    net.c[fd].closed = true;
    w_close(s, fd);
}
static err n_poll_set(sys *s, int poll, int fd, uint32_t interest, uint64_t token) {
    return net.deaf && !world_of(s)->poll_of[fd] ? ERR_LIMIT : w_poll_set(s, poll, fd, interest, token);
}
static int n_poll_wait(sys *s, int poll, usec timeout, sys_ready *out, int max) {
    world *w = world_of(s);
    w->level[LISTEN_4] = net.accepted ? SYS_IN : 0;
    for (int fd = FIRST_FD; fd < net.next; fd++)
        w->level[fd] = (net.c[fd].in.len || net.c[fd].eof ? SYS_IN : 0) | (net.c[fd].room ? SYS_OUT : 0);
    return w_poll_wait(s, poll, timeout, out, max);
}

/* --- the node ---------------------------------------------------------------------------------------------------------------------- */
static void run(void) { (void)world_run(net.w); }
static void pass(usec t) {
    net.w->now += t + 2 * USEC_PER_MSEC;
    run();
}
static uint64_t events(rt_event_id id) { return rt_event_count(net.w->n, id); }

static void begin(bool serve, err listen4, err listen6) {
    static const mesh_cfg zero;
    mesh_cfg c = zero;
    memset(&net, 0, sizeof net);
    net.next = FIRST_FD;
    net.listen4 = listen4;
    net.listen6 = listen6;
    mesh_cfg_default(&c);
    c.name = SLICE("murre@h");
    c.cookie = SLICE("XKQJZPWVBNMTRHGFDSLC");
    c.epmd = (sys_addr){.family = SYS_INET4, .port = PORT, .ip = {127, 0, 0, 1}};
    c.epmd_serve = serve;
    c.epmd_conns_max = 3;
    net.w = world_new(1, 1);
    sys *s = &net.w->s;
    s->listen = n_listen, s->local_addr = n_local_addr, s->accept = n_accept, s->read = n_read, s->writev = n_writev;
    s->close = n_close, s->poll_wait = n_poll_wait, s->poll_set = n_poll_set, s->connect = n_connect, s->sock_error = n_sock_error;
    assert_int_equal(mesh_new(net.w->n, &c, &net.m), ERR_OK);
    assert_int_equal(mesh_boot(net.m), ERR_OK);
    sys_addr a = {.family = SYS_INET4, .port = 4711, .ip = {127, 0, 0, 1}}, bound;
    assert_int_equal(mesh_listen(net.m, &a, &bound), ERR_OK);
    assert_int_equal(mesh_register(net.m), ERR_OK);
    run();
}

static void end(void) {
    world_free(net.w);
    mesh_free(net.m);
    for (int fd = FIRST_FD; fd < net.next; fd++) {
        assert_true(net.c[fd].closed);
        buf_fini(&net.c[fd].in);
        buf_fini(&net.c[fd].out);
    }
}

/* --- who asks it ------------------------------------------------------------------------------------------------------------------- */
static conn *knock(void) {
    int fd = fresh();
    net.accepted = fd;
    run();
    return &net.c[fd];
}
static void say(conn *c, slice bytes) {
    buf_add(&c->in, bytes);
    run();
}
static conn *registers(const char *name) {
    const dist_epmd_node n = {slice_str(name), SLICE_NULL, 99, 6, 5, DIST_EPMD_TYPE_VISIBLE, 0};
    dist_epmd_client client;
    conn *c = knock();
    assert_int_equal(dist_epmd_register(&client, &n, &c->in), ERR_OK);
    run();
    assert_false(c->closed);
    assert_true(slice_starts(buf_slice(&c->out), slice_of("v", 2)));
    return c;
}
static const slice ask = {(const uint8_t *)"\0\1n", 3};
/* The names that it tells, a line each. */
static void names_are(const char *want) {
    conn *c = knock();
    say(c, ask);
    assert_true(c->closed);
    assert_true(slice_is(slice_from(buf_slice(&c->out), 4), want));
}
static void hangs_up(conn *c) {
    c->eof = true;
    run();
    assert_true(c->closed);
}

/* --- the port mapper --------------------------------------------------------------------------------------------------------------- */
static void serves(void **state) {
    (void)state;
    begin(true, ERR_OK, ERR_OK);
    assert_int_equal(events(EV_EPMD_SERVING), 1);
    assert_int_equal(events(EV_EPMD_REGISTERED), 1);
    names_are("name murre at port 4711\n");
    conn *a = registers("a");
    names_are("name murre at port 4711\nname a at port 99\n");
    assert_int_equal(events(EV_EPMD_NAME), 1);
    hangs_up(a);
    names_are("name murre at port 4711\n");
    assert_int_equal(net.dialled, 0);
    end();
}

/* Who says nothing, or half of something, has its time; a registered node has all of it. */
static void silence_has_its_time(void **state) {
    (void)state;
    begin(true, ERR_OK, ERR_OK);
    conn *node = registers("a"), *silent = knock(), *half = knock();
    say(half, slice_sub(ask, 0, 2));
    pass(MESH_MAPPER_TALK - USEC_PER_SEC);
    assert_false(silent->closed || half->closed);
    pass(USEC_PER_SEC);
    assert_true(silent->closed && half->closed);
    assert_int_equal(events(EV_EPMD_REFUSED), 2);
    pass(1000 * MESH_MAPPER_TALK);
    assert_false(node->closed);
    say(node, SLICE("more"));
    assert_true(node->closed);
    assert_int_equal(events(EV_EPMD_REFUSED), 3);
    names_are("name murre at port 4711\n");
    end();
}

/* The answer goes out as it is taken, and no more of what is asked is read meanwhile; who does not take it in time gets no more of it. */
static void a_slow_reader(void **state) {
    (void)state;
    begin(true, ERR_OK, ERR_OK);
    conn *slow = knock();
    slow->room = 3;
    say(slow, ask);
    say(slow, SLICE("x"));
    assert_int_equal(slow->out.len, 3);
    assert_int_equal(slow->in.len, 1);
    names_are("name murre at port 4711\n"); /* nobody else waits for it */
    for (size_t i = 0; i < 12; i++) {
        slow->room = 1;
        run();
    }
    assert_int_equal(slow->out.len, 15);
    pass(MESH_MAPPER_TALK);
    assert_true(slow->closed);
    conn *done = knock();
    done->room = 10;
    say(done, ask);
    done->room = SIZE_MAX;
    run();
    assert_true(done->closed);
    assert_int_equal(done->out.len, 4 + strlen("name murre at port 4711\n"));
    end();
}

/* Past the limit they are closed at once; a name is not lost for it. */
static void so_many_at_a_time(void **state) {
    (void)state;
    begin(true, ERR_OK, ERR_OK);
    conn *a = registers("a"), *b = knock(), *c = knock(), *d = knock();
    assert_false(a->closed || b->closed || c->closed);
    assert_true(d->closed);
    assert_int_equal(events(EV_EPMD_CROWDED), 1);
    hangs_up(b);
    names_are("name murre at port 4711\nname a at port 99\n");
    end();
}

/* A connection that cannot be served is closed, and no more are accepted for a moment. */
static void no_descriptors(void **state) {
    (void)state;
    begin(true, ERR_OK, ERR_OK);
    net.deaf = true;
    assert_true(knock()->closed);
    assert_int_equal(events(EV_ACCEPT_FAIL), 1);
    net.deaf = false;
    conn *c = knock();
    say(c, ask);
    assert_int_equal(c->out.len, 0); /* it pauses */
    pass(USEC_PER_SEC);
    assert_true(c->closed);
    assert_int_not_equal(c->out.len, 0);
    end();
}

static void without_ipv6(void **state) {
    (void)state;
    begin(true, ERR_OK, ERR_UNSUPPORTED);
    assert_int_equal(events(EV_EPMD_SERVING), 1);
    names_are("name murre at port 4711\n");
    end();
}

/* --- with another port mapper ------------------------------------------------------------------------------------------------------ */
/* The one that the node has dialled answers its registration. */
static conn *answers(slice answer) {
    conn *c = &net.c[net.dialled];
    assert_int_not_equal(net.dialled, 0);
    assert_int_equal(c->out.p[2], 'x');
    say(c, answer);
    return c;
}
static const slice yes = {(const uint8_t *)"v\0\0\0\0\7", 6}, no = {(const uint8_t *)"v\1\0\0\0\7", 6};

/* One that has been there is replaced at once when it goes; who is faster has the port, and the node registers there. */
static void takes_the_place_of_one_that_goes(void **state) {
    (void)state;
    begin(true, ERR_ADDR_IN_USE, ERR_OK);
    conn *c = answers(yes);
    assert_int_equal(events(EV_EPMD_REGISTERED), 1);
    assert_int_equal(events(EV_EPMD_SERVING), 0);
    pass((3600 * USEC_PER_SEC));
    hangs_up(c); /* and another one has the port */
    pass(USEC_PER_MSEC);
    assert_ptr_not_equal(c, &net.c[net.dialled]);
    c = answers(yes);
    assert_int_equal(events(EV_EPMD_REGISTERED), 2);
    net.listen4 = ERR_OK;
    pass((3600 * USEC_PER_SEC));
    hangs_up(c);
    pass(USEC_PER_MSEC);
    assert_int_equal(events(EV_EPMD_SERVING), 1);
    assert_int_equal(events(EV_EPMD_LOST), 2);
    names_are("name murre at port 4711\n");
    end();
}

/* One that ends whoever registers is not tried in a circle. */
static void is_not_tried_in_a_circle(void **state) {
    (void)state;
    begin(true, ERR_ADDR_IN_USE, ERR_OK);
    for (unsigned i = 0; i < 3; i++) {
        conn *c = answers(yes);
        int was = net.dialled;
        hangs_up(c);
        pass(USEC_PER_SEC);
        assert_int_equal(net.dialled, was);
        pass(USEC_PER_SEC);
        assert_int_not_equal(net.dialled, was);
    }
    end();
}

/* One that has the name, one that says nonsense, and one that does not answer: said once, and tried again. */
static void answers_that_are_no_registration(void **state) {
    (void)state;
    begin(false, ERR_OK, ERR_OK);
    assert_int_equal(events(EV_EPMD_SERVING), 0);
    (void)answers(no);
    assert_true(net.c[net.dialled].closed);
    pass(2 * USEC_PER_SEC);
    (void)answers(SLICE("HTTP/1.1 400"));
    assert_true(net.c[net.dialled].closed);
    pass(2 * USEC_PER_SEC);
    conn *silent = answers(SLICE("v"));
    pass(14 * USEC_PER_SEC);
    assert_false(silent->closed);
    pass(USEC_PER_SEC);
    assert_true(silent->closed);
    assert_int_equal(events(EV_EPMD_LOST), 1);
    pass(2 * USEC_PER_SEC);
    conn *c = answers(yes);
    assert_int_equal(events(EV_EPMD_REGISTERED), 1);
    hangs_up(c);
    assert_int_equal(events(EV_EPMD_LOST), 2);
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(serves),
        cmocka_unit_test(silence_has_its_time),
        cmocka_unit_test(a_slow_reader),
        cmocka_unit_test(so_many_at_a_time),
        cmocka_unit_test(no_descriptors),
        cmocka_unit_test(without_ipv6),
        cmocka_unit_test(takes_the_place_of_one_that_goes),
        cmocka_unit_test(is_not_tried_in_a_circle),
        cmocka_unit_test(answers_that_are_no_registration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
