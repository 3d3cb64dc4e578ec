// SPDX-License-Identifier: GPL-3.0-or-later
// Backends behind TLS: who is believed, who is not, and what is said about it; answers that somebody cut.
#include "tls_backend.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GET(host) "GET / HTTP/1.1\r\nHost: " host ".example.com\r\n\r\n"
#define OK_BODY "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"

static const char routes[] =
    "  - { host: tls.example.com, backends: [ 'https://127.0.0.1:%' ], policy: public, backend_tls: { ca: "
    "ca.pem } }\n"
    "  - { host: sni.example.com, backends: [ 'https://127.0.0.1:%' ], policy: public, backend_tls: { ca: "
    "ca.pem, "
    "server_name: app.internal } }\n"
    "  - { host: system.example.com, backends: [ 'https://127.0.0.1:%' ], policy: public }\n"
    "  - { host: other.example.com, backends: [ 'https://127.0.0.1:%' ], policy: public, backend_tls: { ca: "
    "other/ca.pem } }\n"
    "  - { host: any.example.com, backends: [ 'https://127.0.0.1:%' ], policy: public, backend_tls: { "
    "verify: "
    "false } }\n"
    "  - { host: cert.example.com, backends: [ 'https://127.0.0.1:%' ], policy: public, backend_tls: { ca: "
    "ca.pem, "
    "cert: client.pem, key: client.key } }\n"
    "  - { host: spare.example.com, backends: [ 'https://127.0.0.1:%', 'http://localhost:%' ], policy: "
    "public, "
    "backend_tls: { ca: ca.pem } }\n";

static void make_files(struct edge *e)
{
    struct err err = { 0 };
    char other[96];
    struct str address[] = { STR_INIT("127.0.0.1") }, name[] = { STR_INIT("app.internal") },
               wrong[] = { STR_INIT("wrong.internal"), STR_INIT("10.0.0.1") };
    snprintf(other, sizeof other, "%s/other", e->dir);
    assert_int_equal(mkdir(other, 0700), 0);
    assert_true(cert_dev_ca(other, &err));
    tls_make_leaf(e->dir, "address", (struct strlist){ address, 1 }, LEAF_GOOD);
    tls_make_leaf(e->dir, "name", (struct strlist){ name, 1 }, LEAF_GOOD);
    tls_make_leaf(e->dir, "wrong", (struct strlist){ wrong, 2 }, LEAF_GOOD);
    tls_make_leaf(e->dir, "expired", (struct strlist){ address, 1 }, LEAF_EXPIRED);
    tls_make_leaf(e->dir, "selfsigned", (struct strlist){ address, 1 }, LEAF_SELF_SIGNED);
    tls_make_leaf(e->dir, "client", (struct strlist){ name, 1 }, LEAF_GOOD);
}

static int setup(void **state)
{
    edge_routes = routes;
    edge_prepare = make_files;
    return edge_setup(state);
}

// A client asks, the backend with certificate `name` answers.
static void expect_good(struct edge *e, const char *name, const char *request)
{
    struct client c;
    int fd;
    SSL_CTX *ctx = tls_backend_new(e->dir, name, NULL);
    client_open(e, &c);
    client_send(&c, request);
    SSL *ssl = tls_backend_accept(e, ctx, &fd);
    if (!ssl) fail_msg("the gateway refused the certificate %s: %s", name, request);
    tls_backend_await(ssl, "\r\n\r\n");
    tls_backend_send(ssl, OK_BODY);
    client_expect(&c, "\r\n\r\ngood");
    client_close(&c);
    tls_backend_close(ssl, fd, false);
    SSL_CTX_free(ctx);
}

// The same, but the gateway says 502: nothing of the request may have reached the backend.
static void expect_refused(struct edge *e, SSL_CTX *ctx, const char *request, const char *why)
{
    struct client c;
    int fd;
    char byte;
    client_open(e, &c);
    client_send(&c, request);
    SSL *ssl = tls_backend_accept(e, ctx, &fd);
    if (ssl) assert_true(SSL_read(ssl, &byte, 1) <= 0);
    client_expect(&c, "HTTP/1.1 502");
    edge_expect_log(e, "\"event\":\"access\"", "\"reason\":\"proxy.tls\"");
    edge_expect_log(e, "\"event\":\"access\"", why);
    client_close(&c);
    tls_backend_close(ssl, fd, true);
    edge_test_begin((void **)&e);
}

static void refuse_certificate(struct edge *e, const char *name, const char *request, const char *why)
{
    SSL_CTX *ctx = tls_backend_new(e->dir, name, NULL);
    expect_refused(e, ctx, request, why);
    SSL_CTX_free(ctx);
}

static void test_a_kept_connection_and_a_resumed_session(void **state)
{
    struct edge *e = *state;
    struct client c;
    int fd;
    SSL_CTX *ctx = tls_backend_new(e->dir, "address", NULL);
    client_open(e, &c);
    for (int connection = 0; connection < 3; connection++) {
        SSL *ssl = NULL;
        for (int i = 0; i < 3; i++) {
            client_send(&c, GET("tls"));
            if (!ssl) ssl = tls_backend_accept(e, ctx, &fd);
            assert_non_null(ssl);
            tls_backend_await(ssl, "\r\n\r\n");
            tls_backend_send(ssl, OK_BODY);
            client_expect(&c, "\r\n\r\ngood");
            client_forget(&c);
            usleep(20 * 1000);
        }
        assert_int_equal(SSL_session_reused(ssl), connection > 0);
        tls_backend_close(ssl, fd, false);
        usleep(20 * 1000);
    }
    client_close(&c);
    SSL_CTX_free(ctx);
}

static void test_the_server_name_is_asked_for_and_checked(void **state)
{
    struct edge *e = *state;
    struct client c;
    int fd;
    SSL_CTX *ctx = tls_backend_new(e->dir, "name", NULL);
    client_open(e, &c);
    client_send(&c, GET("sni"));
    SSL *ssl = tls_backend_accept(e, ctx, &fd);
    assert_non_null(ssl);
    assert_string_equal(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name), "app.internal");
    tls_backend_await(ssl, "\r\n\r\n");
    tls_backend_send(ssl, OK_BODY);
    client_expect(&c, "\r\n\r\ngood");
    client_close(&c);
    tls_backend_close(ssl, fd, false);
    SSL_CTX_free(ctx);
    refuse_certificate(e, "address", GET("sni"), "ostname mismatch, it is not for app.internal");
}

static void test_certificates_that_prove_nothing(void **state)
{
    struct edge *e = *state;
    refuse_certificate(e, "wrong", GET("tls"), "IP address mismatch");
    refuse_certificate(e, "name", GET("tls"), "IP address mismatch");
    refuse_certificate(e, "expired", GET("tls"), "certificate has expired");
    refuse_certificate(e, "selfsigned", GET("tls"), "self-signed certificate");
    refuse_certificate(e, "selfsigned", GET("system"), "self-signed certificate");
    refuse_certificate(e, "address", GET("system"), "unable to get local issuer certificate");
    refuse_certificate(e, "address", GET("other"), "unable to get local issuer certificate");
}

static void test_without_verification_anybody_is_believed(void **state)
{
    expect_good(*state, "selfsigned", GET("any"));
    expect_good(*state, "expired", GET("any"));
    expect_good(*state, "wrong", GET("any"));
}

static void test_a_backend_that_wants_our_certificate(void **state)
{
    struct edge *e = *state;
    struct client c;
    int fd;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX *ctx = tls_backend_new(e->dir, "address", "ca.pem");
        SSL_CTX_set_max_proto_version(ctx, version);
        client_open(e, &c);
        client_send(&c, GET("cert"));
        SSL *ssl = tls_backend_accept(e, ctx, &fd);
        assert_non_null(ssl);
        tls_backend_await(ssl, "\r\n\r\n");
        tls_backend_send(ssl, OK_BODY);
        client_expect(&c, "\r\n\r\ngood");
        client_close(&c);
        tls_backend_close(ssl, fd, false);
        usleep(20 * 1000);
        // In TLS 1.3 the refusal comes when our handshake is over and the request is on its way.
        expect_refused(e, ctx, GET("tls"), version == TLS1_3_VERSION ? "certificate required" : "alert");
        SSL_CTX_free(ctx);
    }
}

static void test_old_protocols(void **state)
{
    struct edge *e = *state;
    SSL_CTX *ctx = tls_backend_new(e->dir, "address", NULL);
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(ctx, TLS1_1_VERSION);
    expect_refused(e, ctx, GET("tls"), "protocol version");
    SSL_CTX_free(ctx);
}

static void test_a_backend_without_tls(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, GET("tls"));
    int fd = backend_accept(e, RIG_WAIT_MS);
    backend_send(fd, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    client_expect(&c, "HTTP/1.1 502");
    edge_expect_log(e, "\"reason\":\"proxy.tls\"", "not TLS");
    client_close(&c);
    close(fd);
}

static void test_a_handshake_that_ends_early(void **state)
{
    char hello[4096];
    struct edge *e = *state;
    struct client c;
    for (int reset = 0; reset < 2; reset++) {
        client_open(e, &c);
        client_send(&c, GET("tls"));
        int fd = backend_accept(e, RIG_WAIT_MS);
        assert_true(recv(fd, hello, sizeof hello, 0) > 0);
        if (reset)
            backend_reset(fd);
        else
            close(fd);
        client_expect(&c, "HTTP/1.1 502");
        edge_expect_log(e, "\"event\":\"access\"", "proxy.tls");
        client_close(&c);
        edge_test_begin(state);
    }
}

static void test_a_handshake_that_stalls(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, GET("tls"));
    int fd = backend_accept(e, RIG_WAIT_MS);
    client_expect(&c, "HTTP/1.1 504");
    assert_true(backend_is_closed(fd));
    edge_expect_log(e, "\"reason\":\"proxy.connect_timeout\"", "TLS handshake with");
    client_close(&c);
    close(fd);
}

static void answer_and_end(struct edge *e, SSL_CTX *ctx, struct client *c, const char *answer, bool cut)
{
    int fd;
    client_open(e, c);
    client_send(c, GET("tls"));
    SSL *ssl = tls_backend_accept(e, ctx, &fd);
    assert_non_null(ssl);
    tls_backend_await(ssl, "\r\n\r\n");
    tls_backend_send(ssl, answer);
    client_expect(c, "part");
    tls_backend_close(ssl, fd, cut);
}

// Whoever can cut the connection could make half an answer look like a whole one.
static void test_an_answer_that_somebody_cut(void **state)
{
    struct edge *e = *state;
    struct client c;
    SSL_CTX *ctx = tls_backend_new(e->dir, "address", NULL);
    answer_and_end(e, ctx, &c, "HTTP/1.1 200 OK\r\n\r\npart", false);
    client_expect(&c, "\r\n0\r\n\r\n");
    client_close(&c);
    edge_test_begin(state);
    answer_and_end(e, ctx, &c, "HTTP/1.1 200 OK\r\n\r\npart", true);
    client_read_to_end(&c);
    assert_false(c.close_notify);
    assert_null(strstr(c.in, "\r\n0\r\n\r\n"));
    edge_expect_log(e, "\"event\":\"access\"", "proxy.reset");
    client_close(&c);
    edge_test_begin(state);
    answer_and_end(e, ctx, &c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart", false);
    client_read_to_end(&c);
    assert_false(c.close_notify);
    edge_expect_log(e, "\"event\":\"access\"", "proxy.reset");
    client_close(&c);
    SSL_CTX_free(ctx);
}

// Session tickets come when they like, also on a connection that nobody uses; bytes of an answer must not.
static void test_what_comes_on_an_idle_connection(void **state)
{
    struct edge *e = *state;
    struct client c;
    int fd, other;
    SSL_CTX *ctx = tls_backend_new(e->dir, "address", NULL);
    client_open(e, &c);
    client_send(&c, GET("tls"));
    SSL *ssl = tls_backend_accept(e, ctx, &fd);
    tls_backend_await(ssl, "\r\n\r\n");
    tls_backend_send(ssl, OK_BODY);
    client_expect(&c, "\r\n\r\ngood");
    client_forget(&c);
    assert_int_equal(SSL_new_session_ticket(ssl), 1);
    assert_int_equal(SSL_do_handshake(ssl), 1);
    usleep(50 * 1000);
    client_send(&c, GET("tls"));
    tls_backend_await(ssl, "\r\n\r\n"); // the same connection
    tls_backend_send(ssl, OK_BODY);
    client_expect(&c, "\r\n\r\ngood");
    client_forget(&c);
    tls_backend_send(ssl, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL");
    client_send(&c, GET("tls"));
    SSL *next = tls_backend_accept(e, ctx, &other);
    assert_non_null(next);
    tls_backend_await(next, "\r\n\r\n");
    tls_backend_send(next, OK_BODY);
    client_expect(&c, "\r\n\r\ngood");
    assert_null(strstr(c.in, "EVIL"));
    client_close(&c);
    tls_backend_close(ssl, fd, true);
    tls_backend_close(next, other, true);
    SSL_CTX_free(ctx);
}

enum { BIG = 3 * 1024 * 1024 };

static void *upload(void *arg)
{
    char *zeros = calloc(1, BIG);
    client_send_n(arg, zeros, BIG);
    free(zeros);
    return NULL;
}

static void *download(void *arg)
{
    static char zeros[65536];
    for (size_t n = 0; n < BIG && SSL_write(arg, zeros, sizeof zeros) > 0; n += sizeof zeros) {
    }
    return NULL;
}

static void test_large_bodies_both_ways(void **state)
{
    struct edge *e = *state;
    struct client c;
    int fd;
    pthread_t t;
    char head[200];
    static char scrap[65536];
    SSL_CTX *ctx = tls_backend_new(e->dir, "address", NULL);
    client_open(e, &c);
    snprintf(head, sizeof head, "POST / HTTP/1.1\r\nHost: tls.example.com\r\nContent-Length: %d\r\n\r\n",
             BIG);
    client_send(&c, head);
    pthread_create(&t, NULL, upload, &c);
    SSL *ssl = tls_backend_accept(e, ctx, &fd);
    const char *in = tls_backend_await(ssl, "\r\n\r\n");
    size_t left = BIG - strlen(strstr(in, "\r\n\r\n") + 4); // zeros end the text: nothing of the body counts
    for (int got; left > 0 && (got = SSL_read(ssl, scrap, sizeof scrap)) > 0;)
        left -= (size_t)got < left ? (size_t)got : left;
    pthread_join(t, NULL);
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BIG);
    tls_backend_send(ssl, head);
    pthread_create(&t, NULL, download, ssl);
    client_expect(&c, "\r\n\r\n");
    client_await_bytes(&c, BIG);
    pthread_join(t, NULL);
    client_close(&c);
    tls_backend_close(ssl, fd, false);
    SSL_CTX_free(ctx);
}

// Nothing was sent: another backend may have the request, whatever its method.
static void test_another_backend_takes_over(void **state)
{
    struct edge *e = *state;
    struct client c;
    int fd, plain = -1;
    SSL_CTX *ctx = tls_backend_new(e->dir, "expired", NULL);
    client_open(e, &c);
    client_send(&c, "POST / HTTP/1.1\r\nHost: spare.example.com\r\nContent-Length: 4\r\n\r\nbody");
    SSL *ssl = tls_backend_accept(e, ctx, &fd);
    assert_null(ssl);
    plain = backend_accept(e, RIG_WAIT_MS);
    backend_await(plain, "body");
    backend_send(plain, OK_EMPTY);
    client_expect(&c, "HTTP/1.1 200");
    edge_expect_log(e, "\"event\":\"proxy.backend\"", "certificate has expired");
    client_close(&c);
    close(fd);
    close(plain);
    SSL_CTX_free(ctx);
}

#define T(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_another_backend_takes_over),
        T(test_a_kept_connection_and_a_resumed_session),
        T(test_the_server_name_is_asked_for_and_checked),
        T(test_certificates_that_prove_nothing),
        T(test_without_verification_anybody_is_believed),
        T(test_a_backend_that_wants_our_certificate),
        T(test_old_protocols),
        T(test_a_backend_without_tls),
        T(test_a_handshake_that_ends_early),
        T(test_a_handshake_that_stalls),
        T(test_an_answer_that_somebody_cut),
        T(test_what_comes_on_an_idle_connection),
        T(test_large_bodies_both_ways),
    };
    return cmocka_run_group_tests_name("edge: TLS to backends", tests, setup, edge_teardown);
}
