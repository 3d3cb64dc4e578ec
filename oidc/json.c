// SPDX-License-Identifier: GPL-3.0-or-later
#include "oidc/json.h"

static void json_release(void *object)
{
    json_decref(object);
}

// The parser leaves the code unset at some places where an allocation failed.
static bool json_out_of_memory(const json_error_t *e)
{
    return json_error_code(e) == json_error_out_of_memory || json_error_code(e) == json_error_unknown;
}

bool oidc_json_object(struct arena *a, struct str text, size_t max, enum err_code code, json_t **ret,
                      struct err *err)
{
    json_error_t e = { 0 };
    if (text.n > max) return err_set(err, code, "%zu bytes of JSON; %zu are accepted", text.n, max);
    if (text.n == 0) return err_set(err, code, "empty instead of JSON");
    json_t *tree = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, &e);
    if (!tree && json_out_of_memory(&e)) return err_set(err, ERR_NO_MEMORY, "parsing JSON");
    // The parser's own message may quote the input, and with it a token.
    if (!tree) return err_set(err, code, "not valid JSON (line %d, column %d)", e.line, e.column);
    if (!arena_defer(a, json_release, tree)) return err_set(err, ERR_NO_MEMORY, "keeping JSON");
    if (!json_is_object(tree)) return err_set(err, code, "the JSON is not an object");
    *ret = tree;
    return true;
}

struct str oidc_json_str(const json_t *value)
{
    if (!json_is_string(value)) return STR_NONE;
    return (struct str){ json_string_value(value), json_string_length(value) };
}

struct str oidc_json_member(const json_t *object, const char *name)
{
    return oidc_json_str(json_object_get(object, name));
}

const json_t *oidc_json_get(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_null(value) ? NULL : value;
}

bool oidc_json_array_has(const json_t *array, struct str text)
{
    for (size_t i = 0; i < json_array_size(array); i++)
        if (str_eq(oidc_json_str(json_array_get(array, i)), text)) return true;
    return false;
}
