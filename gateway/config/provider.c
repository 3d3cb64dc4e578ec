// SPDX-License-Identifier: GPL-3.0-or-later
// Identity providers.
#include "base/url.h"
#include "gateway/config/parse.h"

static bool key_ok(struct str key)
{
    for (size_t i = 0; i < key.n; i++) {
        char c = key.p[i];
        bool alnum = ascii_is_alnum(c) && c == ascii_lower(c);
        if (!alnum && (i == 0 || (c != '_' && c != '-'))) return false;
    }
    return key.n > 0 && key.n <= 64;
}

static bool read_protocol(struct loader *l, const struct yaml_node *node, enum protocol *ret)
{
    static struct str words[] = { STR_INIT("saml"), STR_INIT("oidc") };
    const struct strlist known = { words, 2 };
    const struct yaml_node *protocol = yaml_get(node, "protocol");
    if (!protocol) {
        config_error_key(l, node, "missing key \"protocol\": saml or oidc");
        return false;
    }
    for (unsigned i = 0; i < 2; i++) {
        if (protocol->kind != YAML_SCALAR || !str_eq(protocol->text, words[i])) continue;
        *ret = i ? PROTOCOL_OIDC : PROTOCOL_SAML;
        return true;
    }
    config_error_at(l, protocol, "expected saml or oidc, found %s%s", config_found(l, protocol),
                    config_nearest(l, protocol->text, &known));
    return false;
}

// OIDC Core 3.1.2.1: the scope value `openid` makes it an OpenID request.
static void ensure_openid(struct loader *l, struct strlist *scopes)
{
    if (strlist_has(*scopes, STR("openid"))) return;
    struct strlist all = { arena_array(l->arena, scopes->n + 1, sizeof *all.v), 0 };
    if (!all.v) return;
    all.v[all.n++] = STR("openid");
    for (size_t i = 0; i < scopes->n; i++) all.v[all.n++] = scopes->v[i];
    *scopes = all;
}

static void check_saml_provider(struct loader *l, const struct yaml_node *node, const struct provider *p)
{
    const struct yaml_node *ca = yaml_get(node, "ca");
    if (ca && p->metadata.p && !p->metadata_is_url)
        config_error_key(l, ca, "has no effect: the metadata comes from a file");
}

static void parse_provider(struct loader *l, const struct yaml_node *node, struct provider *p)
{
    p->key = arena_str(l->arena, node->key);
    p->label = p->key;
    if (!key_ok(node->key))
        config_error_key(l, node,
                         "the key of a provider is part of URLs: expected a-z, 0-9, '-' and '_', at most 64");
    if (!config_expect_kind(l, node, YAML_MAP, "a map of options")) return;
    if (!read_protocol(l, node, &p->protocol)) return;
    p->oidc.provider = p->saml.provider = p->key;
    if (p->protocol == PROTOCOL_SAML) {
        config_section(l, node, &section_saml_provider, p);
        check_saml_provider(l, node, p);
    } else {
        config_section(l, node, &section_oidc_provider, p);
        ensure_openid(l, &p->oidc.scopes);
    }
}

void config_parse_providers(struct loader *l, const struct yaml_node *node, void *field)
{
    struct config *c = field;
    if (!config_expect_kind(l, node, YAML_MAP, "a map of identity providers by name")) return;
    c->providers = arena_array(l->arena, node->n, sizeof *c->providers);
    for (const struct yaml_node *m = node->first; m && c->providers; m = m->next) {
        struct provider *p = &c->providers[c->nproviders];
        p->index = c->nproviders++;
        parse_provider(l, m, p);
    }
}

// https, or http on this machine (tests, development): what arrives over it decides who is who.
static bool trusted_url(struct loader *l, const struct yaml_node *node, struct str text, struct url *ret)
{
    struct err err = { 0 };
    struct url url;
    if (!url_parse(l->scratch, text, &url, &err)) {
        config_error_at(l, node, "expected an https:// URL, found %s (%s)", config_found(l, node),
                        err.detail);
        return false;
    }
    if (!url.https && !config_is_loopback(url.host)) {
        config_error_at(
            l, node,
            "expected https://: over http:// anybody on the way could say who is who (http:// is accepted "
            "for this machine alone)");
        return false;
    }
    *ret = url;
    return true;
}

void config_parse_issuer(struct loader *l, const struct yaml_node *node, void *field)
{
    struct str text;
    struct url url;
    if (!config_text(l, node, "the issuer's https:// URL", &text) || !trusted_url(l, node, text, &url))
        return;
    // OIDC Discovery 1.0 section 2: scheme, host, and optionally port and path, no query or fragment.
    if (url.query.p || url.fragment.p)
        config_error_at(l, node, "an issuer has no query and no fragment");
    else
        *(struct str *)field = text;
}

// Read and forgotten: what it says is for a verifier to find out.
static void metadata_file(struct loader *l, const struct yaml_node *node, struct str text, struct provider *p)
{
    struct str path = config_resolve_path(l, text), content;
    struct err err = { 0 };
    struct arena *a = arena_new(LIMIT_SAML_METADATA_BYTES + 4096);
    if (path.p && a && file_read(a, path.p, LIMIT_SAML_METADATA_BYTES, &content, &err))
        p->metadata = path;
    else
        config_error_at(l, node, "%s", err.code ? err.detail : "out of memory");
    arena_free(a);
}

void config_parse_metadata(struct loader *l, const struct yaml_node *node, void *field)
{
    struct provider *p = field;
    struct str text;
    struct url url;
    if (!config_text(l, node, "an https:// URL or the path of a file", &text)) return;
    if (str_search(text, STR("://")) == text.n) {
        metadata_file(l, node, text, p);
    } else if (trusted_url(l, node, text, &url)) {
        p->metadata = text;
        p->metadata_is_url = true;
    }
}

void config_parse_metadata_certificate(struct loader *l, const struct yaml_node *node, void *field)
{
    struct str text;
    if (config_text(l, node, "the path of a certificate", &text))
        config_pem_file(l, node, config_resolve_path(l, text), field);
}

void config_parse_ca(struct loader *l, const struct yaml_node *node, void *field)
{
    struct str text;
    if (!config_text(l, node, "the path of a file with certificates", &text)) return;
    struct str path = config_resolve_path(l, text);
    config_pem_file(l, node, path,
                    field); // its content: who serves may not be able to open the file any more
}

void config_parse_name_id_format(struct loader *l, const struct yaml_node *node, void *field)
{
    // SAML core 8.3
    static const struct {
        const char *word, *uri;
    } formats[] = {
        { "persistent", "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent" },
        { "transient", "urn:oasis:names:tc:SAML:2.0:nameid-format:transient" },
        { "email", "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress" },
        { "unspecified", "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified" },
    };
    static struct str words[] = { STR_INIT("persistent"), STR_INIT("transient"), STR_INIT("email"),
                                  STR_INIT("unspecified") };
    const struct strlist known = { words, 4 };
    for (size_t i = 0; i < 4; i++) {
        if (node->kind != YAML_SCALAR || !str_eq_c(node->text, formats[i].word)) continue;
        *(struct str *)field = str_c(formats[i].uri);
        return;
    }
    config_error_at(l, node, "expected persistent, transient, email or unspecified, found %s%s",
                    config_found(l, node), config_nearest(l, node->text, &known));
}

void config_parse_entity_id(struct loader *l, const struct yaml_node *node, void *field)
{
    struct str text;
    if (!config_text(l, node, "a URI", &text)) return;
    // SAML core 8.3.6: a URI of at most 1024 characters.
    size_t colon = str_find(text, ':');
    if (text.n > 1024 || colon == 0 || colon == text.n || str_find(text, ' ') < text.n)
        config_error_at(l, node, "expected a URI of at most 1024 characters, found %s",
                        config_found(l, node));
    else
        *(struct str *)field = text;
}

static void unknown_algorithm(struct loader *l, const struct yaml_node *item, struct str name)
{
    static struct str words[] = { STR_INIT("RS256"), STR_INIT("RS384"), STR_INIT("RS512"), STR_INIT("PS256"),
                                  STR_INIT("PS384"), STR_INIT("PS512"), STR_INIT("ES256"), STR_INIT("ES384"),
                                  STR_INIT("ES512"), STR_INIT("EdDSA") };
    const struct strlist known = { words, 10 };
    if (str_eq_nocase(name, STR("none")) || str_starts_nocase(name, STR("HS")))
        config_error_at(l, item, "%.*s is not accepted: such tokens can be made by others than the provider",
                        STR_FMT(name));
    else
        config_error_at(
            l, item,
            "expected RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 or EdDSA, found "
            "\"%.*s\"%s",
            STR_FMT(name), config_nearest(l, name, &known));
}

static const struct yaml_node *item_at(const struct yaml_node *list, size_t index)
{
    const struct yaml_node *item = list->first;
    while (item && index--) item = item->next;
    return item ? item : list;
}

void config_parse_algorithms(struct loader *l, const struct yaml_node *node, void *field)
{
    struct strlist names;
    if (!config_list(l, node, &names)) return;
    unsigned mask = 0;
    for (size_t i = 0; i < names.n; i++) {
        unsigned alg = oidc_alg_by_name(names.v[i]);
        if (!alg) unknown_algorithm(l, item_at(node, i), names.v[i]);
        mask |= alg;
    }
    *(unsigned *)field = mask;
}
