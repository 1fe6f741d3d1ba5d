#ifndef PROTO_XMPP_XML_H
#define PROTO_XMPP_XML_H
/* xml: a strict, namespace-aware tokenizer for one unit of a stream, a small tree, and a canonical writer.
 *
 * Strict: XML 1.0 + Namespaces, UTF-8 only, no DTD, PI, comment or entity other than the five predefined and character references to
 * legal characters (RFC 6120 11). Names and values point into the input where nothing had to be unescaped, else into the arena: input and
 * arena must outlive the tree. Errors are stream errors (the stream is closed).
 * The writer makes what it writes self-contained: an element whose namespace differs from its parent's declares xmlns; a namespaced
 * attribute gets a prefix (xml:, or nsN declared on its element). parse(write(parse(x))) == parse(x). */
#include "base/arena.h"
#include "base/buf.h"
#include "proto/xmpp/error.h"

typedef struct xmpp_attr xmpp_attr;
struct xmpp_attr {
    slice ns;    /* empty for an attribute without prefix */
    slice name;  /* local name */
    slice value; /* unescaped */
    xmpp_attr *next;
};

typedef struct xmpp_node xmpp_node;
struct xmpp_node {
    slice ns;         /* of an element; unset for text */
    slice name;       /* local name; p NULL: this is a text node */
    slice text;       /* of a text node, unescaped; adjacent text (CDATA, references) is one node */
    xmpp_attr *attrs; /* in document order, xmlns declarations left out */
    xmpp_node *child; /* first child */
    xmpp_node *last;  /* last child */
    xmpp_node *next;  /* next sibling */
};

/* Namespace bindings in force around a unit: those of the stream header. */
typedef struct xmpp_binding {
    slice prefix; /* empty: the default namespace */
    slice ns;
} xmpp_binding;
typedef struct xmpp_scope {
    const xmpp_binding *b;
    size_t n;
} xmpp_scope;

/* Limits of one unit (promises.md: XML). */
#define XMPP_XML_DEPTH_MAX 64
#define XMPP_XML_ATTRS_MAX 64
#define XMPP_XML_NAME_MAX  256
#define XMPP_XML_DECLS_MAX 32

/* Parses one whole element (an XMPP_UNIT_STANZA). scope NULL: none. STREAM_OK, or the error to close the stream with; RESOURCE_CONSTRAINT
 * when the arena is full; POLICY_VIOLATION when a limit above is passed. */
NODISCARD xmpp_stream_error xmpp_xml_parse(slice unit, const xmpp_scope *scope, arena *a, xmpp_node **out_root);
/* Parses a stream header (an XMPP_UNIT_OPEN): the root with its attributes, and the bindings it declares (in the arena). */
NODISCARD xmpp_stream_error xmpp_xml_parse_open(slice unit, arena *a, xmpp_node **out_root, xmpp_scope *out_scope);

/* Building and looking. Absent: NULL, or a slice with p NULL. Lookups match (namespace, local name). */
xmpp_node *xmpp_xml_element(arena *a, const char *ns, const char *name);  /* NULL past the arena's limit */
bool xmpp_xml_set(arena *a, xmpp_node *n, const char *name, slice value); /* adds or replaces an attribute without namespace */
void xmpp_xml_append(xmpp_node *parent, xmpp_node *child);
bool xmpp_xml_append_text(arena *a, xmpp_node *parent, slice text);
bool xmpp_xml_is(const xmpp_node *n, const char *ns, const char *name);
slice xmpp_xml_attr(const xmpp_node *n, const char *name);
slice xmpp_xml_attr_ns(const xmpp_node *n, const char *ns, const char *name);
xmpp_node *xmpp_xml_child(const xmpp_node *n, const char *ns, const char *name);
xmpp_node *xmpp_xml_first_element(const xmpp_node *n);
xmpp_node *xmpp_xml_next_element(const xmpp_node *n);
/* The text of n's own text children, joined in the arena if there are several. Empty if none. */
slice xmpp_xml_text(const xmpp_node *n, arena *a);

/* Writes n (element or text) given the default namespace in force around it. */
void xmpp_xml_write(buf *out, const xmpp_node *n, slice parent_ns);
void xmpp_xml_write_children(buf *out, const xmpp_node *n); /* everything inside n, with n's namespace in force */
void xmpp_xml_escape(buf *out, slice text);                 /* & < > " ' */
/* Writes ` name='value'` escaped; nothing if value.p is NULL. */
void xmpp_xml_write_attr(buf *out, const char *name, slice value);

#endif
