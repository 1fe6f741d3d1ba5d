/* Links and monitors between actors here and processes of another node (mesh/rels.c, loss.c, link_in.c, link_out.c, plug.c), in both
 * directions: what is said, what the peer says of it, and what becomes of it when the connection is lost. */
#include "peer_world.h"

static puppet *a, *b;

static void begin_two(void) {
    begin();
    a = puppet_new(net.w, 0, &puppet_class);
    b = puppet_new(net.w, 0, &puppet_class);
}

static void end_two(void) {
    end();
    mem_free(a);
    mem_free(b);
}

static void hang_up(peer *p) {
    p->c->eof = true;
    (void)world_run(net.w);
    assert_true(p->c->closed);
    peer_fini(p);
}

/* --- what the puppets do; the process is that of peer_pid, or the one with the serial arg
 * ------------------------------------------------- */
static rt_pid there(uint64_t serial) { return (rt_pid){1, 91, (uint32_t)serial}; }

static uint64_t last_ref;
static void do_link_there(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p;
    rt_link(cx, there(arg));
}
static void do_unlink_there(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p;
    rt_unlink(cx, there(arg));
}
static void do_monitor_there(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p;
    last_ref = rt_monitor(cx, there(arg));
}
static void do_monitor_many(rt_ctx *cx, puppet *p, uint64_t arg) {
    for (uint64_t i = 0; i < arg; i++) do_monitor_there(cx, p, i % 3);
}
static void do_monitor_name(rt_ctx *cx, puppet *p, uint64_t index) {
    (void)p;
    last_ref = mesh_monitor_name(cx, net.m, (uint32_t)index, SLICE("shell"));
}
static void do_demonitor_last(rt_ctx *cx, puppet *p, uint64_t arg) {
    (void)p, (void)arg;
    rt_demonitor(cx, last_ref);
}
static void do_exit_there(rt_ctx *cx, puppet *p, uint64_t reason) {
    (void)p;
    rt_exit(cx, there(0), (err)reason);
}

static void does(puppet *who, deed *d, uint64_t arg, peer *p) {
    tell(net.w, who, d, arg);
    talk(p);
}

/* --- what the peer says -------------------------------------------------------------------------------------------------------------- */
static dist_ctl ctl(const peer *p, dist_signal signal, const puppet *to) {
    return (dist_ctl){.signal = signal, .from = to_pid(peer_pid(p)), .to = to_pid(mesh_etf_pid(net.m, to->pid))};
}
static void says(peer *p, dist_signal signal, const puppet *to) { say(p, ctl(p, signal, to)); }
static void says_number(peer *p, dist_signal signal, const puppet *to, uint64_t number) {
    dist_ctl c = ctl(p, signal, to);
    c.id = number;
    say(p, c);
}
static dist_ctl with_reason(dist_ctl c, const buf *reason) {
    c.reason = buf_slice(reason);
    return c;
}
static void says_reason(peer *p, dist_signal signal, const puppet *to, const char *reason) {
    buf r = term(reason);
    say(p, with_reason(ctl(p, signal, to), &r));
    buf_fini(&r);
}

/* What the puppet has got last, and that it has got n in all. */
static void got(const puppet *p, size_t n, uint16_t tag, err reason, rt_pid who) {
    assert_int_equal(p->n, n);
    const seen *s = &p->log[n - 1];
    assert_int_equal(s->tag, tag);
    assert_int_equal(s->reason, reason);
    assert_true(rt_pid_eq(s->who, who));
}

/* --- monitors ------------------------------------------------------------------------------------------------------------------------ */
static void a_monitor_of_a_process_there(void **state) {
    (void)state;
    peer p;
    begin_two();
    connect_as(&p, PEER);
    does(a, do_monitor_there, 0, &p);
    heard(&p, "monitor from pid to pid\n");
    buf why = term("{a,[1]}");
    dist_ctl c = with_reason(ctl(&p, DIST_SIG_DOWN, a), &why);
    c.ref = p.ref;
    say(&p, c);
    got(a, 1, RT_DOWN, ERR_FOREIGN, there(0));
    assert_int_equal(a->log[0].n, last_ref);
    say(&p, c); /* it has fired */
    assert_int_equal(a->n, 1);
    assert_false(p.c->closed);
    buf_fini(&why);
    hang_up(&p);
    assert_int_equal(a->n, 1);
    end_two();
}

/* A monitor fires for its process, its watcher and its reference only, and on its own connection. */
static void a_monitor_that_is_not_its_process_does_not_fire(void **state) {
    (void)state;
    peer p, q;
    begin_two();
    connect_as(&p, PEER);
    connect_as(&q, "q@h");
    does(a, do_monitor_there, 0, &p);
    buf why = term("oops");
    dist_ctl c = with_reason(ctl(&p, DIST_SIG_DOWN, a), &why), other = c;
    c.ref = other.ref = p.ref;
    other.ref.word[0]++;
    say(&p, other);
    other = c, other.ref.creation++;
    say(&p, other);
    other = c, other.ref.n = 2;
    say(&p, other);
    other = c, other.ref.word[2] |= 1u << 20;
    say(&p, other);
    other = c, other.from.pid.id++;
    say(&p, other);
    other = c, other.from.pid.serial++;
    say(&p, other);
    other = c, other.from.pid.creation++;
    say(&p, other);
    other = c, other.from = to_name("shell");
    say(&p, other);
    other = c, other.to = to_pid(mesh_etf_pid(net.m, b->pid));
    say(&p, other);
    other = c, other.to.pid.creation++;
    say(&p, other);
    other = c, other.from = to_pid(peer_pid(&q));
    say(&q, other);
    assert_int_equal(a->n + b->n, 0);
    assert_false(p.c->closed || q.c->closed);
    say(&p, c);
    got(a, 1, RT_DOWN, ERR_FOREIGN, there(0));
    buf_fini(&why);
    hang_up(&p);
    hang_up(&q);
    end_two();
}

static void a_reason_that_is_no_term_ends_the_link(void **state) {
    (void)state;
    peer p;
    begin_two();
    connect_as(&p, PEER);
    does(a, do_monitor_there, 0, &p);
    dist_ctl c = ctl(&p, DIST_SIG_DOWN, a);
    c.ref = p.ref;
    c.reason = SLICE("w\x04oops");
    put(&p, &c);
    p.out.p[p.out.len - 1] = 0xff; /* no UTF-8 */
    talk(&p);
    assert_true(p.c->closed);
    got(a, 1, RT_DOWN, ERR_NOCONN, there(0));
    peer_fini(&p);
    end_two();
}

static void a_monitor_is_taken_back(void **state) {
    (void)state;
    peer p;
    begin_two();
    connect_as(&p, PEER);
    does(a, do_monitor_there, 0, &p);
    etf_ref ref = p.ref;
    does(a, do_demonitor_last, 0, &p);
    heard(&p, "monitor from pid to pid\ndemonitor from pid to pid\n");
    assert_memory_equal(p.ref.word, ref.word, sizeof ref.word);
    does(a, do_demonitor_last, 0, &p); /* again */
    does(b, do_monitor_name, 1, &p);
    assert_true(memcmp(p.ref.word, ref.word, sizeof ref.word) != 0);
    ref = p.ref;
    does(b, do_stop, ERR_OK, &p); /* and by its end */
    heard(&p, "monitor from pid to shell\ndemonitor from pid to shell\n");
    assert_memory_equal(p.ref.word, ref.word, sizeof ref.word);
    hang_up(&p);
    assert_int_equal(a->n, 0);
    end_two();
}

static void a_monitor_of_a_name(void **state) {
    (void)state;
    peer p;
    begin_two();
    connect_as(&p, PEER);
    does(a, do_monitor_name, 1, &p);
    heard(&p, "monitor from pid to shell\n");
    buf why = term("noproc");
    dist_ctl c = with_reason(ctl(&p, DIST_SIG_DOWN, a), &why);
    c.ref = p.ref;
    say(&p, c); /* of a pid: it was not asked for */
    c.from = to_name("shel");
    say(&p, c);
    assert_int_equal(a->n, 0);
    c.from = to_name("shell");
    say(&p, c);
    got(a, 1, RT_DOWN, ERR_NOPROC, (rt_pid){1, 0, 0});
    assert_int_equal(a->log[0].n, last_ref);
    buf_fini(&why);
    does(a, do_monitor_name, 2, &p);
    got(a, 2, RT_DOWN, ERR_NOCONN, (rt_pid){2, 0, 0});
    assert_int_equal(a->log[1].n, last_ref);
    does(a, do_monitor_name, 1, &p);
    hang_up(&p);
    got(a, 3, RT_DOWN, ERR_NOCONN, (rt_pid){1, 0, 0});
    end_two();
}

/* --- links --------------------------------------------------------------------------------------------------------------------------- */
/* The end of a process there ends who is linked to it, with its reason; and the other way round. */
static void links_end_both_ways(void **state) {
    (void)state;
    peer p;
    begin_two();
    connect_as(&p, PEER);
    does(a, do_link_there, 0, &p);
    does(a, do_link_there, 1, &p);
    does(b, do_link_there, 0, &p);
    heard(&p, "link from pid to pid\nlink from pid to pid\nlink from pid to pid\n");
    says_reason(&p, DIST_SIG_EXIT, a, "{why,\"not\"}");
    assert_int_equal(a->finis, 1);
    assert_int_equal(a->fini_reason, ERR_FOREIGN);
    assert_int_equal(p.from.id, a->pid.slot);
    heard(&p, "exit from pid to pid: {why,\"not\"}\n"); /* to its other one */
    does(b, do_trap, 1, &p);
    says_reason(&p, DIST_SIG_EXIT, b, "killed");
    got(b, 1, RT_EXIT, ERR_KILLED, there(0));
    says_reason(&p, DIST_SIG_EXIT, b, "killed"); /* there is none any more */
    assert_int_equal(b->n, 1);
    does(b, do_link_there, 2, &p);
    does(b, do_stop, ERR_SHUTDOWN, &p);
    heard(&p, "link from pid to pid\nexit from pid to pid: shutdown\n");
    hang_up(&p);
    end_two();
}

/* Who is linked from there is linked: its own rt_link says nothing new, its end is told once. */
static void a_link_from_both_sides_is_one(void **state) {
    (void)state;
    peer p;
    begin_two();
    connect_as(&p, PEER);
    says(&p, DIST_SIG_LINK, a);
    does(a, do_link_there, 0, &p);
    does(b, do_link_there, 0, &p);
    says(&p, DIST_SIG_LINK, b);
    heard(&p, "link from pid to pid\n");
    does(a, do_stop, ERR_OK, &p);
    heard(&p, "exit from pid to pid: normal\n");
    says_reason(&p, DIST_SIG_EXIT, b, "oops");
    assert_int_equal(b->finis, 1);
    heard(&p, "");
    hang_up(&p);
    end_two();
}

/* Until our unlink is acknowledged, what the peer says is about the link that was. */
static void an_unlink_is_acknowledged(void **state) {
    (void)state;
    peer p;
    begin_two();
    connect_as(&p, PEER);
    does(a, do_trap, 1, &p);
    does(a, do_link_there, 0, &p);
    does(a, do_unlink_there, 0, &p);
    heard(&p, "link from pid to pid\nunlink from pid to pid number 1\n");
    says(&p, DIST_SIG_LINK, a); /* it had not heard of the unlink */
    says_number(&p, DIST_SIG_UNLINK, a, 7);
    heard(&p, "unlink_ack from pid to pid number 7\n");
    says_number(&p, DIST_SIG_UNLINK_ACK, a, 2); /* of nothing */
    says(&p, DIST_SIG_LINK, a);
    says_number(&p, DIST_SIG_UNLINK_ACK, a, 1);
    says_reason(&p, DIST_SIG_EXIT, a, "oops");
    assert_int_equal(a->n, 0);
    says(&p, DIST_SIG_LINK, a); /* now it is a new one */
    says_reason(&p, DIST_SIG_EXIT, a, "oops");
    got(a, 1, RT_EXIT, ERR_FOREIGN, there(0));
    hang_up(&p);
    end_two();
}

/* A new link in the midst of it counts, and the acknowledgement of the old one does not end it. */
static void a_link_after_an_unlink_that_is_on_its_way(void **state) {
    (void)state;
    peer p;
    begin_two();
    connect_as(&p, PEER);
    does(a, do_trap, 1, &p);
    does(a, do_link_there, 0, &p);
    does(a, do_unlink_there, 0, &p);
    does(a, do_link_there, 0, &p);
    heard(&p, "link from pid to pid\nunlink from pid to pid number 1\nlink from pid to pid\n");
    says_number(&p, DIST_SIG_UNLINK_ACK, a, 1);
    does(a, do_unlink_there, 0, &p);
    does(a, do_link_there, 0, &p);
    heard(&p, "unlink from pid to pid number 2\nlink from pid to pid\n");
    hang_up(&p);
    got(a, 1, RT_EXIT, ERR_NOCONN, there(0));
    end_two();
}

/* An exit that crosses our unlink ends nobody, and its acknowledgement never comes. */
static void an_exit_crosses_an_unlink(void **state) {
    (void)state;
    peer p;
    begin_two();
    connect_as(&p, PEER);
    does(a, do_link_there, 0, &p);
    does(a, do_unlink_there, 0, &p);
    says_reason(&p, DIST_SIG_EXIT, a, "oops");
    does(a, do_link_there, 0, &p);
    heard(&p, "link from pid to pid\nunlink from pid to pid number 1\nlink from pid to pid\n");
    says_reason(&p, DIST_SIG_EXIT, a, "noproc"); /* the answer to that one */
    assert_int_equal(a->finis, 1);
    assert_int_equal(a->fini_reason, ERR_NOPROC);
    hang_up(&p);
    end_two();
}

/* The peer's unlink ends the link, and is acknowledged; a link that it makes right after it is a new one. */
static void the_peer_unlinks(void **state) {
    (void)state;
    peer p;
    begin_two();
    connect_as(&p, PEER);
    does(a, do_trap, 1, &p);
    does(a, do_link_there, 0, &p);
    says_number(&p, DIST_SIG_UNLINK, a, 7);
    heard(&p, "link from pid to pid\nunlink_ack from pid to pid number 7\n");
    says_reason(&p, DIST_SIG_EXIT, a, "oops");
    assert_int_equal(a->n, 0);
    does(a, do_unlink_there, 0, &p); /* it is not linked any more */
    heard(&p, "");
    says(&p, DIST_SIG_LINK, a);
    dist_ctl u = ctl(&p, DIST_SIG_UNLINK, a), k = ctl(&p, DIST_SIG_LINK, a);
    u.id = 8;
    put(&p, &u);
    put(&p, &k);
    talk(&p); /* in one reading */
    heard(&p, "unlink_ack from pid to pid number 8\n");
    hang_up(&p);
    got(a, 1, RT_EXIT, ERR_NOCONN, there(0));
    end_two();
}

/* What an actor says before the peer's unlink has arrived at it goes out before the acknowledgement, so that the peer takes its link for
 * one to the link that ends; and so does the node. */
static void a_link_crosses_the_peers_unlink(void **state) {
    (void)state;
    peer p;
    begin_two();
    connect_as(&p, PEER);
    does(a, do_trap, 1, &p);
    says(&p, DIST_SIG_LINK, a);
    dist_ctl u = ctl(&p, DIST_SIG_UNLINK, a);
    u.id = 9;
    put(&p, &u);
    does(a, do_unlink_there, 0, &p);
    heard(&p, "unlink from pid to pid number 1\nunlink_ack from pid to pid number 9\n");
    hang_up(&p);
    assert_int_equal(a->n, 0);
    end_two();
}

/* The same on two shards: the actor links while the peer's link and its end are on their way to it. Both are of the link that ends. */
static void a_link_crosses_the_peers_unlink_between_shards(void **state) {
    (void)state;
    peer p;
    net_shards = 2;
    begin_two();
    net_shards = 1;
    connect_as(&p, PEER);
    does(a, do_trap, 1, &p);
    dist_ctl k = ctl(&p, DIST_SIG_LINK, a), u = ctl(&p, DIST_SIG_UNLINK, a);
    u.id = 7;
    put(&p, &k);
    put(&p, &u);
    buf_add(&p.c->in, buf_slice(&p.out));
    buf_reset(&p.out);
    tell(net.w, a, do_link_there, 0);
    net.aside = true;
    (void)rt_node_step(net.w->n, 1, false); /* the link reads it, and the actor says its own before it hears of it */
    assert_int_equal(p.c->in.len, 0);
    talk(&p);
    heard(&p, "link from pid to pid\nunlink_ack from pid to pid number 7\n");
    says_reason(&p, DIST_SIG_EXIT, a, "oops");
    hang_up(&p);
    assert_int_equal(a->n, 0);
    end_two();
}

/* Unlinks of nobody, and of somebody who was never linked, are acknowledged as well. */
static void unlinks_of_nothing(void **state) {
    (void)state;
    peer p;
    begin_two();
    connect_as(&p, PEER);
    says_number(&p, DIST_SIG_UNLINK, a, 3);
    dist_ctl c = ctl(&p, DIST_SIG_UNLINK, a);
    c.id = 4;
    c.to.pid.creation++;
    say(&p, c);
    says(&p, DIST_SIG_LINK, a);
    does(a, do_stop, ERR_OK, &p);
    says_number(&p, DIST_SIG_UNLINK, a, 5);
    heard(&p, "unlink_ack from pid to pid number 3\nunlink_ack from pid to pid number 4\n"
              "exit from pid to pid: normal\nunlink_ack from pid to pid number 5\n");
    hang_up(&p);
    end_two();
}

static void connect_without(peer *p, uint64_t flags) {
    peer_init(p, PEER, COOKIE);
    p->self.flags &= ~(flags | DIST_FLAG(MANDATORY_25_DIGEST));
    buf_reset(&p->out);
    assert_int_equal(dist_handshake_dial(&p->h, DIST_CARRIER_TCP, &p->self, SLICE(OWN), SLICE(COOKIE), 77, &p->out), ERR_OK);
    talk(p);
    assert_true(p->up);
}

/* A monitor that the peer has no words for is answered at once; nothing is left of it. */
static void a_peer_without_monitors(void **state) {
    (void)state;
    peer p;
    begin_two();
    connect_without(&p, DIST_FLAG(DIST_MONITOR));
    does(a, do_monitor_there, 0, &p);
    got(a, 1, RT_DOWN, ERR_UNSUPPORTED, there(0));
    does(a, do_monitor_name, 1, &p);
    got(a, 2, RT_DOWN, ERR_UNSUPPORTED, (rt_pid){1, 0, 0});
    heard(&p, "");
    assert_false(p.c->closed);
    hang_up(&p);
    assert_int_equal(a->n, 2);
    end_two();
}

/* Before OTP 24 an unlink is not numbered, nor acknowledged. */
static void a_peer_without_numbers_of_unlinks(void **state) {
    (void)state;
    peer p;
    begin_two();
    connect_without(&p, DIST_FLAG(UNLINK_ID));
    does(a, do_trap, 1, &p);
    does(a, do_link_there, 0, &p);
    does(a, do_unlink_there, 0, &p);
    heard(&p, "link from pid to pid\nunlink from pid to pid\n");
    says(&p, DIST_SIG_LINK, a);
    says(&p, DIST_SIG_UNLINK, a);
    says_reason(&p, DIST_SIG_EXIT, a, "oops");
    assert_int_equal(a->n, 0);
    heard(&p, "");
    says(&p, DIST_SIG_LINK, a);
    says_reason(&p, DIST_SIG_EXIT, a, "oops");
    got(a, 1, RT_EXIT, ERR_FOREIGN, there(0));
    hang_up(&p);
    end_two();
}

/* What a process of an earlier life of the peer said is late. */
static void an_earlier_life_of_the_peer(void **state) {
    (void)state;
    peer p;
    begin_two();
    connect_as(&p, PEER);
    does(a, do_trap, 1, &p);
    does(a, do_link_there, 0, &p);
    buf why = term("oops");
    dist_ctl c = with_reason(ctl(&p, DIST_SIG_EXIT, a), &why), u = ctl(&p, DIST_SIG_UNLINK, a);
    c.from.pid.creation = u.from.pid.creation = 4;
    u.id = 6;
    say(&p, c);
    say(&p, u);
    assert_int_equal(a->n, 0);
    c.from.pid.creation = 5;
    say(&p, c);
    got(a, 1, RT_EXIT, ERR_FOREIGN, there(0));
    buf_fini(&why);
    hang_up(&p);
    end_two();
}

/* exit/2: to kill is an order, killed a reason as any other. */
static void exits_from_here(void **state) {
    (void)state;
    peer p;
    begin_two();
    connect_as(&p, PEER);
    does(a, do_exit_there, ERR_KILLED, &p);
    does(a, do_exit_there, ERR_SHUTDOWN, &p);
    does(a, do_link_there, 0, &p);
    does(a, do_stop, ERR_KILLED, &p);
    heard(&p, "exit2 from pid to pid: kill\nexit2 from pid to pid: shutdown\nlink from pid to pid\nexit from pid to pid: killed\n");
    hang_up(&p);
    end_two();
}

/* --- the connection ------------------------------------------------------------------------------------------------------------------- */
static void without_a_connection(void **state) {
    (void)state;
    peer p;
    begin_two();
    connect_as(&p, PEER);
    hang_up(&p);
    connect_as(&p, "q@h");
    does(a, do_trap, 1, &p);
    does(a, do_link_there, 0, &p);
    got(a, 1, RT_EXIT, ERR_NOCONN, there(0));
    does(a, do_monitor_there, 0, &p);
    got(a, 2, RT_DOWN, ERR_NOCONN, there(0));
    heard(&p, "");
    hang_up(&p);
    end_two();
}

static void all_ends_with_the_connection(void **state) {
    (void)state;
    peer p;
    begin_two();
    connect_as(&p, PEER);
    does(a, do_trap, 1, &p);
    does(a, do_link_there, 0, &p);
    does(a, do_monitor_there, 1, &p);
    does(a, do_monitor_name, 1, &p);
    does(b, do_link_there, 2, &p); /* does not trap */
    says(&p, DIST_SIG_LINK, a);
    hang_up(&p);
    assert_int_equal(a->n, 3);
    assert_int_equal(count_tag(a, RT_DOWN), 2);
    assert_int_equal(count_tag(a, RT_EXIT), 1);
    for (size_t i = 0; i < a->n; i++) assert_int_equal(a->log[i].reason, ERR_NOCONN);
    assert_int_equal(b->fini_reason, ERR_NOCONN);
    connect_as(&p, PEER); /* in the same life: nothing is left of it */
    hang_up(&p);
    assert_int_equal(a->n, 3);
    end_two();
}

/* A link that is full does not take what is said to it any more; when it ends, that is answered. */
static void what_a_full_link_did_not_take_is_answered(void **state) {
    (void)state;
    peer p;
    begin_two();
    connect_as(&p, PEER);
    p.c->room = 0;
    does(a, do_trap, 1, &p);
    does(a, do_monitor_many, 1000, &p);
    does(a, do_link_there, 0, &p);
    assert_int_equal(a->n, 0);
    take(&p);
    heard(&p, "");
    p.c->eof = true;
    (void)world_run(net.w);
    assert_true(p.c->closed);
    assert_int_equal(count_tag(a, RT_DOWN), 1000);
    assert_int_equal(count_tag(a, RT_EXIT), 1);
    peer_fini(&p);
    end_two();
}

/* Thousands end in several rounds, between which others have their turn; until then the node is not down, and nobody takes its place. */
static void many_end_in_turns(void **state) {
    (void)state;
    peer p, q;
    size_t most = 0, rounds = 0;
    begin_two();
    connect_as(&p, PEER);
    does(a, do_monitor_many, 6000, &p);
    assert_int_equal(p.messages, 6000);
    p.c->eof = true;
    while (a->n < 6000) {
        size_t before = a->n;
        assert_int_equal(nodes(), 1);
        (void)rt_node_step(net.w->n, 0, false);
        if (a->n - before > most) most = a->n - before;
        assert_true(++rounds < 10000);
    }
    (void)world_run(net.w);
    assert_int_equal(nodes(), 0);
    assert_in_range(most, 1, 2000); /* those of the last round and of this one */
    peer_fini(&p);
    connect_as(&p, PEER);
    does(a, do_monitor_many, 6000, &p);
    connect_as(&q, PEER);
    assert_true(p.c->closed);
    assert_int_equal(a->n, 12000);
    assert_int_equal(nodes(), 1);
    hang_up(&q);
    peer_fini(&p);
    end_two();
}

/* The node is freed while its peer has relations here, and it has some there. */
static void all_is_freed_with_the_node(void **state) {
    (void)state;
    peer p;
    begin_two();
    connect_as(&p, PEER);
    does(a, do_monitor_many, 3000, &p);
    does(a, do_link_there, 0, &p);
    says(&p, DIST_SIG_LINK, b);
    say(&p, monitor_of(&p, "net_kernel"));
    peer_fini(&p);
    end_two();
}

static void too_many(void **state) {
    (void)state;
    peer p;
    net_relations_max = 5;
    begin_two();
    net_relations_max = 0;
    connect_as(&p, PEER);
    does(a, do_trap, 1, &p);
    does(a, do_monitor_many, 4, &p);
    does(a, do_link_there, 7, &p);
    assert_int_equal(a->n, 0);
    does(a, do_link_there, 8, &p);
    got(a, 1, RT_EXIT, ERR_LIMIT, there(8));
    does(a, do_monitor_there, 8, &p);
    got(a, 2, RT_DOWN, ERR_LIMIT, there(8));
    does(a, do_monitor_name, 1, &p);
    got(a, 3, RT_DOWN, ERR_LIMIT, (rt_pid){1, 0, 0});
    assert_int_equal(p.messages, 5);
    does(a, do_unlink_there, 7, &p); /* not gone before it is acknowledged */
    dist_ctl ack = ctl(&p, DIST_SIG_UNLINK_ACK, a);
    ack.id = 1;
    ack.from.pid.serial = 7;
    say(&p, ack);
    does(a, do_link_there, 8, &p);
    assert_int_equal(a->n, 3);
    dist_ctl m = monitor_of(&p, "net_kernel");
    for (uint32_t i = 0; i < 4; i++) {
        m.ref.word[0] = i;
        say(&p, m);
    }
    says(&p, DIST_SIG_LINK, b);
    assert_false(p.c->closed); /* its own are counted apart */
    m.ref.word[0] = 9;
    put(&p, &m);
    talk(&p);
    assert_true(p.c->closed);
    peer_fini(&p);
    connect_as(&p, PEER);
    for (uint32_t i = 0; i < 6; i++) {
        dist_ctl c = ctl(&p, DIST_SIG_LINK, b);
        c.from.pid.serial = i;
        put(&p, &c);
    }
    talk(&p);
    assert_true(p.c->closed);
    peer_fini(&p);
    end_two();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_monitor_of_a_process_there),
        cmocka_unit_test(a_monitor_that_is_not_its_process_does_not_fire),
        cmocka_unit_test(a_reason_that_is_no_term_ends_the_link),
        cmocka_unit_test(a_monitor_is_taken_back),
        cmocka_unit_test(a_monitor_of_a_name),
        cmocka_unit_test(links_end_both_ways),
        cmocka_unit_test(a_link_from_both_sides_is_one),
        cmocka_unit_test(an_unlink_is_acknowledged),
        cmocka_unit_test(a_link_after_an_unlink_that_is_on_its_way),
        cmocka_unit_test(an_exit_crosses_an_unlink),
        cmocka_unit_test(the_peer_unlinks),
        cmocka_unit_test(a_link_crosses_the_peers_unlink),
        cmocka_unit_test(a_link_crosses_the_peers_unlink_between_shards),
        cmocka_unit_test(unlinks_of_nothing),
        cmocka_unit_test(a_peer_without_monitors),
        cmocka_unit_test(a_peer_without_numbers_of_unlinks),
        cmocka_unit_test(an_earlier_life_of_the_peer),
        cmocka_unit_test(exits_from_here),
        cmocka_unit_test(without_a_connection),
        cmocka_unit_test(all_ends_with_the_connection),
        cmocka_unit_test(what_a_full_link_did_not_take_is_answered),
        cmocka_unit_test(many_end_in_turns),
        cmocka_unit_test(all_is_freed_with_the_node),
        cmocka_unit_test(too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
