// SPDX-License-Identifier: GPL-3.0-or-later
// Which header fields pass, in both directions, from the one table fields.def; and the secure headers of
// answers.
#pragma once

#include "base/arena.h"
#include "http/head.h"

// Request, before anything looks at it (but after the parser took what `struct http_request_head` says of
// Connection and Upgrade): removes hop-by-hop fields; those that Connection names, unless they have an entry
// in fields.def (a client must not be able to take out Cookie or X-Forwarded-For, CVE-2022-31813); every
// identity name in any letter case and with '_' for '-'; forwarding fields (what a trusted proxy says
// in them was read before); and every other name with '_', since CGI-like backends read it as '-'.
void http_scrub_request(struct http_fields *f);

// A backend's answer: removes hop-by-hop fields, those that Connection names, Server, X-Powered-By and the
// like.
void http_scrub_response(struct http_fields *f);

enum secure_headers { SECURE_OFF, SECURE_BALANCED, SECURE_STRICT };
// Adds the secure headers that the application did not set itself. Values of the OWASP Secure Headers
// project; `balanced` leaves out what breaks ordinary applications (docs/headers.md lists them). For answers
// over HTTPS only.
void http_secure_response(struct http_fields *f, enum secure_headers level);

// Forwarded (RFC 7239) element for this hop: for=..;host=..;proto=https, quoted where needed; an absent
// client is "unknown". Absent when out of memory or when one of the values has control bytes.
struct str http_forwarded(struct arena *a, struct str client, struct str host, bool https);

// Whether the request is a page navigation of a browser: GET or HEAD, or the POST of a form (Sec-Fetch-Mode
// must be there then); accepts text/html, Sec-Fetch-Mode navigate when sent, no X-Requested-With, no prefetch
// (Sec-Purpose), no upgrade. Only these are sent to a login; the others get 401 and JSON.
bool http_is_navigation(const struct http_request_head *head);
