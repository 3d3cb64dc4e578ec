// SPDX-License-Identifier: GPL-3.0-or-later
// PROXY protocol headers before TLS: of a trusted proxy, and of somebody else.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "raw_client.h"

#define V1 "PROXY TCP4 203.0.113.7 198.51.100.2 12345 443\r\n"
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V2_LOCAL SIGNATURE "\x20\x00\x00\x00"
#define V2_UNSPEC SIGNATURE "\x21\x00\x00\x00"
#define V2_IPV6                                                                                              \
    SIGNATURE "\x21\x21\x00\x29"                                                                             \
              "\x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\x07\x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\x02"         \
              "\x30\x39\x01\xBB\x01\x00\x02h2"
#define FROM_TRUSTED "PROXY TCP4 10.0.0.5 198.51.100.2 12345 443\r\n"

// --- a listener with proxy_protocol

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
        raw_send(fd, &V2_IPV6[i], 1);
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
    int failed = 0;
#define RUN(group, tune)                                                                                     \
    edge_tune = tune, failed += cmocka_run_group_tests_name(#group, group, edge_setup, edge_teardown)
    RUN(proxy, tune_proxy);
    RUN(stranger, tune_stranger);
    return failed;
}
