// SPDX-License-Identifier: GPL-3.0-or-later
#include "saml/structure.h"

#include <string.h>

#include "saml/algorithms.h"
#include "saml/names.h"

// The only protocol elements of a response, each with its only parents (core 3.2.2, 3.3.3). A protocol
// message inside an attribute value or an extension has no use but to be taken for the message.
static const struct place {
    const char *name;
    const char *parents[2];
} protocol_places[] = {
    { "Status", { "Response" } },      { "StatusCode", { "Status", "StatusCode" } },
    { "StatusMessage", { "Status" } }, { "StatusDetail", { "Status" } },
    { "Extensions", { "Response" } },
};

static bool parent_fits(const struct place *place, const xmlNode *e)
{
    for (size_t i = 0; i < 2; i++)
        if (place->parents[i] && xml_is(e->parent, NS_PROTOCOL, place->parents[i])) return true;
    return false;
}

static bool check_protocol(const xmlNode *e, const xmlNode *root, struct err *err)
{
    if (e == root || !xml_in_ns(e, NS_PROTOCOL)) return true;
    for (size_t i = 0; i < sizeof protocol_places / sizeof *protocol_places; i++)
        if (xml_is(e, NS_PROTOCOL, protocol_places[i].name) && parent_fits(&protocol_places[i], e))
            return true;
    return err_set(err, ERR_SAML_STRUCTURE, "<%.60s> of the SAML protocol where none belongs",
                   (const char *)e->name);
}

// SOAP, PAOS and ECP belong to other bindings; they are also what makes other libraries stumble.
static bool check_foreign(const xmlNode *e, struct err *err)
{
    static const char *const refused[] = { NS_SOAP11, NS_SOAP12, NS_ECP, NS_PAOS };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (xml_in_ns(e, refused[i]))
            return err_set(err, ERR_SAML_STRUCTURE, "<%.60s> of SOAP or ECP in a response",
                           (const char *)e->name);
    return true;
}

static bool is_signable(const xmlNode *e)
{
    return xml_is(e, NS_PROTOCOL, "Response") || xml_is(e, NS_ASSERTION, "Assertion");
}

// A ds:Signature belongs to the Response or the Assertion that it stands in (dsig_find: once). Objects and
// Manifests could carry documents or further references.
static bool check_signature(const xmlNode *e, struct err *err)
{
    if (xml_is(e, NS_DSIG, "Object") || xml_is(e, NS_DSIG, "Manifest"))
        return err_set(err, ERR_SAML_STRUCTURE, "<%.60s> in a response", (const char *)e->name);
    if (!xml_is(e, NS_DSIG, "Signature")) return true;
    if (!is_signable(e->parent)) return err_set(err, ERR_SAML_STRUCTURE, "a Signature where none belongs");
    return true;
}

static bool check_elements(xmlNodePtr root, struct err *err)
{
    for (xmlNodePtr e = root; e; e = xml_walk(e, root))
        if (!check_protocol(e, root, err) || !check_foreign(e, err) || !check_signature(e, err)) return false;
    return true;
}

static bool is_assertion(const xmlNode *e)
{
    return xml_is(e, NS_ASSERTION, "Assertion") || xml_is(e, NS_ASSERTION, "EncryptedAssertion");
}

// CVE-2021-28091 and relatives: whoever reads another assertion than the one that was verified. With one in
// the whole document there is no other. (An assertion inside Advice, which the standard allows, is refused
// with the rest.)
static bool one_assertion(xmlNodePtr root, xmlNodePtr *ret, struct err *err)
{
    size_t n = 0;
    xmlNodePtr found = NULL;
    for (xmlNodePtr e = root; e; e = xml_walk(e, root))
        if (is_assertion(e)) {
            n++;
            found = e;
        }
    if (n != 1) return err_set(err, ERR_SAML_ASSERTION_COUNT, "%zu assertions, one is expected", n);
    *ret = found;
    return true;
}

bool structure_check_response(struct arena *a, xmlNodePtr root, const struct saml_client *client,
                              xmlNodePtr *ret_assertion, struct err *err)
{
    xmlNodePtr assertion = NULL;
    if (!xml_is(root, NS_PROTOCOL, "Response"))
        return err_set(err, ERR_SAML_STRUCTURE, "<%.60s> is not a SAML response", (const char *)root->name);
    if (!check_elements(root, err) || !xml_ids_unique(a, root, err) ||
        !algorithms_check(a, root, client, err) || !one_assertion(root, &assertion, err))
        return false;
    if (assertion->parent != root)
        return err_set(err, ERR_SAML_STRUCTURE, "the assertion is not a child of the response");
    *ret_assertion = assertion;
    return true;
}

bool structure_check_assertion(struct arena *a, xmlNodePtr root, const struct saml_client *client,
                               struct err *err)
{
    xmlNodePtr assertion = NULL;
    if (!xml_is(root, NS_ASSERTION, "Assertion"))
        return err_set(err, ERR_SAML_STRUCTURE, "<%.60s> is not an assertion", (const char *)root->name);
    return check_elements(root, err) && xml_ids_unique(a, root, err) &&
           algorithms_check(a, root, client, err) && one_assertion(root, &assertion, err);
}
