/* log: lines for people, written beside the shards.
 *
 *     shard, pool, ctl ...                                   thread "log"
 *     rt_log_push: over its rate? count it, done    ring
 *                  else copy it in  ---------->  [ e e e ] ---> take one, format it, write it (may block)
 *                  ring full? count it, done                    now and then: what was suppressed, what was lost
 *
 * Invariants: (1) nobody but the log's thread waits for the sink. (2) The lock is held for the copying of one entry, never while
 * formatting or writing. (3) Every line that is not written is counted: suppressed (its event's rate) or lost (ring full), and reported
 * once there is room. (4) A line holds no control bytes and no newline of its own, whatever a peer sent, and is valid UTF-8; as JSON
 * it is one whole object. (5) Where there are no threads (the simulator) lines are written at once.
 *
 * The rate limit is lock-free, because it is what stands between a flood of events and the lock: one word per event holds the second
 * and the number of lines in it. */
#include "base/codec.h"
#include "base/mem.h"
#include "base/plant.h"
#include "base/utf8.h"
#include "rt/shard.h"

#include <inttypes.h>
#include <stdio.h>

#define LOG_ENTRIES_MAX 512                    /* lines that wait; more are lost and counted */
#define LOG_LINE_MAX    2304                   /* bytes of a line: every byte of a text may become six, what is beside it is 300 at most */
#define LOG_SUMMARY     (1100 * USEC_PER_MSEC) /* after a line: look for suppressed ones when its second is surely over */
#define RATE_COUNT_BITS 24                     /* of a rate word: lines in the second; above: the second */

typedef struct log_entry {
    usec wall;
    uint64_t arg[3];
    rt_event_id id;
    uint32_t slot;
    uint16_t text_len;
    bool has_text;
    uint8_t text[RT_EVENT_TEXT];
} log_entry;

struct rt_log {
    rt_node *node;
    void (*sink)(void *arg, const char *line);
    void *sink_arg;
    sys_thread *thread;
    rt_log_style style; /* set before the start */
    bool priorities;
    _Atomic int level;                      /* rt_level; relaxed: only for reading back */
    _Atomic uint64_t rate[EV_COUNT_];       /* second << RATE_COUNT_BITS | lines; relaxed: a count, nothing is read through it */
    _Atomic uint64_t suppressed[EV_COUNT_]; /* since the last report; relaxed */
    _Atomic uint64_t lost;                  /* since the last report; relaxed */
    lock lock;                              /* guards what follows, and node.ev_ext */
    lock_cond more;
    log_entry *ring; /* LOG_ENTRIES_MAX; allocated with the first line */
    size_t from, n;
    bool stop;
};

static const char *const level_names[] = {"debug", "info", "notice", "warning", "error"};

/* --- one line -------------------------------------------------------------------------------------------------------------------- */
/* A bare word that needs no escaping: a number, or what stands for one. Its length is in the string. */
static void value_text(const rt_node *n, const char *name, uint64_t value, char out[40]) {
    size_t len = strlen(name);
    if (len >= 4 && strcmp(name + len - 4, "slot") == 0) /* as in a pid: shard.index */
        (void)snprintf(out, 40, "%" PRIu64 ".%" PRIu64, value >> 24 & 0xff, value & 0xffffff);
    else if (strcmp(name, "message") == 0 && rt_node_desc(n, (uint16_t)value))
        (void)snprintf(out, 40, "%s", rt_node_desc(n, (uint16_t)value)->name);
    else if (strcmp(name, "err") == 0)
        (void)snprintf(out, 40, "%s", err_name(value < ERR_COUNT_ ? (err)value : ERR_BUG));
    else
        (void)snprintf(out, 40, "%" PRIu64, value);
}

static void add_arg(const rt_log *l, buf *b, const char *name, uint64_t value) {
    char text[40];
    value_text(l->node, name, value, text);
    bool number = text[strspn(text, "0123456789")] == 0; /* "2.7" is a slot, not a fraction */
    if (l->style == RT_LOG_TEXT)
        buf_addf(b, " %s=%s", name, text);
    else
        buf_addf(b, number ? ",\"%s\":%s" : ",\"%s\":\"%s\"", name, text);
}

/* A JSON string (RFC 8259 section 7). What utf8_escape would not show as it is becomes \uNNNN, an invalid byte U+FFFD. */
static void add_json_text(buf *b, slice s) {
    buf_add_byte(b, '"');
    for (size_t i = 0; i < s.len;) {
        uint32_t cp;
        size_t n = utf8_decode(slice_from(s, i), &cp);
        slice bytes = slice_sub(s, i, n);
        char shown[32];
        if (n == 0) {
            buf_add_str(b, "\\ufffd");
        } else if (cp == '"' || cp == '\\') {
            buf_add_byte(b, '\\');
            buf_add(b, bytes);
        } else if (utf8_escape(bytes, shown, sizeof shown) != n) {
            buf_addf(b, "\\u%04x", (unsigned)cp); /* none of these is past U+FFFF */
        } else {
            buf_add(b, bytes);
        }
        i += n ? n : 1;
    }
    buf_add_byte(b, '"');
}

static void add_text(const rt_log *l, buf *b, slice text) {
    if (l->style == RT_LOG_JSON) {
        buf_add_str(b, ",\"text\":");
        add_json_text(b, text);
        return;
    }
    char shown[RT_EVENT_TEXT * 4 + 1];            /* a peer may have chosen it: nothing in it can move a cursor or start a line */
    (void)utf8_escape(text, shown, sizeof shown); /* its length is in the string */
    if (plant(LOG_CONTROL_BYTES)) buf_add_byte(b, ' '), buf_add(b, text);
    buf_addf(b, " %s", shown);
}

/* sd-daemon(3): the journal takes "<N>" at the front of a line for its priority, as in syslog(3), and removes it. */
static void start_line(const rt_log *l, buf *b, usec wall, rt_level level, const char *name) {
    static const char priority[] = {[RT_DEBUG] = '7', [RT_INFO] = '6', [RT_NOTICE] = '5', [RT_WARNING] = '4', [RT_ERROR] = '3'};
    char stamp[32];
    (void)time_format(wall, true, stamp); /* its length is in the string */
    if (l->priorities) buf_addf(b, "<%c>", priority[level]);
    if (l->style == RT_LOG_JSON)
        buf_addf(b, "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%s\"", stamp, level_names[level], name);
    else
        buf_addf(b, "%s %s %s", stamp, level_names[level], name);
}

static void end_line(rt_log *l, buf *b) {
    static const uint8_t nul = 0;
    if (l->style == RT_LOG_JSON) buf_add_byte(b, '}');
    if (!buf_ok(b))
        b->p[b->len - 1] = 0; /* LOG_LINE_MAX has room for every entry; should it not, the line is cut */
    else
        buf_add(b, slice_of(&nul, 1));
    if (b->len == 0) return;
    if (l->sink) {
        l->sink(l->sink_arg, (const char *)b->p);
        return;
    }
    b->p[b->len - 1] = '\n';
    (void)fwrite(b->p, 1, b->len, stderr); /* there is nobody left to tell */
}

static void write_entry(rt_log *l, const log_entry *e) {
    const rt_event_desc *d = &rt_event_descs[e->id];
    buf b;
    buf_init(&b, LOG_LINE_MAX);
    start_line(l, &b, e->wall, d->level, d->name);
    for (int i = 0; i < (e->has_text ? 2 : 3); i++)
        if (d->arg[i][0]) add_arg(l, &b, d->arg[i], e->arg[i]);
    if (e->has_text && e->text_len > 0) add_text(l, &b, slice_of(e->text, e->text_len));
    end_line(l, &b);
    buf_fini(&b);
}

/* What was held back; true if there was something. */
static bool write_suppressed(rt_log *l) {
    bool any = false;
    for (unsigned id = 0; id < EV_COUNT_; id++) {
        if (atomic_load_explicit(&l->suppressed[id], memory_order_relaxed) == 0) continue;
        uint64_t k = atomic_exchange_explicit(&l->suppressed[id], 0, memory_order_relaxed);
        buf b;
        buf_init(&b, LOG_LINE_MAX);
        start_line(l, &b, l->node->s->wall(l->node->s), rt_event_descs[id].level, rt_event_descs[id].name);
        add_arg(l, &b, "suppressed", k);
        end_line(l, &b);
        buf_fini(&b);
        any = true;
    }
    return any;
}

/* --- the rate limit -------------------------------------------------------------------------------------------------------------- */
static bool within_rate(rt_log *l, rt_event_id id) {
    uint64_t sec = (uint64_t)(l->node->s->mono(l->node->s) / USEC_PER_SEC) + 1; /* never 0, which is the fresh word */
    uint64_t w = atomic_load_explicit(&l->rate[id], memory_order_relaxed);
    for (;;) {
        bool same = w >> RATE_COUNT_BITS == sec;
        if (same && (w & ((1u << RATE_COUNT_BITS) - 1)) >= RT_LOG_RATE) break;
        uint64_t next = same ? w + 1 : (sec << RATE_COUNT_BITS | 1);
        if (atomic_compare_exchange_weak_explicit(&l->rate[id], &w, next, memory_order_relaxed, memory_order_relaxed)) return true;
    }
    (void)atomic_fetch_add_explicit(&l->suppressed[id], 1, memory_order_relaxed);
    return false;
}

/* --- the ring -------------------------------------------------------------------------------------------------------------------- */
void rt_log_push(rt_log *l, rt_event_id id, uint32_t slot, const uint64_t arg[3], slice text) {
    if (!within_rate(l, id)) return;
    log_entry e = {.wall = l->node->s->wall(l->node->s), .id = id, .slot = slot, .has_text = text.p != NULL};
    memcpy(e.arg, arg, sizeof e.arg);
    e.text_len = (uint16_t)(text.len < RT_EVENT_TEXT ? text.len : RT_EVENT_TEXT);
    if (e.text_len > 0) memcpy(e.text, text.p, e.text_len);
    if (!l->node->s->thread_start) {
        write_entry(l, &e);
        return;
    }
    lock_take(&l->lock);
    if (!l->ring) l->ring = mem_alloc(LOG_ENTRIES_MAX * sizeof *l->ring);
    bool room = l->n < LOG_ENTRIES_MAX;
    if (room) l->ring[(l->from + l->n++) % LOG_ENTRIES_MAX] = e;
    if (room && l->n == 1) lock_signal(&l->more);
    lock_release(&l->lock);
    if (!room) (void)atomic_fetch_add_explicit(&l->lost, 1, memory_order_relaxed);
}

/* Takes the oldest entry out; the lock is held. */
static bool pop(rt_log *l, log_entry *out) {
    if (l->n == 0) return false;
    *out = l->ring[l->from];
    l->from = (l->from + 1) % LOG_ENTRIES_MAX;
    l->n--;
    return true;
}

static void report_lost(rt_log *l) {
    uint64_t lost = atomic_exchange_explicit(&l->lost, 0, memory_order_relaxed);
    if (lost > 0) rt_event_ext(l->node, EV_LOG_DROPPED, lost, 0, SLICE_NULL);
}

/* Suppressed lines are looked for LOG_SUMMARY after a line, and again while there are more of either: in a flood that does not end, too. */
static void log_thread(void *arg) {
    rt_log *l = arg;
    sys *s = l->node->s;
    log_entry e;
    usec line = s->mono(s), due = line + LOG_SUMMARY; /* line: when the last one was written; due: of the next look */
    lock_take(&l->lock);
    while (!l->stop || l->n > 0) {
        usec now = s->mono(s);
        if (now < due && l->n == 0) {
            (void)lock_wait(&l->more, &l->lock, due == USEC_NEVER ? -1 : due - now); /* the loop looks for itself */
            continue;
        }
        bool got = pop(l, &e), empty = l->n == 0;
        lock_release(&l->lock);
        if (got) {
            write_entry(l, &e);
            if (empty) report_lost(l);
            line = now;
            due = usec_min(due, now + LOG_SUMMARY);
        }
        if (now >= due) due = write_suppressed(l) || now - line < LOG_SUMMARY ? now + LOG_SUMMARY : USEC_NEVER;
        lock_take(&l->lock);
    }
    lock_release(&l->lock);
}

/* --- life and settings ----------------------------------------------------------------------------------------------------------- */
rt_log *rt_log_new(rt_node *n) {
    rt_log *l = mem_zalloc(sizeof *l);
    l->node = n;
    atomic_init(&l->level, RT_INFO);
    lock_init(&l->lock, &n->locks, "log", 0, LOCK_RANK_LOG);
    lock_cond_init(&l->more);
    return l;
}

err rt_log_start(rt_node *n) {
    if (!n->s->thread_start) return ERR_OK;
    return n->s->thread_start(n->s, "log", log_thread, n->log, &n->log->thread);
}

void rt_log_free(rt_log *l) {
    if (!l) return;
    lock_take(&l->lock);
    l->stop = true;
    lock_signal(&l->more);
    lock_release(&l->lock);
    if (l->thread) l->node->s->thread_join(l->node->s, l->thread);
    log_entry e; /* of a node that was never started, or since its thread ended */
    for (;;) {
        lock_take(&l->lock);
        bool got = pop(l, &e);
        lock_release(&l->lock);
        if (!got) break;
        write_entry(l, &e);
    }
    (void)write_suppressed(l); /* whether there was something does not matter now */
    lock_cond_fini(&l->more);
    lock_fini(&l->lock);
    mem_free(l->ring);
    mem_free(l);
}

void rt_log_ext_lock(rt_log *l) { lock_take(&l->lock); }
void rt_log_ext_unlock(rt_log *l) { lock_release(&l->lock); }

static void set_todo(struct rt_event_state *st, rt_level level) {
    for (unsigned id = 0; id < EV_COUNT_; id++) {
        if (rt_event_descs[id].level >= level)
            (void)atomic_fetch_or_explicit(&st->todo[id], RT_EV_LOG, memory_order_relaxed);
        else
            (void)atomic_fetch_and_explicit(&st->todo[id], (uint8_t)~RT_EV_LOG, memory_order_relaxed);
    }
}

void rt_log_level(rt_node *n, rt_level level) {
    atomic_store_explicit(&n->log->level, (int)level, memory_order_relaxed);
    for (unsigned i = 0; i < n->n_shards; i++) set_todo(&n->shards[i].ev, level);
    set_todo(&n->ev_ext, level);
}

rt_level rt_log_level_get(rt_node *n) { return (rt_level)atomic_load_explicit(&n->log->level, memory_order_relaxed); }

bool rt_log_level_parse(slice name, rt_level *out) {
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
        if (!slice_is(name, level_names[i])) continue;
        *out = (rt_level)i;
        return true;
    }
    return false;
}

bool rt_log_style_parse(slice name, rt_log_style *out) {
    bool json = slice_is(name, "json");
    if (!json && !slice_is(name, "text")) return false;
    *out = json ? RT_LOG_JSON : RT_LOG_TEXT;
    return true;
}

void rt_log_style_set(rt_node *n, rt_log_style style, bool priorities) {
    n->log->style = style;
    n->log->priorities = priorities;
}

void rt_log_sink(rt_node *n, void (*fn)(void *arg, const char *line), void *arg) {
    n->log->sink = fn;
    n->log->sink_arg = arg;
}
