/* murre-history: judges the history of a chat service; docs/history.md is the format.
 *
 * usage: murre-history check [--calm] [--refusals] [--undrained] [--unanswered] [--window N] [--dedup SECONDS] [--max N] [--idle] FILE
 * FILE "-": standard input
 *
 * Prints a line for each breach and one with figures. Exit status 0: the contract was kept; 1: it was not; 2: nothing could be judged, with
 * the reason on standard error. A history in which no message is named says nothing about the contract: whoever forgot to write, or wrote
 * to another file, must not be told that it was kept. */
#include "base/codec.h"
#include "history/text.h"

#include <errno.h>
#include <inttypes.h>

#define MAX_DEFAULT    20u
#define WINDOW_DEFAULT 256u
#define DEDUP_DEFAULT  600

typedef struct options {
    history_chat_cfg cfg;
    const char *file;
    uint64_t max; /* breaches printed; 0: all */
    bool idle;    /* nobody was to send or receive anything */
} options;

typedef struct printer {
    uint64_t left;
} printer;

static bool number(const char *text, uint64_t max, uint64_t *out) { return text && !dec_parse_u64(slice_str(text), max, out); }

static bool parse(int argc, char **argv, options *o) {
    uint64_t n = 0;
    *o = (options){
        .max = MAX_DEFAULT,
        .cfg = {.drained = true, .answered = true, .faults = true, .window = WINDOW_DEFAULT, .dedup_window = DEDUP_DEFAULT * USEC_PER_SEC}};
    if (argc < 3 || !slice_is(slice_str(argv[1]), "check")) return false;
    for (int i = 2; i < argc; i++) {
        slice a = slice_str(argv[i]);
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (slice_is(a, "--calm"))
            o->cfg.faults = false;
        else if (slice_is(a, "--refusals"))
            o->cfg.refusals = true;
        else if (slice_is(a, "--undrained"))
            o->cfg.drained = false;
        else if (slice_is(a, "--unanswered"))
            o->cfg.answered = false;
        else if (slice_is(a, "--idle"))
            o->idle = true;
        else if (slice_is(a, "--window") && number(value, UINT32_MAX, &n))
            o->cfg.window = (uint32_t)n, i++;
        else if (slice_is(a, "--dedup") && number(value, UINT32_MAX, &n))
            o->cfg.dedup_window = (usec)n * USEC_PER_SEC, i++;
        else if (slice_is(a, "--max") && number(value, UINT64_MAX, &n))
            o->max = n, i++;
        else if (!o->file && (slice_is(a, "-") || !slice_starts(a, SLICE("-"))))
            o->file = argv[i];
        else
            return false;
    }
    return o->file != NULL;
}

static void on_breach(void *arg, const history_chat_breach *b) {
    printer *p = arg;
    if (p->left == 0) return;
    p->left--;
    printf("%s (line %zu)\n", b->text, b->record + 1);
}

/* Does any record speak of a message? */
static bool has_messages(const history_chat *h) {
    for (size_t i = 0; i < h->n; i++) {
        history_chat_kind k = h->r[i].kind;
        if (k != HISTORY_SESSION && k != HISTORY_RESUMED && k != HISTORY_FAULT) return true;
    }
    return false;
}

static bool judge(const options *o, const history_chat *h) {
    history_chat_verdict v;
    printer p = {.left = o->max ? o->max : UINT64_MAX};
    bool ok = history_chat_judge(h, &o->cfg, on_breach, &p, &v);
    if (o->max && v.breaches > o->max) printf("and %" PRIu64 " more breaches\n", v.breaches - o->max);
    printf("sent %" PRIu64 ", sent_again %" PRIu64 ", acked %" PRIu64 ", refused %" PRIu64 ", received %" PRIu64 ", doubled %" PRIu64,
           v.sent, v.sent_again, v.acked, v.refused, v.received, v.doubled);
    printf(", carbons %" PRIu64 ", copy_only %" PRIu64 ", crossed %" PRIu64 ", connections %" PRIu64 ", resumed %" PRIu64
           ", faults %" PRIu64,
           v.carbons, v.copy_only, v.crossed, v.connections, v.resumed, v.faults);
    printf(", worst_after_break %" PRIu64 ", worst_after_fault %" PRIu64 ", breaches %" PRIu64 "\n", v.worst_after_break,
           v.worst_after_fault, v.breaches);
    return ok;
}

int main(int argc, char **argv) {
    options o;
    if (!parse(argc, argv, &o)) {
        (void)fprintf(stderr, "usage: murre-history check [--calm] [--refusals] [--undrained] [--unanswered] [--window N] [--dedup "
                              "SECONDS] [--max N] [--idle] FILE\n");
        return 2;
    }
    bool from_stdin = slice_is(slice_str(o.file), "-");
    FILE *f = from_stdin ? stdin : fopen(o.file, "r");
    if (!f) {
        (void)fprintf(stderr, "murre-history: %s: %s\n", o.file, strerror(errno));
        return 2;
    }
    history_text *t = history_text_new();
    int status = 2;
    const char *name = from_stdin ? "standard input" : o.file;
    if (history_text_read(t, f))
        (void)fprintf(stderr, "murre-history: %s: %s\n", name, history_text_why(t));
    else if (!o.idle && !has_messages(history_text_chat(t)))
        (void)fprintf(stderr,
                      "murre-history: %s: nobody sent or received anything in its %zu lines, so nothing was judged; if that is right, say "
                      "--idle\n",
                      name, history_text_chat(t)->n);
    else
        status = judge(&o, history_text_chat(t)) ? 0 : 1;
    history_text_free(t);
    if (!from_stdin) (void)fclose(f); /* it was only read */
    if (fflush(stdout)) {
        (void)fprintf(stderr, "murre-history: standard output: %s\n", strerror(errno));
        status = 2;
    }
    return status;
}
