// SPDX-License-Identifier: GPL-3.0-or-later
// The chunked decoder: the same body, end and verdict however the bytes are cut.
#include <stdlib.h>
#include <string.h>

#include "http/body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) abort();                                                                           \
    } while (0)

struct outcome {
    enum chunked_step step;
    size_t used, body;
    uint64_t sum; // of the body, by position
};

static struct outcome decode(const char *in, size_t size, size_t piece)
{
    struct outcome o = { .step = CHUNKED_MORE };
    struct chunked c;
    chunked_init(&c);
    while ((o.step == CHUNKED_MORE || o.step == CHUNKED_DATA) && o.used < size) {
        struct str body = STR_NONE;
        struct err err = { 0 };
        size_t used, n = size - o.used < piece ? size - o.used : piece;
        o.step = chunked_decode(&c, in + o.used, n, &used, &body, &err);
        CHECK(used <= n && (o.step != CHUNKED_MORE || used == n));
        CHECK(o.step != CHUNKED_BAD || err.code == ERR_HTTP_CHUNK);
        if (o.step == CHUNKED_DATA) {
            CHECK(body.n > 0 && body.p >= in + o.used && body.p + body.n == in + o.used + used);
            for (size_t i = 0; i < body.n; i++) o.sum = o.sum * 31 + (unsigned char)body.p[i];
            o.body += body.n;
        }
        o.used += used;
    }
    // Whether the bytes ran out within data or behind it is a matter of cutting.
    if (o.step == CHUNKED_DATA) o.step = CHUNKED_MORE;
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *in = (const char *)data;
    struct outcome whole = decode(in, size, size);
    for (size_t piece = 1; piece <= 7; piece += 2) {
        struct outcome o = decode(in, size, piece);
        CHECK(o.step == whole.step && o.used == whole.used && o.body == whole.body && o.sum == whole.sum);
    }
    CHECK(whole.step != CHUNKED_DONE || memcmp(in + whole.used - 2, "\r\n", 2) == 0);
    return 0;
}
