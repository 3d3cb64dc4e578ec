// SPDX-License-Identifier: GPL-3.0-or-later
// What the fuzzers of oidc/ share: one client, and what must hold for everything that is accepted.
#pragma once

#include <assert.h>

#include "oidc/oidc.h"

#define FUZZ_ISSUER "https://idp.example.com"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline struct oidc_client fuzz_client(void)
{
    static struct str groups[] = { STR_INIT("groups"), STR_INIT("realm_access.roles") };
    return (struct oidc_client){
        .provider = STR("corp"),
        .issuer = STR(FUZZ_ISSUER),
        .client_id = STR("app"),
        .client_secret = STR("secret"),
        .algorithms = ~0u,
        .mapping = { .groups = { groups, 2 } },
        .clock_skew = 60,
    };
}

static inline void fuzz_assert_printable(struct str s)
{
    assert(!s.p || str_is_utf8(s, true));
}

// The promises of policy/identity.h.
static inline void fuzz_assert_identity(const struct identity *id)
{
    assert(id->subject.n > 0);
    const struct str fields[] = { id->subject, id->email, id->username, id->name, id->sid };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) fuzz_assert_printable(fields[i]);
    for (size_t i = 0; i < id->groups.n; i++) fuzz_assert_printable(id->groups.v[i]);
    for (size_t i = 0; i < id->nclaims; i++) {
        fuzz_assert_printable(id->claims[i].name);
        for (size_t k = 0; k < id->claims[i].values.n; k++) fuzz_assert_printable(id->claims[i].values.v[k]);
    }
    size_t at = str_find(id->email, '@');
    assert(!id->email.p || (at > 0 && at + 1 < id->email.n));
    assert(!id->email.p || str_find(str_skip(id->email, at + 1), '@') == id->email.n - at - 1);
    assert(!id->email_verified || id->email.p);
}
