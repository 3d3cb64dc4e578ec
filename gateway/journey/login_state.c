// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/journey/login_state.h"

#include <stdlib.h>

#include "base/encode.h"
#include "base/limits.h"
#include "base/wire.h"
#include "http/cookie.h"

enum { NAME_CHARACTERS = 12, STATE_CHARACTERS = 43, RANDOM_BYTES = 32, REQUEST_ID_BYTES = 20 };
enum {
    TAG_STATE = 1,
    TAG_PROVIDER,
    TAG_NONCE,
    TAG_VERIFIER,
    TAG_REQUEST_ID,
    TAG_TARGET,
    TAG_BINDING,
    TAG_CREATED,
    TAG_REPLACES
};

#define LOGIN_STATE_PREFIX LOGIN_COOKIE_PREFIX "login-"

static struct str random_text(struct arena *a)
{
    uint8_t bytes[RANDOM_BYTES];
    if (!crypto_random(bytes, sizeof bytes)) return STR_NONE;
    return encode_base64url(a, (struct str){ (char *)bytes, sizeof bytes });
}

bool login_state_new(struct arena *a, struct login_state *ret)
{
    uint8_t bytes[REQUEST_ID_BYTES];
    if (!crypto_random(bytes, sizeof bytes)) return false;
    struct str hex = encode_hex(a, (struct str){ (char *)bytes, sizeof bytes });
    ret->state = random_text(a);
    ret->nonce = random_text(a);
    ret->code_verifier = random_text(a);
    ret->request_id = arena_printf(a, "_%.*s", STR_FMT(hex)); // an NCName must not begin with a digit
    return ret->state.p && ret->nonce.p && ret->code_verifier.p && ret->request_id.p;
}

struct str login_state_cookie_name(struct arena *a, struct str state)
{
    if (state.n != STATE_CHARACTERS) return STR_NONE;
    for (size_t i = 0; i < state.n; i++)
        if (!ascii_is_alnum(state.p[i]) && state.p[i] != '-' && state.p[i] != '_') return STR_NONE;
    return arena_printf(a, LOGIN_STATE_PREFIX "%.*s", NAME_CHARACTERS, state.p);
}

struct str login_state_seal(struct arena *a, const struct session_keys *keys, const struct login_state *s)
{
    struct wire_writer w;
    wire_init(&w, a, LIMIT_LOGIN_COOKIE_BYTES);
    wire_put(&w, TAG_STATE, s->state);
    wire_put(&w, TAG_PROVIDER, s->provider);
    wire_put(&w, TAG_NONCE, s->nonce);
    wire_put(&w, TAG_VERIFIER, s->code_verifier);
    wire_put(&w, TAG_REQUEST_ID, s->request_id);
    wire_put(&w, TAG_TARGET, s->target);
    wire_put(&w, TAG_BINDING, s->binding);
    wire_put(&w, TAG_REPLACES, s->replaces);
    wire_put_int(&w, TAG_CREATED, s->created);
    struct str plain = wire_done(&w);
    struct str name = login_state_cookie_name(a, s->state);
    uint8_t *box = plain.p ? arena_alloc(a, plain.n + SEAL_OVERHEAD) : NULL;
    if (!box || !name.p || !crypto_seal(keys->state, name, plain, box)) return STR_NONE;
    struct str text = encode_base64url(a, (struct str){ (char *)box, plain.n + SEAL_OVERHEAD });
    return text.n <= LIMIT_LOGIN_COOKIE_BYTES ? text : STR_NONE;
}

static bool decode(struct str plain, struct login_state *ret)
{
    struct login_state s = { 0 };
    struct wire_field f;
    enum wire_next next;
    while ((next = wire_next(&plain, &f)) == WIRE_FIELD) {
        switch (f.tag) {
        case TAG_STATE: s.state = f.value; break;
        case TAG_PROVIDER: s.provider = f.value; break;
        case TAG_NONCE: s.nonce = f.value; break;
        case TAG_VERIFIER: s.code_verifier = f.value; break;
        case TAG_REQUEST_ID: s.request_id = f.value; break;
        case TAG_TARGET: s.target = f.value; break;
        case TAG_BINDING: s.binding = f.value; break;
        case TAG_REPLACES: s.replaces = f.value; break;
        case TAG_CREATED:
            if (!wire_int(f.value, &s.created)) return false;
            break;
        default: break;
        }
    }
    if (next != WIRE_END || !s.state.p || !s.provider.p || !s.target.p) return false;
    *ret = s;
    return true;
}

static bool open_cookie(struct arena *a, const struct session_keys *keys, struct str name, struct str value,
                        struct login_state *ret)
{
    struct str box;
    if (value.n > LIMIT_LOGIN_COOKIE_BYTES || !decode_base64url(a, value, &box) || box.n < SEAL_OVERHEAD)
        return false;
    size_t n = box.n - SEAL_OVERHEAD;
    uint8_t *plain = arena_alloc(a, n);
    return plain && crypto_open(keys->state, name, box, plain) &&
           decode((struct str){ (char *)plain, n }, ret);
}

static bool expired(const struct login_state *s, int64_t now)
{
    return now - s->created > LIMIT_LOGIN_SECONDS || s->created - now > LIMIT_LOGIN_SECONDS;
}

bool login_state_open(struct arena *a, const struct session_keys *keys, const struct http_fields *f,
                      struct str state, struct str provider, int64_t now, struct login_state *ret,
                      struct err *err)
{
    struct str name = login_state_cookie_name(a, state);
    if (!name.p) return err_set(err, ERR_LOGIN_STATE, "the state is not one of ours");
    struct str value = cookie_get(f, name);
    if (!value.p) return err_set(err, ERR_LOGIN_STATE, "this browser has no cookie for the login");
    struct login_state s;
    if (!open_cookie(a, keys, name, value, &s))
        return err_set(err, ERR_LOGIN_STATE, "the login's cookie is damaged");
    if (s.state.n != state.n || !crypto_equal(s.state.p, state.p, state.n))
        return err_set(err, ERR_LOGIN_STATE, "the state differs from the login's cookie");
    if (!str_eq(s.provider, provider))
        return err_set(err, ERR_LOGIN_STATE, "the login was started at another provider, '%.*s'",
                       STR_FMT(s.provider));
    if (expired(&s, now))
        return err_set(err, ERR_LOGIN_STATE, "the login was started more than ten minutes ago");
    *ret = s;
    return true;
}

struct open_login {
    struct str name;
    size_t bytes;
    int64_t created; // 0: unreadable or expired
};

static int newest_first(const void *a, const void *b)
{
    const struct open_login *x = a, *y = b;
    return x->created > y->created ? -1 : x->created < y->created;
}

struct strlist login_state_surplus(struct arena *a, const struct session_keys *keys,
                                   const struct http_fields *f, int64_t now)
{
    struct strlist surplus = { arena_array(a, LIMIT_COOKIES, sizeof *surplus.v), 0 };
    struct open_login *open = arena_array(a, LIMIT_COOKIES, sizeof *open);
    if (!surplus.v || !open) return (struct strlist){ NULL, 0 };
    size_t n = 0;
    struct cookie_iter it = { .fields = f };
    struct cookie c;
    while (n < LIMIT_COOKIES && cookie_next(&it, &c)) {
        if (!str_starts(c.name, STR(LOGIN_STATE_PREFIX)) || !http_is_token(c.name)) continue;
        struct login_state s;
        bool good = open_cookie(a, keys, c.name, c.value, &s) && !expired(&s, now);
        open[n++] = (struct open_login){ c.name, c.name.n + c.value.n, good ? s.created : 0 };
    }
    qsort(open, n, sizeof *open, newest_first);
    // Long targets make large cookies: another site's links could else fill the request head, and nobody logs
    // in.
    size_t bytes = LIMIT_LOGIN_COOKIE_BYTES;
    for (size_t i = 0; i < n; i++) {
        bytes += open[i].bytes;
        bool fits = i < LIMIT_LOGIN_COOKIES - 1 && bytes <= LIMIT_LOGIN_COOKIES_TOTAL;
        if (!fits || open[i].created == 0) surplus.v[surplus.n++] = open[i].name;
    }
    return surplus;
}
