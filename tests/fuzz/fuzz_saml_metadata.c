// SPDX-License-Identifier: GPL-3.0-or-later
// The first byte chooses whether a signature is demanded (then nothing may come out).
#include "saml_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    rig_start();
    struct arena *a = arena_new(FUZZ_ARENA);
    struct saml_client client = rig_client;
    struct saml_idp *idp;
    struct saml_idp_info info;
    struct err err = { 0 };
    if (n && a) {
        struct str bytes = { (const char *)data + 1, n - 1 };
        bool must_be_signed = data[0] & 1;
        if (must_be_signed) client.metadata_certificate_pem = rig_certificate_pem;
        bool ok = saml_idp_parse(a, bytes, &client, FUZZ_NOW, &idp, &info, &err);
        rig_must(!(ok && must_be_signed));
        rig_must(ok ? info.signing_keys > 0 && info.sso_redirect_url.n > 0 : err.code != ERR_NONE);
    }
    arena_free(a);
    return 0;
}
