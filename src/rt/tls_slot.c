/* tls_slot: a pointer and its lock. The lock is held for as long as a counter takes to change; it is its own set, because a slot may
 * outlive the node. */
#include "rt/tls_slot.h"

void tls_slot_init(tls_slot *s, tls *t, tls_server *server) {
    s->t = t;
    s->server = server ? t->server_ref(server) : NULL;
    lock_set_init(&s->locks);
    lock_init(&s->lock, &s->locks, "tls slot", 0, LOCK_RANK_TLS);
}

void tls_slot_fini(tls_slot *s) {
    if (s->server) s->t->server_unref(s->server);
    lock_fini(&s->lock);
    lock_set_fini(&s->locks);
}

void tls_slot_put(tls_slot *s, tls_server *server) {
    tls_server *fresh = s->t->server_ref(server);
    lock_take(&s->lock);
    tls_server *old = s->server;
    s->server = fresh;
    lock_release(&s->lock);
    if (old) s->t->server_unref(old);
}

tls_server *tls_slot_get(tls_slot *s) {
    lock_take(&s->lock);
    tls_server *got = s->server ? s->t->server_ref(s->server) : NULL;
    lock_release(&s->lock);
    return got;
}
