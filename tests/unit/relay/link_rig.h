// SPDX-License-Identifier: GPL-3.0-or-later
// A link with a scripted board at one end, an owner that writes down what it is told at the other, and a
// clock that stands still. Calls are numbered; their ids are these numbers in hex, 32 digits.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "relay/frame.h"
#include "relay/link.h"

#define LOGIN "{\"key\": \"the key\", \"v\": 7, \"device\": \"PICO_W\"}"
#define LOGIN_OK                                                                                             \
    "{\"auth\":\"OK\",\"priv\":\"uplink\",\"app-info\":{\"id\":\"sallyport\",\"branch\":\"published\","      \
    "\"environment\":{\"description\":\"Sallyport\",\"tags\":[]}}}"
#define LOOKUP                                                                                               \
    "{\"type\":\"CALL\",\"id\":\"L\",\"call-stack-id\":\"%s\",\"command\":"                                  \
    "\"anvil.private.users.get_current_user_email\",\"args\":[],\"kwargs\":{\"allow_remembered\":true}}"

struct rig {
    struct link *link;
    struct link_settings settings;
    struct device device;
    int64_t now;
    unsigned last;    // call that was made
    long live;        // calls that the link has
    struct str email; // of whoever calls
    void (*on_finished)(struct rig *r, unsigned number);
    void (*look_at_call)(struct relay_call *c); // when it is finished
    void (*on_login)(struct rig *r);
    void (*on_email)(struct rig *r);
    bool in_finished;
    bool no_device; // the key is nobody's
    char told[16384];
    size_t ntold;
};

// A link that waits for its login; with `rig_login` it has logged in, registered "flash" and "read", and
// nothing of that is left to hear or be told.
void rig_new(struct rig *r);
void rig_login(struct rig *r);
void rig_login_with(struct rig *r, size_t output_max); // of a frame to the board
void rig_end(struct rig *r);                           // each call must have ended, once

// What the board does.
void rig_bytes(struct rig *r, struct str bytes);
void rig_frame(struct rig *r, unsigned first_byte, struct str payload); // masked
size_t rig_frame_write(char *buf, unsigned first_byte, struct str payload);
void rig_says(struct rig *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void rig_answers(struct rig *r, unsigned number, const char *json);
void rig_later(struct rig *r, int64_t ms); // the clock goes on, and the link looks at it

// What it hears: the next frame is this one.
void rig_hears(struct rig *r, const char *text);
void rig_hears_frame(struct rig *r, enum frame_opcode opcode, struct str payload);
void rig_hears_call(struct rig *r, unsigned number, const char *function);
void rig_hears_close(struct rig *r, unsigned code); // and then nothing
void rig_hears_nothing(struct rig *r);

// Calls. A call that is refused is freed, and ERR_NONE says that it was taken. SOMEONE is ann or ben, in
// turn.
#define SOMEONE NULL
struct relay_call *rig_call_new(struct rig *r, const char *function, const char *user, const char *args);
enum err_code rig_give(struct rig *r, struct relay_call *c);
enum err_code rig_call(struct rig *r, const char *function, const char *user);
const char *rig_id(unsigned number);
void make_calls(struct rig *r, int n, const char *user);        // of "flash", all taken
void hears_calls(struct rig *r, unsigned first, unsigned last); // and then nothing

// What the owner has been told since the last time: events, separated by "; ".
void rig_told(struct rig *r, const char *events);
void close_it(struct rig *r); // what the owner does
