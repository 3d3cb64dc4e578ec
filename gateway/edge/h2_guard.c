// SPDX-License-Identifier: GPL-3.0-or-later
// What nghttp2 does not bound: frames that cost work and bring nothing (CVE-2019-9511 to 9518), and streams
// that are reset again and again, by the client (CVE-2023-44487) or by us because the client makes us
// (CVE-2025-8671). Buckets leak, so a client that is merely busy stays below the brim.
#include "gateway/edge/h2.h"

// `level` rises by 1000 with each event and falls by `per_second` * 1000 a second. False above `brim`.
static bool pour(struct h2_bucket *b, int64_t now_ms, int64_t brim, int64_t per_second)
{
    b->level -= (now_ms - b->at) * per_second;
    if (b->level < 0) b->level = 0;
    b->at = now_ms;
    b->level += 1000;
    return b->level <= brim * 1000;
}

bool h2_guard_frame(struct h2_guard *g, int64_t now_ms)
{
    return pour(&g->frames, now_ms, LIMIT_H2_FRAMES_BURST, LIMIT_H2_FRAMES_PER_SECOND);
}

bool h2_guard_reset(struct h2_guard *g, int64_t now_ms)
{
    return pour(&g->resets, now_ms, LIMIT_H2_RESETS_BURST, LIMIT_H2_RESETS_PER_SECOND);
}

// By bytes and not by frames: whoever lets us send one byte at a time earns nothing.
void h2_guard_moved(struct h2_guard *g, size_t bytes)
{
    g->progress += bytes;
    int64_t credit = (int64_t)(g->progress / LIMIT_H2_FRAME_PER_BYTES);
    g->progress %= LIMIT_H2_FRAME_PER_BYTES;
    g->frames.level -= credit * 1000;
    if (g->frames.level < 0) g->frames.level = 0;
}
