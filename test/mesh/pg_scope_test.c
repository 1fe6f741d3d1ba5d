/* What a scope of process groups knows and says (mesh/pg_scope.h), message by message; and against a list of who joined what. */
#include "base/mem.h"
#include "base/prng.h"
#include "mesh/pg_scope.h"
#include "proto/etf/term.h"
#include "support/cmocka_unit.h"

#include <stdio.h>

static const hash_key key = {1, 2};
static const etf_pid self = {.node = {(const uint8_t *)"murre@h", 7}, .id = 1, .serial = 1, .creation = 9};
static struct {
    mesh_pg_scope s;
    mesh_pg_node *a, *b; /* nodes 1 and 2 */
    mesh_pg_todo todo;
} t;

static void begin(void) {
    mesh_pg_scope_init(&t.s, &key, &self);
    t.a = mesh_pg_scope_node_up(&t.s, 1, 5, RT_PID_NONE, SLICE("a@h"));
    t.b = mesh_pg_scope_node_up(&t.s, 2, 6, RT_PID_NONE, SLICE("b@h"));
}
static void end(void) { mesh_pg_scope_fini(&t.s); }

static rt_pid here(uint32_t n) { return (rt_pid){0, n, 1}; }
static rt_pid there(uint32_t node, uint32_t n) { return (rt_pid){node, n, 0}; }

/* --- terms, from text: <N.M> is process M of node N (1: a@h, 2: b@h), <N.M!> of an earlier life of it; all else as etf_parse has it ------
 */
static slice number(slice text, uint32_t *out) {
    *out = 0;
    while (text.len && text.p[0] >= '0' && text.p[0] <= '9') {
        *out = *out * 10 + (uint32_t)(text.p[0] - '0');
        text = slice_from(text, 1);
    }
    return text;
}

static slice put_pid(slice text, buf *out) {
    uint32_t node, id;
    text = number(slice_from(text, 1), &node);
    text = number(slice_from(text, 1), &id);
    bool old = text.p[0] == '!';
    etf_pid p = {.node = node == 1 ? SLICE("a@h") : SLICE("b@h"), .id = id, .creation = (node == 1 ? 5u : 6u) - (old ? 1u : 0u)};
    etf_put_pid(out, &p);
    return slice_from(text, old ? 2 : 1);
}

static slice put(slice text, buf *out);
static slice put_row(slice text, char close, buf *items, uint32_t *n) {
    text = slice_from(text, 1);
    for (*n = 0; text.p[0] != (uint8_t)close; ++*n) {
        text = put(text, items);
        while (text.p[0] == ',' || text.p[0] == ' ') text = slice_from(text, 1);
    }
    return slice_from(text, 1);
}

static slice put(slice text, buf *out) {
    buf items;
    uint32_t n = 0;
    size_t at = 0;
    if (text.p[0] == '<' && text.p[1] != '<') return put_pid(text, out);
    buf_init(&items, SIZE_MAX);
    if (text.p[0] == '{' || text.p[0] == '[') {
        bool tuple = text.p[0] == '{';
        text = put_row(text, tuple ? '}' : ']', &items, &n);
        if (tuple)
            etf_put_tuple(out, n);
        else if (n)
            etf_put_list(out, n);
        buf_add(out, buf_slice(&items));
        if (!tuple) etf_put_nil(out);
        buf_fini(&items);
        return text;
    }
    buf_fini(&items);
    unsigned depth = 0; /* of a map, a binary or an atom: to the next , or ] or } outside */
    bool quoted = false;
    for (; at < text.len; at++) {
        uint8_t c = text.p[at];
        if (c == '"' || c == '\'') quoted = !quoted;
        if (quoted) continue;
        if (depth == 0 && (c == ',' || c == ']' || c == '}')) break;
        if (c == '{' || c == '[') depth++;
        if (c == '}' || c == ']') depth--;
    }
    size_t bad;
    assert_int_equal(etf_parse(slice_sub(text, 0, at), out, &bad), ERR_OK);
    return slice_from(text, at);
}

static void hear_from(mesh_pg_node *n, const char *text) {
    buf b;
    buf_init(&b, SIZE_MAX);
    etf_put_version(&b);
    assert_int_equal(put(slice_str(text), &b).len, 0);
    assert_true(buf_ok(&b));
    mesh_pg_scope_hear(&t.s, n, buf_slice(&b), &t.todo);
    buf_fini(&b);
}
static void hear(const char *text) { hear_from(t.a, text); }

static void todo_is(bool sync, bool watch, bool discover, mesh_pg_fault fault) {
    assert_int_equal(t.todo.sync, sync);
    assert_int_equal(t.todo.watch, watch);
    assert_int_equal(t.todo.discover, discover);
    assert_int_equal(t.todo.fault, fault);
}

static buf group_of(const char *text) {
    buf b;
    buf_init(&b, SIZE_MAX);
    assert_int_equal(put(slice_str(text), &b).len, 0);
    return b;
}

/* Members as node.number, each as often as it has joined. */
static void is(const char *group, const char *want) {
    buf g = group_of(group), rows, text;
    buf_init(&rows, SIZE_MAX);
    buf_init(&text, SIZE_MAX);
    mesh_pg_scope_members(&t.s, buf_slice(&g), SIZE_MAX, &rows);
    for (size_t i = 0; i < rows.len; i += sizeof(mesh_pg_member)) {
        mesh_pg_member m;
        memcpy(&m, rows.p + i, sizeof m);
        for (uint32_t k = 0; k < m.times; k++) buf_addf(&text, "%s%u.%u", text.len ? " " : "", m.pid.node, m.pid.slot);
    }
    if (!slice_is(buf_slice(&text), want)) fail_msg("%s: '" SLICE_FMT "' is not '%s'", group, SLICE_ARG(buf_slice(&text)), want);
    buf_fini(&g);
    buf_fini(&rows);
    buf_fini(&text);
}

static void says(void (*what)(const mesh_pg_scope *s, buf *out), const char *want) {
    buf b, text;
    arena a;
    const etf_term *term;
    buf_init(&b, SIZE_MAX);
    buf_init(&text, SIZE_MAX);
    arena_init(&a, SIZE_MAX);
    what(&t.s, &b);
    etf_reader r = etf_reader_of(buf_slice(&b));
    assert_true(buf_ok(&b) && etf_get_version(&r));
    assert_int_equal(etf_term_read(&r, &a, &term), ERR_OK);
    assert_int_equal(cursor_left(&r.in), 0);
    etf_format(term, &text);
    if (!slice_is(buf_slice(&text), want)) fail_msg("'" SLICE_FMT "' is not '%s'", SLICE_ARG(buf_slice(&text)), want);
    arena_fini(&a);
    buf_fini(&b);
    buf_fini(&text);
}

static err join_one(const char *group, uint32_t n) {
    buf g = group_of(group);
    mesh_pg_owner *o = NULL;
    bool is_new;
    err e = mesh_pg_scope_join(&t.s, buf_slice(&g), here(n), &o, &is_new);
    if (!e && is_new) o->watch = 1000 + n;
    buf_fini(&g);
    return e;
}
static uint64_t last;
static err leave_one(const char *group, uint32_t n) {
    buf g = group_of(group);
    last = 7;
    err e = mesh_pg_scope_leave(&t.s, buf_slice(&g), here(n), &last);
    buf_fini(&g);
    return e;
}

/* --- peers ------------------------------------------------------------------------------------------------------------------------- */
static void a_discover_is_answered(void **state) {
    (void)state;
    begin();
    hear("{discover, <1.10>}");
    assert_true(rt_pid_eq(t.todo.peer, there(1, 10)));
    todo_is(true, true, true, MESH_PG_FINE);
    hear("{discover, <1.10>}");
    todo_is(true, false, false, MESH_PG_FINE);
    hear("{discover, <1.11>, 1}"); /* as OTP 29 has it */
    todo_is(true, true, true, MESH_PG_FINE);
    hear_from(t.b, "{discover, <1.12>}"); /* not its own */
    todo_is(false, false, false, MESH_PG_FINE);
    hear("{discover, <1.12!>}"); /* of an earlier life */
    todo_is(false, false, false, MESH_PG_FINE);
    end();
}

static void what_is_unknown_is_ignored(void **state) {
    (void)state;
    static const char *const texts[] = {"hello",
                                        "{hello, <1.10>}",
                                        "{discover}",
                                        "{discover, 1}",
                                        "{discover, <1.11>, 1, 2}",
                                        "{sync, <1.10>, []}",
                                        "{'$gen_cast', hello}",
                                        "{'$gen_cast', {sync, <1.10>}}",
                                        "{'$gen_cast', {discover, <1.11>}}",
                                        "{'$gen_call', {<1.11>, tag}, {sync, <1.10>, []}}",
                                        "{'$gen_cast', {sync, <1.10>, hello}}",
                                        "{'$gen_cast', {sync, <1.10>, [{b, [<1.1>]}, hello]}}",
                                        "{'$gen_cast', {sync, <1.10>, [{b, [<1.1>]}, {c, [<1.1>, 7]}]}}",
                                        "{'$gen_cast', {sync, <1.10>, [{b, <1.1>, c}]}}",
                                        "{join, <1.10>, b}",
                                        "{join, <1.10>, b, hello}",
                                        "{join, <1.10>, b, [<1.2>, hello]}",
                                        "{join, <1.11>, b, <1.2>}", /* not discovered */
                                        "{leave, <1.11>, <1.1>, [a]}",
                                        "{leave, <1.10>, <1.1>, a}",
                                        "{leave, <1.10>, [<1.1>, hello], [a]}",
                                        "{leave, <1.10>, hello, [a]}",
                                        "{local_data, <1.10>, 1, #{b => []}}"};
    begin();
    hear("{discover, <1.10>}");
    hear("{join, <1.10>, a, <1.1>}");
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        hear(texts[i]);
        todo_is(false, false, false, MESH_PG_FINE);
        is("a", "1.1");
        is("b", "");
    }
    mesh_pg_scope_hear(&t.s, t.a, SLICE("\x83"), &t.todo); /* no term at all */
    mesh_pg_scope_hear(&t.s, t.a, SLICE(""), &t.todo);
    assert_int_equal(t.s.groups.count, 1);
    assert_int_equal(t.s.owners.count, 1);
    end();
}

static void peers_join_and_leave(void **state) {
    (void)state;
    begin();
    hear("{discover, <1.10>}");
    hear("{join, <1.10>, a, <1.1>}");
    hear("{join, <1.10>, a, [<1.2>, <1.1>]}");
    hear("{join, <1.10>, {b, \"x\"}, [<1.1>]}");
    hear("{join, <1.10>, a, [<2.9>, <1.3!>]}"); /* it does not speak for these */
    hear("{join, <1.10>, a, []}");
    is("a", "1.1 1.1 1.2");
    is("{b, \"x\"}", "1.1");
    hear("{leave, <1.10>, <1.1>, [a]}");
    is("a", "1.1 1.2");
    hear("{leave, <1.10>, <1.3>, [a, nothing]}"); /* it is in neither */
    hear("{leave, <1.10>, [<1.2>, <1.1>], [{b, \"x\"}, a]}");
    is("a", "");
    is("{b, \"x\"}", "");
    assert_int_equal(t.s.groups.count, 0);
    hear("{join, <1.10>, a, [<1.1>, <1.1>]}");
    hear("{leave, <1.10>, <1.1>, [a, a]}"); /* as it is said of one that has ended */
    is("a", "");
    end();
}

/* A list of small integers is sent as a string: so are groups that are such integers. */
static void groups_that_are_integers(void **state) {
    (void)state;
    begin();
    hear("{discover, <1.10>}");
    hear("{join, <1.10>, 7, <1.1>}");
    hear("{join, <1.10>, 200, <1.1>}");
    hear("{leave, <1.10>, <1.1>, \"\\x07\\xc8\"}");
    is("7", "");
    is("200", "");
    end();
}

static void a_sync_is_all_there_is(void **state) {
    (void)state;
    begin();
    hear("{'$gen_cast', {sync, <1.10>, [{a, [<1.1>, <1.2>, <1.1>]}, {b, [<1.3>]}]}}"); /* from one that was not known */
    todo_is(false, true, false, MESH_PG_FINE);
    is("a", "1.1 1.1 1.2");
    is("b", "1.3");
    hear_from(t.b, "{'$gen_cast', {sync, <2.10>, [{b, [<2.3>]}]}}");
    hear("{'$gen_cast', {sync, <1.10>, [{a, [<1.2>, <1.2>]}, {c, [<1.4>]}]}}");
    todo_is(false, false, false, MESH_PG_FINE);
    is("a", "1.2 1.2");
    is("b", "2.3");
    is("c", "1.4");
    hear("{'$gen_cast', {sync, <1.10>, []}}");
    is("a", "");
    is("c", "");
    end();
}

static void a_node_goes_with_all_it_has(void **state) {
    (void)state;
    begin();
    hear("{'$gen_cast', {sync, <1.10>, [{a, [<1.1>]}]}}");
    hear("{'$gen_cast', {sync, <1.11>, [{a, [<1.2>]}]}}");
    hear_from(t.b, "{'$gen_cast', {sync, <2.10>, [{a, [<2.1>]}]}}");
    mesh_pg_scope_forget(&t.s, mesh_pg_scope_owner(&t.s, there(1, 10))); /* this scope has ended */
    is("a", "1.2 2.1");
    mesh_pg_scope_node_down(&t.s, t.a);
    is("a", "2.1");
    assert_null(mesh_pg_scope_node(&t.s, 1));
    assert_null(mesh_pg_scope_owner(&t.s, there(1, 11)));
    end();
}

/* --- here -------------------------------------------------------------------------------------------------------------------------- */
static void put_join_a(const mesh_pg_scope *s, buf *out) {
    mesh_pg_scope_put_join(s,
                           SLICE("w\x01"
                                 "a"),
                           here(1), out);
}
static void put_leave_a(const mesh_pg_scope *s, buf *out) {
    mesh_pg_scope_put_leave(s,
                            SLICE("w\x01"
                                  "a"),
                            here(1), out);
}
static void put_gone_1(const mesh_pg_scope *s, buf *out) { mesh_pg_scope_put_gone(s, mesh_pg_scope_owner(s, here(1)), out); }

static void processes_of_this_node(void **state) {
    (void)state;
    begin();
    says(mesh_pg_scope_put_discover, "{discover,<murre@h.1.1>}");
    says(mesh_pg_scope_put_sync, "{'$gen_cast',{sync,<murre@h.1.1>,[]}}");
    assert_int_equal(leave_one("a", 1), ERR_NOT_FOUND);
    assert_int_equal(join_one("a", 1), ERR_OK);
    says(put_join_a, "{join,<murre@h.1.1>,a,<murre@h.1.1>}");
    assert_int_equal(join_one("a", 1), ERR_OK);
    assert_int_equal(join_one("b", 1), ERR_OK);
    assert_int_equal(join_one("a", 2), ERR_OK);
    hear("{'$gen_cast', {sync, <1.10>, [{a, [<1.1>]}]}}");
    is("a", "0.1 0.1 0.2 1.1");
    says(mesh_pg_scope_put_sync,
         "{'$gen_cast',{sync,<murre@h.1.1>,[{a,[<murre@h.1.1>,<murre@h.1.1>,<murre@h.2.1>]},{b,[<murre@h.1.1>]}]}}");
    says(put_gone_1, "{leave,<murre@h.1.1>,<murre@h.1.1>,[a,a,b]}");
    says(put_leave_a, "{leave,<murre@h.1.1>,<murre@h.1.1>,[a]}");
    assert_int_equal(leave_one("c", 1), ERR_NOT_FOUND);
    assert_int_equal(leave_one("a", 3), ERR_NOT_FOUND);
    assert_int_equal(leave_one("a", 1), ERR_OK);
    assert_int_equal(leave_one("b", 1), ERR_OK);
    assert_int_equal(last, 0);
    assert_int_equal(leave_one("a", 1), ERR_OK);
    assert_int_equal(last, 1001); /* it is in nothing more: this monitor can go */
    assert_null(mesh_pg_scope_owner(&t.s, here(1)));
    assert_int_equal(leave_one("a", 1), ERR_NOT_FOUND);
    mesh_pg_scope_forget(&t.s, mesh_pg_scope_owner(&t.s, here(2)));
    is("a", "1.1");
    says(mesh_pg_scope_put_sync, "{'$gen_cast',{sync,<murre@h.1.1>,[]}}");
    end();
}

static void what_is_no_group(void **state) {
    (void)state;
    mesh_pg_owner *o;
    bool is_new;
    uint64_t none;
    begin();
    assert_int_equal(mesh_pg_scope_join(&t.s, SLICE(""), here(1), &o, &is_new), ERR_INVALID);
    assert_int_equal(mesh_pg_scope_join(&t.s,
                                        SLICE("a\x07"
                                              "a\x07"),
                                        here(1), &o, &is_new),
                     ERR_INVALID); /* two terms */
    assert_int_equal(mesh_pg_scope_join(&t.s, SLICE("a\x07"), there(1, 1), &o, &is_new), ERR_INVALID);
    assert_int_equal(mesh_pg_scope_join(&t.s, SLICE("a\x07"), RT_PID_NONE, &o, &is_new), ERR_INVALID);
    assert_int_equal(mesh_pg_scope_leave(&t.s, SLICE("a"), here(1), &none), ERR_INVALID);
    assert_int_equal(t.s.owners.count, 0);
    end();
}

/* A map is the same in every order of its keys, and within any term. */
static void maps_in_names(void **state) {
    (void)state;
    static const uint8_t ba[] = "\x83h\x04w\x04joinX\x77\x03"
                                "a@h\0\0\0\x0a\0\0\0\0\0\0\0\x05t\0\0\0\x02"
                                "a\x02"
                                "a\x01"
                                "a\x01"
                                "a\x02"
                                "X\x77\x03"
                                "a@h\0\0\0\x01\0\0\0\0\0\0\0\x05";
    begin();
    hear("{discover, <1.10>}");
    mesh_pg_scope_hear(&t.s, t.a, slice_of(ba, sizeof ba - 1), &t.todo); /* #{2 => 1, 1 => 2} */
    is("#{1 => 2, 2 => 1}", "1.1");
    assert_int_equal(join_one("{x, #{1 => 2, 2 => 1}}", 1), ERR_OK);
    is("{x, #{2 => 1, 1 => 2}}", "0.1");
    assert_int_equal(leave_one("{x, #{2 => 1, 1 => 2}}", 1), ERR_OK);
    assert_int_equal(t.s.groups.count, 1);
    end();
}

/* --- bounds ------------------------------------------------------------------------------------------------------------------------- */
static void a_peer_that_has_too_much_is_left_out(void **state) {
    (void)state;
    begin();
    t.s.peer_max = 1000;
    hear("{discover, <1.10>}");
    hear_from(t.b, "{'$gen_cast', {sync, <2.10>, [{a, [<2.1>]}]}}");
    unsigned n = 0;
    for (; !t.todo.fault; n++) {
        char text[64];
        assert_true(n < 20);
        (void)snprintf(text, sizeof text, "{join, <1.10>, a, <1.%u>}", n);
        hear(text);
    }
    todo_is(false, false, false, MESH_PG_TOO_MUCH);
    assert_true(n > 2);
    is("a", "2.1");
    assert_int_equal(mesh_pg_scope_owner(&t.s, there(1, 10))->bytes, 0);
    hear("{join, <1.10>, a, <1.1>}"); /* is not listened to any more */
    todo_is(false, false, false, MESH_PG_FINE);
    hear("{leave, <1.10>, <1.1>, [a]}");
    is("a", "2.1");
    hear("{'$gen_cast', {sync, <1.10>, [{a, [<1.1>,<1.2>,<1.3>,<1.4>,<1.5>,<1.6>,<1.7>,<1.8>,<1.9>]}]}}"); /* still too much: said once */
    todo_is(false, false, false, MESH_PG_FINE);
    is("a", "2.1");
    hear("{'$gen_cast', {sync, <1.10>, [{a, [<1.1>]}]}}");
    is("a", "2.1 1.1");
    hear("{'$gen_cast', {sync, <1.10>, [{a, [<1.1>, <1.2>]}]}}"); /* what was before does not count */
    hear("{'$gen_cast', {sync, <1.10>, [{a, [<1.3>, <1.4>]}]}}");
    is("a", "2.1 1.3 1.4");
    hear("{join, <1.10>, b, <1.1>}");
    is("b", "1.1");
    end();
}

static void all_peers_together(void **state) {
    (void)state;
    begin();
    hear("{discover, <1.10>}");
    hear("{join, <1.10>, a, <1.1>}");
    t.s.bytes_max = t.s.bytes;
    hear_from(t.b, "{discover, <2.10>}");
    hear_from(t.b, "{join, <2.10>, b, <2.1>}");
    todo_is(false, false, false, MESH_PG_TOO_MUCH);
    is("a", "1.1");
    is("b", "");
    assert_int_equal(t.s.groups.count, 1);
    end();
}

static void a_node_has_few_scopes(void **state) {
    (void)state;
    char text[64];
    begin();
    for (unsigned i = 0; i < MESH_PG_PEERS_MAX; i++) {
        (void)snprintf(text, sizeof text, "{discover, <1.%u>}", 10 + i);
        hear(text);
        todo_is(true, true, true, MESH_PG_FINE);
    }
    hear("{discover, <1.99>}");
    todo_is(false, false, false, MESH_PG_MANY_PEERS);
    hear("{'$gen_cast', {sync, <1.99>, [{a, [<1.1>]}]}}");
    todo_is(false, false, false, MESH_PG_MANY_PEERS);
    is("a", "");
    hear_from(t.b, "{discover, <2.10>}");
    todo_is(true, true, true, MESH_PG_FINE);
    mesh_pg_scope_forget(&t.s, mesh_pg_scope_owner(&t.s, there(1, 10)));
    hear("{discover, <1.99>}");
    todo_is(true, true, true, MESH_PG_FINE);
    end();
}

static char *long_name(size_t len) { /* an atom has 255 characters: a binary */
    char *s = mem_zalloc(len + 16);
    memset(s, 'x', len + 10);
    memcpy(s, "<<\"", 3);
    memcpy(s + len - 5 + 3, "\">>", 4); /* len bytes as a term */
    return s;
}

static void names_that_are_too_long(void **state) {
    (void)state;
    char *fits = long_name(MESH_PG_GROUP_MAX), *does_not = long_name(MESH_PG_GROUP_MAX + 1);
    char *text = mem_zalloc(2 * MESH_PG_GROUP_MAX + 200);
    begin();
    assert_int_equal(join_one(fits, 1), ERR_OK);
    assert_int_equal(join_one(does_not, 1), ERR_LIMIT);
    hear("{discover, <1.10>}");
    (void)snprintf(text, 2 * MESH_PG_GROUP_MAX + 200, "{join, <1.10>, %s, <1.1>}", does_not);
    hear(text);
    todo_is(false, false, false, MESH_PG_LONG_GROUP);
    hear(text); /* said once */
    todo_is(false, false, false, MESH_PG_FINE);
    (void)snprintf(text, 2 * MESH_PG_GROUP_MAX + 200, "{'$gen_cast', {sync, <1.10>, [{%s, [<1.1>]}, {a, [<1.1>]}]}}", does_not);
    hear(text);
    is("a", "1.1");
    (void)snprintf(text, 2 * MESH_PG_GROUP_MAX + 200, "{join, <1.10>, %s, <1.1>}", fits);
    hear(text);
    is(fits, "0.1 1.1");
    (void)snprintf(text, 2 * MESH_PG_GROUP_MAX + 200, "{leave, <1.10>, <1.1>, [%s, %s]}", does_not, fits);
    hear(text);
    is(fits, "0.1");
    end();
    mem_free(fits);
    mem_free(does_not);
    mem_free(text);
}

/* What this node has in groups fits into one sync, whose size is known before it is written. */
static void this_node_has_a_bound_too(void **state) {
    (void)state;
    buf b;
    buf_init(&b, SIZE_MAX);
    begin();
    t.s.here_max = 1000;
    unsigned n = 0;
    while (join_one(n % 2 ? "a" : "{some, <<\"other\">>}", n / 3 + 1) == ERR_OK) assert_true(++n < 100);
    assert_int_equal(join_one("a", 1), ERR_LIMIT);
    assert_int_equal(join_one("new", 77), ERR_LIMIT);
    assert_null(mesh_pg_scope_owner(&t.s, here(77)));
    mesh_pg_scope_put_sync(&t.s, &b);
    assert_true(b.len > 300 && b.len < 1000 + 64);
    assert_int_equal(leave_one("{some, <<\"other\">>}", 1), ERR_OK);
    assert_int_equal(join_one("a", 1), ERR_OK);
    end();
    buf_fini(&b);
}

/* --- looking ------------------------------------------------------------------------------------------------------------------------ */
static void rows(void **state) {
    (void)state;
    buf b;
    slice name;
    uint32_t index;
    uint64_t one, other;
    buf_init(&b, SIZE_MAX);
    begin();
    assert_int_equal(join_one("a", 1), ERR_OK);
    assert_int_equal(join_one("a", 1), ERR_OK);
    hear("{'$gen_cast', {sync, <1.10>, [{a, [<1.1>, <1.2>]}]}}");
    mesh_pg_scope_shares(&t.s, 9, &b); /* b@h has no such scope */
    cursor c = cursor_of(buf_slice(&b));
    assert_true(cursor_u32le(&c, &index) && cursor_u64le(&c, &one) && cursor_lslice(&c, &name));
    assert_true(index == 0 && one == 2 && slice_is(name, "murre@h"));
    assert_true(cursor_u32le(&c, &index) && cursor_u64le(&c, &one) && cursor_lslice(&c, &name) && cursor_left(&c) == 0);
    assert_true(index == 1 && one == 2 && slice_is(name, "a@h"));
    buf_reset(&b);
    mesh_pg_scope_shares(&t.s, 1, &b);
    assert_int_equal(b.len, 4 + 8 + 4 + 7);
    buf_reset(&b);
    mesh_pg_scope_groups(&t.s, 9, &b);
    c = cursor_of(buf_slice(&b));
    assert_true(cursor_u64le(&c, &one) && cursor_u64le(&c, &other) && cursor_lslice(&c, &name) && cursor_left(&c) == 0);
    assert_true(one == 2 && other == 2 &&
                slice_eq(name, SLICE("w\x01"
                                     "a")));
    buf_reset(&b);
    mesh_pg_scope_members(&t.s,
                          SLICE("w\x01"
                                "a"),
                          2, &b);
    assert_int_equal(b.len, 2 * sizeof(mesh_pg_member));
    end();
    buf_fini(&b);
}

/* --- against a list ----------------------------------------------------------------------------------------------------------------- */
#define OWNERS 4u /* 0: this node; 1, 2: peers of a@h; 3: a peer of b@h */
#define GROUPS 5u
#define PIDS   6u
static unsigned model[OWNERS][GROUPS][PIDS];
static uint32_t node_of(unsigned owner) { return owner == 0 ? 0 : owner < 3 ? 1 : 2; }

static void agrees(void) {
    buf rows_, g;
    buf_init(&rows_, SIZE_MAX);
    for (unsigned group = 0; group < GROUPS; group++) {
        unsigned want[3][PIDS] = {0}, got[3][PIDS] = {0};
        char name[8];
        (void)snprintf(name, sizeof name, "g%u", group);
        for (unsigned o = 0; o < OWNERS; o++)
            for (unsigned p = 0; p < PIDS; p++) want[node_of(o)][p] += model[o][group][p];
        g = group_of(name);
        buf_reset(&rows_);
        mesh_pg_scope_members(&t.s, buf_slice(&g), SIZE_MAX, &rows_);
        for (size_t i = 0; i < rows_.len; i += sizeof(mesh_pg_member)) {
            mesh_pg_member m;
            memcpy(&m, rows_.p + i, sizeof m);
            got[m.pid.node][m.pid.slot - 100] += m.times;
        }
        assert_memory_equal(want, got, sizeof want);
        buf_fini(&g);
    }
    buf_fini(&rows_);
}

static void peer_step(prng *r, unsigned o) {
    char text[512];
    unsigned node = node_of(o), group = (unsigned)prng_below(r, GROUPS), p = (unsigned)prng_below(r, PIDS),
             q = (unsigned)prng_below(r, PIDS);
    mesh_pg_node *n = node == 1 ? t.a : t.b;
    if (prng_chance(r, 1, 20)) {
        memset(model[o], 0, sizeof model[o]);
        model[o][group][p]++, model[o][group][q]++;
        (void)snprintf(text, sizeof text, "{'$gen_cast', {sync, <%u.%u>, [{g%u, [<%u.%u>, <%u.%u>]}]}}", node, 10 + o, group, node, 100 + p,
                       node, 100 + q);
    } else if (prng_chance(r, 1, 2)) {
        model[o][group][p]++, model[o][group][q]++;
        (void)snprintf(text, sizeof text, "{join, <%u.%u>, g%u, [<%u.%u>, <%u.%u>]}", node, 10 + o, group, node, 100 + p, node, 100 + q);
    } else {
        if (model[o][group][p]) model[o][group][p]--;
        (void)snprintf(text, sizeof text, "{leave, <%u.%u>, <%u.%u>, [g%u]}", node, 10 + o, node, 100 + p, group);
    }
    hear_from(n, text);
}

static void own_step(prng *r) {
    unsigned group = (unsigned)prng_below(r, GROUPS), p = (unsigned)prng_below(r, PIDS);
    char name[8];
    (void)snprintf(name, sizeof name, "g%u", group);
    if (prng_chance(r, 1, 10)) {
        mesh_pg_owner *o = mesh_pg_scope_owner(&t.s, here(100 + p));
        if (o) mesh_pg_scope_forget(&t.s, o);
        for (unsigned g = 0; g < GROUPS; g++) model[0][g][p] = 0;
    } else if (prng_chance(r, 1, 2)) {
        assert_int_equal(join_one(name, 100 + p), ERR_OK);
        model[0][group][p]++;
    } else {
        assert_int_equal(leave_one(name, 100 + p), model[0][group][p] ? ERR_OK : ERR_NOT_FOUND);
        if (model[0][group][p]) model[0][group][p]--;
    }
}

static void it_agrees_with_a_list(void **state) {
    (void)state;
    prng r;
    prng_init(&r, 42);
    memset(model, 0, sizeof model);
    begin();
    hear("{discover, <1.11>}");
    hear("{discover, <1.12>}");
    hear_from(t.b, "{discover, <2.13>}");
    for (unsigned i = 0; i < 20000; i++) {
        unsigned o = (unsigned)prng_below(&r, OWNERS);
        if (o)
            peer_step(&r, o);
        else
            own_step(&r);
        if (i % 16 == 0) agrees();
    }
    mesh_pg_scope_node_down(&t.s, t.a);
    memset(model[1], 0, sizeof model[1]);
    memset(model[2], 0, sizeof model[2]);
    agrees();
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_discover_is_answered),
        cmocka_unit_test(what_is_unknown_is_ignored),
        cmocka_unit_test(peers_join_and_leave),
        cmocka_unit_test(groups_that_are_integers),
        cmocka_unit_test(a_sync_is_all_there_is),
        cmocka_unit_test(a_node_goes_with_all_it_has),
        cmocka_unit_test(processes_of_this_node),
        cmocka_unit_test(what_is_no_group),
        cmocka_unit_test(maps_in_names),
        cmocka_unit_test(a_peer_that_has_too_much_is_left_out),
        cmocka_unit_test(all_peers_together),
        cmocka_unit_test(a_node_has_few_scopes),
        cmocka_unit_test(names_that_are_too_long),
        cmocka_unit_test(this_node_has_a_bound_too),
        cmocka_unit_test(rows),
        cmocka_unit_test(it_agrees_with_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
