// SPDX-License-Identifier: GPL-3.0-or-later
// The input is how the bytes of a board are cut, and the bytes: in one piece and in many they mean the same,
// and what is read can be written and read again.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "relay/frame.h"

struct outcome {
    uint64_t hash; // of all events
    size_t events, used;
    enum frame_event last;
    enum err_code code;
    bool partial;
};

static void mix(struct outcome *o, const void *p, size_t n)
{
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++) o->hash = (o->hash ^ b[i]) * 0x100000001b3ULL;
}

// What was read, as we would write it to a board.
static void check_written(const struct frame *f, size_t max)
{
    char *buf = malloc(f->payload.n + FRAME_HEAD_BYTES);
    if (!buf) return;
    size_t n = frame_write(buf, f->payload.n + FRAME_HEAD_BYTES, f->opcode, f->payload);
    assert(n >= f->payload.n + 2 && f->payload.n <= (f->opcode >= FRAME_CLOSE ? 125 : max));
    assert(memcmp(buf + n - f->payload.n, f->payload.p, f->payload.n) == 0);
    free(buf);
}

static void take(struct outcome *o, const struct frame *f, size_t max)
{
    uint8_t head[] = { (uint8_t)f->opcode, (uint8_t)(f->close_code >> 8), (uint8_t)(f->close_code & 0xff) };
    assert(f->payload.p && (f->close_code != 0) == (f->opcode == FRAME_CLOSE));
    mix(o, head, sizeof head);
    mix(o, &f->payload.n, sizeof f->payload.n);
    mix(o, f->payload.p, f->payload.n);
    o->events++;
    check_written(f, max);
}

// `cuts` says how long the pieces are, one byte for each, over and over; without it there is one piece.
static struct outcome read_all(struct str bytes, struct str cuts, size_t max)
{
    struct outcome o = { .hash = 0xcbf29ce484222325ULL, .last = FRAME_MORE };
    struct frame_reader *r = frame_reader_new(max);
    if (!r) abort();
    for (size_t at = 0, i = 0; at < bytes.n && o.last != FRAME_BAD; i++) {
        size_t n = cuts.n ? (size_t)(uint8_t)cuts.p[i % cuts.n] + 1 : bytes.n;
        struct str in = { bytes.p + at, n < bytes.n - at ? n : bytes.n - at };
        at += in.n;
        struct frame f;
        struct err err = { .code = ERR_NONE };
        while ((o.last = frame_read(r, &in, &f, &err)) == FRAME_MESSAGE) take(&o, &f, max);
        assert((o.last == FRAME_BAD) == (err.code != ERR_NONE));
        assert(o.last == FRAME_BAD || in.n == 0);
        o.code = err.code;
        o.used = at - in.n;
    }
    o.partial = frame_is_partial(r);
    frame_reader_free(r);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t limits[] = { 0, 16, 130, 60000 };
    if (size < 4) return 0;
    size_t max = limits[data[0] % 4];
    struct str cuts = { (const char *)data + 1, 3 }, bytes = { (const char *)data + 4, size - 4 };
    struct outcome a = read_all(bytes, STR_NONE, max), b = read_all(bytes, cuts, max),
                   c = read_all(bytes, STR("\0"), max);
    assert(a.hash == b.hash && a.events == b.events && a.used == b.used && a.last == b.last);
    assert(a.hash == c.hash && a.events == c.events && a.used == c.used && a.last == c.last);
    assert(a.code == b.code && a.code == c.code && a.partial == b.partial && a.partial == c.partial);
    return 0;
}
