/* ctl_read: a control message to a signal.
 *
 *     body:  [131] {op, field, field ...} [131] payload
 *                   \___ dist_ctl_rows[op].fields, a letter each
 *
 * Three of them carry nearly all traffic: to a pid, to a name, to an alias. They are matched in a row of straight reads before the table is
 * looked at; what does not fit is left to the table, which finds out what is wrong. */
#include "proto/dist/ctl_table.h"

#define TAG_SMALL_TUPLE 104
#define TAG_SMALL_INT   97
#define HEAD            4u /* bytes of {Op, of a tuple with few elements */

static bool get_u64(etf_reader *r, uint64_t *out) {
    etf_item it;
    if (!etf_next(r, &it)) return false;
    if (it.kind == ETF_INT && it.i >= 0) {
        *out = (uint64_t)it.i;
        return true;
    }
    if (it.kind != ETF_BIG || it.big.negative || it.big.magnitude.len > sizeof *out) return false;
    uint64_t v = 0;
    for (size_t i = it.big.magnitude.len; i > 0; i--) v = v << 8 | it.big.magnitude.p[i - 1];
    *out = v;
    return true;
}

/* The low bits of a number that may have any size: flags of which later releases may add some. */
static bool get_flags(etf_reader *r, uint32_t *out) {
    etf_item it;
    if (!etf_next(r, &it)) return false;
    if (it.kind == ETF_INT && it.i >= 0) {
        *out = (uint32_t)it.i;
        return true;
    }
    if (it.kind != ETF_BIG || it.big.negative) return false;
    *out = 0;
    for (size_t i = 0; i < it.big.magnitude.len && i < sizeof *out; i++) *out |= (uint32_t)it.big.magnitude.p[i] << (8 * i);
    return true;
}

static inline bool get_pid(etf_reader *r, dist_addr *out) {
    out->kind = DIST_ADDR_PID;
    return etf_get_pid(r, &out->pid);
}
static inline bool get_name(etf_reader *r, dist_addr *out) {
    out->kind = DIST_ADDR_NAME;
    return etf_get_atom(r, &out->name);
}
static inline bool get_alias(etf_reader *r, dist_addr *out) {
    out->kind = DIST_ADDR_ALIAS;
    return etf_get_ref(r, &out->alias);
}
static bool get_pid_or_name(etf_reader *r, dist_addr *out) { return get_pid(r, out) || get_name(r, out); }

static bool get_mfa(etf_reader *r, dist_ctl *c) {
    uint32_t n;
    int64_t arity;
    if (!etf_get_tuple(r, &n) || n != 3 || !etf_get_atom(r, &c->module) || !etf_get_atom(r, &c->function)) return false;
    if (!etf_get_int(r, &arity) || arity < 0 || arity > UINT8_MAX) return false; /* erts: MAX_ARG */
    c->arity = (uint8_t)arity;
    return true;
}

/* Op 37: {Flags, From, To} and, if it is flagged, a token. What else stands there means nothing yet. */
static bool get_altact(etf_reader *r, uint32_t elements, dist_ctl *c) {
    uint32_t flags;
    if (elements < 3 || !get_flags(r, &flags) || !get_pid(r, &c->from)) return false;
    elements -= 3;
    switch (flags & (DIST_ALTACT_ALIAS | DIST_ALTACT_NAME)) {
    case 0:
        if (!get_pid(r, &c->to)) return false;
        break;
    case DIST_ALTACT_ALIAS:
        if (!get_alias(r, &c->to)) return false;
        break;
    case DIST_ALTACT_NAME:
        if (!get_name(r, &c->to)) return false;
        break;
    default: return false;
    }
    if (flags & DIST_ALTACT_TOKEN) {
        if (elements == 0 || !etf_skip(r, &c->token)) return false;
        elements--;
    }
    for (; elements > 0; elements--)
        if (!etf_skip(r, NULL)) return false;
    c->signal = flags & DIST_ALTACT_EXIT ? DIST_SIG_EXIT2 : DIST_SIG_SEND;
    c->priority = flags & DIST_ALTACT_PRIO;
    return true;
}

/* One element of the tuple, by its letter in ctl.def. */
static bool get_field(etf_reader *r, char letter, dist_ctl *c) {
    switch (letter) {
    case 'f':
    case 's': return get_pid(r, &c->from);
    case 'F':
    case 'w': return get_pid_or_name(r, &c->from);
    case 't': return get_pid(r, &c->to);
    case 'n': return get_name(r, &c->to);
    case 'T': return get_pid_or_name(r, &c->to);
    case 'a': return get_alias(r, &c->to);
    case 'u': return etf_skip(r, NULL);
    case 'r':
    case 'R': return etf_get_ref(r, &c->ref);
    case 'g': return etf_get_pid(r, &c->leader);
    case 'm': return get_mfa(r, c);
    case 'o': return etf_skip(r, &c->options);
    case 'k': return etf_skip(r, &c->token);
    case 'x': return etf_skip(r, &c->reason);
    case 'i': return get_u64(r, &c->id) && c->id != 0;
    case 'b': return get_flags(r, &c->flags);
    default: return false;
    }
}

/* The frequent ones; false: not one of them, or not as it should be, and nothing is consumed. */
static bool get_hot(etf_reader *r, dist_ctl *c) {
    etf_reader at = *r;
    const uint8_t *p = r->in.p;
    if (cursor_left(&r->in) < HEAD + 2 || p[0] != TAG_SMALL_TUPLE || p[2] != TAG_SMALL_INT) return false;
    at.in.p += HEAD;
    if (p[1] == 4 && p[3] == DIST_OP_REG_SEND) {
        slice unused;
        if (!get_pid(&at, &c->from) || !etf_get_atom(&at, &unused) || !get_name(&at, &c->to)) return false;
    } else if (p[1] == 3 && p[3] == DIST_OP_SEND_SENDER) {
        if (!get_pid(&at, &c->from) || !get_pid(&at, &c->to)) return false;
    } else if (p[1] == 3 && p[3] == DIST_OP_ALIAS_SEND) {
        if (!get_pid(&at, &c->from) || !get_alias(&at, &c->to)) return false;
    } else {
        return false;
    }
    c->op = p[3];
    c->signal = DIST_SIG_SEND;
    *r = at;
    return true;
}

static const char *get_any(etf_reader *r, dist_ctl *c) {
    uint32_t n;
    int64_t op;
    if (!etf_get_tuple(r, &n) || n == 0 || !etf_get_int(r, &op)) return "a control message that is not a tuple with a number in front";
    if (op < 0 || op > (int64_t)DIST_OP_MAX || !dist_ctl_rows[op].name) return "an unknown control message";
    const dist_ctl_row *row = &dist_ctl_rows[op];
    c->op = (uint8_t)op;
    c->signal = (dist_signal)row->signal;
    c->from.kind = c->to.kind = DIST_ADDR_NONE;
    if (row->payload == DIST_PAYLOAD_BY_FLAG) return get_altact(r, n - 1, c) ? NULL : row->malformed;
    if (n != row->arity) return row->malformed;
    for (const char *f = row->fields; *f; f++)
        if (!get_field(r, *f, c)) return row->malformed;
    return NULL;
}

/* What follows the control message. */
static bool get_payload(const dist_message *m, etf_reader *r, dist_ctl *c) {
    dist_payload what = (dist_payload)dist_ctl_rows[c->op].payload;
    if (what == DIST_PAYLOAD_NONE) return cursor_left(&r->in) == 0 && !m->payload.p;
    if (m->versions && !etf_get_version(r)) return false;
    if ((cursor_left(&r->in) == 0) != (m->payload.p != NULL)) return false; /* in one of the two places */
    slice rest = m->payload.p ? m->payload : slice_of(r->in.p, cursor_left(&r->in));
    bool is_reason = what == DIST_PAYLOAD_REASON || (what == DIST_PAYLOAD_BY_FLAG && c->signal == DIST_SIG_EXIT2);
    *(is_reason ? &c->reason : &c->payload) = rest;
    return true;
}

err dist_ctl_read(const dist_message *m, arena *text, dist_ctl *out, const char **out_why) {
    etf_reader r = dist_message_reader(m, m->body, text);
    out->priority = false;
    out->arity = 0;
    out->id = out->flags = 0;
    out->ref.n = 0;
    out->token = out->payload = out->reason = out->options = out->module = out->function = SLICE_NULL;
    out->leader.node = SLICE_NULL;
    if (UNLIKELY(m->versions && !etf_get_version(&r))) {
        *out_why = "a control message without its version byte";
        return ERR_PROTO;
    }
    if (UNLIKELY(!get_hot(&r, out))) {
        const char *why = get_any(&r, out);
        if (why) {
            *out_why = why;
            return ERR_PROTO;
        }
    }
    if (LIKELY(get_payload(m, &r, out))) return ERR_OK;
    *out_why = "a control message with a payload that it should not have, or without one";
    return ERR_PROTO;
}

bool dist_ctl_payload_is_term(const dist_message *m, const dist_ctl *c, arena *text) {
    slice term = dist_ctl_payload(c, (dist_op)c->op);
    if (!term.p) return true;
    etf_reader r = dist_message_reader(m, term, text);
    return etf_skip(&r, NULL) && cursor_left(&r.in) == 0;
}
