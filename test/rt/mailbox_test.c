/* mailbox: the circle of messages against a plain array, through every way in and out of it. */
#include "rt/core.h"
#include "rt/rt_world.h"

enum { BOUND = 8, MODEL_MAX = 64, OPS = 20000 };
PUPPET_CLASS(unbounded, 0, RT_BOUND_REFUSE);
PUPPET_CLASS(refusing, BOUND, RT_BOUND_REFUSE);
PUPPET_CLASS(dropping_oldest, BOUND, RT_BOUND_DROP_OLDEST);
PUPPET_CLASS(dropping_expired, BOUND, RT_BOUND_DROP_EXPIRED);

typedef struct item {
    uint64_t id; /* of a note its number, of a DOWN its reference, of a deed its argument */
    uint32_t deadline;
    uint16_t tag; /* DOWN, which is the runtime's own; T_DO, which the class names as sure; T_NOTE */
} item;
static bool is_sure(const item *x) { return x->tag != T_NOTE; }
typedef struct model {
    world *w;
    rt_shard *sh;
    rt_actor *a;
    prng r;
    item at[MODEL_MAX];
    uint32_t n;
    uint64_t next_id;
    uint32_t scanned; /* when expired ones were last dropped */
} model;

static bool is_over(const model *m) { return m->n >= rt_mailbox_max(m->a); }
static bool is_late(const model *m, uint32_t i) { return m->at[i].deadline && m->at[i].deadline < m->sh->now_msec; }
static void take_out(model *m, uint32_t i) { memmove(&m->at[i], &m->at[i + 1], (--m->n - i) * sizeof(item)); }

/* What the policy of the class does to the model; true if there is room. */
static bool model_room(model *m) {
    rt_bound b = m->a->cls->bound;
    if (b == RT_BOUND_DROP_OLDEST)
        for (uint32_t i = 0; i < m->n && is_over(m);) {
            if (is_sure(&m->at[i]))
                i++;
            else
                take_out(m, i);
        }
    if (b == RT_BOUND_DROP_EXPIRED && m->scanned != m->sh->now_msec) {
        m->scanned = m->sh->now_msec;
        for (uint32_t i = 0; i < m->n;) {
            if (is_late(m, i))
                take_out(m, i);
            else
                i++;
        }
    }
    return !is_over(m);
}

static rt_msg *message_of(const item *x) {
    static const size_t sizes[] = {sizeof(rt_down), sizeof(t_note), sizeof(t_do)};
    rt_msg *msg = rt_msg_new_ext(x->tag, sizes[x->tag == RT_DOWN ? 0 : x->tag == T_NOTE ? 1 : 2]);
    if (x->tag == RT_DOWN)
        rt_down_of(msg)->ref = x->id;
    else if (x->tag == T_NOTE)
        t_note_of(msg)->n = x->id;
    else
        t_do_of(msg)->arg = x->id;
    return msg;
}

static uint64_t id_of(rt_msg *m) { return m->tag == RT_DOWN ? rt_down_of(m)->ref : m->tag == T_NOTE ? t_note_of(m)->n : t_do_of(m)->arg; }

static void arrive(model *m, bool own, bool front) {
    item x = {.id = ++m->next_id, .tag = !own ? T_NOTE : m->next_id % 2 ? RT_DOWN : T_DO};
    rt_msg *msg = message_of(&x);
    if (!own && prng_chance(&m->r, 1, 3)) msg->deadline = x.deadline = m->sh->now_msec + (uint32_t)prng_below(&m->r, 5);
    if (own || !is_over(m) || model_room(m)) {
        uint32_t to = front ? 0 : m->n;
        memmove(&m->at[to + 1], &m->at[to], (m->n++ - to) * sizeof(item));
        m->at[to] = x;
    }
    rt_mailbox_arrive(m->sh, rt_actor_pid(m->a), msg, front);
}

static void take(model *m) {
    while (m->n > 0 && is_late(m, 0)) take_out(m, 0);
    rt_msg *msg = rt_mailbox_take(m->sh, m->a);
    assert_int_equal(msg != NULL, m->n > 0);
    if (!msg) return;
    assert_int_equal(id_of(msg), m->at[0].id);
    take_out(m, 0);
    rt_msg_release(m->sh, msg);
}

static void remove_a_down(model *m) {
    uint64_t ref = m->n > 0 ? m->at[prng_below(&m->r, m->n)].id : 1;
    bool found = false;
    for (uint32_t i = 0; i < m->n && !found; i++)
        if (m->at[i].tag == RT_DOWN && m->at[i].id == ref) {
            take_out(m, i);
            found = true;
        }
    assert_int_equal(rt_mailbox_remove_down(m->sh, m->a, ref), found);
}

static void clear(model *m) {
    uint32_t before = m->n;
    for (uint32_t i = 0; i < m->n;) {
        if (is_sure(&m->at[i]))
            i++;
        else
            take_out(m, i);
    }
    assert_int_equal(rt_mailbox_clear(m->sh, m->a, false), before - m->n);
}

static void agrees(const model *m) {
    assert_int_equal(m->a->queued, m->n);
    rt_msg *x = rt_actor_first(m->a);
    for (uint32_t i = 0; i < m->n; i++, x = x->next) {
        assert_int_equal(x->tag, m->at[i].tag);
        assert_int_equal(id_of(x), m->at[i].id);
    }
    assert_ptr_equal(x, rt_actor_first(m->a)); /* a circle; or both NULL */
}

static void mailbox_agrees_with_an_array(const rt_class *c, uint64_t seed) {
    model m = {.w = world_new(1, seed)};
    rt_class own = *c;
    own.sure = T_DO;
    puppet *p = puppet_new(m.w, 0, &own);
    (void)world_run(m.w);
    m.sh = &m.w->n->shards[0];
    m.a = rt_actor_find(m.sh, p->pid);
    prng_init(&m.r, seed);
    for (unsigned i = 0; i < OPS; i++) {
        uint64_t what = prng_below(&m.r, 100);
        if (what < 40 && m.n < MODEL_MAX - 1)
            arrive(&m, false, false);
        else if (what < 50 && m.n < MODEL_MAX - 1)
            arrive(&m, prng_chance(&m.r, 1, 2), true);
        else if (what < 55 && m.n < MODEL_MAX - 1)
            arrive(&m, true, false);
        else if (what < 75)
            take(&m);
        else if (what < 97)
            remove_a_down(&m);
        else if (what < 99)
            m.sh->now_msec += (uint32_t)prng_below(&m.r, 4);
        else
            clear(&m);
        agrees(&m);
    }
    world_free(m.w); /* with what is in it */
    mem_free(p);
}
static void every_policy_keeps_order_and_loses_only_what_it_should(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        mailbox_agrees_with_an_array(&unbounded, seed);
        mailbox_agrees_with_an_array(&refusing, seed);
        mailbox_agrees_with_an_array(&dropping_oldest, seed);
        mailbox_agrees_with_an_array(&dropping_expired, seed);
    }
}

/* What waits is memory mostly by its blobs: a bound in bytes counts them. */
static void a_bound_in_bytes_counts_what_messages_hold(void **state) {
    (void)state;
    enum { BYTES = 10000, EACH = 1000 };
    static const rt_class small = {.name = "small",
                                   .state_size = sizeof(puppet_state),
                                   .init = p_init,
                                   .handle = p_handle,
                                   .fini = p_fini,
                                   .mailbox_bytes_max = BYTES,
                                   .bound = RT_BOUND_REFUSE};
    world *w = world_new(1, 1);
    puppet *p = puppet_new(w, 0, &small);
    (void)world_run(w);
    rt_shard *sh = &w->n->shards[0];
    rt_actor *a = rt_actor_find(sh, p->pid);
    rt_blob *body = rt_blob_alloc(EACH);
    memset(body->data, 'x', EACH);
    unsigned in = 0;
    for (unsigned i = 0; i < 2 * BYTES / EACH; i++) {
        rt_msg *m = rt_msg_new_ext(T_NOTE, sizeof(t_note));
        t_note_of(m)->body = rt_blob_ref(body); /* shared: counted in full each time */
        uint32_t before = a->queued;
        rt_mailbox_arrive(sh, p->pid, m, false);
        in += a->queued - before;
        assert_true(a->bytes <= BYTES);
    }
    assert_true(in < BYTES / EACH && in > BYTES / EACH / 2); /* the message itself counts too */
    while (a->queued > 0) {
        rt_msg *m = rt_mailbox_take(sh, a);
        rt_msg_release(sh, m);
    }
    assert_int_equal(a->bytes, 0);
    rt_blob_unref(body);
    world_free(w);
    mem_free(p);
}

/* A ring that ran over has room again, and its shard goes on sending before it has moved what waits: the new must stay behind that. */
enum { RING_AND_SOME = 2048 + 100, MORE = 50 };
static void do_pour(rt_ctx *cx, puppet *p, uint64_t arg) {
    puppet *to = (puppet *)(uintptr_t)arg;
    uint64_t until = p->timers + (p->timers == 0 ? RING_AND_SOME : MORE); /* a puppet without timers: a free count */
    while (p->timers < until) note(cx, to->pid, p->timers++);
}
static void what_is_sent_later_stays_behind_what_waits_for_a_full_ring(void **state) {
    (void)state;
    world *w = world_new(2, 1);
    puppet *from = puppet_new(w, 0, &puppet_class), *to = puppet_new(w, 1, &puppet_class);
    (void)world_run(w);
    tell(w, from, do_pour, ARG(to));
    while (from->timers == 0) (void)rt_node_step(w->n, 0, false);
    assert_int_equal(rt_event_count(w->n, EV_RING_FULL), 1);
    (void)rt_node_step(w->n, 1, false); /* the ring is read */
    tell(w, from, do_pour, ARG(to));
    (void)world_run(w);
    assert_int_equal(to->n, RING_AND_SOME + MORE);
    for (uint64_t i = 0; i < to->n; i++) assert_int_equal(to->log[i].n, i);
    world_free(w);
    mem_free(from);
    mem_free(to);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_policy_keeps_order_and_loses_only_what_it_should),
        cmocka_unit_test(a_bound_in_bytes_counts_what_messages_hold),
        cmocka_unit_test(what_is_sent_later_stays_behind_what_waits_for_a_full_ring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
