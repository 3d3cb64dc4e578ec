// SPDX-License-Identifier: GPL-3.0-or-later
// What `sallyport pico` prints for people.
#include <time.h>

#include "cli/pico.h"
#include "gateway/config/parse.h"

enum { TEXT_MAX = 64 * 1024 };

// A text without what there was no memory for would say something else.
static struct str finished(struct sbuf *b)
{
    return arena_failed(b->arena) ? STR_NONE : sbuf_str(b);
}

static bool has_boards(const struct route *r)
{
    return r->target && r->target->pico.served;
}

static bool no_such_host(struct arena *a, const struct config *c, struct str host, struct err *err)
{
    struct strlist hosts = { arena_array(a, c->routes.n, sizeof *hosts.v), 0 };
    struct loader l = { .scratch = a };
    for (size_t i = 0; hosts.v && i < c->routes.n; i++)
        if (has_boards(&c->routes.v[i])) hosts.v[hosts.n++] = c->routes.v[i].host;
    return err_set(err, ERR_CONFIG, "no route of %.*s has boards (`pico`)%s", STR_FMT(host),
                   config_nearest(&l, host, &hosts));
}

// "wss://pico.example.com[:port]/uplink": config_origin with another scheme, and the route's path.
static void add_connect(struct sbuf *b, struct arena *a, const struct config *c, const struct route *r)
{
    struct str origin = config_origin(a, c, r->host);
    bool slash = str_ends(r->path, STR("/"));
    sbuf_addf(b, "anvil.pico.connect(KEY, url=\"wss%.*s%.*s%suplink\")\n",
              STR_FMT(str_skip(origin, origin.n ? sizeof "https" - 1 : 0)), STR_FMT(r->path),
              slash ? "" : "/");
}

static size_t add_connects(struct sbuf *b, struct arena *a, const struct config *c, struct str host)
{
    size_t n = 0;
    for (size_t i = 0; i < c->routes.n; i++) {
        const struct route *r = &c->routes.v[i];
        if (!has_boards(r) || (host.p && !str_eq_nocase(r->host, host))) continue;
        if (n++ > 0) sbuf_add_c(b, "# or: ");
        add_connect(b, a, c, r);
    }
    return n;
}

struct str pico_main_py(struct arena *a, const struct config *c, struct str host, struct str name,
                        const char *key, struct err *err)
{
    struct sbuf b;
    sbuf_init(&b, a, TEXT_MAX);
    sbuf_addf(&b,
              "# For main.py of the board %.*s. The key is not shown again.\n"
              "import uasyncio as a\n"
              "import anvil.pico\n\n"
              "KEY = \"%s\"\n\n"
              "# Your functions come here, each under @anvil.pico.callable\n\n",
              STR_FMT(name), key);
    size_t n = add_connects(&b, a, c, host);
    struct str text = finished(&b);
    if (n == 0 && host.p)
        no_such_host(a, c, host, err);
    else if (n == 0)
        err_set(err, ERR_CONFIG,
                "no route of the configuration has boards (`pico`), so they could not connect");
    else if (!text.p)
        err_set(err, ERR_NO_MEMORY, "the text");
    return n ? text : STR_NONE;
}

static struct str time_text(struct arena *a, int64_t when)
{
    char buf[64];
    struct tm tm;
    time_t t = (time_t)when;
    if (!gmtime_r(&t, &tm) || !strftime(buf, sizeof buf, "%Y-%m-%d %H:%M UTC", &tm)) return STR_NONE;
    return arena_str_c(a, buf);
}

struct str pico_rotated(struct arena *a, const struct pico_change *change, const char *key)
{
    struct str until = change->old_until ? time_text(a, change->old_until) : STR_NONE;
    struct sbuf b;
    sbuf_init(&b, a, TEXT_MAX);
    sbuf_addf(&b, "# The new key of the board %.*s, for its main.py. It is not shown again.\n",
              STR_FMT(change->name));
    if (until.p)
        sbuf_addf(&b, "# The old one is valid until %.*s.\n", STR_FMT(until));
    else
        sbuf_add_c(&b, "# The old one is not valid any more.\n");
    if (change->older_until) sbuf_add_c(&b, "# One older than that was still valid, and is not any more.\n");
    sbuf_addf(&b, "KEY = \"%s\"\n", key);
    return finished(&b);
}

struct str pico_rules_naming(struct arena *a, const struct config *c, struct str name)
{
    struct sbuf b;
    size_t n = 0;
    sbuf_init(&b, a, TEXT_MAX);
    for (size_t i = 0; i < c->npolicies; i++)
        for (size_t k = 0; k < c->policies[i].nrules; k++) {
            const struct rule *r = &c->policies[i].rules[k];
            if (!strlist_has(r->devices, name)) continue;
            sbuf_addf(&b, "%s%.*s (line %u)", n++ ? ", " : "", STR_FMT(c->policies[i].name), r->line);
        }
    struct str list = finished(&b);
    return n && list.p ? arena_printf(a, "%.*s is named in the rules of: %.*s", STR_FMT(name), STR_FMT(list))
                       : STR("");
}

struct str pico_functions_text(struct arena *a, bool any, struct strlist functions)
{
    struct sbuf b;
    if (any) return STR("any");
    sbuf_init(&b, a, TEXT_MAX);
    for (size_t i = 0; i < functions.n; i++) sbuf_addf(&b, "%s%.*s", i ? ", " : "", STR_FMT(functions.v[i]));
    return finished(&b);
}
