// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/encode.h"

#include <stdio.h>
#include <string.h>

static const char hex_digits[] = "0123456789abcdef";
static const char b64_standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char b64_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

struct str encode_hex(struct arena *a, struct str bytes)
{
    char *p = arena_alloc(a, bytes.n * 2 + 1);
    if (!p) return STR_NONE;
    for (size_t i = 0; i < bytes.n; i++) {
        p[2 * i] = hex_digits[(uint8_t)bytes.p[i] >> 4];
        p[2 * i + 1] = hex_digits[(uint8_t)bytes.p[i] & 15];
    }
    return (struct str){ p, bytes.n * 2 };
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

bool decode_hex(struct str text, uint8_t *ret, size_t n)
{
    if (text.n != n * 2) return false;
    for (size_t i = 0; i < text.n; i++)
        if (hex_value(text.p[i]) < 0) return false;
    for (size_t i = 0; i < n; i++)
        ret[i] = (uint8_t)(hex_value(text.p[2 * i]) << 4 | hex_value(text.p[2 * i + 1]));
    return true;
}

static struct str base64_with(struct arena *a, struct str bytes, const char *alphabet, bool pad)
{
    char *p = arena_alloc(a, (bytes.n + 2) / 3 * 4 + 1);
    if (!p) return STR_NONE;
    size_t out = 0;
    for (size_t i = 0; i < bytes.n; i += 3) {
        size_t have = bytes.n - i < 3 ? bytes.n - i : 3;
        uint32_t v = 0;
        for (size_t k = 0; k < 3; k++) v = v << 8 | (k < have ? (uint8_t)bytes.p[i + k] : 0);
        for (size_t k = 0; k <= have; k++) p[out++] = alphabet[v >> (18 - 6 * k) & 63];
        for (size_t k = have + 1; pad && k < 4; k++) p[out++] = '=';
    }
    return (struct str){ p, out };
}

struct str encode_base64(struct arena *a, struct str bytes)
{
    return base64_with(a, bytes, b64_standard, true);
}

struct str encode_base64url(struct arena *a, struct str bytes)
{
    return base64_with(a, bytes, b64_url, false);
}

static int base64_value(char c, const char *alphabet)
{
    const char *hit = c ? strchr(alphabet, c) : NULL;
    return hit ? (int)(hit - alphabet) : -1;
}

// Decodes digits only (no padding, no spaces). Unused trailing bits must be zero.
static bool base64_digits(struct arena *a, struct str text, const char *alphabet, struct str *ret)
{
    char *p = text.n % 4 == 1 ? NULL : arena_alloc(a, text.n / 4 * 3 + 3);
    if (!p) return false;
    size_t out = 0;
    uint32_t bits = 0;
    int have = 0;
    for (size_t i = 0; i < text.n; i++) {
        int v = base64_value(text.p[i], alphabet);
        if (v < 0) return false;
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            p[out++] = (char)(bits >> have & 0xFF);
        }
    }
    if (bits & ((1u << have) - 1)) return false;
    p[out] = '\0';
    *ret = (struct str){ p, out };
    return true;
}

bool decode_base64url(struct arena *a, struct str text, struct str *ret)
{
    return base64_digits(a, text, b64_url, ret);
}

bool decode_base64(struct arena *a, struct str text, bool spaces, struct str *ret)
{
    char *p = arena_alloc(a, text.n + 1);
    if (!p) return false;
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        bool space = text.p[i] == '\r' || text.p[i] == '\n' || text.p[i] == ' ' || text.p[i] == '\t';
        if (!(spaces && space)) p[n++] = text.p[i];
    }
    if (n % 4 != 0) return false;
    for (int pads = 0; pads < 2 && n && p[n - 1] == '='; pads++) n--;
    return base64_digits(a, (struct str){ p, n }, b64_standard, ret);
}

static bool is_unreserved(char c)
{
    return ascii_is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

struct str encode_percent(struct arena *a, struct str text)
{
    char *p = arena_alloc(a, text.n * 3 + 1);
    if (!p) return STR_NONE;
    size_t out = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (is_unreserved(text.p[i])) {
            p[out++] = text.p[i];
            continue;
        }
        p[out++] = '%';
        p[out++] = "0123456789ABCDEF"[(uint8_t)text.p[i] >> 4];
        p[out++] = "0123456789ABCDEF"[(uint8_t)text.p[i] & 15];
    }
    return (struct str){ p, out };
}

bool decode_percent(struct arena *a, struct str text, bool form, struct str *ret)
{
    char *p = arena_alloc(a, text.n + 1);
    if (!p) return false;
    size_t out = 0;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '%') {
            int hi = text.n - i > 2 ? hex_value(ascii_lower(text.p[i + 1])) : -1;
            int lo = text.n - i > 2 ? hex_value(ascii_lower(text.p[i + 2])) : -1;
            if (hi < 0 || lo < 0) return false;
            c = (char)(hi << 4 | lo);
            i += 2;
        } else if (c == '+' && form) {
            c = ' ';
        }
        p[out++] = c;
    }
    *ret = (struct str){ p, out };
    return true;
}

struct str encode_html(struct arena *a, struct str text)
{
    struct sbuf b;
    sbuf_init(&b, a, text.n * 6 + 1);
    size_t start = 0;
    for (size_t i = 0; i < text.n; i++) {
        const char *e = text.p[i] == '&'    ? "&amp;"
                        : text.p[i] == '<'  ? "&lt;"
                        : text.p[i] == '>'  ? "&gt;"
                        : text.p[i] == '"'  ? "&quot;"
                        : text.p[i] == '\'' ? "&#39;"
                                            : NULL;
        if (!e) continue;
        sbuf_add(&b, (struct str){ text.p + start, i - start });
        sbuf_add_c(&b, e);
        start = i + 1;
    }
    if (text.n) sbuf_add(&b, (struct str){ text.p + start, text.n - start });
    return sbuf_str(&b);
}

static size_t json_char(char *out, char raw)
{
    unsigned char c = (unsigned char)raw;
    if (c < 0x20 || c == 0x7F || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&')
        return (size_t)sprintf(out, "\\u%04x", c);
    out[0] = (char)c;
    return 1;
}

struct str encode_json(struct arena *a, struct str text)
{
    char *p = arena_alloc(a, text.n * 6 + 3);
    if (!p) return STR_NONE;
    size_t out = 0;
    p[out++] = '"';
    for (size_t i = 0; i < text.n;) {
        size_t len = 1;
        while (len < 4 && i + len < text.n && ((uint8_t)text.p[i + len] & 0xC0) == 0x80) len++;
        struct str one = { text.p + i, len };
        if ((uint8_t)text.p[i] < 0x80) {
            out += json_char(p + out, text.p[i]);
            i++;
        } else if (str_is_utf8(one, false)) {
            memcpy(p + out, one.p, len);
            out += len;
            i += len;
        } else {
            out += (size_t)sprintf(p + out, "\\ufffd");
            i++;
        }
    }
    p[out++] = '"';
    return (struct str){ p, out };
}
