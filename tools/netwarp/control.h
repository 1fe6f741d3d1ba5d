#ifndef NETWARP_CONTROL_H
#define NETWARP_CONTROL_H
/* control: a Unix stream socket that takes statements of the language, one or more a line, and answers each with one line: "ok",
 * "error: SENTENCE", or JSON for stats and conns. After `watch` every decision comes too, as a line of the trace.
 *
 * Limits: CONTROL_MAX clients; a line of CONTROL_LINE_MAX bytes; CONTROL_OUT_MAX bytes of answers that nobody reads. Who goes beyond is
 * disconnected. The socket file has mode 0600 and is removed at the end; one that a killed netwarp left is replaced. */
#include "relay.h"

#define CONTROL_MAX      64
#define CONTROL_LINE_MAX (64u << 10)
#define CONTROL_OUT_MAX  (4u << 20)

typedef struct control {
    relay *r;
    char path[108]; /* empty: none is bound */
    loop_io io;
    list clients;
    size_t count;
} control;

void control_init(control *c, relay *r);
NODISCARD err control_start(control *c, const char *path, char why[NET_TEXT]);
void control_fini(control *c);

#endif
