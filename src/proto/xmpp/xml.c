/* xml: the tokenizer: one unit, in place, to a tree.
 *
 * What: a loop over the unit's bytes with an explicit stack of open elements. Why ours and not expat: numbers.md; and because what may
 * come is so little (RFC 6120 section 11) that all of it can be checked in one screen.
 *
 *      unit --> characters legal? --> '<' name attributes '>' --> names resolved, duplicates refused --> node in the arena
 *                                          ^      text, CDATA, references --> text node      |
 *                                          +-------------------------------------------------+
 *
 * Invariants: (1) nothing is read before xmpp_xml_check_chars has passed the whole unit. (2) p <= end, always; each step checks before it
 * reads. (3) frame[0..depth) are the open elements, bind[0..frame[depth-1].n_bind) the prefixes in force; the default namespace is in the
 * frame, so that redeclaring it costs no binding. (4) every slice of the tree lies in the unit, in the arena, or is a literal.
 * (5) a limit is checked before the thing that it limits is kept. */
#include "proto/xmpp/xml.h"

#include "base/utf8.h"
#include "proto/xmpp/ns.h"
#include "proto/xmpp/xml_scan.h"

#define POOL_BYTES 512u /* nodes are cut from blocks of the arena */

typedef struct frame {
    xmpp_node *node;
    slice qname;   /* as written: what the end tag must repeat */
    slice dflt;    /* default namespace in force inside */
    size_t n_bind; /* bindings in force inside */
} frame;

typedef struct parser {
    const uint8_t *p, *end;
    arena *a;
    uint8_t *pool; /* rest of the current block */
    size_t pool_left;
    size_t depth;
    size_t n_bind;  /* bindings in force, those of the scope included */
    unsigned space; /* XML_HAS_*: what of the unit may need normalising */
    frame frames[XMPP_XML_DEPTH_MAX];
    xmpp_binding bind[XMPP_XML_DECLS_MAX];
} parser;

/* One start tag while it is read. */
typedef struct tag {
    slice prefix, local, qname;
    xmpp_attr *attrs, **tail;
    size_t n_attrs;
    bool prefixed; /* some attribute has a prefix: names must be resolved */
    bool has_dflt; /* xmlns= was given */
    slice dflt;
    size_t first_bind; /* bindings from here on were declared by this tag */
} tag;

static inline bool is_class(uint8_t c, unsigned cls) { return (xmpp_xml_class[c] & cls) != 0; }

static inline void *pool_alloc(parser *ps, size_t size) {
    if (UNLIKELY(ps->pool_left < size)) {
        void *block = arena_alloc(ps->a, POOL_BYTES);
        if (!block) return arena_alloc(ps->a, size); /* the last bytes below the limit */
        ps->pool = block;
        ps->pool_left = POOL_BYTES;
    }
    void *n = ps->pool;
    ps->pool += size;
    ps->pool_left -= size;
    return n;
}

static inline bool at(const parser *ps, uint8_t c) { return ps->p < ps->end && *ps->p == c; }

static inline bool skip_space(parser *ps) {
    const uint8_t *start = ps->p;
    while (ps->p < ps->end && is_class(*ps->p, XML_C_SPACE)) ps->p++;
    return ps->p > start;
}

/* An NCName; out empty if there is none. */
static xmpp_stream_error read_ncname(parser *ps, slice *out) {
    const uint8_t *start = ps->p;
    while (ps->p < ps->end) {
        if (LIKELY(is_class(*ps->p, XML_C_NAME))) {
            ps->p++;
        } else if (is_class(*ps->p, XML_C_HIGH)) {
            uint32_t cp = 0;
            size_t n = utf8_decode(slice_of(ps->p, (size_t)(ps->end - ps->p)), &cp);
            if (n == 0 || !xmpp_xml_name_char(cp, ps->p == start)) return STREAM_NOT_WELL_FORMED;
            ps->p += n;
        } else {
            break;
        }
    }
    *out = slice_of(start, (size_t)(ps->p - start));
    if (out->len == 0 || (!is_class(*start, XML_C_START | XML_C_HIGH))) return STREAM_NOT_WELL_FORMED;
    return out->len <= XMPP_XML_NAME_MAX ? STREAM_OK : STREAM_POLICY_VIOLATION;
}

/* prefix (p NULL if none) ':' local. */
static inline xmpp_stream_error read_qname(parser *ps, slice *prefix, slice *local) {
    xmpp_stream_error e = read_ncname(ps, local);
    *prefix = SLICE_NULL;
    if (e != STREAM_OK || LIKELY(!at(ps, ':'))) return e;
    *prefix = *local;
    ps->p++;
    e = read_ncname(ps, local);
    if (e == STREAM_OK && prefix->len + 1 + local->len > XMPP_XML_NAME_MAX) e = STREAM_POLICY_VIOLATION;
    return e;
}

static xmpp_stream_error unescape(parser *ps, slice raw, bool attr, slice *out) {
    uint8_t *mem = arena_alloc(ps->a, raw.len + 1);
    size_t len = 0;
    if (!mem) return STREAM_RESOURCE_CONSTRAINT;
    xmpp_stream_error e = xmpp_xml_unescape(raw, attr, mem, &len);
    if (e == STREAM_OK) *out = slice_of(mem, len);
    return e;
}

static bool has_line_end(slice s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] < ' ') return true;
    return false;
}

/* '=' and a quoted value. */
static xmpp_stream_error read_value(parser *ps, slice *out) {
    if (!at(ps, '=')) {
        skip_space(ps);
        if (!at(ps, '=')) return STREAM_NOT_WELL_FORMED;
    }
    ps->p++;
    skip_space(ps);
    if (!at(ps, '\'') && !at(ps, '"')) return STREAM_NOT_WELL_FORMED;
    uint8_t q = *ps->p++;
    const uint8_t *start = ps->p;
    const uint8_t *stop = scan_value(start, ps->end, q);
    bool escaped = stop < ps->end && *stop == '&';
    if (UNLIKELY(escaped)) stop = scan_quote(stop, ps->end, q);
    if (stop == ps->end || *stop != q) return STREAM_NOT_WELL_FORMED; /* '<' in a value, or no end */
    ps->p = stop + 1;
    *out = slice_of(start, (size_t)(stop - start));
    if (UNLIKELY(escaped || (ps->space && has_line_end(*out)))) return unescape(ps, *out, true, out);
    return STREAM_OK;
}

static bool lookup(const parser *ps, slice prefix, slice *out) {
    if (slice_eq(prefix, SLICE("xml"))) {
        *out = SLICE(NS_XML);
        return true;
    }
    for (size_t i = ps->n_bind; i > 0; i--)
        if (slice_eq(ps->bind[i - 1].prefix, prefix)) {
            *out = ps->bind[i - 1].ns;
            return true;
        }
    return false; /* also "xmlns", which is never bound */
}

/* xmlns='ns' (prefix p NULL) or xmlns:prefix='ns'. Namespaces in XML 1.0, section 3: reserved prefixes and names. */
static xmpp_stream_error declare(parser *ps, tag *t, slice prefix, slice ns) {
    bool is_xml = slice_eq(prefix, SLICE("xml"));
    if (slice_eq(ns, SLICE(NS_XMLNS)) || is_xml != slice_eq(ns, SLICE(NS_XML))) return STREAM_NOT_WELL_FORMED;
    if (!prefix.p) {
        if (t->has_dflt) return STREAM_NOT_WELL_FORMED; /* the same attribute twice */
        t->has_dflt = true;
        t->dflt = ns;
        return STREAM_OK;
    }
    if (ns.len == 0 || slice_eq(prefix, SLICE("xmlns"))) return STREAM_NOT_WELL_FORMED;
    for (size_t i = t->first_bind; i < ps->n_bind; i++)
        if (slice_eq(ps->bind[i].prefix, prefix)) return STREAM_NOT_WELL_FORMED;
    if (ps->n_bind == XMPP_XML_DECLS_MAX) return STREAM_POLICY_VIOLATION;
    ps->bind[ps->n_bind++] = (xmpp_binding){prefix, ns};
    return STREAM_OK;
}

static xmpp_stream_error read_attr(parser *ps, tag *t) {
    slice prefix, local, value;
    xmpp_stream_error e = read_qname(ps, &prefix, &local);
    if (e == STREAM_OK) e = read_value(ps, &value);
    if (e != STREAM_OK) return e;
    if (local.len == 5 && !prefix.p && slice_eq(local, SLICE("xmlns"))) return declare(ps, t, SLICE_NULL, value);
    if (prefix.p && slice_eq(prefix, SLICE("xmlns"))) return declare(ps, t, local, value);
    if (t->n_attrs == XMPP_XML_ATTRS_MAX) return STREAM_POLICY_VIOLATION;
    xmpp_attr *attr = pool_alloc(ps, sizeof *attr);
    if (!attr) return STREAM_RESOURCE_CONSTRAINT;
    attr->ns = prefix; /* until resolve_attrs */
    attr->name = local;
    attr->value = value;
    t->prefixed |= prefix.p != NULL;
    *t->tail = attr;
    t->tail = &attr->next;
    t->n_attrs++;
    return STREAM_OK;
}

/* Prefixes to namespaces; then no two attributes may have the same name, however it was spelled. A 64-bit sketch of the names seen keeps
 * the comparison off the common path. */
static xmpp_stream_error resolve_attrs(parser *ps, tag *t) {
    if (t->prefixed)
        for (xmpp_attr *x = t->attrs; x; x = x->next)
            if (x->ns.p && !lookup(ps, x->ns, &x->ns)) return STREAM_NOT_WELL_FORMED;
    uint64_t seen = 0;
    for (xmpp_attr *x = t->attrs; x; x = x->next) {
        uint64_t bit = UINT64_C(1) << ((x->name.p[0] * 5u + x->name.p[x->name.len - 1] + x->name.len * 11u) & 63);
        if (UNLIKELY(seen & bit))
            for (xmpp_attr *y = t->attrs; y != x; y = y->next)
                if (slice_eq(x->name, y->name) && slice_eq(x->ns, y->ns)) return STREAM_NOT_WELL_FORMED;
        seen |= bit;
    }
    return STREAM_OK;
}

/* The start tag after its '<', up to and with '>' or '/>'. Pushes a frame. */
static xmpp_stream_error read_start(parser *ps, bool *out_empty) {
    tag t = {.first_bind = ps->n_bind};
    t.tail = &t.attrs;
    const uint8_t *name = ps->p;
    xmpp_stream_error e = read_qname(ps, &t.prefix, &t.local);
    if (e != STREAM_OK) return e;
    t.qname = slice_of(name, (size_t)(ps->p - name));
    for (;;) {
        bool spaced = skip_space(ps);
        if (ps->p == ps->end) return STREAM_NOT_WELL_FORMED;
        if (*ps->p == '>' || *ps->p == '/') break;
        if (!spaced) return STREAM_NOT_WELL_FORMED;
        e = read_attr(ps, &t);
        if (e != STREAM_OK) return e;
    }
    *out_empty = *ps->p == '/';
    if (*out_empty) ps->p++;
    if (!at(ps, '>')) return STREAM_NOT_WELL_FORMED;
    ps->p++;
    if (ps->depth == XMPP_XML_DEPTH_MAX) return STREAM_POLICY_VIOLATION;
    if (t.attrs && (e = resolve_attrs(ps, &t)) != STREAM_OK) return e;
    frame *up = ps->depth ? &ps->frames[ps->depth - 1] : NULL, *f = &ps->frames[ps->depth];
    slice dflt = t.has_dflt ? t.dflt : up ? up->dflt : ps->frames[0].dflt;
    xmpp_node *n = pool_alloc(ps, sizeof *n);
    if (!n) return STREAM_RESOURCE_CONSTRAINT;
    if (!t.prefix.p)
        n->ns = dflt;
    else if (!lookup(ps, t.prefix, &n->ns))
        return STREAM_NOT_WELL_FORMED;
    n->name = t.local;
    n->attrs = t.attrs;
    if (up) xmpp_xml_append(up->node, n);
    *f = (frame){n, t.qname, dflt, ps->n_bind};
    ps->depth++;
    return STREAM_OK;
}

static void pop(parser *ps) {
    ps->depth--;
    if (ps->depth) ps->n_bind = ps->frames[ps->depth - 1].n_bind;
}

/* The end tag after its '</': the name must be the one of the innermost open element, byte for byte. */
static xmpp_stream_error read_end(parser *ps) {
    slice want = ps->frames[ps->depth - 1].qname;
    if ((size_t)(ps->end - ps->p) <= want.len || memcmp(ps->p, want.p, want.len) != 0) return STREAM_NOT_WELL_FORMED;
    ps->p += want.len;
    if (UNLIKELY(*ps->p != '>')) skip_space(ps);
    if (!at(ps, '>')) return STREAM_NOT_WELL_FORMED;
    ps->p++;
    pop(ps);
    return STREAM_OK;
}

/* Where a run of character data with CDATA sections ends: the first '<' of a tag. */
static const uint8_t *run_end(const uint8_t *p, const uint8_t *end) {
    const slice open = SLICE("<![CDATA["), close = SLICE("]]>");
    for (;;) {
        p = scan_lt(p, end);
        if (!slice_starts(slice_of(p, (size_t)(end - p)), open)) return p;
        p += open.len;
        while (p < end && !slice_starts(slice_of(p, (size_t)(end - p)), close)) p++;
        if (p == end) return end;
        p += close.len;
    }
}

/* Text up to the next tag, as one node. The fast path is a run without reference, CDATA, '>' or line end: a slice of the unit. */
static xmpp_stream_error read_text(parser *ps) {
    const uint8_t *start = ps->p, *stop = scan_text(start, ps->end);
    if (stop < ps->end && LIKELY(*stop == '<') && !(ps->space & XML_HAS_CR) && !(ps->end - stop > 1 && stop[1] == '!')) {
        ps->p = stop;
        if (stop == start) return STREAM_OK;
        xmpp_node *n = pool_alloc(ps, sizeof *n);
        if (!n) return STREAM_RESOURCE_CONSTRAINT;
        n->text = slice_of(start, (size_t)(stop - start));
        xmpp_xml_append(ps->frames[ps->depth - 1].node, n);
        return STREAM_OK;
    }
    stop = run_end(start, ps->end);
    if (stop == ps->end) return STREAM_NOT_WELL_FORMED;
    ps->p = stop;
    slice text = SLICE_NULL;
    xmpp_stream_error e = unescape(ps, slice_of(start, (size_t)(stop - start)), false, &text);
    if (e != STREAM_OK || text.len == 0) return e;
    xmpp_node *n = pool_alloc(ps, sizeof *n);
    if (!n) return STREAM_RESOURCE_CONSTRAINT;
    n->text = text;
    xmpp_xml_append(ps->frames[ps->depth - 1].node, n);
    return STREAM_OK;
}

/* Everything after the root's start tag. */
static xmpp_stream_error read_content(parser *ps) {
    while (ps->depth > 0) {
        xmpp_stream_error e = read_text(ps);
        if (e != STREAM_OK) return e;
        ps->p++; /* read_text stops at '<' */
        bool empty = false;
        if (at(ps, '/')) {
            ps->p++;
            e = read_end(ps);
        } else if (UNLIKELY(at(ps, '!') || at(ps, '?'))) {
            return STREAM_RESTRICTED_XML; /* CDATA was taken by read_text */
        } else {
            e = read_start(ps, &empty);
            if (empty && e == STREAM_OK) pop(ps);
        }
        if (e != STREAM_OK) return e;
    }
    return STREAM_OK;
}

static xmpp_stream_error start(parser *ps, slice unit, const xmpp_scope *scope, arena *a) {
    ps->p = unit.p;
    ps->end = unit.p + unit.len;
    ps->a = a;
    ps->pool = NULL;
    ps->pool_left = ps->depth = ps->n_bind = 0;
    ps->frames[0].dflt = SLICE_NULL;
    if (unit.len == 0) return STREAM_NOT_WELL_FORMED;
    for (size_t i = 0; scope && i < scope->n; i++) {
        if (scope->b[i].prefix.len == 0)
            ps->frames[0].dflt = scope->b[i].ns;
        else if (ps->n_bind == XMPP_XML_DECLS_MAX)
            return STREAM_POLICY_VIOLATION;
        else
            ps->bind[ps->n_bind++] = scope->b[i];
    }
    return xmpp_xml_check_chars(unit, &ps->space);
}

xmpp_stream_error xmpp_xml_parse(slice unit, const xmpp_scope *scope, arena *a, xmpp_node **out_root) {
    parser ps;
    bool empty = false;
    xmpp_stream_error e = start(&ps, unit, scope, a);
    if (e != STREAM_OK) return e;
    if (!at(&ps, '<')) return STREAM_NOT_WELL_FORMED;
    ps.p++;
    if (at(&ps, '!') || at(&ps, '?')) return STREAM_RESTRICTED_XML;
    e = read_start(&ps, &empty);
    if (e != STREAM_OK) return e;
    xmpp_node *root = ps.frames[0].node;
    if (empty) pop(&ps);
    e = read_content(&ps);
    if (e != STREAM_OK) return e;
    if (ps.p != ps.end) return STREAM_NOT_WELL_FORMED; /* one element, nothing after it */
    *out_root = root;
    return STREAM_OK;
}

/* One pseudo-attribute of the XML declaration. */
static bool read_pseudo(parser *ps, slice *out_name, slice *out_value) {
    slice prefix;
    if (read_qname(ps, &prefix, out_name) != STREAM_OK || prefix.p) return false;
    return read_value(ps, out_value) == STREAM_OK;
}

static bool is_utf8_name(slice s) {
    static const char want[] = "utf-8";
    if (s.len != sizeof want - 1) return false;
    for (size_t i = 0; i < s.len; i++)
        if ((s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] | 0x20 : s.p[i]) != want[i]) return false;
    return true;
}

/* <?xml version='1.0' [encoding=..] [standalone=..]?>, in this order (XML 1.0, 2.8). */
static xmpp_stream_error read_decl(parser *ps) {
    static const char *const names[] = {"version", "encoding", "standalone"};
    size_t next = 0;
    ps->p += 5;
    for (;;) {
        bool spaced = skip_space(ps);
        if (at(ps, '?')) break;
        slice name, value;
        if (!spaced || !read_pseudo(ps, &name, &value)) return STREAM_NOT_WELL_FORMED;
        while (next < ARRAY_LEN(names) && !slice_is(name, names[next])) {
            if (next == 0) return STREAM_NOT_WELL_FORMED; /* the version must be there */
            next++;
        }
        if (next == ARRAY_LEN(names)) return STREAM_NOT_WELL_FORMED;
        if (next == 0 && !slice_is(value, "1.0")) return STREAM_NOT_WELL_FORMED;
        if (next == 1 && !is_utf8_name(value)) return STREAM_UNSUPPORTED_ENCODING;
        if (next == 2 && !slice_is(value, "yes") && !slice_is(value, "no")) return STREAM_NOT_WELL_FORMED;
        next++;
    }
    ps->p++;
    if (next == 0 || !at(ps, '>')) return STREAM_NOT_WELL_FORMED;
    ps->p++;
    return STREAM_OK;
}

xmpp_stream_error xmpp_xml_parse_open(slice unit, arena *a, xmpp_node **out_root, xmpp_scope *out_scope) {
    parser ps;
    bool empty = false;
    xmpp_stream_error e = start(&ps, unit, NULL, a);
    if (e != STREAM_OK) return e;
    if (slice_starts(unit, SLICE("<?xml")) && unit.len > 5 && is_class(unit.p[5], XML_C_SPACE)) {
        e = read_decl(&ps);
        if (e != STREAM_OK) return e;
        skip_space(&ps);
    }
    if (!at(&ps, '<')) return STREAM_NOT_WELL_FORMED;
    ps.p++;
    if (at(&ps, '!') || at(&ps, '?')) return STREAM_RESTRICTED_XML;
    e = read_start(&ps, &empty);
    if (e != STREAM_OK) return e;
    if (empty || ps.p != ps.end) return STREAM_NOT_WELL_FORMED;
    size_t n = ps.n_bind;
    xmpp_binding *b = arena_alloc(a, (n + 1) * sizeof *b);
    if (!b) return STREAM_RESOURCE_CONSTRAINT;
    if (n) memcpy(b, ps.bind, n * sizeof *b);
    if (ps.frames[0].dflt.p) b[n++] = (xmpp_binding){SLICE(""), ps.frames[0].dflt};
    *out_root = ps.frames[0].node;
    *out_scope = (xmpp_scope){b, n};
    return STREAM_OK;
}
