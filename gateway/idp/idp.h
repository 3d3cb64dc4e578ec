// SPDX-License-Identifier: GPL-3.0-or-later
// The login thread: everything that talks to identity providers. One thread with libcurl's multi interface,
// timers for the refresh of metadata, discovery and keys, and one connection to each verifier process, which
// does all parsing. Workers submit a job and get it back when it is finished. Existing sessions never wait
// for anything in here.
#pragma once

#include "gateway/config/config.h"

struct idp; // the login thread's handle

enum idp_job_kind {
    IDP_START,  // -> redirect_url
    IDP_FINISH, // -> identity and the rest
};

struct idp_job {
    enum idp_job_kind kind;
    struct arena *arena; // results live here
    const struct provider *provider;

    // IDP_START and IDP_FINISH
    struct str state;                              // OIDC state, SAML RelayState
    struct str nonce, code_verifier, redirect_uri; // OIDC
    struct str request_id; // SAML: "_" + 40 hex digits; absent at IDP_FINISH: unsolicited
    // IDP_FINISH
    struct str callback_query; // OIDC: raw query of the callback
    struct str saml_response;  // SAML: value of the form field

    struct err err; // result: code ERR_NONE when it worked
    struct str redirect_url;
    struct identity identity;
    struct str id_token;     // OIDC
    struct str assertion_id; // SAML, with replay_until
    int64_t replay_until;
    void (*done)(struct idp_job *job); // called on the login thread
    void *context;
    struct idp_job *next; // private
};

// Starts the thread. `control` is the socket on which the supervisor passes verifier connections
// (SCM_RIGHTS).
struct idp *idp_start(const struct config *c, const struct state_keys *keys, int control, struct err *err);
void idp_stop(struct idp *idp); // finishes or fails what is under way (ERR_DRAINING), joins the thread
// False when LIMIT_LOGINS_PENDING are under way: job->err is ERR_LOGIN_BUSY and `done` is not called.
bool idp_submit(struct idp *idp, struct idp_job *job);

// For /readyz and the admin API; safe from any thread.
struct idp_status {
    bool ready;          // logins can work: metadata or discovery and keys are there
    int64_t fetched;     // time of the last good copy, 0: none
    bool from_disk;      // the last good copy came from the state directory
    char error[160];     // the last failure, empty when the last refresh worked
    int64_t valid_until; // 0: not limited
};
void idp_status(struct idp *idp, size_t provider_index, struct idp_status *ret);
