/* verbs: accounts and sessions for operators: each verb asks the partition that owns the account and waits for its answer with a time
 * limit, on the caller's thread, outside the shards. */
#include "base/cursor.h"
#include "base/utf8.h"
#include "rt/follow.h"
#include "svc/part.h"

#include <stdio.h>

#define CALL_USEC  (30 * USEC_PER_SEC) /* PBKDF2 behind a queue of others */
#define KNOWN_USEC USEC_PER_SEC
#define LIST_BATCH 1000u

static const svc_cfg *cfg_of(const rt_verb_call *c) { return ((const svc_env *)c->env)->cfg; }

/* One sentence for the operator: before, what (escaped), after. */
static err fail(rt_verb_call *c, err e, const char *before, slice what, const char *after) {
    char text[160];
    (void)utf8_escape(what, text, sizeof text);
    (void)snprintf(c->why, sizeof c->why, "%s%s%s", before, text, after);
    return e;
}

/* Canonical JID of an account or resource of ours. */
static err account_of(rt_verb_call *c, slice text, bool full, slice *out) {
    xmpp_jid j;
    slice whole;
    if (xmpp_jid_parse(text, c->arena, &j, &whole) != ERR_OK || !j.local.p)
        return fail(c, ERR_INVALID, "'", text, "' is not a JID of the form user@domain");
    if (!svc_cfg_domain(cfg_of(c), j.domain)) return fail(c, ERR_NOT_FOUND, "'", j.domain, "' is not a domain of this server");
    if (j.resource.p && !full) return fail(c, ERR_INVALID, "'", text, "' names a resource; an account is wanted");
    *out = whole;
    return ERR_OK;
}

static err ask(rt_verb_call *c, rt_pid part, svc_admin_op op, slice user, slice arg, val **out) {
    rt_msg *m = rt_msg_new_ext(SVC_ADMIN, sizeof(svc_admin));
    svc_admin *q = svc_admin_of(m);
    q->op = (uint8_t)op;
    if (user.p) q->user = rt_blob_new(user);
    if (arg.p) q->arg = rt_blob_new(arg);
    rt_msg *r = NULL;
    err e = rt_call(c->node, part, &m, rt_verb_patience(c->node, part, CALL_USEC), &r);
    if (e != ERR_OK) return fail(c, e, "the account's partition does not answer (", slice_str(err_text(e)), ")");
    svc_admin_reply *a = svc_admin_reply_of(r);
    e = a->status;
    if (e != ERR_OK)
        (void)fail(c, e, "", a->why ? rt_blob_slice(a->why) : slice_str(err_text(e)), "");
    else if (a->result && out)
        *out = val_dup(c->arena, container_of(a->result, svc_result, box)->value);
    rt_msg_drop(c->node, &r);
    return e;
}

static err ask_account(rt_verb_call *c, svc_admin_op op, slice user, slice arg, val **out) {
    return ask(c, svc_partition(c->node, cfg_of(c), xmpp_jid_bare(user)), op, user, arg, out);
}

static slice without_newline(slice s) {
    while (s.len && (s.p[s.len - 1] == '\n' || s.p[s.len - 1] == '\r')) s.len--;
    return s;
}

static err no_anonymous(rt_verb_call *c, slice user) {
    xmpp_jid j;
    const svc_domain *d = xmpp_jid_split(user, &j) ? svc_cfg_domain(cfg_of(c), j.domain) : NULL;
    return d && d->anonymous ? fail(c, ERR_INVALID, "'", j.domain, "' is an anonymous domain: it has no accounts") : ERR_OK;
}

static err change(rt_verb_call *c, svc_admin_op op) {
    slice user;
    err e = account_of(c, c->args[0], false, &user);
    if (e == ERR_OK) e = no_anonymous(c, user);
    if (e != ERR_OK) return e;
    slice password = without_newline(c->input);
    if (password.len == 0) return fail(c, ERR_INVALID, "no password was given for ", user, "");
    e = ask_account(c, op, user, password, NULL);
    if (e == ERR_OK) c->result = val_str(c->arena, user);
    return e;
}

static err user_add(rt_verb_call *c) { return change(c, SVC_ADMIN_USER_ADD); }
static err user_passwd(rt_verb_call *c) { return change(c, SVC_ADMIN_USER_PASSWD); }

static err user_del(rt_verb_call *c) {
    slice user;
    err e = account_of(c, c->args[0], false, &user);
    if (e == ERR_OK) e = ask_account(c, SVC_ADMIN_USER_DEL, user, SLICE_NULL, NULL);
    if (e == ERR_OK) c->result = val_str(c->arena, user);
    return e;
}

/* Lines of JID, white space, password. All lines are tried; the first failure is named with its line. */
static err user_import(rt_verb_call *c) {
    uint64_t line_no = 0, added = 0, failed = 0;
    char first[256] = "";
    for (slice rest = c->input; rest.len;) {
        size_t end = slice_find(rest, '\n');
        slice line = without_newline(slice_sub(rest, 0, end));
        rest = slice_from(rest, end + 1);
        line_no++;
        if (line.len == 0 || line.p[0] == '#') continue;
        size_t sp = 0;
        while (sp < line.len && line.p[sp] != ' ' && line.p[sp] != '\t') sp++;
        slice user, password = slice_from(line, sp);
        while (password.len && (password.p[0] == ' ' || password.p[0] == '\t')) password = slice_from(password, 1);
        err e = password.len ? account_of(c, slice_sub(line, 0, sp), false, &user)
                             : fail(c, ERR_INVALID, "", SLICE("a line needs a JID and a password"), "");
        if (e == ERR_OK) e = no_anonymous(c, user);
        if (e == ERR_OK) e = ask_account(c, SVC_ADMIN_USER_ADD, user, password, NULL);
        if (e == ERR_OK) {
            added++;
        } else if (failed++ == 0) {
            (void)snprintf(first, sizeof first, "line %llu: %.200s", (unsigned long long)line_no, c->why);
        }
    }
    c->result = val_map(c->arena);
    val_set(c->arena, c->result, "added", val_int(c->arena, (int64_t)added));
    val_set(c->arena, c->result, "failed", val_int(c->arena, (int64_t)failed));
    if (!failed) return ERR_OK;
    (void)snprintf(c->why, sizeof c->why, "%llu added, %llu failed; %.200s", (unsigned long long)added, (unsigned long long)failed, first);
    return ERR_INVALID;
}

static err user_list(rt_verb_call *c) {
    rt_pid keyed = rt_name_whereis(c->node, STORE_KEYED_NAME);
    slice after = SLICE_NULL;
    c->result = val_list(c->arena);
    for (;;) {
        rt_msg *m = rt_msg_new_ext(KEYED_LIST, sizeof(keyed_list)), *r = NULL;
        if (after.p) keyed_list_of(m)->after = rt_blob_new(after);
        keyed_list_of(m)->max = LIST_BATCH;
        err e = rt_call(c->node, keyed, &m, rt_verb_patience(c->node, keyed, CALL_USEC), &r);
        if (e == ERR_OK) e = keyed_names_of(r)->status;
        if (e != ERR_OK) {
            rt_msg_drop(c->node, &r);
            return fail(c, e, "the accounts cannot be read: ", slice_str(err_text(e)), "");
        }
        cursor names = cursor_of(rt_blob_slice(keyed_names_of(r)->names));
        slice name;
        unsigned n = 0;
        while (cursor_lslice(&names, &name)) {
            after = arena_dup(c->arena, name);
            val_push(c->arena, c->result, val_str(c->arena, name));
            n++;
        }
        rt_msg_drop(c->node, &r);
        if (n == 0) return ERR_OK;
    }
}

static err sessions(rt_verb_call *c) {
    if (c->n_args) {
        slice user;
        err e = account_of(c, c->args[0], false, &user);
        return e == ERR_OK ? ask_account(c, SVC_ADMIN_SESSIONS, user, SLICE_NULL, &c->result) : e;
    }
    c->result = val_list(c->arena);
    for (unsigned i = 0; i < cfg_of(c)->partitions; i++) {
        val *part = NULL;
        err e = ask(c, svc_partition_at(c->node, i), SVC_ADMIN_SESSIONS, SLICE_NULL, SLICE_NULL, &part);
        if (e != ERR_OK) return e;
        val_concat(c->arena, c->result, part);
    }
    return ERR_OK;
}

static err kick(rt_verb_call *c) {
    slice user;
    err e = account_of(c, c->args[0], true, &user);
    return e == ERR_OK ? ask_account(c, SVC_ADMIN_KICK, user, c->n_args > 1 ? c->args[1] : SLICE_NULL, &c->result) : e;
}

static err look(rt_verb_call *c, svc_admin_op op) {
    slice user;
    err e = account_of(c, c->args[0], false, &user);
    return e == ERR_OK ? ask_account(c, op, user, SLICE_NULL, &c->result) : e;
}
static err roster(rt_verb_call *c) { return look(c, SVC_ADMIN_ROSTER); }
static err offline(rt_verb_call *c) { return look(c, SVC_ADMIN_OFFLINE); }

static err partitions(rt_verb_call *c) {
    c->result = val_list(c->arena);
    for (unsigned i = 0; i < cfg_of(c)->partitions; i++) {
        val *one = NULL;
        err e = ask(c, svc_partition_at(c->node, i), SVC_ADMIN_STATUS, SLICE_NULL, SLICE_NULL, &one);
        if (e != ERR_OK) return e;
        val_push(c->arena, c->result, one);
    }
    return ERR_OK;
}

/* Does the account exist? NULL: not ours to know, or not known within a moment. */
static val *known(rt_verb_call *c, slice user) {
    xmpp_jid j;
    if (!xmpp_jid_split(user, &j) || !svc_cfg_domain(cfg_of(c), j.domain)) return val_null(c->arena);
    rt_msg *m = rt_msg_new_ext(SVC_ADMIN, sizeof(svc_admin)), *r = NULL;
    svc_admin_of(m)->op = SVC_ADMIN_OFFLINE;
    svc_admin_of(m)->user = rt_blob_new(xmpp_jid_bare(user));
    err e = rt_call(c->node, svc_partition(c->node, cfg_of(c), xmpp_jid_bare(user)), &m, KNOWN_USEC, &r);
    if (e != ERR_OK) return val_null(c->arena);
    e = svc_admin_reply_of(r)->status;
    rt_msg_drop(c->node, &r);
    return e == ERR_OK || e == ERR_NOT_FOUND ? val_bool(c->arena, e == ERR_OK) : val_null(c->arena);
}

/* A JID has an @; everything else is an actor's. One that is not known is waited for: it may come. Of a domain that
 * is not ours nobody logs in here, and what our users send to it is watched all the same: why it does not arrive is what is asked then. */
static err follow_trace(rt_verb_call *c) {
    xmpp_jid j;
    slice whole;
    if (slice_find(c->args[0], '@') == c->args[0].len) return rt_verb_trace_actor(c);
    if (xmpp_jid_parse(c->args[0], c->arena, &j, &whole) != ERR_OK || !j.local.p)
        return fail(c, ERR_INVALID, "'", c->args[0], "' is not a JID of the form user@domain or user@domain/resource");
    const rt_trace_filter f = {.subject = whole};
    val *is_known = known(c, whole);
    err e = rt_verb_trace(c, &f);
    if (e != ERR_OK) return e;
    c->result = val_map(c->arena);
    val_set(c->arena, c->result, "watches", val_str(c->arena, j.resource.p ? SLICE("session") : SLICE("account")));
    val_set(c->arena, c->result, "jid", val_str(c->arena, whole));
    val_set(c->arena, c->result, "known", is_known);
    val_set(c->arena, c->result, "ours", val_bool(c->arena, svc_cfg_domain(cfg_of(c), j.domain) != NULL));
    return ERR_OK;
}

const rt_verb svc_verbs[] = {
    {"user", "add", 1, 1, RT_MUTATES, user_add, "user add JID", "makes an account; the password comes from standard input"},
    {"user", "import", 1, 1, RT_MUTATES, user_import, "user import FILE", "makes accounts from lines of JID and password"},
    {"user", "del", 1, 1, RT_MUTATES, user_del, "user del JID", "deletes an account, its roster and its kept messages; ends its sessions"},
    {"user", "passwd", 1, 1, RT_MUTATES, user_passwd, "user passwd JID", "sets a new password, from standard input"},
    {"user", "list", 0, 0, RT_WAITS, user_list, "user list", "names every account"},
    {"sessions", "list", 0, 1, RT_WAITS, sessions, "sessions [JID]", "lists sessions, of all accounts or of one"},
    {"kick", "session", 1, 2, RT_MUTATES, kick, "kick JID[/RESOURCE] [TEXT]", "ends the sessions of an account, or one of them"},
    {"roster", "show", 1, 1, RT_WAITS, roster, "roster JID", "shows an account's contacts"},
    {"offline", "show", 1, 1, RT_WAITS, offline, "offline JID", "counts the messages kept for an account"},
    {"follow", "trace", 1, 1, RT_WAITS, follow_trace, "follow trace JID|PID|NAME",
     "shows each step of each request from or to a JID, or of an actor, as it happens; trace makes a table of it"},
    {"partitions", "list", 0, 0, RT_WAITS, partitions, "partitions", "shows sessions, kept messages and memory per partition"},
};
const size_t svc_verbs_count = ARRAY_LEN(svc_verbs);
