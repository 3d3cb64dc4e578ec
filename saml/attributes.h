// SPDX-License-Identifier: GPL-3.0-or-later
// From the subject and the attributes of a verified assertion to an identity.
#pragma once

#include "saml/saml.h"
#include "saml/xml.h"

// Fills subject, email, username, name, groups, claims and the NameID fields. An EncryptedID is opened with
// `key_pem`. All text of a value counts. ERR_SAML_SUBJECT, ERR_SAML_STRUCTURE (too many), ERR_SAML_DECRYPT,
// ERR_NO_MEMORY.
bool attributes_read(struct arena *a, const xmlNode *assertion, const struct saml_client *client,
                     struct str key_pem, struct identity *id, struct err *err);
