// SPDX-License-Identifier: GPL-3.0-or-later
// Reads tests/vectors/saml/*.vec: entries of "key: value" lines, separated by empty lines; '#' begins a
// comment line.
#pragma once

#include "base/str.h"

struct vector {
    struct str keys[24], values[24];
    size_t n;
};

// Calls `run` for each entry; fails the test when the file is missing, or an entry has no name or
// expectation.
size_t vectors_each(const char *path, void (*run)(const struct vector *));
// The value of `key`; absent when there is none.
struct str vector_get(const struct vector *v, const char *key);
// The n-th "find ==> replace" under `key`; false after the last.
bool vector_edit(const struct vector *v, const char *key, size_t n, struct str *ret_find,
                 struct str *ret_replace);
