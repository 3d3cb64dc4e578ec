// SPDX-License-Identifier: GPL-3.0-or-later
// The HTTP/1.1 engine (RFC 9112) on a client connection: one request at a time, heads through the strict
// parser, bodies decoded on demand, answers framed by length, chunks or close.
//
//   HEAD --request parsed--> EXCHANGE --answer ended--> FLUSH --sent, keep-alive--> HEAD
//                                                         '---sent, close---------> LINGER --> closed
//
// Only set_state() changes the state; h1_check() asserts what holds in each.
#pragma once

#include "gateway/conn.h"

// The connection is being closed: the exchange, if any, learns that its client has gone.
void h1_gone(struct conn *c);
