// SPDX-License-Identifier: GPL-3.0-or-later
// One canonical host and path per request: policy matches it, the backend receives it, so that they cannot
// disagree. Ambiguous spellings are refused with ERR_HTTP_PATH instead of being guessed at (docs/paths.md
// lists each with its fate).
#pragma once

#include "base/arena.h"
#include "base/err.h"

struct http_target {
    struct str path;  // canonical, begins with '/': what policy sees and what is forwarded
    struct str query; // as received, without '?'; absent when there is none
};

// From the origin-form of a request target; results are in the arena or borrow from `path_query`. Normalised:
// unreserved characters that were %-encoded are decoded, remaining escapes get upper-case digits, visible
// characters that URIs do not have (`"<>^|{}` and the backtick) are encoded, "." and ".." segments written
// plainly are resolved. Refused: "%2f" "%5c"
// "\" "%00" and other encoded controls, "%25" (double encoding), "//" (empty segments), encoded or plain ".."
// that climbs above the root, encoded dot segments ("%2e"), ";" and "%3b" (matrix parameters), "#", control
// bytes, bytes above 0x7E, decoded bytes that are not UTF-8, malformed escapes. ERR_HTTP_PATH, ERR_HTTP_QUERY
// for bytes that no query has, ERR_HTTP_TARGET_TOO_LONG. "*" passes as "*"; whoever parses the head allows it
// for OPTIONS alone.
bool http_target_parse(struct arena *a, struct str path_query, struct http_target *ret, struct err *err);

// Host field -> canonical host (IPv6 without brackets) and port (0: none). ERR_HTTP_HOST.
bool http_host_parse(struct arena *a, struct str raw_host, struct str *ret_host, uint16_t *ret_port,
                     struct err *err);
