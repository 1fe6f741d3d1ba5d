#ifndef MAIN_CLUSTER_H
#define MAIN_CLUSTER_H
/* cluster: the settings node.* as a mesh: with node.name set, murre run is a node of an Erlang cluster. */
#include "main/config.h"
#include "mesh/mesh.h"

typedef struct main_cluster main_cluster;
/* Are the settings good, and the cookie in the file that they name? why: a sentence. ERR_CONFIG, also for a weak cookie; of the file:
 * ERR_NOT_FOUND, ERR_PERM (others can read it), ERR_IO. Likewise the files for TLS (cluster_tls.h). */
NODISCARD err main_cluster_check(const config *f, tls *t, char why[CONFIG_WHY_MAX]);
/* Makes the mesh of a node that is not booted yet; *out is NULL if node.name is empty. why: a sentence. Errors:
 * those of main_cluster_check. domains: those that this node serves; they outlive it. */
NODISCARD err main_cluster_new(const config *f, rt_node *n, const slice *domains, size_t n_domains, main_cluster **out,
                               char why[CONFIG_WHY_MAX]);
/* Listens, and registers with the port mapper. why: a sentence. ERR_ADDR_IN_USE, ERR_PERM and the like. NULL is fine. */
NODISCARD err main_cluster_boot(main_cluster *k, char why[CONFIG_WHY_MAX]);
/* Reads certificates and the file of seeds, if they have changed; what cannot be used is said in the log, and it stays as it was. Called
 * about once a second. NULL is fine. */
void main_cluster_watch(main_cluster *k);
mesh *main_cluster_mesh(const main_cluster *k); /* NULL if k is */
void main_cluster_free(main_cluster *k);        /* after the node; NULL is fine */
#endif
