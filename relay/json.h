// SPDX-License-Identifier: GPL-3.0-or-later
// JSON as relay/ reads it: one reading only. A member that is there twice, bytes after the end, NUL, invalid
// UTF-8 and numbers that do not fit are refused by the parser.
#pragma once

#include <jansson.h>

#include "base/arena.h"
#include "base/err.h"

// The tree, which lives as long as the arena. NULL: *ret_no_memory, or no JSON of this kind, and *ret_error
// says where. `flags` are those of json_loadb beside JSON_REJECT_DUPLICATES.
json_t *relay_json_read(struct arena *a, struct str text, size_t flags, json_error_t *ret_error,
                        bool *ret_no_memory);
// The string `value`, absent when it is anything else (NULL included). Borrows from the tree.
struct str relay_json_str(const json_t *value);
