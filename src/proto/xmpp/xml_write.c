/* xml_write: the canonical form of a tree.
 *
 * What: one spelling for each tree: single quotes, <a/> for an empty element, xmlns where an element's namespace differs from its parent's,
 * nsN for the namespace of an attribute, declared on the outermost element that needs it. Why: a stanza is never forwarded as the bytes
 * that came (promises.md, stanza smuggling): what goes out is what we understood.
 * Invariants: (1) parse(write(t)) == t. (2) write(parse(write(t))) == write(t). (3) at no place are more prefixes in force than the tree
 * has namespaces of attributes on the path to it, so that (1) holds under the limits of the tokenizer. (4) a character that XML cannot
 * carry is replaced by U+FFFD. Recursion is as deep as the tree: XMPP_XML_DEPTH_MAX for a parsed one. */
#include "proto/xmpp/ns.h"
#include "proto/xmpp/xml.h"
#include "proto/xmpp/xml_scan.h"

/* Prefixes in force: a list from the innermost outwards, on the stack of the recursion. */
typedef struct prefix prefix;
struct prefix {
    const prefix *up;
    slice ns;
    unsigned number; /* nsN; one more than up's */
};

static void escape_byte(buf *out, uint8_t c) {
    switch (c) {
    case '&': buf_add(out, SLICE("&amp;")); break;
    case '<': buf_add(out, SLICE("&lt;")); break;
    case '>': buf_add(out, SLICE("&gt;")); break;
    case '"': buf_add(out, SLICE("&quot;")); break;
    case '\'': buf_add(out, SLICE("&apos;")); break;
    case '\t': buf_add(out, SLICE("&#9;")); break;
    case '\n': buf_add(out, SLICE("&#10;")); break;
    case '\r': buf_add(out, SLICE("&#13;")); break;
    default: buf_add(out, SLICE("\xEF\xBF\xBD")); break;
    }
}

static void escape(buf *out, slice s, unsigned cls) {
    size_t done = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (LIKELY(!(xmpp_xml_class[s.p[i]] & cls))) continue;
        if (i > done) buf_add(out, slice_sub(s, done, i - done));
        escape_byte(out, s.p[i]);
        done = i + 1;
    }
    if (s.len > done) buf_add(out, slice_from(s, done));
}

void xmpp_xml_escape(buf *out, slice text) { escape(out, text, XML_C_ESC); }

static void write_value(buf *out, slice value) {
    buf_add(out, SLICE("='"));
    escape(out, value, XML_C_ESC | XML_C_ATTR);
    buf_add_byte(out, '\'');
}

void xmpp_xml_write_attr(buf *out, const char *name, slice value) {
    if (!value.p) return;
    buf_add_byte(out, ' ');
    buf_add_str(out, name);
    write_value(out, value);
}

static const prefix *find(const prefix *p, slice ns) {
    while (p && !slice_eq(p->ns, ns)) p = p->up;
    return p;
}

/* The XML namespace has one prefix and may not be declared as a default (Namespaces in XML 1.0, section 3). */
static bool is_xml(slice ns) { return ns.len == sizeof NS_XML - 1 && slice_eq(ns, SLICE(NS_XML)); }

static void write_name(buf *out, const xmpp_node *n) {
    if (is_xml(n->ns)) buf_add(out, SLICE("xml:"));
    buf_add(out, n->name);
}

static void write_node(buf *out, const xmpp_node *n, slice dflt, const prefix *scope);

/* The rest of a start tag after its name and xmlns, then the content, in which dflt is in force. Recurses once per namespace that is
 * declared here: each declaration lives in its own stack frame for as long as the content is written. */
static void write_rest(buf *out, const xmpp_node *n, slice dflt, const prefix *scope) {
    for (const xmpp_attr *x = n->attrs; x; x = x->next) {
        if (x->ns.len == 0 || is_xml(x->ns) || find(scope, x->ns)) continue;
        prefix more = {scope, x->ns, scope ? scope->number + 1 : 1};
        buf_addf(out, " xmlns:ns%u", more.number);
        write_value(out, x->ns);
        write_rest(out, n, dflt, &more);
        return;
    }
    for (const xmpp_attr *x = n->attrs; x; x = x->next) {
        buf_add_byte(out, ' ');
        if (x->ns.len != 0) {
            const prefix *p = find(scope, x->ns);
            if (p)
                buf_addf(out, "ns%u:", p->number);
            else
                buf_add(out, SLICE("xml:"));
        }
        buf_add(out, x->name);
        write_value(out, x->value);
    }
    if (!n->child) {
        buf_add(out, SLICE("/>"));
        return;
    }
    buf_add_byte(out, '>');
    for (const xmpp_node *x = n->child; x; x = x->next) write_node(out, x, dflt, scope);
    buf_add(out, SLICE("</"));
    write_name(out, n);
    buf_add_byte(out, '>');
}

static void write_node(buf *out, const xmpp_node *n, slice dflt, const prefix *scope) {
    if (!n->name.p) {
        escape(out, n->text, XML_C_ESC);
        return;
    }
    buf_add_byte(out, '<');
    write_name(out, n);
    if (!slice_eq(n->ns, dflt) && !is_xml(n->ns)) {
        buf_add(out, SLICE(" xmlns"));
        write_value(out, n->ns);
        dflt = n->ns;
    }
    write_rest(out, n, dflt, scope);
}

void xmpp_xml_write(buf *out, const xmpp_node *n, slice parent_ns) { write_node(out, n, parent_ns, NULL); }

void xmpp_xml_write_children(buf *out, const xmpp_node *n) {
    for (const xmpp_node *x = n->child; x; x = x->next) write_node(out, x, n->ns, NULL);
}
