// SPDX-License-Identifier: GPL-3.0-or-later
// Who may connect, and who they are: PROXY protocol headers, forwarding fields, limits, slow clients. Each
// group of tests has a worker of its own, with a configuration of its own.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "edge_rig.h"

#define V1 "PROXY TCP4 203.0.113.7 198.51.100.2 12345 443\r\n"
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V2_LOCAL SIGNATURE "\x20\x00\x00\x00"
#define V2_UNSPEC SIGNATURE "\x21\x00\x00\x00"
#define V2_IPV6                                                                                              \
    SIGNATURE "\x21\x21\x00\x29"                                                                             \
              "\x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\x07\x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\x02"         \
              "\x30\x39\x01\xBB\x01\x00\x02h2"
#define FROM_TRUSTED "PROXY TCP4 10.0.0.5 198.51.100.2 12345 443\r\n"

// --- raw connections

static int raw_open(struct edge *e)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons(e->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    struct timeval t = { .tv_sec = RIG_WAIT_MS / 1000 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void raw_send(int fd, const char *p, size_t n)
{
    assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), n);
}

// What arrives until the gateway closes; NULL: it does not.
static const char *raw_read_to_end(int fd)
{
    static char text[16384];
    size_t n = 0;
    for (;;) {
        ssize_t got = recv(fd, text + n, sizeof text - 1 - n, 0);
        if (got < 0 && errno != ECONNRESET) return NULL;
        if (got <= 0) break;
        n += (size_t)got;
    }
    text[n] = '\0';
    close(fd);
    return text;
}

static void assert_closed_silently(int fd)
{
    const char *text = raw_read_to_end(fd);
    if (!text) fail_msg("the connection was not closed");
    assert_string_equal(text, "");
}

static const char *raw_ask(struct edge *e, const char *request)
{
    int fd = raw_open(e);
    raw_send(fd, request, strlen(request));
    const char *text = raw_read_to_end(fd);
    if (!text) fail_msg("no answer, or the connection was not closed");
    return text;
}

// --- TLS behind a header

static void tls_on(struct client *c, int fd)
{
    static SSL_CTX *ctx;
    if (!ctx) ctx = SSL_CTX_new(TLS_client_method());
    *c = (struct client){ .fd = fd, .in = calloc(1, RIG_BYTES + 1), .ssl = SSL_new(ctx) };
    SSL_set_fd(c->ssl, fd);
    SSL_set_tlsext_host_name(c->ssl, "app.example.com");
    if (SSL_connect(c->ssl) != 1) fail_msg("TLS handshake failed");
}

static void open_behind(struct edge *e, struct client *c, const char *header, size_t n)
{
    int fd = raw_open(e);
    raw_send(fd, header, n);
    tls_on(c, fd);
}

// The request as the backend gets it; the whole exchange has ended.
static const char *seen_by_backend(struct edge *e, struct client *c, const char *request)
{
    client_send(c, request);
    int b = backend_accept(e, RIG_WAIT_MS);
    assert_true(b >= 0);
    const char *seen = backend_await(b, "\r\n\r\n");
    backend_send(b, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    client_expect(c, "200 OK");
    client_close(c);
    close(b);
    return seen;
}

#define assert_has(text, part)                                                                               \
    do {                                                                                                     \
        if (!strstr(text, part)) fail_msg("no '%s' in '%s'", part, text);                                    \
    } while (0)
#define assert_lacks(text, part)                                                                             \
    do {                                                                                                     \
        if (strstr(text, part)) fail_msg("'%s' is in '%s'", part, text);                                     \
    } while (0)

#define GET_AS(fields) "GET / HTTP/1.1\r\nHost: app.example.com\r\n" fields "\r\n"

// --- a listener with proxy_protocol

static struct ip_network networks[2];

static void trust(struct config *c, const char *first, const char *second)
{
    struct err err = { 0 };
    assert_true(ip_network_parse(str_c(first), &networks[0], &err));
    assert_true(ip_network_parse(str_c(second), &networks[1], &err));
    c->trusted_proxies = (struct ip_networks){ networks, 2 };
}

static void tune_proxy(struct config *c)
{
    c->listeners[0].proxy_protocol = true;
    c->max_connections_per_address = 2;
    trust(c, "127.0.0.0/8", "10.0.0.0/8");
}

static void test_version_1(void **state)
{
    struct edge *e = *state;
    struct client c;
    open_behind(e, &c, V1, sizeof V1 - 1);
    const char *seen = seen_by_backend(e, &c, GET_AS(""));
    assert_has(seen, "X-Forwarded-For: 203.0.113.7\r\n");
    assert_has(seen, "Forwarded: for=203.0.113.7;");
    edge_expect_log(e, "\"event\":\"access\"", "\"client\":\"203.0.113.7\"");
    assert_int_equal(edge_log_lines(e, "127.0.0.1\""), 0);
}

static void test_version_2(void **state)
{
    struct edge *e = *state;
    struct client c;
    open_behind(e, &c, V2_IPV6, sizeof V2_IPV6 - 1);
    const char *seen = seen_by_backend(e, &c, GET_AS(""));
    assert_has(seen, "X-Forwarded-For: 2001:db8::7\r\n");
    assert_has(seen, "Forwarded: for=\"[2001:db8::7]\";");
    edge_expect_log(e, "\"event\":\"access\"", "\"client\":\"2001:db8::7\"");
}

static void test_header_byte_by_byte(void **state)
{
    struct edge *e = *state;
    struct client c;
    int fd = raw_open(e);
    for (size_t i = 0; i < sizeof V2_IPV6 - 1; i++) {
        raw_send(fd, V2_IPV6 + i, 1);
        usleep(3000);
    }
    usleep(50000); // the header alone, complete, and nothing behind it
    tls_on(&c, fd);
    assert_has(seen_by_backend(e, &c, GET_AS("")), "X-Forwarded-For: 2001:db8::7\r\n");
}

// The ClientHello arrives in the same segment: not a byte of it may be eaten with the header.
static void test_header_and_handshake_together(void **state)
{
    struct edge *e = *state;
    struct client c;
    int fd = raw_open(e);
    assert_int_equal(send(fd, V1, sizeof V1 - 1, MSG_MORE | MSG_NOSIGNAL), sizeof V1 - 1);
    tls_on(&c, fd);
    assert_has(seen_by_backend(e, &c, GET_AS("")), "X-Forwarded-For: 203.0.113.7\r\n");
}

static void test_two_headers_are_one_too_many(void **state)
{
    struct edge *e = *state;
    int fd = raw_open(e);
    raw_send(fd, V1 V1, 2 * (sizeof V1 - 1));
    const char *text = raw_read_to_end(fd); // perhaps an alert
    assert_non_null(text);
    assert_int_equal(backend_accept(e, 50), -1);
}

static void assert_refused(struct edge *e, const char *bytes, size_t n, const char *reason)
{
    int fd = raw_open(e);
    raw_send(fd, bytes, n);
    assert_closed_silently(fd);
    edge_expect_log(e, "\"event\":\"connection.refused\"", reason);
    assert_int_equal(backend_accept(e, 20), -1);
}

static void test_missing(void **state)
{
    struct edge *e = *state;
    static const char request[] = GET_APP;
    assert_refused(e, request, sizeof request - 1, "proxy_protocol.missing");
    assert_refused(e, "\x16\x03\x01", 3, "proxy_protocol.missing");
}

static void test_malformed(void **state)
{
    struct edge *e = *state;
    static const char octal[] = "PROXY TCP4 203.0.113.07 198.51.100.2 12345 443\r\n";
    assert_refused(e, octal, sizeof octal - 1, "proxy_protocol.header");
    assert_refused(e, SIGNATURE "\x21\x11\x00\x00", 16, "proxy_protocol.header");
    assert_refused(e, SIGNATURE "\x21\x11\xFF\xFF", 16, "proxy_protocol.header");
    int before = edge_log_lines(e, "connection.refused");
    for (int i = 0; i < 20; i++) { // a flood does not fill the log
        int fd = raw_open(e);
        raw_send(fd, octal, sizeof octal - 1);
        assert_closed_silently(fd);
    }
    assert_int_equal(edge_log_lines(e, "connection.refused"), before);
}

static uint64_t headers_refused(struct edge *e)
{
    return atomic_load(&e->worker->metrics.proxy_headers_refused_total);
}

static void test_cut_off(void **state)
{
    struct edge *e = *state;
    uint64_t before = headers_refused(e);
    int fd = raw_open(e); // a health check: no word about it
    shutdown(fd, SHUT_WR);
    assert_closed_silently(fd);
    fd = raw_open(e);
    client_reset(&(struct client){ .fd = fd });
    usleep(50000);
    assert_int_equal(headers_refused(e), before);
    fd = raw_open(e);
    raw_send(fd, V1, 20);
    shutdown(fd, SHUT_WR);
    assert_closed_silently(fd);
    assert_int_equal(headers_refused(e), before + 1);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// Sends a byte at a time; the time until the gateway closes. request_head is 1 s.
static int64_t ms_until_closed(int fd, const char *bytes, size_t n, int every_ms)
{
    int64_t begin = now_ms();
    for (size_t i = 0; now_ms() - begin < 4000; i++) {
        struct pollfd p = { fd, POLLIN | POLLRDHUP, 0 };
        if (poll(&p, 1, every_ms) > 0) break;
        if (i < n) send(fd, bytes + i, 1, MSG_NOSIGNAL);
    }
    return now_ms() - begin;
}

static void test_slow_header(void **state)
{
    struct edge *e = *state;
    int fd = raw_open(e);
    assert_in_range(ms_until_closed(fd, V1, sizeof V1 - 1, 100), 900, 2000);
    assert_closed_silently(fd);
}

// The header and the handshake behind it share their time.
static void test_slow_handshake(void **state)
{
    struct edge *e = *state;
    static const char hello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
                                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    int fd = raw_open(e);
    raw_send(fd, V1, sizeof V1 - 1);
    assert_in_range(ms_until_closed(fd, hello, sizeof hello - 1, 100), 900, 2000);
    assert_non_null(raw_read_to_end(fd));
}

static void test_local_is_the_proxy_itself(void **state)
{
    struct edge *e = *state;
    struct client c;
    open_behind(e, &c, V2_LOCAL, sizeof V2_LOCAL - 1);
    assert_has(seen_by_backend(e, &c, GET_AS("")), "X-Forwarded-For: 127.0.0.1\r\n");
}

// Somebody is behind, and nobody says who: what they say themselves is not believed because a trusted proxy
// passed it on.
static void test_unknown_is_nobody(void **state)
{
    struct edge *e = *state;
    static const char *const headers[] = { V2_UNSPEC, "PROXY UNKNOWN\r\n" };
    static const size_t lengths[] = { sizeof V2_UNSPEC - 1, 15 };
    for (size_t i = 0; i < 2; i++) {
        struct client c;
        open_behind(e, &c, headers[i], lengths[i]);
        const char *seen = seen_by_backend(e, &c, GET_AS("X-Forwarded-For: 198.51.100.3\r\n"));
        assert_has(seen, "X-Forwarded-For: unknown\r\n");
        assert_lacks(seen, "198.51.100.3");
        assert_lacks(seen, "127.0.0.1\r\n");
    }
}

static void test_fields_of_one_who_is_not_trusted(void **state)
{
    struct edge *e = *state;
    struct client c;
    open_behind(e, &c, V1, sizeof V1 - 1);
    const char *seen = seen_by_backend(
        e, &c,
        GET_AS("X-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: gopher\r\nForwarded: for=10.0.0.9\r\n"));
    assert_has(seen, "X-Forwarded-For: 203.0.113.7\r\n");
    assert_lacks(seen, "10.0.0.9");
    assert_lacks(seen, "gopher");
}

static void test_proxy_behind_a_proxy(void **state)
{
    struct edge *e = *state;
    struct client c;
    open_behind(e, &c, FROM_TRUSTED, sizeof FROM_TRUSTED - 1);
    const char *seen =
        seen_by_backend(e, &c, GET_AS("X-Forwarded-For: 192.0.2.66, 198.51.100.3, 10.0.0.8\r\n"));
    assert_has(seen, "X-Forwarded-For: 198.51.100.3\r\n");
    assert_lacks(seen, "192.0.2.66");
    edge_expect_log(e, "\"event\":\"access\"", "\"client\":\"198.51.100.3\"");
}

// Each is counted by the address that the header gives, and a proxy's own connections not at all.
static void test_limit_per_real_address(void **state)
{
    struct edge *e = *state;
    struct client c[2], other, own[3];
    for (int i = 0; i < 2; i++) open_behind(e, &c[i], V1, sizeof V1 - 1);
    assert_refused(e, V1, sizeof V1 - 1, "connections.address");
    open_behind(e, &other, V2_IPV6, sizeof V2_IPV6 - 1);
    for (int i = 0; i < 3; i++) open_behind(e, &own[i], V2_LOCAL, sizeof V2_LOCAL - 1);
    for (int i = 0; i < 3; i++) client_close(&own[i]);
    client_close(&other);
    client_close(&c[0]);
    usleep(50000);
    open_behind(e, &c[0], V1, sizeof V1 - 1);
    client_close(&c[0]);
    client_close(&c[1]);
}

// --- a listener with proxy_protocol, reached by somebody else

static void tune_stranger(struct config *c)
{
    c->listeners[0].proxy_protocol = true;
    trust(c, "10.0.0.0/8", "192.0.2.0/24");
}

static void test_stranger_cannot_say_who_it_is(void **state)
{
    struct edge *e = *state;
    int fd = raw_open(e);
    assert_closed_silently(fd); // without waiting for a byte
    edge_expect_log(e, "connection.refused", "proxy_protocol.untrusted");
    fd = raw_open(e);
    send(fd, FROM_TRUSTED, sizeof FROM_TRUSTED - 1, MSG_NOSIGNAL);
    assert_closed_silently(fd);
}

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

#define EDGE_TEST(f) cmocka_unit_test_setup(f, edge_test_begin)

int main(void)
{
    const struct CMUnitTest proxy[] = {
        EDGE_TEST(test_version_1),
        EDGE_TEST(test_version_2),
        EDGE_TEST(test_header_byte_by_byte),
        EDGE_TEST(test_header_and_handshake_together),
        EDGE_TEST(test_two_headers_are_one_too_many),
        EDGE_TEST(test_missing),
        cmocka_unit_test(test_malformed),
        EDGE_TEST(test_cut_off),
        EDGE_TEST(test_slow_header),
        EDGE_TEST(test_slow_handshake),
        EDGE_TEST(test_local_is_the_proxy_itself),
        EDGE_TEST(test_unknown_is_nobody),
        EDGE_TEST(test_fields_of_one_who_is_not_trusted),
        EDGE_TEST(test_proxy_behind_a_proxy),
        EDGE_TEST(test_limit_per_real_address),
    };
    const struct CMUnitTest stranger[] = { EDGE_TEST(test_stranger_cannot_say_who_it_is) };
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
    RUN(proxy, tune_proxy);
    RUN(stranger, tune_stranger);
    RUN(trusted, tune_trust);
    RUN(few, tune_few);
    RUN(plain, tune_plain);
    RUN(plain_few, tune_plain_few);
    RUN(redirect_only, tune_redirect_only);
    return failed;
}
