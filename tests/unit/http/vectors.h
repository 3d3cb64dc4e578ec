// SPDX-License-Identifier: GPL-3.0-or-later
// Files of tests/vectors/http for the tests of http/, and what these tests share.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/err.h"

#define assert_str(got, want) assert_str_at(got, want, __FILE__, __LINE__)
void assert_str_at(struct str got, const char *want, const char *file, int line);

// The bytes of tests/vectors/http/<path>; fails the test when there are none. In the arena.
struct str vector_file(struct arena *a, const char *path);
// The next line that is neither empty nor a comment; false at the end.
bool vector_line(struct str *rest, struct str *ret);
// \xNN -> byte.
struct str vector_unescape(struct arena *a, struct str text);
// Fails unless err has the code named `reason` and a detail with `detail` in it.
void assert_refusal(const struct err *err, struct str reason, struct str detail, struct str what);
