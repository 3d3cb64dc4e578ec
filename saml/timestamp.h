// SPDX-License-Identifier: GPL-3.0-or-later
// xs:dateTime as SAML writes it (core 1.3.3: UTC; others write offsets, which are unambiguous too).
#pragma once

#include "base/arena.h"

// Seconds since the epoch, fractions cut off. Refused: no zone, no such day, 24:00, leap seconds, years
// before 1970.
bool timestamp_parse(struct str text, int64_t *ret);
// "2026-01-31T12:00:00Z"
struct str timestamp_format(struct arena *a, int64_t t);
