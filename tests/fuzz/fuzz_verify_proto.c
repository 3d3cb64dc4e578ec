// SPDX-License-Identifier: GPL-3.0-or-later
// What the other process says, in both directions. First byte: which.
#include "gateway/verifier/verify_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    struct arena *a = arena_new(1 << 20);
    struct str payload = { (const char *)data + 1, size - 1 };
    struct err err;
    struct verify_request q;
    struct verify_reply r;
    if (data[0] & 1 && verify_request_decode(a, payload, &q, &err)) verify_request_encode(a, &q);
    if (!(data[0] & 1) && verify_reply_decode(a, payload, &r, &err)) verify_reply_encode(a, &r);
    arena_free(a);
    return 0;
}
