// SPDX-License-Identifier: GPL-3.0-or-later
// What a response may look like at all, asked of the whole document before any key is used: things in unusual
// places are how signature wrapping, and messages that confuse other readers, are built.
#pragma once

#include "saml/saml.h"
#include "saml/xml.h"

// The document with `root` is a samlp:Response: known elements in their places, unique IDs, allowed
// algorithms, exactly one Assertion or EncryptedAssertion in the whole document, and that a child of the
// Response. *ret_assertion is it.
bool structure_check_response(struct arena *a, xmlNodePtr root, const struct saml_client *client,
                              xmlNodePtr *ret_assertion, struct err *err);
// The same rules for an assertion that was decrypted.
bool structure_check_assertion(struct arena *a, xmlNodePtr root, const struct saml_client *client,
                               struct err *err);
