// SPDX-License-Identifier: GPL-3.0-or-later
// The layout of a stored value: version, end, index keys, sealed box. What is in front of the box is readable
// without the key, so that a record can be removed with all its index entries by whoever cannot open it (a
// changed master secret), but it is authenticated with it.
#include <string.h>

#include "gateway/store/internal.h"

enum { RECORD_VERSION = 1, HEAD_FIXED = 1 + 8 + 1, HEAD_MAX = HEAD_FIXED + RECORD_INDEXES * HASH_BYTES };

void store_put_int(uint8_t ret[8], int64_t v)
{
    for (int i = 0; i < 8; i++) ret[i] = (uint8_t)((uint64_t)v >> (56 - 8 * i));
}

int64_t store_get_int(const uint8_t p[8])
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++) v = v << 8 | p[i];
    return (int64_t)v;
}

bool hash_of(struct str key, struct hash *ret)
{
    return crypto_sha256(key, ret->b);
}

static bool person_hash(const struct store *s, struct str kind, struct str name, struct hash *ret)
{
    struct str parts[] = { kind, name };
    return crypto_hmac_sha256((struct str){ (const char *)s->index_key, sizeof s->index_key }, parts, 2,
                              ret->b);
}

bool hash_of_email(const struct store *s, struct str email, struct hash *ret)
{
    char folded[320]; // RFC 5321 4.5.3.1: 64 + 1 + 255
    if (email.n > sizeof folded) return person_hash(s, STR("long"), email, ret);
    for (size_t i = 0; i < email.n; i++) folded[i] = ascii_lower(email.p[i]);
    return person_hash(s, STR("email"), (struct str){ folded, email.n }, ret);
}

bool hash_of_subject(const struct store *s, struct str subject, struct hash *ret)
{
    return person_hash(s, STR("subject"), subject, ret);
}

void expiry_key_make(uint8_t ret[EXPIRY_KEY_BYTES], enum store_db db, const struct hash *key, int64_t until)
{
    store_put_int(ret, until < 0 ? 0 : until); // a negative time would sort behind all others
    ret[8] = (uint8_t)db;
    memcpy(ret + 9, key->b, HASH_BYTES);
}

void by_user_key_make(uint8_t ret[BY_USER_KEY_BYTES], const struct hash *person, const struct hash *session)
{
    memcpy(ret, person->b, HASH_BYTES);
    memcpy(ret + HASH_BYTES, session->b, HASH_BYTES);
}

// What a box is bound to: the database, the key and the readable head. A value moved to another key, to
// another database or given a later end does not open.
struct aad {
    char buf[16 + HASH_BYTES + HEAD_MAX];
    size_t n;
};

static void aad_add(struct aad *aad, struct str s)
{
    memcpy(aad->buf + aad->n, s.p, s.n);
    aad->n += s.n;
}

static struct aad aad_make(enum store_db db, const struct hash *key, struct str head)
{
    struct aad aad = { .n = 0 };
    aad_add(&aad, db == DB_SESSIONS ? STR("store session  1") : STR("store ticket   1"));
    aad_add(&aad, (struct str){ (const char *)key->b, HASH_BYTES });
    aad_add(&aad, head);
    return aad;
}

struct str record_pack(const struct store *s, struct arena *a, enum store_db db, const struct hash *key,
                       const struct record *r, struct str plain)
{
    size_t head = HEAD_FIXED + r->nindex * HASH_BYTES;
    uint8_t *p = plain.p ? arena_alloc(a, head + plain.n + SEAL_OVERHEAD) : NULL;
    if (!p) return STR_NONE;
    p[0] = RECORD_VERSION;
    store_put_int(p + 1, r->until);
    p[9] = (uint8_t)r->nindex;
    for (size_t i = 0; i < r->nindex; i++) memcpy(p + HEAD_FIXED + i * HASH_BYTES, r->index[i].b, HASH_BYTES);
    struct aad aad = aad_make(db, key, (struct str){ (const char *)p, head });
    if (!crypto_seal(s->record_key, (struct str){ aad.buf, aad.n }, plain, p + head)) return STR_NONE;
    return (struct str){ (const char *)p, head + plain.n + SEAL_OVERHEAD };
}

bool record_split(struct str value, struct record *ret)
{
    const uint8_t *p = (const uint8_t *)value.p;
    if (value.n < HEAD_FIXED || p[0] != RECORD_VERSION || p[9] > RECORD_INDEXES) return false;
    struct record r = { .until = store_get_int(p + 1), .nindex = p[9] };
    size_t head = HEAD_FIXED + r.nindex * HASH_BYTES;
    if (value.n < head) return false;
    for (size_t i = 0; i < r.nindex; i++) memcpy(r.index[i].b, p + HEAD_FIXED + i * HASH_BYTES, HASH_BYTES);
    r.head = str_take(value, head);
    r.box = str_skip(value, head);
    *ret = r;
    return true;
}

bool record_open(const struct store *s, struct arena *a, enum store_db db, const struct hash *key,
                 const struct record *r, struct str *ret_plain)
{
    if (r->box.n < SEAL_OVERHEAD) return false;
    size_t n = r->box.n - SEAL_OVERHEAD;
    uint8_t *plain = arena_alloc(a, n + 1);
    struct aad aad = aad_make(db, key, r->head);
    if (!plain || !crypto_open(s->record_key, (struct str){ aad.buf, aad.n }, r->box, plain)) return false;
    *ret_plain = (struct str){ (const char *)plain, n };
    return true;
}
