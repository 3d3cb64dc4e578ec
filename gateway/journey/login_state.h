// SPDX-License-Identifier: GPL-3.0-or-later
// What an unfinished login has to remember, in a sealed cookie of its own in the visitor's browser: logins
// that nobody finishes cost the gateway no memory, and an answer is worth nothing in another browser than the
// one that asked.
#pragma once

#include "gateway/store/session.h"
#include "http/head.h"

struct login_state {
    struct str state;                // 43 characters: OpenID Connect `state`, SAML RelayState
    struct str provider;             // an answer counts only at the provider that was asked
    struct str nonce, code_verifier; // OpenID Connect
    struct str request_id;           // SAML
    struct str target; // where the visitor wanted to go: an absolute URL, checked on entry and again on use
    struct str
        binding; // hash of the application host's browser cookie; absent when the target is the login host
    struct str replaces; // id of the session that this browser had: a SAML answer is a cross-site POST, which
                         // brings no Lax cookie to tell. Absent: none
    int64_t created;
};

// Fills state, nonce, code_verifier and request_id with fresh randomness.
bool login_state_new(struct arena *a, struct login_state *ret);
// Name of the cookie for a state value: LOGIN_COOKIE_PREFIX "login-" and its first characters. Absent: not
// one of ours.
struct str login_state_cookie_name(struct arena *a, struct str state);
struct str login_state_seal(struct arena *a, const struct session_keys *keys, const struct login_state *s);
// Finds, opens and checks the cookie for `state`. ERR_LOGIN_STATE for everything that is wrong.
bool login_state_open(struct arena *a, const struct session_keys *keys, const struct http_fields *f,
                      struct str state, struct str provider, int64_t now, struct login_state *ret,
                      struct err *err);
// Names of login cookies that must go so that there is room for one more among LIMIT_LOGIN_COOKIES and
// LIMIT_LOGIN_COOKIES_TOTAL: unreadable, expired, then the oldest.
struct strlist login_state_surplus(struct arena *a, const struct session_keys *keys,
                                   const struct http_fields *f, int64_t now);
