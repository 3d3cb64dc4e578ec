// SPDX-License-Identifier: GPL-3.0-or-later
// Forwards an allowed request to a backend and its answer to the client (RFC 9110 section 7.6), streaming
// both ways with bounded buffers: whoever cannot write makes the other side wait.
//
//   proxy.c           life of a forwarded exchange: start, retry, failure, end
//   proxy_request.c   head and body towards the backend
//   proxy_response.c  head and body towards the client
//   proxy_address.c   paths and hosts, where the backend knows others than the browser
#pragma once

#include "gateway/edge/upstream.h"

// Takes over an exchange that policy allows. The exchange ends by itself.
void proxy_start(struct exchange *x);

enum { PROXY_BURST = 512 * 1024 }; // bytes moved for one exchange before the others have their turn

// Between the files of the proxy:
// True when u has moved its share: it goes on in the loop's next round.
bool proxy_yields(struct upstream *u, size_t moved);
// The backend's clock starts again: something was taken or has come.
void proxy_clock(struct upstream *u);
// Composes the request's head into u->out. False: it does not fit.
bool proxy_request_head(struct exchange *x, struct upstream *u);
// Sends what the backend takes.
void proxy_flush(struct upstream *u);
// Moves body bytes from the client to u->out while there is room.
void proxy_request_pump(struct upstream *u);
// The host that policy was asked about, in its one spelling, and the port as the client gave it: the backend
// cannot take "APP.example.com." for another host than we did.
struct str proxy_public_host(struct exchange *x);
// What the backend is told as Host, and what it is asked for. Absent: out of memory.
struct str proxy_backend_host(struct exchange *x, const struct backend *b);
struct str proxy_backend_path(struct exchange *x);
// The prefix that was taken off; absent: none.
struct str proxy_forwarded_prefix(const struct exchange *x);
// The value of a field of the backend's answer as the browser should see it. Absent: out of memory.
struct str proxy_public_value(struct exchange *x, const struct backend *b, const struct http_field *f);
enum proxy_step { PROXY_WAIT, PROXY_ENDED, PROXY_FAILED }; // FAILED: x->err says why
// Moves the answer from u->in to the client while it takes it. ENDED: the whole answer has been passed on.
enum proxy_step proxy_response_pump(struct upstream *u);
