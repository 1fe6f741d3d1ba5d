#ifndef MAIN_CLUSTER_TLS_H
#define MAIN_CLUSTER_TLS_H
/* cluster_tls: the settings node.tls.* as what nodes show each other. */
#include "main/config.h"
#include "rt/sys.h"
#include "rt/tls.h"

/* What this node shows and takes, as the files are now; *out is NULL if none are set, and nothing needs them. why: a sentence. ERR_CONFIG:
 * a setting is missing, or the certificate is one that no peer would take; of a file: ERR_NOT_FOUND, ERR_PERM (others can read the key),
 * ERR_TLS. The caller unrefs. */
NODISCARD err main_cluster_tls_load(const config *f, tls *t, tls_server **out, char why[CONFIG_WHY_MAX]);

typedef struct main_cluster_tls_seen { /* sizes and times of the files when they were last looked at */
    uint64_t size[4];
    usec mtime[4];
} main_cluster_tls_seen;
bool main_cluster_tls_changed(const config *f, sys *s, main_cluster_tls_seen *seen); /* since the last call; the first one says true */
#endif
