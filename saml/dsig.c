// SPDX-License-Identifier: GPL-3.0-or-later
#include "saml/dsig.h"

#include <string.h>
#include <xmlsec/openssl/crypto.h>
#include <xmlsec/transforms.h>
#include <xmlsec/xmldsig.h>

#include "base/limits.h"
#include "saml/algorithms.h"
#include "saml/names.h"

// --- the shape of the signature: everything xmlsec will interpret is checked by name before it does

static bool bad(struct err *err, const char *what)
{
    return err_set(err, ERR_SAML_SIGNATURE, "%s", what);
}

bool dsig_find(const xmlNode *element, xmlNodePtr *ret, struct err *err)
{
    xmlNodePtr sig = xml_child(element, NS_DSIG, "Signature");
    if (sig && xml_again(sig)) return bad(err, "an element with two signatures");
    *ret = sig;
    return true;
}

// xmldsig 4.1: SignedInfo, SignatureValue, KeyInfo?, Object*. An Object is a place to hide a document in:
// refused.
static bool check_signature_children(const xmlNode *sig, struct err *err)
{
    const xmlNode *info = xml_first(sig);
    const xmlNode *value = info ? xml_following(info) : NULL;
    const xmlNode *key = value ? xml_following(value) : NULL;
    if (!xml_is(info, NS_DSIG, "SignedInfo") || !xml_is(value, NS_DSIG, "SignatureValue"))
        return bad(err, "Signature is not SignedInfo and SignatureValue");
    if (key && (!xml_is(key, NS_DSIG, "KeyInfo") || xml_following(key)))
        return bad(err, "Signature holds something else than SignedInfo, SignatureValue and KeyInfo");
    return true;
}

// xmldsig 4.4: exactly one Reference (SAML core 5.4.2), nothing after it.
static bool check_signed_info(struct arena *a, const xmlNode *info, const struct saml_client *client,
                              const xmlNode **ret_reference, struct err *err)
{
    const xmlNode *c14n = xml_first(info);
    const xmlNode *method = c14n ? xml_following(c14n) : NULL;
    const xmlNode *ref = method ? xml_following(method) : NULL;
    if (!xml_is(c14n, NS_DSIG, "CanonicalizationMethod") || !xml_is(method, NS_DSIG, "SignatureMethod") ||
        !xml_is(ref, NS_DSIG, "Reference") || xml_following(ref))
        return bad(err, "SignedInfo must have one CanonicalizationMethod, SignatureMethod and Reference");
    // HMACOutputLength and the like: no parameters belong to the methods that are allowed.
    if (xml_first(method)) return bad(err, "SignatureMethod has parameters");
    *ret_reference = ref;
    return algorithm_of(a, c14n, ALG_USE_C14N, client, err) &&
           algorithm_of(a, method, ALG_USE_SIGNATURE, client, err);
}

static bool check_transform_children(const xmlNode *transform, struct err *err)
{
    for (const xmlNode *c = xml_first(transform); c; c = xml_following(c))
        if (!xml_is(c, NS_EXC_C14N, "InclusiveNamespaces")) return bad(err, "a Transform has parameters");
    return true;
}

// SAML core 5.4.4: enveloped-signature, then at most one canonicalisation.
static bool check_transforms(struct arena *a, const xmlNode *transforms, const struct saml_client *client,
                             struct err *err)
{
    size_t n = 0;
    if (!xml_is(transforms, NS_DSIG, "Transforms")) return bad(err, "Reference has no Transforms");
    for (const xmlNode *t = xml_first(transforms); t; t = xml_following(t), n++) {
        if (!xml_is(t, NS_DSIG, "Transform")) return bad(err, "Transforms holds something else");
        if (!algorithm_of(a, t, ALG_USE_TRANSFORM, client, err)) return false;
        bool enveloped = str_eq_c(xml_attr(a, t, "Algorithm"), ALG_ENVELOPED);
        if (enveloped != (n == 0))
            return bad(err, "Transforms are not enveloped-signature and one canonicalisation");
        if (!check_transform_children(t, err)) return false;
    }
    return n == 1 || n == 2 ? true
                            : bad(err, "Transforms are not enveloped-signature and one canonicalisation");
}

static bool is_ncname(struct str s)
{
    if (!s.n || (s.p[0] >= '0' && s.p[0] <= '9') || s.p[0] == '-' || s.p[0] == '.') return false;
    for (size_t i = 0; i < s.n; i++)
        if (!ascii_is_alnum(s.p[i]) && !strchr("_-.", s.p[i]) && !((uint8_t)s.p[i] & 0x80)) return false;
    return true;
}

// SAML core 5.4.2: the URI is '#' and the ID of the element that holds the signature. Anything else would be
// handed to an XPointer interpreter ("#xpointer(/*/*[1])") or to a file reader.
static bool check_uri(struct arena *a, const xmlNode *ref, struct str id, struct err *err)
{
    struct str uri = xml_attr(a, ref, "URI");
    if (!is_ncname(id)) return bad(err, "the signed element has no usable ID");
    if (!str_starts(uri, STR("#")) || !str_eq(str_skip(uri, 1), id))
        return bad(err, "the signature refers to another element than the one it stands in");
    return true;
}

static bool check_reference(struct arena *a, const xmlNode *ref, struct str id,
                            const struct saml_client *client, struct err *err)
{
    const xmlNode *transforms = xml_first(ref);
    const xmlNode *method = transforms ? xml_following(transforms) : NULL;
    const xmlNode *value = method ? xml_following(method) : NULL;
    if (!xml_is(method, NS_DSIG, "DigestMethod") || !xml_is(value, NS_DSIG, "DigestValue") ||
        xml_following(value))
        return bad(err, "Reference must have Transforms, DigestMethod and DigestValue");
    if (xml_first(method)) return bad(err, "DigestMethod has parameters");
    return check_uri(a, ref, id, err) && check_transforms(a, transforms, client, err) &&
           algorithm_of(a, method, ALG_USE_DIGEST, client, err);
}

static bool check_shape(struct arena *a, const xmlNode *sig, struct str id, const struct saml_client *client,
                        struct err *err)
{
    const xmlNode *ref = NULL;
    return check_signature_children(sig, err) && check_signed_info(a, xml_first(sig), client, &ref, err) &&
           check_reference(a, ref, id, client, err);
}

// --- the check itself

// Makes '#id' find this element. False when the document already gives that ID to another one.
static bool register_id(xmlNodePtr element, struct str id)
{
    xmlAttrPtr at = xml_attr_node(element, "ID");
    xmlAttrPtr known = xmlGetID(element->doc, BAD_CAST id.p);
    if (known) return known == at;
    return at && xmlAddID(NULL, element->doc, BAD_CAST id.p, at) != NULL;
}

static bool enable_reference(xmlSecDSigCtxPtr ctx, bool sha1)
{
    xmlSecTransformId ids[] = {
        xmlSecTransformEnvelopedId,     xmlSecTransformExclC14NId,      xmlSecTransformInclC14NId,
        xmlSecOpenSSLTransformSha256Id, xmlSecOpenSSLTransformSha384Id, xmlSecOpenSSLTransformSha512Id,
    };
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        if (xmlSecDSigCtxEnableReferenceTransform(ctx, ids[i]) < 0) return false;
    return !sha1 || xmlSecDSigCtxEnableReferenceTransform(ctx, xmlSecOpenSSLTransformSha1Id) == 0;
}

static bool enable_signature(xmlSecDSigCtxPtr ctx, bool sha1)
{
    xmlSecTransformId ids[] = {
        xmlSecTransformExclC14NId,           xmlSecTransformInclC14NId,
        xmlSecOpenSSLTransformRsaSha256Id,   xmlSecOpenSSLTransformRsaSha384Id,
        xmlSecOpenSSLTransformRsaSha512Id,   xmlSecOpenSSLTransformEcdsaSha256Id,
        xmlSecOpenSSLTransformEcdsaSha384Id, xmlSecOpenSSLTransformEcdsaSha512Id,
    };
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        if (xmlSecDSigCtxEnableSignatureTransform(ctx, ids[i]) < 0) return false;
    return !sha1 || xmlSecDSigCtxEnableSignatureTransform(ctx, xmlSecOpenSSLTransformRsaSha1Id) == 0;
}

static xmlSecDSigCtxPtr context_new(const struct signing_key *key, bool sha1)
{
    xmlSecDSigCtxPtr ctx = xmlSecDSigCtxCreate(NULL);
    if (!ctx) return NULL;
    ctx->flags = XMLSEC_DSIG_FLAGS_STORE_SIGNEDINFO_REFERENCES | XMLSEC_DSIG_FLAGS_IGNORE_MANIFESTS;
    ctx->enabledReferenceUris = xmlSecTransformUriTypeSameDocument;
    // The second wall behind check_shape: xmlsec itself knows nothing but these.
    if (!enable_reference(ctx, sha1) || !enable_signature(ctx, sha1)) {
        xmlSecDSigCtxDestroy(ctx);
        return NULL;
    }
    ctx->signKey = key->xmlsec; // with a key given, KeyInfo is not looked at
    return ctx;
}

// The octets that the one reference digested; absent when anything is not as it must be.
static struct str signed_octets(struct arena *a, xmlSecDSigCtxPtr ctx, struct str id)
{
    if (ctx->status != xmlSecDSigStatusSucceeded) return STR_NONE;
    if (xmlSecPtrListGetSize(&ctx->signedInfoReferences) != 1) return STR_NONE;
    xmlSecDSigReferenceCtxPtr ref = xmlSecPtrListGetItem(&ctx->signedInfoReferences, 0);
    if (!ref || ref->status != xmlSecDSigStatusSucceeded || !ref->uri || ref->uri[0] != '#' ||
        !str_eq_c(id, (const char *)ref->uri + 1))
        return STR_NONE;
    xmlSecBufferPtr buffer = xmlSecDSigReferenceCtxGetPreDigestBuffer(ref);
    if (!buffer || !xmlSecBufferGetData(buffer)) return STR_NONE;
    return arena_str(a,
                     (struct str){ (const char *)xmlSecBufferGetData(buffer), xmlSecBufferGetSize(buffer) });
}

static struct str verify_with(struct arena *a, xmlNodePtr sig, struct str id, const struct signing_key *key,
                              bool sha1)
{
    xmlSecDSigCtxPtr ctx = context_new(key, sha1);
    if (!ctx) return STR_NONE;
    struct str octets = xmlSecDSigCtxVerify(ctx, sig) == 0 ? signed_octets(a, ctx, id) : STR_NONE;
    ctx->signKey = NULL; // the key set owns it
    xmlSecDSigCtxDestroy(ctx);
    return octets;
}

// Several keys stand in the metadata while the provider changes from one to the next: each may have signed.
static struct str verify_with_any(struct arena *a, xmlNodePtr sig, struct str id, const struct key_set *keys,
                                  const struct saml_client *client, struct err *err)
{
    struct str octets = STR_NONE;
    const xmlNode *method = xml_child(xml_first(sig), NS_DSIG, "SignatureMethod");
    const struct algorithm *alg = algorithm_of(a, method, ALG_USE_SIGNATURE, client, err);
    for (size_t i = 0; alg && i < keys->n && !octets.p; i++)
        if (EVP_PKEY_get_base_id(keys->v[i].pkey) == alg->key_type)
            octets = verify_with(a, sig, id, &keys->v[i], client->allow_sha1);
    return octets;
}

// The signed document must be the element that we looked at, and nothing else.
static bool reparse(struct arena *a, const xmlNode *element, struct str octets, xmlNodePtr *ret,
                    struct err *err)
{
    xmlDocPtr doc = xml_parse(a, octets, LIMIT_SAML_METADATA_BYTES * 2, err);
    xmlNodePtr root = doc ? xmlDocGetRootElement(doc) : NULL;
    if (!root) return false;
    if (!element->ns || !xml_is(root, (const char *)element->ns->href, (const char *)element->name))
        return bad(err, "the signed octets are another element");
    *ret = root;
    return true;
}

bool dsig_verify(struct arena *a, xmlNodePtr element, const struct key_set *keys,
                 const struct saml_client *client, xmlNodePtr *ret_signed, struct err *err)
{
    xmlNodePtr sig = NULL;
    struct str id = xml_attr(a, element, "ID");
    if (!dsig_find(element, &sig, err)) return false;
    if (!sig) return err_set(err, ERR_SAML_UNSIGNED, "%s is not signed", (const char *)element->name);
    if (!check_shape(a, sig, id, client, err)) return false;
    if (!register_id(element, id)) return bad(err, "the ID of the signed element is not its own");
    struct str octets = verify_with_any(a, sig, id, keys, client, err);
    if (arena_failed(a)) return err_set(err, ERR_NO_MEMORY, "signature");
    if (!octets.p)
        return err_set(err, ERR_SAML_SIGNATURE,
                       "the signature of %s fits none of the %zu keys in the metadata",
                       (const char *)element->name, keys->n);
    return reparse(a, element, octets, ret_signed, err);
}
