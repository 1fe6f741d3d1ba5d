/* c2s_tls: STARTTLS (RFC 6120 section 5) and direct TLS (XEP-0368).
 *
 * A handshake costs milliseconds of a CPU, so each of its steps is a job of the crypto pool, which has its own bound: a flood of handshakes
 * delays handshakes, not messages. The job takes the TLS state and the bytes with it and brings them home.
 *
 *      bytes --> edge_tls_job{conn, in} --> pool: conn_handshake --> RT_JOB_DONE --> wire out; done? a new stream
 *
 * Invariants: (1) bytes that came behind <starttls/> and before the handshake are never interpreted: the connection closes. (2) After the
 * handshake the stream begins from nothing. (3) While a job is out, s->tls is NULL and nothing is read or encrypted. */
#include "base/mem.h"
#include "edge/c2s_fn.h"

#define HANDSHAKE_OUT_MAX (256u << 10) /* bytes that one step may produce: certificate chains */

typedef struct edge_tls_job {
    rt_job job;
    tls *tls;
    tls_conn *conn;
    buf in, out;
    err result;
    bool done; /* the handshake is complete */
} edge_tls_job;

static void job_free(rt_box *b) {
    edge_tls_job *j = container_of(container_of(b, rt_job, box), edge_tls_job, job);
    j->tls->conn_free(j->conn);
    buf_fini(&j->in);
    buf_fini(&j->out);
    mem_free(j);
}

static void job_run(rt_job *job) {
    edge_tls_job *j = container_of(job, edge_tls_job, job);
    j->result = j->tls->conn_handshake(j->conn, buf_slice(&j->in), &j->out, &j->done);
}

void edge_c2s_tls_begin(rt_ctx *cx, edge_c2s *s) {
    if (!s->door->server) { /* the certificates went away between our offer and now */
        edge_c2s_gone(cx, s);
        return;
    }
    s->tls = s->door->tls->conn_new(s->door->server);
    s->nego->tls_began = rt_now(cx);
    s->state = EDGE_HANDSHAKE;
}

void edge_c2s_tls_starttls(rt_ctx *cx, edge_c2s *s, size_t behind) {
    if (behind > 0) { /* NO STARTTLS (2021): clear text that would be taken for what came over TLS */
        edge_c2s_close(cx, s, STREAM_POLICY_VIOLATION, "data before the TLS handshake");
        return;
    }
    xmpp_stream_write_proceed(edge_c2s_out(cx, s));
    if (edge_c2s_out_seal(s))
        edge_c2s_gone(cx, s); /* goes out in clear: the last thing that does */
    else
        edge_c2s_tls_begin(cx, s);
}

void edge_c2s_tls_bytes(rt_ctx *cx, edge_c2s *s, slice got) {
    if (!check(s->tls && !(s->hold & EDGE_HOLD_JOB))) return;
    edge_tls_job *j = mem_zalloc(sizeof *j);
    j->job.box.free = job_free;
    j->job.run = job_run;
    j->job.what = "tls handshake";
    j->job.deadline = s->nego->deadline;
    j->tls = s->door->tls;
    j->conn = s->tls;
    s->tls = NULL;
    s->hold |= EDGE_HOLD_JOB;
    buf_init(&j->in, RT_SCRATCH);
    buf_init(&j->out, HANDSHAKE_OUT_MAX);
    buf_add(&j->in, got);
    rt_job *job = &j->job;
    rt_pool_submit(cx, RT_POOL_CRYPTO, &job);
}

static void handshake_done(rt_ctx *cx, edge_c2s *s) {
    rt_event(cx, EV_TLS_DONE, (uint64_t)s->fd, (uint64_t)(rt_now(cx) - s->nego->tls_began), 0);
    s->flags |= EDGE_F_SECURE;
    s->state = EDGE_OPEN;
    edge_c2s_open_restart(s, XMPP_PHASE_SECURE, 0);
    edge_c2s_in_tls(cx, s, SLICE_NULL); /* what came with the client's last flight */
}

bool edge_c2s_tls_done(rt_ctx *cx, edge_c2s *s, rt_job_done *d) {
    rt_job *job = rt_job_of(d);
    if (job->run != job_run) return false;
    edge_tls_job *j = container_of(job, edge_tls_job, job);
    if (s->state != EDGE_HANDSHAKE) return true; /* ended meanwhile; the job is freed with the message */
    if (j->out.len) {
        buf_add(&edge_c2s_out_get(s)->wire, buf_slice(&j->out));
        rt_flush_later(cx);
    }
    if (d->status || j->result) {
        tls_info info = {0};
        if (j->conn) j->tls->conn_info(j->conn, &info);
        const char *why = d->status ? err_name(d->status) : info.why && info.why[0] ? info.why : err_name(j->result);
        rt_event_text(cx, EV_TLS_FAIL, (uint64_t)s->fd, 0, slice_str(why));
        edge_c2s_out_flush(cx, s); /* the alert, as far as it goes */
        edge_c2s_gone(cx, s);
        return true;
    }
    s->tls = j->conn;
    j->conn = NULL;
    bool done = j->done;
    if (done) handshake_done(cx, s);
    edge_c2s_in_release(cx, s, EDGE_HOLD_JOB);
    return true;
}

static void read_binding(edge_c2s *s, tls_binding kind, uint8_t out[64], uint8_t *out_len) {
    buf b;
    buf_init(&b, 64);
    tls *t = s->door->tls;
    if (t->conn_binding(s->tls, kind, &b) == ERR_OK && buf_ok(&b) && b.len) {
        memcpy(out, b.p, b.len);
        *out_len = (uint8_t)b.len;
    }
    buf_fini(&b);
}

void edge_c2s_tls_bindings(edge_c2s *s) {
    edge_nego *n = s->nego;
    if (!s->tls || n->bindings_read) return;
    n->bindings_read = true;
    read_binding(s, TLS_BINDING_EXPORTER, n->exporter, &n->exporter_len);
    read_binding(s, TLS_BINDING_SERVER_END_POINT, n->end_point, &n->end_point_len);
    read_binding(s, TLS_BINDING_UNIQUE, n->unique, &n->unique_len);
}
