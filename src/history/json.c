/* json: one pass over the line. Unescaped text goes into a buffer of at least the line's length (an escape is never shorter than what it
 * stands for), which is reserved at once, so that slices into it stay. */
#include "history/json.h"

#include "base/codec.h"
#include "base/cursor.h"
#include "base/utf8.h"

static err bad(history_json *j, const char *why) {
    j->why = why;
    return ERR_INVALID;
}

static bool at(const cursor *c, uint8_t want) { return cursor_left(c) && *c->p == want; }

static bool take(cursor *c, uint8_t want) {
    uint8_t b;
    return at(c, want) && cursor_u8(c, &b);
}

static void space(cursor *c) {
    while (take(c, ' ') || take(c, '\t') || take(c, '\r') || take(c, '\n')) {
    }
}

static bool hex4(cursor *c, uint32_t *out) {
    slice digits;
    uint32_t v = 0;
    if (!cursor_bytes(c, 4, &digits)) return false;
    for (size_t i = 0; i < 4; i++) {
        uint8_t d = digits.p[i];
        bool dec = d >= '0' && d <= '9', low = d >= 'a' && d <= 'f', high = d >= 'A' && d <= 'F';
        if (!dec && !low && !high) return false;
        v = v << 4 | (uint32_t)(dec ? d - '0' : low ? d - 'a' + 10 : d - 'A' + 10);
    }
    *out = v;
    return true;
}

/* After \u. A pair of surrogates is one character; half a one is an error. */
static bool unicode(cursor *c, buf *text) {
    uint32_t cp, low;
    uint8_t bytes[4];
    if (!hex4(c, &cp)) return false;
    if (cp >= 0xd800 && cp < 0xdc00) {
        if (!take(c, '\\') || !take(c, 'u') || !hex4(c, &low) || low < 0xdc00 || low > 0xdfff) return false;
        cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
    }
    size_t n = utf8_encode(cp, bytes);
    buf_add(text, slice_of(bytes, n));
    return n > 0;
}

static bool escape(cursor *c, buf *text) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    uint8_t e;
    if (!cursor_u8(c, &e)) return false;
    if (e == 'u') return unicode(c, text);
    const char *k = e ? strchr(from, e) : NULL;
    if (k) buf_add_byte(text, (uint8_t)to[k - from]);
    return k != NULL;
}

static err string(cursor *c, buf *text, history_json *j, slice *out) {
    size_t from = text->len;
    uint8_t b = 0;
    if (!take(c, '"')) return bad(j, "a string was expected");
    while (cursor_u8(c, &b) && b != '"') {
        if (b < 0x20) return bad(j, "a control byte in a string");
        if (b != '\\')
            buf_add_byte(text, b);
        else if (!escape(c, text))
            return bad(j, "a wrong escape in a string");
    }
    if (b != '"') return bad(j, "it ends inside a string");
    *out = slice_of(text->p + from, text->len - from);
    return utf8_valid(*out) ? ERR_OK : bad(j, "a string is not UTF-8");
}

static bool is_word(uint8_t b) {
    return (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') || b == '-' || b == '+' || b == '.';
}

static bool digits(cursor *c) {
    const uint8_t *from = c->p;
    while (cursor_left(c) && *c->p >= '0' && *c->p <= '9') c->p++;
    return c->p > from;
}

static bool is_number(slice s) {
    cursor c = cursor_of(s);
    (void)take(&c, '-'); /* may be there */
    if (!take(&c, '0') && !digits(&c)) return false;
    if (take(&c, '.') && !digits(&c)) return false;
    if (take(&c, 'e') || take(&c, 'E')) {
        if (!take(&c, '-')) (void)take(&c, '+'); /* either, or none */
        if (!digits(&c)) return false;
    }
    return cursor_left(&c) == 0;
}

static err value(cursor *c, buf *text, history_json *j, history_json_member *m) {
    if (at(c, '"')) {
        m->kind = HISTORY_JSON_STRING;
        return string(c, text, j, &m->value);
    }
    if (at(c, '{') || at(c, '[')) return bad(j, "a value inside a value: only strings, numbers, true, false and null are read");
    const uint8_t *from = c->p;
    while (cursor_left(c) && is_word(*c->p)) c->p++;
    m->value = slice_of(from, (size_t)(c->p - from));
    if (slice_is(m->value, "true"))
        m->kind = HISTORY_JSON_TRUE;
    else if (slice_is(m->value, "false"))
        m->kind = HISTORY_JSON_FALSE;
    else if (slice_is(m->value, "null"))
        m->kind = HISTORY_JSON_NULL;
    else if (is_number(m->value))
        m->kind = HISTORY_JSON_NUMBER;
    else
        return bad(j, "a value was expected");
    return ERR_OK;
}

static err member(cursor *c, buf *text, history_json *j) {
    history_json_member m = {.kind = HISTORY_JSON_NULL};
    err e = string(c, text, j, &m.name);
    if (e) return e;
    for (size_t i = 0; i < j->n; i++)
        if (slice_eq(j->m[i].name, m.name)) return bad(j, "a name comes twice");
    if (j->n == HISTORY_JSON_MEMBERS_MAX) {
        j->why = "too many members";
        return ERR_LIMIT;
    }
    space(c);
    if (!take(c, ':')) return bad(j, "a colon was expected");
    space(c);
    e = value(c, text, j, &m);
    if (!e) j->m[j->n++] = m;
    space(c);
    return e;
}

err history_json_parse(slice line, buf *text, history_json *out) {
    cursor c = cursor_of(line);
    *out = (history_json){0};
    buf_reset(text);
    if (!buf_reserve(text, line.len + 1)) {
        out->why = "too long";
        return ERR_LIMIT;
    }
    space(&c);
    if (!take(&c, '{')) return bad(out, "not a JSON object");
    space(&c);
    if (!at(&c, '}')) {
        do {
            space(&c);
            err e = member(&c, text, out);
            if (e) return e;
        } while (take(&c, ','));
    }
    if (!take(&c, '}')) return bad(out, cursor_left(&c) ? "a comma or the end of the object was expected" : "it ends inside the object");
    space(&c);
    return cursor_left(&c) ? bad(out, "something comes after the object") : ERR_OK;
}

const history_json_member *history_json_get(const history_json *j, const char *name) {
    for (size_t i = 0; i < j->n; i++)
        if (slice_is(j->m[i].name, name)) return &j->m[i];
    return NULL;
}

void history_json_string(buf *out, slice s) {
    buf_add_byte(out, '"');
    while (s.len) {
        uint32_t cp = 0;
        size_t n = utf8_decode(s, &cp);
        if (n == 0)
            buf_add_str(out, "\xef\xbf\xbd");
        else if (cp == '"' || cp == '\\')
            buf_addf(out, "\\%c", (char)cp);
        else if (cp < 0x20)
            buf_addf(out, "\\u%04x", (unsigned)cp);
        else
            buf_add(out, slice_sub(s, 0, n));
        s = slice_from(s, n ? n : 1);
    }
    buf_add_byte(out, '"');
}
