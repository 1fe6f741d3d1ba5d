/* keys: SCRAM verifiers between their three forms: the protocol's (xmpp_scram_keys), the store's (store_keys), and packed bytes. */
#include "base/cursor.h"
#include "svc/part.h"

#define KEYS_VERSION 1u

void svc_keys_to_store(const xmpp_scram_keys *k, store_keys *out) {
    *out = (store_keys){.iterations = k->iterations, .salt_len = k->salt_len, .key_len = (uint8_t)digest_len(k->alg)};
    memcpy(out->salt, k->salt, k->salt_len);
    memcpy(out->stored_key, k->stored_key, out->key_len);
    memcpy(out->server_key, k->server_key, out->key_len);
}

bool svc_keys_of_store(const store_keys *k, digest_alg alg, xmpp_scram_keys *out) {
    if (k->key_len != digest_len(alg) || k->salt_len > sizeof out->salt) return false;
    *out = (xmpp_scram_keys){.alg = alg, .iterations = k->iterations, .salt_len = k->salt_len};
    memcpy(out->salt, k->salt, k->salt_len);
    memcpy(out->stored_key, k->stored_key, k->key_len);
    memcpy(out->server_key, k->server_key, k->key_len);
    return true;
}

static void pack_one(buf *out, const xmpp_scram_keys *k) {
    size_t len = k ? digest_len(k->alg) : 0;
    buf_add_u32le(out, k ? k->iterations : 0);
    buf_add_lslice(out, slice_of(k ? k->salt : NULL, k ? k->salt_len : 0));
    buf_add_lslice(out, slice_of(k ? k->stored_key : NULL, len));
    buf_add_lslice(out, slice_of(k ? k->server_key : NULL, len));
}

void svc_keys_pack(buf *out, const xmpp_scram_keys *sha1, const xmpp_scram_keys *sha256) {
    buf_add_byte(out, KEYS_VERSION);
    pack_one(out, sha1);
    pack_one(out, sha256);
}

static err unpack_one(cursor *c, digest_alg alg, xmpp_scram_keys *out) {
    slice salt, stored, server;
    xmpp_scram_keys k = {.alg = alg};
    if (!cursor_u32le(c, &k.iterations) || !cursor_lslice(c, &salt) || !cursor_lslice(c, &stored) || !cursor_lslice(c, &server))
        return ERR_CORRUPT;
    if (stored.len == 0) return ERR_NOT_FOUND;
    if (salt.len > sizeof k.salt || stored.len != digest_len(alg) || server.len != stored.len) return ERR_CORRUPT;
    if (salt.len) memcpy(k.salt, salt.p, salt.len);
    memcpy(k.stored_key, stored.p, stored.len);
    memcpy(k.server_key, server.p, server.len);
    k.salt_len = (uint8_t)salt.len;
    *out = k;
    mem_wipe(&k, sizeof k);
    return ERR_OK;
}

err svc_keys_unpack(slice packed, digest_alg alg, xmpp_scram_keys *out) {
    cursor c = cursor_of(packed);
    uint8_t version;
    xmpp_scram_keys sha1, sha256;
    if (!cursor_u8(&c, &version)) return ERR_CORRUPT;
    if (version != KEYS_VERSION) return ERR_VERSION;
    err first = unpack_one(&c, DIGEST_SHA1, &sha1);
    err second = first == ERR_CORRUPT ? first : unpack_one(&c, DIGEST_SHA256, &sha256);
    if (second == ERR_CORRUPT || cursor_left(&c) != 0) return ERR_CORRUPT;
    err e = alg == DIGEST_SHA1 ? first : second;
    if (e == ERR_OK) *out = alg == DIGEST_SHA1 ? sha1 : sha256;
    return e;
}
