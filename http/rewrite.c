// SPDX-License-Identifier: GPL-3.0-or-later
#include "http/rewrite.h"

#include "base/url.h"

// The part of a path behind a prefix: empty, or beginning with '/'. Absent when the path lies elsewhere.
static struct str behind(struct str path, struct str prefix)
{
    if (str_eq(prefix, STR("/"))) return str_starts(path, prefix) ? path : STR_NONE;
    if (!str_starts(path, prefix)) return STR_NONE;
    struct str rest = str_skip(path, prefix.n); // "/wiki" is no prefix of "/wikis"
    return rest.n == 0 || rest.p[0] == '/' ? rest : STR_NONE;
}

static struct str join(struct arena *a, struct str prefix, struct str rest)
{
    if (!str_eq(prefix, STR("/"))) return arena_printf(a, "%.*s%.*s", STR_FMT(prefix), STR_FMT(rest));
    return rest.n ? arena_str(a, rest) : STR("/");
}

struct str http_rewrite_path(struct arena *a, struct str path, struct str prefix, struct str replacement)
{
    struct str rest = behind(path, prefix);
    return rest.p ? join(a, replacement, rest) : STR_NONE;
}

// --- redirects

// Cuts the part from the first `mark` on off *s and gives it, mark included; empty when there is none.
static struct str cut_from(struct str *s, char mark)
{
    size_t at = str_find(*s, mark);
    struct str tail = str_skip(*s, at);
    *s = str_take(*s, at);
    return tail;
}

struct str http_redirect_location(struct arena *a, struct str to, const struct http_target *target,
                                  struct str prefix)
{
    if (!prefix.p) return arena_str(a, to);
    struct str rest = behind(target->path, prefix);
    if (!rest.p) return STR_NONE;
    struct str fragment = cut_from(&to, '#'), query = cut_from(&to, '?');
    // What is appended begins with '/', so that it cannot become part of the host.
    if (rest.n && to.p[to.n - 1] == '/') to.n--;
    const char *between = target->query.n == 0 ? "" : query.n > 1 ? "&" : "?";
    if (query.n == 1) query.n = 0;
    return arena_printf(a, "%.*s%.*s%.*s%s%.*s%.*s", STR_FMT(to), STR_FMT(rest), STR_FMT(query), between,
                        STR_FMT(target->query), STR_FMT(fragment));
}

// --- answers

// Browsers take '\' for '/', and drop tabs: what they make of such a path cannot be told here.
static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == '\\') return false;
    return true;
}

// `address`: path, query and fragment. Absent: it stays as it is.
static struct str public_path(struct arena *a, const struct http_public *p, struct str address)
{
    if (!p->backend_prefix.p) return STR_NONE;
    struct str fragment = cut_from(&address, '#'), query = cut_from(&address, '?');
    bool nested = behind(p->prefix, p->backend_prefix).p != NULL;
    if (nested && behind(address, p->prefix).p) return STR_NONE;
    struct str rest = behind(address, p->backend_prefix);
    // "/app//evil.example" must not become "//evil.example", which names a host.
    if (!rest.p || str_starts(rest, STR("//"))) return STR_NONE;
    struct str path = join(a, p->prefix, rest);
    return arena_printf(a, "%.*s%.*s%.*s", STR_FMT(path), STR_FMT(query), STR_FMT(fragment));
}

static bool is_backend(struct arena *a, const struct http_public *p, struct str authority, bool https)
{
    struct str host;
    bool ipv6;
    uint16_t port;
    if (!p->host.p || !authority_parse(a, authority, &host, &ipv6, &port)) return false;
    // The application may say https (X-Forwarded-Proto) with a Host that names no port.
    bool usual = port == 0 && (p->port == 80 || p->port == 443);
    return str_eq(host, p->host) && (usual || (port ? port : https ? 443 : 80) == p->port);
}

static bool is_public(const struct http_public *p, struct str authority)
{
    return str_eq_nocase(authority, str_skip(p->origin, sizeof "https://" - 1));
}

// `head` is "http:", "https:" or nothing; what follows in `location` begins with "//".
static struct str absolute(struct arena *a, const struct http_public *p, struct str head, struct str location)
{
    struct str rest = str_skip(location, head.n + 2);
    size_t end = 0;
    while (end < rest.n && rest.p[end] != '/' && rest.p[end] != '?' && rest.p[end] != '#') end++;
    struct str authority = str_take(rest, end);
    bool backend = is_backend(a, p, authority, head.n != 5);
    if (!backend && !is_public(p, authority)) return location;
    struct str address = str_skip(rest, end);
    if (!str_starts(address, STR("/"))) address = arena_printf(a, "/%.*s", STR_FMT(address));
    struct str path = public_path(a, p, address);
    if (!path.p && !backend) return location;
    return arena_printf(a, "%.*s%.*s", STR_FMT(p->origin), STR_FMT(path.p ? path : address));
}

static struct str mapped(struct arena *a, const struct http_public *p, struct str location)
{
    static const struct str heads[] = { STR_INIT("http:"), STR_INIT("https:"), STR_INIT("") };
    if (!is_plain(location)) return location;
    for (size_t i = 0; i < 3; i++)
        if (str_starts_nocase(location, heads[i]) && str_starts(str_skip(location, heads[i].n), STR("//")))
            return absolute(a, p, heads[i], location);
    struct str path = str_starts(location, STR("/")) ? public_path(a, p, location) : STR_NONE;
    return path.p ? path : location;
}

struct str http_public_location(struct arena *a, const struct http_public *p, struct str location)
{
    struct str result = mapped(a, p, location);
    return arena_failed(a) ? STR_NONE : result;
}
