/* verbs_msacc: microstate accounting for people: rows of percentages, and the layout of OTP's msacc:print. */
#include "base/mem.h"
#include "rt/msacc.h"
#include "rt/verbs_fn.h"

#include <inttypes.h>
#include <stdio.h>

#define ROWS_MAX  512u
#define LINE_MAX_ 192
#define NAME_WIDE 16

typedef struct table {
    rt_msacc_row row[ROWS_MAX];
    size_t n;
    double cycles_per_usec;
} table;

static table *read_table(rt_verb_call *c) {
    table *t = mem_alloc(sizeof *t);
    sys *s = rt_node_sys(c->node);
    t->n = rt_msacc_read(c->node, t->row, ROWS_MAX);
    t->cycles_per_usec = (double)s->cycles_per_sec(s) / (double)USEC_PER_SEC;
    return t;
}

static double sum_of(const rt_msacc_row *r) {
    double sum = 0;
    for (unsigned k = 0; k < RT_MSACC_STATES; k++) sum += (double)r->cycles[k];
    return sum;
}

/* The type with the kind of a pool: its kinds do quite different work. The number within it goes to *out_number. */
static void type_of(const rt_msacc_row *r, char out[NAME_WIDE + 1], unsigned *out_number) {
    const char *type = rt_msacc_type_name(r->type);
    unsigned kind = r->id >> 8;
    bool pool = r->type == RT_MSACC_POOL && kind < RT_POOL_KINDS;
    (void)snprintf(out, NAME_WIDE + 1, pool ? "%s %s" : "%s", type, pool ? rt_pool_kind_name((rt_pool_kind)kind) : "");
    *out_number = pool ? r->id & 0xff : r->id;
}

err rt_verb_msacc_read(rt_verb_call *c) {
    table *t = read_table(c);
    c->result = val_list(c->arena);
    for (size_t i = 0; i < t->n; i++) {
        const rt_msacc_row *r = &t->row[i];
        double sum = sum_of(r);
        char type[NAME_WIDE + 1];
        unsigned number;
        type_of(r, type, &number);
        val *m = val_map(c->arena);
        val_set(c->arena, m, "thread", val_strf(c->arena, r->type == RT_MSACC_POOL ? "%s/%u" : "%s %u", type, number));
        for (unsigned k = 0; k < RT_MSACC_STATES; k++)
            val_set(c->arena, m, rt_msacc_state_name((rt_msacc_state)k), val_real(c->arena, rt_verb_percent((double)r->cycles[k], sum)));
        rt_verb_uint(c, m, "usec", (uint64_t)(sum / t->cycles_per_usec));
        val_push(c->arena, c->result, m);
    }
    mem_free(t);
    return ERR_OK;
}

/* --- as OTP prints it ------------------------------------------------------------------------------------------------------------ */
static void line(rt_verb_call *c, const char *text) { val_push(c->arena, c->result, val_str(c->arena, slice_str(text))); }

static void states_line(rt_verb_call *c, const char *name, const rt_msacc_row *r) {
    char text[LINE_MAX_];
    double sum = r ? sum_of(r) : 0;
    size_t len = (size_t)snprintf(text, sizeof text, "%*s", NAME_WIDE, name);
    for (unsigned k = 0; k < RT_MSACC_STATES && len < sizeof text; k++) {
        if (r)
            len += (size_t)snprintf(text + len, sizeof text - len, " %8.2f%%", sum > 0 ? (double)r->cycles[k] * 100 / sum : 0.0);
        else
            len += (size_t)snprintf(text + len, sizeof text - len, " %9s", rt_msacc_state_name((rt_msacc_state)k));
    }
    line(c, text);
}

static void time_line(rt_verb_call *c, const char *what, double usecs) {
    char text[LINE_MAX_];
    (void)snprintf(text, sizeof text, "%-28s: %8.0f us", what, usecs);
    line(c, text);
}

static void head(rt_verb_call *c, const table *t) {
    double real = 0, run = 0, shards_run = 0;
    unsigned shards = 0;
    for (size_t i = 0; i < t->n; i++) {
        double sum = sum_of(&t->row[i]), awake = sum - (double)t->row[i].cycles[RT_MSACC_SLEEP];
        real += sum;
        run += awake;
        if (t->row[i].type != RT_MSACC_SHARD) continue;
        shards_run += awake;
        shards++;
    }
    time_line(c, "Average thread real-time", t->n ? real / (double)t->n / t->cycles_per_usec : 0);
    time_line(c, "Accumulated system run-time", run / t->cycles_per_usec);
    time_line(c, "Average scheduler run-time", shards ? shards_run / shards / t->cycles_per_usec : 0);
    line(c, "");
    states_line(c, "Thread", NULL);
    line(c, "");
}

static void threads(rt_verb_call *c, const table *t) {
    line(c, "Stats per thread:");
    for (size_t i = 0; i < t->n; i++) {
        char type[NAME_WIDE + 1], name[2 * NAME_WIDE];
        unsigned number;
        type_of(&t->row[i], type, &number);
        (void)snprintf(name, sizeof name, "%s(%2u)", type, number);
        states_line(c, name, &t->row[i]);
    }
    line(c, "");
}

static void types(rt_verb_call *c, table *t) {
    line(c, "Stats per type:");
    for (size_t i = 0; i < t->n; i++) { /* rows of a type become its first one */
        char type[NAME_WIDE + 1], other[NAME_WIDE + 1];
        unsigned number;
        type_of(&t->row[i], type, &number);
        for (size_t k = i + 1; k < t->n;) {
            type_of(&t->row[k], other, &number);
            if (strcmp(type, other) != 0) {
                k++;
                continue;
            }
            for (unsigned j = 0; j < RT_MSACC_STATES; j++) t->row[i].cycles[j] += t->row[k].cycles[j];
            memmove(&t->row[k], &t->row[k + 1], (--t->n - k) * sizeof t->row[0]);
        }
        states_line(c, type, &t->row[i]);
    }
}

err rt_verb_msacc_print(rt_verb_call *c) {
    bool each = c->n_args == 1;
    if (each && !slice_is(c->args[0], "threads"))
        return rt_verb_fail(c, ERR_INVALID, c->args[0], "is not \"threads\", which is what can follow msacc print");
    table *t = read_table(c);
    c->result = val_list(c->arena);
    head(c, t);
    if (each) threads(c, t);
    types(c, t);
    mem_free(t);
    return ERR_OK;
}

err rt_verb_msacc_start(rt_verb_call *c) {
    rt_msacc_enable(c->node, true);
    rt_msacc_reset(c->node);
    return ERR_OK;
}
err rt_verb_msacc_stop(rt_verb_call *c) {
    rt_msacc_enable(c->node, false);
    return ERR_OK;
}
err rt_verb_msacc_reset(rt_verb_call *c) {
    rt_msacc_reset(c->node);
    return ERR_OK;
}
