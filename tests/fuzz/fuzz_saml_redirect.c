// SPDX-License-Identifier: GPL-3.0-or-later
#include "saml_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    rig_start();
    struct arena *a = arena_new(FUZZ_ARENA);
    struct saml_redirect r;
    struct err err = { 0 };
    if (a) {
        rig_must(
            !saml_redirect_verify(a, (struct str){ (const char *)data, n }, &rig_client, rig_idp, &r, &err));
        rig_must(err.code != ERR_NONE);
    }
    arena_free(a);
    return 0;
}
