// SPDX-License-Identifier: GPL-3.0-or-later
// What we send: the authorization request (through the browser) and the token request (back channel).
#include "base/crypto.h"
#include "base/encode.h"
#include "base/limits.h"
#include "base/url.h"
#include "oidc/oidc.h"

enum { REQUEST_MAX_BYTES = 64 * 1024 };

// RFC 7636 section 4.1: 43 to 128 unreserved characters.
static bool verifier_ok(struct str verifier)
{
    if (verifier.n < 43 || verifier.n > 128) return false;
    for (size_t i = 0; i < verifier.n; i++) {
        char c = verifier.p[i];
        if (!ascii_is_alnum(c) && c != '-' && c != '.' && c != '_' && c != '~') return false;
    }
    return true;
}

// RFC 7636 section 4.2: BASE64URL(SHA256(ASCII(code_verifier))).
static struct str pkce_challenge(struct arena *a, struct str verifier)
{
    uint8_t digest[SHA256_BYTES];
    if (!verifier_ok(verifier) || !crypto_sha256(verifier, digest)) return STR_NONE;
    return encode_base64url(a, (struct str){ (char *)digest, sizeof digest });
}

// OIDC 3.1.2.1: the scope openid makes it an OpenID request at all.
static struct str scope_text(struct arena *a, struct strlist scopes)
{
    struct sbuf b;
    sbuf_init(&b, a, LIMIT_URL_BYTES);
    if (!strlist_has(scopes, STR("openid"))) sbuf_add_c(&b, "openid");
    for (size_t i = 0; i < scopes.n; i++) {
        if (b.n) sbuf_add_c(&b, " ");
        sbuf_add(&b, scopes.v[i]);
    }
    return sbuf_str(&b);
}

struct parameter {
    const char *name;
    struct str value;
};

struct str oidc_authorization_url(struct arena *a, const struct oidc_client *client,
                                  const struct oidc_provider *provider, const struct oidc_login *login)
{
    const struct parameter parameters[] = {
        { "response_type", STR("code") },
        { "client_id", client->client_id },
        { "redirect_uri", login->redirect_uri },
        { "scope", scope_text(a, client->scopes) },
        { "state", login->state },
        { "nonce", login->nonce },
        { "code_challenge", pkce_challenge(a, login->code_verifier) },
        { "code_challenge_method", STR("S256") },
    };
    struct str url = provider->authorization_endpoint;
    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++) {
        // A request without state, nonce or challenge would look fine and protect nothing.
        if (!url.n || !parameters[i].value.n) return STR_NONE;
        url = url_with_param(a, url, parameters[i].name, parameters[i].value);
    }
    return url;
}

static void form_add(struct arena *a, struct sbuf *b, const char *name, struct str value)
{
    struct str encoded = encode_percent(a, value);
    if (!encoded.p) b->failed = true;
    if (b->n) sbuf_add_c(b, "&");
    sbuf_add_c(b, name);
    sbuf_add_c(b, "=");
    sbuf_add(b, encoded);
}

// RFC 6749 section 2.3.1: identifier and password are form-encoded first; else a ':' in the one would become
// part of the other, and a '%' or '+' another character.
static struct str basic_authorization(struct arena *a, const struct oidc_client *client)
{
    struct str id = encode_percent(a, client->client_id), secret = encode_percent(a, client->client_secret);
    struct str pair = arena_printf(a, "%.*s:%.*s", STR_FMT(id), STR_FMT(secret));
    struct str text = pair.p ? encode_base64(a, pair) : STR_NONE;
    return text.p ? arena_printf(a, "Basic %.*s", STR_FMT(text)) : STR_NONE;
}

static bool request_inputs_ok(const struct oidc_client *client, const struct oidc_login *login,
                              struct str code)
{
    return client->client_id.n && client->client_secret.n && code.n && login->redirect_uri.n &&
           verifier_ok(login->code_verifier);
}

// RFC 6749 section 4.1.3 with RFC 7636 section 4.5.
bool oidc_token_request(struct arena *a, const struct oidc_client *client, const struct oidc_login *login,
                        struct str code, struct oidc_token_request *ret, struct err *err)
{
    struct sbuf b;
    struct oidc_token_request request = { 0 };
    if (!request_inputs_ok(client, login, code))
        return err_set(err, ERR_INTERNAL,
                       "a token request lacks its code, redirect_uri, verifier or credentials");
    sbuf_init(&b, a, REQUEST_MAX_BYTES);
    form_add(a, &b, "grant_type", STR("authorization_code"));
    form_add(a, &b, "code", code);
    form_add(a, &b, "redirect_uri", login->redirect_uri);
    form_add(a, &b, "code_verifier", login->code_verifier);
    if (client->token_auth == OIDC_AUTH_POST) {
        form_add(a, &b, "client_id", client->client_id);
        form_add(a, &b, "client_secret", client->client_secret);
    } else {
        request.authorization = basic_authorization(a, client);
    }
    request.body = sbuf_str(&b);
    if (arena_failed(a)) return err_set(err, ERR_NO_MEMORY, "making a token request");
    if (!request.body.p) return err_set(err, ERR_TOO_LARGE, "the token request is too large");
    *ret = request;
    return true;
}
