// SPDX-License-Identifier: GPL-3.0-or-later
// What we tell identity providers about us. It lists what saml_response_verify accepts, from the same tables.
#include "base/url.h"
#include "saml/algorithms.h"
#include "saml/keys.h"
#include "saml/names.h"
#include "saml/saml.h"

enum { METADATA_MAX = 256 * 1024 };

struct str saml_acs_url(struct arena *a, const struct saml_sp *sp, struct str provider)
{
    return arena_printf(a, "%.*s/%.*s/acs", STR_FMT(sp->base_url), STR_FMT(provider));
}

static void add_encryption_methods(struct sbuf *b, enum alg_use use)
{
    const char *uri;
    for (size_t i = 0; (uri = algorithm_strong(use, i)); i++)
        sbuf_addf(b, "<md:EncryptionMethod Algorithm=\"%s\"/>", uri);
}

static void add_key(struct sbuf *b, const char *use, struct str certificate)
{
    sbuf_addf(b, "<md:KeyDescriptor use=\"%s\"><ds:KeyInfo xmlns:ds=\"" NS_DSIG "\"><ds:X509Data>", use);
    sbuf_add_c(b, "<ds:X509Certificate>");
    sbuf_add(b, certificate);
    sbuf_add_c(b, "</ds:X509Certificate></ds:X509Data></ds:KeyInfo>");
    if (str_eq_c(str_c(use), "encryption")) {
        add_encryption_methods(b, ALG_USE_DATA);
        add_encryption_methods(b, ALG_USE_KEY);
    }
    sbuf_add_c(b, "</md:KeyDescriptor>");
}

static void add_name_id_formats(struct sbuf *b)
{
    static const char *const formats[] = { SAML_FORMAT_PERSISTENT, SAML_FORMAT_TRANSIENT, SAML_FORMAT_EMAIL,
                                           SAML_FORMAT_UNSPECIFIED };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        sbuf_addf(b, "<md:NameIDFormat>%s</md:NameIDFormat>", formats[i]);
}

static void add_consumers(struct arena *a, struct sbuf *b, const struct saml_sp *sp)
{
    for (size_t i = 0; i < sp->providers.n; i++) {
        sbuf_add_c(b, "<md:AssertionConsumerService Binding=\"" SAML_BINDING_POST "\" Location=\"");
        sbuf_add(b, xml_escape(a, saml_acs_url(a, sp, sp->providers.v[i])));
        sbuf_addf(b, "\" index=\"%zu\"%s/>", i, i == 0 ? " isDefault=\"true\"" : "");
    }
}

// metadata 2.3.2.1: name, display name and URL, each with its language.
static bool add_organization(struct arena *a, struct sbuf *b, const struct saml_sp *sp, struct err *err)
{
    struct url u;
    if (!url_parse(a, sp->base_url, &u, err)) return false;
    struct str name = xml_escape(a, sp->organization.n ? sp->organization : u.host);
    static const char *const tags[] = { "OrganizationName", "OrganizationDisplayName", "OrganizationURL" };
    struct str texts[] = { name, name, xml_escape(a, url_origin(a, &u)) };
    sbuf_add_c(b, "<md:Organization>");
    for (size_t i = 0; i < 3; i++) {
        sbuf_addf(b, "<md:%s xml:lang=\"en\">", tags[i]);
        sbuf_add(b, texts[i]);
        sbuf_addf(b, "</md:%s>", tags[i]);
    }
    sbuf_add_c(b, "</md:Organization>");
    return true;
}

struct str saml_sp_metadata(struct arena *a, const struct saml_sp *sp, struct err *err)
{
    struct err why = { 0 };
    struct str certificate = keys_certificate_base64(a, sp->certificate_pem);
    struct sbuf b;
    sbuf_init(&b, a, METADATA_MAX);
    sbuf_add_c(&b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<md:EntityDescriptor xmlns:md=\"" NS_METADATA
                   "\" entityID=\"");
    sbuf_add(&b, xml_escape(a, sp->entity_id));
    sbuf_add_c(&b, "\"><md:SPSSODescriptor AuthnRequestsSigned=\"true\" WantAssertionsSigned=\"true\" "
                   "protocolSupportEnumeration=\"" NS_PROTOCOL "\">");
    add_key(&b, "signing", certificate);
    add_key(&b, "encryption", certificate);
    add_name_id_formats(&b);
    add_consumers(a, &b, sp);
    sbuf_add_c(&b, "</md:SPSSODescriptor>");
    bool ok = add_organization(a, &b, sp, &why);
    sbuf_add_c(&b, "</md:EntityDescriptor>\n");
    if (!certificate.p || !sp->entity_id.n || !sp->providers.n)
        err_set(&why, ERR_SAML_METADATA, "our own certificate, entity id or providers are missing");
    struct str text = sbuf_str(&b);
    if (ok && why.code == ERR_NONE && text.p && !arena_failed(a)) return text;
    if (arena_failed(a)) err_set(&why, ERR_SAML_METADATA, "no memory for our own metadata");
    err_set(err, ERR_SAML_METADATA, "%s", why.detail);
    return STR_NONE;
}
