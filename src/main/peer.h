#ifndef MAIN_PEER_H
#define MAIN_PEER_H
/* peer: `murre peer`, a node that OTP's module peer starts and controls (stdlib, peer.erl, peer:start_link(#{exec => {"murre", ["peer"]},
 * ...})), so that Common Test and PropEr suites have murre nodes among their own. docs/interop.md is the guide.
 *
 *     erl's arguments  -->  settings                     origin  ==line==>  thread of this file  -->  mesh/origin.h
 *
 * The line is a TCP connection to loopback, each message with its length in 4 bytes; or standard input and output, each byte as two, so
 * that what is written there besides is told apart; or there is none, and the cluster carries it. When it ends, the node does. */
#include "main/config.h"
#include "mesh/mesh.h"
#include "rt/sys.h"

typedef struct main_peer main_peer;
/* Reads erl's arguments into settings, which it initialises and the caller frees, and makes a directory for the socket of murrectl and for
 * a cookie that is among them. As erl does, it ignores flags that it does not know, with what follows them. A cookie is overwritten in
 * argv. why: a sentence. ERR_INVALID: of the arguments; as config_set; ERR_IO. s outlives it. */
NODISCARD err main_peer_new(int argc, char **argv, sys *s, config *f, main_peer **out, char why[CONFIG_WHY_MAX]);
/* Between compose_new and the start of the node. m: not NULL. why: a sentence. ERR_INVALID. */
NODISCARD err main_peer_boot(main_peer *p, mesh *m, char why[CONFIG_WHY_MAX]);
/* After the start: the line. why: a sentence. ERR_NOCONN, ERR_IO; ERR_PERM: it would leave this machine in clear. */
NODISCARD err main_peer_start(main_peer *p, char why[CONFIG_WHY_MAX]);
void main_peer_ready(main_peer *p); /* the node serves: who has started it is told */
void main_peer_stop(main_peer *p);  /* the thread has ended when it returns; before the node is stopped */
void main_peer_free(main_peer *p);  /* removes the directory; NULL is fine */
#endif
