// SPDX-License-Identifier: GPL-3.0-or-later
// Requests as lists of fields: what is accepted can be written as an HTTP/1.1 head without changing its
// meaning, and our own HTTP/1.1 parser takes that head. Input: bit 0 of the first byte says whether a body
// follows; then lines "name=value".
#include <stdlib.h>
#include <string.h>

#include "http/h2_request.h"
#include "http/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) abort();                                                                           \
    } while (0)

static struct http_request_head head, again;

static void check_fields(void)
{
    CHECK(head.fields.n <= LIMIT_HEADERS);
    for (size_t i = 0; i < head.fields.n; i++) {
        const struct http_field *f = &head.fields.v[i];
        CHECK(http_is_token(f->name) && http_is_field_value(f->value));
        CHECK(str_eq(f->value, str_trim(f->value)) && !f->removed && f->id == http_field_id(f->name));
        CHECK(f->id != FIELD_CONNECTION && f->id != FIELD_TRANSFER_ENCODING && f->id != FIELD_UPGRADE);
        CHECK(f->id != FIELD_HOST);
    }
}

static void check_as_http1(struct arena *a)
{
    struct sbuf b;
    sbuf_init(&b, a, 256 * 1024);
    sbuf_addf(&b, "%.*s %.*s HTTP/1.1\r\nHost: %.*s\r\n", STR_FMT(head.method), STR_FMT(head.path_query),
              STR_FMT(head.host));
    for (size_t i = 0; i < head.fields.n; i++)
        sbuf_addf(&b, "%.*s: %.*s\r\n", STR_FMT(head.fields.v[i].name), STR_FMT(head.fields.v[i].value));
    if (head.chunked) sbuf_add_c(&b, "Transfer-Encoding: chunked\r\n");
    sbuf_add_c(&b, "\r\n");
    struct str text = sbuf_str(&b);
    struct err err = { 0 };
    size_t scanned = 0;
    CHECK(text.p);
    if (head.fields.n + 2 > LIMIT_HEADERS || text.n >= LIMIT_HEAD_BYTES) return;
    CHECK(http_request_parse(text.p, text.n, &scanned, &again, &err) == HTTP_DONE);
    CHECK(again.bytes == text.n && str_eq(again.method, head.method) && str_eq(again.host, head.host));
    CHECK(str_eq(again.path_query, head.path_query) && again.content_length == head.content_length);
    CHECK(again.chunked == head.chunked && again.expect_continue == head.expect_continue);
    CHECK(!again.upgrade && again.keep_alive);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct arena *a = arena_new(LIMIT_EXCHANGE_ARENA);
    struct h2_request request;
    struct err err = { 0 };
    struct str rest = { (const char *)data + 1, size - 1 }, line;
    if (!a) return 0;
    h2_request_begin(&request, a, &head);
    while (str_cut(&rest, '\n', &line)) {
        size_t at = str_find(line, '=');
        struct str value = at < line.n ? str_skip(line, at + 1) : STR("");
        if (!h2_request_field(&request, str_take(line, at), value)) break;
    }
    if (h2_request_end(&request, data[0] & 1, &err)) {
        check_fields();
        check_as_http1(a);
    } else {
        CHECK(err_status(err.code) >= 400);
    }
    arena_free(a);
    return 0;
}
