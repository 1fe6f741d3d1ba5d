/* A link that dials (mesh/link_dial.c, link_hand.c): the test plays the port mapper and the node that is dialled, and the one who wants it.
 */
#include "mesh/dial.h"
#include "peer_world.h"

#include <stdio.h>

#define GREATER "q@h" /* than OWN */
#define LESSER  "a@h"
#define PORT    9100

/* --- the world: peer_world's sockets, which can also be connected ------------------------------------------------------------------- */
static struct {
    err connect, error; /* what connecting says, at once and later */
    bool slow;          /* it says nothing yet */
    uint16_t port;      /* where it went last */
    conn *c;
    char told[1024]; /* of MESH_DIALLED, a line each */
    const char *seed;
} call;

static err c_connect(sys *s, const sys_addr *a, int *out) {
    (void)s;
    assert_true(sys_addr_is_loopback(a));
    call.port = a->port;
    if (call.connect) return call.connect;
    assert_true(net.dialled < WORLD_FDS);
    call.c = &net.c[net.dialled];
    call.c->room = call.slow ? 0 : SIZE_MAX;
    buf_init(&call.c->in, SIZE_MAX);
    buf_init(&call.c->out, SIZE_MAX);
    *out = net.dialled++;
    net.accepted = net.dialled; /* the acceptor has nothing to do with it */
    return ERR_OK;
}
static err c_sock_error(sys *s, int fd) {
    (void)s, (void)fd;
    return call.error;
}

/* Who wants it. */
static err teller_init(rt_ctx *cx, void *st, const void *arg) {
    char name[MESH_ACCEPTOR_NAME_MAX];
    (void)st, (void)arg;
    mesh_acceptor_name(0, name);
    rt_msg *m = rt_msg_new(cx, MESH_DIAL, sizeof(mesh_dial_msg));
    *mesh_dial_msg_of(m) = (mesh_dial_msg){.seed = rt_blob_new(slice_str(call.seed)), .ticket = 5};
    rt_send(cx, rt_name_find(cx, name), &m);
    return ERR_OK;
}
static err teller_handle(rt_ctx *cx, void *st, rt_msg **m) {
    static const char *const words[] = {"begun", "up", "yielded", "failed"};
    (void)cx, (void)st;
    const mesh_dialled_msg *d = mesh_dialled_msg_of(*m);
    size_t n = strlen(call.told);
    assert_int_equal((*m)->tag, MESH_DIALLED);
    assert_int_equal(d->ticket, 5);
    assert_true(slice_eq(rt_blob_slice(d->name), slice_sub(slice_str(call.seed), 0, slice_find(slice_str(call.seed), ':'))));
    (void)snprintf(call.told + n, sizeof call.told - n, "%s" SLICE_FMT "\n", words[d->what], SLICE_ARG(rt_blob_slice(d->why)));
    return ERR_OK;
}
static const rt_class teller_class = {.name = "teller", .init = teller_init, .handle = teller_handle};

static void dial(const char *seed) {
    call.seed = seed;
    call.told[0] = 0;
    (void)world_spawn(net.w, 0, &teller_class, NULL);
    (void)world_run(net.w);
}

static void set_up(void) {
    memset(&call, 0, sizeof call);
    begin();
    net.w->s.connect = c_connect;
    net.w->s.sock_error = c_sock_error;
}

static void told(const char *want) {
    if (strcmp(call.told, want) != 0) fail_msg("'%s' is not '%s'", call.told, want);
}

/* --- the node that is dialled ------------------------------------------------------------------------------------------------------- */
typedef struct node {
    conn *c;
    dist_handshake h;
    dist_self self;
    dist_admission a;
    buf in, out;
    dist_handshake_event last; /* that was one */
} node;

static void node_init(node *n, const char *name) {
    *n = (node){.c = call.c, .self = {slice_str(name), dist_flags_offered(), 9}, .a = {.cookie = SLICE(COOKIE), .challenge = 1}};
    buf_init(&n->in, SIZE_MAX);
    buf_init(&n->out, SIZE_MAX);
    dist_handshake_accept(&n->h, DIST_CARRIER_TCP, &n->self);
}
static void node_fini(node *n) {
    buf_fini(&n->in);
    buf_fini(&n->out);
}
static void node_step(node *n) {
    dist_handshake_event ev = {.kind = DIST_HANDSHAKE_PEER};
    buf_add(&n->in, buf_slice(&n->c->out));
    buf_reset(&n->c->out);
    while (ev.kind != DIST_HANDSHAKE_NONE && ev.kind != DIST_HANDSHAKE_UP && ev.kind != DIST_HANDSHAKE_END) {
        size_t used;
        dist_handshake_next(&n->h, buf_slice(&n->in), &n->out, &used, &ev);
        buf_consume(&n->in, used);
        if (ev.kind == DIST_HANDSHAKE_PEER) dist_handshake_admit(&n->h, &n->a, &n->out);
        if (ev.kind == DIST_HANDSHAKE_TAKEOVER) dist_handshake_old_down(&n->h, &n->out);
        if (ev.kind != DIST_HANDSHAKE_NONE) n->last = ev;
    }
}
static void node_talk(node *n) {
    for (bool more = true; more;) {
        (void)world_run(net.w);
        node_step(n);
        more = n->out.len > 0 && !n->c->closed;
        if (n->out.len) buf_add(&n->c->in, buf_slice(&n->out));
        buf_reset(&n->out);
        n->c->eof = n->last.kind == DIST_HANDSHAKE_END;
    }
    (void)world_run(net.w);
}

/* Dials, and answers as a node of that name and creation; up. */
static void connected(const char *seed, const char *name, uint32_t creation) {
    node n;
    dial(seed);
    node_init(&n, name);
    n.self.creation = n.h.self.creation = creation;
    node_talk(&n);
    assert_int_equal(n.last.kind, DIST_HANDSHAKE_UP);
    told("begun\nup\n");
    node_fini(&n);
}

static mesh_node only;
static uint32_t only_index;
static void keep(void *arg, uint32_t index, const mesh_node *n) {
    (void)arg;
    only = *n;
    only_index = index;
}
static void look(rt_ctx *cx, void *arg) { mesh_peers_each(net.m->nodes, rt_epoch_reader(cx), keep, arg); }

/* --- tests ------------------------------------------------------------------------------------------------------------------------- */
/* Whole and byte by byte; a node that comes back with another creation has another number. */
static void by_port(void **state) {
    (void)state;
    for (size_t max = 1; max < 4000; max += 3998) {
        uint32_t index = 0;
        set_up();
        net.read_max = max;
        for (uint32_t creation = 9; creation < 12; creation++) {
            connected("q@h:9100", GREATER, creation);
            assert_int_equal(call.port, PORT);
            assert_int_equal(nodes(), 1);
            rt_node_boot(net.w->n, 0, look, NULL);
            assert_true(slice_is(slice_of(only.name, only.name_len), GREATER));
            assert_int_equal(only.creation, creation);
            assert_int_not_equal(only_index, index);
            index = only_index;
            call.c->eof = true;
            (void)world_run(net.w);
            assert_int_equal(nodes(), 0);
            assert_true(call.c->closed);
        }
        assert_int_equal(rt_event_count(net.w->n, EV_MESH_REFUSED), 0);
        end();
    }
}

static slice mapper_says(uint16_t port, uint8_t high, buf *out) {
    buf_init(out, 4096);
    buf_add(out, SLICE("w\0"));
    buf_add_u16be(out, port);
    buf_add_byte(out, 77);
    buf_add_byte(out, 0);
    buf_add_u16be(out, high);
    buf_add_u16be(out, 5);
    buf_add_u16be(out, 1);
    buf_add(out, SLICE("q"));
    buf_add_u16be(out, 0);
    return buf_slice(out);
}

static void by_port_mapper(void **state) {
    (void)state;
    for (size_t max = 1; max < 4000; max += 3998) {
        set_up();
        net.read_max = max;
        dial(GREATER);
        assert_int_equal(call.port, DIST_EPMD_PORT);
        conn *mapper = call.c;
        assert_true(slice_eq(buf_slice(&mapper->out), SLICE("\0\2zq")));
        buf b;
        buf_add(&mapper->in, mapper_says(PORT, 6, &b));
        mapper->eof = true;
        for (int i = 0; i < 100 && call.port != PORT; i++) (void)world_run(net.w); /* a few readings each */
        assert_int_equal(call.port, PORT);
        assert_true(mapper->closed);
        assert_ptr_not_equal(mapper, call.c);
        node n;
        node_init(&n, GREATER);
        node_talk(&n);
        told("begun\nup\n");
        assert_int_equal(nodes(), 1);
        node_fini(&n);
        buf_fini(&b);
        end();
    }
}

static void what_a_port_mapper_may_say(void **state) {
    (void)state;
    buf old, zero;
    const struct {
        slice says;
        const char *told;
    } cases[] = {
        {SLICE("w\1"), "begun\nfailedthe port mapper at 127.0.0.1:4369: it does not know the node\n"},
        {SLICE("w"),
         "begun\nfailedthe port mapper at 127.0.0.1:4369: the port mapper closed the connection before its answer was complete\n"},
        {SLICE("y\0"),
         "begun\nfailedthe port mapper at 127.0.0.1:4369: the port mapper sent something that is no answer to what was asked\n"},
        {mapper_says(PORT, 5, &old),
         "begun\nfailedthe port mapper at 127.0.0.1:4369: the peer speaks only the handshake of OTP 22 and older\n"},
        {mapper_says(0, 6, &zero), "begun\nfailedthe port mapper at 127.0.0.1:4369: it has no port for the node\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        set_up();
        dial(GREATER);
        buf_add(&call.c->in, cases[i].says);
        call.c->eof = true;
        (void)world_run(net.w);
        told(cases[i].told);
        assert_true(call.c->closed);
        end();
    }
    buf_fini(&old);
    buf_fini(&zero);
}

static void nobody_there(void **state) {
    (void)state;
    set_up();
    call.connect = ERR_REFUSED;
    dial("q@h:9100");
    told("begun\nfailed127.0.0.1:9100: refused\n");
    dial(GREATER);
    told("begun\nfailedthe port mapper at 127.0.0.1:4369: refused\n");
    call.connect = ERR_OK;
    call.error = ERR_REFUSED;
    dial("q@h:9100");
    told("begun\nfailed127.0.0.1:9100: refused\n");
    call.error = ERR_OK;
    net.deaf = true;
    dial("q@h:9100");
    told("begun\nfailed127.0.0.1:9100: a stated limit was reached\n");
    end();
}

/* setup_time for all of it. */
static void silence(void **state) {
    (void)state;
    set_up();
    call.slow = true;
    dial("q@h:9100");
    net.w->now += MESH_SETUP_TIME + 2 * USEC_PER_MSEC;
    (void)world_run(net.w);
    told("begun\nfailed127.0.0.1:9100: connecting took too long\n");
    call.slow = false;
    dial("q@h:9100");
    net.w->now += MESH_SETUP_TIME - USEC_PER_MSEC;
    (void)world_run(net.w);
    told("begun\n");
    net.w->now += 3 * USEC_PER_MSEC;
    (void)world_run(net.w);
    told("begun\nfailed127.0.0.1:9100: the handshake took too long\n");
    end();
}

static void another_cookie(void **state) {
    (void)state;
    node n;
    set_up();
    dial("q@h:9100");
    node_init(&n, GREATER);
    n.a.cookie = SLICE("XKQJZPWVBNMTRHGFDSLD");
    node_talk(&n);
    told("begun\nfailed127.0.0.1:9100: it closed the connection when it saw our proof: it has another cookie\n");
    assert_int_equal(nodes(), 0);
    node_fini(&n);
    end();
}

static void another_name(void **state) {
    (void)state;
    node n;
    set_up();
    dial("q@h:9100");
    node_init(&n, "r@h");
    node_talk(&n);
    told("begun\nfailed127.0.0.1:9100: the peer has another name than the one that was dialled: r@h\n");
    node_fini(&n);
    end();
}

/* A node without the cookie that connects to us, and has us answer the challenge that it got. */
static void a_challenge_of_our_own(void **state) {
    (void)state;
    peer p;
    node n;
    set_up();
    peer_init(&p, PEER, "XKQJZPWVBNMTRHGFDSLD");
    buf_add(&p.c->in, buf_slice(&p.out));
    (void)world_run(net.w);
    slice got = buf_slice(&p.c->out); /* status ok, and the challenge: length, 'N', flags, then it */
    size_t status = 2u + (size_t)(got.p[0] << 8 | got.p[1]);
    assert_true(got.len > status + 15);
    const uint8_t *c = got.p + status + 2 + 1 + 8;
    uint32_t challenge = (uint32_t)c[0] << 24 | (uint32_t)c[1] << 16 | (uint32_t)c[2] << 8 | c[3];
    dial("q@h:9100");
    node_init(&n, GREATER);
    n.a.challenge = challenge;
    node_talk(&n);
    told("begun\nfailed127.0.0.1:9100: the peer sent back a challenge of our own\n");
    assert_int_not_equal(n.last.kind, DIST_HANDSHAKE_UP);
    p.c->eof = true; /* when that handshake is over it is a number like any other */
    (void)world_run(net.w);
    node_fini(&n);
    dial("q@h:9100");
    node_init(&n, GREATER);
    n.a.challenge = challenge;
    node_talk(&n);
    told("begun\nup\n");
    node_fini(&n);
    peer_fini(&p);
    end();
}

/* The node believes that it is connected to us; we go on. */
static void alive(void **state) {
    (void)state;
    node n;
    set_up();
    dial("q@h:9100");
    node_init(&n, GREATER);
    n.a.verdict = DIST_VERDICT_ALIVE;
    node_talk(&n);
    told("begun\nup\n");
    assert_int_equal(nodes(), 1);
    node_fini(&n);
    end();
}

static void refusals(void **state) {
    (void)state;
    node n;
    static const struct {
        dist_verdict v;
        const char *told;
    } cases[] = {
        {DIST_VERDICT_NOK, "begun\nyielded127.0.0.1:9100: the peer goes on with its own attempt to reach us, which will come in\n"},
        {DIST_VERDICT_NOT_ALLOWED, "begun\nfailed127.0.0.1:9100: the peer does not allow this node to connect\n"},
        {DIST_VERDICT_CLOSE, "begun\nfailed127.0.0.1:9100: it closed the connection\n"},
    };
    set_up();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        dial("q@h:9100");
        node_init(&n, GREATER);
        n.a.verdict = cases[i].v;
        node_talk(&n);
        told(cases[i].told);
        node_fini(&n);
    }
    end();
}

/* Both dial at once. Its name is greater: what it dialled is up, ours ends. Ours is greater: it is told nok, and ours goes on. */
static void both_at_once(void **state) {
    (void)state;
    peer p;
    node n;
    set_up();
    dial("q@h:9100");
    conn *ours = call.c;
    connect_as(&p, GREATER);
    assert_true(ours->closed);
    told("begun\nyielded127.0.0.1:9100: its own connection to us was faster\n");
    assert_int_equal(nodes(), 1);
    peer_fini(&p);
    dial("q@h:9100"); /* it is there */
    told("begun\nyielded127.0.0.1:9100: another connection to it is there\n");
    dial("a@h:9100");
    ours = call.c;
    peer_init(&p, LESSER, COOKIE);
    talk(&p);
    assert_int_equal(p.end, DIST_END_NOK);
    peer_fini(&p);
    call.c = ours;
    node_init(&n, LESSER);
    node_talk(&n);
    told("begun\nup\n");
    assert_int_equal(nodes(), 2);
    node_fini(&n);
    end();
}

/* It came before we dialled, and proves itself while we do: our name is the greater one, so it does not win. */
static void it_was_let_in_before_we_dialled(void **state) {
    (void)state;
    peer p;
    node n;
    set_up();
    peer_init(&p, LESSER, COOKIE);
    buf_add(&p.c->in, buf_slice(&p.out));
    buf_reset(&p.out);
    (void)world_run(net.w);
    dial("a@h:9100");
    talk(&p);
    assert_false(p.up);
    assert_true(p.c->closed);
    node_init(&n, LESSER);
    node_talk(&n);
    told("begun\nup\n");
    assert_int_equal(nodes(), 1);
    node_fini(&n);
    peer_fini(&p);
    end();
}

/* A node that has left its cluster dials nobody, and does not come up if it had begun. */
static void a_node_that_has_left(void **state) {
    (void)state;
    node n;
    set_up();
    dial("q@h:9100");
    atomic_store_explicit(&net.m->left, true, memory_order_relaxed); /* as domains.c does */
    node_init(&n, GREATER);
    node_talk(&n);
    told("begun\nfailed127.0.0.1:9100: this node has left the cluster\n");
    assert_true(n.c->closed);
    call.c = NULL;
    dial("q@h:9100");
    told("begun\nfailed127.0.0.1:9100: this node has left the cluster\n");
    assert_null(call.c);
    node_fini(&n);
    end();
}

/* --- hosts that are looked up ------------------------------------------------------------------------------------------------------- */
static struct {
    err result;
    uint8_t tried[8], n; /* last bytes of addresses */
} host;

static err h_resolve(sys *s, const char *name, sys_addr *out, size_t max, size_t *out_n) {
    (void)s;
    assert_string_equal(name, "far");
    assert_true(max >= 3);
    for (uint8_t i = 0; i < 3; i++) out[i] = (sys_addr){.family = SYS_INET4, .ip = {127, 0, 0, (uint8_t)(i + 1)}};
    *out_n = 3;
    return host.result;
}
static err h_connect(sys *s, const sys_addr *a, int *out) {
    assert_true(host.n < ARRAY_LEN(host.tried));
    host.tried[host.n++] = a->ip[3];
    call.error = host.n == 2 ? ERR_TIMEOUT : ERR_OK; /* the second one says it later */
    call.connect = host.n == 1 ? ERR_REFUSED : ERR_OK;
    return c_connect(s, a, out);
}

static void set_up_hosts(err result) {
    mesh_cfg c = world_cfg();
    c.tls_required = true;
    memset(&call, 0, sizeof call);
    memset(&host, 0, sizeof host);
    begin_cfg(&c, true);
    host.result = result;
    net.w->s.resolve = h_resolve;
    net.w->s.connect = h_connect;
    net.w->s.sock_error = c_sock_error;
}

static void looked_up(void) {
    assert_int_equal(rt_pool_waiting(net.w->n, RT_POOL_USER), 1);
    assert_int_equal(host.n, 0);
    assert_true(rt_pool_run_one(net.w->n, RT_POOL_USER));
    (void)world_run(net.w);
}

/* Its addresses in their order, with the port of the seed, until one is there: then the TLS handshake is on its way. */
static void a_host_of_several_addresses(void **state) {
    (void)state;
    set_up_hosts(ERR_OK);
    dial("q@far:9100");
    told("begun\n");
    looked_up();
    assert_memory_equal(host.tried, "\1\2\3", 3);
    assert_int_equal(host.n, 3);
    assert_int_equal(call.port, 9100);
    assert_true(net.c[FIRST_FD].closed);
    assert_false(call.c->closed);
    told("begun\n");
    end();
}

static void the_last_address_says_why(void **state) {
    (void)state;
    set_up_hosts(ERR_OK);
    host.n = 0;
    net.deaf = true; /* each connection fails at once */
    dial("q@far");
    looked_up();
    assert_int_equal(host.n, 3);
    told("begun\nfailedthe port mapper at 127.0.0.3:4369: a stated limit was reached\n");
    end();
}

static void a_host_that_cannot_be_looked_up(void **state) {
    (void)state;
    static const struct {
        err result;
        const char *told;
    } cases[] = {{ERR_NOT_FOUND, "begun\nfailedits host: there is no such host, or it has no address\n"},
                 {ERR_TIMEOUT, "begun\nfailedits host: no name server has said what its address is\n"},
                 {ERR_FD_LIMIT, "begun\nfailedits host: too many open files\n"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        set_up_hosts(cases[i].result);
        dial("q@far:9100");
        looked_up();
        assert_int_equal(host.n, 0);
        told(cases[i].told);
        end();
    }
    set_up_hosts(ERR_OK); /* nobody looks it up in time */
    dial("q@far:9100");
    net.w->now += MESH_SETUP_TIME + 2 * USEC_PER_MSEC;
    (void)world_run(net.w);
    told("begun\nfailedits host: connecting took too long\n");
    (void)rt_pool_run_one(net.w->n, RT_POOL_USER); /* its job comes home to nobody */
    (void)world_run(net.w);
    assert_int_equal(host.n, 0);
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_port),
        cmocka_unit_test(by_port_mapper),
        cmocka_unit_test(what_a_port_mapper_may_say),
        cmocka_unit_test(nobody_there),
        cmocka_unit_test(silence),
        cmocka_unit_test(another_cookie),
        cmocka_unit_test(another_name),
        cmocka_unit_test(a_challenge_of_our_own),
        cmocka_unit_test(alive),
        cmocka_unit_test(refusals),
        cmocka_unit_test(both_at_once),
        cmocka_unit_test(it_was_let_in_before_we_dialled),
        cmocka_unit_test(a_node_that_has_left),
        cmocka_unit_test(a_host_of_several_addresses),
        cmocka_unit_test(the_last_address_says_why),
        cmocka_unit_test(a_host_that_cannot_be_looked_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
