// SPDX-License-Identifier: GPL-3.0-or-later
// The demo identity provider: speaks SAML 2.0 and OpenID Connect to exactly one relying party, for `./demo`
// and for trying things out on one's own machine. NOT FOR PRODUCTION: its users and passwords are printed on
// its login page, it keeps everything in memory and checks only what makes the demo honest. It is never
// linked into the daemon.
#pragma once

#include <openssl/evp.h>
#include <stdbool.h>

#include "examples/common/serve.h"

struct demo_user {
    const char *name, *password, *display, *email;
    const char *groups[3];
};
extern const struct demo_user demo_users[];
extern const size_t demo_user_count;
const struct demo_user *demo_user_check(const char *name, const char *password);

// What the command line said.
struct demo_options {
    const char *base; // https://localhost:9443, the OpenID issuer
    unsigned port;
    const char *certificate, *key; // files, for TLS
    const char *sp_metadata;       // file
    const char *client_id, *client_secret, *redirect_uri;
};
extern struct demo_options demo_options;

bool demo_saml_init(const char *key_pem, const char *certificate_pem);
bool demo_oidc_init(EVP_PKEY *key);
// Each looks at the request and fills the answer; false: not its path.
bool demo_saml_serve(const struct demo_request *r, struct demo_answer *ret);
bool demo_oidc_serve(const struct demo_request *r, struct demo_answer *ret);

// The login form; `hidden` is carried through it unchanged. `wrong`: a sentence about the last attempt.
struct str demo_login_page(struct arena *a, const char *action, struct str hidden, const char *wrong);
struct str demo_message_page(struct arena *a, const char *title, const char *sentence);
