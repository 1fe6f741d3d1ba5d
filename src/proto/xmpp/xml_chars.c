/* xml_chars: which bytes and code points may stand where, and unescaping.
 *
 * What: the character rules of XML 1.0 (fifth edition: Char, NameStartChar, NameChar; 2.11 line ends; 3.3.3 attribute values; 4.1
 * references) over strict UTF-8. Why apart: the tokenizer deals in ASCII and slices; everything that looks at a code point is here.
 * Invariants: (1) a unit passes xmpp_xml_check_chars before anything else reads it, so that later code may trust its UTF-8. (2) what
 * unescaping makes is again only legal characters. (3) unescaping never grows: "&lt;" is the shortest escape of any character. */
#include "base/utf8.h"
#include "proto/xmpp/xml_scan.h"

enum { S = XML_C_SPACE, T = XML_C_SPACE | XML_C_ATTR, R = XML_C_SPACE | XML_C_ESC, N = XML_C_NAME, A = XML_C_NAME | XML_C_START };
enum { E = XML_C_ESC, Q = XML_C_ESC, H = XML_C_HIGH };

/* Control characters are E: the writer replaces them, for they can stand nowhere. */
const uint8_t xmpp_xml_class[256] = {
    E, E, E, E, E, E, E, E, E, T, T, E, E, R, E, E, /* 00: tab, newline, carriage return */
    E, E, E, E, E, E, E, E, E, E, E, E, E, E, E, E, /* 10 */
    S, 0, Q, 0, 0, 0, Q, Q, 0, 0, 0, 0, 0, N, N, 0, /* 20: " & ' - . */
    N, N, N, N, N, N, N, N, N, N, 0, 0, Q, 0, Q, 0, /* 30: digits < > */
    0, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, /* 40 */
    A, A, A, A, A, A, A, A, A, A, A, 0, 0, 0, 0, A, /* 50: _ */
    0, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, /* 60 */
    A, A, A, A, A, A, A, A, A, A, A, 0, 0, 0, 0, 0, /* 70 */
    H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, /* 80 */
    H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, /* 90 */
    H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, /* a0 */
    H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, /* b0 */
    H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, /* c0 */
    H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, /* d0 */
    H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, /* e0 */
    H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, H, /* f0 */
};

typedef struct range {
    uint32_t first, last;
} range;
/* XML 1.0 fifth edition, [4] NameStartChar and what [4a] NameChar adds, from U+0080 up. */
static const range name_start[] = {{0xC0, 0xD6},     {0xD8, 0xF6},     {0xF8, 0x2FF},    {0x370, 0x37D},
                                   {0x37F, 0x1FFF},  {0x200C, 0x200D}, {0x2070, 0x218F}, {0x2C00, 0x2FEF},
                                   {0x3001, 0xD7FF}, {0xF900, 0xFDCF}, {0xFDF0, 0xFFFD}, {0x10000, 0xEFFFF}};
static const range name_more[] = {{0xB7, 0xB7}, {0x300, 0x36F}, {0x203F, 0x2040}};

static bool in_ranges(const range *r, size_t n, uint32_t cp) {
    for (size_t i = 0; i < n; i++)
        if (cp >= r[i].first && cp <= r[i].last) return true;
    return false;
}

bool xmpp_xml_name_char(uint32_t cp, bool start) {
    return in_ranges(name_start, ARRAY_LEN(name_start), cp) || (!start && in_ranges(name_more, ARRAY_LEN(name_more), cp));
}

static bool is_char(uint32_t cp) {
    if (cp < 0x20) return cp == '\t' || cp == '\n' || cp == '\r';
    return cp <= 0xD7FF || (cp >= 0xE000 && cp <= 0xFFFD) || (cp >= 0x10000 && cp <= 0x10FFFF);
}

static inline bool is_cont(uint8_t c) { return (c & 0xC0) == 0x80; }

/* The length of the multi-byte character at p, 0 if it is not strict UTF-8 (RFC 3629: no overlong form, no surrogate, at most U+10FFFF). */
static inline size_t utf8_len(const uint8_t *p, size_t left) {
    uint8_t c = p[0];
    if (c < 0xC2) return 0;
    if (c < 0xE0) return left >= 2 && is_cont(p[1]) ? 2 : 0;
    if (c < 0xF0) {
        if (left < 3 || !is_cont(p[1]) || !is_cont(p[2])) return 0;
        if ((c == 0xE0 && p[1] < 0xA0) || (c == 0xED && p[1] > 0x9F)) return 0;
        return 3;
    }
    if (c > 0xF4 || left < 4 || !is_cont(p[1]) || !is_cont(p[2]) || !is_cont(p[3])) return 0;
    if ((c == 0xF0 && p[1] < 0x90) || (c == 0xF4 && p[1] > 0x8F)) return 0;
    return 4;
}

/* Top bits of the bytes of x that are not printable ASCII: from 0x80, or below 0x20. */
static inline uint64_t unusual(uint64_t x) { return (x | (x - SCAN_ONES * 0x20)) & SCAN_HIGH; }

xmpp_stream_error xmpp_xml_check_chars(slice s, unsigned *out_space) {
    const uint8_t *p = s.p, *end = s.p + s.len;
    unsigned space = 0;
    while (p < end) {
        while (end - p >= 32 &&
               !(unusual(load_u64le(p)) | unusual(load_u64le(p + 8)) | unusual(load_u64le(p + 16)) | unusual(load_u64le(p + 24))))
            p += 32;
        while (end - p >= 8 && !unusual(load_u64le(p))) p += 8;
        while (p < end && *p >= 0x20 && *p < 0x80) p++;
        while (p < end && *p >= 0x80) {
            size_t n = utf8_len(p, (size_t)(end - p));
            if (n == 0) return STREAM_UNSUPPORTED_ENCODING;
            if (p[0] == 0xEF && p[1] == 0xBF && p[2] >= 0xBE) return STREAM_NOT_WELL_FORMED; /* U+FFFE, U+FFFF */
            p += n;
        }
        while (p < end && *p < 0x20) {
            if (!is_char(*p)) return STREAM_NOT_WELL_FORMED;
            space |= *p == '\r' ? XML_HAS_CR : XML_HAS_TAB;
            p++;
        }
    }
    *out_space = space;
    return STREAM_OK;
}

/* The digits of a character reference, between "&#" and ";". */
static bool parse_charref(slice s, uint32_t *out_cp) {
    uint32_t base = 10, cp = 0;
    size_t i = 0;
    if (s.len > 0 && s.p[0] == 'x') {
        base = 16;
        i = 1;
    }
    if (i == s.len) return false;
    for (; i < s.len; i++) {
        uint8_t c = s.p[i], low = c | 0x20;
        uint32_t d = c >= '0' && c <= '9' ? (uint32_t)(c - '0') : low >= 'a' && low <= 'f' ? (uint32_t)(low - 'a' + 10) : 16;
        if (d >= base) return false;
        cp = cp * base + d;
        if (cp > 0x10FFFF) return false;
    }
    *out_cp = cp;
    return is_char(cp);
}

/* The reference at the front of s (at '&'). Writes its character to out. *out_used: bytes of s. */
static xmpp_stream_error unescape_ref(slice s, size_t *out_used, uint8_t *out, size_t *out_len) {
    static const struct {
        const char *name;
        uint8_t c;
    } five[] = {{"lt", '<'}, {"gt", '>'}, {"amp", '&'}, {"quot", '"'}, {"apos", '\''}};
    size_t semi = 1;
    while (semi < s.len && (xmpp_xml_class[s.p[semi]] & (XML_C_NAME | XML_C_HIGH) || s.p[semi] == '#')) semi++;
    if (semi == s.len || s.p[semi] != ';' || semi == 1) return STREAM_NOT_WELL_FORMED;
    slice name = slice_of(s.p + 1, semi - 1);
    *out_used = semi + 1;
    if (s.p[1] == '#') {
        uint32_t cp;
        if (!parse_charref(slice_from(name, 1), &cp)) return STREAM_NOT_WELL_FORMED;
        uint8_t four[4];
        *out_len = utf8_encode(cp, four);
        memcpy(out, four, *out_len);
        return STREAM_OK;
    }
    for (size_t i = 0; i < ARRAY_LEN(five); i++)
        if (slice_is(name, five[i].name)) {
            *out = five[i].c;
            *out_len = 1;
            return STREAM_OK;
        }
    return STREAM_RESTRICTED_XML;
}

/* Copies the content of a CDATA section, s standing after its "<![CDATA[", with line ends normalised. *out_used counts the "]]>". */
static bool unescape_cdata(slice s, size_t *out_used, uint8_t *out, size_t *out_len) {
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == ']' && slice_starts(slice_from(s, i), SLICE("]]>"))) {
            *out_used = i + 3;
            *out_len = n;
            return true;
        }
        if (s.p[i] != '\r')
            out[n++] = s.p[i];
        else if (i + 1 == s.len || s.p[i + 1] != '\n')
            out[n++] = '\n';
    }
    return false;
}

xmpp_stream_error xmpp_xml_unescape(slice s, bool attr, uint8_t *out, size_t *out_len) {
    size_t n = 0, i = 0;
    while (i < s.len) {
        uint8_t c = s.p[i];
        size_t used = 1, made = 1;
        if (c == '&') {
            xmpp_stream_error e = unescape_ref(slice_from(s, i), &used, out + n, &made);
            if (e != STREAM_OK) return e;
        } else if (c == '<') {
            if (attr || !slice_starts(slice_from(s, i), SLICE("<![CDATA["))) return STREAM_NOT_WELL_FORMED;
            if (!unescape_cdata(slice_from(s, i + 9), &used, out + n, &made)) return STREAM_NOT_WELL_FORMED;
            used += 9;
        } else if (c == '\r') {
            out[n] = attr ? ' ' : '\n';
            if (i + 1 < s.len && s.p[i + 1] == '\n') used = 2;
        } else if (attr && (c == '\n' || c == '\t')) {
            out[n] = ' ';
        } else if (!attr && c == '>' && i >= 2 && s.p[i - 1] == ']' && s.p[i - 2] == ']') {
            return STREAM_NOT_WELL_FORMED; /* "]]>" is for the end of a CDATA section (XML 1.0, 2.4) */
        } else {
            out[n] = c;
        }
        i += used;
        n += made;
    }
    *out_len = n;
    return STREAM_OK;
}
