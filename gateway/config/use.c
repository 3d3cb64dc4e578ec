// SPDX-License-Identifier: GPL-3.0-or-later
// Questions that others ask a loaded configuration.
#include "gateway/config/config.h"

const struct provider *config_provider(const struct config *c, struct str key)
{
    for (size_t i = 0; i < c->nproviders; i++)
        if (str_eq(c->providers[i].key, key)) return &c->providers[i];
    return NULL;
}

static bool has_boards(const struct route *r)
{
    return r->target && r->target->pico.served;
}

const struct route *config_pico_route(const struct config *c, struct str host)
{
    for (size_t i = 0; i < c->routes.n; i++)
        if (has_boards(&c->routes.v[i]) && str_eq(c->routes.v[i].host, host)) return &c->routes.v[i];
    return NULL;
}

bool config_has_pico(const struct config *c)
{
    for (size_t i = 0; i < c->routes.n; i++)
        if (has_boards(&c->routes.v[i])) return true;
    return false;
}

struct str config_origin(struct arena *a, const struct config *c, struct str host)
{
    bool ipv6 = str_find(host, ':') < host.n;
    struct str name = ipv6 ? arena_printf(a, "[%.*s]", STR_FMT(host)) : host;
    if (c->public_port == 443) return arena_printf(a, "https://%.*s", STR_FMT(name));
    return arena_printf(a, "https://%.*s:%u", STR_FMT(name), c->public_port);
}

static struct strlist saml_providers(struct arena *a, const struct config *c)
{
    struct strlist keys = { arena_array(a, c->nproviders, sizeof *keys.v), 0 };
    for (size_t i = 0; keys.v && i < c->nproviders; i++)
        if (c->providers[i].protocol == PROTOCOL_SAML) keys.v[keys.n++] = c->providers[i].key;
    return keys;
}

struct saml_sp config_saml_sp(struct arena *a, const struct config *c, const struct state_keys *keys)
{
    struct str origin = config_origin(a, c, c->login_host);
    return (struct saml_sp){ .entity_id = c->saml_entity_id,
                             .key_pem = keys->saml_key_pem,
                             .certificate_pem = keys->saml_certificate_pem,
                             .base_url = arena_printf(a, "%.*s/.sallyport/saml", STR_FMT(origin)),
                             .providers = saml_providers(a, c),
                             .organization = c->site_name };
}
