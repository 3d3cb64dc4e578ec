// SPDX-License-Identifier: GPL-3.0-or-later
// How many connections there may be: of all clients, and of one address (IPv6: one /64). Counted before TLS
// is spent on them, by all workers in one table of atomics: no lock, no allocation, nothing that grows with
// the number of clients.
//
// The table is a count-min sketch: an address has two slots, chosen by a keyed hash, and the smaller one is
// its count. Others who share both slots make it too large, never too small; nobody outside can tell who
// does.
#pragma once

#include "base/err.h"
#include "base/ip.h"

struct admission;

// What a connection was counted as; all zero: not at all.
struct admission_ticket {
    bool overall, address;
    uint32_t slot[2];
};

// 0: no limit. NULL and err: ERR_NO_MEMORY, ERR_CRYPTO.
struct admission *admission_new(int64_t max, int64_t max_per_address, struct err *err);
void admission_free(struct admission *a);
// False: that would be one too many (ERR_CONNECTIONS, ERR_CONNECTIONS_ADDRESS), and nothing was counted. Two
// that come in the same moment for one last place may both be refused.
bool admission_enter(struct admission *a, struct admission_ticket *t, struct err *err);
bool admission_enter_address(struct admission *a, const struct ip_address *who, struct admission_ticket *t,
                             struct err *err);
// The connection is closed: takes back what was counted.
void admission_leave(struct admission *a, struct admission_ticket *t);

// How many clients there may be when the process may have so many descriptors: the rest is for backends and
// for the daemon itself.
int64_t admission_for_descriptors(int64_t descriptors);

// SipHash-2-4 (Aumasson and Bernstein, 2012).
uint64_t admission_hash(const uint64_t key[2], const uint8_t *p, size_t n);
