// SPDX-License-Identifier: GPL-3.0-or-later
// What proxies in front of us say about a request: X-Forwarded-For and X-Forwarded-Proto, or Forwarded (RFC
// 7239). Pure. Only to be asked when the one who sent the request is trusted; from anybody else these fields
// are removed unread.
#pragma once

#include "base/ip.h"
#include "http/head.h"

enum forwarded_proto { PROTO_UNSAID = 0, PROTO_HTTP, PROTO_HTTPS };

struct forwarded {
    bool has_client; // somebody is named
    struct ip_address
        client; // the nearest who is no trusted proxy; unknown: a proxy says that it does not know
    enum forwarded_proto proto;
};

// Each proxy appends the one it got the request from, so the list is read from its end: past trusted
// addresses to the first other one, which is the client. What stands before that was written by somebody we
// do not trust and is not looked at. When all are trusted, the first of the list is the client.
//
// Both kinds of fields may be there when they say the same; else it is unclear whose word it is. Whatever is
// wrong is ERR_FORWARDED: a trusted proxy that cannot be understood is not to be guessed at.
bool http_forwarded_read(const struct http_fields *f, const struct ip_networks *trusted,
                         struct forwarded *ret, struct err *err);
