// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/journey/session_cache.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"

enum { ENTRY_BYTES = 1536 }; // what most sessions need

struct cached_session {
    struct arena *arena; // everything below, and the session's strings
    unsigned refs;       // exchanges that use it, and the cache
    struct str cookie, host;
    struct store_key key;
    struct store_version version;
    struct session session;
};

void session_cache_release(struct cached_session *s)
{
    if (!s || --s->refs > 0) return;
    arena_free(s->arena);
}

const struct session *cached_session(const struct cached_session *s)
{
    return &s->session;
}

// The last characters of a good cookie are those of a MAC: as even as a hash, and nobody can choose them.
static struct cached_session **bucket_of(struct session_cache *c, struct str cookie)
{
    unsigned h = 0;
    for (size_t i = cookie.n > 8 ? cookie.n - 8 : 0; i < cookie.n; i++)
        h = h * 31 + (unsigned char)cookie.p[i];
    return c->v[h % SESSION_CACHE_BUCKETS];
}

// Without telling through its time how much of a cookie was right.
static bool is_for(const struct cached_session *s, struct str host, struct str cookie)
{
    return s && s->cookie.n == cookie.n && crypto_equal(s->cookie.p, cookie.p, cookie.n) &&
           str_eq(s->host, host);
}

static struct cached_session *find(struct cached_session **bucket, struct str host, struct str cookie)
{
    for (size_t i = 0; i < SESSION_CACHE_WAYS; i++) {
        struct cached_session *s = bucket[i];
        if (!is_for(s, host, cookie)) continue;
        memmove(bucket + 1, bucket, i * sizeof *bucket);
        bucket[0] = s;
        return s;
    }
    return NULL;
}

static void drop(struct cached_session **bucket, struct cached_session *s)
{
    for (size_t i = 0; i < SESSION_CACHE_WAYS; i++) {
        if (bucket[i] != s) continue;
        bucket[i] = NULL;
        session_cache_release(s);
    }
}

static void keep(struct cached_session **bucket, struct cached_session *s)
{
    session_cache_release(bucket[SESSION_CACHE_WAYS - 1]);
    memmove(bucket + 1, bucket, (SESSION_CACHE_WAYS - 1) * sizeof *bucket);
    bucket[0] = s;
    s->refs++;
}

static struct cached_session *out_of_memory(struct arena *a, struct err *err)
{
    arena_free(a);
    err_set(err, ERR_NO_MEMORY, "reading a session");
    return NULL;
}

static struct cached_session *load(struct store_reader *r, const struct session_keys *keys, struct str host,
                                   struct str cookie, struct err *err)
{
    struct arena *a = arena_new_small((size_t)4 * LIMIT_SESSION_BYTES, ENTRY_BYTES);
    struct cached_session *s = a ? arena_alloc(a, sizeof *s) : NULL;
    uint8_t id[SESSION_ID_BYTES];
    if (!s) return out_of_memory(a, err);
    s->arena = a;
    s->refs = 1;
    s->host = arena_str(a, host);
    s->cookie = arena_str(a, cookie);
    if (arena_failed(a)) return out_of_memory(a, err);
    if (session_cookie_check(a, keys, host, cookie, id, err) && store_key_of(id, &s->key, err) &&
        store_session_read(r, a, &s->key, &s->version, &s->session, err) == STORE_READ) {
        memcpy(s->session.id, id, sizeof id);
        return s;
    }
    arena_free(a);
    return NULL;
}

// True: the store has the very record that was read before.
static bool holds_still(struct store_reader *r, struct cached_session *s, struct err *err)
{
    return store_session_read(r, NULL, &s->key, &s->version, NULL, err) == STORE_SAME;
}

struct cached_session *session_cache_get(struct session_cache *c, struct store_reader *r,
                                         const struct session_keys *keys, struct str host, struct str cookie,
                                         struct err *err)
{
    struct cached_session **bucket = bucket_of(c, cookie), *s = find(bucket, host, cookie);
    if (s && holds_still(r, s, err)) {
        s->refs++;
        return s;
    }
    if (s) drop(bucket, s);
    err->code = ERR_NONE;
    s = load(r, keys, host, cookie, err);
    if (s && arena_used(s->arena) <= SESSION_CACHE_BYTES) keep(bucket, s);
    return s;
}

void session_cache_clear(struct session_cache *c)
{
    for (size_t i = 0; i < SESSION_CACHE_BUCKETS; i++)
        for (size_t k = 0; k < SESSION_CACHE_WAYS; k++) {
            session_cache_release(c->v[i][k]);
            c->v[i][k] = NULL;
        }
}
