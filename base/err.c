// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
    const char *name;
    int status;
    const char *text;
} table[ERR_COUNT] = {
    [ERR_NONE] = { "none", 200, "" },
#define ERR(code, name, status, text) [code] = { name, status, text },
#include "base/errors.def"
#undef ERR
};

bool err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    err->code = code;
    vsnprintf(err->detail, sizeof err->detail, fmt, ap);
    va_end(ap);
    return false;
}

const char *err_name(enum err_code code)
{
    return code < ERR_COUNT ? table[code].name : "unknown";
}

int err_status(enum err_code code)
{
    return code < ERR_COUNT ? table[code].status : 500;
}

const char *err_text(enum err_code code)
{
    return code < ERR_COUNT ? table[code].text : "Something went wrong inside the gateway.";
}

enum err_code err_by_name(struct str name)
{
    for (int i = 0; i < ERR_COUNT; i++)
        if (str_eq_c(name, table[i].name)) return (enum err_code)i;
    return ERR_NONE;
}
