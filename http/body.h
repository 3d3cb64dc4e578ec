// SPDX-License-Identifier: GPL-3.0-or-later
// Message bodies without I/O: the chunked coding (RFC 9112 section 7.1), decoded incrementally and strictly.
#pragma once

#include "base/err.h"
#include "base/str.h"

struct chunked {
    int state;        // private
    uint64_t left;    // bytes of the current chunk still to come
    uint32_t line;    // bytes of the current size line seen so far
    uint32_t trailer; // bytes of trailers seen so far
    uint32_t digits;  // hexadecimal digits of the current size seen so far
};

void chunked_init(struct chunked *c);
enum chunked_step {
    CHUNKED_DATA, // *ret_data has body bytes (pointing into the input); call again with the rest of the input
    CHUNKED_MORE, // all input used, the body goes on
    CHUNKED_DONE, // the body is complete; *used may be less than the input (the next message follows)
    CHUNKED_BAD,  // ERR_HTTP_CHUNK: the connection must be closed
};
// Looks at in[0..n), says in *used how many bytes it took. Once CHUNKED_DONE or CHUNKED_BAD was returned it
// always is, and no byte is taken. Trailers are checked, bounded and dropped. Refused: bare LF, empty or
// over-long size, sizes beyond 2^62, whitespace or signs around the size, missing CRLF after the data,
// controls in extensions, trailers that are no field lines, more than LIMIT_CHUNK_LINE_BYTES or
// LIMIT_TRAILER_BYTES.
enum chunked_step chunked_decode(struct chunked *c, const char *in, size_t n, size_t *used,
                                 struct str *ret_data, struct err *err);
// Writes "<hex>\r\n" for a chunk of n bytes into buf (at least 20 bytes) and returns the length. After the
// data comes
// "\r\n"; the body ends with "0\r\n\r\n".
size_t chunked_head(char *buf, size_t n);
