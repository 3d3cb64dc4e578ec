// SPDX-License-Identifier: GPL-3.0-or-later
// JSON from identity providers: one reading only. Duplicate member names, trailing bytes, NUL, invalid UTF-8
// and numbers that do not fit are refused by the parser; size and top-level type are checked here.
#pragma once

#include <jansson.h>

#include "base/arena.h"
#include "base/err.h"

// Parses `text` (at most `max` bytes), which must be one JSON object. The tree lives as long as the arena.
// Every refusal has the code `code`, except lack of memory.
bool oidc_json_object(struct arena *a, struct str text, size_t max, enum err_code code, json_t **ret,
                      struct err *err);
// The string `value`, absent when it is anything else (NULL included). Borrows from the tree.
struct str oidc_json_str(const json_t *value);
// Member `name` of `object` when it is a string, absent otherwise.
struct str oidc_json_member(const json_t *object, const char *name);
// Member `name` when it exists and is not null.
const json_t *oidc_json_get(const json_t *object, const char *name);
// `array` is an array with the string `text` among its elements.
bool oidc_json_array_has(const json_t *array, struct str text);
