/* dist_ctl_fuzz: a message; the first byte says whether its terms have version bytes. Oracle: what is read and can be said to a peer that
 * knows everything, or nothing that is new, is written, read again and means the same. */
#include "proto/dist/ctl.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const slice ATOMS[] = {{(const uint8_t *)"a@b", 3}, {(const uint8_t *)"", 0}, {(const uint8_t *)"shard_srv", 9}};

static void demand(bool ok) {
    if (!ok) abort();
}

static void say_addr(buf *out, const dist_addr *a) {
    buf_addf(out, " %d:", a->kind);
    if (a->kind == DIST_ADDR_PID) etf_put_pid(out, &a->pid);
    if (a->kind == DIST_ADDR_NAME) etf_put_atom(out, a->name);
    if (a->kind == DIST_ADDR_ALIAS) etf_put_ref(out, &a->alias);
}

/* A term without references, in a buffer of its own. */
static slice settle(const dist_message *m, slice term, arena *mem) {
    if (!term.p) return term;
    etf_reader r = dist_message_reader(m, term, mem);
    buf out;
    buf_init(&out, 1u << 24);
    demand(etf_copy(&r, &out));
    slice s = arena_dup(mem, buf_slice(&out));
    demand(s.p != NULL);
    buf_fini(&out);
    return s;
}

/* All that a control message says, but how. */
static void say(const dist_ctl *c, buf *out) {
    buf_addf(out, "%s %u %u %llu", dist_signal_name(c->signal), c->arity, c->flags, (unsigned long long)c->id);
    say_addr(out, &c->from);
    say_addr(out, &c->to);
    if (c->ref.n) etf_put_ref(out, &c->ref);
    if (c->leader.node.p) etf_put_pid(out, &c->leader);
    const slice rest[] = {c->token, c->payload, c->reason, c->module, c->function, c->options};
    for (size_t i = 0; i < ARRAY_LEN(rest); i++) {
        buf_addf(out, " %d:", rest[i].p != NULL);
        buf_add(out, rest[i]);
    }
}

static void again(const dist_ctl *c, uint64_t agreed) {
    dist_op op;
    dist_ctl d;
    const char *why;
    buf b, want, got;
    if (dist_ctl_choose(c, agreed, &op)) return;
    buf_init(&b, 1u << 24);
    buf_init(&want, 1u << 24);
    buf_init(&got, 1u << 24);
    dist_pen pen = {&b, NULL};
    demand(dist_ctl_write(c, op, agreed, &pen) == ERR_OK);
    buf_add(&b, dist_ctl_payload(c, op));
    dist_message m = {.body = buf_slice(&b)};
    demand(dist_ctl_read(&m, NULL, &d, &why) == ERR_OK);
    demand(d.op == op);
    if (d.from.kind == DIST_ADDR_NONE) d.from = c->from; /* op 2 does not tell */
    if (op == DIST_OP_UNLINK) d.id = c->id;
    say(c, &want);
    say(&d, &got);
    demand(slice_eq(buf_slice(&want), buf_slice(&got)));
    buf_fini(&b);
    buf_fini(&want);
    buf_fini(&got);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    dist_message m = {.body = slice_of(data + 1, size - 1), .atoms = {ATOMS, ARRAY_LEN(ATOMS)}, .versions = data[0] & 1};
    dist_ctl c;
    const char *why = NULL;
    arena mem;
    arena_init(&mem, 1u << 24);
    err e = dist_ctl_read(&m, &mem, &c, &why);
    demand((e == ERR_OK) == (why == NULL));
    if (!e && dist_ctl_payload_is_term(&m, &c, &mem)) {
        slice *const terms[] = {&c.token, &c.payload, &c.reason, &c.options};
        for (size_t i = 0; i < ARRAY_LEN(terms); i++) *terms[i] = settle(&m, *terms[i], &mem);
        (void)dist_ctl_forged(&c, ATOMS[0], SLICE("us@host"));
        bool told = c.from.kind != DIST_ADDR_NONE || c.signal != DIST_SIG_SEND; /* what op 2 leaves out, no other can say */
        bool numbered = c.signal != DIST_SIG_UNLINK || c.id != 0;
        if (told && numbered) again(&c, ~UINT64_C(0));
        if (told) again(&c, DIST_FLAG(V4_NC));
    }
    arena_fini(&mem);
    return 0;
}
