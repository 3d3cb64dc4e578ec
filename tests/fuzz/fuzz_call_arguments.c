// SPDX-License-Identifier: GPL-3.0-or-later
// The input is how much a board takes, and the body of a call as a browser sends it. What is made of it for
// the board is strict JSON with six members, within the limit, and reads the same again.
#include <assert.h>
#include <jansson.h>

#include "base/limits.h"
#include "relay/message.h"

// Only control characters are escaped: a board takes an escaped pair of surrogates for two characters.
static void check_raw(struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] != '\\') continue;
        i++;
        assert(i < text.n && (text.p[i] != 'u' || str_starts(str_skip(text, i), STR("u00"))));
    }
}

static void check_call(struct arena *a, struct str args, struct str kwargs)
{
    json_error_t e;
    struct str text = message_call(a, STR("0123456789abcdef0123456789abcdef"), STR("f"), args, kwargs);
    assert(text.p && str_is_utf8(text, false));
    check_raw(text);
    json_t *tree = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, &e);
    assert(tree && json_object_size(tree) == 6);
    assert(json_is_array(json_object_get(tree, "args")) && json_is_object(json_object_get(tree, "kwargs")));
    json_decref(tree);
}

static void check_again(struct arena *a, struct str args, struct str kwargs)
{
    struct str args2, kwargs2, body;
    struct err err = { .code = ERR_NONE };
    struct sbuf b;
    sbuf_init(&b, a, 1u << 20);
    sbuf_add_c(&b, "{\"args\":");
    sbuf_add(&b, args);
    sbuf_add_c(&b, ",\"kwargs\":");
    sbuf_add(&b, kwargs);
    sbuf_add_c(&b, "}");
    body = sbuf_str(&b);
    size_t max = args.n + kwargs.n;
    assert(message_arguments(a, body, max, &args2, &kwargs2, &err));
    assert(str_eq(args, args2) && str_eq(kwargs, kwargs2));
    assert(!message_arguments(a, body, max - 1, &args2, &kwargs2, &err));
    assert(err.code == ERR_PICO_ARGUMENTS_LARGE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 64 * 1024) return 0;
    struct arena *a = arena_new(16u << 20);
    if (!a) return 0;
    size_t max = (size_t)data[0] << 8 | data[1];
    struct str args = STR_NONE, kwargs = STR_NONE, body = { (const char *)data + 2, size - 2 };
    struct err err = { .code = ERR_NONE };
    bool ok = message_arguments(a, body, max, &args, &kwargs, &err);
    assert(ok || err.code == ERR_PICO_ARGUMENTS || err.code == ERR_PICO_ARGUMENTS_LARGE);
    assert(ok == (args.p != NULL) && ok == (kwargs.p != NULL));
    if (ok) {
        assert(args.n + kwargs.n <= max);
        check_call(a, args, kwargs);
        check_again(a, args, kwargs);
    }
    arena_free(a);
    return 0;
}
