// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/verifier/verify_proto.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/wire.h"

enum { LIST_MAX = 1024 };

enum field_type { FIELD_STR, FIELD_INT, FIELD_UNSIGNED, FIELD_BOOL, FIELD_LIST };

// One line per field drives both directions.
struct field {
    uint16_t tag;
    enum field_type type;
    size_t offset;
};

#define Q(tag, type, member)                                                                                 \
    {                                                                                                        \
        VERIFY_TAG_##tag, FIELD_##type, offsetof(struct verify_request, member)                              \
    }
static const struct field request_fields[] = {
    Q(KIND, UNSIGNED, kind),
    Q(ID, INT, id),
    Q(NOW, INT, now),
    Q(PROVIDER, STR, provider),
    Q(TEXT, STR, text),
    Q(JWKS, STR, jwks),
    Q(REQUEST_ID, STR, request_id),
    Q(RELAY_STATE, STR, relay_state),
    Q(NONCE, STR, nonce),
    Q(IDENTITY, STR, identity),
    Q(SP_ENTITY_ID, STR, sp.entity_id),
    Q(SP_KEY, STR, sp.key_pem),
    Q(SP_CERTIFICATE, STR, sp.certificate_pem),
    Q(SP_BASE_URL, STR, sp.base_url),
    Q(SP_PROVIDERS, LIST, sp.providers),
    Q(SP_ORGANIZATION, STR, sp.organization),
    Q(SAML_ENTITY_ID, STR, saml.entity_id),
    Q(SAML_CERTIFICATE, STR, saml.metadata_certificate_pem),
    Q(SAML_NAME_ID_FORMAT, STR, saml.name_id_format),
    Q(SAML_AUTHN_CONTEXT, LIST, saml.authn_context),
    Q(SAML_FORCE_AUTHN, BOOL, saml.force_authn),
    Q(SAML_UNSOLICITED, BOOL, saml.allow_unsolicited),
    Q(SAML_SHA1, BOOL, saml.allow_sha1),
    Q(SAML_CBC, BOOL, saml.allow_cbc),
    Q(OIDC_ISSUER, STR, oidc.issuer),
    Q(OIDC_CLIENT_ID, STR, oidc.client_id),
    Q(OIDC_TOKEN_AUTH, UNSIGNED, oidc.token_auth),
    Q(OIDC_SCOPES, LIST, oidc.scopes),
    Q(OIDC_ALGORITHMS, UNSIGNED, oidc.algorithms),
    Q(OIDC_USERINFO, BOOL, oidc.userinfo),
    Q(OIDC_TRUST_EMAIL, BOOL, oidc.trust_email),
    Q(CLOCK_SKEW, INT, clock_skew),
    Q(MAP_SUBJECT, LIST, mapping.subject),
    Q(MAP_EMAIL, LIST, mapping.email),
    Q(MAP_USERNAME, LIST, mapping.username),
    Q(MAP_NAME, LIST, mapping.name),
    Q(MAP_GROUPS, LIST, mapping.groups),
};
#undef Q

#define R(tag, type, member)                                                                                 \
    {                                                                                                        \
        VERIFY_TAG_##tag, FIELD_##type, offsetof(struct verify_reply, member)                                \
    }
static const struct field reply_fields[] = {
    R(ID, INT, id),
    R(ERR, UNSIGNED, err_code),
    R(DETAIL, STR, detail),
    R(LAST, BOOL, last),
    R(URL, STR, url),
    R(IDENTITY, STR, identity),
    R(ASSERTION_ID, STR, assertion_id),
    R(REPLAY_UNTIL, INT, replay_until),
    R(ACCESS_TOKEN, STR, access_token),
    R(ID_TOKEN, STR, id_token),
    R(INFO_ENTITY_ID, STR, info.entity_id),
    R(INFO_SSO_URL, STR, info.sso_redirect_url),
    R(INFO_VALID_UNTIL, INT, info.valid_until),
    R(INFO_KEYS, INT, info_keys),
    R(EP_AUTHORIZATION, STR, endpoints.authorization_endpoint),
    R(EP_TOKEN, STR, endpoints.token_endpoint),
    R(EP_JWKS, STR, endpoints.jwks_uri),
    R(EP_USERINFO, STR, endpoints.userinfo_endpoint),
    R(EP_END_SESSION, STR, endpoints.end_session_endpoint),
    R(EP_ISS_PARAMETER, BOOL, endpoints.iss_parameter_supported),
};
#undef R

enum {
    REQUEST_FIELDS = sizeof request_fields / sizeof *request_fields,
    REPLY_FIELDS = sizeof reply_fields / sizeof *reply_fields,
};
_Static_assert(REQUEST_FIELDS <= 64 && REPLY_FIELDS <= 64, "the set of seen fields is one 64-bit word");
_Static_assert(sizeof(enum oidc_token_auth) == sizeof(unsigned), "enums travel as unsigned");

// What a request of each kind cannot be without, besides kind, id and now.
static const uint16_t required[VERIFY_KIND_COUNT][4] = {
    [VERIFY_SETUP] = { VERIFY_TAG_SP_ENTITY_ID, VERIFY_TAG_SP_KEY, VERIFY_TAG_SP_CERTIFICATE,
                       VERIFY_TAG_SP_BASE_URL },
    [VERIFY_SAML_METADATA] = { VERIFY_TAG_PROVIDER, VERIFY_TAG_TEXT },
    [VERIFY_SAML_START] = { VERIFY_TAG_PROVIDER, VERIFY_TAG_REQUEST_ID },
    [VERIFY_SAML_RESPONSE] = { VERIFY_TAG_PROVIDER, VERIFY_TAG_TEXT },
    [VERIFY_OIDC_DISCOVERY] = { VERIFY_TAG_PROVIDER, VERIFY_TAG_TEXT, VERIFY_TAG_OIDC_ISSUER },
    [VERIFY_OIDC_JWKS] = { VERIFY_TAG_TEXT },
    [VERIFY_OIDC_LOGIN] = { VERIFY_TAG_TEXT, VERIFY_TAG_JWKS, VERIFY_TAG_NONCE, VERIFY_TAG_OIDC_ISSUER },
    [VERIFY_OIDC_USERINFO] = { VERIFY_TAG_TEXT, VERIFY_TAG_IDENTITY, VERIFY_TAG_OIDC_ISSUER },
    [VERIFY_OIDC_TOKEN_ERROR] = { VERIFY_TAG_TEXT },
};

// Zero and absent are the same thing on both sides, so neither is sent.
static void put_field(struct wire_writer *w, const struct field *f, const void *object)
{
    const void *p = (const char *)object + f->offset;
    switch (f->type) {
    case FIELD_STR: wire_put(w, f->tag, *(const struct str *)p); break;
    case FIELD_INT:
        if (*(const int64_t *)p) wire_put_int(w, f->tag, *(const int64_t *)p);
        break;
    case FIELD_UNSIGNED:
        if (*(const unsigned *)p) wire_put_int(w, f->tag, *(const unsigned *)p);
        break;
    case FIELD_BOOL:
        if (*(const bool *)p) wire_put_bool(w, f->tag, true);
        break;
    case FIELD_LIST: wire_put_list(w, f->tag, *(const struct strlist *)p); break;
    }
}

static struct str encode(struct arena *a, const struct field *fields, size_t n, const void *object)
{
    struct wire_writer w;
    wire_init(&w, a, LIMIT_WIRE_BYTES);
    for (size_t i = 0; i < n; i++) put_field(&w, &fields[i], object);
    return wire_done(&w);
}

static bool get_unsigned(struct str value, unsigned *ret)
{
    int64_t v;
    if (!wire_int(value, &v) || v < 0 || v > INT32_MAX) return false;
    *ret = (unsigned)v;
    return true;
}

static bool get_field(const struct field *f, struct str value, void *object)
{
    void *p = (char *)object + f->offset;
    switch (f->type) {
    case FIELD_STR: *(struct str *)p = value; return true;
    case FIELD_INT: return wire_int(value, p);
    case FIELD_UNSIGNED: return get_unsigned(value, p);
    case FIELD_BOOL: return wire_bool(value, p);
    case FIELD_LIST: return true; // together, afterwards
    }
    return false;
}

static size_t field_index(const struct field *fields, size_t n, uint16_t tag)
{
    size_t i = 0;
    while (i < n && fields[i].tag != tag) i++;
    return i;
}

static bool decode(struct arena *a, struct str payload, const struct field *fields, size_t n, void *object,
                   uint64_t *ret_seen, struct err *err)
{
    struct wire_field f;
    enum wire_next next;
    uint64_t seen = 0;
    for (struct str rest = payload; (next = wire_next(&rest, &f)) == WIRE_FIELD;) {
        size_t i = field_index(fields, n, f.tag);
        if (i == n) return err_set(err, ERR_WIRE, "unknown field %u", f.tag);
        if (seen >> i & 1 && fields[i].type != FIELD_LIST)
            return err_set(err, ERR_WIRE, "field %u twice", f.tag);
        if (!get_field(&fields[i], f.value, object))
            return err_set(err, ERR_WIRE, "field %u has a bad value", f.tag);
        seen |= (uint64_t)1 << i;
    }
    if (next == WIRE_BAD) return err_set(err, ERR_WIRE, "cut off");
    for (size_t i = 0; i < n; i++) {
        if (fields[i].type != FIELD_LIST || !(seen >> i & 1)) continue;
        struct strlist *list = (struct strlist *)((char *)object + fields[i].offset);
        if (!wire_find_list(a, payload, fields[i].tag, LIST_MAX, list))
            return err_set(err, arena_failed(a) ? ERR_NO_MEMORY : ERR_WIRE, "list %u is too long",
                           fields[i].tag);
    }
    *ret_seen = seen;
    return true;
}

struct str verify_request_encode(struct arena *a, const struct verify_request *q)
{
    return encode(a, request_fields, REQUEST_FIELDS, q);
}

struct str verify_reply_encode(struct arena *a, const struct verify_reply *r)
{
    struct verify_reply copy = *r;
    copy.err_code = (unsigned)r->err.code;
    copy.detail = r->err.code == ERR_NONE ? STR_NONE : str_c(r->err.detail);
    copy.info_keys = (int64_t)r->info.signing_keys;
    return encode(a, reply_fields, REPLY_FIELDS, &copy);
}

static bool require(const struct verify_request *q, uint64_t seen, struct err *err)
{
    if (q->kind == 0 || q->kind >= VERIFY_KIND_COUNT)
        return err_set(err, ERR_WIRE, "unknown kind %u", q->kind);
    if (q->id <= 0 || q->now <= 0) return err_set(err, ERR_WIRE, "no id or time");
    if (q->oidc.token_auth > OIDC_AUTH_POST) return err_set(err, ERR_WIRE, "unknown token_auth");
    for (size_t i = 0; i < 4 && required[q->kind][i]; i++) {
        size_t at = field_index(request_fields, REQUEST_FIELDS, required[q->kind][i]);
        if (!(seen >> at & 1))
            return err_set(err, ERR_WIRE, "kind %u without field %u", q->kind, required[q->kind][i]);
    }
    return true;
}

bool verify_request_decode(struct arena *a, struct str payload, struct verify_request *ret, struct err *err)
{
    struct verify_request q = { 0 };
    uint64_t seen = 0;
    if (!decode(a, payload, request_fields, REQUEST_FIELDS, &q, &seen, err)) return false;
    if (!require(&q, seen, err)) return false;
    q.saml.provider = q.oidc.provider = q.provider;
    q.saml.clock_skew = q.oidc.clock_skew = q.clock_skew;
    q.saml.mapping = q.oidc.mapping = q.mapping;
    *ret = q;
    return true;
}

bool verify_reply_decode(struct arena *a, struct str payload, struct verify_reply *ret, struct err *err)
{
    struct verify_reply r = { 0 };
    uint64_t seen;
    if (!decode(a, payload, reply_fields, REPLY_FIELDS, &r, &seen, err)) return false;
    if (r.id <= 0) return err_set(err, ERR_WIRE, "reply without id");
    if (r.err_code >= ERR_COUNT || r.info_keys < 0)
        return err_set(err, ERR_WIRE, "reply with an impossible number");
    r.info.signing_keys = (size_t)r.info_keys;
    if (r.err_code) err_set(&r.err, (enum err_code)r.err_code, "%.*s", STR_FMT(r.detail));
    *ret = r;
    return true;
}

void verify_frame_put(uint8_t ret_head[VERIFY_FRAME_HEAD], size_t n)
{
    for (int i = 0; i < VERIFY_FRAME_HEAD; i++) ret_head[i] = (uint8_t)(n >> (24 - 8 * i));
}

bool verify_frame_get(const uint8_t head[VERIFY_FRAME_HEAD], size_t *ret)
{
    size_t n = 0;
    for (int i = 0; i < VERIFY_FRAME_HEAD; i++) n = n << 8 | head[i];
    if (n == 0 || n > LIMIT_WIRE_BYTES) return false;
    *ret = n;
    return true;
}
