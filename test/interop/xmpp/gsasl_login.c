/* gsasl_login: logs in to an XMPP server with OpenSSL and libgsasl, so that both ends of SCRAM-*-PLUS are not our own reading of the RFCs.
 *
 *     gsasl-login PORT starttls|direct 1.2|1.3 DOMAIN USER PASSWORD MECHANISM [wrong]
 *
 * The channel binding is tls-exporter (RFC 9266) of the connection, without a context, as GnuTLS takes it for TLS 1.2 (1.3 knows no
 * difference); with "wrong" one bit of it is turned. Exit status 0: logged in, and the
 * server's signature was right; 1: the server refused, or its signature was wrong; 2: anything else. It verifies no certificate: the
 * binding is what must notice somebody in the middle. */
#include <arpa/inet.h>
#include <gsasl.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define TEXT_MAX     65536
#define LIMIT_SEC    30
#define EXPORTER     "EXPORTER-Channel-Binding"
#define EXPORTER_LEN 32

typedef struct peer {
    int fd;
    SSL *ssl; /* NULL: in clear */
    const char *user, *password;
    char binding[2 * EXPORTER_LEN]; /* base64 */
    char text[TEXT_MAX];            /* what came last, up to what was waited for */
} peer;

static int die(const char *what) {
    (void)fprintf(stderr, "gsasl-login: %s\n", what);
    exit(2);
}

static void put(peer *p, const char *s) {
    int n = (int)strlen(s);
    if ((p->ssl ? SSL_write(p->ssl, s, n) : (int)write(p->fd, s, (size_t)n)) != n) die("the connection is gone");
}

/* Byte by byte, so that nothing is read past what is waited for: what follows may be for TLS. */
static const char *get(peer *p, const char *const *ends) {
    for (size_t n = 0; n + 1 < TEXT_MAX;) {
        if ((p->ssl ? SSL_read(p->ssl, p->text + n, 1) : (int)read(p->fd, p->text + n, 1)) != 1) return NULL;
        p->text[++n] = 0;
        for (size_t i = 0; ends[i]; i++) {
            size_t len = strlen(ends[i]);
            if (n >= len && strcmp(p->text + n - len, ends[i]) == 0) return ends[i];
        }
    }
    return die("too much came"), NULL;
}

static void open_stream(peer *p, const char *domain) {
    char head[1024];
    (void)snprintf(head, sizeof head,
                   "<?xml version='1.0'?><stream:stream to='%s' version='1.0' xmlns='jabber:client' "
                   "xmlns:stream='http://etherx.jabber.org/streams'>",
                   domain);
    put(p, head);
    if (!get(p, (const char *const[]){"</stream:features>", NULL})) die("no features");
}

static int connect_to(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = LIMIT_SEC};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) || connect(fd, (const struct sockaddr *)&a, sizeof a))
        die("no connection");
    return fd;
}

static void start_tls(peer *p, const char *version, char *domain, bool wrong) {
    int v = strcmp(version, "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
    unsigned char key[EXPORTER_LEN];
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (!ctx || SSL_CTX_set_min_proto_version(ctx, v) != 1 || SSL_CTX_set_max_proto_version(ctx, v) != 1) die("no TLS");
    p->ssl = SSL_new(ctx);
    if (!p->ssl || SSL_set_tlsext_host_name(p->ssl, domain) != 1 || SSL_set_fd(p->ssl, p->fd) != 1 || SSL_connect(p->ssl) != 1)
        die("no TLS connection");
    if (SSL_export_keying_material(p->ssl, key, sizeof key, EXPORTER, strlen(EXPORTER), NULL, 0, 0) != 1) die("no exporter");
    if (v == TLS1_2_VERSION && SSL_get_extms_support(p->ssl) != 1) die("TLS 1.2 without extended master secret"); /* RFC 9266 section 4.2 */
    if (wrong) key[5] ^= 1;
    (void)EVP_EncodeBlock((unsigned char *)p->binding, key, sizeof key);
    SSL_CTX_free(ctx);
}

static int give(Gsasl *ctx, Gsasl_session *s, Gsasl_property prop) {
    const peer *p = gsasl_callback_hook_get(ctx);
    if (prop == GSASL_AUTHID) return gsasl_property_set(s, prop, p->user);
    if (prop == GSASL_PASSWORD) return gsasl_property_set(s, prop, p->password);
    if (prop == GSASL_CB_TLS_EXPORTER) return gsasl_property_set(s, prop, p->binding);
    return GSASL_NO_CALLBACK;
}

/* The text of the element that has just been read whole. */
static char *content(peer *p) {
    char *from = strrchr(p->text, '<');
    if (!from) return p->text + strlen(p->text);
    *from = 0;
    return strrchr(p->text, '>') ? strrchr(p->text, '>') + 1 : p->text;
}

static bool log_in(peer *p, const char *mechanism) {
    Gsasl *ctx = NULL;
    Gsasl_session *s = NULL;
    char *out = NULL, line[TEXT_MAX];
    if (gsasl_init(&ctx) != GSASL_OK) die("no libgsasl");
    gsasl_callback_hook_set(ctx, p);
    gsasl_callback_set(ctx, give);
    if (gsasl_client_start(ctx, mechanism, &s) != GSASL_OK) die("libgsasl has no such mechanism");
    int rc = gsasl_step64(s, "", &out);
    if (rc != GSASL_NEEDS_MORE) die(gsasl_strerror(rc));
    (void)snprintf(line, sizeof line, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='%s'>%s</auth>", mechanism, out);
    bool done = false, ok = false;
    while (!done) {
        gsasl_free(out);
        out = NULL;
        put(p, line);
        const char *end = get(p, (const char *const[]){"</challenge>", "</success>", "</failure>",
                                                       "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", NULL});
        if (!end) die("closed in the middle");
        if (strcmp(end, "</failure>") == 0) break;
        done = strcmp(end, "</challenge>") != 0;
        rc = gsasl_step64(s, content(p), &out);
        ok = rc == GSASL_OK;
        if (!ok && rc != GSASL_NEEDS_MORE) {
            (void)fprintf(stderr, "gsasl-login: %s\n", gsasl_strerror(rc));
            break;
        }
        (void)snprintf(line, sizeof line, "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>%s</response>", out ? out : "");
    }
    gsasl_free(out);
    gsasl_finish(s);
    gsasl_done(ctx);
    return done && ok;
}

int main(int argc, char **argv) {
    if (argc < 8) return die("usage: gsasl-login PORT starttls|direct 1.2|1.3 DOMAIN USER PASSWORD MECHANISM [wrong]");
    char *domain = argv[4];
    peer *p = calloc(1, sizeof *p);
    if (!p) return die("no memory");
    p->user = argv[5];
    p->password = argv[6];
    p->fd = connect_to((int)strtol(argv[1], NULL, 10));
    if (strcmp(argv[2], "starttls") == 0) {
        open_stream(p, domain);
        put(p, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        if (!get(p, (const char *const[]){"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", NULL})) die("no proceed");
    }
    start_tls(p, argv[3], domain, argc > 8);
    open_stream(p, domain);
    bool offered = strstr(p->text, argv[7]) != NULL && strstr(p->text, "tls-exporter") != NULL;
    bool ok = log_in(p, argv[7]);
    if (ok) open_stream(p, domain); /* and it is a session: bind is offered */
    ok = ok && strstr(p->text, "urn:ietf:params:xml:ns:xmpp-bind");
    (void)printf("%s %s %s %s\n", SSL_get_version(p->ssl), argv[7], offered ? "offered" : "not offered", ok ? "in" : "refused");
    SSL_free(p->ssl);
    (void)close(p->fd);
    free(p);
    return ok ? 0 : 1;
}
