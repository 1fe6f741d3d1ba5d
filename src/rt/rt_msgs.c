/* rt_msgs: the field tables of the runtime's own messages, made from rt.def. */
#include "rt/rt_msgs.h"

#define MSG RT_MSG_FIELDS
#include "rt/rt.def"
#undef MSG

const rt_msg_desc rt_msgs[] = {
#define MSG RT_MSG_DESC
#include "rt/rt.def"
#undef MSG
};
const size_t rt_msgs_count = ARRAY_LEN(rt_msgs);
