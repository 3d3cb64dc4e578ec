// SPDX-License-Identifier: GPL-3.0-or-later
#include "oidc/id_token.h"

#include <openssl/evp.h>

#include "base/crypto.h"
#include "base/encode.h"
#include "base/limits.h"
#include "oidc/json.h"

enum { SUBJECT_MAX_BYTES = 255 };
static const double latest_date = 4102444800.0; // 2100-01-01T00:00:00Z

// Clause 2: "The Issuer Identifier for the OpenID Provider MUST exactly match the value of the iss (issuer)
// Claim."
static bool check_issuer(const struct id_token *t, struct err *err)
{
    struct str iss = oidc_json_member(t->claims, "iss");
    if (iss.n && str_eq(iss, t->client->issuer)) return true;
    return err_set(err, ERR_OIDC_ISSUER, "iss is '%.*s', expected '%.*s'", STR_FMT(iss),
                   STR_FMT(t->client->issuer));
}

static bool all_strings(const json_t *array)
{
    for (size_t i = 0; i < json_array_size(array); i++)
        if (!json_is_string(json_array_get(array, i))) return false;
    return true;
}

// Clause 3: "The Client MUST validate that the aud (audience) Claim contains its client_id value"; one string
// or an array of strings (section 2).
static bool check_audience(const struct id_token *t, struct err *err)
{
    const json_t *aud = json_object_get(t->claims, "aud");
    struct str us = t->client->client_id;
    bool one = us.n && json_is_string(aud) && str_eq(oidc_json_str(aud), us);
    bool several = us.n && json_is_array(aud) && all_strings(aud) && oidc_json_array_has(aud, us);
    if (one || several) return true;
    return err_set(err, ERR_OIDC_AUDIENCE, "aud does not contain our client_id");
}

// Clauses 4 and 5: with several audiences azp must be there; where it is, it must be us. Otherwise a token
// that another client obtained, with us among the audiences, would log its user in here.
static bool check_azp(const struct id_token *t, struct err *err)
{
    const json_t *azp = json_object_get(t->claims, "azp");
    bool several = json_array_size(json_object_get(t->claims, "aud")) > 1;
    if (!azp && !several) return true;
    if (!azp) return err_set(err, ERR_OIDC_AZP, "several audiences, but no azp");
    if (str_eq(oidc_json_str(azp), t->client->client_id)) return true;
    return err_set(err, ERR_OIDC_AZP, "azp is '%.*s'", STR_FMT(oidc_json_str(azp)));
}

// RFC 7519 section 2, NumericDate: seconds, fractions allowed. Far dates are no dates: 1e300 must not mean
// `for ever`.
static bool numeric_date(const json_t *value, double *ret)
{
    if (!json_is_number(value)) return false;
    double seconds = json_number_value(value);
    if (!(seconds >= 0 && seconds <= latest_date)) return false;
    *ret = seconds;
    return true;
}

static bool required_date(const struct id_token *t, const char *name, double *ret, struct err *err)
{
    const json_t *value = json_object_get(t->claims, name);
    if (!value) return err_set(err, ERR_OIDC_TIME, "there is no %s", name);
    if (numeric_date(value, ret)) return true;
    return err_set(err, ERR_OIDC_TIME, "%s is not a date between 1970 and 2100", name);
}

static bool not_in_future(const struct id_token *t, const char *name, double seconds, struct err *err)
{
    if (seconds <= (double)t->expect->now + (double)t->client->clock_skew) return true;
    return err_set(err, ERR_OIDC_TIME, "%s is %.0f seconds ahead of our clock", name,
                   seconds - (double)t->expect->now);
}

// Clause 9: "The current time MUST be before the time represented by the exp Claim."
static bool check_expiry(const struct id_token *t, struct err *err)
{
    double exp = 0;
    if (!required_date(t, "exp", &exp, err)) return false;
    if ((double)t->expect->now - (double)t->client->clock_skew < exp) return true;
    return err_set(err, ERR_OIDC_EXPIRED, "it expired %.0f seconds ago", (double)t->expect->now - exp);
}

// Section 2: iat is required; clause 10: it may be used to reject tokens issued too far from the current
// time.
static bool check_issued_at(const struct id_token *t, struct err *err)
{
    double iat = 0;
    return required_date(t, "iat", &iat, err) && not_in_future(t, "iat", iat, err);
}

// RFC 7519 section 4.1.5: "the current date/time MUST be after or equal to the not-before date/time".
static bool check_not_before(const struct id_token *t, struct err *err)
{
    double nbf = 0;
    if (!json_object_get(t->claims, "nbf")) return true;
    return required_date(t, "nbf", &nbf, err) && not_in_future(t, "nbf", nbf, err);
}

// Section 2, auth_time: optional, a number. A time in the future would make every login look fresh.
static bool check_auth_time(const struct id_token *t, struct err *err)
{
    double auth_time = 0;
    if (!oidc_json_get(t->claims, "auth_time")) return true;
    return required_date(t, "auth_time", &auth_time, err) && not_in_future(t, "auth_time", auth_time, err);
}

// Clause 11: "a nonce Claim MUST be present and its value checked to verify that it is the same value".
static bool check_nonce(const struct id_token *t, struct err *err)
{
    struct str nonce = oidc_json_member(t->claims, "nonce"), want = t->expect->nonce;
    if (want.n && nonce.n == want.n && crypto_equal(nonce.p, want.p, want.n)) return true;
    return err_set(err, ERR_OIDC_NONCE, nonce.p ? "nonce is not ours" : "there is no nonce");
}

// Section 3.1.3.6: base64url of the left half of the hash of the access token's octets, with the hash of
// `alg`.
static struct str at_hash_of(const struct id_token *t)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    size_t n = 0;
    if (EVP_Q_digest(NULL, t->alg->digest, NULL, t->access_token.p, t->access_token.n, digest, &n) != 1)
        return STR_NONE;
    return encode_base64url(t->arena, (struct str){ (char *)digest, n / 2 });
}

// Section 3.1.3.8: an at_hash that is there binds the access token to this ID token.
static bool check_at_hash(const struct id_token *t, struct err *err)
{
    const json_t *at_hash = json_object_get(t->claims, "at_hash");
    if (!at_hash) return true;
    if (!t->access_token.n) return err_set(err, ERR_OIDC_AT_HASH, "at_hash, but no access token");
    struct str given = oidc_json_str(at_hash), want = at_hash_of(t);
    if (!want.p) return err_set(err, ERR_NO_MEMORY, "computing at_hash");
    if (given.n == want.n && crypto_equal(given.p, want.p, want.n)) return true;
    return err_set(err, ERR_OIDC_AT_HASH, "at_hash is not that of the access token");
}

// Section 2: sub is required, a string of at most 255 characters.
static bool check_subject(const struct id_token *t, struct err *err)
{
    struct str sub = oidc_json_member(t->claims, "sub");
    if (sub.n == 0) return err_set(err, ERR_OIDC_SUBJECT, "sub is missing, empty or not a string");
    if (sub.n > SUBJECT_MAX_BYTES) return err_set(err, ERR_OIDC_SUBJECT, "sub has %zu bytes", sub.n);
    if (str_is_utf8(sub, true)) return true;
    return err_set(err, ERR_OIDC_SUBJECT, "sub has control characters");
}

bool id_token_check(const struct id_token *t, struct err *err)
{
    static bool (*const clauses[])(const struct id_token *, struct err *) = {
        check_issuer,     check_audience,  check_azp,   check_expiry,  check_issued_at,
        check_not_before, check_auth_time, check_nonce, check_at_hash, check_subject,
    };
    for (size_t i = 0; i < sizeof clauses / sizeof *clauses; i++)
        if (!clauses[i](t, err)) return false;
    return true;
}

int64_t id_token_auth_time(const struct id_token *t)
{
    double seconds = 0;
    if (!numeric_date(json_object_get(t->claims, "auth_time"), &seconds))
        (void)numeric_date(json_object_get(t->claims, "iat"), &seconds);
    return (int64_t)seconds;
}
