// SPDX-License-Identifier: GPL-3.0-or-later
// Between OpenSSL and a socket of the loop. OpenSSL's own BIO asks the socket twice for each record and once
// more to be told that there is nothing; this one knows that a read which did not fill its buffer has emptied
// the socket: what comes later is announced by epoll (edge-triggered).
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>

// Embedded in the owner of the socket, whose flags it points to.
struct tls_socket {
    int fd;
    bool *readable;      // cleared when the socket is empty
    bool eof;            // the end of the stream was read
    const bool *hung_up; // the end of the stream was announced: nothing will be announced after it
    uint64_t received;   // bytes, as they are on the wire
    uint64_t late;       // records of the handshake that came after it
};

// Whether there is something to read: announced and not yet empty, or read from the socket already and not
// yet decrypted.
static inline bool tls_socket_has_more(const struct tls_socket *s, const SSL *ssl)
{
    return *s->readable || SSL_has_pending(ssl);
}

// KeyUpdate, or the wish to negotiate again: SSL_read takes these in for as long as there are any and gives
// nothing, so whoever sends nothing else would have the thread to themselves. An honest peer has one for
// gigabytes. Reading fails as soon as this is true.
bool tls_socket_floods(const struct tls_socket *s);
// From now on `ssl` reads and writes through `s`, which must outlive it. False: out of memory.
bool tls_socket_attach(SSL *ssl, struct tls_socket *s);
