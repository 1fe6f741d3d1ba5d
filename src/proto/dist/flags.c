/* flags: masks and names, made from the one list in flags.def.
 *
 * Why masks are computed from columns and not written as numbers: a flag that is parsed from tomorrow on is offered by one digit in one
 * line, and the numbers of the test then say what that did.
 *
 * Invariants: (1) expand never clears a bit. (2) common(a, b) has only named bits that are in expand(a) and in expand(b). (3) What is
 * offered contains what is demanded, so that two murre nodes always agree. */
#include "proto/dist/flags.h"

#define BITS 64u

static const struct {
    const char *name;
    uint8_t bit;
    bool m25, m26, offered;
} table[] = {
#define DIST_FLAG_DEF(bit, name, m25, m26, offered) {#name, bit, m25, m26, offered},
#include "proto/dist/flags.def"
#undef DIST_FLAG_DEF
};

uint64_t dist_flags_mandatory_25(void) {
    uint64_t mask = 0;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) mask |= (uint64_t)table[i].m25 << table[i].bit;
    return mask;
}

uint64_t dist_flags_mandatory_26(void) {
    uint64_t mask = 0;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) mask |= (uint64_t)table[i].m26 << table[i].bit;
    return mask;
}

uint64_t dist_flags_offered(void) {
    uint64_t mask = 0;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) mask |= (uint64_t)table[i].offered << table[i].bit;
    return mask;
}

static uint64_t named(void) {
    uint64_t mask = 0;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) mask |= UINT64_C(1) << table[i].bit;
    return mask;
}

uint64_t dist_flags_demanded(void) { return dist_flags_mandatory_25() | DIST_FLAG(HANDSHAKE_23); }

uint64_t dist_flags_expand(uint64_t flags) { return flags & DIST_FLAG(MANDATORY_25_DIGEST) ? flags | dist_flags_mandatory_25() : flags; }

uint64_t dist_flags_common(uint64_t ours, uint64_t theirs) {
    return dist_flags_expand(ours) & dist_flags_expand(theirs) & named() & ~DIST_FLAG(NAME_ME);
}

uint64_t dist_flags_missing(uint64_t flags) { return dist_flags_demanded() & ~dist_flags_expand(flags); }

const char *dist_flags_name(unsigned bit) {
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (table[i].bit == bit) return table[i].name;
    return NULL;
}

void dist_flags_print(buf *out, uint64_t flags) {
    if (flags == 0) buf_add_str(out, "none");
    const char *between = "";
    for (unsigned bit = 0; bit < BITS; bit++) {
        if (!(flags >> bit & 1)) continue;
        const char *name = dist_flags_name(bit);
        buf_add_str(out, between);
        if (name)
            buf_add_str(out, name);
        else
            buf_addf(out, "bit %u", bit);
        between = "|";
    }
}
