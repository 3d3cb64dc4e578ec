// SPDX-License-Identifier: GPL-3.0-or-later
#include "vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "http/h2_request.h"

static struct http_request_head head;
static struct h2_request request;
static struct arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = arena_new(LIMIT_EXCHANGE_ARENA);
    return arena ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static void begin(void)
{
    arena_clear(arena);
    memset(&head, 0xA5, sizeof head); // of a request before
    h2_request_begin(&request, arena, &head);
}

// "name=value\n..."; the first '=' separates.
static void feed(const char *text)
{
    struct str rest = str_c(text), line;
    while (str_cut(&rest, '\n', &line)) {
        if (line.n == 0) continue;
        size_t at = str_find(line, '=');
        struct str name = str_take(line, at), value = str_skip(line, at + 1);
        // At the heap's end, so that a sanitizer sees each byte read too many; and gone afterwards.
        char *n = malloc(name.n ? name.n : 1), *v = malloc(value.n ? value.n : 1);
        memcpy(n, name.p, name.n);
        memcpy(v, value.p, value.n);
        assert_true(h2_request_field(&request, (struct str){ n, name.n }, (struct str){ v, value.n }));
        free(n);
        free(v);
    }
}

#define GOOD ":method=GET\n:scheme=https\n:authority=a.example\n:path=/x?y=1\n"

static void accept(const char *fields, bool body)
{
    struct err err = { 0 };
    begin();
    feed(fields);
    if (!h2_request_end(&request, body, &err)) fail_msg("%s: %s", fields, err.detail);
}

static void refuse_body(const char *fields, bool body, const char *reason, const char *detail)
{
    struct err err = { 0 };
    begin();
    feed(fields);
    if (h2_request_end(&request, body, &err)) fail_msg("accepted: %s", fields);
    assert_refusal(&err, str_c(reason), str_c(detail), str_c(fields));
}

static void refuse(const char *fields, const char *reason, const char *detail)
{
    refuse_body(fields, true, reason, detail);
}

static void test_a_request_is_understood(void **state)
{
    (void)state;
    accept(":method=POST\n:scheme=https\n:authority=A.example:8443\n:path=/x?y=1\nhost=a.EXAMPLE:8443\n"
           "content-length=12\nx-a=\nexpect=100-continue\nte=trailers\nuser-agent=b\n",
           true);
    assert_str(head.method, "POST");
    assert_str(head.target, "/x?y=1");
    assert_str(head.path_query, "/x?y=1");
    assert_str(head.host, "A.example:8443");
    assert_int_equal(head.minor, 1);
    assert_int_equal(head.content_length, 12);
    assert_false(head.chunked);
    assert_true(head.keep_alive);
    assert_true(head.expect_continue);
    assert_false(head.upgrade);
    assert_int_equal(head.fields.n, 5); // Host is :authority now
    assert_str(head.fields.v[1].name, "x-a");
    assert_str(head.fields.v[1].value, "");
    assert_int_equal(head.fields.v[1].id, FIELD_OTHER);
    assert_str(head.fields.v[4].name, "User-Agent");
    assert_int_equal(head.fields.v[4].id, FIELD_USER_AGENT);
    assert_false(head.fields.v[4].removed);
}

static void test_a_body_without_length_is_chunked_behind_us(void **state)
{
    (void)state;
    accept(GOOD, true);
    assert_true(head.chunked);
    assert_int_equal(head.content_length, -1);
    accept(GOOD, false);
    assert_false(head.chunked);
    accept(GOOD "content-length=0\n", false);
    assert_int_equal(head.content_length, 0);
    accept(GOOD "content-length=5\n", true);
    assert_false(head.chunked);
}

static void test_cookie_crumbs_are_joined(void **state)
{
    (void)state;
    accept(GOOD "cookie=a=1\nx-a=b\ncookie=b=2\ncookie=\ncookie=c=3\n", false);
    assert_int_equal(head.fields.n, 2);
    assert_str(head.fields.v[1].name, "Cookie");
    assert_str(head.fields.v[1].value, "a=1; b=2; c=3");
    accept(GOOD "cookie=\ncookie=\n", false);
    assert_str(http_fields_value(&head.fields, FIELD_COOKIE), "");
    accept(GOOD "cookie=a=1\n", false);
    assert_str(http_fields_value(&head.fields, FIELD_COOKIE), "a=1");
}

// The canonical spelling is not that of another name which only means the same.
static void test_underscores_stay(void **state)
{
    (void)state;
    accept(GOOD "x_forwarded_user=root\nx-sallyport-user=root\n", false);
    assert_str(head.fields.v[0].name, "x_forwarded_user");
    assert_true(http_field_flags(head.fields.v[0].id) & FLAG_IDENTITY);
    assert_str(head.fields.v[1].name, "X-Sallyport-User");
}

static void test_pseudo_headers(void **state)
{
    (void)state;
    refuse(":scheme=https\n:authority=a\n:path=/\n", "http.method", "no :method");
    refuse(":method=GET\n:authority=a\n:path=/\n", "http.target", "no :scheme");
    refuse(":method=GET\n:scheme=https\n:path=/\n", "http.host", "no :authority");
    refuse(":method=GET\n:scheme=https\n:path=/\nhost=a\n", "http.host", "no :authority");
    refuse(":method=GET\n:scheme=https\n:authority=a\n", "http.target", "no :path");
    refuse(GOOD ":method=POST\n", "http.header_name", "more than one :method");
    refuse(GOOD ":path=/y\n", "http.header_name", "more than one :path");
    refuse(GOOD ":scheme=https\n", "http.header_name", "more than one :scheme");
    refuse(GOOD ":authority=a.example\n", "http.header_name", "more than one :authority");
    refuse(GOOD ":status=200\n", "http.header_name", "':status'");
    refuse(GOOD ":protocol=websocket\n", "http.header_name", "':protocol'");
    refuse(GOOD ":=x\n", "http.header_name", "':'");
    refuse(":method=GET\n:scheme=https\n:authority=a\nx-a=1\n:path=/\n", "http.header_name",
           "after a header");
}

static void test_methods(void **state)
{
    (void)state;
#define REST ":scheme=https\n:authority=a.example\n:path=/\n"
    accept(":method=get\n" REST, false); // methods have a case; policy decides
    refuse(":method=\n" REST, "http.method", "no :method");
    refuse(":method=GET /evil HTTP/1.1\n" REST, "http.method", "0x20");
    refuse(":method=GE\rT\n" REST, "http.method", "0x0d");
    refuse(":method=CONNECT\n" REST, "http.method", "CONNECT");
    refuse(":method=ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG\n" REST, "http.method", "longer than 32");
}

static void test_schemes(void **state)
{
    (void)state;
    refuse(":method=GET\n:scheme=http\n:authority=a\n:path=/\n", "http.target", "not https");
    refuse(":method=GET\n:scheme=HTTPS\n:authority=a\n:path=/\n", "http.target", "not https");
    refuse(":method=GET\n:scheme=\n:authority=a\n:path=/\n", "http.target", "not https");
    refuse(":method=GET\n:scheme=javascript\n:authority=a\n:path=/\n", "http.target", "not https");
}

static void test_authorities(void **state)
{
    (void)state;
#define AT(authority) ":method=GET\n:scheme=https\n:path=/\n:authority=" authority "\n"
    accept(AT("[::1]:443"), false);
    accept(AT("a.example") "host=A.Example\n", false);
    refuse(AT(""), "http.host", "empty");
    refuse(AT("admin@a.example"), "http.host", "user information");
    refuse(AT("a.example/"), "http.host", "0x2f");
    refuse(AT("a.example, b.example"), "http.host", "0x2c");
    refuse(AT("a%2eexample"), "http.host", "0x25");
    refuse(AT("a.ex\xc3\xa4mple"), "http.host", "0xc3");
    refuse(AT("a.example") "host=b.example\n", "http.host", "not the host of :authority");
    refuse(AT("a.example") "host=a.example:443\n", "http.host", "not the host of :authority");
    refuse(AT("a.example") "host=\n", "http.host", "not the host of :authority");
    refuse(AT("a.example") "host=a.example\nhost=a.example\n", "http.host", "more than one Host");
}

static void test_paths(void **state)
{
    (void)state;
#define PATH(method, path) ":scheme=https\n:authority=a\n:method=" method "\n:path=" path "\n"
    accept(PATH("OPTIONS", "*"), false);
    assert_str(head.path_query, "*");
    refuse(PATH("GET", "*"), "http.target", "other than OPTIONS");
    refuse(PATH("OPTIONS", "*/x"), "http.target", "begin with '/'");
    refuse(PATH("GET", ""), "http.target", "empty :path");
    refuse(PATH("GET", "x"), "http.target", "begin with '/'");
    refuse(PATH("GET", "https://a/x"), "http.target", "begin with '/'");
    refuse(PATH("GET", "?x"), "http.target", "begin with '/'");
    refuse(PATH("GET", "/a#b"), "http.target", "0x23");
    refuse(PATH("GET", "/a b"), "http.target", "0x20");
    refuse(PATH("GET", "/ HTTP/1.1\r"), "http.target", "0x20");
    refuse(PATH("GET", "/a\x7f"), "http.target", "0x7f");
    refuse(PATH("GET", "/\xc3\xa4"), "http.target", "0xc3");
    refuse(PATH("GET", "/\x01"), "http.target", "0x01");
}

static void test_long_targets(void **state)
{
    (void)state;
    char path[LIMIT_TARGET_BYTES + 2];
    memset(path, '/', sizeof path);
    for (size_t n = LIMIT_TARGET_BYTES; n <= LIMIT_TARGET_BYTES + 1; n++) {
        struct err err = { 0 };
        begin();
        feed(":method=GET\n:scheme=https\n:authority=a\n");
        h2_request_field(&request, STR(":path"), (struct str){ path, n });
        assert_int_equal(h2_request_end(&request, false, &err), n == LIMIT_TARGET_BYTES);
        assert_int_equal(err.code, n == LIMIT_TARGET_BYTES ? ERR_NONE : ERR_HTTP_TARGET_TOO_LONG);
    }
}

static void test_names(void **state)
{
    (void)state;
    refuse(GOOD "=x\n", "http.header_name", "empty");
    refuse(GOOD "X-A=x\n", "http.header_name", "upper-case letter in 'X-A'");
    refuse(GOOD "x a=x\n", "http.header_name", "0x20");
    refuse(GOOD "x-a:=x\n", "http.header_name", "0x3a");
    refuse(GOOD "x-a: admin\r=x\n", "http.header_name", "0x3a");
    refuse(GOOD "x\r\t=x\n", "http.header_name", "0x0d");
    refuse(GOOD "\xc3\xa4=x\n", "http.header_name", "0xc3");
}

static void test_values(void **state)
{
    (void)state;
    accept(GOOD "x-a=\xc3\xa4 \t b\n", false);
    refuse(GOOD "x-a=b\rremote-user: root\n", "http.header_value", "0x0d in 'x-a'");
    refuse(GOOD "x-a=b\x7f\n", "http.header_value", "0x7f");
    refuse(GOOD "x-a= b\n", "http.header_value", "space around");
    refuse(GOOD "x-a=b\t\n", "http.header_value", "space around");
    refuse(GOOD "cookie=a\x01\n", "http.header_value", "0x01");
    struct err err = { 0 };
    for (int i = 0; i < 2; i++) {
        begin();
        feed(GOOD);
        h2_request_field(&request, STR("x-a"), i ? STR("b\nremote-user: root") : STR("b\0c"));
        assert_false(h2_request_end(&request, false, &err));
        assert_int_equal(err.code, ERR_HTTP_HEADER_VALUE);
    }
}

static void test_connection_fields(void **state)
{
    (void)state;
    refuse(GOOD "connection=x-forwarded-user\n", "http.header_name", "'connection' in HTTP/2");
    refuse(GOOD "keep-alive=1\n", "http.header_name", "in HTTP/2");
    refuse(GOOD "proxy-connection=close\n", "http.header_name", "in HTTP/2");
    refuse(GOOD "upgrade=websocket\n", "http.header_name", "in HTTP/2");
    refuse(GOOD "transfer-encoding=chunked\n", "http.transfer_encoding", "in HTTP/2");
    refuse(GOOD "te=gzip\n", "http.header_value", "TE");
    refuse(GOOD "te=trailers, gzip\n", "http.header_value", "TE");
}

static void test_lengths_and_expectations(void **state)
{
    (void)state;
    refuse(GOOD "content-length=5\ncontent-length=5\n", "http.content_length", "more than one");
    refuse(GOOD "content-length=5, 5\n", "http.content_length", "plain number");
    refuse(GOOD "content-length=+5\n", "http.content_length", "plain number");
    refuse(GOOD "content-length=05\n", "http.content_length", "plain number");
    refuse(GOOD "content-length=\n", "http.content_length", "plain number");
    refuse(GOOD "content-length=99999999999999999999\n", "http.content_length", "plain number");
    refuse_body(GOOD "content-length=5\n", false, "http.content_length", "without a body");
    refuse(GOOD "expect=something\n", "http.expect", "");
    refuse(GOOD "expect=\n", "http.expect", "");
    refuse(GOOD "expect=100-continue\nexpect=100-continue\n", "http.expect", "more than one");
}

// The first thing that is wrong is said, and a right end does not make up for it.
static void test_the_first_reason_counts(void **state)
{
    (void)state;
    refuse("upgrade=x\nX=y\n" GOOD, "http.header_name", "'upgrade'");
}

static void test_number_of_fields(void **state)
{
    (void)state;
    for (int n = LIMIT_HEADERS; n <= LIMIT_HEADERS + 1; n++) {
        struct err err = { 0 };
        begin();
        feed(GOOD);
        for (int i = 0; i < n; i++) assert_true(h2_request_field(&request, STR("a"), STR("b")));
        assert_int_equal(h2_request_end(&request, false, &err), n == LIMIT_HEADERS);
        assert_int_equal(err.code, n == LIMIT_HEADERS ? ERR_NONE : ERR_HTTP_HEADERS_TOO_LARGE);
    }
    struct err err = { 0 };
    begin();
    feed(GOOD "cookie=a\n");
    for (int i = 0; i < LIMIT_HEADERS; i++) h2_request_field(&request, STR("a"), STR("b"));
    assert_false(h2_request_end(&request, false, &err)); // the cookies are a field, too
    assert_int_equal(err.code, ERR_HTTP_HEADERS_TOO_LARGE);
}

// Many crumbs are no flood: browsers send one per cookie.
static void test_number_of_crumbs(void **state)
{
    (void)state;
    struct err err = { 0 };
    begin();
    feed(GOOD);
    for (int i = 0; i < LIMIT_COOKIES; i++) h2_request_field(&request, STR("cookie"), STR("a=b"));
    assert_true(h2_request_end(&request, false, &err));
    assert_int_equal(http_fields_value(&head.fields, FIELD_COOKIE).n, LIMIT_COOKIES * 5 - 2);
}

// Beyond the limit nothing is kept, and in the end it is not worth an answer.
static void test_a_flood_of_fields_costs_no_memory(void **state)
{
    (void)state;
    static char big[4096];
    memset(big, 'x', sizeof big);
    struct err err = { 0 };
    struct str value = { big, sizeof big };
    size_t n = 0;
    begin();
    feed(GOOD);
    while (h2_request_field(&request, STR("cookie"), value)) n++;
    assert_in_range(n, H2_SWALLOWED_FIELDS, H2_SWALLOWED_FIELDS + 16);
    assert_true(arena_used(arena) < 2 * LIMIT_HEAD_BYTES);
    assert_false(h2_request_end(&request, false, &err));
    assert_int_equal(err.code, ERR_HTTP_HEADERS_TOO_LARGE);
}

static void test_every_allocation_fails_once(void **state)
{
    (void)state;
    for (long n = 1;; n++) {
        struct err err = { 0 };
        struct arena *small = arena_new(LIMIT_EXCHANGE_ARENA);
        static char big[6000];
        memset(big, 'x', sizeof big);
        mem_fail_at(n);
        h2_request_begin(&request, small, &head);
        feed(GOOD "cookie=a\ncookie=b\nx-a=b\nhost=a.example\n");
        for (int i = 0; i < 4; i++) h2_request_field(&request, STR("y"), (struct str){ big, sizeof big });
        bool ok = h2_request_end(&request, true, &err);
        bool failed = mem_failed();
        mem_fail_at(0);
        arena_free(small);
        assert_int_equal(ok, !failed);
        if (!failed) break;
        assert_int_equal(err.code, ERR_NO_MEMORY);
        assert_true(n < 100);
    }
}

// --- what HTTP/1.1 refuses

// What cannot be said in HTTP/2, or means something else there.
static bool is_expressible(struct str name, struct str reason)
{
    static const char *const only_h1[] = { "http.version", "http.bare_lf", "http.obs_fold",
                                           "http.request_line" };
    static const char *const other[] = {
        "no-colon",         // a name with an empty value
        "host-twice-equal", // :authority and Host, which may both be there
        "129-fields",       // Host is none of the fields
    };
    for (size_t i = 0; i < sizeof only_h1 / sizeof *only_h1; i++)
        if (str_eq_c(reason, only_h1[i])) return false;
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (str_eq_c(name, other[i])) return false;
    return true;
}

static void translate_line(struct str line, bool *host_seen)
{
    char name[256];
    size_t colon = str_find(line, ':');
    if (colon >= sizeof name) return;
    for (size_t i = 0; i < colon; i++) name[i] = ascii_lower(line.p[i]);
    struct str value = colon < line.n ? str_trim(str_skip(line, colon + 1)) : STR("");
    struct str field = { name, colon };
    bool host = str_eq_c(field, "host");
    h2_request_field(&request, host && !*host_seen ? STR(":authority") : field, value);
    *host_seen = *host_seen || host;
}

// As a naive gateway would make HTTP/2 of it: pseudo-headers first.
static void translate(struct str text)
{
    struct str lines[400], rest = text;
    size_t n = 0;
    bool host_seen = false;
    if (str_starts(rest, STR("\r\n"))) rest = str_skip(rest, 2);
    while (n < 400 && rest.n) {
        size_t end = str_search(rest, STR("\r\n"));
        lines[n++] = str_take(rest, end);
        rest = str_skip(rest, end < rest.n ? end + 2 : end);
    }
    struct str line = n ? lines[0] : STR("");
    size_t space = str_find(line, ' ');
    h2_request_field(&request, STR(":method"), str_take(line, space));
    line = space < line.n ? str_skip(line, space + 1) : STR("");
    while (line.n && line.p[line.n - 1] != ' ') line.n--;
    h2_request_field(&request, STR(":path"), line.n ? str_take(line, line.n - 1) : STR(""));
    h2_request_field(&request, STR(":scheme"), STR("https"));
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 1; i < n && lines[i].n; i++)
            if (str_starts_nocase(lines[i], STR("host:")) == (pass == 0))
                translate_line(lines[i], &host_seen);
}

static void test_what_http1_refuses_is_refused(void **state)
{
    (void)state;
    struct arena *a = arena_new(16 * 1024 * 1024);
    struct str index = vector_file(a, "request/index.txt"), line;
    size_t compared = 0;
    while (vector_line(&index, &line)) {
        struct str name, reason;
        struct err err = { 0 };
        str_cut(&line, ' ', &name);
        str_cut(&line, ' ', &reason);
        if (str_eq_c(reason, "accepted") || !is_expressible(name, reason)) continue;
        begin();
        translate(vector_file(a, arena_printf(a, "request/%.*s.txt", STR_FMT(name)).p));
        if (h2_request_end(&request, true, &err))
            fail_msg("%.*s (%.*s) is accepted in HTTP/2", STR_FMT(name), STR_FMT(reason));
        compared++;
    }
    assert_true(compared > 60);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_is_understood),
        cmocka_unit_test(test_a_body_without_length_is_chunked_behind_us),
        cmocka_unit_test(test_cookie_crumbs_are_joined),
        cmocka_unit_test(test_underscores_stay),
        cmocka_unit_test(test_pseudo_headers),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_schemes),
        cmocka_unit_test(test_authorities),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_long_targets),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_connection_fields),
        cmocka_unit_test(test_lengths_and_expectations),
        cmocka_unit_test(test_the_first_reason_counts),
        cmocka_unit_test(test_number_of_fields),
        cmocka_unit_test(test_number_of_crumbs),
        cmocka_unit_test(test_a_flood_of_fields_costs_no_memory),
        cmocka_unit_test(test_every_allocation_fails_once),
        cmocka_unit_test(test_what_http1_refuses_is_refused),
    };
    return cmocka_run_group_tests_name("http: HTTP/2 requests", tests, setup, teardown);
}
