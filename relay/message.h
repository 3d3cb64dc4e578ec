// SPDX-License-Identifier: GPL-3.0-or-later
// The messages of the uplink protocol, as anvil.pico speaks it: JSON texts, one per frame. What comes from a
// board is checked as if an enemy had written it; what goes to one has the necessary members and no others,
// as raw UTF-8.
#pragma once

#include "base/arena.h"
#include "base/err.h"

enum message_kind {
    MESSAGE_OTHER,    // an object that means nothing here: ignored
    MESSAGE_LOGIN,    // has "key"
    MESSAGE_REGISTER, // "type": "REGISTER"
    MESSAGE_CALL,     // "type": "CALL": the board asks us
    MESSAGE_RESULT,   // "id" with "response"
    MESSAGE_ERROR,    // "id" with "error"
    MESSAGE_BROKEN,   // no JSON object, or one that cannot be believed; `id` is what its beginning says, if
                      // anything
};

// Strings live in the arena. Absent: not there, or not a string.
struct message {
    enum message_kind kind;
    struct str id;
    struct str key, device;   // LOGIN
    bool version_ok;          // "v" is a number of at least 5
    bool version_old;         // and below 7
    struct str name;          // REGISTER
    struct str command;       // CALL
    struct str call_stack_id; // CALL
    struct str echo;          // CALL: the first argument as JSON text ("null" when there is none)
    struct str response;      // RESULT: JSON text, compact, raw UTF-8; written anew, so it is valid
    struct str error_type, error_message; // ERROR; both cut at a character's end to LIMIT_PICO_ERROR_BYTES
};

// Never fails for what a board sent: that is MESSAGE_BROKEN, with `err` saying why (ERR_UPLINK_MESSAGE). A
// text is BROKEN that is not UTF-8, no JSON object, has a member twice, is nested deeper than
// LIMIT_PICO_DEPTH, has an id that is no string of 1 to 128 bytes, means several things at once (a result and
// an error), or carries "objects" that are not empty (unless it is a CALL: that has to be answered). The id
// of a text that is no JSON is taken from its very beginning ({"id":"...",), where the encoder of MicroPython
// puts it: "nan", "<object>" and other things that are no JSON come after it. Integers beyond 64 bits become
// the nearest float, as in any browser. False: out of memory.
bool message_parse(struct arena *a, struct str text, struct message *ret, struct err *err);

// Texts for a board. Absent: out of memory.
struct str message_login_ok(struct arena *a);
struct str message_login_failed(struct arena *a, const char *text); // {"error": text}
struct str message_call(struct arena *a, struct str id, struct str function, struct str args,
                        struct str kwargs);
struct str message_response(struct arena *a, struct str id, struct str json);
// {"id", "error": {"message"}}
struct str message_error(struct arena *a, struct str id, const char *text);
struct str message_string(struct arena *a, struct str text); // a JSON string

// The arguments of a call as a browser sent them: {"args": [], "kwargs": {}}, each may be missing, nothing
// else may be there. Given back as compact JSON texts of raw UTF-8. ERR_PICO_ARGUMENTS for what is not strict
// JSON, nested deeper than LIMIT_PICO_DEPTH, a float beyond +-3.4e38 (a board has single precision), an
// integer beyond 64 bits, a lone surrogate, NUL; ERR_PICO_ARGUMENTS_LARGE when both together exceed `max`
// bytes.
bool message_arguments(struct arena *a, struct str body, size_t max, struct str *ret_args,
                       struct str *ret_kwargs, struct err *err);
