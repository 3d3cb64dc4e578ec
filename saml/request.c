// SPDX-License-Identifier: GPL-3.0-or-later
// The AuthnRequest, built and signed by lasso from what we give it. Lasso sees only metadata that we wrote
// ourselves (our own, and four lines about the provider), never a document from outside.
#include <lasso/lasso.h>
#include <lasso/xml/saml-2.0/samlp2_authn_request.h>
#include <lasso/xml/saml-2.0/samlp2_name_id_policy.h>
#include <lasso/xml/saml-2.0/samlp2_requested_authn_context.h>

#include "base/limits.h"
#include "base/url.h"
#include "saml/idp.h"
#include "saml/names.h"
#include "saml/timestamp.h"
#include "saml/xml.h"

enum { RELAY_STATE_MAX = 80 }; // bindings 3.4.3

// Making a LassoServer takes 60 ms, a request 1 ms: so the server is kept as long as the provider's metadata,
// and made anew when our own metadata has changed.
struct lasso_cache {
    LassoServer *server;
    struct arena *arena;    // of the provider
    struct str sp_metadata; // what `server` was made of
};

static void release_cache(void *object)
{
    struct lasso_cache *cache = object;
    if (cache->server) g_object_unref(cache->server);
    cache->server = NULL;
}

struct lasso_cache *lasso_cache_new(struct arena *a)
{
    struct lasso_cache *cache = arena_alloc(a, sizeof *cache);
    if (!cache) return NULL;
    cache->arena = a;
    return arena_defer(a, release_cache, cache) ? cache : NULL;
}

static struct str idp_for_lasso(struct arena *a, const struct saml_idp *idp)
{
    struct str entity = xml_escape(a, idp->entity_id), url = xml_escape(a, idp->sso_redirect_url);
    return arena_printf(a,
                        "<EntityDescriptor xmlns=\"" NS_METADATA "\" entityID=\"%.*s\"><IDPSSODescriptor "
                        "WantAuthnRequestsSigned=\"true\" protocolSupportEnumeration=\"" NS_PROTOCOL "\">"
                        "<SingleSignOnService Binding=\"" SAML_BINDING_REDIRECT "\" Location=\"%.*s\"/>"
                        "</IDPSSODescriptor></EntityDescriptor>",
                        STR_FMT(entity), STR_FMT(url));
}

static LassoServer *server_new(struct arena *a, const struct saml_sp *sp, const struct saml_idp *idp,
                               struct str sp_metadata)
{
    struct str key = arena_str(a, sp->key_pem);
    struct str provider = idp_for_lasso(a, idp);
    if (arena_failed(a)) return NULL;
    // Without a certificate: a query is signed with the key alone, and lasso would take the certificate's
    // text for a file name at every request, and lose a BIO (192 bytes) over it.
    LassoServer *server = lasso_server_new_from_buffers(sp_metadata.p, key.p, NULL, NULL);
    if (!server) return NULL;
    server->signature_method = LASSO_SIGNATURE_METHOD_RSA_SHA256; // the default is RSA-SHA1
    if (lasso_server_add_provider_from_buffer(server, LASSO_PROVIDER_ROLE_IDP, provider.p, NULL, NULL) == 0)
        return server;
    g_object_unref(server);
    return NULL;
}

static LassoServer *server_get(struct arena *a, const struct saml_sp *sp, const struct saml_idp *idp,
                               struct err *err)
{
    struct lasso_cache *cache = idp->lasso;
    struct str metadata = saml_sp_metadata(a, sp, err);
    if (!metadata.p) return NULL;
    if (cache->server && str_eq(cache->sp_metadata, metadata)) return cache->server;
    LassoServer *server = server_new(a, sp, idp, metadata);
    struct str copy = server ? arena_str(cache->arena, metadata) : STR_NONE;
    if (!copy.p) {
        if (server) g_object_unref(server);
        err_set(err, ERR_SAML_REQUEST, "lasso does not accept our key or the provider's address");
        return NULL;
    }
    release_cache(cache);
    cache->server = server;
    cache->sp_metadata = copy;
    return server;
}

static void set(char **field, struct str value)
{
    g_free(*field);
    *field = g_strndup(value.p, value.n);
}

// core 3.4.1.1: which kind of name we want; the provider may make a new one.
static void set_name_id_policy(LassoSamlp2AuthnRequest *r, const struct saml_client *client)
{
    if (!r->NameIDPolicy) r->NameIDPolicy = LASSO_SAMLP2_NAME_ID_POLICY(lasso_samlp2_name_id_policy_new());
    g_free(r->NameIDPolicy->Format);
    r->NameIDPolicy->Format =
        client->name_id_format.n ? g_strndup(client->name_id_format.p, client->name_id_format.n) : NULL;
    // For transient names AllowCreate is not to be sent (core 3.4.1.1), for others the provider may make one.
    r->NameIDPolicy->AllowCreate = !str_eq_c(client->name_id_format, SAML_FORMAT_TRANSIENT);
}

// core 3.3.2.2.1: exactly one of these classes.
static void set_authn_context(LassoSamlp2AuthnRequest *r, const struct saml_client *client)
{
    if (client->authn_context.n == 0) return;
    LassoSamlp2RequestedAuthnContext *context =
        LASSO_SAMLP2_REQUESTED_AUTHN_CONTEXT(lasso_samlp2_requested_authn_context_new());
    context->Comparison = g_strdup("exact");
    for (size_t i = 0; i < client->authn_context.n; i++) {
        struct str one = client->authn_context.v[i];
        context->AuthnContextClassRef = g_list_append(context->AuthnContextClassRef, g_strndup(one.p, one.n));
    }
    if (r->RequestedAuthnContext) g_object_unref(r->RequestedAuthnContext);
    r->RequestedAuthnContext = context;
}

struct request {
    struct arena *arena;
    const struct saml_sp *sp;
    const struct saml_client *client;
    const struct saml_idp *idp;
    struct str id, relay_state;
    int64_t now;
};

static bool fill(const struct request *q, LassoProfile *profile)
{
    LassoSamlp2RequestAbstract *base = LASSO_SAMLP2_REQUEST_ABSTRACT(profile->request);
    LassoSamlp2AuthnRequest *r = LASSO_SAMLP2_AUTHN_REQUEST(profile->request);
    struct str instant = timestamp_format(q->arena, q->now);
    struct str acs = saml_acs_url(q->arena, q->sp, q->client->provider);
    if (!instant.p || !acs.p) return false;
    set(&base->ID, q->id);
    set(&base->IssueInstant, instant);
    set(&base->Destination, q->idp->sso_redirect_url);
    set(&r->AssertionConsumerServiceURL, acs);
    set(&r->ProtocolBinding, STR(SAML_BINDING_POST));
    r->AssertionConsumerServiceIndex = -1; // core 3.4.1: not together with a URL
    r->AttributeConsumingServiceIndex = -1;
    r->ForceAuthn = q->client->force_authn;
    r->IsPassive = false;
    set_name_id_policy(r, q->client);
    set_authn_context(r, q->client);
    if (q->relay_state.n) set(&profile->msg_relayState, q->relay_state);
    return true;
}

static struct str build(const struct request *q, LassoServer *server, struct err *err)
{
    struct str url = STR_NONE;
    LassoLogin *login = lasso_login_new(server);
    if (!login) {
        err_set(err, ERR_SAML_REQUEST, "lasso_login_new failed");
        return STR_NONE;
    }
    struct str entity = arena_str(q->arena, q->idp->entity_id);
    int rc = entity.p ? lasso_login_init_authn_request(login, entity.p, LASSO_HTTP_METHOD_REDIRECT) : -1;
    if (rc == 0 && !fill(q, LASSO_PROFILE(login))) rc = -1;
    if (rc == 0) rc = lasso_login_build_authn_request_msg(login);
    if (rc == 0) url = arena_str_c(q->arena, LASSO_PROFILE(login)->msg_url);
    g_object_unref(login);
    if (!url.p)
        err_set(err, ERR_SAML_REQUEST, "lasso: %s (%d)", rc < -1 || rc > 0 ? lasso_strerror(rc) : "no memory",
                rc);
    return url;
}

// bindings 3.4.4.1: lasso appended a signature to a query of our request, at the provider's address; anything
// else would go out unsigned or elsewhere.
static bool looks_right(struct str url, const struct saml_idp *idp)
{
    return str_starts(url, idp->sso_redirect_url) && str_search(url, STR("SAMLRequest=")) < url.n &&
           str_search(url, STR("&Signature=")) < url.n;
}

struct str saml_authn_request_url(struct arena *a, const struct saml_sp *sp, const struct saml_client *client,
                                  const struct saml_idp *idp, struct str request_id, struct str relay_state,
                                  int64_t now, struct err *err)
{
    struct request q = { a, sp, client, idp, request_id, relay_state, now };
    struct err why = { 0 };
    if (!saml_idp_check_age(idp, now, err)) return STR_NONE;
    if (relay_state.n > RELAY_STATE_MAX || request_id.n == 0) {
        err_set(err, ERR_SAML_REQUEST, "RelayState of %zu bytes, %d are allowed", relay_state.n,
                RELAY_STATE_MAX);
        return STR_NONE;
    }
    LassoServer *server = server_get(a, sp, idp, &why);
    struct str url = server ? build(&q, server, &why) : STR_NONE;
    if (url.p && looks_right(url, idp)) return url;
    err_set(err, ERR_SAML_REQUEST, "%s",
            why.code ? why.detail : "lasso made a URL that is not as it should be");
    return STR_NONE;
}
