// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/journey/login_job.h"

#include "gateway/journey/answer.h"

struct login_job *login_job_new(struct exchange *x)
{
    struct arena *a = arena_new(LIMIT_EXCHANGE_ARENA);
    struct login_job *j = a ? arena_alloc(a, sizeof *j) : NULL;
    if (!j) {
        arena_free(a);
        answer_failure(x, ERR_NO_MEMORY, "starting a login step");
        return NULL;
    }
    j->arena = a;
    j->x = x;
    return j;
}

void login_job_free(struct login_job *j)
{
    arena_free(j->arena);
}

static void deliver(struct mail *m)
{
    struct login_job *j = container_of(m, struct login_job, mail);
    if (exchange_job_done(j->x))
        j->next(j);
    else
        login_job_free(j);
}

static void come_back(struct login_job *j)
{
    j->mail.deliver = deliver;
    mailbox_post(&j->x->worker->loop.mailbox, &j->mail);
}

static void idp_done(struct idp_job *job)
{
    come_back(job->context);
}

static void store_done(struct store_op *op)
{
    come_back(op->context);
}

void login_job_ask_idp(struct login_job *j, void (*next)(struct login_job *j))
{
    j->next = next;
    j->idp.arena = j->arena;
    j->idp.provider = j->provider;
    j->idp.done = idp_done;
    j->idp.context = j;
    j->x->jobs++;
    if (idp_submit(j->x->worker->shared->idp, &j->idp)) return;
    j->x->jobs--;
    j->x->err = j->idp.err;
    answer_error(j->x, STR_NONE);
    login_job_free(j);
}

void login_job_ask_store(struct login_job *j, void (*next)(struct login_job *j))
{
    j->next = next;
    j->op.arena = j->arena;
    j->op.now = j->x->worker->loop.now;
    j->op.done = store_done;
    j->op.context = j;
    j->x->jobs++;
    store_submit(j->x->worker->shared->store, &j->op);
}
