/* admin: what operators ask of a partition (SVC_ADMIN): accounts are made, changed and looked at by the actor that owns them, so that a
 * tool sees what the service sees. Passwords become keys on the crypto pool and are wiped; they are never logged, stored or echoed. */
#include "base/utf8.h"
#include "proto/xmpp/sasl.h"
#include "svc/queue.h"

#include <stdio.h>

#define RESULT_MAX   (64u << 20)
#define PASSWORD_MAX 1024u

/* --- replies */
static svc_result *result_new(void);
static void result_free(rt_box *b) {
    svc_result *r = container_of(b, svc_result, box);
    arena_fini(&r->arena);
    mem_free(r);
}

static svc_result *result_new(void) {
    svc_result *r = mem_zalloc(sizeof *r);
    r->box.free = result_free;
    arena_init(&r->arena, RESULT_MAX);
    return r;
}

static void reply(svc_part *p, rt_pid to, uint64_t ref, err status, const char *why, svc_result *r) {
    rt_msg *m = rt_msg_new(p->cx, SVC_ADMIN_REPLY, sizeof(svc_admin_reply));
    svc_admin_reply *a = svc_admin_reply_of(m);
    a->ref = ref;
    a->status = status;
    if (why) a->why = rt_blob_new(slice_str(why));
    if (r) a->result = &r->box;
    rt_send(p->cx, to, &m);
}

/* --- making and changing accounts */
typedef struct derive_job {
    rt_job job;
    rt_pid to;
    uint64_t ref;
    uint8_t op;
    uint32_t iterations;
    slice user, password; /* owned */
    uint8_t salt[2][SCRAM_SALT_LEN];
    store_keys sha1, sha256;
} derive_job;

static void derive_free(rt_box *b) {
    derive_job *j = container_of(container_of(b, rt_job, box), derive_job, job);
    if (j->password.p) {
        union {
            const uint8_t *c;
            uint8_t *m;
        } u = {j->password.p};
        mem_wipe(u.m, j->password.len);
    }
    svc_disown(&j->password);
    svc_disown(&j->user);
    mem_wipe(j, sizeof *j);
    mem_free(j);
}

static void derive_run(rt_job *job) { /* on a pool thread */
    derive_job *j = container_of(job, derive_job, job);
    xmpp_scram_keys k;
    xmpp_scram_derive(DIGEST_SHA1, j->password, slice_of(j->salt[0], SCRAM_SALT_LEN), j->iterations, &k);
    svc_keys_to_store(&k, &j->sha1);
    xmpp_scram_derive(DIGEST_SHA256, j->password, slice_of(j->salt[1], SCRAM_SALT_LEN), j->iterations, &k);
    svc_keys_to_store(&k, &j->sha256);
    mem_wipe(&k, sizeof k);
}

static void derive(svc_part *p, rt_pid to, const svc_admin *q) {
    slice password = rt_blob_slice(q->arg), prepped;
    if (password.len == 0 || password.len > PASSWORD_MAX || xmpp_jid_saslprep(password, &p->scratch, &prepped) != ERR_OK ||
        prepped.len == 0) {
        reply(p, to, q->ref, ERR_INVALID, "the password is empty, too long, or has characters that SASLprep forbids", NULL);
        return;
    }
    derive_job *j = mem_zalloc(sizeof *j);
    j->job.box.free = derive_free;
    j->job.run = derive_run;
    j->job.what = "password keys";
    j->job.deadline = USEC_NEVER;
    j->to = to;
    j->ref = q->ref;
    j->op = q->op;
    j->iterations = p->cfg->scram_iterations;
    j->user = svc_own(rt_blob_slice(q->user));
    j->password = svc_own(prepped);
    rt_entropy(p->cx, j->salt, sizeof j->salt);
    rt_job *job = &j->job;
    rt_pool_submit(p->cx, RT_POOL_CRYPTO, &job);
}

typedef struct write_ctx {
    rt_pid to;
    uint64_t ref;
    uint8_t op;
    slice user; /* owned */
} write_ctx;

static const char *why_not(err e) {
    if (e == ERR_EXISTS) return "the account exists already";
    if (e == ERR_NOT_FOUND) return "there is no such account";
    if (e == ERR_NOSPC) return "no space left on the device; nothing was changed";
    return err_text(e);
}

static void written(svc_part *p, void *arg, rt_msg *answer) {
    write_ctx *c = arg;
    if (answer) {
        err status = keyed_written_of(answer)->status;
        svc_account *a = svc_account_find(p, c->user);
        if (status == ERR_OK && a && c->op == SVC_ADMIN_USER_DEL) svc_account_forget(p, a);
        if (status == ERR_OK && a && a->state == SVC_ABSENT && c->op != SVC_ADMIN_USER_DEL) a->state = SVC_UNLOADED;
        reply(p, c->to, c->ref, status, status == ERR_OK ? NULL : why_not(status), NULL);
    }
    svc_disown(&c->user);
    mem_free(c);
}

static void write_account(svc_part *p, rt_pid to, uint64_t ref, uint8_t op, slice user, store_ops *ops) {
    write_ctx *c = mem_zalloc(sizeof *c);
    *c = (write_ctx){.to = to, .ref = ref, .op = op, .user = svc_own(user)};
    rt_msg *m = rt_msg_new(p->cx, KEYED_WRITE, sizeof(keyed_write));
    keyed_write_of(m)->ref = svc_part_ref(p, written, c);
    keyed_write_of(m)->ops = store_ops_box(ops);
    rt_send(p->cx, rt_name_find(p->cx, STORE_KEYED_NAME), &m);
}

err svc_admin_on_job(svc_part *p, rt_msg *m) {
    rt_job_done *d = rt_job_done_of(m);
    derive_job *j = container_of(rt_job_of(d), derive_job, job);
    if (d->status != ERR_OK) {
        reply(p, j->to, j->ref, ERR_OVERLOAD, "too many passwords are being worked on, try again later", NULL);
        return ERR_OK;
    }
    store_ops *ops = store_ops_new();
    if (j->op == SVC_ADMIN_USER_ADD)
        store_ops_user_add(ops, j->user, &j->sha1, &j->sha256, rt_wall(p->cx));
    else
        store_ops_user_set_keys(ops, j->user, &j->sha1, &j->sha256);
    write_account(p, j->to, j->ref, j->op, j->user, ops);
    return ERR_OK;
}

static void add_with_keys(svc_part *p, rt_pid to, const svc_admin *q) {
    store_keys sha1 = {0}, sha256 = {0};
    xmpp_scram_keys k;
    err e1 = svc_keys_unpack(rt_blob_slice(q->arg), DIGEST_SHA1, &k);
    if (e1 == ERR_OK) svc_keys_to_store(&k, &sha1);
    err e2 = svc_keys_unpack(rt_blob_slice(q->arg), DIGEST_SHA256, &k);
    if (e2 == ERR_OK) svc_keys_to_store(&k, &sha256);
    mem_wipe(&k, sizeof k);
    if (e1 != ERR_OK && e2 != ERR_OK) {
        reply(p, to, q->ref, ERR_INVALID, "the keys are not in the packed form", NULL);
        return;
    }
    store_ops *ops = store_ops_new();
    store_ops_user_add(ops, rt_blob_slice(q->user), &sha1, &sha256, rt_wall(p->cx));
    write_account(p, to, q->ref, q->op, rt_blob_slice(q->user), ops);
}

/* --- looking */
static void see_roster(svc_part *p, svc_account *a, rt_pid to, uint64_t ref) {
    static const char *const subs[] = {"none", "to", "from", "both"};
    svc_result *r = result_new();
    arena *m = &r->arena;
    r->value = val_list(m);
    for (size_t i = 0; a->contacts && i < a->contacts->n; i++) {
        const store_item *it = &a->contacts->items[i];
        val *o = val_map(m);
        val_set(m, o, "jid", val_str(m, it->jid));
        val_set(m, o, "name", it->name.p ? val_str(m, it->name) : val_null(m));
        val_set(m, o, "subscription", val_str(m, slice_str(subs[it->sub & 3])));
        val_set(m, o, "ask", val_bool(m, it->ask));
        val_set(m, o, "request", val_bool(m, it->request.len != 0));
        val_push(m, r->value, o);
    }
    reply(p, to, ref, ERR_OK, NULL, r);
}

static void see_offline(svc_part *p, svc_account *a, rt_pid to, uint64_t ref) {
    svc_result *r = result_new();
    arena *m = &r->arena;
    uint64_t n, bytes;
    int64_t oldest;
    svc_queue_counts(a, &n, &bytes, &oldest);
    r->value = val_map(m);
    val_set(m, r->value, "messages", val_int(m, (int64_t)n));
    val_set(m, r->value, "bytes", val_int(m, (int64_t)bytes));
    val_set(m, r->value, "oldest_sec", n ? val_int(m, (rt_wall(p->cx) - oldest) / USEC_PER_SEC) : val_null(m));
    reply(p, to, ref, ERR_OK, NULL, r);
}

/* "192.0.2.1:50000 TLSv1.3 SCRAM-SHA-256" */
static val *about(arena *m, const svc_about *b) {
    sys_addr addr = {.family = b->family, .port = b->port};
    memcpy(addr.ip, b->ip, sizeof addr.ip);
    char text[SYS_ADDR_TEXT], version[16] = "plain";
    sys_addr_format(&addr, text);
    if (b->tls) (void)snprintf(version, sizeof version, "TLSv1.%u", b->tls); /* fits */
    return val_strf(m, "%s %s %s", text, version, xmpp_sasl_mech_name((xmpp_mech)b->mech));
}

static void add_session(arena *m, val *into, const svc_session *s) {
    val *o = val_map(m);
    char pid[RT_PID_TEXT];
    rt_pid_format(s->pid, pid);
    val_set(m, o, "jid", val_str(m, svc_session_jid(s)));
    val_set(m, o, "pid", val_str(m, slice_str(pid)));
    val_set(m, o, "about", about(m, &s->about));
    val_set(m, o, "available", val_bool(m, s->available));
    val_set(m, o, "priority", val_int(m, s->priority));
    val_set(m, o, "carbons", val_bool(m, s->carbons));
    val_set(m, o, "sm", val_bool(m, s->sm));
    val_set(m, o, "unacked", val_int(m, s->keep_sent - s->keep_acked));
    val_push(m, into, o);
}

static void see_sessions(svc_part *p, slice user, rt_pid to, uint64_t ref) {
    svc_result *r = result_new();
    r->value = val_list(&r->arena);
    if (user.p) {
        const svc_account *a = svc_account_find(p, user);
        for (const svc_session *s = a ? a->sessions : NULL; s; s = s->next) add_session(&r->arena, r->value, s);
    } else {
        for (hmap_node *n = hmap_first(&p->accounts); n; n = hmap_next(&p->accounts, n)) {
            const svc_account *a = container_of(n, svc_account, node);
            for (const svc_session *s = a->sessions; s; s = s->next) add_session(&r->arena, r->value, s);
        }
    }
    reply(p, to, ref, ERR_OK, NULL, r);
}

static void kick(svc_part *p, const svc_admin *q, rt_pid to) {
    slice jid = rt_blob_slice(q->user), resource = xmpp_jid_resource(jid);
    svc_account *a = svc_account_find(p, xmpp_jid_bare(jid));
    char text[256];
    (void)utf8_escape(rt_blob_slice(q->arg), text, sizeof text);
    unsigned n = 0;
    if (a) svc_account_hold(a); /* it stays while its sessions go */
    for (svc_session *s = a ? a->sessions : NULL; s;) {
        svc_session *next = s->next;
        if (!resource.p || slice_eq(svc_session_resource(s), resource)) {
            svc_session_kick(p, s, STREAM_POLICY_VIOLATION, text[0] ? text : "ended by an operator");
            svc_session_end(p, a, s);
            n++;
        }
        s = next;
    }
    if (a) svc_account_release(a);
    if (a) svc_account_touch(p, a);
    svc_result *r = result_new();
    r->value = val_int(&r->arena, n);
    reply(p, to, q->ref, n ? ERR_OK : ERR_NOT_FOUND, n ? NULL : "no such session", r);
}

static void status(svc_part *p, rt_pid to, uint64_t ref) {
    uint64_t kept = 0, bytes = 0, entries = 0;
    for (hmap_node *n = hmap_first(&p->accounts); n; n = hmap_next(&p->accounts, n)) {
        uint64_t m, b;
        svc_queue_counts(container_of(n, svc_account, node), &m, &b, NULL);
        kept += m;
        entries += svc_queue_entries(container_of(n, svc_account, node));
        bytes += b;
    }
    svc_result *r = result_new();
    arena *m = &r->arena;
    r->value = val_map(m);
    val_set(m, r->value, "partition", val_int(m, p->index));
    val_set(m, r->value, "sessions", val_int(m, p->n_sessions));
    val_set(m, r->value, "accounts_in_memory", val_int(m, (int64_t)p->accounts.count));
    val_set(m, r->value, "messages", val_int(m, (int64_t)kept));
    val_set(m, r->value, "message_bytes", val_int(m, (int64_t)bytes));
    val_set(m, r->value, "origin_ids", val_int(m, (int64_t)svc_dedup_count(p->dedup)));
    val_set(m, r->value, "origin_ids_early", val_int(m, (int64_t)svc_dedup_early(p->dedup)));
    val_set(m, r->value, "queue_entries", val_int(m, (int64_t)entries));
    val_set(m, r->value, "queue_steps", val_int(m, (int64_t)p->queue_steps));
    reply(p, to, ref, ERR_OK, NULL, r);
}

static err look(svc_part *p, rt_msg **m) { /* an account that must be loaded first */
    const svc_admin *q = svc_admin_of(*m);
    svc_account *a = svc_account_get(p, rt_blob_slice(q->user));
    if (a->state == SVC_LOADING) {
        svc_account_wait(a, m);
        return ERR_OK;
    }
    if (a->state == SVC_ABSENT)
        reply(p, (*m)->sender, q->ref, ERR_NOT_FOUND, "there is no such account", NULL);
    else if (a->state == SVC_BROKEN)
        reply(p, (*m)->sender, q->ref, ERR_IO, "the account cannot be read now", NULL);
    else if (q->op == SVC_ADMIN_ROSTER)
        see_roster(p, a, (*m)->sender, q->ref);
    else
        see_offline(p, a, (*m)->sender, q->ref);
    svc_account_touch(p, a);
    return ERR_OK;
}

err svc_admin_on_request(svc_part *p, rt_msg **m) {
    const svc_admin *q = svc_admin_of(*m);
    rt_pid to = (*m)->sender;
    switch ((svc_admin_op)q->op) {
    case SVC_ADMIN_USER_ADD:
    case SVC_ADMIN_USER_PASSWD: derive(p, to, q); break;
    case SVC_ADMIN_USER_KEYS: add_with_keys(p, to, q); break;
    case SVC_ADMIN_USER_DEL: {
        store_ops *ops = store_ops_new();
        store_ops_user_del(ops, rt_blob_slice(q->user));
        write_account(p, to, q->ref, q->op, rt_blob_slice(q->user), ops);
        break;
    }
    case SVC_ADMIN_ROSTER:
    case SVC_ADMIN_OFFLINE: return look(p, m);
    case SVC_ADMIN_SESSIONS: see_sessions(p, q->user ? rt_blob_slice(q->user) : SLICE_NULL, to, q->ref); break;
    case SVC_ADMIN_KICK: kick(p, q, to); break;
    case SVC_ADMIN_STATUS: status(p, to, q->ref); break;
    }
    return ERR_OK;
}
