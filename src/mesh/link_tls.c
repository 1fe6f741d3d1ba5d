/* link_tls: a link under TLS, as OTP's inet_tls_dist has it: the messages of the distribution are what TLS carries, each with a length of
 * four bytes, in the handshake of the nodes too.
 *
 *      socket --> came --job{conn, came}--> pool: a step of the TLS handshake --> RT_JOB_DONE --> wire; done? the nodes' handshake begins
 *      socket --> conn_read --> link_hand.c, link_in.c
 *      out --conn_write, SEAL_MAX at a time--> wire --> socket
 *
 * A TLS handshake costs milliseconds of a CPU: each of its steps is a job of the crypto pool, which has its bound; a flood of handshakes
 * delays handshakes, not messages. Records cost microseconds, and are opened and sealed where they are needed.
 *
 * Both sides show a certificate (rt/tls.h). The dialler knows whom it dials; the acceptor hears later who it is: then mesh_tls_names.
 *
 * Invariants: (1) while a job is out conn is NULL, and nothing is opened or sealed. (2) Not more than SEAL_MAX bytes of out are sealed
 * before the socket has taken what was sealed before: back-pressure is counted in out. (3) Nothing is sealed or opened before the handshake
 * of TLS is complete. */
#include "base/mem.h"
#include "mesh/link.h"
#include "rt/event.h"
#include "rt/pool.h"

#include <stdio.h>

#define SEAL_MAX (64u << 10)      /* as long as a fragment */
#define CAME_MAX (2 * RT_SCRATCH) /* in the handshake: more than any chain of certificates that OpenSSL takes */

struct mesh_tls {
    tls *t;
    tls_conn *conn; /* NULL: the pool has it */
    bool dials;
    bool up;  /* the handshake of TLS is complete */
    buf came; /* until then: what came while the pool had conn */
    buf wire; /* sealed, for the socket, but for its first wire_off bytes, which are written already */
    size_t wire_off;
    usec began;
};

/* --- the handshake ---------------------------------------------------------------------------------------------------------------- */
typedef struct step {
    rt_job job;
    tls *t;
    tls_conn *conn;
    buf in, out;
    err result;
    bool done;
} step;

static void step_free(rt_box *b) {
    step *s = container_of(container_of(b, rt_job, box), step, job);
    s->t->conn_free(s->conn);
    buf_fini(&s->in);
    buf_fini(&s->out);
    mem_free(s);
}

static void step_run(rt_job *job) {
    step *s = container_of(job, step, job);
    s->result = s->t->conn_handshake(s->conn, buf_slice(&s->in), &s->out, &s->done);
}

static void step_submit(rt_ctx *cx, mesh_link *l) {
    mesh_tls *x = l->tls;
    step *s = mem_zalloc(sizeof *s);
    s->job.box.free = step_free;
    s->job.run = step_run;
    s->job.what = "node tls handshake";
    s->job.deadline = x->began + l->m->cfg.setup_time;
    s->t = x->t;
    s->conn = x->conn;
    x->conn = NULL;
    s->in = x->came;
    buf_init(&x->came, CAME_MAX);
    buf_init(&s->out, 4 * CAME_MAX);
    rt_job *job = &s->job;
    rt_pool_submit(cx, RT_POOL_CRYPTO, &job);
}

static err begin(rt_ctx *cx, mesh_link *l, const char *peer) {
    mesh *m = l->m;
    tls_server *server = tls_slot_get(&m->tls);
    if (!server) return mesh_link_end(cx, l, "TLS is required, and node.tls.cert is not set");
    mesh_tls *x = l->tls = mem_zalloc(sizeof *x);
    x->t = m->tls.t;
    x->began = rt_now(cx);
    x->dials = peer != NULL;
    x->conn = peer ? x->t->conn_dial(server, peer) : x->t->conn_new(server);
    x->t->server_unref(server); /* the connection has its own */
    buf_init(&x->came, CAME_MAX);
    buf_init(&x->wire, SIZE_MAX); /* invariant 2 */
    if (peer) step_submit(cx, l);
    return ERR_OK;
}

err mesh_tls_accept(rt_ctx *cx, mesh_link *l) { return begin(cx, l, NULL); }

/* Whose name is known: its host is what its certificate has to name. */
err mesh_tls_dial(rt_ctx *cx, mesh_link *l) {
    dist_name n;
    char host[DIST_NAME_MAX + 1];
    if (!check(dist_name_parse(mesh_link_name(l), &n) == ERR_OK && n.host.len < sizeof host)) return ERR_BUG;
    memcpy(host, n.host.p, n.host.len);
    host[n.host.len] = 0;
    return begin(cx, l, host);
}

static err failed(rt_ctx *cx, mesh_link *l, err e) {
    mesh_tls *x = l->tls;
    tls_info info = {0};
    char text[TLS_ERR_MAX + 16];
    if (x->conn) x->t->conn_info(x->conn, &info);
    (void)snprintf(text, sizeof text, "TLS %s", info.why && info.why[0] ? info.why : err_text(e)); /* fits */
    x->up = false;
    mesh_link_last(cx, l); /* the alert */
    return mesh_link_end(cx, l, text);
}

static err opened(rt_ctx *cx, mesh_link *l, slice bytes) {
    mesh_tls *x = l->tls;
    buf plain;
    buf_init(&plain, 4 * CAME_MAX);
    err e = x->t->conn_read(x->conn, bytes, &plain, &x->wire);
    err fed = plain.len ? mesh_link_feed(cx, l, buf_slice(&plain)) : ERR_OK;
    buf_fini(&plain);
    if (fed || l->ended) return fed;
    if (!mesh_tls_idle(l)) rt_flush_later(cx);
    if (e == ERR_EOF) return mesh_link_end(cx, l, "it closed the connection");
    return e ? failed(cx, l, e) : ERR_OK;
}

static err complete(rt_ctx *cx, mesh_link *l) {
    mesh_tls *x = l->tls;
    x->up = true;
    rt_event(cx, EV_TLS_DONE, (uint64_t)l->fd, (uint64_t)(rt_now(cx) - x->began), 0);
    buf came = x->came;
    buf_init(&x->came, 0);
    err e = x->dials ? mesh_call_secured(cx, l) : ERR_OK;
    if (!e && !l->ended) e = opened(cx, l, buf_slice(&came)); /* also what came with the peer's last flight */
    buf_fini(&came);
    return e;
}

bool mesh_tls_is_step(rt_job_done *d) { return rt_job_of(d)->run == step_run; }

err mesh_tls_stepped(rt_ctx *cx, mesh_link *l, rt_job_done *d) {
    step *s = container_of(rt_job_of(d), step, job);
    mesh_tls *x = l->tls;
    if (l->ended || !check(x && !x->conn)) return ERR_OK;
    x->conn = s->conn;
    s->conn = NULL;
    buf_add(&x->wire, buf_slice(&s->out));
    if (d->status || s->result) return failed(cx, l, d->status ? d->status : s->result);
    if (!mesh_tls_idle(l)) rt_flush_later(cx);
    if (s->done) return complete(cx, l);
    if (x->came.len) step_submit(cx, l);
    return ERR_OK;
}

/* --- bytes ------------------------------------------------------------------------------------------------------------------------ */
err mesh_tls_feed(rt_ctx *cx, mesh_link *l, slice bytes) {
    mesh_tls *x = l->tls;
    if (x->up) return opened(cx, l, bytes);
    buf_add(&x->came, bytes);
    if (!buf_ok(&x->came)) return mesh_link_end(cx, l, "it sends too much before its TLS handshake is complete");
    if (x->conn) step_submit(cx, l);
    return ERR_OK;
}

bool mesh_tls_idle(const mesh_link *l) { return !l->tls || l->tls->wire.len == 0; }

err mesh_tls_wire(mesh_link *l, slice plain, size_t *out_taken, slice *out_wire) {
    mesh_tls *x = l->tls;
    size_t taken = 0;
    if (x->wire.len == 0 && x->up && plain.len) {
        slice piece = slice_sub(plain, 0, SEAL_MAX);
        err e = x->t->conn_write(x->conn, piece, &x->wire);
        if (e) return e;
        taken = piece.len;
    }
    *out_taken = taken;
    *out_wire = slice_from(buf_slice(&x->wire), x->wire_off);
    return ERR_OK;
}

void mesh_tls_wrote(mesh_link *l, size_t n) {
    mesh_tls *x = l->tls;
    x->wire_off += n;
    if (x->wire_off < x->wire.len) return;
    buf_fini(&x->wire); /* an idle link has none */
    x->wire_off = 0;
}

/* --- names and the end ------------------------------------------------------------------------------------------------------------ */
bool mesh_tls_names(const mesh_link *l, slice host) {
    char text[DIST_NAME_MAX + 1];
    if (host.len >= sizeof text) return false;
    memcpy(text, host.p, host.len);
    text[host.len] = 0;
    return l->tls->conn && l->tls->t->conn_names(l->tls->conn, text);
}

void mesh_tls_free(rt_ctx *cx, mesh_link *l) {
    mesh_tls *x = l->tls;
    if (!x) return;
    if (x->conn && x->up) {
        x->t->conn_close(x->conn, &x->wire);
        x->up = false; /* nothing may follow */
        mesh_link_last(cx, l);
    }
    x->t->conn_free(x->conn);
    buf_fini(&x->came);
    buf_fini(&x->wire);
    mem_free(x);
    l->tls = NULL;
}
