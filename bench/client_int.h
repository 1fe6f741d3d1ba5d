#ifndef BENCH_CLIENT_INT_H
#define BENCH_CLIENT_INT_H
/* client_int: between client.c (bytes) and client_login.c (what the units mean). */
#include "client.h"

#include <openssl/ssl.h>

void client_unit(client *c, const xmpp_node *u); /* one whole stanza or stream element */
void client_header(client *c);                   /* a new stream begins */
void client_tls(client *c);                      /* TLS begins */
void client_handshake(client *c);                /* and goes on */
void client_end(client *c, const char *why);     /* closed; why NULL: as it was asked to */
void client_gone_quietly(client *c, const char *why);

#endif
