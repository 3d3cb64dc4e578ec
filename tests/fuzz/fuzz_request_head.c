// SPDX-License-Identifier: GPL-3.0-or-later
// The request head parser: nothing read out of bounds, the same verdict in pieces as at once, and what it
// accepts is what it promises. Corpus: tests/vectors/http/request.
#include <stdlib.h>
#include <string.h>

#include "http/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct http_request_head head;

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) abort();                                                                           \
    } while (0)

static void check_inside(struct str s, const char *buf)
{
    CHECK(s.p >= buf && s.p + s.n <= buf + head.bytes);
}

static void check_fields(const char *buf)
{
    size_t hosts = 0, lengths = 0, codings = 0;
    CHECK(head.fields.n <= LIMIT_HEADERS);
    for (size_t i = 0; i < head.fields.n; i++) {
        const struct http_field *f = &head.fields.v[i];
        check_inside(f->name, buf);
        check_inside(f->value, buf);
        CHECK(http_is_token(f->name) && http_is_field_value(f->value));
        CHECK(str_eq(f->value, str_trim(f->value)) && !f->removed && f->id == http_field_id(f->name));
        hosts += str_eq_nocase(f->name, STR("host"));
        lengths += str_eq_nocase(f->name, STR("content-length"));
        codings += str_eq_nocase(f->name, STR("transfer-encoding"));
    }
    CHECK(hosts == 1 && lengths + codings <= 1);
    CHECK((head.content_length >= 0) == (lengths == 1) && head.chunked == (codings == 1));
}

static void check_head(const char *buf, size_t size)
{
    CHECK(head.bytes <= size && head.bytes <= LIMIT_HEAD_BYTES);
    CHECK(memcmp(buf + head.bytes - 4, "\r\n\r\n", 4) == 0);
    check_inside(head.method, buf);
    check_inside(head.target, buf);
    check_inside(head.path_query, buf);
    CHECK(http_is_token(head.method) && head.method.n <= LIMIT_METHOD_BYTES && head.host.n > 0);
    CHECK(head.path_query.p[0] == '/' || str_eq(head.path_query, STR("*")));
    CHECK(head.minor == 1 || (head.minor == 0 && !head.chunked && !head.expect_continue && !head.upgrade));
}

// No name that an application could take for identity survives, whatever is in between.
static void check_scrub(void)
{
    http_scrub_request(&head.fields);
    for (size_t i = 0; i < head.fields.n; i++) {
        struct str name = head.fields.v[i].name;
        if (head.fields.v[i].removed) continue;
        for (size_t k = 0; k < name.n; k++) CHECK(ascii_is_alnum(name.p[k]) || name.p[k] == '-');
        CHECK(!str_starts_nocase(name, STR("x-sallyport-")));
        CHECK(!str_starts_nocase(name, STR("x-forwarded-")) && !str_starts_nocase(name, STR("remote-user")));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *buf = (const char *)data;
    struct err whole_err = { 0 }, err = { 0 };
    size_t scanned = 0, step = size / 64 + 1;
    enum http_parse want = http_request_parse(buf, size, &scanned, &head, &whole_err);
    enum http_parse got = HTTP_MORE;
    scanned = 0;
    for (size_t n = 0; n < size && got == HTTP_MORE;) {
        n = n + step < size ? n + step : size;
        got = http_request_parse(buf, n, &scanned, &head, &err);
    }
    CHECK(got == want && (want != HTTP_BAD || (whole_err.code == err.code && err_status(err.code) >= 400)));
    if (want != HTTP_DONE) return 0;
    check_head(buf, size);
    check_fields(buf);
    check_scrub();
    http_is_navigation(&head);
    return 0;
}
