// SPDX-License-Identifier: GPL-3.0-or-later
// Addresses between browsers and backends: canonical paths stay canonical, and what an application says never
// becomes another host for the browser.
#include <stdlib.h>

#include "http/rewrite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) abort();                                                                           \
    } while (0)

static const struct str prefixes[] = { STR_INIT("/"), STR_INIT("/a"), STR_INIT("/app") };
enum { PREFIXES = sizeof prefixes / sizeof *prefixes };

static void check_request(struct arena *a, struct str input, struct str prefix, struct str replacement)
{
    struct http_target target, again;
    struct err err = { 0 };
    if (!http_target_parse(a, input, &target, &err)) return;
    struct str path = http_rewrite_path(a, target.path, prefix, replacement);
    struct str location = http_redirect_location(a, STR("https://n.example"), &target, prefix);
    CHECK(path.p == NULL ? !location.p : location.p != NULL);
    if (!path.p) return;
    CHECK(path.n > 0 && path.p[0] == '/' && !str_starts(path, STR("//")));
    CHECK(http_target_parse(a, path, &again, &err) && str_eq(again.path, path) && !again.query.p);
    // Nothing that is appended becomes part of the host.
    CHECK(str_starts(location, STR("https://n.example")));
    struct str rest = str_skip(location, sizeof "https://n.example" - 1);
    CHECK(rest.n == 0 || rest.p[0] == '/' || rest.p[0] == '?');
}

static void check_answer(struct arena *a, struct str input, struct str prefix, struct str backend_prefix)
{
    struct http_public p = { .host = STR("app"),
                             .port = 80,
                             .origin = STR("https://public.example"),
                             .prefix = prefix,
                             .backend_prefix = backend_prefix };
    struct str got = http_public_location(a, &p, input);
    CHECK(got.p);
    if (str_eq(got, input)) return;
    // Changed: a path under the prefix, or a public address.
    struct str origin = STR("https://public.example");
    bool absolute = str_starts(got, origin);
    struct str path = absolute ? str_skip(got, origin.n) : got;
    CHECK(str_starts(path, STR("/")) && (absolute || !str_starts(path, STR("//"))));
    CHECK(str_find(got, '\\') == got.n && str_find(got, '\t') == got.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char nothing[] = "";
    struct str input = { size ? (const char *)data : nothing, size };
    struct arena *a = size <= 64 * 1024 ? arena_new(16 << 20) : NULL;
    for (size_t i = 0; a && i < PREFIXES * PREFIXES; i++) {
        check_request(a, input, prefixes[i / PREFIXES], prefixes[i % PREFIXES]);
        check_answer(a, input, prefixes[i / PREFIXES], prefixes[i % PREFIXES]);
    }
    arena_free(a);
    return 0;
}
