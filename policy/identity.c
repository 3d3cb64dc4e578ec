// SPDX-License-Identifier: GPL-3.0-or-later
#include "policy/identity.h"

#include "base/limits.h"
#include "base/wire.h"

struct strlist identity_claim(const struct identity *id, struct str name)
{
    for (size_t i = 0; i < id->nclaims; i++)
        if (str_eq(id->claims[i].name, name)) return id->claims[i].values;
    return (struct strlist){ NULL, 0 };
}

// `a@evil.com@corp.com` must not count as an address at corp.com: exactly one '@'.
struct str email_domain(struct str email)
{
    size_t at = str_find(email, '@');
    if (at == 0 || at + 1 >= email.n) return STR_NONE;
    struct str domain = str_skip(email, at + 1);
    return str_find(domain, '@') == domain.n ? domain : STR_NONE;
}

struct str identity_email(const struct identity *id)
{
    return id->email_verified ? id->email : STR_NONE;
}

struct str identity_label(const struct identity *id)
{
    if (id->username.n) return id->username;
    struct str email = identity_email(id);
    return email.n ? email : id->subject;
}

// Tags are stored on disk: never reuse a number.
enum tag {
    TAG_PROVIDER = 1,
    TAG_SUBJECT,
    TAG_EMAIL,
    TAG_EMAIL_VERIFIED,
    TAG_USERNAME,
    TAG_NAME,
    TAG_GROUP,
    TAG_GROUPS_KNOWN,
    TAG_GROUPS_OVERAGE,
    TAG_CLAIM, // a message of its own: TAG_CLAIM_NAME, TAG_CLAIM_VALUE...
    TAG_AUTH_TIME,
    TAG_NOT_AFTER,
    TAG_NAME_ID,
    TAG_NAME_ID_FORMAT,
    TAG_NAME_QUALIFIER,
    TAG_SP_NAME_QUALIFIER,
    TAG_SESSION_INDEX,
    TAG_SID,
    TAG_CLAIM_NAME,
    TAG_CLAIM_VALUE,
    TAG_COUNT
};

enum kind { KIND_TEXT, KIND_FLAG, KIND_NUMBER };

// Everything that occurs once.
static const struct field {
    uint16_t tag; // enum tag
    enum kind kind;
    size_t offset;
} fields[] = {
    { TAG_PROVIDER, KIND_TEXT, offsetof(struct identity, provider) },
    { TAG_SUBJECT, KIND_TEXT, offsetof(struct identity, subject) },
    { TAG_EMAIL, KIND_TEXT, offsetof(struct identity, email) },
    { TAG_EMAIL_VERIFIED, KIND_FLAG, offsetof(struct identity, email_verified) },
    { TAG_USERNAME, KIND_TEXT, offsetof(struct identity, username) },
    { TAG_NAME, KIND_TEXT, offsetof(struct identity, name) },
    { TAG_GROUPS_KNOWN, KIND_FLAG, offsetof(struct identity, groups_known) },
    { TAG_GROUPS_OVERAGE, KIND_FLAG, offsetof(struct identity, groups_overage) },
    { TAG_AUTH_TIME, KIND_NUMBER, offsetof(struct identity, auth_time) },
    { TAG_NOT_AFTER, KIND_NUMBER, offsetof(struct identity, not_after) },
    { TAG_NAME_ID, KIND_TEXT, offsetof(struct identity, name_id) },
    { TAG_NAME_ID_FORMAT, KIND_TEXT, offsetof(struct identity, name_id_format) },
    { TAG_NAME_QUALIFIER, KIND_TEXT, offsetof(struct identity, name_qualifier) },
    { TAG_SP_NAME_QUALIFIER, KIND_TEXT, offsetof(struct identity, sp_name_qualifier) },
    { TAG_SESSION_INDEX, KIND_TEXT, offsetof(struct identity, session_index) },
    { TAG_SID, KIND_TEXT, offsetof(struct identity, sid) },
};
enum { FIELDS = sizeof fields / sizeof *fields };

static void put_field(struct wire_writer *w, const struct field *f, const struct identity *id)
{
    const char *at = (const char *)id + f->offset;
    switch (f->kind) {
    case KIND_TEXT: wire_put(w, f->tag, *(const struct str *)(const void *)at); break;
    case KIND_FLAG: wire_put_bool(w, f->tag, *(const bool *)(const void *)at); break;
    case KIND_NUMBER: wire_put_int(w, f->tag, *(const int64_t *)(const void *)at); break;
    }
}

static void put_claim(struct wire_writer *w, struct arena *a, const struct claim *claim)
{
    struct wire_writer part;
    wire_init(&part, a, LIMIT_IDENTITY_BYTES);
    wire_put(&part, TAG_CLAIM_NAME, claim->name);
    wire_put_list(&part, TAG_CLAIM_VALUE, claim->values);
    struct str bytes = wire_done(&part);
    if (!bytes.p) w->buf.failed = true;
    wire_put(w, TAG_CLAIM, bytes);
}

struct str identity_encode(struct arena *a, const struct identity *id)
{
    struct wire_writer w;
    wire_init(&w, a, LIMIT_IDENTITY_BYTES);
    for (size_t i = 0; i < FIELDS; i++) put_field(&w, &fields[i], id);
    wire_put_list(&w, TAG_GROUP, id->groups);
    for (size_t i = 0; i < id->nclaims && !w.buf.failed; i++) put_claim(&w, a, &id->claims[i]);
    return wire_done(&w);
}

static bool damaged(struct err *err, const char *what)
{
    return err_set(err, ERR_WIRE, "identity: %s", what);
}

static bool get_field(const struct field *f, struct str value, struct identity *id)
{
    char *at = (char *)id + f->offset;
    switch (f->kind) {
    case KIND_TEXT: *(struct str *)(void *)at = value; return str_is_utf8(value, true);
    case KIND_FLAG: return wire_bool(value, (bool *)(void *)at);
    case KIND_NUMBER: return wire_int(value, (int64_t *)(void *)at);
    }
    return false;
}

static const struct field *field_by_tag(uint16_t tag)
{
    for (size_t i = 0; i < FIELDS; i++)
        if (fields[i].tag == tag) return &fields[i];
    return NULL;
}

static bool get_fields(struct str rest, struct identity *id, size_t *ret_nclaims, struct err *err)
{
    struct wire_field got;
    enum wire_next next;
    uint32_t seen = 0;
    _Static_assert(TAG_COUNT <= 32, "one bit per tag");
    while ((next = wire_next(&rest, &got)) == WIRE_FIELD) {
        *ret_nclaims += got.tag == TAG_CLAIM;
        const struct field *f = field_by_tag(got.tag);
        if (!f) continue;
        if (seen & 1u << f->tag) return damaged(err, "a field occurs twice");
        seen |= 1u << f->tag;
        if (!get_field(f, got.value, id)) return damaged(err, "a field has an impossible value");
    }
    return next == WIRE_END || damaged(err, "cut short");
}

static bool all_clean(struct strlist values)
{
    for (size_t i = 0; i < values.n; i++)
        if (!str_is_utf8(values.v[i], true)) return false;
    return true;
}

static bool get_list(struct arena *a, struct str message, uint16_t tag, size_t *room, struct strlist *ret,
                     struct err *err)
{
    struct strlist list;
    if (!wire_find_list(a, message, tag, *room, &list))
        return arena_failed(a) ? err_set(err, ERR_NO_MEMORY, "identity") : damaged(err, "a list is too long");
    if (!all_clean(list)) return damaged(err, "text is not clean UTF-8");
    *room -= list.n;
    *ret = list;
    return true;
}

static bool get_claim(struct arena *a, struct str message, size_t *room, struct claim *ret, struct err *err)
{
    struct claim claim = { 0 };
    if (!wire_find(message, TAG_CLAIM_NAME, &claim.name) || !str_is_utf8(claim.name, true))
        return damaged(err, "a claim without a name");
    if (!get_list(a, message, TAG_CLAIM_VALUE, room, &claim.values, err)) return false;
    *ret = claim;
    return true;
}

static bool get_claims(struct arena *a, struct str rest, size_t n, size_t *room, struct identity *id,
                       struct err *err)
{
    if (n > LIMIT_ATTRIBUTES) return damaged(err, "too many claims");
    id->claims = arena_array(a, n, sizeof *id->claims);
    if (!id->claims) return err_set(err, ERR_NO_MEMORY, "identity");
    struct wire_field got;
    while (wire_next(&rest, &got) == WIRE_FIELD) {
        if (got.tag != TAG_CLAIM) continue;
        if (!get_claim(a, got.value, room, &id->claims[id->nclaims], err)) return false;
        id->nclaims++;
    }
    return true;
}

bool identity_decode(struct arena *a, struct str bytes, struct identity *ret, struct err *err)
{
    struct identity id = { 0 };
    size_t nclaims = 0, room = LIMIT_ATTRIBUTE_VALUES;
    if (!get_fields(bytes, &id, &nclaims, err)) return false;
    if (id.subject.n == 0 || id.provider.n == 0) return damaged(err, "no subject or provider");
    if (id.email.p && !email_domain(id.email).p) return damaged(err, "an e-mail address that is none");
    if (!get_list(a, bytes, TAG_GROUP, &room, &id.groups, err)) return false;
    if (!get_claims(a, bytes, nclaims, &room, &id, err)) return false;
    *ret = id;
    return true;
}
