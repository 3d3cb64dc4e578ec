// SPDX-License-Identifier: GPL-3.0-or-later
// A backend that speaks TLS, driven by hand: connections of the rig's backend socket, with certificates of
// the rig's authority.
#pragma once

#include "edge_rig.h"

enum { LEAF_GOOD, LEAF_EXPIRED, LEAF_SELF_SIGNED };
// DIR/NAME.pem and DIR/NAME.key for `hosts`, by the authority in DIR.
void tls_make_leaf(const char *dir, const char *name, struct strlist hosts, int kind);
// A server with that certificate. `client_ca`: asks for a client certificate of this authority; may be NULL.
SSL_CTX *tls_backend_new(const char *dir, const char *name, const char *client_ca);
// The next connection from the gateway, with the handshake done. NULL: it failed. *ret_fd is the caller's.
SSL *tls_backend_accept(struct edge *e, SSL_CTX *ctx, int *ret_fd);
const char *tls_backend_await(SSL *ssl, const char *text); // static buffer
void tls_backend_send(SSL *ssl, const char *text);
// FIN without close_notify when `cut`.
void tls_backend_close(SSL *ssl, int fd, bool cut);
