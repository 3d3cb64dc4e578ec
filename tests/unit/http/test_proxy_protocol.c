// SPDX-License-Identifier: GPL-3.0-or-later
#include "http/proxy_protocol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vectors.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define CHECKSUM "\xC8\xCC\xD4\xB7"                                 // of the header in test_checksum
#define V4_BLOCK "\xC0\x00\x02\x01\xC6\x33\x64\x02\x30\x39\x01\xBB" // 192.0.2.1:12345 -> 198.51.100.2:443

struct header {
    const char *p;
    size_t n;
};
#define HEADER(lit)                                                                                          \
    {                                                                                                        \
        lit, sizeof(lit) - 1                                                                                 \
    }

// The parser may not look behind the bytes that it is given: these end where the memory does.
static enum proxy_parse parse(const char *p, size_t n, struct proxy_header *ret, struct err *err)
{
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, p, n);
    enum proxy_parse result = proxy_header_parse(copy, n, ret, err);
    free(copy);
    return result;
}

// As it arrives: nothing can be said until the last byte has come, and what comes behind it changes nothing.
static void assert_source(struct header h, const char *want, bool local)
{
    struct proxy_header got;
    struct err err = { 0 };
    char text[IP_TEXT_BYTES], longer[512];
    for (size_t n = 0; n < h.n; n++) assert_int_equal(parse(h.p, n, &got, &err), PROXY_MORE);
    memcpy(longer, h.p, h.n);
    memcpy(longer + h.n, "GET / HTTP/1.1\r\n", 16);
    for (size_t extra = 0; extra <= 16; extra += 16) {
        if (parse(longer, h.n + extra, &got, &err) != PROXY_DONE) fail_msg("%.40s: %s", h.p, err.detail);
        ip_text(&got.source, text);
        assert_string_equal(text, want);
        assert_int_equal(got.bytes, h.n);
        assert_int_equal(got.local, local);
    }
}

static void assert_bad(struct header h, enum err_code code, const char *detail)
{
    struct proxy_header got = { .bytes = 4711 };
    struct err err = { 0 };
    enum proxy_parse result = parse(h.p, h.n, &got, &err);
    if (result != PROXY_BAD || err.code != code || !strstr(err.detail, detail))
        fail_msg("'%.60s' (%zu bytes): result %d, %s: %s", h.p, h.n, result, err_name(err.code), err.detail);
    assert_int_equal(got.bytes, 4711);
}

static void test_version_1(void **state)
{
    (void)state;
    assert_source((struct header)HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n"), "192.0.2.1",
                  false);
    assert_source((struct header)HEADER("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
                  "255.255.255.255", false);
    assert_source((struct header)HEADER("PROXY TCP6 2001:DB8::1 2001:db8::2 0 443\r\n"), "2001:db8::1",
                  false);
    assert_source((struct header)HEADER("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 443\r\n"), "192.0.2.1", false);
    assert_source((struct header)HEADER("PROXY UNKNOWN\r\n"), "unknown", false);
    // Section 2.1, the longest there is.
    assert_source((struct header)HEADER("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"),
                  "unknown", false);
    assert_source((struct header)HEADER("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
                                        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe 65535 65535\r\n"),
                  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false);
}

static void test_version_1_refusals(void **state)
{
    (void)state;
    static const struct header bad[] = {
        HEADER("PROXY \r\n"),
        HEADER("PROXY TCP4\r\n"),
        HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 12345\r\n"),
        HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 12345 443 \r\n"),
        HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 12345 443 1\r\n"),
        HEADER("PROXY TCP4  192.0.2.1 198.51.100.2 12345 443\r\n"),
        HEADER("PROXY TCP4\t192.0.2.1 198.51.100.2 12345 443\r\n"),
        HEADER("PROXY  TCP4 192.0.2.1 198.51.100.2 12345 443\r\n"),
        HEADER("PROXY tcp4 192.0.2.1 198.51.100.2 12345 443\r\n"),
        HEADER("PROXY TCP5 192.0.2.1 198.51.100.2 12345 443\r\n"),
        HEADER("PROXY UDP4 192.0.2.1 198.51.100.2 12345 443\r\n"),
        HEADER("PROXY UNKNOWNX\r\n"),
        HEADER("PROXY TCP4 192.0.2.01 198.51.100.2 12345 443\r\n"),
        HEADER("PROXY TCP4 192.0.2 198.51.100.2 12345 443\r\n"),
        HEADER("PROXY TCP4 192.0.2.256 198.51.100.2 12345 443\r\n"),
        HEADER("PROXY TCP4 0xC0.0.2.1 198.51.100.2 12345 443\r\n"),
        HEADER("PROXY TCP4 2001:db8::1 2001:db8::2 12345 443\r\n"),
        HEADER("PROXY TCP6 192.0.2.1 198.51.100.2 12345 443\r\n"),
        HEADER("PROXY TCP6 2001:db8::1 198.51.100.2 12345 443\r\n"),
        HEADER("PROXY TCP6 [2001:db8::1] 2001:db8::2 12345 443\r\n"),
        HEADER("PROXY TCP6 fe80::1%eth0 2001:db8::2 12345 443\r\n"),
        HEADER("PROXY TCP6 :: 2001:db8::2 12345 443\r\n"),
        HEADER("PROXY TCP4 192.0.2.1 nonsense 12345 443\r\n"),
        HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 012345 443\r\n"),
        HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 12345 0443\r\n"),
        HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n"),
        HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 12345 65536\r\n"),
        HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 -1 443\r\n"),
        HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n"),
        HEADER("PROXY TCP4 192.0.2.1 198.51.100.2  443\r\n"),
        HEADER("PROXY TCP4 192.0.2.1\0 198.51.100.2 12345 443\r\n"),
        HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\n"),
        HEADER("PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\r\n"),
        HEADER("PROXY \n"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_bad(bad[i], ERR_PROXY_PROTOCOL, "version 1");
}

// 107 bytes and not one more, wherever the line would have ended.
static void test_version_1_length(void **state)
{
    (void)state;
    char line[256];
    struct proxy_header got;
    struct err err = { 0 };
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    assert_int_equal(parse(line, 106, &got, &err), PROXY_MORE);
    assert_bad((struct header){ line, 107 }, ERR_PROXY_PROTOCOL, "107");
    memcpy(line + 106, "\r\n", 2);
    assert_bad((struct header){ line, 108 }, ERR_PROXY_PROTOCOL, "107");
    memcpy(line + 105, "\r\n", 2);
    assert_int_equal(parse(line, 107, &got, &err), PROXY_DONE);
}

static void test_version_2(void **state)
{
    (void)state;
    assert_source((struct header)HEADER(SIGNATURE "\x21\x11\x00\x0C" V4_BLOCK), "192.0.2.1", false);
    assert_source((struct header)HEADER(SIGNATURE
                                        "\x21\x21\x00\x24"
                                        "\x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\x01"
                                        "\x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\x02\x30\x39\x01\xBB"),
                  "2001:db8::1", false);
    assert_source((struct header)HEADER(SIGNATURE
                                        "\x21\x21\x00\x24"
                                        "\0\0\0\0\0\0\0\0\0\0\xFF\xFF\xC0\0\x02\x01"
                                        "\x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\x02\x30\x39\x01\xBB"),
                  "192.0.2.1", false);
    // TLVs: ALPN "h2", an empty one, an unknown type.
    assert_source((struct header)HEADER(SIGNATURE "\x21\x11\x00\x18" V4_BLOCK
                                                  "\x01\x00\x02h2\x04\x00\x00\xEA\x00\x01x"),
                  "192.0.2.1", false);
    // LOCAL: whatever follows is thrown away, family included.
    assert_source((struct header)HEADER(SIGNATURE "\x20\x00\x00\x00"), "unknown", true);
    assert_source((struct header)HEADER(SIGNATURE "\x20\xEE\x00\x0C" V4_BLOCK), "unknown", true);
    // Nobody knows for whom: no address, and not the proxy's own either.
    assert_source((struct header)HEADER(SIGNATURE "\x21\x00\x00\x00"), "unknown", false);
    assert_source((struct header)HEADER(SIGNATURE "\x21\x00\x00\x03xyz"), "unknown", false);
}

static void test_unix_addresses_say_nothing(void **state)
{
    (void)state;
    char p[16 + 216];
    memcpy(p, SIGNATURE "\x21\x31\x00\xD8", 16);
    memset(p + 16, 0xFF, 216);
    assert_source((struct header){ p, sizeof p }, "unknown", false);
}

static void test_version_2_refusals(void **state)
{
    (void)state;
    static const struct header bad[] = {
        HEADER(SIGNATURE "\x11\x11\x00\x0C" V4_BLOCK), // version 1
        HEADER(SIGNATURE "\x31\x11\x00\x0C" V4_BLOCK),
        HEADER(SIGNATURE "\x22\x11\x00\x0C" V4_BLOCK), // command
        HEADER(SIGNATURE "\x2F\x11\x00\x0C" V4_BLOCK),
        HEADER(SIGNATURE "\x22"),                      // as soon as it is certain
        HEADER(SIGNATURE "\x21\x12\x00\x0C" V4_BLOCK), // datagrams
        HEADER(SIGNATURE "\x21\x10\x00\x0C" V4_BLOCK), // family without transport
        HEADER(SIGNATURE "\x21\x01\x00\x0C" V4_BLOCK),
        HEADER(SIGNATURE "\x21\x41\x00\x0C" V4_BLOCK),
        HEADER(SIGNATURE "\x21\x13\x00\x0C" V4_BLOCK),
        HEADER(SIGNATURE "\x21\x11\x00\x0B" V4_BLOCK), // shorter than its addresses
        HEADER(SIGNATURE "\x21\x11\x00\x00"),
        HEADER(SIGNATURE "\x21\x21\x00\x0C" V4_BLOCK),
        HEADER(SIGNATURE "\x21\x31\x00\x0C" V4_BLOCK),
        HEADER(SIGNATURE "\x21\x11\x00\x0D" V4_BLOCK "\x04"), // TLVs that are cut off
        HEADER(SIGNATURE "\x21\x11\x00\x0E" V4_BLOCK "\x04\x00"),
        HEADER(SIGNATURE "\x21\x11\x00\x0F" V4_BLOCK "\x04\x00\x01"),
        HEADER(SIGNATURE "\x21\x11\x00\x10" V4_BLOCK "\x04\xFF\xFFx"),
        HEADER(SIGNATURE "\x21\x11\x00\x11" V4_BLOCK "\x04\x00\x01x\x04"),
        HEADER(SIGNATURE "\x21\x21\x00\x24"
                         "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                         "\x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\x02\x30\x39\x01\xBB"), // from "::"
        HEADER(SIGNATURE "\x21\x11\x07\xF1"),                                           // 2049 bytes
        HEADER(SIGNATURE "\x20\x00\xFF\xFF"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_bad(bad[i], ERR_PROXY_PROTOCOL, "version 2");
}

static void test_longest_version_2(void **state)
{
    (void)state;
    char p[LIMIT_PROXY_HEADER_BYTES] = SIGNATURE "\x21\x11\x07\xF0" V4_BLOCK "\x04\x07\xE1";
    struct proxy_header got;
    struct err err = { 0 };
    assert_int_equal(parse(p, sizeof p - 1, &got, &err), PROXY_MORE);
    assert_int_equal(parse(p, sizeof p, &got, &err), PROXY_DONE);
    assert_int_equal(got.bytes, LIMIT_PROXY_HEADER_BYTES);
}

// A checksum that was made with another implementation; every flipped bit is noticed.
static void test_checksum(void **state)
{
    (void)state;
    char p[] = SIGNATURE "\x21\x11\x00\x13" V4_BLOCK "\x03\x00\x04" CHECKSUM;
    size_t n = sizeof p - 1;
    struct proxy_header got;
    struct err err = { 0 };
    if (parse(p, n, &got, &err) != PROXY_DONE) fail_msg("%s", err.detail);
    for (size_t bit = 16 * 8; bit < n * 8; bit++) {
        if (bit / 8 >= 28 && bit / 8 < 31) continue; // the TLV's own head: then it is another one
        p[bit / 8] ^= (char)(1 << bit % 8);
        assert_bad((struct header){ p, n }, ERR_PROXY_PROTOCOL, "checksum");
        p[bit / 8] ^= (char)(1 << bit % 8);
    }
    assert_bad((struct header)HEADER(SIGNATURE "\x21\x11\x00\x12" V4_BLOCK "\x03\x00\x03\x00\x00\x00"),
               ERR_PROXY_PROTOCOL, "checksum");
}

static void test_what_is_no_header(void **state)
{
    (void)state;
    static const struct header bad[] = {
        HEADER("GET / HTTP/1.1\r\n"),
        HEADER("P "),
        HEADER("PROXY\r\n"),
        HEADER("proxy TCP4 192.0.2.1 198.51.100.2 12345 443\r\n"),
        HEADER(" PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n"),
        HEADER("\r\nPROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n"),
        HEADER("\r\n\r\nGET / HTTP/1.1\r\n"),
        HEADER("\r\n\r\n\0\r\nQUIX"),
        HEADER("\0"),
        HEADER("PRI * HTTP/2.0\r\n"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_bad(bad[i], ERR_PROXY_PROTOCOL_MISSING, "something else");
    assert_bad((struct header)HEADER("\x16"), ERR_PROXY_PROTOCOL_MISSING, "TLS");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_1),
        cmocka_unit_test(test_version_1_refusals),
        cmocka_unit_test(test_version_1_length),
        cmocka_unit_test(test_version_2),
        cmocka_unit_test(test_unix_addresses_say_nothing),
        cmocka_unit_test(test_version_2_refusals),
        cmocka_unit_test(test_longest_version_2),
        cmocka_unit_test(test_checksum),
        cmocka_unit_test(test_what_is_no_header),
    };
    return cmocka_run_group_tests_name("proxy_protocol", tests, NULL, NULL);
}
