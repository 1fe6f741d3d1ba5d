#ifndef MAIN_COMPOSE_H
#define MAIN_COMPOSE_H
/* compose: from settings to a node with its services: the one place that knows all layers. murre run and the simulator both use it, so that
 * what is simulated is what runs. */
#include "edge/edge.h"
#include "main/config.h"

#define MURRE_VERSION "0.1"

typedef struct compose compose;

#define COMPOSE_BOUND_MAX 64
typedef struct compose_bound { /* an open listener */
    edge_transport transport;
    sys_addr addr;
} compose_bound;

/* Makes the node: takes the data directory, and with the role messaging makes what is missing in it (secret, certificates), boots stores,
 * partitions and listeners. It is not started. config, sys and tls outlive it. why: one sentence; ERR_CONFIG, ERR_BUSY (data directory),
 * ERR_ADDR_IN_USE, ERR_PERM, ERR_NOT_FOUND (certificate or key), ERR_TLS, ERR_NOSPC, ERR_VERSION, ERR_CORRUPT, ERR_IO. */
NODISCARD err compose_new(const config *c, sys *s, tls *t, compose **out, char why[CONFIG_WHY_MAX]);
/* Reads the certificates, keys and the cookie that c names, as compose_new does, and makes nothing. why and errors: its. */
NODISCARD err compose_check(const config *c, tls *t, char why[CONFIG_WHY_MAX]);
void compose_free(compose *c); /* frees the node; NULL is fine */
rt_node *compose_node(compose *c);
const compose_bound *compose_bounds(const compose *c, size_t *out_n);
/* Everything recovered: messages are served. A node without the role messaging has nothing to recover. */
bool compose_ready(compose *c);
/* Reads certificates again if a file changed; call about once a second. Failure keeps the old ones and is an event. */
void compose_watch_certificates(compose *c);
/* Self-signed certificates that were made or found: domain i's SHA-256 fingerprint; false if configured ones are used. */
bool compose_fingerprint(const compose *c, size_t i, const char **out_domain, const char **out_cert_path, uint8_t out[32]);
const char *compose_data(const compose *c);  /* the data directory; NULL: the node has none */
struct mesh *compose_mesh(const compose *c); /* NULL: the node stands alone */
void compose_drain(compose *c, const char *text);
/* No session is left, and what their last acks deleted is on stable storage. To be asked now and then; never on a shard. */
bool compose_settled(compose *c);

#endif
