/* chat: an array of records, and who the clients are; see chat.h. */
#include "history/chat.h"

#include "base/hash.h"
#include "base/mem.h"

void history_chat_init(history_chat *h) { *h = (history_chat){0}; }

static void row_fini(history_chat_row *c) {
    for (size_t k = 0; k < c->n_ids; k++) mem_free(c->ids[k]);
    mem_free(c->ids);
    mem_free(c->name);
}

void history_chat_fini(history_chat *h) {
    for (uint32_t i = 0; i < h->n_clients; i++) row_fini(&h->clients[i]);
    row_fini(&h->nobody);
    mem_free(h->clients);
    mem_free(h->r);
    *h = (history_chat){0};
}

uint32_t history_chat_client(history_chat *h, uint32_t account, slice name) {
    if (h->n_clients >= HISTORY_CHAT_CLIENTS_MAX) return HISTORY_CHAT_NOBODY;
    h->clients = mem_realloc(h->clients, (h->n_clients + 1) * sizeof *h->clients);
    h->clients[h->n_clients] = (history_chat_row){.account = account, .name = slice_dup_str(name)};
    if (account >= h->n_accounts) h->n_accounts = account + 1;
    return h->n_clients++;
}

uint32_t history_chat_call(history_chat *h, uint32_t client, slice id) {
    history_chat_row *c = client < h->n_clients ? &h->clients[client] : &h->nobody;
    void *p = c->ids;
    mem_grow(&p, &c->ids_cap, c->n_ids + 1, sizeof *c->ids);
    c->ids = p;
    c->ids[c->n_ids++] = slice_dup_str(id);
    return (uint32_t)c->n_ids;
}

void history_chat_add(history_chat *h, const history_chat_record *r) {
    if (h->n && r->at < h->r[h->n - 1].at) panic("a history goes back in time");
    void *p = h->r;
    mem_grow(&p, &h->cap, h->n + 1, sizeof *h->r);
    h->r = p;
    h->r[h->n++] = *r;
}

uint64_t history_chat_hash(slice text) {
    static const hash_key key = {UINT64_C(0x68697374), UINT64_C(0x6f7279)};
    uint64_t x = hash_bytes(&key, text);
    return x ? x : 1;
}
