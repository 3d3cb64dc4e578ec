// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/url.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/encode.h"

static bool is_visible_ascii(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7F || s.p[i] == '\\') return false;
    return true;
}

static bool host_label_ok(struct str label)
{
    if (label.n == 0 || label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-') return false;
    for (size_t i = 0; i < label.n; i++)
        if (!ascii_is_alnum(label.p[i]) && label.p[i] != '-' && label.p[i] != '_') return false;
    return true;
}

// What a URL parser would take for a number: all digits, or 0x and hex digits.
static bool label_is_numeric(struct str label)
{
    bool hex = label.n >= 2 && label.p[0] == '0' && ascii_lower(label.p[1]) == 'x';
    for (size_t i = hex ? 2 : 0; i < label.n; i++) {
        char c = ascii_lower(label.p[i]);
        if (!(c >= '0' && c <= '9') && !(hex && c >= 'a' && c <= 'f')) return false;
    }
    return true;
}

static bool dns_name_ok(struct str host)
{
    struct str rest = host, label = STR_NONE;
    while (str_cut(&rest, '.', &label))
        if (!host_label_ok(label)) return false;
    if (!label_is_numeric(label)) return true;
    // A last label that is a number makes it an IPv4 address for browsers: only plain dotted decimal passes.
    char text[16];
    struct in_addr v4;
    if (host.n >= sizeof text) return false;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    return inet_pton(AF_INET, text, &v4) == 1;
}

static bool ipv6_ok(struct str host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr v6;
    if (host.n >= sizeof text) return false;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    return inet_pton(AF_INET6, text, &v6) == 1;
}

bool host_canonical(struct arena *a, struct str raw, struct str *ret, bool *ret_ipv6)
{
    bool v6 = str_find(raw, ':') < raw.n;
    if (!v6 && raw.n > 1 && raw.p[raw.n - 1] == '.') raw.n--;
    if (raw.n == 0 || raw.n > 253 || !is_visible_ascii(raw)) return false;
    if (v6 ? !ipv6_ok(raw) : !dns_name_ok(raw)) return false;
    char *p = arena_alloc(a, raw.n + 1);
    if (!p) return false;
    for (size_t i = 0; i < raw.n; i++) p[i] = ascii_lower(raw.p[i]);
    *ret = (struct str){ p, raw.n };
    *ret_ipv6 = v6;
    return true;
}

bool host_is_localhost(struct str host)
{
    return str_eq_c(host, "localhost") || str_ends(host, STR(".localhost"));
}

static bool port_parse(struct str raw, uint16_t *ret)
{
    uint64_t port;
    if (raw.n > 5 || !str_to_u64(raw, 65535, &port) || port == 0) return false;
    *ret = (uint16_t)port;
    return true;
}

bool authority_parse(struct arena *a, struct str raw, struct str *ret_host, bool *ret_ipv6,
                     uint16_t *ret_port)
{
    struct str host = raw, port = STR_NONE;
    bool bracket = raw.n && raw.p[0] == '[';
    if (bracket) {
        size_t end = str_find(raw, ']');
        if (end == raw.n) return false;
        host = (struct str){ raw.p + 1, end - 1 };
        port = str_skip(raw, end + 1);
        if (port.n && port.p[0] != ':') return false;
        port = port.n ? str_skip(port, 1) : STR_NONE;
    } else if (str_find(raw, ':') < raw.n) {
        size_t colon = str_find(raw, ':');
        host = str_take(raw, colon);
        port = str_skip(raw, colon + 1);
    }
    uint16_t number = 0;
    if (port.p && !port_parse(port, &number)) return false;
    if (!host_canonical(a, host, ret_host, ret_ipv6) || *ret_ipv6 != bracket) return false;
    *ret_port = number;
    return true;
}

static bool split_scheme(struct str *text, bool *ret_https)
{
    if (str_starts_nocase(*text, STR("https://"))) {
        *ret_https = true;
        *text = str_skip(*text, 8);
        return true;
    }
    if (str_starts_nocase(*text, STR("http://"))) {
        *ret_https = false;
        *text = str_skip(*text, 7);
        return true;
    }
    return false;
}

static struct str take_after(struct str *text, char mark)
{
    size_t i = str_find(*text, mark);
    if (i == text->n) return STR_NONE;
    struct str after = str_skip(*text, i + 1);
    *text = str_take(*text, i);
    return after;
}

static bool escapes_ok(struct str s)
{
    struct str rest = s;
    for (size_t i; (i = str_find(rest, '%')) < rest.n; rest = str_skip(rest, i + 3)) {
        if (rest.n - i < 3) return false;
        for (size_t k = 1; k <= 2; k++) {
            char c = ascii_lower(rest.p[i + k]);
            if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f')) return false;
        }
    }
    return true;
}

bool url_parse(struct arena *a, struct str text, struct url *ret, struct err *err)
{
    struct url u = { 0 };
    if (text.n == 0) return err_set(err, ERR_URL, "the URL is empty");
    if (!is_visible_ascii(text))
        return err_set(err, ERR_URL, "spaces, controls, backslashes or non-ASCII bytes");
    struct str rest = text;
    if (!split_scheme(&rest, &u.https))
        return err_set(err, ERR_URL, "it does not begin with https:// or http://");
    struct str fragment = take_after(&rest, '#');
    struct str query = take_after(&rest, '?');
    size_t slash = str_find(rest, '/');
    struct str authority = str_take(rest, slash);
    if (str_find(authority, '@') < authority.n)
        return err_set(err, ERR_URL, "user information before the host");
    uint16_t port;
    if (!authority_parse(a, authority, &u.host, &u.ipv6, &port))
        return err_set(err, ERR_URL, "invalid host or port '%.*s'", STR_FMT(authority));
    u.port = port ? port : u.https ? 443 : 80;
    struct str path = str_skip(rest, slash);
    if (!escapes_ok(path) || !escapes_ok(query)) return err_set(err, ERR_URL, "a malformed %%-escape");
    u.path = arena_str(a, path.n ? path : STR("/"));
    u.query = arena_str(a, query);
    u.fragment = arena_str(a, fragment);
    if (arena_failed(a)) return err_set(err, ERR_NO_MEMORY, "parsing a URL");
    *ret = u;
    return true;
}

struct str url_origin(struct arena *a, const struct url *u)
{
    const char *open = u->ipv6 ? "[" : "", *close = u->ipv6 ? "]" : "";
    const char *scheme = u->https ? "https" : "http";
    if (u->port == (u->https ? 443 : 80))
        return arena_printf(a, "%s://%s%.*s%s", scheme, open, STR_FMT(u->host), close);
    return arena_printf(a, "%s://%s%.*s%s:%u", scheme, open, STR_FMT(u->host), close, u->port);
}

struct str url_format(struct arena *a, const struct url *u)
{
    struct str origin = url_origin(a, u);
    return arena_printf(a, "%.*s%.*s%s%.*s%s%.*s", STR_FMT(origin), STR_FMT(u->path), u->query.p ? "?" : "",
                        STR_FMT(u->query), u->fragment.p ? "#" : "", STR_FMT(u->fragment));
}

struct str url_with_param(struct arena *a, struct str url, const char *name, struct str value)
{
    struct str encoded = encode_percent(a, value);
    if (!encoded.p) return STR_NONE;
    char sep = str_find(url, '?') < url.n ? '&' : '?';
    return arena_printf(a, "%.*s%c%s=%.*s", STR_FMT(url), sep, name, STR_FMT(encoded));
}

bool form_parse(struct arena *a, struct str text, size_t max, struct form *ret)
{
    struct form f = { arena_array(a, max, sizeof *f.v), 0 };
    if (!f.v) return false;
    struct str rest = text, piece;
    while (str_cut(&rest, '&', &piece)) {
        if (piece.n == 0) continue;
        if (f.n == max) return false;
        size_t eq = str_find(piece, '=');
        struct str value = eq < piece.n ? str_skip(piece, eq + 1) : STR("");
        struct form_field *field = &f.v[f.n++];
        if (!decode_percent(a, str_take(piece, eq), true, &field->name)) return false;
        if (!decode_percent(a, value, true, &field->value)) return false;
    }
    *ret = f;
    return true;
}

enum form_get form_get(const struct form *f, const char *name, struct str *ret)
{
    const struct form_field *hit = NULL;
    for (size_t i = 0; i < f->n; i++) {
        if (!str_eq_c(f->v[i].name, name)) continue;
        if (hit) return FORM_DUPLICATE;
        hit = &f->v[i];
    }
    if (!hit) return FORM_MISSING;
    *ret = hit->value;
    return FORM_OK;
}
