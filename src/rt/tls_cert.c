/* tls_cert: a self-signed certificate for a domain that has none, and what OpenSSL says when something fails.
 *
 * The certificate: ECDSA P-256 with SHA-256, the domain as dNSName and as xmppAddr (RFC 6120 section 13.7.1.4), for servers only, a random
 * serial number. The key is PKCS8 without a passphrase.
 *
 * Invariants: (1) neither file is ever readable by others, or half written. (2) The key is renamed into place before the certificate, so
 * that whoever finds a certificate finds a key; of a crash between the two, on renewal, the pair does not match and the loader says so.
 * (3) The queue of OpenSSL's errors (a per-thread variable of that library, which we cannot avoid) is empty when a function returns. */
#include "rt/tls_cert.h"

#include "rt/sys_linux.h"

#include <errno.h>
#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#define SERIAL_BITS   127      /* positive and within RFC 5280's 20 bytes */
#define BACKDATE_SEC  (-3600L) /* clocks of clients may be a little behind */
#define SEC_PER_DAY   (24L * 3600)
#define COMMON_MAX    64                  /* ub-common-name of RFC 5280 */
#define XMPP_ADDR_OID "1.3.6.1.5.5.7.8.5" /* id-on-xmppAddr */

err tls_cert_why(char *why, const char *what) {
    unsigned long code = ERR_get_error();
    err e = ERR_TLS;
    const char *text = code ? ERR_reason_error_string(code) : NULL;
    if (ERR_SYSTEM_ERROR(code)) {
        int no = ERR_GET_REASON(code);
        if (no == ENOENT || no == ENOTDIR || no == EISDIR) e = ERR_NOT_FOUND;
        if (no == EACCES || no == EPERM) e = ERR_PERM;
        text = strerrordesc_np(no);
    }
    if (why) (void)snprintf(why, TLS_ERR_MAX, "%s: %s", what, text ? text : "unknown error");
    ERR_clear_error();
    return e;
}

static bool add_name(GENERAL_NAMES *names, int type, void *value) {
    GENERAL_NAME *n = GENERAL_NAME_new();
    if (!n || !value) {
        GENERAL_NAME_free(n);
        return false;
    }
    GENERAL_NAME_set0_value(n, type, value);
    if (sk_GENERAL_NAME_push(names, n) > 0) return true;
    GENERAL_NAME_free(n);
    return false;
}

static void *dns_name(const char *domain) {
    ASN1_IA5STRING *s = ASN1_IA5STRING_new();
    if (s && !ASN1_STRING_set(s, domain, -1)) {
        ASN1_IA5STRING_free(s);
        s = NULL;
    }
    return s;
}

static void *xmpp_name(const char *domain) {
    OTHERNAME *o = OTHERNAME_new();
    ASN1_UTF8STRING *s = ASN1_UTF8STRING_new();
    ASN1_OBJECT *id = OBJ_txt2obj(XMPP_ADDR_OID, 1);
    if (!o || !s || !id || !ASN1_STRING_set(s, domain, -1)) {
        OTHERNAME_free(o);
        ASN1_UTF8STRING_free(s);
        ASN1_OBJECT_free(id);
        return NULL;
    }
    ASN1_OBJECT_free(o->type_id);
    o->type_id = id;
    ASN1_TYPE_set(o->value, V_ASN1_UTF8STRING, s);
    return o;
}

static bool add_domain(X509 *x, const char *domain) {
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    bool ok = names && add_name(names, GEN_DNS, dns_name(domain)) && add_name(names, GEN_OTHERNAME, xmpp_name(domain)) &&
              X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
    GENERAL_NAMES_free(names);
    return ok;
}

static bool add_extension(X509 *x, int nid, const char *value) {
    X509V3_CTX v;
    X509V3_set_ctx_nodb(&v);
    X509V3_set_ctx(&v, x, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &v, nid, value);
    bool ok = e && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok;
}

static bool set_serial(X509 *x) {
    BIGNUM *b = BN_new();
    bool ok = b && BN_rand(b, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 && BN_to_ASN1_INTEGER(b, X509_get_serialNumber(x));
    BN_free(b);
    return ok;
}

static bool set_names(X509 *x, const char *domain) {
    const char *common = strlen(domain) <= COMMON_MAX ? domain : "murre"; /* the full name is in subjectAltName, which is what counts */
    X509_NAME *name = X509_get_subject_name(x);
    return X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, (const unsigned char *)common, -1, -1, 0) == 1 &&
           X509_set_issuer_name(x, name) == 1;
}

static X509 *make(EVP_PKEY *key, const char *domain, int days) {
    X509 *x = X509_new();
    bool ok = x && X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) && set_names(x, domain) &&
              X509_gmtime_adj(X509_getm_notBefore(x), BACKDATE_SEC) && X509_time_adj_ex(X509_getm_notAfter(x), days, 0, NULL) &&
              X509_set_pubkey(x, key) == 1 && add_extension(x, NID_basic_constraints, "critical,CA:FALSE") &&
              add_extension(x, NID_key_usage, "critical,digitalSignature") && add_extension(x, NID_ext_key_usage, "serverAuth") &&
              add_extension(x, NID_subject_key_identifier, "hash") && add_domain(x, domain) && X509_sign(x, key, EVP_sha256()) > 0;
    if (ok) return x;
    X509_free(x);
    return NULL;
}

static err save(BIO *from, const char *path, char *why) {
    char *p;
    long len = BIO_get_mem_data(from, &p);
    err e = sys_linux_file_replace(path, slice_of(p, len > 0 ? (size_t)len : 0));
    if (e) (void)snprintf(why, TLS_ERR_MAX, "%s: %s", path, err_text(e));
    return e;
}

err tls_cert_make_self_signed(tls *t, const char *domain, int days, const char *cert_path, const char *key_path, char *why) {
    (void)t;
    ERR_clear_error();
    if (!domain[0] || days < 1) {
        (void)snprintf(why, TLS_ERR_MAX, "a certificate needs a domain and at least one day");
        return ERR_INVALID;
    }
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = key ? make(key, domain, days) : NULL;
    BIO *key_pem = BIO_new(BIO_s_secmem()), *cert_pem = BIO_new(BIO_s_mem()); /* secmem: the key is wiped when it is freed */
    err e;
    if (!x || !key_pem || !cert_pem || PEM_write_bio_PKCS8PrivateKey(key_pem, key, NULL, NULL, 0, NULL, NULL) != 1 ||
        PEM_write_bio_X509(cert_pem, x) != 1) {
        e = tls_cert_why(why, domain);
    } else {
        e = save(key_pem, key_path, why);
        if (!e) e = save(cert_pem, cert_path, why);
    }
    BIO_free(key_pem);
    BIO_free(cert_pem);
    X509_free(x);
    EVP_PKEY_free(key);
    return e;
}
