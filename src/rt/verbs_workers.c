/* verbs_workers: a look at the pools of workers, by their dispatchers; from atomics: no shard is asked, so none can hold it up. */
#include "rt/verbs_fn.h"
#include "rt/workers.h"

static void push_row(rt_verb_call *c, const rt_workers *p, unsigned row) {
    rt_workers_stat s;
    rt_workers_look(p, row, &s);
    uint32_t away = s.busy + s.down; /* moments apart */
    bool idle = rt_workers_mode_of(p) == RT_WORKERS_IDLE;
    val *m = val_map(c->arena);
    rt_verb_text(c, m, "pool", rt_workers_name(p));
    rt_verb_text(c, m, "mode", idle ? "idle" : "by key");
    rt_verb_uint(c, m, "shard", s.shard);
    rt_verb_uint(c, m, "workers", s.workers);
    rt_verb_uint(c, m, "idle", s.workers > away ? s.workers - away : 0);
    rt_verb_uint(c, m, "busy", s.busy);
    rt_verb_uint(c, m, "stuck", s.stuck);
    rt_verb_uint(c, m, "down", s.down);
    rt_verb_uint(c, m, "queued", s.queued);
    rt_verb_uint(c, m, "bytes", s.queued_bytes);
    if (idle)
        rt_verb_uint(c, m, "sent", s.sent);
    else
        val_set(c->arena, m, "sent", val_null(c->arena)); /* nobody counts it */
    rt_verb_uint(c, m, "begun", s.begun);
    rt_verb_uint(c, m, "handed", s.handed);
    rt_verb_uint(c, m, "expired", s.expired);
    rt_verb_uint(c, m, "refused", s.refused);
    rt_verb_uint(c, m, "lost", s.lost);
    val_push(c->arena, c->result, m);
}

err rt_verb_workers(rt_verb_call *c) {
    bool found = c->n_args == 0;
    c->result = val_list(c->arena);
    for (const rt_workers *p = rt_workers_next(c->node, NULL); p; p = rt_workers_next(c->node, p)) {
        if (c->n_args > 0 && !slice_eq(c->args[0], slice_str(rt_workers_name(p)))) continue;
        found = true;
        for (unsigned i = 0; i < rt_workers_rows(p); i++) push_row(c, p, i);
    }
    return found ? ERR_OK : rt_verb_fail(c, ERR_NOT_FOUND, c->args[0], "is no pool of workers; murrectl workers lists them");
}
