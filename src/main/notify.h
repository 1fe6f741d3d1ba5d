#ifndef MAIN_NOTIFY_H
#define MAIN_NOTIFY_H
/* notify: tells the service manager how the server fares (sd_notify(3)): a datagram of lines NAME=VALUE to the Unix socket that the
 * variable NOTIFY_SOCKET names (a path, or @name in the abstract namespace). Without the variable every call does nothing. The server never
 * waits for its manager, and goes on when the manager cannot be told. */
#include "base/err.h"
#include "base/time.h"

#define MAIN_NOTIFY_PATH 108
typedef struct main_notify {
    char path[MAIN_NOTIFY_PATH]; /* "": nobody wants to know */
    usec watchdog;               /* a sign of life is due after at most this; 0: none is asked for (sd_watchdog_enabled(3)) */
    usec alive_next;
} main_notify;

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. False, with a sentence in why: NOTIFY_SOCKET is none of the forms above, or cannot
 * be written to; n is as without it. */
NODISCARD bool main_notify_init(main_notify *n, char why[200]);
void main_notify_send(const main_notify *n, const char *lines); /* "READY=1", "STOPPING=1", "STATUS=..." */
/* To be called often: sends the sign of life at half the time after which it is missed. now: monotonic. */
void main_notify_alive(main_notify *n, usec now);

#endif
