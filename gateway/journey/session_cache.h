// SPDX-License-Identifier: GPL-3.0-or-later
// What a worker remembers of sessions, so that a busy visitor's cookie is not verified, and the record not
// opened and decoded, with every request. Facts are kept, never verdicts, and every request still asks the
// store: a session that was revoked, used elsewhere or changed is another record there (each is sealed with a
// fresh nonce), and what was kept of it is thrown away. Belongs to one thread; its size is fixed.
#pragma once

#include "gateway/store/store.h"

enum { SESSION_CACHE_BUCKETS = 8192, SESSION_CACHE_WAYS = 4, SESSION_CACHE_BYTES = 16 * 1024 };

struct cached_session;
struct session_cache {
    struct cached_session *v[SESSION_CACHE_BUCKETS][SESSION_CACHE_WAYS]; // most recently used first
};

// The session of a cookie for `host`: as session_cookie_check and store_session, with the same errors. The
// session's strings live until session_cache_release. NULL: err says why.
struct cached_session *session_cache_get(struct session_cache *c, struct store_reader *r,
                                         const struct session_keys *keys, struct str host, struct str cookie,
                                         struct err *err);
const struct session *cached_session(const struct cached_session *s);
void session_cache_release(struct cached_session *s); // NULL is accepted
void session_cache_clear(struct session_cache *c);
