#ifndef MAIN_CLUSTER_H
#define MAIN_CLUSTER_H
/* cluster: the settings node.* as a mesh: with node.name set, murre run is a node of an Erlang cluster. */
#include "main/config.h"
#include "mesh/mesh.h"

typedef struct main_cluster main_cluster;
/* Are the settings good? What they name (cookie file, host) is not looked at. why: a sentence. ERR_CONFIG. */
NODISCARD err main_cluster_check(const config *f, char why[CONFIG_WHY_MAX]);
/* Makes the mesh of a node that is not booted yet; *out is NULL if node.name is empty. why: a sentence. ERR_CONFIG, ERR_PERM, ERR_NOT_FOUND
 * (the cookie file), ERR_AUTH (a weak cookie), ERR_IO. */
NODISCARD err main_cluster_new(const config *f, rt_node *n, main_cluster **out, char why[CONFIG_WHY_MAX]);
/* Listens, and registers with the port mapper. why: a sentence. ERR_ADDR_IN_USE, ERR_PERM and the like. NULL is fine. */
NODISCARD err main_cluster_boot(main_cluster *k, char why[CONFIG_WHY_MAX]);
void main_cluster_free(main_cluster *k); /* after the node; NULL is fine */
#endif
