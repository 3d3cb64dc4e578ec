// SPDX-License-Identifier: GPL-3.0-or-later
// How a document of an identity provider becomes the good copy: candidate (fetched, read, or from the state
// directory)
// -> checked by a verifier -> adopted, and written to the state directory. A refused candidate changes
// nothing.
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/mem.h"
#include "certs/certs.h"
#include "gateway/idp/private.h"

enum { OIDC_REFRESH_MS = 3600 * 1000, CANDIDATE_MEMORY = 3 * LIMIT_SAML_METADATA_BYTES };

struct candidate {
    struct document *document;
    char *text;
    size_t n;
    bool from_disk;
    int64_t time;
};

static size_t document_max(const struct document *d)
{
    return d->kind == DOCUMENT_METADATA ? LIMIT_SAML_METADATA_BYTES : LIMIT_JSON_BYTES;
}

int64_t document_interval(const struct document *d)
{
    if (d->kind != DOCUMENT_METADATA) return OIDC_REFRESH_MS;
    int64_t seconds = d->provider->config->metadata_refresh;
    return (seconds > 0 ? seconds : 3600) * 1000;
}

struct str document_source(const struct document *d)
{
    const struct idp_provider *p = d->provider;
    switch (d->kind) {
    case DOCUMENT_METADATA: return p->config->metadata;
    case DOCUMENT_DISCOVERY: return p->config->oidc.issuer;
    case DOCUMENT_JWKS: return p->endpoints.jwks_uri;
    }
    return STR_NONE;
}

static void candidate_free(struct candidate *c)
{
    if (!c) return;
    mem_free(c->text);
    mem_free(c);
}

static bool endpoints_adopt(struct idp_provider *p, const struct oidc_provider *e)
{
    struct arena *a = arena_new(64 * 1024);
    if (!a) return false;
    struct oidc_provider copy = { .authorization_endpoint = arena_str(a, e->authorization_endpoint),
                                  .token_endpoint = arena_str(a, e->token_endpoint),
                                  .jwks_uri = arena_str(a, e->jwks_uri),
                                  .userinfo_endpoint = arena_str(a, e->userinfo_endpoint),
                                  .end_session_endpoint = arena_str(a, e->end_session_endpoint),
                                  .iss_parameter_supported = e->iss_parameter_supported };
    if (arena_failed(a) || !copy.authorization_endpoint.p || !copy.token_endpoint.p || !copy.jwks_uri.p) {
        arena_free(a);
        return false;
    }
    if (p->endpoints_arena && !str_eq(p->endpoints.jwks_uri, copy.jwks_uri)) {
        mem_free(p->jwks.text); // keys of another address
        p->jwks.text = NULL;
        p->jwks.n = 0;
        p->jwks.stale = p->jwks.in_flight;
    }
    arena_free(p->endpoints_arena);
    p->endpoints_arena = a;
    p->endpoints = copy;
    return true;
}

static bool adopt(struct candidate *c, const struct verify_reply *r, struct err *err)
{
    struct document *d = c->document;
    if (d->kind == DOCUMENT_DISCOVERY && !endpoints_adopt(d->provider, &r->endpoints))
        return err_set(err, ERR_OIDC_DISCOVERY, "the endpoints could not be kept");
    if (d->kind == DOCUMENT_METADATA) d->provider->valid_until = r->info.valid_until;
    mem_free(d->text);
    d->text = c->text;
    d->n = c->n;
    c->text = NULL;
    d->generation++;
    d->from_disk = c->from_disk;
    d->fetched = c->time;
    if (!c->from_disk) disk_save(d->provider->idp, d);
    return true;
}

// A copy from the state directory is followed by a fetch; only the end of the fetch decides about the next
// attempt.
static void after_disk(struct document *d)
{
    document_fetch(d);
    flow_resume_waiting(d->provider);
}

static void log_copy_refused(const struct document *d, const struct err *err)
{
    struct log_line l;
    log_begin(&l, LOG_WARN, "idp.copy_refused");
    log_str(&l, "idp", d->provider->config->key);
    log_err(&l, err);
    log_end(&l);
}

static void checked(struct verify_task *t, const struct verify_reply *r)
{
    struct candidate *c = t->context;
    struct document *d = c->document;
    struct err err = r->err;
    if (d->stale) {
        d->stale = false;
        candidate_free(c);
        document_fetch(d);
        return;
    }
    bool good = err.code == ERR_NONE && adopt(c, r, &err);
    bool from_disk = c->from_disk;
    candidate_free(c);
    if (from_disk) {
        if (!good) log_copy_refused(d, &err);
        after_disk(d);
        return;
    }
    refresh_ended(d, good, &err);
}

static struct verify_request check_request(const struct document *d, struct str text)
{
    const struct provider *p = d->provider->config;
    struct verify_request q = { .provider = p->key, .text = text };
    if (d->kind == DOCUMENT_METADATA) {
        q.kind = VERIFY_SAML_METADATA;
        q.saml = p->saml;
        q.mapping = p->saml.mapping;
        q.clock_skew = p->saml.clock_skew;
    } else {
        q.kind = d->kind == DOCUMENT_DISCOVERY ? VERIFY_OIDC_DISCOVERY : VERIFY_OIDC_JWKS;
        q.oidc = p->oidc;
        q.mapping = p->oidc.mapping;
        q.clock_skew = p->oidc.clock_skew;
    }
    return q;
}

static bool candidate_check(struct document *d, struct str text, bool from_disk, int64_t time,
                            struct err *err)
{
    struct candidate *c = mem_calloc(1, sizeof *c);
    char *copy = mem_alloc(text.n ? text.n : 1);
    if (!c || !copy) {
        mem_free(c);
        mem_free(copy);
        return err_set(err, ERR_NO_MEMORY, "document");
    }
    memcpy(copy, text.p, text.n);
    *c = (struct candidate){ .document = d, .text = copy, .n = text.n, .from_disk = from_disk, .time = time };
    struct verify_request q = check_request(d, (struct str){ copy, text.n });
    if (verify_submit(d->provider->idp, &q, d->kind == DOCUMENT_METADATA ? d->provider : NULL, checked, c,
                      err))
        return true;
    candidate_free(c);
    return false;
}

static void fetched(struct fetch *x)
{
    struct document *d = x->context;
    struct err err = x->err;
    if (err.code == ERR_NONE && x->status != 200)
        err_set(&err, ERR_LOGIN_UNAVAILABLE, "answered with status %ld", x->status);
    if (err.code != ERR_NONE || !candidate_check(d, x->body, false, wall_s(), &err))
        refresh_ended(d, false, &err);
}

static bool fetch_url(struct document *d, struct err *err)
{
    struct idp_provider *p = d->provider;
    struct arena *a = arena_new(16 * 1024);
    if (!a) return err_set(err, ERR_NO_MEMORY, "document");
    struct str url =
        d->kind == DOCUMENT_DISCOVERY ? oidc_discovery_url(a, p->config->oidc.issuer) : document_source(d);
    struct fetch_request r = { .url = url,
                               .ca_pem = p->config->ca_pem,
                               .max = document_max(d),
                               .accept = d->kind == DOCUMENT_METADATA
                                             ? "application/samlmetadata+xml, application/xml, text/xml"
                                             : "application/json" };
    bool started = url.p ? fetch_start(p->idp, &r, fetched, d, err)
                         : err_set(err, ERR_LOGIN_UNAVAILABLE, "no address yet");
    arena_free(a);
    return started;
}

static bool metadata_stat(const struct document *d, struct stat *ret)
{
    return stat(d->provider->config->metadata.p, ret) == 0;
}

bool document_file_changed(const struct document *d)
{
    struct stat st;
    if (!metadata_stat(d, &st)) return false; // the copy in memory goes on
    return st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec != d->file_mtime || st.st_size != d->file_size;
}

static bool read_metadata_file(struct document *d, struct err *err)
{
    struct stat st;
    if (metadata_stat(d, &st)) { // before reading: a change in between is seen next time
        d->file_mtime = st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
        d->file_size = st.st_size;
    }
    struct arena *a = arena_new(CANDIDATE_MEMORY);
    struct str text;
    bool ok = a ? file_read(a, d->provider->config->metadata.p, document_max(d), &text, err) &&
                      candidate_check(d, text, false, wall_s(), err)
                : err_set(err, ERR_NO_MEMORY, "document");
    arena_free(a);
    return ok;
}

void document_fetch(struct document *d)
{
    struct err err = { 0 };
    bool file = d->kind == DOCUMENT_METADATA && !d->provider->config->metadata_is_url;
    d->in_flight = true;
    d->last_attempt = mono_ms();
    if (!(file ? read_metadata_file(d, &err) : fetch_url(d, &err))) refresh_ended(d, false, &err);
}

void document_load_disk(struct document *d)
{
    struct err err = { 0 };
    struct str text;
    int64_t time;
    d->in_flight = true;
    d->disk_tried = true;
    struct arena *a = arena_new(CANDIDATE_MEMORY);
    bool started =
        a && disk_load(d->provider->idp, d, a, &text, &time) && candidate_check(d, text, true, time, &err);
    arena_free(a);
    if (!started) document_fetch(d);
}
