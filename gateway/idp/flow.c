// SPDX-License-Identifier: GPL-3.0-or-later
// One login in the login thread: from the queue to `done`. A flow ends exactly once, by flow_done or
// flow_fail.
#include "base/log.h"
#include "base/mem.h"
#include "gateway/idp/private.h"

enum { FLOW_MEMORY = 4 * 1024 * 1024 };

static void flow_end(struct flow *f)
{
    struct idp *idp = f->idp;
    struct idp_job *job = f->job;
    if (f->prev)
        f->prev->next = f->next;
    else
        idp->flows = f->next;
    if (f->next) f->next->prev = f->prev;
    arena_free(f->arena);
    mem_free(f);
    idp_job_ended(idp, job);
}

void flow_fail(struct flow *f, const struct err *err)
{
    f->job->err = *err;
    if (f->job->err.code == ERR_NONE) err_set(&f->job->err, ERR_INTERNAL, "failed without a reason");
    flow_end(f);
}

void flow_fail_code(struct flow *f, enum err_code code, const char *detail)
{
    struct err err;
    err_set(&err, code, "%s", detail);
    flow_fail(f, &err);
}

// Results are in the job's arena by now; when that could not hold them there is no login.
void flow_done(struct flow *f)
{
    if (arena_failed(f->job->arena) || arena_failed(f->arena)) {
        flow_fail_code(f, ERR_NO_MEMORY, "the login's results do not fit");
        return;
    }
    f->job->err = (struct err){ 0 };
    flow_end(f);
}

void flow_wait(struct flow *f, void (*resume)(struct flow *f))
{
    f->resume = resume;
    f->next_waiting = f->provider->waiting;
    f->provider->waiting = f;
}

void flow_resume_waiting(struct idp_provider *p)
{
    struct flow *list = p->waiting;
    p->waiting = NULL; // a flow that must wait again goes on a new list
    while (list) {
        struct flow *f = list;
        list = f->next_waiting;
        f->next_waiting = NULL;
        f->resume(f);
    }
}

void flow_verify(struct flow *f, struct verify_request *q, bool needs_metadata,
                 void (*done)(struct verify_task *, const struct verify_reply *))
{
    const struct provider *c = f->provider->config;
    struct err err = { 0 };
    q->provider = c->key;
    if (c->protocol == PROTOCOL_OIDC) {
        q->oidc = c->oidc;
        q->mapping = c->oidc.mapping;
        q->clock_skew = c->oidc.clock_skew;
    }
    if (!verify_submit(f->idp, q, needs_metadata ? f->provider : NULL, done, f, &err)) flow_fail(f, &err);
}

bool flow_take_identity(struct flow *f, struct str encoded)
{
    struct err err = { 0 };
    struct str copy = arena_str(f->job->arena, encoded);
    struct identity id;
    if (!copy.p)
        err_set(&err, ERR_NO_MEMORY, "identity");
    else if (identity_decode(f->job->arena, copy, &id, &err) && id.subject.n > 0) {
        // Not what the provider says about itself: which provider this is was decided by who was asked.
        id.provider = f->provider->config->key;
        f->job->identity = id;
        return true;
    }
    flow_fail(f, &err);
    return false;
}

void flow_begin(struct idp *idp, struct idp_job *job)
{
    struct flow *f = mem_calloc(1, sizeof *f);
    struct arena *a = arena_new(FLOW_MEMORY);
    if (!f || !a) {
        mem_free(f);
        arena_free(a);
        err_set(&job->err, ERR_NO_MEMORY, "login");
        idp_job_ended(idp, job);
        return;
    }
    *f = (struct flow){ .idp = idp,
                        .job = job,
                        .provider = &idp->providers[job->provider->index],
                        .arena = a,
                        .next = idp->flows };
    if (f->next) f->next->prev = f;
    idp->flows = f;
    bool saml = job->provider->protocol == PROTOCOL_SAML;
    if (job->kind == IDP_START)
        (saml ? saml_flow_start : oidc_flow_start)(f);
    else
        (saml ? saml_flow_finish : oidc_flow_finish)(f);
}

void flow_fail_all(struct idp *idp, enum err_code code)
{
    while (idp->flows) flow_fail_code(idp->flows, code, "the login thread is stopping");
}
