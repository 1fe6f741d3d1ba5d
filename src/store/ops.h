#ifndef STORE_OPS_H
#define STORE_OPS_H
/* ops: the inside of store_ops, private to store: a list of packed operations in one buffer. */
#include "base/buf.h"
#include "store/store.h"

typedef enum store_op_kind {
    OP_USER_ADD,
    OP_USER_SET_KEYS,
    OP_USER_DEL,
    OP_ROSTER_PUT,
    OP_ROSTER_PURGE,
    OP_BLOCK_ADD,
    OP_BLOCK_DEL,
    OP_KINDS
} store_op_kind;
typedef struct store_op { /* one, taken apart; slices lie in the ops */
    store_op_kind kind;
    slice user;
    store_keys sha1, sha256;
    int64_t created;
    store_item item; /* of ROSTER_PUT; only jid: PURGE, BLOCK_ADD, BLOCK_DEL */
} store_op;
struct store_ops {
    rt_box box;
    buf b;
};
#define STORE_OPS_MAX (64u << 20)

/* Walks: *at starts at 0. False at the end. */
NODISCARD bool store_ops_next(const store_ops *o, size_t *at, store_op *out);
#endif
