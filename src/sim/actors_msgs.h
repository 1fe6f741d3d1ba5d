#ifndef SIM_ACTORS_MSGS_H
#define SIM_ACTORS_MSGS_H
/* The messages of the scenario "actors" (actors.def): structs and tags. */
#include "rt/msg.h"

#define MSG RT_MSG_DECLARE
#include "sim/actors.def"
#undef MSG
enum {
    SIM_ACTORS_FIRST_ = RT_TAG_TEST - 1,
#define MSG(T, n, d) T,
#include "sim/actors.def"
#undef MSG
};
#endif
