/* scram: the vectors of RFC 5802 and RFC 7677, both roles against each other, and tables of hostile messages. Where a hostile final message
 * is tested, it carries a proof that fits it: the rule under test refuses it, not the proof. */
#include "base/codec.h"
#include "base/mem.h"
#include "base/prng.h"
#include "proto/xmpp/scram_wire.h"
#include "support/cmocka_unit.h"

#define CNONCE    "fyko+d2lbbFgONRv9qkxdawL"
#define SNONCE    "3rfcNHYJY1ZVvWVs7j"
#define EXPORTER  "0123456789abcdef0123456789abcdef"
#define END_POINT "END POINT END POINT END POINT 32"

static void ignore_report(void *arg, const char *line) {
    (void)arg;
    (void)line;
}

static slice str(const char *s) { return slice_str(s); }

static xmpp_scram_keys pencil(digest_alg alg) {
    static xmpp_scram_keys cached[2];
    xmpp_scram_keys *k = &cached[alg == DIGEST_SHA256];
    if (k->iterations == 0) xmpp_scram_derive(alg, SLICE("pencil"), SLICE("A salt, 16 bytes"), 4096, k);
    return *k;
}

static const xmpp_scram_binding no_binding = {0};
static xmpp_scram_binding both_bindings(bool plus_offered) {
    return (xmpp_scram_binding){.tls_exporter = SLICE(EXPORTER), .tls_server_end_point = SLICE(END_POINT), .plus_offered = plus_offered};
}

/* --- vectors */
typedef struct vector {
    digest_alg alg;
    const char *cnonce, *snonce, *salt, *first, *challenge, *final, *verdict;
} vector;

static const vector vectors[] = {
    {DIGEST_SHA1, CNONCE, SNONCE, "QSXCR+Q6sek8bf92", "n,,n=user,r=" CNONCE, "r=" CNONCE SNONCE ",s=QSXCR+Q6sek8bf92,i=4096",
     "c=biws,r=" CNONCE SNONCE ",p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="},
    {DIGEST_SHA256, "rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "W22ZaJ0SNY7soEsUEjb6gQ==",
     "n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
     "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
     "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
};

static void the_server_gives_the_answers_of_the_rfcs(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        const vector *v = &vectors[i];
        buf salt, out;
        buf_init(&salt, 64);
        buf_init(&out, 1024);
        assert_int_equal(base64_decode(&salt, str(v->salt)), ERR_OK);
        xmpp_scram_keys k;
        xmpp_scram_derive(v->alg, SLICE("pencil"), buf_slice(&salt), 4096, &k);
        xmpp_scram_server *s = xmpp_scram_server_new(v->alg, false, &no_binding, str(v->snonce));
        slice user, authzid;
        assert_int_equal(xmpp_scram_server_first(s, str(v->first), &user, &authzid), SASL_OK);
        assert_true(slice_is(user, "user"));
        assert_null(authzid.p);
        assert_int_equal(xmpp_scram_server_challenge(s, &k, &out), SASL_OK);
        assert_true(slice_is(buf_slice(&out), v->challenge));
        buf_reset(&out);
        assert_int_equal(xmpp_scram_server_final(s, str(v->final), &out), SASL_OK);
        assert_true(slice_is(buf_slice(&out), v->verdict));
        xmpp_scram_server_free(s);
        buf_fini(&salt);
        buf_fini(&out);
    }
}

static void the_client_says_the_words_of_the_rfcs(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        const vector *v = &vectors[i];
        buf out;
        buf_init(&out, 1024);
        xmpp_scram_client *c = xmpp_scram_client_new(v->alg, SLICE("user"), SLICE("pencil"), str(v->cnonce), false, SLICE_NULL, SLICE_NULL);
        xmpp_scram_client_first(c, &out);
        assert_true(slice_is(buf_slice(&out), v->first));
        buf_reset(&out);
        assert_int_equal(xmpp_scram_client_final(c, str(v->challenge), &out), ERR_OK);
        assert_true(slice_is(buf_slice(&out), v->final));
        assert_int_equal(xmpp_scram_client_verify(c, str(v->verdict)), ERR_OK);
        xmpp_scram_client_free(c);
        buf_fini(&out);
    }
}

/* --- both roles */
typedef struct talk {
    digest_alg alg;
    bool plus; /* mechanism */
    bool y_flag;
    const char *cb_name; /* NULL: none */
    const char *cb_data;
    xmpp_scram_binding server;
    const char *user, *password;
} talk;

static xmpp_sasl_error converse(const talk *t, err *out_verify) {
    buf out, reply;
    buf_init(&out, SCRAM_MESSAGE_MAX);
    buf_init(&reply, SCRAM_MESSAGE_MAX);
    slice cb_name = str(t->cb_name), cb_data = str(t->cb_data), user, authzid;
    xmpp_scram_client *c = xmpp_scram_client_new(t->alg, str(t->user), str(t->password), SLICE(CNONCE), t->y_flag, cb_name, cb_data);
    xmpp_scram_server *s = xmpp_scram_server_new(t->alg, t->plus, &t->server, SLICE(SNONCE));
    assert_non_null(c);
    assert_non_null(s);
    xmpp_scram_keys k = pencil(t->alg);
    xmpp_scram_client_first(c, &out);
    xmpp_sasl_error e = xmpp_scram_server_first(s, buf_slice(&out), &user, &authzid);
    if (e == SASL_OK) {
        assert_true(slice_is(user, t->user));
        assert_int_equal(xmpp_scram_server_challenge(s, &k, &reply), SASL_OK);
        buf_reset(&out);
        assert_int_equal(xmpp_scram_client_final(c, buf_slice(&reply), &out), ERR_OK);
        buf_reset(&reply);
        e = xmpp_scram_server_final(s, buf_slice(&out), &reply);
    }
    if (e == SASL_OK)
        *out_verify = xmpp_scram_client_verify(c, buf_slice(&reply));
    else
        assert_int_equal(reply.len, 0); /* nothing is signed for a stranger */
    xmpp_scram_client_free(c);
    xmpp_scram_server_free(s);
    buf_fini(&out);
    buf_fini(&reply);
    return e;
}

static void the_roles_agree_with_each_mechanism_and_binding(void **state) {
    (void)state;
    static const char *const names[][2] = {{"tls-exporter", EXPORTER}, {"tls-server-end-point", END_POINT}};
    for (int alg = DIGEST_SHA1; alg <= DIGEST_SHA256; alg++) {
        err verify = ERR_AUTH;
        talk plain = {.alg = (digest_alg)alg, .user = "user", .password = "pencil"};
        assert_int_equal(converse(&plain, &verify), SASL_OK);
        assert_int_equal(verify, ERR_OK);
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
            talk t = {(digest_alg)alg, true, false, names[i][0], names[i][1], both_bindings(true), "user", "pencil"};
            verify = ERR_AUTH;
            assert_int_equal(converse(&t, &verify), SASL_OK);
            assert_int_equal(verify, ERR_OK);
        }
    }
}

static void names_with_commas_and_equal_signs_survive_the_escape(void **state) {
    (void)state;
    static const char *const users[] = {"a,b", "=", ",", "=2C", "a=3Db,,==", "\xc3\xa9,\xf0\x9f\x90\xa6="};
    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        err verify = ERR_AUTH;
        talk t = {.alg = DIGEST_SHA256, .user = users[i], .password = "pencil"};
        assert_int_equal(converse(&t, &verify), SASL_OK);
        assert_int_equal(verify, ERR_OK);
    }
}

static void a_wrong_password_is_not_authorized(void **state) {
    (void)state;
    err verify = ERR_OK;
    talk t = {.alg = DIGEST_SHA256, .user = "user", .password = "Pencil"};
    assert_int_equal(converse(&t, &verify), SASL_NOT_AUTHORIZED);
}

static void a_proxy_with_another_certificate_or_connection_fails_the_binding(void **state) {
    (void)state;
    err verify = ERR_OK;
    talk t = {DIGEST_SHA256, true, false, "tls-exporter", "0123456789abcdef0123456789abcdeF", both_bindings(true), "user", "pencil"};
    assert_int_equal(converse(&t, &verify), SASL_NOT_AUTHORIZED);
    t.cb_data = END_POINT; /* the data of the other type */
    assert_int_equal(converse(&t, &verify), SASL_NOT_AUTHORIZED);
    t.cb_data = "0123456789abcdef0123456789abcde"; /* cut */
    assert_int_equal(converse(&t, &verify), SASL_NOT_AUTHORIZED);
}

static void a_y_flag_is_refused_exactly_when_plus_was_offered(void **state) {
    (void)state;
    err verify = ERR_AUTH;
    talk t = {.alg = DIGEST_SHA256, .y_flag = true, .server = both_bindings(true), .user = "user", .password = "pencil"};
    assert_int_equal(converse(&t, &verify), SASL_NOT_AUTHORIZED);
    t.server = both_bindings(false);
    assert_int_equal(converse(&t, &verify), SASL_OK);
    assert_int_equal(verify, ERR_OK);
}

/* --- hostile client-first-messages */
typedef struct first_case {
    const char *what, *msg;
    bool plus;      /* the mechanism */
    bool available; /* the connection has bindings, and plus was offered */
    xmpp_sasl_error expect;
} first_case;

#define BAD SASL_MALFORMED_REQUEST
static const first_case firsts[] = {
    {"the reference", "n,,n=user,r=abc", false, false, SASL_OK},
    {"n while plus was offered: a client that cannot bind", "n,,n=user,r=abc", false, true, SASL_OK},
    {"unknown extension after the nonce", "n,,n=user,r=abc,x=1,Q=z", false, false, SASL_OK},
    {"authzid", "n,a=u=2Cv=3D,n=user,r=abc", false, false, SASL_OK},
    {"binding by exporter", "p=tls-exporter,,n=user,r=abc", true, true, SASL_OK},
    {"y while plus was offered", "y,,n=user,r=abc", false, true, SASL_NOT_AUTHORIZED},
    {"y with a plus mechanism", "y,,n=user,r=abc", true, true, SASL_NOT_AUTHORIZED},
    {"y with a plus mechanism that was not offered", "y,,n=user,r=abc", true, false, BAD},
    {"n with a plus mechanism", "n,,n=user,r=abc", true, true, BAD},
    {"p with a mechanism without plus", "p=tls-exporter,,n=user,r=abc", false, true, BAD},
    {"p with a name that we do not support", "p=tls-unique,,n=user,r=abc", true, true, BAD},
    {"p with a name in another case", "p=TLS-exporter,,n=user,r=abc", true, true, BAD},
    {"p with a longer name", "p=tls-exporterx,,n=user,r=abc", true, true, BAD},
    {"p with a name that this connection lacks", "p=tls-exporter,,n=user,r=abc", true, false, BAD},
    {"p without a name", "p=,,n=user,r=abc", true, true, BAD},
    {"p without a value", "p,,n=user,r=abc", true, true, BAD},
    {"nothing", "", false, false, BAD},
    {"only a flag", "n", false, false, BAD},
    {"only a header", "n,,", false, false, BAD},
    {"upper-case flag", "N,,n=user,r=abc", false, false, BAD},
    {"unknown flag", "z,,n=user,r=abc", false, false, BAD},
    {"flag with more letters", "nn,,n=user,r=abc", false, false, BAD},
    {"header of one comma", "n,n=user,r=abc", false, false, BAD},
    {"empty authzid", "n,a=,n=user,r=abc", false, false, BAD},
    {"authzid with a wrong escape", "n,a=x=2D,n=user,r=abc", false, false, BAD},
    {"something else as authzid", "n,b=x,n=user,r=abc", false, false, BAD},
    {"authzid and nothing", "n,a=x", false, false, BAD},
    {"reserved m before the name", "n,,m=x,n=user,r=abc", false, false, BAD},
    {"reserved m after the nonce", "n,,n=user,r=abc,m=x", false, false, BAD},
    {"no name", "n,,r=abc", false, false, BAD},
    {"empty name", "n,,n=,r=abc", false, false, BAD},
    {"name after the nonce", "n,,r=abc,n=user", false, false, BAD},
    {"two names", "n,,n=user,n=user,r=abc", false, false, BAD},
    {"a second name behind", "n,,n=user,r=abc,n=root", false, false, BAD},
    {"lower-case escape", "n,,n=u=2cx,r=abc", false, false, BAD},
    {"escape of another byte", "n,,n=u=41,r=abc", false, false, BAD},
    {"cut escape", "n,,n=u=2,r=abc", false, false, BAD},
    {"bare equal sign", "n,,n=u=,r=abc", false, false, BAD},
    {"no nonce", "n,,n=user", false, false, BAD},
    {"empty nonce", "n,,n=user,r=", false, false, BAD},
    {"nonce with a space", "n,,n=user,r=a c", false, false, BAD},
    {"nonce that is not ASCII", "n,,n=user,r=\xc3\xa9", false, false, BAD},
    {"nonce with DEL", "n,,n=user,r=a\x7f", false, false, BAD},
    {"second nonce", "n,,n=user,r=abc,r=abd", false, false, BAD},
    {"trailing comma", "n,,n=user,r=abc,", false, false, BAD},
    {"extension without a value", "n,,n=user,r=abc,x=", false, false, BAD},
    {"extension without a sign", "n,,n=user,r=abc,x", false, false, BAD},
    {"extension that is no letter", "n,,n=user,r=abc,1=x", false, false, BAD},
    {"extension of two letters", "n,,n=user,r=abc,xy=x", false, false, BAD},
    {"proof in the first message", "n,,n=user,r=abc,p=AAAA", false, false, BAD},
    {"empty attribute", "n,,n=user,,r=abc", false, false, BAD},
    {"broken UTF-8", "n,,n=us\xc3(er,r=abc", false, false, BAD},
    {"overlong UTF-8", "n,,n=us\xc0\xafr,r=abc", false, false, BAD},
    {"surrogate", "n,,n=us\xed\xa0\x80r,r=abc", false, false, BAD},
};

static void every_hostile_first_message_gets_its_error(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(firsts); i++) {
        const first_case *f = &firsts[i];
        xmpp_scram_binding b = f->available ? both_bindings(true) : no_binding;
        xmpp_scram_server *s = xmpp_scram_server_new(DIGEST_SHA256, f->plus, &b, SLICE(SNONCE));
        slice user, authzid;
        xmpp_sasl_error e = xmpp_scram_server_first(s, str(f->msg), &user, &authzid);
        if (e != f->expect) fail_msg("%s: %d instead of %d", f->what, (int)e, (int)f->expect);
        xmpp_scram_server_free(s);
    }
}

static void a_first_message_with_a_nul_or_past_its_limit_is_malformed(void **state) {
    (void)state;
    slice user, authzid;
    xmpp_scram_server *s = xmpp_scram_server_new(DIGEST_SHA256, false, &no_binding, SLICE(SNONCE));
    assert_int_equal(xmpp_scram_server_first(s, SLICE("n,,n=us\0er,r=abc"), &user, &authzid), BAD);
    xmpp_scram_server_free(s);
    for (size_t extra = 0; extra < 2; extra++) {
        buf big;
        buf_init(&big, SCRAM_MESSAGE_MAX + 1);
        buf_add_str(&big, "n,,n=user,r=abc,x=");
        while (big.len < SCRAM_MESSAGE_MAX + extra) buf_add_byte(&big, 'x');
        s = xmpp_scram_server_new(DIGEST_SHA256, false, &no_binding, SLICE(SNONCE));
        assert_int_equal(xmpp_scram_server_first(s, buf_slice(&big), &user, &authzid), extra ? BAD : SASL_OK);
        xmpp_scram_server_free(s);
        buf_fini(&big);
    }
    for (size_t extra = 0; extra < 2; extra++) {
        buf nonce;
        buf_init(&nonce, 1024);
        buf_add_str(&nonce, "n,,n=user,r=");
        for (size_t i = 0; i < SCRAM_NONCE_MAX + extra; i++) buf_add_byte(&nonce, 'r');
        s = xmpp_scram_server_new(DIGEST_SHA256, false, &no_binding, SLICE(SNONCE));
        assert_int_equal(xmpp_scram_server_first(s, buf_slice(&nonce), &user, &authzid), extra ? BAD : SASL_OK);
        xmpp_scram_server_free(s);
        buf_fini(&nonce);
    }
}

/* --- hostile client-final-messages, each with a proof that fits what it says */
#define FIRST_BARE "n=user,r=" CNONCE
#define ALL        CNONCE SNONCE

/* Starts an exchange and answers with without_proof + ",p=" + proof made with the account's real ClientKey + tail. */
static xmpp_sasl_error answer(const char *header, const char *without_proof, const char *tail, uint32_t iterations) {
    xmpp_scram_keys k = pencil(DIGEST_SHA256);
    uint8_t salted[32], client_key[32], stored[32], server[32], proof[32];
    digest_pbkdf2(DIGEST_SHA256, SLICE("pencil"), slice_of(k.salt, k.salt_len), 4096, salted);
    xmpp_scram_keys_of(DIGEST_SHA256, salted, client_key, stored, server);
    k.iterations = iterations;
    xmpp_scram_binding b = both_bindings(true);
    xmpp_scram_server *s = xmpp_scram_server_new(DIGEST_SHA256, header[0] == 'p', &b, SLICE(SNONCE));
    buf first, auth, msg, out;
    buf_init(&first, 1024);
    buf_init(&auth, 4 * SCRAM_MESSAGE_MAX);
    buf_init(&msg, 4 * SCRAM_MESSAGE_MAX);
    buf_init(&out, 1024);
    buf_addf(&first, "%s%s", header, FIRST_BARE);
    slice user, authzid;
    assert_int_equal(xmpp_scram_server_first(s, buf_slice(&first), &user, &authzid), SASL_OK);
    buf_add_str(&auth, FIRST_BARE ",");
    assert_int_equal(xmpp_scram_server_challenge(s, &k, &out), SASL_OK);
    buf_add(&auth, buf_slice(&out));
    buf_addf(&auth, ",%s", without_proof);
    digest_hmac(DIGEST_SHA256, slice_of(stored, 32), buf_slice(&auth), proof);
    xmpp_scram_xor(DIGEST_SHA256, proof, client_key);
    buf_addf(&msg, "%s,p=", without_proof);
    base64_encode(&msg, slice_of(proof, 32));
    buf_add_str(&msg, tail);
    buf_reset(&out);
    xmpp_sasl_error e = xmpp_scram_server_final(s, buf_slice(&msg), &out);
    assert_int_equal(out.len > 0, e == SASL_OK);
    xmpp_scram_server_free(s);
    buf_fini(&first);
    buf_fini(&auth);
    buf_fini(&msg);
    buf_fini(&out);
    return e;
}

typedef struct final_case {
    const char *what, *header, *without_proof, *tail;
    xmpp_sasl_error expect;
} final_case;

#define NO SASL_NOT_AUTHORIZED
static const final_case finals[] = {
    {"the reference", "n,,", "c=biws,r=" ALL, "", SASL_OK},
    {"unknown extension", "n,,", "c=biws,r=" ALL ",x=y", "", SASL_OK},
    {"authzid in the header", "n,a=root,", "c=bixhPXJvb3Qs,r=" ALL, "", SASL_OK},
    {"another authzid in c", "n,a=root,", "c=biws,r=" ALL, "", NO},
    {"y in c where n was said", "n,,", "c=eSws,r=" ALL, "", NO},
    {"p in c where n was said", "n,,", "c=cD10bHMtZXhwb3J0ZXIsLA==,r=" ALL, "", NO},
    {"binding announced, its data left out", "p=tls-exporter,,", "c=cD10bHMtZXhwb3J0ZXIsLA==,r=" ALL, "", NO},
    {"binding announced, n in c", "p=tls-exporter,,", "c=biws,r=" ALL, "", NO},
    {"data behind the header of n", "n,,", "c=biwsQUFB,r=" ALL, "", NO},
    {"c that is not base64", "n,,", "c=biw!,r=" ALL, "", NO},
    {"c cut", "n,,", "c=biw,r=" ALL, "", NO},
    {"c with padding too much", "n,,", "c=biws=,r=" ALL, "", NO},
    {"c empty", "n,,", "c=,r=" ALL, "", BAD},
    {"c missing", "n,,", "r=" ALL, "", BAD},
    {"c after r", "n,,", "r=" ALL ",c=biws", "", BAD},
    {"only the client's nonce", "n,,", "c=biws,r=" CNONCE, "", NO},
    {"only the server's nonce", "n,,", "c=biws,r=" SNONCE, "", NO},
    {"a nonce of another exchange", "n,,", "c=biws,r=" CNONCE "3rfcNHYJY1ZVvWVs7k", "", NO},
    {"a longer nonce", "n,,", "c=biws,r=" ALL "x", "", NO},
    {"nonce empty", "n,,", "c=biws,r=", "", BAD},
    {"reserved m", "n,,", "c=biws,r=" ALL ",m=x", "", BAD},
    {"reserved m first", "n,,", "m=x,c=biws,r=" ALL, "", BAD},
    {"a second c", "n,,", "c=biws,r=" ALL ",c=biws", "", BAD},
    {"something after the proof", "n,,", "c=biws,r=" ALL, ",x=y", BAD},
    {"a second proof", "n,,", "c=biws,r=" ALL, ",p=AAAA", BAD},
    {"trailing comma", "n,,", "c=biws,r=" ALL, ",", BAD},
    {"proof with more", "n,,", "c=biws,r=" ALL, "AAAA", BAD},
    {"nothing before the proof", "n,,", "", "", BAD},
};

static void every_hostile_final_message_is_refused_although_its_proof_fits(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(finals); i++) {
        const final_case *f = &finals[i];
        xmpp_sasl_error e = answer(f->header, f->without_proof, f->tail, 4096);
        if (e != f->expect) fail_msg("%s: %d instead of %d", f->what, (int)e, (int)f->expect);
    }
}

/* A PBKDF2 of 2^32 - 1 iterations would take a quarter of an hour. */
static void a_login_costs_the_server_no_iterations(void **state) {
    (void)state;
    assert_int_equal(answer("n,,", "c=biws,r=" ALL, "", UINT32_MAX), SASL_OK);
}

static void a_damaged_or_cut_proof_never_fits(void **state) {
    (void)state;
    const vector *v = &vectors[1];
    size_t len = strlen(v->final);
    size_t proof_at = (size_t)(strstr(v->final, ",p=") + 3 - v->final);
    buf salt, out;
    buf_init(&salt, 64);
    buf_init(&out, 1024);
    assert_int_equal(base64_decode(&salt, str(v->salt)), ERR_OK);
    xmpp_scram_keys k;
    xmpp_scram_derive(v->alg, SLICE("pencil"), buf_slice(&salt), 4096, &k);
    for (size_t at = 0; at < 2 * len; at++) { /* first every cut, then every byte changed */
        char msg[256];
        memcpy(msg, v->final, len + 1);
        size_t msg_len = at < len ? at : len;
        if (at >= len) msg[at - len] = msg[at - len] == 'A' ? 'B' : 'A';
        slice user, authzid;
        xmpp_scram_server *s = xmpp_scram_server_new(v->alg, false, &no_binding, str(v->snonce));
        assert_int_equal(xmpp_scram_server_first(s, str(v->first), &user, &authzid), SASL_OK);
        buf_reset(&out);
        assert_int_equal(xmpp_scram_server_challenge(s, &k, &out), SASL_OK);
        buf_reset(&out);
        xmpp_sasl_error e = xmpp_scram_server_final(s, slice_of(msg, msg_len), &out);
        assert_true(e == SASL_NOT_AUTHORIZED || e == SASL_MALFORMED_REQUEST);
        if (at > len + proof_at && msg[len - 1] == '=' && at < 2 * len - 2) assert_int_equal(e, SASL_NOT_AUTHORIZED);
        assert_int_equal(out.len, 0);
        xmpp_scram_server_free(s);
    }
    buf_fini(&salt);
    buf_fini(&out);
}

/* Each is base64 of a whole digest, so that only the comparison stands between it and the account. */
static void of_thousands_of_well_formed_proofs_none_fits(void **state) {
    (void)state;
    const vector *v = &vectors[1];
    prng r;
    buf salt, msg, out;
    prng_init(&r, 1);
    buf_init(&salt, 64);
    buf_init(&msg, 1024);
    buf_init(&out, 1024);
    assert_int_equal(base64_decode(&salt, str(v->salt)), ERR_OK);
    xmpp_scram_keys k;
    xmpp_scram_derive(v->alg, SLICE("pencil"), buf_slice(&salt), 4096, &k);
    size_t len = (size_t)(strstr(v->final, ",p=") + 3 - v->final);
    for (unsigned i = 0; i < 5000; i++) {
        uint64_t proof[4] = {prng_next(&r), prng_next(&r), prng_next(&r), prng_next(&r)};
        slice user, authzid;
        xmpp_scram_server *s = xmpp_scram_server_new(v->alg, false, &no_binding, str(v->snonce));
        assert_int_equal(xmpp_scram_server_first(s, str(v->first), &user, &authzid), SASL_OK);
        buf_reset(&out), buf_reset(&msg);
        assert_int_equal(xmpp_scram_server_challenge(s, &k, &out), SASL_OK);
        buf_add(&msg, slice_of(v->final, len));
        base64_encode(&msg, slice_of(proof, digest_len(v->alg)));
        assert_int_equal(xmpp_scram_server_final(s, buf_slice(&msg), &out), SASL_NOT_AUTHORIZED);
        xmpp_scram_server_free(s);
    }
    buf_fini(&salt), buf_fini(&msg), buf_fini(&out);
}

static void an_exchange_is_over_after_its_first_error_and_its_nonce_with_it(void **state) {
    (void)state;
    slice user, authzid;
    buf out;
    buf_init(&out, 1024);
    xmpp_scram_keys k = pencil(DIGEST_SHA256);
    xmpp_scram_server *s = xmpp_scram_server_new(DIGEST_SHA256, false, &no_binding, SLICE(SNONCE));
    err_set_reporter(ignore_report, NULL);
    assert_int_equal(xmpp_scram_server_final(s, SLICE("c=biws,r=x,p=AAAA"), &out), SASL_TEMPORARY_AUTH_FAILURE); /* before first */
    assert_int_equal(xmpp_scram_server_first(s, SLICE("n,,n=user,r=abc"), &user, &authzid), SASL_TEMPORARY_AUTH_FAILURE);
    xmpp_scram_server_free(s);
    s = xmpp_scram_server_new(DIGEST_SHA256, false, &no_binding, SLICE(SNONCE));
    assert_int_equal(xmpp_scram_server_first(s, SLICE("n,,n=user,r=abc"), &user, &authzid), SASL_OK);
    assert_int_equal(xmpp_scram_server_challenge(s, &k, &out), SASL_OK);
    assert_int_equal(xmpp_scram_server_final(s, SLICE("nonsense"), &out), SASL_MALFORMED_REQUEST);
    assert_int_equal(xmpp_scram_server_final(s, SLICE("nonsense"), &out), SASL_TEMPORARY_AUTH_FAILURE); /* no second guess */
    assert_int_equal(xmpp_scram_server_first(s, SLICE("n,,n=user,r=abc"), &user, &authzid), SASL_TEMPORARY_AUTH_FAILURE);
    xmpp_scram_server_free(s);
    assert_null(xmpp_scram_server_new(DIGEST_SHA256, false, &no_binding, SLICE("with,comma")));
    assert_null(xmpp_scram_server_new(DIGEST_SHA256, false, &no_binding, SLICE("")));
    err_set_reporter(NULL, NULL);
    buf_fini(&out);
}

/* --- hostile servers */
typedef struct server_case {
    const char *what, *msg;
    err expect;
} server_case;

#define SALT ",s=QSXCR+Q6sek8bf92"
static const server_case servers[] = {
    {"the reference", "r=" ALL SALT ",i=4096", ERR_OK},
    {"unknown extension", "r=" ALL SALT ",i=4096,d=xyz", ERR_OK},
    {"2^31 iterations", "r=" ALL SALT ",i=2147483648", ERR_LIMIT},
    {"one more than the limit", "r=" ALL SALT ",i=100001", ERR_LIMIT},
    {"2^32 + 4096: narrowing would make it fine", "r=" ALL SALT ",i=4294971392", ERR_LIMIT},
    {"2^64 + 4096", "r=" ALL SALT ",i=18446744073709555712", ERR_LIMIT},
    {"forty digits", "r=" ALL SALT ",i=9999999999999999999999999999999999999999", ERR_LIMIT},
    {"too few iterations", "r=" ALL SALT ",i=4095", ERR_REFUSED},
    {"one iteration", "r=" ALL SALT ",i=1", ERR_REFUSED},
    {"no iterations", "r=" ALL SALT ",i=0", ERR_PROTO},
    {"negative iterations", "r=" ALL SALT ",i=-4096", ERR_PROTO},
    {"signed iterations", "r=" ALL SALT ",i=+4096", ERR_PROTO},
    {"iterations with a space", "r=" ALL SALT ",i= 4096", ERR_PROTO},
    {"iterations in hex", "r=" ALL SALT ",i=0x1000", ERR_PROTO},
    {"leading zero", "r=" ALL SALT ",i=04096", ERR_PROTO},
    {"iterations with an exponent", "r=" ALL SALT ",i=1e4", ERR_PROTO},
    {"empty iterations", "r=" ALL SALT ",i=", ERR_PROTO},
    {"only our nonce", "r=" CNONCE SALT ",i=4096", ERR_PROTO},
    {"not our nonce", "r=X" ALL SALT ",i=4096", ERR_PROTO},
    {"our nonce cut", "r=fyko+d2lbbFgONRv9qkxdaw" SALT ",i=4096", ERR_PROTO},
    {"nonce with a space", "r=" ALL " x" SALT ",i=4096", ERR_PROTO},
    {"reserved m", "m=x,r=" ALL SALT ",i=4096", ERR_PROTO},
    {"reserved m behind", "r=" ALL SALT ",i=4096,m=x", ERR_PROTO},
    {"no salt", "r=" ALL ",i=4096", ERR_PROTO},
    {"empty salt", "r=" ALL ",s=,i=4096", ERR_PROTO},
    {"salt cut", "r=" ALL ",s=QSXCR+Q6sek8bf9,i=4096", ERR_PROTO},
    {"salt that is not base64", "r=" ALL ",s=QSXCR-Q6sek8bf92,i=4096", ERR_PROTO},
    {"salt of 66 bytes", "r=" ALL ",s=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA,i=4096",
     ERR_PROTO},
    {"wrong order", "s=QSXCR+Q6sek8bf92,r=" ALL ",i=4096", ERR_PROTO},
    {"trailing comma", "r=" ALL SALT ",i=4096,", ERR_PROTO},
    {"nothing", "", ERR_PROTO},
    {"an error", "e=unknown-user", ERR_PROTO},
};

static void every_hostile_challenge_is_refused_before_anything_is_computed(void **state) {
    (void)state;
    buf out;
    buf_init(&out, 1024);
    for (size_t i = 0; i < ARRAY_LEN(servers); i++) {
        xmpp_scram_client *c =
            xmpp_scram_client_new(DIGEST_SHA1, SLICE("user"), SLICE("pencil"), SLICE(CNONCE), false, SLICE_NULL, SLICE_NULL);
        xmpp_scram_client_first(c, &out);
        buf_reset(&out);
        err e = xmpp_scram_client_final(c, str(servers[i].msg), &out);
        if (e != servers[i].expect) fail_msg("%s: %s instead of %s", servers[i].what, err_name(e), err_name(servers[i].expect));
        assert_int_equal(out.len > 0, e == ERR_OK);
        buf_reset(&out);
        xmpp_scram_client_free(c);
    }
    buf_fini(&out);
}

static void only_the_right_signature_proves_the_server(void **state) {
    (void)state;
    static const server_case cases[] = {
        {"the reference", "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=", ERR_OK},
        {"with an extension", "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=,x=y", ERR_OK},
        {"one bit", "v=rmF9pqV8S7suAoZWja4dJRkFsKU=", ERR_AUTH},
        {"another length", "v=rmF9", ERR_AUTH},
        {"too long", "v=rmF9pqV8S7suAoZWja4dJRkFsKQArmF9", ERR_AUTH},
        {"longer than a digest", "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", ERR_PROTO},
        {"not base64", "v=!!!!", ERR_PROTO},
        {"empty", "v=", ERR_PROTO},
        {"nothing", "", ERR_PROTO},
        {"an error", "e=invalid-proof", ERR_AUTH},
        {"reserved m", "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=,m=x", ERR_PROTO},
        {"trailing comma", "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=,", ERR_PROTO},
    };
    buf out;
    buf_init(&out, 1024);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        xmpp_scram_client *c =
            xmpp_scram_client_new(DIGEST_SHA1, SLICE("user"), SLICE("pencil"), SLICE(CNONCE), false, SLICE_NULL, SLICE_NULL);
        xmpp_scram_client_first(c, &out);
        buf_reset(&out);
        assert_int_equal(xmpp_scram_client_final(c, str(vectors[0].challenge), &out), ERR_OK);
        err e = xmpp_scram_client_verify(c, str(cases[i].msg));
        if (e != cases[i].expect) fail_msg("%s: %s instead of %s", cases[i].what, err_name(e), err_name(cases[i].expect));
        buf_reset(&out);
        xmpp_scram_client_free(c);
    }
    buf_fini(&out);
}

/* --- keys */
static void keys_fit_their_password_only(void **state) {
    (void)state;
    xmpp_scram_keys k = pencil(DIGEST_SHA256);
    assert_true(xmpp_scram_verify_password(&k, SLICE("pencil")));
    assert_false(xmpp_scram_verify_password(&k, SLICE("pencil ")));
    assert_false(xmpp_scram_verify_password(&k, SLICE("penci")));
    assert_false(xmpp_scram_verify_password(&k, SLICE("")));
}

static void fake_keys_look_like_keys_and_stay_the_same(void **state) {
    (void)state;
    xmpp_scram_keys a, again, other_user, other_secret, other_alg;
    xmpp_scram_fake(DIGEST_SHA256, SLICE("secret"), SLICE("ann@example"), 10000, &a);
    xmpp_scram_fake(DIGEST_SHA256, SLICE("secret"), SLICE("ann@example"), 10000, &again);
    xmpp_scram_fake(DIGEST_SHA256, SLICE("secret"), SLICE("bob@example"), 10000, &other_user);
    xmpp_scram_fake(DIGEST_SHA256, SLICE("Secret"), SLICE("ann@example"), 10000, &other_secret);
    xmpp_scram_fake(DIGEST_SHA1, SLICE("secret"), SLICE("ann@example"), 10000, &other_alg);
    assert_int_equal(a.salt_len, SCRAM_SALT_LEN);
    assert_int_equal(a.iterations, 10000);
    assert_memory_equal(&a, &again, sizeof a);
    assert_memory_not_equal(a.salt, other_user.salt, SCRAM_SALT_LEN);
    assert_memory_not_equal(a.salt, other_secret.salt, SCRAM_SALT_LEN);
    assert_memory_not_equal(a.salt, other_alg.salt, SCRAM_SALT_LEN);
    assert_memory_not_equal(a.stored_key, a.server_key, 32);
    assert_memory_not_equal(a.stored_key, a.salt, SCRAM_SALT_LEN);
    xmpp_scram_keys b = a;
    b.iterations = 4096;
    assert_false(xmpp_scram_verify_password(&b, SLICE("")));
}

/* --- XEP-0474: what was offered, under the proof */
static const char *const offered_mechs[] = {"SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", NULL};
static const char *const offered_bindings[] = {"tls-server-end-point", "tls-exporter", NULL};

static void an_offer_is_sorted_by_bytes_and_joined_as_xep_0474_says(void **state) {
    (void)state;
    static const char *const more[] = {"b", "a-", "a", "B", "aa", NULL}, *const none[] = {NULL};
    buf out;
    buf_init(&out, SCRAM_OFFER_MAX);
    xmpp_scram_offer(offered_mechs, offered_bindings, &out);
    assert_true(slice_is(buf_slice(&out), "SCRAM-SHA-1\x1eSCRAM-SHA-1-PLUS\x1ftls-exporter\x1etls-server-end-point"));
    buf_reset(&out);
    xmpp_scram_offer(more, NULL, &out); /* XEP-0440 not sent: no list, and no delimiter before it */
    assert_true(slice_is(buf_slice(&out), "B\x1e"
                                          "a\x1e"
                                          "a-\x1e"
                                          "aa\x1e"
                                          "b"));
    buf_reset(&out);
    xmpp_scram_offer(none, none, &out);
    assert_true(slice_is(buf_slice(&out), "\x1f"));
    buf_fini(&out);
}

static void a_challenge_has_the_hash_of_xep_0474_and_the_proof_covers_it(void **state) {
    (void)state;
    for (int damage = 0; damage < 3; damage++) {
        buf offer, out, reply;
        buf_init(&offer, SCRAM_OFFER_MAX);
        buf_init(&out, SCRAM_MESSAGE_MAX);
        buf_init(&reply, SCRAM_MESSAGE_MAX);
        xmpp_scram_offer(offered_mechs, offered_bindings, &offer);
        xmpp_scram_binding b = {.offer = buf_slice(&offer)};
        xmpp_scram_server *s = xmpp_scram_server_new(DIGEST_SHA1, false, &b, SLICE(SNONCE));
        xmpp_scram_client *c =
            xmpp_scram_client_new(DIGEST_SHA1, SLICE("user"), SLICE("pencil"), SLICE(CNONCE), false, SLICE_NULL, SLICE_NULL);
        slice user, authzid;
        xmpp_scram_client_first(c, &out);
        assert_int_equal(xmpp_scram_server_first(s, buf_slice(&out), &user, &authzid), SASL_OK);
        xmpp_scram_keys k = pencil(DIGEST_SHA1);
        assert_int_equal(xmpp_scram_server_challenge(s, &k, &reply), SASL_OK);
        slice said = buf_slice(&reply), want = SLICE(",i=4096,h=G6k/rBLDqgOhRRaCuuatSDFkJ08="); /* the example of the XEP */
        assert_true(slice_eq(slice_from(said, said.len - want.len), want));
        if (damage == 1) memcpy(reply.p + reply.len - 28, "AAAA", 4); /* another hash: that of the list that the client saw */
        if (damage == 2) reply.len -= 31;                             /* none */
        buf_reset(&out);
        assert_int_equal(xmpp_scram_client_final(c, buf_slice(&reply), &out), ERR_OK);
        buf_reset(&reply);
        assert_int_equal(xmpp_scram_server_final(s, buf_slice(&out), &reply), damage ? SASL_NOT_AUTHORIZED : SASL_OK);
        xmpp_scram_server_free(s);
        xmpp_scram_client_free(c);
        buf_fini(&offer);
        buf_fini(&out);
        buf_fini(&reply);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_server_gives_the_answers_of_the_rfcs),
        cmocka_unit_test(the_client_says_the_words_of_the_rfcs),
        cmocka_unit_test(the_roles_agree_with_each_mechanism_and_binding),
        cmocka_unit_test(names_with_commas_and_equal_signs_survive_the_escape),
        cmocka_unit_test(a_wrong_password_is_not_authorized),
        cmocka_unit_test(a_proxy_with_another_certificate_or_connection_fails_the_binding),
        cmocka_unit_test(a_y_flag_is_refused_exactly_when_plus_was_offered),
        cmocka_unit_test(every_hostile_first_message_gets_its_error),
        cmocka_unit_test(a_first_message_with_a_nul_or_past_its_limit_is_malformed),
        cmocka_unit_test(every_hostile_final_message_is_refused_although_its_proof_fits),
        cmocka_unit_test(a_login_costs_the_server_no_iterations),
        cmocka_unit_test(a_damaged_or_cut_proof_never_fits),
        cmocka_unit_test(of_thousands_of_well_formed_proofs_none_fits),
        cmocka_unit_test(an_exchange_is_over_after_its_first_error_and_its_nonce_with_it),
        cmocka_unit_test(every_hostile_challenge_is_refused_before_anything_is_computed),
        cmocka_unit_test(only_the_right_signature_proves_the_server),
        cmocka_unit_test(keys_fit_their_password_only),
        cmocka_unit_test(fake_keys_look_like_keys_and_stay_the_same),
        cmocka_unit_test(an_offer_is_sorted_by_bytes_and_joined_as_xep_0474_says),
        cmocka_unit_test(a_challenge_has_the_hash_of_xep_0474_and_the_proof_covers_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
