// SPDX-License-Identifier: GPL-3.0-or-later
// Tells the application who the visitor is, under the names that it expects (docs/headers.md). The scrub has
// removed every such field from the request before, so a field that is not set here is not there.
#pragma once

#include "gateway/config/config.h"
#include "http/head.h"

// Adds the fields of the presets in `presets` (mask of enum identity_preset) for `id`; NULL: nobody is logged
// in, nothing is added. False when they do not fit or memory is short: then nothing may be forwarded.
bool identity_headers_set(struct arena *a, struct http_fields *f, unsigned presets,
                          const struct identity *id);
