#ifndef SIM_CLIENT_PRIVATE_H
#define SIM_CLIENT_PRIVATE_H
/* client_private: between client.c (connection, habits) and client_xmpp.c (the protocol). */
#include "sim/client.h"

#define SIM_CLIENT_UNIT_MAX (1u << 20)
#define SIM_CLIENT_BUF_MAX  (8u << 20)

void sim_client_set(sim_client *c, sim_client_state s);
void sim_client_write(sim_client *c, const char *text, size_t len);    /* through TLS, to the socket when it takes it */
void sim_client_drop(sim_client *c, sim_release how, const char *why); /* connection gone; comes back later */

/* client_xmpp.c */
void sim_client_xmpp_open(sim_client *c);  /* a new stream: our header */
void sim_client_xmpp_input(sim_client *c); /* handles the whole units in c->in */
void sim_client_xmpp_stanza(sim_client *c, const char *text, size_t len,
                            uint32_t seq);   /* sends one of ours, kept until it is acknowledged */
void sim_client_xmpp_message(sim_client *c); /* a new message to somebody */
void sim_client_xmpp_ask(sim_client *c);     /* <r/> */
void sim_client_xmpp_ping(sim_client *c);    /* are you there? */
void sim_client_xmpp_ack(sim_client *c);     /* <a/> */
void sim_client_xmpp_leave(sim_client *c);   /* a clean goodbye */
void sim_client_xmpp_forget(sim_client *c);  /* the session is over: nothing of it can be acknowledged any more */

#endif
