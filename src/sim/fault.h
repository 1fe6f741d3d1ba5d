#ifndef SIM_FAULT_H
#define SIM_FAULT_H
/* fault: the seam (rt/sys.h) once more, in front of any implementation of it: counts the calls that may fail and lets the nth of them fail
 * with an error that it may give. Torture in the manner of SQLite's and curl's tests: a run in which nothing fails is counted, then it is
 * repeated with each of its calls failing.
 *
 * Calls of the TLS seam count in the same row; its simulated implementation (sim/tls.h) asks for its turn. fault.def is the list. */
#include "rt/sys.h"

typedef enum sim_call {
#define FALLIBLE(NAME, ...)     SIM_CALL_##NAME,
#define HALF(NAME, ...)         SIM_CALL_##NAME,
#define TLS_FALLIBLE(NAME, ...) SIM_CALL_##NAME,
#define SURE(...)
#define QUIET(...)
#define TLS_SURE(...)
#include "sim/fault.def"
#undef FALLIBLE
#undef HALF
#undef TLS_FALLIBLE
#undef SURE
#undef QUIET
#undef TLS_SURE
    SIM_CALLS
} sim_call;

typedef struct sim_fault {
    sys *under;             /* the implementation that does the work */
    uint64_t nth;           /* this one fails, counted from 1; 0: none */
    uint64_t seed;          /* with nth it chooses the error */
    _Atomic uint64_t calls; /* so far; from any thread */
    _Atomic int fired;      /* the sim_call that failed; -1: none yet */
    _Atomic int error;      /* what it gave */
    /* What a write or a sync that fails does all the same: part of its work, or harm. fd: its file; NULL: nothing. data: of a write. */
    void (*half)(void *arg, sim_call call, int fd, slice data, uint64_t at);
    void *half_arg;
} sim_fault;

/* Fills *out, which is the seam to use from then on; its functions are NULL where under's are. Both outlive the use. */
void sim_fault_init(sim_fault *f, sys *under, sys *out);
void sim_fault_plan(sim_fault *f, uint64_t nth, uint64_t seed);
/* Counts a call; the error with which it is to fail, ERR_OK for go on. */
NODISCARD err sim_fault_turn(sim_fault *f, sim_call call);
const char *sim_fault_name(int call); /* as declared in the seam: "file_sync"; -1: "nothing" */
/* The errors that call may give: *out_n of them, at least 1. */
const err *sim_fault_errors(sim_call call, size_t *out_n);

#endif
