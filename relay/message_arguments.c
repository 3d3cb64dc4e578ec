// SPDX-License-Identifier: GPL-3.0-or-later
#include <math.h>

#include "base/limits.h"
#include "relay/json.h"
#include "relay/json_text.h"
#include "relay/message.h"

enum { TREE_ARENA = 64 }; // of what frees a tree

// A board's floats are of single precision: beyond this they are infinite there, and no JSON on the way back.
static const double float_max = 3.4e38;

static bool read_body(struct arena *a, struct str body, const json_t **ret, struct err *err)
{
    json_error_t e = { .position = 0 };
    bool no_memory = false;
    if (relay_json_deeper(body, LIMIT_PICO_DEPTH))
        return err_set(err, ERR_PICO_ARGUMENTS, "nested deeper than %d", LIMIT_PICO_DEPTH);
    const json_t *tree = relay_json_read(a, body, 0, &e, &no_memory);
    if (no_memory) return err_set(err, ERR_NO_MEMORY, "reading arguments");
    if (!tree && json_error_code(&e) == json_error_numeric_overflow)
        return err_set(err, ERR_PICO_ARGUMENTS, "a number that does not fit (byte %d)", e.position);
    if (!tree) return err_set(err, ERR_PICO_ARGUMENTS, "not strict JSON (byte %d)", e.position);
    if (!json_is_object(tree)) return err_set(err, ERR_PICO_ARGUMENTS, "not an object");
    *ret = tree;
    return true;
}

static bool check_members(const json_t *object, struct err *err)
{
    const json_t *args = json_object_get(object, "args"), *kwargs = json_object_get(object, "kwargs");
    if (args && !json_is_array(args)) return err_set(err, ERR_PICO_ARGUMENTS, "\"args\" is not an array");
    if (kwargs && !json_is_object(kwargs))
        return err_set(err, ERR_PICO_ARGUMENTS, "\"kwargs\" is not an object");
    size_t others = json_object_size(object);
    if (args) others--;
    if (kwargs) others--;
    if (others == 0) return true;
    return err_set(err, ERR_PICO_ARGUMENTS, "a member other than \"args\" and \"kwargs\"");
}

static bool check_floats(const json_t *value, struct err *err)
{
    if (json_is_real(value) && !(fabs(json_real_value(value)) <= float_max))
        return err_set(err, ERR_PICO_ARGUMENTS, "a float that a board takes for infinite");
    for (size_t i = 0; i < json_array_size(value); i++)
        if (!check_floats(json_array_get(value, i), err)) return false;
    json_t *object = (json_t *)value;
    for (void *i = json_object_iter(object); i; i = json_object_iter_next(object, i))
        if (!check_floats(json_object_iter_value(i), err)) return false;
    return true;
}

// Its text; `missing` when it is not there. More than `max` bytes are not composed.
static bool member_text(struct arena *a, const json_t *value, const char *missing, size_t max,
                        struct str *ret, struct err *err)
{
    struct sbuf b;
    sbuf_init(&b, a, max);
    if (value)
        relay_json_add(&b, value);
    else
        sbuf_add_c(&b, missing);
    struct str text = sbuf_str(&b);
    if (arena_failed(a)) return err_set(err, ERR_NO_MEMORY, "writing arguments");
    if (!text.p) return err_set(err, ERR_PICO_ARGUMENTS_LARGE, "they take more than %zu bytes", max);
    *ret = text;
    return true;
}

static bool read_arguments(struct arena *a, struct arena *trees, struct str body, size_t max,
                           struct str *ret_args, struct str *ret_kwargs, struct err *err)
{
    const json_t *object = NULL;
    struct str args, kwargs;
    if (!read_body(trees, body, &object, err) || !check_members(object, err) || !check_floats(object, err) ||
        !member_text(a, json_object_get(object, "args"), "[]", max, &args, err) ||
        !member_text(a, json_object_get(object, "kwargs"), "{}", max - args.n, &kwargs, err))
        return false;
    *ret_args = args;
    *ret_kwargs = kwargs;
    return true;
}

bool message_arguments(struct arena *a, struct str body, size_t max, struct str *ret_args,
                       struct str *ret_kwargs, struct err *err)
{
    // The call lives long, and a tree takes many times the memory of its text.
    struct arena *trees = arena_new_small(TREE_ARENA, TREE_ARENA);
    if (!trees) return err_set(err, ERR_NO_MEMORY, "reading arguments");
    bool ok = read_arguments(a, trees, body, max, ret_args, ret_kwargs, err);
    arena_free(trees);
    return ok;
}
