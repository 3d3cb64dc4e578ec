// SPDX-License-Identifier: GPL-3.0-or-later
// What the login thread and a verifier process say to each other. A frame is a 32-bit big-endian length and
// that many bytes of tagged fields (base/wire.h), at most LIMIT_WIRE_BYTES. The login thread asks, the
// verifier answers each request once, in order. Every tag is in this header. Both ends are the same program,
// so unknown tags, repeated fields and missing ones are refusals: they can only mean that the other end is
// not itself any more.
#pragma once

#include "base/limits.h"
#include "oidc/oidc.h"
#include "saml/saml.h"

enum verify_kind {
    VERIFY_SETUP = 1,        // our SAML service provider; first message to every new verifier that needs it
    VERIFY_SAML_METADATA,    // parse and keep one provider's metadata -> info
    VERIFY_SAML_START,       // -> url
    VERIFY_SAML_RESPONSE,    // -> identity, assertion
    VERIFY_OIDC_DISCOVERY,   // -> endpoints
    VERIFY_OIDC_JWKS,        // -> nothing
    VERIFY_OIDC_LOGIN,       // -> identity, tokens
    VERIFY_OIDC_USERINFO,    // -> identity
    VERIFY_OIDC_TOKEN_ERROR, // the token endpoint's error answer; the reply is always an error
    VERIFY_KIND_COUNT
};

enum verify_tag {
    VERIFY_TAG_KIND = 1,
    VERIFY_TAG_ID,
    VERIFY_TAG_NOW,
    VERIFY_TAG_PROVIDER,
    VERIFY_TAG_TEXT,
    VERIFY_TAG_JWKS,
    VERIFY_TAG_REQUEST_ID,
    VERIFY_TAG_RELAY_STATE,
    VERIFY_TAG_NONCE,
    VERIFY_TAG_IDENTITY,

    VERIFY_TAG_SP_ENTITY_ID = 20,
    VERIFY_TAG_SP_KEY,
    VERIFY_TAG_SP_CERTIFICATE,
    VERIFY_TAG_SP_BASE_URL,
    VERIFY_TAG_SP_PROVIDERS,
    VERIFY_TAG_SP_ORGANIZATION,

    VERIFY_TAG_SAML_ENTITY_ID = 40,
    VERIFY_TAG_SAML_CERTIFICATE,
    VERIFY_TAG_SAML_NAME_ID_FORMAT,
    VERIFY_TAG_SAML_AUTHN_CONTEXT,
    VERIFY_TAG_SAML_FORCE_AUTHN,
    VERIFY_TAG_SAML_UNSOLICITED,
    VERIFY_TAG_SAML_SHA1,
    VERIFY_TAG_SAML_CBC,

    VERIFY_TAG_OIDC_ISSUER = 60,
    VERIFY_TAG_OIDC_CLIENT_ID,
    VERIFY_TAG_OIDC_TOKEN_AUTH,
    VERIFY_TAG_OIDC_SCOPES,
    VERIFY_TAG_OIDC_ALGORITHMS,
    VERIFY_TAG_OIDC_USERINFO,
    VERIFY_TAG_OIDC_TRUST_EMAIL,

    VERIFY_TAG_CLOCK_SKEW = 80,
    VERIFY_TAG_MAP_SUBJECT,
    VERIFY_TAG_MAP_EMAIL,
    VERIFY_TAG_MAP_USERNAME,
    VERIFY_TAG_MAP_NAME,
    VERIFY_TAG_MAP_GROUPS,

    VERIFY_TAG_ERR = 100,
    VERIFY_TAG_DETAIL,
    VERIFY_TAG_LAST,
    VERIFY_TAG_URL,
    VERIFY_TAG_ASSERTION_ID,
    VERIFY_TAG_REPLAY_UNTIL,
    VERIFY_TAG_ACCESS_TOKEN,
    VERIFY_TAG_ID_TOKEN,

    VERIFY_TAG_INFO_ENTITY_ID = 120,
    VERIFY_TAG_INFO_SSO_URL,
    VERIFY_TAG_INFO_VALID_UNTIL,
    VERIFY_TAG_INFO_KEYS,

    VERIFY_TAG_EP_AUTHORIZATION = 140,
    VERIFY_TAG_EP_TOKEN,
    VERIFY_TAG_EP_JWKS,
    VERIFY_TAG_EP_USERINFO,
    VERIFY_TAG_EP_END_SESSION,
    VERIFY_TAG_EP_ISS_PARAMETER,
};

// Which members mean something depends on the kind; the others are absent. The client's secret never goes to
// a verifier.
struct verify_request {
    unsigned kind;       // enum verify_kind
    int64_t id;          // repeated in the reply
    int64_t now;         // seconds since the epoch
    struct str provider; // key in the configuration
    struct str text;     // the document to check: XML, JSON, or the base64 SAMLResponse
    struct str jwks;
    struct str request_id, relay_state, nonce;
    struct str identity; // encoded, for userinfo
    struct saml_sp sp;
    // Of the provider that the message is about. `mapping` and `clock_skew` are those of whichever is meant.
    struct saml_client saml;
    struct oidc_client oidc;
    struct claim_mapping mapping;
    int64_t clock_skew;
};

struct verify_reply {
    int64_t id;
    struct err err; // ERR_NONE: it worked
    bool last;      // the verifier ends after this reply, having used its share of CPU time
    struct str url;
    struct str identity; // encoded
    struct str assertion_id;
    int64_t replay_until;
    struct str access_token, id_token;
    struct saml_idp_info info;
    int64_t info_keys; // info.signing_keys
    struct oidc_provider endpoints;
    unsigned err_code; // private: err as it travels
    struct str detail;
};

// Payloads (without the frame's length); absent when they would be larger than LIMIT_WIRE_BYTES or memory is
// short.
struct str verify_request_encode(struct arena *a, const struct verify_request *q);
struct str verify_reply_encode(struct arena *a, const struct verify_reply *r);
// Strings borrow from `payload`. ERR_WIRE with the reason otherwise.
bool verify_request_decode(struct arena *a, struct str payload, struct verify_request *ret, struct err *err);
bool verify_reply_decode(struct arena *a, struct str payload, struct verify_reply *ret, struct err *err);

enum { VERIFY_FRAME_HEAD = 4 };
void verify_frame_put(uint8_t ret_head[VERIFY_FRAME_HEAD], size_t n);
// The payload's length: false when it is 0 or larger than LIMIT_WIRE_BYTES.
bool verify_frame_get(const uint8_t head[VERIFY_FRAME_HEAD], size_t *ret);
