// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/journey/identity_headers.h"

enum source { FROM_USER, FROM_EMAIL, FROM_NAME, FROM_GROUPS, FROM_SUBJECT, FROM_PROVIDER, FROM_USERNAME };

static const struct {
    enum identity_preset preset;
    const char *name;
    enum source source;
} table[] = {
    { IDENTITY_SALLYPORT, "X-Sallyport-User", FROM_USER },
    { IDENTITY_SALLYPORT, "X-Sallyport-Email", FROM_EMAIL },
    { IDENTITY_SALLYPORT, "X-Sallyport-Name", FROM_NAME },
    { IDENTITY_SALLYPORT, "X-Sallyport-Groups", FROM_GROUPS },
    { IDENTITY_SALLYPORT, "X-Sallyport-Subject", FROM_SUBJECT },
    { IDENTITY_SALLYPORT, "X-Sallyport-Provider", FROM_PROVIDER },
    { IDENTITY_OAUTH2_PROXY, "X-Forwarded-User", FROM_SUBJECT },
    { IDENTITY_OAUTH2_PROXY, "X-Forwarded-Email", FROM_EMAIL },
    { IDENTITY_OAUTH2_PROXY, "X-Forwarded-Groups", FROM_GROUPS },
    { IDENTITY_OAUTH2_PROXY, "X-Forwarded-Preferred-Username", FROM_USERNAME },
    { IDENTITY_REMOTE_USER, "Remote-User", FROM_USER },
    { IDENTITY_REMOTE_USER, "Remote-Groups", FROM_GROUPS },
    { IDENTITY_REMOTE_USER, "Remote-Name", FROM_NAME },
    { IDENTITY_REMOTE_USER, "Remote-Email", FROM_EMAIL },
};

// Applications split the value at commas and trim the pieces. A group with a comma in its name would read as
// two, one with a space at its end (" admins") as another one than policy saw: both are left out.
static bool group_is_listable(struct str group)
{
    return group.n > 0 && str_find(group, ',') == group.n && str_trim(group).n == group.n;
}

static struct str join_groups(struct arena *a, struct strlist groups)
{
    struct sbuf b;
    sbuf_init(&b, a, LIMIT_IDENTITY_BYTES);
    for (size_t i = 0; i < groups.n; i++) {
        if (!group_is_listable(groups.v[i])) continue;
        if (b.n) sbuf_add(&b, STR(","));
        sbuf_add(&b, groups.v[i]);
    }
    return sbuf_str(&b);
}

static struct str value_of(struct arena *a, const struct identity *id, enum source source)
{
    switch (source) {
    case FROM_USER: return identity_label(id);
    case FROM_EMAIL: return identity_email(id);
    case FROM_NAME: return id->name;
    case FROM_GROUPS: return join_groups(a, id->groups);
    case FROM_SUBJECT: return id->subject;
    case FROM_PROVIDER: return id->provider;
    case FROM_USERNAME: return id->username;
    }
    return STR_NONE;
}

bool identity_headers_set(struct arena *a, struct http_fields *f, unsigned presets, const struct identity *id)
{
    if (!id) return true;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (!(presets & table[i].preset)) continue;
        struct str value = value_of(a, id, table[i].source);
        if (arena_failed(a)) return false;
        if (!value.p || value.n == 0) continue;
        // Readers trim: somebody who could call themselves " admin" would be admin.
        if (str_trim(value).n != value.n) continue;
        if (!http_is_field_value(value))
            return false; // identities hold no control bytes; nothing else may pass here
        if (!http_fields_add(f, FIELD_OTHER, str_c(table[i].name), value)) return false;
    }
    return true;
}
