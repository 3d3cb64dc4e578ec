// SPDX-License-Identifier: GPL-3.0-or-later
#include <stdlib.h>

#include "certs/sni.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str host = STR_NONE;
    if (!sni_host((struct str){ (const char *)data, size }, &host)) return 0;
    // What is accepted is the rest of the input after the three length and type fields.
    if (host.n + 5 != size || host.p != (const char *)data + 5) abort();
    return 0;
}
