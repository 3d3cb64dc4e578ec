// SPDX-License-Identifier: GPL-3.0-or-later
// A login step that waits for another thread: the login thread (identity provider) or the store's writer. It
// has memory of its own, since the visitor may leave while it is under way.
#pragma once

#include "gateway/edge/exchange.h"
#include "gateway/journey/login_state.h"

struct login_job {
    struct exchange *x;
    struct arena *arena; // owns this struct too
    struct mail mail;
    void (*next)(
        struct login_job *j); // on the worker's thread, when the operation is done and somebody still waits

    const struct provider *provider;
    struct login_state state;
    struct session session;
    uint8_t replaced_id[SESSION_ID_BYTES]; // the session that this login replaces
    struct str ticket;                     // its text, while it is being stored
    struct idp_job idp;
    struct store_op op;
};

// NULL when out of memory: the exchange has been answered then.
struct login_job *login_job_new(struct exchange *x);
void login_job_free(struct login_job *j);
// Submits j->idp or j->op and goes on with `next`. When it cannot be submitted the exchange is answered and
// the job freed.
void login_job_ask_idp(struct login_job *j, void (*next)(struct login_job *j));
void login_job_ask_store(struct login_job *j, void (*next)(struct login_job *j));
