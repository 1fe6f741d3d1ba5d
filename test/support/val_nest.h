#ifndef TEST_SUPPORT_VAL_NEST_H
#define TEST_SUPPORT_VAL_NEST_H
/* val_nest: trees as deep as a writer of them is tried with. */
#include "base/val.h"

/* Lists in lists, depth of them, the innermost empty. */
static inline val *val_nested(arena *a, unsigned depth) {
    val *v = val_list(a);
    for (unsigned d = 1; d < depth; d++) {
        val *outer = val_list(a);
        val_push(a, outer, v);
        v = outer;
    }
    return v;
}

#endif
