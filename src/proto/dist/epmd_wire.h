#ifndef PROTO_DIST_EPMD_WIRE_H
#define PROTO_DIST_EPMD_WIRE_H
/* epmd_wire: the first bytes of requests and answers of the port mapper's protocol, and the record of a node, which registration and
 * lookup share. For epmd.c and epmd_server.c alone. */
#include "base/cursor.h"
#include "proto/dist/epmd.h"

#define EPMD_ALIVE2      120u /* register */
#define EPMD_PORT2       122u /* look up */
#define EPMD_NAMES       110u
#define EPMD_DUMP        100u
#define EPMD_KILL        107u
#define EPMD_STOP        115u
#define EPMD_ALIVE2_X    118u /* registered, a creation of 32 bits */
#define EPMD_ALIVE2_RESP 121u /* registered, a creation of 16 bits */
#define EPMD_PORT2_RESP  119u

/* port, type, protocol, versions, name, extra. The writer's node must be valid. */
void dist_epmd_write_node(buf *out, const dist_epmd_node *n);
/* False: cut short. *out has slices of the cursor's bytes; neither name nor length of extra are judged. */
NODISCARD bool dist_epmd_read_node(cursor *c, dist_epmd_node *out);

#endif
