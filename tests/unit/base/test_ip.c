// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/ip.h"

static struct ip_address address(const char *text)
{
    struct ip_address a = { { 0 } };
    if (!ip_parse(str_c(text), &a)) fail_msg("'%s' is an address", text);
    return a;
}

static void assert_text(const char *from, const char *want)
{
    struct ip_address a = address(from);
    char got[IP_TEXT_BYTES];
    ip_text(&a, got);
    assert_string_equal(got, want);
}

static void test_texts(void **state)
{
    (void)state;
    assert_text("192.0.2.1", "192.0.2.1");
    assert_text("0.0.0.0", "0.0.0.0");
    assert_text("255.255.255.255", "255.255.255.255");
    assert_text("::ffff:192.0.2.1", "192.0.2.1");
    assert_text("::FFFF:c000:201", "192.0.2.1");
    assert_text("2001:0DB8:0:0:0:0:0:1", "2001:db8::1");
    assert_text("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"); // RFC 5952 section 4.2.2
    assert_text("::1", "::1");
    assert_text("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    struct ip_address unknown = { { 0 } };
    char got[IP_TEXT_BYTES];
    ip_text(&unknown, got);
    assert_string_equal(got, "unknown");
}

// What getaddrinfo() or inet_aton() would take for an address, and what more than an address.
static void test_what_is_no_address(void **state)
{
    (void)state;
    static const char *const bad[] = { "",
                                       "::",
                                       "unknown",
                                       "127.1",
                                       "1",
                                       "2130706433",
                                       "0x7f.0.0.1",
                                       "010.0.0.1",
                                       "10.0.0.01",
                                       "1.2.3.256",
                                       "1.2.3",
                                       "1.2.3.4.5",
                                       "1.2.3.4.",
                                       ".1.2.3.4",
                                       " 1.2.3.4",
                                       "1.2.3.4 ",
                                       "1.2.3.4:80",
                                       "+1.2.3.4",
                                       "[::1]",
                                       "::1%lo",
                                       "fe80::1%1",
                                       "::1/128",
                                       "1::2::3",
                                       ":1::",
                                       "1:2:3:4:5:6:7",
                                       "1:2:3:4:5:6:7:8:9",
                                       "12345::",
                                       "::g",
                                       "::ffff:1.2.3",
                                       "::ffff:01.2.3.4",
                                       "localhost",
                                       "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ip_address a = { { 7 } };
        if (ip_parse(str_c(bad[i]), &a)) fail_msg("'%s' is no address", bad[i]);
        assert_int_equal(a.b[0], 7); // untouched
    }
    struct ip_address a;
    assert_false(ip_parse((struct str){ "1.2.3.4\0", 8 }, &a));
    assert_false(ip_parse((struct str){ "1.2.3.4\0.evil", 13 }, &a));
    assert_false(ip_parse(STR_NONE, &a));
    assert_true(ip_parse((struct str){ "1.2.3.45", 7 }, &a)); // no terminator is needed
    char text[IP_TEXT_BYTES];
    ip_text(&a, text);
    assert_string_equal(text, "1.2.3.4");
}

static void assert_of(const void *sa, const char *want)
{
    struct ip_address a = ip_of_sockaddr(sa);
    char got[IP_TEXT_BYTES];
    ip_text(&a, got);
    assert_string_equal(got, want);
}

static void test_socket_addresses(void **state)
{
    (void)state;
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = 80, .sin_addr.s_addr = htonl(0xc0000201) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = 80 };
    struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "/run/sixteen bytes and more of a path" };
    assert_of(&v4, "192.0.2.1");
    inet_pton(AF_INET6, "2001:db8::7", &v6.sin6_addr);
    assert_of(&v6, "2001:db8::7");
    inet_pton(AF_INET6, "::ffff:192.0.2.1", &v6.sin6_addr); // IPv4 on a [::] listener
    assert_of(&v6, "192.0.2.1");
    assert_of(&un, "unknown");
}

static bool in(const char *network, const char *who)
{
    struct ip_network n;
    struct err err = { 0 };
    if (!ip_network_parse(str_c(network), &n, &err)) fail_msg("%s: %s", network, err.detail);
    struct ip_address a = address(who);
    return ip_network_has(&n, &a);
}

static void test_networks(void **state)
{
    (void)state;
    assert_true(in("10.0.0.0/8", "10.255.255.255"));
    assert_false(in("10.0.0.0/8", "11.0.0.0"));
    assert_false(in("10.0.0.0/8", "9.255.255.255"));
    assert_true(in("10.0.0.0/8", "::ffff:10.1.2.3"));
    assert_true(in("192.0.2.128/25", "192.0.2.200"));
    assert_false(in("192.0.2.128/25", "192.0.2.127"));
    assert_true(in("192.0.2.4/31", "192.0.2.5"));
    assert_false(in("192.0.2.4/31", "192.0.2.6"));
    assert_true(in("192.0.2.4", "192.0.2.4"));
    assert_false(in("192.0.2.4", "192.0.2.5"));
    assert_true(in("0.0.0.0/0", "203.0.113.1"));
    assert_false(in("0.0.0.0/0", "2001:db8::1"));
    assert_true(in("2001:db8::/32", "2001:db8:ffff::1"));
    assert_false(in("2001:db8::/32", "2001:db9::1"));
    assert_true(in("2001:db8::1/128", "2001:db8::1"));
    assert_false(in("2001:db8::1", "2001:db8::2"));
    assert_true(in("::ffff:10.0.0.0/104", "10.1.2.3")); // as IPv6 text the prefix counts in IPv6 bits
    assert_true(in("::/0", "2001:db8::1"));
}

// Trusting all of IPv6 must not trust all of IPv4, which is kept inside ::ffff:0:0/96.
static void test_ipv6_networks_hold_no_ipv4(void **state)
{
    (void)state;
    assert_false(in("::/0", "10.0.0.1"));
    assert_false(in("::/64", "::ffff:10.0.0.1"));
    assert_true(in("::/64", "::1"));
    assert_true(in("::ffff:0:0/96", "10.0.0.1"));
}

static void test_nobody_is_in_a_network(void **state)
{
    (void)state;
    struct ip_network all[2];
    struct err err = { 0 };
    assert_true(ip_network_parse(STR("::/0"), &all[0], &err));
    assert_true(ip_network_parse(STR("0.0.0.0/0"), &all[1], &err));
    struct ip_networks list = { all, 2 }, none = { NULL, 0 };
    struct ip_address unknown = { { 0 } }, v4 = address("10.0.0.1"), v6 = address("2001:db8::1");
    assert_false(ip_networks_have(&list, &unknown));
    assert_true(ip_networks_have(&list, &v4));
    assert_true(ip_networks_have(&list, &v6));
    assert_false(ip_networks_have(&none, &v4));
}

static void assert_refused(const char *text, const char *hint)
{
    struct ip_network n = { .bits = 7 };
    struct err err = { 0 };
    if (ip_network_parse(str_c(text), &n, &err)) fail_msg("'%s' is no network", text);
    assert_int_equal(n.bits, 7);
    assert_int_equal(err.code, ERR_CONFIG);
    if (!strstr(err.detail, hint)) fail_msg("'%s': '%s' does not say '%s'", text, err.detail, hint);
}

static void test_what_is_no_network(void **state)
{
    (void)state;
    assert_refused("10.0.0.1/8", "10.0.0.0/8");
    assert_refused("10.0.0.1/8", "10.0.0.1 alone");
    assert_refused("192.0.2.255/25", "192.0.2.128/25");
    assert_refused("10.0.0.1/0", "0.0.0.0/0");
    assert_refused("2001:db8::1/32", "2001:db8::/32");
    assert_refused("2001:db8::/0", "::/0");
    assert_refused("::ffff:10.0.0.0/90", "::ffc0:0:0/90");
    assert_refused("10.0.0.0/33", "0 to 32");
    assert_refused("::/129", "0 to 128");
    assert_refused("10.0.0.0/", "0 to 32");
    assert_refused("10.0.0.0/08", "0 to 32");
    assert_refused("10.0.0.0/+8", "0 to 32");
    assert_refused("10.0.0.0/8 ", "0 to 32");
    assert_refused("10.0.0.0/8/8", "0 to 32");
    assert_refused("10.0.0.0/255.0.0.0", "0 to 32");
    assert_refused("10.0/8", "not an IP address");
    assert_refused("example.com", "not an IP address");
    assert_refused("", "not an IP address");
    assert_refused("/8", "not an IP address");
    assert_refused("[::1]/128", "not an IP address");
    assert_refused("::", "::/0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_what_is_no_address),
        cmocka_unit_test(test_socket_addresses),
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_ipv6_networks_hold_no_ipv4),
        cmocka_unit_test(test_nobody_is_in_a_network),
        cmocka_unit_test(test_what_is_no_network),
    };
    return cmocka_run_group_tests_name("ip", tests, NULL, NULL);
}
