#ifndef PROTO_XMPP_SCRAM_H
#define PROTO_XMPP_SCRAM_H
/* scram: SCRAM-SHA-1 (RFC 5802) and SCRAM-SHA-256 (RFC 7677), with and without -PLUS, both roles, as pure machines. Nonces come in from
 * the caller. The grammar is strict and fails closed: reserved m=, wrong attribute order, a nonce that is not an extension of ours, a
 * number with anything but digits are all refused. Secrets are compared in constant time and wiped. */
#include "base/buf.h"
#include "base/digest.h"
#include "proto/xmpp/error.h"

#define SCRAM_KEY_MAX        DIGEST_MAX
#define SCRAM_SALT_MAX       64
#define SCRAM_SALT_LEN       16 /* of new keys, and of fake ones, so that their salts look alike */
#define SCRAM_NONCE_MAX      128
#define SCRAM_BINDING_MAX    64 /* channel binding data: 32 bytes for tls-exporter (RFC 9266), a digest for tls-server-end-point */
#define SCRAM_ITERATIONS_MIN 4096u
#define SCRAM_ITERATIONS_MAX 100000u /* as a client: the most that we compute */
#define SCRAM_MESSAGE_MAX    4096u

typedef struct xmpp_scram_keys { /* what an account stores; never the password */
    digest_alg alg;
    uint32_t iterations;
    uint8_t salt[SCRAM_SALT_MAX];
    uint8_t salt_len;
    uint8_t stored_key[SCRAM_KEY_MAX]; /* H(ClientKey), digest_len(alg) bytes */
    uint8_t server_key[SCRAM_KEY_MAX];
} xmpp_scram_keys;

/* Derives keys from a saslprepped password: one PBKDF2; never on a shard. */
void xmpp_scram_derive(digest_alg alg, slice password, slice salt, uint32_t iterations, xmpp_scram_keys *out);
/* Does the saslprepped password fit the keys? One PBKDF2; constant-time compare. For PLAIN. */
bool xmpp_scram_verify_password(const xmpp_scram_keys *k, slice password);
/* Keys for an account that does not exist: salt = HMAC(secret, user), so that a stranger sees the same answer every time and no proof
 * fits. */
void xmpp_scram_fake(digest_alg alg, slice secret, slice user, uint32_t iterations, xmpp_scram_keys *out);

typedef struct xmpp_scram_binding { /* channel binding data of the connection; p NULL: not available */
    slice tls_exporter;
    slice tls_server_end_point;
    slice tls_unique;  /* accepted, never advertised: for clients that know no other */
    bool plus_offered; /* the server offered a -PLUS mechanism: gs2 flag 'y' is then a downgrade (RFC 5802 section 6) */
    slice offer;       /* what was offered (xmpp_scram_offer), for the attribute h= of server-first-message; p NULL: it is not sent */
} xmpp_scram_binding;

/* What a server offers, as the text that XEP-0474 (0.5.0, section 5.1) hashes: the mechanisms, sorted by bytes and joined by 0x1e; then,
 * unless bindings is NULL (XEP-0440 was not sent), 0x1f and the channel binding types likewise. The hash goes into the challenge, where
 * the proof covers it: a client that finds another list than the server's, and a server whose challenge was changed, both notice. Lists
 * end with NULL; at most SCRAM_OFFERS_MAX names each. */
void xmpp_scram_offer(const char *const *mechs, const char *const *bindings, buf *out);
#define SCRAM_OFFERS_MAX 16
#define SCRAM_OFFER_MAX  512

/* heap; one per exchange. b and nonce are copied. NULL for an empty nonce, one with a comma or a byte that is not printable ASCII, or past
 * SCRAM_NONCE_MAX, and for binding data past SCRAM_BINDING_MAX: our bug (check). */
typedef struct xmpp_scram_server xmpp_scram_server;
xmpp_scram_server *xmpp_scram_server_new(digest_alg alg, bool plus, const xmpp_scram_binding *b, slice nonce);
void xmpp_scram_server_free(xmpp_scram_server *s); /* wipes; NULL is fine */
/* client-first-message. Out: user (saslname decoded, not yet prepped), authzid (p NULL if none); both live in s. */
NODISCARD xmpp_sasl_error xmpp_scram_server_first(xmpp_scram_server *s, slice msg, slice *out_user, slice *out_authzid);
/* With the account's keys: the server-first-message. */
NODISCARD xmpp_sasl_error xmpp_scram_server_challenge(xmpp_scram_server *s, const xmpp_scram_keys *k, buf *out);
/* client-final-message; out: server-final-message. NOT_AUTHORIZED if the proof is wrong or the keys are fake. */
NODISCARD xmpp_sasl_error xmpp_scram_server_final(xmpp_scram_server *s, slice msg, buf *out);

typedef struct xmpp_scram_client xmpp_scram_client;
/* binding: p NULL for none ('n'; 'y' when y_flag); else its name ("tls-exporter") and data, making it a -PLUS exchange. password:
 * saslprepped. All are copied. NULL: a nonce, name or data that breaks the limits above, our bug (check). */
xmpp_scram_client *xmpp_scram_client_new(digest_alg alg, slice user, slice password, slice nonce, bool y_flag, slice cb_name,
                                         slice cb_data);
void xmpp_scram_client_free(xmpp_scram_client *c);
void xmpp_scram_client_first(xmpp_scram_client *c, buf *out);
/* server-first in, client-final out. ERR_LIMIT: the server asks for more than SCRAM_ITERATIONS_MAX; ERR_REFUSED: for fewer than
 * SCRAM_ITERATIONS_MIN (nothing was computed in either case); ERR_PROTO: not a server-first-message, or not for our nonce. */
NODISCARD err xmpp_scram_client_final(xmpp_scram_client *c, slice msg, buf *out);
NODISCARD err xmpp_scram_client_verify(xmpp_scram_client *c, slice msg); /* server-final; ERR_AUTH, ERR_PROTO */

#endif
