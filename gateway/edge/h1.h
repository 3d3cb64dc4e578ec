// SPDX-License-Identifier: GPL-3.0-or-later
// The HTTP/1.1 engine (RFC 9112) on a client connection: one request at a time, heads through the strict
// parser, bodies decoded on demand, answers framed by length, chunks or close.
//
//   HEAD --request parsed--> EXCHANGE --answer ended--> FLUSH --sent, keep-alive--> HEAD
//                                                         '---sent, close---------> LINGER --> closed
//
// Only set_state() changes the state; h1_check() asserts what holds in each.
#pragma once

#include "gateway/edge/conn.h"

// Between the files of the engine (h1_body.c has the request's body):
struct str h1_body_peek(struct exchange *x);
void h1_body_consume(struct exchange *x, size_t n);
// No more of the body can come. Whoever consumes it sees x->body_failed and ends the exchange.
void h1_body_failed(struct exchange *x, const struct err *err);
// Progress was made: the clock starts again. Not while a head is awaited: that has a deadline as a whole.
void h1_touch(struct conn *c);
