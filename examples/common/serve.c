// SPDX-License-Identifier: GPL-3.0-or-later
#include "examples/common/serve.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { ARENA_BYTES = 4 * 1024 * 1024, BODY_BYTES = 512 * 1024 };

struct request_state {
    struct arena *arena;
    struct sbuf body;
    struct str query;
    bool begun;
};

struct visitor {
    void (*visit)(void *context, const char *name, const char *value);
    void *context;
};

static enum MHD_Result visit_one(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    struct visitor *v = cls;
    v->visit(v->context, name, value ? value : "");
    return MHD_YES;
}

void demo_each_header(const struct demo_request *r,
                      void (*visit)(void *context, const char *name, const char *value), void *context)
{
    struct visitor v = { visit, context };
    MHD_get_connection_values(r->connection, MHD_HEADER_KIND, visit_one, &v);
}

// The raw target is only shown here, before libmicrohttpd splits and decodes it.
static void *begin(void *cls, const char *uri, struct MHD_Connection *connection)
{
    (void)cls;
    (void)connection;
    struct arena *a = arena_new(ARENA_BYTES);
    struct request_state *s = a ? arena_alloc(a, sizeof *s) : NULL;
    if (!s) {
        arena_free(a);
        return NULL;
    }
    s->arena = a;
    sbuf_init(&s->body, a, BODY_BYTES);
    const char *mark = uri ? strchr(uri, '?') : NULL;
    s->query = mark ? arena_str_c(a, mark + 1) : STR_NONE;
    return s;
}

static void end(void *cls, struct MHD_Connection *connection, void **state,
                enum MHD_RequestTerminationCode why)
{
    (void)cls;
    (void)connection;
    (void)why;
    struct request_state *s = *state;
    if (s) arena_free(s->arena);
    *state = NULL;
}

static enum MHD_Result send_answer(struct MHD_Connection *connection, const struct demo_answer *answer)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        answer->body.n, (void *)(uintptr_t)(answer->body.p ? answer->body.p : ""), MHD_RESPMEM_MUST_COPY);
    if (!response) return MHD_NO;
    MHD_add_response_header(response, "Content-Type", answer->content_type);
    MHD_add_response_header(response, "Cache-Control", "no-store");
    if (answer->location.p) MHD_add_response_header(response, "Location", answer->location.p);
    enum MHD_Result result = MHD_queue_response(connection, answer->status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result handle(void *cls, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data, size_t *size,
                              void **state)
{
    (void)version;
    const struct demo_server *server = cls;
    struct request_state *s = *state;
    if (!s) return MHD_NO;
    if (!s->begun) {
        s->begun = true;
        return MHD_YES;
    }
    if (*size) {
        sbuf_add(&s->body, (struct str){ data, *size });
        *size = 0;
        return MHD_YES;
    }
    struct demo_request r = {
        .arena = s->arena,
        .method = method,
        .path = url,
        .query = s->query,
        .body = s->body.n ? sbuf_str(&s->body) : STR_NONE,
        .authorization = str_c(MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization")),
        .connection = connection,
    };
    struct demo_answer answer = { .status = 200, .content_type = "text/html; charset=utf-8" };
    server->handle(&r, &answer);
    return send_answer(connection, &answer);
}

bool demo_serve(const struct demo_server *s)
{
    sigset_t stop;
    int which;
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)s->port) };
    if (inet_pton(AF_INET, s->address, &address.sin_addr) != 1) return false;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stop, NULL);
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | (s->key_pem ? MHD_USE_TLS : 0);
    struct MHD_OptionItem tls[] = { { MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)s->certificate_pem },
                                    { MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)s->key_pem },
                                    { MHD_OPTION_END, 0, NULL } };
    struct MHD_Daemon *daemon =
        MHD_start_daemon(flags, 0, NULL, NULL, handle, (void *)(uintptr_t)s, MHD_OPTION_SOCK_ADDR, &address,
                         MHD_OPTION_URI_LOG_CALLBACK, begin, NULL, MHD_OPTION_NOTIFY_COMPLETED, end, NULL,
                         MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)128 * 1024, MHD_OPTION_ARRAY,
                         s->key_pem ? tls : &tls[2], MHD_OPTION_END);
    if (!daemon) return false;
    sigwait(&stop, &which);
    MHD_stop_daemon(daemon);
    return true;
}
