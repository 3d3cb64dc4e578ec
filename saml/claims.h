// SPDX-License-Identifier: GPL-3.0-or-later
// Who says what to whom until when: the checks of profiles 4.1.4.3 and core 2.5, one function for each
// clause. They read verified elements only (response.c sees to that) and fill in what they learn.
#pragma once

#include "saml/attributes.h"
#include "saml/saml.h"
#include "saml/xml.h"

struct claims_context {
    struct arena *arena;
    const struct saml_client *client;
    const struct saml_expect *expect;
    struct str sp_entity_id, acs_url, idp_entity_id;
};

// Version, ID, IssueInstant, Destination, InResponseTo, Issuer of the samlp:Response.
bool claims_check_response(const struct claims_context *c, const xmlNode *response, struct err *err);
// core 3.2.2.2: the top-level status is Success. ERR_SAML_STATUS with the provider's words.
bool claims_check_status(struct arena *a, const xmlNode *response, struct err *err);
// Everything in the saml:Assertion but its attributes. Fills the assertion id, replay_until and of the
// identity auth_time, not_after, session_index.
bool claims_check_assertion(const struct claims_context *c, const xmlNode *assertion,
                            struct saml_login *login, struct err *err);
