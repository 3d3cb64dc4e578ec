// SPDX-License-Identifier: GPL-3.0-or-later
// What gateway/pages/embed.py makes at build time.
#pragma once

#include "base/str.h"

struct page_template {
    const char *name; // "chooser"
    struct str text;
};
struct page_asset {
    const char *name, *hashed_name, *content_type; // "style.css", "style.0123456789ab.css"
    struct str body;
};
extern const struct page_template page_templates[];
extern const size_t page_template_count;
extern const struct page_asset page_assets[];
extern const size_t page_asset_count;
