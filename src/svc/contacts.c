/* contacts: an account's roster items and blocklist in memory, as plain arrays with owned slices; most accounts have none and pay a NULL.
 */
#include "svc/part.h"

static store_item item_own(const store_item *i) {
    store_item o = *i;
    o.jid = svc_own(i->jid);
    o.name = svc_own(i->name);
    o.groups = svc_own(i->groups);
    o.request = svc_own(i->request);
    return o;
}

static void item_disown(store_item *i) {
    svc_disown(&i->jid);
    svc_disown(&i->name);
    svc_disown(&i->groups);
    svc_disown(&i->request);
}

static svc_contacts *contacts_of(svc_account *a) {
    if (!a->contacts) a->contacts = mem_zalloc(sizeof *a->contacts);
    return a->contacts;
}

void svc_contacts_load(svc_account *a, const store_user *u) {
    svc_contacts_free(a);
    a->roster_ver = u->roster_ver;
    for (size_t i = 0; i < u->n_items; i++)
        if (!u->items[i].gone) (void)svc_contacts_put(a, &u->items[i]);
    for (size_t i = 0; i < u->n_blocks; i++) svc_contacts_block(a, u->blocks[i]);
}

void svc_contacts_free(svc_account *a) {
    svc_contacts *c = a->contacts;
    if (!c) return;
    for (size_t i = 0; i < c->n; i++) item_disown(&c->items[i]);
    for (size_t i = 0; i < c->n_blocks; i++) svc_disown(&c->blocks[i]);
    mem_free(c->items);
    mem_free(c->blocks);
    mem_free(c);
    a->contacts = NULL;
}

store_item *svc_contacts_find(const svc_account *a, slice bare) {
    for (size_t i = 0; a->contacts && i < a->contacts->n; i++)
        if (slice_eq(a->contacts->items[i].jid, bare)) return &a->contacts->items[i];
    return NULL;
}

store_item *svc_contacts_put(svc_account *a, const store_item *item) {
    store_item fresh = item_own(item); /* first: item may point into what is replaced */
    store_item *old = svc_contacts_find(a, item->jid);
    if (old) {
        item_disown(old);
        *old = fresh;
        return old;
    }
    svc_contacts *c = contacts_of(a);
    void *items = c->items;
    mem_grow(&items, &c->cap, c->n + 1, sizeof *c->items);
    c->items = items;
    c->items[c->n] = fresh;
    return &c->items[c->n++];
}

void svc_contacts_del(svc_account *a, slice bare) {
    store_item *i = svc_contacts_find(a, bare);
    if (!i) return;
    item_disown(i);
    *i = a->contacts->items[--a->contacts->n];
}

size_t svc_contacts_count(const svc_account *a) {
    size_t n = 0;
    for (size_t i = 0; a->contacts && i < a->contacts->n; i++) n += a->contacts->items[i].in_roster;
    return n;
}

void svc_contacts_block(svc_account *a, slice jid) {
    svc_contacts *c = contacts_of(a);
    for (size_t i = 0; i < c->n_blocks; i++)
        if (slice_eq(c->blocks[i], jid)) return;
    void *blocks = c->blocks;
    mem_grow(&blocks, &c->cap_blocks, c->n_blocks + 1, sizeof *c->blocks);
    c->blocks = blocks;
    c->blocks[c->n_blocks++] = svc_own(jid);
}

void svc_contacts_unblock(svc_account *a, slice jid) {
    svc_contacts *c = a->contacts;
    for (size_t i = 0; c && i < c->n_blocks; i++) {
        if (!slice_eq(c->blocks[i], jid)) continue;
        svc_disown(&c->blocks[i]);
        c->blocks[i] = c->blocks[--c->n_blocks];
        return;
    }
}
