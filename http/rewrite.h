// SPDX-License-Identifier: GPL-3.0-or-later
// Between the addresses that browsers know and those that backends know. A prefix is a canonical path without
// a slash at its end; "/" covers everything.
#pragma once

#include "base/arena.h"
#include "http/target.h"

// `path`, which is canonical and lies under `prefix`, with `replacement` in place of the prefix ("/":
// nothing). Canonical again, never empty. Absent when the path lies elsewhere or memory ran out.
struct str http_rewrite_path(struct arena *a, struct str path, struct str prefix, struct str replacement);

// Where a route with a redirect sends `target`. `to` is an absolute URL or a path, with or without query and
// fragment. With `prefix`, the part of the path behind it and the query are appended. Absent when the path
// does not lie under the prefix or memory ran out.
struct str http_redirect_location(struct arena *a, struct str to, const struct http_target *target,
                                  struct str prefix);

// How a backend's own addresses become public ones.
struct http_public {
    struct str host; // what the backend was told as Host instead of the public one; absent: it knows that one
    uint16_t port;
    struct str origin;         // public, "https://wiki.example.com"
    struct str prefix;         // public
    struct str backend_prefix; // what stands in its place at the backend; absent: the same
};

// A Location (or Content-Location) for the browser: the backend's own host and port become the public origin,
// and a path under `backend_prefix` comes under `prefix`, unless it is there already (the application knows
// X-Forwarded-Prefix). Other hosts and relative references are left alone. Absent when memory ran out.
struct str http_public_location(struct arena *a, const struct http_public *p, struct str location);
