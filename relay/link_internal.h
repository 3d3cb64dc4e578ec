// SPDX-License-Identifier: GPL-3.0-or-later
// The inside of a link, shared by link.c (life, clocks, what arrives), link_calls.c (calls of functions on
// the board) and link_output.c (frames on their way out). Nobody else includes it.
#pragma once

#include "base/limits.h"
#include "relay/frame.h"
#include "relay/link.h"
#include "relay/message.h"

enum {
    WS_NORMAL = 1000, // close codes, RFC 6455 section 7.4.1
    WS_GOING_AWAY = 1001,
    WS_PROTOCOL = 1002,
    WS_NO_CODE = 1005,
    WS_NOT_UTF8 = 1007,
    WS_POLICY = 1008,
    WS_TOO_LARGE = 1009,
    WS_FAILED = 1011,
};

enum {
    MESSAGE_ARENA_BYTES = 64 * LIMIT_PICO_MESSAGE_BYTES, // what parsing one message may take, at the worst
    MESSAGE_FIRST_BYTES = 1024,                          // what most messages need
};

struct out_frame {
    struct out_frame *next;
    size_t n;
    char bytes[];
};

enum { MESSAGE_COST = 1000 }; // in the bucket of messages, and of one byte in that of bytes
struct bucket {
    int64_t level, at_ms;
};

// A place in which the board works on a call. A call that has timed out leaves the place to its shadow: the
// id and whose call it was, until the answer comes or `until_ms`.
struct call_slot {
    struct relay_call *call;
    bool shadow;
    uint8_t user[SHA256_BYTES]; // of a shadow
    char id[CALL_ID_DIGITS + 1];
    int64_t until_ms;
};

struct link {
    struct link_settings settings;
    const struct link_owner *owner;
    void *context;
    enum link_state state;
    bool draining;
    const struct device *device;
    struct link_counts counts;

    struct frame_reader *reader;
    struct bucket messages, bytes;
    unsigned broken; // in a row
    int64_t now_ms;
    int64_t due_ms;   // WAITING: of the login; CLOSING: of the last frame
    int64_t heard_ms; // the last whole frame
    int64_t ping_ms;  // the next ping
    bool partial;
    int64_t partial_ms; // since when

    struct out_frame *first, **end;
    size_t out_bytes;
    int64_t out_ms; // since when the first frame is the first
    bool in_hand;   // the first frame is with the owner, perhaps half written: it may not change

    struct call_slot slots[LIMIT_PICO_CALLS];
    struct relay_call *waiting, *waiting_end; // in order of arrival
    size_t nwaiting;
    struct relay_call *done, *done_end; // have their outcome; the owner hears of it in link_settle
    bool settling;

    struct str functions[LIMIT_PICO_FUNCTIONS];
    size_t nfunctions;
    bool told_name, told_names;
};

// --- link.c

// CLOSING: forgets what waits to go out, says `text` (absent: nothing) and closes with `code`.
void link_shut(struct link *l, struct str text, uint16_t code, const struct err *why);
void link_shut_no_memory(struct link *l);
void link_violates(struct link *l, uint16_t code, enum err_code reason, const char *detail);

// --- link_messages.c

void link_take_text(struct link *l, struct str text);
void link_take_binary(struct link *l);
void login_refuse(struct link *l, const struct err *why);

// --- link_output.c

// Queues a frame. False, and the link is shut: out of memory, or the board does not take what is sent. Does
// nothing when the link is not open.
bool output_frame(struct link *l, enum frame_opcode opcode, struct str payload);
// Whether a text of `n` bytes fits into one frame to this board.
bool output_fits(const struct link *l, size_t n);
// The last frames of a link, as far as there is memory for them.
void output_farewell(struct link *l, struct str text, uint16_t code);
int64_t output_due(const struct link *l); // when the first frame has waited too long; INT64_MAX: never
void output_drop(struct link *l);         // but for the frame that is in hand
void output_free(struct link *l);

// --- link_calls.c

void calls_expire(struct link *l); // deadlines; callers that left; the places of calls that have timed out
void calls_send(struct link *l);   // one that waits, if a place is free and nothing else is to go out
void calls_lose(struct link *l, const struct err *why);
int64_t calls_due(const struct link *l); // INT64_MAX: never
bool calls_any(const struct link *l);
void calls_answered(struct link *l, const struct message *m);                      // RESULT, ERROR
void calls_broken(struct link *l, const struct message *m, const struct err *why); // BROKEN
struct relay_call *calls_pending(const struct link *l, struct str id);             // NULL: none
// Tells the owner of the calls that have their outcome. The state is in order before this is called: the
// owner may make further calls and close the link from within. A call of it from there does nothing, the
// outer one goes on.
void link_settle(struct link *l);
