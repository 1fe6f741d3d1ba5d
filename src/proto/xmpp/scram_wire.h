#ifndef PROTO_XMPP_SCRAM_WIRE_H
#define PROTO_XMPP_SCRAM_WIRE_H
/* scram_wire: what both roles of SCRAM share: the grammar of RFC 5802 section 7 and the key arithmetic of section 3. Private to
 * scram_*.c and its tests. */
#include "proto/xmpp/scram.h"

/* A SCRAM message is attributes, "x=value", between commas. A value holds no comma; more says that another attribute must follow, so that
 * a trailing comma and an empty message are both errors. */
typedef struct scram_attrs {
    slice rest; /* not read yet */
    bool more;  /* rest starts with an attribute */
} scram_attrs;

/* Starts on msg; false if it is longer than SCRAM_MESSAGE_MAX, holds a NUL or is not UTF-8. */
NODISCARD bool xmpp_scram_open(slice msg, scram_attrs *out);
/* Takes the next attribute, which must be the given one, with a value of at least one byte. */
NODISCARD bool xmpp_scram_take(scram_attrs *a, char name, slice *out_value);
/* Is the next attribute this one? */
bool xmpp_scram_next_is(const scram_attrs *a, char name);
/* Skips one extension: any letter that RFC 5802 does not define; m= and defined attributes out of their place are refused. */
NODISCARD bool xmpp_scram_skip_extension(scram_attrs *a);
/* Everything up to here, without the comma before the attribute that comes next. start: what was given to xmpp_scram_open. */
slice xmpp_scram_before(const scram_attrs *a, slice start);

/* 1..max bytes of printable ASCII without comma. */
bool xmpp_scram_nonce_ok(slice nonce, size_t max);
/* saslname to text (=2C and =3D only, upper case); false if it is not one. */
NODISCARD bool xmpp_scram_unescape(slice name, buf *out);
void xmpp_scram_escape(buf *out, slice text);

/* ClientKey, StoredKey, ServerKey of SaltedPassword. client_key may be NULL. Each has digest_len(alg) bytes. */
void xmpp_scram_keys_of(digest_alg alg, const uint8_t *salted, uint8_t *client_key, uint8_t *stored_key, uint8_t *server_key);
/* a ^= b over digest_len(alg) bytes. */
void xmpp_scram_xor(digest_alg alg, uint8_t *a, const uint8_t *b);
/* Wipes what a buf held, then frees it. */
void xmpp_scram_buf_wipe(buf *b);

#endif
