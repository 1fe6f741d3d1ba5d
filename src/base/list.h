#ifndef BASE_LIST_H
#define BASE_LIST_H
/* list: intrusive doubly-linked circular list. A node that is in no list has next == NULL. Owner via container_of. */
#include "base/err.h"

typedef struct list list;
struct list {
    list *next; /* in a head: the first; in a node: the next, or the head */
    list *prev; /* in a head: the last */
};

static inline void list_init(list *h) { h->next = h->prev = h; }
static inline bool list_empty(const list *h) { return h->next == h; }
static inline bool list_linked(const list *n) { return n->next != NULL; }
static inline void list_insert_(list *n, list *prev, list *next) {
    n->prev = prev;
    n->next = next;
    prev->next = n;
    next->prev = n;
}
static inline void list_push_back(list *h, list *n) { list_insert_(n, h->prev, h); }
static inline void list_push_front(list *h, list *n) { list_insert_(n, h, h->next); }
static inline void list_remove(list *n) {
    n->prev->next = n->next;
    n->next->prev = n->prev;
    n->next = n->prev = NULL;
}
static inline list *list_first(const list *h) { return h->next == h ? NULL : h->next; }
static inline list *list_next(const list *h, const list *n) { return n->next == h ? NULL : n->next; }
static inline list *list_pop_front(list *h) {
    list *n = list_first(h);
    if (n) list_remove(n);
    return n;
}

#endif
