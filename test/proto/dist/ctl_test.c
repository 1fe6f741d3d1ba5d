/* ctl: every control message of ctl.def, read from bytes put together by hand after erl_dist_protocol and written back to the same bytes;
 * every one cut, bent and forged; and what is chosen for which peer. */
#include "proto/dist/ctl.h"
#include "support/cmocka_unit.h"
#include "support/dist_wire.h"

#define US   "us@host"
#define PEER "peer@host"
#define ALL  (~UINT64_C(0))

/* One control message by hand: its fields, a letter each as in ctl.def, in an order of its own for op 37. */
typedef struct sample {
    uint8_t op;
    dist_signal signal;
    const char *fields;
    bool payload;
    dist_addr_kind to;
    uint64_t agreed; /* flags with which it is chosen */
    uint32_t altact;
} sample;

#define F(name) DIST_FLAG(name)
static const sample SAMPLES[] = {
    {1, DIST_SIG_LINK, "ft", false, DIST_ADDR_PID, ALL, 0},
    {2, DIST_SIG_SEND, "ut", true, DIST_ADDR_PID, ALL & ~F(SEND_SENDER), 0},
    {3, DIST_SIG_EXIT, "ftx", false, DIST_ADDR_PID, ALL & ~F(EXIT_PAYLOAD), 0},
    {4, DIST_SIG_UNLINK, "ft", false, DIST_ADDR_PID, ALL & ~F(UNLINK_ID), 0},
    {6, DIST_SIG_SEND, "fun", true, DIST_ADDR_NAME, ALL, 0},
    {7, DIST_SIG_GROUP_LEADER, "gt", false, DIST_ADDR_PID, ALL, 0},
    {8, DIST_SIG_EXIT2, "ftx", false, DIST_ADDR_PID, ALL & ~F(EXIT_PAYLOAD), 0},
    {12, DIST_SIG_SEND, "utk", true, DIST_ADDR_PID, ALL & ~F(SEND_SENDER), 0},
    {13, DIST_SIG_EXIT, "ftkx", false, DIST_ADDR_PID, ALL & ~F(EXIT_PAYLOAD), 0},
    {16, DIST_SIG_SEND, "funk", true, DIST_ADDR_NAME, ALL, 0},
    {18, DIST_SIG_EXIT2, "ftkx", false, DIST_ADDR_PID, ALL & ~F(EXIT_PAYLOAD), 0},
    {19, DIST_SIG_MONITOR, "ftR", false, DIST_ADDR_PID, ALL, 0},
    {19, DIST_SIG_MONITOR, "fnR", false, DIST_ADDR_NAME, ALL, 0},
    {20, DIST_SIG_DEMONITOR, "ftR", false, DIST_ADDR_PID, ALL, 0},
    {20, DIST_SIG_DEMONITOR, "fnR", false, DIST_ADDR_NAME, ALL, 0},
    {21, DIST_SIG_DOWN, "ftrx", false, DIST_ADDR_PID, ALL & ~F(EXIT_PAYLOAD), 0},
    {21, DIST_SIG_DOWN, "Ntrx", false, DIST_ADDR_PID, ALL & ~F(EXIT_PAYLOAD), 0},
    {22, DIST_SIG_SEND, "ft", true, DIST_ADDR_PID, ALL, 0},
    {23, DIST_SIG_SEND, "ftk", true, DIST_ADDR_PID, ALL, 0},
    {24, DIST_SIG_EXIT, "ft", true, DIST_ADDR_PID, ALL, 0},
    {25, DIST_SIG_EXIT, "ftk", true, DIST_ADDR_PID, ALL, 0},
    {26, DIST_SIG_EXIT2, "ft", true, DIST_ADDR_PID, ALL, 0},
    {27, DIST_SIG_EXIT2, "ftk", true, DIST_ADDR_PID, ALL, 0},
    {28, DIST_SIG_DOWN, "ftr", true, DIST_ADDR_PID, ALL, 0},
    {28, DIST_SIG_DOWN, "Ntr", true, DIST_ADDR_PID, ALL, 0},
    {29, DIST_SIG_SPAWN, "Rfgmo", true, DIST_ADDR_NONE, ALL, 0},
    {30, DIST_SIG_SPAWN, "Rfgmok", true, DIST_ADDR_NONE, ALL, 0},
    {31, DIST_SIG_SPAWN_REPLY, "rtbf", false, DIST_ADDR_PID, ALL, 0},
    {31, DIST_SIG_SPAWN_REPLY, "rtbN", false, DIST_ADDR_PID, ALL, 0},
    {32, DIST_SIG_SPAWN_REPLY, "rtbfk", false, DIST_ADDR_PID, ALL, 0},
    {33, DIST_SIG_SEND, "fa", true, DIST_ADDR_ALIAS, ALL & ~F(ALTACT_SIG), 0},
    {34, DIST_SIG_SEND, "fak", true, DIST_ADDR_ALIAS, ALL & ~F(ALTACT_SIG), 0},
    {35, DIST_SIG_UNLINK, "ift", false, DIST_ADDR_PID, ALL, 0},
    {36, DIST_SIG_UNLINK_ACK, "ift", false, DIST_ADDR_PID, ALL, 0},
    {37, DIST_SIG_SEND, "Bfa", true, DIST_ADDR_ALIAS, ALL, 4},
    {37, DIST_SIG_SEND, "Bfak", true, DIST_ADDR_ALIAS, ALL, 6},
    {37, DIST_SIG_SEND, "Bfa", true, DIST_ADDR_ALIAS, ALL, 5},
    {37, DIST_SIG_SEND, "Bft", true, DIST_ADDR_PID, ALL, 1},
    {37, DIST_SIG_SEND, "Bfn", true, DIST_ADDR_NAME, ALL, 9},
    {37, DIST_SIG_SEND, "Bfnk", true, DIST_ADDR_NAME, ALL, 11},
    {37, DIST_SIG_EXIT2, "Bft", true, DIST_ADDR_PID, ALL, 17},
    {37, DIST_SIG_EXIT2, "Bfn", true, DIST_ADDR_NAME, ALL, 24},
    {37, DIST_SIG_EXIT2, "Bfa", true, DIST_ADDR_ALIAS, ALL, 20},
    {37, DIST_SIG_EXIT2, "Bfa", true, DIST_ADDR_ALIAS, ALL, 21},
};

static void hand_field(buf *b, const sample *s, char letter) {
    switch (letter) {
    case 'f': wire_pid(b, PEER, 100, 1, 7); break;
    case 't': wire_pid(b, US, 200, 2, 9); break;
    case 'g': wire_pid(b, "third@host", 300, 3, 11); break;
    case 'n':
    case 'N': wire_atom(b, "shard_srv"); break;
    case 'a':
    case 'r': wire_ref(b, US, 9, 77); break;
    case 'R': wire_ref(b, PEER, 7, 78); break;
    case 'u': wire_atom(b, ""); break;
    case 'k': WIRE(b, "h\2a\1j"); break;
    case 'x': WIRE(b, "w\4kill"); break;
    case 'i': WIRE(b, "n\10\0\xff\xff\xff\xff\xff\xff\xff\xff"); break; /* the largest id */
    case 'b': WIRE(b, "a\3"); break;
    case 'm': WIRE(b, "h\3w\5listsw\7reversea\1"); break;
    case 'o': WIRE(b, "l\0\0\0\1w\4linkj"); break;
    case 'B': buf_add_byte(b, 97), buf_add_byte(b, (uint8_t)s->altact); break;
    default: fail();
    }
}

static const char PAYLOAD[] = "l\0\0\0\1w\5helloj"; /* [hello] */
static slice payload(void) { return slice_of(PAYLOAD, sizeof PAYLOAD - 1); }

static void hand(buf *b, const sample *s, const char *fields) {
    buf_add_byte(b, 'h');
    buf_add_byte(b, (uint8_t)(1 + strlen(fields)));
    buf_add_byte(b, 'a');
    buf_add_byte(b, s->op);
    for (const char *f = fields; *f; f++) hand_field(b, s, *f);
}

static err read_ctl(slice body, bool versions, dist_ctl *out) {
    dist_message m = {.body = body, .versions = versions};
    const char *why = NULL;
    err e = dist_ctl_read(&m, NULL, out, &why);
    assert_true((e == ERR_OK) == (why == NULL));
    return e;
}

/* What s is, read from *out, which is made here and holds its bytes; the caller ends it. */
static dist_ctl whole(const sample *s, buf *out) {
    dist_ctl c;
    buf_init(out, 4096);
    hand(out, s, s->fields);
    if (s->payload) buf_add(out, payload());
    assert_int_equal(read_ctl(buf_slice(out), false, &c), ERR_OK);
    return c;
}

static void assert_pid(const etf_pid *p, const char *node, uint32_t id) {
    assert_true(slice_is(p->node, node));
    assert_int_equal(p->id, id);
}

static bool has(const sample *s, char letter) { return strchr(s->fields, letter) != NULL; }

static void assert_read(const sample *s, const dist_ctl *c) {
    assert_int_equal(c->op, s->op);
    assert_int_equal(c->signal, s->signal);
    assert_int_equal(c->priority, s->altact & 1);
    assert_int_equal(c->to.kind, s->to);
    assert_int_equal(c->from.kind, has(s, 'f') ? DIST_ADDR_PID : has(s, 'N') ? DIST_ADDR_NAME : DIST_ADDR_NONE);
    if (has(s, 'f')) assert_pid(&c->from.pid, PEER, 100);
    if (has(s, 't')) assert_pid(&c->to.pid, US, 200);
    if (has(s, 'n')) assert_true(slice_is(c->to.name, "shard_srv"));
    if (has(s, 'N')) assert_true(slice_is(c->from.name, "shard_srv"));
    if (has(s, 'a')) assert_int_equal(c->to.alias.word[0], 77);
    assert_int_equal(c->ref.n, has(s, 'r') || has(s, 'R'));
    if (c->ref.n) assert_int_equal(c->ref.word[0], has(s, 'r') ? 77 : 78);
    assert_int_equal(c->token.p != NULL, has(s, 'k'));
    if (has(s, 'k')) assert_true(slice_is(c->token, "h\2a\1j"));
    assert_true(c->id == (has(s, 'i') ? UINT64_MAX : 0));
    assert_int_equal(c->flags, has(s, 'b') ? DIST_SPAWN_LINK | DIST_SPAWN_MONITOR : 0);
    bool reason = s->signal == DIST_SIG_EXIT || s->signal == DIST_SIG_EXIT2 || s->signal == DIST_SIG_DOWN;
    assert_int_equal(c->reason.p != NULL, reason);
    if (has(s, 'x')) assert_true(slice_is(c->reason, "w\4kill"));
    if (s->payload) assert_true(slice_eq(reason ? c->reason : c->payload, payload()));
    assert_int_equal(c->payload.p != NULL, s->payload && !reason);
    assert_int_equal(c->options.p != NULL, has(s, 'o'));
    if (has(s, 'g')) assert_pid(&c->leader, "third@host", 300);
    if (!has(s, 'm')) return;
    assert_true(slice_is(c->module, "lists"));
    assert_true(slice_is(c->function, "reverse"));
    assert_int_equal(c->arity, 1);
}

static void every_control_message_is_read_and_written_back(void **state) {
    (void)state;
    bool seen[DIST_OP_MAX + 1] = {0};
    for (size_t i = 0; i < ARRAY_LEN(SAMPLES); i++) {
        const sample *s = &SAMPLES[i];
        buf b, again;
        buf_init(&again, 4096);
        dist_ctl c = whole(s, &b);
        size_t len = b.len - (s->payload ? payload().len : 0);
        assert_read(s, &c);
        assert_null(dist_ctl_forged(&c, SLICE(US), SLICE(PEER)));
        dist_op op;
        assert_int_equal(dist_ctl_choose(&c, s->agreed, &op), ERR_OK);
        assert_int_equal(op, s->op);
        assert_int_equal(dist_ctl_write(&c, op, s->agreed, &(dist_pen){&again, NULL}), ERR_OK);
        assert_true(slice_eq(buf_slice(&again), slice_sub(buf_slice(&b), 0, len)));
        assert_true(slice_eq(dist_ctl_payload(&c, op), s->payload ? payload() : SLICE_NULL));
        seen[s->op] = true;
        buf_fini(&b);
        buf_fini(&again);
    }
    for (unsigned op = 0; op <= DIST_OP_MAX; op++) assert_int_equal(seen[op], dist_op_name(op) != NULL && op != DIST_OP_NODE_LINK);
}

static void without_a_header_each_term_has_its_version(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(SAMPLES); i++) {
        const sample *s = &SAMPLES[i];
        buf b;
        dist_ctl c;
        buf_init(&b, 4096);
        buf_add_byte(&b, 131);
        hand(&b, s, s->fields);
        size_t len = b.len;
        if (s->payload) {
            assert_int_equal(read_ctl(buf_slice(&b), true, &c), ERR_PROTO);
            buf_add(&b, payload());
            assert_int_equal(read_ctl(buf_slice(&b), true, &c), ERR_PROTO);
            b.len = len;
            buf_add_byte(&b, 131);
            assert_int_equal(read_ctl(buf_slice(&b), true, &c), ERR_PROTO);
            buf_add(&b, payload());
        }
        assert_int_equal(read_ctl(buf_slice(&b), true, &c), ERR_OK);
        assert_read(s, &c);
        assert_int_equal(read_ctl(slice_from(buf_slice(&b), 1), true, &c), ERR_PROTO);
        buf_fini(&b);
    }
}

/* Wherever it is cut, with an element more or less, or one of another kind. */
static void every_control_message_that_is_bent_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(SAMPLES); i++) {
        const sample *s = &SAMPLES[i];
        buf b;
        dist_ctl c;
        buf_init(&b, 4096);
        hand(&b, s, s->fields);
        for (size_t cut = 0; cut < b.len; cut++) assert_int_equal(read_ctl(slice_sub(buf_slice(&b), 0, cut), false, &c), ERR_PROTO);
        assert_int_equal(read_ctl(buf_slice(&b), false, &c), s->payload ? ERR_PROTO : ERR_OK);
        if (!s->payload) {
            buf_add_byte(&b, 'j');
            assert_int_equal(read_ctl(buf_slice(&b), false, &c), ERR_PROTO);
        }
        size_t n = strlen(s->fields);
        for (size_t k = 0; k < n; k++) {
            char fields[16];
            size_t len = 0;
            for (size_t f = 0; f < n; f++)
                if (f != k) fields[len++] = s->fields[f];
            fields[len] = 0;
            buf_reset(&b);
            hand(&b, s, fields);
            if (s->payload) buf_add(&b, payload());
            if (s->op == 37 && s->fields[k] == 'k') continue; /* left out of a longer tuple: covered below */
            assert_int_equal(read_ctl(buf_slice(&b), false, &c), ERR_PROTO);
            if (strchr("ukxo", s->fields[k])) continue; /* any term will do there */
            buf_reset(&b);
            hand(&b, s, "");
            b.p[1] = (uint8_t)(n + 1);
            for (size_t f = 0; f < n; f++) {
                if (f == k)
                    WIRE(&b, "m\0\0\0\1x");
                else
                    hand_field(&b, s, s->fields[f]);
            }
            if (s->payload) buf_add(&b, payload());
            assert_int_equal(read_ctl(buf_slice(&b), false, &c), ERR_PROTO);
        }
        buf_fini(&b);
    }
}

/* As many elements as the tuple says, but not as many as the message has. */
static void a_tuple_that_is_longer_or_shorter_than_it_should_be_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(SAMPLES); i++) {
        const sample *s = &SAMPLES[i];
        for (unsigned longer = 0; longer < 2; longer++) {
            buf b;
            dist_ctl c;
            if (s->op == 37 && (longer || has(s, 'k'))) continue; /* that one may grow */
            buf_init(&b, 1024);
            hand(&b, s, s->fields);
            b.p[1] = (uint8_t)(longer ? b.p[1] + 1 : b.p[1] - 1);
            if (longer) buf_add_byte(&b, 'j');
            if (s->payload) buf_add(&b, payload());
            assert_int_equal(read_ctl(buf_slice(&b), false, &c), ERR_PROTO);
            buf_fini(&b);
        }
    }
    static const sample spawn = {29, DIST_SIG_SPAWN, "", true, DIST_ADDR_NONE, ALL, 0};
    buf b;
    dist_ctl c;
    buf_init(&b, 1024); /* the same of {Module, Function, Arity} */
    hand(&b, &spawn, "Rfg");
    b.p[1] = 6;
    WIRE(&b, "h\4w\5listsw\7reversea\1j");
    hand_field(&b, &spawn, 'o');
    buf_add(&b, payload());
    assert_int_equal(read_ctl(buf_slice(&b), false, &c), ERR_PROTO);
    buf_fini(&b);
}

static void what_is_unknown_or_no_control_message_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        bool ok;
    } cases[] = {{"", 0, false},
                 {"h\0", 2, false},
                 {"h\1a\x63", 4, false},
                 {"h\1a\0", 4, false},
                 {"h\1a\x09", 4, false},
                 {"h\1w\1x", 5, false},
                 {"a\1", 2, false},
                 {"j", 1, false},
                 {"h\1b\xff\xff\xff\xff", 7, false},
                 {"h\1a\5", 4, true},
                 {"h\2a\5a\1", 6, false},
                 {"h\1n\1\0\5", 6, true},
                 {"i\0\0\0\1a\5", 7, true},
                 {"h\1b\0\1\0\1", 7, false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        dist_ctl c;
        assert_int_equal(read_ctl(slice_of(cases[i].bytes, cases[i].len), false, &c), cases[i].ok ? ERR_OK : ERR_PROTO);
        if (cases[i].ok) assert_int_equal(c.signal, DIST_SIG_NODE_LINK);
    }
}

static void altact_may_grow_and_its_flags_too(void **state) {
    (void)state;
    static const sample s = {37, DIST_SIG_SEND, "", true, DIST_ADDR_PID, ALL, 0};
    static const struct {
        const char *flags;
        size_t len;
        const char *rest;
        bool ok, priority, token;
    } cases[] = {{"a\x20", 2, "ft", true, false, false},                       /* a bit that nobody knows yet */
                 {"n\x09\0\1\0\0\0\0\0\0\0\x40", 12, "ft", true, true, false}, /* 2^70 + 1 */
                 {"b\0\1\0\1", 5, "ftk", true, true, false},                   /* a fifth element that is not flagged as a token */
                 {"a\2", 2, "ftkko", true, false, true},                       /* and more after the token */
                 {"a\2", 2, "ft", false, false, false},                        /* flagged and not there */
                 {"a\x0c", 2, "fa", false, false, false},                      /* an alias and a name */
                 {"n\1\1\1", 4, "ft", false, false, false},                    /* -1 */
                 {"n\x09\1\1\0\0\0\0\0\0\0\x40", 12, "ft", false, false, false},
                 {"a\4", 2, "ft", false, false, false},
                 {"a\x08", 2, "ft", false, false, false},
                 {"a\0", 2, "fa", false, false, false},
                 {"a\0", 2, "fn", false, false, false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf b;
        dist_ctl c;
        buf_init(&b, 1024);
        hand(&b, &s, "");
        b.p[1] = (uint8_t)(2 + strlen(cases[i].rest));
        buf_add(&b, slice_of(cases[i].flags, cases[i].len));
        for (const char *f = cases[i].rest; *f; f++) hand_field(&b, &s, *f);
        buf_add(&b, payload());
        assert_int_equal(read_ctl(buf_slice(&b), false, &c), cases[i].ok ? ERR_OK : ERR_PROTO);
        if (cases[i].ok) {
            assert_int_equal(c.priority, cases[i].priority);
            assert_int_equal(c.token.p != NULL, cases[i].token);
            assert_true(slice_eq(c.payload, payload()));
        } else {
            buf_add(&b, payload()); /* what follows the tuple is not its token */
            assert_int_equal(read_ctl(buf_slice(&b), false, &c), ERR_PROTO);
        }
        buf_fini(&b);
    }
}

static void an_unlink_has_an_id_of_1_to_the_largest_of_64_bits(void **state) {
    (void)state;
    static const sample s = {35, DIST_SIG_UNLINK, "", false, DIST_ADDR_PID, ALL, 0};
    static const struct {
        const char *id;
        size_t len;
        bool ok;
    } cases[] = {{"a\0", 2, false},
                 {"a\1", 2, true},
                 {"n\x09\0\0\0\0\0\0\0\0\0\1", 12, false},
                 {"n\x08\1\xff\xff\xff\xff\xff\xff\xff\xff", 11, false},
                 {"n\1\1\1", 4, false},
                 {"w\1x", 3, false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf b;
        dist_ctl c;
        buf_init(&b, 1024);
        hand(&b, &s, "");
        b.p[1] = 4;
        buf_add(&b, slice_of(cases[i].id, cases[i].len));
        hand_field(&b, &s, 'f');
        hand_field(&b, &s, 't');
        assert_int_equal(read_ctl(buf_slice(&b), false, &c), cases[i].ok ? ERR_OK : ERR_PROTO);
        buf_fini(&b);
    }
}

/* {6, Pid, '', Name} as OTP 25 writes it once the names are in the cache: each atom, also '', is a reference. */
static void the_atoms_of_the_header_stand_for_names(void **state) {
    (void)state;
    static const slice atoms[] = {{(const uint8_t *)PEER, sizeof PEER - 1}, {(const uint8_t *)"", 0}, {(const uint8_t *)"shard_srv", 9}};
    static const char body[] = "h\4a\6XR\0\0\0\0\x64\0\0\0\1\0\0\0\7R\1R\2w\2hi";
    dist_message m = {.body = slice_of(body, sizeof body - 1), .atoms = {atoms, 3}};
    dist_ctl c;
    const char *why;
    assert_int_equal(dist_ctl_read(&m, NULL, &c, &why), ERR_OK);
    assert_pid(&c.from.pid, PEER, 100);
    assert_true(slice_is(c.to.name, "shard_srv"));
    assert_true(slice_is(c.payload, "w\2hi"));
    assert_true(dist_ctl_payload_is_term(&m, &c, NULL));
    m.atoms.n = 2;
    assert_int_equal(dist_ctl_read(&m, NULL, &c, &why), ERR_PROTO);
}

static void a_payload_is_one_term_and_nothing_else(void **state) {
    (void)state;
    static const char *const bodies[] = {"w\2hi", "w\2hij", "w\2h", "h\2a\1", "\x50"};
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        buf b;
        buf_init(&b, 1024);
        hand(&b, &SAMPLES[17], "ft");
        buf_add_str(&b, bodies[i]);
        dist_message m = {.body = buf_slice(&b)};
        dist_ctl c;
        const char *why;
        assert_int_equal(dist_ctl_read(&m, NULL, &c, &why), ERR_OK);
        assert_int_equal(dist_ctl_payload_is_term(&m, &c, NULL), i == 0);
        buf_fini(&b);
    }
}

/* Ours for theirs and theirs for ours, in every message but those whose sender means nothing. */
static void who_is_meant_must_be_of_the_right_node(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(SAMPLES); i++) {
        const sample *s = &SAMPLES[i];
        buf b;
        dist_ctl c = whole(s, &b);
        bool from = has(s, 'f') && s->signal != DIST_SIG_SEND, to = has(s, 't') || has(s, 'a');
        assert_int_equal(dist_ctl_forged(&c, SLICE(US), SLICE("other@host")) != NULL, from || has(s, 'R'));
        assert_int_equal(dist_ctl_forged(&c, SLICE("other@host"), SLICE(PEER)) != NULL, to || has(s, 'r'));
        dist_ctl bent = c;
        if (from) {
            bent.from.pid.node = SLICE(US);
            assert_non_null(dist_ctl_forged(&bent, SLICE(US), SLICE(PEER)));
        }
        bent = c;
        if (has(s, 't')) {
            bent.to.pid.node = SLICE(PEER);
            assert_non_null(dist_ctl_forged(&bent, SLICE(US), SLICE(PEER)));
        }
        bent = c;
        if (c.ref.n) {
            bent.ref.node = SLICE("third@host");
            assert_non_null(dist_ctl_forged(&bent, SLICE(US), SLICE(PEER)));
        }
        buf_fini(&b);
    }
}

static void what_a_peer_does_not_know_cannot_be_said_to_it(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(SAMPLES); i++) {
        const sample *s = &SAMPLES[i];
        buf b;
        dist_ctl c = whole(s, &b);
        dist_op op;
        bool old = s->signal == DIST_SIG_LINK || s->signal == DIST_SIG_UNLINK || s->signal == DIST_SIG_EXIT ||
                   s->signal == DIST_SIG_EXIT2 || s->signal == DIST_SIG_SEND || s->signal == DIST_SIG_GROUP_LEADER;
        err e = dist_ctl_choose(&c, 0, &op);
        bool newer = c.to.kind == DIST_ADDR_ALIAS || (s->signal == DIST_SIG_EXIT2 && c.to.kind == DIST_ADDR_NAME);
        assert_int_equal(e, old && !newer ? ERR_OK : ERR_UNSUPPORTED);
        if (!e) assert_int_equal(dist_op_needs(op), 0);
        e = dist_ctl_choose(&c, ALL & ~F(DIST_MONITOR_NAME), &op);
        assert_int_equal(e, (has(s, 'n') && c.ref.n) || (has(s, 'N') && s->signal == DIST_SIG_DOWN) ? ERR_UNSUPPORTED : ERR_OK);
        if (s->altact & 1 && c.to.kind == DIST_ADDR_PID) { /* priority is lost, the message is not */
            assert_int_equal(dist_ctl_choose(&c, ALL & ~F(ALTACT_SIG), &op), ERR_OK);
            assert_int_equal(op, s->signal == DIST_SIG_SEND ? DIST_OP_SEND_SENDER : DIST_OP_PAYLOAD_EXIT2);
        }
        buf_fini(&b);
    }
}

static void a_peer_of_small_numbers_gets_no_large_ones(void **state) {
    (void)state;
    dist_ctl c = {.signal = DIST_SIG_SEND, .payload = payload()};
    buf b;
    buf_init(&b, 1024);
    c.from = (dist_addr){.kind = DIST_ADDR_PID, .pid = {SLICE(US), 1, 1, 9}};
    c.to = (dist_addr){.kind = DIST_ADDR_PID, .pid = {SLICE(PEER), 1u << 15, 1, 9}};
    assert_int_equal(dist_ctl_write(&c, DIST_OP_SEND_SENDER, ALL, &(dist_pen){&b, NULL}), ERR_OK);
    assert_int_equal(dist_ctl_write(&c, DIST_OP_SEND_SENDER, ALL & ~F(V4_NC), &(dist_pen){&b, NULL}), ERR_UNSUPPORTED);
    c.to.pid.id--;
    assert_int_equal(dist_ctl_write(&c, DIST_OP_SEND_SENDER, ALL & ~F(V4_NC), &(dist_pen){&b, NULL}), ERR_OK);
    buf_fini(&b);
}

static unsigned reports;
static void count_report(void *arg, const char *line) {
    (void)arg;
    (void)line;
    reports++;
}

static void a_signal_without_what_it_has_to_have_is_our_mistake(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 1024);
    dist_pen pen = {&b, NULL};
    dist_ctl c = {.signal = DIST_SIG_LINK};
    err_set_reporter(count_report, NULL);
    assert_int_equal(dist_ctl_write(&c, DIST_OP_LINK, ALL, &pen), ERR_BUG);
    assert_int_equal(dist_ctl_write(&c, (dist_op)9, ALL, &pen), ERR_BUG);
    assert_int_equal(dist_ctl_write(&c, (dist_op)200, ALL, &pen), ERR_BUG);
    err_set_reporter(NULL, NULL);
    assert_int_equal(reports, 4); /* from and to, and each unknown op */
    c.from = c.to = (dist_addr){.kind = DIST_ADDR_PID, .pid = {SLICE(US), 1, 1, 9}};
    assert_int_equal(dist_ctl_write(&c, DIST_OP_UNLINK_ID, ALL, &pen), ERR_BUG);
    assert_int_equal(dist_ctl_write(&c, DIST_OP_EXIT, ALL, &pen), ERR_BUG);
    assert_int_equal(dist_ctl_write(&c, DIST_OP_MONITOR_P, ALL, &pen), ERR_BUG);
    dist_op op;
    c.signal = DIST_SIG_NODE_LINK;
    assert_int_equal(dist_ctl_choose(&c, ALL, &op), ERR_UNSUPPORTED);
    buf_fini(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_control_message_is_read_and_written_back),
        cmocka_unit_test(without_a_header_each_term_has_its_version),
        cmocka_unit_test(every_control_message_that_is_bent_is_refused),
        cmocka_unit_test(a_tuple_that_is_longer_or_shorter_than_it_should_be_is_refused),
        cmocka_unit_test(what_is_unknown_or_no_control_message_is_refused),
        cmocka_unit_test(altact_may_grow_and_its_flags_too),
        cmocka_unit_test(an_unlink_has_an_id_of_1_to_the_largest_of_64_bits),
        cmocka_unit_test(the_atoms_of_the_header_stand_for_names),
        cmocka_unit_test(a_payload_is_one_term_and_nothing_else),
        cmocka_unit_test(who_is_meant_must_be_of_the_right_node),
        cmocka_unit_test(what_a_peer_does_not_know_cannot_be_said_to_it),
        cmocka_unit_test(a_peer_of_small_numbers_gets_no_large_ones),
        cmocka_unit_test(a_signal_without_what_it_has_to_have_is_our_mistake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
