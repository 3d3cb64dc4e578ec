// SPDX-License-Identifier: GPL-3.0-or-later
// Clients and backends that do what chance tells them, each in a thread of its own: honest ones, slow ones,
// and such that leave in the middle of anything. Nothing here fails a test by itself; what went wrong is
// counted.
#pragma once

#include <stdatomic.h>

#include "edge_rig.h"

struct random_test {
    struct edge *e;
    int fds[2];   // where backends listen: plain, TLS
    SSL_CTX *tls; // of backends
    uint64_t seed;
    bool plain; // clients do without TLS
    atomic_bool clients_stop, backends_stop;
    atomic_ulong answers, tunnels, errors;
    char first_error[256];
    atomic_flag told;
};

struct dice {
    uint64_t state;
};
uint64_t dice_throw(struct dice *d);
// 0 .. n-1
static inline unsigned dice_below(struct dice *d, unsigned n)
{
    return (unsigned)(dice_throw(d) % n);
}
void random_error(struct random_test *t, const char *what, const char *detail);

// A socket with or without TLS; all calls end within a second or so.
struct peer {
    int fd;
    SSL *ssl;
};
ssize_t peer_read(struct peer *p, char *buf, size_t n); // <= 0: nothing more
bool peer_write(struct peer *p, const char *buf, size_t n);
// As chance says: with a goodbye, without one, or with RST.
void peer_leave(struct peer *p, struct dice *d);

struct random_thread {
    struct random_test *test;
    struct dice dice;
    pthread_t id;
};
void *random_backend(void *random_thread);
void *random_client(void *random_thread);
