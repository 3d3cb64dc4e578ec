// SPDX-License-Identifier: GPL-3.0-or-later
// Namespaces and identifiers of the standards that this folder speaks.
#pragma once

#define NS_PROTOCOL "urn:oasis:names:tc:SAML:2.0:protocol"
#define NS_ASSERTION "urn:oasis:names:tc:SAML:2.0:assertion"
#define NS_METADATA "urn:oasis:names:tc:SAML:2.0:metadata"
#define NS_DSIG "http://www.w3.org/2000/09/xmldsig#"
#define NS_XENC "http://www.w3.org/2001/04/xmlenc#"
#define NS_XENC11 "http://www.w3.org/2009/xmlenc11#"
#define NS_EXC_C14N "http://www.w3.org/2001/10/xml-exc-c14n#"
#define NS_ECP "urn:oasis:names:tc:SAML:2.0:profiles:SSO:ecp"
#define NS_PAOS "urn:liberty:paos:2003-08"
#define NS_SOAP11 "http://schemas.xmlsoap.org/soap/envelope/"
#define NS_SOAP12 "http://www.w3.org/2003/05/soap-envelope"

#define SAML_BINDING_REDIRECT "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
#define SAML_BINDING_POST "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
#define SAML_STATUS_SUCCESS "urn:oasis:names:tc:SAML:2.0:status:Success"
#define SAML_METHOD_BEARER "urn:oasis:names:tc:SAML:2.0:cm:bearer"
#define SAML_FORMAT_ENTITY "urn:oasis:names:tc:SAML:2.0:nameid-format:entity"
#define SAML_FORMAT_TRANSIENT "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
#define SAML_FORMAT_PERSISTENT "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
#define SAML_FORMAT_EMAIL "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
#define SAML_FORMAT_UNSPECIFIED "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"

#define ALG_ENVELOPED NS_DSIG "enveloped-signature"
#define ALG_RSA_SHA1 NS_DSIG "rsa-sha1"
#define ALG_SHA1 NS_DSIG "sha1"
#define ALG_MORE "http://www.w3.org/2001/04/xmldsig-more#"
#define ALG_RSA_SHA256 ALG_MORE "rsa-sha256"
#define ALG_C14N "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
