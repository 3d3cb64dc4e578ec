// SPDX-License-Identifier: GPL-3.0-or-later
#include <jansson.h>

#include "base/mem.h"
#include "gateway/verifier/verifier.h"

struct kept_idp {
    struct kept_idp *next;
    struct arena *arena; // of the message that brought the metadata
    struct str provider;
    struct saml_client client;
    struct saml_idp *idp;
    struct saml_idp_info info;
};

struct verifier {
    struct arena *setup; // of the SETUP message, NULL before it
    struct saml_sp sp;
    struct kept_idp *idps;
};

struct verifier *verifier_new(void)
{
    return mem_calloc(1, sizeof(struct verifier));
}

void verifier_free(struct verifier *v)
{
    if (!v) return;
    while (v->idps) {
        struct kept_idp *k = v->idps;
        v->idps = k->next;
        arena_free(k->arena);
    }
    arena_free(v->setup);
    mem_free(v);
}

// Takes the place of what was kept for the same provider. Lives in its own arena.
static void idp_keep(struct verifier *v, struct kept_idp *k)
{
    for (struct kept_idp **at = &v->idps; *at; at = &(*at)->next) {
        struct kept_idp *old = *at;
        if (!str_eq(old->provider, k->provider)) continue;
        *at = old->next;
        arena_free(old->arena);
        break;
    }
    k->next = v->idps;
    v->idps = k;
}

static const struct kept_idp *idp_find(const struct verifier *v, const struct verify_request *q,
                                       struct err *err)
{
    if (!v->setup) {
        err_set(err, ERR_WIRE, "SAML message before setup");
        return NULL;
    }
    for (const struct kept_idp *k = v->idps; k; k = k->next) {
        if (!str_eq(k->provider, q->provider)) continue;
        if (k->info.valid_until && q->now >= k->info.valid_until) {
            err_set(err, ERR_SAML_METADATA_EXPIRED, "the metadata was valid until %lld",
                    (long long)k->info.valid_until);
            return NULL;
        }
        return k;
    }
    err_set(err, ERR_WIRE, "no metadata for %.*s", STR_FMT(q->provider));
    return NULL;
}

static bool identity_reply(struct arena *a, const struct identity *id, struct verify_reply *r,
                           struct err *err)
{
    r->identity = identity_encode(a, id);
    return r->identity.p || err_set(err, ERR_TOO_LARGE, "the identity is too large");
}

// `*message` stays with the verifier when this succeeds.
static bool do_setup(struct verifier *v, struct arena **message, const struct verify_request *q)
{
    arena_free(v->setup);
    v->setup = *message;
    v->sp = q->sp;
    *message = NULL;
    return true;
}

static bool do_saml_metadata(struct verifier *v, struct arena **message, const struct verify_request *q,
                             struct verify_reply *r, struct err *err)
{
    struct kept_idp *k = arena_alloc(*message, sizeof *k);
    if (!k) return err_set(err, ERR_NO_MEMORY, "metadata");
    *k = (struct kept_idp){ .arena = *message, .provider = q->provider, .client = q->saml };
    if (!saml_idp_parse(*message, q->text, &k->client, q->now, &k->idp, &k->info, err)) return false;
    r->info = k->info;
    idp_keep(v, k);
    *message = NULL;
    return true;
}

static bool do_saml_start(struct verifier *v, struct arena *a, const struct verify_request *q,
                          struct verify_reply *r, struct err *err)
{
    const struct kept_idp *k = idp_find(v, q, err);
    if (!k) return false;
    r->url =
        saml_authn_request_url(a, &v->sp, &k->client, k->idp, q->request_id, q->relay_state, q->now, err);
    if (!r->url.p && err->code == ERR_NONE) err_set(err, ERR_SAML_REQUEST, "no request was made");
    return r->url.p != NULL;
}

static bool do_saml_response(struct verifier *v, struct arena *a, const struct verify_request *q,
                             struct verify_reply *r, struct err *err)
{
    const struct kept_idp *k = idp_find(v, q, err);
    if (!k) return false;
    struct saml_login login = { 0 };
    struct saml_expect expect = { .request_id = q->request_id, .now = q->now };
    if (!saml_response_verify(a, &v->sp, &k->client, k->idp, &expect, q->text, &login, err)) return false;
    r->assertion_id = login.assertion_id;
    r->replay_until = login.replay_until;
    return identity_reply(a, &login.identity, r, err);
}

static bool do_oidc_login(struct arena *a, const struct verify_request *q, struct verify_reply *r,
                          struct err *err)
{
    struct identity id = { 0 };
    struct oidc_tokens tokens = { 0 };
    struct oidc_expect expect = { .nonce = q->nonce, .now = q->now };
    if (!oidc_login_verify(a, &q->oidc, &expect, q->text, q->jwks, &id, &tokens, err)) return false;
    r->access_token = tokens.access_token;
    r->id_token = tokens.id_token;
    return identity_reply(a, &id, r, err);
}

static bool do_oidc_userinfo(struct arena *a, const struct verify_request *q, struct verify_reply *r,
                             struct err *err)
{
    struct identity id = { 0 };
    if (!identity_decode(a, q->identity, &id, err)) return false;
    if (!oidc_userinfo_merge(a, &q->oidc, q->text, &id, err)) return false;
    return identity_reply(a, &id, r, err);
}

// RFC 6749 section 5.2: `error` is printable ASCII without quote and backslash; anything else is not repeated
// in a log.
static bool error_code_printable(struct str s)
{
    if (s.n == 0 || s.n > 64) return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x21 || s.p[i] > 0x7E || s.p[i] == '"' || s.p[i] == '\\') return false;
    return true;
}

static bool do_oidc_token_error(const struct verify_request *q, struct err *err)
{
    json_t *json = json_loadb(q->text.p, q->text.n, JSON_REJECT_DUPLICATES, NULL);
    struct str code = str_c(json_string_value(json_object_get(json, "error")));
    if (error_code_printable(code))
        err_set(err, ERR_OIDC_TOKEN_RESPONSE, "the token endpoint said %.*s%s", STR_FMT(code),
                str_eq_c(code, "invalid_client") ? ": client_id, client_secret or token_auth is wrong" : "");
    else
        err_set(err, ERR_OIDC_TOKEN_RESPONSE, "the token endpoint refused without a reason");
    json_decref(json);
    return false;
}

static bool dispatch(struct verifier *v, struct arena **message, const struct verify_request *q,
                     struct verify_reply *r)
{
    struct arena *a = *message;
    switch ((enum verify_kind)q->kind) {
    case VERIFY_SETUP: return do_setup(v, message, q);
    case VERIFY_SAML_METADATA: return do_saml_metadata(v, message, q, r, &r->err);
    case VERIFY_SAML_START: return do_saml_start(v, a, q, r, &r->err);
    case VERIFY_SAML_RESPONSE: return do_saml_response(v, a, q, r, &r->err);
    case VERIFY_OIDC_DISCOVERY: return oidc_discovery_parse(a, q->text, &q->oidc, &r->endpoints, &r->err);
    case VERIFY_OIDC_JWKS: return oidc_jwks_check(a, q->text, &r->err);
    case VERIFY_OIDC_LOGIN: return do_oidc_login(a, q, r, &r->err);
    case VERIFY_OIDC_USERINFO: return do_oidc_userinfo(a, q, r, &r->err);
    case VERIFY_OIDC_TOKEN_ERROR: return do_oidc_token_error(q, &r->err);
    case VERIFY_KIND_COUNT: break;
    }
    return err_set(&r->err, ERR_WIRE, "unknown kind");
}

bool verifier_answer(struct verifier *v, struct arena **message, struct str payload, bool last,
                     struct str *ret_reply)
{
    struct verify_request q;
    struct err err;
    if (!verify_request_decode(*message, payload, &q, &err)) return false;
    struct verify_reply r = { .id = q.id, .last = last };
    if (!dispatch(v, message, &q, &r)) {
        // A refusal carries no results, and a refusal without a reason is one too.
        struct err why = r.err;
        if (why.code == ERR_NONE) err_set(&why, ERR_INTERNAL, "refused without a reason");
        r = (struct verify_reply){ .id = q.id, .last = last, .err = why };
    } else {
        r.err.code = ERR_NONE;
    }
    if (!*message) *message = arena_new(VERIFIER_MESSAGE_MEMORY);
    if (!*message) return false;
    if (arena_failed(*message)) { // the refusal must be sent all the same
        struct arena *fresh = arena_new(VERIFIER_MESSAGE_MEMORY);
        if (!fresh) return false;
        arena_free(*message);
        *message = fresh;
        r = (struct verify_reply){ .id = q.id, .last = last };
        err_set(&r.err, ERR_NO_MEMORY, "the message needed too much memory");
    }
    struct str reply = verify_reply_encode(*message, &r);
    if (!reply.p) return false;
    *ret_reply = reply;
    return true;
}
