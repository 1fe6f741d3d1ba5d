/* fault: see fault.h. The table makes the enumeration, the errors, the wrappers and the agreement with the seams.
 *
 * Invariants: (1) At most one call of a plan fails. (2) Up to the call that fails a run is the run without a plan: the error is chosen by a
 * hash, not drawn. (3) A function that is added to a seam and not to fault.def does not compile: the seams are structs of one pointer and
 * functions, so their sizes count the functions, and no name can be in the table twice. */
#include "sim/fault.h"

#include "base/hash.h"
#include "rt/tls.h"

#include <stdatomic.h>

static sys *under(sys *s) {
    sim_fault *f = s->self;
    return f->under;
}

/* --- agreement: both seams are counted at once, each in half of the number */
#define OF_SYS            +1
#define OF_TLS            +0x10000
#define FALLIBLE(...)     OF_SYS
#define HALF(...)         OF_SYS
#define SURE(...)         OF_SYS
#define QUIET(...)        OF_SYS
#define TLS_FALLIBLE(...) OF_TLS
#define TLS_SURE(...)     OF_TLS
enum {
    FUNCTIONS = 0
#include "sim/fault.def"
    ,
    SYS_FUNCTIONS = FUNCTIONS % (OF_TLS),
    TLS_FUNCTIONS = FUNCTIONS / (OF_TLS)
};
#undef FALLIBLE
#undef HALF
#undef SURE
#undef QUIET
#undef TLS_FALLIBLE
#undef TLS_SURE
_Static_assert(sizeof(sys) == sizeof(void *) + SYS_FUNCTIONS * sizeof(void (*)(void)), "a function of rt/sys.h is not in fault.def");
_Static_assert(sizeof(tls) == sizeof(void *) + TLS_FUNCTIONS * sizeof(void (*)(void)), "a function of rt/tls.h is not in fault.def");

/* --- names and errors */
#define SURE(...)
#define QUIET(...)
#define TLS_SURE(name)                          _Static_assert(sizeof(((tls *)0)->name) > 0, "it is in the seam");
#define FALLIBLE(NAME, name, params, args, ...) static const err errors_of_##name[] = {__VA_ARGS__};
#define HALF                                    FALLIBLE
#define TLS_FALLIBLE(NAME, name, ...)           static const err errors_of_##name[] = {__VA_ARGS__};
#include "sim/fault.def"
#undef TLS_SURE
#undef FALLIBLE
#undef HALF
#undef TLS_FALLIBLE
#define TLS_SURE(...)
#define FALLIBLE(NAME, name, ...)     {#name, errors_of_##name, ARRAY_LEN(errors_of_##name)},
#define HALF                          FALLIBLE
#define TLS_FALLIBLE(NAME, name, ...) {#name, errors_of_##name, ARRAY_LEN(errors_of_##name)},
static const struct {
    const char *name;
    const err *errors;
    size_t n;
} calls[SIM_CALLS] = {
#include "sim/fault.def"
};
#undef SURE
#undef QUIET
#undef TLS_SURE
#undef FALLIBLE
#undef HALF
#undef TLS_FALLIBLE

const char *sim_fault_name(int call) { return call >= 0 && call < (int)SIM_CALLS ? calls[call].name : "nothing"; }

const err *sim_fault_errors(sim_call call, size_t *out_n) {
    *out_n = calls[call].n;
    return calls[call].errors;
}

/* --- turns */
/* Relaxed: the counter alone says whose turn it is; what failed is read when the threads are gone, or by the one that there is. */
err sim_fault_turn(sim_fault *f, sim_call call) {
    uint64_t n = atomic_fetch_add_explicit(&f->calls, 1, memory_order_relaxed) + 1;
    if (n != f->nth) return ERR_OK;
    err e = calls[call].errors[hash_u64(f->seed ^ hash_u64(n)) % calls[call].n];
    atomic_store_explicit(&f->fired, (int)call, memory_order_relaxed);
    atomic_store_explicit(&f->error, (int)e, memory_order_relaxed);
    return e;
}

void sim_fault_plan(sim_fault *f, uint64_t nth, uint64_t seed) {
    f->nth = nth;
    f->seed = seed;
    atomic_store_explicit(&f->calls, 0, memory_order_relaxed); /* nothing runs yet */
    atomic_store_explicit(&f->fired, -1, memory_order_relaxed);
    atomic_store_explicit(&f->error, ERR_OK, memory_order_relaxed);
}

static err turn_of(sys *s, sim_call call) { return sim_fault_turn(s->self, call); }

/* --- the wrappers */
#define TLS_FALLIBLE(...)
#define TLS_SURE(...)
#define HALF(...)
#define FALLIBLE(NAME, name, params, args, ...)                                                                                            \
    static err fault_##name params {                                                                                                       \
        err e = turn_of(s, SIM_CALL_##NAME);                                                                                               \
        return e ? e : under(s)->name args;                                                                                                \
    }
#define SURE(name, type, params, args)                                                                                                     \
    static type fault_##name params { return under(s)->name args; }
#define QUIET(name, params, args)                                                                                                          \
    static void fault_##name params { under(s)->name args; }
#include "sim/fault.def"
#undef FALLIBLE
#undef HALF
#undef SURE
#undef QUIET

static err fault_file_write(sys *s, int fd, slice data, uint64_t at) {
    sim_fault *f = s->self;
    err e = turn_of(s, SIM_CALL_FILE_WRITE);
    if (e && f->half) f->half(f->half_arg, SIM_CALL_FILE_WRITE, fd, data, at);
    return e ? e : f->under->file_write(f->under, fd, data, at);
}

static err fault_file_sync(sys *s, int fd) {
    sim_fault *f = s->self;
    err e = turn_of(s, SIM_CALL_FILE_SYNC);
    if (e && f->half) f->half(f->half_arg, SIM_CALL_FILE_SYNC, fd, (slice){0}, 0);
    return e ? e : f->under->file_sync(f->under, fd);
}

void sim_fault_init(sim_fault *f, sys *below, sys *out) {
    *f = (sim_fault){.under = below, .fired = -1};
    *out = (sys){.self = f};
#define HALF                      FALLIBLE
#define FALLIBLE(NAME, name, ...) out->name = below->name ? fault_##name : NULL;
#define SURE(name, ...)           out->name = below->name ? fault_##name : NULL;
#define QUIET(name, ...)          out->name = below->name ? fault_##name : NULL;
#include "sim/fault.def"
#undef FALLIBLE
#undef HALF
#undef SURE
#undef QUIET
#undef TLS_FALLIBLE
#undef TLS_SURE
}
