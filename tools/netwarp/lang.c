/* lang: statements from text. Two tables hold the language: the settings (key, kind of value, range, place) and the verbs (what may follow
 * each); the parser below is the same for all of them, so that a word means the same thing everywhere. */
#include "lang.h"

#include "base/codec.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef enum kind { KIND_TIME, KIND_SIZE, KIND_RATE, KIND_CHANCE, KIND_SPREAD } kind;

typedef struct setting {
    const char *name;
    kind kind;
    size_t at;    /* offset in warp_set */
    uint64_t min; /* of sizes */
    uint64_t max;
} setting;

#define AT(field) offsetof(warp_set, field)
static const setting SETTINGS[] = {
    {"delay", KIND_TIME, AT(delay), 0, 0},
    {"jitter", KIND_TIME, AT(jitter), 0, 0},
    {"spread", KIND_SPREAD, AT(spread), 0, 0},
    {"loss", KIND_CHANCE, AT(loss), 0, 0},
    {"rto", KIND_TIME, AT(rto), 0, 0},
    {"rto-max", KIND_TIME, AT(rto_max), 0, 0},
    {"duplicate", KIND_CHANCE, AT(duplicate), 0, 0},
    {"reorder", KIND_CHANCE, AT(reorder), 0, 0},
    {"gap", KIND_TIME, AT(gap), 0, 0},
    {"rate", KIND_RATE, AT(rate), 0, UINT64_C(1) << 40},
    {"burst", KIND_SIZE, AT(burst), 1, WARP_QUEUE_MAX},
    {"queue", KIND_SIZE, AT(queue), 1, WARP_QUEUE_MAX},
    {"segment", KIND_SIZE, AT(segment), 1, WARP_QUEUE_MAX},
    {"chunk", KIND_SIZE, AT(chunk), 0, WARP_QUEUE_MAX},
    {"pace", KIND_TIME, AT(pace), 0, 0},
    {"flip", KIND_CHANCE, AT(flip), 0, 0},
};
static const char *const SPREADS[] = {"uniform", "normal", "pareto"};

/* What may follow a verb. */
enum { HAS_DIR = 1, HAS_CONN = 2, HAS_FOR = 4, HAS_COUNT = 8, HAS_SIDE = 16, HAS_TIME = 32, HAS_SETTINGS = 64, ONLY_NOW = 128 };
static const struct {
    const char *name;
    verb verb;
    unsigned has;
} VERBS[] = {
    {"set", VERB_SET, HAS_DIR | HAS_SETTINGS},
    {"clear", VERB_CLEAR, HAS_DIR},
    {"cut", VERB_CUT, HAS_DIR | HAS_CONN | HAS_FOR},
    {"half-open", VERB_HALF_OPEN, HAS_DIR | HAS_CONN | HAS_FOR},
    {"heal", VERB_HEAL, HAS_DIR | HAS_CONN},
    {"reset", VERB_RESET, HAS_SIDE | HAS_CONN},
    {"flip", VERB_FLIP, HAS_DIR | HAS_CONN | HAS_COUNT},
    {"refuse", VERB_REFUSE, HAS_FOR},
    {"slow-accept", VERB_SLOW, HAS_TIME},
    {"stats", VERB_STATS, ONLY_NOW},
    {"conns", VERB_CONNS, ONLY_NOW},
    {"watch", VERB_WATCH, ONLY_NOW},
};

typedef struct parser {
    slice rest; /* what is not read yet */
    char *why;  /* the sentence, once something is wrong */
} parser;

/* word: what is wrong, quoted in front of the text; SLICE_NULL: the text says it alone. */
static err wrong(parser *p, slice word, const char *text) {
    size_t n = word.len < 60 ? word.len : 60;
    if (!word.p)
        (void)snprintf(p->why, LANG_WHY_MAX, "%s", text);
    else if (n == 0)
        (void)snprintf(p->why, LANG_WHY_MAX, "nothing %s", text);
    else
        (void)snprintf(p->why, LANG_WHY_MAX, "'" SLICE_FMT "' %s", SLICE_ARG(slice_sub(word, 0, n)), text);
    return ERR_INVALID;
}

static bool blank(uint8_t c) { return c == ' ' || c == '\t' || c == '\r'; }

static slice peek(const parser *p) {
    slice s = p->rest;
    while (s.len > 0 && blank(s.p[0])) s = slice_from(s, 1);
    size_t n = 0;
    while (n < s.len && !blank(s.p[n])) n++;
    return slice_sub(s, 0, n);
}

static slice word(parser *p) {
    slice w = peek(p);
    if (w.len > 0) p->rest = slice_from(p->rest, (size_t)(w.p + w.len - p->rest.p));
    return w;
}

static bool take(parser *p, const char *expected) {
    if (!slice_is(peek(p), expected)) return false;
    (void)word(p); /* it is known */
    return true;
}

/* A number with digits and at most one point, then a unit: splits them. */
static bool number(slice s, double *out, slice *out_unit) {
    size_t n = 0, points = 0;
    while (n < s.len && ((s.p[n] >= '0' && s.p[n] <= '9') || s.p[n] == '.')) points += s.p[n++] == '.';
    if (n == 0 || n > 20 || points > 1 || s.p[0] == '.' || s.p[n - 1] == '.') return false;
    char text[24];
    memcpy(text, s.p, n);
    text[n] = 0;
    *out = strtod(text, NULL);
    *out_unit = slice_from(s, n);
    return true;
}

err lang_time(slice s, usec *out) {
    static const struct {
        const char *name;
        double usec;
    } UNITS[] = {{"us", 1}, {"ms", 1e3}, {"s", 1e6}, {"m", 60e6}, {"h", 3600e6}};
    double x;
    slice unit;
    if (!number(s, &x, &unit)) return ERR_INVALID;
    double scale = unit.len == 0 && x <= 0 ? 1 : 0; /* "0" needs no unit, anything else does: 50 could be anything */
    for (size_t i = 0; i < ARRAY_LEN(UNITS); i++)
        if (slice_is(unit, UNITS[i].name)) scale = UNITS[i].usec;
    if (scale <= 0 || x * scale > (double)WARP_TIME_MAX) return ERR_INVALID;
    *out = (usec)llround(x * scale);
    return ERR_OK;
}

/* Bytes: digits and k, M or G (1024, its square, its cube). */
static err size(slice s, uint64_t min, uint64_t max, uint64_t *out) {
    uint64_t n, shift = 0;
    if (s.len > 1) {
        uint8_t unit = s.p[s.len - 1];
        shift = unit == 'k' ? 10 : unit == 'M' ? 20 : unit == 'G' ? 30 : 0;
        if (shift) s = slice_sub(s, 0, s.len - 1);
    }
    err e = dec_parse_u64(s, max >> shift, &n);
    if (e) return e;
    if (n << shift < min) return ERR_INVALID;
    *out = n << shift;
    return ERR_OK;
}

/* "5%", "0.05" or "1e-6". */
static err chance(slice s, double *out) {
    char text[32], *end;
    if (s.len == 0 || s.len >= sizeof text || !((s.p[0] >= '0' && s.p[0] <= '9') || s.p[0] == '.')) return ERR_INVALID;
    for (size_t i = 0; i < s.len; i++) /* strtod knows hexadecimal, infinity and more */
        if (!memchr("0123456789.eE-%", s.p[i], 15)) return ERR_INVALID;
    memcpy(text, s.p, s.len);
    text[s.len] = 0;
    double x = strtod(text, &end);
    if (*end == '%' && end[1] == 0) {
        x /= 100;
        end++;
    }
    if (*end || !(x >= 0 && x <= 1)) return ERR_INVALID;
    *out = x;
    return ERR_OK;
}

static err value(parser *p, const setting *k, slice v, warp_change *out) {
    usec t;
    switch (k->kind) {
    case KIND_TIME:
        if (lang_time(v, &t)) return wrong(p, v, "is not a time: a number and us, ms, s, m or h, at most 24h");
        out->to.u = (uint64_t)t;
        return ERR_OK;
    case KIND_RATE:
    case KIND_SIZE: {
        slice n = k->kind == KIND_RATE && v.len > 2 && slice_is(slice_from(v, v.len - 2), "/s") ? slice_sub(v, 0, v.len - 2) : v;
        if (size(n, k->min, k->max, &out->to.u))
            return wrong(p, v, "is not a number of bytes in range: digits, and k, M or G for powers of 1024");
        return ERR_OK;
    }
    case KIND_CHANCE:
        if (chance(v, &out->to.x)) return wrong(p, v, "is not a chance: 0 to 1, or 0% to 100%");
        return ERR_OK;
    case KIND_SPREAD:
        for (size_t i = 0; i < ARRAY_LEN(SPREADS); i++)
            if (slice_is(v, SPREADS[i])) {
                out->to.u = i;
                return ERR_OK;
            }
        return wrong(p, v, "is not a spread: uniform, normal or pareto");
    }
    return ERR_BUG;
}

static uint8_t key_of(slice name) {
    uint8_t k = 0;
    while (k < ARRAY_LEN(SETTINGS) && !slice_is(name, SETTINGS[k].name)) k++;
    return k;
}

static err settings(parser *p, action *a) {
    while (peek(p).len > 0) {
        if (a->changes == WARP_SET_MAX) return wrong(p, peek(p), "is one setting too many");
        slice name = word(p);
        warp_change *c = &a->change[a->changes];
        c->key = key_of(name);
        if (c->key == ARRAY_LEN(SETTINGS)) return wrong(p, name, "is not a setting");
        slice v = word(p);
        if (v.len == 0) return wrong(p, name, "needs a value");
        err e = value(p, &SETTINGS[c->key], v, c);
        if (e) return e;
        a->changes++;
        /* `jitter 10ms pareto` says the spread at once. */
        for (size_t i = 0; slice_is(name, "jitter") && i < ARRAY_LEN(SPREADS) && a->changes < WARP_SET_MAX; i++)
            if (take(p, SPREADS[i])) {
                a->change[a->changes].key = key_of(SLICE("spread"));
                a->change[a->changes++].to.u = i;
                break;
            }
    }
    return a->changes ? ERR_OK : wrong(p, SLICE("set"), "needs at least one setting");
}

static void direction(parser *p, unsigned *dirs) {
    if (take(p, "c2s"))
        *dirs = DIR_BIT(C2S);
    else if (take(p, "s2c"))
        *dirs = DIR_BIT(S2C);
    else if (take(p, "both"))
        *dirs = DIR_BOTH;
}

static err time_after(parser *p, usec min, usec *out) {
    slice w = word(p);
    usec t;
    if (lang_time(w, &t)) return wrong(p, w, "is not a time: a number and us, ms, s, m or h, at most 24h");
    if (t < min) return wrong(p, w, "is too short here");
    *out = t;
    return ERR_OK;
}

/* What follows a verb, in any order but the settings. */
static err rest(parser *p, unsigned has, action *a) {
    err e = ERR_OK;
    a->dirs = DIR_BOTH;
    if (has & HAS_DIR) direction(p, &a->dirs);
    if (has & HAS_SIDE) {
        if (take(p, "client"))
            a->dirs = DIR_BIT(S2C);
        else if (take(p, "server"))
            a->dirs = DIR_BIT(C2S);
        else
            (void)take(p, "both"); /* what it means without a word */
    }
    if (has & HAS_TIME) e = time_after(p, 0, &a->lasts);
    if (!e && has & HAS_SETTINGS) e = settings(p, a);
    while (!e && peek(p).len > 0) {
        slice w = word(p);
        if (has & HAS_CONN && slice_is(w, "conn")) {
            slice n = word(p);
            if (dec_parse_u64(n, UINT64_MAX, &a->conn) || a->conn == 0) e = wrong(p, n, "is not the number of a connection");
        } else if (has & HAS_FOR && slice_is(w, "for"))
            e = time_after(p, 1, &a->lasts);
        else if (has & HAS_COUNT && w.p[0] >= '0' && w.p[0] <= '9') {
            if (size(w, 1, WARP_QUEUE_MAX, &a->count)) e = wrong(p, w, "is not a number of bytes");
        } else
            e = wrong(p, w, "is not expected here");
    }
    return e;
}

static err condition(parser *p, stmt *s) {
    err e = ERR_OK;
    if (take(p, "at")) {
        s->when = WHEN_AT;
        return time_after(p, 0, &s->from);
    }
    if (take(p, "every")) {
        s->when = WHEN_EVERY;
        slice w = peek(p), both = w;
        for (size_t i = 0; i + 1 < w.len; i++)
            if (w.p[i] == '.' && w.p[i + 1] == '.') {
                both = word(p);
                if (lang_time(slice_sub(w, 0, i), &s->from) || lang_time(slice_from(w, i + 2), &s->to))
                    return wrong(p, both, "is not a range of times");
                break;
            }
        if (s->to == 0) {
            e = time_after(p, USEC_PER_MSEC, &s->from);
            s->to = s->from;
        }
        if (!e && (s->from < USEC_PER_MSEC || s->to < s->from)) e = wrong(p, both, "is not a range of times from 1ms upward");
        return e;
    }
    if (take(p, "after")) {
        s->when = WHEN_AFTER;
        s->dirs = DIR_BOTH;
        slice n = word(p);
        if (size(n, 0, UINT64_C(1) << 60, &s->bytes)) return wrong(p, n, "is not a number of bytes");
        if (!take(p, "bytes") && !take(p, "byte")) return wrong(p, peek(p), "stands where 'bytes' is expected");
        direction(p, &s->dirs);
    }
    return e;
}

err lang_parse(slice line, stmt *out, char *why) {
    parser p = {line, why};
    stmt s = {.when = WHEN_NOW, .act.count = 1};
    if (line.len > WARP_LINE_MAX) return wrong(&p, slice_sub(line, 0, 20), "begins a statement that is too long");
    err e = condition(&p, &s);
    if (e) return e;
    slice name = word(&p);
    if (name.len == 0) return wrong(&p, SLICE_NULL, "an action is missing");
    for (size_t i = 0; i < ARRAY_LEN(VERBS); i++) {
        if (!slice_is(name, VERBS[i].name)) continue;
        if (VERBS[i].has & ONLY_NOW && s.when != WHEN_NOW) return wrong(&p, name, "has no meaning in a schedule");
        s.act.verb = VERBS[i].verb;
        slice first = peek(&p);
        bool had_dir = slice_is(first, "c2s") || slice_is(first, "s2c") || slice_is(first, "both");
        e = rest(&p, VERBS[i].has, &s.act);
        if (e) return e;
        if (s.when == WHEN_AFTER && s.act.verb == VERB_FLIP && !had_dir) s.act.dirs = 0;
        if (s.when == WHEN_AFTER && s.act.conn) return wrong(&p, name, "after bytes is about the connection that counted them");
        *out = s;
        return ERR_OK;
    }
    return wrong(&p, name, "is not an action");
}

bool lang_next(slice *text, slice *out, unsigned *line) {
    while (text->len > 0) {
        size_t n = 0;
        while (n < text->len && text->p[n] != '\n' && text->p[n] != ';' && text->p[n] != '#') n++;
        slice s = slice_sub(*text, 0, n);
        if (n < text->len && text->p[n] == '#') n += slice_find(slice_from(*text, n), '\n');
        bool newline = n < text->len && text->p[n] == '\n';
        *text = slice_from(*text, n + 1);
        while (s.len > 0 && blank(s.p[0])) s = slice_from(s, 1);
        if (s.len > 0) {
            *out = s;
            if (newline) *line += 1;
            return true;
        }
        if (newline) *line += 1;
    }
    return false;
}

void lang_apply(const action *a, warp_set *s) {
    if (a->verb == VERB_CLEAR) warp_set_defaults(s);
    for (size_t i = 0; i < a->changes; i++) {
        const setting *k = &SETTINGS[a->change[i].key];
        void *to = (char *)s + k->at;
        spread sp = (spread)a->change[i].to.u;
        usec t = (usec)a->change[i].to.u;
        switch (k->kind) {
        case KIND_TIME: memcpy(to, &t, sizeof t); break;
        case KIND_SIZE:
        case KIND_RATE: memcpy(to, &a->change[i].to.u, sizeof(uint64_t)); break;
        case KIND_CHANCE: memcpy(to, &a->change[i].to.x, sizeof(double)); break;
        case KIND_SPREAD: memcpy(to, &sp, sizeof sp); break;
        }
    }
}

void lang_settings_json(const warp_set *s, buf *out) {
    for (size_t i = 0; i < ARRAY_LEN(SETTINGS); i++) {
        const void *at = (const char *)s + SETTINGS[i].at;
        uint64_t u;
        double x;
        buf_addf(out, "%s\"%s\":", i ? "," : "{", SETTINGS[i].name);
        switch (SETTINGS[i].kind) {
        case KIND_TIME:
        case KIND_SIZE:
        case KIND_RATE: memcpy(&u, at, sizeof u), buf_addf(out, "%llu", (unsigned long long)u); break;
        case KIND_CHANCE: memcpy(&x, at, sizeof x), buf_addf(out, "%.9g", x); break;
        case KIND_SPREAD: buf_addf(out, "\"%s\"", SPREADS[s->spread]); break;
        }
    }
    buf_add_str(out, "}");
}

const char *lang_verb_name(verb v) { return VERBS[v].name; }
