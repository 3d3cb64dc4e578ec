// SPDX-License-Identifier: GPL-3.0-or-later
#include "relay/json_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"

static void add_char(struct sbuf *b, char c)
{
    sbuf_add(b, (struct str){ &c, 1 });
}

// Bytes at the front of `text` that need no escape.
static size_t plain_bytes(struct str text)
{
    size_t n = 0;
    while (n < text.n && (uint8_t)text.p[n] >= 0x20 && text.p[n] != '"' && text.p[n] != '\\') n++;
    return n;
}

static void add_escape(struct sbuf *b, char c)
{
    switch (c) {
    case '"': sbuf_add_c(b, "\\\""); break;
    case '\\': sbuf_add_c(b, "\\\\"); break;
    case '\n': sbuf_add_c(b, "\\n"); break;
    case '\r': sbuf_add_c(b, "\\r"); break;
    case '\t': sbuf_add_c(b, "\\t"); break;
    default: sbuf_addf(b, "\\u%04x", (unsigned)(uint8_t)c); break;
    }
}

void relay_json_add_string(struct sbuf *b, struct str text)
{
    if (!str_is_utf8(text, false)) {
        struct str repaired = encode_json(b->arena, text);
        sbuf_add(b, repaired);
        b->failed = b->failed || !repaired.p;
        return;
    }
    add_char(b, '"');
    while (text.n > 0) {
        size_t n = plain_bytes(text);
        sbuf_add(b, str_take(text, n));
        text = str_skip(text, n);
        if (text.n == 0) break;
        add_escape(b, text.p[0]);
        text = str_skip(text, 1);
    }
    add_char(b, '"');
}

// The fewest digits that mean the same: 15 when they do, without zeros at the end. "1" would be an integer,
// so a float keeps its point.
static void add_real(struct sbuf *b, double v)
{
    char digits[40];
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(digits, sizeof digits - 2, "%.*g", precision, v);
        if (strtod(digits, NULL) == v) break;
    }
    if (!strpbrk(digits, ".e")) strcat(digits, ".0");
    sbuf_add_c(b, digits);
}

static void add_array(struct sbuf *b, const json_t *array)
{
    add_char(b, '[');
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (i > 0) add_char(b, ',');
        relay_json_add(b, json_array_get(array, i));
    }
    add_char(b, ']');
}

static void add_object(struct sbuf *b, const json_t *object)
{
    char sep = '{';
    for (void *i = json_object_iter((json_t *)object); i; i = json_object_iter_next((json_t *)object, i)) {
        add_char(b, sep);
        relay_json_add_string(b, (struct str){ json_object_iter_key(i), json_object_iter_key_len(i) });
        add_char(b, ':');
        relay_json_add(b, json_object_iter_value(i));
        sep = ',';
    }
    sbuf_add_c(b, sep == '{' ? "{}" : "}");
}

void relay_json_add(struct sbuf *b, const json_t *value)
{
    char digits[STR_INT_BYTES];
    switch (json_typeof(value)) {
    case JSON_OBJECT: add_object(b, value); break;
    case JSON_ARRAY: add_array(b, value); break;
    case JSON_STRING:
        relay_json_add_string(b, (struct str){ json_string_value(value), json_string_length(value) });
        break;
    case JSON_INTEGER: sbuf_add(b, str_of_int(json_integer_value(value), digits)); break;
    case JSON_REAL: add_real(b, json_real_value(value)); break;
    case JSON_TRUE: sbuf_add_c(b, "true"); break;
    case JSON_FALSE: sbuf_add_c(b, "false"); break;
    case JSON_NULL: sbuf_add_c(b, "null"); break;
    }
}

bool relay_json_deeper(struct str text, unsigned max)
{
    unsigned depth = 0;
    bool string = false;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (string && c == '\\')
            i++;
        else if (c == '"')
            string = !string;
        else if (!string && (c == '[' || c == '{') && ++depth > max)
            return true;
        else if (!string && (c == ']' || c == '}') && depth > 0)
            depth--;
    }
    return false;
}
