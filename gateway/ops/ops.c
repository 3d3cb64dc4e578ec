// SPDX-License-Identifier: GPL-3.0-or-later
// libmicrohttpd's side: its daemon, collecting a request, sending an answer.
#include "gateway/ops/ops.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/ops/http.h"

enum { OPS_CONNECTIONS = 64, OPS_TIMEOUT_SECONDS = 15, OPS_DROPPED_MAX = 1024 * 1024 };

static void on_log(void *context, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
static void on_log(void *context, const char *fmt, va_list ap)
{
    (void)context;
    char text[256];
    vsnprintf(text, sizeof text, fmt, ap);
    log_message(LOG_DEBUG, "ops.http", "%s", text);
}

// The library's own percent-decoding is lenient (and cuts at %00): values stay as they came and are decoded
// strictly by us.
static size_t no_unescape(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context, (void)connection;
    return strlen(text);
}

static struct ops_request *request_new(struct MHD_Connection *connection, const char *method,
                                       const char *path)
{
    struct arena *a = arena_new(OPS_ARENA_BYTES);
    struct ops_request *r = a ? arena_alloc(a, sizeof *r) : NULL;
    if (!r) {
        arena_free(a);
        return NULL;
    }
    r->arena = a;
    r->connection = connection;
    r->method = arena_str_c(a, method);
    r->path = arena_str_c(a, path);
    return r;
}

static void on_completed(void *context, struct MHD_Connection *connection, void **request,
                         enum MHD_RequestTerminationCode code)
{
    (void)context, (void)connection, (void)code;
    struct ops_request *r = *request;
    if (r) arena_free(r->arena);
    *request = NULL;
}

static bool collect(struct ops_request *r, const char *data, size_t n)
{
    size_t room = sizeof r->body - r->body_n, take = n < room ? n : room;
    memcpy(r->body + r->body_n, data, take);
    r->body_n += take;
    r->dropped += n - take;
    return r->dropped <= OPS_DROPPED_MAX;
}

static bool add_headers(struct MHD_Response *response, const struct ops_answer *answer)
{
    return MHD_add_response_header(response, "Content-Type", answer->content_type) == MHD_YES &&
           MHD_add_response_header(response, "Cache-Control", "no-store") == MHD_YES &&
           MHD_add_response_header(response, "X-Content-Type-Options", "nosniff") == MHD_YES &&
           (!answer->allow || MHD_add_response_header(response, "Allow", answer->allow) == MHD_YES);
}

static enum MHD_Result send_answer(struct ops_request *r, struct ops_answer answer)
{
    if (!answer.body.p) answer = ops_json(503, STR("{\"error\":\"no_memory\",\"status\":503}\n"));
    struct MHD_Response *response = MHD_create_response_from_buffer(
        answer.body.n, (void *)(uintptr_t)answer.body.p, MHD_RESPMEM_MUST_COPY);
    if (!response) return MHD_NO;
    enum MHD_Result queued = MHD_NO;
    if (add_headers(response, &answer)) queued = MHD_queue_response(r->connection, answer.status, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *data, size_t *n,
                                  void **request)
{
    (void)version;
    if (!*request) {
        *request = request_new(connection, method, path);
        return *request ? MHD_YES : MHD_NO;
    }
    struct ops_request *r = *request;
    if (*n == 0) return send_answer(r, ops_dispatch(context, r));
    bool ok = collect(r, data, *n);
    *n = 0;
    return ok ? MHD_YES : MHD_NO;
}

static struct MHD_Daemon *daemon_start(struct ops *o)
{
    unsigned flags = MHD_USE_AUTO_INTERNAL_THREAD | MHD_USE_ITC | MHD_USE_ERROR_LOG;
    return MHD_start_daemon(flags, 0, NULL, NULL, on_request, o,                          //
                            MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,                     //
                            MHD_OPTION_LISTEN_SOCKET, o->setup.listen_fd,                 //
                            MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,              //
                            MHD_OPTION_UNESCAPE_CALLBACK, no_unescape, NULL,              //
                            MHD_OPTION_CONNECTION_LIMIT, (unsigned)OPS_CONNECTIONS,       //
                            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)OPS_TIMEOUT_SECONDS, //
                            MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
}

struct ops *ops_start(const struct ops_setup *setup, struct err *err)
{
    struct ops *o = mem_calloc(1, sizeof *o);
    if (!o) return err_set(err, ERR_NO_MEMORY, "operations listener"), NULL;
    o->setup = *setup;
    o->reader = store_reader_new(setup->store, err);
    if (o->reader) {
        o->daemon = daemon_start(o);
        if (o->daemon) return o;
        err_set(err, ERR_INTERNAL, "the operations listener does not start");
    }
    ops_stop(o);
    return NULL;
}

// Gives the listening socket back: else stopping would close it and could shut it down for every process that
// shares it.
void ops_quiesce(struct ops *o)
{
    if (!o->quiet) MHD_quiesce_daemon(o->daemon);
    o->quiet = true;
}

void ops_stop(struct ops *o)
{
    if (!o) return;
    if (o->daemon) {
        ops_quiesce(o);
        MHD_stop_daemon(o->daemon);
    }
    store_reader_free(o->reader);
    mem_free(o);
}
