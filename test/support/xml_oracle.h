#ifndef TEST_SUPPORT_XML_ORACLE_H
#define TEST_SUPPORT_XML_ORACLE_H
/* xml_oracle: the same dump of a document from our tree, from expat and from libxml2, so that three parsers can be compared byte by byte:
 * "(ns|name" "@ns|name=value" (sorted) "-text" ")" lines. Text that is adjacent is one line. In a header, because fuzz targets and unit
 * tests link differently. */
#include "base/buf.h"
#include "proto/xmpp/xml.h"

#include <expat.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <stdlib.h>

typedef struct dump_attr {
    slice ns, name, value;
} dump_attr;

static inline int dump_cmp(const void *a, const void *b) {
    const dump_attr *x = a, *y = b;
    int c = slice_cmp(x->ns, y->ns);
    return c ? c : slice_cmp(x->name, y->name);
}
static inline void dump_name(buf *out, char mark, slice ns, slice name) {
    buf_add_byte(out, (uint8_t)mark);
    buf_add(out, ns);
    buf_add_byte(out, '|');
    buf_add(out, name);
}
static inline void dump_attrs(buf *out, dump_attr *a, size_t n) {
    qsort(a, n, sizeof *a, dump_cmp);
    for (size_t i = 0; i < n; i++) {
        dump_name(out, '@', a[i].ns, a[i].name);
        buf_add_byte(out, '=');
        buf_add(out, a[i].value);
        buf_add_byte(out, '\n');
    }
}

/* --- ours */
static inline void dump_tree(buf *out, const xmpp_node *n) {
    if (!n->name.p) {
        buf_add_byte(out, '-');
        buf_add(out, n->text);
        buf_add_byte(out, '\n');
        return;
    }
    dump_name(out, '(', n->ns, n->name);
    buf_add_byte(out, '\n');
    dump_attr a[XMPP_XML_ATTRS_MAX];
    size_t count = 0;
    for (const xmpp_attr *x = n->attrs; x; x = x->next) a[count++] = (dump_attr){x->ns, x->name, x->value};
    dump_attrs(out, a, count);
    for (const xmpp_node *c = n->child; c; c = c->next) dump_tree(out, c);
    buf_add_str(out, ")\n");
}

/* --- expat */
#define ORACLE_SEP '\001' /* between namespace and name; legal in neither */
typedef struct oracle_expat {
    XML_Parser p;
    buf *out;
    bool in_text;
} oracle_expat;

static inline void expat_end_text(oracle_expat *o) {
    if (o->in_text) buf_add_byte(o->out, '\n');
    o->in_text = false;
}
static inline slice expat_split(const char *full, slice *out_ns) {
    slice s = slice_str(full);
    size_t at = slice_find(s, ORACLE_SEP);
    *out_ns = at < s.len ? slice_sub(s, 0, at) : SLICE("");
    return at < s.len ? slice_from(s, at + 1) : s;
}
static inline void expat_start(void *arg, const XML_Char *name, const XML_Char **atts) {
    oracle_expat *o = arg;
    dump_attr a[1024];
    size_t n = 0;
    slice ns, local = expat_split(name, &ns);
    expat_end_text(o);
    dump_name(o->out, '(', ns, local);
    buf_add_byte(o->out, '\n');
    for (; atts[0] && n < ARRAY_LEN(a); atts += 2, n++) {
        a[n].name = expat_split(atts[0], &a[n].ns);
        a[n].value = slice_str(atts[1]);
    }
    dump_attrs(o->out, a, n);
}
static inline void expat_end(void *arg, const XML_Char *name) {
    (void)name;
    oracle_expat *o = arg;
    expat_end_text(o);
    buf_add_str(o->out, ")\n");
}
static inline void expat_text(void *arg, const XML_Char *s, int len) {
    oracle_expat *o = arg;
    if (!o->in_text) buf_add_byte(o->out, '-');
    o->in_text = true;
    buf_add(o->out, slice_of(s, (size_t)len));
}
/* true if expat accepts the whole document. */
static inline bool dump_expat(buf *out, slice doc) {
    oracle_expat o = {XML_ParserCreateNS("UTF-8", ORACLE_SEP), out, false};
    XML_SetUserData(o.p, &o);
    XML_SetElementHandler(o.p, expat_start, expat_end);
    XML_SetCharacterDataHandler(o.p, expat_text);
    bool ok = XML_Parse(o.p, (const char *)doc.p, (int)doc.len, 1) == XML_STATUS_OK;
    XML_ParserFree(o.p);
    return ok;
}

/* --- libxml2 */
static inline slice libxml_ns(const xmlNs *ns) { return ns ? slice_str((const char *)ns->href) : SLICE(""); }
static inline void dump_libxml_node(buf *out, const xmlNode *n) {
    dump_attr a[1024];
    size_t count = 0;
    dump_name(out, '(', libxml_ns(n->ns), slice_str((const char *)n->name));
    buf_add_byte(out, '\n');
    for (const xmlAttr *x = n->properties; x && count < ARRAY_LEN(a); x = x->next, count++)
        a[count] = (dump_attr){libxml_ns(x->ns), slice_str((const char *)x->name),
                               x->children ? slice_str((const char *)x->children->content) : SLICE("")};
    dump_attrs(out, a, count);
    bool in_text = false;
    for (const xmlNode *c = n->children; c; c = c->next) {
        bool text = c->type == XML_TEXT_NODE || c->type == XML_CDATA_SECTION_NODE;
        if (text && !in_text && c->content && c->content[0]) buf_add_byte(out, '-');
        if (text && c->content && c->content[0]) {
            buf_add_str(out, (const char *)c->content);
            in_text = true;
        }
        if (!text && in_text) {
            buf_add_byte(out, '\n');
            in_text = false;
        }
        if (c->type == XML_ELEMENT_NODE) dump_libxml_node(out, c);
    }
    if (in_text) buf_add_byte(out, '\n');
    buf_add_str(out, ")\n");
}
/* Errors that say "not namespace-well-formed"; a namespace name that is no URI is not one of them. */
static inline void libxml_error(void *arg, xmlErrorPtr e) {
    bool *bad = arg;
    if (e->level >= XML_ERR_ERROR && e->code != XML_WAR_NS_URI && e->code != XML_WAR_NS_URI_RELATIVE && e->domain != XML_FROM_VALID &&
        e->code != XML_DTD_XMLID_VALUE)
        *bad = true;
}
static inline bool dump_libxml(buf *out, slice doc) {
    bool bad = false;
    xmlParserCtxtPtr ctxt = xmlNewParserCtxt();
    xmlSetStructuredErrorFunc(&bad, libxml_error);
    xmlDocPtr d = xmlCtxtReadMemory(ctxt, (const char *)doc.p, (int)doc.len, NULL, "UTF-8", XML_PARSE_NONET);
    bool ok = d != NULL && ctxt->wellFormed && !bad;
    if (ok) dump_libxml_node(out, xmlDocGetRootElement(d));
    if (d) xmlFreeDoc(d);
    xmlFreeParserCtxt(ctxt);
    xmlSetStructuredErrorFunc(NULL, NULL);
    return ok;
}

/* Does a tag of doc, which is well-formed, hold a non-ASCII character outside quotes, so in a name? Expat keeps to the name characters of
 * XML 1.0's fourth edition, we and libxml2 to the fifth (2008), which allows more. */
static inline bool has_wide_name(slice doc) {
    bool tag = false;
    uint8_t quote = 0;
    for (size_t i = 0; i < doc.len; i++) {
        uint8_t c = doc.p[i];
        if (quote) {
            if (c == quote) quote = 0;
        } else if (!tag) {
            if (slice_starts(slice_from(doc, i), SLICE("<![CDATA["))) {
                while (i < doc.len && !slice_starts(slice_from(doc, i), SLICE("]]>"))) i++;
            } else {
                tag = c == '<';
            }
        } else if (c == '>') {
            tag = false;
        } else if (c == '\'' || c == '"') {
            quote = c;
        } else if (c >= 0x80) {
            return true;
        }
    }
    return false;
}
/* Is there an '&' in a namespace name? libxml2 2.9 leaves "&amp;" there as "&#38;": its tree is not compared then. */
static inline bool has_amp_ns(const xmpp_node *n) {
    if (slice_find(n->ns, '&') < n->ns.len) return true;
    for (const xmpp_attr *x = n->attrs; x; x = x->next)
        if (slice_find(x->ns, '&') < x->ns.len) return true;
    for (const xmpp_node *c = n->child; c; c = c->next)
        if (c->name.p && has_amp_ns(c)) return true;
    return false;
}

#endif
