/* ctl_write: a signal to the control message that this peer understands.
 *
 *                  newest that both know <------------------------------------> what every peer knows
 *     send, pid    37 if it has priority     22 SEND_SENDER                     2 SEND
 *     send, name   37 if it has priority                                        6 REG_SEND
 *     send, alias  37                        33 ALIAS_SEND                      (none)
 *     exit                                   24 PAYLOAD_EXIT                    3 EXIT
 *     exit/2       37 if priority, not a pid 26 PAYLOAD_EXIT2                   8 EXIT2
 *     down                                   28 PAYLOAD_MONITOR_P_EXIT          21 MONITOR_P_EXIT
 *     unlink                                 35 UNLINK_ID                       4 UNLINK
 *
 * Each has a twin with a token. OTP 28 calls 33 deprecated, and so 37 is taken where it may be. */
#include "proto/dist/ctl_table.h"

static bool agreed_on(uint64_t agreed, uint64_t flags) { return (agreed & flags) == flags; }

/* 37 is for what nothing else can say, and for aliases. */
static bool wants_altact(const dist_ctl *c, uint64_t agreed) {
    return (c->priority || c->to.kind == DIST_ADDR_ALIAS) && agreed_on(agreed, DIST_FLAG(ALTACT_SIG));
}

static dist_op op_of_send(const dist_ctl *c, uint64_t agreed) {
    if (wants_altact(c, agreed)) return DIST_OP_ALTACT_SIG_SEND;
    switch (c->to.kind) {
    case DIST_ADDR_PID:
        if (agreed_on(agreed, DIST_FLAG(SEND_SENDER))) return c->token.p ? DIST_OP_SEND_SENDER_TT : DIST_OP_SEND_SENDER;
        return c->token.p ? DIST_OP_SEND_TT : DIST_OP_SEND;
    case DIST_ADDR_ALIAS: return c->token.p ? DIST_OP_ALIAS_SEND_TT : DIST_OP_ALIAS_SEND;
    case DIST_ADDR_NAME:
    case DIST_ADDR_NONE: break;
    }
    return c->token.p ? DIST_OP_REG_SEND_TT : DIST_OP_REG_SEND;
}

static dist_op op_of_exit(const dist_ctl *c, uint64_t agreed) {
    if (agreed_on(agreed, DIST_FLAG(EXIT_PAYLOAD))) return c->token.p ? DIST_OP_PAYLOAD_EXIT_TT : DIST_OP_PAYLOAD_EXIT;
    return c->token.p ? DIST_OP_EXIT_TT : DIST_OP_EXIT;
}

static dist_op op_of_exit2(const dist_ctl *c, uint64_t agreed) {
    if (wants_altact(c, agreed) || c->to.kind != DIST_ADDR_PID) return DIST_OP_ALTACT_SIG_SEND;
    if (agreed_on(agreed, DIST_FLAG(EXIT_PAYLOAD))) return c->token.p ? DIST_OP_PAYLOAD_EXIT2_TT : DIST_OP_PAYLOAD_EXIT2;
    return c->token.p ? DIST_OP_EXIT2_TT : DIST_OP_EXIT2;
}

static dist_op op_of(const dist_ctl *c, uint64_t agreed) {
    switch (c->signal) {
    case DIST_SIG_SEND: return op_of_send(c, agreed);
    case DIST_SIG_LINK: return DIST_OP_LINK;
    case DIST_SIG_UNLINK: return agreed_on(agreed, DIST_FLAG(UNLINK_ID)) ? DIST_OP_UNLINK_ID : DIST_OP_UNLINK;
    case DIST_SIG_UNLINK_ACK: return DIST_OP_UNLINK_ID_ACK;
    case DIST_SIG_EXIT: return op_of_exit(c, agreed);
    case DIST_SIG_EXIT2: return op_of_exit2(c, agreed);
    case DIST_SIG_MONITOR: return DIST_OP_MONITOR_P;
    case DIST_SIG_DEMONITOR: return DIST_OP_DEMONITOR_P;
    case DIST_SIG_DOWN: return agreed_on(agreed, DIST_FLAG(EXIT_PAYLOAD)) ? DIST_OP_PAYLOAD_MONITOR_P_EXIT : DIST_OP_MONITOR_P_EXIT;
    case DIST_SIG_GROUP_LEADER: return DIST_OP_GROUP_LEADER;
    case DIST_SIG_SPAWN: return c->token.p ? DIST_OP_SPAWN_REQUEST_TT : DIST_OP_SPAWN_REQUEST;
    case DIST_SIG_SPAWN_REPLY: return c->token.p ? DIST_OP_SPAWN_REPLY_TT : DIST_OP_SPAWN_REPLY;
    case DIST_SIG_NODE_LINK: break;
    }
    return DIST_OP_NODE_LINK;
}

err dist_ctl_choose(const dist_ctl *c, uint64_t agreed, dist_op *out_op) {
    dist_op op = op_of(c, agreed);
    const dist_ctl_row *row = &dist_ctl_rows[op];
    bool by_name = c->signal == DIST_SIG_MONITOR || c->signal == DIST_SIG_DEMONITOR
                       ? c->to.kind == DIST_ADDR_NAME
                       : c->signal == DIST_SIG_DOWN && c->from.kind == DIST_ADDR_NAME;
    uint64_t needs = row->needs | (by_name ? DIST_FLAG(DIST_MONITOR_NAME) : 0);
    if (row->way != DIST_WAY_BOTH || !agreed_on(agreed, needs)) return ERR_UNSUPPORTED;
    *out_op = op;
    return ERR_OK;
}

/* Writing: the first thing that goes wrong, and where to. */
typedef struct writing {
    dist_pen *pen;
    const dist_ctl *c;
    bool small; /* the peer knows small identities only */
    err e;
} writing;

static void need(writing *w, bool is, err e) {
    if (!is && w->e == ERR_OK) w->e = e;
}

static void put_pid(writing *w, const etf_pid *pid) {
    need(w, !w->small || etf_pid_is_small(pid), ERR_UNSUPPORTED);
    dist_put_pid(w->pen, pid);
}

static void put_ref(writing *w, const etf_ref *ref) {
    need(w, ref->n > 0, ERR_BUG);
    if (ref->n == 0) return;
    need(w, !w->small || etf_ref_is_small(ref), ERR_UNSUPPORTED);
    dist_put_ref(w->pen, ref);
}

/* kinds: which of them may stand there, a bit for each. */
static void put_addr(writing *w, const dist_addr *a, unsigned kinds) {
    if (!check(kinds & 1u << a->kind)) {
        need(w, false, ERR_BUG);
        return;
    }
    switch (a->kind) {
    case DIST_ADDR_PID: put_pid(w, &a->pid); break;
    case DIST_ADDR_NAME: dist_put_atom(w->pen, a->name); break;
    case DIST_ADDR_ALIAS: put_ref(w, &a->alias); break;
    case DIST_ADDR_NONE: break;
    }
}

static void put_term(writing *w, slice term) {
    need(w, term.p != NULL, ERR_BUG);
    if (term.p) need(w, dist_put_term(w->pen, term) == ERR_OK, ERR_INVALID);
}

static void put_mfa(writing *w) {
    etf_put_tuple(w->pen->out, 3);
    dist_put_atom(w->pen, w->c->module);
    dist_put_atom(w->pen, w->c->function);
    etf_put_int(w->pen->out, w->c->arity);
}

#define IS_PID   (1u << DIST_ADDR_PID)
#define IS_NAME  (1u << DIST_ADDR_NAME)
#define IS_ALIAS (1u << DIST_ADDR_ALIAS)

static void put_altact(writing *w) {
    const dist_ctl *c = w->c;
    uint32_t flags = c->priority ? DIST_ALTACT_PRIO : 0;
    if (c->token.p) flags |= DIST_ALTACT_TOKEN;
    if (c->to.kind == DIST_ADDR_ALIAS) flags |= DIST_ALTACT_ALIAS;
    if (c->to.kind == DIST_ADDR_NAME) flags |= DIST_ALTACT_NAME;
    if (c->signal == DIST_SIG_EXIT2) flags |= DIST_ALTACT_EXIT;
    etf_put_int(w->pen->out, flags);
    put_addr(w, &c->from, IS_PID);
    put_addr(w, &c->to, IS_PID | IS_NAME | IS_ALIAS);
    if (c->token.p) put_term(w, c->token);
}

/* One element, by its letter in ctl.def. */
static void put_field(writing *w, char letter) {
    const dist_ctl *c = w->c;
    switch (letter) {
    case 'f':
    case 's': put_addr(w, &c->from, IS_PID); break;
    case 'F':
    case 'w': put_addr(w, &c->from, IS_PID | IS_NAME); break;
    case 't': put_addr(w, &c->to, IS_PID); break;
    case 'n': put_addr(w, &c->to, IS_NAME); break;
    case 'T': put_addr(w, &c->to, IS_PID | IS_NAME); break;
    case 'a': put_addr(w, &c->to, IS_ALIAS); break;
    case 'u': etf_put_atom(w->pen->out, SLICE("")); break;
    case 'r':
    case 'R': put_ref(w, &c->ref); break;
    case 'g': put_pid(w, &c->leader); break;
    case 'm': put_mfa(w); break;
    case 'o': put_term(w, c->options); break;
    case 'k': put_term(w, c->token); break;
    case 'x': put_term(w, c->reason); break;
    case 'i':
        need(w, c->id != 0, ERR_BUG);
        etf_put_uint(w->pen->out, c->id);
        break;
    case 'b': etf_put_int(w->pen->out, c->flags); break;
    case 'A': put_altact(w); break;
    default: need(w, check(false && "a letter that ctl.def does not explain"), ERR_BUG); break;
    }
}

err dist_ctl_write(const dist_ctl *c, dist_op op, uint64_t agreed, dist_pen *pen) {
    if (!check((unsigned)op <= DIST_OP_MAX && dist_ctl_rows[op].name)) return ERR_BUG;
    const dist_ctl_row *row = &dist_ctl_rows[op];
    writing w = {pen, c, !agreed_on(agreed, DIST_FLAG(V4_NC)), ERR_OK};
    bool longer = row->payload == DIST_PAYLOAD_BY_FLAG; /* one letter for three elements or four */
    etf_put_tuple(pen->out, longer ? 4u + (c->token.p != NULL) : row->arity);
    etf_put_int(pen->out, op);
    for (const char *f = row->fields; *f; f++) put_field(&w, *f);
    if (!w.e && !buf_ok(pen->out)) w.e = ERR_LIMIT;
    return w.e;
}

slice dist_ctl_payload(const dist_ctl *c, dist_op op) {
    switch ((dist_payload)dist_ctl_rows[op].payload) {
    case DIST_PAYLOAD_NONE: break;
    case DIST_PAYLOAD_MESSAGE:
    case DIST_PAYLOAD_ARGS: return c->payload;
    case DIST_PAYLOAD_REASON: return c->reason;
    case DIST_PAYLOAD_BY_FLAG: return c->signal == DIST_SIG_EXIT2 ? c->reason : c->payload;
    }
    return SLICE_NULL;
}
