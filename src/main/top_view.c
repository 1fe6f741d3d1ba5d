/* top_view: see top_view.h. The sections take what the screen has: first come, first served, but each has a share that it does not pass, so
 * that the busiest actors are seen on 24 lines too.
 *
 *     node, sessions, rates        3 lines
 *     queues                       3
 *     shards and their states      1 + a quarter of the screen
 *     pools                        1 + those with something to tell, on a small screen
 *     events that moved            1 + a twelfth
 *     longest mailboxes            1 + a sixth
 *     busiest actors               what is left; without a screen 20 */
#include "main/top_view.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "main/ask.h"
#include "main/render.h"
#include "rt/event.h"
#include "rt/msacc.h"

#include <stdio.h>
#include <stdlib.h>

#define LINE_MAX_     1024u
#define PLAIN_ACTORS  20u
#define PLAIN_SHARDS  64u
#define PLAIN_MAILBOX 10u
#define PLAIN_WIDTH   100u
#define SMALL_SCREEN  34u
#define BOLD          "\033[1m"
#define INVERSE       "\033[7m"
#define NORMAL        "\033[0m"
#define CLEAR_REST    "\033[K"

typedef struct page {
    const main_top_view *v;
    buf *out;
    unsigned left; /* lines */
    double sec;    /* between the two looks */
} page;

/* --- lines */
static void put(page *p, const char *style, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void put(page *p, const char *style, const char *fmt, ...) {
    char text[LINE_MAX_];
    va_list ap;
    if (p->left == 0) return;
    p->left--;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (p->v->rows) {
        size_t n = strlen(text);
        while (n && main_render_columns(text) > p->v->columns) { /* not within a character */
            do n--;
            while (n && ((unsigned char)text[n] & 0xc0u) == 0x80u);
            text[n] = 0;
        }
        buf_addf(p->out, "%s%s%s" CLEAR_REST, style, text, *style ? NORMAL : "");
        if (p->left) buf_add_str(p->out, "\r\n"); /* not after the last one: the screen would move */
    } else {
        buf_addf(p->out, "%s\n", text);
    }
}

static void gap(page *p) {
    if (p->v->rows == 0 || p->v->rows >= SMALL_SCREEN) put(p, "", "%s", "");
}

static unsigned share(const page *p, unsigned part, unsigned plain) {
    if (p->v->rows == 0) return plain;
    return p->v->rows / part > 1 ? p->v->rows / part : 1;
}

/* --- numbers */
static double number(const json_t *map, const char *name) { return json_number_value(json_object_get(map, name)); }

static double rate(const page *p, const json_t *now, const json_t *before, const char *name) {
    double moved = before ? number(now, name) - number(before, name) : 0;
    return p->sec > 0 && moved > 0 ? moved / p->sec : 0;
}

static const json_t *find_row(const json_t *rows, const char *key, const char *value) {
    size_t i;
    const json_t *row;
    json_array_foreach(rows, i, row) if (strcmp(main_ask_text(row, key), value) == 0) return row;
    return NULL;
}

/* --- sections */
static void put_head(page *p) {
    const json_t *load = p->v->now.load, *before = p->v->before.load;
    const json_t *events = json_object_get(load, "events"), *events_before = json_object_get(before, "events");
    char up[MAIN_NUMBER_MAX], name[96];
    main_render_number("uptime_sec", number(load, "uptime_sec"), up);
    (void)utf8_escape(slice_str(main_ask_text(load, "name")), name, sizeof name);
    const char *version = main_ask_text(load, "version");
    put(p, BOLD, "%s%s%s%s  process %lld  up %s  every %.1f s%s", name, *version ? " (murre " : "", version, *version ? ")" : "",
        (long long)main_ask_int(load, "pid"), up, (double)p->v->interval / (double)USEC_PER_SEC, p->v->paused ? "  PAUSED" : "");
    put(p, "", "sessions %lld  actors %lld  kept messages: accepted %.1f/s, delivered %.1f/s", (long long)main_ask_int(load, "sessions"),
        (long long)main_ask_int(load, "actors"), rate(p, events, events_before, "msg_accepted"),
        rate(p, events, events_before, "msg_delivered"));
    if (p->v->typed)
        put(p, INVERSE, "interval in seconds, 0.1 to 60, then Enter: %s", p->v->typed);
    else if (p->v->trouble[0])
        put(p, INVERSE, "%s", p->v->trouble);
    else if (p->v->rows)
        put(p, "", "q quit, space pause, s interval, < > sort");
}

static void put_queue(page *p, const char *name) {
    const json_t *now = json_object_get(p->v->now.load, name), *before = json_object_get(p->v->before.load, name);
    char bytes[MAIN_NUMBER_MAX];
    main_render_number("bytes", number(now, "bytes"), bytes);
    put(p, "", "%-12s %10lld %10lld %12.1f %12.1f %11s", name, (long long)main_ask_int(now, "queued"),
        (long long)main_ask_int(now, "longest"), rate(p, now, before, "enqueued"), rate(p, now, before, "dequeued"), bytes);
}

static void put_queues(page *p) {
    gap(p);
    put(p, INVERSE, "%-12s %10s %10s %12s %12s %11s", "QUEUES", "queued", "longest", "in/s", "out/s", "bytes");
    put_queue(p, "messages");
    put_queue(p, "signals");
}

static int state_width(unsigned state) {
    int n = (int)strlen(rt_msacc_state_name((rt_msacc_state)state));
    return n > 5 ? n : 5; /* "100.0" */
}

/* The share of each state in the time between the two looks; "-" while nothing is counted (msacc stop). */
static void put_shard(page *p, const json_t *row, const json_t *before) {
    char text[LINE_MAX_], cell[MAIN_NUMBER_MAX];
    double sum = 0, moved[RT_MSACC_STATES];
    for (unsigned k = 0; k < RT_MSACC_STATES; k++) {
        const char *state = rt_msacc_state_name((rt_msacc_state)k);
        moved[k] = before ? number(row, state) - number(before, state) : 0;
        if (moved[k] < 0) moved[k] = 0; /* they were reset */
        sum += moved[k];
    }
    int n = snprintf(text, sizeof text, "%-9s", main_ask_text(row, "thread"));
    for (unsigned k = 0; k < RT_MSACC_STATES && n > 0 && (size_t)n < sizeof text; k++) {
        (void)snprintf(cell, sizeof cell, "%.1f", sum > 0 ? 100 * moved[k] / sum : 0);
        n += snprintf(text + n, sizeof text - (size_t)n, " %*s", state_width(k), sum > 0 ? cell : "-");
    }
    put(p, "", "%s", text);
}

static void put_shards(page *p) {
    const json_t *threads = json_object_get(p->v->now.load, "threads"), *before = json_object_get(p->v->before.load, "threads");
    const json_t *row;
    char text[LINE_MAX_];
    unsigned shown = 0, more = 0, most = share(p, 4, PLAIN_SHARDS);
    size_t i;
    int n = snprintf(text, sizeof text, "%-9s", "SHARDS, %");
    for (unsigned k = 0; k < RT_MSACC_STATES && n > 0 && (size_t)n < sizeof text; k++)
        n += snprintf(text + n, sizeof text - (size_t)n, " %*s", state_width(k), rt_msacc_state_name((rt_msacc_state)k));
    gap(p);
    put(p, INVERSE, "%s", text);
    json_array_foreach(threads, i, row) {
        if (strcmp(main_ask_text(row, "type"), "shard") != 0) continue;
        if (shown++ < most)
            put_shard(p, row, find_row(before, "thread", main_ask_text(row, "thread")));
        else
            more++;
    }
    if (more) put(p, "", "and %u more", more);
}

static double jobs_done(const page *p, const json_t *row) {
    return rate(p, row, find_row(json_object_get(p->v->before.load, "pools"), "kind", main_ask_text(row, "kind")), "done");
}
static bool is_quiet(const page *p, const json_t *row) {
    return jobs_done(p, row) < 0.05 && !main_ask_int(row, "running") && !main_ask_int(row, "queued");
}

static void put_pools(page *p) {
    const json_t *pools = json_object_get(p->v->now.load, "pools"), *row;
    bool small = p->v->rows && p->v->rows < SMALL_SCREEN;
    size_t i, busy = 0;
    json_array_foreach(pools, i, row) busy += !is_quiet(p, row);
    gap(p);
    if (small && !busy) {
        put(p, INVERSE, "POOLS: nothing runs, nothing waits");
        return;
    }
    put(p, INVERSE, "%-12s %8s %8s %8s %10s %10s %10s", "POOLS", "threads", "running", "queued", "done/s", "expired", "refused");
    json_array_foreach(pools, i, row) {
        double done = jobs_done(p, row);
        if (small && is_quiet(p, row)) continue;
        put(p, "", "%-12s %8lld %8lld %8lld %10.1f %10lld %10lld", main_ask_text(row, "kind"), (long long)main_ask_int(row, "threads"),
            (long long)main_ask_int(row, "running"), (long long)main_ask_int(row, "queued"), done, (long long)main_ask_int(row, "expired"),
            (long long)main_ask_int(row, "refused"));
    }
}

static rt_level level_of(const char *event) {
    for (unsigned i = 0; i < EV_COUNT_; i++)
        if (strcmp(rt_event_descs[i].name, event) == 0) return rt_event_descs[i].level;
    return RT_DEBUG; /* of another version of murre */
}

/* Those of a level, on as many lines as it takes, but not more than are left of the section's. */
static void put_events_of(page *p, rt_level level, char line[LINE_MAX_], unsigned *lines) {
    const json_t *now = json_object_get(p->v->now.load, "events"), *before = json_object_get(p->v->before.load, "events");
    const char *name;
    json_t *count;
    char item[96];
    size_t width = p->v->rows ? p->v->columns : PLAIN_WIDTH;
    json_object_foreach((json_t *)(uintptr_t)now, name, count) {
        double moved = rate(p, now, before, name);
        if (moved <= 0 || level_of(name) != level) continue;
        int n = snprintf(item, sizeof item, "%s %.1f  ", name, moved);
        size_t have = strlen(line), more = n > 0 ? (size_t)n : 0;
        if (have && have + more > width + 2) { /* the blanks at its end may stand out */
            if (*lines <= 1) return;
            put(p, "", "%s", line);
            --*lines;
            have = 0;
        }
        (void)snprintf(line + have, LINE_MAX_ - have, "%s", item);
    }
}

/* What is wrong comes first: of what happens with every message there is always something. */
static void put_events(page *p) {
    static const rt_level levels[] = {RT_ERROR, RT_WARNING, RT_NOTICE, RT_INFO, RT_DEBUG};
    char line[LINE_MAX_] = "";
    unsigned lines = share(p, 12, 100);
    gap(p);
    put(p, INVERSE, "EVENTS/S");
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) put_events_of(p, levels[i], line, &lines);
    put(p, "", "%s", line[0] ? line : "none");
}

/* --- actors */
typedef struct actor {
    const json_t *row;
    double key, cpu, handled;
} actor;

static int by_key(const void *a, const void *b) {
    const actor *x = a, *y = b;
    if (x->key < y->key || x->key > y->key) return x->key > y->key ? -1 : 1;
    return strcmp(main_ask_text(x->row, "pid"), main_ask_text(y->row, "pid"));
}

static double key_of(const actor *a, main_top_column c) {
    switch (c) {
    case MAIN_TOP_CPU: return a->cpu;
    case MAIN_TOP_HANDLED: return a->handled;
    case MAIN_TOP_QUEUED: return number(a->row, "queued");
    case MAIN_TOP_LONGEST: return number(a->row, "longest");
    case MAIN_TOP_MEMORY: return number(a->row, "memory_bytes");
    case MAIN_TOP_RELATIONS: return number(a->row, "relations");
    case MAIN_TOP_COLUMNS: break;
    }
    return 0;
}

/* Sorted by a column; mem_free it. */
static actor *sort_actors(const page *p, main_top_column column, size_t *out_n) {
    const main_top_look *now = &p->v->now, *before = &p->v->before;
    double sec = (double)(now->actors_at - before->actors_at) / (double)USEC_PER_SEC;
    size_t n = 0, size = json_object_size(now->actors);
    actor *all = mem_alloc((size + 1) * sizeof *all);
    const char *pid;
    json_t *row;
    json_object_foreach(now->actors, pid, row) {
        const json_t *old = json_object_get(before->actors, pid);
        actor *a = &all[n++];
        *a = (actor){.row = row};
        if (old && sec > 0) {
            a->cpu = (number(row, "usec") - number(old, "usec")) / sec / 1e4; /* per cent of one shard */
            a->handled = (number(row, "handled") - number(old, "handled")) / sec;
        }
        a->key = key_of(a, column);
    }
    if (n) qsort(all, n, sizeof *all, by_key);
    *out_n = n;
    return all;
}

/* Columns in the order of main_top_column. A narrow screen has room for four: the last one is then the one that is sorted by, if it is none
 * of the first three. */
#define WIDE      100u
#define CELL_MAX_ MAIN_NUMBER_MAX
static bool has_column(const page *p, unsigned c) {
    if (p->v->rows == 0 || p->v->columns >= WIDE || c < MAIN_TOP_LONGEST) return true;
    return c == (p->v->sort < MAIN_TOP_LONGEST ? (unsigned)MAIN_TOP_LONGEST : (unsigned)p->v->sort);
}

static void put_cells(page *p, const char *style, const char *pid, const char *cls, char cell[MAIN_TOP_COLUMNS][CELL_MAX_],
                      const char *name) {
    static const int width[MAIN_TOP_COLUMNS] = {7, 11, 9, 9, 9, 10};
    char text[LINE_MAX_];
    int n = snprintf(text, sizeof text, "%-15s %-10s", pid, cls);
    for (unsigned c = 0; c < MAIN_TOP_COLUMNS && n > 0 && (size_t)n < sizeof text; c++)
        if (has_column(p, c)) n += snprintf(text + n, sizeof text - (size_t)n, " %*s", width[c], cell[c]);
    put(p, style, "%s  %s", text, name);
}

static void put_actor(page *p, const actor *a) {
    char name[160], cell[MAIN_TOP_COLUMNS][CELL_MAX_], memory[MAIN_NUMBER_MAX];
    (void)utf8_escape(slice_str(main_ask_text(a->row, "name")), name, sizeof name);
    main_render_number("bytes", number(a->row, "memory_bytes"), memory);
    (void)snprintf(cell[MAIN_TOP_CPU], CELL_MAX_, "%.1f", a->cpu);
    (void)snprintf(cell[MAIN_TOP_HANDLED], CELL_MAX_, "%.1f", a->handled);
    (void)snprintf(cell[MAIN_TOP_QUEUED], CELL_MAX_, "%lld", (long long)main_ask_int(a->row, "queued"));
    (void)snprintf(cell[MAIN_TOP_LONGEST], CELL_MAX_, "%lld", (long long)main_ask_int(a->row, "longest"));
    (void)snprintf(cell[MAIN_TOP_MEMORY], CELL_MAX_, "%s", memory);
    (void)snprintf(cell[MAIN_TOP_RELATIONS], CELL_MAX_, "%lld", (long long)main_ask_int(a->row, "relations"));
    put_cells(p, "", main_ask_text(a->row, "pid"), main_ask_text(a->row, "class"), cell, name);
}

static void put_actor_head(page *p, const char *title) {
    static const char *const names[MAIN_TOP_COLUMNS] = {"cpu %", "handled/s", "queued", "longest", "memory", "relations"};
    char head[MAIN_TOP_COLUMNS][CELL_MAX_];
    for (unsigned i = 0; i < MAIN_TOP_COLUMNS; i++)
        (void)snprintf(head[i], sizeof head[i], "%s%s", i == (unsigned)p->v->sort ? ">" : "", names[i]);
    put_cells(p, INVERSE, title, "class", head, "name");
}

const char *main_top_order(main_top_column c) {
    switch (c) {
    case MAIN_TOP_CPU:
    case MAIN_TOP_HANDLED: return "cost";
    case MAIN_TOP_MEMORY: return "memory";
    case MAIN_TOP_RELATIONS: return "relations";
    case MAIN_TOP_QUEUED:
    case MAIN_TOP_LONGEST:
    case MAIN_TOP_COLUMNS: break;
    }
    return "queue";
}

static void put_mailboxes(page *p) {
    size_t n, most = share(p, 6, PLAIN_MAILBOX);
    actor *all = sort_actors(p, MAIN_TOP_QUEUED, &n);
    gap(p);
    put(p, INVERSE, "LONGEST MAILBOXES");
    for (size_t i = 0; i < n && i < most && (i == 0 || all[i].key > 0); i++) {
        if (all[i].key > 0)
            put_actor(p, &all[i]);
        else
            put(p, "", "none: every mailbox is empty");
    }
    mem_free(all);
}

static void put_actors(page *p) {
    size_t n;
    actor *all = sort_actors(p, p->v->sort, &n);
    gap(p);
    put_actor_head(p, "ACTORS");
    bool some = main_ask_int(p->v->now.load, "actors") > (json_int_t)n;
    if (some) put(p, "", "among the %zu with the most %s and the longest mailboxes", n, main_top_order(p->v->sort));
    for (size_t i = 0; i < n && (p->v->rows || i < PLAIN_ACTORS); i++) put_actor(p, &all[i]);
    mem_free(all);
}

void main_top_draw(const main_top_view *v, buf *out) {
    page p = {.v = v, .out = out, .left = v->rows ? v->rows : 10000};
    if (v->before.load)
        p.sec = (double)(main_ask_int(v->now.load, "mono_usec") - main_ask_int(v->before.load, "mono_usec")) / (double)USEC_PER_SEC;
    put_head(&p);
    if (!v->now.load) return;
    put_queues(&p);
    put_shards(&p);
    put_pools(&p);
    put_events(&p);
    put_mailboxes(&p);
    put_actors(&p);
}
