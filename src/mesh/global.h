#ifndef MESH_GLOBAL_H
#define MESH_GLOBAL_H
/* global: names of processes that mean the same on all nodes of the cluster (OTP: kernel, global.erl). Every node has all of them, so that
 * reading is a look into a table here. Which names there are, and who has them, the nodes decide together under a lock. */
#include "proto/etf/etf.h"
#include "rt/table.h"

#define MESH_GLOBAL_TABLE "mesh.global"
/* Calls fn for each name that this node has now: a term without version byte, and the process that it stands for, whose node may be any.
 * Nothing if the node is in no cluster. Both are good as long as r is inside. */
void mesh_global_each(rt_reader *r, void (*fn)(void *arg, slice name, const etf_pid *pid), void *arg);
#endif
