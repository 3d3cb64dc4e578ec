// SPDX-License-Identifier: GPL-3.0-or-later
#include "http/body.h"

#include <stdio.h>

#include "base/limits.h"
#include "http/parse.h"

enum state {
    SIZE,      // in the digits
    EXTENSION, // after ';'
    SIZE_LF,   // after the CR of the size line
    DATA,
    DATA_CR, // after the last byte of data
    DATA_LF,
    TRAILER, // at the beginning of a trailer line
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF, // after the CR of the empty line that ends the body
    DONE,
    BAD,
};

void chunked_init(struct chunked *c)
{
    *c = (struct chunked){ .state = SIZE };
}

static enum state refuse(struct err *err, const char *why)
{
    err_set(err, ERR_HTTP_CHUNK, "%s", why);
    return BAD;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// RFC 9112 section 7.1: chunk-size = 1*HEXDIG. No sign, no 0x, no space in front or behind (the grammar has
// none, and who skips one may skip others), no number that overflows somewhere.
static enum state take_size(struct chunked *c, char byte, struct err *err)
{
    int digit = hex_digit(byte);
    if (digit >= 0) {
        if (c->digits++ == 16 || c->left > (((uint64_t)1 << 62) - (uint64_t)digit) / 16)
            return refuse(err, "the chunk size is larger than 2^62 or has more than 16 digits");
        c->left = c->left * 16 + (uint64_t)digit;
        return SIZE;
    }
    if (c->digits == 0) return refuse(err, "a chunk without a size");
    if (byte == ';') return EXTENSION;
    return byte == '\r' ? SIZE_LF : refuse(err, "something else than digits in the chunk size");
}

// Section 7.1.1: extensions are ignored, but a line end or control in one hides chunks from parsers that skip
// to LF.
static enum state take_extension(char byte, struct err *err)
{
    if (byte == '\r') return SIZE_LF;
    return http_byte_is(byte, BYTE_VALUE) ? EXTENSION : refuse(err, "a control byte in a chunk extension");
}

static enum state end_size_line(struct chunked *c, char byte, struct err *err)
{
    if (byte != '\n') return refuse(err, "CR without LF after the chunk size");
    c->line = 0;
    c->digits = 0;
    return c->left ? DATA : TRAILER;
}

// Section 7.1.2: trailers are field lines; they are dropped, since merging them into the head changes what
// was decided on.
static enum state take_trailer(int state, char byte, struct err *err)
{
    if (state == TRAILER && byte == '\r') return END_LF;
    if (state == TRAILER_VALUE) {
        if (byte == '\r') return TRAILER_LF;
        return http_byte_is(byte, BYTE_VALUE) ? TRAILER_VALUE : refuse(err, "a control byte in a trailer");
    }
    if (http_byte_is(byte, BYTE_TOKEN)) return TRAILER_NAME;
    return state == TRAILER_NAME && byte == ':' ? TRAILER_VALUE
                                                : refuse(err, "a trailer that is no header line");
}

static enum state expect(char byte, char want, enum state next, struct err *err)
{
    return byte == want ? next : refuse(err, "a line end that is not CR LF");
}

static enum state take_byte(struct chunked *c, char byte, struct err *err)
{
    switch ((enum state)c->state) {
    case SIZE: return take_size(c, byte, err);
    case EXTENSION: return take_extension(byte, err);
    case SIZE_LF: return end_size_line(c, byte, err);
    case DATA_CR: return expect(byte, '\r', DATA_LF, err);
    case DATA_LF: return expect(byte, '\n', SIZE, err);
    case TRAILER_LF: return expect(byte, '\n', TRAILER, err);
    case END_LF: return expect(byte, '\n', DONE, err);
    case TRAILER:
    case TRAILER_NAME:
    case TRAILER_VALUE: return take_trailer(c->state, byte, err);
    default: return refuse(err, "a body that had ended or failed before");
    }
}

// Lines without an end cost memory or time somewhere (a chunk of one byte with an extension of a megabyte).
static enum state bounded(struct chunked *c, enum state next, struct err *err)
{
    if (next == SIZE || next == EXTENSION)
        if (++c->line > LIMIT_CHUNK_LINE_BYTES) return refuse(err, "a chunk-size line that is too long");
    if (next >= TRAILER && next <= TRAILER_LF)
        if (++c->trailer > LIMIT_TRAILER_BYTES) return refuse(err, "trailers that are too long");
    return next;
}

static enum chunked_step take_data(struct chunked *c, const char *in, size_t n, size_t *used,
                                   struct str *ret_data)
{
    size_t part = n < c->left ? n : (size_t)c->left;
    c->left -= part;
    if (c->left == 0) c->state = DATA_CR;
    *ret_data = (struct str){ in, part };
    *used += part;
    return CHUNKED_DATA;
}

enum chunked_step chunked_decode(struct chunked *c, const char *in, size_t n, size_t *used,
                                 struct str *ret_data, struct err *err)
{
    *used = 0;
    while (*used < n && c->state < DONE) {
        if (c->state == DATA) return take_data(c, in + *used, n - *used, used, ret_data);
        c->state = (int)bounded(c, take_byte(c, in[*used], err), err);
        if (c->state != BAD)
            ++*used;
        else
            return CHUNKED_BAD;
    }
    if (c->state == BAD) {
        refuse(err, "a body that had failed before");
        return CHUNKED_BAD;
    }
    return c->state == DONE ? CHUNKED_DONE : CHUNKED_MORE;
}

size_t chunked_head(char *buf, size_t n)
{
    return (size_t)snprintf(buf, 20, "%zx\r\n", n);
}
