/* xml_tree: building a small tree, and looking into one.
 *
 * What: constructors over an arena and lookups by (namespace, local name). Why by both: a match on the local name alone is how namespace
 * confusion begins (promises.md).
 * Invariants: (1) child is NULL exactly when last is. (2) a node is appended once. (3) constructors return NULL or false past the
 * arena's limit and leave the tree as it was. */
#include "proto/xmpp/ns.h"
#include "proto/xmpp/xml.h"

xmpp_node *xmpp_xml_element(arena *a, const char *ns, const char *name) {
    xmpp_node *n = arena_alloc(a, sizeof *n);
    if (!n) return NULL;
    n->ns = slice_str(ns);
    n->name = slice_str(name);
    return n;
}

bool xmpp_xml_set(arena *a, xmpp_node *n, const char *name, slice value) {
    xmpp_attr **tail = &n->attrs;
    for (; *tail; tail = &(*tail)->next)
        if ((*tail)->ns.len == 0 && slice_is((*tail)->name, name)) {
            (*tail)->value = value;
            return true;
        }
    xmpp_attr *attr = arena_alloc(a, sizeof *attr);
    if (!attr) return false;
    attr->name = slice_str(name);
    attr->value = value;
    *tail = attr;
    return true;
}

void xmpp_xml_append(xmpp_node *parent, xmpp_node *child) {
    if (parent->last)
        parent->last->next = child;
    else
        parent->child = child;
    parent->last = child;
}

bool xmpp_xml_append_text(arena *a, xmpp_node *parent, slice text) {
    if (text.len == 0) return true;
    xmpp_node *n = arena_alloc(a, sizeof *n);
    if (!n) return false;
    n->text = text;
    xmpp_xml_append(parent, n);
    return true;
}

bool xmpp_xml_is(const xmpp_node *n, const char *ns, const char *name) {
    return n->name.p && slice_is(n->name, name) && slice_is(n->ns, ns);
}

slice xmpp_xml_attr_ns(const xmpp_node *n, const char *ns, const char *name) {
    for (const xmpp_attr *x = n->attrs; x; x = x->next)
        if (slice_is(x->name, name) && slice_is(x->ns, ns)) return x->value;
    return SLICE_NULL;
}

slice xmpp_xml_attr(const xmpp_node *n, const char *name) { return xmpp_xml_attr_ns(n, "", name); }

xmpp_node *xmpp_xml_next_element(const xmpp_node *n) {
    xmpp_node *x = n->next;
    while (x && !x->name.p) x = x->next;
    return x;
}

xmpp_node *xmpp_xml_first_element(const xmpp_node *n) { return !n->child || n->child->name.p ? n->child : xmpp_xml_next_element(n->child); }

xmpp_node *xmpp_xml_child(const xmpp_node *n, const char *ns, const char *name) {
    xmpp_node *x = xmpp_xml_first_element(n);
    while (x && !xmpp_xml_is(x, ns, name)) x = xmpp_xml_next_element(x);
    return x;
}

slice xmpp_xml_text(const xmpp_node *n, arena *a) {
    const xmpp_node *first = NULL;
    size_t len = 0, count = 0;
    for (const xmpp_node *x = n->child; x; x = x->next)
        if (!x->name.p) {
            if (!first) first = x;
            len += x->text.len;
            count++;
        }
    if (count <= 1) return count ? first->text : SLICE("");
    uint8_t *mem = arena_alloc(a, len + 1);
    if (!mem) return SLICE("");
    size_t used = 0;
    for (const xmpp_node *x = first; x; x = x->next)
        if (!x->name.p && x->text.len) {
            memcpy(mem + used, x->text.p, x->text.len);
            used += x->text.len;
        }
    return slice_of(mem, used);
}
