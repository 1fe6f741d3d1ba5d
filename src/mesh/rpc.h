#ifndef MESH_RPC_H
#define MESH_RPC_H
/* rpc: what a link keeps of the calls of its peer. Used on the link's shard. */
#include "base/list.h"
#include "mesh/mfa.h"
#include "proto/dist/frame_in.h"
#include "rt/pool.h"

#define MESH_RPC_WAIT_MAX   256u       /* calls of a peer that wait for the one before them; further ones end with system_limit */
#define MESH_RPC_WAIT_BYTES (1u << 20) /* and the bytes of their requests, likewise */

typedef struct mesh_rpcs mesh_rpcs; /* NULL while there are none */
void mesh_rpcs_free(mesh_rpcs *w);  /* those that wait; the one that runs is freed by the pool when its owner is gone; NULL is fine */
#endif
