// SPDX-License-Identifier: GPL-3.0-or-later
#include "certs/sni.h"

enum { SNI_HOST_NAME = 0, SNI_HOST_MAX = 255 };

static bool take_u16(struct str *s, size_t *ret)
{
    if (s->n < 2) return false;
    *ret = (size_t)((uint8_t)s->p[0] << 8 | (uint8_t)s->p[1]);
    *s = str_skip(*s, 2);
    return true;
}

// "The ServerNameList MUST NOT contain more than one name of the same name_type", and no second type was ever
// defined: one entry.
bool sni_host(struct str extension, struct str *ret)
{
    struct str s = extension;
    size_t list, length;
    if (!take_u16(&s, &list) || list != s.n || s.n < 1) return false;
    if (s.p[0] != SNI_HOST_NAME) return false;
    s = str_skip(s, 1);
    if (!take_u16(&s, &length) || length != s.n || length == 0 || length > SNI_HOST_MAX) return false;
    *ret = s;
    return true;
}
