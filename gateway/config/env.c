// SPDX-License-Identifier: GPL-3.0-or-later
// The .env file: secrets for { env: NAME }, so the file itself must be private.
#include <stdlib.h>

#include "base/limits.h"
#include "gateway/config/config.h"

static bool name_ok(struct str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (!ascii_is_alnum(name.p[i]) && name.p[i] != '_') return false;
    return name.n > 0 && !(name.p[0] >= '0' && name.p[0] <= '9');
}

// 'text' or "text": taken as it stands, without escapes. A lone quote is a mistake, not a value.
static bool unquote(struct str *value)
{
    char q = value->n ? value->p[0] : 0;
    if (q != '"' && q != '\'') return true;
    if (value->n < 2 || value->p[value->n - 1] != q) return false;
    *value = (struct str){ value->p + 1, value->n - 2 };
    return str_find(*value, q) == value->n;
}

static bool set_variable(struct arena *a, struct str line, struct err *err, unsigned number)
{
    if (str_starts(line, STR("export "))) line = str_trim(str_skip(line, 7));
    size_t equals = str_find(line, '=');
    if (equals == line.n || !name_ok(str_take(line, equals)))
        return err_set(err, ERR_CONFIG, "line %u: expected NAME=value", number);
    struct str value = str_trim(str_skip(line, equals + 1));
    if (!unquote(&value)) return err_set(err, ERR_CONFIG, "line %u: a quote is not closed", number);
    if (!str_is_utf8(value, true))
        return err_set(err, ERR_CONFIG, "line %u: the value is not clean text", number);
    struct str name = arena_str(a, str_take(line, equals)), copy = arena_str(a, value);
    if (!name.p || !copy.p || setenv(name.p, copy.p, 0) != 0)
        return err_set(err, ERR_NO_MEMORY, "line %u", number);
    return true;
}

static bool set_variables(struct arena *a, struct str text, struct err *err)
{
    struct str line;
    for (unsigned number = 1; str_cut(&text, '\n', &line); number++) {
        if (line.n && line.p[line.n - 1] == '\r') line.n--;
        line = str_trim(line);
        if (line.n == 0 || line.p[0] == '#') continue;
        if (!set_variable(a, line, err, number)) return false;
    }
    return true;
}

bool config_env_file(const char *path, struct err *err)
{
    struct str text;
    struct arena *a = arena_new(4 * LIMIT_CONFIG_BYTES);
    if (!a) return err_set(err, ERR_NO_MEMORY, "%s", path);
    bool ok = file_read_private(a, path, LIMIT_CONFIG_BYTES, &text, err);
    if (ok) ok = set_variables(a, text, err);
    arena_free(a);
    return ok;
}
