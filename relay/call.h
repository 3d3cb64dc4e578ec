// SPDX-License-Identifier: GPL-3.0-or-later
// One call of a function on a board. It carries values only, no pointer to the browser's request or to the
// board's link, so it can travel: between threads today.
#pragma once

#include <stdatomic.h>

#include "base/arena.h"
#include "base/err.h"

enum { CALL_ID_DIGITS = 32 };

struct relay_call {
    struct relay_call *prev, *next; // the link's
    struct arena *arena;            // owns this struct and every string in it

    // What is asked. Set by the caller's side.
    char id[CALL_ID_DIGITS + 1]; // 128 random bits in hex, never used again
    struct str device_id, function;
    struct str args, kwargs; // JSON texts, checked by message_arguments
    struct str user;         // whose share of the board it takes; never sent to the board
    int64_t limit_ms;        // from link_call to the answer
    _Atomic bool gone;       // the caller has left: not sent any more, and nobody waits for the answer

    // The link's, while it has the call.
    int64_t taken_ms, sent_ms, deadline_ms; // sent_ms 0: still waiting
    bool sent, goes;                        // goes: a place is free for it, although it waits

    // The outcome. ERR_NONE: `result` is JSON text. ERR_PICO_FUNCTION: the function raised, error_type (may
    // be absent) and error_message are the board's words. Anything else: err says why there is no answer.
    struct err err;
    struct str result, error_type, error_message;
    int64_t waited_ms, board_ms; // in the queue; from sending to the answer
};
