/* jid_fuzz: any bytes as an address and as each part. Oracle: what is accepted is UTF-8, within its limits, split where it was joined, and
 * a fixed point: parsing the canonical text gives the canonical text. */
#include "base/utf8.h"
#include "proto/xmpp/jid.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool ok) {
    if (!ok) abort();
}

typedef err prep_fn(slice, arena *, slice *);
static void part(prep_fn *prep, slice in) {
    arena a;
    slice once = SLICE_NULL, twice = SLICE_NULL;
    arena_init(&a, 16384);
    if (prep(in, &a, &once) == ERR_OK) {
        demand(once.len > 0 && once.len <= XMPP_JID_PART_MAX && utf8_valid(once) && slice_find(once, 0) == once.len);
        demand(prep(once, &a, &twice) == ERR_OK && slice_eq(once, twice));
    }
    arena_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    slice in = slice_of(data, size), full = SLICE_NULL, again = SLICE_NULL;
    arena a;
    xmpp_jid j, k;
    arena_init(&a, 32768);
    if (xmpp_jid_parse(in, &a, &j, &full) == ERR_OK) {
        demand(full.len <= XMPP_JID_MAX && utf8_valid(full));
        demand(xmpp_jid_split(full, &k) && slice_eq(j.local, k.local) && slice_eq(j.domain, k.domain) && slice_eq(j.resource, k.resource));
        demand(xmpp_jid_parse(full, &a, &k, &again) == ERR_OK && slice_eq(full, again));
        demand(xmpp_jid_block_match(xmpp_jid_bare(full), full) && xmpp_jid_block_match(j.domain, full));
        demand(slice_eq(xmpp_jid_resource(full), j.resource));
    }
    arena_fini(&a);
    part(xmpp_jid_prep_local, in);
    part(xmpp_jid_prep_domain, in);
    part(xmpp_jid_prep_resource, in);
    part(xmpp_jid_saslprep, in);
    return 0;
}
