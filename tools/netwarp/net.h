#ifndef NETWARP_NET_H
#define NETWARP_NET_H
/* net: addresses, network namespaces, sockets. A socket belongs for ever to the namespace that its maker was in: the process enters one
 * for the moment of making it, and comes back. */
#include "warp.h"

#include <sys/socket.h>

#define NET_TEXT 128 /* bytes of an address as text, or of a sentence about what failed */

typedef struct net_place {
    int ns;   /* descriptor of a network namespace; -1: where the program was started */
    int home; /* of where it was started, while ns is one */
    struct sockaddr_storage addr;
    socklen_t len;
} net_place;

void net_place_init(net_place *p);
void net_place_fini(net_place *p);
/* "127.0.0.1:5222" or "[::1]:5222"; names are not looked up. ERR_INVALID otherwise. */
NODISCARD err net_parse(const char *text, net_place *p);
/* A name that `ip netns` knows, or a path (with a slash) such as /proc/PID/ns/net. On failure why says what and the reason. */
NODISCARD err net_ns(const char *name_or_path, net_place *p, char why[NET_TEXT]);
/* Bound sockets; type SOCK_STREAM does not listen yet. A port 0 is drawn and written back to p. A stream's port stays its own while it
 * does not listen (see net_refuse). */
NODISCARD err net_bind(net_place *p, int type, int *out_fd, char why[NET_TEXT]);
/* A socket in the place's namespace, its connection begun (streams) or its peer set (datagrams). ERR_REFUSED if it fails at once. */
NODISCARD err net_connect(const net_place *p, int type, int *out_fd);
/* Closes with a RST instead of a FIN. */
void net_close_reset(int fd);
uint16_t net_port(const net_place *p);
void net_format(const struct sockaddr_storage *a, socklen_t len, char out[NET_TEXT]);

#endif
