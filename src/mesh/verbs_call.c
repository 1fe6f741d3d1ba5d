/* verbs_call: what operators ask of other nodes (murrectl rpc, ping). The actor of caller.c asks; here are words and terms. */
#include "base/codec.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "mesh/call.h"
#include "mesh/int.h"
#include "proto/etf/term.h"
#include "rt/event.h"
#include "rt/verbs_fn.h"

#include <stdio.h>

#define TIMEOUT_SEC     5u  /* without an argument (OTP: gen_server:call/2) */
#define TIMEOUT_SEC_MAX 60u /* one of four threads waits meanwhile (rt/ctl.h) */
#define MARGIN          (2 * USEC_PER_SEC)
#define ARGS_BYTES_MAX  (1u << 20)
#define TEXT_BYTES_MAX  (16u << 20)

/* The caller drops *out. */
static err ask(rt_verb_call *c, mesh_ask_msg q, uint64_t sec, rt_msg **out) {
    rt_pid to = rt_name_whereis(c->node, MESH_CALLER_NAME);
    usec timeout = (usec)sec * USEC_PER_SEC;
    rt_msg *m = rt_msg_new_ext(MESH_ASK, sizeof q);
    *mesh_ask_msg_of(m) = q;
    mesh_ask_msg_of(m)->timeout_usec = timeout;
    err e = rt_call(c->node, to, &m, rt_verb_patience(c->node, to, timeout + MARGIN), out);
    if (e)
        return rt_verb_fail(c, e, c->args[0],
                            e == ERR_NOPROC ? "cannot be asked: " MESH_CALLER_NAME " does not run"
                                            : "cannot be asked: nothing answers here");
    if ((*out)->tag == MESH_ASKED) return ERR_OK;
    rt_msg_drop(c->node, out); /* the question, refused */
    return rt_verb_fail(c, ERR_BUSY, c->args[0], "cannot be asked: too much waits to be asked");
}

static err number_of_seconds(rt_verb_call *c, size_t i, uint64_t *out) { return rt_verb_number(c, i, TIMEOUT_SEC_MAX, TIMEOUT_SEC, out); }

/* --- a term in words ---------------------------------------------------------------------------------------------------------------- */
static bool format(slice term, buf *out) {
    const etf_term *t;
    arena a;
    etf_reader r = etf_reader_of(term);
    arena_init(&a, (term.len + 1) * ETF_TERM_COST);
    bool fits = etf_term_read(&r, &a, &t) == ERR_OK;
    if (fits) etf_format(t, out);
    arena_fini(&a);
    return fits && buf_ok(out);
}

/* --- rpc ---------------------------------------------------------------------------------------------------------------------------- */
static err bad_args(rt_verb_call *c, slice text, err e, size_t at) {
    char rest[64];
    (void)utf8_escape(slice_from(text, at < text.len ? at : text.len), rest, sizeof rest);
    if (e == ERR_LIMIT)
        (void)snprintf(c->why, sizeof c->why, "the arguments are more than %u bytes, or nested too deep", ARGS_BYTES_MAX);
    else if (at < text.len)
        (void)snprintf(c->why, sizeof c->why, "the arguments are not an Erlang term: at byte %zu, '%s'", at + 1, rest);
    else
        (void)snprintf(c->why, sizeof c->why, "the arguments are not an Erlang term: it ends too soon, after byte %zu", at);
    return e;
}

static err args_of(rt_verb_call *c, slice text, buf *out) {
    size_t at = 0;
    buf raw;
    buf_init(&raw, ARGS_BYTES_MAX);
    err e = etf_parse(text, &raw, &at);
    if (e)
        e = bad_args(c, text, e, at);
    else if (!mesh_args_list(buf_slice(&raw), out))
        e = rt_verb_fail(c, ERR_INVALID, text, "is not a list of arguments, such as [1,two,\"three\"]");
    buf_fini(&raw);
    return e;
}

static err name_of(rt_verb_call *c, slice text, const char *what) {
    char matter[64];
    (void)snprintf(matter, sizeof matter, "is not the name of a %s", what);
    return text.len && etf_is_atom(text) ? ERR_OK : rt_verb_fail(c, ERR_INVALID, text, matter);
}

/* What the other node said, in words: its value, or why the function gave none. */
static err told(rt_verb_call *c, const mesh_asked_msg *r) {
    buf b;
    err e = r->status;
    buf_init(&b, TEXT_BYTES_MAX);
    bool term = r->term != NULL;
    if (term && !format(rt_blob_slice(r->term), &b)) {
        (void)snprintf(c->why, sizeof c->why, "the answer, %u bytes, is too long to be shown", r->term->len);
        e = ERR_LIMIT;
    } else if (term && e) {
        char safe[200];
        (void)utf8_escape(buf_slice(&b), safe, sizeof safe);
        (void)snprintf(c->why, sizeof c->why, "the function failed: %s", safe);
        e = ERR_REFUSED;
    } else if (term) {
        c->result = val_str(c->arena, buf_slice(&b));
    } else {
        slice why = rt_blob_slice(r->why);
        (void)snprintf(c->why, sizeof c->why, SLICE_FMT, SLICE_ARG(why));
    }
    buf_fini(&b);
    return e;
}

static void audit(rt_verb_call *c) {
    buf text;
    char safe[3 * 256];
    buf_init(&text, sizeof safe);
    for (size_t i = 0; i < 3; i++) {
        (void)utf8_escape(c->args[i], safe, 256);
        if (i) buf_add_str(&text, i == 1 ? " " : ":");
        buf_add_str(&text, safe);
    }
    rt_event_ext(c->node, EV_MESH_RPC, 0, 0, buf_slice(&text));
    buf_fini(&text);
}

err mesh_rpc_verb(rt_verb_call *c) {
    uint64_t sec = 0;
    rt_msg *answer = NULL;
    buf args;
    buf_init(&args, 8 * ARGS_BYTES_MAX);
    err e = name_of(c, c->args[1], "module");
    if (!e) e = name_of(c, c->args[2], "function");
    if (!e) e = args_of(c, c->n_args > 3 ? c->args[3] : SLICE("[]"), &args);
    if (!e) e = number_of_seconds(c, 4, &sec);
    if (!e) {
        audit(c);
        e = ask(c,
                (mesh_ask_msg){.op = MESH_ASK_RPC,
                               .node = rt_blob_new(c->args[0]),
                               .module = rt_blob_new(c->args[1]),
                               .function = rt_blob_new(c->args[2]),
                               .args = rt_blob_new(buf_slice(&args))},
                sec, &answer);
    }
    if (!e) e = told(c, mesh_asked_msg_of(answer));
    if (answer) rt_msg_drop(c->node, &answer);
    buf_fini(&args);
    return e;
}

/* --- ping --------------------------------------------------------------------------------------------------------------------------- */
err mesh_ping_verb(rt_verb_call *c) {
    uint64_t sec;
    rt_msg *answer = NULL;
    err e = number_of_seconds(c, 1, &sec);
    if (e) return e;
    sys *y = rt_node_sys(c->node);
    usec from = y->mono(y);
    e = ask(c, (mesh_ask_msg){.op = MESH_ASK_PING, .node = rt_blob_new(c->args[0])}, sec, &answer);
    if (e) return e;
    const mesh_asked_msg *r = mesh_asked_msg_of(answer);
    etf_reader yes = etf_reader_of(rt_blob_slice(r->term));
    if (r->status) {
        e = told(c, r);
    } else if (!etf_get_atom_is(&yes, SLICE("yes"))) {
        e = rt_verb_fail(c, ERR_REFUSED, c->args[0], "does not take this node for one of its cluster");
    } else {
        c->result = val_map(c->arena);
        val_set(c->arena, c->result, "answer", val_str(c->arena, SLICE("pong")));
        rt_verb_uint(c, c->result, "time_usec", (uint64_t)(y->mono(y) - from));
    }
    rt_msg_drop(c->node, &answer);
    return e;
}
