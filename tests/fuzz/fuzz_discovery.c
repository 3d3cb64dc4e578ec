// SPDX-License-Identifier: GPL-3.0-or-later
// The input is a discovery document. The configured issuer is https: no endpoint that is accepted may be
// anything else.
#include "base/url.h"
#include "tests/fuzz/fuzz_oidc.h"

static void assert_endpoint(struct arena *a, struct str text, bool required)
{
    struct url u;
    struct err err;
    assert(text.p || !required);
    if (!text.p) return;
    assert(url_parse(a, text, &u, &err) && u.https && !u.fragment.p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct oidc_client client = fuzz_client();
    struct oidc_provider p;
    struct err err = { 0 };
    struct arena *a = arena_new(4 << 20);
    if (!a) return 0;
    bool ok = oidc_discovery_parse(a, (struct str){ (const char *)data, size }, &client, &p, &err);
    assert(ok == (err.code == ERR_NONE));
    if (ok) {
        assert_endpoint(a, p.authorization_endpoint, true);
        assert_endpoint(a, p.token_endpoint, true);
        assert_endpoint(a, p.jwks_uri, true);
        assert_endpoint(a, p.userinfo_endpoint, false);
        assert_endpoint(a, p.end_session_endpoint, false);
    }
    arena_free(a);
    return 0;
}
