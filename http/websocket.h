// SPDX-License-Identifier: GPL-3.0-or-later
// The opening handshake of WebSocket (RFC 6455 section 4) and who may make it. What follows the handshake is
// between the browser and the application.
#pragma once

#include "base/arena.h"
#include "http/head.h"

enum { WEBSOCKET_KEY_BYTES = 24 };

// Whether an HTTP/1.1 request asks for nothing but WebSocket: GET, Connection: upgrade, Upgrade: websocket,
// no body. Every other upgrade is dropped like any hop-by-hop field (RFC 9110 section 7.8 lets a server
// ignore it).
bool websocket_is_asked(const struct http_request_head *h);
// Sec-WebSocket-Key: base64 of 16 bytes, once; ERR_WEBSOCKET_HANDSHAKE. Version 13; ERR_WEBSOCKET_VERSION,
// whose answer names the version (RFC 6455 section 4.4).
bool websocket_handshake_check(const struct http_fields *f, struct err *err);
// Sec-WebSocket-Accept for a key (RFC 6455 section 4.2.2). Absent on failure.
struct str websocket_accept(struct arena *a, struct str key);

// Whether a page of `origin` may open a WebSocket at https://`host`, reached at one of two ports. Browsers
// always send Origin with a handshake, and send cookies whatever page it comes from; so this is what keeps
// other sites from speaking in a visitor's name. Absent: not a browser, allowed. `allowed` has further
// origins ("https://other.example.com"); "*" alone allows every one but "null" and what is malformed.
bool websocket_origin_ok(struct arena *a, struct str origin, struct str host, uint16_t port,
                         uint16_t public_port, const struct strlist *allowed);
