/* link_turn: what is to be said to a peer and has to wait: for the socket, for its turn, or for what its sender said before.
 *
 *     MESH_SEND, MESH_SIGNAL --short--------------------------------------------------------------> out --> socket
 *               |  \--out has more than link_bytes--> backlog --when it has not, as if it came then--^
 *               \-----long, or behind something long of its pair--> lanes (lanes.h) --in turns-------/
 *
 * A long message goes out in fragments, and only while what waits for the socket is short (AHEAD): so whatever else is said to this peer
 * waits for a few fragments at most, not for the message, and no round of the shard copies more than MESH_TURN_MAX of it. To a peer that
 * did not agree on fragments it goes whole, in its place. Where the peer reads nothing, out fills up, and all else waits in the backlog.
 *
 * All this together is what waits for the peer. Once it is more than link_bytes (EV_MESH_BUSY), whoever says something that has to wait is
 * slowed down (rt_slow), until it is half of that (EV_MESH_FREE): who sends what is long, then, and everybody where the socket takes
 * nothing. A service of this node is not, because it works for others too; what it has waiting is bounded, and so are the answers of the
 * link itself: past MESH_ANSWERS_MAX the connection ends.
 *
 * Invariants: (1) while there is a backlog, what comes goes behind it, but for what the link says itself, which answers nothing that is in
 * it. (2) nothing of a pair goes out before what it said earlier. (3) a queue that is there has something in it, or a job that is done. (4)
 * whoever is slowed is let go when the link is free again or ends. */
#include "base/mem.h"
#include "mesh/link.h"
#include "rt/event.h"

#define AHEAD (2u * DIST_FRAGMENT_BYTES) /* waits for the socket at most when a piece of something long follows */
#define EACH  64u                        /* what an item costs besides its bytes */

typedef struct piece {
    mesh_item item; /* in the lanes */
    rt_msg *msg;    /* what is to be said; NULL: frame is, which the link has said itself */
    buf frame;
    slice rest;     /* follows frame */
    rt_blob *holds; /* what frame leaves out is in it */
    bool begun;     /* the first piece of it is out: split has the others */
    bool spared;    /* counted in mesh_queue.spared */
    dist_split split;
} piece;

struct mesh_queue {
    mesh_lanes lanes;
    rt_msg *first, *last; /* the backlog */
    size_t backlog;       /* bytes of it */
    size_t spared;        /* bytes of all that waits here whose senders are not slowed; of a service that was started anew meanwhile, too */
    size_t others;        /* bytes put into out since the last piece of something long */
    rt_msg *done;         /* RT_JOB_DONE: its answer waits until the link is free; NULL: none */
};

/* --- what there is ----------------------------------------------------------------------------------------------------------------- */
static mesh_queue *queue_of(mesh_link *l) {
    if (l->queue) return l->queue;
    mesh_queue *q = l->queue = mem_zalloc(sizeof *q);
    mesh_lanes_init(&q->lanes);
    return q;
}

static void drop_empty(mesh_link *l) {
    mesh_queue *q = l->queue;
    if (!q || q->first || q->done || !mesh_lanes_empty(&q->lanes)) return;
    mesh_lanes_fini(&q->lanes);
    mem_free(q);
    l->queue = NULL;
}

size_t mesh_turn_waiting(const mesh_link *l) {
    return mesh_link_waiting(l).len + (l->queue ? l->queue->backlog + l->queue->lanes.bytes : 0);
}

static bool is_full(const mesh_link *l) { return mesh_link_waiting(l).len > l->m->cfg.link_bytes; }

static rt_pid from_of(rt_msg *m) { return m->tag == MESH_SEND ? mesh_send_msg_of(m)->from : mesh_signal_msg_of(m)->from; }
/* RT_PID_NONE: a name or an alias. */
static rt_pid to_of(rt_msg *m) {
    const mesh_send_msg *s = mesh_send_msg_of(m);
    const mesh_signal_msg *g = mesh_signal_msg_of(m);
    if (m->tag == MESH_SEND) return s->name || s->alias ? RT_PID_NONE : s->to;
    return g->name ? RT_PID_NONE : g->to;
}
static size_t bytes_of(rt_msg *m) {
    const rt_blob *term = m->tag == MESH_SEND ? mesh_send_msg_of(m)->term : mesh_signal_msg_of(m)->term;
    return EACH + (term ? term->len : 0);
}
static bool goes_in_pieces(const mesh_link *l, size_t len) { return l->enc.fragmenting && len > EACH + 1 + DIST_FRAGMENT_BYTES; }

static err say(rt_ctx *cx, mesh_link *l, rt_msg *m) {
    return m->tag == MESH_SEND ? mesh_out_send(cx, l, mesh_send_msg_of(m)) : mesh_out_signal(cx, l, mesh_signal_msg_of(m));
}

/* --- pressure ---------------------------------------------------------------------------------------------------------------------- */
void mesh_turn_press(rt_ctx *cx, mesh_link *l) {
    size_t bytes = mesh_turn_waiting(l), max = l->m->cfg.link_bytes;
    if (!is_full(l)) l->answers = 0;
    if (l->hand) return;
    atomic_store_explicit(&l->gauge->bytes, bytes, memory_order_relaxed); /* see mesh_gauge */
    if (l->busy == (l->busy ? bytes > max / 2 : bytes > max)) return;
    l->busy = !l->busy;
    mesh_gauge_busy(l->gauge, l->busy);
    rt_event_text(cx, l->busy ? EV_MESH_BUSY : EV_MESH_FREE, l->index, bytes, mesh_link_name(l));
    if (!l->busy) rt_slow_end(cx);
}

/* Something has to wait. */
static void slow(rt_ctx *cx, mesh_link *l, rt_pid from, bool spared) {
    mesh_turn_press(cx, l);
    if (l->busy && !spared) rt_slow(cx, from);
}

static void spare(mesh_queue *q, size_t n, bool more) {
    if (more)
        q->spared += n;
    else
        q->spared -= n < q->spared ? n : q->spared;
}

/* --- setting aside ----------------------------------------------------------------------------------------------------------------- */
static void put_back(mesh_queue *q, rt_msg **mp, bool spared) {
    rt_msg *m = *mp;
    *mp = m->next = NULL;
    if (q->last)
        q->last->next = m;
    else
        q->first = m;
    q->last = m;
    q->backlog += bytes_of(m);
    if (spared) spare(q, bytes_of(m), true);
}

static void put_piece(mesh_queue *q, piece *p, rt_pid from, rt_pid to) {
    if (p->spared) spare(q, p->item.bytes, true);
    mesh_lanes_put(&q->lanes, from, to, &p->item);
}

/* To its lane, if it has to wait for something there; else it is said. */
static err place(rt_ctx *cx, mesh_link *l, rt_msg **mp, bool spared) {
    mesh_queue *q = l->queue;
    rt_msg *m = *mp;
    rt_pid from = from_of(m), to = to_of(m);
    if (!goes_in_pieces(l, bytes_of(m)) && !mesh_lanes_wait(&q->lanes, from, to)) {
        size_t before = l->out.len;
        err e = say(cx, l, m);
        q->others += l->out.len - before;
        return e;
    }
    piece *p = mem_zalloc(sizeof *p);
    *p = (piece){.item.bytes = bytes_of(m), .msg = m, .spared = spared};
    *mp = NULL;
    put_piece(q, p, from, to);
    slow(cx, l, from, spared);
    return ERR_OK;
}

static err set_aside(rt_ctx *cx, mesh_link *l, rt_msg **m) {
    mesh_queue *q = queue_of(l);
    bool spared = mesh_service_is(cx, from_of(*m));
    if (spared && q->spared > MESH_ANSWERS_MAX) return mesh_link_end(cx, l, "it does not take what this node's services say to it");
    if (!q->first && !is_full(l)) return place(cx, l, m, spared);
    rt_pid from = from_of(*m);
    put_back(q, m, spared);
    slow(cx, l, from, spared);
    return ERR_OK;
}

err mesh_turn_take(rt_ctx *cx, mesh_link *l, rt_msg **m) {
    bool now = l->ended || (!l->queue && !is_full(l) && !goes_in_pieces(l, bytes_of(*m)));
    err e = LIKELY(now) ? say(cx, l, *m) : set_aside(cx, l, m);
    if (!e && !l->ended) mesh_link_flush(cx, l);
    return e;
}

err mesh_turn_done(rt_ctx *cx, mesh_link *l, rt_msg **m) {
    if (!l->busy || l->ended || !check(!l->queue || !l->queue->done)) return mesh_rpc_done(cx, l, rt_job_done_of(*m));
    queue_of(l)->done = *m;
    *m = NULL;
    return ERR_OK;
}

/* --- what the link says itself ----------------------------------------------------------------------------------------------------- */
static void pair_of(const mesh_link *l, const dist_ctl *c, rt_pid *from, rt_pid *to) {
    *from = c->from.kind == DIST_ADDR_PID ? (rt_pid){0, c->from.pid.id, c->from.pid.serial} : RT_PID_NONE;
    *to = c->to.kind == DIST_ADDR_PID ? (rt_pid){l->index, c->to.pid.id, c->to.pid.serial} : RT_PID_NONE;
}

bool mesh_turn_waits(const mesh_link *l, const dist_ctl *c) {
    rt_pid from, to;
    pair_of(l, c, &from, &to);
    return goes_in_pieces(l, EACH + 1 + c->payload.len + c->reason.len) || (l->queue && mesh_lanes_wait(&l->queue->lanes, from, to));
}

err mesh_turn_keep(rt_ctx *cx, mesh_link *l, const dist_ctl *c, rt_blob *holds) {
    dist_ctl with = *c;
    slice *body = with.payload.p ? &with.payload : &with.reason;
    piece *p = mem_zalloc(sizeof *p);
    rt_pid from, to;
    pair_of(l, c, &from, &to);
    p->spared = true;
    p->holds = holds ? rt_blob_ref(holds) : rt_blob_new(*body);
    if (!holds && body->p) *body = rt_blob_slice(p->holds);
    buf_init(&p->frame, UINT32_MAX);
    err e = dist_out_apart(&l->enc, &with, ++l->sequence, &p->frame, &p->rest, &p->split);
    if (e) {
        buf_fini(&p->frame);
        rt_blob_unref(p->holds);
        mem_free(p);
        return e;
    }
    p->item.bytes = EACH + p->frame.len + p->rest.len + p->split.rest.len;
    put_piece(queue_of(l), p, from, to);
    mesh_turn_press(cx, l);
    return ERR_OK;
}

/* --- turns ------------------------------------------------------------------------------------------------------------------------- */
static void free_piece(rt_ctx *cx, piece *p) {
    rt_msg_drop(rt_ctx_node(cx), &p->msg);
    buf_fini(&p->frame);
    rt_blob_unref(p->holds);
    mem_free(p);
}

/* The first part, and what follows it. */
static err begin(rt_ctx *cx, mesh_link *l, piece *p) {
    err e = ERR_OK;
    p->begun = true;
    l->split = &p->split;
    if (p->msg) {
        e = say(cx, l, p->msg);
    } else {
        l->n.out_messages++;
        buf_add(&l->out, buf_slice(&p->frame));
        buf_add(&l->out, p->rest);
    }
    l->split = NULL;
    return e;
}

/* A piece of the item whose turn it is. */
static err turn(rt_ctx *cx, mesh_link *l) {
    mesh_queue *q = l->queue;
    piece *p = container_of(mesh_lanes_first(&q->lanes), piece, item);
    size_t before = l->out.len, had = p->item.bytes;
    err e = ERR_OK;
    if (p->begun) {
        slice rest;
        e = dist_out_fragment(&p->split, &l->out, &rest);
        if (!e) buf_add(&l->out, rest);
    } else {
        e = begin(cx, l, p);
    }
    if (e || l->ended) return e;
    bool over = p->split.left == 0;
    size_t said = l->out.len - before;
    if (over || said > had) said = had;
    if (p->spared) spare(q, said, false);
    q->others = 0;
    if (!over) {
        mesh_lanes_said(&q->lanes, said);
        return ERR_OK;
    }
    (void)mesh_lanes_take(&q->lanes); /* that one */
    free_piece(cx, p);
    return ERR_OK;
}

/* The oldest of the backlog, as if it had come now. */
static err retry(rt_ctx *cx, mesh_link *l) {
    mesh_queue *q = l->queue;
    rt_msg *m = q->first;
    bool spared = q->spared > 0 && mesh_service_is(cx, from_of(m));
    q->first = m->next;
    if (!q->first) q->last = NULL;
    q->backlog -= bytes_of(m);
    if (spared) spare(q, bytes_of(m), false);
    err e = place(cx, l, &m, spared);
    rt_msg_drop(rt_ctx_node(cx), &m);
    return e;
}

/* What is short comes first, but not for ever. */
static bool lane_is_due(const mesh_link *l) {
    const mesh_queue *q = l->queue;
    if (mesh_lanes_empty(&q->lanes)) return false;
    return q->first ? q->others >= AHEAD : mesh_link_waiting(l).len <= AHEAD || q->others >= AHEAD;
}

err mesh_turn_fill(rt_ctx *cx, mesh_link *l, size_t *done) {
    err e = ERR_OK;
    while (!e && !l->ended && l->queue && !is_full(l) && *done < MESH_TURN_MAX) {
        size_t before = l->out.len;
        if (lane_is_due(l))
            e = turn(cx, l);
        else if (l->queue->first)
            e = retry(cx, l);
        else
            break;
        *done += EACH + l->out.len - before;
        if (!e && !l->ended) drop_empty(l);
    }
    if (!e && !l->ended) mesh_turn_press(cx, l);
    if (!e && !l->ended && l->queue && l->queue->done && !l->busy) {
        rt_msg *m = l->queue->done;
        l->queue->done = NULL;
        e = mesh_rpc_done(cx, l, rt_job_done_of(m));
        rt_msg_drop(rt_ctx_node(cx), &m);
        drop_empty(l);
    }
    return e;
}

/* --- the end ----------------------------------------------------------------------------------------------------------------------- */
/* A link or a monitor that was not said is answered, as one in the mailbox is (plug.c). */
static void give_up(rt_ctx *cx, rt_msg *m) {
    if (m->tag == MESH_SIGNAL) mesh_plug_refuse(cx, mesh_signal_msg_of(m), ERR_NOCONN);
    rt_msg_drop(rt_ctx_node(cx), &m);
}

void mesh_turn_fini(rt_ctx *cx, mesh_link *l) {
    mesh_queue *q = l->queue;
    mesh_item *i;
    if (l->busy) mesh_gauge_busy(l->gauge, false);
    if (!q) return;
    while ((i = mesh_lanes_take(&q->lanes))) {
        piece *p = container_of(i, piece, item);
        if (p->msg && !p->begun) {
            give_up(cx, p->msg);
            p->msg = NULL;
        }
        free_piece(cx, p);
    }
    for (rt_msg *m = q->first, *next; m; m = next) {
        next = m->next;
        give_up(cx, m);
    }
    rt_msg_drop(rt_ctx_node(cx), &q->done);
    q->first = q->last = NULL;
    drop_empty(l);
}
