/* global_msg: see global_msg.h. Messages are read by a table: the tag, how it comes, and what each element is. */
#include "mesh/global_msg.h"

#include "proto/dist/name.h"
#include "proto/etf/term.h"

/* --- elements --------------------------------------------------------------------------------------------------------------------- */
typedef enum element { SKIP, ATOM, NODE, TERM, TAG, LIST, INT, BOOL, PID, PAIR, VSN, LOCKER, KIN, MODULE } element;
typedef struct part {
    uint8_t what; /* element */
    uint16_t at;  /* of the field in mesh_global_msg; PAIR: resource, requester */
} part;

static bool get_bool(etf_reader *r, bool *out) {
    slice text;
    etf_reader at = *r;
    if (!etf_get_atom(&at, &text) || (!slice_is(text, "true") && !slice_is(text, "false"))) return false;
    *r = at;
    *out = slice_is(text, "true");
    return true;
}

static bool get_pid(etf_reader *r, etf_pid *pid, slice *term) {
    etf_reader at = *r;
    return etf_get_pid(&at, pid) && etf_skip(r, term);
}

static bool get_pair(etf_reader *r, slice *first, slice *second) {
    uint32_t n;
    return etf_get_tuple(r, &n) && n == 2 && etf_skip(r, first) && etf_skip(r, second);
}

/* The map, or whatever a node puts there: whether the key of our kind is in it. */
static bool is_murre(slice map) {
    etf_reader r = etf_reader_of(map);
    etf_item it;
    if (!etf_next(&r, &it) || it.kind != ETF_MAP) return false;
    for (uint32_t i = 0; i < it.n; i++) {
        if (etf_get_atom_is(&r, SLICE(MESH_GLOBAL_ATOM))) return true;
        if (!etf_skip(&r, NULL) || !etf_skip(&r, NULL)) return false;
    }
    return false;
}

static bool get_locker(etf_reader *r, mesh_global_msg *m) {
    uint32_t n;
    slice map;
    if (!etf_get_tuple(r, &n) || n != 4 || !etf_get_atom_is(r, SLICE("locker")) || !etf_skip(r, NULL) || !etf_skip(r, &map)) return false;
    m->kin = is_murre(map) ? MESH_GLOBAL_MURRE : MESH_GLOBAL_ERLANG;
    return get_pid(r, &m->pid, &m->pid_term);
}

static bool get_kin(etf_reader *r, mesh_global_msg *m) {
    m->kin = etf_get_atom_is(r, SLICE(MESH_GLOBAL_ATOM)) ? MESH_GLOBAL_MURRE : MESH_GLOBAL_ERLANG;
    return m->kin == MESH_GLOBAL_MURRE || etf_skip(r, NULL);
}

static bool get_node(etf_reader *r, slice *out) {
    dist_name n;
    return etf_get_atom(r, out) && dist_name_parse(*out, &n) == ERR_OK;
}

static bool get_tag(etf_reader *r, slice *out) { return etf_skip(r, out) && out->len <= MESH_GLOBAL_TAG_MAX; }

/* {Vsn, Tag}; a later version may say more, and speaks the latest that both do. */
static bool get_vsn(etf_reader *r, mesh_global_msg *m) {
    uint32_t n;
    if (!etf_get_tuple(r, &n) || n < 2 || !etf_get_int(r, &m->vsn) || !get_tag(r, &m->tag)) return false;
    for (uint32_t i = 2; i < n; i++)
        if (!etf_skip(r, NULL)) return false;
    if (m->vsn > MESH_GLOBAL_VSN) m->vsn = MESH_GLOBAL_VSN;
    return m->vsn >= MESH_GLOBAL_VSN_MIN;
}

static bool get_list(etf_reader *r, slice *out) {
    etf_item it;
    etf_reader at = *r;
    return etf_next(&at, &it) && (it.kind == ETF_LIST || it.kind == ETF_NIL) && etf_skip(r, out);
}

static bool get_part(etf_reader *r, part p, mesh_global_msg *m) {
    void *field = (uint8_t *)m + p.at;
    switch ((element)p.what) {
    case SKIP: return etf_skip(r, NULL);
    case ATOM: return etf_get_atom(r, field);
    case NODE: return get_node(r, field);
    case TERM: return etf_skip(r, field);
    case TAG: return get_tag(r, field);
    case LIST: return get_list(r, field);
    case INT: return etf_get_int(r, field);
    case BOOL: return get_bool(r, field);
    case PID: return get_pid(r, &m->pid, &m->pid_term);
    case PAIR: return get_pair(r, &m->resource, &m->requester);
    case VSN: return get_vsn(r, m);
    case LOCKER: return get_locker(r, m);
    case KIN: return get_kin(r, m);
    case MODULE: return etf_get_atom_is(r, SLICE("global"));
    }
    return false;
}

/* --- messages --------------------------------------------------------------------------------------------------------------------- */
#define AT(e, field)                                                                                                                       \
    { e, offsetof(mesh_global_msg, field) }
#define PARTS_MAX 6
static const struct {
    const char *tag;
    mesh_gen_kind how;
    mesh_global_kind kind;
    uint32_t n; /* elements after the tag */
    part parts[PARTS_MAX];
} table[] = {
    {"init_connect", MESH_GEN_CAST, MESH_GLOBAL_INIT_CONNECT, 3, {{VSN, 0}, AT(NODE, node), {LOCKER, 0}}},
    {"init_connect_ack", MESH_GEN_INFO, MESH_GLOBAL_INIT_CONNECT_ACK, 3, {AT(NODE, node), AT(TAG, my_tag), AT(TAG, tag)}},
    {"cancel_connect", MESH_GEN_INFO, MESH_GLOBAL_CANCEL_CONNECT, 2, {AT(NODE, node), AT(TAG, my_tag)}},
    {"lock_set", MESH_GEN_CAST, MESH_GLOBAL_LOCK_SET, 4, {{PID, 0}, AT(BOOL, set), {SKIP, 0}, AT(TAG, my_tag)}},
    {"lock_set", MESH_GEN_CAST, MESH_GLOBAL_LOCK_SET, 3, {{PID, 0}, AT(BOOL, set), {SKIP, 0}}}, /* version 6 and 7 */
    {"lock_set", MESH_GEN_INFO, MESH_GLOBAL_LOCK_SET, 3, {{PID, 0}, AT(BOOL, set), {SKIP, 0}}}, /* version 5 */
    {"exchange", MESH_GEN_CAST, MESH_GLOBAL_EXCHANGE, 4, {AT(NODE, node), AT(LIST, names), {SKIP, 0}, AT(TAG, my_tag)}},
    {"resolved",
     MESH_GEN_CAST,
     MESH_GLOBAL_RESOLVED,
     6,
     {AT(NODE, node), AT(LIST, ops), AT(LIST, nodes), {SKIP, 0}, AT(LIST, exts), AT(TAG, my_tag)}},
    {"new_nodes",
     MESH_GEN_CAST,
     MESH_GLOBAL_NEW_NODES,
     5,
     {AT(NODE, node), AT(LIST, ops), AT(LIST, exts), AT(LIST, nodes), AT(LIST, extra)}},
    {"in_sync", MESH_GEN_CAST, MESH_GLOBAL_IN_SYNC, 2, {AT(NODE, node), {KIN, 0}}},
    {"lost_connection", MESH_GEN_INFO, MESH_GLOBAL_LOST_CONNECTION, 4, {AT(NODE, node), AT(TAG, creation), AT(INT, op_id), AT(NODE, lost)}},
    {"remove_connection", MESH_GEN_INFO, MESH_GLOBAL_REMOVE_CONNECTION, 1, {AT(NODE, node)}},
    {"set_lock", MESH_GEN_CALL, MESH_GLOBAL_SET_LOCK, 1, {{PAIR, 0}}},
    {"del_lock", MESH_GEN_CALL, MESH_GLOBAL_DEL_LOCK, 1, {{PAIR, 0}}},
    {"register", MESH_GEN_CALL, MESH_GLOBAL_REGISTER, 3, {AT(TERM, name), {PID, 0}, AT(TERM, method)}},
    {"register_ext", MESH_GEN_CALL, MESH_GLOBAL_REGISTER_EXT, 4, {AT(TERM, name), {PID, 0}, AT(TERM, method), AT(NODE, node)}},
    {"unregister", MESH_GEN_CALL, MESH_GLOBAL_UNREGISTER, 1, {AT(TERM, name)}},
    {"sync", MESH_GEN_CALL, MESH_GLOBAL_SYNC, 1, {AT(LIST, nodes)}},
    {"call", MESH_GEN_CALL, MESH_GLOBAL_RESOLVE, 4, {{MODULE, 0}, AT(ATOM, function), AT(LIST, args), {SKIP, 0}}},
    {"get_known", MESH_GEN_CALL, MESH_GLOBAL_GET_KNOWN, 0, {{SKIP, 0}}}, /* these are the atom alone */
    {"get_synced", MESH_GEN_CALL, MESH_GLOBAL_GET_SYNCED, 0, {{SKIP, 0}}},
    {"get_names_ext", MESH_GEN_CALL, MESH_GLOBAL_GET_NAMES_EXT, 0, {{SKIP, 0}}},
    {"get_protocol_version", MESH_GEN_CALL, MESH_GLOBAL_GET_PROTOCOL_VERSION, 0, {{SKIP, 0}}},
};

/* The elements of row i, from behind its tag. */
static bool read_row(etf_reader r, size_t i, mesh_global_msg *out) {
    mesh_global_msg m = {.kind = table[i].kind};
    for (uint32_t k = 0; k < table[i].n; k++)
        if (!get_part(&r, table[i].parts[k], &m)) return false;
    m.tagged = m.my_tag.len > 0;
    *out = m;
    return true;
}

void mesh_global_msg_read(mesh_gen_kind how, slice request, mesh_global_msg *out) {
    etf_reader r = etf_reader_of(request);
    uint32_t n = 1; /* the atom alone */
    slice tag;
    *out = (mesh_global_msg){.kind = MESH_GLOBAL_OTHER};
    if (etf_get_tuple(&r, &n) && n < 2) return;
    if (!etf_get_atom(&r, &tag)) return;
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (table[i].how == how && table[i].n + 1 == n && slice_is(tag, table[i].tag) && read_row(r, i, out)) return;
}

/* --- rows ------------------------------------------------------------------------------------------------------------------------- */
/* The next row of the list: a tail may be a list again. */
static bool more_rows(mesh_global_rows *r) {
    etf_item it;
    while (r->left == 0 && !r->end) {
        r->bad = !etf_next(&r->r, &it) || (it.kind != ETF_LIST && it.kind != ETF_NIL);
        r->end = r->bad || it.kind == ETF_NIL;
        if (!r->end) r->left = it.n;
    }
    return !r->end;
}

void mesh_global_rows_begin(slice list, mesh_global_rows *out) { *out = (mesh_global_rows){.r = etf_reader_of(list)}; }

static bool row(mesh_global_rows *r, bool good) {
    r->bad = r->bad || !good;
    r->end = r->end || r->bad;
    return good;
}

static bool more(mesh_global_rows *r) {
    if (!more_rows(r)) return false;
    r->left--;
    return true;
}

static bool entry(etf_reader *r, mesh_global_entry *out) {
    uint32_t n;
    return etf_get_tuple(r, &n) && n == 3 && etf_skip(r, &out->name) && get_pid(r, &out->pid, &out->pid_term) && etf_skip(r, &out->method);
}

bool mesh_global_rows_entry(mesh_global_rows *r, mesh_global_entry *out) { return more(r) && row(r, entry(&r->r, out)); }

static bool op(etf_reader *r, bool *insert, mesh_global_entry *out) {
    uint32_t n;
    slice tag;
    if (!etf_get_tuple(r, &n) || n != 2 || !etf_get_atom(r, &tag)) return false;
    *insert = slice_is(tag, "insert");
    if (*insert) return entry(r, out);
    *out = (mesh_global_entry){.method = SLICE_NULL};
    return slice_is(tag, "delete") && etf_skip(r, &out->name);
}

bool mesh_global_rows_op(mesh_global_rows *r, bool *out_insert, mesh_global_entry *out) {
    return more(r) && row(r, op(&r->r, out_insert, out));
}

bool mesh_global_rows_node(mesh_global_rows *r, slice *out_node, int64_t *out_vsn) {
    uint32_t n;
    if (!more(r)) return false;
    *out_vsn = 0;
    if (!etf_get_tuple(&r->r, &n)) return row(r, get_node(&r->r, out_node));
    return row(r, n == 2 && get_node(&r->r, out_node) && etf_get_int(&r->r, out_vsn));
}

slice mesh_global_msg_lock(slice extra) {
    mesh_global_rows rows;
    mesh_global_rows_begin(extra, &rows);
    while (more(&rows)) {
        slice row_, tag, resource, requester;
        uint32_t n;
        if (!etf_skip(&rows.r, &row_)) return SLICE_NULL;
        etf_reader r = etf_reader_of(row_);
        if (!etf_get_tuple(&r, &n) || n != 2 || !etf_get_atom(&r, &tag) || !slice_is(tag, "lock")) continue;
        if (get_pair(&r, &resource, &requester)) return requester;
    }
    return SLICE_NULL;
}

/* --- writing ---------------------------------------------------------------------------------------------------------------------- */
static void cast(buf *b, const char *tag, uint32_t n) {
    etf_put_tuple(b, 2);
    etf_put_atom(b, SLICE("$gen_cast"));
    etf_put_tuple(b, n);
    etf_put_atom(b, slice_str(tag));
}

static void info(buf *b, const char *tag, uint32_t n, slice me) {
    etf_put_tuple(b, n);
    etf_put_atom(b, slice_str(tag));
    etf_put_atom(b, me);
}

void mesh_global_put_init_connect(buf *b, slice me, int64_t tag, const etf_pid *locker) {
    cast(b, "init_connect", 4);
    etf_put_tuple(b, 2);
    etf_put_int(b, MESH_GLOBAL_VSN);
    etf_put_int(b, tag);
    etf_put_atom(b, me);
    etf_put_tuple(b, 4);
    etf_put_atom(b, SLICE("locker"));
    etf_put_atom(b, SLICE("no_longer_a_pid"));
    etf_put_map(b, 1);
    etf_put_atom(b, SLICE(MESH_GLOBAL_ATOM));
    etf_put_int(b, 1);
    etf_put_pid(b, locker);
}

void mesh_global_put_init_connect_ack(buf *b, slice me, slice his_tag, int64_t tag) {
    info(b, "init_connect_ack", 4, me);
    buf_add(b, his_tag);
    etf_put_int(b, tag);
}

void mesh_global_put_cancel_connect(buf *b, slice me, slice his_tag) {
    info(b, "cancel_connect", 3, me);
    buf_add(b, his_tag);
}

void mesh_global_put_lock_set(buf *b, bool by_cast, const etf_pid *locker, bool set, slice his_tag) {
    uint32_t n = his_tag.len ? 5 : 4;
    if (by_cast) {
        cast(b, "lock_set", n);
    } else {
        etf_put_tuple(b, n);
        etf_put_atom(b, SLICE("lock_set"));
    }
    etf_put_pid(b, locker);
    etf_put_bool(b, set);
    etf_put_nil(b); /* who is known: not read since version 5 */
    buf_add(b, his_tag);
}

void mesh_global_put_exchange(buf *b, slice me, uint32_t n, slice entries, slice his_tag) {
    cast(b, "exchange", 5);
    etf_put_atom(b, me);
    if (n) etf_put_list(b, n);
    buf_add(b, entries);
    etf_put_nil(b);
    etf_put_nil(b);
    buf_add(b, his_tag);
}

void mesh_global_put_resolved(buf *b, slice me, slice ops, slice nodes, slice exts, slice his_tag) {
    cast(b, "resolved", 7);
    etf_put_atom(b, me);
    buf_add(b, ops);
    buf_add(b, nodes);
    etf_put_atom(b, SLICE("unused"));
    buf_add(b, exts);
    buf_add(b, his_tag);
}

void mesh_global_put_new_nodes(buf *b, slice me, slice ops, slice exts, slice nodes, int64_t vsn, slice requester) {
    cast(b, "new_nodes", 6);
    etf_put_atom(b, me);
    buf_add(b, ops);
    buf_add(b, exts);
    buf_add(b, nodes);
    etf_put_list(b, 2);
    etf_put_tuple(b, 2);
    etf_put_atom(b, SLICE("vsn"));
    etf_put_int(b, vsn);
    mesh_global_put_lock(b, "lock", requester);
    etf_put_nil(b);
}

void mesh_global_put_in_sync(buf *b, slice me) {
    cast(b, "in_sync", 3);
    etf_put_atom(b, me);
    etf_put_atom(b, SLICE(MESH_GLOBAL_ATOM));
}

void mesh_global_put_lost_connection(buf *b, slice me, uint64_t creation, int64_t op_id, slice lost) {
    info(b, "lost_connection", 5, me);
    etf_put_uint(b, creation);
    etf_put_int(b, op_id);
    etf_put_atom(b, lost);
}

void mesh_global_put_remove_connection(buf *b, slice me) { info(b, "remove_connection", 2, me); }

void mesh_global_put_call(buf *b, const etf_pid *from, uint64_t number, slice request) {
    etf_put_tuple(b, 3);
    etf_put_atom(b, SLICE("$gen_call"));
    etf_put_tuple(b, 2);
    etf_put_pid(b, from);
    etf_put_uint(b, number);
    buf_add(b, request);
}

void mesh_global_put_lock(buf *b, const char *tag, slice requester) {
    etf_put_tuple(b, 2);
    etf_put_atom(b, slice_str(tag));
    etf_put_tuple(b, 2);
    etf_put_atom(b, SLICE("global"));
    buf_add(b, requester);
}

void mesh_global_put_resolve(buf *b, slice method, slice name, slice pid1, slice pid2, const etf_pid *leader) {
    etf_put_tuple(b, 5);
    etf_put_atom(b, SLICE("call"));
    etf_put_atom(b, SLICE("global"));
    etf_put_atom(b, SLICE("resolve_it"));
    etf_put_list(b, 4);
    buf_add(b, method);
    buf_add(b, name);
    buf_add(b, pid1);
    buf_add(b, pid2);
    etf_put_nil(b);
    etf_put_pid(b, leader);
}

void mesh_global_put_register(buf *b, const mesh_global_entry *e) {
    etf_put_tuple(b, 4);
    etf_put_atom(b, SLICE("register"));
    buf_add(b, e->name);
    buf_add(b, e->pid_term);
    buf_add(b, e->method);
}

void mesh_global_put_unregister(buf *b, slice name) {
    etf_put_tuple(b, 2);
    etf_put_atom(b, SLICE("unregister"));
    buf_add(b, name);
}

bool mesh_global_reply_read(slice term, uint64_t *out_number, slice *out_reply) {
    etf_reader r = etf_reader_of(term);
    uint32_t n;
    int64_t number;
    if (!etf_get_tuple(&r, &n) || n != 2 || !etf_get_int(&r, &number) || number <= 0 || !etf_skip(&r, out_reply)) return false;
    *out_number = (uint64_t)number;
    return true;
}

bool mesh_global_canon(slice term, buf *out) {
    const etf_term *t;
    arena a;
    etf_reader r = etf_reader_of(term);
    if (term.len > MESH_GLOBAL_TERM_MAX) return false;
    arena_init(&a, (size_t)MESH_GLOBAL_TERM_MAX * ETF_TERM_COST);
    bool ok = !etf_term_read(&r, &a, &t);
    if (ok) etf_term_write(t, out);
    arena_fini(&a);
    return ok && buf_ok(out);
}
