/* trace: see trace.h. The server sends steps of many requests as they happen; here they are put together again.
 *
 *     step -> its request, by number -> ... quiet for QUIET -> sorted by time, parents found -> shown, its steps forgotten
 *
 * A step that handles a message is a child of the one that sent it: of sends to that actor with that name the oldest that has no child.
 * What else an actor reports is a child of what it was handling; what a pool thread reports, of the job.
 *
 * Invariants: (1) at most REQUESTS_MAX requests and STEPS_MAX steps of each are kept; what is too much is shown early or counted. (2) What
 * the server lost is told. */
#include "main/trace.h"

#include "base/codec.h"
#include "base/mem.h"
#include "base/time.h"
#include "main/follow.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#define USAGE        "usage: trace [--count N] [--seconds N] JID|PID|NAME"
#define QUIET        (500 * USEC_PER_MSEC)
#define REQUESTS_MAX 256u
#define STEPS_MAX    4096u
#define COUNT_MAX    1000000u
#define SECONDS_MAX  86400u
#define DEPTH_SHOWN  12
#define LINE_TEXT    256

typedef struct step {
    json_t *frame;
    json_int_t usec;
    int depth;
    bool child; /* a send that was handled, a submit that was begun */
} step;
typedef struct request {
    json_int_t number; /* 0: free */
    json_int_t begun;  /* server's time of its first step */
    usec heard;        /* our time of its newest one */
    bool shown;        /* once, at least */
    step *steps;
    size_t n, cap, more; /* more: not kept */
} request;
typedef struct tracer {
    const main_ask *ask;
    const char *what;
    uint64_t count, seconds; /* 0: no end */
    uint64_t begun, shown;   /* requests */
    uint64_t lost;
    request at[REQUESTS_MAX];
} tracer;

static usec mono_now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * USEC_PER_SEC + t.tv_nsec / 1000;
}

/* --- one request as a tree */
static bool is(const step *s, const char *event) { return strcmp(main_ask_text(s->frame, "event"), event) == 0; }
static bool same(const step *a, const char *x, const step *b, const char *y) {
    const char *text = main_ask_text(a->frame, x);
    return *text && strcmp(text, main_ask_text(b->frame, y)) == 0;
}

static int by_time(const void *a, const void *b) {
    const step *x = a, *y = b;
    if (x->usec != y->usec) return x->usec < y->usec ? -1 : 1;
    return x < y ? -1 : x > y;
}

/* The newest step before i that shows what its actor was handling; with pool set, what its pool thread was doing. */
static const step *context(const request *r, size_t i, bool pool) {
    for (size_t k = i; k-- > 0;) {
        const step *s = &r->steps[k];
        if (pool ? is(s, "trace_job") : (is(s, "trace_handle") || is(s, "trace_in")) && same(s, "pid", &r->steps[i], "pid")) return s;
    }
    return NULL;
}

/* The oldest send of this message to this actor, or submit to this pool, that has no child yet. */
static step *parent(request *r, size_t i, bool job) {
    for (size_t k = 0; k < i; k++) {
        step *s = &r->steps[k];
        if (s->child) continue;
        bool sent = is(s, "trace_send") && same(s, "to", &r->steps[i], "pid") && same(s, "message", &r->steps[i], "message");
        bool submitted = is(s, "trace_submit") && same(s, "kind", &r->steps[i], "kind");
        if (job ? submitted : sent) return s;
    }
    return NULL;
}

static void place(request *r, size_t i) {
    step *s = &r->steps[i], *p = NULL;
    const step *in = NULL;
    if (is(s, "trace_in")) return;
    if (is(s, "trace_handle") || is(s, "trace_job")) p = parent(r, i, is(s, "trace_job"));
    if (p) {
        p->child = true;
        s->depth = p->depth;
        return;
    }
    in = *main_ask_text(s->frame, "pid") && !is(s, "trace_handle") ? context(r, i, false) : context(r, i, true);
    if (in) s->depth = in->depth + 1;
}

/* --- one line */
static void say_handle(const step *s, char *out, size_t max) {
    const json_t *waited = json_object_get(s->frame, "waited_usec");
    json_int_t queued = main_ask_int(s->frame, "queued");
    int n = snprintf(out, max, "%s", main_ask_text(s->frame, "message"));
    if (json_is_integer(waited) && n > 0 && (size_t)n < max)
        n += snprintf(out + n, max - (size_t)n, ", waited %lld us", (long long)json_integer_value(waited));
    if (queued > 0 && n > 0 && (size_t)n < max) (void)snprintf(out + n, max - (size_t)n, ", %lld behind it", (long long)queued);
}

static void say_other(const step *s, char *out, size_t max) {
    static const char *const known[] = {"time", "level", "at_usec", "trace", "event", "shard", "pid", "class", "lost"};
    const char *name;
    json_t *v;
    int n = snprintf(out, max, "%s", main_ask_text(s->frame, "event"));
    json_object_foreach(s->frame, name, v) {
        bool skip = !json_is_integer(v) && !json_is_string(v);
        for (size_t i = 0; i < ARRAY_LEN(known); i++) skip |= strcmp(known[i], name) == 0;
        if (skip || n < 0 || (size_t)n >= max) continue;
        if (json_is_integer(v))
            n += snprintf(out + n, max - (size_t)n, " %s=%lld", name, (long long)json_integer_value(v));
        else
            n += snprintf(out + n, max - (size_t)n, " %s=%s", name, json_string_value(v));
    }
}

static void say(const step *s, char *out, size_t max) {
    const json_t *f = s->frame;
    json_int_t loc = main_ask_int(f, "loc");
    if (is(s, "trace_in"))
        (void)snprintf(out, max, "in: %s, %lld bytes", main_ask_text(f, "text"), (long long)main_ask_int(f, "bytes"));
    else if (is(s, "trace_handle"))
        say_handle(s, out, max);
    else if (is(s, "trace_send"))
        (void)snprintf(out, max, "%s to %s, not handled so far", main_ask_text(f, "message"), main_ask_text(f, "to"));
    else if (is(s, "trace_submit"))
        (void)snprintf(out, max, "job for the %s pool, not begun so far", main_ask_text(f, "kind"));
    else if (is(s, "trace_job"))
        (void)snprintf(out, max, "%s pool: job, waited %lld us", main_ask_text(f, "kind"), (long long)main_ask_int(f, "waited_usec"));
    else if (is(s, "trace_job_done"))
        (void)snprintf(out, max, "done in %lld us", (long long)main_ask_int(f, "took_usec"));
    else if (is(s, "trace_batch"))
        (void)snprintf(out, max, "log: batch %lld of %lld records, written and synced in %lld us", (long long)main_ask_int(f, "batch"),
                       (long long)main_ask_int(f, "records"), (long long)main_ask_int(f, "took_usec"));
    else if (is(s, "trace_durable"))
        (void)snprintf(out, max, "log: record %016llx is durable, in segment %lld at %lld", (unsigned long long)main_ask_int(f, "lsn"),
                       (long long)(loc >> 32), (long long)(loc & 0xffffffff));
    else if (is(s, "trace_out"))
        (void)snprintf(out, max, main_ask_int(f, "written") ? "out: %lld bytes" : "held for the client to resume: %lld bytes",
                       (long long)main_ask_int(f, "bytes"));
    else if (is(s, "trace_acked"))
        (void)snprintf(out, max, "acked: the client has record %016llx", (unsigned long long)main_ask_int(f, "lsn"));
    else
        say_other(s, out, max);
}

static void print_step(const request *r, const step *s) {
    char text[LINE_TEXT] = "", where[24] = "pool", who[96] = "";
    const json_t *shard = json_object_get(s->frame, "shard");
    if (shard) (void)snprintf(where, sizeof where, "shard %lld", (long long)json_integer_value(shard));
    if (*main_ask_text(s->frame, "pid"))
        (void)snprintf(who, sizeof who, "%s %s", main_ask_text(s->frame, "class"), main_ask_text(s->frame, "pid"));
    say(s, text, sizeof text);
    int depth = s->depth < DEPTH_SHOWN ? s->depth : DEPTH_SHOWN;
    (void)printf("%9lld  %-8s  %-24s %*s%s\n", (long long)(s->usec - r->begun), where, who, 2 * depth, "", text);
}

static void forget(request *r) {
    for (size_t i = 0; i < r->n; i++) json_decref(r->steps[i].frame);
    mem_free(r->steps);
    r->steps = NULL;
    r->n = r->cap = r->more = 0;
}

static const char *plural(size_t n) { return n == 1 ? "" : "s"; }

/* A send and the turn that it led to are two steps to the server and one line here; the head counts what is shown. */
static void show(tracer *t, request *r) {
    size_t steps = r->more;
    if (r->n > 0) qsort(r->steps, r->n, sizeof *r->steps, by_time);
    if (!r->shown && r->n > 0) r->begun = r->steps[0].usec;
    for (size_t i = 0; i < r->n; i++) place(r, i);
    for (size_t i = 0; i < r->n; i++) steps += !r->steps[i].child;
    const json_t *first = r->n ? r->steps[0].frame : NULL;
    (void)printf("request %lld%s, %zu step%s, %lld us, %s\n%9s  %-8s  %-24s %s\n", (long long)r->number, r->shown ? " goes on" : "", steps,
                 plural(steps), (long long)(r->n ? r->steps[r->n - 1].usec - r->begun : 0), main_ask_text(first, "time"), "us", "where",
                 "actor", "step");
    for (size_t i = 0; i < r->n; i++)
        if (!r->steps[i].child) print_step(r, &r->steps[i]);
    if (r->more) (void)printf("%9s  and %zu more\n", "", r->more);
    if (t->lost)
        (void)printf("(%" PRIu64 " step%s of these requests lost: they came faster than they could be sent)\n", t->lost, plural(t->lost));
    t->lost = 0;
    (void)putchar('\n');
    (void)fflush(stdout);
}

/* Its steps have been shown or sent; its number stays, for what may still come. */
static void settle(tracer *t, request *r) {
    if (!t->ask->json) show(t, r);
    if (!r->shown) t->shown++;
    r->shown = true;
    forget(r);
}

/* --- steps as they come */
static request *request_of(tracer *t, json_int_t number) {
    request *oldest = &t->at[0];
    for (size_t i = 0; i < REQUESTS_MAX; i++) {
        request *r = &t->at[i];
        if (r->number == number) return r;
        if (!r->number) {
            oldest = r;
            break;
        }
        if (r->heard < oldest->heard) oldest = r;
    }
    if (t->count && t->begun >= t->count) return NULL; /* enough */
    t->begun++;
    if (oldest->number && (oldest->n || !oldest->shown)) settle(t, oldest);
    *oldest = (request){.number = number};
    return oldest;
}

static void take(tracer *t, json_t *frame) {
    json_int_t lost = main_ask_int(frame, "lost"), number = main_ask_int(frame, "trace");
    if (lost > 0) t->lost += (uint64_t)lost;
    request *r = number ? request_of(t, number) : NULL;
    if (t->ask->json && (r || lost)) {
        (void)json_dumpf(frame, stdout, JSON_COMPACT);
        (void)putchar('\n');
        (void)fflush(stdout);
    }
    if (!r) return;
    r->heard = mono_now();
    if (r->n == STEPS_MAX || t->ask->json) {
        r->more++;
        return;
    }
    void *steps = r->steps;
    mem_grow(&steps, &r->cap, r->n + 1, sizeof *r->steps);
    r->steps = steps;
    r->steps[r->n++] = (step){.frame = json_incref(frame), .usec = main_ask_int(frame, "at_usec")};
}

/* Shows what is quiet; with all set, everything. Returns when there is more to show. */
static usec sweep(tracer *t, usec now, bool all) {
    usec next = USEC_NEVER;
    for (size_t i = 0; i < REQUESTS_MAX; i++) {
        request *r = &t->at[i];
        if (!r->number || (r->shown && r->n + r->more == 0)) continue;
        if (all || r->heard + QUIET <= now)
            settle(t, r);
        else
            next = usec_min(next, r->heard + QUIET);
    }
    return next;
}

static int watch(tracer *t, int fd) {
    usec end = t->seconds ? mono_now() + (usec)t->seconds * USEC_PER_SEC : USEC_NEVER;
    main_next how = MAIN_NEXT_LATE;
    while (how == MAIN_NEXT_LATE || how == MAIN_NEXT_FRAME) {
        usec now = mono_now(), until = usec_min(sweep(t, now, false), end);
        if (now >= end || (t->count && t->shown >= t->count)) break;
        if (ferror(stdout)) how = MAIN_NEXT_LEFT;
        json_t *frame = NULL;
        int msec = until == USEC_NEVER ? -1 : (int)((until - now) / USEC_PER_MSEC) + 1;
        if (how != MAIN_NEXT_LEFT) how = main_ask_next(t->ask, fd, msec, &frame);
        if (how == MAIN_NEXT_FRAME) take(t, frame);
        json_decref(frame);
    }
    if (how != MAIN_NEXT_LEFT) (void)sweep(t, mono_now(), true);
    return main_follow_end(t->ask, how);
}

/* --- the command */
static int parse(tracer *t, char **words, int n) {
    for (int i = 1; i < n; i++) {
        bool count = strcmp(words[i], "--count") == 0, seconds = strcmp(words[i], "--seconds") == 0;
        uint64_t max = count ? COUNT_MAX : SECONDS_MAX, *to = count ? &t->count : &t->seconds;
        if ((count || seconds) && i + 1 < n) {
            if (dec_parse_u64(slice_str(words[++i]), max, to) != ERR_OK || *to == 0)
                return main_complain(t->ask, MAIN_BAD_USAGE, "'%s' is not a number from 1 to %" PRIu64, main_ask_word(words[i]).text, max);
        } else if (strncmp(words[i], "--", 2) == 0 || t->what) {
            return main_complain(t->ask, MAIN_BAD_USAGE, USAGE);
        } else {
            t->what = words[i];
        }
    }
    return t->what ? EX_OK : main_complain(t->ask, MAIN_BAD_USAGE, USAGE);
}

static void greet(const json_t *result) {
    const char *jid = main_ask_text(result, "jid");
    if (!*jid)
        (void)fprintf(stderr, "murrectl: watches actor %s %s; Ctrl-C ends it\n", main_ask_text(result, "class"),
                      main_ask_text(result, "pid"));
    else if (json_is_false(json_object_get(result, "ours")))
        (void)fprintf(stderr,
                      "murrectl: %s is of no domain of this server: only what is sent to it from here will be seen; Ctrl-C ends it\n", jid);
    else if (json_is_false(json_object_get(result, "known")))
        (void)fprintf(stderr, "murrectl: there is no account of %s: waits for what comes to or from it; Ctrl-C ends it\n", jid);
    else
        (void)fprintf(stderr, "murrectl: watches what comes from and goes to %s; Ctrl-C ends it\n", jid);
}

int main_trace(const main_ask *o, char **words, int n) {
    tracer *t = mem_zalloc(sizeof *t);
    t->ask = o;
    int fd = -1, status = parse(t, words, n);
    const slice parts[] = {SLICE("follow"), SLICE("trace"), SLICE(""), slice_str(t->what)};
    json_t *answer = status ? NULL : main_ask_open(o, parts, ARRAY_LEN(parts), &fd, &status);
    if (answer && json_is_true(json_object_get(answer, "stream"))) {
        if (o->json) {
            (void)json_dumpf(answer, stdout, JSON_COMPACT);
            (void)putchar('\n');
            (void)fflush(stdout);
        } else {
            greet(json_object_get(answer, "result"));
        }
        status = watch(t, fd);
    } else if (answer) {
        if (o->json) (void)json_dumpf(answer, stdout, JSON_COMPACT), (void)putchar('\n');
        const char *why = main_ask_text(answer, "why");
        status = main_complain(o, MAIN_REFUSED, "%s", *why ? why : "this is no answer of a murre server");
    }
    if (answer) (void)close(fd);
    json_decref(answer);
    for (size_t i = 0; i < REQUESTS_MAX; i++) forget(&t->at[i]);
    mem_free(t);
    return status;
}
