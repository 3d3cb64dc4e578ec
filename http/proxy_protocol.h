// SPDX-License-Identifier: GPL-3.0-or-later
// The PROXY protocol, versions 1 and 2 ("The PROXY protocol", Willy Tarreau, 2020/03/05): what a proxy in
// front of us says at the beginning of a connection about who is behind it. Pure: it looks at bytes. Whether
// the sender may say so is the caller's business.
#pragma once

#include "base/err.h"
#include "base/ip.h"
#include "base/limits.h"

enum proxy_parse { PROXY_DONE, PROXY_MORE, PROXY_BAD };

struct proxy_header {
    bool local; // a connection of the proxy itself (LOCAL): the peer's own address counts
    struct ip_address
        source;   // of whom it speaks for; unknown when it does not say (UNKNOWN, UNSPEC, AF_UNIX)
    size_t bytes; // length of the header
};

// Looks at the beginning of a connection. PROXY_MORE: nothing is wrong so far, more has to come; never when n
// reaches LIMIT_PROXY_HEADER_BYTES. PROXY_BAD, as early as it is certain: ERR_PROXY_PROTOCOL_MISSING when
// these are no such header's bytes, ERR_PROXY_PROTOCOL when they are a wrong one's.
enum proxy_parse proxy_header_parse(const void *buf, size_t n, struct proxy_header *ret, struct err *err);
