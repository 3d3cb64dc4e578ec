// SPDX-License-Identifier: GPL-3.0-or-later
#include "http/forwarded.h"

#include <stdio.h>
#include <string.h>

#include "vectors.h"

// Our own proxies; 10.0.0.1 is the one that speaks to us.
static const char *const own[] = { "10.0.0.0/8", "2001:db8:ffff::/48" };

struct line {
    enum field_id id;
    const char *value;
};
enum { LINES = 4 };

struct item {
    struct line lines[LINES];
    const char *client; // NULL: nobody is named
    enum forwarded_proto proto;
};

static bool read_lines(const struct line *lines, struct forwarded *ret, struct err *err)
{
    static struct http_fields f;
    struct ip_network networks[2];
    f.n = 0;
    for (size_t i = 0; i < 2; i++) assert_true(ip_network_parse(str_c(own[i]), &networks[i], err));
    for (size_t i = 0; i < LINES && lines[i].value; i++)
        assert_true(http_fields_add(&f, lines[i].id, STR("x"), str_c(lines[i].value)));
    return http_forwarded_read(&f, &(struct ip_networks){ networks, 2 }, ret, err);
}

#define XFF(v)                                                                                               \
    {                                                                                                        \
        FIELD_X_FORWARDED_FOR, v                                                                             \
    }
#define XFP(v)                                                                                               \
    {                                                                                                        \
        FIELD_X_FORWARDED_PROTO, v                                                                           \
    }
#define FWD(v)                                                                                               \
    {                                                                                                        \
        FIELD_FORWARDED, v                                                                                   \
    }

static const struct item good[] = {
    { { { 0 } }, NULL, PROTO_UNSAID },
    { { { FIELD_X_FORWARDED_HOST, "evil.example" },
        { FIELD_X_FORWARDED_PORT, "x" },
        { FIELD_X_REAL_IP, "1.2.3.4" } },
      NULL,
      PROTO_UNSAID },
    { { XFF("192.0.2.1") }, "192.0.2.1", PROTO_UNSAID },
    { { XFF("192.0.2.1"), XFP("https") }, "192.0.2.1", PROTO_HTTPS },
    { { XFF("192.0.2.1"), XFP("http") }, "192.0.2.1", PROTO_HTTP },
    { { XFF("192.0.2.1"), XFP("HTTPS") }, "192.0.2.1", PROTO_HTTPS },
    { { XFP("https") }, NULL, PROTO_HTTPS },
    { { XFP("https, https"), XFP("https") }, NULL, PROTO_HTTPS },
    // The end of the list counts: what stands before the client was written by the client.
    { { XFF("198.51.100.7, 192.0.2.1") }, "192.0.2.1", PROTO_UNSAID },
    { { XFF("10.0.0.9, 192.0.2.1") }, "192.0.2.1", PROTO_UNSAID },
    { { XFF("<script>, ,,\"\\, 192.0.2.1") }, "192.0.2.1", PROTO_UNSAID },
    { { XFF("10.0.0.9"), XFF("192.0.2.1") }, "192.0.2.1", PROTO_UNSAID },
    { { XFF("192.0.2.1, 10.1.1.1, 10.2.2.2") }, "192.0.2.1", PROTO_UNSAID },
    { { XFF("192.0.2.1"), XFF("10.1.1.1 ,10.2.2.2"), XFF("10.0.0.3") }, "192.0.2.1", PROTO_UNSAID },
    { { XFF("198.51.100.7,192.0.2.1,2001:db8:ffff::1") }, "192.0.2.1", PROTO_UNSAID },
    // Everybody is trusted: the first is the client.
    { { XFF("10.0.0.9") }, "10.0.0.9", PROTO_UNSAID },
    { { XFF("10.0.0.9, 10.0.0.8") }, "10.0.0.9", PROTO_UNSAID },
    { { XFF("2001:DB8::1") }, "2001:db8::1", PROTO_UNSAID },
    { { XFF("[2001:db8::1]") }, "2001:db8::1", PROTO_UNSAID },
    { { XFF("[2001:db8::1]:443") }, "2001:db8::1", PROTO_UNSAID },
    { { XFF("192.0.2.1:55555") }, "192.0.2.1", PROTO_UNSAID },
    { { XFF("::ffff:192.0.2.1") }, "192.0.2.1", PROTO_UNSAID },
    { { XFF("192.0.2.1, ::ffff:10.0.0.5") }, "192.0.2.1", PROTO_UNSAID },
    // A trusted proxy that does not know: nobody's address, and not the one before.
    { { XFF("192.0.2.1, unknown") }, "unknown", PROTO_UNSAID },
    { { XFF("192.0.2.1, Unknown, 10.0.0.3") }, "unknown", PROTO_UNSAID },
    { { FWD("for=192.0.2.1") }, "192.0.2.1", PROTO_UNSAID },
    { { FWD("For=\"[2001:db8:cafe::17]:4711\"") }, "2001:db8:cafe::17", PROTO_UNSAID },
    { { FWD("for=192.0.2.1;proto=http;by=203.0.113.43") }, "192.0.2.1", PROTO_HTTP },
    { { FWD("for=192.0.2.1 ; Proto=HTTPS") }, "192.0.2.1", PROTO_HTTPS },
    { { FWD("for=\"192.0.2.1:80\";host=\"a, for=b\";secret=x;secret=y") }, "192.0.2.1", PROTO_UNSAID },
    { { FWD("for=\"192.0.\\2.1\"") }, "192.0.2.1", PROTO_UNSAID },
    { { FWD("for=10.0.0.9;proto=https, for=192.0.2.1;proto=http") }, "192.0.2.1", PROTO_HTTP },
    { { FWD("for=192.0.2.1;proto=https, for=10.0.0.3;proto=http") }, "192.0.2.1", PROTO_HTTPS },
    { { FWD("for=192.0.2.1;proto=https"), FWD("for=10.0.0.3") }, "192.0.2.1", PROTO_HTTPS },
    { { FWD("for=_hidden, for=10.0.0.3") }, "unknown", PROTO_UNSAID },
    { { FWD("for=unknown") }, "unknown", PROTO_UNSAID },
    // Both, saying the same.
    { { XFF("192.0.2.1"), XFP("https"), FWD("for=192.0.2.1;proto=https") }, "192.0.2.1", PROTO_HTTPS },
    { { XFF("192.0.2.1, 10.0.0.3"), FWD("for=192.0.2.1") }, "192.0.2.1", PROTO_UNSAID },
};

static void test_who_is_the_client(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct forwarded got;
        struct err err = { 0 };
        char text[IP_TEXT_BYTES] = "nobody";
        if (!read_lines(good[i].lines, &got, &err)) fail_msg("good[%zu]: %s", i, err.detail);
        if (got.has_client) ip_text(&got.client, text);
        const char *want = good[i].client ? good[i].client : "nobody";
        if (strcmp(text, want) != 0 || got.proto != good[i].proto)
            fail_msg("good[%zu] '%s': %s, proto %d", i, good[i].lines[0].value, text, got.proto);
    }
}

static const struct item bad[] = {
    { { XFF("") }, "no address", 0 },
    { { XFF("192.0.2.1,") }, "no address", 0 },
    { { XFF("192.0.2.1, , 10.0.0.3") }, "no address", 0 },
    { { XFF("192.0.2.1 10.0.0.3") }, "no address", 0 },
    { { XFF("192.0.2.1"), XFF("garbage") }, "no address", 0 },
    { { XFF("192.0.2.01") }, "no address", 0 },
    { { XFF("3221225985") }, "no address", 0 },
    { { XFF("192.0.2.1:") }, "no address", 0 },
    { { XFF("192.0.2.1:65536") }, "no address", 0 },
    { { XFF("192.0.2.1:http") }, "no address", 0 },
    { { XFF("[192.0.2.1]") }, "no address", 0 },
    { { XFF("[2001:db8::1") }, "no address", 0 },
    { { XFF("[2001:db8::1]x") }, "no address", 0 },
    { { XFF("[2001:db8::1]:") }, "no address", 0 },
    { { XFF("2001:db8::1]") }, "no address", 0 },
    { { XFF("fe80::1%eth0") }, "no address", 0 },
    { { XFF("[]") }, "no address", 0 },
    { { XFF("::") }, "no address", 0 },
    { { XFF("\"192.0.2.1\"") }, "no address", 0 },
    { { XFF("localhost") }, "no address", 0 },
    { { XFF("for=192.0.2.1") }, "no address", 0 },
    { { XFP("") }, "neither", 0 },
    { { XFP("wss") }, "neither", 0 },
    { { XFP("https,") }, "neither", 0 },
    { { XFP("https://") }, "neither", 0 },
    { { XFP("https http") }, "neither", 0 },
    { { XFP("https, http") }, "differ", 0 },
    { { XFP("https"), XFP("http") }, "differ", 0 },
    { { FWD("") }, "name=value", 0 },
    { { FWD("for") }, "name=value", 0 },
    { { FWD("for =192.0.2.1") }, "name=value", 0 },
    { { FWD("for= 192.0.2.1") }, "neither token", 0 },
    { { FWD("for=") }, "neither token", 0 },
    { { FWD("=192.0.2.1") }, "name=value", 0 },
    { { FWD("for=192.0.2.1;") }, "name=value", 0 },
    { { FWD("for=192.0.2.1,") }, "name=value", 0 },
    { { FWD(",for=192.0.2.1") }, "name=value", 0 },
    { { FWD("for=192.0.2.1 proto=https") }, "no comma", 0 },
    { { FWD("for=192.0.2.1:80") }, "no comma", 0 }, // a colon needs quotes
    { { FWD("for=[2001:db8::1]") }, "neither token", 0 },
    { { FWD("for=\"2001:db8::1") }, "neither token", 0 },
    { { FWD("for=\"192.0.2.1\\") }, "neither token", 0 },
    { { FWD("for=\"192.0.2.1\"x") }, "no comma", 0 },
    { { FWD("for=\"\"") }, "no address", 0 },
    { { FWD("for=localhost") }, "no address", 0 },
    { { FWD("for=192.0.2.1;for=198.51.100.7") }, "twice", 0 },
    { { FWD("for=192.0.2.1;proto=https;PROTO=https") }, "twice", 0 },
    { { FWD("for=192.0.2.1;proto=ftp") }, "neither http", 0 },
    { { FWD("for=192.0.2.1;proto=") }, "neither token", 0 },
    { { FWD("proto=https") }, "without for", 0 },
    { { FWD("for=192.0.2.1, proto=https") }, "without for", 0 },
    // A quote that the client left open, and what a proxy appended to it.
    { { FWD("for=\"192.0.2.7, for=192.0.2.1") }, "neither token", 0 },
    { { FWD("for=192.0.2.7;x=\", for=\"[2001:db8::1]\"") }, "no comma", 0 },
    { { FWD("for=192.0.2.7;x=\""), FWD("for=192.0.2.1") }, "neither token", 0 },
    // Two witnesses: one of them may be the client.
    { { XFF("192.0.2.1"), FWD("for=198.51.100.7") }, "same", 0 },
    { { XFF("192.0.2.1"), FWD("for=192.0.2.1;proto=https") }, "same", 0 },
    { { XFF("192.0.2.1"), XFP("https"), FWD("for=192.0.2.1") }, "same", 0 },
    { { XFF("192.0.2.1"), XFP("https"), FWD("for=192.0.2.1;proto=http") }, "same", 0 },
    { { XFP("https"), FWD("for=192.0.2.1;proto=https") }, "same", 0 },
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct forwarded got = { .proto = PROTO_HTTP };
        struct err err = { 0 };
        const struct line *l = bad[i].lines;
        if (read_lines(l, &got, &err)) fail_msg("bad[%zu] '%s' is taken", i, l[0].value);
        if (err.code != ERR_FORWARDED || !strstr(err.detail, bad[i].client))
            fail_msg("bad[%zu] '%s': %s: %s", i, l[0].value, err_name(err.code), err.detail);
        assert_int_equal(got.proto, PROTO_HTTP); // untouched
        assert_false(got.has_client);
    }
}

static void repeat(char *buf, size_t size, const char *first, const char *more, int n)
{
    size_t used = (size_t)snprintf(buf, size, "%s", first);
    for (int i = 0; i < n; i++) used += (size_t)snprintf(buf + used, size - used, "%s", more);
}

static void test_number_of_proxies(void **state)
{
    (void)state;
    static char list[16 * 1024];
    struct forwarded got;
    struct err err = { 0 };
    struct line lines[LINES] = { XFF(list) };
    repeat(list, sizeof list, "192.0.2.1", ", 10.0.0.3", LIMIT_FORWARDED_HOPS - 1);
    assert_true(read_lines(lines, &got, &err));
    repeat(list, sizeof list, "192.0.2.1", ", 10.0.0.3", LIMIT_FORWARDED_HOPS);
    assert_false(read_lines(lines, &got, &err));
    // What the client itself wrote does not count.
    repeat(list, sizeof list, "192.0.2.1", ", 198.51.100.7", 10 * LIMIT_FORWARDED_HOPS);
    assert_true(read_lines(lines, &got, &err));
    lines[0] = (struct line)FWD(list);
    repeat(list, sizeof list, "for=192.0.2.1", ", for=10.0.0.3", LIMIT_FORWARDED_HOPS - 1);
    assert_true(read_lines(lines, &got, &err));
    repeat(list, sizeof list, "for=192.0.2.1", ", for=10.0.0.3", LIMIT_FORWARDED_HOPS);
    assert_false(read_lines(lines, &got, &err));
    repeat(list, sizeof list, "for=192.0.2.1;host=\"", "aaaaaaaa", 32);
    strcat(list, "\"");
    assert_true(read_lines(lines, &got, &err));
    list[strlen(list) - 1] = 'a';
    strcat(list, "\"");
    assert_false(read_lines(lines, &got, &err));
}

// Nothing that was taken out counts; nobody is trusted when nobody is configured.
static void test_removed_fields_and_no_proxies(void **state)
{
    (void)state;
    static struct http_fields f;
    struct forwarded got;
    struct err err = { 0 };
    assert_true(http_fields_add(&f, FIELD_X_FORWARDED_FOR, STR("x"), STR("garbage")));
    assert_true(http_fields_add(&f, FIELD_X_FORWARDED_PROTO, STR("x"), STR("garbage")));
    assert_true(http_fields_add(&f, FIELD_FORWARDED, STR("x"), STR("garbage")));
    for (size_t i = 0; i < f.n; i++) f.v[i].removed = true;
    assert_true(http_forwarded_read(&f, &(struct ip_networks){ NULL, 0 }, &got, &err));
    assert_false(got.has_client);
    assert_int_equal(got.proto, PROTO_UNSAID);
    assert_true(http_fields_add(&f, FIELD_X_FORWARDED_FOR, STR("x"), STR("192.0.2.1, 10.0.0.3")));
    assert_true(http_forwarded_read(&f, &(struct ip_networks){ NULL, 0 }, &got, &err));
    char text[IP_TEXT_BYTES];
    ip_text(&got.client, text);
    assert_string_equal(text, "10.0.0.3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_the_client),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_number_of_proxies),
        cmocka_unit_test(test_removed_fields_and_no_proxies),
    };
    return cmocka_run_group_tests_name("forwarded", tests, NULL, NULL);
}
