// SPDX-License-Identifier: GPL-3.0-or-later
// When documents are fetched, and which are usable. Every document has its own clock: after a good copy the
// refresh interval, after a failure 5 s, doubling up to that interval. A login that finds nothing usable
// starts an attempt itself, at most every 5 s, so an identity provider that comes up is noticed by the first
// visitor.
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/idp/private.h"

enum { RETRY_MS = 5000, FILE_LOOK_MS = 5000, REFETCH_MS = LIMIT_JWKS_REFETCH_SECONDS * 1000 };

static bool is_saml(const struct idp_provider *p)
{
    return p->config->protocol == PROTOCOL_SAML;
}

static bool metadata_usable(const struct idp_provider *p)
{
    return p->metadata.text && (p->valid_until == 0 || wall_s() < p->valid_until);
}

static void status_update(struct idp_provider *p, const struct err *err)
{
    const struct document *first = is_saml(p) ? &p->metadata : &p->jwks;
    pthread_mutex_lock(&p->idp->lock);
    struct idp_status *s = &p->status;
    s->ready = is_saml(p) ? metadata_usable(p) : p->endpoints_arena && p->jwks.text;
    s->fetched = first->text ? first->fetched : 0;
    s->from_disk = first->text && first->from_disk;
    s->valid_until = p->valid_until;
    if (err && err->code != ERR_NONE)
        snprintf(s->error, sizeof s->error, "%s: %.100s", err_name(err->code), err->detail);
    else if (err)
        s->error[0] = 0;
    pthread_mutex_unlock(&p->idp->lock);
}

static const char *const names[] = {
    [DOCUMENT_METADATA] = "metadata",
    [DOCUMENT_DISCOVERY] = "discovery",
    [DOCUMENT_JWKS] = "jwks",
};

static void log_ended(const struct document *d, bool good, const struct err *err)
{
    struct log_line l;
    if (!good && err->code == ERR_DRAINING) return;
    log_begin(&l, good ? LOG_INFO : LOG_WARN, good ? "idp.refreshed" : "idp.refresh_failed");
    log_str(&l, "idp", d->provider->config->key);
    log_c(&l, "document", names[d->kind]);
    if (!good) {
        log_err(&l, err);
        log_bool(&l, "last_good_copy", d->text != NULL);
    }
    log_end(&l);
}

static void schedule(struct document *d, bool good)
{
    int64_t interval = document_interval(d), now = mono_ms();
    d->backoff = good ? 0 : d->backoff ? d->backoff * 2 : RETRY_MS;
    if (d->backoff > interval) d->backoff = interval;
    d->next = now + (good ? interval : d->backoff);
    d->last_attempt =
        now; // an attempt may have lasted longer than RETRY_MS: who waited for it must not start the next
}

static void document_begin(struct document *d)
{
    if (d->disk_tried)
        document_fetch(d);
    else
        document_load_disk(d);
}

void refresh_ended(struct document *d, bool good, const struct err *err)
{
    struct idp_provider *p = d->provider;
    d->in_flight = d->stale = false;
    schedule(d, good);
    log_ended(d, good, err);
    struct err none = { 0 };
    status_update(p, good ? &none : err);
    if (d->kind == DOCUMENT_DISCOVERY && p->endpoints_arena && !p->jwks.text && !p->jwks.in_flight)
        document_begin(&p->jwks);
    flow_resume_waiting(p);
}

// Starts an attempt unless the last one is too recent.
static enum ensure attempt(struct document *d)
{
    if (d->in_flight) return ENSURE_WAIT;
    if (d->last_attempt && mono_ms() - d->last_attempt < RETRY_MS) return ENSURE_UNAVAILABLE;
    document_begin(d);
    return d->in_flight ? ENSURE_WAIT : ENSURE_UNAVAILABLE;
}

enum ensure refresh_ensure(struct idp_provider *p, int need)
{
    if (is_saml(p)) return metadata_usable(p) ? ENSURE_READY : attempt(&p->metadata);
    if (!p->endpoints_arena) return attempt(&p->discovery);
    if (need == NEED_START || p->jwks.text) return ENSURE_READY;
    return attempt(&p->jwks);
}

bool refresh_unknown_key(struct idp_provider *p)
{
    struct document *keys = is_saml(p) ? &p->metadata : &p->jwks;
    int64_t now = mono_ms();
    if (keys->in_flight) return true;
    if (p->keys_refetched && now - p->keys_refetched < REFETCH_MS) return false;
    p->keys_refetched = now;
    document_fetch(keys);
    return keys->in_flight;
}

static void provider_init(struct idp *idp, struct idp_provider *p, const struct provider *config)
{
    *p = (struct idp_provider){ .idp = idp, .config = config };
    p->metadata = (struct document){ .kind = DOCUMENT_METADATA, .provider = p, .next = INT64_MAX };
    p->discovery = (struct document){ .kind = DOCUMENT_DISCOVERY, .provider = p, .next = INT64_MAX };
    p->jwks = (struct document){ .kind = DOCUMENT_JWKS, .provider = p, .next = INT64_MAX };
    if (is_saml(p))
        p->metadata.next = 0;
    else
        p->discovery.next = 0;
}

void refresh_init(struct idp *idp)
{
    for (size_t i = 0; i < idp->config->nproviders; i++)
        provider_init(idp, &idp->providers[i], &idp->config->providers[i]);
}

void refresh_done(struct idp *idp)
{
    for (size_t i = 0; i < idp->config->nproviders; i++) {
        struct idp_provider *p = &idp->providers[i];
        mem_free(p->metadata.text);
        mem_free(p->discovery.text);
        mem_free(p->jwks.text);
        arena_free(p->endpoints_arena);
    }
}

static void document_tick(struct document *d, int64_t now)
{
    if (d->in_flight || d->next > now) return;
    document_begin(d);
}

// A file is looked at often, read when it has changed, and retried like a URL while it is bad.
static void file_tick(struct document *d, int64_t now)
{
    if (d->in_flight || !d->disk_tried || d->next <= now || now - d->last_attempt < FILE_LOOK_MS) return;
    d->last_attempt = now;
    if (document_file_changed(d)) document_fetch(d);
}

void refresh_tick(struct idp *idp, int64_t now)
{
    for (size_t i = 0; i < idp->config->nproviders; i++) {
        struct idp_provider *p = &idp->providers[i];
        document_tick(&p->metadata, now);
        document_tick(&p->discovery, now);
        document_tick(&p->jwks, now);
        if (is_saml(p) && !p->config->metadata_is_url) file_tick(&p->metadata, now);
        if (is_saml(p)) status_update(p, NULL); // validUntil passes by itself
    }
}

static int64_t earlier(int64_t at, const struct document *d)
{
    return !d->in_flight && d->next < at ? d->next : at;
}

int64_t refresh_deadline(const struct idp *idp)
{
    int64_t at = INT64_MAX;
    for (size_t i = 0; i < idp->config->nproviders; i++) {
        const struct idp_provider *p = &idp->providers[i];
        at = earlier(earlier(earlier(at, &p->metadata), &p->discovery), &p->jwks);
        if (is_saml(p) && !p->config->metadata_is_url && p->metadata.last_attempt + FILE_LOOK_MS < at)
            at = p->metadata.last_attempt + FILE_LOOK_MS;
    }
    return at;
}
