// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/log.h"
#include "gateway/journey/answer.h"
#include "gateway/journey/login.h"
#include "gateway/journey/login_job.h"
#include "gateway/journey/same_site.h"
#include "gateway/pages/pages.h"
#include "http/cookie.h"

static void say_goodbye(struct exchange *x)
{
    struct str user = x->has_session ? identity_label(&x->session.identity) : STR_NONE;
    struct log_line l;
    log_begin(&l, LOG_INFO, "logout");
    log_c(&l, "request_id", x->request_id);
    log_str(&l, "client", x->client);
    log_str(&l, "user", user);
    log_end(&l);
    x->stale_cookie = true; // cleared with the answer
    struct page_common common = { .site_name = x->worker->shared->config->site_name,
                                  .host = x->host,
                                  .request_id = str_c(x->request_id) };
    answer_page(x, 200, page_signed_out(x->arena, &common, answer_home(x)));
}

static void deleted(struct login_job *j)
{
    struct exchange *x = j->x;
    if (j->op.err.code != ERR_NONE) {
        x->err = j->op.err;
        answer_error(x, STR_NONE);
    } else {
        metric_add(&x->worker->metrics.logouts_total, 1);
        say_goodbye(x);
    }
    login_job_free(j);
}

void login_sign_out(struct exchange *x)
{
    if (!same_site_is(x)) {
        answer_failure(x, ERR_LOGIN_CROSS_SITE, "a sign-out from another site");
        return;
    }
    if (!x->has_session) {
        say_goodbye(x);
        return;
    }
    struct login_job *j = login_job_new(x);
    if (!j) return;
    j->op = (struct store_op){ .kind = STORE_SESSION_DELETE };
    for (size_t i = 0; i < SESSION_ID_BYTES; i++) j->op.id[i] = x->session.id[i];
    login_job_ask_store(j, deleted);
}
