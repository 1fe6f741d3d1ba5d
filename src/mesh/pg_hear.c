/* pg_hear: what another scope says (pg_scope.h has the messages). A message is read twice: whole, to see that it is one, and then to act on
 * it: so a message that is broken at its end has changed nothing. */
#include "mesh/pg_scope.h"

typedef struct hearing {
    mesh_pg_scope *s;
    mesh_pg_node *from;
    mesh_pg_todo *todo;
} hearing;

/* --- lists ------------------------------------------------------------------------------------------------------------------------ */
/* The elements of a list: as one row or several, or as bytes. */
typedef struct row {
    etf_reader *r;
    uint32_t left;
    bool list, broken;
    slice text;       /* elements of a list of bytes that are left */
    uint8_t small[2]; /* one of them, as a term */
} row;

static void part_begin(row *w) {
    etf_item it;
    w->list = false;
    w->broken = !etf_next(w->r, &it) || (it.kind != ETF_NIL && it.kind != ETF_LIST && it.kind != ETF_STRING);
    if (w->broken) return;
    w->list = it.kind == ETF_LIST;
    w->left = w->list ? it.n : 0;
    w->text = it.kind == ETF_STRING ? it.text : SLICE_NULL;
}

static row row_of(etf_reader *r) {
    row w = {.r = r};
    part_begin(&w);
    return w;
}

static bool row_next(row *w, slice *out) {
    while (w->list && w->left == 0 && !w->broken) part_begin(w); /* the tail */
    if (w->broken) return false;
    if (w->text.len) {
        w->small[0] = 97; /* SMALL_INTEGER_EXT */
        w->small[1] = w->text.p[0];
        w->text = slice_from(w->text, 1);
        *out = slice_of(w->small, sizeof w->small);
        return true;
    }
    if (!w->list) return false;
    w->left--;
    w->broken = !etf_skip(w->r, out);
    return !w->broken;
}

/* A pid, or a list of pids. */
typedef struct pids {
    row w;
    slice one;
} pids;

static bool pids_begin(slice term, etf_reader *r, pids *out) {
    *r = etf_reader_of(term);
    etf_reader at = *r;
    etf_pid p;
    *out = (pids){.w = {.r = r}};
    if (etf_get_pid(&at, &p))
        out->one = term;
    else
        out->w = row_of(r);
    return !out->w.broken;
}

static bool pids_next(pids *p, etf_pid *out) {
    slice term = p->one;
    p->one = SLICE_NULL;
    if (!term.p && !row_next(&p->w, &term)) return false;
    etf_reader r = etf_reader_of(term);
    bool ok = etf_get_pid(&r, out);
    if (!ok) p->w.broken = true;
    return ok;
}

static bool are_pids(slice term) {
    etf_reader r;
    pids p;
    etf_pid pid;
    if (!pids_begin(term, &r, &p)) return false;
    while (pids_next(&p, &pid)) {
    }
    return !p.w.broken;
}

static bool is_list(slice term) {
    etf_reader r = etf_reader_of(term);
    row w = row_of(&r);
    slice one;
    while (row_next(&w, &one)) {
    }
    return !w.broken;
}

/* --- who ---------------------------------------------------------------------------------------------------------------------------- */
/* A process of the life of the node that is connected. */
static bool is_theirs(const hearing *h, const etf_pid *p, rt_pid *out) {
    if (!slice_eq(p->node, slice_of(h->from->name, h->from->name_len)) || p->creation != h->from->creation) return false;
    *out = (rt_pid){h->from->index, p->id, p->serial};
    return true;
}

/* The peer, known from now on if there is room for it. */
static mesh_pg_owner *meet(hearing *h, rt_pid pid) {
    mesh_pg_owner *o = mesh_pg_scope_owner(h->s, pid);
    if (o) return o;
    o = mesh_pg_scope_peer_new(h->s, h->from, pid);
    h->todo->watch = o != NULL;
    if (!o) h->todo->fault = MESH_PG_MANY_PEERS;
    return o;
}

static void leave_out(hearing *h, mesh_pg_owner *o) {
    mesh_pg_scope_empty(h->s, o);
    if (!o->left_out) h->todo->fault = MESH_PG_TOO_MUCH;
    o->left_out = true;
}

/* The name under which a group is kept; false: there is none. */
static bool name_of(hearing *h, mesh_pg_owner *o, slice group, buf *made, slice *out) {
    err e = mesh_pg_scope_name(group, made, out);
    if (e == ERR_LIMIT && !o->long_told) {
        o->long_told = true;
        h->todo->fault = MESH_PG_LONG_GROUP;
    }
    return e == ERR_OK;
}

/* --- messages --------------------------------------------------------------------------------------------------------------------- */
/* Every process of the list is in that group once more. Processes of other nodes are not the peer's to speak for. */
static err add_all(hearing *h, mesh_pg_owner *o, slice group, slice members, bool fresh) {
    etf_reader r;
    pids p;
    etf_pid pid;
    rt_pid who;
    slice name;
    buf made;
    err e = ERR_OK;
    size_t most = fresh ? 2 * h->s->peer_max : h->s->peer_max; /* what was before is still there */
    buf_init(&made, MESH_PG_GROUP_MAX);
    bool any = name_of(h, o, group, &made, &name) && pids_begin(members, &r, &p);
    while (!e && any && pids_next(&p, &pid))
        if (is_theirs(h, &pid, &who)) e = mesh_pg_scope_add(h->s, o, name, who, fresh, most);
    buf_fini(&made);
    return e;
}

static void on_join(hearing *h, rt_pid peer, slice group, slice members) {
    mesh_pg_owner *o = mesh_pg_scope_owner(h->s, peer);
    if (!o || o->left_out || !are_pids(members)) return; /* one that was not discovered: of a connection before this one */
    if (add_all(h, o, group, members, false)) leave_out(h, o);
}

static void remove_all(hearing *h, mesh_pg_owner *o, slice name, slice members) {
    etf_reader r;
    pids p;
    etf_pid pid;
    rt_pid who;
    if (!pids_begin(members, &r, &p)) return;
    while (pids_next(&p, &pid))
        if (is_theirs(h, &pid, &who)) (void)mesh_pg_scope_remove(h->s, o, name, who); /* it may not be in there */
}

static void on_leave(hearing *h, rt_pid peer, slice members, slice groups) {
    mesh_pg_owner *o = mesh_pg_scope_owner(h->s, peer);
    if (!o || o->left_out || !are_pids(members) || !is_list(groups)) return;
    etf_reader r = etf_reader_of(groups);
    row w = row_of(&r);
    slice group, name;
    buf made;
    buf_init(&made, MESH_PG_GROUP_MAX);
    while (row_next(&w, &group))
        if (name_of(h, o, group, &made, &name)) remove_all(h, o, name, members);
    buf_fini(&made);
}

/* {Group, [Pid]} */
static bool read_entry(slice entry, slice *out_group, slice *out_members) {
    etf_reader r = etf_reader_of(entry);
    uint32_t n;
    return etf_get_tuple(&r, &n) && n == 2 && etf_skip(&r, out_group) && etf_skip(&r, out_members);
}

static bool is_sync(slice entries) {
    etf_reader r = etf_reader_of(entries);
    row w = row_of(&r);
    slice entry, group, members;
    while (row_next(&w, &entry))
        if (!read_entry(entry, &group, &members) || !are_pids(members)) return false;
    return !w.broken;
}

static void on_sync(hearing *h, rt_pid peer, slice entries) {
    if (!is_sync(entries)) return;
    mesh_pg_owner *o = meet(h, peer);
    if (!o) return;
    etf_reader r = etf_reader_of(entries);
    row w = row_of(&r);
    slice entry, group = SLICE_NULL, members = SLICE_NULL;
    err e = ERR_OK;
    while (!e && row_next(&w, &entry) && check(read_entry(entry, &group, &members))) e = add_all(h, o, group, members, true);
    if (!e) mesh_pg_scope_only_fresh(h->s, o);
    if (e || o->bytes > h->s->peer_max)
        leave_out(h, o);
    else
        o->left_out = false;
}

static void on_discover(hearing *h, rt_pid peer) {
    bool known = mesh_pg_scope_owner(h->s, peer) != NULL;
    if (!meet(h, peer)) return;
    h->todo->sync = true;
    h->todo->discover = !known;
}

/* --- reading ---------------------------------------------------------------------------------------------------------------------- */
static bool is_cast(etf_reader *r) {
    etf_reader at = *r;
    uint32_t n;
    if (!etf_get_tuple(&at, &n) || n != 2 || !etf_get_atom_is(&at, SLICE("$gen_cast"))) return false;
    *r = at;
    return true;
}

void mesh_pg_scope_hear(mesh_pg_scope *s, mesh_pg_node *from, slice term, mesh_pg_todo *out) {
    hearing h = {s, from, out};
    etf_reader r = etf_reader_of(term);
    uint32_t n;
    slice verb, a, b;
    etf_pid p;
    rt_pid peer;
    *out = (mesh_pg_todo){.peer = RT_PID_NONE};
    if (!etf_get_version(&r)) return;
    bool cast = is_cast(&r);
    if (!etf_get_tuple(&r, &n) || !etf_get_atom(&r, &verb) || !etf_get_pid(&r, &p) || !is_theirs(&h, &p, &peer)) return;
    out->peer = peer;
    if (cast && n == 3 && slice_is(verb, "sync") && etf_skip(&r, &a))
        on_sync(&h, peer, a);
    else if (!cast && (n == 2 || n == 3) && slice_is(verb, "discover"))
        on_discover(&h, peer);
    else if (!cast && n == 4 && slice_is(verb, "join") && etf_skip(&r, &a) && etf_skip(&r, &b))
        on_join(&h, peer, a, b);
    else if (!cast && n == 4 && slice_is(verb, "leave") && etf_skip(&r, &a) && etf_skip(&r, &b))
        on_leave(&h, peer, a, b);
}
