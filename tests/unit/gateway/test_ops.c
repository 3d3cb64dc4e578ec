// SPDX-License-Identifier: GPL-3.0-or-later
// The operations listener over real sockets; store and login thread are fakes below.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "base/log.h"
#include "gateway/ops/ops.h"
#include "gateway/relay/presence.h"

// --- fakes

struct store {
    bool broken;
    size_t count, listed;
    char key[600]; // of the last revocation
    pthread_t writer;
    bool writer_used;
};
struct store_reader {
    struct store *store;
};
struct idp {
    bool ready[2];
};

struct store_reader *store_reader_new(struct store *s, struct err *err)
{
    (void)err;
    struct store_reader *r = calloc(1, sizeof *r);
    r->store = s;
    return r;
}

void store_reader_free(struct store_reader *r)
{
    free(r);
}

bool store_count(struct store_reader *r, size_t *ret, struct err *err)
{
    if (r->store->broken) return err_set(err, ERR_STORE, "broken");
    *ret = r->store->count;
    return true;
}

bool store_list(struct store_reader *r, struct arena *a, struct str user, size_t max,
                struct session_summary **ret, size_t *ret_n, struct err *err)
{
    if (r->store->broken) return err_set(err, ERR_STORE, "broken");
    size_t n = r->store->listed < max ? r->store->listed : max;
    struct session_summary *v = arena_array(a, n + 1, sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[i] = (struct session_summary){ .handle = STR("ab"),
                                         .user = arena_str(a, user),
                                         .provider = STR("co\"rp"),
                                         .created = 1,
                                         .last_seen = 2,
                                         .expires = 3 };
    *ret = v;
    *ret_n = n;
    return true;
}

static void *writer(void *context)
{
    struct store_op *op = context;
    usleep(20000);
    op->ret_count = 3;
    op->done(op);
    return NULL;
}

void store_submit(struct store *s, struct store_op *op)
{
    assert_int_equal(op->kind, STORE_SESSIONS_REVOKE);
    snprintf(s->key, sizeof s->key, "%.*s", STR_FMT(op->key));
    if (s->broken) err_set(&op->err, ERR_STORE, "broken");
    s->writer_used = pthread_create(&s->writer, NULL, writer, op) == 0;
}

void idp_status(struct idp *idp, size_t index, struct idp_status *ret)
{
    *ret = (struct idp_status){ .ready = idp->ready[index], .fetched = 1700000000 + (int64_t)index };
    if (!ret->ready) snprintf(ret->error, sizeof ret->error, "no \"answer\" <at all>");
}

// --- rig

struct rig {
    struct store store;
    struct idp idp;
    bool draining;
    struct worker_metrics workers[2];
    const struct worker_metrics *list[2];
    struct config config;
    struct backend backends[2];
    struct route_target target;
    struct route route;
    struct provider providers[2];
    struct listener listener;
    struct cert_pair pair;
    char dir[32], address[64];
    int fd;
    struct ops *ops;
    struct presence *boards;
    char answer[400000];
    int status;
    char *body;
    json_t *json;
};

static struct backend_state backend_states[2];

static void rig_config(struct rig *r)
{
    r->providers[0] =
        (struct provider){ .key = STR("corp"), .label = STR("Corp"), .protocol = PROTOCOL_SAML };
    r->providers[1] = (struct provider){ .key = STR("google"), .protocol = PROTOCOL_OIDC, .index = 1 };
    r->pair = (struct cert_pair){ .cert_path = STR("/etc/a \"b\"\\\n.pem"), .not_after = 4102444800 };
    r->listener =
        (struct listener){ .address = STR("[::]:443"), .certificates = &r->pair, .ncertificates = 1 };
    r->backends[0] = (struct backend){ .authority = STR("10.0.0.5:3000"), .index = 0 };
    r->backends[1] = (struct backend){ .authority = STR("unix:/run/app.sock"), .index = 1 };
    r->target = (struct route_target){ .backends = r->backends, .nbackends = 2 };
    r->route = (struct route){ .host = STR("app.example.com"), .path = STR("/x"), .target = &r->target };
    r->config.routes = (struct route_table){ &r->route, 1 };
    r->config.providers = r->providers;
    r->config.nproviders = 2;
    r->config.listeners = &r->listener;
    r->config.nlisteners = 1;
}

static void rig_start(struct rig *r)
{
    struct err err;
    struct ops_setup setup = { .config = &r->config,
                               .idp = &r->idp,
                               .store = &r->store,
                               .listen_fd = r->fd,
                               .workers = r->list,
                               .nworkers = 2,
                               .backends = backend_states,
                               .boards = r->boards,
                               .draining = &r->draining };
    r->ops = ops_start(&setup, &err);
    assert_non_null(r->ops);
}

static int rig_open(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    struct err err;
    rig_config(r);
    r->idp.ready[0] = true;
    r->store.count = 42;
    r->list[0] = &r->workers[0];
    r->list[1] = &r->workers[1];
    strcpy(r->dir, "/tmp/test-ops-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    snprintf(r->address, sizeof r->address, "unix:%s/ops.sock", r->dir);
    r->fd = ops_listen(str_c(r->address), &err);
    assert_true(r->fd >= 0);
    rig_start(r);
    *state = r;
    return 0;
}

static int rig_close(void **state)
{
    struct rig *r = *state;
    ops_stop(r->ops);
    if (r->store.writer_used) pthread_join(r->store.writer, NULL);
    if (r->json) json_decref(r->json);
    close(r->fd);
    unlink(r->address + 5);
    rmdir(r->dir);
    free(r);
    return 0;
}

static int rig_connect(const struct rig *r)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    strcpy(sa.sun_path, r->address + 5);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    return fd;
}

// Sends the bytes of a request and reads the answer to its end.
static void ask_raw(struct rig *r, const char *request, size_t n)
{
    int fd = rig_connect(r);
    size_t have = 0;
    ssize_t got;
    assert_int_equal(send(fd, request, n, MSG_NOSIGNAL), (ssize_t)n);
    while ((got = read(fd, r->answer + have, sizeof r->answer - 1 - have)) > 0) have += (size_t)got;
    close(fd);
    r->answer[have] = 0;
    r->status = have > 12 ? atoi(r->answer + 9) : 0;
    r->body = strstr(r->answer, "\r\n\r\n");
    r->body = r->body ? r->body + 4 : r->answer + have;
    if (r->json) json_decref(r->json);
    r->json = json_loads(r->body, JSON_REJECT_DUPLICATES, NULL);
}

static void ask(struct rig *r, const char *method, const char *target, const char *headers, const char *body)
{
    char request[20000];
    int n = snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s",
                     method, target, headers);
    if (body)
        n += snprintf(request + n, sizeof request - (size_t)n, "Content-Length: %zu\r\n\r\n%s", strlen(body),
                      body);
    else
        n += snprintf(request + n, sizeof request - (size_t)n, "\r\n");
    ask_raw(r, request, (size_t)n);
}

static void get(struct rig *r, const char *target)
{
    ask(r, "GET", target, "", NULL);
}

static void post_revoke(struct rig *r, const char *form)
{
    ask(r, "POST", "/admin/sessions/revoke", "Content-Type: application/x-www-form-urlencoded\r\n", form);
}

static void assert_refused(const struct rig *r, int status, const char *error)
{
    if (r->status != status) fail_msg("status %d, want %d: %s", r->status, status, r->body);
    assert_string_equal(json_string_value(json_object_get(r->json, "error")), error);
    assert_int_equal(json_integer_value(json_object_get(r->json, "status")), status);
}

// --- tests

static void test_healthz(void **state)
{
    struct rig *r = *state;
    r->store.broken = r->draining = true; // alive all the same
    get(r, "/healthz");
    assert_int_equal(r->status, 200);
    assert_string_equal(json_string_value(json_object_get(r->json, "status")), "ok");
    assert_non_null(strstr(r->answer, "Cache-Control: no-store"));
    ask(r, "HEAD", "/healthz", "", NULL);
    assert_int_equal(r->status, 200);
    assert_string_equal(r->body, "");
}

static void test_readyz_follows_store_and_drain(void **state)
{
    struct rig *r = *state;
    get(r, "/readyz");
    assert_int_equal(r->status, 200);
    assert_true(json_is_true(json_object_get(r->json, "ready")));
    r->store.broken = true;
    get(r, "/readyz");
    assert_int_equal(r->status, 503);
    assert_string_equal(json_string_value(json_object_get(r->json, "store")), "store");
    r->store.broken = false;
    __atomic_store_n(&r->draining, true, __ATOMIC_RELAXED);
    get(r, "/readyz");
    assert_int_equal(r->status, 503);
    assert_true(json_is_true(json_object_get(r->json, "draining")));
    assert_true(json_is_false(json_object_get(r->json, "ready")));
}

static void test_readyz_tells_of_providers_that_are_down(void **state)
{
    struct rig *r = *state;
    r->idp.ready[0] = false;
    get(r, "/readyz");
    assert_int_equal(r->status, 200);
    json_t *list = json_object_get(r->json, "identity_providers");
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "name")), "corp");
    assert_true(json_is_false(json_object_get(json_array_get(list, 0), "ready")));
}

static void assert_line(const struct rig *r, const char *line)
{
    const char *at = strstr(r->body, line);
    if (!at || (at != r->body && at[-1] != '\n')) fail_msg("no line '%s' in:\n%s", line, r->body);
}

static void test_metrics_sum_the_workers(void **state)
{
    struct rig *r = *state;
    metric_add(&r->workers[0].requests_total, 40);
    metric_add(&r->workers[1].requests_total, 2);
    get(r, "/metrics");
    assert_int_equal(r->status, 200);
    assert_non_null(strstr(r->answer, "Content-Type: text/plain; version=0.0.4"));
    assert_line(r, "sallyport_requests_total 42\n");
    assert_line(r, "# TYPE sallyport_requests_total counter\n");
    assert_line(r, "sallyport_sessions 42\n");
    assert_line(r, "sallyport_identity_provider_up{provider=\"corp\",protocol=\"saml\"} 1\n");
    assert_line(r, "sallyport_identity_provider_up{provider=\"google\",protocol=\"oidc\"} 0\n");
    assert_line(r, "sallyport_build_info{version=\"");
    assert_line(r, "sallyport_certificate_expiry_timestamp_seconds{listener=\"[::]:443\",file=\"/etc/a "
                   "\\\"b\\\"\\\\\\n.pem\"} "
                   "4102444800\n");
#define X(name, type, help) assert_line(r, "# HELP sallyport_" #name " " help "\n");
    METRICS(X)
#undef X
}

static void test_metrics_of_backends(void **state)
{
    struct rig *r = *state;
    static const char up[] =
        "sallyport_backend_up{route=\"app.example.com/x\",backend=\"10.0.0.5:3000\"} 1\n";
    static const char down[] =
        "sallyport_backend_up{route=\"app.example.com/x\",backend=\"10.0.0.5:3000\"} 0\n";
    get(r, "/metrics");
    assert_line(r, up);
    assert_line(r, "sallyport_backend_up{route=\"app.example.com/x\",backend=\"unix:/run/app.sock\"} 1\n");
    backend_states[0].out = true;
    get(r, "/metrics");
    assert_line(r, down);
    assert_line(r, "sallyport_backend_up{route=\"app.example.com/x\",backend=\"unix:/run/app.sock\"} 1\n");
    backend_states[0].out = false;
    backend_states[0].unhealthy = true;
    get(r, "/metrics");
    assert_line(r, down);
    backend_states[0].unhealthy = false;
    get(r, "/metrics");
    assert_line(r, up);
}

static void test_metrics_say_when_the_store_is_broken(void **state)
{
    struct rig *r = *state;
    r->store.broken = true;
    get(r, "/metrics");
    assert_int_equal(r->status, 200);
    assert_line(r, "sallyport_store_up 0\n");
    assert_null(strstr(r->body, "sallyport_sessions "));
}

static void test_admin_lists_providers(void **state)
{
    struct rig *r = *state;
    get(r, "/admin/identity-providers");
    assert_int_equal(r->status, 200);
    json_t *google = json_array_get(json_object_get(r->json, "identity_providers"), 1);
    assert_string_equal(json_string_value(json_object_get(google, "error")), "no \"answer\" <at all>");
    assert_int_equal(json_integer_value(json_object_get(google, "fetched")), 1700000001);
    assert_string_equal(json_string_value(json_object_get(google, "protocol")), "oidc");
}

static void test_admin_lists_boards(void **state)
{
    struct rig *r = *state;
    get(r, "/admin/boards"); // no route has any
    assert_int_equal(r->status, 200);
    assert_int_equal(json_array_size(json_object_get(r->json, "boards")), 0);
    struct device_table *t;
    struct err err = { 0 };
    static const char text[] =
        "{\"version\":1,\"devices\":[{\"id\":\"0123456789abcdef\",\"name\":\"lamp\",\"created\":1,"
        "\"functions\":\"*\","
        "\"keys\":[{"
        "\"sha256\":\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\",\"created\":1}]}]}";
    if (!device_table_parse(str_c(text), &t, &err)) fail_msg("%s", err.detail);
    ops_stop(r->ops);
    r->boards = presence_new(t);
    device_table_drop(t);
    presence_come(r->boards, STR("0123456789abcdef"), 1, 1700000000, STR("192.0.2.7"), 3);
    rig_start(r);
    get(r, "/admin/boards");
    json_t *lamp = json_array_get(json_object_get(r->json, "boards"), 0);
    assert_string_equal(json_string_value(json_object_get(lamp, "name")), "lamp");
    assert_true(json_is_true(json_object_get(lamp, "online")));
    assert_int_equal(json_integer_value(json_object_get(lamp, "since")), 1700000000);
    assert_string_equal(json_string_value(json_object_get(lamp, "client")), "192.0.2.7");
    assert_int_equal(json_integer_value(json_object_get(lamp, "functions")), 3);
    ops_stop(r->ops);
    presence_free(r->boards);
    r->boards = NULL;
    rig_start(r);
}

static void test_admin_lists_sessions(void **state)
{
    struct rig *r = *state;
    r->store.listed = 2;
    get(r, "/admin/sessions?user=ann%2Bx%40example.com");
    assert_int_equal(r->status, 200);
    json_t *list = json_object_get(r->json, "sessions");
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 1), "user")),
                        "ann+x@example.com");
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 1), "provider")), "co\"rp");
    assert_true(json_is_false(json_object_get(r->json, "truncated")));
    get(r, "/admin/sessions");
    assert_int_equal(r->status, 200);
    r->store.listed = 5000;
    get(r, "/admin/sessions");
    assert_int_equal(r->status, 200);
    assert_int_equal(json_array_size(json_object_get(r->json, "sessions")), 1000);
    assert_true(json_is_true(json_object_get(r->json, "truncated")));
    r->store.broken = true;
    get(r, "/admin/sessions?user=a");
    assert_refused(r, 503, "store");
}

static void test_session_query_is_strict(void **state)
{
    struct rig *r = *state;
    static const char *const bad[] = { "?user=a&user=b", "?user=a&x=1", "?x=1",      "?user",      "?user=",
                                       "?user=%zz",      "?user=%00",   "?user=%ff", "?user=a%0ab" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char target[100];
        snprintf(target, sizeof target, "/admin/sessions%s", bad[i]);
        get(r, target);
        assert_refused(r, 400, "ops.query");
    }
    get(r, "/healthz?x");
    assert_refused(r, 400, "ops.query");
}

static void test_admin_revokes(void **state)
{
    struct rig *r = *state;
    post_revoke(r, "user=ann%40example.com");
    assert_int_equal(r->status, 200);
    assert_int_equal(json_integer_value(json_object_get(r->json, "revoked")), 3);
    assert_string_equal(r->store.key, "ann@example.com");
    pthread_join(r->store.writer, NULL);
    post_revoke(r, "handle=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    assert_int_equal(r->status, 200);
    assert_memory_equal(r->store.key, "0123456789", 10);
    pthread_join(r->store.writer, NULL);
    r->store.broken = true;
    post_revoke(r, "user=ann");
    assert_refused(r, 503, "store");
}

static void test_revoke_is_strict(void **state)
{
    struct rig *r = *state;
    static const char *const bad[] = {
        "",
        "user=",
        "user",
        "handle=abc",
        "user=a&handle=b",
        "user=a&user=a",
        "user=a&x=1",
        "User=a",
        "user=%zz",
        "user=%00",
        "user=a%0d%0ab",
        "handle=0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        post_revoke(r, bad[i]);
        if (r->status != 400) fail_msg("'%s' gave %d", bad[i], r->status);
        assert_refused(r, 400, "ops.form");
    }
    ask(r, "POST", "/admin/sessions/revoke", "", "user=a");
    assert_refused(r, 415, "ops.content_type");
    ask(r, "POST", "/admin/sessions/revoke?user=a", "Content-Type: application/x-www-form-urlencoded\r\n",
        "user=a");
    assert_refused(r, 400, "ops.query");
    assert_string_equal(r->store.key, ""); // nothing was revoked by any of them
}

static void test_large_bodies_are_refused(void **state)
{
    struct rig *r = *state;
    char body[9000];
    memset(body, 'a', sizeof body);
    memcpy(body, "user=", 5);
    body[sizeof body - 1] = 0;
    post_revoke(r, body);
    assert_refused(r, 413, "too_large");
    assert_string_equal(r->store.key, "");
    ask(r, "GET", "/healthz", "", "x");
    assert_refused(r, 400, "ops.body");
}

static void test_unknown_paths_and_methods(void **state)
{
    struct rig *r = *state;
    static const char *const none[] = { "/",         "/healthz/", "/Healthz", "/%68ealthz",
                                        "//healthz", "/admin",    "/metricsx" };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        get(r, none[i]);
        assert_refused(r, 404, "not_found");
    }
    ask(r, "POST", "/healthz", "", "");
    assert_refused(r, 405, "method_not_allowed");
    assert_non_null(strstr(r->answer, "Allow: GET, HEAD"));
    get(r, "/admin/sessions/revoke");
    assert_refused(r, 405, "method_not_allowed");
    assert_non_null(strstr(r->answer, "Allow: POST"));
    ask(r, "DELETE", "/admin/sessions", "", NULL);
    assert_refused(r, 405, "method_not_allowed");
}

static void with_host(struct rig *r, const char *host)
{
    char request[300];
    int n = snprintf(request, sizeof request,
                     "GET /admin/sessions HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host);
    ask_raw(r, request, (size_t)n);
}

static void test_websites_cannot_reach_it(void **state)
{
    struct rig *r = *state;
    with_host(r, "evil.example"); // its DNS says 127.0.0.1
    assert_refused(r, 421, "wrong_host");
    with_host(r, "localhost.evil.example:9090");
    assert_refused(r, 421, "wrong_host");
    static const char *const good[] = { "localhost:9090", "127.0.0.1:9090", "[::1]:9090", "[::1]" };
    for (size_t i = 0; i < 4; i++) {
        with_host(r, good[i]);
        assert_int_equal(r->status, 200);
    }
    ask(r, "POST", "/admin/sessions/revoke",
        "Origin: http://evil.example\r\nContent-Type: application/x-www-form-urlencoded\r\n", "user=ann");
    assert_refused(r, 403, "ops.cross_site");
    ask(r, "POST", "/admin/sessions/revoke",
        "Sec-Fetch-Site: cross-site\r\nContent-Type: application/x-www-form-urlencoded\r\n", "user=ann");
    assert_refused(r, 403, "ops.cross_site");
    assert_string_equal(r->store.key, "");
}

static void test_rubbish_does_no_harm(void **state)
{
    struct rig *r = *state;
    static const char *const rubbish[] = { "\r\n\r\n\r\n", "GET\r\n\r\n", "\x16\x03\x01\x02\x00\x01",
                                           "GET /healthz HTTP/9.9\r\n\r\n",
                                           "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n" };
    for (size_t i = 0; i < sizeof rubbish / sizeof *rubbish; i++) {
        int fd = rig_connect(r);
        assert_true(send(fd, rubbish[i], strlen(rubbish[i]), MSG_NOSIGNAL) > 0);
        close(fd);
    }
    get(r, "/healthz");
    assert_int_equal(r->status, 200);
}

static void test_the_socket_goes_on_after_stop(void **state)
{
    struct rig *r = *state;
    ops_stop(r->ops);
    r->ops = NULL;
    rig_start(r);
    get(r, "/healthz");
    assert_int_equal(r->status, 200);
}

static void test_a_replaced_generation_leaves_the_socket_to_its_successor(void **state)
{
    struct rig *r = *state;
    struct ops *old = r->ops;
    ops_quiesce(old);
    rig_start(r);
    for (int i = 0; i < 10; i++) {
        get(r, "/healthz");
        assert_int_equal(r->status, 200);
    }
    ops_stop(r->ops); // the first one must not have answered any of them
    r->ops = old;
    int fd = rig_connect(r);
    struct timeval wait = { .tv_usec = 200000 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    static const char request[] = "GET /healthz HTTP/1.0\r\n\r\n";
    assert_int_equal(send(fd, request, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
    assert_int_equal(read(fd, r->answer, 1), -1);
    assert_int_equal(errno, EAGAIN);
    close(fd);
}

static void test_listen_unix(void **state)
{
    struct rig *r = *state;
    struct err err;
    struct stat st;
    assert_int_equal(stat(r->address + 5, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    assert_int_equal(ops_listen(str_c(r->address), &err), -1); // in use
    assert_non_null(strstr(err.detail, "another process"));
    ops_stop(r->ops);
    r->ops = NULL;
    close(r->fd); // the file stays, nobody listens
    r->fd = ops_listen(str_c(r->address), &err);
    assert_true(r->fd >= 0);
    rig_start(r);
    get(r, "/healthz");
    assert_int_equal(r->status, 200);
    char path[100];
    snprintf(path, sizeof path, "unix:%s/file", r->dir);
    FILE *f = fopen(path + 5, "w");
    fclose(f);
    assert_int_equal(ops_listen(str_c(path), &err), -1);
    assert_non_null(strstr(err.detail, "no socket"));
    assert_int_equal(unlink(path + 5), 0); // it was not removed
    snprintf(path, sizeof path, "unix:%s/none/ops.sock", r->dir);
    assert_int_equal(ops_listen(str_c(path), &err), -1);
    assert_non_null(strstr(err.detail, "the directory of the socket must exist"));
}

static void test_listen_refuses_public_addresses(void **state)
{
    (void)state;
    static const char *const bad[] = { "0.0.0.0:21001",
                                       "[::]:21001",
                                       "192.0.2.1:21001",
                                       "example.com:21001",
                                       "127.0.0.1",
                                       "127.0.0.1:0",
                                       ":21001",
                                       "21001",
                                       "",
                                       "unix:",
                                       "unix:relative",
                                       "[::ffff:127.0.0.1]:21001",
                                       "127.1:21001" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err = { .code = ERR_NONE };
        int fd = ops_listen(str_c(bad[i]), &err);
        if (fd >= 0) fail_msg("listens on '%s'", bad[i]);
        assert_int_equal(err.code, ERR_CONFIG);
    }
    char path[200] = "unix:/tmp/";
    memset(path + 10, 'x', 150);
    struct err err;
    assert_int_equal(ops_listen(str_c(path), &err), -1);
}

static void test_listen_tcp(void **state)
{
    (void)state;
    struct err err;
    int fd = ops_listen(STR("127.0.0.1:21001"), &err);
    assert_true(fd >= 0);
    assert_int_equal(ops_listen(STR("localhost:21001"), &err), -1);
    assert_int_equal(err.code, ERR_FILE);
    assert_non_null(strstr(err.detail, "operations address localhost:21001: Address already in use"));
    close(fd);
    fd = ops_listen(STR("[::1]:21002"), &err);
    if (fd < 0 && !strstr(err.detail, "assign") && !strstr(err.detail, "support"))
        fail_msg("%s", err.detail); // a machine without IPv6
    if (fd >= 0) close(fd);
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_open, rig_close)
int main(void)
{
    log_init(LOG_ERROR, "test");
    const struct CMUnitTest tests[] = {
        T(test_healthz),
        T(test_readyz_follows_store_and_drain),
        T(test_readyz_tells_of_providers_that_are_down),
        T(test_metrics_sum_the_workers),
        T(test_metrics_of_backends),
        T(test_metrics_say_when_the_store_is_broken),
        T(test_admin_lists_providers),
        T(test_admin_lists_boards),
        T(test_admin_lists_sessions),
        T(test_session_query_is_strict),
        T(test_admin_revokes),
        T(test_revoke_is_strict),
        T(test_large_bodies_are_refused),
        T(test_unknown_paths_and_methods),
        T(test_websites_cannot_reach_it),
        T(test_rubbish_does_no_harm),
        T(test_the_socket_goes_on_after_stop),
        T(test_a_replaced_generation_leaves_the_socket_to_its_successor),
        T(test_listen_unix),
        cmocka_unit_test(test_listen_refuses_public_addresses),
        cmocka_unit_test(test_listen_tcp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
