// SPDX-License-Identifier: GPL-3.0-or-later
// The beginning of a connection, whole and byte by byte: the verdict does not depend on how it arrives.
#include <stdlib.h>
#include <string.h>

#include "http/proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header whole, part;
    struct err err = { 0 };
    enum proxy_parse result = proxy_header_parse(data, size, &whole, &err);
    if (result == PROXY_MORE && size >= LIMIT_PROXY_HEADER_BYTES) abort();
    if (result == PROXY_DONE && (whole.bytes == 0 || whole.bytes > size)) abort();
    if (result == PROXY_BAD && err.code != ERR_PROXY_PROTOCOL && err.code != ERR_PROXY_PROTOCOL_MISSING)
        abort();
    for (size_t n = 0; n < size; n++) {
        enum proxy_parse r = proxy_header_parse(data, n, &part, &err);
        if (r == PROXY_MORE) continue;
        if (r != result) abort();
        if (r == PROXY_DONE && (part.bytes != whole.bytes || part.local != whole.local ||
                                memcmp(&part.source, &whole.source, sizeof part.source) != 0))
            abort();
        return 0;
    }
    return 0;
}
