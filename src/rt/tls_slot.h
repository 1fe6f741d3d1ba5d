#ifndef RT_TLS_SLOT_H
#define RT_TLS_SLOT_H
/* tls_slot: the place of a tls_server that is swapped whole while connections begin: put from any thread, got from any thread. A connection
 * keeps what it began with. */
#include "base/lock.h"
#include "rt/tls.h"

typedef struct tls_slot {
    tls *t;
    tls_server *server; /* NULL: none. Guarded by lock */
    lock_set locks;
    lock lock;
} tls_slot;

void tls_slot_init(tls_slot *s, tls *t, tls_server *server); /* takes its own reference; NULL (t too) is fine */
void tls_slot_fini(tls_slot *s);
void tls_slot_put(tls_slot *s, tls_server *server); /* takes its own reference */
tls_server *tls_slot_get(tls_slot *s);              /* the caller's reference; NULL: none */

#endif
