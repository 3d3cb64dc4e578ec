// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/limits.h"
#include "relay/json_text.h"
#include "relay/message.h"

// What is written here comes from one message, or from limits far below; an escaped byte has six.
enum { TEXT_MAX = 8 * LIMIT_PICO_MESSAGE_BYTES };

// A board insists on "auth" being "OK" and on "app-info" having an "id"; the rest is for other clients.
struct str message_login_ok(struct arena *a)
{
    return arena_str_c(
        a, "{\"auth\":\"OK\",\"priv\":\"uplink\",\"app-info\":{\"id\":\"sallyport\","
           "\"branch\":\"published\",\"environment\":{\"description\":\"Sallyport\",\"tags\":[]}}}");
}

struct str message_login_failed(struct arena *a, const char *text)
{
    struct sbuf b;
    sbuf_init(&b, a, TEXT_MAX);
    sbuf_add_c(&b, "{\"error\":");
    relay_json_add_string(&b, str_c(text));
    sbuf_add_c(&b, "}");
    return sbuf_str(&b);
}

static void add_member(struct sbuf *b, const char *before, struct str text)
{
    sbuf_add_c(b, before);
    relay_json_add_string(b, text);
}

// The six members that a board needs. One more named "response", "error" or "output" and the call is lost:
// the board looks for these first.
struct str message_call(struct arena *a, struct str id, struct str function, struct str args,
                        struct str kwargs)
{
    struct sbuf b;
    sbuf_init(&b, a, TEXT_MAX);
    add_member(&b, "{\"type\":\"CALL\",\"id\":", id);
    add_member(&b, ",\"call-stack-id\":", id);
    add_member(&b, ",\"command\":", function);
    sbuf_add_c(&b, ",\"args\":");
    sbuf_add(&b, args);
    sbuf_add_c(&b, ",\"kwargs\":");
    sbuf_add(&b, kwargs);
    sbuf_add_c(&b, "}");
    return sbuf_str(&b);
}

struct str message_response(struct arena *a, struct str id, struct str json)
{
    struct sbuf b;
    sbuf_init(&b, a, TEXT_MAX);
    add_member(&b, "{\"id\":", id);
    sbuf_add_c(&b, ",\"response\":");
    sbuf_add(&b, json);
    sbuf_add_c(&b, "}");
    return sbuf_str(&b);
}

struct str message_error(struct arena *a, struct str id, const char *text)
{
    struct sbuf b;
    sbuf_init(&b, a, TEXT_MAX);
    add_member(&b, "{\"id\":", id);
    add_member(&b, ",\"error\":{\"message\":", str_c(text));
    sbuf_add_c(&b, "}}");
    return sbuf_str(&b);
}

struct str message_string(struct arena *a, struct str text)
{
    struct sbuf b;
    sbuf_init(&b, a, TEXT_MAX);
    relay_json_add_string(&b, text);
    return sbuf_str(&b);
}
