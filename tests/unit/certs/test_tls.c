// SPDX-License-Identifier: GPL-3.0-or-later
// Real handshakes over memory.
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "certs/sni.h"
#include "certs/tickets.h"
#include "test.h"

static const char *const both[] = { "h2", "http/1.1" };

struct rig {
    struct tls_server *server;
    struct cert_pair pairs[3];
};

static struct rig rig_new(struct box *b)
{
    struct rig r = { .server = NULL };
    make_files(b, "one", "one.example");
    make_files(b, "two", "*.two.example");
    make_files(b, "three", "deep.two.example");
    assert_true(load(b, "one", &r.pairs[0]) && load(b, "two", &r.pairs[1]) && load(b, "three", &r.pairs[2]));
    r.server = tls_server_new(r.pairs, 3, both, 2, &b->err);
    assert_non_null(r.server);
    return r;
}

struct hello {
    const char *host;     // server_name, NULL: none
    SSL_SESSION *session; // to resume
    int max_version;      // 0: any
    const char *alpn;     // wire format
    const char *groups, *sigalgs, *ciphers;
};

struct result {
    bool done;
    SSL *client, *server;
    SSL_SESSION *session;
};

static int keep_session(SSL *ssl, SSL_SESSION *s)
{
    struct result *r = SSL_get_app_data(ssl);
    SSL_SESSION_free(r->session);
    r->session = s;
    return 1;
}

static SSL *client_new(SSL_CTX *ctx, const struct hello *h, struct result *r)
{
    SSL *c = SSL_new(ctx);
    SSL_set_app_data(c, r);
    SSL_set_connect_state(c);
    SSL_set_security_level(c, 0);
    if (h->host) SSL_set_tlsext_host_name(c, h->host);
    if (h->session) SSL_set_session(c, h->session);
    if (h->max_version)
        SSL_set_min_proto_version(c, TLS1_VERSION), SSL_set_max_proto_version(c, h->max_version);
    if (h->alpn) SSL_set_alpn_protos(c, (const unsigned char *)h->alpn, (unsigned)strlen(h->alpn));
    if (h->groups) assert_int_equal(SSL_set1_groups_list(c, h->groups), 1);
    if (h->sigalgs) assert_int_equal(SSL_set1_sigalgs_list(c, h->sigalgs), 1);
    if (h->ciphers) assert_int_equal(SSL_set_cipher_list(c, h->ciphers), 1);
    return c;
}

// Both sides take turns until neither gets on. The client reads once more, for the tickets of TLS 1.3.
static void shake(struct result *r)
{
    char byte;
    for (int i = 0; i < 10; i++) {
        int c = SSL_do_handshake(r->client), s = SSL_do_handshake(r->server);
        r->done = c == 1 && s == 1;
        if (r->done) break;
        ERR_clear_error();
    }
    if (r->done) SSL_read(r->client, &byte, 1);
    ERR_clear_error();
}

static void handshake(const struct rig *rig, const struct hello *h, struct result *r)
{
    *r = (struct result){ .done = false };
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    BIO *near, *far;
    assert_int_equal(BIO_new_bio_pair(&near, 65536, &far, 65536), 1);
    r->client = client_new(ctx, h, r);
    r->server = tls_server_accept(rig->server);
    assert_non_null(r->server);
    SSL_set_bio(r->client, near, near);
    SSL_set_bio(r->server, far, far);
    SSL_CTX_free(ctx);
    shake(r);
}

static void result_done(struct result *r)
{
    SSL_shutdown(r->client); // else OpenSSL calls the session a broken one
    SSL_free(r->client);
    SSL_free(r->server);
    SSL_SESSION_free(r->session);
}

static bool got_certificate(const struct result *r, const struct cert_pair *want)
{
    X509 *cert = SSL_get1_peer_certificate(r->client);
    STACK_OF(X509) *chain = x509_parse_chain(want->chain_pem, "", &(struct err){ 0 });
    bool same = cert && X509_cmp(cert, sk_X509_value(chain, 0)) == 0;
    sk_X509_pop_free(chain, X509_free);
    X509_free(cert);
    return same;
}

static void test_name_chooses_the_certificate(void **state)
{
    struct box *b = *state;
    struct rig rig = rig_new(b);
    static const struct {
        const char *host;
        int want;
    } v[] = { { "one.example", 0 },
              { "a.two.example", 1 },
              { "A.Two.Example", 1 },
              { "deep.two.example", 2 },
              { "other.example", 0 },
              { "two.example", 0 },
              { NULL, 0 } };
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
            struct result r;
            handshake(&rig, &(struct hello){ .host = v[i].host, .max_version = version }, &r);
            assert_true(r.done);
            assert_int_equal(SSL_version(r.client), version);
            assert_true(got_certificate(&r, &rig.pairs[v[i].want]));
            const char *seen = SSL_get_servername(r.server, TLSEXT_NAMETYPE_host_name);
            if (v[i].host)
                assert_string_equal(seen, v[i].host);
            else
                assert_null(seen);
            result_done(&r);
        }
    }
    tls_server_free(rig.server);
}

static void test_old_versions_are_refused(void **state)
{
    struct box *b = *state;
    struct rig rig = rig_new(b);
    static const int old[] = { TLS1_VERSION, TLS1_1_VERSION };
    for (size_t i = 0; i < 2; i++) {
        struct result r;
        handshake(
            &rig,
            &(struct hello){ .host = "one.example", .max_version = old[i], .ciphers = "ALL:@SECLEVEL=0" },
            &r);
        assert_false(r.done);
        assert_int_equal(SSL_version(r.client), old[i]); // it was tried
        // The cipher list alone would refuse it as well: what is asked for is looked at, too.
        assert_int_equal(SSL_get_min_proto_version(r.server), TLS1_2_VERSION);
        result_done(&r);
    }
    tls_server_free(rig.server);
}

static void test_weak_ciphers_are_refused(void **state)
{
    struct box *b = *state;
    struct rig rig = rig_new(b);
    static const char *const weak[] = { "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384",
                                        "AES128-GCM-SHA256" };
    for (size_t i = 0; i < 3; i++) {
        struct result r;
        handshake(&rig,
                  &(struct hello){ .host = "one.example", .max_version = TLS1_2_VERSION, .ciphers = weak[i] },
                  &r);
        assert_false(r.done);
        result_done(&r);
    }
    tls_server_free(rig.server);
}

static void resumes(struct rig *rig, const char *first, const char *second, int version, bool want)
{
    struct result one, two;
    handshake(rig, &(struct hello){ .host = first, .max_version = version }, &one);
    assert_true(one.done);
    assert_non_null(one.session);
    handshake(rig, &(struct hello){ .host = second, .max_version = version, .session = one.session }, &two);
    assert_true(two.done);
    if (SSL_session_reused(two.server) != (int)want)
        fail_msg("%s then %s, version %x: resumed %d", first, second, (unsigned)version, !want);
    const char *seen = SSL_get_servername(two.server, TLSEXT_NAMETYPE_host_name);
    assert_int_equal(strcasecmp(seen ? seen : "", second ? second : ""), 0);
    result_done(&two);
    result_done(&one);
}

static void test_sessions_resume_for_the_same_host_only(void **state)
{
    struct box *b = *state;
    struct rig rig = rig_new(b);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        resumes(&rig, "one.example", "one.example", version, true);
        resumes(&rig, "a.two.example", "a.two.example", version, true);
        resumes(&rig, "a.two.example", "A.Two.EXAMPLE", version, true);
        resumes(&rig, "one.example", "a.two.example", version, false);   // another certificate
        resumes(&rig, "a.two.example", "b.two.example", version, false); // the same certificate
        resumes(&rig, "one.example", NULL, version, false);
        resumes(&rig, "unknown.example", "one.example", version, false);
    }
    tls_server_free(rig.server);
}

static void test_sessions_of_another_server_do_not_resume(void **state)
{
    struct box *b = *state;
    struct rig rig = rig_new(b), other = rig;
    other.server = tls_server_new(rig.pairs, 3, both, 2, &b->err);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct result one, two;
        handshake(&rig, &(struct hello){ .host = "one.example", .max_version = version }, &one);
        handshake(&other,
                  &(struct hello){ .host = "one.example", .max_version = version, .session = one.session },
                  &two);
        assert_true(one.done && two.done);
        assert_false(SSL_session_reused(two.server));
        result_done(&two);
        result_done(&one);
    }
    tls_server_free(other.server);
    tls_server_free(rig.server);
}

static void test_ticket_is_renewed_in_tls13(void **state)
{
    struct box *b = *state;
    struct rig rig = rig_new(b);
    struct result one, two;
    handshake(&rig, &(struct hello){ .host = "one.example" }, &one);
    handshake(&rig, &(struct hello){ .host = "one.example", .session = one.session }, &two);
    assert_true(SSL_session_reused(two.server));
    assert_non_null(two.session);
    assert_ptr_not_equal(two.session, one.session);
    result_done(&two);
    result_done(&one);
    tls_server_free(rig.server);
}

static void alpn_gives(struct rig *rig, const char *offer, const char *want)
{
    struct result r;
    const unsigned char *p = NULL;
    unsigned n = 0;
    handshake(rig, &(struct hello){ .host = "a.two.example", .alpn = offer }, &r);
    if (r.done != (want != NULL)) fail_msg("offer '%s': done %d", offer, r.done);
    if (r.done) SSL_get0_alpn_selected(r.server, &p, &n);
    if (want) assert_int_equal(n, strlen(want));
    if (want && n) assert_memory_equal(p, want, n);
    result_done(&r);
}

static void test_alpn_prefers_our_order(void **state)
{
    struct box *b = *state;
    struct rig rig = rig_new(b);
    alpn_gives(&rig, "\x08http/1.1\x02h2", "h2");
    alpn_gives(&rig, "\x08http/1.1", "http/1.1");
    alpn_gives(&rig, NULL, "");
    alpn_gives(&rig,
               "\x03"
               "ftp",
               NULL);
    alpn_gives(&rig, "\x04smtp\x02h2", "h2");
    tls_server_free(rig.server);
}

static void test_board_with_p256_and_pkcs1_works(void **state)
{
    struct box *b = *state;
    EVP_PKEY *rsa = pkey_make_rsa(2048);
    struct made m = make_pair(b, rsa, "pico.example", 0, 4000000000, "serverAuth");
    EVP_PKEY_free(rsa);
    box_write(b, "r.pem", m.cert, 0644);
    box_write(b, "r.key", m.key, 0600);
    struct rig rig;
    assert_true(load(b, "r", &rig.pairs[0]));
    make_files(b, "e", "ec.example");
    assert_true(load(b, "e", &rig.pairs[1]));
    rig.server = tls_server_new(rig.pairs, 2, both, 2, &b->err);
    assert_non_null(rig.server);
    static const char *const hosts[] = { "pico.example", "ec.example" };
    for (size_t i = 0; i < 2; i++) {
        struct result r;
        handshake(&rig,
                  &(struct hello){ .host = hosts[i],
                                   .max_version = TLS1_2_VERSION,
                                   .groups = "P-256:P-384:P-521",
                                   .sigalgs = "ECDSA+SHA256:RSA+SHA256:ECDSA+SHA384:RSA+SHA384" },
                  &r);
        assert_true(r.done);
        assert_true(got_certificate(&r, &rig.pairs[i]));
        result_done(&r);
    }
    tls_server_free(rig.server);
}

static void test_renegotiation_is_refused(void **state)
{
    struct box *b = *state;
    struct rig rig = rig_new(b);
    struct result r;
    char byte;
    handshake(&rig, &(struct hello){ .host = "one.example", .max_version = TLS1_2_VERSION }, &r);
    assert_true(r.done);
    assert_int_equal(SSL_renegotiate(r.client), 1);
    for (int i = 0; i < 5; i++) {
        SSL_do_handshake(r.client);
        SSL_read(r.server, &byte, 1);
    }
    assert_true(SSL_renegotiate_pending(r.client));
    assert_int_equal(SSL_num_renegotiations(r.server), 0);
    // OpenSSL 3 refuses clients by default; our own option holds for both sides and whatever the default
    // becomes.
    assert_true(SSL_get_options(r.server) & SSL_OP_NO_RENEGOTIATION);
    result_done(&r);
    tls_server_free(rig.server);
}

static void test_server_needs_certificates(void **state)
{
    struct box *b = *state;
    assert_null(tls_server_new(NULL, 0, both, 2, &b->err));
    assert_int_equal(b->err.code, ERR_CERT);
    struct cert_pair p;
    make_files(b, "a", "a.example");
    assert_true(load(b, "a", &p));
    p.chain_pem = STR("rubbish");
    assert_null(tls_server_new(&p, 1, both, 2, &b->err));
    assert_int_equal(b->err.code, ERR_CERT);
    tls_server_free(NULL);
}

static void test_keys_rotate(void **state)
{
    struct box *b = *state;
    struct ticket_ring r;
    struct ticket_key k0, k1, k;
    bool newest;
    assert_true(ticket_ring_init(&r, 1000, &b->err));
    assert_true(ticket_ring_newest(&r, 1000, &k0));
    assert_true(ticket_ring_newest(&r, 1000 + 3599, &k));
    assert_memory_equal(&k, &k0, sizeof k);
    assert_true(ticket_ring_newest(&r, 1000 + 3600, &k1));
    assert_memory_not_equal(&k1, &k0, sizeof k1);
    assert_true(ticket_ring_find(&r, 1000 + 3600, k0.name, &k, &newest));
    assert_false(newest);
    assert_memory_equal(&k, &k0, sizeof k);
    assert_true(ticket_ring_find(&r, 1000 + 3600, k1.name, &k, &newest));
    assert_true(newest);
    for (int64_t t = 2; t < 5; t++) assert_true(ticket_ring_newest(&r, 1000 + 3600 * t, &k));
    assert_false(ticket_ring_find(&r, 1000 + 3600 * 4, k0.name, &k, &newest)); // pushed out
    assert_true(ticket_ring_newest(&r, 1000 + 3600 * 5, &k1));
    assert_false(ticket_ring_find(&r, 1000 + 3600 * 7, k1.name, &k, &newest)); // nobody came for two hours
    ticket_ring_done(&r);
}

static void test_sni_is_parsed_strictly(void **state)
{
    (void)state;
    struct str host;
    assert_true(sni_host((struct str){ "\0\4\0\0\1a", 6 }, &host));
    assert_true(str_eq_c(host, "a"));
    static const struct {
        const char *p;
        size_t n;
    } bad[] = {
        { "", 0 },
        { "\0", 1 },
        { "\0\0", 2 },
        { "\0\1\0", 3 },
        { "\0\3\0\0\0", 5 },
        { "\0\4\1\0\1a", 6 },
        { "\0\5\0\0\1a", 6 },
        { "\0\4\0\0\2a", 6 },
        { "\0\4\0\0\1ab", 7 },
        { "\0\10\0\0\1a\0\0\1b", 10 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        host = STR("kept");
        assert_false(sni_host((struct str){ bad[i].p, bad[i].n }, &host));
        assert_true(str_eq_c(host, "kept"));
    }
}

// --- the client side (what it does with real servers is tested in tests/unit/gateway)

static void expect_no_client(struct box *b, struct tls_client_plan plan, const char *part)
{
    plan.verify = true;
    assert_null(tls_client_new(&plan, &b->err));
    assert_err(b, ERR_CERT, part);
}

static void test_client_needs_what_it_was_given(void **state)
{
    struct box *b = *state;
    struct cert_pair one, two;
    make_files(b, "one", "one.example");
    make_files(b, "two", "two.example");
    assert_true(load(b, "one", &one) && load(b, "two", &two));
    expect_no_client(b, (struct tls_client_plan){ .ca_pem = STR("nothing") }, "no certificate");
    expect_no_client(b, (struct tls_client_plan){ .ca_pem = STR("") }, "no certificate");
    struct tls_client_plan plan = { .cert_path = one.cert_path,
                                    .key_path = two.key_path,
                                    .cert_pem = one.chain_pem,
                                    .key_pem = two.key_pem };
    expect_no_client(b, plan, "TLS refuses it");
    plan.key_pem = one.key_pem;
    struct tls_client *t = tls_client_new(&plan, &b->err);
    assert_non_null(t);
    tls_client_free(t);
    tls_client_free(NULL);
}

// RFC 6066 section 3: addresses are checked, but not asked for.
static void test_client_asks_for_names_only(void **state)
{
    struct box *b = *state;
    SSL_SESSION *slot = NULL;
    struct tls_client *t = tls_client_new(&(struct tls_client_plan){ .verify = true }, &b->err);
    assert_non_null(t);
    SSL *name = tls_client_connect(t, "app.internal", &slot);
    assert_string_equal(SSL_get_servername(name, TLSEXT_NAMETYPE_host_name), "app.internal");
    SSL *v4 = tls_client_connect(t, "10.0.0.5", &slot), *v6 = tls_client_connect(t, "fd00::5", &slot);
    assert_null(SSL_get_servername(v4, TLSEXT_NAMETYPE_host_name));
    assert_null(SSL_get_servername(v6, TLSEXT_NAMETYPE_host_name));
    assert_null(X509_VERIFY_PARAM_get0_host(SSL_get0_param(v4), 0));
    char *address = X509_VERIFY_PARAM_get1_ip_asc(SSL_get0_param(v4));
    assert_string_equal(address, "10.0.0.5");
    OPENSSL_free(address);
    SSL_free(name);
    SSL_free(v4);
    SSL_free(v6);
    tls_client_free(t);
}

#define T(f) cmocka_unit_test_setup_teardown(f, box_open, box_close)
int run_tls_tests(void)
{
    const struct CMUnitTest tls[] = {
        T(test_name_chooses_the_certificate),
        T(test_old_versions_are_refused),
        T(test_weak_ciphers_are_refused),
        T(test_sessions_resume_for_the_same_host_only),
        T(test_sessions_of_another_server_do_not_resume),
        T(test_ticket_is_renewed_in_tls13),
        T(test_alpn_prefers_our_order),
        T(test_board_with_p256_and_pkcs1_works),
        T(test_renegotiation_is_refused),
        T(test_server_needs_certificates),
        T(test_keys_rotate),
        T(test_sni_is_parsed_strictly),
        T(test_client_needs_what_it_was_given),
        T(test_client_asks_for_names_only),
    };
    return cmocka_run_group_tests(tls, NULL, NULL);
}
