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

static svc_history *history_of(svc_account *a) {
    svc_contacts *c = contacts_of(a);
    if (!c->history) c->history = mem_zalloc(sizeof *c->history);
    return c->history;
}

static void history_del(svc_history *h, size_t i) {
    svc_disown(&h->gone[i].jid);
    h->gone[i] = h->gone[--h->n];
}

bool svc_contacts_removed(svc_account *a, slice bare, uint64_t ver) {
    svc_history *h = a->contacts ? a->contacts->history : NULL;
    if (ver <= (h ? h->floor : 0)) return false;
    h = history_of(a);
    slice jid = svc_own(bare);
    svc_contacts_returned(a, bare);
    void *gone = h->gone;
    mem_grow(&gone, &h->cap, h->n + 1, sizeof *h->gone);
    h->gone = gone;
    h->gone[h->n++] = (svc_gone){jid, ver};
    return true;
}

uint64_t svc_contacts_gone_ver(const svc_account *a, slice bare) {
    const svc_history *h = a->contacts ? a->contacts->history : NULL;
    for (size_t i = 0; h && i < h->n; i++)
        if (slice_eq(h->gone[i].jid, bare)) return h->gone[i].ver;
    return 0;
}

void svc_contacts_returned(svc_account *a, slice bare) {
    svc_history *h = a->contacts ? a->contacts->history : NULL;
    for (size_t i = 0; h && i < h->n; i++)
        if (slice_eq(h->gone[i].jid, bare)) {
            history_del(h, i);
            return;
        }
}

bool svc_contacts_forget(svc_account *a, size_t max, slice *out_bare, uint64_t *out_ver) {
    svc_history *h = a->contacts ? a->contacts->history : NULL;
    if (!h || h->n <= max) return false;
    size_t oldest = 0;
    for (size_t i = 1; i < h->n; i++)
        if (h->gone[i].ver < h->gone[oldest].ver) oldest = i;
    *out_bare = h->gone[oldest].jid;
    *out_ver = h->floor = h->gone[oldest].ver;
    h->gone[oldest] = h->gone[--h->n];
    return true;
}

uint64_t svc_contacts_next_ver(svc_account *a) { return ++contacts_of(a)->roster_ver; }

void svc_contacts_load(svc_account *a, const store_user *u) {
    svc_contacts_free(a);
    if (u->roster_ver) contacts_of(a)->roster_ver = u->roster_ver;
    for (size_t i = 0; i < u->n_items; i++) {
        const store_item *item = &u->items[i];
        if (!item->gone)
            (void)svc_contacts_put(a, item);
        else if (item->jid.len)
            (void)svc_contacts_removed(a, item->jid, item->ver);
        else
            history_of(a)->floor = item->ver;
    }
    for (size_t i = 0; i < u->n_blocks; i++) svc_contacts_block(a, u->blocks[i]);
    svc_subs_loaded(a);
}

void svc_contacts_free(svc_account *a) {
    svc_contacts *c = a->contacts;
    if (!c) return;
    for (size_t i = 0; i < c->n; i++) item_disown(&c->items[i]);
    for (size_t i = 0; i < c->n_blocks; i++) svc_disown(&c->blocks[i]);
    for (svc_history *h = c->history; h && h->n > 0;) history_del(h, h->n - 1);
    if (c->history) mem_free(c->history->gone);
    mem_free(c->history);
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
