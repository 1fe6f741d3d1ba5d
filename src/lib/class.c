/* class: what a program calls a class becomes one of the runtime, once for each node, and what happens to its actors becomes calls of its
 * functions.
 *
 * Invariants: (1) a murre_class of the program has one lib_class in a node, which lives as long as the node, because actors point to it.
 * (2) What a callback is given lives on the stack here, or in the message: so nothing of it is good after the callback. */
#include "base/mem.h"
#include "lib/int.h"
#include "lib/say.h"

#define STATE_MAX         (1u << 30)
#define MAILBOX_BYTES_MAX (256u << 20)

static const lib_class *own(rt_ctx *cx) { return (const lib_class *)(const void *)rt_ctx_class(cx); }
static murre_ctx *out_cx(rt_ctx *cx) { return (murre_ctx *)(void *)cx; }

lib_calls **lib_calls_at(rt_ctx *cx, void *st) {
    uint8_t *at = st;
    return (lib_calls **)(void *)(at + own(cx)->rt.state_size - sizeof(lib_calls *));
}

static err hand(rt_ctx *cx, void *st, const murre_msg *m) {
    const lib_class *c = own(cx);
    return c->user.handle ? lib_err_in(c->user.handle(out_cx(cx), st, m)) : ERR_OK;
}

/* --- callbacks -------------------------------------------------------------------------------------------------------------------- */
static err class_init(rt_ctx *cx, void *st, const void *arg) {
    const lib_class *c = own(cx);
    err e = c->user.init ? lib_err_in(c->user.init(out_cx(cx), st, arg)) : ERR_OK;
    if (e) lib_calls_free(cx, lib_calls_at(cx, st));
    return e;
}

static err class_timer(rt_ctx *cx, void *st, rt_timer *t) {
    const lib_class *c = own(cx);
    err e;
    if (lib_calls_expire(cx, st, t, hand, &e)) return e;
    return c->user.timer ? lib_err_in(c->user.timer(out_cx(cx), st, (murre_timer *)(void *)t)) : ERR_OK;
}

static void class_fini(rt_ctx *cx, void *st, err reason) {
    const lib_class *c = own(cx);
    (void)reason; /* others hear of it */
    if (c->user.ended) c->user.ended(out_cx(cx), st);
    lib_calls_free(cx, lib_calls_at(cx, st));
}

static murre_term term_of(slice s) { return (murre_term){s.p, s.len}; }

static err on_term(rt_ctx *cx, void *st, rt_msg *m) {
    static const murre_kind kinds[] = {[MESH_GEN_INFO] = MURRE_INFO, [MESH_GEN_CALL] = MURRE_CALL, [MESH_GEN_CAST] = MURRE_CAST};
    mesh_gen g;
    lib_call call;
    mesh_gen_read(mesh_term_of(m), &g);
    murre_msg out = {.kind = kinds[g.kind], .from = lib_pid_out(m->sender), .term = term_of(g.request)};
    if (g.kind == MESH_GEN_CALL) {
        rt_pid from = m->sender;
        bool direct = g.from.id == from.slot && g.from.serial == from.gen; /* else another has passed it on */
        if (!direct && !mesh_pid_get(lib_node(cx)->mesh, cx, &g.from, &from)) from = RT_PID_NONE;
        call = (lib_call){.to = from, .tag = g.tag, .alias = g.alias};
        out.from = lib_pid_out(from);
        out.inner = &call;
    }
    return hand(cx, st, &out);
}

/* EXIT and DOWN: the reason is written as the term that another node would get. */
static err on_end(rt_ctx *cx, void *st, murre_msg *out, err reason, const rt_blob *term) {
    buf b;
    buf_init(&b, MURRE_TERM_MAX);
    mesh_reason_put(reason, term, &b);
    out->term = term_of(buf_slice(&b));
    err e = hand(cx, st, out);
    buf_fini(&b);
    return e;
}

static err class_handle(rt_ctx *cx, void *st, rt_msg **mp) {
    rt_msg *m = *mp;
    err e;
    if (lib_calls_take(cx, st, m, hand, &e)) return e;
    if (m->tag == MESH_TERM) return on_term(cx, st, m);
    if (m->tag == RT_EXIT) {
        const rt_exit_msg *x = rt_exit_msg_of(m);
        return on_end(cx, st, &(murre_msg){.kind = MURRE_EXIT, .from = lib_pid_out(x->from)}, x->reason, x->term);
    }
    if (m->tag == RT_DOWN) {
        const rt_down *d = rt_down_of(m);
        return on_end(cx, st, &(murre_msg){.kind = MURRE_DOWN, .from = lib_pid_out(d->pid), .monitor = d->ref}, d->reason, d->term);
    }
    if (m->tag == MESH_NODE) {
        const mesh_node_msg *n = mesh_node_msg_of(m);
        murre_bytes name = {n->name->data, n->name->len};
        return hand(cx, st, &(murre_msg){.kind = n->up ? MURRE_NODE_UP : MURRE_NODE_DOWN, .node = name});
    }
    return ERR_OK; /* a message of its own that came back, because the receiver was full */
}

/* --- which there are -------------------------------------------------------------------------------------------------------------- */
static void fill(lib_class *c, const murre_class *key) {
    memcpy(&c->user, key, key->size < sizeof c->user ? key->size : sizeof c->user);
    c->rt = (rt_class){
        .name = c->user.name,
        .state_size = (c->user.state_size + 7) / 8 * 8 + sizeof(lib_calls *),
        .init = class_init,
        .handle = class_handle,
        .timer = class_timer,
        .fini = class_fini,
        .mailbox_max = c->user.mailbox_max,
        .mailbox_bytes_max = c->user.mailbox_bytes_max ? c->user.mailbox_bytes_max : MAILBOX_BYTES_MAX,
        .bound = RT_BOUND_REFUSE,
        .sure = MESH_NODE,
        .foreign = true,
    };
}

const rt_class *lib_class_of(murre_node *n, const murre_class *key) {
    bool good =
        key == &lib_sup_key || (key && key->size >= offsetof(murre_class, mailbox_max) && key->name && key->state_size <= STATE_MAX);
    if (!good) return NULL;
    lock_take(&n->lock);
    lib_class *c = n->classes;
    while (c && c->key != key) c = c->next;
    if (!c) {
        c = mem_zalloc(sizeof *c);
        c->key = key;
        if (key == &lib_sup_key)
            lib_sup_class(c);
        else
            fill(c, key);
        c->next = n->classes;
        n->classes = c;
    }
    lock_release(&n->lock);
    return &c->rt;
}

void lib_classes_free(murre_node *n) {
    for (lib_class *c = n->classes, *next; c; c = next) {
        next = c->next;
        mem_free(c);
    }
}
