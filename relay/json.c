// SPDX-License-Identifier: GPL-3.0-or-later
#include "relay/json.h"

#include "base/mem.h"

// The library's hooks are global; they are set before there are threads. So is its secret against hash
// collisions. Whoever else sets them (oidc/json.c) sets the same.
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
// and goes on, so that one name becomes another. Hence the count of failed allocations.
json_t *relay_json_read(struct arena *a, struct str text, size_t flags, json_error_t *ret_error,
                        bool *ret_no_memory)
{
    unsigned long before = mem_failures();
    json_t *tree = json_loadb(text.p, text.n, flags | JSON_REJECT_DUPLICATES, ret_error);
    *ret_no_memory = mem_failures() != before;
    if (*ret_no_memory) {
        json_decref(tree);
        return NULL;
    }
    if (!tree) return NULL;
    *ret_no_memory = !arena_defer(a, json_release, tree);
    return *ret_no_memory ? NULL : tree;
}

struct str relay_json_str(const json_t *value)
{
    if (!json_is_string(value)) return STR_NONE;
    return (struct str){ json_string_value(value), json_string_length(value) };
}
