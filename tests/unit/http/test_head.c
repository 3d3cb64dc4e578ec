// SPDX-License-Identifier: GPL-3.0-or-later
#include "vectors.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "http/head.h"

static struct http_request_head request;
static struct http_response_head response;

// A parser of either kind, on bytes that end where the heap ends, so that a sanitizer sees each byte read too
// many.
typedef enum http_parse parse_fn(const char *buf, size_t len, size_t *scanned, struct err *err);

static enum http_parse parse_request(const char *buf, size_t len, size_t *scanned, struct err *err)
{
    return http_request_parse(buf, len, scanned, &request, err);
}

static enum http_parse parse_response(const char *buf, size_t len, size_t *scanned, struct err *err)
{
    return http_response_parse(buf, len, scanned, &response, err);
}

static enum http_parse parse_whole(parse_fn *parse, struct str bytes, struct err *err)
{
    static char *copy;
    free(copy); // of the call before: the parsed head points into it
    copy = malloc(bytes.n ? bytes.n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes.p, bytes.n);
    size_t scanned = 0;
    return parse(copy, bytes.n, &scanned, err);
}

// Byte by byte: the same verdict, HTTP_MORE until the bytes suffice, and never HTTP_DONE on the way to a
// refusal.
static void assert_same_bytewise(parse_fn *parse, struct str bytes, enum http_parse want, enum err_code code,
                                 struct str name)
{
    size_t scanned = 0;
    struct err err = { 0 };
    for (size_t n = 0; n <= bytes.n; n++) {
        enum http_parse got = parse(bytes.p, n, &scanned, &err);
        if (got == HTTP_MORE && n < bytes.n) continue;
        if (got != want || (want == HTTP_DONE && n != bytes.n) || (want == HTTP_BAD && err.code != code))
            fail_msg("%.*s: %d (%s) after %zu of %zu bytes", STR_FMT(name), got, err_name(err.code), n,
                     bytes.n);
        return;
    }
}

static void check_vector(struct arena *a, parse_fn *parse, const char *folder, struct str line)
{
    struct str name, reason, detail = line;
    str_cut(&detail, ' ', &name);
    str_cut(&detail, ' ', &reason);
    if (!detail.p) detail = STR("");
    struct str bytes = vector_file(a, arena_printf(a, "%s/%.*s.txt", folder, STR_FMT(name)).p);
    struct err err = { 0 };
    enum http_parse want = str_eq(reason, STR("accepted")) ? HTTP_DONE : HTTP_BAD;
    enum http_parse got = parse_whole(parse, bytes, &err);
    if (got != want) fail_msg("%.*s: %d, %s '%s'", STR_FMT(name), got, err_name(err.code), err.detail);
    if (want == HTTP_BAD) assert_refusal(&err, reason, detail, name);
    assert_same_bytewise(parse, bytes, want, err.code, name);
}

static size_t count_files(const char *folder)
{
    struct arena *a = arena_new(10000);
    DIR *d = opendir(arena_printf(a, "%s/%s", VECTORS, folder).p);
    assert_non_null(d);
    size_t n = 0;
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.' && strcmp(e->d_name, "index.txt") != 0;
    closedir(d);
    arena_free(a);
    return n;
}

static void check_vectors(parse_fn *parse, const char *folder)
{
    struct arena *a = arena_new(16 * 1024 * 1024);
    struct str index = vector_file(a, arena_printf(a, "%s/index.txt", folder).p), line;
    size_t n = 0;
    for (; vector_line(&index, &line); n++) check_vector(a, parse, folder, line);
    assert_int_equal(n, count_files(folder)); // no file without an expectation
    arena_free(a);
}

static void test_request_vectors(void **state)
{
    (void)state;
    check_vectors(parse_request, "request");
}

static void test_response_vectors(void **state)
{
    (void)state;
    check_vectors(parse_response, "response");
}

static void accept_request(const char *text)
{
    struct err err;
    if (parse_whole(parse_request, str_c(text), &err) != HTTP_DONE) fail_msg("refused: %s", err.detail);
    assert_int_equal(request.bytes, strlen(text));
}

static void accept_response(const char *text)
{
    struct err err;
    if (parse_whole(parse_response, str_c(text), &err) != HTTP_DONE) fail_msg("refused: %s", err.detail);
}

static void test_request_is_understood(void **state)
{
    (void)state;
    accept_request("\r\nPOST http://A.example/x?y=1 HTTP/1.1\r\nhost:  a.example\t \r\nContent-Length: 12\r\n"
                   "X-A:\r\nExpect: 100-continue\r\n\r\n");
    assert_str(request.method, "POST");
    assert_str(request.target, "http://A.example/x?y=1");
    assert_str(request.host, "a.example");
    assert_str(request.path_query, "/x?y=1");
    assert_int_equal(request.minor, 1);
    assert_int_equal(request.content_length, 12);
    assert_false(request.chunked);
    assert_true(request.keep_alive);
    assert_true(request.expect_continue);
    assert_false(request.upgrade);
    assert_int_equal(request.fields.n, 4);
    assert_str(request.fields.v[0].name, "host");
    assert_int_equal(request.fields.v[0].id, FIELD_HOST);
    assert_str(request.fields.v[2].name, "X-A");
    assert_str(request.fields.v[2].value, "");
    assert_non_null(request.fields.v[2].value.p);
}

// The head of the request before must not show through.
static void test_nothing_is_left_of_the_request_before(void **state)
{
    (void)state;
    accept_request("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n"
                   "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_true(request.chunked && request.expect_continue && request.upgrade);
    assert_int_equal(request.content_length, -1);
    accept_request("GET / HTTP/1.0\r\nHost: b\r\n\r\n");
    assert_str(request.host, "b");
    assert_false(request.chunked || request.expect_continue || request.upgrade || request.keep_alive);
    assert_int_equal(request.content_length, -1);
    assert_int_equal(request.minor, 0);
    assert_int_equal(request.fields.n, 1);
}

static void test_request_ends_where_the_next_begins(void **state)
{
    (void)state;
    struct err err;
    struct str two = STR("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\n\n");
    assert_int_equal(parse_whole(parse_request, two, &err), HTTP_DONE);
    assert_int_equal(request.bytes, 28);
    assert_str(request.target, "/1");
}

static bool keeps_alive(const char *version, const char *connection)
{
    struct arena *a = arena_new(10000);
    accept_request(arena_printf(a, "GET / HTTP/%s\r\nHost: a\r\n%s\r\n", version, connection).p);
    arena_free(a);
    return request.keep_alive;
}

static void test_keep_alive(void **state)
{
    (void)state;
    assert_true(keeps_alive("1.1", ""));
    assert_false(keeps_alive("1.0", ""));
    assert_false(keeps_alive("1.1", "Connection: close\r\n"));
    assert_false(keeps_alive("1.1", "Connection: x,CLOSE ,keep-alive\r\n"));
    assert_false(keeps_alive("1.1", "Connection: keep-alive\r\nConnection: close\r\n"));
    assert_true(keeps_alive("1.1", "Connection: closed\r\n"));
    assert_true(keeps_alive("1.1", "X-A: close\r\n"));
    assert_true(keeps_alive("1.1", "Keep-Alive: close\r\n"));
    assert_true(keeps_alive("1.0", "Connection: Keep-Alive\r\n"));
    assert_false(keeps_alive("1.0", "Connection: Keep-Alive, close\r\n"));
}

static void test_upgrade_needs_both_fields(void **state)
{
    (void)state;
    accept_request(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_true(request.upgrade);
    accept_request("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n");
    assert_false(request.upgrade);
    accept_request("GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nUpgrade: websocket\r\n\r\n");
    assert_false(request.upgrade);
    accept_request("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n");
    assert_false(request.upgrade);
    accept_request("GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_false(request.upgrade);
}

// Each byte value at each place of a value, so that both the eight-at-once and the single steps are met.
static void test_every_byte_in_a_value(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        for (size_t at = 0; at < 20; at++) {
            char text[] =
                "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1aaaaaaaaaaaaaaaaaaaa1\r\nX-B: bbbbbbbbbbbbbbbb\r\n\r\n";
            text[sizeof "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1" - 1 + at] = (char)byte;
            struct err err;
            bool ok = parse_whole(parse_request, (struct str){ text, sizeof text - 1 }, &err) == HTTP_DONE;
            assert_int_equal(ok, byte == '\t' || (byte >= 0x20 && byte != 0x7F));
        }
    }
}

// The bytes looked at do not grow with the square of the head: the part already searched is not searched
// again.
static void test_search_goes_on_where_it_stopped(void **state)
{
    (void)state;
    struct err err;
    size_t scanned = 0;
    const char text[] = "GET / HTTP/1.1\r\nHost: a\r\n";
    assert_int_equal(http_request_parse(text, sizeof text - 1, &scanned, &request, &err), HTTP_MORE);
    assert_int_equal(scanned, sizeof text - 1);
    scanned = 0;
    assert_int_equal(http_request_parse(text, 0, &scanned, &request, &err), HTTP_MORE);
    assert_int_equal(http_request_parse(text, 10, &scanned, &request, &err), HTTP_MORE);
    assert_int_equal(scanned, 10);
}

static struct str head_of(struct arena *a, size_t bytes)
{
    struct sbuf b;
    sbuf_init(&b, a, bytes);
    sbuf_add_c(&b, "GET / HTTP/1.1\r\nHost: a\r\nX-A: ");
    while (b.n + 4 < bytes) sbuf_add_c(&b, "v");
    sbuf_add_c(&b, "\r\n\r\n");
    return sbuf_str(&b);
}

static void test_size_limit_is_exact(void **state)
{
    (void)state;
    struct arena *a = arena_new(1024 * 1024);
    struct err err;
    assert_int_equal(parse_whole(parse_request, head_of(a, LIMIT_HEAD_BYTES), &err), HTTP_DONE);
    assert_int_equal(parse_whole(parse_request, head_of(a, LIMIT_HEAD_BYTES + 1), &err), HTTP_BAD);
    assert_int_equal(err.code, ERR_HTTP_HEADERS_TOO_LARGE);
    struct str part = str_take(head_of(a, LIMIT_HEAD_BYTES), LIMIT_HEAD_BYTES - 1);
    assert_int_equal(parse_whole(parse_request, part, &err), HTTP_MORE);
    part = str_take(head_of(a, LIMIT_HEAD_BYTES + 1), LIMIT_HEAD_BYTES);
    assert_int_equal(parse_whole(parse_request, part, &err),
                     HTTP_BAD); // waiting for more would be waiting for ever
    arena_free(a);
}

static void test_response_is_understood(void **state)
{
    (void)state;
    accept_response(
        "HTTP/1.0 302 Found \xfc\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 7\r\n\r\n1234567");
    assert_int_equal(response.status, 302);
    assert_str(response.reason, "Found \xfc");
    assert_int_equal(response.minor, 0);
    assert_int_equal(response.content_length, 7);
    assert_false(response.keep_alive || response.chunked);
    assert_str(response.fields.v[0].value, "a");
    assert_str(response.fields.v[1].value, "b");
    assert_int_equal(response.bytes, strlen("HTTP/1.0 302 Found x\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
                                            "Content-Length: 7\r\n\r\n"));
    accept_response("HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_str(response.reason, "");
    assert_true(response.keep_alive && response.chunked);
    assert_int_equal(response.content_length, -1);
}

static enum http_framing framing(const char *text, const char *method)
{
    accept_response(text);
    return http_response_framing(&response, str_c(method));
}

static void test_response_framing(void **state)
{
    (void)state;
    const char *plain = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n";
    assert_int_equal(framing(plain, "GET"), FRAMING_LENGTH);
    assert_int_equal(framing(plain, "HEAD"), FRAMING_NONE);
    assert_int_equal(framing("HTTP/1.1 200 OK\r\n\r\n", "GET"), FRAMING_CLOSE);
    assert_int_equal(framing("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET"),
                     FRAMING_CHUNKED);
    assert_int_equal(framing("HTTP/1.1 304 X\r\nContent-Length: 7\r\n\r\n", "GET"), FRAMING_NONE);
    assert_true(response.keep_alive);
    assert_int_equal(framing("HTTP/1.1 204 X\r\nContent-Length: 0\r\n\r\n", "GET"), FRAMING_NONE);
    assert_true(response.keep_alive);
    assert_int_equal(framing("HTTP/1.1 100 X\r\n\r\n", "POST"), FRAMING_NONE);
    assert_int_equal(framing("HTTP/1.1 101 X\r\n\r\n", "GET"), FRAMING_NONE);
}

// What follows such an answer may be its body or the next answer, so the connection cannot be used again.
static void test_body_where_none_can_be_ends_the_connection(void **state)
{
    (void)state;
    assert_int_equal(framing("HTTP/1.1 204 X\r\nContent-Length: 7\r\n\r\n", "GET"), FRAMING_NONE);
    assert_false(response.keep_alive);
    assert_int_equal(framing("HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n", "GET"), FRAMING_NONE);
    assert_false(response.keep_alive);
}

// What cannot become an answer is not waited for: its end would come with the timeout only.
static void test_other_protocols_are_refused_at_once(void **state)
{
    (void)state;
    struct err err;
    assert_int_equal(parse_whole(parse_response, STR("S"), &err), HTTP_BAD);
    assert_int_equal(err.code, ERR_UPSTREAM_HEAD);
    assert_int_equal(parse_whole(parse_response, STR("HTTP/2"), &err), HTTP_BAD);
    assert_int_equal(parse_whole(parse_response, STR("HTTP/1."), &err), HTTP_MORE);
    assert_int_equal(parse_whole(parse_response, STR(""), &err), HTTP_MORE);
}

static void test_status_texts(void **state)
{
    (void)state;
    assert_string_equal(http_status_text(200), "OK");
    assert_string_equal(http_status_text(431), "Request Header Fields Too Large");
    assert_string_equal(http_status_text(299), "Unknown");
    for (int code = 1; code < ERR_COUNT; code++)
        if (strcmp(http_status_text(err_status((enum err_code)code)), "Unknown") == 0)
            fail_msg("%s leads to a status without a text", err_name((enum err_code)code));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_vectors),
        cmocka_unit_test(test_response_vectors),
        cmocka_unit_test(test_request_is_understood),
        cmocka_unit_test(test_nothing_is_left_of_the_request_before),
        cmocka_unit_test(test_request_ends_where_the_next_begins),
        cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_upgrade_needs_both_fields),
        cmocka_unit_test(test_every_byte_in_a_value),
        cmocka_unit_test(test_search_goes_on_where_it_stopped),
        cmocka_unit_test(test_size_limit_is_exact),
        cmocka_unit_test(test_response_is_understood),
        cmocka_unit_test(test_response_framing),
        cmocka_unit_test(test_body_where_none_can_be_ends_the_connection),
        cmocka_unit_test(test_other_protocols_are_refused_at_once),
        cmocka_unit_test(test_status_texts),
    };
    return cmocka_run_group_tests_name("http head", tests, NULL, NULL);
}
