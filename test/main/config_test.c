/* config: every key's default, unit and range from the table itself; the file, the command line, and each way to get them wrong. */
#include "main/config.h"
#include "support/cmocka_unit.h"
#include "support/tmpdir.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef enum kind { STR, LIST, BOOL, NUM, TIME, BYTES } kind;
typedef struct row {
    const char *name;
    kind kind;
    const char *def;
    int64_t min, max;
    size_t offset;
} row;
static const row ROWS[] = {
#define KEY(member, name, KIND, def, min, max, unit, doc) {name, KIND, def, min, max, offsetof(config, member)},
#include "main/config.def"
#undef KEY
};

typedef struct fixture {
    config c;
    char why[CONFIG_WHY_MAX];
} fixture;
static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    config_init(&f->c);
    *state = f;
    return 0;
}
static int teardown(void **state) {
    fixture *f = *state;
    config_fini(&f->c);
    free(f);
    return 0;
}

static err set(fixture *f, const char *text) {
    f->why[0] = 0;
    return config_set(&f->c, text, f->why);
}
static err read_text(fixture *f, const char *text) {
    f->why[0] = 0;
    return config_read_text(&f->c, "f", slice_str(text), f->why);
}
static void refused(fixture *f, const char *text, const char *why) {
    config_fini(&f->c);
    config_init(&f->c);
    if (read_text(f, text) != ERR_CONFIG || strcmp(f->why, why) != 0) fail_msg("%s\n  said: %s\n  not:  %s", text, f->why, why);
}
static void refused_set(fixture *f, const char *text, const char *why) {
    if (set(f, text) != ERR_CONFIG || strcmp(f->why, why) != 0) fail_msg("%s\n  said: %s\n  not:  %s", text, f->why, why);
}
static int64_t number_at(const config *c, const row *r) { return *(const int64_t *)((const char *)c + r->offset); }
static const config_list *list_at(const config *c, const row *r) { return (const config_list *)((const char *)c + r->offset); }
static bool is_number(const row *r) { return r->kind == NUM || r->kind == TIME || r->kind == BYTES; }

/* --- the table */
static void every_key_has_its_default(void **state) {
    fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        const row *r = &ROWS[i];
        const void *at = (const char *)&f->c + r->offset;
        if (r->kind == STR) assert_string_equal(*(char *const *)at, r->def);
        if (r->kind == BOOL) assert_int_equal(*(const bool *)at, strcmp(r->def, "true") == 0);
        if (is_number(r)) assert_true(number_at(&f->c, r) >= r->min && number_at(&f->c, r) <= r->max);
        if (r->kind == LIST && *r->def) assert_memory_equal(r->def, list_at(&f->c, r)->v[0], strcspn(r->def, ","));
        if (r->kind == LIST) assert_int_equal(list_at(&f->c, r)->n == 0, !*r->def);
    }
}

static void the_keys_that_tests_and_users_rely_on_have_their_promised_defaults(void **state) {
    const config *c = &((fixture *)*state)->c;
    assert_string_equal(c->data, "./data");
    assert_int_equal(c->domains.n, 1);
    assert_string_equal(c->domains.v[0], "localhost");
    assert_string_equal(c->listen.v[0], "[::]:5222");
    assert_string_equal(c->tls_listen.v[0], "[::]:5223");
    assert_true(c->tls_required);
    assert_int_equal(c->tls_cert.n + c->tls_key.n, 0);
    assert_int_equal(c->mechanisms.n, 4);
    for (size_t i = 0; i < c->mechanisms.n; i++) assert_memory_equal(c->mechanisms.v[i], "SCRAM-", 6);
    assert_string_equal(c->ctl_socket, "");
    assert_int_equal(c->shards, 0);
    assert_int_equal(c->auth_deadline, 30 * USEC_PER_SEC);
    assert_int_equal(c->stanza_max, 256 * 1024);
    assert_int_equal(c->per_ip_max, 1000);
    assert_int_equal(c->resources_max, 10);
    assert_int_equal(c->recorder_bytes, 4 << 20);
}

static void both_ends_of_every_range_are_accepted_and_one_past_them_refused(void **state) {
    fixture *f = *state;
    char text[160], range[64];
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        const row *r = &ROWS[i];
        const char *unit = r->kind == TIME ? "us" : "";
        if (!is_number(r)) continue;
        const int64_t good[] = {r->min, r->max}, bad[] = {r->max + 1, r->min - 1};
        for (int k = 0; k < 2; k++) {
            (void)snprintf(text, sizeof text, "%s=%lld%s", r->name, (long long)good[k], unit);
            if (set(f, text) != ERR_OK) fail_msg("%s: %s", text, f->why);
            assert_int_equal(number_at(&f->c, r), good[k]);
            if (bad[k] < 0) continue;
            (void)snprintf(text, sizeof text, "%s=%lld%s", r->name, (long long)bad[k], unit);
            assert_int_equal(set(f, text), ERR_CONFIG);
            (void)snprintf(range, sizeof range, "%s must be between ", r->name);
            assert_non_null(strstr(f->why, range));
            assert_int_equal(number_at(&f->c, r), good[k]);
        }
    }
}

static void no_key_is_a_section_of_another_and_none_is_there_twice(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++)
        for (size_t j = 0; j < ARRAY_LEN(ROWS); j++) {
            size_t n = strlen(ROWS[i].name);
            if (i == j) continue;
            assert_string_not_equal(ROWS[i].name, ROWS[j].name);
            assert_false(strncmp(ROWS[i].name, ROWS[j].name, n) == 0 && ROWS[j].name[n] == '.');
        }
}

static void docs_config_md_is_current(void **state) {
    (void)state;
    buf now, then;
    char chunk[4096];
    size_t n;
    buf_init(&now, 1u << 20);
    buf_init(&then, 1u << 20);
    config_document(&now);
    FILE *file = fopen("docs/config.md", "rbe"); /* tests run in the root of the tree */
    assert_non_null(file);
    while ((n = fread(chunk, 1, sizeof chunk, file)) > 0) buf_add(&then, slice_of(chunk, n));
    (void)fclose(file);
    if (!slice_eq(buf_slice(&now), buf_slice(&then))) fail_msg("make it again: build/murre config > docs/config.md");
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        (void)snprintf(chunk, sizeof chunk, "| `%s` | ", ROWS[i].name);
        buf_add_byte(&now, 0);
        assert_non_null(strstr((const char *)now.p, chunk));
    }
    buf_fini(&now);
    buf_fini(&then);
}

/* --- values */
static void units(void **state) {
    fixture *f = *state;
    const struct {
        const char *text;
        int64_t value;
    } times[] = {{"idle_ping=1000000us", 1}, {"idle_ping=2000ms", 2}, {"idle_ping=3s", 3},
                 {"idle_ping=4m", 240},      {"idle_ping=5h", 18000}, {"idle_ping=1d", 86400}};
    char text[64];
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        (void)snprintf(text, sizeof text, "xmpp.%s", times[i].text);
        assert_int_equal(set(f, text), ERR_OK);
        assert_int_equal(f->c.idle_ping, times[i].value * USEC_PER_SEC);
    }
    assert_int_equal(set(f, "xmpp.resume_timeout=0"), ERR_OK);
    assert_int_equal(f->c.resume_timeout, 0);
    assert_int_equal(set(f, "recorder.bytes=3k"), ERR_OK);
    assert_int_equal(f->c.recorder_bytes, 3 << 10);
    assert_int_equal(set(f, "recorder.bytes=3M"), ERR_OK);
    assert_int_equal(f->c.recorder_bytes, 3 << 20);
    assert_int_equal(set(f, "offline.bytes_max=3G"), ERR_OK);
    assert_int_equal(f->c.offline_bytes, INT64_C(3) << 30);
    refused_set(f, "xmpp.idle_ping=30", "--set: xmpp.idle_ping wants a time such as 500ms, 30s or 5m, not '30'");
    refused_set(f, "xmpp.idle_ping=30 s", "--set: xmpp.idle_ping wants a time such as 500ms, 30s or 5m, not '30 s'");
    refused_set(f, "xmpp.idle_ping=-1s", "--set: xmpp.idle_ping wants a time such as 500ms, 30s or 5m, not '-1s'");
    refused_set(f, "recorder.bytes=1T", "--set: recorder.bytes wants bytes such as 4096, 256k or 64M, not '1T'");
    refused_set(f, "recorder.bytes=99999999999G", "--set: recorder.bytes wants bytes such as 4096, 256k or 64M, not '99999999999G'");
    refused_set(f, "shards=1k", "--set: shards wants a number, not '1k'");
    refused_set(f, "shards=", "--set: shards wants a number, not ''");
    refused_set(f, "shards=99999999999999999999", "--set: shards wants a number, not '99999999999999999999'");
    refused_set(f, "xmpp.auth_deadline=11m", "--set: xmpp.auth_deadline must be between 1s and 10m, not 11m");
    refused_set(f, "rt.spin=1ms", "--set: rt.spin must be between 0 and 50us, not 1ms");
    refused_set(f, "tls.required=yes", "--set: tls.required wants true or false, not 'yes'");
}

static void lists_are_comma_separated_on_the_command_line_and_replace_what_was_there(void **state) {
    fixture *f = *state;
    assert_int_equal(set(f, "domains=a.example, b.example ,,c.example"), ERR_OK);
    assert_int_equal(f->c.domains.n, 3);
    assert_string_equal(f->c.domains.v[0], "a.example");
    assert_string_equal(f->c.domains.v[1], "b.example");
    assert_string_equal(f->c.domains.v[2], "c.example");
    assert_int_equal(set(f, "domains=d.example"), ERR_OK);
    assert_int_equal(f->c.domains.n, 1);
    assert_int_equal(set(f, "domains="), ERR_OK);
    assert_int_equal(f->c.domains.n, 0);
}

static void a_list_has_a_limit(void **state) {
    fixture *f = *state;
    buf b;
    buf_init(&b, 1u << 20);
    buf_add_str(&b, "domains=");
    for (int i = 0; i < 1025; i++) buf_add_str(&b, "a,");
    buf_add_byte(&b, 0);
    refused_set(f, (const char *)b.p, "--set: domains has more than 1024 values");
    buf_fini(&b);
}

static void set_wants_a_key_and_a_value(void **state) {
    fixture *f = *state;
    refused_set(f, "shards", "--set: wants key=value, not 'shards'");
    refused_set(f, "=5", "--set: unknown key ''; `murre config` lists them");
    refused_set(f, "shard=5", "--set: unknown key 'shard'; did you mean 'shards'?");
    refused_set(f, "a\x1b[31m=5", "--set: unknown key 'a\\x1b[31m'; `murre config` lists them");
    refused_set(f, "shards=\n5\x07", "--set: shards wants a number, not '\\x0a5\\x07'");
    assert_int_equal(set(f, "data=/a=b"), ERR_OK);
    assert_string_equal(f->c.data, "/a=b");
}

/* --- the file */
static void keys_may_be_nested_or_dotted(void **state) {
    fixture *f = *state;
    assert_int_equal(read_text(f, "# a node\nxmpp:\n  listen: [127.0.0.1:1, '[::1]:2']\n  backlog: 7\nxmpp.tls_listen: a, b\ntls:\n  "
                                  "required: false\nshards: 3\n"),
                     ERR_OK);
    assert_int_equal(f->c.listen.n, 2);
    assert_string_equal(f->c.listen.v[1], "[::1]:2");
    assert_int_equal(f->c.backlog, 7);
    assert_int_equal(f->c.tls_listen.n, 2);
    assert_false(f->c.tls_required);
    assert_int_equal(f->c.shards, 3);
    assert_int_equal(read_text(f, "domains:\n  - a.example\n  - b.example\nxmpp:\n  idle_ping: 90s\n"), ERR_OK);
    assert_int_equal(f->c.domains.n, 2);
    assert_int_equal(f->c.idle_ping, 90 * USEC_PER_SEC);
    assert_int_equal(f->c.shards, 3); /* what a file does not name stays */
    assert_int_equal(set(f, "shards=4"), ERR_OK);
    assert_int_equal(f->c.shards, 4);
}

static void a_file_may_be_empty_and_a_section_commented_out(void **state) {
    fixture *f = *state;
    assert_int_equal(read_text(f, ""), ERR_OK);
    assert_int_equal(read_text(f, "# nothing\n"), ERR_OK);
    assert_int_equal(read_text(f, "---\n"), ERR_OK);
    assert_int_equal(read_text(f, "xmpp:\n#  listen: x\nshards: 2\n"), ERR_OK);
    assert_int_equal(f->c.shards, 2);
    assert_int_equal(read_text(f, "tls.cert: []\nxmpp.tls_listen:\n"), ERR_OK);
    assert_int_equal(f->c.tls_listen.n, 0);
}

static void unknown_keys_are_refused_with_line_and_suggestion(void **state) {
    fixture *f = *state;
    refused(f, "shards: 1\nshrads: 2\n", "f:2: unknown key 'shrads'; did you mean 'shards'?");
    refused(f, "xmpp:\n  listen: a\n\n  backlogs: 2\n", "f:4: unknown key 'xmpp.backlogs'; did you mean 'xmpp.backlog'?");
    refused(f, "listen: a\n", "f:1: unknown key 'listen'; did you mean 'xmpp.listen'?");
    refused(f, "xmpp_listen: a\n", "f:1: unknown key 'xmpp_listen'; did you mean 'xmpp.listen'?");
    refused(f, "domain: a\n", "f:1: unknown key 'domain'; did you mean 'domains'?");
    refused(f, "colour: blue\n", "f:1: unknown key 'colour'; `murre config` lists them");
    refused(f, "xmpp:\n  xmpp:\n    listen: a\n", "f:2: unknown key 'xmpp.xmpp'; `murre config` lists them");
    refused(f, "<<: {shards: 1}\n", "f:1: unknown key '<<'; `murre config` lists them");
    refused(f, "\"a\\e[1m\": 1\n", "f:1: unknown key 'a\\x1b[1m'; `murre config` lists them");
}

static void wrong_types_are_refused_with_line(void **state) {
    fixture *f = *state;
    refused(f, "shards: [1]\n", "f:1: shards wants a number, not a list");
    refused(f, "shards:\n  a: 1\n", "f:2: shards wants a number, not a section");
    refused(f, "data: {a: b}\n", "f:1: data wants text, not a section");
    refused(f, "domains: {a: b}\n", "f:1: domains wants a list, not a section");
    refused(f, "domains: [a, [b]]\n", "f:1: a list holds plain values");
    refused(f, "domains:\n  - a\n  - ''\n", "f:3: domains wants a list, not ''");
    refused(f, "\n\ntls:\n  required: maybe\n", "f:4: tls.required wants true or false, not 'maybe'");
    refused(f, "xmpp: 5\n", "f:1: xmpp is a section: it wants keys below it");
    refused(f, "xmpp: [a]\n", "f:1: xmpp is a section: it wants keys below it");
    refused(f, "[a]: 5\n", "f:1: not the name of a setting");
    refused(f, "\"data\\0x\": 5\n", "f:1: not the name of a setting");
    refused(f, "data: \"a\\0b\"\n", "f:1: data wants text, not 'a\\x00b'");
    refused(f, "domains: [\"a\\0b\"]\n", "f:1: domains wants a list, not 'a\\x00b'");
    refused(f, "shards: 65\n", "f:1: shards must be between 0 and 64, not 65");
    refused(f, "- a\n", "f:1: the file must be a map of settings");
    refused(f, "hello\n", "f:1: the file must be a map of settings");
}

static void a_key_given_twice_is_refused(void **state) {
    fixture *f = *state;
    refused(f, "shards: 1\nshards: 2\n", "f:2: this key was given before");
    refused(f, "xmpp.backlog: 1\nxmpp:\n  backlog: 2\n", "f:3: this key was given before");
    refused(f, "xmpp:\n  backlog: 1\nxmpp:\n  backlog: 2\n", "f:4: this key was given before");
    assert_int_equal(read_text(f, "xmpp:\n  backlog: 1\nxmpp:\n  out_max: 1M\n"), ERR_OK);
}

static void what_is_not_one_yaml_document_is_refused(void **state) {
    fixture *f = *state;
    refused(f, "shards: 1\n---\nshards: 2\n", "f:3: a second document: its settings would be ignored");
    assert_int_equal(read_text(f, "xmpp: [\n"), ERR_CONFIG);
    assert_memory_equal(f->why, "f:2: ", 5);
    assert_int_equal(read_text(f, "a: b: c\n"), ERR_CONFIG);
    assert_memory_equal(f->why, "f:1: ", 5);
    assert_int_equal(read_text(f, "\xff\xfe\xfd"), ERR_CONFIG);
    assert_int_equal(read_text(f, "x: *nobody\n"), ERR_CONFIG);
    assert_int_equal(read_text(f, "xmpp: &x\n  backlog: 3\n"), ERR_OK);
    assert_int_equal(read_text(f, "&a xmpp: *a\n"), ERR_CONFIG);
}

static void a_file_that_cannot_be_read_is_named(void **state) {
    fixture *f = *state;
    tmpdir d;
    tmpdir_make(&d);
    const char *path = tmpdir_at(&d, "none");
    assert_int_equal(config_read(&f->c, path, f->why), ERR_NOT_FOUND);
    assert_non_null(strstr(f->why, path));
    assert_non_null(strstr(f->why, "No such file"));
    assert_int_equal(config_read(&f->c, d.path, f->why), ERR_NOT_FOUND);
    assert_non_null(strstr(f->why, "directory"));
    path = tmpdir_at(&d, "file");
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    (void)fputs("shards: 5\n", file);
    (void)fclose(file);
    assert_int_equal(config_read(&f->c, path, f->why), ERR_OK);
    assert_int_equal(f->c.shards, 5);
    assert_int_equal(truncate(path, CONFIG_FILE_MAX + 1), 0);
    assert_int_equal(config_read(&f->c, path, f->why), ERR_CONFIG);
    assert_non_null(strstr(f->why, "larger than 1048576 bytes"));
    tmpdir_remove(&d);
}

/* --- what no single key can tell */
static void settings_that_contradict_each_other_are_refused(void **state) {
    fixture *f = *state;
    const struct {
        const char *set[3], *why;
    } cases[] = {
        {{"domains="}, "domains must name at least one domain"},
        {{"domains_anonymous=x.example"}, "domains_anonymous: 'x.example' is not in domains"},
        {{"sasl.mechanisms=SCRAM-SHA-256,MAGIC"}, "sasl.mechanisms: unknown mechanism 'MAGIC'"},
        {{"sasl.mechanisms="}, "sasl.mechanisms: with none, nobody can log in"},
        {{"tls.cert=a,b", "tls.key=a"}, "tls.cert and tls.key must have the same number of files"},
        {{"domains=a,b,c", "tls.cert=a,b", "tls.key=a,b"}, "tls.cert must have one file, or one per domain (3)"},
        {{"roles=messaging,mail"}, "roles: unknown role 'mail'; there is messaging"},
        {{"roles="}, "roles: a node without any is a member of a cluster: node.name names it"},
        {{"roles=", "node.name=a@b", "log.level=loud"}, "log.level must be debug, info, notice, warning or error, not 'loud'"},
        {{"log.level=loud"}, "log.level must be debug, info, notice, warning or error, not 'loud'"},
        {{"delivery.window_messages=1001"}, "delivery.window_messages (1001) must not be more than xmpp.unacked_max (1000)"},
        {{"xmpp.out_max=500k"}, "xmpp.out_max (512000) must hold delivery.window_bytes and one stanza of xmpp.stanza_max (524288)"}};
    assert_int_equal(config_check(&f->c, f->why), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        config_fini(&f->c);
        config_init(&f->c);
        for (size_t k = 0; k < 3 && cases[i].set[k]; k++) assert_int_equal(set(f, cases[i].set[k]), ERR_OK);
        assert_int_equal(config_check(&f->c, f->why), ERR_CONFIG);
        assert_string_equal(f->why, cases[i].why);
    }
}

static void what_a_node_without_a_role_does_not_use_is_not_checked(void **state) {
    fixture *f = *state;
    const char *const settings[] = {"node.name=a@b", "domains=", "sasl.mechanisms=", "tls.cert=a,b"};
    assert_true(config_has_role(&f->c, "messaging"));
    assert_int_equal(read_text(f, "roles: []\n"), ERR_OK);
    assert_false(config_has_role(&f->c, "messaging"));
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) assert_int_equal(set(f, settings[i]), ERR_OK);
    assert_int_equal(config_check(&f->c, f->why), ERR_OK);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {TEST(every_key_has_its_default),
                                       TEST(the_keys_that_tests_and_users_rely_on_have_their_promised_defaults),
                                       TEST(both_ends_of_every_range_are_accepted_and_one_past_them_refused),
                                       TEST(no_key_is_a_section_of_another_and_none_is_there_twice),
                                       TEST(docs_config_md_is_current),
                                       TEST(units),
                                       TEST(lists_are_comma_separated_on_the_command_line_and_replace_what_was_there),
                                       TEST(a_list_has_a_limit),
                                       TEST(set_wants_a_key_and_a_value),
                                       TEST(keys_may_be_nested_or_dotted),
                                       TEST(a_file_may_be_empty_and_a_section_commented_out),
                                       TEST(unknown_keys_are_refused_with_line_and_suggestion),
                                       TEST(wrong_types_are_refused_with_line),
                                       TEST(a_key_given_twice_is_refused),
                                       TEST(what_is_not_one_yaml_document_is_refused),
                                       TEST(a_file_that_cannot_be_read_is_named),
                                       TEST(settings_that_contradict_each_other_are_refused),
                                       TEST(what_a_node_without_a_role_does_not_use_is_not_checked)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
