// SPDX-License-Identifier: GPL-3.0-or-later
// WebSocket frames: the same events however the bytes are cut, every refusal at the byte that deserves it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <wslay/wslay.h>

#include "base/limits.h"
#include "base/mem.h"
#include "relay/frame.h"

enum { EVENTS_MAX = 16 };

// The library allocates by itself: this stands in for its failure.
static bool wslay_fails;
int wslay_frame_context_init(wslay_frame_context_ptr *ctx, const struct wslay_frame_callbacks *callbacks,
                             void *user_data)
{
    __typeof__(&wslay_frame_context_init) real =
        (__typeof__(&wslay_frame_context_init))dlsym(RTLD_NEXT, "wslay_frame_context_init");
    return wslay_fails ? WSLAY_ERR_NOMEM : real(ctx, callbacks, user_data);
}

struct event {
    enum frame_opcode opcode;
    uint16_t code;
    char *payload; // a copy
    size_t n;
};

struct outcome {
    struct event v[EVENTS_MAX];
    size_t n;
    enum frame_event last; // FRAME_MORE or FRAME_BAD
    size_t used;           // bytes that were taken before it was bad
    bool partial;
    struct err err;
};

static void add_event(struct outcome *o, const struct frame *f)
{
    assert_true(o->n < EVENTS_MAX);
    assert_non_null(f->payload.p);
    struct event *e = &o->v[o->n++];
    *e = (struct event){ f->opcode, f->close_code, malloc(f->payload.n + 1), f->payload.n };
    memcpy(e->payload, f->payload.p, f->payload.n);
    e->payload[e->n] = '\0';
}

// One piece, in memory of its own, so that a sanitizer sees each byte read too many. False: bad.
static bool read_piece(struct frame_reader *r, struct str piece, struct outcome *o)
{
    char *copy = malloc(piece.n + 1);
    memcpy(copy, piece.p, piece.n);
    struct str in = { copy, piece.n };
    struct frame f = { .close_code = 1 };
    while ((o->last = frame_read(r, &in, &f, &o->err)) == FRAME_MESSAGE) add_event(o, &f);
    o->used += piece.n - in.n;
    if (o->last == FRAME_MORE) assert_int_equal(in.n, 0);
    free(copy);
    return o->last != FRAME_BAD;
}

static struct outcome read_by(struct str bytes, size_t piece, size_t max)
{
    struct outcome o = { .last = FRAME_MORE };
    struct frame_reader *r = frame_reader_new(max);
    assert_non_null(r);
    for (size_t at = 0; at < bytes.n; at += piece) {
        size_t n = bytes.n - at < piece ? bytes.n - at : piece;
        if (!read_piece(r, (struct str){ bytes.p + at, n }, &o)) break;
    }
    o.partial = frame_is_partial(r);
    frame_reader_free(r);
    return o;
}

static void outcome_free(struct outcome *o)
{
    for (size_t i = 0; i < o->n; i++) free(o->v[i].payload);
    o->n = 0;
}

static void expect_event(const struct outcome *o, size_t i, enum frame_opcode opcode, struct str payload)
{
    assert_true(i < o->n);
    assert_int_equal(o->v[i].opcode, opcode);
    assert_int_equal(o->v[i].n, payload.n);
    assert_memory_equal(o->v[i].payload, payload.p, payload.n);
}

// A growing stream of frames as a client writes them.
struct stream {
    char p[200000];
    size_t n;
};

static void put(struct stream *s, const void *p, size_t n)
{
    assert_true(n <= sizeof s->p - s->n);
    memcpy(s->p + s->n, p, n);
    s->n += n;
}

static void put_frame(struct stream *s, uint8_t first, struct str payload)
{
    static const uint8_t mask[] = { 0xa5, 0x00, 0xff, 0x31 };
    uint8_t head[10] = { first };
    size_t extra = payload.n < 126 ? 0 : payload.n < 65536 ? 2 : 8;
    head[1] = (uint8_t)(0x80 | (extra == 0 ? payload.n : extra == 2 ? 126 : 127));
    for (size_t i = 0; i < extra; i++) head[2 + i] = (uint8_t)(payload.n >> 8 * (extra - 1 - i));
    put(s, head, 2 + extra);
    put(s, mask, 4);
    for (size_t i = 0; i < payload.n; i++) {
        char c = (char)((uint8_t)payload.p[i] ^ mask[i % 4]);
        put(s, &c, 1);
    }
}

static struct str bytes_of(const struct stream *s)
{
    return (struct str){ s->p, s->n };
}

static const size_t lengths[] = { 0,   1,    2,    124,  125,   126,   127,   255,
                                  256, 4095, 4096, 4097, 16384, 65535, 65536, 70000 };
static char pattern[70000];
static struct stream stream;

static int fill_pattern(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pattern; i++) pattern[i] = (char)(i * 7 + i / 251);
    return 0;
}

static void test_lengths(void **state)
{
    (void)state;
    static const size_t pieces[] = { 1, 2, 3, 5, 7, 4096, 4100, 100000 };
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct str payload = { pattern, lengths[i] };
        stream.n = 0;
        put_frame(&stream, 0x80 | FRAME_BINARY, payload);
        put_frame(&stream, 0x80 | FRAME_TEXT, STR("next"));
        for (size_t j = 0; j < sizeof pieces / sizeof *pieces; j++) {
            struct outcome o = read_by(bytes_of(&stream), pieces[j], sizeof pattern);
            assert_int_equal(o.n, 2);
            expect_event(&o, 0, FRAME_BINARY, payload);
            expect_event(&o, 1, FRAME_TEXT, STR("next"));
            assert_int_equal(o.last, FRAME_MORE);
            assert_false(o.partial);
            outcome_free(&o);
        }
    }
}

static void test_fragments(void **state)
{
    (void)state;
    stream.n = 0;
    put_frame(&stream, FRAME_TEXT, STR("one "));
    put_frame(&stream, 0x80 | FRAME_PING, STR("ping"));
    put_frame(&stream, 0, STR(""));
    put_frame(&stream, 0, STR("two "));
    put_frame(&stream, 0x80 | FRAME_PONG, STR(""));
    put_frame(&stream, 0x80, STR("three"));
    put_frame(&stream, FRAME_BINARY, STR(""));
    put_frame(&stream, 0x80, STR(""));
    put_frame(&stream, 0x80 | FRAME_CLOSE, STR("\x03\xe8 bye"));
    for (size_t piece = 1; piece <= stream.n; piece++) {
        struct outcome o = read_by(bytes_of(&stream), piece, 13);
        assert_int_equal(o.n, 5);
        expect_event(&o, 0, FRAME_PING, STR("ping"));
        expect_event(&o, 1, FRAME_PONG, STR(""));
        expect_event(&o, 2, FRAME_TEXT, STR("one two three"));
        expect_event(&o, 3, FRAME_BINARY, STR(""));
        expect_event(&o, 4, FRAME_CLOSE, STR(" bye"));
        assert_int_equal(o.v[4].code, 1000);
        assert_int_equal(o.last, FRAME_MORE);
        assert_false(o.partial);
        outcome_free(&o);
    }
}

// The clock for a frame runs from its first byte to its last one, for a message as long.
static void test_partial(void **state)
{
    (void)state;
    stream.n = 0;
    put_frame(&stream, FRAME_TEXT, STR("ab"));
    put_frame(&stream, 0x80 | FRAME_PING, STR("p"));
    size_t last = stream.n;
    put_frame(&stream, 0x80, STR("c"));
    for (size_t n = 0; n <= stream.n; n++) {
        struct outcome o = read_by(str_take(bytes_of(&stream), n), 1000, 10);
        assert_int_equal(o.partial, n > 0 && n < stream.n);
        assert_int_equal(o.n, n == stream.n ? 2 : n >= last ? 1 : 0);
        outcome_free(&o);
    }
}

static void test_takes_one_at_a_time(void **state)
{
    (void)state;
    struct frame_reader *r = frame_reader_new(10);
    struct frame f;
    struct err err = { 0 };
    stream.n = 0;
    put_frame(&stream, 0x80 | FRAME_TEXT, STR("a"));
    put_frame(&stream, 0x80 | FRAME_TEXT, STR("bc"));
    struct str in = bytes_of(&stream);
    assert_int_equal(frame_read(r, &in, &f, &err), FRAME_MESSAGE);
    assert_int_equal(in.n, 8);
    assert_true(str_eq_c(f.payload, "a"));
    assert_int_equal(frame_read(r, &in, &f, &err), FRAME_MESSAGE);
    assert_true(str_eq_c(f.payload, "bc") && in.n == 0);
    assert_int_equal(frame_read(r, &in, &f, &err), FRAME_MORE);
    frame_reader_free(r);
}

#define MASK "\x01\x02\x03\x04"
#define TEXT_A "\x81\x81" MASK "\x60" // a whole frame, "a"

struct refusal {
    struct str bytes;
    size_t at; // taken when it is refused: the head that says it, and no more
    const char *words;
};

static const struct refusal refusals[] = {
    // Not masked, as a server writes.
    { STR_INIT("\x81\x01"
               "a"),
      2, "not masked" },
    { STR_INIT("\x89\x00"), 2, "not masked" },
    { STR_INIT(TEXT_A "\x81\x7e\x01\x00"), 9, "not masked" },
    // RSV1 is what a compressed message has.
    { STR_INIT("\xc1\x81" MASK "\x60"), 2, "RSV" },
    { STR_INIT("\xa1\x81" MASK "\x60"), 2, "RSV" },
    { STR_INIT("\x91\x81" MASK "\x60"), 2, "RSV" },
    { STR_INIT("\xf9\x80" MASK), 2, "RSV" },
    { STR_INIT("\x83\x81" MASK "\x60"), 2, "opcode 3" },
    { STR_INIT("\x87\x81" MASK "\x60"), 2, "opcode 7" },
    { STR_INIT("\x8b\x81" MASK "\x60"), 2, "opcode 11" },
    { STR_INIT("\x8f\x80" MASK), 2, "opcode 15" },
    // Control frames.
    { STR_INIT("\x09\x81" MASK "\x60"), 6, "control frame" },
    { STR_INIT("\x08\x80" MASK), 6, "control frame" },
    { STR_INIT("\x89\xfe\x00\x7e" MASK), 8, "control frame" },
    { STR_INIT("\x88\xff\0\0\0\0\0\0\0\x05" MASK), 14, "control frame" },
    // A length that is not in its shortest form.
    { STR_INIT("\x81\xfe\x00\x01" MASK "\x60"), 8, "length" },
    { STR_INIT("\x81\xfe\x00\x7d" MASK), 8, "length" },
    { STR_INIT("\x81\xff\0\0\0\0\0\0\0\x01" MASK "\x60"), 14, "length" },
    { STR_INIT("\x82\xff\0\0\0\0\0\0\x01\x00" MASK), 14, "length" },
    { STR_INIT("\x82\xff\x80\0\0\0\0\0\0\x01" MASK "\x60"), 14, "negative length" },
    { STR_INIT("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff" MASK "\x60"), 14, "negative length" },
    // Fragments out of order.
    { STR_INIT("\x80\x81" MASK "\x60"), 2, "continuation" },
    { STR_INIT("\x00\x81" MASK "\x60"), 2, "continuation" },
    { STR_INIT(TEXT_A "\x80\x81" MASK "\x60"), 9, "continuation" },
    { STR_INIT("\x01\x81" MASK "\x60" TEXT_A), 9, "within" },
    { STR_INIT("\x01\x80" MASK "\x02\x80" MASK), 8, "within" },
    { STR_INIT("\x01\x81" MASK "\x60\x89\x80" MASK "\x81\x80" MASK), 15, "within" },
    // Close frames.
    { STR_INIT("\x88\x81" MASK "\x02"), 7, "code" },
    { STR_INIT("\x89\x82\0\0\0\0\x03\xe8\x88\x81\0\0\0\0\x03"), 15, "code" }, // the ping had more
    { STR_INIT("\x88\x82\0\0\0\0\x00\x00"), 8, "code" },
    { STR_INIT("\x88\x82\0\0\0\0\x03\xe7"), 8, "code" }, // 999
    { STR_INIT("\x88\x82\0\0\0\0\x03\xec"), 8, "code" }, // 1004
    { STR_INIT("\x88\x82\0\0\0\0\x03\xed"), 8, "code" }, // 1005
    { STR_INIT("\x88\x82\0\0\0\0\x03\xee"), 8, "code" }, // 1006
    { STR_INIT("\x88\x82\0\0\0\0\x03\xf7"), 8, "code" }, // 1015
    { STR_INIT("\x88\x82\0\0\0\0\x0b\xb7"), 8, "code" }, // 2999
    { STR_INIT("\x88\x82\0\0\0\0\x13\x88"), 8, "code" }, // 5000
    { STR_INIT("\x88\x83\0\0\0\0\x03\xe8\xff"), 9, "UTF-8" },
};

static void expect_refused(struct str bytes, size_t piece, size_t max, size_t at, enum err_code code,
                           const char *words)
{
    struct outcome o = read_by(bytes, piece, max);
    if (o.last != FRAME_BAD || o.err.code != code || !strstr(o.err.detail, words))
        fail_msg("%d %s '%s' instead of '%s'", o.last, err_name(o.err.code), o.err.detail, words);
    assert_int_equal(o.used, at);
    outcome_free(&o);
}

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct refusal *t = &refusals[i];
        for (size_t piece = 1; piece <= t->bytes.n; piece++)
            expect_refused(t->bytes, piece, 100000, t->at, ERR_UPLINK_FRAME, t->words);
        // Not a byte earlier.
        struct outcome o = read_by(str_take(t->bytes, t->at - 1), 1, 100000);
        assert_int_equal(o.last, FRAME_MORE);
        outcome_free(&o);
    }
}

static void test_close_codes(void **state)
{
    (void)state;
    static const uint16_t codes[] = { 1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999 };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        char payload[] = { (char)(codes[i] >> 8), (char)(codes[i] & 0xff) };
        stream.n = 0;
        put_frame(&stream, 0x80 | FRAME_CLOSE, (struct str){ payload, 2 });
        struct outcome o = read_by(bytes_of(&stream), 1, 10);
        expect_event(&o, 0, FRAME_CLOSE, STR(""));
        assert_int_equal(o.v[0].code, codes[i]);
        outcome_free(&o);
    }
    // What a board sends: no code, masked.
    struct outcome o = read_by(STR("\x88\x80" MASK), 10, 10);
    expect_event(&o, 0, FRAME_CLOSE, STR(""));
    assert_int_equal(o.v[0].code, 1005);
    outcome_free(&o);
}

static void test_limit(void **state)
{
    (void)state;
    stream.n = 0;
    put_frame(&stream, 0x80 | FRAME_TEXT, STR("0123456789"));
    struct outcome o = read_by(bytes_of(&stream), 3, 10);
    expect_event(&o, 0, FRAME_TEXT, STR("0123456789"));
    outcome_free(&o);
    for (size_t piece = 1; piece <= stream.n; piece++)
        expect_refused(bytes_of(&stream), piece, 9, 6, ERR_UPLINK_TOO_LARGE, "more than 9 bytes");
    expect_refused(STR("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff" MASK "\x60"), 1, 100, 14,
                   ERR_UPLINK_TOO_LARGE, "more than 100 bytes");
    expect_refused(STR("\x82\xfe\xff\xff" MASK), 8, 65534, 8, ERR_UPLINK_TOO_LARGE, "65534");
    expect_refused(STR(TEXT_A), 1, 0, 6, ERR_UPLINK_TOO_LARGE, "more than 0 bytes");
}

// The limit is of the message, not of its fragments; control frames do not count, and have one of their own.
static void test_limit_of_fragments(void **state)
{
    (void)state;
    stream.n = 0;
    put_frame(&stream, FRAME_TEXT, STR("0123"));
    put_frame(&stream, 0x80 | FRAME_PING, (struct str){ pattern, 125 });
    put_frame(&stream, 0, STR("456789"));
    put_frame(&stream, 0, STR(""));
    size_t full = stream.n;
    put_frame(&stream, 0x80, STR(""));
    struct outcome o = read_by(bytes_of(&stream), 5, 10);
    expect_event(&o, 0, FRAME_PING, (struct str){ pattern, 125 });
    expect_event(&o, 1, FRAME_TEXT, STR("0123456789"));
    outcome_free(&o);
    stream.n = full;
    put_frame(&stream, 0x80, STR("!"));
    expect_refused(bytes_of(&stream), 1, 10, full + 6, ERR_UPLINK_TOO_LARGE, "more than 10 bytes");
    // The next message starts from nothing again.
    stream.n = 0;
    put_frame(&stream, 0x80 | FRAME_TEXT, STR("0123456789"));
    put_frame(&stream, 0x80 | FRAME_TEXT, STR("0123456789"));
    o = read_by(bytes_of(&stream), 7, 10);
    assert_int_equal(o.n, 2);
    outcome_free(&o);
}

// What comes after a bad frame would be taken for something that it is not.
static void test_stays_bad(void **state)
{
    (void)state;
    struct frame_reader *r = frame_reader_new(100);
    struct frame f;
    struct err err = { 0 };
    struct str in = STR("\x83\x80" MASK);
    assert_int_equal(frame_read(r, &in, &f, &err), FRAME_BAD);
    in = STR(TEXT_A);
    err.code = ERR_NONE;
    assert_int_equal(frame_read(r, &in, &f, &err), FRAME_BAD);
    assert_int_equal(err.code, ERR_UPLINK_FRAME);
    assert_int_equal(in.n, 7);
    frame_reader_free(r);
}

static void put_long_stream(void)
{
    stream.n = 0;
    put_frame(&stream, FRAME_BINARY, (struct str){ pattern, 300 });
    put_frame(&stream, 0x80 | FRAME_PING, STR("p"));
    put_frame(&stream, 0x80, (struct str){ pattern + 300, 40000 });
    put_frame(&stream, 0x80 | FRAME_TEXT, STR("more"));
}

static void expect_long_stream(const struct outcome *o)
{
    assert_int_equal(o->n, 3);
    expect_event(o, 0, FRAME_PING, STR("p"));
    expect_event(o, 1, FRAME_BINARY, (struct str){ pattern, 40300 });
    expect_event(o, 2, FRAME_TEXT, STR("more"));
}

static void test_out_of_memory(void **state)
{
    (void)state;
    put_long_stream();
    long n = 1;
    for (;; n++) {
        struct outcome o = { .last = FRAME_MORE };
        mem_fail_at(n);
        struct frame_reader *r = frame_reader_new(50000);
        if (r) read_piece(r, bytes_of(&stream), &o);
        bool failed = mem_failed();
        mem_fail_at(0);
        if (!failed)
            expect_long_stream(&o);
        else if (r)
            assert_true(o.last == FRAME_BAD && o.err.code == ERR_NO_MEMORY);
        assert_true(r || failed);
        outcome_free(&o);
        frame_reader_free(r);
        if (!failed) break;
    }
    assert_true(n > 4);
    wslay_fails = true;
    assert_null(frame_reader_new(10));
    wslay_fails = false;
    frame_reader_free(NULL);
}

// An announcement costs no memory: the first byte of payload does.
static void test_memory_follows_bytes(void **state)
{
    (void)state;
    struct frame_reader *r = frame_reader_new(65536);
    struct frame f;
    struct err err = { 0 };
    struct str in = STR("\x82\xfe\xff\xff" MASK);
    mem_fail_at(1);
    assert_int_equal(frame_read(r, &in, &f, &err), FRAME_MORE);
    assert_false(mem_failed());
    in = STR("\x01");
    assert_int_equal(frame_read(r, &in, &f, &err), FRAME_BAD);
    assert_true(mem_failed());
    mem_fail_at(0);
    assert_int_equal(err.code, ERR_NO_MEMORY);
    frame_reader_free(r);
}

static void expect_head(size_t payload, const char *head, size_t nhead)
{
    static char buf[70000];
    struct str p = { pattern, payload };
    size_t n = frame_write(buf, sizeof buf, FRAME_TEXT, p);
    assert_int_equal(n, nhead + payload);
    assert_memory_equal(buf, head, nhead);
    assert_memory_equal(buf + nhead, pattern, payload);
    assert_int_equal(frame_write(buf, n, FRAME_TEXT, p), n);
    buf[0] = 'x';
    assert_int_equal(frame_write(buf, n - 1, FRAME_TEXT, p), 0);
    assert_int_equal(frame_write(buf, 0, FRAME_TEXT, p), 0);
    assert_int_equal(buf[0], 'x');
}

static void test_write(void **state)
{
    (void)state;
    char buf[200];
    expect_head(0, "\x81\x00", 2);
    expect_head(125, "\x81\x7d", 2);
    expect_head(126, "\x81\x7e\x00\x7e", 4);
    expect_head(65535, "\x81\x7e\xff\xff", 4);
    assert_int_equal(frame_write(stream.p, sizeof stream.p, FRAME_TEXT, (struct str){ pattern, 65536 }), 0);
    assert_int_equal(frame_write(buf, sizeof buf, FRAME_PING, STR_NONE), 2);
    assert_memory_equal(buf, "\x89\x00", 2);
    assert_int_equal(frame_write(buf, sizeof buf, FRAME_PONG, (struct str){ pattern, 125 }), 127);
    assert_int_equal(frame_write(buf, sizeof buf, FRAME_PONG, (struct str){ pattern, 126 }), 0);
    memcpy(stream.p, pattern, 60000);
    assert_int_equal(frame_write(stream.p, sizeof stream.p, FRAME_BINARY, (struct str){ stream.p, 60000 }),
                     60004);
    assert_memory_equal(stream.p + 4, pattern, 60000);
}

static void test_write_close(void **state)
{
    (void)state;
    char buf[200], longer[130];
    assert_int_equal(frame_write_close(buf, sizeof buf, 1008, STR("no")), 6);
    assert_memory_equal(buf, "\x88\x04\x03\xf0no", 6);
    assert_int_equal(frame_write_close(buf, sizeof buf, 1000, STR_NONE), 4);
    assert_memory_equal(buf, "\x88\x02\x03\xe8", 4);
    assert_int_equal(frame_write_close(buf, 3, 1000, STR("")), 0);
    memset(longer, 'x', sizeof longer);
    assert_int_equal(frame_write_close(buf, sizeof buf, 1000, (struct str){ longer, 123 }), 127);
    assert_int_equal(frame_write_close(buf, sizeof buf, 1000, (struct str){ longer, 124 }), 127);
    memcpy(longer + 121, "\xe2\x82\xac", 3); // a character across the end
    assert_int_equal(frame_write_close(buf, sizeof buf, 1000, (struct str){ longer, 130 }), 125);
    assert_int_equal(buf[1], 123);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_partial),
        cmocka_unit_test(test_takes_one_at_a_time),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_close_codes),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_limit_of_fragments),
        cmocka_unit_test(test_stays_bad),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_memory_follows_bytes),
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_write_close),
    };
    return cmocka_run_group_tests(tests, fill_pattern, NULL);
}
