// SPDX-License-Identifier: GPL-3.0-or-later
// Addresses of backends. Names are resolved in a thread of its own, again and again; workers only ever copy
// the last good answer, so a slow name server cannot slow a request.
#pragma once

#include <sys/socket.h>

#include "gateway/config/config.h"

struct resolver;
// Resolves literal addresses at once and starts the thread for names. Waits for its first round, so that
// requests right after the start find their backends, but not for longer than two seconds; a name that does
// not resolve is tried again every few seconds.
struct resolver *resolver_start(const struct config *c, struct err *err);
void resolver_stop(struct resolver *r); // NULL is accepted
// Any thread, no lock: one of a backend's addresses, `which` modulo their number. Returns the number: 0 while
// the name does not resolve.
size_t resolver_address(const struct resolver *r, const struct backend *b, size_t which,
                        struct sockaddr_storage *ret, socklen_t *ret_n);
// Changes whenever the set of addresses does: connections made before belong to the old one.
unsigned resolver_generation(const struct resolver *r, const struct backend *b);
