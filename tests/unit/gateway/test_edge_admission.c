// SPDX-License-Identifier: GPL-3.0-or-later
// Who may connect, and who they are: forwarding fields, limits, slow clients, plain HTTP. Each group of tests
// has a worker of its own, with a configuration of its own.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "raw_client.h"

// --- forwarding fields over TLS

static void tune_trust(struct config *c)
{
    c->max_connections_per_address = 2;
    trust(c, "127.0.0.1", "10.0.0.0/8");
}

static void test_trusted_fields(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    const char *seen = seen_by_backend(e, &c,
                                       GET_AS("X-Forwarded-For: 192.0.2.66, 198.51.100.3\r\n"
                                              "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\n"
                                              "X-Real-IP: 192.0.2.67\r\n"));
    assert_has(seen, "X-Forwarded-For: 198.51.100.3\r\n");
    assert_has(seen, "X-Forwarded-Host: app.example.com");
    assert_has(seen, "Forwarded: for=198.51.100.3;");
    assert_lacks(seen, "192.0.2.6");
    assert_lacks(seen, "evil");
    edge_expect_log(e, "\"event\":\"access\"", "\"client\":\"198.51.100.3\"");
    client_open(e, &c);
    seen = seen_by_backend(e, &c, GET_AS("Forwarded: for=\"[2001:db8::9]\";proto=https\r\n"));
    assert_has(seen, "X-Forwarded-For: 2001:db8::9\r\n");
    client_open(e, &c);
    assert_has(seen_by_backend(e, &c, GET_AS("")), "X-Forwarded-For: 127.0.0.1\r\n");
}

static void test_garbage_of_a_trusted_proxy(void **state)
{
    struct edge *e = *state;
    static const char *const bad[] = {
        GET_AS("X-Forwarded-For: 192.0.2.1, oops\r\n"),
        GET_AS("X-Forwarded-Proto: ftp\r\n"),
        GET_AS("Forwarded: for=oops\r\n"),
        GET_AS("X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.2\r\n"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct client c;
        client_open(e, &c);
        client_send(&c, bad[i]);
        client_expect(&c, "HTTP/1.1 400 ");
        client_expect(&c, "http.forwarded");
        client_close(&c);
    }
    edge_expect_log(e, "\"reason\":\"http.forwarded\"", "\"status\":400");
    assert_int_equal(backend_accept(e, 50), -1);
}

// TLS from the proxy to us says nothing about the browser.
static void test_browser_without_tls(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, GET_AS("X-Forwarded-For: 198.51.100.3\r\nX-Forwarded-Proto: http\r\n"));
    client_expect(&c, "Location: https://app.example.com");
    assert_lacks(c.in, "Strict-Transport-Security");
    client_close(&c);
    assert_int_equal(backend_accept(e, 50), -1);
}

static void test_a_proxy_may_have_many_connections(void **state)
{
    struct edge *e = *state;
    struct client c[5];
    for (int i = 0; i < 5; i++) client_open(e, &c[i]);
    for (int i = 0; i < 5; i++) client_close(&c[i]);
}

// --- nobody is trusted; few connections

static void tune_few(struct config *c)
{
    c->max_connections = 5;
    c->max_connections_per_address = 3;
}

static void test_fields_of_anybody(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    const char *seen = seen_by_backend(
        e, &c, GET_AS("X-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: http\r\nForwarded: oops\r\n"));
    assert_has(seen, "X-Forwarded-For: 127.0.0.1\r\n");
    assert_has(seen, "X-Forwarded-Proto: https\r\n");
    assert_lacks(seen, "10.0.0.9");
    assert_lacks(seen, "oops");
    usleep(50000);
}

static void test_limit_of_one_address(void **state)
{
    struct edge *e = *state;
    struct client c[3];
    for (int i = 0; i < 3; i++) client_open(e, &c[i]);
    for (int i = 0; i < 30; i++) assert_closed_silently(raw_open(e));
    edge_expect_log(e, "connection.refused", "connections.address");
    assert_int_equal(edge_log_lines(e, "connection.refused"), 1);
    assert_int_equal(atomic_load(&e->worker->metrics.connections_refused_address_total), 30);
    client_close(&c[1]);
    usleep(50000);
    client_open(e, &c[1]);
    assert_has(seen_by_backend(e, &c[1], GET_AS("")), "GET / ");
    client_close(&c[0]);
    client_reset(&c[2]);
    usleep(100000);
    for (int i = 0; i < 3; i++) client_open(e, &c[i]); // every way to go gives the place back
    for (int i = 0; i < 3; i++) client_close(&c[i]);
    usleep(50000);
}

static int connect_from(struct edge *e, const char *own)
{
    struct sockaddr_in from = { .sin_family = AF_INET }, to = { .sin_family = AF_INET,
                                                                .sin_port = htons(e->port),
                                                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval t = { .tv_sec = RIG_WAIT_MS / 1000 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    inet_pton(AF_INET, own, &from.sin_addr);
    assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void test_limit_overall(void **state)
{
    struct edge *e = *state;
    int fd[5];
    for (int i = 0; i < 5; i++) fd[i] = connect_from(e, i < 3 ? "127.0.0.1" : "127.0.0.2");
    usleep(50000);
    assert_closed_silently(connect_from(e, "127.0.0.3"));
    edge_expect_log(e, "connection.refused", "connections.overall");
    close(fd[4]);
    usleep(50000);
    struct client c;
    tls_on(&c, connect_from(e, "127.0.0.3"));
    client_close(&c);
    for (int i = 0; i < 4; i++) close(fd[i]);
    usleep(50000);
}

static void test_slow_handshake_and_head(void **state)
{
    struct edge *e = *state;
    int fd = raw_open(e);
    assert_in_range(ms_until_closed(fd, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11, 300), 900, 2000);
    assert_non_null(raw_read_to_end(fd));
    struct client c;
    client_open(e, &c);
    int64_t begin = now_ms();
    for (int i = 0; i < 30; i++) {
        char byte[2] = { GET_APP[i % 16], '\0' };
        struct pollfd p = { c.fd, POLLIN | POLLRDHUP, 0 };
        if (poll(&p, 1, 0) > 0 && i > 5) break; // tickets come first
        client_send(&c, byte);
        usleep(100000);
        client_await_bytes(&c, 0);
        if (now_ms() - begin > 1500) break;
    }
    client_read_to_end(&c);
    assert_in_range(now_ms() - begin, 900, 2500);
    client_close(&c);
}

// --- plain HTTP behind a proxy that ends TLS

static void tune_plain(struct config *c)
{
    c->listeners[0].tls = false;
    trust(c, "127.0.0.1", "10.0.0.0/8");
}

#define CLOSE "Connection: close\r\n"

static void test_plain_behind_tls(void **state)
{
    struct edge *e = *state;
    int fd = raw_open(e);
    static const char request[] =
        GET_AS(CLOSE "X-Forwarded-For: 198.51.100.3\r\nX-Forwarded-Proto: https\r\n");
    raw_send(fd, request, sizeof request - 1);
    int b = backend_accept(e, RIG_WAIT_MS);
    assert_true(b >= 0);
    const char *seen = backend_await(b, "\r\n\r\n");
    assert_has(seen, "X-Forwarded-For: 198.51.100.3\r\n");
    assert_has(seen, "X-Forwarded-Proto: https\r\n");
    backend_send(b, OK_EMPTY);
    const char *answer = raw_read_to_end(fd);
    assert_non_null(answer);
    assert_has(answer, "200 OK");
    assert_has(answer, "Strict-Transport-Security");
    close(b);
}

static void test_plain_redirects(void **state)
{
    struct edge *e = *state;
    static const char *const not_https[] = { GET_AS(CLOSE), GET_AS(CLOSE "X-Forwarded-Proto: http\r\n"),
                                             GET_AS(CLOSE "Forwarded: for=192.0.2.1\r\n"),
                                             GET_AS(CLOSE
                                                    "X-Forwarded-Ssl: on\r\nX-Forwarded-Scheme: https\r\n") };
    for (size_t i = 0; i < sizeof not_https / sizeof *not_https; i++) {
        const char *answer = raw_ask(e, not_https[i]);
        assert_has(answer, "HTTP/1.1 301 ");
        assert_has(answer, "\r\nLocation: https://app.example.com:8443/\r\n");
        assert_lacks(answer, "Strict-Transport-Security");
    }
    assert_int_equal(backend_accept(e, 50), -1);
}

// A method and its body are kept: a form that is sent to http:// is not turned into a GET.
static void test_plain_redirect_keeps_the_method(void **state)
{
    struct edge *e = *state;
    static const char *const methods[] = { "POST", "PUT", "DELETE", "OPTIONS", "PATCH" };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        char request[256];
        snprintf(request, sizeof request,
                 "%s /a/b?c=d HTTP/1.1\r\nHost: app.example.com:80\r\n" CLOSE "Content-Length: 0\r\n\r\n",
                 methods[i]);
        const char *answer = raw_ask(e, request);
        assert_has(answer, "HTTP/1.1 308 ");
        assert_has(answer, "\r\nLocation: https://app.example.com:8443/a/b?c=d\r\n");
    }
    const char *head = raw_ask(e, "HEAD /x HTTP/1.1\r\nHost: app.example.com\r\n" CLOSE "\r\n");
    assert_has(head, "HTTP/1.1 301 ");
}

static void test_plain_redirects_no_unknown_host(void **state)
{
    struct edge *e = *state;
    static const char *const hosts[] = { "evil.example", "app.example.com.evil.example", "127.0.0.1" };
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        char request[256];
        snprintf(request, sizeof request,
                 "GET / HTTP/1.1\r\nHost: %s\r\nX-Forwarded-Host: app.example.com\r\n" CLOSE "\r\n",
                 hosts[i]);
        const char *answer = raw_ask(e, request);
        assert_has(answer, "HTTP/1.1 421 ");
        assert_lacks(answer, "Location:");
    }
}

static void tune_plain_few(struct config *c)
{
    c->listeners[0].tls = false;
    c->listeners[0].redirect_to_https = true;
    c->max_connections_per_address = 1;
}

static void test_plain_says_busy(void **state)
{
    struct edge *e = *state;
    int first = raw_open(e);
    usleep(20000);
    int fd = raw_open(e);
    const char *answer = raw_read_to_end(fd);
    assert_non_null(answer);
    assert_has(answer, "HTTP/1.1 503 ");
    close(first);
    usleep(50000);
    assert_has(raw_ask(e, GET_AS(CLOSE "X-Forwarded-Proto: https\r\n")), "HTTP/1.1 301 ");
}

// What is there to redirect only, redirects, whoever asks.
static void tune_redirect_only(struct config *c)
{
    tune_plain(c);
    c->listeners[0].redirect_to_https = true;
}

static void test_redirect_only(void **state)
{
    struct edge *e = *state;
    assert_has(raw_ask(e, GET_AS(CLOSE "X-Forwarded-Proto: https\r\n")), "HTTP/1.1 301 ");
    assert_int_equal(backend_accept(e, 50), -1);
}

int main(void)
{
    const struct CMUnitTest trusted[] = {
        EDGE_TEST(test_trusted_fields),
        EDGE_TEST(test_garbage_of_a_trusted_proxy),
        EDGE_TEST(test_browser_without_tls),
        EDGE_TEST(test_a_proxy_may_have_many_connections),
    };
    const struct CMUnitTest few[] = {
        EDGE_TEST(test_fields_of_anybody),
        EDGE_TEST(test_limit_of_one_address),
        EDGE_TEST(test_limit_overall),
        EDGE_TEST(test_slow_handshake_and_head),
    };
    const struct CMUnitTest plain[] = {
        EDGE_TEST(test_plain_behind_tls),
        EDGE_TEST(test_plain_redirects),
        EDGE_TEST(test_plain_redirect_keeps_the_method),
        EDGE_TEST(test_plain_redirects_no_unknown_host),
    };
    const struct CMUnitTest plain_few[] = { EDGE_TEST(test_plain_says_busy) };
    const struct CMUnitTest redirect_only[] = { EDGE_TEST(test_redirect_only) };
    int failed = 0;
#define RUN(group, tune)                                                                                     \
    edge_tune = tune, failed += cmocka_run_group_tests_name(#group, group, edge_setup, edge_teardown)
    RUN(trusted, tune_trust);
    RUN(few, tune_few);
    RUN(plain, tune_plain);
    RUN(plain_few, tune_plain_few);
    RUN(redirect_only, tune_redirect_only);
    return failed;
}
