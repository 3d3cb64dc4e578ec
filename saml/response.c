// SPDX-License-Identifier: GPL-3.0-or-later
// The order of the checks of a response. Lasso does not see it: it takes SHA-1, cannot do ECDSA, drops
// conditions that it does not understand, checks no audience, recipient or time, and dies of some unsigned
// input; a second opinion of that kind would only refuse good logins and add code to the path of hostile
// input.
#include <string.h>

#include "base/encode.h"
#include "base/limits.h"
#include "saml/attributes.h"
#include "saml/claims.h"
#include "saml/decrypt.h"
#include "saml/dsig.h"
#include "saml/idp.h"
#include "saml/names.h"
#include "saml/structure.h"

struct check {
    struct arena *arena;
    const struct saml_sp *sp;
    const struct saml_client *client;
    const struct saml_idp *idp;
};

// What may be read. Elements get here only through verified() and opened() below.
struct trusted {
    const xmlNode *response;  // signed when the response was, else only worth a further "no"
    const xmlNode *assertion; // signed, always
};

// bindings 3.5.4: base64, often in lines.
static bool decode(const struct check *c, struct str text, struct str *ret, struct err *err)
{
    if (text.n > 2 * (size_t)LIMIT_SAML_MESSAGE_BYTES)
        return err_set(err, ERR_TOO_LARGE, "a SAMLResponse of %zu bytes", text.n);
    if (decode_base64(c->arena, text, true, ret)) return true;
    if (arena_failed(c->arena)) return err_set(err, ERR_NO_MEMORY, "SAMLResponse");
    return err_set(err, ERR_SAML_ENCODING, "SAMLResponse is not base64");
}

static bool signature_of(const struct check *c, xmlNodePtr element, xmlNodePtr *ret_signed, struct err *err)
{
    return dsig_verify(c->arena, element, &c->idp->keys, c->client, ret_signed, err);
}

static bool is_signed(const xmlNode *element)
{
    return xml_child(element, NS_DSIG, "Signature") != NULL;
}

// A plain assertion: signed itself, or part of a signed response, or both (then both signatures must hold:
// one that is broken is never ignored).
static bool verified(const struct check *c, xmlNodePtr assertion, const xmlNode *signed_response,
                     struct trusted *t, struct err *err)
{
    xmlNodePtr own = NULL;
    if (is_signed(assertion)) {
        if (!signature_of(c, assertion, &own, err)) return false;
        t->assertion = own;
        return true;
    }
    if (!signed_response)
        return err_set(err, ERR_SAML_UNSIGNED, "neither the response nor the assertion is signed");
    t->assertion = xml_only(signed_response, NS_ASSERTION, "Assertion");
    return t->assertion ? true
                        : err_set(err, ERR_SAML_ASSERTION_COUNT, "the signed response has no assertion");
}

// An encrypted assertion: taken from the signed octets when the response is signed (nobody but the provider
// can have chosen this ciphertext), else it must be signed inside.
static bool opened(const struct check *c, xmlNodePtr encrypted, const xmlNode *signed_response,
                   struct trusted *t, struct err *err)
{
    xmlNodePtr plain = NULL;
    if (signed_response) encrypted = xml_only(signed_response, NS_ASSERTION, "EncryptedAssertion");
    if (!encrypted) return err_set(err, ERR_SAML_ASSERTION_COUNT, "the signed response has no assertion");
    if (!decrypt_element(c->arena, encrypted, c->sp->key_pem, c->client, &plain, err)) return false;
    if (!structure_check_assertion(c->arena, plain, c->client, err)) return false;
    if (is_signed(plain) || !signed_response) {
        xmlNodePtr own = NULL;
        if (!signature_of(c, plain, &own, err)) return false;
        plain = own;
    }
    t->assertion = plain;
    return true;
}

// Without a signature around the ciphertext anybody may send altered ones. Whether the padding, the XML or
// the signature inside was wrong must not be told apart by them.
static bool opened_quietly(const struct check *c, xmlNodePtr encrypted, const xmlNode *signed_response,
                           struct trusted *t, struct err *err)
{
    struct err why = { 0 };
    if (opened(c, encrypted, signed_response, t, &why)) return true;
    if (signed_response || why.code == ERR_NO_MEMORY) {
        *err = why;
        return false;
    }
    return err_set(err, ERR_SAML_DECRYPT, "%s: %.150s", err_name(why.code), why.detail);
}

// From bytes to elements that may be believed.
static bool establish(const struct check *c, struct str bytes, struct trusted *ret, struct err *err)
{
    xmlNodePtr assertion = NULL, signed_response = NULL;
    xmlDocPtr doc = xml_parse(c->arena, bytes, LIMIT_SAML_MESSAGE_BYTES, err);
    xmlNodePtr root = doc ? xmlDocGetRootElement(doc) : NULL;
    if (!root) return false;
    // A refusal by the provider holds no assertion; say so instead of counting.
    if (xml_is(root, NS_PROTOCOL, "Response") && !claims_check_status(c->arena, root, err)) return false;
    if (!structure_check_response(c->arena, root, c->client, &assertion, err)) return false;
    if (is_signed(root) && !signature_of(c, root, &signed_response, err)) return false;
    struct trusted t = { .response = signed_response ? signed_response : root };
    bool encrypted = xml_is(assertion, NS_ASSERTION, "EncryptedAssertion");
    if (!(encrypted ? opened_quietly : verified)(c, assertion, signed_response, &t, err)) return false;
    *ret = t;
    return true;
}

static bool check_claims(const struct check *c, const struct saml_expect *expect, const struct trusted *t,
                         struct saml_login *login, struct err *err)
{
    struct claims_context ctx = {
        .arena = c->arena,
        .client = c->client,
        .expect = expect,
        .sp_entity_id = c->sp->entity_id,
        .acs_url = saml_acs_url(c->arena, c->sp, c->client->provider),
        .idp_entity_id = c->idp->entity_id,
    };
    if (!ctx.acs_url.p) return err_set(err, ERR_NO_MEMORY, "ACS URL");
    return claims_check_status(c->arena, t->response, err) && claims_check_response(&ctx, t->response, err) &&
           claims_check_assertion(&ctx, t->assertion, login, err) &&
           attributes_read(c->arena, t->assertion, c->client, c->sp->key_pem, &login->identity, err);
}

bool saml_response_verify(struct arena *a, const struct saml_sp *sp, const struct saml_client *client,
                          const struct saml_idp *idp, const struct saml_expect *expect,
                          struct str saml_response, struct saml_login *ret, struct err *err)
{
    struct check c = { a, sp, client, idp };
    struct trusted t;
    struct str bytes;
    struct saml_login login = { 0 };
    if (!saml_idp_check_age(idp, expect->now, err) || !decode(&c, saml_response, &bytes, err) ||
        !establish(&c, bytes, &t, err) || !check_claims(&c, expect, &t, &login, err))
        return false;
    login.identity.provider = arena_str(a, client->provider);
    if (arena_failed(a)) return err_set(err, ERR_NO_MEMORY, "login");
    *ret = login;
    return true;
}
