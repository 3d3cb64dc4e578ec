// SPDX-License-Identifier: GPL-3.0-or-later
// Health, readiness, and the state of the identity providers.
#include <string.h>

#include "gateway/ops/http.h"

struct ops_answer ops_healthz(struct ops *o, struct ops_request *r)
{
    (void)o, (void)r;
    return ops_json(200, STR("{\"status\":\"ok\"}\n"));
}

static void add_provider(struct sbuf *b, struct ops *o, const struct provider *p, bool details)
{
    struct idp_status s = { .ready = false };
    idp_status(o->setup.idp, p->index, &s);
    sbuf_add_c(b, p->index > 0 ? ",{" : "{");
    ops_json_str(b, "name", p->key);
    ops_json_str(b, "protocol", p->protocol == PROTOCOL_SAML ? STR("saml") : STR("oidc"));
    ops_json_bool(b, "ready", s.ready);
    if (details) {
        ops_json_str(b, "label", p->label);
        ops_json_int(b, "fetched", s.fetched);
        ops_json_bool(b, "from_disk", s.from_disk);
        ops_json_int(b, "valid_until", s.valid_until);
        ops_json_str(b, "error", (struct str){ s.error, strnlen(s.error, sizeof s.error) });
    }
    sbuf_add_c(b, "}");
}

static void add_providers(struct sbuf *b, struct ops *o, bool details)
{
    ops_json_key(b, "identity_providers");
    sbuf_add_c(b, "[");
    for (size_t i = 0; i < o->setup.config->nproviders; i++)
        add_provider(b, o, &o->setup.config->providers[i], details);
    sbuf_add_c(b, "]}\n");
}

// Whether requests can be served. An identity provider that is down is told, but does not count: existing
// sessions go on, and taking the gateway out of rotation would end them.
struct ops_answer ops_readyz(struct ops *o, struct ops_request *r)
{
    size_t sessions;
    struct err err = { .code = ERR_NONE };
    bool draining = __atomic_load_n(o->setup.draining, __ATOMIC_RELAXED);
    bool store = store_count(o->reader, &sessions, &err);
    bool ready = store && !draining;
    struct sbuf b;
    sbuf_init(&b, r->arena, OPS_ANSWER_BYTES);
    sbuf_add_c(&b, "{");
    ops_json_bool(&b, "ready", ready);
    ops_json_bool(&b, "draining", draining);
    ops_json_str(&b, "store", store ? STR("ok") : str_c(err_name(err.code)));
    add_providers(&b, o, false);
    return ops_json(ready ? 200 : 503, sbuf_str(&b));
}

struct ops_answer ops_providers(struct ops *o, struct ops_request *r)
{
    struct sbuf b;
    sbuf_init(&b, r->arena, OPS_ANSWER_BYTES);
    sbuf_add_c(&b, "{");
    add_providers(&b, o, true);
    return ops_json(200, sbuf_str(&b));
}
