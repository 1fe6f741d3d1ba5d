/* again: see again.h. The waits double, so that a full pool is not asked more often the longer it is full, and one that was full for a
 * moment costs a millisecond. */
#include "store/again.h"

void store_again_park(rt_ctx *cx, store_again *a, rt_pool_kind kind, rt_job_done *d) {
    if (!check(a->job == NULL)) return; /* the message then frees the job: one is in flight at most */
    a->job = rt_job_of(d);
    d->job = NULL;
    a->wait = a->wait == 0 ? STORE_AGAIN_MIN_USEC : 2 * a->wait;
    if (a->wait > STORE_AGAIN_MAX_USEC) a->wait = STORE_AGAIN_MAX_USEC;
    rt_event(cx, EV_STORE_AGAIN, (uint64_t)kind, (uint64_t)a->wait, 0);
    rt_timer_set(cx, &a->timer, rt_now(cx) + a->wait);
}

void store_again_submit(rt_ctx *cx, store_again *a, rt_pool_kind kind) {
    if (a->job) rt_pool_submit(cx, kind, &a->job); /* sets it to NULL */
}

void store_again_fini(store_again *a) {
    if (a->job) a->job->box.free(&a->job->box);
    a->job = NULL;
}
