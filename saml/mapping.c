// SPDX-License-Identifier: GPL-3.0-or-later
#include "saml/mapping.h"

#include <string.h>

#define OID_LDAP "urn:oid:0.9.2342.19200300.100.1."
#define OID_X500 "urn:oid:2.5.4."
#define OID_INETORG "urn:oid:2.16.840.1.113730.3.1."
#define OID_EDUPERSON "urn:oid:1.3.6.1.4.1.5923.1.1.1."
#define OID_EDUMEMBER "urn:oid:1.3.6.1.4.1.5923.1.5.1."
#define XMLSOAP "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
#define MICROSOFT "http://schemas.microsoft.com/ws/2008/06/identity/claims/"
#define ENTRA "http://schemas.microsoft.com/identity/claims/"

// In order of preference within each field. `subject` serves only when the NameID is transient, that is, new
// at each login.
static const struct saml_default_name defaults[] = {
    { "subject", "urn:oasis:names:tc:SAML:attribute:subject-id" },
    { "subject", "urn:oasis:names:tc:SAML:attribute:pairwise-id" },
    { "subject", OID_EDUPERSON "13" }, // eduPersonUniqueId
    { "subject", "eduPersonUniqueId" },
    { "subject", OID_EDUPERSON "6" }, // eduPersonPrincipalName
    { "subject", "eduPersonPrincipalName" },
    { "subject", ENTRA "objectidentifier" },
    { "subject", OID_LDAP "1" }, // uid
    { "subject", "uid" },
    { "subject", XMLSOAP "upn" },
    { "subject", OID_LDAP "3" }, // mail
    { "subject", "mail" },
    { "subject", XMLSOAP "emailaddress" },

    { "email", OID_LDAP "3" },
    { "email", "mail" },
    { "email", "email" },
    { "email", "emailAddress" },
    { "email", XMLSOAP "emailaddress" },
    { "email", "urn:mace:dir:attribute-def:mail" },

    { "username", OID_LDAP "1" },
    { "username", "uid" },
    { "username", "username" },
    { "username", "urn:mace:dir:attribute-def:uid" },
    { "username", "sAMAccountName" },
    { "username", MICROSOFT "windowsaccountname" },
    { "username", OID_EDUPERSON "6" },
    { "username", "eduPersonPrincipalName" },
    { "username", XMLSOAP "upn" },
    { "username", XMLSOAP "name" },

    { "name", OID_INETORG "241" }, // displayName
    { "name", "displayName" },
    { "name", ENTRA "displayname" },
    { "name", "http://schemas.xmlsoap.org/claims/CommonName" },
    { "name", OID_X500 "3" }, // cn
    { "name", "cn" },
    { "name", "name" },

    { "groups", "groups" },
    { "groups", OID_EDUMEMBER "1" }, // isMemberOf
    { "groups", "isMemberOf" },
    { "groups", "memberOf" },
    { "groups", MICROSOFT "groups" },
    { "groups", "http://schemas.xmlsoap.org/claims/Group" },
    { "groups", MICROSOFT "role" },
    { "groups", "Role" },
    { "groups", OID_EDUPERSON "1" }, // eduPersonAffiliation
    { "groups", "eduPersonAffiliation" },
};
enum { DEFAULTS = sizeof defaults / sizeof defaults[0] };

const struct saml_default_name *saml_default_names(size_t *ret_n)
{
    *ret_n = DEFAULTS;
    return defaults;
}

struct strlist mapping_names(const char *field, struct strlist configured, struct str room[MAPPING_MAX])
{
    struct strlist names = { room, 0 };
    if (configured.n) return configured;
    for (size_t i = 0; i < DEFAULTS && names.n < MAPPING_MAX; i++)
        if (!strcmp(defaults[i].field, field)) room[names.n++] = str_c(defaults[i].name);
    return names;
}
