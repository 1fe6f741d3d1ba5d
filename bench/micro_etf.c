/* micro_etf: the two terms of one gen_server:call, {6, Pid, '', shard_srv} and {'$gen_call', {Pid, Ref}, {put, Int, <<64 bytes>>}}: read to
 * values, skipped, written from values into a buffer that is there, copied, and made a tree; beside it the same with libei (erl_interface),
 * which checks no text and no depth. CPU time. */
#include "micro.h"
#include "micro_call.h"
#include "proto/etf/term.h"

#include <ei.h>

#define MESSAGES 200000u
#define TERM     1u /* which call it is that is read, skipped, copied */

typedef struct etf_bed {
    buf term, out;
    arena a;
} etf_bed;

/* One way to go over the message; false: it went wrong. */
typedef bool etf_way(etf_bed *b, uint32_t i);

static bool write_ours(etf_bed *b, uint32_t i) {
    buf *p = &b->out;
    buf_reset(p);
    etf_put_version(p);
    etf_put_tuple(p, 4);
    etf_put_int(p, 6);
    etf_put_pid(p, &CALL_CALLER);
    etf_put_atom(p, SLICE(""));
    etf_put_atom(p, SLICE(CALL_SERVER));
    etf_put_version(p);
    call_put(p, i);
    return buf_ok(p);
}

static bool read_ours(etf_bed *b, uint32_t i) {
    (void)i;
    etf_reader r = etf_reader_of(buf_slice(&b->term));
    uint32_t n;
    int64_t op;
    etf_pid from;
    slice unused, name;
    return etf_get_version(&r) && etf_get_tuple(&r, &n) && n == 4 && etf_get_int(&r, &op) && op == 6 && etf_get_pid(&r, &from) &&
           etf_get_atom(&r, &unused) && etf_get_atom(&r, &name) && slice_is(name, CALL_SERVER) && etf_get_version(&r) &&
           call_get(&r, TERM) && cursor_left(&r.in) == 0;
}

static bool skip_ours(etf_bed *b, uint32_t i) {
    (void)i;
    etf_reader r = etf_reader_of(buf_slice(&b->term));
    return etf_get_version(&r) && etf_skip(&r, NULL) && etf_get_version(&r) && etf_skip(&r, NULL);
}

static bool copy_ours(etf_bed *b, uint32_t i) {
    (void)i;
    etf_reader r = etf_reader_of(buf_slice(&b->term));
    buf_reset(&b->out);
    return etf_get_version(&r) && etf_copy(&r, &b->out) && etf_get_version(&r) && etf_copy(&r, &b->out) && buf_ok(&b->out);
}

static bool tree_ours(etf_bed *b, uint32_t i) {
    (void)i;
    const etf_term *one, *two;
    etf_reader r = etf_reader_of(buf_slice(&b->term));
    arena_reset(&b->a);
    bool ok = etf_get_version(&r) && etf_term_read(&r, &b->a, &one) == ERR_OK;
    return ok && etf_get_version(&r) && etf_term_read(&r, &b->a, &two) == ERR_OK;
}

/* --- libei; its structs hold names by value, which is part of what it costs */

static erlang_pid ei_caller;
static erlang_ref ei_reference;

static void ei_names(void) {
    memcpy(ei_caller.node, CALL_OWN, sizeof CALL_OWN);
    memcpy(ei_reference.node, CALL_OWN, sizeof CALL_OWN);
    ei_caller.num = CALL_CALLER.id, ei_caller.creation = CALL_CALLER.creation;
    ei_reference.len = 3, ei_reference.creation = CALL_CALLER.creation, ei_reference.n[1] = 2, ei_reference.n[2] = 3;
}

static bool write_ei(etf_bed *b, uint32_t i) {
    static const uint8_t value[64] = {7};
    char *p = (char *)b->out.p;
    int at = 0;
    ei_reference.n[0] = i;
    int bad = ei_encode_version(p, &at) | ei_encode_tuple_header(p, &at, 4) | ei_encode_long(p, &at, 6) |
              ei_encode_pid(p, &at, &ei_caller) | ei_encode_atom(p, &at, "") | ei_encode_atom(p, &at, CALL_SERVER) |
              ei_encode_version(p, &at) | ei_encode_tuple_header(p, &at, 3) | ei_encode_atom(p, &at, "$gen_call") |
              ei_encode_tuple_header(p, &at, 2) | ei_encode_pid(p, &at, &ei_caller) | ei_encode_ref(p, &at, &ei_reference) |
              ei_encode_tuple_header(p, &at, 3) | ei_encode_atom(p, &at, "put") | ei_encode_long(p, &at, 1000000 + (long)i) |
              ei_encode_binary(p, &at, value, sizeof value);
    return bad == 0 && at > 100;
}

static bool read_ei(etf_bed *b, uint32_t i) {
    (void)i;
    const char *p = (const char *)b->term.p;
    int at = 0, version, n, m, k;
    long op, v, len;
    erlang_pid from, caller;
    erlang_ref ref;
    char unused[MAXATOMLEN_UTF8], name[MAXATOMLEN_UTF8], call[MAXATOMLEN_UTF8], put[MAXATOMLEN_UTF8], value[64];
    int bad = ei_decode_version(p, &at, &version) | ei_decode_tuple_header(p, &at, &n) | ei_decode_long(p, &at, &op) |
              ei_decode_pid(p, &at, &from) | ei_decode_atom(p, &at, unused) | ei_decode_atom(p, &at, name) |
              ei_decode_version(p, &at, &version) | ei_decode_tuple_header(p, &at, &m) | ei_decode_atom(p, &at, call) |
              ei_decode_tuple_header(p, &at, &k) | ei_decode_pid(p, &at, &caller) | ei_decode_ref(p, &at, &ref) |
              ei_decode_tuple_header(p, &at, &k) | ei_decode_atom(p, &at, put) | ei_decode_long(p, &at, &v) |
              ei_decode_binary(p, &at, value, &len);
    return bad == 0 && n == 4 && op == 6 && m == 3 && v >= 1000000 && len == 64 && (size_t)at == b->term.len && strcmp(put, "put") == 0;
}

static bool skip_ei(etf_bed *b, uint32_t i) {
    (void)i;
    const char *p = (const char *)b->term.p;
    int at = 0, version;
    return (ei_decode_version(p, &at, &version) | ei_skip_term(p, &at) | ei_decode_version(p, &at, &version) | ei_skip_term(p, &at)) == 0;
}

static bool round_of(etf_bed *b, etf_way *way, double *out) {
    bool ok = true;
    uint64_t t0 = bench_cpu_nsec();
    for (uint32_t i = 0; i < MESSAGES && ok; i++) ok = way(b, i);
    *out = (double)(bench_cpu_nsec() - t0) / MESSAGES;
    return ok;
}

bool micro_etf(const micro_cfg *c) {
    static const struct {
        const char *key;
        etf_way *way;
    } ways[] = {{"read", read_ours},   {"read_libei", read_ei},   {"skip", skip_ours}, {"skip_libei", skip_ei},
                {"write", write_ours}, {"write_libei", write_ei}, {"copy", copy_ours}, {"tree", tree_ours}};
    micro_row rows[ARRAY_LEN(ways)] = {0};
    etf_bed b;
    buf_init(&b.term, 4096);
    buf_init(&b.out, 4096);
    arena_init(&b.a, 1u << 16);
    ei_names();
    bool ok = ei_init() == 0 && write_ours(&b, TERM);
    buf_add(&b.term, buf_slice(&b.out));
    for (unsigned i = 0; i < MICRO_ROUNDS; i++)
        for (size_t k = 0; k < ARRAY_LEN(ways) && ok; k++) {
            double v = 0;
            ok = round_of(&b, ways[k].way, &v);
            micro_add(&rows[k], v);
        }
    if (ok) {
        bench_report_begin(c->json, "etf");
        bench_report_num("message", "B, both terms", (double)b.term.len);
        for (size_t k = 0; k < ARRAY_LEN(ways); k++) bench_report_num(ways[k].key, "ns/message", micro_median(&rows[k]));
        bench_report_end();
    } else {
        (void)fputs("murre-bench: a term was refused\n", stderr);
    }
    buf_fini(&b.term);
    buf_fini(&b.out);
    arena_fini(&b.a);
    return ok;
}
