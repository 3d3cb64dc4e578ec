// SPDX-License-Identifier: GPL-3.0-or-later
// XML Encryption (xmlenc-core1) for EncryptedAssertion and EncryptedID: AES-GCM (CBC with leave) under
// RSA-OAEP. Done with OpenSSL directly: xmlsec knows no OAEP with SHA-2 (xmlenc11#rsa-oaep), and would follow
// CipherReference and RetrievalMethod.
#pragma once

#include "saml/saml.h"
#include "saml/xml.h"

// Decrypts the xenc:EncryptedData in `container` with our key. *ret is the one element that was inside,
// parsed where the namespace declarations around `container` are known. Every failure is the same
// ERR_SAML_DECRYPT, so that nobody can learn from answers what an altered ciphertext decrypts to (Jager and
// Somorovsky 2011; Bleichenbacher 1998).
bool decrypt_element(struct arena *a, const xmlNode *container, struct str key_pem,
                     const struct saml_client *client, xmlNodePtr *ret, struct err *err);
