// SPDX-License-Identifier: GPL-3.0-or-later
// The input is the callback's query.
#include "tests/fuzz/fuzz_oidc.h"

static void assert_visible(struct str s)
{
    assert(s.n > 0);
    for (size_t i = 0; i < s.n; i++) assert(s.p[i] > ' ' && s.p[i] < 0x7F);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str query = { (const char *)data, size }, state;
    struct oidc_client client = fuzz_client();
    struct oidc_provider p = { .iss_parameter_supported = true };
    struct oidc_callback c;
    struct err err = { 0 };
    struct arena *a = arena_new(1 << 20);
    if (!a) return 0;
    bool has_state = oidc_callback_state(a, query, &state, &err);
    if (has_state) assert_visible(state);
    if (oidc_callback_parse(a, query, &client, &p, &c, &err)) {
        assert(has_state && str_eq(state, c.state));
        assert_visible(c.code);
    }
    arena_free(a);
    return 0;
}
