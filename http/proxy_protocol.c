// SPDX-License-Identifier: GPL-3.0-or-later
#include "http/proxy_protocol.h"

#include <string.h>

enum {
    V1_BYTES = 107, // section 2.1: the longest line, CR LF included
    SIGNATURE_BYTES = 12,
    V2_HEAD_BYTES = 16,
    COMMAND_LOCAL = 0x20,
    COMMAND_PROXY = 0x21,
    TLV_HEAD_BYTES = 3,
    TLV_CRC32C = 0x03,
    CRC_BYTES = 4,
};

static const char v1_begin[] = "PROXY ";
static const uint8_t signature[SIGNATURE_BYTES] = { 0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D,
                                                    0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A };

#define bad(err, ...) (err_set(err, ERR_PROXY_PROTOCOL, __VA_ARGS__), PROXY_BAD)

// --- version 1, a line of text

// "up to 65535 ... expressed as decimal digits": one spelling for each number.
static bool is_port(struct str s)
{
    uint64_t port;
    return str_to_u64(s, 65535, &port) && (s.n == 1 || s.p[0] != '0');
}

static bool is_address(struct str s, bool v6, struct ip_address *ret)
{
    bool colon = str_find(s, ':') < s.n;
    return colon == v6 && ip_parse(s, ret);
}

// "TCP4 source destination port port", exactly one space between the parts.
static bool v1_addresses(struct str line, struct ip_address *ret_source)
{
    struct str part[5] = { STR_NONE };
    size_t n = 0;
    for (; n < 5 && str_cut(&line, ' ', &part[n]); n++) {
    }
    if (n != 5 || line.p) return false;
    bool v6 = str_eq_c(part[0], "TCP6");
    struct ip_address destination;
    return (v6 || str_eq_c(part[0], "TCP4")) && is_address(part[1], v6, ret_source) &&
           is_address(part[2], v6, &destination) && is_port(part[3]) && is_port(part[4]);
}

// "the receiver must ignore anything presented before the CRLF is found".
static bool v1_unknown(struct str line)
{
    return str_eq_c(line, "UNKNOWN") || str_starts(line, STR("UNKNOWN "));
}

static enum proxy_parse parse_v1(struct str s, struct proxy_header *ret, struct err *err)
{
    struct str window = str_take(s, s.n < V1_BYTES ? s.n : V1_BYTES);
    size_t end = str_find(window, '\n');
    if (end == window.n)
        return window.n < V1_BYTES ? PROXY_MORE : bad(err, "version 1: no end within %d bytes", V1_BYTES);
    if (end < sizeof v1_begin || window.p[end - 1] != '\r') return bad(err, "version 1: LF without CR");
    size_t begin = sizeof v1_begin - 1;
    struct str line = { window.p + begin, end - 1 - begin };
    struct proxy_header h = { .bytes = end + 1 };
    if (!v1_unknown(line) && !v1_addresses(line, &h.source))
        return bad(err, "version 1: not 'TCP4|TCP6 address address port port' or UNKNOWN");
    *ret = h;
    return PROXY_DONE;
}

// --- version 2, binary

// Castagnoli, reflected (RFC 4960 appendix B).
static uint32_t crc32c(const uint8_t *p, size_t n)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0x82f63b78 & -(crc & 1));
    }
    return ~crc;
}

// Section 2.2.3: over the whole header, with zeros in the checksum's own place.
static bool crc_matches(const uint8_t *p, size_t n, size_t at)
{
    uint8_t copy[LIMIT_PROXY_HEADER_BYTES];
    uint32_t want = (uint32_t)p[at] << 24 | (uint32_t)p[at + 1] << 16 | (uint32_t)p[at + 2] << 8 | p[at + 3];
    memcpy(copy, p, n);
    memset(copy + at, 0, CRC_BYTES);
    return crc32c(copy, n) == want;
}

// Type-length-values from `at` to the end of the header: each has to end within it.
static enum proxy_parse check_tlvs(const uint8_t *p, size_t n, size_t at, struct err *err)
{
    while (at < n) {
        if (n - at < TLV_HEAD_BYTES) return bad(err, "version 2: a TLV is cut off");
        size_t length = (size_t)p[at + 1] << 8 | p[at + 2];
        uint8_t type = p[at];
        at += TLV_HEAD_BYTES;
        if (length > n - at) return bad(err, "version 2: a TLV is longer than the header");
        if (type == TLV_CRC32C && (length != CRC_BYTES || !crc_matches(p, n, at)))
            return bad(err, "version 2: the checksum is wrong");
        at += length;
    }
    return PROXY_DONE;
}

struct family {
    uint8_t byte;   // address family and transport
    size_t address; // bytes of one address
    size_t block;   // bytes of both with their ports
};
// Section 2.2. Datagrams cannot be what a TCP connection carries; "other values must be rejected".
static const struct family families[] = { { 0x11, 4, 12 }, { 0x21, 16, 36 }, { 0x31, 108, 216 } };

static struct ip_address address_of(const struct family *f, const uint8_t *p)
{
    struct ip_address a = { { 0 } };
    if (f->address == 4) {
        a.b[10] = a.b[11] = 0xff;
        memcpy(a.b + 12, p, 4);
    } else if (f->address == 16) {
        memcpy(a.b, p, 16);
    }
    return a;
}

static bool is_unspecified(const struct ip_address *a)
{
    static const struct ip_address none;
    return memcmp(a, &none, sizeof none) == 0;
}

static enum proxy_parse v2_addresses(const uint8_t *p, size_t n, struct proxy_header *h, struct err *err)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        const struct family *f = &families[i];
        if (p[13] != f->byte) continue;
        if (n - V2_HEAD_BYTES < f->block) return bad(err, "version 2: shorter than its addresses");
        h->source = address_of(f, p + V2_HEAD_BYTES);
        if (f->address == 16 && is_unspecified(&h->source)) return bad(err, "version 2: '::' is nobody");
        return check_tlvs(p, n, V2_HEAD_BYTES + f->block, err);
    }
    // UNSPEC: "the receiver must ignore address information".
    return p[13] == 0 ? PROXY_DONE : bad(err, "version 2: address family and transport 0x%02x", p[13]);
}

static enum proxy_parse parse_v2(const uint8_t *p, size_t n, struct proxy_header *ret, struct err *err)
{
    if (n > 12 && p[12] != COMMAND_LOCAL && p[12] != COMMAND_PROXY)
        return bad(err, "version 2: version and command 0x%02x", p[12]);
    if (n < V2_HEAD_BYTES) return PROXY_MORE;
    size_t bytes = V2_HEAD_BYTES + ((size_t)p[14] << 8 | p[15]);
    if (bytes > LIMIT_PROXY_HEADER_BYTES)
        return bad(err, "version 2: %zu bytes, more than %d", bytes, LIMIT_PROXY_HEADER_BYTES);
    if (n < bytes) return PROXY_MORE;
    // "the receiver must accept this connection as valid and must use the real connection endpoints and
    // discard the protocol block including the family which is ignored".
    struct proxy_header h = { .local = p[12] == COMMAND_LOCAL, .bytes = bytes };
    if (!h.local && v2_addresses(p, bytes, &h, err) != PROXY_DONE) return PROXY_BAD;
    *ret = h;
    return PROXY_DONE;
}

static bool may_begin(const void *buf, size_t n, const void *begin, size_t begin_n)
{
    return memcmp(buf, begin, n < begin_n ? n : begin_n) == 0;
}

enum proxy_parse proxy_header_parse(const void *buf, size_t n, struct proxy_header *ret, struct err *err)
{
    if (n == 0) return PROXY_MORE;
    if (may_begin(buf, n, signature, SIGNATURE_BYTES)) return parse_v2(buf, n, ret, err);
    if (may_begin(buf, n, v1_begin, sizeof v1_begin - 1)) {
        if (n < sizeof v1_begin - 1) return PROXY_MORE;
        return parse_v1((struct str){ buf, n }, ret, err);
    }
    err_set(err, ERR_PROXY_PROTOCOL_MISSING, "the connection begins with %s",
            *(const uint8_t *)buf == 0x16 ? "TLS" : "something else");
    return PROXY_BAD;
}
