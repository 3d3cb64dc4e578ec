// SPDX-License-Identifier: GPL-3.0-or-later
#include "http/parse.h"

static const struct {
    struct str name;
    unsigned flags;
} table[FIELD_COUNT] = {
#define FIELD(id, name, flag) [id] = { STR_INIT(name), flag },
#include "http/fields.def"
};

enum { NAME_MAX_BYTES = 40 };
#define FIELD(id, name, flag)                                                                                \
    _Static_assert(sizeof name - 1 <= NAME_MAX_BYTES, "raise NAME_MAX_BYTES: " name);
#include "http/fields.def"

// `n` is a constant wherever this is called, so the compiler keeps the comparisons with names of that length
// only.
static inline __attribute__((always_inline)) enum field_id match(const char *p, size_t n)
{
#define FIELD(id, name, flag)                                                                                \
    if (n > 0 && n == sizeof name - 1 && http_same(p, name, n)) return id;
#include "http/fields.def"
    return FIELD_OTHER;
}

static enum field_id find(const char *p, size_t n)
{
    switch (n) {
#define LENGTH(n)                                                                                            \
    case n:                                                                                                  \
        return match(p, n);
#define LENGTHS_OF_FIVE(n) LENGTH(n) LENGTH(n + 1) LENGTH(n + 2) LENGTH(n + 3) LENGTH(n + 4)
#define LENGTHS_OF_TEN(n) LENGTHS_OF_FIVE(n) LENGTHS_OF_FIVE(n + 5)
        LENGTHS_OF_TEN(1)
        LENGTHS_OF_TEN(11)
        LENGTHS_OF_TEN(21)
        LENGTHS_OF_TEN(31)
    default: return FIELD_OTHER;
    }
}

// Most names begin with a letter that no prefix begins with.
static bool may_have_prefix(char first)
{
    const unsigned firsts = 0
#define PREFIX(beginning, id) | 1u << ((beginning[0] | 0x20) - 'a')
#include "http/fields.def"
        ;
    unsigned letter = (unsigned)((first | 0x20) - 'a');
    return letter < 26 && (firsts >> letter & 1) != 0;
}

static enum field_id find_prefix(struct str name)
{
    if (name.n == 0 || !may_have_prefix(name.p[0])) return FIELD_OTHER;
#define PREFIX(beginning, id)                                                                                \
    if (name.n >= sizeof beginning - 1 && http_same(name.p, beginning, sizeof beginning - 1)) return id;
#include "http/fields.def"
    return FIELD_OTHER;
}

// CGI, WSGI, Rack and PHP make HTTP_X_FORWARDED_USER of both X-Forwarded-User and X_Forwarded_User
// (CVE-2025-64484).
static enum field_id find_underscored(struct str name)
{
    char text[NAME_MAX_BYTES];
    struct str dashed = { text, name.n < sizeof text ? name.n : sizeof text };
    for (size_t i = 0; i < dashed.n; i++) text[i] = name.p[i] == '_' ? '-' : name.p[i];
    enum field_id id = name.n <= sizeof text ? find(text, name.n) : FIELD_OTHER;
    if (id == FIELD_OTHER) id = find_prefix(dashed);
    return table[id].flags & FLAG_IDENTITY ? id : FIELD_OTHER;
}

enum field_id http_field_id(struct str name)
{
    enum field_id id = find(name.p, name.n);
    if (id != FIELD_OTHER) return id;
    return str_find(name, '_') < name.n ? find_underscored(name) : find_prefix(name);
}

struct str http_field_name(enum field_id id)
{
    return id > FIELD_OTHER && id < FIELD_COUNT ? table[id].name : STR("");
}

unsigned http_field_flags(enum field_id id)
{
    return id < FIELD_COUNT ? table[id].flags : FLAG_PLAIN;
}

const struct http_field *http_fields_get(const struct http_fields *f, enum field_id id)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->v[i].id == id && !f->v[i].removed) return &f->v[i];
    return NULL;
}

struct str http_fields_value(const struct http_fields *f, enum field_id id)
{
    const struct http_field *field = http_fields_get(f, id);
    return field ? field->value : STR_NONE;
}

void http_fields_remove(struct http_fields *f, enum field_id id)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->v[i].id == id) f->v[i].removed = true;
}

bool http_fields_add(struct http_fields *f, enum field_id id, struct str name, struct str value)
{
    if (f->n >= sizeof f->v / sizeof *f->v) return false;
    f->v[f->n++] = (struct http_field){ name, value, id, false };
    return true;
}

bool http_fields_set(struct http_fields *f, enum field_id id, struct str value)
{
    http_fields_remove(f, id);
    return http_fields_add(f, id, http_field_name(id), value);
}

bool http_media_type_is(struct str value, const char *type)
{
    return str_eq_nocase(str_trim(str_take(value, str_find(value, ';'))), str_c(type));
}
