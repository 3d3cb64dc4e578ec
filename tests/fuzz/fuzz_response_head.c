// SPDX-License-Identifier: GPL-3.0-or-later
// The parser of backends' answers, and the header policy on what it accepts. Corpus:
// tests/vectors/http/response.
#include <stdlib.h>
#include <string.h>

#include "http/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct http_response_head head;

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) abort();                                                                           \
    } while (0)

static void check_head(size_t size)
{
    CHECK(head.bytes <= size && head.status >= 100 && head.status <= 599 && head.fields.n <= LIMIT_HEADERS);
    CHECK(http_is_field_value(head.reason) && (head.content_length < 0 || !head.chunked));
    enum http_framing framing = http_response_framing(&head, STR("GET"));
    CHECK(framing != FRAMING_LENGTH || head.content_length >= 0);
    CHECK(framing != FRAMING_CHUNKED || head.chunked);
    CHECK(http_response_framing(&head, STR("HEAD")) == FRAMING_NONE);
    for (size_t i = 0; i < head.fields.n; i++)
        CHECK(http_is_token(head.fields.v[i].name) && http_is_field_value(head.fields.v[i].value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err whole_err = { 0 }, err = { 0 };
    size_t scanned = 0, step = size / 64 + 1;
    enum http_parse want = http_response_parse((const char *)data, size, &scanned, &head, &whole_err);
    enum http_parse got = HTTP_MORE;
    scanned = 0;
    for (size_t n = 0; n < size && got == HTTP_MORE;) {
        n = n + step < size ? n + step : size;
        got = http_response_parse((const char *)data, n, &scanned, &head, &err);
    }
    CHECK(got == want &&
          (want != HTTP_BAD || (err.code == ERR_UPSTREAM_HEAD && whole_err.code == ERR_UPSTREAM_HEAD)));
    if (want != HTTP_DONE) return 0;
    check_head(size);
    http_scrub_response(&head.fields);
    CHECK(!http_fields_get(&head.fields, FIELD_SERVER) && !http_fields_get(&head.fields, FIELD_CONNECTION));
    http_secure_response(&head.fields, size % 2 ? SECURE_STRICT : SECURE_BALANCED);
    CHECK(http_fields_get(&head.fields, FIELD_X_CONTENT_TYPE_OPTIONS));
    return 0;
}
