// SPDX-License-Identifier: GPL-3.0-or-later
// Addresses and networks from any bytes: what is taken has a text that reads as the same address again, and a
// network holds its own first address and no one unknown.
#include <stdlib.h>
#include <string.h>

#include "base/ip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = { (const char *)data, size };
    struct ip_address a, again;
    char text[IP_TEXT_BYTES];
    if (ip_parse(s, &a)) {
        ip_text(&a, text);
        if (strlen(text) >= sizeof text || !ip_parse(str_c(text), &again) ||
            memcmp(&a, &again, sizeof a) != 0)
            abort();
    }
    struct ip_network n;
    struct err err = { 0 };
    if (!ip_network_parse(s, &n, &err)) {
        if (err.code != ERR_CONFIG) abort();
        return 0;
    }
    static const struct ip_address unknown;
    if (n.bits > 128 || ip_network_has(&n, &unknown)) abort();
    if (memcmp(&n.first, &unknown, sizeof unknown) != 0 && !ip_network_has(&n, &n.first)) abort();
    return 0;
}
