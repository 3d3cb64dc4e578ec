// SPDX-License-Identifier: GPL-3.0-or-later
// A link in the hands of a hostile board, a busy owner and a clock: the input is a script of what happens.
// Whatever it is, a call ends exactly once, the bounds hold, only whole frames go out, the first of them is
// the login's reply, and a link that has begun to close never opens again.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "relay/frame.h"
#include "relay/link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CALLS = 200, OUTPUT_MAX = 1400 };

static struct fuzz {
    struct link *link;
    struct device device;
    struct str rest; // of the script
    int64_t now;
    struct relay_call *calls[CALLS];
    bool over[CALLS];
    size_t ncalls, live;
    unsigned closings, opened;
    bool greeted;        // the login's reply has gone out
    const char *in_hand; // the frame that was seen and not sent
    enum link_state state;
    uint8_t in_finished; // what the owner does when a call ends
} f;

static void must(bool holds)
{
    if (!holds) abort();
}

static uint8_t byte(void)
{
    if (f.rest.n == 0) return 0;
    uint8_t b = (uint8_t)f.rest.p[0];
    f.rest = str_skip(f.rest, 1);
    return b;
}

static struct str piece(size_t max)
{
    size_t n = byte();
    if (n > 200) n = n * n * 2; // now and then a large one
    if (n > f.rest.n) n = f.rest.n;
    if (n > max) n = max;
    struct str s = str_take(f.rest, n);
    f.rest = str_skip(f.rest, n);
    return s;
}

// --- the owner

static const struct device *on_login(void *context, struct str key, struct err *err)
{
    (void)context;
    if (key.n > 0 && key.p[0] == 'k') return &f.device;
    err_set(err, ERR_UPLINK_KEY, "nobody's");
    return NULL;
}

static void on_opened(void *context)
{
    (void)context;
    f.opened++;
}

static void on_registered(void *context, struct str function)
{
    (void)context;
    must(function_name_valid(function) && device_may_register(&f.device, function));
}

static void on_name_refused(void *context, struct str function, const struct err *why)
{
    (void)context;
    must(function.n <= FUNCTION_NAME_BYTES &&
         (why->code == ERR_UPLINK_NAME || why->code == ERR_UPLINK_NAMES));
}

static size_t number_of(const char *id)
{
    return (size_t)strtoul(id, NULL, 16);
}

static struct str on_caller_email(void *context, struct relay_call *call)
{
    (void)context;
    size_t i = number_of(call->id);
    must(i < f.ncalls && f.calls[i] == call && !f.over[i] && call->sent);
    return i % 2 ? STR("ann@example.org") : STR_NONE;
}

static void call(uint8_t how)
{
    static const char *const functions[] = { "flash", "read", "x", "nobody's" }, *const users[] = { "ann",
                                                                                                    "ben" };
    if (f.ncalls == CALLS) return;
    struct arena *a = arena_new_small(1024 * 1024, 512);
    struct relay_call *c = a ? arena_alloc(a, sizeof *c) : NULL;
    must(c);
    size_t i = f.ncalls++;
    c->arena = a;
    snprintf(c->id, sizeof c->id, "%032zx", i);
    c->function = str_c(functions[how % 4]);
    c->user = str_c(users[how / 4 % 2]);
    c->limit_ms = (int64_t[]){ 0, 1000, 30000, 300000 }[how / 8 % 4];
    c->args = how & 0x20 ? STR("[\"abcdefghijklmnopqrstuvwxyz\"]") : STR("[]");
    c->kwargs = STR("{}");
    c->gone = how & 0x80;
    f.calls[i] = c;
    f.live++;
    struct err err = { .code = ERR_NONE };
    if (link_call(f.link, c, f.now, &err)) return; // it may be over by now
    must(err.code != ERR_NONE && !f.over[i]);
    f.over[i] = true;
    f.live--;
    arena_free(a);
}

static void close_link(void)
{
    struct err why;
    err_set(&why, ERR_UPLINK_SUPERSEDED, "fuzz");
    link_close(f.link, 1008, &why, f.now);
}

static void on_finished(void *context, struct relay_call *c)
{
    (void)context;
    size_t i = number_of(c->id);
    must(i < f.ncalls && f.calls[i] == c && !f.over[i]);
    must(c->waited_ms >= 0 && c->board_ms >= 0 && (c->err.code != ERR_NONE || c->result.p));
    f.over[i] = true;
    f.live--;
    arena_free(c->arena);
    if (f.in_finished & 1) call(f.in_finished);
    if (f.in_finished & 2) close_link();
}

static void on_closing(void *context, const struct err *why)
{
    (void)context;
    must(why->code != ERR_NONE);
    f.closings++;
}

static const struct link_owner owner = { on_login,        on_opened,   on_registered, on_name_refused,
                                         on_caller_email, on_finished, on_closing };

// --- what goes out

static void check_call(struct str text)
{
    struct str start = STR("{\"type\":\"CALL\",\"id\":\"");
    if (!str_starts(text, start)) return;
    char id[CALL_ID_DIGITS + 1] = { 0 };
    memcpy(id, text.p + start.n, CALL_ID_DIGITS);
    size_t i = number_of(id);
    must(i < f.ncalls && !f.over[i] && f.calls[i]->sent);
}

static void check_frame(struct str out)
{
    const uint8_t *p = (const uint8_t *)out.p;
    must(out.n >= 2 && out.n <= OUTPUT_MAX && (p[0] & 0xf0) == 0x80 && p[1] < 127);
    size_t head = p[1] < 126 ? 2 : 4, n = head == 2 ? p[1] : (size_t)p[2] << 8 | p[3];
    must(out.n == head + n);
    struct str text = str_skip(out, head);
    bool is_text = (p[0] & 0x0f) == FRAME_TEXT,
         is_greeting = is_text && str_starts(text, STR("{\"auth\":\"OK\""));
    must(!is_greeting || !f.greeted);
    if (!f.greeted && !is_greeting) // a refusal, then
        must(link_state(f.link) == LINK_CLOSING);
    f.greeted = f.greeted || is_greeting;
    if (is_text) check_call(text);
}

static void sent_it(void)
{
    link_sent(f.link);
    f.in_hand = NULL;
}

static void take_output(bool sent)
{
    struct str out = link_output(f.link);
    if (!out.p) return;
    if (out.p != f.in_hand) check_frame(out);
    f.in_hand = out.p;
    must(link_output(f.link).p == out.p);
    if (sent) sent_it();
}

// --- what the board sends

static void send_frame(uint8_t first, struct str payload)
{
    char *buf = malloc(payload.n + 14), *p = buf;
    must(buf);
    *p++ = (char)first;
    *p++ = (char)(0x80 | (payload.n < 126 ? payload.n : payload.n < 65536 ? 126 : 127));
    int bytes = payload.n < 126 ? 0 : payload.n < 65536 ? 2 : 8;
    for (int i = bytes - 1; i >= 0; i--) *p++ = (char)((uint64_t)payload.n >> 8 * i);
    memset(p, 0, 4); // a mask that changes nothing
    p += 4;
    if (payload.n) memcpy(p, payload.p, payload.n);
    link_receive(f.link, (struct str){ buf, (size_t)(p - buf) + payload.n }, f.now);
    free(buf);
}

#define LOOKUP                                                                                               \
    "{\"type\":\"CALL\",\"id\":\"L\",\"call-stack-id\":\"%032x\",\"command\":"                               \
    "\"anvil.private.users.get_current_user_email\"}"

static void say(void)
{
    static const char *const texts[] = {
        "{\"key\":\"k\",\"v\":%u}",
        "{\"type\":\"REGISTER\",\"name\":\"flash\",\"x\":%u}",
        "{\"type\":\"REGISTER\",\"name\":\"x%u\"}",
        "{\"id\":\"%032x\",\"response\":[1]}",
        "{\"id\":\"%032x\",\"error\":{\"message\":\"m\"}}",
        "{\"id\":\"%032x\",\"response\":nan}",
        LOOKUP,
        "{\"type\":\"CALL\",\"id\":\"E\",\"command\":\"anvil.private.echo\",\"args\":[%u]}",
    };
    char text[256];
    const char *fmt = texts[byte() % 8];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    int n = snprintf(text, sizeof text, fmt, (unsigned)byte());
#pragma GCC diagnostic pop
    send_frame(0x81, (struct str){ text, (size_t)n });
}

static void go_on(uint8_t how)
{
    static const int64_t steps[] = { 0, 1, 50, 999, 1000, 9999, 10000, 20000, 30000, 60000 };
    f.now += steps[how % 10];
    if (how & 0x80) return; // nobody looks at the clock
    link_tick(f.link, f.now);
    must(link_due(f.link) > f.now);
}

static void set_gone(uint8_t i)
{
    if (i < f.ncalls && !f.over[i]) f.calls[i]->gone = true;
}

static void step(void)
{
    switch (byte() % 16) {
    case 0: link_receive(f.link, piece(70000), f.now); break;
    case 1: send_frame(byte(), piece(70000)); break;
    case 2: send_frame(0x81, piece(70000)); break;
    case 3:
    case 4:
    case 5: say(); break;
    case 6:
    case 7: call(byte()); break;
    case 8:
    case 9: take_output(true); break;
    case 10: take_output(false); break;
    case 11: go_on(byte()); break;
    case 12: set_gone(byte()); break;
    case 13: f.in_finished = byte() & 0x7f; break;
    case 14: sent_it(); break;
    case 15:
        switch (byte() % 8) {
        case 0: close_link(); break;
        case 1: link_gone(f.link, f.now); break;
        case 2: link_drain(f.link, f.now); break;
        default: go_on(1); break;
        }
    }
}

static void check(void)
{
    size_t at_work = 0;
    for (size_t i = 0; i < f.ncalls; i++) at_work += !f.over[i] && f.calls[i]->sent;
    must(at_work <= LIMIT_PICO_CALLS && f.live <= LIMIT_PICO_CALLS + LIMIT_PICO_QUEUE);
    must(link_load(f.link) >= f.live && link_load(f.link) <= LIMIT_PICO_CALLS + LIMIT_PICO_QUEUE);
    must(link_functions(f.link).n <= LIMIT_PICO_FUNCTIONS);
    enum link_state now = link_state(f.link);
    must(now >= f.state);
    must(f.closings == (now >= LINK_CLOSING) && f.opened <= 1 && (now != LINK_OPEN || f.opened == 1));
    must(now < LINK_CLOSING || f.live == 0);
    must(now != LINK_CLOSED || !link_output(f.link).p);
    f.state = now;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct link_settings settings = { 10000, 10000, 20000, 60000, OUTPUT_MAX };
    static struct str names[] = { STR_INIT("flash"), STR_INIT("read"), STR_INIT("x1"), STR_INIT("x2") };
    memset(&f, 0, sizeof f);
    f.rest = (struct str){ (const char *)data, size };
    f.now = 1000;
    f.device = (struct device){ .name = STR("lamp"), .functions = { names, 4 } };
    f.device.any_function = byte() & 1;
    f.link = link_new(&settings, &owner, NULL, f.now);
    must(f.link);
    while (f.rest.n > 0) {
        step();
        check();
    }
    f.in_finished &= 1; // it may even call while it is freed
    link_free(f.link);
    must(f.live == 0 && f.closings == 1);
    return 0;
}
