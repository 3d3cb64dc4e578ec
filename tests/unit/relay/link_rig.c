// SPDX-License-Identifier: GPL-3.0-or-later
#include "link_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- the owner

static void tell(struct rig *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void tell(struct rig *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    size_t room = sizeof r->told - r->ntold;
    int n = snprintf(r->told + r->ntold, room, "%s", r->ntold ? "; " : "");
    n += vsnprintf(r->told + r->ntold + n, room - (size_t)n, fmt, ap);
    va_end(ap);
    if ((size_t)n >= room) abort();
    r->ntold += (size_t)n;
}

static const struct device *on_login(void *context, struct str key, struct err *err)
{
    struct rig *r = context;
    tell(r, "login %.*s", STR_FMT(key));
    if (r->on_login) r->on_login(r);
    if (!r->no_device) return &r->device;
    err_set(err, ERR_UPLINK_KEY, "nobody's");
    return NULL;
}

static void on_opened(void *context)
{
    tell(context, "opened");
}

static void on_registered(void *context, struct str function)
{
    tell(context, "registered %.*s", STR_FMT(function));
}

static void on_name_refused(void *context, struct str function, const struct err *why)
{
    tell(context, "refused %.*s %s", STR_FMT(function), err_name(why->code));
}

static struct str on_caller_email(void *context, struct relay_call *call)
{
    struct rig *r = context;
    tell(r, "email of %.*s", STR_FMT(call->user));
    if (r->on_email) r->on_email(r);
    return r->email;
}

static void on_finished(void *context, struct relay_call *call)
{
    struct rig *r = context;
    unsigned number = (unsigned)strtoul(call->id, NULL, 16);
    assert_false(r->in_finished); // one after the other, whatever is done within
    r->in_finished = true;
    tell(r, "%u %s", number, err_name(call->err.code));
    if (call->err.code == ERR_NONE) assert_non_null(call->result.p);
    if (call->err.code == ERR_NONE)
        tell(r, "= %.*s", call->result.n < 200 ? (int)call->result.n : 200, call->result.p);
    if (call->err.code == ERR_PICO_FUNCTION)
        tell(r, "%.*s: %.*s", STR_FMT(call->error_type), STR_FMT(call->error_message));
    r->live--;
    if (r->look_at_call) r->look_at_call(call);
    arena_free(call->arena);
    if (r->on_finished) r->on_finished(r, number);
    r->in_finished = false;
}

static void on_closing(void *context, const struct err *why)
{
    struct rig *r = context;
    tell(r, "closing %s", err_name(why->code));
}

static const struct link_owner owner = {
    .login = on_login,
    .opened = on_opened,
    .registered = on_registered,
    .name_refused = on_name_refused,
    .caller_email = on_caller_email,
    .finished = on_finished,
    .closing = on_closing,
};

static void new_with(struct rig *r, size_t output_max)
{
    static struct str names[] = { STR_INIT("flash"), STR_INIT("read") };
    *r = (struct rig){ .settings = { 10000, 10000, 20000, 60000, output_max },
                       .device = { .name = STR("lamp"), .functions = { names, 2 } },
                       .now = 1000000 };
    r->link = link_new(&r->settings, &owner, r, r->now);
}

void rig_new(struct rig *r)
{
    new_with(r, LIMIT_PICO_FRAME_BYTES);
}

void rig_login(struct rig *r)
{
    rig_login_with(r, LIMIT_PICO_FRAME_BYTES);
}

void rig_login_with(struct rig *r, size_t output_max)
{
    new_with(r, output_max);
    assert_non_null(r->link);
    rig_says(r, LOGIN);
    rig_hears(r, LOGIN_OK);
    rig_says(r, "{\"type\":\"REGISTER\",\"name\":\"flash\"}");
    rig_says(r, "{\"type\":\"REGISTER\",\"name\":\"read\"}");
    rig_told(r, "login the key; opened; registered flash; registered read");
}

void rig_end(struct rig *r)
{
    link_free(r->link);
    assert_int_equal(r->live, 0);
}

// --- the board

void rig_bytes(struct rig *r, struct str bytes)
{
    // In memory of its own, so that a sanitizer sees each byte read too many.
    char *copy = malloc(bytes.n + 1);
    memcpy(copy, bytes.p, bytes.n);
    link_receive(r->link, (struct str){ copy, bytes.n }, r->now);
    free(copy);
}

size_t rig_frame_write(char *buf, unsigned first_byte, struct str payload)
{
    static const char mask[4] = { 0x1d, 0x2c, 0x3b, 0x4a };
    char *p = buf;
    *p++ = (char)first_byte;
    if (payload.n < 126) {
        *p++ = (char)(0x80 | payload.n);
    } else if (payload.n < 65536) {
        *p++ = (char)(0x80 | 126);
    } else {
        *p++ = (char)(0x80 | 127);
        for (int i = 0; i < 6; i++) *p++ = (char)(i < 4 ? 0 : payload.n >> (8 * (7 - i)));
    }
    if (payload.n >= 126) {
        *p++ = (char)(payload.n >> 8);
        *p++ = (char)payload.n;
    }
    memcpy(p, mask, sizeof mask);
    p += sizeof mask;
    for (size_t i = 0; i < payload.n; i++) *p++ = (char)(payload.p[i] ^ mask[i % 4]);
    return (size_t)(p - buf);
}

void rig_frame(struct rig *r, unsigned first_byte, struct str payload)
{
    char *buf = malloc(payload.n + 14);
    rig_bytes(r, (struct str){ buf, rig_frame_write(buf, first_byte, payload) });
    free(buf);
}

void rig_says(struct rig *r, const char *fmt, ...)
{
    va_list ap;
    char text[2048];
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof text) abort();
    rig_frame(r, 0x81, (struct str){ text, (size_t)n });
}

void rig_answers(struct rig *r, unsigned number, const char *json)
{
    rig_says(r, "{\"id\":\"%s\",\"response\":%s}", rig_id(number), json);
}

void rig_later(struct rig *r, int64_t ms)
{
    r->now += ms;
    link_tick(r->link, r->now);
}

// --- what it hears

void rig_hears_frame(struct rig *r, enum frame_opcode opcode, struct str payload)
{
    struct str out = link_output(r->link);
    char *want = malloc(payload.n + 14);
    size_t n = frame_write(want, payload.n + 14, opcode, payload);
    if (!out.p) fail_msg("nothing to hear where '%.*s' should be", STR_FMT(payload));
    if (out.n != n || memcmp(out.p, want, n) != 0)
        fail_msg("heard '%.*s' and not '%.*s'", STR_FMT(out), STR_FMT(payload));
    assert_true(link_output(r->link).p == out.p); // it stays
    free(want);
    link_sent(r->link);
}

void rig_hears(struct rig *r, const char *text)
{
    rig_hears_frame(r, FRAME_TEXT, str_c(text));
}

void rig_hears_call(struct rig *r, unsigned number, const char *function)
{
    char text[512];
    snprintf(text, sizeof text,
             "{\"type\":\"CALL\",\"id\":\"%s\",\"call-stack-id\":\"%s\",\"command\":\"%s\",\"args\":[1],"
             "\"kwargs\":{}}",
             rig_id(number), rig_id(number), function);
    rig_hears(r, text);
}

void rig_hears_close(struct rig *r, unsigned code)
{
    assert_int_equal(link_state(r->link), LINK_CLOSING);
    rig_hears_frame(r, FRAME_CLOSE, (struct str){ (char[]){ (char)(code >> 8), (char)code }, 2 });
    rig_hears_nothing(r);
    assert_int_equal(link_state(r->link), LINK_CLOSED);
}

void rig_hears_nothing(struct rig *r)
{
    struct str out = link_output(r->link);
    if (out.p) fail_msg("heard '%.*s'", STR_FMT(out));
}

// --- calls

const char *rig_id(unsigned number)
{
    static char ids[4][CALL_ID_DIGITS + 1]; // some at a time
    static unsigned next;
    char *id = ids[next++ % 4];
    snprintf(id, sizeof ids[0], "%032x", number);
    return id;
}

struct relay_call *rig_call_new(struct rig *r, const char *function, const char *user, const char *args)
{
    struct arena *a = arena_new(1024 * 1024);
    struct relay_call *c = arena_alloc(a, sizeof *c);
    c->arena = a;
    memcpy(c->id, rig_id(++r->last), sizeof c->id);
    c->function = arena_str_c(a, function);
    static const char *const people[] = { "ben", "ann" };
    c->user = arena_str_c(a, user ? user : people[r->last % 2]);
    c->args = arena_str_c(a, args);
    c->kwargs = STR("{}");
    c->limit_ms = 30000;
    return c;
}

enum err_code rig_give(struct rig *r, struct relay_call *c)
{
    struct err err = { 0 };
    r->live++;
    if (link_call(r->link, c, r->now, &err)) return ERR_NONE;
    r->live--;
    arena_free(c->arena);
    return err.code;
}

enum err_code rig_call(struct rig *r, const char *function, const char *user)
{
    return rig_give(r, rig_call_new(r, function, user, "[1]"));
}

void make_calls(struct rig *r, int n, const char *user)
{
    for (int i = 0; i < n; i++) assert_int_equal(rig_call(r, "flash", user), ERR_NONE);
}

void hears_calls(struct rig *r, unsigned first, unsigned last)
{
    for (unsigned i = first; i <= last; i++) rig_hears_call(r, i, "flash");
    rig_hears_nothing(r);
}

void rig_told(struct rig *r, const char *events)
{
    if (strcmp(r->told, events) != 0) fail_msg("told '%s' and not '%s'", r->told, events);
    r->told[0] = '\0';
    r->ntold = 0;
}

void close_it(struct rig *r)
{
    struct err why;
    err_set(&why, ERR_UPLINK_REVOKED, "test");
    link_close(r->link, 1008, &why, r->now);
}
