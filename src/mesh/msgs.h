#ifndef MESH_MSGS_H
#define MESH_MSGS_H
/* The mesh's messages (mesh.def): structs and tags. Actors of a foreign class get MESH_TERM; the others are the mesh's own. */
#include "rt/msg.h"

#define MSG RT_MSG_DECLARE
#include "mesh/mesh.def"
#undef MSG
enum {
    MESH_TAG_FIRST_ = RT_TAG_MESH - 1,
#define MSG(T, n, d) T,
#include "mesh/mesh.def"
#undef MSG
    MESH_TAG_END_
};
extern const rt_msg_desc mesh_msgs[];
extern const size_t mesh_msgs_count;
#endif
