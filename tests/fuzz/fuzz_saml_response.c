// SPDX-License-Identifier: GPL-3.0-or-later
// The first byte chooses: the whole way (nothing may come out, since nobody can sign), or one of the parts
// behind the signature with the bytes as if they had been signed.
#include "saml/attributes.h"
#include "saml/claims.h"
#include "saml/decrypt.h"
#include "saml/names.h"
#include "saml/structure.h"
#include "saml_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void whole(struct arena *a, struct str bytes)
{
    struct saml_expect expect = { STR("_r"), FUZZ_NOW };
    struct saml_login login;
    struct err err = { 0 };
    rig_must(!saml_response_verify(a, &rig_sp, &rig_client, rig_idp, &expect, encode_base64(a, bytes), &login,
                                   &err));
    rig_must(err.code != ERR_NONE);
    (void)saml_response_verify(a, &rig_sp, &rig_client, rig_idp, &expect, bytes, &login, &err);
}

static void check_identity(const struct identity *id)
{
    rig_must(id->subject.n && str_is_utf8(id->subject, true));
    for (size_t i = 0; i < id->nclaims; i++)
        for (size_t k = 0; k < id->claims[i].values.n; k++)
            rig_must(str_is_utf8(id->claims[i].values.v[k], true));
}

static void behind_signature(struct arena *a, struct str bytes)
{
    struct err err = { 0 };
    xmlNodePtr assertion;
    struct saml_login login = { 0 };
    struct saml_expect expect = { STR("_r"), FUZZ_NOW };
    struct claims_context c = {
        a, &rig_client, &expect, STR("https://sp/"), STR("https://sp/saml/corp/acs"), STR("https://idp/")
    };
    xmlDocPtr doc = xml_parse(a, bytes, 1 << 17, &err);
    if (!doc) return;
    xmlNodePtr root = xmlDocGetRootElement(doc);
    (void)claims_check_status(a, root, &err);
    if (!structure_check_response(a, root, &rig_client, &assertion, &err)) return;
    (void)claims_check_response(&c, root, &err);
    (void)claims_check_assertion(&c, assertion, &login, &err);
    if (attributes_read(a, assertion, &rig_client, rig_sp.key_pem, &login.identity, &err))
        check_identity(&login.identity);
    if (xml_is(assertion, NS_ASSERTION, "EncryptedAssertion"))
        (void)decrypt_element(a, assertion, rig_sp.key_pem, &rig_client, &root, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    rig_start();
    struct arena *a = arena_new(FUZZ_ARENA);
    if (n && a) {
        struct str bytes = { (const char *)data + 1, n - 1 };
        (data[0] & 1 ? whole : behind_signature)(a, bytes);
    }
    arena_free(a);
    return 0;
}
