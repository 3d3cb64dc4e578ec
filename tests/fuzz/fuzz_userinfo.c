// SPDX-License-Identifier: GPL-3.0-or-later
// The input is a userinfo answer. It must not change who somebody is, nor vouch for an address that it did
// not name.
#include "tests/fuzz/fuzz_oidc.h"

static void try_merge(struct str input, const char *email)
{
    struct oidc_client client = fuzz_client();
    struct str sub = STR("248289761001"), address = str_c(email);
    struct claim claims[] = { { STR("sub"), { &sub, 1 } }, { STR("email"), { &address, 1 } } };
    struct identity id = { .subject = STR("mapped"), .claims = claims, .nclaims = email ? 2 : 1 };
    struct err err = { 0 };
    struct arena *a = arena_new(4 << 20);
    if (!a) return;
    bool ok = oidc_userinfo_merge(a, &client, input, &id, &err);
    assert(ok == (err.code == ERR_NONE));
    assert(str_eq_c(id.subject, "mapped"));
    if (ok) fuzz_assert_identity(&id);
    if (ok && email) assert(str_eq_c(id.email, email));
    arena_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = { (const char *)data, size };
    try_merge(input, NULL);
    try_merge(input, "ann@example.com");
    return 0;
}
