// SPDX-License-Identifier: GPL-3.0-or-later
// A login thread with real verifier processes (this test binary called with "verifier") and a scripted
// identity provider.
#pragma once

#include <sys/types.h>

#include "gateway/idp/idp.h"
#include "gateway/process/control.h"
#include "http_double.h"

enum { RIG_VERIFIERS = 2 };
struct rig {
    struct arena *arena;
    char state[64]; // directory
    struct config config;
    struct provider providers[2]; // oidc "op", saml "corp"
    struct state_keys keys;
    struct idp *idp;
    int control; // the supervisor's end
    pid_t verifiers[RIG_VERIFIERS];
    uint32_t serial;
    char issuer[64], metadata_url[80];
};
// Makes the state directory and the configuration; nothing runs yet. `port` is the double's.
void rig_init(struct rig *r, int port);
void rig_run(struct rig *r, unsigned verifiers); // starts the login thread and that many verifiers
void rig_attach(struct rig *r, unsigned slot);   // starts one verifier and passes it on
void rig_halt(struct rig *r);                    // stops both; the state directory stays
void rig_done(struct rig *r);                    // and removes the directory

void rig_remove(const char *dir); // a folder and all in it

// One job, waited for. `answer`: the callback's query, or the SAMLResponse.
struct login {
    struct arena *arena;
    struct idp_job job;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool ended;
};
void login_begin(struct rig *r, struct login *l, enum idp_job_kind kind, size_t provider, const char *answer);
void login_wait(struct login *l);
void login_free(struct login *l);
// START of that provider, waited for: its error code.
enum err_code rig_start_code(struct rig *r, size_t provider);
// FINISH of the OpenID provider with a good callback: its error code.
enum err_code rig_finish_code(struct rig *r);
// Waits until the provider's status says so, at most `ms`.
bool rig_wait_ready(struct rig *r, size_t provider, bool ready, int ms);
struct idp_status rig_status(struct rig *r, size_t provider);

// What the OpenID provider says. Key names select among keys made on first use.
char *op_discovery(const struct rig *r, const char *issuer); // malloc'd
char *op_jwks(struct rig *r, const char *kid);
char *op_token_answer(struct rig *r, const char *kid, const char *nonce);
// The whole of a well-behaved provider on the double.
void op_script(struct rig *r, struct http_double *d, const char *kid);
// Metadata of a SAML identity provider; valid_until NULL: without.
char *saml_metadata(struct rig *r, const char *valid_until);

// Each test has a world of its own: a provider that answers well, and a rig that is not running yet.
#define DISCOVERY "/.well-known/openid-configuration"
enum { OIDC = 0, SAML = 1 }; // positions in the configuration
struct CMUnitTest;
struct world {
    struct http_double d;
    struct rig r;
};
extern struct world world;
int world_setup(void **state);
int world_teardown(void **state);
// Runs the tests, or serves as a verifier. An argument selects tests, SHOW_LOG in the environment shows the
// log.
int world_main(int argc, char **argv, const struct CMUnitTest *tests, size_t n);
int64_t now_ms(void);
