/* What the processes named global_name_server say to each other (mesh/global_msg.h), read and written. */
#include "base/mem.h"
#include "mesh/global_msg.h"
#include "proto/etf/term.h"
#include "support/cmocka_unit.h"

#include <stdio.h>
#include <stdlib.h>

static const etf_pid PID = {.node = {(const uint8_t *)"a@h", 3}, .id = 40, .serial = 0, .creation = 9};
#define ME SLICE("a@h")

/* A term whose atoms '<a@h.ID.SERIAL>' are pids. */
static void put_text(buf *out, const char *text) {
    buf b;
    etf_item it;
    size_t at;
    buf_init(&b, 1u << 20);
    assert_int_equal(etf_parse(slice_str(text), &b, &at), ERR_OK);
    etf_reader r = etf_reader_of(buf_slice(&b));
    while (cursor_left(&r.in)) {
        assert_true(etf_next(&r, &it));
        if (it.kind == ETF_ATOM && it.text.len > 6 && it.text.p[0] == '<')
            etf_put_pid(out, &(etf_pid){slice_of(it.text.p + 1, 3), (uint32_t)it.text.p[5] - '0', (uint32_t)it.text.p[7] - '0', 9});
        else
            etf_put_item(out, &it);
    }
    buf_fini(&b);
}

static buf kept; /* what the last message is a slice of */
static mesh_global_msg read_of(mesh_gen_kind how, const char *text) {
    mesh_global_msg m;
    buf_fini(&kept);
    buf_init(&kept, 1u << 20);
    put_text(&kept, text);
    mesh_global_msg_read(how, buf_slice(&kept), &m);
    return m;
}

static mesh_global_kind kind_of(mesh_gen_kind how, const char *text) { return read_of(how, text).kind; }

/* What was written as it is sent: a cast loses its frame. */
static rt_blob *blob; /* likewise */
static mesh_global_msg again(const buf *b) {
    mesh_gen gen;
    mesh_global_msg m;
    rt_blob_unref(blob);
    blob = rt_blob_alloc(b->len + 1);
    blob->data[0] = ETF_VERSION;
    memcpy(blob->data + 1, b->p, b->len);
    mesh_term t = {.term = blob};
    mesh_gen_read(&t, &gen);
    mesh_global_msg_read(gen.kind, gen.request, &m);
    return m;
}

static bool is_int(slice term, int64_t want) {
    int64_t i;
    etf_reader r = etf_reader_of(term);
    return etf_get_int(&r, &i) && i == want;
}

static void init_connect(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 1000);
    mesh_global_put_init_connect(&b, ME, 7, &PID);
    mesh_global_msg m = again(&b);
    assert_int_equal(m.kind, MESH_GLOBAL_INIT_CONNECT);
    assert_true(slice_eq(m.node, ME) && m.vsn == 8 && is_int(m.tag, 7) && etf_pid_eq(&m.pid, &PID) && m.kin == MESH_GLOBAL_MURRE);
    buf_fini(&b);
    m = read_of(MESH_GEN_CAST, "{init_connect,{8,-576460752303423000},'b@h',{locker,no_longer_a_pid,#{},'<a@h.1.2>'}}");
    assert_true(m.kind == MESH_GLOBAL_INIT_CONNECT && m.kin == MESH_GLOBAL_ERLANG && is_int(m.tag, -576460752303423000));
    m = read_of(MESH_GEN_CAST, "{init_connect,{9,1,more},'b@h',{locker,x,#{a=>1,murre=>1},'<a@h.1.2>'}}");
    assert_true(m.kind == MESH_GLOBAL_INIT_CONNECT && m.vsn == 8 && m.kin == MESH_GLOBAL_MURRE); /* a later one speaks this, too */
    assert_int_equal(read_of(MESH_GEN_CAST, "{init_connect,{5,1},'b@h',{locker,x,[],'<a@h.1.2>'}}").vsn, 5);
    assert_int_equal(kind_of(MESH_GEN_CAST, "{init_connect,{4,1},'b@h',{locker,x,[],'<a@h.1.2>'}}"), MESH_GLOBAL_OTHER);
    assert_int_equal(kind_of(MESH_GEN_INFO, "{init_connect,{8,1},'b@h',{locker,x,[],'<a@h.1.2>'}}"), MESH_GLOBAL_OTHER);
    assert_int_equal(kind_of(MESH_GEN_CAST, "{init_connect,{8,1},'b@h',{locker,x,[],no_pid}}"), MESH_GLOBAL_OTHER);
    assert_int_equal(kind_of(MESH_GEN_CAST, "{init_connect,{8},'b@h',{locker,x,[],'<a@h.1.2>'}}"), MESH_GLOBAL_OTHER);
}

static void handing_over(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 1000);
    mesh_global_put_init_connect_ack(&b, ME, SLICE("a\x05"), 6);
    mesh_global_msg m = again(&b);
    assert_true(m.kind == MESH_GLOBAL_INIT_CONNECT_ACK && is_int(m.my_tag, 5) && is_int(m.tag, 6));
    buf_reset(&b);
    mesh_global_put_cancel_connect(&b, ME, SLICE("a\x05"));
    m = again(&b);
    assert_true(m.kind == MESH_GLOBAL_CANCEL_CONNECT && is_int(m.my_tag, 5));
    for (int form = 0; form < 3; form++) { /* of version 8, of 6 and 7, of 5 */
        buf_reset(&b);
        mesh_global_put_lock_set(&b, form < 2, &PID, true, form ? SLICE_NULL : SLICE("a\x05"));
        m = again(&b);
        assert_true(m.kind == MESH_GLOBAL_LOCK_SET && m.set && m.tagged == (form == 0) && etf_pid_eq(&m.pid, &PID));
    }
    assert_int_equal(kind_of(MESH_GEN_CAST, "{lock_set,'<a@h.1.2>',perhaps,[],5}"), MESH_GLOBAL_OTHER);
    assert_int_equal(kind_of(MESH_GEN_INFO, "{lock_set,'<a@h.1.2>',true,[],5}"), MESH_GLOBAL_OTHER);
    buf_reset(&b);
    mesh_global_put_in_sync(&b, ME);
    assert_true(again(&b).kind == MESH_GLOBAL_IN_SYNC && again(&b).kin == MESH_GLOBAL_MURRE);
    assert_int_equal(read_of(MESH_GEN_CAST, "{in_sync,'b@h',true}").kin, MESH_GLOBAL_ERLANG);
    buf_fini(&b);
}

static void names_and_nodes(void **state) {
    (void)state;
    buf b;
    mesh_global_rows rows;
    mesh_global_entry e;
    slice node;
    int64_t vsn;
    bool insert;
    mesh_global_msg m = read_of(MESH_GEN_CAST, "{exchange,'b@h',[{x,'<a@h.1.2>',m},{{y,1},'<b@h.3.4>',m}],[],5}");
    assert_int_equal(m.kind, MESH_GLOBAL_EXCHANGE);
    mesh_global_rows_begin(m.names, &rows);
    assert_true(mesh_global_rows_entry(&rows, &e) && e.pid.id == 1 && mesh_global_rows_entry(&rows, &e) && e.pid.serial == 4);
    assert_true(!mesh_global_rows_entry(&rows, &e) && !rows.bad);
    m = read_of(MESH_GEN_CAST, "{exchange,'b@h',[{x,'<a@h.1.2>',m},{y,no_pid,m},{z,'<a@h.1.2>',m}],[],5}");
    mesh_global_rows_begin(m.names, &rows);
    assert_true(mesh_global_rows_entry(&rows, &e) && !mesh_global_rows_entry(&rows, &e) && rows.bad);
    assert_false(mesh_global_rows_entry(&rows, &e)); /* nor what comes after it */
    m = read_of(MESH_GEN_CAST, "{resolved,'b@h',[{insert,{x,'<a@h.1.2>',m}},{delete,y}],[{'c@h',8},'d@h'],unused,[],5}");
    assert_int_equal(m.kind, MESH_GLOBAL_RESOLVED);
    mesh_global_rows_begin(m.ops, &rows);
    assert_true(mesh_global_rows_op(&rows, &insert, &e) && insert && mesh_global_rows_op(&rows, &insert, &e) && !insert);
    assert_false(mesh_global_rows_op(&rows, &insert, &e));
    mesh_global_rows_begin(m.nodes, &rows);
    assert_true(mesh_global_rows_node(&rows, &node, &vsn) && slice_is(node, "c@h") && vsn == 8);
    assert_true(mesh_global_rows_node(&rows, &node, &vsn) && slice_is(node, "d@h") && vsn == 0);
    assert_false(mesh_global_rows_node(&rows, &node, &vsn) || rows.bad);
    buf_init(&b, 1000); /* lists whose tails are lists, as those that are built from parts */
    etf_put_list(&b, 1), etf_put_atom(&b, SLICE("c@h")), etf_put_list(&b, 1), etf_put_atom(&b, SLICE("d@h")), etf_put_nil(&b);
    mesh_global_rows_begin(buf_slice(&b), &rows);
    assert_true(mesh_global_rows_node(&rows, &node, &vsn) && mesh_global_rows_node(&rows, &node, &vsn) && slice_is(node, "d@h"));
    assert_false(mesh_global_rows_node(&rows, &node, &vsn) || rows.bad);
    buf_reset(&b);
    mesh_global_put_new_nodes(&b, ME, SLICE("j"), SLICE("j"), SLICE("j"), 8, SLICE("w\x01r"));
    m = again(&b);
    slice lock_ = mesh_global_msg_lock(m.extra);
    assert_true(m.kind == MESH_GLOBAL_NEW_NODES && slice_eq(lock_, SLICE("w\x01r")));
    assert_int_equal(mesh_global_msg_lock(SLICE("j")).len, 0);
    buf_fini(&b);
}

static void lost_connections(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 1000);
    mesh_global_put_lost_connection(&b, ME, UINT64_MAX, -3, SLICE("c@h"));
    mesh_global_msg m = again(&b);
    assert_true(m.kind == MESH_GLOBAL_LOST_CONNECTION && slice_is(m.lost, "c@h") && m.op_id == -3 && m.creation.len > 8);
    buf_reset(&b);
    mesh_global_put_remove_connection(&b, ME);
    assert_int_equal(again(&b).kind, MESH_GLOBAL_REMOVE_CONNECTION);
    buf_fini(&b);
}

static void calls(void **state) {
    (void)state;
    static const struct {
        const char *text;
        mesh_global_kind kind;
    } all[] = {
        {"{set_lock,{global,me}}", MESH_GLOBAL_SET_LOCK},
        {"{del_lock,{global,me}}", MESH_GLOBAL_DEL_LOCK},
        {"{register,x,'<a@h.1.2>',m}", MESH_GLOBAL_REGISTER},
        {"{register_ext,x,'<a@h.1.2>',m,'a@h'}", MESH_GLOBAL_REGISTER_EXT},
        {"{unregister,x}", MESH_GLOBAL_UNREGISTER},
        {"{sync,['a@h']}", MESH_GLOBAL_SYNC},
        {"get_known", MESH_GLOBAL_GET_KNOWN},
        {"get_synced", MESH_GLOBAL_GET_SYNCED},
        {"get_names_ext", MESH_GLOBAL_GET_NAMES_EXT},
        {"get_protocol_version", MESH_GLOBAL_GET_PROTOCOL_VERSION},
        {"{call,global,resolve_it,[m,x,'<a@h.1.2>','<b@h.1.2>'],'<a@h.1.0>'}", MESH_GLOBAL_RESOLVE},
        {"{call,os,cmd,[x],'<a@h.1.0>'}", MESH_GLOBAL_OTHER},
        {"{set_lock,global}", MESH_GLOBAL_OTHER},
        {"{register,x,y,m}", MESH_GLOBAL_OTHER},
        {"{get_known}", MESH_GLOBAL_OTHER},
        {"{unregister,x,y}", MESH_GLOBAL_OTHER},
        {"{stop}", MESH_GLOBAL_OTHER},
        {"stop", MESH_GLOBAL_OTHER},
        {"[]", MESH_GLOBAL_OTHER},
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) assert_int_equal(kind_of(MESH_GEN_CALL, all[i].text), all[i].kind);
    buf b;
    uint64_t number;
    slice value;
    buf_init(&b, 1000);
    etf_put_tuple(&b, 2), etf_put_uint(&b, 77), etf_put_bool(&b, true);
    assert_true(mesh_global_reply_read(buf_slice(&b), &number, &value) && number == 77);
    assert_false(mesh_global_reply_read(SLICE("a\x05"), &number, &value));
    buf_fini(&b);
}

/* What is kept of a message has an end: tags and creations are integers, and nodes have names. */
static void what_is_kept_is_short(void **state) {
    (void)state;
    char text[4000], many[2000];
    memset(many, '1', sizeof many);
    many[sizeof many - 1] = 0;
    (void)snprintf(text, sizeof text, "{lost_connection,'a@h',%s,1,'b@h'}", many);
    assert_int_equal(kind_of(MESH_GEN_INFO, text), MESH_GLOBAL_OTHER);
    (void)snprintf(text, sizeof text, "{init_connect,{8,%s},'b@h',{locker,x,[],'<a@h.1.2>'}}", many);
    assert_int_equal(kind_of(MESH_GEN_CAST, text), MESH_GLOBAL_OTHER);
    assert_int_equal(kind_of(MESH_GEN_INFO, "{lost_connection,a,1,1,'b@h'}"), MESH_GLOBAL_OTHER);
    assert_int_equal(kind_of(MESH_GEN_INFO, "{lost_connection,'a@h',1,1,'b@\n'}"), MESH_GLOBAL_OTHER);
}

static void spellings(void **state) {
    (void)state;
    buf b, c, d;
    size_t at;
    buf_init(&b, 1u << 20), buf_init(&c, 1u << 20), buf_init(&d, 1u << 20);
    assert_int_equal(etf_parse(SLICE("#{a=>1,b=>[2]}"), &b, &at), ERR_OK);
    assert_true(mesh_global_canon(buf_slice(&b), &c));
    buf_reset(&b);
    assert_int_equal(etf_parse(SLICE("#{b=>[2],a=>1}"), &b, &at), ERR_OK);
    assert_true(mesh_global_canon(buf_slice(&b), &d) && slice_eq(buf_slice(&c), buf_slice(&d)));
    buf_reset(&c), buf_reset(&d);
    assert_true(mesh_global_canon(SLICE("d\0\1x"), &c) && mesh_global_canon(SLICE("w\1x"), &d) && slice_eq(buf_slice(&c), buf_slice(&d)));
    assert_false(mesh_global_canon(SLICE("w\2x"), &c));
    buf_fini(&b), buf_fini(&c), buf_fini(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(init_connect),     cmocka_unit_test(handing_over), cmocka_unit_test(names_and_nodes),
        cmocka_unit_test(lost_connections), cmocka_unit_test(calls),        cmocka_unit_test(what_is_kept_is_short),
        cmocka_unit_test(spellings),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_fini(&kept);
    rt_blob_unref(blob);
    return failed;
}
