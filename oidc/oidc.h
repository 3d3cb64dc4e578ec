// SPDX-License-Identifier: GPL-3.0-or-later
// OpenID Connect relying party without I/O: what to send, and whether what came back is true. Sockets, clock
// and randomness are arguments. References: OpenID Connect Core 1.0 (OIDC), Discovery 1.0, RFC 6749, RFC 7636
// (PKCE), RFC 7515/7517/7518/8037 (JOSE), RFC 9207.
#pragma once

#include "policy/identity.h"

enum oidc_token_auth { OIDC_AUTH_BASIC, OIDC_AUTH_POST };

enum oidc_alg {
    OIDC_RS256 = 1 << 0,
    OIDC_RS384 = 1 << 1,
    OIDC_RS512 = 1 << 2,
    OIDC_PS256 = 1 << 3,
    OIDC_PS384 = 1 << 4,
    OIDC_PS512 = 1 << 5,
    OIDC_ES256 = 1 << 6,
    OIDC_ES384 = 1 << 7,
    OIDC_ES512 = 1 << 8,
    OIDC_EDDSA = 1 << 9,
};
// The algorithm called `name` ("RS256"), 0 when we do not support it (`none` and HS* included).
unsigned oidc_alg_by_name(struct str name);

// What the operator configured for one provider.
struct oidc_client {
    struct str provider; // key in the configuration
    struct str issuer;
    struct str client_id, client_secret;
    enum oidc_token_auth token_auth;
    struct strlist scopes; // "openid" is always there
    unsigned algorithms;   // allowed, mask of enum oidc_alg
    bool userinfo;
    bool trust_email; // addresses count although the provider never sends email_verified
    struct claim_mapping mapping;
    int64_t clock_skew; // seconds
};

// The well-known URL of an issuer (Discovery 1.0 section 4.1).
struct str oidc_discovery_url(struct arena *a, struct str issuer);

struct oidc_provider {
    struct str authorization_endpoint, token_endpoint, jwks_uri;
    struct str userinfo_endpoint, end_session_endpoint; // absent when not offered
    bool iss_parameter_supported;                       // RFC 9207
};
// Checks a discovery document (issuer equal to the configured one; endpoints https, or http on loopback only
// when the issuer is; the configured token_auth and at least one allowed algorithm offered).
// ERR_OIDC_DISCOVERY.
bool oidc_discovery_parse(struct arena *a, struct str json, const struct oidc_client *client,
                          struct oidc_provider *ret, struct err *err);

// One login's secrets, made by the caller from random bytes: 43-character base64url strings.
struct oidc_login {
    struct str state, nonce, code_verifier, redirect_uri;
};
// The authorization request URL (code flow, PKCE S256).
struct str oidc_authorization_url(struct arena *a, const struct oidc_client *client,
                                  const struct oidc_provider *provider, const struct oidc_login *login);

// The callback's query: exactly one `state` and one `code`, or `error`. RFC 9207 `iss` compared when present,
// required when the provider announces it. `state` is returned first and compared by the caller.
struct oidc_callback {
    struct str state, code;
};
bool oidc_callback_state(struct arena *a, struct str query, struct str *ret_state, struct err *err);
bool oidc_callback_parse(struct arena *a, struct str query, const struct oidc_client *client,
                         const struct oidc_provider *provider, struct oidc_callback *ret, struct err *err);

// The token request: form body, and the Authorization header value (absent with client_secret_post).
struct oidc_token_request {
    struct str body, authorization;
};
bool oidc_token_request(struct arena *a, const struct oidc_client *client, const struct oidc_login *login,
                        struct str code, struct oidc_token_request *ret, struct err *err);

// A JWKS answer is usable: an object with `keys`, at least one signature key we can use. ERR_OIDC_JWKS.
bool oidc_jwks_check(struct arena *a, struct str json, struct err *err);

struct oidc_expect {
    struct str nonce;
    int64_t now;
};
// What a verified login yields besides the identity.
struct oidc_tokens {
    struct str access_token; // for userinfo; absent when the answer had none
    struct str id_token;     // as received, for id_token_hint
};
// Parses the token endpoint's answer, verifies the ID token in it against the JWKS (signature before any
// claim) and all claims (OIDC 3.1.3.7), and makes the identity. An empty list in the mapping means the usual
// claim; a mapped name with dots that is no claim leads into nested objects ("realm_access.roles") and
// becomes a claim of that name. The subject is taken from the ID token alone, never from userinfo.
// ERR_OIDC_UNKNOWN_KEY asks the caller to fetch the JWKS again (at most once a minute).
bool oidc_login_verify(struct arena *a, const struct oidc_client *client, const struct oidc_expect *expect,
                       struct str token_response, struct str jwks, struct identity *ret_identity,
                       struct oidc_tokens *ret_tokens, struct err *err);
// Adds the claims of a userinfo answer (JSON object, `sub` equal to the identity's verified sub; OIDC 5.3.4)
// and maps again. What the ID token said stays; `email_verified` counts only for the address that it came
// with.
bool oidc_userinfo_merge(struct arena *a, const struct oidc_client *client, struct str json,
                         struct identity *id, struct err *err);
