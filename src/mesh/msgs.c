/* The mesh's messages: their descriptors, from mesh.def. */
#include "mesh/msgs.h"

#define MSG RT_MSG_FIELDS
#include "mesh/mesh.def"
#undef MSG
const rt_msg_desc mesh_msgs[] = {
#define MSG RT_MSG_DESC
#include "mesh/mesh.def"
#undef MSG
};
const size_t mesh_msgs_count = ARRAY_LEN(mesh_msgs);
