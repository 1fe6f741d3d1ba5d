/* link_hand: the handshake of a link, from its first byte until it is up, in both roles: moves bytes between the machine
 * (proto/dist/handshake.h) and the tables.
 *
 *     PEER       -> the table says: ok, alive, not allowed ... -> admit
 *     TAKEOVER   -> the table says whether another was faster; else the old link is told to give way, and watched; its DOWN -> old_down
 *     ALIVE      -> the table says whether this attempt is still wanted -> consent
 *     CHALLENGED -> the table says whether the challenge is one of ours -> reply
 *     UP         -> the table says whether another was faster; else the link is up, and bytes that came already are frames */
#include "base/mem.h"
#include "base/utf8.h"
#include "mesh/link.h"
#include "rt/event.h"

#define HAND_IN_MAX (2 * DIST_HANDSHAKE_MESSAGE_MAX + RT_SCRATCH)

bool mesh_hand_take(mesh *m) {
    if (atomic_fetch_add_explicit(&m->handshakes, 1, memory_order_relaxed) < m->cfg.handshakes_max) return true;
    mesh_hand_give(m);
    return false;
}

void mesh_hand_give(mesh *m) { (void)atomic_fetch_sub_explicit(&m->handshakes, 1, memory_order_relaxed); }

void mesh_hand_begin(mesh_link *l, dist_carrier carrier) {
    l->hand = mem_zalloc(sizeof *l->hand);
    buf_init(&l->hand->in, HAND_IN_MAX);
    dist_handshake_accept(&l->hand->h, carrier, &l->m->self);
}

void mesh_hand_free(rt_ctx *cx, mesh_link *l) {
    if (!l->hand) return;
    if (l->hand->challenged) mesh_challenge_over(l->m, cx, l->hand->challenge);
    if (!l->hand->call) mesh_hand_give(l->m);
    buf_fini(&l->hand->in);
    mem_free(l->hand->call);
    mem_free(l->hand);
    l->hand = NULL;
}

void mesh_hand_keep_name(mesh_link *l, slice name) {
    l->name = mem_alloc(name.len);
    memcpy(l->name, name.p, name.len);
    l->name_len = (uint32_t)name.len;
}

/* Of alive@host, or the host itself. */
static slice host_of(slice name) {
    size_t at = slice_find(name, '@');
    return at < name.len ? slice_from(name, at + 1) : name;
}

static err admit(rt_ctx *cx, mesh_link *l) {
    dist_handshake *h = &l->hand->h;
    buf given;
    if (mesh_challenge_draw(l->m, cx, &l->hand->challenge)) return mesh_link_end(cx, l, "there is no room in the table of challenges");
    l->hand->challenged = true;
    dist_admission a = {.cookie = l->m->cfg.cookie, .challenge = l->hand->challenge};
    buf_init(&given, DIST_NAME_MAX);
    a.verdict = DIST_VERDICT_NOT_ALLOWED;
    bool named = !l->tls || mesh_tls_names(l, host_of(dist_handshake_peer(h)));
    if (named && dist_handshake_wants_name(h)) { /* a name that nobody has */
        uint64_t random;
        rt_entropy(cx, &random, sizeof random);
        rt_entropy(cx, &a.given_creation, sizeof a.given_creation);
        a.given_creation |= 4u;
        dist_name_invent(&given, random, dist_handshake_peer(h));
        a.given_name = buf_slice(&given);
        l->invented = true;
        a.verdict = DIST_VERDICT_OK;
    } else {
        mesh_hand_keep_name(l, dist_handshake_peer(h));
        if (named) a.verdict = mesh_peers_admit(l->m, cx, mesh_link_name(l), &l->hand->old);
    }
    dist_handshake_admit(h, &a, &l->out);
    buf_fini(&given);
    return ERR_OK;
}

static err take_over(rt_ctx *cx, mesh_link *l) {
    mesh_hand *hand = l->hand;
    if (!mesh_peers_take(l->m, cx, mesh_link_name(l), hand->old)) return mesh_link_end(cx, l, "another connection to it was faster");
    hand->old_ref = rt_monitor(cx, hand->old); /* a DOWN comes also if it is gone */
    rt_exit(cx, hand->old, ERR_SHUTDOWN);      /* a signal: the old one may be held back, its peer reads no more */
    return ERR_OK;
}

static err is_up(rt_ctx *cx, mesh_link *l) {
    mesh_hand *hand = l->hand;
    dist_handshake *h = &hand->h;
    if (!l->name_len) mesh_hand_keep_name(l, dist_handshake_peer(h));
    l->hidden = !(h->flags & DIST_FLAG(PUBLISHED));
    l->creation = h->peer_creation;
    l->flags = h->flags;
    l->gauge = mesh_gauge_new();
    err up = mesh_peers_up(l->m, cx, mesh_link_name(l), l->creation, l->hidden, l->gauge, &l->index);
    if (up) mesh_gauge_retire(cx, l->gauge);
    if (hand->call) hand->call->yields = up == ERR_EXISTS;
    if (up == ERR_EXISTS) return mesh_link_end(cx, l, "another connection to it was faster");
    if (up == ERR_REFUSED) return mesh_link_end(cx, l, "this node has left the cluster");
    if (up == ERR_BUSY) return mesh_link_end(cx, l, dist_handshake_end_text(DIST_END_WE_KEEP_OURS));
    if (up) return mesh_link_end(cx, l, "there is no room in the table of nodes");
    dist_in_init(&l->in, &l->m->limits, h->flags);
    dist_in_share(&l->in, mesh_atoms(l->m, rt_ctx_shard(cx)));
    dist_out_init(&l->enc, h->flags, NULL, 0);
    l->enc.cache.rest = MESH_CACHE_REST;
    buf rest = hand->in;
    buf_init(&hand->in, 0);
    if (hand->call) mesh_call_tell(cx, l, MESH_DIALLED_UP, SLICE_NULL);
    mesh_hand_free(cx, l);
    l->heard = true; /* the handshake was read */
    l->n.up_at = rt_now(cx);
    /* Spread over the interval, so that thousands of links of one node do not tick at once. */
    rt_timer_set(cx, &l->timer, rt_now(cx) + 1 + (usec)(rt_random(cx) % (uint64_t)(l->m->cfg.ticktime / MESH_TICK_INTENSITY)));
    buf text;
    buf_init(&text, 2 * DIST_NAME_MAX);
    buf_add(&text, mesh_link_name(l));
    if (l->hidden) buf_add_str(&text, ", hidden");
    rt_event_text(cx, EV_MESH_UP, l->index, l->creation, buf_slice(&text));
    buf_fini(&text);
    mesh_node_msg node = mesh_link_node(cx, l, true);
    mesh_service_tell(cx, &node);
    rt_blob_unref(node.name);
    err e = rest.len ? mesh_in_feed(cx, l, buf_slice(&rest)) : ERR_OK;
    buf_fini(&rest);
    return e;
}

/* What the handshake of the nodes cannot know: what is below it. */
static const char *why_ended(const mesh_link *l, const dist_handshake_event *ev) {
    if (ev->end == DIST_END_WE_DO_NOT_ALLOW && l->tls) return "its certificate does not name the host that it says it is on";
    bool record =
        ev->what.len >= 2 && (ev->what.p[0] == 0x15 || ev->what.p[0] == 0x16) && ev->what.p[1] == 3; /* alert, handshake: RFC 8446 */
    if (ev->end == DIST_END_TOO_LONG && !l->tls && record) return "it speaks TLS, and this address does not";
    return dist_handshake_end_text(ev->end);
}

static err ended(rt_ctx *cx, mesh_link *l, const dist_handshake_event *ev) {
    buf text;
    buf_init(&text, 2048);
    buf_add_str(&text, why_ended(l, ev));
    if (ev->missing) {
        buf_add_str(&text, ": ");
        dist_flags_print(&text, ev->missing);
    }
    if (ev->what.len) {
        char safe[512];
        buf_add_str(&text, ": ");
        buf_add(&text, slice_of(safe, utf8_escape(ev->what, safe, sizeof safe)));
    }
    buf_add_byte(&text, 0);
    mesh_link_last(cx, l); /* the refusal */
    if (l->hand->call) l->hand->call->yields = ev->end == DIST_END_NOK || ev->end == DIST_END_WE_GAVE_UP;
    err e = mesh_link_end(cx, l, (const char *)text.p);
    buf_fini(&text);
    return e;
}

static err run(rt_ctx *cx, mesh_link *l) {
    for (;;) {
        mesh_hand *hand = l->hand;
        dist_handshake_event ev;
        size_t used;
        dist_handshake_next(&hand->h, buf_slice(&hand->in), &l->out, &used, &ev);
        buf_consume(&hand->in, used);
        mesh_link_flush(cx, l);
        switch (ev.kind) {
        case DIST_HANDSHAKE_NONE: return ERR_OK;
        case DIST_HANDSHAKE_PEER: {
            err e = admit(cx, l);
            if (e || l->ended) return e;
            break;
        }
        case DIST_HANDSHAKE_TAKEOVER: return take_over(cx, l);
        case DIST_HANDSHAKE_UP: return is_up(cx, l);
        case DIST_HANDSHAKE_END: return ended(cx, l, &ev);
        case DIST_HANDSHAKE_ALIVE: dist_handshake_consent(&hand->h, mesh_peers_wanted(l->m, cx, mesh_link_name(l)), &l->out); break;
        case DIST_HANDSHAKE_CHALLENGED:
            dist_handshake_reply(&hand->h, mesh_challenge_ours(l->m, cx, ev.challenge), &l->out);
            hand->call->stage = MESH_PROVED;
            break;
        }
    }
}

err mesh_hand_feed(rt_ctx *cx, mesh_link *l, slice bytes) {
    buf_add(&l->hand->in, bytes);
    if (!buf_ok(&l->hand->in)) return mesh_link_end(cx, l, "it sends before it is connected");
    return l->hand->call && l->hand->call->stage == MESH_ASKED_MAPPER ? mesh_call_answer(cx, l, false) : run(cx, l);
}

/* Who finds that it has another cookie says nothing, and closes. */
err mesh_hand_cut(rt_ctx *cx, mesh_link *l, err e) {
    const mesh_call *call = l->hand->call;
    if (call && call->stage == MESH_ASKED_MAPPER) return mesh_call_answer(cx, l, true);
    if (call && call->stage == MESH_PROVED)
        return mesh_link_end(cx, l, "it closed the connection when it saw our proof: it has another cookie");
    return mesh_link_end(cx, l, e == ERR_EOF ? "it closed the connection" : err_text(e));
}

err mesh_hand_old_down(rt_ctx *cx, mesh_link *l) {
    rt_pid loss = mesh_peers_loss(l->m, cx, mesh_link_name(l));
    if (rt_pid_ok(loss)) { /* it has ended, and what that concerns is still being told */
        l->hand->old_ref = rt_monitor(cx, loss);
        return ERR_OK;
    }
    dist_handshake_old_down(&l->hand->h, &l->out);
    return run(cx, l);
}
