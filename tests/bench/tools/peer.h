// SPDX-License-Identifier: GPL-3.0-or-later
// What boards and their callers have in common in ./bench: the clock that both read, connections, messages.
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PEER_SECONDS = 20 }; // for a connection to be made, and for a blocking call on it

// Nanoseconds of CLOCK_MONOTONIC, which is the same in all processes of a machine.
int64_t peer_now(void);
// Connected to the loopback address, blocking, without Nagle's delay; -1 when that fails.
int peer_connect(int port);
// A connection after its handshake, NULL when that fails.
SSL *peer_handshake(SSL_CTX *ctx, int fd, const char *host);
void peer_unblock(int fd);
bool peer_write(SSL *ssl, const void *p, size_t n);
// The length of the HTTP message with a Content-Length at the front of a text that ends with NUL; 0 while it
// is not whole. *ret_body is behind its head.
size_t peer_message(const char *text, size_t n, const char **ret_body);
