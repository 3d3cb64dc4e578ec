// SPDX-License-Identifier: GPL-3.0-or-later
// The Prometheus text format, version 0.0.4.
#include "gateway/ops/http.h"

static void add_head(struct sbuf *b, const char *name, const char *type, const char *help)
{
    sbuf_addf(b, "# HELP sallyport_%s %s\n# TYPE sallyport_%s %s\n", name, help, name, type);
}

static void add_value(struct sbuf *b, const char *name, const char *type, const char *help, uint64_t value)
{
    add_head(b, name, type, help);
    sbuf_addf(b, "sallyport_%s %llu\n", name, (unsigned long long)value);
}

// Label values escape backslash, quote and line feed.
static void add_label(struct sbuf *b, const char *name, struct str value)
{
    sbuf_addf(b, "%s=\"", name);
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        if (c == '\\' || c == '"') sbuf_add_c(b, "\\");
        if (c == '\n')
            sbuf_add_c(b, "\\n");
        else
            sbuf_add(b, (struct str){ &c, 1 });
    }
    sbuf_add_c(b, "\"");
}

struct sums {
#define X(name, type, help) uint64_t name;
    METRICS(X)
#undef X
};

static struct sums sum_workers(const struct ops_setup *s)
{
    struct sums sums = { 0 };
    for (size_t i = 0; i < s->nworkers; i++) {
        const struct worker_metrics *w = s->workers[i];
#define X(name, type, help) sums.name += atomic_load_explicit(&w->name, memory_order_relaxed);
        METRICS(X)
#undef X
    }
    return sums;
}

static void add_workers(struct sbuf *b, const struct ops_setup *s)
{
    struct sums sums = sum_workers(s);
#define X(name, type, help) add_value(b, #name, type, help, sums.name);
    METRICS(X)
#undef X
    add_value(b, "workers", "gauge", "Worker threads", s->nworkers);
}

static void add_store(struct sbuf *b, struct ops *o)
{
    size_t sessions;
    struct err err;
    bool up = store_count(o->reader, &sessions, &err);
    add_value(b, "store_up", "gauge", "Whether the session store can be read", up);
    if (up) add_value(b, "sessions", "gauge", "Sessions stored", sessions);
}

static void add_provider_values(struct sbuf *b, const struct ops_setup *s, const char *name, bool fetched)
{
    for (size_t i = 0; i < s->config->nproviders; i++) {
        const struct provider *p = &s->config->providers[i];
        struct idp_status status = { .ready = false };
        idp_status(s->idp, p->index, &status);
        sbuf_addf(b, "sallyport_%s{", name);
        add_label(b, "provider", p->key);
        sbuf_add_c(b, p->protocol == PROTOCOL_SAML ? ",protocol=\"saml\"} " : ",protocol=\"oidc\"} ");
        sbuf_addf(b, "%lld\n", fetched ? (long long)status.fetched : (long long)status.ready);
    }
}

static void add_providers(struct sbuf *b, const struct ops_setup *s)
{
    add_head(b, "identity_provider_up", "gauge", "Whether logins through the identity provider can work");
    add_provider_values(b, s, "identity_provider_up", false);
    add_head(b, "identity_provider_fetched_timestamp_seconds", "gauge",
             "When metadata or keys were fetched last with success, 0: never");
    add_provider_values(b, s, "identity_provider_fetched_timestamp_seconds", true);
}

static void add_backends(struct sbuf *b, const struct ops_setup *s)
{
    add_head(b, "backend_up", "gauge", "Whether the backend is in service");
    for (size_t i = 0; s->backends && i < s->config->routes.n; i++) {
        const struct route *r = &s->config->routes.v[i];
        for (size_t k = 0; k < r->target->nbackends; k++) {
            const struct backend *backend = &r->target->backends[k];
            sbuf_add_c(b, "sallyport_backend_up{");
            add_label(b, "route", arena_printf(b->arena, "%.*s%.*s", STR_FMT(r->host), STR_FMT(r->path)));
            sbuf_add_c(b, ",");
            add_label(b, "backend", backend->authority);
            sbuf_addf(b, "} %d\n", backend_is_up(&s->backends[backend->index]));
        }
    }
}

static void add_certificates(struct sbuf *b, const struct config *c)
{
    add_head(b, "certificate_expiry_timestamp_seconds", "gauge", "When a TLS certificate expires");
    for (size_t i = 0; i < c->nlisteners; i++) {
        for (size_t j = 0; j < c->listeners[i].ncertificates; j++) {
            sbuf_add_c(b, "sallyport_certificate_expiry_timestamp_seconds{");
            add_label(b, "listener", c->listeners[i].address);
            sbuf_add_c(b, ",");
            add_label(b, "file", c->listeners[i].certificates[j].cert_path);
            sbuf_addf(b, "} %lld\n", (long long)c->listeners[i].certificates[j].not_after);
        }
    }
}

struct ops_answer ops_metrics(struct ops *o, struct ops_request *r)
{
    struct sbuf b;
    sbuf_init(&b, r->arena, OPS_ANSWER_BYTES);
    add_head(&b, "build_info", "gauge", "Version of the gateway");
    sbuf_add_c(&b, "sallyport_build_info{version=\"" SALLYPORT_VERSION "\"} 1\n");
    add_value(&b, "draining", "gauge", "Whether the gateway is stopping",
              __atomic_load_n(o->setup.draining, __ATOMIC_RELAXED));
    add_workers(&b, &o->setup);
    add_store(&b, o);
    add_providers(&b, &o->setup);
    add_backends(&b, &o->setup);
    add_certificates(&b, o->setup.config);
    return (struct ops_answer){ .status = 200,
                                .content_type = "text/plain; version=0.0.4; charset=utf-8",
                                .body = sbuf_str(&b) };
}
