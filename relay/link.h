// SPDX-License-Identifier: GPL-3.0-or-later
// The link to one board: login, registrations, calls in both directions, look-ups of the caller, pings and
// time limits, as a state machine without I/O. Clock, keys and randomness are arguments; bytes come in
// through link_receive and go out, a whole frame at a time, through link_output.
//
//   WAITING --login--> OPEN --link_close, a violation, silence--> CLOSING --its last frame is sent--> CLOSED
//      '---- a login that is refused, late or none ----------------^
//
// What a hostile board sends harms this link alone: its memory is bounded (LIMIT_PICO_*), its rate too.
#pragma once

#include "relay/call.h"
#include "relay/device.h"

enum link_state { LINK_WAITING, LINK_OPEN, LINK_CLOSING, LINK_CLOSED };

struct link_settings {
    int64_t login_ms, frame_ms, ping_ms, dead_ms; // 10 s, 10 s, 20 s, 60 s
    size_t output_max; // of one frame, head included: 16384 with TLS (one record), 1400 without
};

struct link;

// What a link tells its owner. None of these may free the link. Each may call link_call and link_close; a
// call that ends by that is told of when the outer one has returned. After any function that takes `now_ms`
// there may be something in link_output.
struct link_owner {
    // A login with this key: whose it is, or NULL with `err` (ERR_UPLINK_KEY). The device lives as long as
    // the link.
    const struct device *(*login)(void *context, struct str key, struct err *err);
    // The login is through: answered and counted.
    void (*opened)(void *context);
    // A function more may be called.
    void (*registered)(void *context, struct str function);
    // A name that is not taken, once for each reason: ERR_UPLINK_NAME, ERR_UPLINK_NAMES (too many).
    void (*name_refused)(void *context, struct str function, const struct err *why);
    // The address of who made this call, if they are still logged in: verified, in lower case. Absent:
    // nobody.
    struct str (*caller_email)(void *context, struct relay_call *call);
    // The call has its outcome and is the owner's again.
    void (*finished)(void *context, struct relay_call *call);
    // It is CLOSING now, and why. Comes exactly once in the life of a link, before its calls are finished.
    void (*closing)(void *context, const struct err *why);
};

// NULL: out of memory. `owner` outlives the link.
struct link *link_new(const struct link_settings *s, const struct link_owner *owner, void *context,
                      int64_t now_ms);
void link_free(struct link *l); // as link_gone, where it has not ended yet; NULL is accepted

// Bytes from the board; all are taken. After CLOSING they are thrown away.
void link_receive(struct link *l, struct str bytes, int64_t now_ms);
// The board has closed its side, or the connection broke.
void link_gone(struct link *l, int64_t now_ms);
// Looks at the clocks. Call it at link_due at the latest.
void link_tick(struct link *l, int64_t now_ms);
int64_t link_due(const struct link *l); // INT64_MAX: never

// The next frame, whole; absent: none now. It stays until link_sent says that it has gone out. A call is made
// a frame here and not before, so what the board does not take can still be withdrawn.
struct str link_output(struct link *l);
void link_sent(struct link *l);

// Takes a call, which goes out with link_output when the board has a place for it. False, and nothing is
// taken: ERR_PICO_BUSY (queue, or this user's share of it, is full), ERR_PICO_OFFLINE (not open),
// ERR_PICO_UNKNOWN (not registered), ERR_PICO_ARGUMENTS_LARGE, ERR_NO_MEMORY.
bool link_call(struct link *l, struct relay_call *c, int64_t now_ms, struct err *err);
// Ends the link in order: calls fail with ERR_PICO_LOST, a close frame with `code`, then CLOSED.
void link_close(struct link *l, uint16_t code, const struct err *why, int64_t now_ms);
// No further calls; when those it has are finished it closes by itself (1001, ERR_DRAINING).
void link_drain(struct link *l, int64_t now_ms);

enum link_state link_state(const struct link *l);
const struct device *link_device(const struct link *l); // NULL before the login
// The same device in another table: the one of the login is not needed any more.
void link_device_moved(struct link *l, const struct device *d);
struct strlist link_functions(const struct link *l); // registered, in order of arrival
// Calls that wait or are worked on, and places that are kept for those that timed out at work: how busy it
// is.
unsigned link_load(const struct link *l);
struct link_counts {
    uint64_t calls;   // sent to the board
    uint64_t late;    // answers to calls that had timed out
    uint64_t unknown; // what means nothing here: answers to no call of this link, calls without an id, ...
    uint64_t broken;  // messages that are no JSON
    uint64_t lookups; // of who is calling
    uint64_t names_refused, pings;
} link_counts(const struct link *l);
