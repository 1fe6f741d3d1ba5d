/* link_dial: an attempt to connect to a node, until there is a connection; then the handshake goes on in link_hand.c.
 *
 *     LOOKED_UP --> CALLED_MAPPER --> ASKED_MAPPER --> CALLED_NODE --> SHAKES_TLS --> SAID_NAME --> PROVED --> up
 *                   ^   |                              ^   |
 *                   +---+ not there: another address   +---+
 *
 * LOOKED_UP is for a host that is a name, the port mapper is asked for the port of a seed that has none, SHAKES_TLS is for who needs it.
 * All of it together takes setup_time at most. Who wants it dialled is told when it begins and how it ends, once each; the log is his.
 *
 * Invariant: the attempt is noted in the table of peers before its first byte goes out, and until the link is up or over. */
#include "base/mem.h"
#include "mesh/link.h"

#include <stdio.h>

#define FAR_VERSION 6u /* of the handshake that is spoken here */

/* --- what becomes of it ----------------------------------------------------------------------------------------------------------- */
void mesh_call_tell(rt_ctx *cx, mesh_link *l, mesh_dialled what, slice why) {
    const mesh_call *call = l->hand->call;
    rt_msg *m = rt_msg_new(cx, MESH_DIALLED, sizeof(mesh_dialled_msg));
    *mesh_dialled_msg_of(m) = (mesh_dialled_msg){
        .ticket = call->ticket, .name = rt_blob_new(mesh_link_name(l)), .what = (uint8_t)what, .why = why.len ? rt_blob_new(why) : NULL};
    rt_send(cx, call->teller, &m);
}

void mesh_call_failed(rt_ctx *cx, mesh_link *l, const char *why) {
    const mesh_call *call = l->hand->call;
    char at[SYS_ADDR_TEXT] = "its host", text[MESH_WHY_MAX];
    if (call->stage != MESH_LOOKED_UP) sys_addr_format(&call->at, at);
    bool mapper = call->stage == MESH_CALLED_MAPPER || call->stage == MESH_ASKED_MAPPER;
    (void)snprintf(text, sizeof text, "%s%s: %s", mapper ? "the port mapper at " : "", at, why);
    mesh_call_tell(cx, l, call->yields ? MESH_DIALLED_YIELDED : MESH_DIALLED_FAILED, slice_str(text));
}

/* --- connecting ------------------------------------------------------------------------------------------------------------------- */
static err not_there(rt_ctx *cx, mesh_link *l, err e);

static err call_at(rt_ctx *cx, mesh_link *l, mesh_stage stage, const sys_addr *at) {
    sys *y = rt_ctx_sys(cx);
    mesh_call *call = l->hand->call;
    call->at = *at;
    call->stage = (uint8_t)stage;
    err e = y->connect(y, at, &l->fd);
    if (!e && (e = rt_port_add(cx, l->fd, SYS_OUT))) {
        y->close(y, l->fd);
        l->fd = -1; /* it is no port */
    }
    return e ? not_there(cx, l, e) : ERR_OK;
}

static err call_node(rt_ctx *cx, mesh_link *l) {
    const mesh_call *call = l->hand->call;
    sys_addr mapper = call->node;
    mapper.port = l->m->cfg.mapper_port;
    return call->node.port ? call_at(cx, l, MESH_CALLED_NODE, &call->node) : call_at(cx, l, MESH_CALLED_MAPPER, &mapper);
}

/* Nobody is where it has called: another address of the host, if it has one. */
static err not_there(rt_ctx *cx, mesh_link *l, err e) {
    mesh_call *call = l->hand->call;
    if (call->n_next == 0) return mesh_link_end(cx, l, err_text(e));
    if (l->fd >= 0) rt_port_close(cx, l->fd);
    l->fd = -1;
    call->node = call->next[--call->n_next];
    return call_node(cx, l);
}

/* --- looking up ------------------------------------------------------------------------------------------------------------------- */
static err look_up(rt_ctx *cx, mesh_link *l) {
    dist_name name;
    if (!check(dist_name_parse(mesh_link_name(l), &name) == ERR_OK)) return ERR_BUG;
    mesh_lookup_begin(cx, name.host, MESH_ADDRS_MAX, l->m->cfg.setup_time, 0);
    return ERR_OK;
}

err mesh_call_found(rt_ctx *cx, mesh_link *l, const rt_job_done *d, const mesh_lookup *u) {
    if (l->ended || !check(mesh_link_dials(l) && l->hand->call->stage == MESH_LOOKED_UP)) return ERR_OK;
    mesh_call *call = l->hand->call;
    err e = mesh_lookup_error(d, u);
    if (e) return mesh_link_end(cx, l, mesh_lookup_text(e));
    for (size_t i = u->n; i > 0; i--) { /* the best one comes first, so it is the last to be put there */
        call->next[call->n_next] = u->found[i - 1];
        call->next[call->n_next++].port = call->node.port;
    }
    call->node = call->next[--call->n_next];
    return call_node(cx, l);
}

err mesh_call_begin(rt_ctx *cx, mesh_link *l, const mesh_link_arg *a) {
    mesh_hand *hand = l->hand = mem_zalloc(sizeof *hand);
    mesh_call *call = hand->call = mem_zalloc(sizeof *call);
    l->fd = -1;
    buf_init(&hand->in, 2 * DIST_HANDSHAKE_MESSAGE_MAX + RT_SCRATCH);
    *call = (mesh_call){.node = a->dial->addr, .at = a->dial->addr, .teller = a->teller, .ticket = a->ticket, .stage = MESH_CALLED_NODE};
    if (a->dial->named) call->stage = MESH_LOOKED_UP;
    mesh_hand_keep_name(l, mesh_seed_name(a->dial));
    mesh_call_tell(cx, l, MESH_DIALLED_BEGUN, SLICE_NULL);
    rt_timer_set(cx, &l->timer, rt_now(cx) + l->m->cfg.setup_time);
    err e = mesh_peers_dial(l->m, cx, mesh_link_name(l));
    call->yields = e == ERR_EXISTS;
    if (e == ERR_REFUSED) return mesh_link_end(cx, l, "this node has left the cluster");
    if (e) return mesh_link_end(cx, l, e == ERR_EXISTS ? "another connection to it is there" : "there is no room in the table of nodes");
    return a->dial->named ? look_up(cx, l) : call_node(cx, l);
}

bool mesh_call_connects(const mesh_link *l) {
    return mesh_link_dials(l) && (l->hand->call->stage == MESH_LOOKED_UP || l->hand->call->stage == MESH_CALLED_MAPPER ||
                                  l->hand->call->stage == MESH_CALLED_NODE);
}

static err ask(mesh_link *l) {
    dist_name n;
    if (!check(dist_name_parse(mesh_link_name(l), &n) == ERR_OK)) return ERR_BUG;
    return dist_epmd_lookup(&l->hand->call->client, n.alive, &l->out);
}

static err say_name(rt_ctx *cx, mesh_link *l) {
    mesh_hand *hand = l->hand;
    err e = mesh_challenge_draw(l->m, cx, &hand->challenge);
    hand->challenged = !e;
    return e ? e
             : dist_handshake_dial(&hand->h, l->tls ? DIST_CARRIER_TLS : DIST_CARRIER_TCP, &l->m->self, mesh_link_name(l), l->m->cfg.cookie,
                                   hand->challenge, &l->out);
}

err mesh_call_ready(rt_ctx *cx, mesh_link *l, uint32_t events) {
    sys *y = rt_ctx_sys(cx);
    mesh_call *call = l->hand->call;
    err e = y->sock_error(y, l->fd);
    if (e) return not_there(cx, l, e);
    if (!(events & SYS_OUT)) return ERR_OK; /* it will be, or have an error */
    rt_port_interest(cx, l->fd, SYS_IN);
    if (call->stage == MESH_CALLED_NODE && mesh_secure(l->m, &call->node)) {
        call->stage = MESH_SHAKES_TLS;
        return mesh_tls_dial(cx, l);
    }
    e = call->stage == MESH_CALLED_MAPPER ? ask(l) : say_name(cx, l);
    if (e) return mesh_link_end(cx, l, err_text(e));
    call->stage = call->stage == MESH_CALLED_MAPPER ? MESH_ASKED_MAPPER : MESH_SAID_NAME;
    mesh_link_flush(cx, l);
    return ERR_OK;
}

err mesh_call_secured(rt_ctx *cx, mesh_link *l) {
    err e = say_name(cx, l);
    if (e) return mesh_link_end(cx, l, err_text(e));
    l->hand->call->stage = MESH_SAID_NAME;
    mesh_link_flush(cx, l);
    return ERR_OK;
}

/* --- the port mapper -------------------------------------------------------------------------------------------------------------- */
static err found(rt_ctx *cx, mesh_link *l, const dist_epmd_node *n) {
    mesh_hand *hand = l->hand;
    if (n->proto != DIST_EPMD_PROTO_TCP) return mesh_link_end(cx, l, "the node is not reached by TCP");
    if (n->high < FAR_VERSION) return mesh_link_end(cx, l, dist_handshake_end_text(DIST_END_OLD_VERSION));
    if (n->port == 0) return mesh_link_end(cx, l, "it has no port for the node");
    hand->call->node.port = n->port;
    buf_reset(&hand->in);
    buf_fini(&l->out);
    l->out_off = 0;
    l->polled = l->blocked = false;
    rt_port_close(cx, l->fd);
    l->fd = -1;
    return call_at(cx, l, MESH_CALLED_NODE, &hand->call->node);
}

err mesh_call_answer(rt_ctx *cx, mesh_link *l, bool eof) {
    mesh_hand *hand = l->hand;
    size_t used;
    dist_epmd_event ev;
    dist_epmd_next(&hand->call->client, buf_slice(&hand->in), eof, &used, &ev);
    switch (ev.kind) {
    case DIST_EPMD_NONE: buf_consume(&hand->in, used); return ERR_OK;
    case DIST_EPMD_FOUND: return found(cx, l, &ev.node);
    case DIST_EPMD_NOT_FOUND: return mesh_link_end(cx, l, "it does not know the node");
    case DIST_EPMD_FAIL: return mesh_link_end(cx, l, dist_epmd_fail_text(ev.fail));
    case DIST_EPMD_REGISTERED:
    case DIST_EPMD_IN_USE:
    case DIST_EPMD_NAME:
    case DIST_EPMD_DONE: return check(false) ? ERR_OK : ERR_BUG; /* answers to other questions */
    }
    return ERR_BUG;
}
