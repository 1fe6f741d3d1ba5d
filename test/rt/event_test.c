/* Events: counters, digest, probes, and the log with its limits. */
#include "base/mem.h"
#include "rt/event.h"
#include "rt/node.h"
#include "support/cmocka_unit.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define WALL INT64_C(1795427475123000) /* 2026-11-23T09:51:15.123Z */

/* A sys without threads, with a clock that the test moves: Linux's in all else. */
typedef struct still {
    sys s;
    sys *real;
    usec mono;
} still;
static usec still_mono(sys *s) { return container_of(s, still, s)->mono; }
static usec still_wall(sys *s) { return (void)s, WALL; }

typedef struct sink { /* what the log has written */
    char text[65536];
    size_t lines;
    _Atomic bool *hold; /* if set: every line waits until it is false */
} sink;
static void to_sink(void *arg, const char *line) {
    sink *k = arg;
    while (k->hold && atomic_load(k->hold)) {
    }
    size_t len = strlen(k->text);
    if (len + strlen(line) + 2 < sizeof k->text) (void)snprintf(k->text + len, sizeof k->text - len, "%s\n", line);
    k->lines++;
}

typedef struct fixture {
    still *w;
    rt_node *n;
    sink *k;
} fixture;

static rt_node *make_node(sys *s, sink *k, unsigned shards) {
    rt_node_cfg cfg;
    rt_node *n;
    rt_node_cfg_default(&cfg);
    cfg.shards = shards;
    assert_int_equal(rt_node_new(&cfg, s, NULL, &n), ERR_OK);
    rt_log_sink(n, to_sink, k);
    return n;
}
static int setup(void **state) {
    fixture *f = mem_zalloc(sizeof *f);
    f->w = mem_zalloc(sizeof *f->w);
    f->k = mem_zalloc(sizeof *f->k);
    if (sys_linux_new(&f->w->real)) return -1;
    f->w->s = *f->w->real;
    f->w->s.mono = still_mono;
    f->w->s.wall = still_wall;
    f->w->s.thread_start = NULL;
    f->w->mono = USEC_PER_SEC;
    f->n = make_node(&f->w->s, f->k, 2);
    *state = f;
    return 0;
}
static int teardown(void **state) {
    fixture *f = *state;
    rt_node_free(f->n);
    sys_linux_free(f->w->real);
    mem_free(f->w);
    mem_free(f->k);
    mem_free(f);
    return 0;
}

typedef struct emit {
    rt_event_id id;
    uint64_t a, b, c;
    const char *text;
    unsigned times;
} emit;
static void do_emit(rt_ctx *cx, void *arg) {
    const emit *e = arg;
    for (unsigned i = 0; i < e->times; i++) {
        if (e->text)
            rt_event_text(cx, e->id, e->a, e->b, slice_str(e->text));
        else
            rt_event(cx, e->id, e->a, e->b, e->c);
    }
}
static void on(rt_node *n, unsigned shard, emit e) { rt_node_boot(n, shard, do_emit, &e); }

/* --- counters and digest */
static void counts_are_summed_over_shards_and_other_threads(void **state) {
    fixture *f = *state;
    on(f->n, 0, (emit){.id = EV_ACCEPT, .times = 3});
    on(f->n, 1, (emit){.id = EV_ACCEPT, .times = 4});
    rt_event_ext(f->n, EV_ACCEPT, 0, 0, SLICE_NULL);
    assert_int_equal(rt_event_count(f->n, EV_ACCEPT), 8);
    assert_int_equal(rt_event_count(f->n, EV_CLOSE), 0);
}
static uint64_t digest_of(fixture *f, const emit *e, size_t n, unsigned shard) {
    rt_node *node = make_node(&f->w->s, f->k, 2);
    for (size_t i = 0; i < n; i++) on(node, shard, e[i]);
    uint64_t d = rt_event_digest(node);
    rt_node_free(node);
    return d;
}
static void the_digest_depends_on_every_part_of_every_event_and_their_order(void **state) {
    fixture *f = *state;
    const emit base[2] = {{.id = EV_SEND, .a = 1, .b = 2, .times = 1},
                          {.id = EV_BIND, .a = 5, .text = "juliet@localhost/balcony", .times = 1}};
    uint64_t d = digest_of(f, base, 2, 0);
    assert_true(digest_of(f, base, 2, 0) == d);
    assert_true(digest_of(f, base, 1, 0) != d);
    assert_true(digest_of(f, base, 2, 1) != d);
    emit x[2];
    for (int i = 0; i < 6; i++) {
        memcpy(x, base, sizeof x);
        if (i == 0) x[0].id = EV_HANDLE;
        if (i == 1) x[0].a = 2;
        if (i == 2) x[0].c = 1;
        if (i == 3) x[1].text = "juliet@localhost/Balcony";
        if (i == 4) x[1].text = "juliet@localhost/balcony2";
        if (i == 5) x[0] = base[1], x[1] = base[0];
        assert_true(digest_of(f, x, 2, 0) != d);
    }
    f->w->mono += 1000;
    assert_true(digest_of(f, base, 2, 0) != d);
}

/* --- probes */
static void every_event_has_a_probe_in_the_program(void **state) {
    (void)state;
    FILE *exe = fopen("/proc/self/exe", "r");
    assert_non_null(exe);
    assert_int_equal(fseek(exe, 0, SEEK_END), 0);
    size_t len = (size_t)ftell(exe);
    char *p = mem_alloc(len);
    rewind(exe);
    assert_int_equal(fread(p, 1, len, exe), len);
    fclose(exe);
    for (int i = 0; i < EV_COUNT_; i++) {
        char note[64]; /* as in a stapsdt note: provider, name, then the arguments' format */
        int n = snprintf(note, sizeof note, "murre%c%s%c8@", 0, rt_event_descs[i].name, 0);
        if (!memmem(p, len, note, (size_t)n)) fail_msg("no probe for %s", rt_event_descs[i].name);
    }
    mem_free(p);
}

/* --- the log */
static void a_line_has_time_level_name_arguments_and_text(void **state) {
    fixture *f = *state;
    on(f->n, 0, (emit){.id = EV_LONG_HANDLER, .a = 2u << 24 | 7, .b = 1500, .text = "c2s stanza", .times = 1});
    on(f->n, 0, (emit){.id = EV_ACCEPT_FAIL, .a = ERR_FD_LIMIT, .times = 1});
    assert_string_equal(f->k->text, "2026-11-23T09:51:15.123Z warning long_handler slot=2.7 usec=1500 c2s stanza\n"
                                    "2026-11-23T09:51:15.123Z warning accept_fail err=fd_limit\n");
}
static void only_events_at_the_level_or_above_are_logged(void **state) {
    fixture *f = *state;
    rt_level l;
    assert_true(rt_log_level_parse(SLICE("error"), &l));
    rt_log_level(f->n, l);
    assert_int_equal(rt_log_level_get(f->n), RT_ERROR);
    on(f->n, 1, (emit){.id = EV_LONG_HANDLER, .text = "x", .times = 1});
    rt_event_ext(f->n, EV_LISTEN, 0, 0, SLICE("x"));
    assert_int_equal(f->k->lines, 0);
    on(f->n, 1, (emit){.id = EV_CRASH, .text = "x", .times = 1});
    rt_event_ext(f->n, EV_STUCK, 0, 0, SLICE("x"));
    assert_int_equal(f->k->lines, 2);
    rt_log_level(f->n, RT_DEBUG);
    on(f->n, 0, (emit){.id = EV_SEND, .times = 1});
    assert_int_equal(f->k->lines, 3);
    assert_false(rt_log_level_parse(SLICE("loud"), &l));
}
static void foreign_bytes_cannot_forge_a_line(void **state) {
    fixture *f = *state;
    rt_event_ext(f->n, EV_CRASH, 0, 0, SLICE("a\nb\x1b[2Jc\xff\xc3\xa4"));
    assert_int_equal(f->k->lines, 1);
    assert_null(strchr(f->k->text, 0x1b));
    assert_string_equal(strchr(f->k->text, '\n'), "\n");
    assert_non_null(strstr(f->k->text, "a\\x0ab\\x1b[2Jc\\xff\xc3\xa4"));
}
static void a_json_line_is_one_object_with_the_names_of_the_list(void **state) {
    fixture *f = *state;
    rt_log_style style;
    assert_true(rt_log_style_parse(SLICE("json"), &style));
    rt_log_style_set(f->n, style, false);
    on(f->n, 0, (emit){.id = EV_LONG_HANDLER, .a = 2u << 24 | 7, .b = 1500, .text = "c2s \"stanza\" \\", .times = 1});
    on(f->n, 0, (emit){.id = EV_ACCEPT_FAIL, .a = ERR_FD_LIMIT, .times = 1});
    rt_event_ext(f->n, EV_CRASH, 0, UINT64_MAX, SLICE("a\nb\x1b\x7f\xff\xc3\xa4\xc2\x85\xe2\x80\xae\xf0\x9f\x98\x80\xc3"));
    assert_string_equal(
        f->k->text,
        "{\"time\":\"2026-11-23T09:51:15.123Z\",\"level\":\"warning\",\"event\":\"long_handler\",\"slot\":\"2.7\",\"usec\":1500,"
        "\"text\":\"c2s \\\"stanza\\\" \\\\\"}\n"
        "{\"time\":\"2026-11-23T09:51:15.123Z\",\"level\":\"warning\",\"event\":\"accept_fail\",\"err\":\"fd_limit\"}\n"
        "{\"time\":\"2026-11-23T09:51:15.123Z\",\"level\":\"error\",\"event\":\"crash\",\"slot\":\"0.0\",\"gen\":18446744073709551615,"
        "\"text\":\"a\\u000ab\\u001b\\u007f\\ufffd\xc3\xa4\\u0085\\u202e\xf0\x9f\x98\x80\\ufffd\"}\n");
    assert_false(rt_log_style_parse(SLICE("xml"), &style));
    assert_true(rt_log_style_parse(SLICE("text"), &style));
    assert_int_equal(style, RT_LOG_TEXT);
}
/* Tools that read the lines find each field once. */
static void no_argument_has_the_name_of_a_field_of_every_line(void **state) {
    (void)state;
    static const char *const taken[] = {"time", "level", "event", "suppressed"};
    for (unsigned id = 0; id < EV_COUNT_; id++)
        for (int i = 0; i < 3; i++) {
            const char *const *arg = rt_event_descs[id].arg;
            for (size_t k = 0; k < sizeof taken / sizeof *taken; k++) assert_string_not_equal(arg[i], taken[k]);
            for (int k = 0; k < i; k++) assert_true(!arg[i][0] || strcmp(arg[i], arg[k]) != 0);
        }
}
static void the_longest_hostile_text_leaves_the_line_whole(void **state) {
    fixture *f = *state;
    char text[RT_EVENT_TEXT + 100];
    memset(text, 1, sizeof text); /* each byte becomes six, the most that there is */
    text[sizeof text - 1] = 0;
    rt_log_style_set(f->n, RT_LOG_JSON, true);
    for (unsigned id = 0; id < EV_COUNT_; id++) {
        f->k->text[0] = 0;
        f->w->mono += USEC_PER_SEC;
        rt_log_level(f->n, RT_DEBUG);
        on(f->n, 0, (emit){.id = (rt_event_id)id, .a = UINT64_MAX, .b = UINT64_MAX, .text = text, .times = 1});
        size_t len = strlen(f->k->text), bytes = 0;
        assert_string_equal(f->k->text + len - 3, "\"}\n");
        for (const char *p = f->k->text; (p = strstr(p, "\\u0001")); p++) bytes++;
        assert_int_equal(bytes, RT_EVENT_TEXT);
    }
}
static void lines_for_the_journal_begin_with_their_priority(void **state) {
    fixture *f = *state;
    static const rt_event_id of_level[] = {EV_SEND, EV_CTL, EV_DRAIN, EV_LOG_OVERLOAD, EV_LOG_NOSPC};
    rt_log_level(f->n, RT_DEBUG);
    rt_log_style_set(f->n, RT_LOG_TEXT, true);
    for (int l = RT_DEBUG; l <= RT_ERROR; l++) {
        f->k->text[0] = 0;
        assert_int_equal(rt_event_descs[of_level[l]].level, l);
        on(f->n, 0, (emit){.id = of_level[l], .times = 1});
        const char want[] = {'<', (char)('7' - l), '>', '2', 0}; /* syslog(3): debug 7 to err 3 */
        assert_int_equal(strncmp(f->k->text, want, 4), 0);
    }
}
static void a_flood_is_cut_to_the_rate_and_the_rest_is_counted(void **state) {
    fixture *f = *state;
    on(f->n, 0, (emit){.id = EV_LONG_HANDLER, .text = "x", .times = 50});
    assert_int_equal(f->k->lines, RT_LOG_RATE);
    on(f->n, 0, (emit){.id = EV_CRASH, .text = "x", .times = 1}); /* another event has its own rate */
    assert_int_equal(f->k->lines, RT_LOG_RATE + 1);
    f->w->mono += USEC_PER_SEC;
    on(f->n, 1, (emit){.id = EV_LONG_HANDLER, .text = "x", .times = 50});
    assert_int_equal(f->k->lines, 2 * RT_LOG_RATE + 1);
    rt_node_free(f->n);
    f->n = NULL;
    assert_non_null(strstr(f->k->text, "warning long_handler suppressed=60\n"));
}
static void what_was_suppressed_is_told_in_json_too(void **state) {
    fixture *f = *state;
    rt_log_style_set(f->n, RT_LOG_JSON, false);
    on(f->n, 0, (emit){.id = EV_LONG_HANDLER, .text = "x", .times = RT_LOG_RATE + 7});
    rt_node_free(f->n);
    f->n = NULL;
    assert_non_null(strstr(f->k->text, "\"level\":\"warning\",\"event\":\"long_handler\",\"suppressed\":7}\n"));
}
static void a_sink_that_hangs_delays_nobody_and_its_losses_are_counted(void **state) {
    fixture *f = *state;
    _Atomic bool hold = true;
    sink *k = mem_zalloc(sizeof *k);
    k->hold = &hold;
    rt_node *n = make_node(f->w->real, k, 1);
    rt_log_level(n, RT_DEBUG);
    assert_int_equal(rt_node_start(n), ERR_OK);
    uint64_t sent = 0;
    for (unsigned id = 0; id < EV_COUNT_; id++)
        for (unsigned i = 0; i < RT_LOG_RATE; i++, sent++) rt_event_ext(n, (rt_event_id)id, 1, 2, SLICE("text"));
    atomic_store(&hold, false); /* all of this came here while the sink hung */
    rt_node_stop(n);
    while (rt_event_count(n, EV_LOG_DROPPED) == RT_LOG_RATE) {
    } /* the thread reports once it has emptied the ring */
    rt_node_free(n);
    assert_true(k->lines < sent);
    assert_true(k->lines > 400);
    mem_free(k);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        T(counts_are_summed_over_shards_and_other_threads),
        T(the_digest_depends_on_every_part_of_every_event_and_their_order),
        T(every_event_has_a_probe_in_the_program),
        T(a_line_has_time_level_name_arguments_and_text),
        T(only_events_at_the_level_or_above_are_logged),
        T(foreign_bytes_cannot_forge_a_line),
        T(a_json_line_is_one_object_with_the_names_of_the_list),
        T(no_argument_has_the_name_of_a_field_of_every_line),
        T(the_longest_hostile_text_leaves_the_line_whole),
        T(lines_for_the_journal_begin_with_their_priority),
        T(what_was_suppressed_is_told_in_json_too),
        T(a_flood_is_cut_to_the_rate_and_the_rest_is_counted),
        T(a_sink_that_hangs_delays_nobody_and_its_losses_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
