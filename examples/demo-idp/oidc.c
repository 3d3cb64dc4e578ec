// SPDX-License-Identifier: GPL-3.0-or-later
// The OpenID Connect half: discovery, JWKS, authorization code flow with PKCE S256, userinfo. ID tokens are
// signed with cjose.
#include <cjose/cjose.h>
#include <jansson.h>
#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/crypto.h"
#include "base/encode.h"
#include "base/url.h"
#include "examples/demo-idp/idp.h"

enum { CODES = 64, CODE_BYTES = 24, CODE_SECONDS = 60, TOKEN_SECONDS = 300 };

// A code, or (once it was exchanged) an access token. The oldest is overwritten.
static struct grant {
    char code[40], access_token[40];
    const struct demo_user *user;
    char nonce[128], challenge[64];
    time_t at;
} grants[CODES];
static unsigned next_grant;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static cjose_jwk_t *signing_key;
static struct str public_jwk;

static bool random_text(char *out, size_t room)
{
    uint8_t bytes[CODE_BYTES];
    struct arena *a = arena_new(4096);
    bool ok = a && RAND_bytes(bytes, sizeof bytes) == 1;
    if (ok) {
        struct str text = encode_base64url(a, (struct str){ (char *)bytes, sizeof bytes });
        snprintf(out, room, "%.*s", STR_FMT(text));
    }
    arena_free(a);
    return ok;
}

static bool rsa_numbers(EVP_PKEY *key, cjose_jwk_rsa_keyspec *spec)
{
    static const char *const names[] = { OSSL_PKEY_PARAM_RSA_N, OSSL_PKEY_PARAM_RSA_E, OSSL_PKEY_PARAM_RSA_D,
                                         OSSL_PKEY_PARAM_RSA_FACTOR1, OSSL_PKEY_PARAM_RSA_FACTOR2 };
    uint8_t **to[] = { &spec->n, &spec->e, &spec->d, &spec->p, &spec->q };
    size_t *n[] = { &spec->nlen, &spec->elen, &spec->dlen, &spec->plen, &spec->qlen };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        BIGNUM *number = NULL;
        if (EVP_PKEY_get_bn_param(key, names[i], &number) != 1) return false;
        *n[i] = (size_t)BN_num_bytes(number);
        *to[i] = malloc(*n[i]);
        if (!*to[i]) return false;
        BN_bn2bin(number, *to[i]);
        BN_clear_free(number);
    }
    return true;
}

bool demo_oidc_init(EVP_PKEY *key)
{
    cjose_jwk_rsa_keyspec spec = { 0 };
    cjose_err err = { 0 };
    if (!rsa_numbers(key, &spec)) return false;
    signing_key = cjose_jwk_create_RSA_spec(&spec, &err);
    if (!signing_key || !cjose_jwk_set_kid(signing_key, "demo", 4, &err)) return false;
    char *json = cjose_jwk_to_json(signing_key, false, &err);
    public_jwk = str_c(json);
    return json != NULL;
}

static void json_answer(const struct demo_request *r, struct demo_answer *ret, unsigned status, json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);
    json_decref(value);
    ret->status = status;
    ret->content_type = "application/json";
    ret->body = arena_str_c(r->arena, text);
    free(text);
}

static void discovery(const struct demo_request *r, struct demo_answer *ret)
{
    const char *b = demo_options.base;
    struct str authorize = arena_printf(r->arena, "%s/oidc/authorize", b),
               token = arena_printf(r->arena, "%s/oidc/token", b),
               jwks = arena_printf(r->arena, "%s/oidc/jwks", b),
               userinfo = arena_printf(r->arena, "%s/oidc/userinfo", b);
    json_answer(r, ret, 200,
                json_pack("{ss ss ss ss ss s[s] s[s] s[s] s[s] s[ss]}", "issuer", b, "authorization_endpoint",
                          authorize.p, "token_endpoint", token.p, "jwks_uri", jwks.p, "userinfo_endpoint",
                          userinfo.p, "response_types_supported", "code", "subject_types_supported", "public",
                          "id_token_signing_alg_values_supported", "RS256",
                          "code_challenge_methods_supported", "S256", "token_endpoint_auth_methods_supported",
                          "client_secret_basic", "client_secret_post"));
}

static void error_page(const struct demo_request *r, struct demo_answer *ret, const char *sentence)
{
    ret->status = 400;
    ret->body = demo_message_page(r->arena, "Refused", sentence);
}

static bool field(const struct form *f, struct arena *a, const char *name, struct str *ret)
{
    struct str value;
    if (form_get(f, name, &value) != FORM_OK) return false;
    *ret = arena_str(a, value);
    return ret->p != NULL;
}

static struct str grant_code(const struct demo_request *r, const struct demo_user *u, struct str nonce,
                             struct str challenge)
{
    char code[40];
    if (!random_text(code, sizeof code)) return STR_NONE;
    pthread_mutex_lock(&lock);
    struct grant *g = &grants[next_grant++ % CODES];
    *g = (struct grant){ .user = u, .at = time(NULL) };
    memcpy(g->code, code, sizeof code);
    snprintf(g->nonce, sizeof g->nonce, "%s", nonce.p);
    snprintf(g->challenge, sizeof g->challenge, "%s", challenge.p);
    pthread_mutex_unlock(&lock);
    return arena_str_c(r->arena, code);
}

static void authorize(const struct demo_request *r, struct demo_answer *ret)
{
    struct form login = { 0 }, query = { 0 };
    struct str request = r->query, name = STR(""), password = STR(""), client, redirect, state, nonce,
               challenge, method;
    const struct demo_user *u = NULL;
    if (r->body.p && form_parse(r->arena, r->body, 8, &login)) {
        field(&login, r->arena, "request", &request);
        field(&login, r->arena, "username", &name);
        field(&login, r->arena, "password", &password);
        u = demo_user_check(name.p, password.p);
    }
    if (!request.p || !form_parse(r->arena, request, 32, &query) ||
        !field(&query, r->arena, "client_id", &client) ||
        !field(&query, r->arena, "redirect_uri", &redirect) || !str_eq_c(client, demo_options.client_id) ||
        !str_eq_c(redirect, demo_options.redirect_uri)) {
        error_page(r, ret, "The client or its redirect address is not the one that is registered here.");
        return;
    }
    if (!field(&query, r->arena, "state", &state) || !field(&query, r->arena, "nonce", &nonce) ||
        !field(&query, r->arena, "code_challenge", &challenge) ||
        !field(&query, r->arena, "code_challenge_method", &method) || !str_eq_c(method, "S256")) {
        error_page(r, ret, "The request lacks state, nonce or a PKCE challenge.");
        return;
    }
    if (!u) {
        ret->body = demo_login_page(r->arena, "/oidc/authorize", request,
                                    r->body.p ? "Wrong user name or password." : NULL);
        return;
    }
    struct str to = url_with_param(r->arena, redirect, "code", grant_code(r, u, nonce, challenge));
    ret->status = 303;
    ret->location = url_with_param(r->arena, to, "state", state);
    ret->body = STR("");
}

static json_t *groups_of(const struct demo_user *u)
{
    json_t *list = json_array();
    for (size_t i = 0; u->groups[i]; i++) json_array_append_new(list, json_string(u->groups[i]));
    return list;
}

static json_t *claims_of(const struct demo_user *u)
{
    return json_pack("{ss ss ss ss sb so}", "sub", u->name, "preferred_username", u->name, "name", u->display,
                     "email", u->email, "email_verified", 1, "groups", groups_of(u));
}

static struct str sign(struct arena *a, json_t *claims)
{
    cjose_err err = { 0 };
    char *payload = json_dumps(claims, JSON_COMPACT);
    json_decref(claims);
    cjose_header_t *header = cjose_header_new(&err);
    cjose_header_set(header, CJOSE_HDR_ALG, CJOSE_HDR_ALG_RS256, &err);
    cjose_header_set(header, CJOSE_HDR_KID, "demo", &err);
    cjose_jws_t *jws = cjose_jws_sign(signing_key, header, (uint8_t *)payload, strlen(payload), &err);
    const char *text = NULL;
    if (!jws || !cjose_jws_export(jws, &text, &err)) fprintf(stderr, "demo-idp: signing: %s\n", err.message);
    struct str token = arena_str_c(a, text);
    cjose_jws_release(jws);
    cjose_header_release(header);
    free(payload);
    return token;
}

// client_secret_basic (RFC 6749 section 2.3.1) or client_secret_post.
static bool client_ok(const struct demo_request *r, const struct form *f)
{
    struct str id, secret, plain;
    if (str_starts(r->authorization, STR("Basic "))) {
        if (!decode_base64(r->arena, str_skip(r->authorization, 6), false, &plain)) return false;
        size_t colon = str_find(plain, ':');
        if (colon == plain.n || !decode_percent(r->arena, str_take(plain, colon), true, &id) ||
            !decode_percent(r->arena, str_skip(plain, colon + 1), true, &secret))
            return false;
    } else if (!field(f, r->arena, "client_id", &id) || !field(f, r->arena, "client_secret", &secret)) {
        return false;
    }
    return str_eq_c(id, demo_options.client_id) && str_eq_c(secret, demo_options.client_secret);
}

static bool challenge_ok(struct arena *a, const struct grant *g, struct str verifier)
{
    uint8_t hash[SHA256_BYTES];
    return crypto_sha256(verifier, hash) &&
           str_eq_c(encode_base64url(a, (struct str){ (char *)hash, sizeof hash }), g->challenge);
}

// Codes are good once.
static bool take_grant(const struct demo_request *r, struct str code, struct str verifier, struct grant *ret)
{
    bool found = false;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < CODES && !found; i++) {
        struct grant *g = &grants[i];
        if (!g->user || !g->code[0] || !str_eq_c(code, g->code)) continue;
        g->code[0] = '\0';
        found = time(NULL) - g->at <= CODE_SECONDS && challenge_ok(r->arena, g, verifier) &&
                random_text(g->access_token, sizeof g->access_token);
        if (found) *ret = *g;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static void token(const struct demo_request *r, struct demo_answer *ret)
{
    struct form f = { 0 };
    struct str code, verifier, redirect;
    struct grant g;
    if (!r->body.p || !form_parse(r->arena, r->body, 16, &f) || !client_ok(r, &f)) {
        json_answer(r, ret, 401, json_pack("{ss}", "error", "invalid_client"));
        return;
    }
    if (!field(&f, r->arena, "code", &code) || !field(&f, r->arena, "code_verifier", &verifier) ||
        !field(&f, r->arena, "redirect_uri", &redirect) || !str_eq_c(redirect, demo_options.redirect_uri) ||
        !take_grant(r, code, verifier, &g)) {
        json_answer(r, ret, 400, json_pack("{ss}", "error", "invalid_grant"));
        return;
    }
    json_t *claims = claims_of(g.user);
    time_t now = time(NULL);
    json_object_set_new(claims, "iss", json_string(demo_options.base));
    json_object_set_new(claims, "aud", json_string(demo_options.client_id));
    json_object_set_new(claims, "iat", json_integer(now));
    json_object_set_new(claims, "auth_time", json_integer(now));
    json_object_set_new(claims, "exp", json_integer(now + TOKEN_SECONDS));
    json_object_set_new(claims, "nonce", json_string(g.nonce));
    struct str id_token = sign(r->arena, claims);
    json_answer(r, ret, 200,
                json_pack("{ss ss si ss}", "access_token", g.access_token, "token_type", "Bearer",
                          "expires_in", TOKEN_SECONDS, "id_token", id_token.p ? id_token.p : ""));
}

static void userinfo(const struct demo_request *r, struct demo_answer *ret)
{
    const struct demo_user *u = NULL;
    struct str given =
        str_starts(r->authorization, STR("Bearer ")) ? str_skip(r->authorization, 7) : STR_NONE;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < CODES; i++)
        if (grants[i].access_token[0] && str_eq_c(given, grants[i].access_token)) u = grants[i].user;
    pthread_mutex_unlock(&lock);
    json_answer(r, ret, u ? 200 : 401, u ? claims_of(u) : json_pack("{ss}", "error", "invalid_token"));
}

bool demo_oidc_serve(const struct demo_request *r, struct demo_answer *ret)
{
    if (strcmp(r->path, "/.well-known/openid-configuration") == 0)
        discovery(r, ret);
    else if (strcmp(r->path, "/oidc/authorize") == 0)
        authorize(r, ret);
    else if (strcmp(r->path, "/oidc/token") == 0)
        token(r, ret);
    else if (strcmp(r->path, "/oidc/userinfo") == 0)
        userinfo(r, ret);
    else if (strcmp(r->path, "/oidc/jwks") == 0) {
        ret->content_type = "application/json";
        ret->body = arena_printf(r->arena, "{\"keys\":[%.*s]}", STR_FMT(public_jwk));
    } else {
        return false;
    }
    return true;
}
