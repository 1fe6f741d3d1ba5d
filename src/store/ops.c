/* ops: a batch of changes to accounts, on its way from a service to the keyed store: packed into one buffer, so that it is one object to
 * hand over and one to free. Invariant: what is packed here is unpacked by store_ops_next only, in the same process. Keys are wiped when
 * the batch is freed. */
#include "store/ops.h"

#include "base/cursor.h"
#include "base/mem.h"

static void ops_free(rt_box *b) {
    store_ops *o = container_of(b, store_ops, box);
    if (o->b.p) mem_wipe(o->b.p, o->b.cap);
    buf_fini(&o->b);
    mem_free(o);
}

store_ops *store_ops_new(void) {
    store_ops *o = mem_zalloc(sizeof *o);
    o->box.free = ops_free;
    buf_init(&o->b, STORE_OPS_MAX);
    return o;
}
rt_box *store_ops_box(store_ops *o) { return &o->box; }
store_ops *store_ops_of(rt_box *b) { return container_of(b, store_ops, box); }

static void start(store_ops *o, store_op_kind k, slice user) {
    buf_add_byte(&o->b, (uint8_t)k);
    buf_add_lslice(&o->b, user);
}

static void add_keys(store_ops *o, const store_keys *k) {
    static const store_keys none;
    buf_add(&o->b, slice_of(k ? k : &none, sizeof *k)); /* stays in the process: as it is */
}

void store_ops_user_add(store_ops *o, slice user, const store_keys *sha1, const store_keys *sha256, int64_t created) {
    start(o, OP_USER_ADD, user);
    add_keys(o, sha1);
    add_keys(o, sha256);
    buf_add_u64le(&o->b, (uint64_t)created);
}

void store_ops_user_set_keys(store_ops *o, slice user, const store_keys *sha1, const store_keys *sha256) {
    start(o, OP_USER_SET_KEYS, user);
    add_keys(o, sha1);
    add_keys(o, sha256);
}

void store_ops_user_del(store_ops *o, slice user) { start(o, OP_USER_DEL, user); }

void store_ops_roster_put(store_ops *o, slice user, const store_item *item) {
    start(o, OP_ROSTER_PUT, user);
    buf_add_lslice(&o->b, item->jid);
    buf_add_byte(&o->b, item->name.p != NULL);
    buf_add_lslice(&o->b, item->name);
    buf_add_lslice(&o->b, item->groups);
    buf_add_lslice(&o->b, item->request);
    buf_add_u64le(&o->b, item->ver);
    const uint8_t flags[5] = {item->sub, item->ask, item->approved, item->in_roster, item->gone};
    buf_add(&o->b, slice_of(flags, sizeof flags));
}

static void add_jid(store_ops *o, store_op_kind k, slice user, slice jid) {
    start(o, k, user);
    buf_add_lslice(&o->b, jid);
}
void store_ops_roster_purge(store_ops *o, slice user, slice jid) { add_jid(o, OP_ROSTER_PURGE, user, jid); }
void store_ops_block_add(store_ops *o, slice user, slice jid) { add_jid(o, OP_BLOCK_ADD, user, jid); }
void store_ops_block_del(store_ops *o, slice user, slice jid) { add_jid(o, OP_BLOCK_DEL, user, jid); }

static bool get_keys(cursor *c, store_keys *out) {
    slice s;
    if (!cursor_bytes(c, sizeof *out, &s)) return false;
    memcpy(out, s.p, sizeof *out);
    return true;
}

static bool get_item(cursor *c, store_item *it) {
    uint8_t named;
    slice flags;
    if (!cursor_lslice(c, &it->jid) || !cursor_u8(c, &named) || !cursor_lslice(c, &it->name) || !cursor_lslice(c, &it->groups) ||
        !cursor_lslice(c, &it->request) || !cursor_u64le(c, &it->ver) || !cursor_bytes(c, 5, &flags))
        return false;
    if (!named) it->name = SLICE_NULL;
    it->sub = flags.p[0];
    it->ask = flags.p[1];
    it->approved = flags.p[2];
    it->in_roster = flags.p[3];
    it->gone = flags.p[4];
    return true;
}

bool store_ops_next(const store_ops *o, size_t *at, store_op *out) {
    cursor c = cursor_of(slice_from(buf_slice(&o->b), *at));
    uint8_t kind;
    uint64_t created = 0;
    memset(out, 0, sizeof *out);
    if (!cursor_u8(&c, &kind) || kind >= OP_KINDS || !cursor_lslice(&c, &out->user)) return false;
    out->kind = (store_op_kind)kind;
    bool ok = true;
    switch (out->kind) {
    case OP_USER_ADD: ok = get_keys(&c, &out->sha1) && get_keys(&c, &out->sha256) && cursor_u64le(&c, &created); break;
    case OP_USER_SET_KEYS: ok = get_keys(&c, &out->sha1) && get_keys(&c, &out->sha256); break;
    case OP_USER_DEL: break;
    case OP_ROSTER_PUT: ok = get_item(&c, &out->item); break;
    case OP_ROSTER_PURGE:
    case OP_BLOCK_ADD:
    case OP_BLOCK_DEL: ok = cursor_lslice(&c, &out->item.jid); break;
    case OP_KINDS: return false;
    }
    out->created = (int64_t)created;
    *at = o->b.len - cursor_left(&c);
    return ok;
}
