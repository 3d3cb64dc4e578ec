// SPDX-License-Identifier: GPL-3.0-or-later
#include "http/parse.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif
#include <string.h>

enum {
    TOKEN = BYTE_TOKEN | BYTE_TARGET | BYTE_VALUE,
    DOT = TOKEN | BYTE_HOST, // and '_'
    ALNUM = DOT | BYTE_NAME,
    OTHER = BYTE_TARGET | BYTE_VALUE, // visible, no token
};

const uint8_t http_byte_class[256] = {
    ['\t'] = BYTE_VALUE,
    [' '] = BYTE_VALUE,
    ['!'] = TOKEN,
    ['"'] = OTHER,
    ['#'] = BYTE_TOKEN | BYTE_VALUE,
    ['$' ... '\''] = TOKEN, // $ % & '
    ['(' ... ')'] = OTHER,
    ['*' ... '+'] = TOKEN,
    [','] = OTHER,
    ['-'] = ALNUM,
    ['.'] = DOT,
    ['/'] = OTHER,
    ['0' ... '9'] = ALNUM,
    [':'] = OTHER | BYTE_HOST,
    [';' ... '@'] = OTHER, // ; < = > ? @
    ['A' ... 'Z'] = ALNUM,
    ['['] = OTHER | BYTE_HOST,
    ['\\'] = OTHER,
    [']'] = OTHER | BYTE_HOST,
    ['^'] = TOKEN,
    ['_'] = DOT,
    ['`'] = TOKEN,
    ['a' ... 'z'] = ALNUM,
    ['{'] = OTHER,
    ['|'] = TOKEN,
    ['}'] = OTHER,
    ['~'] = TOKEN,
    [0x80 ... 0xFF] = BYTE_VALUE,
};

// Lines are short: a call of memchr for each costs more than the search itself.
static inline const char *find_lf(const char *p, const char *end)
{
#ifdef __SSE2__
    for (; end - p >= 16; p += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)p);
        unsigned hits = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n')));
        if (hits) return p + __builtin_ctz(hits);
    }
#endif
    return p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
}

enum http_parse http_find_end(const char *buf, size_t len, size_t limit, size_t *scanned, size_t *ret_end,
                              struct err *err)
{
    size_t visible = len < limit ? len : limit;
    while (*scanned < visible) {
        const char *lf = find_lf(buf + *scanned, buf + visible);
        size_t i = lf ? (size_t)(lf - buf) : visible;
        *scanned = lf ? i + 1 : visible;
        if (!lf) break;
        // RFC 9112 section 2.2 lets a recipient take a bare LF as a line end; one that does not would see
        // another head.
        if (i == 0 || buf[i - 1] != '\r') {
            err_set(err, ERR_HTTP_BARE_LF, "LF without CR at byte %zu", i);
            return HTTP_BAD;
        }
        if (i >= 3 && buf[i - 2] == '\n') {
            *ret_end = i + 1;
            return HTTP_DONE;
        }
    }
    if (len < limit) return HTTP_MORE;
    err_set(err, ERR_HTTP_HEADERS_TOO_LARGE, "the head is longer than %zu bytes", limit);
    return HTTP_BAD;
}

// First byte at or after p that is below 0x20 or DEL, found in steps of as many bytes as the machine compares
// at once; or a place from which there are fewer than that.
static const char *skip_steps(const char *p, const char *end)
{
#ifdef __SSE2__
    for (; end - p >= 16; p += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)p), space = _mm_set1_epi8(' ');
        __m128i visible = _mm_cmpeq_epi8(_mm_max_epu8(bytes, space), bytes); // unsigned bytes >= 0x20
        __m128i good = _mm_andnot_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7F)), visible);
        unsigned bad = ~(unsigned)_mm_movemask_epi8(good) & 0xFFFF;
        if (bad) return p + __builtin_ctz(bad);
    }
#else
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    for (; end - p >= 8; p += 8) {
        uint64_t w;
        memcpy(&w, p, sizeof w);
        uint64_t del = w ^ (ones * 0x7F);
        // Exact for "any of them"; it does not say which.
        if ((((w - ones * 0x20) & ~w) | ((del - ones) & ~del)) & high) break;
    }
#endif
    return p;
}

const char *http_skip_value(const char *p, const char *end)
{
    p = skip_steps(p, end);
    while (p < end && http_byte_is(*p, BYTE_VALUE)) p++;
    return p;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

// Names at most this much of a field in details.
static int shown(struct str name)
{
    return name.n > 64 ? 64 : (int)name.n;
}

// `stop` is the first byte after `name` that no token has, and it is not the colon.
static bool refuse_name(struct str name, char stop, struct err *err)
{
    // RFC 9112 section 5.2: a line that continues the one before. Parsers that unfold and parsers that do not
    // see two heads.
    if (name.n == 0 && is_space(stop))
        return err_set(err, ERR_HTTP_OBS_FOLD, "a header line begins with a space or tab");
    // Section 5.1: removing the space instead of refusing it is how "Transfer-Encoding : chunked" gets past a
    // proxy.
    if (is_space(stop))
        return err_set(err, ERR_HTTP_HEADER_NAME, "space before the colon of '%.*s'", shown(name), name.p);
    if (stop == '\r') return err_set(err, ERR_HTTP_HEADER_NAME, "a header line without a colon");
    return err_set(err, ERR_HTTP_HEADER_NAME, "byte 0x%02x in a header name", (unsigned char)stop);
}

static bool refuse_value(struct str name, char stop, struct err *err)
{
    if (stop == '\r')
        return err_set(err, ERR_HTTP_HEADER_VALUE, "CR without LF in '%.*s'", shown(name), name.p);
    return err_set(err, ERR_HTTP_HEADER_VALUE, "byte 0x%02x in '%.*s'", (unsigned char)stop, shown(name),
                   name.p);
}

static bool parse_field(struct scan *s, struct http_field *ret, struct err *err)
{
    const char *p = s->p;
    while (http_byte_is(*p, BYTE_TOKEN)) p++;
    struct str name = { s->p, (size_t)(p - s->p) };
    if (*p != ':') return refuse_name(name, *p, err);
    if (name.n == 0) return err_set(err, ERR_HTTP_HEADER_NAME, "an empty header name");
    do p++;
    while (is_space(*p));
    const char *value = p, *stop = http_skip_value(p, s->end);
    if (stop[0] != '\r' || stop[1] != '\n') return refuse_value(name, stop[0], err);
    for (p = stop; p > value && is_space(p[-1]);) p--;
    *ret = (struct http_field){ name, { value, (size_t)(p - value) }, http_field_id(name), false };
    s->p = stop + 2;
    return true;
}

bool http_parse_fields(struct scan *s, struct http_fields *ret, struct err *err)
{
    ret->n = 0;
    while (s->p[0] != '\r' || s->p[1] != '\n') {
        if (ret->n == LIMIT_HEADERS)
            return err_set(err, ERR_HTTP_HEADERS_TOO_LARGE, "more than %d header fields", LIMIT_HEADERS);
        if (!parse_field(s, &ret->v[ret->n], err)) return false;
        ret->n++;
    }
    return true;
}

// RFC 9110 section 8.6: 1*DIGIT. Signs, lists, hexadecimal, leading zeros (octal for some) and numbers that
// overflow somewhere are what request smuggling is made of.
static bool take_length(struct http_connection *c, struct str value, struct err *err)
{
    uint64_t n;
    if (c->content_length >= 0) return err_set(err, ERR_HTTP_CONTENT_LENGTH, "more than one Content-Length");
    if (!str_to_u64(value, (uint64_t)1 << 62, &n) || (value.n > 1 && value.p[0] == '0'))
        return err_set(err, ERR_HTTP_CONTENT_LENGTH, "Content-Length is not a plain number up to 2^62");
    c->content_length = (int64_t)n;
    return true;
}

// RFC 9112 section 6.1: chunked is the only transfer coding that anybody needs in front of an application.
static bool take_coding(struct http_connection *c, struct str value, struct err *err)
{
    if (c->chunked) return err_set(err, ERR_HTTP_TRANSFER_ENCODING, "more than one Transfer-Encoding");
    if (!HTTP_IS(value, "chunked"))
        return err_set(err, ERR_HTTP_TRANSFER_ENCODING, "Transfer-Encoding is not 'chunked' alone");
    c->chunked = true;
    return true;
}

static bool take_options(struct http_connection *c, struct str value, struct err *err)
{
    struct str option;
    while (str_cut(&value, ',', &option)) {
        option = str_trim(option);
        if (HTTP_IS(option, "close"))
            c->close = true;
        else if (HTTP_IS(option, "keep-alive"))
            c->keep_alive = true;
        else if (HTTP_IS(option, "upgrade"))
            c->upgrade = true;
        // Each name costs a walk over all fields later on.
        if (++c->options > LIMIT_CONNECTION_OPTIONS)
            return err_set(err, ERR_HTTP_HEADER_VALUE, "more than %d names in Connection",
                           LIMIT_CONNECTION_OPTIONS);
    }
    return true;
}

bool http_connection_take(struct http_connection *c, const struct http_field *f, struct err *err)
{
    if (f->id == FIELD_CONTENT_LENGTH) return take_length(c, f->value, err);
    if (f->id == FIELD_TRANSFER_ENCODING) return take_coding(c, f->value, err);
    if (f->id == FIELD_CONNECTION) return take_options(c, f->value, err);
    return true;
}

bool http_connection_check(const struct http_connection *c, int minor, struct err *err)
{
    // RFC 9112 section 6.3, rule 3: both together ought to be handled as an error. They are always an attack.
    if (c->chunked && c->content_length >= 0)
        return err_set(err, ERR_HTTP_TRANSFER_ENCODING, "Transfer-Encoding together with Content-Length");
    // Section 6.1: framing is faulty when an HTTP/1.0 message has Transfer-Encoding.
    if (c->chunked && minor == 0)
        return err_set(err, ERR_HTTP_TRANSFER_ENCODING, "Transfer-Encoding in HTTP/1.0");
    return true;
}

bool http_connection_persists(const struct http_connection *c, int minor)
{
    return !c->close && (minor >= 1 || c->keep_alive);
}
