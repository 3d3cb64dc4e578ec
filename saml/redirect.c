// SPDX-License-Identifier: GPL-3.0-or-later
// Signed messages in a query (bindings 3.4.4.1). The octets that are verified are the octets that are read:
// lasso's parser could be told to verify one message and to process another (`&%53AMLRequest=`), so it does
// not take part.
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <string.h>
#include <zlib.h>

#include "base/encode.h"
#include "base/limits.h"
#include "saml/algorithms.h"
#include "saml/idp.h"
#include "saml/names.h"

enum part {
    PART_REQUEST,
    PART_RESPONSE,
    PART_RELAY_STATE,
    PART_SIG_ALG,
    PART_SIGNATURE,
    PART_ENCODING,
    PARTS
};
static const char *const part_names[PARTS] = { "SAMLRequest", "SAMLResponse", "RelayState",
                                               "SigAlg",      "Signature",    "SAMLEncoding" };
#define ENCODING_DEFLATE "urn:oasis:names:tc:SAML:2.0:bindings:URL-Encoding:DEFLATE"

struct query {
    struct str raw[PARTS]; // still percent-encoded, as they were signed; absent when not there
};

static bool bad(struct err *err, const char *what)
{
    return err_set(err, ERR_SAML_REDIRECT_QUERY, "%s", what);
}

// Each of our parameters at most once and in its plain spelling. A name with an escape could be one of ours
// in disguise.
static bool add_parameter(struct query *q, struct str pair, struct err *err)
{
    size_t eq = str_find(pair, '=');
    struct str name = str_take(pair, eq);
    if (str_find(name, '%') < name.n || str_find(name, '+') < name.n)
        return bad(err, "a parameter name with an escape");
    for (size_t i = 0; i < PARTS; i++) {
        if (!str_eq_c(name, part_names[i])) continue;
        if (q->raw[i].p || eq == pair.n)
            return err_set(err, ERR_SAML_REDIRECT_QUERY, "%s twice or without a value", part_names[i]);
        q->raw[i] = str_skip(pair, eq + 1);
    }
    return true;
}

static bool split(struct str query, struct query *q, struct err *err)
{
    struct str pair;
    // ';' separates parameters for some readers.
    if (str_find(query, ';') < query.n) return bad(err, "a ';' in the query");
    while (str_cut(&query, '&', &pair))
        if (pair.n && !add_parameter(q, pair, err)) return false;
    if (!q->raw[PART_REQUEST].p == !q->raw[PART_RESPONSE].p)
        return bad(err, "there must be one of SAMLRequest and SAMLResponse");
    if (!q->raw[PART_SIG_ALG].p || !q->raw[PART_SIGNATURE].p)
        return err_set(err, ERR_SAML_UNSIGNED, "the message is not signed");
    return true;
}

static bool unescape(struct arena *a, struct str raw, struct str *ret, struct err *err)
{
    if (decode_percent(a, raw, true, ret)) return true;
    return arena_failed(a) ? err_set(err, ERR_NO_MEMORY, "query") : bad(err, "a malformed escape");
}

static bool unbase64(struct arena *a, struct str raw, struct str *ret, struct err *err)
{
    struct str text;
    if (!unescape(a, raw, &text, err)) return false;
    if (decode_base64(a, text, true, ret)) return true;
    return arena_failed(a) ? err_set(err, ERR_NO_MEMORY, "query") : bad(err, "a value is not base64");
}

// --- signature

// "the original URL-encoded values", in this order, whatever order they came in.
static struct str signed_octets(struct arena *a, const struct query *q)
{
    static const enum part order[] = { PART_REQUEST, PART_RESPONSE, PART_RELAY_STATE, PART_SIG_ALG };
    struct sbuf b;
    sbuf_init(&b, a, SIZE_MAX / 4);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        if (!q->raw[order[i]].p) continue;
        sbuf_addf(&b, "%s%s=", b.n ? "&" : "", part_names[order[i]]);
        sbuf_add(&b, q->raw[order[i]]);
    }
    return sbuf_str(&b);
}

// xmldsig-core1 6.4.3 writes r and s side by side, each as long as the field; what has that length is that.
// Some products send DER instead, of any other length.
static bool ecdsa_to_der(struct arena *a, EVP_PKEY *key, struct str sig, struct str *ret)
{
    size_t half = ((size_t)EVP_PKEY_get_bits(key) + 7) / 8;
    const unsigned char *p = (const unsigned char *)sig.p;
    if (sig.n != 2 * half) {
        *ret = sig; // OpenSSL accepts DER in its one canonical spelling only
        return true;
    }
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(p, (int)half, NULL), *s = BN_bin2bn(p + half, (int)half, NULL);
    if (!pair || !r || !s || ECDSA_SIG_set0(pair, r, s) != 1) {
        BN_free(r);
        BN_free(s);
        ECDSA_SIG_free(pair);
        return false;
    }
    unsigned char *out = arena_alloc(a, 2 * half + 16), *end = out;
    int n = out ? i2d_ECDSA_SIG(pair, &end) : 0;
    ECDSA_SIG_free(pair);
    *ret = (struct str){ (char *)out, n > 0 ? (size_t)n : 0 };
    return n > 0;
}

static bool verify_with(struct arena *a, EVP_PKEY *key, const struct algorithm *alg, struct str octets,
                        struct str sig)
{
    if (EVP_PKEY_get_base_id(key) != alg->key_type) return false;
    if (alg->key_type == EVP_PKEY_EC && !ecdsa_to_der(a, key, sig, &sig)) return false;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestVerifyInit_ex(ctx, NULL, alg->digest, NULL, NULL, key, NULL) == 1 &&
              EVP_DigestVerify(ctx, (const unsigned char *)sig.p, sig.n, (const unsigned char *)octets.p,
                               octets.n) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

static bool check_signature(struct arena *a, const struct query *q, const struct saml_client *client,
                            const struct saml_idp *idp, struct err *err)
{
    struct str uri, sig, octets = signed_octets(a, q);
    if (!unescape(a, q->raw[PART_SIG_ALG], &uri, err) || !unbase64(a, q->raw[PART_SIGNATURE], &sig, err))
        return false;
    const struct algorithm *alg = algorithm_find(ALG_USE_SIGNATURE, uri, client);
    if (!alg) return err_set(err, ERR_SAML_ALGORITHM, "SigAlg '%.*s' is not allowed", STR_FMT(uri));
    if (!octets.p) return err_set(err, ERR_NO_MEMORY, "query");
    for (size_t i = 0; i < idp->keys.n; i++)
        if (verify_with(a, idp->keys.v[i].pkey, alg, octets, sig)) return true;
    return err_set(err, ERR_SAML_SIGNATURE,
                   "the signature of the query fits none of the %zu keys in the metadata", idp->keys.n);
}

// --- message

// RFC 1951 without any header; 1000 bytes can become a megabyte, so there is an end to it.
static bool inflate_capped(struct arena *a, struct str box, struct str *ret, struct err *err)
{
    z_stream z = { 0 };
    char *out = arena_alloc(a, LIMIT_SAML_MESSAGE_BYTES + 1);
    if (!out || inflateInit2(&z, -MAX_WBITS) != Z_OK) return err_set(err, ERR_NO_MEMORY, "inflate");
    z.next_in = (unsigned char *)(uintptr_t)box.p;
    z.avail_in = (uInt)box.n;
    z.next_out = (unsigned char *)out;
    z.avail_out = LIMIT_SAML_MESSAGE_BYTES + 1;
    int rc = inflate(&z, Z_FINISH);
    size_t n = z.total_out, left = z.avail_in;
    inflateEnd(&z);
    if (n > LIMIT_SAML_MESSAGE_BYTES) return err_set(err, ERR_TOO_LARGE, "the message inflates too far");
    if (rc != Z_STREAM_END || left) return bad(err, "the message is not deflated, or followed by something");
    *ret = (struct str){ out, n };
    return true;
}

static bool read_message(struct arena *a, const struct query *q, struct saml_redirect *r, struct err *err)
{
    struct str box, encoding;
    r->is_response = q->raw[PART_RESPONSE].p != NULL;
    if (q->raw[PART_ENCODING].p) {
        if (!unescape(a, q->raw[PART_ENCODING], &encoding, err)) return false;
        if (!str_eq_c(encoding, ENCODING_DEFLATE)) return bad(err, "an unknown SAMLEncoding");
    }
    if (q->raw[PART_RELAY_STATE].p && !unescape(a, q->raw[PART_RELAY_STATE], &r->relay_state, err))
        return false;
    if (!unbase64(a, q->raw[r->is_response ? PART_RESPONSE : PART_REQUEST], &box, err) ||
        !inflate_capped(a, box, &r->message, err))
        return false;
    if (memchr(r->message.p, 0, r->message.n) || !str_is_utf8(r->message, false))
        return err_set(err, ERR_SAML_ENCODING, "the message is not UTF-8");
    return true;
}

bool saml_redirect_verify(struct arena *a, struct str query, const struct saml_client *client,
                          const struct saml_idp *idp, struct saml_redirect *ret, struct err *err)
{
    struct query q = { 0 };
    struct saml_redirect r = { 0 };
    if (query.n > 2 * (size_t)LIMIT_SAML_MESSAGE_BYTES)
        return err_set(err, ERR_TOO_LARGE, "a query of %zu bytes", query.n);
    // Nothing is inflated before its signature is known to be good.
    if (!split(query, &q, err) || !check_signature(a, &q, client, idp, err) || !read_message(a, &q, &r, err))
        return false;
    *ret = r;
    return true;
}
