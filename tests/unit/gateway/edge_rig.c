// SPDX-License-Identifier: GPL-3.0-or-later
#include "edge_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

void (*edge_tune)(struct config *c);

// A name server that knows one name, with two addresses: nothing listens on the first.
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
    __typeof__(&getaddrinfo) real = (__typeof__(&getaddrinfo))dlsym(RTLD_NEXT, "getaddrinfo");
    if (strcmp(node, "two.example.net") != 0) return real(node, service, hints, ret);
    if (hints->ai_flags & AI_NUMERICHOST) return EAI_NONAME;
    struct addrinfo *second;
    int failure = real("127.0.0.9", service, hints, ret);
    if (!failure) failure = real("127.0.0.1", service, hints, &second);
    if (!failure) (*ret)->ai_next = second; // freeaddrinfo frees them one by one
    return failure;
}

// The login thread is not part of the edge: no test here signs in.
struct edge_jobs edge_jobs;

bool idp_submit(struct idp *idp, struct idp_job *job)
{
    (void)idp;
    if (edge_jobs.hold && edge_jobs.n < EDGE_JOBS) {
        edge_jobs.v[edge_jobs.n++] = job;
        return true;
    }
    return err_set(&job->err, ERR_LOGIN_BUSY, "there is no login thread in this test");
}

void edge_finish_jobs(void)
{
    for (size_t i = 0; i < edge_jobs.n; i++) {
        err_set(&edge_jobs.v[i]->err, ERR_LOGIN_UNAVAILABLE, "let go by the test");
        edge_jobs.v[i]->done(edge_jobs.v[i]);
    }
    edge_jobs.n = 0;
}

void idp_status(struct idp *idp, size_t provider_index, struct idp_status *ret)
{
    (void)idp;
    (void)provider_index;
    *ret = (struct idp_status){ 0 };
}

static int listen_on_loopback(uint16_t *ret_port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&a, n) == 0 && listen(fd, 256) == 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    *ret_port = ntohs(a.sin_port);
    return fd;
}

const char *edge_routes;
void (*edge_prepare)(struct edge *e);
void (*edge_share)(struct edge *e);

static void write_routes(FILE *f, uint16_t backend_port, uint16_t dead_port)
{
    for (const char *p = edge_routes ? edge_routes : ""; *p; p++) {
        if (*p == '%' || *p == '!')
            fprintf(f, "%u", *p == '%' ? backend_port : dead_port);
        else
            fputc(*p, f);
    }
}

static void write_config(struct edge *e, uint16_t backend_port, uint16_t dead_port)
{
    char path[96];
    snprintf(path, sizeof path, "%s/sallyport.yaml", e->dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(
        f,
        "login: { host: login.example.com }\n"
        "policies: { staff: [ { allow: { groups: [ staff ] } } ] }\n"
        "listen:\n"
        "  - address: '127.0.0.1:8443'\n"
        "    tls: { certificates: [ { cert: tls.pem, key: tls.key } ] }\n"
        "state: %s/state\n"
        "workers: 1\n"
        "timeouts: { request_head: 1s, idle: 2s, drain: 2s, connect: 1s, response: 1s }\n"
        "identity_providers:\n"
        "  corp: { protocol: oidc, issuer: 'https://idp.example.com', client_id: x, client_secret: { env: "
        "RIG_SECRET } }\n"
        "routes:\n"
        "  - { host: app.example.com, backends: [ 'http://127.0.0.1:%u' ], policy: public }\n"
        "  - { host: pair.example.com, backends: [ 'http://127.0.0.1:%u', 'http://127.0.0.1:%u' ], policy: "
        "public }\n"
        "  - { host: named.example.com, backends: [ 'http://two.example.net:%u' ], policy: public }\n"
        "  - { host: dead.example.com, backends: [ 'http://127.0.0.1:%u' ], policy: public }\n"
        "  - { host: staff.example.com, backends: [ 'http://127.0.0.1:%u' ], policy: staff }\n",
        e->dir, backend_port, dead_port, backend_port, backend_port, dead_port, backend_port);
    write_routes(f, backend_port, dead_port);
    fclose(f);
}

static void make_config(struct edge *e)
{
    struct err err = { 0 };
    struct str hosts[] = { STR_INIT("login.example.com"), STR_INIT("*.example.com") };
    uint16_t backend_port, dead_port;
    if (!cert_dev_ca(e->dir, &err) || !cert_dev_leaf(e->dir, "tls", (struct strlist){ hosts, 2 }, &err))
        fail_msg("%s", err.detail);
    setenv("RIG_SECRET", "secret", 1);
    e->backend_fd = listen_on_loopback(&backend_port);
    int dead = listen_on_loopback(&dead_port);
    close(dead);
    if (edge_prepare) edge_prepare(e);
    write_config(e, backend_port, dead_port);
    char path[96];
    snprintf(path, sizeof path, "%s/sallyport.yaml", e->dir);
    struct config_errors errors = { 0 };
    e->config = config_load(path, e->arena, &errors);
    if (!e->config) fail_msg("%.*s: %.*s", STR_FMT(errors.v[0].key), STR_FMT(errors.v[0].message));
}

static void make_worker(struct edge *e)
{
    static const char *const alpn[] = { "h2", "http/1.1" };
    static const uint8_t master[SEAL_KEY_BYTES] = { 1 };
    struct err err = { 0 };
    const struct listener *l = &e->config->listeners[0];
    struct shared *s = &e->shared;
    s->config = e->config;
    assert_true(session_keys_derive(master, &s->keys));
    s->tls = arena_array(e->arena, 1, sizeof *s->tls);
    if (l->tls) s->tls[0] = tls_server_new(l->certificates, l->ncertificates, alpn, 2, &err);
    s->listen_fds = &e->listen_fd;
    s->login_origin = STR("https://login.example.com");
    s->admission = admission_new(e->config->max_connections, e->config->max_connections_per_address, &err);
    assert_non_null(s->admission);
    s->store = store_open(arena_printf(e->arena, "%s/store", e->dir), 16 * 1024 * 1024, s->keys.record, &err);
    s->backends = backends_new(e->config, &err);
    s->resolver = s->backends ? resolver_start(e->config, &err) : NULL;
    if ((l->tls && !s->tls[0]) || !s->store || !s->resolver) fail_msg("%s", err.detail);
    e->worker = calloc(EDGE_WORKERS, sizeof *e->worker);
    if (edge_share) edge_share(e);
    if (!worker_init(e->worker, s, 0, &err)) fail_msg("%s", err.detail);
    e->running = worker_start(e->worker);
    assert_true(e->running);
}

int edge_setup(void **state)
{
    signal(SIGPIPE, SIG_IGN);
    struct edge *e = calloc(1, sizeof *e);
    strcpy(e->dir, "/tmp/edge-XXXXXX");
    assert_non_null(mkdtemp(e->dir));
    e->arena = arena_new(16 * 1024 * 1024);
    char path[96];
    snprintf(path, sizeof path, "%s/log", e->dir);
    e->log_fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    log_init(LOG_INFO, "test");
    log_to_fd(e->log_fd);
    e->listen_fd = listen_on_loopback(&e->port);
    make_config(e);
    if (edge_tune) edge_tune(e->config);
    make_worker(e);
    *state = e;
    return 0;
}

int edge_teardown(void **state)
{
    struct edge *e = *state;
    if (!e) return -1; // the setup said why
    if (e->running) {
        worker_stop(e->worker);
        pthread_join(e->worker->thread, NULL);
    }
    if (e->worker->reader) worker_close(e->worker);
    store_close(e->shared.store);
    worker_done(e->worker);
    resolver_stop(e->shared.resolver);
    admission_free(e->shared.admission);
    backends_free(e->shared.backends);
    tls_server_free(e->shared.tls[0]);
    config_free(e->config);
    close(e->listen_fd);
    close(e->backend_fd);
    log_to_fd(2);
    close(e->log_fd);
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", e->dir);
    int failed = system(command);
    arena_free(e->arena);
    free(e->worker);
    free(e);
    return failed;
}

void edge_drain(struct edge *e)
{
    worker_drain(e->worker);
}

bool edge_ended(struct edge *e, int ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    if (!e->running) return true;
    e->running = pthread_timedjoin_np(e->worker->thread, NULL, &until) != 0;
    return !e->running;
}

struct call {
    struct mail mail;
    struct worker *worker;
    void (*call)(struct worker *w);
    sem_t done;
};

static void deliver(struct mail *m)
{
    struct call *c = container_of(m, struct call, mail);
    c->call(c->worker);
    sem_post(&c->done);
}

void edge_on_thread(struct edge *e, void (*call)(struct worker *w))
{
    struct call c = { .mail.deliver = deliver, .worker = e->worker, .call = call };
    sem_init(&c.done, 0, 0);
    mailbox_post(&e->worker->loop.mailbox, &c.mail);
    sem_wait(&c.done);
    sem_destroy(&c.done);
}

// --- the log

static char *log_text(struct edge *e)
{
    static char text[1024 * 1024];
    ssize_t n = pread(e->log_fd, text, sizeof text - 1, e->log_mark);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

int edge_test_begin(void **state)
{
    struct edge *e = *state;
    usleep(20 * 1000);
    e->log_mark = lseek(e->log_fd, 0, SEEK_END);
    for (int fd; (fd = accept(e->backend_fd, NULL, NULL)) >= 0;) close(fd);
    return 0;
}

void edge_expect_log(struct edge *e, const char *a, const char *b)
{
    for (int i = 0; i < RIG_WAIT_MS / 10; i++) {
        char *rest = log_text(e);
        for (char *line; (line = strsep(&rest, "\n"));)
            if (strstr(line, a) && strstr(line, b)) return;
        usleep(10 * 1000);
    }
    fail_msg("no line with %s and %s in the log:\n%s", a, b, log_text(e));
}

int edge_log_lines(struct edge *e, const char *text)
{
    usleep(50 * 1000);
    int n = 0;
    for (const char *p = log_text(e); (p = strstr(p, text)); p++) n++;
    return n;
}

int edge_access_lines(struct edge *e)
{
    return edge_log_lines(e, "\"event\":\"access\"");
}

// --- the client

static void prepare_socket(int fd)
{
    struct timeval t = { .tv_sec = RIG_WAIT_MS / 1000 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
    tcp_options(fd);
}

static void open_with_window(struct edge *e, struct client *c, int window)
{
    static SSL_CTX *ctx;
    if (!ctx) ctx = SSL_CTX_new(TLS_client_method());
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons(e->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    *c = (struct client){ .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                          .in = calloc(1, RIG_BYTES + 1) };
    if (window) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
    prepare_socket(c->fd);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&a, sizeof a), 0);
    c->ssl = SSL_new(ctx);
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_tlsext_host_name(c->ssl, "app.example.com");
    if (SSL_connect(c->ssl) != 1) fail_msg("TLS handshake failed");
}

void client_open(struct edge *e, struct client *c)
{
    open_with_window(e, c, 0);
}

void client_open_small(struct edge *e, struct client *c)
{
    open_with_window(e, c, 32768);
}

bool client_try_send_n(struct client *c, const char *p, size_t n)
{
    ERR_clear_error();
    return n == 0 || SSL_write(c->ssl, p, (int)n) == (int)n;
}

void client_send_n(struct client *c, const char *p, size_t n)
{
    if (!client_try_send_n(c, p, n)) fail_msg("sending %zu bytes failed", n);
}

void client_send(struct client *c, const char *text)
{
    client_send_n(c, text, strlen(text));
}

static bool read_some(struct client *c)
{
    if (c->n == RIG_BYTES || c->ended) return false;
    ERR_clear_error();
    int got = SSL_read(c->ssl, c->in + c->n, (int)(RIG_BYTES - c->n));
    if (got > 0) {
        c->n += (size_t)got;
        c->in[c->n] = '\0';
        return true;
    }
    int why = SSL_get_error(c->ssl, got);
    c->ended = why != SSL_ERROR_WANT_READ;
    c->close_notify = why == SSL_ERROR_ZERO_RETURN;
    return false;
}

bool client_await(struct client *c, const char *text)
{
    while (!memmem(c->in, c->n, text, strlen(text)))
        if (!read_some(c)) return false;
    return true;
}

void client_await_bytes(struct client *c, size_t n)
{
    while (c->n < n)
        if (!read_some(c)) fail_msg("only %zu bytes of %zu came", c->n, n);
}

void client_expect(struct client *c, const char *text)
{
    if (!client_await(c, text)) fail_msg("no '%s' in what came: '%.600s'", text, c->in);
}

void client_read_to_end(struct client *c)
{
    while (read_some(c)) {
    }
    if (!c->ended) fail_msg("the connection was not closed; what came: '%.600s'", c->in);
}

void client_forget(struct client *c)
{
    c->n = 0;
    c->in[0] = '\0';
}

int client_count(const struct client *c, const char *text)
{
    int n = 0;
    for (const char *p = c->in; (p = strstr(p, text)); p++) n++;
    return n;
}

void client_close(struct client *c)
{
    SSL_free(c->ssl);
    if (c->fd >= 0) close(c->fd);
    free(c->in);
    c->ssl = NULL;
    c->in = NULL;
    c->fd = -1;
}

static void send_reset(int fd)
{
    struct linger now = { .l_onoff = 1 };
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

void client_reset(struct client *c)
{
    send_reset(c->fd);
    c->fd = -1;
    client_close(c);
}

// --- the backend

int backend_accept(struct edge *e, int ms)
{
    struct pollfd p = { e->backend_fd, POLLIN, 0 };
    if (poll(&p, 1, ms) != 1) return -1;
    int fd = accept4(e->backend_fd, NULL, NULL, SOCK_CLOEXEC);
    prepare_socket(fd);
    return fd;
}

const char *backend_await(int fd, const char *text)
{
    static char in[RIG_BYTES + 1];
    size_t n = 0;
    in[0] = '\0';
    while (!memmem(in, n, text, strlen(text))) {
        ssize_t got = n < RIG_BYTES ? recv(fd, in + n, RIG_BYTES - n, 0) : 0;
        if (got <= 0)
            fail_msg("the backend waited for '%s', but got '%.600s' (%s)", text, in, strerror(errno));
        n += (size_t)got;
        in[n] = '\0';
    }
    return in;
}

void backend_send_n(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t done = send(fd, p, n, MSG_NOSIGNAL);
        if (done <= 0) return; // the gateway has had enough: some tests want that
        p += done;
        n -= (size_t)done;
    }
}

void backend_send(int fd, const char *text)
{
    backend_send_n(fd, text, strlen(text));
}

bool backend_is_closed(int fd)
{
    static char scrap[65536];
    for (;;) {
        ssize_t got = recv(fd, scrap, sizeof scrap, 0);
        if (got > 0) continue;
        return got == 0 || errno == ECONNRESET;
    }
}

void backend_reset(int fd)
{
    send_reset(fd);
}

int ask_and_answer(struct edge *e, struct client *c, const char *request, const char *answer)
{
    client_open(e, c);
    client_send(c, request);
    int b = backend_accept(e, RIG_WAIT_MS);
    backend_await(b, "\r\n\r\n");
    backend_send(b, answer);
    return b;
}
