/* history: an array of records; see history.h. */
#include "sim/history.h"

#include "base/hash.h"
#include "base/mem.h"

void sim_history_init(sim_history *h) { *h = (sim_history){0}; }

void sim_history_fini(sim_history *h) {
    mem_free(h->r);
    mem_free(h->account_of);
    *h = (sim_history){0};
}

uint32_t sim_history_client(sim_history *h, uint32_t account) {
    h->account_of = mem_realloc(h->account_of, (h->n_clients + 1) * sizeof *h->account_of);
    h->account_of[h->n_clients] = account;
    if (account >= h->n_accounts) h->n_accounts = account + 1;
    return h->n_clients++;
}

void sim_history_add(sim_history *h, const sim_record *r) {
    if (h->n && r->at < h->r[h->n - 1].at) panic("a history goes back in time");
    void *p = h->r;
    mem_grow(&p, &h->cap, h->n + 1, sizeof *h->r);
    h->r = p;
    h->r[h->n++] = *r;
}

uint64_t sim_history_hash(slice text) {
    static const hash_key key = {UINT64_C(0x68697374), UINT64_C(0x6f7279)};
    uint64_t x = hash_bytes(&key, text);
    return x ? x : 1;
}
