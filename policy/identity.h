// SPDX-License-Identifier: GPL-3.0-or-later
// Who somebody is, as a verified login said it. saml/ and oidc/ make identities, the session record keeps
// them, policy/ reads them, the proxy forwards them. All strings are valid UTF-8 without control bytes.
#pragma once

#include "base/arena.h"
#include "base/err.h"

// One attribute (SAML) or claim (OpenID Connect) with its values, as the provider named it. JSON numbers and
// booleans are kept in their JSON spelling; objects and arrays inside arrays are left out.
struct claim {
    struct str name;
    struct strlist values;
};

struct identity {
    struct str provider; // key of the provider in the configuration
    struct str subject;  // stable id within that provider; always present
    struct str email;    // absent when unknown; exactly one '@', domain lower-cased
    bool email_verified; // OIDC: the JSON value true; SAML: the provider vouches for its attributes, so true
    struct str username; // short login name; absent when unknown
    struct str name;     // display name; absent when unknown
    struct strlist groups;
    bool groups_known;   // the provider sent a groups claim at all (an empty list is known)
    bool groups_overage; // Entra ID left the groups out because they are too many (`_claim_names`)
    struct claim *claims;
    size_t nclaims;
    int64_t auth_time; // seconds since the epoch
    int64_t not_after; // the session must end here (SAML SessionNotOnOrAfter); 0: the provider sets no end
    // For logout at the provider:
    struct str name_id, name_id_format, name_qualifier, sp_name_qualifier, session_index; // SAML
    struct str sid;                                                                       // OIDC
};

// The values of claim `name`, empty when there is none. "groups", "email" ... are claims only if the provider
// sent them.
struct strlist identity_claim(const struct identity *id, struct str name);
// The part after '@', borrowed from `email` (compare it ignoring case); absent unless `email` has exactly one
// '@' and both parts are not empty.
struct str email_domain(struct str email);

// The address when the provider vouches for it. Whoever may write any address into an account could else be
// anybody to an application that knows people by theirs.
struct str identity_email(const struct identity *id);

// For pages, logs and headers: username, else verified email, else subject.
struct str identity_label(const struct identity *id);

// Bytes for the session record and the wire (tagged fields); absent when larger than LIMIT_IDENTITY_BYTES.
struct str identity_encode(struct arena *a, const struct identity *id);
// The reverse; strings borrow from `bytes`. ERR_WIRE when damaged: cut short, a field twice, no subject or
// provider, text that is not clean UTF-8, an e-mail address that is none, more claims or values than
// LIMIT_ATTRIBUTES*.
bool identity_decode(struct arena *a, struct str bytes, struct identity *ret, struct err *err);

// Which attributes or claims feed which field; the first one present wins. Lists of names in order of
// preference.
struct claim_mapping {
    struct strlist subject, email, username, name, groups;
};
