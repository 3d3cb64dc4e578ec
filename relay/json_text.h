// SPDX-License-Identifier: GPL-3.0-or-later
// JSON as relay/ writes it: compact, raw UTF-8 (a board takes \ud83d\ude00 for two characters), and floats in
// the fewest digits that say the same (a board has no memory to waste, and counts rounding errors along).
#pragma once

#include <jansson.h>

#include "base/arena.h"

// Appends a tree that has been read here, so nested not deeper than LIMIT_PICO_DEPTH.
void relay_json_add(struct sbuf *b, const json_t *value);
// Appends a string; what is not UTF-8 in it becomes U+FFFD.
void relay_json_add_string(struct sbuf *b, struct str text);
// Whether arrays and objects are nested deeper than `max`, if `text` is JSON.
bool relay_json_deeper(struct str text, unsigned max);
