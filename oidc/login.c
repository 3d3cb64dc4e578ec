// SPDX-License-Identifier: GPL-3.0-or-later
// From the token endpoint's answer to an identity.
#include "base/limits.h"
#include "oidc/claims.h"
#include "oidc/id_token.h"
#include "oidc/jose.h"
#include "oidc/json.h"
#include "oidc/oidc.h"

static bool is_visible_ascii(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7F) return false;
    return true;
}

// RFC 6749 section 5.2: `error` is what the endpoint says instead of tokens.
static bool check_no_error(const json_t *answer, struct err *err)
{
    const json_t *error = oidc_json_get(answer, "error");
    if (!error) return true;
    struct str code = oidc_json_str(error);
    if (!is_visible_ascii(code) || code.n > 64) code = STR("(malformed)");
    return err_set(err, ERR_OIDC_TOKEN_RESPONSE, "the token endpoint answered error '%.*s'", STR_FMT(code));
}

// RFC 6749 section 7.1: "The client MUST NOT use an access token if it does not understand the token type."
// OIDC 3.1.3.3: it is Bearer, compared without regard to case (RFC 6749 section 5.1).
static bool check_token_type(const json_t *answer, bool required, struct err *err)
{
    const json_t *type = oidc_json_get(answer, "token_type");
    if (!type && !required) return true;
    if (str_eq_nocase(oidc_json_str(type), STR("Bearer"))) return true;
    return err_set(err, ERR_OIDC_TOKEN_RESPONSE, "token_type is not Bearer");
}

// It travels in an Authorization header: a byte that could end the header line has no place in it.
static bool read_access_token(const json_t *answer, struct str *ret, struct err *err)
{
    const json_t *value = oidc_json_get(answer, "access_token");
    struct str token = oidc_json_str(value);
    if (value && (token.n == 0 || token.n > LIMIT_JWT_BYTES || !is_visible_ascii(token)))
        return err_set(err, ERR_OIDC_TOKEN_RESPONSE, "access_token is malformed");
    *ret = token;
    return true;
}

static bool read_tokens(struct arena *a, struct str text, struct oidc_tokens *ret, struct err *err)
{
    json_t *answer;
    struct oidc_tokens t = { 0 };
    if (!oidc_json_object(a, text, LIMIT_JSON_BYTES, ERR_OIDC_TOKEN_RESPONSE, &answer, err)) return false;
    if (!check_no_error(answer, err) || !read_access_token(answer, &t.access_token, err) ||
        !check_token_type(answer, t.access_token.p != NULL, err))
        return false;
    t.id_token = oidc_json_member(answer, "id_token");
    if (!t.id_token.n) return err_set(err, ERR_OIDC_TOKEN_RESPONSE, "there is no id_token");
    *ret = t;
    return true;
}

// OIDC 3.1.3.7 clause 6 first: not one claim is read before the signature is verified.
static bool read_claims(struct arena *a, const struct oidc_tokens *tokens, struct str jwks,
                        struct id_token *t, struct err *err)
{
    struct jws jws;
    struct str payload;
    json_t *claims;
    if (!jws_parse(a, tokens->id_token, t->client->algorithms, &jws, err) ||
        !jws_verify(a, &jws, jwks, &payload, err) ||
        !oidc_json_object(a, payload, LIMIT_JWT_BYTES, ERR_OIDC_ID_TOKEN, &claims, err))
        return false;
    t->alg = jws.alg;
    t->access_token = tokens->access_token;
    t->claims = claims;
    return id_token_check(t, err);
}

// The subject comes from the ID token alone, so that userinfo cannot make somebody another person.
static bool make_identity(struct arena *a, const struct id_token *t, struct identity *ret, struct err *err)
{
    struct claim_mapping m = claims_mapping(&t->client->mapping);
    struct claims c;
    if (!claims_from_json(a, t->claims, &m, CLAIMS_ID_TOKEN, &c, err)) return false;
    struct identity id = { .claims = c.v, .nclaims = c.n, .groups_overage = c.groups_overage };
    id.provider = arena_str(a, t->client->provider);
    id.subject = claims_first(&id, m.subject);
    id.auth_time = id_token_auth_time(t);
    if (!id.subject.p) return err_set(err, ERR_OIDC_SUBJECT, "none of the claims for the subject is there");
    if (!claims_map(a, &m, t->client->trust_email, &id, err)) return false;
    if (arena_failed(a)) return err_set(err, ERR_NO_MEMORY, "making an identity");
    *ret = id;
    return true;
}

bool oidc_login_verify(struct arena *a, const struct oidc_client *client, const struct oidc_expect *expect,
                       struct str token_response, struct str jwks, struct identity *ret_identity,
                       struct oidc_tokens *ret_tokens, struct err *err)
{
    struct oidc_tokens tokens;
    struct identity id;
    struct id_token t = { .arena = a, .client = client, .expect = expect };
    if (!read_tokens(a, token_response, &tokens, err) || !read_claims(a, &tokens, jwks, &t, err) ||
        !make_identity(a, &t, &id, err))
        return false;
    *ret_identity = id;
    *ret_tokens = tokens;
    return true;
}
