// SPDX-License-Identifier: GPL-3.0-or-later
// WebSocket frames (RFC 6455 section 5) as a server reads and writes them, through wslay's frame layer. No
// I/O: bytes in, events out. What breaks the protocol ends the connection: an unmasked frame, RSV bits, a
// reserved opcode, a control frame that is fragmented or longer than 125 bytes, a length that is not in its
// shortest form, a continuation of nothing, a message within another one, a close frame with a code that may
// not be there or a reason that is not UTF-8, a message of more than the limit. All that a head says is
// checked when the head is there, before the first byte of payload.
#pragma once

#include "base/err.h"
#include "base/str.h"

enum frame_opcode { FRAME_TEXT = 1, FRAME_BINARY = 2, FRAME_CLOSE = 8, FRAME_PING = 9, FRAME_PONG = 10 };
enum { FRAME_HEAD_BYTES = 4 }; // of the frames that are written here: never masked, below 64 KiB

enum frame_event {
    FRAME_MORE,    // all bytes are taken, nothing is complete
    FRAME_MESSAGE, // a whole message (text or binary, fragments put together) or a control frame
    FRAME_BAD,     // ERR_UPLINK_FRAME, ERR_UPLINK_TOO_LARGE or ERR_NO_MEMORY; nothing may be read any more
};

struct frame {
    enum frame_opcode opcode;
    struct str payload;  // valid until the next call; whether text is UTF-8 is the reader's business; of a
                         // close frame: the reason
    uint16_t close_code; // of a close frame; 1005 when it has none
};

struct frame_reader;
// For messages of at most `max` bytes. Memory for a message is taken as its bytes arrive, and given back with
// the next call: an idle reader holds none. NULL: out of memory.
struct frame_reader *frame_reader_new(size_t max);
void frame_reader_free(struct frame_reader *r); // NULL is accepted
// Takes bytes off the front of *in until something is complete.
enum frame_event frame_read(struct frame_reader *r, struct str *in, struct frame *ret, struct err *err);
// A frame or a message has begun and is not complete: the clock for it runs. Control frames between the
// fragments of a message do not change that.
bool frame_is_partial(const struct frame_reader *r);

// A whole frame, in one piece. The bytes written to `buf`; 0 when it does not fit into `room` or may not be
// that long. `payload` may lie in `buf`.
size_t frame_write(char *buf, size_t room, enum frame_opcode opcode, struct str payload);
// A close frame with this code (RFC 6455 section 7.4) and a reason, cut off when it is too long.
size_t frame_write_close(char *buf, size_t room, uint16_t code, struct str reason);
