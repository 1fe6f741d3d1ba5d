#ifndef MESH_MAPPER_H
#define MESH_MAPPER_H
/* mapper: the Erlang port mapper of this machine, in this node (proto/dist/epmd_server.h is what it says), for the actor of epmd.c alone:
 * every call is on its shard, and the sockets are ports of that actor. It listens on loopback, so whoever connects is on this machine. */
#include "mesh/int.h"
#include "proto/dist/epmd.h"

#define MESH_MAPPER_TALK                                                                                                                   \
    (30 * USEC_PER_SEC) /* from connecting to having taken the answer; OTP's: 60 s of silence (epmd -packet_timeout)                       \
                         */

typedef struct mesh_mapper mesh_mapper;
/* Takes cfg.epmd of m, and [::1] of the same port where that can be had, and registers own, whose name is copied. ERR_ADDR_IN_USE: somebody
 * else listens there; ERR_FD_LIMIT and other errors of sockets. */
NODISCARD err mesh_mapper_open(rt_ctx *cx, mesh *m, const dist_epmd_node *own, mesh_mapper **out);
/* All connections end, and with them the names. The sockets are closed by the runtime with the actor. NULL is fine. */
void mesh_mapper_free(rt_ctx *cx, mesh_mapper *p);
void mesh_mapper_ready(rt_ctx *cx, mesh_mapper *p, int fd, uint32_t events);
void mesh_mapper_timer(rt_ctx *cx, mesh_mapper *p, rt_timer *t);
#endif
