// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/wire.h"

enum { FIELD_HEAD = 6 };

void wire_init(struct wire_writer *w, struct arena *a, size_t max)
{
    sbuf_init(&w->buf, a, max);
}

void wire_put(struct wire_writer *w, uint16_t tag, struct str value)
{
    if (!value.p) return;
    if (value.n > UINT32_MAX) {
        w->buf.failed = true;
        return;
    }
    char head[FIELD_HEAD] = { (char)(tag >> 8),      (char)tag,
                              (char)(value.n >> 24), (char)(value.n >> 16),
                              (char)(value.n >> 8),  (char)value.n };
    sbuf_add(&w->buf, (struct str){ head, sizeof head });
    sbuf_add(&w->buf, value);
}

void wire_put_int(struct wire_writer *w, uint16_t tag, int64_t value)
{
    char bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (char)((uint64_t)value >> (56 - 8 * i));
    wire_put(w, tag, (struct str){ bytes, sizeof bytes });
}

void wire_put_bool(struct wire_writer *w, uint16_t tag, bool value)
{
    wire_put(w, tag, value ? STR("\1") : STR("\0"));
}

void wire_put_list(struct wire_writer *w, uint16_t tag, struct strlist values)
{
    for (size_t i = 0; i < values.n; i++) wire_put(w, tag, values.v[i]);
}

struct str wire_done(struct wire_writer *w)
{
    return sbuf_str(&w->buf);
}

enum wire_next wire_next(struct str *rest, struct wire_field *ret)
{
    if (rest->n == 0) return WIRE_END;
    if (rest->n < FIELD_HEAD) return WIRE_BAD;
    const uint8_t *p = (const uint8_t *)rest->p;
    size_t n = (size_t)p[2] << 24 | (size_t)p[3] << 16 | (size_t)p[4] << 8 | p[5];
    if (n > rest->n - FIELD_HEAD) return WIRE_BAD;
    *ret = (struct wire_field){ (uint16_t)(p[0] << 8 | p[1]), { rest->p + FIELD_HEAD, n } };
    *rest = str_skip(*rest, FIELD_HEAD + n);
    return WIRE_FIELD;
}

bool wire_int(struct str value, int64_t *ret)
{
    if (value.n != 8) return false;
    uint64_t v = 0;
    for (int i = 0; i < 8; i++) v = v << 8 | (uint8_t)value.p[i];
    *ret = (int64_t)v;
    return true;
}

bool wire_bool(struct str value, bool *ret)
{
    if (value.n != 1 || (uint8_t)value.p[0] > 1) return false;
    *ret = value.p[0] == 1;
    return true;
}

bool wire_find(struct str message, uint16_t tag, struct str *ret)
{
    struct wire_field f;
    while (wire_next(&message, &f) == WIRE_FIELD) {
        if (f.tag != tag) continue;
        *ret = f.value;
        return true;
    }
    return false;
}

bool wire_find_int(struct str message, uint16_t tag, int64_t *ret)
{
    struct str value;
    return wire_find(message, tag, &value) && wire_int(value, ret);
}

bool wire_find_list(struct arena *a, struct str message, uint16_t tag, size_t max, struct strlist *ret)
{
    struct wire_field f;
    enum wire_next next;
    size_t count = 0;
    for (struct str rest = message; (next = wire_next(&rest, &f)) == WIRE_FIELD;) count += f.tag == tag;
    if (next == WIRE_BAD || count > max) return false;
    struct strlist list = { arena_array(a, count, sizeof *list.v), 0 };
    if (!list.v) return false;
    for (struct str rest = message; wire_next(&rest, &f) == WIRE_FIELD;)
        if (f.tag == tag) list.v[list.n++] = f.value;
    *ret = list;
    return true;
}
