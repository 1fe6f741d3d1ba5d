/* name: local names of actors: a table of the runtime (rt/table.h), name -> pid, so that looking one up, which services do at every hop of
 * a message, takes no lock.
 *
 * Invariants: (1) a name belongs to at most one actor; (2) it goes when the actor ends, before anybody is told of the end; (3) only an
 * actor's own shard registers or removes its names. */
#include "rt/table_int.h"

#define PART 4096u /* buckets and names in a part of a walk: no matter, as nobody waits for it */

static rt_tab *names(const rt_reader *r) { return r->node->tables->actors; }

err rt_name_register(rt_ctx *cx, const char *name) {
    if (!check(cx->self && name)) return ERR_BUG;
    rt_pid self = rt_self(cx);
    err e = rt_tab_put(&cx->sh->reader, names(&cx->sh->reader), slice_str(name), slice_of(&self, sizeof self), true);
    if (!e) cx->self->flags |= RT_A_NAMED;
    if (!e && UNLIKELY(cx->sh->trace)) rt_trace_named(cx->sh, cx->self, name);
    return e;
}

static rt_pid find(const rt_reader *r, slice name) {
    slice v;
    rt_pid pid = RT_PID_NONE;
    if (rt_tab_lookup(names(r), name, &v) == ERR_OK) memcpy(&pid, v.p, sizeof pid);
    return pid;
}

rt_pid rt_name_find(rt_ctx *cx, const char *name) { return find(&cx->sh->reader, slice_str(name)); }

rt_pid rt_name_find_slice(rt_ctx *cx, slice name) { return find(&cx->sh->reader, name); }

rt_pid rt_name_whereis(rt_node *n, const char *name) {
    rt_reader *r = rt_epoch_begin(n);
    rt_pid pid = find(r, slice_str(name));
    rt_epoch_end(&r);
    return pid;
}

/* --- the other way round: a walk, because names are few (services) and who is asked for hardly ever -------------------------------------
 */
typedef struct search {
    rt_pid pid;
    rt_reader *remove; /* NULL: a name is copied, of several the first in the alphabet: the same at every look */
    char *out;
    size_t max;
    size_t len; /* of what is in out */
    bool found;
} search;

static bool look_at(void *arg, slice name, slice value) {
    search *s = arg;
    if (memcmp(value.p, &s->pid, sizeof s->pid) != 0) return true; /* three words, no padding */
    bool first = !s->found;
    s->found = true;
    if (s->remove) return rt_tab_delete(s->remove, names(s->remove), name) == ERR_OK; /* it is there: only this shard removes it */
    if (!first && slice_cmp(name, slice_of(s->out, s->len)) > 0) return true;
    s->len = name.len < s->max ? name.len : s->max - 1;
    memcpy(s->out, name.p, s->len);
    s->out[s->len] = 0;
    return true;
}

static bool walk(const rt_reader *r, search *s) {
    rt_table_at at = {0};
    while (!at.done) rt_tab_fold(names(r), &at, PART, look_at, s);
    return s->found;
}

void rt_name_remove(rt_shard *sh, rt_pid pid) { (void)check(walk(&sh->reader, &(search){.pid = pid, .remove = &sh->reader})); }

typedef struct each {
    bool (*fn)(void *arg, slice name, rt_pid pid);
    void *arg;
} each;
static bool one(void *arg, slice name, slice value) {
    const each *e = arg;
    rt_pid pid;
    memcpy(&pid, value.p, sizeof pid);
    return e->fn(e->arg, name, pid);
}

void rt_name_each(rt_reader *r, bool (*fn)(void *arg, slice name, rt_pid pid), void *arg) {
    rt_table_at at = {0};
    while (!at.done) rt_tab_fold(names(r), &at, PART, one, &(each){fn, arg});
}

bool rt_name_of(rt_reader *r, rt_pid pid, char *out, size_t max) { return walk(r, &(search){.pid = pid, .out = out, .max = max}); }
