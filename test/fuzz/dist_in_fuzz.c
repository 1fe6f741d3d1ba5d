/* dist_in_fuzz: what a peer sends after its handshake. The first byte says what was agreed, the second how many bytes come at a time, the
 * third how small the limits are. Oracle: the same messages, and the same end, as in one piece; all limits hold and nothing is left behind.
 */
#include "proto/dist/frame_in.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool ok) {
    if (!ok) abort();
}

static void log_message(buf *log, const dist_message *m) {
    dist_ctl c;
    const char *why;
    arena mem;
    arena_init(&mem, 1u << 22);
    buf_addf(log, "|message of %zu, %zu atoms:", m->body.len, m->atoms.n);
    for (size_t i = 0; i < m->atoms.n; i++) {
        buf_add_byte(log, ' ');
        buf_add(log, m->atoms.atom[i]);
    }
    buf_add(log, m->body);
    if (dist_ctl_read(m, &mem, &c, &why))
        buf_add_str(log, why);
    else
        buf_addf(log, "%s %d", dist_op_name((dist_op)c.op), dist_ctl_payload_is_term(m, &c, &mem));
    arena_fini(&mem);
}

static void run(buf *log, const dist_in_cfg *cfg, uint64_t agreed, slice bytes, size_t step) {
    static dist_refs refs;
    dist_in in;
    size_t at = 0, have = 0;
    dist_in_init(&in, cfg, agreed);
    for (;;) {
        dist_in_event e;
        size_t used;
        dist_in_next(&in, slice_sub(bytes, at, have - at), &refs, &used, &e);
        demand(used <= have - at);
        at += used;
        demand(in.cache.bytes <= cfg->cache_max);
        demand(!in.fragments || in.fragments->bytes <= cfg->fragments.bytes_max);
        demand(!in.fragments || dist_fragments_open(in.fragments) <= cfg->fragments.messages_max);
        if (e.kind == DIST_IN_TICK) buf_add_str(log, "|tick");
        if (e.kind == DIST_IN_MESSAGE) log_message(log, &e.message);
        if (e.kind == DIST_IN_BAD) {
            demand(e.why && e.error);
            buf_add_str(log, e.why);
            break;
        }
        if (e.kind != DIST_IN_NONE) continue;
        demand(at == have);
        if (have == bytes.len) break;
        have = have + step < bytes.len ? have + step : bytes.len;
    }
    dist_in_fini(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3) return 0;
    uint64_t agreed = ~UINT64_C(0);
    if (data[0] & 1) agreed &= ~DIST_FLAG(FRAGMENTS);
    if (data[0] & 2) agreed &= ~DIST_FLAG(DIST_HDR_ATOM_CACHE);
    size_t room = 100u + 100u * data[2];
    const dist_in_cfg cfg = {(uint32_t)room, 16384 + room, {2 + data[2] / 8u, room, 2 * room, {data[0], 1}, 0}};
    slice bytes = slice_of(data + 3, size - 3);
    buf whole, cut;
    buf_init(&whole, 1u << 24);
    buf_init(&cut, 1u << 24);
    run(&whole, &cfg, agreed, bytes, bytes.len ? bytes.len : 1);
    run(&cut, &cfg, agreed, bytes, 1u + data[1] % 64);
    demand(slice_eq(buf_slice(&whole), buf_slice(&cut)));
    buf_fini(&whole);
    buf_fini(&cut);
    return 0;
}
