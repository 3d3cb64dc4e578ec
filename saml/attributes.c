// SPDX-License-Identifier: GPL-3.0-or-later
#include "saml/attributes.h"

#include <string.h>

#include "base/limits.h"
#include "saml/decrypt.h"
#include "saml/mapping.h"
#include "saml/names.h"

struct attribute {
    struct str name, friendly;
    struct strlist values;
    size_t room;
};
struct attributes {
    struct arena *arena;
    struct attribute *v;
    size_t n, values;
};

// --- collecting

static struct attribute *attribute_named(struct attributes *all, struct str name)
{
    for (size_t i = 0; i < all->n; i++)
        if (str_eq(all->v[i].name, name)) return &all->v[i];
    return NULL;
}

static bool add_value(struct attributes *all, struct attribute *at, struct str value)
{
    if (at->values.n == at->room) {
        size_t room = at->room ? at->room * 2 : 4;
        struct str *v = arena_array(all->arena, room, sizeof *v);
        if (!v) return false;
        if (at->values.n) memcpy(v, at->values.v, at->values.n * sizeof *v);
        at->values.v = v;
        at->room = room;
    }
    at->values.v[at->values.n++] = value;
    return true;
}

// A value with control characters equals nothing that an operator can write down, and may not travel in
// headers: left out. So are empty ones (xsi:nil). More values than the limit: refused as a whole, since a
// left-out group could be the one that a rule denies.
static bool add_values(struct attributes *all, struct attribute *at, const xmlNode *element, struct err *err)
{
    for (const xmlNode *v = xml_child(element, NS_ASSERTION, "AttributeValue"); v; v = xml_again(v)) {
        struct str value = xml_trim(xml_text(all->arena, v));
        if (++all->values > LIMIT_ATTRIBUTE_VALUES)
            return err_set(err, ERR_SAML_STRUCTURE, "more than %d attribute values", LIMIT_ATTRIBUTE_VALUES);
        if (value.n == 0 || !str_is_utf8(value, true)) continue;
        if (!add_value(all, at, value)) return err_set(err, ERR_NO_MEMORY, "attributes");
    }
    return true;
}

// Several elements of one Name are one attribute (Keycloak sends each role in an element of its own).
static bool add_attribute(struct attributes *all, const xmlNode *element, struct err *err)
{
    struct str name = xml_attr(all->arena, element, "Name");
    struct str friendly = xml_attr(all->arena, element, "FriendlyName");
    if (name.n == 0 || !str_is_utf8(name, true))
        return err_set(err, ERR_SAML_STRUCTURE, "an attribute without a usable Name");
    struct attribute *at = attribute_named(all, name);
    if (!at && all->n == LIMIT_ATTRIBUTES)
        return err_set(err, ERR_SAML_STRUCTURE, "more than %d attributes", LIMIT_ATTRIBUTES);
    if (!at) {
        at = &all->v[all->n++];
        *at = (struct attribute){ .name = name, .friendly = friendly };
    }
    return add_values(all, at, element, err);
}

// An EncryptedAttribute could hold what a rule denies: nobody decides without it.
static bool collect(struct attributes *all, const xmlNode *assertion, struct err *err)
{
    all->v = arena_array(all->arena, LIMIT_ATTRIBUTES, sizeof *all->v);
    if (!all->v) return err_set(err, ERR_NO_MEMORY, "attributes");
    for (const xmlNode *s = xml_child(assertion, NS_ASSERTION, "AttributeStatement"); s; s = xml_again(s))
        for (const xmlNode *e = xml_first(s); e; e = xml_following(e)) {
            if (!xml_is(e, NS_ASSERTION, "Attribute"))
                return err_set(err, ERR_SAML_STRUCTURE, "<%.60s> in an AttributeStatement",
                               (const char *)e->name);
            if (!add_attribute(all, e, err)) return false;
        }
    return true;
}

// --- the subject's name

static const xmlNode *find_name_id(struct arena *a, const xmlNode *assertion,
                                   const struct saml_client *client, struct str key_pem, struct err *err)
{
    const xmlNode *subject = xml_only(assertion, NS_ASSERTION, "Subject");
    const xmlNode *encrypted = xml_only(subject, NS_ASSERTION, "EncryptedID");
    xmlNodePtr plain = NULL;
    if (!encrypted) return xml_only(subject, NS_ASSERTION, "NameID");
    if (xml_child(subject, NS_ASSERTION, "NameID")) return NULL;
    return decrypt_element(a, encrypted, key_pem, client, &plain, err) ? plain : NULL;
}

static struct str clean_attr(struct arena *a, const xmlNode *e, const char *name)
{
    struct str s = xml_attr(a, e, name);
    return s.p && str_is_utf8(s, true) ? s : STR_NONE;
}

static bool read_name_id(struct arena *a, const xmlNode *assertion, const struct saml_client *client,
                         struct str key_pem, struct identity *id, struct err *err)
{
    struct err why = { 0 };
    const xmlNode *e = find_name_id(a, assertion, client, key_pem, &why);
    if (why.code) {
        *err = why;
        return false;
    }
    struct str value = xml_is(e, NS_ASSERTION, "NameID") ? xml_value(a, e) : STR_NONE;
    if (value.n == 0 || !str_is_utf8(value, true))
        return err_set(err, ERR_SAML_SUBJECT, "the subject has no usable NameID");
    id->name_id = value;
    id->name_id_format = clean_attr(a, e, "Format");
    id->name_qualifier = clean_attr(a, e, "NameQualifier");
    id->sp_name_qualifier = clean_attr(a, e, "SPNameQualifier");
    return true;
}

// --- mapping

// The attribute `name`, by Name, else by FriendlyName (which core 2.7.3.1 calls informational, but people
// know).
static const struct attribute *attribute_find(const struct attributes *all, struct str name)
{
    for (size_t i = 0; i < all->n; i++)
        if (str_eq(all->v[i].name, name)) return &all->v[i];
    for (size_t i = 0; i < all->n; i++)
        if (all->v[i].friendly.p && str_eq(all->v[i].friendly, name)) return &all->v[i];
    return NULL;
}

static struct str first_value(const struct attributes *all, const struct identity *id, struct str name)
{
    if (str_eq_c(name, MAPPING_NAME_ID)) return id->name_id;
    const struct attribute *at = attribute_find(all, name);
    return at && at->values.n ? at->values.v[0] : STR_NONE;
}

static struct str map_one(const struct attributes *all, const struct identity *id, const char *field,
                          struct strlist configured)
{
    struct str room[MAPPING_MAX], value = STR_NONE;
    struct strlist names = mapping_names(field, configured, room);
    for (size_t i = 0; i < names.n && !value.p; i++) value = first_value(all, id, names.v[i]);
    return value;
}

// The address with its domain in lower case; absent when it is no address (exactly one '@', nothing empty).
static struct str clean_email(struct arena *a, struct str text)
{
    size_t at = str_find(text, '@');
    if (at == 0 || at + 1 >= text.n || str_find(str_skip(text, at + 1), '@') != text.n - at - 1)
        return STR_NONE;
    struct str copy = arena_str(a, text);
    if (!copy.p) return STR_NONE;
    char *p = (char *)copy.p;
    for (size_t i = at; i < copy.n; i++) p[i] = ascii_lower(p[i]);
    return copy;
}

static void map_email(const struct attributes *all, const struct saml_client *client, struct identity *id)
{
    struct str room[MAPPING_MAX];
    struct strlist names = mapping_names("email", client->mapping.email, room);
    for (size_t i = 0; i < names.n && !id->email.p; i++)
        id->email = clean_email(all->arena, first_value(all, id, names.v[i]));
    if (!id->email.p && client->mapping.email.n == 0 && str_eq_c(id->name_id_format, SAML_FORMAT_EMAIL))
        id->email = clean_email(all->arena, id->name_id);
    id->email_verified = id->email.p != NULL;
}

// An attribute without values is a known empty list. Entra ID sends groups.link instead when there are too
// many.
static void map_groups(const struct attributes *all, const struct saml_client *client, struct identity *id)
{
    struct str room[MAPPING_MAX];
    struct strlist names = mapping_names("groups", client->mapping.groups, room);
    for (size_t i = 0; i < names.n && !id->groups_known; i++) {
        const struct attribute *at = attribute_find(all, names.v[i]);
        if (!at) continue;
        id->groups = at->values;
        id->groups_known = true;
    }
    id->groups_overage = attribute_find(all, STR("http://schemas.microsoft.com/claims/groups.link")) != NULL;
}

// A transient NameID is new at each login (core 8.3.8), so something lasting is looked for first. A
// configured attribute that is missing is a refusal: another value could be somebody else's.
static bool map_subject(const struct attributes *all, const struct saml_client *client, struct identity *id,
                        struct err *err)
{
    bool configured = client->mapping.subject.n > 0;
    id->subject = id->name_id;
    if (!configured && !str_eq_c(id->name_id_format, SAML_FORMAT_TRANSIENT)) return true;
    struct str value = map_one(all, id, "subject", client->mapping.subject);
    if (!value.p && configured)
        return err_set(err, ERR_SAML_SUBJECT, "none of the attributes for the subject was sent");
    if (value.p) id->subject = value;
    return true;
}

static void copy_claims(const struct attributes *all, struct identity *id)
{
    id->claims = arena_array(all->arena, all->n, sizeof *id->claims);
    if (!id->claims) return;
    for (size_t i = 0; i < all->n; i++) id->claims[i] = (struct claim){ all->v[i].name, all->v[i].values };
    id->nclaims = all->n;
}

bool attributes_read(struct arena *a, const xmlNode *assertion, const struct saml_client *client,
                     struct str key_pem, struct identity *id, struct err *err)
{
    struct attributes all = { .arena = a };
    if (!read_name_id(a, assertion, client, key_pem, id, err) || !collect(&all, assertion, err) ||
        !map_subject(&all, client, id, err))
        return false;
    map_email(&all, client, id);
    map_groups(&all, client, id);
    id->username = map_one(&all, id, "username", client->mapping.username);
    id->name = map_one(&all, id, "name", client->mapping.name);
    copy_claims(&all, id);
    return arena_failed(a) ? err_set(err, ERR_NO_MEMORY, "attributes") : true;
}
