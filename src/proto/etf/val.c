/* val: what verbs answer (base/val.h), as terms. A val is made by the node itself and is at most VAL_DEPTH_MAX deep, so
 * that this recurses as val.c does. */
#include "proto/etf/term.h"

#include <math.h>

static void put_null(buf *out) { etf_put_atom(out, SLICE("undefined")); }

static void put_at(buf *out, const val *v, unsigned depth);

static void put_items(buf *out, const val *v, unsigned depth) {
    bool is_map = val_kind_of(v) == VAL_MAP;
    uint32_t n = 0;
    for (const val *i = val_first(v); i; i = val_next(i)) n++;
    if (is_map) {
        etf_put_map(out, n);
    } else {
        etf_put_list(out, n);
    }
    for (const val *i = val_first(v); i && buf_ok(out); i = val_next(i)) {
        if (is_map) etf_put_atom(out, slice_str(val_key(i)));
        put_at(out, i, depth + 1);
    }
    if (!is_map) etf_put_nil(out);
}

static void put_at(buf *out, const val *v, unsigned depth) {
    bool holds = val_kind_of(v) == VAL_LIST || val_kind_of(v) == VAL_MAP;
    if (!val_is_whole(v) || (holds && depth >= VAL_DEPTH_MAX)) {
        out->failed = true;
        return;
    }
    switch (val_kind_of(v)) {
    case VAL_NULL: put_null(out); return;
    case VAL_BOOL: etf_put_bool(out, val_bool_of(v)); return;
    case VAL_INT: etf_put_int(out, val_int_of(v)); return;
    case VAL_REAL:
        if (isfinite(val_real_of(v))) {
            etf_put_float(out, val_real_of(v));
        } else {
            put_null(out);
        }
        return;
    case VAL_STR: etf_put_binary(out, val_str_of(v)); return;
    case VAL_LIST:
    case VAL_MAP: put_items(out, v, depth); return;
    }
}

void etf_put_val(buf *out, const val *v) { put_at(out, v, 0); }
