// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/journey/access_log.h"

#include "base/log.h"

static void count_status(struct worker_metrics *m, int status)
{
    if (status >= 500)
        metric_add(&m->responses_5xx_total, 1);
    else if (status >= 400)
        metric_add(&m->responses_4xx_total, 1);
    else if (status >= 300)
        metric_add(&m->responses_3xx_total, 1);
    else if (status >= 200)
        metric_add(&m->responses_2xx_total, 1);
}

static void log_decision(struct log_line *l, const struct exchange *x)
{
    if (x->route) {
        log_str(l, "route", x->route->host);
        if (x->decision.rule_number) log_int(l, "rule", (int64_t)x->decision.rule_number);
    }
    bool by_policy = x->err.code == ERR_NONE || x->err.code == ERR_POLICY_DENIED ||
                     x->err.code == ERR_POLICY_LOGIN || x->err.code == ERR_POLICY_NO_ROUTE;
    if (by_policy && x->decision.reason != REASON_NONE)
        log_c(l, "reason", reason_name(x->decision.reason));
    else if (x->err.code != ERR_NONE)
        log_err(l, &x->err);
    if (x->session_end != ERR_NONE) log_c(l, "session", err_name(x->session_end));
}

void access_log(const struct exchange *x)
{
    count_status(&x->worker->metrics, x->status);
    struct log_line l;
    log_begin(&l, LOG_INFO, "access");
    log_c(&l, "request_id", x->request_id);
    log_str(&l, "client", x->client);
    log_c(&l, "protocol", x->engine->protocol);
    log_str(&l, "host", x->host);
    log_str(&l, "method", x->req.method);
    log_str(&l, "path", x->target.path);
    log_int(&l, "status", x->head_sent ? x->status : 0);
    log_int(&l, "bytes", (int64_t)x->bytes_sent);
    log_int(&l, "duration_ms", x->worker->loop.now_ms - x->started_ms);
    log_str(&l, "upstream", x->upstream_name);
    if (x->has_session) {
        log_str(&l, "user", identity_label(&x->session.identity));
        log_str(&l, "idp", x->session.identity.provider);
    }
    log_decision(&l, x);
    log_end(&l);
}
