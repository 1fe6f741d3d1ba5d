#ifndef EDGE_C2S_FN_H
#define EDGE_C2S_FN_H
/* What the files of c2s ask of each other. Private to them. Everything runs in a callback of the session's actor; whatever ends the
 * session sets its state, so a caller that goes on looks at it first. */
#include "edge/c2s.h"

/* c2s.c: life, deadlines, ends */
void edge_c2s_arm(rt_ctx *cx, edge_c2s *s);      /* a deadline has come nearer */
uint32_t edge_c2s_deadline(rt_ctx *cx, usec in); /* for s->deadline: that long from now */
void edge_c2s_nego_free(edge_c2s *s);
edge_more *edge_c2s_more(edge_c2s *s);             /* made if there is none; what is empty goes at the end of the callback */
void edge_c2s_random_id(rt_ctx *cx, char out[33]); /* 128 random bits as hex */
void edge_c2s_gone(rt_ctx *cx, edge_c2s *s);       /* the actor ends after this callback */
void edge_c2s_closed_fd(rt_ctx *cx, edge_c2s *s);  /* forgets the connection and all that belongs to it */
/* Ends the stream: an error (STREAM_OK: none) and </stream:stream>, then the socket. The session is over for svc at once. */
void edge_c2s_close(rt_ctx *cx, edge_c2s *s, xmpp_stream_error error, const char *text);
/* The same once all that was received is complete, so that the client gets the acks that it waits for; a text is
 * sent only if nothing has to be waited for. */
void edge_c2s_end(rt_ctx *cx, edge_c2s *s, xmpp_stream_error error, const char *text);
/* The socket is gone: the session waits for resumption, or is over. */
void edge_c2s_lost(rt_ctx *cx, edge_c2s *s);
void edge_c2s_unbind(rt_ctx *cx, edge_c2s *s);

/* One event of the stream. bytes: of this unit; behind: unread bytes after it. */
void edge_c2s_event(rt_ctx *cx, edge_c2s *s, const xmpp_event *ev, size_t bytes, size_t behind);

/* c2s_open.c: stream headers and features */
void edge_c2s_open(rt_ctx *cx, edge_c2s *s, const xmpp_event *ev);
void edge_c2s_open_header(rt_ctx *cx, edge_c2s *s, slice to); /* ours; once per stream */
slice edge_c2s_open_lang(const edge_c2s *s);                  /* xml:lang of the stream; p NULL: none */
void edge_c2s_open_restart(edge_c2s *s, xmpp_phase phase,
                           unsigned flags); /* a new stream on the same connection: nothing is carried over */

/* c2s_in.c: reading */
void edge_c2s_in_ready(rt_ctx *cx, edge_c2s *s);                   /* the socket is readable */
void edge_c2s_in_bytes(rt_ctx *cx, edge_c2s *s, slice got);        /* plain text came (may be empty) */
void edge_c2s_in_tls(rt_ctx *cx, edge_c2s *s, slice got);          /* bytes of TLS came (may be empty) */
void edge_c2s_in_release(rt_ctx *cx, edge_c2s *s, unsigned hold);  /* the reason is gone: go on reading */
void edge_c2s_in_done(rt_ctx *cx, edge_c2s *s, uint32_t ticket);   /* SVC_DONE */
void edge_c2s_in_refused(rt_ctx *cx, edge_c2s *s, svc_stanza *st); /* the partition's mailbox was full */
void edge_c2s_in_stanza(rt_ctx *cx, edge_c2s *s, const xmpp_event *ev, size_t bytes);
usec edge_c2s_in_stuck(rt_ctx *cx, const edge_c2s *s); /* when stanzas in progress have had no answer for too long; USEC_NEVER */
void edge_c2s_in_drop(edge_c2s *s);                    /* forgets what is unread */

/* c2s_out.c: writing */
buf *edge_c2s_out(rt_ctx *cx, edge_c2s *s); /* where to append; it is written at the end of the round. Never while there is no connection */
edge_out *edge_c2s_out_get(edge_c2s *s);
void edge_c2s_out_deliver(rt_ctx *cx, edge_c2s *s, svc_deliver *d); /* takes the blobs out of d */
void edge_c2s_out_env(rt_ctx *cx, edge_c2s *s, const xmpp_env *e);  /* a stanza that the edge itself makes, for a bound session */
void edge_c2s_out_stanza(rt_ctx *cx, edge_c2s *s, const rt_blob *env, const rt_blob *extra); /* writes, counts nothing */
NODISCARD err edge_c2s_out_seal(edge_c2s *s);                                                /* encrypts what is in plain */
void edge_c2s_out_flush(rt_ctx *cx, edge_c2s *s);
void edge_c2s_out_free(edge_c2s *s);
size_t edge_c2s_out_pending(const edge_c2s *s);
void edge_c2s_out_slow(rt_ctx *cx, edge_c2s *s); /* ends a session whose client does not take what it is sent */

/* c2s_tls.c */
void edge_c2s_tls_begin(rt_ctx *cx, edge_c2s *s); /* the next bytes are TLS */
void edge_c2s_tls_starttls(rt_ctx *cx, edge_c2s *s, size_t behind);
void edge_c2s_tls_bytes(rt_ctx *cx, edge_c2s *s, slice got);     /* bytes of a handshake */
bool edge_c2s_tls_done(rt_ctx *cx, edge_c2s *s, rt_job_done *d); /* false: not a TLS job */
void edge_c2s_tls_bindings(edge_c2s *s);                         /* fills nego's channel binding data once */

/* c2s_auth.c */
void edge_c2s_auth_features(edge_c2s *s, const char *mechs[XMPP_MECH_COUNT_], const char *bindings[3]); /* what to offer now */
void edge_c2s_auth_begin(rt_ctx *cx, edge_c2s *s, const xmpp_event *ev);
void edge_c2s_auth_response(rt_ctx *cx, edge_c2s *s, const xmpp_event *ev);
void edge_c2s_auth_abort(rt_ctx *cx, edge_c2s *s);
void edge_c2s_auth_keys(rt_ctx *cx, edge_c2s *s, svc_keys *k);
void edge_c2s_auth_refused(rt_ctx *cx, edge_c2s *s);
bool edge_c2s_auth_done(rt_ctx *cx, edge_c2s *s, rt_job_done *d); /* false: not a password check */

/* c2s_bind.c */
void edge_c2s_bind_iq(rt_ctx *cx, edge_c2s *s, const xmpp_event *ev);
void edge_c2s_bind_bound(rt_ctx *cx, edge_c2s *s, svc_bound *b);
void edge_c2s_bind_failed(rt_ctx *cx, edge_c2s *s, xmpp_stanza_error error);
void edge_c2s_bind_session(rt_ctx *cx, edge_c2s *s, const xmpp_event *ev);

/* c2s_ack.c: stream management, and pings where there is none */
void edge_c2s_ack_enable(rt_ctx *cx, edge_c2s *s, const xmpp_event *ev);
void edge_c2s_ack_requested(rt_ctx *cx, edge_c2s *s);                  /* the client's <r/> */
void edge_c2s_ack_handled(rt_ctx *cx, edge_c2s *s);                    /* stanzas have completed */
void edge_c2s_ack_write(rt_ctx *cx, edge_c2s *s);                      /* the <a/> that is due, if one is */
void edge_c2s_ack_got(rt_ctx *cx, edge_c2s *s, uint32_t h);            /* the client's <a/> */
bool edge_c2s_ack_pong(rt_ctx *cx, edge_c2s *s, const xmpp_event *ev); /* was that the answer to our ping? */
void edge_c2s_ack_ask(rt_ctx *cx, edge_c2s *s, bool now);              /* at the end of a flush; now: whatever there is to ask for */
void edge_c2s_ack_tell(rt_ctx *cx, edge_c2s *s, uint32_t upto);        /* SVC_ACKED */
void edge_c2s_ack_again(rt_ctx *cx, edge_c2s *s);
bool edge_c2s_ack_room(rt_ctx *cx, edge_c2s *s, size_t bytes, bool kept); /* false: drop it (or the session has ended) */
void edge_c2s_ack_hold(edge_c2s *s, rt_blob **env, rt_blob **extra, uint32_t keep);
void edge_c2s_ack_free(edge_c2s *s);

/* c2s_resume.c */
void edge_c2s_resume_ask(rt_ctx *cx, edge_c2s *s, const xmpp_event *ev);
void edge_c2s_resume_answer(rt_ctx *cx, edge_c2s *s, svc_resumable *r);
void edge_c2s_resume_failed(rt_ctx *cx, edge_c2s *s);
void edge_c2s_resume_attach(rt_ctx *cx, edge_c2s *s, edge_attach *a, rt_pid from);
void edge_c2s_resume_attached(rt_ctx *cx, edge_c2s *s, edge_attached *a);
void edge_c2s_resume_go(rt_ctx *cx, edge_c2s *s); /* everything received before is complete: <resumed/> and the rest */

#endif
