/* val: a small tree of values in an arena, and its JSON (RFC 8259).
 *
 *     map --first--> item "shards" --next--> item "uptime" --next--> NULL
 *         --last-------------------------------^
 *
 * Invariants: (1) An item is in at most one container, once. (2) A container that was given NULL, because the arena was full, is marked
 * incomplete; so a tree with a hole is known, and val_json never shows it as whole. (3) The keys of a map are distinct: setting one again
 * replaces its value at its old place. (4) val_json descends at most VAL_DEPTH_MAX containers. */
#include "base/val.h"

#include "base/utf8.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define REPLACEMENT "\\ufffd"

struct val {
    val_kind kind;
    bool linked;     /* in a container */
    bool incomplete; /* list or map: something is missing */
    const char *key; /* in a map: a literal */
    val *next;       /* in a container */
    union {
        bool b;
        int64_t i;
        double d;
        slice s;
        struct {
            val *first;
            val *last;
        };
    };
};

static val *make(arena *a, val_kind kind) {
    val *v = arena_alloc(a, sizeof *v);
    if (v) v->kind = kind;
    return v;
}

val *val_null(arena *a) { return make(a, VAL_NULL); }

val *val_bool(arena *a, bool b) {
    val *v = make(a, VAL_BOOL);
    if (v) v->b = b;
    return v;
}

val *val_int(arena *a, int64_t i) {
    val *v = make(a, VAL_INT);
    if (v) v->i = i;
    return v;
}

val *val_real(arena *a, double d) {
    val *v = make(a, VAL_REAL);
    if (v) v->d = d;
    return v;
}

val *val_str(arena *a, slice s) {
    slice copy = arena_dup(a, s);
    val *v = copy.p ? make(a, VAL_STR) : NULL;
    if (v) v->s = copy;
    return v;
}

val *val_strf(arena *a, const char *fmt, ...) {
    va_list ap;
    va_list again;
    va_start(ap, fmt);
    va_copy(again, ap);
    val *v = NULL;
    int n = vsnprintf(NULL, 0, fmt, ap);
    char *text = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (text && vsnprintf(text, (size_t)n + 1, fmt, again) == n) v = make(a, VAL_STR);
    if (v) v->s = slice_of(text, (size_t)n);
    va_end(again);
    va_end(ap);
    return v;
}

val *val_list(arena *a) { return make(a, VAL_LIST); }

val *val_map(arena *a) { return make(a, VAL_MAP); }

/* True if item can go into into; otherwise into is incomplete. */
static bool can_link(val *into, val_kind kind, val *item) {
    if (!into) return false;
    if (!check(into->kind == kind)) return false;
    if (item && check(!item->linked) && check(item != into)) return true;
    into->incomplete = true;
    return false;
}

static void append(val *into, val *item) {
    item->linked = true;
    if (into->last) {
        into->last->next = item;
    } else {
        into->first = item;
    }
    into->last = item;
}

void val_push(arena *a, val *list, val *item) {
    (void)a; /* taken so that a later form of list may allocate; today the items are the links */
    if (can_link(list, VAL_LIST, item)) append(list, item);
}

void val_set(arena *a, val *map, const char *key, val *item) {
    (void)a; /* as in val_push */
    if (!can_link(map, VAL_MAP, item)) return;
    item->key = key;
    val *before = NULL;
    val *at = map->first;
    while (at && strcmp(at->key, key) != 0) {
        before = at;
        at = at->next;
    }
    if (!at) {
        append(map, item);
        return;
    }
    item->linked = true;
    item->next = at->next;
    if (before) {
        before->next = item;
    } else {
        map->first = item;
    }
    if (map->last == at) map->last = item;
    at->linked = false;
    at->next = NULL;
}

static val *dup_at(arena *a, const val *v, int depth) {
    if (!v || depth > VAL_DEPTH_MAX) return NULL;
    if (v->kind == VAL_STR) return val_str(a, v->s);
    val *copy = make(a, v->kind);
    if (!copy) return NULL;
    if (v->kind != VAL_LIST && v->kind != VAL_MAP) {
        *copy = *v;
        copy->linked = false;
        copy->key = NULL;
        copy->next = NULL;
        return copy;
    }
    copy->incomplete = v->incomplete;
    for (const val *i = v->first; i; i = i->next) {
        val *item = dup_at(a, i, depth + 1);
        if (item) item->key = i->key;
        if (can_link(copy, v->kind, item)) append(copy, item);
    }
    return copy;
}

val *val_dup(arena *a, const val *v) { return dup_at(a, v, 0); }

void val_concat(arena *a, val *to, val *from) {
    (void)a; /* as in val_push */
    if (!to || !check(to->kind == VAL_LIST)) return;
    if (!from || from->incomplete) to->incomplete = true;
    while (from && from->first) {
        val *item = from->first;
        from->first = item->next;
        item->next = NULL;
        append(to, item);
    }
    if (from) from->last = NULL;
}

/* One code point inside quotes. Besides what RFC 8259 demands, everything that would end the line or move a terminal's cursor. */
static void json_char(buf *out, uint32_t cp, slice bytes) {
    switch (cp) {
    case '"': buf_add_str(out, "\\\""); return;
    case '\\': buf_add_str(out, "\\\\"); return;
    case '\b': buf_add_str(out, "\\b"); return;
    case '\f': buf_add_str(out, "\\f"); return;
    case '\n': buf_add_str(out, "\\n"); return;
    case '\r': buf_add_str(out, "\\r"); return;
    case '\t': buf_add_str(out, "\\t"); return;
    default: break;
    }
    if (cp < 0x20 || (cp >= 0x7f && cp <= 0x9f) || cp == 0x2028 || cp == 0x2029) {
        buf_addf(out, "\\u%04x", cp);
    } else {
        buf_add(out, bytes);
    }
}

static void json_str(buf *out, slice s) {
    buf_add_byte(out, '"');
    for (size_t i = 0; i < s.len;) {
        uint32_t cp;
        size_t n = utf8_decode(slice_from(s, i), &cp);
        if (n) {
            json_char(out, cp, slice_sub(s, i, n));
        } else {
            buf_add_str(out, REPLACEMENT);
        }
        i += n ? n : 1;
    }
    buf_add_byte(out, '"');
}

/* The shorter of two spellings that reads back as the same number; JSON has no word for what is not finite. */
static void json_real(buf *out, double d) {
    if (!isfinite(d)) {
        buf_add_str(out, "null");
        return;
    }
    char text[32];
    int n = snprintf(text, sizeof text, "%.15g", d);
    if (n > 0 && strtod(text, NULL) != d) n = snprintf(text, sizeof text, "%.17g", d);
    buf_add(out, slice_of(text, n > 0 ? (size_t)n : 0));
}

static void json_value(const val *v, buf *out, unsigned depth);

static void json_items(const val *v, buf *out, unsigned depth) {
    bool is_map = v->kind == VAL_MAP;
    if (v->incomplete || depth >= VAL_DEPTH_MAX) {
        out->failed = true;
        return;
    }
    buf_add_byte(out, is_map ? '{' : '[');
    for (const val *item = v->first; item && buf_ok(out); item = item->next) {
        if (item != v->first) buf_add_byte(out, ',');
        if (is_map) {
            json_str(out, slice_str(item->key));
            buf_add_byte(out, ':');
        }
        json_value(item, out, depth + 1);
    }
    buf_add_byte(out, is_map ? '}' : ']');
}

static void json_value(const val *v, buf *out, unsigned depth) {
    switch (v->kind) {
    case VAL_NULL: buf_add_str(out, "null"); return;
    case VAL_BOOL: buf_add_str(out, v->b ? "true" : "false"); return;
    case VAL_INT: buf_addf(out, "%lld", (long long)v->i); return;
    case VAL_REAL: json_real(out, v->d); return;
    case VAL_STR: json_str(out, v->s); return;
    case VAL_LIST:
    case VAL_MAP: json_items(v, out, depth); return;
    }
}

void val_json(const val *v, buf *out) {
    if (v) {
        json_value(v, out, 0);
    } else {
        out->failed = true;
    }
}

void val_lines(const val *list, buf *out) {
    if (!list || list->kind != VAL_LIST || list->incomplete) {
        out->failed = true;
        return;
    }
    for (const val *i = list->first; i; i = i->next) {
        if (i->kind != VAL_STR) continue;
        buf_add(out, i->s);
        buf_add_byte(out, '\n');
    }
}

bool val_get_int(const val *v, const char *key, int64_t *out) {
    if (!v || v->kind != VAL_MAP) return false;
    for (const val *item = v->first; item; item = item->next) {
        if (item->kind != VAL_INT || strcmp(item->key, key) != 0) continue;
        *out = item->i;
        return true;
    }
    return false;
}

val_kind val_kind_of(const val *v) { return v ? v->kind : VAL_NULL; }

bool val_bool_of(const val *v) { return v && v->kind == VAL_BOOL && v->b; }
int64_t val_int_of(const val *v) { return v && v->kind == VAL_INT ? v->i : 0; }
double val_real_of(const val *v) { return v && v->kind == VAL_REAL ? v->d : 0; }
slice val_str_of(const val *v) { return v && v->kind == VAL_STR ? v->s : SLICE_NULL; }

const val *val_first(const val *v) { return v && (v->kind == VAL_LIST || v->kind == VAL_MAP) ? v->first : NULL; }
const val *val_next(const val *item) { return item ? item->next : NULL; }
const char *val_key(const val *item) { return item ? item->key : NULL; }
bool val_is_whole(const val *v) { return v && !v->incomplete; }
