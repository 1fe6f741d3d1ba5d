/* stanza_fuzz: a stanza through the whole path: stream -> env -> packed -> env -> written -> read again; and the input as packed bytes.
 * Oracles: what is written can be read by the stream machine; building once more from what was written changes nothing (what was removed
 * stays removed); unpacked slices lie in the input. */
#include "proto/xmpp/env.h"
#include "proto/xmpp/ns.h"
#include "proto/xmpp/stream.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok) {
    if (!ok) abort();
}

static const slice domains[] = {{(const uint8_t *)"localhost", 9}, {(const uint8_t *)"example.org", 11}};
static const xmpp_env_rules rules = {domains, 2};
#define FROM   "romeo@localhost/orchard"
#define HEADER "<stream:stream xmlns='jabber:client' xmlns:stream='" NS_STREAM "' version='1.0'>"

/* The first stanza of in on a bound stream, or NULL. */
static xmpp_node *read_stanza(slice in, arena *a) {
    xmpp_stream s;
    xmpp_event ev;
    size_t used = 0;
    xmpp_stream_init(&s, XMPP_PHASE_BOUND, XMPP_STREAM_SM, 1 << 20);
    xmpp_stream_next(&s, SLICE(HEADER), NULL, a, &used, &ev);
    require(ev.kind == XMPP_EV_OPEN);
    xmpp_stream_next(&s, in, NULL, a, &used, &ev);
    require(used <= in.len);
    return ev.kind == XMPP_EV_STANZA ? ev.stanza : NULL;
}

static void unpack_foreign(slice in) {
    xmpp_env e;
    if (xmpp_env_unpack(in, &e) != ERR_OK) return;
    const slice all[] = {e.from, e.to, e.id, e.lang, e.origin_id, e.payload_ns, e.payload_name, e.inner};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) require(!all[i].len || (all[i].p >= in.p && all[i].p + all[i].len <= in.p + in.len));
    (void)xmpp_env_is_kept(&e); /* only that it reads nothing wrong */
    buf again;
    buf_init(&again, 1 << 20);
    xmpp_env_pack(&again, &e);
    require(slice_eq(buf_slice(&again), in));
    buf_fini(&again);
}

static void round_trip(const xmpp_env *e, arena *a) {
    buf packed, wire, inner;
    buf_init(&packed, 1 << 24);
    buf_init(&wire, 1 << 24);
    buf_init(&inner, 1 << 24);
    xmpp_env back, twice;
    xmpp_env_pack(&packed, e);
    require(xmpp_env_unpack(buf_slice(&packed), &back) == ERR_OK);
    xmpp_node *n = NULL;
    xmpp_stream_error tree = xmpp_env_tree(&back, a, &n);
    require(tree == STREAM_OK || tree == STREAM_RESOURCE_CONSTRAINT);
    xmpp_env_write(&wire, &back, SLICE_NULL, SLICE_NULL);
    n = read_stanza(buf_slice(&wire), a);
    if (n && xmpp_env_build(n, SLICE(FROM), &rules, a, &inner, &twice) == STANZA_OK) {
        uint32_t ignore = XMPP_F_NO_COPY; /* set by <private/>, which is gone */
        require(slice_eq(twice.inner, e->inner) && (twice.flags | ignore) == (e->flags | ignore));
        require(twice.kind == e->kind && twice.type == e->type && slice_eq(twice.to, e->to) && slice_eq(twice.id, e->id));
        require(xmpp_env_is_kept(&twice) == xmpp_env_is_kept(e));
    } else {
        require(a->used > a->max / 2 || e->kind == XMPP_IQ); /* out of memory, or an iq that is now a session request */
    }
    buf_fini(&packed);
    buf_fini(&wire);
    buf_fini(&inner);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    slice in = slice_of(data, size);
    unpack_foreign(in);
    arena a;
    buf inner, errbuf, wire;
    arena_init(&a, 1 << 22);
    buf_init(&inner, 1 << 20);
    buf_init(&errbuf, 4096);
    buf_init(&wire, 1 << 20);
    xmpp_node *n = read_stanza(in, &a);
    if (n) {
        xmpp_env e, r;
        xmpp_stanza_error err = xmpp_env_build(n, SLICE(FROM), &rules, &a, &inner, &e);
        if (err == STANZA_OK) {
            round_trip(&e, &a);
        } else if (xmpp_env_may_bounce(&e)) {
            xmpp_env_error(&e, err, "x", &errbuf, &r);
            xmpp_env_write(&wire, &r, SLICE_NULL, SLICE_NULL);
            require(read_stanza(buf_slice(&wire), &a) != NULL || a.used > a.max / 2);
        }
    }
    buf_fini(&inner);
    buf_fini(&errbuf);
    buf_fini(&wire);
    arena_fini(&a);
    return 0;
}
