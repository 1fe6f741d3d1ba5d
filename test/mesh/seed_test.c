/* How a node to be dialled is written (mesh/seed.c). */
#include "mesh/dial.h"
#include "support/cmocka_unit.h"

#include <stdio.h>

typedef struct seed_case {
    const char *own, *text, *name, *addr; /* name: NULL: it is refused, with; addr of a host to be looked up: ? */
    err e;
} seed_case;

static void try_all(const seed_case *cases, size_t n, bool secure) {
    for (size_t i = 0; i < n; i++) {
        mesh_seed s = {.name_len = 0};
        char why[MESH_WHY_MAX] = "", addr[SYS_ADDR_TEXT] = "";
        err e = mesh_seed_parse(slice_str(cases[i].own), secure, slice_str(cases[i].text), &s, why);
        if (e != cases[i].e) fail_msg("'%s': %s (%s)", cases[i].text, err_name(e), why);
        if (e && !strstr(why, cases[i].addr)) fail_msg("'%s': %s", cases[i].text, why);
        if (e) continue;
        if (s.named)
            (void)snprintf(addr, sizeof addr, "?%u", s.addr.port);
        else
            sys_addr_format(&s.addr, addr);
        assert_true(slice_is(mesh_seed_name(&s), cases[i].name));
        assert_string_equal(addr, cases[i].addr);
    }
}

static void without_certificates(void **state) {
    (void)state;
    static const seed_case cases[] = {
        {"m@127.0.0.1", "b@127.0.0.1", "b@127.0.0.1", "127.0.0.1:0", ERR_OK},
        {"m@127.0.0.1", "b@127.0.0.1:9100", "b@127.0.0.1", "127.0.0.1:9100", ERR_OK},
        {"m@127.0.0.1", "b@127.8.9.1:65535", "b@127.8.9.1", "127.8.9.1:65535", ERR_OK},
        {"m@127.0.0.1", "b@::1", "b@::1", "[::1]:0", ERR_OK},
        {"m@127.0.0.1", "b@[::1]:9100", "b@::1", "[::1]:9100", ERR_OK},
        {"m@127.0.0.1", "b@[::1]", "b@::1", "[::1]:0", ERR_OK},
        {"m@box", "b@localhost", "b@localhost", "127.0.0.1:0", ERR_OK},
        {"m@box", "b@box:7", "b@box", "127.0.0.1:7", ERR_OK},
        {"m@box.example", "b@box.example", "b@box.example", "127.0.0.1:0", ERR_OK},
        {"m@127.0.0.1", "m@127.0.0.1", NULL, "is this node itself", ERR_INVALID},
        {"m@127.0.0.1", "m@127.0.0.1:5", NULL, "is this node itself", ERR_INVALID},
        {"m@127.0.0.1", "b@10.0.0.1", NULL, "is not on a loopback address; nodes elsewhere need certificates", ERR_PERM},
        {"m@10.0.0.1", "b@10.0.0.1:7", NULL, "is not on a loopback address", ERR_PERM},
        {"m@127.0.0.1", "b@[fe80::1]:7", NULL, "is not on a loopback address", ERR_PERM},
        {"m@127.0.0.1", "b@other.example", NULL, "is not known to be on this machine; nodes elsewhere need certificates", ERR_PERM},
        {"m@127.0.0.1", "b@localhost", NULL, "has a dot in its host", ERR_INVALID},
        {"m@box", "b@127.0.0.1", NULL, "has a dot in its host", ERR_INVALID},
        {"m@127.0.0.1", "", NULL, "'' is not a node such as", ERR_INVALID},
        {"m@127.0.0.1", "b", NULL, "is not a node such as", ERR_INVALID},
        {"m@127.0.0.1", "b@", NULL, "is not a node such as", ERR_INVALID},
        {"m@127.0.0.1", "@127.0.0.1", NULL, "is not a node such as", ERR_INVALID},
        {"m@127.0.0.1", "b@127.0.0.1:", NULL, "is not a node such as", ERR_INVALID},
        {"m@127.0.0.1", "b@127.0.0.1:0", NULL, "is not a node such as", ERR_INVALID},
        {"m@127.0.0.1", "b@127.0.0.1:65536", NULL, "is not a node such as", ERR_INVALID},
        {"m@127.0.0.1", "b@127.0.0.1:x", NULL, "is not a node such as", ERR_INVALID},
        {"m@127.0.0.1", "b@[::1", NULL, "is not a node such as", ERR_INVALID},
        {"m@127.0.0.1", "b@[]:7", NULL, "is not a node such as", ERR_INVALID},
        {"m@127.0.0.1", "b@[::1]7", NULL, "is not a node such as", ERR_INVALID},
        {"m@127.0.0.1", "b@c@127.0.0.1", NULL, "is not a node such as", ERR_INVALID},
        {"m@127.0.0.1", "b\x01@127.0.0.1", NULL, "'b\\x01@127.0.0.1' is not a node such as", ERR_INVALID},
    };
    try_all(cases, ARRAY_LEN(cases), false);
}

static void with_certificates(void **state) {
    (void)state;
    static const seed_case cases[] = {
        {"m@127.0.0.1", "b@10.0.0.1", "b@10.0.0.1", "10.0.0.1:0", ERR_OK},
        {"m@127.0.0.1", "b@[fe80::1]:7", "b@fe80::1", "[fe80::1]:7", ERR_OK},
        {"m@a.example", "b@b.example", "b@b.example", "?0", ERR_OK},
        {"m@a.example", "b@b.example:77", "b@b.example", "?77", ERR_OK},
        {"m@a.example", "b@a.example:77", "b@a.example", "?77", ERR_OK},
        {"m@box", "b@localhost:77", "b@localhost", "127.0.0.1:77", ERR_OK},
        {"m@box", "b@b.example", NULL, "has a dot in its host", ERR_INVALID},
    };
    try_all(cases, ARRAY_LEN(cases), true);
}

/* A name as long as may be with a port fits; one byte more is refused. */
static void as_long_as_may_be(void **state) {
    (void)state;
    char text[MESH_SEED_MAX + 2], why[MESH_WHY_MAX];
    mesh_seed s;
    for (size_t more = 0; more < 2; more++) {
        size_t alive = DIST_NAME_MAX - strlen("@127.0.0.1") + more;
        memset(text, 'b', alive);
        memcpy(text + alive, "@127.0.0.1:65535", sizeof "@127.0.0.1:65535");
        assert_int_equal(mesh_seed_parse(SLICE("m@127.0.0.1"), false, slice_str(text), &s, why), more ? ERR_INVALID : ERR_OK);
    }
    assert_int_equal(mesh_seed_check(SLICE("m@127.0.0.1"), false, SLICE("b@127.0.0.1"), why), ERR_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(without_certificates), cmocka_unit_test(with_certificates),
                                       cmocka_unit_test(as_long_as_may_be)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
