/* Lines become records and back; every kind of wrong line is refused with its number and what is wrong with it. */
#include "base/mem.h"
#include "history/text.h"

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#define SEND "{\"t\":1,\"e\":\"send\",\"c\":\"a@x/1\",\"id\":\"m1\",\"to\":\"b@x\",\"sum\":7}"
#define ACK  "{\"t\":2,\"e\":\"ack\",\"c\":\"a@x/1\",\"id\":\"m1\"}"
#define RECV "{\"t\":3,\"e\":\"recv\",\"c\":\"b@x/1\",\"id\":\"m1\",\"from\":\"a@x/1\",\"sid\":\"s1\",\"sum\":7}"

static history_text *reading(const char *const *lines, size_t n) {
    history_text *t = history_text_new();
    for (size_t i = 0; i < n; i++) assert_int_equal(history_text_add(t, slice_str(lines[i])), ERR_OK);
    return t;
}
static bool judged(const history_chat *h, history_chat_verdict *v) {
    history_chat_cfg c = {.drained = true, .answered = true, .faults = true, .dedup_window = 600 * USEC_PER_SEC, .window = 256};
    return history_chat_judge(h, &c, NULL, NULL, v);
}
/* The bytes of a FILE that are there. */
static err read_all(history_text *t, const char *bytes, size_t len) {
    FILE *f = tmpfile();
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    rewind(f);
    err e = history_text_read(t, f);
    assert_int_equal(fclose(f), 0);
    return e;
}

static void lines_become_records(void **state) {
    (void)state;
    const char *const lines[] = {
        "{\"t\":0,\"e\":\"on\",\"c\":\"b@x/1\",\"resumed\":false}",
        SEND,
        ACK,
        RECV,
        " { \"t\" : 4 , \"e\":\"fault\", \"why\":\"kill -9\", \"ms\": -1.5e+3, \"ok\":null } ",
        "{\"t\":5,\"e\":\"on\",\"c\":\"b@x/1\",\"resumed\":true}",
        "{\"t\":6,\"e\":\"send\",\"c\":\"a@x/1\",\"id\":\"\\u00e9\\ud83d\\ude00\\n\",\"to\":\"b@x/1\",\"sum\":\"q\",\"once\":true}"};
    history_text *t = reading(lines, ARRAY_LEN(lines));
    const history_chat *h = history_text_chat(t);
    history_chat_verdict v;
    assert_int_equal(h->n, 7);
    static const history_chat_kind want[] = {HISTORY_SESSION, HISTORY_SEND,    HISTORY_ACKED,    HISTORY_RECV,
                                             HISTORY_FAULT,   HISTORY_RESUMED, HISTORY_SEND_ONCE};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) assert_int_equal(h->r[i].kind, want[i]);
    assert_int_equal(h->n_clients, 2);
    assert_int_equal(h->n_accounts, 2);
    assert_true(h->r[6].direct);
    assert_false(h->r[1].direct);
    assert_int_equal(h->r[6].seq, 2);
    assert_string_equal(h->clients[1].ids[1], "\xc3\xa9\xf0\x9f\x98\x80\n");
    assert_true(judged(h, &v));
    assert_int_equal(v.connections, 2);
    assert_int_equal(v.resumed, 1);
    assert_int_equal(v.faults, 1);
    history_text_free(t);
}
static void an_id_that_nobody_sent_is_named_in_the_breach(void **state) {
    (void)state;
    const char *const lines[] = {SEND, ACK,
                                 "{\"t\":3,\"e\":\"recv\",\"c\":\"b@x/1\",\"id\":\"m9\",\"from\":\"a@x/1\",\"sid\":\"s1\",\"sum\":7}"};
    history_text *t = reading(lines, ARRAY_LEN(lines));
    history_chat_verdict v;
    assert_false(judged(history_text_chat(t), &v));
    assert_string_equal(v.first.text, "invented: b@x/1 received m9, which nobody sent");
    assert_int_equal(v.first.record, 2);
    history_text_free(t);
}
static void a_wrong_line_is_refused_with_its_number(void **state) {
    (void)state;
    static const struct {
        const char *line, *why;
    } bad[] = {
        {"", "not a JSON object"},
        {"[1]", "not a JSON object"},
        {"{\"t\":1", "it ends inside the object"},
        {"{\"t\":1,\"e\":\"fau", "it ends inside a string"},
        {"{\"t\":1,\"e\":\"fault\"} x", "something comes after the object"},
        {"{\"t\":1,\"e\":\"fault\",}", "a string was expected"},
        {"{\"t\":1 \"e\":\"fault\"}", "a comma or the end of the object was expected"},
        {"{\"t\" 1}", "a colon was expected"},
        {"{\"t\":01}", "a value was expected"},
        {"{\"t\":1.}", "a value was expected"},
        {"{\"t\":nul}", "a value was expected"},
        {"{\"t\":1,\"t\":2}", "a name comes twice"},
        {"{\"t\":1,\"e\":[\"fault\"]}", "a value inside a value: only strings, numbers, true, false and null are read"},
        {"{\"t\":1,\"e\":\"\x01\"}", "a control byte in a string"},
        {"{\"t\":1,\"e\":\"\\x\"}", "a wrong escape in a string"},
        {"{\"t\":1,\"e\":\"\\ud83d\"}", "a wrong escape in a string"},
        {"{\"t\":1,\"e\":\"\xff\"}", "a string is not UTF-8"},
        {"{\"t\":1,\"e\":\"a\\u0000b\"}", "\"e\" holds a NUL"},
        {"{\"e\":\"fault\"}", "\"t\" is missing"},
        {"{\"t\":\"1\",\"e\":\"fault\"}", "\"t\" is not a whole number of microseconds"},
        {"{\"t\":-1,\"e\":\"fault\"}", "\"t\" is not a whole number of microseconds"},
        {"{\"t\":1.5,\"e\":\"fault\"}", "\"t\" is not a whole number of microseconds"},
        {"{\"t\":1,\"e\":\"fault\"}", "time goes back, from 2 to 1"},
        {"{\"t\":2}", "\"e\" is missing"},
        {"{\"t\":2,\"e\":\"seen\x1b\"}", "a control byte in a string"},
        {"{\"t\":2,\"e\":\"seen\\u001b\"}", "\"e\" is seen\\x1b, which is no event"},
        {"{\"t\":2,\"e\":7}", "\"e\" is not a string"},
        {"{\"t\":2,\"e\":\"on\"}", "\"c\" is missing, which on has"},
        {"{\"t\":2,\"e\":\"on\",\"c\":\"b@x/1\",\"resumed\":1}", "\"resumed\" is not true or false"},
        {"{\"t\":2,\"e\":\"on\",\"c\":\"b@x\"}", "\"c\" is b@x; a client is written ACCOUNT/DEVICE"},
        {"{\"t\":2,\"e\":\"ack\",\"c\":\"b@x/1\"}", "\"id\" is missing, which ack has"},
        {"{\"t\":2,\"e\":\"send\",\"c\":\"b@x/1\",\"id\":\"n\"}", "\"to\" is missing, which send has"},
        {"{\"t\":2,\"e\":\"send\",\"c\":\"b@x/1\",\"id\":\"n\",\"to\":\"c@x\"}", "\"sum\" is missing, which send has"},
        {"{\"t\":2,\"e\":\"carbon\",\"c\":\"b@x/1\",\"id\":\"n\",\"sum\":1}", "\"from\" is missing, which carbon has"},
        {"{\"t\":2,\"e\":\"send\",\"c\":\"b@x/1\",\"id\":\"m1\",\"to\":\"b@x\",\"sum\":7}", "the id m1 is that of a message of a@x/1"},
        {"{\"t\":2,\"e\":\"send\",\"c\":\"a@x/1\",\"id\":\"m1\",\"to\":\"c@x\",\"sum\":7}",
         "the id m1 is that of another message: other \"to\" or \"sum\""},
        {"{\"t\":2,\"e\":\"send\",\"c\":\"a@x/1\",\"id\":\"m1\",\"to\":\"b@x\",\"sum\":8}",
         "the id m1 is that of another message: other \"to\" or \"sum\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const char *const lines[] = {SEND, ACK};
        char want[300];
        history_text *t = reading(lines, ARRAY_LEN(lines));
        (void)snprintf(want, sizeof want, "line 3: %s", bad[i].why);
        assert_int_equal(history_text_add(t, slice_str(bad[i].line)), ERR_INVALID);
        assert_string_equal(history_text_why(t), want);
        assert_int_equal(history_text_chat(t)->n, 2);
        assert_int_equal(history_text_add(t, SLICE(RECV)), ERR_OK); /* what was refused left nothing behind */
        history_chat_verdict v;
        assert_true(judged(history_text_chat(t), &v));
        history_text_free(t);
    }
}
static void limits_are_named(void **state) {
    (void)state;
    history_text *t = history_text_new();
    char *line = mem_alloc(HISTORY_TEXT_LINE_MAX + 2);
    memset(line, ' ', HISTORY_TEXT_LINE_MAX + 1);
    assert_int_equal(history_text_add(t, slice_of(line, HISTORY_TEXT_LINE_MAX + 1)), ERR_LIMIT);
    assert_string_equal(history_text_why(t), "line 1: longer than 65536 bytes");
    line[HISTORY_TEXT_LINE_MAX + 1] = '\n';
    history_text *u = history_text_new();
    assert_int_equal(read_all(u, line, HISTORY_TEXT_LINE_MAX + 2), ERR_LIMIT);
    assert_string_equal(history_text_why(u), "line 1: longer than 65536 bytes");
    history_text_free(u);
    memcpy(line, "{\"t\":0,\"e\":\"fault\"}", 19); /* the longest line that is read */
    assert_int_equal(history_text_add(t, slice_of(line, HISTORY_TEXT_LINE_MAX)), ERR_OK);
    mem_free(line);
    char one[64];
    for (unsigned i = 0; i < HISTORY_CHAT_CLIENTS_MAX; i++) {
        (void)snprintf(one, sizeof one, "{\"t\":1,\"e\":\"on\",\"c\":\"c%u/1\"}", i);
        assert_int_equal(history_text_add(t, slice_str(one)), ERR_OK);
    }
    assert_int_equal(history_text_add(t, SLICE("{\"t\":1,\"e\":\"on\",\"c\":\"more/1\"}")), ERR_LIMIT);
    assert_string_equal(history_text_why(t), "line 4099: more than 4096 clients");
    char many[1024] = "{\"t\":1";
    for (unsigned i = 0; i < 32; i++) (void)snprintf(many + strlen(many), sizeof many - strlen(many), ",\"x%u\":0", i);
    (void)snprintf(many + strlen(many), sizeof many - strlen(many), "}");
    assert_int_equal(history_text_add(t, slice_str(many)), ERR_LIMIT);
    assert_string_equal(history_text_why(t), "line 4100: too many members");
    history_text_free(t);
}
static void a_file_is_read_to_its_end_and_a_torn_line_is_not_passed_over(void **state) {
    (void)state;
    static const char good[] = SEND "\n" ACK "\n" RECV "\n", torn[] = SEND "\n" ACK, cut[] = SEND "\n{\"t\":2,\"e\":\"a\0ck\"}\n";
    history_text *t = history_text_new();
    assert_int_equal(read_all(t, good, sizeof good - 1), ERR_OK);
    assert_int_equal(history_text_chat(t)->n, 3);
    history_text_free(t);
    t = history_text_new();
    assert_int_equal(read_all(t, torn, sizeof torn - 1), ERR_INVALID);
    assert_string_equal(history_text_why(t), "line 2: torn: the file ends inside it, or it holds a NUL");
    history_text_free(t);
    t = history_text_new();
    assert_int_equal(read_all(t, cut, sizeof cut - 1), ERR_INVALID);
    assert_string_equal(history_text_why(t), "line 2: torn: the file ends inside it, or it holds a NUL");
    history_text_free(t);
    t = history_text_new();
    assert_int_equal(read_all(t, "", 0), ERR_OK);
    history_chat_verdict v;
    assert_true(judged(history_text_chat(t), &v));
    history_text_free(t);
}
static void what_is_written_reads_back_as_the_same(void **state) {
    (void)state;
    const char *const lines[] = {
        "{\"t\":0,\"e\":\"on\",\"c\":\"b@x/1\",\"resumed\":false}",
        SEND,
        "{\"t\":1,\"e\":\"send\",\"c\":\"a@x/1\",\"id\":\"q\\\"\\u0007\",\"to\":\"b@x/1\",\"sum\":\"z\",\"once\":true}",
        ACK,
        RECV,
        "{\"t\":3,\"e\":\"carbon\",\"c\":\"b@x/2\",\"id\":\"m1\",\"from\":\"a@x/1\",\"sum\":7}",
        "{\"t\":3,\"e\":\"carbon-sent\",\"c\":\"a@x/2\",\"id\":\"m1\",\"from\":\"a@x/1\",\"sum\":7}",
        "{\"t\":3,\"e\":\"had\",\"c\":\"b@x/2\",\"id\":\"m1\"}",
        "{\"t\":4,\"e\":\"fault\"}",
        "{\"t\":5,\"e\":\"on\",\"c\":\"b@x/1\",\"resumed\":true}",
        "{\"t\":6,\"e\":\"err\",\"c\":\"a@x/1\",\"id\":\"never\"}",
        "{\"t\":7,\"e\":\"recv\",\"c\":\"b@x/1\",\"id\":\"m1\",\"from\":\"z@x/1\",\"sum\":8}"};
    history_text *t = reading(lines, ARRAY_LEN(lines)), *u = history_text_new();
    const history_chat *h = history_text_chat(t);
    buf out;
    buf_init(&out, 1u << 16);
    for (size_t i = 0; i < h->n; i++) history_text_write(&out, h, i);
    assert_true(buf_ok(&out));
    assert_int_equal(read_all(u, (const char *)out.p, out.len), ERR_OK);
    const history_chat *g = history_text_chat(u);
    assert_int_equal(g->n, h->n);
    for (size_t i = 0; i < h->n; i++) {
        const history_chat_record *x = &h->r[i], *y = &g->r[i];
        assert_true(x->at == y->at && x->kind == y->kind && x->client == y->client && x->sender == y->sender && x->seq == y->seq &&
                    x->account == y->account && x->direct == y->direct && !x->stanza_id == !y->stanza_id);
    }
    history_chat_verdict v, w;
    assert_false(judged(h, &v));
    assert_false(judged(g, &w));
    assert_memory_equal(&v, &w, sizeof v);
    buf_fini(&out);
    history_text_free(t);
    history_text_free(u);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_become_records),
        cmocka_unit_test(an_id_that_nobody_sent_is_named_in_the_breach),
        cmocka_unit_test(a_wrong_line_is_refused_with_its_number),
        cmocka_unit_test(limits_are_named),
        cmocka_unit_test(a_file_is_read_to_its_end_and_a_torn_line_is_not_passed_over),
        cmocka_unit_test(what_is_written_reads_back_as_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
