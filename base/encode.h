// SPDX-License-Identifier: GPL-3.0-or-later
// Text encodings. Encoders write into an arena and give absent on failure; decoders are strict: one accepted
// spelling for one value, everything else is refused.
#pragma once

#include "base/arena.h"

struct str encode_hex(struct arena *a, struct str bytes);       // lower case
bool decode_hex(struct str text, uint8_t *ret, size_t n);       // exactly 2n digits, lower case
struct str encode_base64(struct arena *a, struct str bytes);    // RFC 4648 section 4, padded
struct str encode_base64url(struct arena *a, struct str bytes); // RFC 4648 section 5, no padding
// Canonical base64url without padding; trailing bits must be zero. False: not canonical, or out of memory.
bool decode_base64url(struct arena *a, struct str text, struct str *ret);
// RFC 4648 section 4 with padding; CR, LF, space and tab between groups are skipped when `spaces` (RFC 2045
// lines).
bool decode_base64(struct arena *a, struct str text, bool spaces, struct str *ret);
// RFC 3986 percent-encoding: everything but unreserved characters is encoded (so it fits any URL component).
struct str encode_percent(struct arena *a, struct str text);
// Decodes %XX (and '+' as space when `form`). False on a malformed escape.
bool decode_percent(struct arena *a, struct str text, bool form, struct str *ret);
// Escapes & < > " ' for HTML text and quoted attribute values.
struct str encode_html(struct arena *a, struct str text);
// A JSON string literal, quotes included. Invalid UTF-8 becomes U+FFFD; < > & are escaped too, so it is safe
// in HTML.
struct str encode_json(struct arena *a, struct str text);
