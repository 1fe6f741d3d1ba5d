/* c2s_auth: SASL on a connection (RFC 6120 section 6).
 *
 *      <auth/> --> [xmpp_sasl] --NEED_KEYS---> SVC_AUTH ... SVC_KEYS --> challenge, response, success
 *                              --NEED_CHECK--> SVC_AUTH ... SVC_KEYS --> pool: PBKDF2 --> success or failure
 *
 * An account that does not exist takes the same way: svc answers with fake keys, and PLAIN computes over them. The answer differs in
 * nothing, and failures are counted alike. An answer "ask later" (the database does not respond) is a temporary failure and not counted.
 *
 * Who guesses is slowed down (guard.h). The guard is asked when the verdict is known, the only moment at which many attempts at once are
 * one after the other; a wrong one is told to the guards of all shards. An attempt at an account that many guess at waits before it gets
 * its challenge: its keys are put into an actor that sends them again after the delay, so that a session needs no second timer for it.
 *
 * Invariants: (1) PLAIN is offered in clear only where the operator does not require TLS; -PLUS only under TLS. (2) At most
 * auth_failures_max failures a connection. (3) The deadline runs from accept, whatever the client sends. (4) While the guard is shut no
 * attempt succeeds, and all fail in the same bytes. (5) What a SCRAM challenge says of the offer is what the features said. */
#include "base/codec.h"
#include "base/mem.h"
#include "edge/c2s_fn.h"
#include "proto/xmpp/jid.h"

#include <stdio.h>

#define PLUS      ((1u << XMPP_MECH_SCRAM_SHA_256_PLUS) | (1u << XMPP_MECH_SCRAM_SHA_1_PLUS))
#define NONCE_RAW 24u /* random bytes in a nonce */

typedef struct edge_check_job { /* a PLAIN password against the keys of an account */
    rt_job job;
    xmpp_scram_keys keys;
    bool exists;
    bool ok;
    size_t len;
    uint8_t password[];
} edge_check_job;

static void check_free(rt_box *b) {
    edge_check_job *j = container_of(container_of(b, rt_job, box), edge_check_job, job);
    mem_wipe(j, sizeof *j + j->len);
    mem_free(j);
}

static void check_run(rt_job *job) {
    edge_check_job *j = container_of(job, edge_check_job, job);
    j->ok = xmpp_scram_verify_password(&j->keys, slice_of(j->password, j->len));
}

/* --- what is offered ------------------------------------------------------------------------------------------------------------ */
static uint32_t offered(const edge_c2s *s) {
    const edge_cfg *c = s->door->cfg;
    bool secure = s->flags & EDGE_F_SECURE;
    if (edge_c2s_svc(s)->domains[s->domain].anonymous) return 1u << XMPP_MECH_ANONYMOUS;
    uint32_t m = c->mechanisms & ~(1u << XMPP_MECH_ANONYMOUS);
    if (!s->nego->exporter_len && !s->nego->end_point_len) m &= ~PLUS;
    if (!secure && c->tls_required) m = 0;
    return m;
}

static void listed(const edge_nego *n, const char *mechs[XMPP_MECH_COUNT_], const char *bindings[3]) {
    size_t k = 0, b = 0;
    for (unsigned m = XMPP_MECH_NONE + 1; m < XMPP_MECH_COUNT_; m++)
        if (n->offered & (1u << m)) mechs[k++] = xmpp_sasl_mech_name((xmpp_mech)m);
    mechs[k] = NULL;
    if (n->offered & PLUS && n->exporter_len) bindings[b++] = "tls-exporter";
    if (n->offered & PLUS && n->end_point_len) bindings[b++] = "tls-server-end-point";
    bindings[b] = NULL;
}

void edge_c2s_auth_features(edge_c2s *s, const char *mechs[XMPP_MECH_COUNT_], const char *bindings[3]) {
    edge_c2s_tls_bindings(s);
    s->nego->offered = offered(s);
    listed(s->nego, mechs, bindings);
}

/* --- guessing ------------------------------------------------------------------------------------------------------------------- */
static slice user_of(const edge_c2s *s, char out[XMPP_JID_PART_MAX * 2 + 2]) {
    slice user = xmpp_sasl_user(s->nego->sasl), domain = edge_c2s_domain(s);
    int n = snprintf(out, XMPP_JID_PART_MAX * 2 + 2, SLICE_FMT "@" SLICE_FMT, SLICE_ARG(user), SLICE_ARG(domain)); /* bounded parts */
    return slice_of(out, (size_t)n);
}

static edge_guard_key key_of(const edge_c2s *s) {
    char text[XMPP_JID_PART_MAX * 2 + 2];
    return edge_guard_key_of(s->door->guard, user_of(s, text), &s->nego->addr);
}

/* For the operator: who is tried, and from where. delay 0: refused. */
static void report(rt_ctx *cx, const edge_c2s *s, usec delay) {
    char user[XMPP_JID_PART_MAX * 2 + 2], addr[SYS_ADDR_TEXT];
    sys_addr_format(&s->nego->addr, addr);
    slice account = user_of(s, user);
    buf text;
    buf_init(&text, RT_EVENT_TEXT);
    buf_addf(&text, "%s ", addr);
    buf_add(&text, slice_sub(account, 0, RT_EVENT_TEXT - text.len));
    rt_event_text(cx, EV_AUTH_LIMITED, (uint64_t)s->fd, (uint64_t)delay, buf_slice(&text));
    buf_fini(&text);
}

static bool shut(rt_ctx *cx, edge_c2s *s) {
    edge_guard_key k = key_of(s);
    if (edge_guard_open(rt_epoch_reader(cx), s->door->guard, &k, rt_now(cx))) return false;
    report(cx, s, 0);
    return true;
}

/* The verdict on a password is known. false: the client is to be told that it is wrong, whatever it is. */
static bool judge(rt_ctx *cx, edge_c2s *s, bool right) {
    if (xmpp_sasl_user(s->nego->sasl).len == 0) return right; /* nobody was tried: ANONYMOUS, or a message without a name that can be one */
    if (shut(cx, s)) return false;
    if (right) return true;
    edge_guard_key k = key_of(s);
    err e = edge_guard_failed(rt_epoch_reader(cx), s->door->guard, &k, rt_now(cx));
    if (e) rt_event(cx, EV_GUESS_LOST, (uint64_t)s->fd, (uint64_t)e, 0);
    return false;
}

/* An actor that hands keys to a session after a while, and ends. */
typedef struct delay {
    rt_timer timer;
    rt_pid to;
    rt_msg *keys;
} delay;
typedef struct delay_arg {
    rt_msg **keys; /* taken */
    rt_pid to;
    usec at;
} delay_arg;

static err delay_init(rt_ctx *cx, void *st, const void *arg) {
    delay *d = st;
    const delay_arg *a = arg;
    d->to = a->to;
    d->keys = *a->keys;
    *a->keys = NULL;
    rt_timer_set(cx, &d->timer, a->at);
    return ERR_OK;
}

static err delay_timer(rt_ctx *cx, void *st, rt_timer *t) {
    delay *d = st;
    (void)t; /* there is only one */
    rt_send(cx, d->to, &d->keys);
    rt_stop(cx, ERR_OK);
    return ERR_OK;
}

static err delay_handle(rt_ctx *cx, void *st, rt_msg **m) {
    (void)cx;
    (void)st;
    (void)m; /* nobody knows it */
    return ERR_OK;
}

static void delay_fini(rt_ctx *cx, void *st, err reason) {
    delay *d = st;
    (void)reason;
    if (d->keys) rt_msg_drop(rt_ctx_node(cx), &d->keys);
}

static const rt_class delay_class = {
    .name = "delay", .state_size = sizeof(delay), .init = delay_init, .handle = delay_handle, .timer = delay_timer, .fini = delay_fini};

/* Is the attempt to wait? Then its keys come again later. */
static bool delayed(rt_ctx *cx, edge_c2s *s, svc_keys *k) {
    edge_guard_key key = key_of(s);
    usec wait = s->nego->waited ? 0 : edge_guard_delay(rt_epoch_reader(cx), s->door->guard, &key, rt_now(cx));
    wait = usec_min(wait, (s->nego->deadline - rt_now(cx)) / 2); /* the rest is for the client's answer */
    if (wait <= 0) return false;
    rt_msg *m = rt_msg_new(cx, SVC_KEYS, sizeof(svc_keys));
    *svc_keys_of(m) = *k;
    k->keys = NULL;
    delay_arg arg = {&m, rt_self(cx), rt_now(cx) + wait};
    rt_pid pid;
    err e = rt_spawn(cx, &delay_class, &arg, 0, &pid, NULL);
    if (e) { /* no room for one more actor: it is judged now */
        k->keys = svc_keys_of(m)->keys;
        svc_keys_of(m)->keys = NULL;
        rt_msg_drop(rt_ctx_node(cx), &m);
        return false;
    }
    s->nego->waited = true;
    report(cx, s, wait);
    return true;
}

/* --- the exchange --------------------------------------------------------------------------------------------------------------- */
static void over(edge_c2s *s) {
    xmpp_sasl_free(s->nego->sasl);
    s->nego->sasl = NULL;
    s->nego->waited = false;
    s->stream.flags &= (uint8_t)~XMPP_STREAM_SASL_BUSY;
}

static void fail(rt_ctx *cx, edge_c2s *s, xmpp_sasl_error error) {
    edge_nego *n = s->nego;
    xmpp_mech mech = n->sasl ? xmpp_sasl_mech(n->sasl) : XMPP_MECH_NONE;
    over(s);
    xmpp_error_write_sasl(edge_c2s_out(cx, s), error, NULL);
    rt_event_text(cx, EV_AUTH_FAIL, (uint64_t)s->fd, (uint64_t)mech, slice_str(xmpp_error_sasl_name(error)));
    if (error == SASL_TEMPORARY_AUTH_FAILURE) return; /* our fault, not a guess */
    if (++n->failures >= s->door->cfg->auth_failures_max) edge_c2s_close(cx, s, STREAM_POLICY_VIOLATION, "too many failed attempts");
}

/* The account's bare JID. ANONYMOUS: one that nobody else has. */
static rt_blob *account(rt_ctx *cx, edge_c2s *s) {
    slice user = xmpp_sasl_user(s->nego->sasl), domain = edge_c2s_domain(s);
    char id[33];
    if (user.len == 0) {
        edge_c2s_random_id(cx, id);
        user = slice_str(id);
        s->nego->anonymous = true;
    }
    rt_blob *b = rt_blob_alloc(user.len + 1 + domain.len);
    memcpy(b->data, user.p, user.len);
    b->data[user.len] = '@';
    memcpy(b->data + user.len + 1, domain.p, domain.len);
    return b;
}

static void ask_keys(rt_ctx *cx, edge_c2s *s) {
    rt_blob *user = account(cx, s);
    rt_pid part = svc_partition(s->door->node, edge_c2s_svc(s), rt_blob_slice(user));
    if (!rt_pid_ok(part)) { /* it restarts */
        rt_blob_unref(user);
        fail(cx, s, SASL_TEMPORARY_AUTH_FAILURE);
        return;
    }
    rt_msg *m = rt_msg_new(cx, SVC_AUTH, sizeof(svc_auth));
    svc_auth_of(m)->ref = ++s->nego->ref;
    svc_auth_of(m)->user = user;
    s->hold |= EDGE_HOLD_SVC;
    rt_send(cx, part, &m);
}

static void succeed(rt_ctx *cx, edge_c2s *s, slice data) {
    edge_nego *n = s->nego;
    n->mech = (uint8_t)xmpp_sasl_mech(n->sasl);
    n->user = account(cx, s);
    n->deadline = rt_now(cx) + s->door->cfg->auth_deadline; /* of the next part: binding */
    over(s);
    xmpp_stream_write_success(edge_c2s_out(cx, s), data);
    rt_event(cx, EV_AUTH_OK, (uint64_t)s->fd, n->mech, 0);
    edge_c2s_open_restart(s, XMPP_PHASE_AUTHED, 0);
}

static void step(rt_ctx *cx, edge_c2s *s, xmpp_sasl_step st, const buf *out, xmpp_sasl_error error) {
    switch (st) {
    case XMPP_SASL_NEED_DATA: xmpp_stream_write_challenge(edge_c2s_out(cx, s), SLICE("")); break;
    case XMPP_SASL_NEED_KEYS:
    case XMPP_SASL_NEED_CHECK: ask_keys(cx, s); break;
    case XMPP_SASL_CHALLENGE: xmpp_stream_write_challenge(edge_c2s_out(cx, s), buf_slice(out)); break;
    case XMPP_SASL_SUCCESS:
        if (judge(cx, s, true))
            succeed(cx, s, out->len ? buf_slice(out) : SLICE_NULL);
        else
            fail(cx, s, SASL_NOT_AUTHORIZED);
        break;
    case XMPP_SASL_FAILURE:
        if (error == SASL_NOT_AUTHORIZED) (void)judge(cx, s, false); /* it is counted; the answer is the same */
        fail(cx, s, error ? error : SASL_NOT_AUTHORIZED);
        break;
    }
}

static void feed(rt_ctx *cx, edge_c2s *s, slice data) {
    buf out;
    buf_init(&out, SCRAM_MESSAGE_MAX);
    xmpp_sasl_error error = SASL_OK;
    slice text = data.p && data.len == 0 ? SLICE("=") : data; /* empty data is not the same as none */
    xmpp_sasl_step st = xmpp_sasl_feed(s->nego->sasl, text, &out, &error);
    step(cx, s, st, &out, error);
    buf_fini(&out);
}

void edge_c2s_auth_begin(rt_ctx *cx, edge_c2s *s, const xmpp_event *ev) {
    edge_nego *n = s->nego;
    if (!check(!n->sasl)) return;
    if (s->door->cfg->tls_required && !(s->flags & EDGE_F_SECURE)) { /* the stream's phase forbids it; said twice because it matters */
        edge_c2s_close(cx, s, STREAM_POLICY_VIOLATION, NULL);
        return;
    }
    uint8_t raw[NONCE_RAW];
    rt_entropy(cx, raw, sizeof raw);
    buf nonce;
    buf_init(&nonce, BASE64_LEN(NONCE_RAW));
    base64_encode(&nonce, slice_of(raw, sizeof raw));
    const char *mechs[XMPP_MECH_COUNT_] = {NULL}, *bindings[3] = {NULL};
    listed(n, mechs, bindings);
    buf offer;
    buf_init(&offer, SCRAM_OFFER_MAX);
    xmpp_scram_offer(mechs, bindings[0] ? bindings : NULL, &offer);
    xmpp_scram_binding b = {.plus_offered = n->offered & PLUS, .offer = buf_slice(&offer)};
    if (n->exporter_len) b.tls_exporter = slice_of(n->exporter, n->exporter_len);
    if (n->unique_len) b.tls_unique = slice_of(n->unique, n->unique_len);
    if (n->end_point_len) b.tls_server_end_point = slice_of(n->end_point, n->end_point_len);
    xmpp_sasl_error error = SASL_OK;
    n->sasl = xmpp_sasl_new(ev->mechanism, n->offered, &b, buf_slice(&nonce), edge_c2s_domain(s), &error);
    buf_fini(&nonce);
    buf_fini(&offer);
    if (!n->sasl) {
        fail(cx, s, error ? error : SASL_INVALID_MECHANISM);
        return;
    }
    s->stream.flags |= XMPP_STREAM_SASL_BUSY;
    feed(cx, s, ev->data);
}

void edge_c2s_auth_response(rt_ctx *cx, edge_c2s *s, const xmpp_event *ev) {
    if (!check(s->nego && s->nego->sasl)) return;
    feed(cx, s, ev->data.p ? ev->data : SLICE("")); /* <response/> without text is empty data (6.4.3) */
}

void edge_c2s_auth_abort(rt_ctx *cx, edge_c2s *s) {
    if (s->nego) fail(cx, s, SASL_ABORTED);
}

/* --- answers -------------------------------------------------------------------------------------------------------------------- */
static void submit_check(rt_ctx *cx, edge_c2s *s, const xmpp_scram_keys *k, bool exists) {
    slice pw = xmpp_sasl_password(s->nego->sasl);
    edge_check_job *j = mem_zalloc(sizeof *j + pw.len);
    j->job.box.free = check_free;
    j->job.run = check_run;
    j->job.what = "password check";
    j->job.deadline = s->nego->deadline;
    j->keys = *k;
    j->exists = exists;
    j->len = pw.len;
    if (pw.len) memcpy(j->password, pw.p, pw.len);
    s->hold |= EDGE_HOLD_JOB;
    rt_job *job = &j->job;
    rt_pool_submit(cx, RT_POOL_CRYPTO, &job);
}

/* The keys of this exchange's algorithm. An account that lacks them is as one that does not exist. */
static bool keys_of(const edge_c2s *s, const svc_keys *k, xmpp_scram_keys *out, bool *out_exists) {
    digest_alg alg = xmpp_sasl_alg(s->nego->sasl);
    err e = svc_keys_unpack(rt_blob_slice(k->keys), alg, out);
    if (e && e != ERR_NOT_FOUND) return false;
    *out_exists = k->exists && !e;
    if (e) {
        const svc_cfg *c = edge_c2s_svc(s);
        slice secret = slice_of(c->fake_salt_secret, sizeof c->fake_salt_secret);
        xmpp_scram_fake(alg, secret, xmpp_sasl_user(s->nego->sasl), c->scram_iterations, out);
    }
    return true;
}

void edge_c2s_auth_keys(rt_ctx *cx, edge_c2s *s, svc_keys *k) {
    if (s->state != EDGE_OPEN || !s->nego->sasl || k->ref != s->nego->ref) return; /* of an exchange that was given up */
    xmpp_scram_keys keys;
    bool exists = false;
    if (!k->status && delayed(cx, s, k)) return; /* still held: the answer comes again */
    if (k->status || !keys_of(s, k, &keys, &exists)) {
        fail(cx, s, SASL_TEMPORARY_AUTH_FAILURE);
    } else if (xmpp_sasl_mech(s->nego->sasl) == XMPP_MECH_PLAIN && shut(cx, s)) {
        fail(cx, s, SASL_NOT_AUTHORIZED); /* a PBKDF2 saved; that this answer is quick tells of the guesser only */
    } else if (xmpp_sasl_mech(s->nego->sasl) == XMPP_MECH_PLAIN) {
        submit_check(cx, s, &keys, exists);
    } else {
        buf out;
        buf_init(&out, SCRAM_MESSAGE_MAX);
        xmpp_sasl_error error = SASL_OK;
        xmpp_sasl_step st = xmpp_sasl_keys(s->nego->sasl, &keys, exists, &out, &error);
        step(cx, s, st, &out, error);
        buf_fini(&out);
    }
    mem_wipe(&keys, sizeof keys);
    edge_c2s_in_release(cx, s, EDGE_HOLD_SVC);
}

void edge_c2s_auth_refused(rt_ctx *cx, edge_c2s *s) {
    if (s->state != EDGE_OPEN || !s->nego->sasl) return;
    fail(cx, s, SASL_TEMPORARY_AUTH_FAILURE);
    edge_c2s_in_release(cx, s, EDGE_HOLD_SVC);
}

bool edge_c2s_auth_done(rt_ctx *cx, edge_c2s *s, rt_job_done *d) {
    rt_job *job = rt_job_of(d);
    if (job->run != check_run) return false;
    edge_check_job *j = container_of(job, edge_check_job, job);
    if (s->state != EDGE_OPEN || !s->nego->sasl) return true; /* the stream was closed meanwhile */
    if (d->status) {
        fail(cx, s, SASL_TEMPORARY_AUTH_FAILURE);
    } else {
        buf out;
        buf_init(&out, SCRAM_MESSAGE_MAX);
        xmpp_sasl_error error = SASL_OK;
        xmpp_sasl_step st = xmpp_sasl_checked(s->nego->sasl, j->ok && j->exists, &out, &error);
        step(cx, s, st, &out, error);
        buf_fini(&out);
    }
    edge_c2s_in_release(cx, s, EDGE_HOLD_JOB);
    return true;
}
