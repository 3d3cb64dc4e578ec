// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/ip.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

enum { MAPPED_BITS = 96 };

static const uint8_t mapped_prefix[12] = { [10] = 0xff, [11] = 0xff };
static const struct ip_address unknown;

static bool is_unknown(const struct ip_address *a)
{
    return !memcmp(a->b, unknown.b, sizeof(a->b));
}

static bool is_ipv4(const struct ip_address *a)
{
    return !memcmp(a->b, mapped_prefix, sizeof(mapped_prefix));
}

static struct ip_address from_ipv4(const void *four)
{
    struct ip_address a;
    memcpy(a.b, mapped_prefix, sizeof(mapped_prefix));
    memcpy(a.b + sizeof(mapped_prefix), four, 4);
    return a;
}

struct ip_address ip_of_sockaddr(const struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, sa, sizeof(v4));
        return from_ipv4(&v4.sin_addr);
    }
    if (sa->sa_family != AF_INET6) return unknown;
    struct sockaddr_in6 v6;
    memcpy(&v6, sa, sizeof(v6));
    struct ip_address a;
    memcpy(a.b, &v6.sin6_addr, sizeof(a.b));
    return a;
}

// inet_pton() takes exactly the forms that we want: four decimal parts without leading zeros, and the forms
// of RFC 4291 section 2.2 without a zone. `ret_v4` is about the text: "::ffff:10.0.0.0" is IPv6 text.
static bool parse_any(struct str text, struct ip_address *ret, bool *ret_v4)
{
    char copy[IP_TEXT_BYTES];
    if (!text.n || text.n >= sizeof(copy) || memchr(text.p, 0, text.n)) return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = 0;
    uint8_t bytes[16];
    if (inet_pton(AF_INET, copy, bytes) == 1) {
        *ret = from_ipv4(bytes);
        *ret_v4 = true;
        return true;
    }
    if (inet_pton(AF_INET6, copy, bytes) != 1) return false;
    memcpy(ret->b, bytes, sizeof(ret->b));
    *ret_v4 = false;
    return true;
}

bool ip_parse(struct str text, struct ip_address *ret)
{
    struct ip_address a;
    bool v4;
    // "::" is nobody's address, and would read as the unknown one.
    if (!parse_any(text, &a, &v4) || is_unknown(&a)) return false;
    *ret = a;
    return true;
}

void ip_text(const struct ip_address *a, char ret[IP_TEXT_BYTES])
{
    if (is_unknown(a))
        memcpy(ret, "unknown", sizeof("unknown"));
    else if (is_ipv4(a))
        inet_ntop(AF_INET, a->b + sizeof(mapped_prefix), ret, IP_TEXT_BYTES);
    else
        inet_ntop(AF_INET6, a->b, ret, IP_TEXT_BYTES);
}

// Clears the bits behind the prefix.
static struct ip_address masked(const struct ip_address *a, unsigned bits)
{
    struct ip_address m = *a;
    for (unsigned i = 0; i < sizeof(m.b); i++) {
        unsigned before = i * 8;
        if (before >= bits)
            m.b[i] = 0;
        else if (bits - before < 8)
            m.b[i] &= (uint8_t)(0xff00u >> (bits - before));
    }
    return m;
}

static bool prefix_length(struct str text, unsigned max, unsigned *ret)
{
    uint64_t n;
    if (!str_to_u64(text, max, &n) || (text.n > 1 && text.p[0] == '0')) return false;
    *ret = (unsigned)n;
    return true;
}

// Here "::" is the beginning of all IPv6 networks, and nothing unknown.
static void network_text(const struct ip_address *a, char ret[IP_TEXT_BYTES])
{
    if (is_unknown(a))
        memcpy(ret, "::", sizeof("::"));
    else
        ip_text(a, ret);
}

static bool host_bits_clear(const struct ip_address *a, unsigned bits, unsigned shown, struct err *err)
{
    struct ip_address meant = masked(a, bits);
    if (!memcmp(meant.b, a->b, sizeof(meant.b))) return true;
    char had[IP_TEXT_BYTES], want[IP_TEXT_BYTES];
    network_text(a, had);
    network_text(&meant, want);
    return err_set(err, ERR_CONFIG,
                   "%s is not the first address of a /%u network: write %s/%u for the network, or %s alone "
                   "for the one address",
                   had, shown, want, shown, had);
}

bool ip_network_parse(struct str text, struct ip_network *ret, struct err *err)
{
    size_t slash = str_find(text, '/');
    struct ip_address a;
    bool v4;
    if (!parse_any(str_take(text, slash), &a, &v4)) {
        return err_set(err, ERR_CONFIG,
                       "'%.*s' is not an IP address or network such as 10.0.0.0/8 or 2001:db8::/32",
                       STR_FMT(str_take(text, text.n < 80 ? text.n : 80)));
    }
    unsigned max = v4 ? 32 : 128, shown = max;
    if (slash < text.n && !prefix_length(str_skip(text, slash + 1), max, &shown))
        return err_set(err, ERR_CONFIG, "behind the / stands a number from 0 to %u", max);
    unsigned bits = v4 ? MAPPED_BITS + shown : shown;
    if (slash == text.n && is_unknown(&a))
        return err_set(err, ERR_CONFIG, "'::' is nobody's address: ::/0 is all of IPv6");
    if (!host_bits_clear(&a, bits, shown, err)) return false;
    *ret = (struct ip_network){ a, bits };
    return true;
}

bool ip_network_has(const struct ip_network *n, const struct ip_address *a)
{
    // Who writes ::/0 means IPv6; IPv4 is within it only because of how it is kept here.
    if (is_unknown(a) || (n->bits < MAPPED_BITS && is_ipv4(a))) return false;
    struct ip_address m = masked(a, n->bits);
    return !memcmp(m.b, n->first.b, sizeof(m.b));
}

bool ip_networks_have(const struct ip_networks *n, const struct ip_address *a)
{
    for (size_t i = 0; i < n->n; i++)
        if (ip_network_has(&n->v[i], a)) return true;
    return false;
}

bool ip_is_loopback(const struct ip_address *a)
{
    static const uint8_t v6[16] = { [15] = 1 }, v4[12] = { [10] = 0xFF, [11] = 0xFF };
    return memcmp(a->b, v6, sizeof v6) == 0 || (memcmp(a->b, v4, sizeof v4) == 0 && a->b[12] == 127);
}
