// SPDX-License-Identifier: GPL-3.0-or-later
// SAML 2.0 service provider without I/O. Runs inside a verifier process (lasso keeps process-wide state, see
// ARCHITECTURE.md). Claims come only from octets that our own xmlsec check digested, parsed again.
// References: SAML 2.0 core, bindings, profiles, metadata (saml-core-2.0-os etc.), and the Interoperable
// SAML 2.0 Profile.
#pragma once

#include "policy/identity.h"

// Once per process, before anything else: clears lasso's environment switches, initialises libxml2, xmlsec
// and lasso.
bool saml_init(struct err *err);
void saml_done(void);

// Our side. One entity for all identity providers; one assertion consumer service per provider.
struct saml_sp {
    struct str entity_id;
    struct str key_pem, certificate_pem; // signs requests and decrypts assertions
    struct str
        base_url; // "https://login.example.com/.sallyport/saml": the ACS of `corp` is base_url + "/corp/acs"
    struct strlist providers; // keys of the SAML providers, in the order of the configuration
    struct str organization;  // display name for the IdP's administrator; absent: the host
};

// SP metadata: signed requests, wanted signatures, the signing and encryption key, one HTTP-POST ACS per
// provider; exactly what the gateway does. Absent and ERR_SAML_METADATA on failure.
struct str saml_sp_metadata(struct arena *a, const struct saml_sp *sp, struct err *err);
// base_url/provider/acs
struct str saml_acs_url(struct arena *a, const struct saml_sp *sp, struct str provider);

// Attribute names that feed the fields of an identity (subject, email, username, name, groups) when the
// operator names none, by field, in order of preference: for the code and for the documentation. An attribute
// matches by its Name, else by its FriendlyName.
struct saml_default_name {
    const char *field, *name;
};
const struct saml_default_name *saml_default_names(size_t *ret_n);

// What the operator configured for one provider.
struct saml_client {
    struct str provider;                 // key in the configuration
    struct str entity_id;                // expected; absent: the metadata must hold exactly one IdP
    struct str metadata_certificate_pem; // metadata must be signed with this key; absent: not required
    struct str name_id_format;           // URI to ask for; absent: the IdP chooses
    struct strlist authn_context;        // AuthnContextClassRef to ask for (exact); empty: none
    bool force_authn;
    bool allow_unsolicited;       // IdP-initiated logins
    bool allow_sha1, allow_cbc;   // weaker algorithms, off unless the operator says otherwise
    struct claim_mapping mapping; // empty lists: saml_default_names(); "NameID" names the subject's NameID
    int64_t clock_skew;           // seconds
};

// An identity provider as its checked metadata describes it. Lives in its arena; holds foreign handles
// (released with the arena).
struct saml_idp;
struct saml_idp_info {
    struct str entity_id, sso_redirect_url;
    int64_t valid_until; // 0: not limited
    size_t signing_keys;
};
// Parses and checks metadata (EntityDescriptor or EntitiesDescriptor): no DTD, entity found, validUntil in
// the future, signature when a certificate is configured, at least one signing key of its IDPSSODescriptor
// (RSA >= 2048 or P-256/384/521), a SingleSignOnService with HTTP-Redirect on https (http on loopback only).
// ERR_SAML_METADATA*, by cause.
bool saml_idp_parse(struct arena *a, struct str xml, const struct saml_client *client, int64_t now,
                    struct saml_idp **ret, struct saml_idp_info *ret_info, struct err *err);

// A signed AuthnRequest by HTTP-Redirect (bindings 3.4), built with lasso, RSA-SHA256. `request_id` is an
// NCName made by the caller
// ("_" + 40 hex digits). Absent and ERR_SAML_REQUEST on failure.
struct str saml_authn_request_url(struct arena *a, const struct saml_sp *sp, const struct saml_client *client,
                                  const struct saml_idp *idp, struct str request_id, struct str relay_state,
                                  int64_t now, struct err *err);

struct saml_expect {
    struct str request_id; // absent: an unsolicited response (refused unless the client allows it)
    int64_t now;
};
struct saml_login {
    struct identity identity;
    struct str assertion_id; // to be remembered until `replay_until`: a second use is a replay
    int64_t replay_until;
};
// Everything between a base64 SAMLResponse of the HTTP-POST binding and a verified identity
// (profiles 4.1.4.3, core 2.5, bindings 3.5).
bool saml_response_verify(struct arena *a, const struct saml_sp *sp, const struct saml_client *client,
                          const struct saml_idp *idp, const struct saml_expect *expect,
                          struct str saml_response, struct saml_login *ret, struct err *err);

// The query of a redirect-binding message (bindings 3.4.4.1): each parameter at most once under its plain
// name, exactly one of SAMLRequest and SAMLResponse, allowed SigAlg, signature verified over the original
// octets, inflated with a cap.
struct saml_redirect {
    bool is_response;
    struct str message;     // inflated XML
    struct str relay_state; // absent when there is none
};
bool saml_redirect_verify(struct arena *a, struct str query, const struct saml_client *client,
                          const struct saml_idp *idp, struct saml_redirect *ret, struct err *err);
