/* jid: what is an address, what is not, one canonical form for each, and that preparing twice changes nothing. */
#include "base/prng.h"
#include "base/utf8.h"
#include "proto/xmpp/jid.h"
#include "support/cmocka_unit.h"

typedef struct good {
    const char *in, *out;
} good;

static char thousand[1100]; /* filled by one test, read by it */

static err parse(slice in, char *out, size_t max) {
    arena a;
    xmpp_jid j, again;
    slice full = SLICE_NULL;
    arena_init(&a, 8192);
    err e = xmpp_jid_parse(in, &a, &j, &full);
    if (e == ERR_OK) {
        assert_true(full.len < max);
        memcpy(out, full.p, full.len);
        out[full.len] = 0;
        assert_int_equal(full.p[full.len], 0);
        assert_true(xmpp_jid_split(full, &again)); /* parts point into the whole, and split finds the same */
        assert_ptr_equal(again.domain.p, j.domain.p);
        assert_ptr_equal(again.local.p, j.local.p);
        assert_ptr_equal(again.resource.p, j.resource.p);
        assert_int_equal(again.local.len, j.local.len);
        assert_int_equal(again.domain.len, j.domain.len);
        assert_int_equal(again.resource.len, j.resource.len);
    }
    arena_fini(&a);
    return e;
}

static void each_address_has_one_canonical_form(void **state) {
    (void)state;
    static const good cases[] = {
        {"example.com", "example.com"},
        {"juliet@example.com", "juliet@example.com"},
        {"Juliet@Example.COM/Balcony", "juliet@example.com/Balcony"},
        {"juliet@example.com./x", "juliet@example.com/x"},
        {"localhost", "localhost"},
        {"localhost.", "localhost"},
        {"a@b/c/d@e", "a@b/c/d@e"},
        {"a@b/ ", "a@b/ "},
        {"b/@", "b/@"},
        {"juliet@example.com/foo bar", "juliet@example.com/foo bar"},
        {"user@127.0.0.1", "user@127.0.0.1"},
        {"user@[::1]", "user@[::1]"},
        {"user@[0:0:0:0:0:0:0:1]/r", "user@[::1]/r"},
        {"user@[2001:DB8::A]", "user@[2001:db8::a]"},
        {"fu\xc3\x9f"
         "ball@example.com",
         "fussball@example.com"},                                           /* B.2: sharp s */
        {"\xcf\x80@example.com", "\xcf\x80@example.com"},                   /* pi */
        {"\xce\xa3@example.com/\xce\xa3", "\xcf\x83@example.com/\xce\xa3"}, /* Sigma folds in a local part, not in a resource */
        {"king@example.com/\xe2\x99\x9a", "king@example.com/\xe2\x99\x9a"}, /* black chess king */
        {"\xef\xbc\xa1nn@example.com", "ann@example.com"},                  /* full-width A */
        {"a\xc2\xad"
         "b@example.com",
         "ab@example.com"},                                /* soft hyphen goes */
        {"e\xcc\x81@example.com", "\xc3\xa9@example.com"}, /* NFKC composes */
        {"a@b\xc3\xbc"
         "cher.example",
         "a@b\xc3\xbc"
         "cher.example"},
        {"a@B\xc3\x9c"
         "CHER.example",
         "a@b\xc3\xbc"
         "cher.example"},
        {"a@xn--bcher-kva.example", "a@b\xc3\xbc"
                                    "cher.example"}, /* an A-label is its U-label */
        {"a@XN--BCHER-KVA.Example.", "a@b\xc3\xbc"
                                     "cher.example"},
        {"a@stra\xc3\x9f"
         "e.example",
         "a@strasse.example"},
        {"a@xn--a.example", "a@xn--a.example"}, /* not decodable: it stays */
        {"a@b\xe3\x80\x82"
         "c",
         "a@b.c"}, /* ideographic full stop */
        {"a@b\xef\xbc\x8e"
         "c\xef\xbd\xa1",
         "a@b.c"},
        {"a@\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d.com", "a@\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d.com"}, /* bidi is checked for each label */
        {"\xf0\x9f\x90\xa6@example.com/\xf0\x9f\x90\xa6", "\xf0\x9f\x90\xa6@example.com/\xf0\x9f\x90\xa6"}, /* unassigned in Unicode 3.2 */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char out[XMPP_JID_MAX + 1] = "";
        err e = parse(slice_str(cases[i].in), out, sizeof out);
        if (e != ERR_OK || strcmp(out, cases[i].out) != 0)
            fail_msg("%s: %s, '%s' instead of '%s'", cases[i].in, err_name(e), out, cases[i].out);
    }
}

static const char *const no_addresses[] = {
    "",
    "@",
    "/",
    "@/",
    "@b",
    "a@",
    "a@/r",
    "/r",
    "a@b/",
    "b/",
    ".",
    "..",
    "a@.",
    "a@b..c",
    "a@.b",
    "a@b..",
    "a b@c",
    "a\"@c",
    "a&@c",
    "a'@c",
    "a:@c",
    "a<@c",
    "a>@c",
    "a@b@c",
    " a@b",
    "a\t@b",
    "a\x7f@b",
    "a\x01@b",
    "a@b c",
    "a@b_c",
    "a@-b",
    "a@b-",
    "a@b.-c",
    "a@b!",
    "a@b:5222",
    "a@[",
    "a@[]",
    "a@[::1",
    "a@::1",
    "a@[::1]x",
    "a@[1.2.3.4]",
    "a@[::1%lo]",
    "a@[fe80::1%25eth0]",
    "a@b/\n",
    "a@b/\x7f",
    "a@b/x\x1b[0m",
    "\xff@b",
    "a\xc3@b",
    "\xc0\xaf@b",
    "a@\xed\xa0\x80",
    "a@b/\xf4\x90\x80\x80", /* not UTF-8 */
    "\xef\xbc\xa0@b",       /* full-width @ becomes @ */
    "a\xef\xbc\x8f@b",      /* full-width / */
    "a\xef\xbc\x86@b",      /* full-width & */
    "\xc2\xad@b",           /* nothing is left */
    "a@\xc2\xad",
    "a@b/\xc2\xad",
    "a@b.\xc2\xad",
    "a\xc2\xa0@b",     /* no-break space becomes a space */
    "a\xe3\x80\x80@b", /* ideographic space */
    "a@b\xe2\x80\xa4"
    "c", /* one dot leader becomes a dot inside a label */
    "a@\xef\xbc\x8d"
    "b",              /* full-width hyphen at an end */
    "\xee\x80\x80@b", /* private use */
    "\xef\xbf\xbd@b", /* replacement character */
    "\xe2\x80\xae"
    "a@b", /* right-to-left override */
    "a@b/\xe2\x80\xae"
    "cod.exe",
    "a@b/\xef\xb7\x90", /* noncharacter */
    "\xd7\xa9"
    "a@b",                                                                /* mixed direction */
    "a\xd9\xa1\xd8\xa7@b",                                                /* Arabic must start and end a string that has it */
    "a@b/\xe2\x80\xa8",                                                   /* line separator */
    "a@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", /* a label of 64 */
};
static void what_is_no_address_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(no_addresses); i++) {
        char out[XMPP_JID_MAX + 1] = "";
        err e = parse(slice_str(no_addresses[i]), out, sizeof out);
        if (e != ERR_INVALID) fail_msg("case %zu, '%s': %s, '%s'", i, no_addresses[i], err_name(e), out);
    }
    char out[64];
    assert_int_equal(parse(SLICE("a\0b@c"), out, sizeof out), ERR_INVALID);
    assert_int_equal(parse(SLICE("a@c\0d"), out, sizeof out), ERR_INVALID);
    assert_int_equal(parse(SLICE("a@[::1\0]"), out, sizeof out), ERR_INVALID);
    assert_int_equal(parse(SLICE("a@b/\xc3\xa9\0"), out, sizeof out), ERR_INVALID);
    assert_int_equal(parse(SLICE_NULL, out, sizeof out), ERR_INVALID);
}

static void every_ascii_byte_is_allowed_or_forbidden_as_the_profiles_say(void **state) {
    (void)state;
    for (unsigned c = 0; c < 128; c++) {
        arena a;
        slice out;
        uint8_t text[3] = {'x', (uint8_t)c, 'x'};
        slice in = slice_of(text, 3);
        arena_init(&a, 4096);
        bool printable = c >= ' ' && c < 127;
        bool local = printable && c != ' ' && !memchr("\"&'/:<>@", (int)c, 8);
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        assert_int_equal(xmpp_jid_prep_resource(in, &a, &out) == ERR_OK, printable);
        assert_int_equal(xmpp_jid_saslprep(in, &a, &out) == ERR_OK, printable);
        assert_int_equal(xmpp_jid_prep_local(in, &a, &out) == ERR_OK, local);
        if (local) assert_int_equal(out.p[1], c >= 'A' && c <= 'Z' ? c + 32 : c);
        assert_int_equal(xmpp_jid_prep_domain(in, &a, &out) == ERR_OK, letter || c == '-' || c == '.');
        arena_fini(&a);
    }
}

/* The same answer on the fast path and through libidn: a soft hyphen, which is mapped to nothing, takes the slow one. */
static void the_ascii_path_and_libidn_agree(void **state) {
    (void)state;
    for (unsigned c = 1; c < 128; c++) {
        arena a;
        slice fast = SLICE_NULL, slow = SLICE_NULL;
        uint8_t text[] = {'A', (uint8_t)c, 'b', 0xc2, 0xad};
        arena_init(&a, 4096);
        typedef err prep_fn(slice, arena *, slice *);
        static prep_fn *const preps[] = {xmpp_jid_prep_local, xmpp_jid_prep_domain, xmpp_jid_prep_resource, xmpp_jid_saslprep};
        for (size_t i = 0; i < ARRAY_LEN(preps); i++) {
            err e = preps[i](slice_of(text, 3), &a, &fast);
            err e2 = preps[i](slice_of(text, 5), &a, &slow);
            if (e != e2 || (e == ERR_OK && !slice_eq(fast, slow)))
                fail_msg("byte %u, profile %zu: %s, %s", c, i, err_name(e), err_name(e2));
        }
        arena_fini(&a);
    }
}

static void parts_are_at_most_1023_bytes_before_and_after(void **state) {
    (void)state;
    arena a;
    slice out;
    arena_init(&a, 16384);
    memset(thousand, 'a', sizeof thousand);
    assert_int_equal(xmpp_jid_prep_local(slice_of(thousand, 1023), &a, &out), ERR_OK);
    assert_int_equal(out.len, 1023);
    assert_int_equal(xmpp_jid_prep_local(slice_of(thousand, 1024), &a, &out), ERR_INVALID);
    assert_int_equal(xmpp_jid_prep_resource(slice_of(thousand, 1023), &a, &out), ERR_OK);
    assert_int_equal(xmpp_jid_prep_resource(slice_of(thousand, 1024), &a, &out), ERR_INVALID);
    assert_int_equal(xmpp_jid_saslprep(slice_of(thousand, 1024), &a, &out), ERR_INVALID);
    for (size_t i = 63; i < 1100; i += 64) thousand[i] = '.';
    assert_int_equal(xmpp_jid_prep_domain(slice_of(thousand, 253), &a, &out), ERR_OK);
    assert_int_equal(xmpp_jid_prep_domain(slice_of(thousand, 254), &a, &out), ERR_INVALID); /* what the DNS can hold */
    /* U+FDFA is 3 bytes and becomes 33: 341 of them are not a local part, whatever came in */
    uint8_t long_in[1023];
    for (size_t i = 0; i < sizeof long_in; i += 3) memcpy(long_in + i, "\xef\xb7\xba", 3);
    assert_int_equal(xmpp_jid_prep_resource(slice_of(long_in, 3), &a, &out), ERR_OK);
    assert_int_equal(out.len, 33);
    assert_int_equal(xmpp_jid_prep_resource(slice_of(long_in, 1023), &a, &out), ERR_INVALID);
    assert_int_equal(xmpp_jid_prep_domain(slice_of(long_in, 1023), &a, &out), ERR_INVALID);
    arena_fini(&a);
}

static void a_full_arena_is_a_limit_and_touches_nothing(void **state) {
    (void)state;
    arena a;
    arena_init(&a, 8);
    slice full = SLICE("kept");
    xmpp_jid j = {.domain = SLICE("kept")};
    assert_int_equal(xmpp_jid_parse(SLICE("somebody@example.com"), &a, &j, &full), ERR_LIMIT);
    assert_true(slice_is(full, "kept"));
    assert_true(slice_is(j.domain, "kept"));
    assert_int_equal(xmpp_jid_prep_local(SLICE("somebody-long"), &a, &full), ERR_LIMIT);
    assert_true(slice_is(full, "kept"));
    arena_fini(&a);
}

static void saslprep_follows_rfc_4013(void **state) {
    (void)state;
    static const struct {
        const char *in, *out; /* out NULL: prohibited */
    } cases[] = {
        {"I\xc2\xadX", "IX"},
        {"user", "user"},
        {"USER", "USER"},
        {"\xc2\xaa", "a"},
        {"\xe2\x85\xa8", "IX"}, /* RFC 4013 section 3 */
        {"\x07", NULL},
        {"\xd8\xa7\x31", NULL},
        {"a\xc2\xa0"
         "b",
         "a b"}, /* C.1.2 to a space */
        {"pass word", "pass word"},
        {"\xf0\x9f\x90\xa6", NULL}, /* unassigned: not in a stored string */
        {"", NULL},
        {"\xc2\xad", NULL},
        {"p\xc3\xa4sswort", "p\xc3\xa4sswort"},
        {"p\x61\xcc\x88sswort", "p\xc3\xa4sswort"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        arena a;
        slice out = SLICE_NULL;
        arena_init(&a, 4096);
        err e = xmpp_jid_saslprep(slice_str(cases[i].in), &a, &out);
        if (cases[i].out ? e != ERR_OK || !slice_is(out, cases[i].out) : e != ERR_INVALID) fail_msg("case %zu: %s", i, err_name(e));
        arena_fini(&a);
    }
}

/* --- prep(prep(x)) == prep(x) */
static uint32_t random_point(prng *r) {
    switch (prng_below(r, 8)) {
    case 0: return (uint32_t)(0x20 + prng_below(r, 0x5f));
    case 1: return (uint32_t)(0xa0 + prng_below(r, 0x260));
    case 2: return (uint32_t)(0x300 + prng_below(r, 0x70));   /* combining marks */
    case 3: return (uint32_t)(0x1e00 + prng_below(r, 0x200)); /* Latin and Greek with marks */
    case 4: return (uint32_t)(0x2000 + prng_below(r, 0x400)); /* punctuation, letter-like, enclosed */
    case 5: return (uint32_t)(0xf900 + prng_below(r, 0x600)); /* compatibility forms */
    case 6: return (uint32_t)(1 + prng_below(r, 0xd7ff));
    default: return (uint32_t)(0x10000 + prng_below(r, 0x20000));
    }
}

static size_t random_text(prng *r, uint8_t *out) {
    size_t len = 0;
    for (uint64_t n = 1 + prng_below(r, 6); n > 0; n--) len += utf8_encode(random_point(r), out + len);
    return len;
}

typedef err prep_fn(slice, arena *, slice *);
static unsigned check_idempotent(prep_fn *prep, const char *what, slice in) {
    arena a;
    slice once = SLICE_NULL, twice = SLICE_NULL;
    arena_init(&a, 8192);
    unsigned accepted = prep(in, &a, &once) == ERR_OK;
    if (accepted) {
        assert_true(utf8_valid(once));
        if (prep(once, &a, &twice) != ERR_OK || !slice_eq(once, twice)) {
            fail_msg("%s is not a fixed point: '" SLICE_FMT "' -> '" SLICE_FMT "' -> '" SLICE_FMT "'", what, SLICE_ARG(in), SLICE_ARG(once),
                     SLICE_ARG(twice));
        }
    }
    arena_fini(&a);
    return accepted;
}

static void preparing_again_changes_nothing(void **state) {
    (void)state;
    prng r;
    prng_init(&r, 7622);
    unsigned accepted[4] = {0};
    for (int i = 0; i < 20000; i++) {
        uint8_t text[32];
        slice in = slice_of(text, random_text(&r, text));
        accepted[0] += check_idempotent(xmpp_jid_prep_local, "local", in);
        accepted[1] += check_idempotent(xmpp_jid_prep_resource, "resource", in);
        accepted[2] += check_idempotent(xmpp_jid_saslprep, "saslprep", in);
        accepted[3] += check_idempotent(xmpp_jid_prep_domain, "domain", in);
    }
    for (size_t i = 0; i < 4; i++) assert_true(accepted[i] > 300); /* the test is about texts that pass */
}

/* libidn composes Hangul across a mark and leaves the marks out of order: its own second pass gives another text. */
static void what_libidn_prepares_differently_the_second_time_is_repeated_until_it_stands(void **state) {
    (void)state;
    arena a;
    slice out = SLICE_NULL, again = SLICE_NULL;
    arena_init(&a, 4096);
    assert_int_equal(xmpp_jid_prep_local(SLICE("\xe1\x84\x8a\xcd\xa0\xe1\x85\xa9\xcc\x8f"), &a, &out), ERR_OK);
    assert_true(slice_is(out, "\xec\x8f\x98\xcc\x8f\xcd\xa0"));
    assert_int_equal(xmpp_jid_prep_local(out, &a, &again), ERR_OK);
    assert_true(slice_eq(out, again));
    arena_fini(&a);
}

static void every_single_code_point_is_prepared_to_a_fixed_point(void **state) {
    (void)state;
    for (uint32_t cp = 0x80; cp < 0x30000; cp += cp < 0x3400 || (cp >= 0xf900 && cp < 0x10000) ? 1 : 37) {
        uint8_t text[4];
        slice in = slice_of(text, utf8_encode(cp, text));
        if (in.len == 0) continue;
        (void)check_idempotent(xmpp_jid_prep_local, "local", in);
        (void)check_idempotent(xmpp_jid_prep_domain, "domain", in);
    }
}

static void a_canonical_text_is_split_where_it_was_joined(void **state) {
    (void)state;
    xmpp_jid j;
    assert_true(xmpp_jid_split(SLICE("a@b/c/d@e"), &j));
    assert_true(slice_is(j.local, "a") && slice_is(j.domain, "b") && slice_is(j.resource, "c/d@e"));
    assert_true(xmpp_jid_split(SLICE("b/x@y"), &j));
    assert_null(j.local.p);
    assert_true(slice_is(j.domain, "b") && slice_is(j.resource, "x@y"));
    assert_true(xmpp_jid_split(SLICE("b"), &j));
    assert_true(!j.local.p && !j.resource.p);
    static const char *const bad[] = {"", "@b", "a@", "b/", "a@/c", "/c"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_false(xmpp_jid_split(slice_str(bad[i]), &j));
    assert_true(slice_is(xmpp_jid_bare(SLICE("a@b/c/d")), "a@b"));
    assert_true(slice_is(xmpp_jid_bare(SLICE("b")), "b"));
    assert_true(slice_is(xmpp_jid_resource(SLICE("a@b/c/d")), "c/d"));
    assert_null(xmpp_jid_resource(SLICE("a@b")).p);
    assert_null(xmpp_jid_resource(SLICE_NULL).p);
}

static void a_block_entry_covers_what_xep_0191_says(void **state) {
    (void)state;
    static const struct {
        const char *entry, *address;
        bool match;
    } cases[] = {
        {"u@d/r", "u@d/r", true}, {"u@d/r", "u@d/s", false}, {"u@d/r", "u@d", false}, {"u@d/r", "d/r", false}, {"u@d", "u@d", true},
        {"u@d", "u@d/r", true},   {"u@d", "v@d", false},     {"u@d", "d", false},     {"u@d", "u@e", false},   {"d/r", "d/r", true},
        {"d/r", "d/s", false},    {"d/r", "u@d/r", false},   {"d/r", "d", false},     {"d", "d", true},        {"d", "d/r", true},
        {"d", "u@d", true},       {"d", "u@d/r", true},      {"d", "e", false},       {"d", "u@sub.d", false}, {"sub.d", "d", false},
        {"", "d", false},         {"d", "", false},          {"u@d", "uu@d", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool m = xmpp_jid_block_match(slice_str(cases[i].entry), slice_str(cases[i].address));
        if (m != cases[i].match) fail_msg("%s, %s", cases[i].entry, cases[i].address);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_address_has_one_canonical_form),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(every_ascii_byte_is_allowed_or_forbidden_as_the_profiles_say),
        cmocka_unit_test(the_ascii_path_and_libidn_agree),
        cmocka_unit_test(parts_are_at_most_1023_bytes_before_and_after),
        cmocka_unit_test(a_full_arena_is_a_limit_and_touches_nothing),
        cmocka_unit_test(saslprep_follows_rfc_4013),
        cmocka_unit_test(preparing_again_changes_nothing),
        cmocka_unit_test(what_libidn_prepares_differently_the_second_time_is_repeated_until_it_stands),
        cmocka_unit_test(every_single_code_point_is_prepared_to_a_fixed_point),
        cmocka_unit_test(a_canonical_text_is_split_where_it_was_joined),
        cmocka_unit_test(a_block_entry_covers_what_xep_0191_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
