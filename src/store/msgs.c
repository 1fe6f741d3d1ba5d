/* msgs: the tables behind store.def. */
#include "store/store.h"

#define MSG RT_MSG_FIELDS
#include "store/store.def"
#undef MSG
const rt_msg_desc store_msgs[] = {
#define MSG RT_MSG_DESC
#include "store/store.def"
#undef MSG
};
const size_t store_msgs_count = ARRAY_LEN(store_msgs);
