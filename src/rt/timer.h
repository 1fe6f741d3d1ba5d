#ifndef RT_TIMER_H
#define RT_TIMER_H
/* timer: the shard's hierarchical wheel: 256 slots of 1 ms, then four levels of 64 slots, each 64 (256) times as coarse. See timer.c. */
#include "rt/actor.h"

#define RT_WHEEL_NEAR     256u
#define RT_WHEEL_LEVELS   4u
#define RT_WHEEL_FAR      64u
#define RT_TIMER_MAX_USEC (INT64_C(0x7fffffff) * USEC_PER_MSEC) /* 24.8 days; farther ones are cut to this */
typedef struct rt_wheel {
    rt_timer near[RT_WHEEL_NEAR];                /* list heads */
    rt_timer far[RT_WHEEL_LEVELS][RT_WHEEL_FAR]; /* list heads */
    uint64_t near_bits[RT_WHEEL_NEAR / 64];      /* slot may be non-empty; cleared when found empty */
    uint64_t far_bits[RT_WHEEL_LEVELS];
    rt_timer due;    /* fire at the next opportunity */
    rt_timer firing; /* being fired */
    uint32_t tick;   /* slots up to this were emptied */
    uint32_t armed;
} rt_wheel;

void rt_wheel_init(rt_wheel *w);
void rt_wheel_set(rt_wheel *w, rt_timer *t, uint32_t due);  /* t is not armed; due at or before w->tick: next opportunity */
void rt_wheel_move(rt_wheel *w, rt_timer *t, uint32_t due); /* t is armed: as cancel and set, but a later due costs one store */
void rt_wheel_cancel(rt_wheel *w, rt_timer *t);             /* t is armed */
void rt_wheel_advance(rt_wheel *w, uint32_t tick);          /* moves what is due at tick to the list due, then that to firing */
rt_timer *rt_wheel_pop(rt_wheel *w);                        /* next of firing, disarmed; NULL */
bool rt_wheel_next(rt_wheel *w, uint32_t *out_tick);        /* a lower bound of the next due tick; false: nothing is armed */
#endif
