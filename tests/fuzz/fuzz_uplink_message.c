// SPDX-License-Identifier: GPL-3.0-or-later
// The input is a message of a board. What is passed on is JSON whatever it was, and reads the same again.
#include <assert.h>
#include <jansson.h>

#include "base/limits.h"
#include "relay/message.h"

static void check_json(struct str text)
{
    json_error_t e;
    json_t *tree = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    assert(tree);
    json_decref(tree);
}

static void check_id(const struct message *m)
{
    assert(!m->id.p || (m->id.n > 0 && m->id.n <= 128));
}

static void check_result(struct arena *a, const struct message *m)
{
    struct message again;
    struct err err = { .code = ERR_NONE };
    assert(m->id.p && m->response.p && str_is_utf8(m->response, false));
    check_json(m->response);
    struct str text = message_response(a, m->id, m->response);
    assert(text.p && message_parse(a, text, &again, &err));
    assert(again.kind == MESSAGE_RESULT && str_eq(again.id, m->id) && str_eq(again.response, m->response));
}

static void check_error(const struct message *m)
{
    assert(m->id.p && m->error_message.n <= LIMIT_PICO_ERROR_BYTES &&
           m->error_type.n <= LIMIT_PICO_ERROR_BYTES);
    assert(str_is_utf8(m->error_message, false) && str_is_utf8(m->error_type, false));
}

static void check_call(struct arena *a, const struct message *m)
{
    assert(m->echo.p);
    check_json(m->echo);
    check_json(message_string(a, m->command));
    if (m->id.p) check_json(message_response(a, m->id, m->echo));
    if (m->id.p) check_json(message_error(a, m->id, "text"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > LIMIT_PICO_MESSAGE_BYTES) return 0;
    struct arena *a = arena_new(16u << 20);
    if (!a) return 0;
    struct message m = { .kind = MESSAGE_OTHER };
    struct err err = { .code = ERR_NONE };
    assert(message_parse(a, (struct str){ (const char *)data, size }, &m, &err));
    assert((m.kind == MESSAGE_BROKEN) == (err.code == ERR_UPLINK_MESSAGE));
    check_id(&m);
    assert((m.kind == MESSAGE_RESULT) == (m.response.p != NULL));
    if (m.kind == MESSAGE_RESULT) check_result(a, &m);
    if (m.kind == MESSAGE_ERROR) check_error(&m);
    if (m.kind == MESSAGE_CALL) check_call(a, &m);
    check_json(message_string(a, (struct str){ (const char *)data, size }));
    arena_free(a);
    return 0;
}
