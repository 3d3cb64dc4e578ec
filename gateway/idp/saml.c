// SPDX-License-Identifier: GPL-3.0-or-later
// SAML logins: START makes a signed AuthnRequest, FINISH has the Response verified. Both happen in a
// verifier.
#include "gateway/idp/private.h"

// Runs `go` when the provider's metadata is usable. False: the flow waits or has failed.
static bool ready(struct flow *f, void (*resume)(struct flow *f))
{
    switch (refresh_ensure(f->provider, NEED_START)) {
    case ENSURE_READY: return true;
    case ENSURE_WAIT: flow_wait(f, resume); return false;
    case ENSURE_UNAVAILABLE: break;
    }
    flow_fail_code(f, ERR_LOGIN_UNAVAILABLE, "no usable metadata");
    return false;
}

static void start_made(struct verify_task *t, const struct verify_reply *r)
{
    struct flow *f = t->context;
    if (r->err.code != ERR_NONE) {
        flow_fail(f, &r->err);
        return;
    }
    f->job->redirect_url = arena_str(f->job->arena, r->url);
    if (f->job->redirect_url.n == 0)
        flow_fail_code(f, ERR_SAML_REQUEST, "no address to send the browser to");
    else
        flow_done(f);
}

void saml_flow_start(struct flow *f)
{
    if (!ready(f, saml_flow_start)) return;
    struct verify_request q = { .kind = VERIFY_SAML_START,
                                .request_id = f->job->request_id,
                                .relay_state = f->job->state };
    flow_verify(f, &q, true, start_made);
}

static void metadata_refetched(struct flow *f)
{
    if (f->provider->metadata.in_flight)
        flow_wait(f, metadata_refetched);
    else
        saml_flow_finish(f);
}

// The provider may sign with a new key since the last refresh: look once, and at most once a minute for all
// logins.
static void signature_refused(struct flow *f, const struct err *err)
{
    bool first = !f->keys_refetched;
    f->keys_refetched = true;
    if (first && refresh_unknown_key(f->provider))
        flow_wait(f, metadata_refetched);
    else
        flow_fail(f, err);
}

static void response_verified(struct verify_task *t, const struct verify_reply *r)
{
    struct flow *f = t->context;
    if (r->err.code == ERR_SAML_SIGNATURE) {
        signature_refused(f, &r->err);
        return;
    }
    if (r->err.code != ERR_NONE) {
        flow_fail(f, &r->err);
        return;
    }
    // Without them a second use could not be told from the first.
    if (r->assertion_id.n == 0 || r->replay_until <= 0) {
        flow_fail_code(f, ERR_INTERNAL, "a verified assertion without id or end");
        return;
    }
    if (!flow_take_identity(f, r->identity)) return;
    f->job->assertion_id = arena_str(f->job->arena, r->assertion_id);
    f->job->replay_until = r->replay_until;
    flow_done(f);
}

void saml_flow_finish(struct flow *f)
{
    if (f->job->saml_response.n == 0) {
        flow_fail_code(f, ERR_SAML_ENCODING, "no SAMLResponse");
        return;
    }
    if (!ready(f, saml_flow_finish)) return;
    struct verify_request q = { .kind = VERIFY_SAML_RESPONSE,
                                .text = f->job->saml_response,
                                .request_id = f->job->request_id };
    flow_verify(f, &q, true, response_verified);
}
