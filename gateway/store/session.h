// SPDX-License-Identifier: GPL-3.0-or-later
// Sessions: the record that the store keeps, and the cookie that is its handle. The handle carries no data:
// session id, issue time, key id and an HMAC-SHA-256 bound to the host; so a cookie taken from one host is
// worth nothing on another.
#pragma once

#include "base/crypto.h"
#include "policy/identity.h"

enum { SESSION_ID_BYTES = 32, SESSION_KEY_ID_BYTES = 4 };
#define SESSION_COOKIE "__Host-sallyport"       // the handle
#define LOGIN_COOKIE_PREFIX "__Host-sallyport-" // everything of ours begins with "__Host-sallyport"

struct session {
    uint8_t id[SESSION_ID_BYTES];
    struct identity identity;
    int64_t created, last_seen, expires; // seconds since the epoch; expires: the absolute end
    struct str id_token;                 // OIDC: for id_token_hint; absent otherwise
};

// Keys derived from the state directory's master secret, each for one purpose.
struct session_keys {
    uint8_t cookie[SEAL_KEY_BYTES];          // HMAC of handles
    uint8_t cookie_id[SESSION_KEY_ID_BYTES]; // names that key inside a handle
    uint8_t record[SEAL_KEY_BYTES];          // sealing of records in the store
    uint8_t state[SEAL_KEY_BYTES];           // sealing of login state cookies
};
bool session_keys_derive(const uint8_t master[SEAL_KEY_BYTES], struct session_keys *ret);

// The cookie value for `host`: base64url, absent on failure.
struct str session_cookie_make(struct arena *a, const struct session_keys *keys, struct str host,
                               const uint8_t id[SESSION_ID_BYTES], int64_t now);
// The session id of a cookie value that we made for this host. ERR_SESSION_COOKIE for every kind of damage.
bool session_cookie_check(struct arena *a, const struct session_keys *keys, struct str host, struct str value,
                          uint8_t ret_id[SESSION_ID_BYTES], struct err *err);

// Record <-> bytes (tagged fields, sealed by the store). Decoded strings borrow. The id is not in the bytes:
// even who can open a record cannot make a cookie for it. Encoding gives absent when larger than
// LIMIT_SESSION_BYTES.
struct str session_encode(struct arena *a, const struct session *s);
bool session_decode(struct arena *a, struct str bytes, struct session *ret, struct err *err);
// ERR_SESSION_EXPIRED when idle longer than `idle` seconds or past `expires`.
bool session_alive(const struct session *s, int64_t idle, int64_t now, struct err *err);
