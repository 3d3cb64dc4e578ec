// SPDX-License-Identifier: GPL-3.0-or-later
#include "oidc/json.h"

#include "base/mem.h"

// The library's hooks are global; they are set before there are threads. So is its secret against hash
// collisions, which it would otherwise draw from a device file when the first object is made, and a confined
// process has no files. Whoever else sets them (relay/json.c) sets the same.
static __attribute__((constructor)) void json_prepare(void)
{
    json_set_alloc_funcs(mem_alloc, mem_free);
    json_object_seed(0);
}

static void json_release(void *object)
{
    json_decref(object);
}

// jansson 2.14 does not notice when the buffer of the string that it reads cannot grow: it drops the bytes
// and goes on, so that "example" becomes "exmple". Somebody could become somebody else. Hence the count of
// failed allocations.
static json_t *json_read(struct str text, json_error_t *ret_error, bool *ret_no_memory)
{
    unsigned long before = mem_failures();
    json_t *tree = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, ret_error);
    *ret_no_memory = mem_failures() != before;
    if (!*ret_no_memory) return tree;
    json_decref(tree);
    return NULL;
}

bool oidc_json_object(struct arena *a, struct str text, size_t max, enum err_code code, json_t **ret,
                      struct err *err)
{
    json_error_t e = { 0 };
    if (text.n > max) return err_set(err, code, "%zu bytes of JSON; %zu are accepted", text.n, max);
    if (text.n == 0) return err_set(err, code, "empty instead of JSON");
    bool no_memory;
    json_t *tree = json_read(text, &e, &no_memory);
    if (no_memory) return err_set(err, ERR_NO_MEMORY, "parsing JSON");
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
