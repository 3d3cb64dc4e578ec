// SPDX-License-Identifier: GPL-3.0-or-later
// Enveloped XML signatures (SAML core 5.4, xmldsig-core). The answer to "is it signed?" is not a boolean but
// the octets that were digested, parsed again: who reads only that document cannot be made to read something
// that was not signed (signature wrapping, CVE-2012-5664 and its many children).
#pragma once

#include "saml/keys.h"
#include "saml/saml.h"
#include "saml/xml.h"

// The ds:Signature child of `element`; NULL when there is none. ERR_SAML_SIGNATURE when there are several.
bool dsig_find(const xmlNode *element, xmlNodePtr *ret, struct err *err);

// Verifies the signature of `element` with one of `keys`. *ret_signed is the root of the document made of the
// signed octets: the same element without its signature. The ID must be unique in its document
// (xml_ids_unique). ERR_SAML_SIGNATURE, ERR_SAML_ALGORITHM, ERR_NO_MEMORY.
bool dsig_verify(struct arena *a, xmlNodePtr element, const struct key_set *keys,
                 const struct saml_client *client, xmlNodePtr *ret_signed, struct err *err);
