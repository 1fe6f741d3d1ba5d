/* ctl: the table of all control messages, and the two questions that are asked of it alone: who may be meant, and what things are
 * called. */
#include "proto/dist/ctl.h"

#include "proto/dist/ctl_table.h"

const dist_ctl_row dist_ctl_rows[DIST_OP_MAX + 1] = {
#define DIST_CTL(op, name, signal, fields, payload, needs, way)                                                                            \
    [op] = {#name,         "a malformed control message " #name, fields, needs, sizeof fields, DIST_SIG_##signal, DIST_PAYLOAD_##payload,  \
            DIST_WAY_##way},
#include "proto/dist/ctl.def"
#undef DIST_CTL
};

static const dist_ctl_row *row_of(dist_op op) { return (unsigned)op <= DIST_OP_MAX ? &dist_ctl_rows[op] : &dist_ctl_rows[0]; }
const char *dist_op_name(dist_op op) { return row_of(op)->name; }
uint64_t dist_op_needs(dist_op op) { return row_of(op)->needs; }
bool dist_op_has_payload(dist_op op) { return row_of(op)->payload != DIST_PAYLOAD_NONE; }

const char *dist_signal_name(dist_signal s) {
    switch (s) {
    case DIST_SIG_SEND: return "send";
    case DIST_SIG_LINK: return "link";
    case DIST_SIG_UNLINK: return "unlink";
    case DIST_SIG_UNLINK_ACK: return "unlink_ack";
    case DIST_SIG_EXIT: return "exit";
    case DIST_SIG_EXIT2: return "exit2";
    case DIST_SIG_MONITOR: return "monitor";
    case DIST_SIG_DEMONITOR: return "demonitor";
    case DIST_SIG_DOWN: return "down";
    case DIST_SIG_GROUP_LEADER: return "group_leader";
    case DIST_SIG_SPAWN: return "spawn";
    case DIST_SIG_SPAWN_REPLY: return "spawn_reply";
    case DIST_SIG_NODE_LINK: return "node_link";
    }
    return "unknown";
}

/* The node that an address names; a registered name is at its receiver's. */
static bool is_at(const dist_addr *a, slice node) {
    switch (a->kind) {
    case DIST_ADDR_PID: return slice_eq(a->pid.node, node);
    case DIST_ADDR_ALIAS: return slice_eq(a->alias.node, node);
    case DIST_ADDR_NONE:
    case DIST_ADDR_NAME: return true;
    }
    return false;
}

const char *dist_ctl_forged(const dist_ctl *c, slice own, slice peer) {
    bool ours = c->signal == DIST_SIG_DOWN || c->signal == DIST_SIG_SPAWN_REPLY; /* they answer what we began */
    if (c->signal != DIST_SIG_SEND && !is_at(&c->from, peer)) return "a control message from a process of another node";
    if (!is_at(&c->to, own)) return "a control message to a process of another node";
    if (c->ref.n && !slice_eq(c->ref.node, ours ? own : peer)) return "a control message with a reference of another node";
    return NULL;
}
