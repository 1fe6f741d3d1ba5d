#ifndef RT_RT_MSGS_H
#define RT_RT_MSGS_H
/* The runtime's own messages (rt.def): structs and tags. */
#include "rt/msg.h"

#define MSG RT_MSG_DECLARE
#include "rt/rt.def"
#undef MSG
enum {
    RT_TAG_FIRST_ = RT_TAG_RT - 1,
#define MSG(T, n, d) T,
#include "rt/rt.def"
#undef MSG
    RT_TAG_END_
};
extern const rt_msg_desc rt_msgs[];
extern const size_t rt_msgs_count;
#endif
