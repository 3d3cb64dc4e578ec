// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/store/session.h"

#include <string.h>

#include "base/encode.h"
#include "base/limits.h"
#include "base/wire.h"

// A handle: key id, issue time (big-endian), session id, MAC over all of that and the host.
enum {
    HANDLE_BODY_BYTES = SESSION_KEY_ID_BYTES + 8 + SESSION_ID_BYTES,
    HANDLE_BYTES = HANDLE_BODY_BYTES + SHA256_BYTES,
    HANDLE_TEXT = (HANDLE_BYTES * 8 + 5) / 6, // base64url
};

bool session_keys_derive(const uint8_t master[SEAL_KEY_BYTES], struct session_keys *ret)
{
    struct str m = { (const char *)master, SEAL_KEY_BYTES };
    struct session_keys k;
    bool ok = crypto_derive(m, "sallyport session cookie", k.cookie, sizeof k.cookie) &&
              crypto_derive(m, "sallyport session cookie key id", k.cookie_id, sizeof k.cookie_id) &&
              crypto_derive(m, "sallyport session record", k.record, sizeof k.record) &&
              crypto_derive(m, "sallyport login state", k.state, sizeof k.state);
    if (ok) *ret = k;
    crypto_cleanse(&k, sizeof k);
    return ok;
}

// The host is a part of its own under the MAC: a cookie carried to another host does not verify there
// (CVE-2017-6807).
static bool handle_mac(const struct session_keys *keys, struct str host,
                       const uint8_t body[HANDLE_BODY_BYTES], uint8_t ret[SHA256_BYTES])
{
    struct str parts[] = { STR("session cookie 1"), host, { (const char *)body, HANDLE_BODY_BYTES } };
    return crypto_hmac_sha256((struct str){ (const char *)keys->cookie, sizeof keys->cookie }, parts, 3, ret);
}

struct str session_cookie_make(struct arena *a, const struct session_keys *keys, struct str host,
                               const uint8_t id[SESSION_ID_BYTES], int64_t now)
{
    uint8_t handle[HANDLE_BYTES], *p = handle;
    memcpy(p, keys->cookie_id, SESSION_KEY_ID_BYTES);
    p += SESSION_KEY_ID_BYTES;
    for (int i = 0; i < 8; i++) *p++ = (uint8_t)((uint64_t)now >> (56 - 8 * i));
    memcpy(p, id, SESSION_ID_BYTES);
    if (!handle_mac(keys, host, handle, handle + HANDLE_BODY_BYTES)) return STR_NONE;
    return encode_base64url(a, (struct str){ (const char *)handle, sizeof handle });
}

bool session_cookie_check(struct arena *a, const struct session_keys *keys, struct str host, struct str value,
                          uint8_t ret_id[SESSION_ID_BYTES], struct err *err)
{
    struct str bytes;
    uint8_t mac[SHA256_BYTES];
    if (value.n != HANDLE_TEXT) return err_set(err, ERR_SESSION_COOKIE, "length %zu", value.n);
    if (!decode_base64url(a, value, &bytes) || bytes.n != HANDLE_BYTES)
        return err_set(err, ERR_SESSION_COOKIE, "not base64url");
    const uint8_t *handle = (const uint8_t *)bytes.p;
    if (!crypto_equal(handle, keys->cookie_id, SESSION_KEY_ID_BYTES))
        return err_set(err, ERR_SESSION_COOKIE, "made with another key");
    if (!handle_mac(keys, host, handle, mac)) return err_set(err, ERR_CRYPTO, "HMAC of a session cookie");
    if (!crypto_equal(mac, handle + HANDLE_BODY_BYTES, sizeof mac))
        return err_set(err, ERR_SESSION_COOKIE, "not made for %.*s, or changed", STR_FMT(host));
    memcpy(ret_id, handle + SESSION_KEY_ID_BYTES + 8, SESSION_ID_BYTES);
    return true;
}

enum record_tag { TAG_IDENTITY = 1, TAG_CREATED, TAG_LAST_SEEN, TAG_EXPIRES, TAG_ID_TOKEN };

struct str session_encode(struct arena *a, const struct session *s)
{
    struct str identity = identity_encode(a, &s->identity);
    if (!identity.p) return STR_NONE;
    struct wire_writer w;
    wire_init(&w, a, LIMIT_SESSION_BYTES);
    wire_put(&w, TAG_IDENTITY, identity);
    wire_put_int(&w, TAG_CREATED, s->created);
    wire_put_int(&w, TAG_LAST_SEEN, s->last_seen);
    wire_put_int(&w, TAG_EXPIRES, s->expires);
    wire_put(&w, TAG_ID_TOKEN, s->id_token);
    return wire_done(&w);
}

bool session_decode(struct arena *a, struct str bytes, struct session *ret, struct err *err)
{
    struct session s = { 0 };
    struct str identity;
    struct err cause;
    if (!wire_find(bytes, TAG_IDENTITY, &identity) || !wire_find_int(bytes, TAG_CREATED, &s.created) ||
        !wire_find_int(bytes, TAG_LAST_SEEN, &s.last_seen) || !wire_find_int(bytes, TAG_EXPIRES, &s.expires))
        return err_set(err, ERR_SESSION_RECORD, "a field is missing or damaged");
    wire_find(bytes, TAG_ID_TOKEN, &s.id_token);
    if (!identity_decode(a, identity, &s.identity, &cause))
        return err_set(err, ERR_SESSION_RECORD, "identity: %s", cause.detail);
    *ret = s;
    return true;
}

bool session_alive(const struct session *s, int64_t idle, int64_t now, struct err *err)
{
    if (now >= s->expires) return err_set(err, ERR_SESSION_EXPIRED, "past its end");
    // SAML Core 2.7.2, SessionNotOnOrAfter: whoever set `expires` has cut it already; this holds if they
    // forgot.
    if (s->identity.not_after != 0 && now >= s->identity.not_after)
        return err_set(err, ERR_SESSION_EXPIRED, "past the end that the provider set");
    if (s->last_seen < now - idle)
        return err_set(err, ERR_SESSION_EXPIRED, "not used for more than %lld seconds", (long long)idle);
    return true;
}
