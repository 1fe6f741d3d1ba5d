/* record: see record.h. The file is read directly, whether its node runs or not: it is mapped memory of the node, so that reading costs the
 * node nothing. A running node is asked only where it is, by a verb that no stuck shard delays.
 *
 * Invariants: (1) memory does not grow with the file: a record is printed when it is read, or kept among at most LAST_MAX. (2) What was
 * left out is told. (3) Names and fields are those of events.def as compiled in; a file that was written with another list is shown in
 * numbers. */
#include "main/record.h"

#include "base/codec.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "edge/edge.h"
#include "mesh/msgs.h"
#include "rt/recorder.h"
#include "rt/trace.h"
#include "store/store.h"
#include "svc/svc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>

#define LAST_MAX   1000000u
#define USAGE      "usage: record [--last N] [--event EVENT] [--actor PID] [--trace N] [--since TIME] [FILE]"
#define TEXT_KEPT  sizeof((rt_record *)0)->text
#define SLOT_NONE  0u
#define TIME_TEXT  32
#define VALUE_TEXT 48

typedef struct filter {
    const char *path; /* NULL: of the running node */
    uint64_t last;    /* 0: all */
    const char *event, *since;
    uint32_t event_id, slot; /* slot SLOT_NONE: any */
    uint64_t trace;          /* number of a request; 0: any */
    int64_t since_usec;      /* wall clock */
} filter;

typedef struct kept {
    rt_record rec;
    unsigned ring;
} kept;

typedef struct printer {
    bool json, first;
    bool same_events;
    unsigned rings;
    uint64_t shown;
} printer;

/* --- filters */
static bool parse_actor(const char *text, uint32_t *out) {
    rt_pid pid;
    uint64_t slot;
    if (rt_pid_parse(slice_str(text), &pid))
        *out = pid.slot;
    else if (dec_parse_u64(slice_str(text), UINT32_MAX, &slot) == ERR_OK && slot != SLOT_NONE)
        *out = (uint32_t)slot;
    else
        return false;
    return true;
}

static bool parse_event(const char *text, bool same_events, uint32_t *out) {
    uint64_t id;
    for (unsigned i = 0; same_events && i < EV_COUNT_; i++)
        if (strcmp(rt_event_descs[i].name, text) == 0) {
            *out = i;
            return true;
        }
    if (same_events || dec_parse_u64(slice_str(text), UINT32_MAX, &id) != ERR_OK) return false;
    *out = (uint32_t)id;
    return true;
}

/* Digits at a fixed place of an XEP-0082 time. */
static bool digits(const char *text, size_t at, size_t n, uint64_t max, uint64_t *out) {
    return dec_parse_u64(slice_of(text + at, n), max, out) == ERR_OK;
}

/* Days since 1970 of a date in the Gregorian calendar: years begin in March, so that the leap day comes last. */
static int64_t days_of(uint64_t year, uint64_t month, uint64_t day) {
    int64_t y = (int64_t)year - (month <= 2), m = (int64_t)month + (month <= 2 ? 9 : -3);
    return y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + (int64_t)day - 1 - 719468;
}

/* "2026-11-23T14:00:00Z", or a number with s, m, h or d: that long before the newest record. */
static bool parse_since(const char *text, int64_t newest, int64_t *out) {
    uint64_t n, year, month, day, hour, minute, second;
    size_t len = strlen(text);
    static const char units[] = "smhd";
    static const int64_t sec[] = {1, 60, 3600, 86400};
    const char *unit = len ? strchr(units, text[len - 1]) : NULL;
    if (unit && dec_parse_u64(slice_of(text, len - 1), 1000000, &n) == ERR_OK) {
        *out = newest == INT64_MIN ? newest : newest - (int64_t)n * sec[unit - units] * USEC_PER_SEC;
        return true;
    }
    bool shape = len == 20 && text[4] == '-' && text[7] == '-' && text[10] == 'T' && text[13] == ':' && text[16] == ':' && text[19] == 'Z';
    if (!shape || !digits(text, 0, 4, 9999, &year) || !digits(text, 5, 2, 12, &month) || !digits(text, 8, 2, 31, &day) ||
        !digits(text, 11, 2, 23, &hour) || !digits(text, 14, 2, 59, &minute) || !digits(text, 17, 2, 60, &second) || !month || !day)
        return false;
    *out = ((days_of(year, month, day) * 24 + (int64_t)hour) * 60 + (int64_t)minute) * 60 + (int64_t)second;
    *out *= USEC_PER_SEC;
    return true;
}

static int parse_options(const main_ask *o, char **words, int n, filter *f) {
    const char *actor = NULL;
    *f = (filter){.slot = SLOT_NONE, .since_usec = INT64_MIN};
    for (int i = 1; i < n; i++) {
        bool value = i + 1 < n;
        if (strcmp(words[i], "--last") == 0 && value) {
            if (dec_parse_u64(slice_str(words[++i]), LAST_MAX, &f->last) != ERR_OK || f->last == 0)
                return main_complain(o, MAIN_BAD_USAGE, "'%s' is not a number from 1 to %u", main_ask_word(words[i]).text, LAST_MAX);
        } else if (strcmp(words[i], "--event") == 0 && value) {
            f->event = words[++i];
        } else if (strcmp(words[i], "--actor") == 0 && value) {
            actor = words[++i];
        } else if (strcmp(words[i], "--trace") == 0 && value) {
            if (dec_parse_u64(slice_str(words[++i]), RT_TRACE_NUMBER, &f->trace) != ERR_OK || f->trace == 0)
                return main_complain(o, MAIN_BAD_USAGE, "'%s' is not the number of a request, 1 to %u", main_ask_word(words[i]).text,
                                     RT_TRACE_NUMBER);
        } else if (strcmp(words[i], "--since") == 0 && value) {
            f->since = words[++i];
        } else if (strncmp(words[i], "--", 2) == 0 || f->path) {
            return main_complain(o, MAIN_BAD_USAGE, USAGE);
        } else {
            f->path = words[i];
        }
    }
    if (actor && !parse_actor(actor, &f->slot))
        return main_complain(o, MAIN_BAD_USAGE, "'%s' is neither a pid of the form <0.1.2.3> nor the number of a slot",
                             main_ask_word(actor).text);
    return EX_OK;
}

/* What can be told only with the file at hand. */
static int settle_filter(const main_ask *o, const rt_recorder_info *info, filter *f) {
    if (f->event && !parse_event(f->event, info->same_events, &f->event_id))
        return main_complain(o, MAIN_BAD_USAGE,
                             info->same_events ? "there is no event '%s'; murrectl events all lists them"
                                               : "'%s' is not the number of an event; this file's events have no names",
                             main_ask_word(f->event).text);
    if (f->since && !parse_since(f->since, info->newest_usec, &f->since_usec))
        return main_complain(o, MAIN_BAD_USAGE, "'%s' is neither a time like 2026-11-23T14:00:00Z nor one like 30s, 5m, 2h or 1d",
                             main_ask_word(f->since).text);
    return EX_OK;
}

static bool concerns(const rt_record *r, uint32_t slot, bool same_events) {
    if (r->slot == slot) return true;
    if (!same_events || r->event >= EV_COUNT_) return false;
    for (unsigned i = 0; i < 3; i++) {
        const char *name = rt_event_descs[r->event].arg[i];
        size_t n = strlen(name);
        bool is_slot = strcmp(name, "slot") == 0 || (n > 5 && strcmp(name + n - 5, "_slot") == 0);
        if (is_slot && r->arg[i] == slot) return true;
    }
    return false;
}

static bool passes(const filter *f, const rt_record *r, bool same_events) {
    return r->wall_usec >= f->since_usec && (!f->trace || r->trace == f->trace) && (!f->event || r->event == f->event_id) &&
           (f->slot == SLOT_NONE || concerns(r, f->slot, same_events));
}

/* --- printing */
static void time_text(int64_t wall_usec, char out[TIME_TEXT]) {
    char seconds[TIME_TEXT];
    int64_t part = wall_usec % USEC_PER_SEC;
    (void)time_format(wall_usec, false, seconds);
    size_t n = strcspn(seconds, "Z");
    (void)snprintf(out, TIME_TEXT, "%.*s.%06dZ", (int)n, seconds, (int)(part < 0 ? part + USEC_PER_SEC : part));
}

static bool is_text(const rt_event_desc *d, unsigned i) { return i == 2 && strcmp(d->arg[i], "text") == 0; }

/* The record has the first bytes of a text and the length of what event.c had. */
static size_t text_part(const rt_record *r, char out[4 * TEXT_KEPT + 1], bool *out_more) {
    size_t len = r->arg[2] < TEXT_KEPT ? (size_t)r->arg[2] : TEXT_KEPT;
    *out_more = r->arg[2] > TEXT_KEPT;
    return utf8_escape(slice_of(r->text, len), out, 4 * TEXT_KEPT + 1);
}

/* The name of a message, by its tag; NULL: of another version. */
static const char *message_name(uint16_t tag) {
    const struct {
        const rt_msg_desc *at;
        size_t n;
    } tables[] = {{rt_msgs, rt_msgs_count},
                  {store_msgs, store_msgs_count},
                  {svc_msgs, svc_msgs_count},
                  {edge_msgs, edge_msgs_count},
                  {mesh_msgs, mesh_msgs_count}};
    for (size_t t = 0; t < ARRAY_LEN(tables); t++)
        for (size_t i = 0; i < tables[t].n; i++)
            if (tables[t].at[i].tag == tag) return tables[t].at[i].name;
    return NULL;
}

/* What stands for a number of three kinds: an error, a message's tag, what is not known (rt/trace.c). */
static bool named(const char *name, uint64_t value, char out[VALUE_TEXT]) {
    const char *message = strcmp(name, "message") == 0 ? message_name((uint16_t)value) : NULL;
    if (strcmp(name, "err") == 0)
        (void)snprintf(out, VALUE_TEXT, "%s", err_name(value < ERR_COUNT_ ? (err)value : ERR_BUG));
    else if (message)
        (void)snprintf(out, VALUE_TEXT, "%s", message);
    else if (value == UINT64_MAX)
        (void)snprintf(out, VALUE_TEXT, "?");
    else
        return false;
    return true;
}

static void print_fields(const rt_record *r) {
    const rt_event_desc *d = &rt_event_descs[r->event];
    for (unsigned i = 0; i < 3; i++) {
        char text[4 * TEXT_KEPT + 1], value[VALUE_TEXT];
        bool more;
        if (!d->arg[i][0] || (r->event == EV_TRACE_SEND && i == 2)) continue; /* that is in the pid */
        if (r->event == EV_TRACE_SEND && i == 1) {
            rt_pid_format((rt_pid){0, (uint32_t)r->arg[1], (uint32_t)(r->arg[0] >> 32)}, value);
            (void)printf(" to=%s", value);
        } else if (is_text(d, i)) {
            (void)text_part(r, text, &more);
            (void)printf(" text=\"%s\"%s", text, more ? "..." : "");
        } else if (named(d->arg[i], r->arg[i], value)) {
            (void)printf(" %s=%s", d->arg[i], value);
        } else {
            (void)printf(" %s=%" PRIu64, d->arg[i], r->arg[i]);
        }
    }
}

/* A step of a request: its number, and the class of who took it where no text has that place. */
static void print_trace(const printer *p, const rt_record *r) {
    bool text = p->same_events && r->event < EV_COUNT_ && is_text(&rt_event_descs[r->event], 2);
    char class[4 * TEXT_KEPT + 1];
    (void)utf8_escape(slice_of(r->text, strnlen((const char *)r->text, TEXT_KEPT)), class, sizeof class);
    if (!text && class[0]) (void)printf(" class=%s", class);
    (void)printf(" trace=%" PRIu32, r->trace);
}

/* The generation of the actor that took the step, where the record has room for it; 0: it has none. */
static uint32_t gen_of(const rt_record *r) {
    if (r->event == EV_TRACE_HANDLE) return (uint32_t)(r->arg[0] >> 32);
    return r->event == EV_TRACE_SEND ? (uint32_t)r->arg[2] : 0;
}

static void print_text(const printer *p, unsigned ring, const rt_record *r) {
    char when[TIME_TEXT], where[24], who[RT_PID_TEXT] = "-";
    time_text(r->wall_usec, when);
    if (ring + 1 < p->rings)
        (void)snprintf(where, sizeof where, "shard %u", ring);
    else
        (void)snprintf(where, sizeof where, "threads");
    uint32_t gen = p->same_events ? gen_of(r) : 0;
    if (gen)
        rt_pid_format((rt_pid){0, r->slot, gen}, who);
    else if (r->slot != SLOT_NONE)
        (void)snprintf(who, sizeof who, "slot %" PRIu32, r->slot);
    (void)printf("%s  %-8s  %-14s  ", when, where, who);
    if (p->same_events && r->event < EV_COUNT_) {
        (void)printf("%s", rt_event_descs[r->event].name);
        print_fields(r);
    } else {
        (void)printf("event %" PRIu32 " a=%" PRIu64 " b=%" PRIu64 " c=%" PRIu64, r->event, r->arg[0], r->arg[1], r->arg[2]);
    }
    if (r->trace) print_trace(p, r);
    (void)putchar('\n');
}

static json_t *fields_json(const printer *p, const rt_record *r) {
    static const char *const plain[] = {"a", "b", "c"};
    bool known = p->same_events && r->event < EV_COUNT_;
    json_t *fields = json_object();
    for (unsigned i = 0; i < 3; i++) {
        const char *name = known ? rt_event_descs[r->event].arg[i] : plain[i];
        char text[4 * TEXT_KEPT + 1];
        bool more;
        if (!*name) continue;
        if (known && is_text(&rt_event_descs[r->event], i)) {
            (void)text_part(r, text, &more);
            (void)json_object_set_new(fields, name, json_string(text));
            (void)json_object_set_new(fields, "text_bytes", json_integer((json_int_t)r->arg[i]));
        } else {
            char value[VALUE_TEXT];
            bool word = known && strcmp(name, "message") == 0 && named(name, r->arg[i], value);
            (void)json_object_set_new(fields, name, word ? json_string(value) : json_integer((json_int_t)r->arg[i]));
        }
    }
    return fields;
}

static void print_json(printer *p, unsigned ring, const rt_record *r) {
    char when[TIME_TEXT];
    time_text(r->wall_usec, when);
    json_t *v = json_pack("{s:s,s:I,s:i,s:I,s:I,s:I,s:I}", "time", when, "wall_usec", (json_int_t)r->wall_usec, "ring", (int)ring, "seq",
                          (json_int_t)r->seq, "slot", (json_int_t)r->slot, "trace", (json_int_t)r->trace, "id", (json_int_t)r->event);
    if (p->same_events && r->event < EV_COUNT_) (void)json_object_set_new(v, "event", json_string(rt_event_descs[r->event].name));
    (void)json_object_set_new(v, "fields", fields_json(p, r));
    (void)fputs(p->first ? "\n" : ",\n", stdout);
    (void)json_dumpf(v, stdout, JSON_COMPACT);
    json_decref(v);
}

static void print_one(printer *p, unsigned ring, const rt_record *r) {
    if (p->json)
        print_json(p, ring, r);
    else
        print_text(p, ring, r);
    p->first = false;
    p->shown++;
}

/* What the reader left out or could not name; in JSON members beside the result. */
static void print_notes(const printer *p, const rt_recorder_info *info) {
    if (p->json) {
        (void)printf("],\"torn\":%" PRIu64 ",\"missing_bytes\":%" PRIu64 ",\"same_events\":%s}\n", info->torn, info->missing_bytes,
                     info->same_events ? "true" : "false");
        return;
    }
    (void)fflush(stdout); /* before what is said about it */
    if (info->missing_bytes)
        (void)fprintf(stderr, "murrectl: the %s is cut off: %" PRIu64 " bytes are missing at its end\n",
                      info->core ? "recorder in this core" : "file", info->missing_bytes);
    if (info->torn) (void)fprintf(stderr, "murrectl: %" PRIu64 " torn records were left out\n", info->torn);
    if (!info->same_events)
        (void)fprintf(stderr, "murrectl: another version of murre with other events wrote this file: they are shown as numbers\n");
}

/* --- the command */
static int show(const main_ask *o, rt_recorder_reader *r, filter *f) {
    const rt_recorder_info *info = rt_recorder_info_of(r);
    int status = settle_filter(o, info, f);
    if (status) return status;
    printer p = {.json = o->json, .first = true, .same_events = info->same_events, .rings = info->rings};
    uint64_t room = f->last < info->whole ? f->last : info->whole, n = 0; /* no more than there are */
    kept *last = room ? mem_alloc(room * sizeof *last) : NULL;
    rt_record rec;
    unsigned ring;
    if (p.json) (void)fputs("{\"ok\":true,\"result\":[", stdout);
    while (!ferror(stdout) && rt_recorder_next(r, &ring, &rec)) {
        if (!passes(f, &rec, info->same_events)) continue;
        if (last)
            last[n++ % room] = (kept){rec, ring};
        else
            print_one(&p, ring, &rec);
    }
    for (uint64_t i = n > room ? n - room : 0; last && i < n; i++) print_one(&p, last[i % room].ring, &last[i % room].rec);
    mem_free(last);
    print_notes(&p, info);
    return fflush(stdout) == 0 && !ferror(stdout) ? EX_OK : EX_IOERR;
}

static int cannot_open(const main_ask *o, const char *path, err e) {
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return main_complain(o, MAIN_NO_INPUT, "%s is a directory", path);
    if (e == ERR_CORRUPT) return main_complain(o, MAIN_BAD_DATA, "%s is not the file of a flight recorder, nor a whole core", path);
    if (e == ERR_INVALID) return main_complain(o, MAIN_BAD_DATA, "%s is an ELF file, but not a core of a 64-bit process", path);
    if (e == ERR_EOF)
        return main_complain(
            o, MAIN_BAD_DATA,
            "%s is a core without a flight recorder: of another program, of a node that had none, cut off before it, or written "
            "without shared mappings (coredump_filter)",
            path);
    if (e == ERR_VERSION) return main_complain(o, MAIN_BAD_DATA, "%s was written in another format, by another version of murre", path);
    return main_complain(o, MAIN_NO_INPUT, "%s: %s", path, err_text(e));
}

static int show_file(const main_ask *o, const char *path, filter *f) {
    sys *s = NULL;
    rt_recorder_reader *r = NULL;
    err e = sys_linux_new(&s);
    if (e == ERR_OK) e = rt_recorder_open(s, path, &r);
    int status = e == ERR_OK ? show(o, r, f) : cannot_open(o, path, e);
    rt_recorder_close(r);
    if (s) sys_linux_free(s);
    return status;
}

int main_record(const main_ask *o, char **words, int n) {
    filter f;
    int status = parse_options(o, words, n, &f);
    if (status || f.path) return status ? status : show_file(o, f.path, &f);
    json_t *node = main_ask_verb(o, "node", "show", NULL, &status);
    if (!node) return status;
    const char *path = main_ask_text(node, "recorder");
    if (*path)
        status = show_file(o, path, &f);
    else
        status = main_complain(o, MAIN_REFUSED, "this node has no flight recorder (recorder.bytes is 0)");
    json_decref(node);
    return status;
}
