// SPDX-License-Identifier: GPL-3.0-or-later
// Paths and hosts: what is accepted is canonical, and stays as it is when parsed again.
#include <stdlib.h>
#include <string.h>

#include "http/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) abort();                                                                           \
    } while (0)

static bool has(struct str s, struct str needle)
{
    return str_search(s, needle) < s.n;
}

// Neither empty nor what some file system takes for empty, "." or "..".
static void check_segments(struct str path)
{
    struct str rest = str_skip(path, 1), segment;
    while (str_cut(&rest, '/', &segment)) {
        bool name = segment.n == 0 && !rest.p; // the path ends in '/'
        for (size_t i = 0; i < segment.n && !name; i++) {
            bool space = str_starts(str_skip(segment, i), STR("%20"));
            name = !space && segment.p[i] != '.';
            i += space ? 2 : 0;
        }
        CHECK(name);
    }
}

static void check_escapes(struct str path)
{
    for (size_t i = 0; i < path.n; i++) {
        if (path.p[i] != '%') continue;
        CHECK(i + 2 < path.n);
        for (size_t k = 1; k <= 2; k++) CHECK(strchr("0123456789ABCDEF", path.p[i + k]));
        i += 2;
    }
}

static void check_path(struct arena *a, struct str path)
{
    struct http_target again;
    struct err err;
    if (str_eq(path, STR("*"))) return;
    CHECK(path.n > 0 && path.p[0] == '/' && !has(path, STR("//")) && !has(path, STR("/./")) &&
          !has(path, STR("/../")));
    CHECK(!str_ends(path, STR("/.")) && !str_ends(path, STR("/..")));
    static const char *const never[] = { "\\",  ";",   "#",   "?",   "%2F", "%5C", "%25",
                                         "%3B", "%00", "%0A", "%2E", "%41", "%7F" };
    for (size_t i = 0; i < sizeof never / sizeof *never; i++) CHECK(!has(path, str_c(never[i])));
    for (size_t i = 0; i < path.n; i++) CHECK(path.p[i] > ' ' && path.p[i] < 0x7F);
    check_segments(path);
    check_escapes(path);
    CHECK(http_target_parse(a, path, &again, &err) && str_eq(again.path, path));
}

static void check_host(struct arena *a, struct str raw)
{
    struct str host, again;
    uint16_t port;
    struct err err = { 0 };
    if (!http_host_parse(a, raw, &host, &port, &err)) {
        CHECK(err.code == ERR_HTTP_HOST);
        return;
    }
    struct str text = has(host, STR(":")) ? arena_printf(a, "[%.*s]", STR_FMT(host)) : host;
    CHECK(http_host_parse(a, text, &again, &port, &err) && str_eq(again, host) && port == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new(1024 * 1024);
    struct str text = { (const char *)data, size };
    struct http_target t;
    struct err err = { 0 };
    if (http_target_parse(a, text, &t, &err))
        check_path(a, t.path);
    else
        CHECK(err.code == ERR_HTTP_PATH || err.code == ERR_HTTP_QUERY ||
              err.code == ERR_HTTP_TARGET_TOO_LONG);
    check_host(a, text);
    arena_free(a);
    return 0;
}
