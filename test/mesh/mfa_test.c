/* Functions that other nodes may call (mesh/mfa.h): what they answer on a node that does not run, whose shards are asked at once; and what
 * arguments of all kinds that a hostile peer may send do not. */
#include "mesh/mfa.h"
#include "mesh/origin.h"
#include "proto/etf/term.h"
#include "proto/etf/text.h"
#include "rt/rt_world.h"

#include <stdio.h>

#define OWN  "murre@h"
#define PEER "p@h"

static struct {
    world *w;
    mesh *m;
    rt_ctx *cx;
    buf value, message;
    etf_pid to;
} t;

static void begin(void) {
    mesh_cfg c;
    mesh_cfg_default(&c);
    c.name = SLICE(OWN);
    c.cookie = SLICE("XKQJZPWVBNMTRHGFDSLC");
    c.version = "1.2";
    t.w = world_new(2, 1);
    assert_int_equal(mesh_new(t.w->n, &c, &t.m), ERR_OK);
    assert_int_equal(mesh_boot(t.m), ERR_OK);
    buf_init(&t.value, 1 << 20);
    buf_init(&t.message, 1 << 20);
}

static void end(void) {
    buf_fini(&t.value);
    buf_fini(&t.message);
    world_free(t.w);
    mesh_free(t.m);
}

typedef struct calling {
    const char *module, *function;
    slice args;
    uint32_t arity;
    bool fine;
} calling;

static void on_shard(rt_ctx *cx, void *arg) {
    calling *k = arg;
    const mesh_mfa *f = mesh_mfa_find(t.m, slice_str(k->module), slice_str(k->function), k->arity);
    if (!f) fail_msg("%s:%s/%u is not there", k->module, k->function, k->arity);
    mesh_mfa_call c = {.m = t.m,
                       .cx = f->when != MESH_LATER ? cx : NULL,
                       .peer = SLICE(PEER),
                       .module = slice_str(k->module),
                       .function = slice_str(k->function),
                       .args = k->args,
                       .self = mesh_etf_pid(t.m, (rt_pid){0, 254u << 24, 1}),
                       .leader = {.node = SLICE(PEER), .id = 3, .creation = 9},
                       .value = &t.value,
                       .message = &t.message};
    buf_reset(&t.value);
    buf_reset(&t.message);
    k->fine = f->fn(&c);
    t.to = c.to;
}

/* args: the arguments as text, in brackets. True: there is a result in t.value, one whole term. */
static bool call_args(const char *module, const char *function, slice args, uint32_t arity) {
    calling k = {module, function, args, arity, false};
    rt_node_boot(t.w->n, 0, on_shard, &k);
    if (!k.fine) return false;
    etf_reader r = etf_reader_of(buf_slice(&t.value));
    assert_true(buf_ok(&t.value));
    assert_true(etf_skip(&r, NULL));
    assert_int_equal(cursor_left(&r.in), 0);
    return true;
}

static bool call(const char *module, const char *function, const char *args) {
    buf b;
    size_t at;
    etf_item list;
    buf_init(&b, 1 << 20);
    assert_int_equal(etf_parse(slice_str(args), &b, &at), ERR_OK);
    etf_reader r = etf_reader_of(buf_slice(&b));
    assert_true(etf_next(&r, &list));
    bool fine = call_args(module, function, buf_slice(&b), list.kind == ETF_LIST ? list.n : 0);
    buf_fini(&b);
    return fine;
}

static void value_is(const char *want) {
    arena a;
    buf text;
    const etf_term *term;
    arena_init(&a, 1 << 20);
    buf_init(&text, 1 << 20);
    etf_reader r = etf_reader_of(buf_slice(&t.value));
    assert_int_equal(etf_term_read(&r, &a, &term), ERR_OK);
    etf_format(term, &text);
    if (!slice_is(buf_slice(&text), want)) fail_msg("'" SLICE_FMT "' is not '%s'", SLICE_ARG(buf_slice(&text)), want);
    buf_fini(&text);
    arena_fini(&a);
}

static void says(const char *module, const char *function, const char *args, const char *want) {
    if (!call(module, function, args)) fail_msg("%s:%s: badarg", module, function);
    value_is(want);
}

/* The answer is a list of atoms, with this one among them. */
static void value_has(const char *atom) {
    etf_reader r = etf_reader_of(buf_slice(&t.value));
    etf_item list;
    unsigned found = 0;
    assert_true(etf_next(&r, &list));
    assert_int_equal(list.kind, ETF_LIST);
    for (uint32_t i = 0; i < list.n; i++) {
        slice one;
        assert_true(etf_get_atom(&r, &one));
        found += slice_is(one, atom);
    }
    assert_int_equal(found, 1);
}

/* The list [Pid] with one argument more, as text; the caller frees it. */
static buf with_pid(rt_pid pid, const char *more) {
    buf b;
    size_t at;
    etf_pid p = mesh_etf_pid(t.m, pid);
    buf_init(&b, 4096);
    etf_put_list(&b, more ? 2 : 1);
    etf_put_pid(&b, &p);
    if (more) assert_int_equal(etf_parse(slice_str(more), &b, &at), ERR_OK);
    etf_put_nil(&b);
    return b;
}

static bool info(rt_pid pid, const char *items) {
    buf args = with_pid(pid, items);
    bool fine = call_args("erlang", "process_info", buf_slice(&args), items ? 2 : 1);
    buf_fini(&args);
    return fine;
}

/* --- what they answer -------------------------------------------------------------------------------------------------------------- */
static void who_and_when(void **state) {
    (void)state;
    begin();
    says("erlang", "node", "[]", OWN);
    says("erlang", "nodes", "[]", "[]");
    says("erlang", "nodes", "[this]", "[" OWN "]");
    says("erlang", "nodes", "[[hidden,this,visible]]", "[" OWN "]");
    says("erlang", "is_alive", "[]", "true");
    assert_true(call("erlang", "registered", "[]"));
    value_has("net_kernel");
    says("erlang", "whereis", "[nobody]", "undefined");
    t.w->now = 2500000;
    says("erlang", "monotonic_time", "[]", "2500000000");
    assert_true(call("erlang", "system_time", "[second]"));
    assert_true(call("erlang", "system_time", "[7]"));
    assert_true(call("erlang", "timestamp", "[]"));
    end();
}

static void what_is_known_of_a_process(void **state) {
    (void)state;
    begin();
    rt_pid kernel = rt_name_whereis(t.w->n, "net_kernel"), gone = {0, kernel.slot, kernel.gen + 1}, nowhere = {0, 77u << 24, 1};
    assert_true(info(kernel, "[registered_name,current_function,initial_call,status,message_queue_len,trap_exit,monitors,heap_size]"));
    value_is("[{registered_name,net_kernel},{current_function,{net_kernel,handle,3}},{initial_call,{net_kernel,init,3}},{status,waiting},"
             "{message_queue_len,0},{trap_exit,true},{monitors,[]},{heap_size,0}]");
    assert_true(info(kernel, "registered_name"));
    value_is("{registered_name,net_kernel}");
    assert_true(info(kernel, NULL));
    assert_true(info(gone, NULL));
    value_is("undefined");
    assert_true(info(nowhere, "links"));
    value_is("undefined");
    assert_true(info(kernel, "[]"));
    value_is("[]");
    assert_false(info(kernel, "messages"));
    assert_false(info(kernel, "[links|memory]"));
    assert_false(info(kernel, "[links,7]"));
    assert_false(info(kernel, "{links}"));
    assert_false(info(kernel, "\"links\""));
    end();
}

static void a_process_without_a_name_says_so_in_two_ways(void **state) {
    (void)state;
    begin();
    puppet *p = puppet_new(t.w, 1, &puppet_class);
    assert_true(info(p->pid, "registered_name"));
    value_is("[]");
    assert_true(info(p->pid, "[registered_name]"));
    value_is("[{registered_name,[]}]");
    buf args = with_pid(p->pid, NULL);
    assert_true(call_args("erlang", "is_process_alive", buf_slice(&args), 1));
    value_is("true");
    buf_fini(&args);
    end();
    mem_free(p);
}

static void what_the_system_says(void **state) {
    (void)state;
    begin();
    says("erlang", "system_info", "[schedulers]", "2");
    says("erlang", "system_info", "[process_limit]", "33554432");
    says("erlang", "system_info", "[version]", "\"1.2\"");
    says("erlang", "system_info", "[{wordsize,external}]", "8");
    says("erlang", "system_info", "[logical_processors]", "unknown");
    says("erlang", "statistics", "[garbage_collection]", "{0,0,0}");
    says("erlang", "statistics", "[run_queue]", "0");
    t.w->now += 1500000;
    says("erlang", "statistics", "[wall_clock]", "{1500,1500}");
    t.w->now += 1000;
    says("erlang", "statistics", "[wall_clock]", "{1501,1}");
    assert_true(call("erlang", "memory", "[]"));
    says("erlang", "memory", "[[atom,code]]", "[{atom,0},{code,0}]");
    end();
}

static void tools_count_what_they_are_told_to(void **state) {
    (void)state;
    begin();
    says("lcnt", "rt_mask", "[]", "[]");
    says("lcnt", "rt_mask", "[[generic]]", "ok");
    says("lcnt", "rt_mask", "[]", "[generic]");
    says("lcnt", "rt_mask", "[[]]", "ok");
    says("lcnt", "rt_mask", "[]", "[]");
    assert_true(call("lcnt", "rt_collect", "[]"));
    says("lcnt", "rt_clear", "[]", "ok");
    says("msacc", "stop", "[]", "true");
    says("erlang", "statistics", "[scheduler_wall_time]", "undefined");
    says("erlang", "system_flag", "[scheduler_wall_time,false]", "false");
    says("erlang", "system_flag", "[scheduler_wall_time,true]", "false");
    says("msacc", "start", "[]", "true");
    says("msacc", "reset", "[]", "true");
    assert_true(call("msacc", "stats", "[]"));
    assert_int_equal(rt_event_count(t.w->n, EV_MESH_CHANGED), 8);
    end();
}

/* The term that goes to the collector, and to whom. */
static void collects(const char *function) {
    buf args;
    etf_pid to = {.node = SLICE(PEER), .id = 17, .creation = 5};
    buf_init(&args, 4096);
    etf_put_list(&args, 1);
    etf_put_pid(&args, &to);
    etf_put_nil(&args);
    assert_true(call_args("observer_backend", function, buf_slice(&args), 1));
    assert_int_equal(t.to.id, 17);
    etf_reader r = etf_reader_of(buf_slice(&t.message));
    assert_true(etf_skip(&r, NULL));
    assert_int_equal(cursor_left(&r.in), 0);
    buf_fini(&args);
}

static void etop_and_observer(void **state) {
    (void)state;
    uint32_t n;
    begin();
    collects("etop_collect");
    etf_reader r = etf_reader_of(buf_slice(&t.message));
    assert_true(etf_get_tuple(&r, &n));
    assert_true(n == 2 && etf_skip(&r, NULL) && etf_get_tuple(&r, &n));
    assert_true(n == 9 && etf_get_atom_is(&r, SLICE("etop_info")));
    collects("procs_info");
    says("observer_backend", "vsn", "[]", "{ok,\"1.2\"}");
    assert_true(call("observer_backend", "sys_info", "[]"));
    assert_true(call("observer_backend", "get_table_list", "[ets,[{sys_hidden,true}]]"));
    end();
}

/* --- what they refuse -------------------------------------------------------------------------------------------------------------- */
static const char *const terms[] = {
    "[]",
    "0",
    "-1",
    "99999999999999999999999",
    "1.5",
    "nope",
    "''",
    "\"text\"",
    "<<\"bytes\">>",
    "{}",
    "{a,b,c}",
    "{wordsize,7}",
    "{wordsize}",
    "[a|b]",
    "[[[[[]]]]]",
    "#{a=>1}",
    "[this|visible]",
    "[total|ets]",
    "[generic|generic]",
    "[generic,generic]",
    "[1,2,3]",
    "[total,nope]",
};

static void any_term_for_any_argument(void **state) {
    (void)state;
    static const char *const takers[][2] = {
        {"is_process_alive", "1"}, {"memory", "1"},       {"monotonic_time", "1"}, {"node", "1"},        {"nodes", "1"},
        {"process_info", "1"},     {"process_info", "2"}, {"statistics", "1"},     {"system_flag", "2"}, {"system_info", "1"},
        {"system_time", "1"},      {"whereis", "1"}};
    unsigned refused = 0, all = 0;
    begin();
    for (size_t f = 0; f < ARRAY_LEN(takers); f++)
        for (size_t i = 0; i < ARRAY_LEN(terms); i++) {
            char args[128];
            (void)snprintf(args, sizeof args, takers[f][1][0] == '1' ? "[%s]" : "[%s,%s]", terms[i], terms[i]);
            bool fine = call("erlang", takers[f][0], args);
            refused += !fine;
            all++;
        }
    assert_true(refused > all * 3 / 4);
    for (size_t i = 1; i < ARRAY_LEN(terms); i++) {
        char args[128];
        (void)snprintf(args, sizeof args, "[%s]", terms[i]);
        assert_false(call("lcnt", "rt_mask", args));
    }
    end();
}

static void a_long_list_of_items_is_refused(void **state) {
    (void)state;
    begin();
    rt_pid kernel = rt_name_whereis(t.w->n, "net_kernel");
    buf args;
    etf_pid p = mesh_etf_pid(t.m, kernel);
    buf_init(&args, 1 << 20);
    etf_put_list(&args, 2);
    etf_put_pid(&args, &p);
    etf_put_list(&args, 10000);
    for (int i = 0; i < 10000; i++) etf_put_atom(&args, SLICE("links"));
    etf_put_nil(&args);
    etf_put_nil(&args);
    assert_false(call_args("erlang", "process_info", buf_slice(&args), 2));
    buf_fini(&args);
    end();
}

static void a_pid_of_another_node_is_refused(void **state) {
    (void)state;
    begin();
    buf args;
    etf_pid p = {.node = SLICE(PEER), .id = 1, .creation = 5};
    buf_init(&args, 4096);
    etf_put_list(&args, 1);
    etf_put_pid(&args, &p);
    etf_put_nil(&args);
    assert_false(call_args("erlang", "is_process_alive", buf_slice(&args), 1));
    assert_false(call_args("erlang", "process_info", buf_slice(&args), 1));
    assert_true(call_args("erlang", "node", buf_slice(&args), 1));
    value_is(PEER);
    buf_fini(&args);
    end();
}

/* What a collector is sent goes to the node that asked, and to no other. */
static void a_collector_is_a_process_of_the_peer(void **state) {
    (void)state;
    begin();
    buf args;
    etf_pid third = {.node = SLICE("third@h"), .id = 1, .creation = 5};
    buf_init(&args, 4096);
    etf_put_list(&args, 1);
    etf_put_pid(&args, &third);
    etf_put_nil(&args);
    assert_false(call_args("observer_backend", "etop_collect", buf_slice(&args), 1));
    assert_false(call_args("observer_backend", "procs_info", buf_slice(&args), 1));
    for (size_t i = 0; i < ARRAY_LEN(terms); i++) {
        char text[128];
        (void)snprintf(text, sizeof text, "[%s]", terms[i]);
        assert_false(call("observer_backend", "etop_collect", text));
        assert_false(call("observer_backend", "procs_info", text));
    }
    assert_false(call("observer_backend", "get_table_list", "[mnesia,[]]"));
    assert_false(call("observer_backend", "get_table_list", "[7,[]]"));
    buf_fini(&args);
    end();
}

/* A pid of this node's earlier life: as OTP has it, that process is not alive. */
static void a_pid_of_an_earlier_life_is_dead(void **state) {
    (void)state;
    begin();
    buf args;
    etf_pid p = mesh_etf_pid(t.m, rt_name_whereis(t.w->n, "net_kernel"));
    p.creation ^= 1;
    buf_init(&args, 4096);
    etf_put_list(&args, 1);
    etf_put_pid(&args, &p);
    etf_put_nil(&args);
    assert_true(call_args("erlang", "is_process_alive", buf_slice(&args), 1));
    value_is("false");
    assert_true(call_args("erlang", "process_info", buf_slice(&args), 1));
    value_is("undefined");
    buf_fini(&args);
    end();
}

/* --- what is asked before calling, and who may end the node ----------------------------------------------------------------------------
 */
static void modules_and_functions_are_those_of_the_table(void **state) {
    (void)state;
    begin();
    says("code", "ensure_loaded", "[erlang]", "{module,erlang}");
    says("code", "ensure_loaded", "[shell]", "{error,nofile}");
    says("code", "is_loaded", "[lcnt]", "{file,preloaded}");
    says("code", "is_loaded", "[lists]", "false");
    says("erlang", "module_loaded", "[pg]", "true");
    says("erlang", "function_exported", "[erlang,nodes,1]", "true");
    says("erlang", "function_exported", "[erlang,nodes,4294967297]", "false");
    says("net_kernel", "get_net_ticktime", "[]", "60");
    says("init", "get_status", "[]", "{started,started}");
    says("global", "registered_names", "[]", "[]");
    says("global", "whereis_name", "[x]", "undefined");
    assert_false(call("erlang", "function_exported", "[erlang,nodes,-1]"));
    assert_false(call("code", "ensure_loaded", "[\"erlang\"]"));
    end();
}

static void sending_reaches_who_is_there(void **state) {
    (void)state;
    begin();
    says("erlang", "send", "[net_kernel,{hello,1}]", "{hello,1}");
    says("erlang", "send", "[{nobody,'murre@h'},lost]", "lost");
    says("erlang", "send", "[{nobody,'other@h'},lost]", "lost");
    assert_false(call("erlang", "send", "[nobody,lost]"));
    assert_false(call("erlang", "send", "[1,lost]"));
    assert_false(call("erlang", "send", "[{a,b,c},lost]"));
    end();
}

static void on_stop(void *arg, bool now, int status) { *(int *)arg = (now ? 1000 : 2000) + status; }

static void only_who_may_ends_the_node(void **state) {
    (void)state;
    int stopped = 0;
    begin();
    assert_null(mesh_mfa_find(t.m, SLICE("erlang"), SLICE("halt"), 0));
    says("erlang", "function_exported", "[init,stop,0]", "false");
    mesh_origin_allow(t.m, on_stop, &stopped);
    assert_true(call("erlang", "halt", "[]") && stopped == 1000);
    assert_true(call("erlang", "halt", "[7]") && stopped == 1007);
    assert_true(call("erlang", "halt", "[abort]") && stopped == 1001);
    assert_true(call("init", "stop", "[]") && stopped == 2000);
    assert_true(call("init", "stop", "[\"slogan\"]") && stopped == 2001);
    stopped = 0;
    assert_false(call("erlang", "halt", "[-1]"));
    assert_false(call("erlang", "halt", "[{}]"));
    assert_int_equal(stopped, 0);
    end();
}

/* A message of the line, as text; "": nothing is said back. */
static void answers(const char *message, err status, const char *want) {
    buf b, reply;
    size_t at;
    buf_init(&b, 4096);
    buf_init(&reply, 1 << 20);
    etf_put_version(&b);
    assert_int_equal(etf_parse(slice_str(message), &b, &at), ERR_OK);
    assert_int_equal(mesh_origin_message(t.m, buf_slice(&b), &reply), status);
    buf_reset(&t.value);
    if (*want) {
        etf_reader r = etf_reader_of(buf_slice(&reply));
        assert_true(etf_get_version(&r) && etf_copy(&r, &t.value));
        value_is(want);
    }
    assert_true(*want || reply.len == 0);
    buf_fini(&b);
    buf_fini(&reply);
}

static void the_line_of_who_started_the_node(void **state) {
    (void)state;
    buf none;
    begin();
    answers("{call,7,erlang,node,[]}", ERR_OK, "{reply,7,ok,murre@h}");
    answers("{call,{a,b},no,such,[1]}", ERR_OK, "{reply,{a,b},error,{undef,[{no,such,[1],[]}]}}");
    answers("{call,1,erlang,whereis,[1]}", ERR_OK, "{reply,1,error,{badarg,[{erlang,whereis,[1],[]}]}}");
    answers("{call,1,erlang,nodes,[a|b]}", ERR_OK, "{reply,1,error,{badarg,[{erlang,nodes,[a|b],[]}]}}");
    answers("{call,1,erlang,halt,[]}", ERR_OK, "{reply,1,error,{undef,[{erlang,halt,[],[]}]}}");
    answers("{cast,erlang,node,[]}", ERR_OK, "");
    answers("{message,net_kernel,hello}", ERR_OK, "");
    answers("{message,nobody,hello}", ERR_OK, "");
    answers("{io_reply,a,b,c}", ERR_OK, "");
    answers("{call,1,erlang,node}", ERR_CORRUPT, "");
    answers("{call,1,\"erlang\",node,[]}", ERR_CORRUPT, "");
    answers("{}", ERR_CORRUPT, "");
    answers("[call]", ERR_CORRUPT, "");
    buf_init(&none, 16);
    assert_int_equal(mesh_origin_message(t.m, SLICE("call"), &none), ERR_CORRUPT);
    assert_int_equal(mesh_origin_message(t.m, SLICE("\x83h"), &none), ERR_CORRUPT);
    buf_fini(&none);
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_and_when),
        cmocka_unit_test(what_is_known_of_a_process),
        cmocka_unit_test(a_process_without_a_name_says_so_in_two_ways),
        cmocka_unit_test(what_the_system_says),
        cmocka_unit_test(tools_count_what_they_are_told_to),
        cmocka_unit_test(etop_and_observer),
        cmocka_unit_test(a_collector_is_a_process_of_the_peer),
        cmocka_unit_test(any_term_for_any_argument),
        cmocka_unit_test(a_long_list_of_items_is_refused),
        cmocka_unit_test(a_pid_of_another_node_is_refused),
        cmocka_unit_test(a_pid_of_an_earlier_life_is_dead),
        cmocka_unit_test(modules_and_functions_are_those_of_the_table),
        cmocka_unit_test(sending_reaches_who_is_there),
        cmocka_unit_test(only_who_may_ends_the_node),
        cmocka_unit_test(the_line_of_who_started_the_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
