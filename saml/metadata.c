// SPDX-License-Identifier: GPL-3.0-or-later
// Metadata of an identity provider (saml-metadata-2.0-os): which entity, how long, which keys, where to send
// people.
#include <string.h>

#include "base/encode.h"
#include "base/limits.h"
#include "base/url.h"
#include "saml/dsig.h"
#include "saml/idp.h"
#include "saml/names.h"
#include "saml/timestamp.h"

enum { ENTITY_ID_MAX = 1024 }; // metadata 2.2.1

struct reader {
    struct arena *arena;
    const struct saml_client *client;
    int64_t now;
};

static bool bad(struct err *err, const char *what)
{
    return err_set(err, ERR_SAML_METADATA, "%s", what);
}

// --- which entity

// With a certificate configured, only what it signed is read.
static bool check_signature(const struct reader *r, xmlNodePtr *root, struct err *err)
{
    struct str pem = r->client->metadata_certificate_pem;
    struct key_set *keys = arena_alloc(r->arena, sizeof *keys);
    struct err why = { 0 };
    if (!pem.p) return true;
    if (!keys) return err_set(err, ERR_NO_MEMORY, "metadata");
    if (keys_add_pem(r->arena, keys, pem, &why) && dsig_verify(r->arena, *root, keys, r->client, root, &why))
        return true;
    if (why.code == ERR_NO_MEMORY) {
        *err = why;
        return false;
    }
    return err_set(err, ERR_SAML_METADATA_SIGNATURE, "%s", why.detail);
}

static const xmlNode *sso_role(struct arena *a, const xmlNode *entity)
{
    for (const xmlNode *role = xml_child(entity, NS_METADATA, "IDPSSODescriptor"); role;
         role = xml_again(role)) {
        struct str protocols = xml_attr(a, role, "protocolSupportEnumeration"), one;
        while (str_cut(&protocols, ' ', &one))
            if (str_eq_c(xml_trim(one), NS_PROTOCOL)) return role;
    }
    return NULL;
}

// The configured entity, or the only one that is an identity provider.
static bool wanted(const struct reader *r, const xmlNode *e)
{
    if (!xml_is(e, NS_METADATA, "EntityDescriptor") || !sso_role(r->arena, e)) return false;
    return !r->client->entity_id.p || str_eq(xml_attr(r->arena, e, "entityID"), r->client->entity_id);
}

static bool find_entity(const struct reader *r, xmlNodePtr root, const xmlNode **ret, struct err *err)
{
    size_t n = 0;
    if (!xml_is(root, NS_METADATA, "EntityDescriptor") && !xml_is(root, NS_METADATA, "EntitiesDescriptor"))
        return err_set(err, ERR_SAML_METADATA, "<%.60s> is not SAML metadata", (const char *)root->name);
    // Only through EntitiesDescriptor: an entity inside some extension is not one.
    for (xmlNodePtr e = root; e; e = xml_walk(e, root)) {
        bool listed = e == root || xml_is(e->parent, NS_METADATA, "EntitiesDescriptor");
        if (!listed || !wanted(r, e)) continue;
        *ret = e;
        n++;
    }
    if (n == 1) return true;
    if (r->client->entity_id.p)
        return err_set(err, ERR_SAML_METADATA, "%zu identity providers '%.*s' in the metadata", n,
                       STR_FMT(r->client->entity_id));
    return err_set(err, ERR_SAML_METADATA, "%zu identity providers in the metadata; configure entity_id", n);
}

// --- how long

// metadata 2.3.1, 2.3.2, 2.4.1: validUntil of the role, the entity and every group around it.
static bool check_valid_until(const struct reader *r, const xmlNode *role, int64_t *ret, struct err *err)
{
    int64_t until = 0;
    for (const xmlNode *n = role; n && n->type == XML_ELEMENT_NODE; n = n->parent) {
        int64_t t;
        struct str text = xml_attr(r->arena, n, "validUntil");
        if (!text.p) continue;
        if (!timestamp_parse(xml_trim(text), &t))
            return err_set(err, ERR_SAML_METADATA, "validUntil is '%.*s'", STR_FMT(text));
        if (t <= r->now)
            return err_set(err, ERR_SAML_METADATA_EXPIRED, "the metadata was valid until %.*s",
                           STR_FMT(text));
        if (until == 0 || t < until) until = t;
    }
    *ret = until;
    return true;
}

bool saml_idp_check_age(const struct saml_idp *idp, int64_t now, struct err *err)
{
    if (idp->valid_until == 0 || now < idp->valid_until) return true;
    return err_set(err, ERR_SAML_METADATA_EXPIRED, "the metadata of '%.*s' has expired",
                   STR_FMT(idp->entity_id));
}

// --- which keys

// The first certificate of each X509Data is the key; others are its issuers, which sign no assertions.
static bool add_certificates(const struct reader *r, const xmlNode *descriptor, struct key_set *keys,
                             struct err *err)
{
    const xmlNode *info = xml_only(descriptor, NS_DSIG, "KeyInfo");
    for (const xmlNode *x = xml_child(info, NS_DSIG, "X509Data"); x; x = xml_again(x)) {
        struct str der, text = xml_value(r->arena, xml_child(x, NS_DSIG, "X509Certificate"));
        if (!text.p) continue;
        if (!decode_base64(r->arena, text, true, &der)) return bad(err, "a certificate is not base64");
        if (!keys_add_certificate(r->arena, keys, der, err)) return false;
    }
    return true;
}

// metadata 2.4.1.1: use="signing", or without `use` for both. Keys of other roles of the entity do not count:
// its service provider's key must not sign assertions.
static bool collect_keys(const struct reader *r, const xmlNode *role, struct key_set *keys, struct err *err)
{
    for (const xmlNode *k = xml_child(role, NS_METADATA, "KeyDescriptor"); k; k = xml_again(k)) {
        struct str use = xml_attr(r->arena, k, "use");
        if (use.p && !str_eq_c(use, "signing")) continue;
        if (!add_certificates(r, k, keys, err)) return false;
    }
    if (arena_failed(r->arena)) return err_set(err, ERR_NO_MEMORY, "metadata");
    return keys->n ? true : bad(err, "no usable signing key (RSA from 2048 bits, P-256, P-384, P-521)");
}

// --- where to

static bool is_loopback(const struct url *u)
{
    return str_eq_c(u->host, "localhost") || str_eq_c(u->host, "127.0.0.1") || str_eq_c(u->host, "::1");
}

// metadata 2.4.3, bindings 3.4: people's browsers are sent there, so only by https.
static bool find_sso_url(const struct reader *r, const xmlNode *role, struct str *ret, struct err *err)
{
    struct err ignored = { 0 };
    for (const xmlNode *s = xml_child(role, NS_METADATA, "SingleSignOnService"); s; s = xml_again(s)) {
        struct str location = xml_attr(r->arena, s, "Location");
        struct url u;
        if (!str_eq_c(xml_attr(r->arena, s, "Binding"), SAML_BINDING_REDIRECT)) continue;
        if (location.n > LIMIT_URL_BYTES || !url_parse(r->arena, location, &u, &ignored) || u.fragment.p)
            continue;
        if (!u.https && !is_loopback(&u)) continue;
        *ret = location;
        return true;
    }
    return bad(err, "no SingleSignOnService with HTTP-Redirect at an https URL");
}

// --- all of it

static bool read_entity(const struct reader *r, const xmlNode *entity, struct saml_idp *idp, struct err *err)
{
    const xmlNode *role = sso_role(r->arena, entity);
    idp->entity_id = xml_attr(r->arena, entity, "entityID");
    if (idp->entity_id.n == 0 || idp->entity_id.n > ENTITY_ID_MAX || !str_is_utf8(idp->entity_id, true))
        return bad(err, "the entityID is not usable");
    return check_valid_until(r, role, &idp->valid_until, err) && collect_keys(r, role, &idp->keys, err) &&
           find_sso_url(r, role, &idp->sso_redirect_url, err);
}

static bool read_document(const struct reader *r, struct str xml, struct saml_idp *idp, struct err *err)
{
    const xmlNode *entity = NULL;
    xmlDocPtr doc = xml_parse(r->arena, xml, LIMIT_SAML_METADATA_BYTES, err);
    xmlNodePtr root = doc ? xmlDocGetRootElement(doc) : NULL;
    return root && xml_ids_unique(r->arena, root, err) && check_signature(r, &root, err) &&
           find_entity(r, root, &entity, err) && read_entity(r, entity, idp, err);
}

// Causes inside the document are all "metadata" to the outside; the detail says which.
static bool as_metadata_error(const struct err *why, struct err *err)
{
    bool own = why->code == ERR_NO_MEMORY || why->code == ERR_SAML_METADATA_EXPIRED ||
               why->code == ERR_SAML_METADATA_SIGNATURE || why->code == ERR_TOO_LARGE;
    return err_set(err, own ? why->code : ERR_SAML_METADATA, "%s", why->detail);
}

bool saml_idp_parse(struct arena *a, struct str xml, const struct saml_client *client, int64_t now,
                    struct saml_idp **ret, struct saml_idp_info *ret_info, struct err *err)
{
    struct reader r = { a, client, now };
    struct err why = { 0 };
    struct saml_idp *idp = arena_alloc(a, sizeof *idp);
    if (!idp || !(idp->lasso = lasso_cache_new(a))) return err_set(err, ERR_NO_MEMORY, "metadata");
    if (!read_document(&r, xml, idp, &why)) return as_metadata_error(&why, err);
    if (arena_failed(a)) return err_set(err, ERR_NO_MEMORY, "metadata");
    *ret_info =
        (struct saml_idp_info){ idp->entity_id, idp->sso_redirect_url, idp->valid_until, idp->keys.n };
    *ret = idp;
    return true;
}
