// SPDX-License-Identifier: GPL-3.0-or-later
// IP addresses and networks, in one form for both families.
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

// IPv4 as IPv4-mapped IPv6 (RFC 4291 section 2.5.5.2). All zero: unknown.
struct ip_address {
    uint8_t b[16];
};

struct ip_network {
    struct ip_address first;
    unsigned bits; // of the IPv6 form: 96 + n for IPv4
};

struct ip_networks {
    struct ip_network *v;
    size_t n;
};

enum { IP_TEXT_BYTES = 46 };

struct sockaddr;
// Of an AF_INET or AF_INET6 socket address; unknown for every other family.
struct ip_address ip_of_sockaddr(const struct sockaddr *sa);
// Numeric text without brackets, zone or port. False when it is not exactly one address; mapped IPv6 forms
// are the IPv4 address that they stand for.
bool ip_parse(struct str text, struct ip_address *ret);
// The usual text (RFC 5952; IPv4 dotted), "unknown" for the unknown address.
void ip_text(const struct ip_address *a, char ret[IP_TEXT_BYTES]);
// "10.0.0.0/8", "2001:db8::/32", or a lone address. Bits behind the prefix must be zero: ERR_CONFIG says
// which network was probably meant.
bool ip_network_parse(struct str text, struct ip_network *ret, struct err *err);
bool ip_network_has(const struct ip_network *n, const struct ip_address *a);
bool ip_networks_have(const struct ip_networks *n,
                      const struct ip_address *a); // never for the unknown address
bool ip_is_loopback(const struct ip_address *a);   // 127.0.0.0/8, ::1
