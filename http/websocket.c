// SPDX-License-Identifier: GPL-3.0-or-later
#include "http/websocket.h"

#include "base/crypto.h"
#include "base/encode.h"
#include "base/url.h"

bool websocket_is_asked(const struct http_request_head *h)
{
    const struct http_field *upgrade = http_fields_get(&h->fields, FIELD_UPGRADE);
    return h->upgrade && upgrade && str_eq_nocase(upgrade->value, STR("websocket")) &&
           str_eq_c(h->method, "GET") && !h->chunked && h->content_length <= 0;
}

// The one live field of its name; NULL when there is none or more than one.
static const struct http_field *only(const struct http_fields *f, enum field_id id)
{
    const struct http_field *found = NULL;
    for (size_t i = 0; i < f->n; i++) {
        if (f->v[i].removed || f->v[i].id != id) continue;
        if (found) return NULL;
        found = &f->v[i];
    }
    return found;
}

static bool is_base64_digit(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

static bool is_key(struct str key)
{
    if (key.n != WEBSOCKET_KEY_BYTES || key.p[22] != '=' || key.p[23] != '=') return false;
    for (size_t i = 0; i < 22; i++)
        if (!is_base64_digit(key.p[i])) return false;
    return true;
}

bool websocket_handshake_check(const struct http_fields *f, struct err *err)
{
    const struct http_field *key = only(f, FIELD_SEC_WEBSOCKET_KEY),
                            *version = only(f, FIELD_SEC_WEBSOCKET_VERSION);
    if (!key || !is_key(key->value))
        return err_set(err, ERR_WEBSOCKET_HANDSHAKE, "not one Sec-WebSocket-Key of 16 bytes");
    if (!version || !str_eq_c(version->value, "13"))
        return err_set(err, ERR_WEBSOCKET_VERSION, "Sec-WebSocket-Version is not 13");
    return true;
}

struct str websocket_accept(struct arena *a, struct str key)
{
    uint8_t digest[SHA1_BYTES];
    struct str text =
        arena_printf(a, "%.*s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", STR_FMT(key)); // RFC 6455 section 1.3
    if (!text.p || !crypto_sha1(text, digest)) return STR_NONE;
    return encode_base64(a, (struct str){ (const char *)digest, sizeof digest });
}

static bool is_own(const struct url *u, struct str host, uint16_t port, uint16_t public_port)
{
    if (!u->https || !str_eq(u->host, host)) return false;
    return u->port == public_port || u->port == (port ? port : 443);
}

bool websocket_origin_ok(struct arena *a, struct str origin, struct str host, uint16_t port,
                         uint16_t public_port, const struct strlist *allowed)
{
    struct url u;
    struct err err;
    if (!origin.p) return true;
    if (!url_parse(a, origin, &u, &err)) return false;
    struct str serialised = url_origin(a, &u);
    // An origin is scheme, host and port (RFC 6454 section 7): nothing else may be there to be overlooked.
    if (!serialised.p || !str_eq_nocase(serialised, origin)) return false;
    if (is_own(&u, host, port, public_port)) return true;
    for (size_t i = 0; i < allowed->n; i++)
        if (str_eq_c(allowed->v[i], "*") || str_eq_nocase(allowed->v[i], serialised)) return true;
    return false;
}
