// SPDX-License-Identifier: GPL-3.0-or-later
// Tagged fields: the byte format of messages between our processes and of sealed records. A field is a 16-bit
// tag, a 32-bit length and that many bytes, all big-endian. Order is free, a tag may repeat (lists). Readers
// skip tags that they do not know, so records survive an upgrade. Reading is bounded and never copies:
// results borrow from the input.
#pragma once

#include "base/arena.h"

struct wire_writer {
    struct sbuf buf;
};
void wire_init(struct wire_writer *w, struct arena *a, size_t max);
void wire_put(struct wire_writer *w, uint16_t tag, struct str value); // an absent value is left out
void wire_put_int(struct wire_writer *w, uint16_t tag, int64_t value);
void wire_put_bool(struct wire_writer *w, uint16_t tag, bool value);
void wire_put_list(struct wire_writer *w, uint16_t tag, struct strlist values); // one field per value
// The finished bytes, absent when they did not fit.
struct str wire_done(struct wire_writer *w);

struct wire_field {
    uint16_t tag;
    struct str value;
};
enum wire_next { WIRE_FIELD, WIRE_END, WIRE_BAD };
// Takes the next field off *rest.
enum wire_next wire_next(struct str *rest, struct wire_field *ret);
bool wire_int(struct str value, int64_t *ret);
bool wire_bool(struct str value, bool *ret);
// The first field with `tag`: false when there is none (or the message is damaged before it).
bool wire_find(struct str message, uint16_t tag, struct str *ret);
bool wire_find_int(struct str message, uint16_t tag, int64_t *ret);
// All values of `tag` (the array is in the arena, the values borrow). False: damaged or out of memory.
bool wire_find_list(struct arena *a, struct str message, uint16_t tag, size_t max, struct strlist *ret);
