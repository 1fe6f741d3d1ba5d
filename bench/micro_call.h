#ifndef BENCH_MICRO_CALL_H
#define BENCH_MICRO_CALL_H
/* micro_call: one gen_server:call, {'$gen_call', {Pid, Ref}, {put, Int, <<64 bytes>>}}, written from values and read back to them: what
 * micro_etf measures as a term and micro_dist on its way over a connection. */
#include "proto/etf/etf.h"

#define CALL_OWN    "murre1@host17.example"
#define CALL_SERVER "shard_srv"

static const slice CALL_NODE = {(const uint8_t *)CALL_OWN, sizeof CALL_OWN - 1};
static const slice CALL_TAG = {(const uint8_t *)"$gen_call", 9};
static const etf_pid CALL_CALLER = {{(const uint8_t *)CALL_OWN, sizeof CALL_OWN - 1}, 85, 0, 0x6b04a47e};

/* The i-th: its reference and its key differ from those of the others. */
static inline void call_put(buf *p, uint32_t i) {
    static const uint8_t value[64] = {7};
    const etf_ref ref = {CALL_NODE, CALL_CALLER.creation, 3, {i, 2, 3}};
    etf_put_tuple(p, 3);
    etf_put_atom(p, CALL_TAG);
    etf_put_tuple(p, 2);
    etf_put_pid(p, &CALL_CALLER);
    etf_put_ref(p, &ref);
    etf_put_tuple(p, 3);
    etf_put_atom(p, SLICE("put"));
    etf_put_int(p, 1000000 + i);
    etf_put_binary(p, slice_of(value, sizeof value));
}

/* Every value, as a gen_server of ours would match it. */
static inline bool call_get(etf_reader *r, uint32_t i) {
    uint32_t n, m, k;
    etf_pid pid;
    etf_ref ref;
    slice value;
    int64_t key;
    return etf_get_tuple(r, &n) && n == 3 && etf_get_atom_is(r, CALL_TAG) && etf_get_tuple(r, &m) && m == 2 && etf_get_pid(r, &pid) &&
           etf_get_ref(r, &ref) && etf_get_tuple(r, &k) && k == 3 && etf_get_atom_is(r, SLICE("put")) && etf_get_int(r, &key) &&
           etf_get_binary(r, &value) && key == 1000000 + (int64_t)i && value.len == 64;
}

#endif
