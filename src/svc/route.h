#ifndef SVC_ROUTE_H
#define SVC_ROUTE_H
/* route: a stanza from a session (outbound), a stanza for an account of ours (inbound), and the answers that the server makes. */
#include "svc/part.h"

void svc_route_init(svc_part *p); /* at the start of the partition */
void svc_route_fini(svc_part *p);

err svc_route_on_stanza(svc_part *p, rt_msg **m);
err svc_route_on_route(svc_part *p, rt_msg **m);
/* Sends e, which the server made and nobody waits for, towards its 'to': to another account's partition (SVC_ROUTE), to the server's own
 * handlers, or remote-server-not-found. */
void svc_route_send(svc_part *p, const xmpp_env *e);
/* The same for a stanza of a session of ours, which gets SVC_DONE; or, when it would overtake what a partition that has ended may have
 * lost, its end (promises.md, sentence 5). */
void svc_route_out(svc_part *p, svc_session *s, const xmpp_env *e, uint32_t ticket);
/* Sends a packed env that has no address in it, so that many can share it, to a bare JID; nobody waits. False: it is not one of ours. */
bool svc_route_share(svc_part *p, rt_blob *env, slice to);
/* Answers e with an error, if it may be answered, straight to origin if given, else by routing; then SVC_DONE to origin. */
void svc_route_bounce(svc_part *p, const xmpp_env *e, xmpp_stanza_error cond, const char *text, rt_pid origin, uint32_t ticket);
/* An answer made by the server, to origin, or by its address where that is NONE. False: it is too large, nothing was sent. */
bool svc_route_answer(svc_part *p, const xmpp_env *reply, rt_pid origin);

#endif
