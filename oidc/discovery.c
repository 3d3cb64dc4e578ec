// SPDX-License-Identifier: GPL-3.0-or-later
// Discovery 1.0: the document that says where a provider's endpoints are. Whoever could choose it could read
// codes and secrets, so it must be about the configured issuer, and every address in it must be a safe one.
#include <arpa/inet.h>

#include "base/limits.h"
#include "base/url.h"
#include "oidc/alg.h"
#include "oidc/json.h"
#include "oidc/oidc.h"

struct str oidc_discovery_url(struct arena *a, struct str issuer)
{
    // Discovery 4.1: "any terminating / MUST be removed" before the well-known path is appended.
    if (str_ends(issuer, STR("/"))) issuer.n--;
    return arena_printf(a, "%.*s/.well-known/openid-configuration", STR_FMT(issuer));
}

static bool is_loopback(const struct url *u)
{
    if (str_eq_c(u->host, "localhost") || str_ends(u->host, STR(".localhost"))) return true;
    if (u->ipv6) return str_eq_c(u->host, "::1");
    char text[INET_ADDRSTRLEN];
    struct in_addr v4;
    if (u->host.n >= sizeof text) return false;
    for (size_t i = 0; i <= u->host.n; i++) text[i] = i < u->host.n ? u->host.p[i] : '\0';
    return inet_pton(AF_INET, text, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

// https everywhere; http only within this machine, and only when the operator configured such an issuer.
static bool transport_ok(struct arena *a, const struct url *u, struct str issuer)
{
    struct url us;
    struct err ignored;
    if (u->https) return true;
    return is_loopback(u) && url_parse(a, issuer, &us, &ignored) && !us.https && is_loopback(&us);
}

// Discovery 4.3: "The issuer value returned MUST be identical to the Issuer URL".
static bool check_issuer(struct arena *a, const json_t *doc, const struct oidc_client *client,
                         struct err *err)
{
    struct url u;
    struct err why;
    struct str issuer = oidc_json_member(doc, "issuer");
    if (!issuer.n || !str_eq(issuer, client->issuer))
        return err_set(err, ERR_OIDC_DISCOVERY, "issuer is '%.*s', expected '%.*s'", STR_FMT(issuer),
                       STR_FMT(client->issuer));
    if (!url_parse(a, issuer, &u, &why)) return err_set(err, ERR_OIDC_DISCOVERY, "issuer: %s", why.detail);
    // Discovery 3: "a URL using the https scheme with no query or fragment component".
    if (u.query.p || u.fragment.p) return err_set(err, ERR_OIDC_DISCOVERY, "issuer has a query or fragment");
    if (transport_ok(a, &u, issuer)) return true;
    return err_set(err, ERR_OIDC_DISCOVERY, "issuer is neither https nor on this machine");
}

// RFC 6749 sections 3.1 and 3.2: an endpoint may have a query, never a fragment.
static bool read_endpoint(struct arena *a, const json_t *doc, const char *name, struct str issuer,
                          struct str *ret, struct err *err)
{
    struct url u;
    struct err why;
    struct str text = oidc_json_member(doc, name);
    if (!text.n) return err_set(err, ERR_OIDC_DISCOVERY, "%s is missing or not a string", name);
    if (text.n > LIMIT_URL_BYTES) return err_set(err, ERR_OIDC_DISCOVERY, "%s is too long", name);
    if (!url_parse(a, text, &u, &why)) return err_set(err, ERR_OIDC_DISCOVERY, "%s: %s", name, why.detail);
    if (u.fragment.p) return err_set(err, ERR_OIDC_DISCOVERY, "%s has a fragment", name);
    if (!transport_ok(a, &u, issuer)) return err_set(err, ERR_OIDC_DISCOVERY, "%s is not https", name);
    struct str canonical = url_format(a, &u);
    if (!canonical.p) return err_set(err, ERR_NO_MEMORY, "reading a discovery document");
    *ret = canonical;
    return true;
}

static bool read_optional(struct arena *a, const json_t *doc, const char *name, struct str issuer,
                          struct str *ret, struct err *err)
{
    return !oidc_json_get(doc, name) || read_endpoint(a, doc, name, issuer, ret, err);
}

static bool read_endpoints(struct arena *a, const json_t *doc, const struct oidc_client *client,
                           struct oidc_provider *p, struct err *err)
{
    struct str iss = client->issuer;
    if (!read_endpoint(a, doc, "authorization_endpoint", iss, &p->authorization_endpoint, err) ||
        !read_endpoint(a, doc, "token_endpoint", iss, &p->token_endpoint, err) ||
        !read_endpoint(a, doc, "jwks_uri", iss, &p->jwks_uri, err) ||
        !read_optional(a, doc, "userinfo_endpoint", iss, &p->userinfo_endpoint, err) ||
        !read_optional(a, doc, "end_session_endpoint", iss, &p->end_session_endpoint, err))
        return false;
    if (!client->userinfo || p->userinfo_endpoint.p) return true;
    return err_set(err, ERR_OIDC_DISCOVERY, "userinfo is configured, but there is no userinfo_endpoint");
}

// Discovery 3: "If omitted, the default is client_secret_basic".
static bool check_token_auth(const json_t *doc, const struct oidc_client *client, struct err *err)
{
    bool post = client->token_auth == OIDC_AUTH_POST;
    const json_t *offered = oidc_json_get(doc, "token_endpoint_auth_methods_supported");
    struct str want = post ? STR("client_secret_post") : STR("client_secret_basic");
    if (offered ? oidc_json_array_has(offered, want) : !post) return true;
    return err_set(err, ERR_OIDC_DISCOVERY, "the token endpoint does not offer %s", want.p);
}

static bool check_algorithms(const json_t *doc, const struct oidc_client *client, struct err *err)
{
    const json_t *offered = json_object_get(doc, "id_token_signing_alg_values_supported");
    const struct oidc_alg_info *alg;
    for (size_t i = 0; (alg = oidc_alg_at(i)); i++)
        if (alg->bit & client->algorithms && oidc_json_array_has(offered, str_c(alg->name))) return true;
    return err_set(err, ERR_OIDC_DISCOVERY, "none of the allowed ID token algorithms is offered");
}

static bool check_code_flow(const json_t *doc, struct err *err)
{
    const json_t *types = oidc_json_get(doc, "response_types_supported");
    if (!types || oidc_json_array_has(types, STR("code"))) return true;
    return err_set(err, ERR_OIDC_DISCOVERY, "response_type code is not offered");
}

static bool read_document(struct arena *a, struct str json, const struct oidc_client *client,
                          struct oidc_provider *ret, struct err *err)
{
    json_t *doc;
    if (!oidc_json_object(a, json, LIMIT_JSON_BYTES, ERR_OIDC_DISCOVERY, &doc, err) ||
        !check_issuer(a, doc, client, err) || !read_endpoints(a, doc, client, ret, err) ||
        !check_token_auth(doc, client, err) || !check_algorithms(doc, client, err) ||
        !check_code_flow(doc, err))
        return false;
    // RFC 9207 section 3; what is not the JSON value true is the default, false.
    ret->iss_parameter_supported =
        json_is_true(json_object_get(doc, "authorization_response_iss_parameter_supported"));
    return true;
}

bool oidc_discovery_parse(struct arena *a, struct str json, const struct oidc_client *client,
                          struct oidc_provider *ret, struct err *err)
{
    struct oidc_provider p = { 0 };
    bool ok = read_document(a, json, client, &p, err);
    if (arena_failed(a)) return err_set(err, ERR_NO_MEMORY, "reading a discovery document");
    if (ok) *ret = p;
    return ok;
}
