// SPDX-License-Identifier: GPL-3.0-or-later
// Calls functions of simulated boards (boards.c) through the gateway for ./bench, over kept HTTPS connections
// of visitors who are logged in.
//
//   callers latency PORT HOST COOKIES BOARDS FUNCTION DIRECT-PORT COUNT PAUSE-US
//   callers load PORT HOST COOKIES BOARDS FUNCTION CONNECTIONS SECONDS RATE
//
// COOKIES is a file with a Cookie header in each line, BOARDS one whose lines begin with a board's name.
// `latency` makes one call at a time, in turn through the gateway and to the boards' own port. `load` keeps
// CONNECTIONS busy, each of which has one visitor, and one board unless there are more boards than
// connections: then it takes them in turn. With RATE (calls a second, 0: as fast as it
// goes) a call that finds no connection free waits, and its time counts from when it was due. Answers tell
// when a call was at the board and when its answer left, so what is not the board's time is known of each.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "peer.h"

enum { CONNECTIONS_MAX = 1024, LINES_MAX = 2048, REQUEST_MAX = 4096, ANSWER_MAX = 4096, WARM_UP = 100 };
static const int64_t SECOND = 1000000000;

struct lines {
    char *v[LINES_MAX];
    size_t n;
};

struct caller {
    int fd;
    size_t board, turn; // the next of a caller's boards is `turn` further
    const char *cookie;
    SSL *ssl;
    size_t request_n, n;
    int64_t since; // when its call was made, or due
    char request[REQUEST_MAX], in[ANSWER_MAX + 1];
};

// Microseconds of many calls.
struct times {
    double *v;
    size_t n, room;
};

// How long one call took, and how much of it was not the board's.
struct sample {
    double total, added, there, back;
};

// What is called.
static struct {
    SSL_CTX *tls;
    int port;
    const char *host, *function;
    struct lines cookies, boards;
} gateway;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "callers: %s\n", what);
    exit(1);
}

static void read_lines(const char *file, bool first_word, struct lines *ret)
{
    char line[REQUEST_MAX];
    FILE *f = fopen(file, "re");
    if (!f) die(file);
    while (ret->n < LINES_MAX && fgets(line, sizeof line, f)) {
        line[strcspn(line, first_word ? " \n" : "\n")] = '\0';
        if (!(ret->v[ret->n++] = strdup(line))) die("out of memory");
    }
    fclose(f);
    if (ret->n == 0) die("an empty file");
}

// ---- figures

static void times_add(struct times *t, double us)
{
    if (t->n == t->room) {
        t->room = t->room ? t->room * 2 : 65536;
        t->v = realloc(t->v, t->room * sizeof *t->v);
        if (!t->v) die("out of memory");
    }
    t->v[t->n++] = us;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// "NAME": { "p50": .., "p99": .. } in microseconds.
static void times_print(struct times *t, const char *name)
{
    if (t->n == 0) die("not one call was answered");
    qsort(t->v, t->n, sizeof *t->v, ascending);
    printf(", \"%s\": { \"p50\": %.1f, \"p99\": %.1f }", name, t->v[t->n / 2], t->v[t->n * 99 / 100]);
}

// ---- one connection

static void prepare(struct caller *c)
{
    static const char body[] = "{\"args\": [21, \"blink\"], \"kwargs\": {}}";
    int n = snprintf(c->request, sizeof c->request,
                     "POST /.sallyport/pico/%s/%s HTTP/1.1\r\nHost: %s:%d\r\nOrigin: https://%s:%d\r\n"
                     "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\nAccept: application/json\r\n"
                     "Content-Type: application/json\r\nContent-Length: %zu\r\nCookie: %s\r\n\r\n%s",
                     gateway.boards.v[c->board], gateway.function, gateway.host, gateway.port, gateway.host,
                     gateway.port, sizeof body - 1, c->cookie, body);
    if (n >= (int)sizeof c->request) die("the request is too long");
    c->request_n = (size_t)n;
}

static void connect_to(struct caller *c, int port)
{
    c->fd = peer_connect(port);
    c->ssl = c->fd < 0 ? NULL : peer_handshake(gateway.tls, c->fd, gateway.host);
    if (!c->ssl) die("a connection failed");
}

static void ask(struct caller *c)
{
    if (!peer_write(c->ssl, c->request, c->request_n)) die("a connection broke");
}

// Whether the whole answer is there; then what it says.
static bool answered(struct caller *c, int64_t now, struct sample *ret)
{
    const char *body;
    long long received, sent;
    c->in[c->n] = '\0';
    size_t n = peer_message(c->in, c->n, &body);
    if (n == 0 && c->n < ANSWER_MAX) return false;
    if (n != c->n || strncmp(c->in, "HTTP/1.1 200 ", 13) != 0 ||
        sscanf(body, "{\"result\": [%lld,%lld", &received, &sent) != 2)
        die(c->in);
    c->n = 0;
    *ret = (struct sample){ .total = (double)(now - c->since) / 1e3,
                            .there = (double)(received - c->since) / 1e3,
                            .back = (double)(now - sent) / 1e3 };
    ret->added = ret->there + ret->back;
    return true;
}

// Reads what there is; whether that was the rest of an answer.
static bool take(struct caller *c, struct sample *ret)
{
    int got;
    while ((got = SSL_read(c->ssl, c->in + c->n, (int)(ANSWER_MAX - c->n))) > 0) {
        int64_t now = peer_now();
        c->n += (size_t)got;
        if (answered(c, now, ret)) return true;
    }
    if (SSL_get_error(c->ssl, got) != SSL_ERROR_WANT_READ) die("a connection was closed");
    return false;
}

// ---- latency

static struct sample call_once(struct caller *c)
{
    struct sample s;
    c->since = peer_now();
    ask(c);
    if (!take(c, &s)) die("an answer takes too long");
    return s;
}

static void pause_for(long us)
{
    struct timespec t = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };
    if (us > 0) nanosleep(&t, NULL);
}

static void latency(struct caller *c, size_t n, struct caller *direct, long count, long pause)
{
    static struct times total, added, there, back, straight;
    for (long i = -WARM_UP; i < count; i++) {
        pause_for(pause);
        struct sample s = call_once(&c[(size_t)(i + WARM_UP) % n]);
        pause_for(pause);
        struct sample d = call_once(direct);
        if (i < 0) continue;
        times_add(&total, s.total);
        times_add(&added, s.added);
        times_add(&there, s.there);
        times_add(&back, s.back);
        times_add(&straight, d.added);
    }
    printf("{ \"calls\": %ld", count + WARM_UP);
    times_print(&total, "total");
    times_print(&added, "added");
    times_print(&there, "there");
    times_print(&back, "back");
    times_print(&straight, "direct");
    printf(" }\n");
}

// ---- load

static struct {
    struct caller *free[CONNECTIONS_MAX]; // a queue: who has been free longest is next
    size_t first, end;
    int64_t begin, finish, next, step; // step 0: as fast as it goes
    long calls;
    size_t busy;
    struct times total, added;
} load;

static void send_due(int64_t now)
{
    while (now < load.finish && load.first < load.end && (load.step == 0 || load.next <= now)) {
        struct caller *c = load.free[load.first++ % CONNECTIONS_MAX];
        c->since = load.step == 0 ? peer_now() : load.next;
        load.next += load.step;
        load.busy++;
        ask(c);
    }
}

static void receive(struct caller *c)
{
    struct sample s;
    if (!take(c, &s)) return;
    if (c->turn > 0) {
        c->board = (c->board + c->turn) % gateway.boards.n;
        prepare(c);
    }
    load.calls++;
    load.busy--;
    load.free[load.end++ % CONNECTIONS_MAX] = c;
    if (c->since < load.begin || peer_now() >= load.finish) return;
    times_add(&load.total, s.total);
    times_add(&load.added, s.added);
}

static void run_load(int epoll)
{
    struct epoll_event e[CONNECTIONS_MAX];
    while (peer_now() < load.finish || load.busy > 0) {
        int64_t now = peer_now(), wait = load.step > 0 && load.first < load.end ? load.next - now : SECOND;
        if (now > load.finish + PEER_SECONDS * SECOND) die("an answer takes too long");
        if (wait > load.finish - now) wait = load.finish - now;
        if (now >= load.finish) wait = SECOND;
        struct timespec t = { .tv_sec = wait > 0 ? wait / SECOND : 0,
                              .tv_nsec = wait > 0 ? wait % SECOND : 0 };
        int n = epoll_pwait2(epoll, e, CONNECTIONS_MAX, &t, NULL);
        for (int i = 0; i < n; i++) receive(e[i].data.ptr);
        send_due(peer_now());
    }
}

// One second before those that count.
static void under_load(struct caller *c, size_t n, long seconds, long rate)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < n; i++) {
        struct epoll_event e = { .events = EPOLLIN, .data.ptr = &c[i] };
        peer_unblock(c[i].fd);
        epoll_ctl(epoll, EPOLL_CTL_ADD, c[i].fd, &e);
        load.free[load.end++] = &c[i];
    }
    load.next = peer_now();
    load.begin = load.next + SECOND;
    load.finish = load.begin + seconds * SECOND;
    load.step = rate > 0 ? SECOND / rate : 0;
    send_due(load.next);
    run_load(epoll);
    printf("{ \"calls\": %ld, \"counted\": %zu, \"seconds\": %ld", load.calls, load.total.n, seconds);
    times_print(&load.total, "total");
    times_print(&load.added, "added");
    printf(" }\n");
}

static void start_callers(struct caller *all, size_t n)
{
    const struct lines *cookies = &gateway.cookies, *boards = &gateway.boards;
    for (size_t i = 0; i < n; i++) {
        // Visitors change with each round of the boards: each board is called by several of them.
        all[i].cookie = cookies->v[(i + i / boards->n) % cookies->n];
        all[i].board = i % boards->n;
        all[i].turn = n < boards->n ? n : 0;
        prepare(&all[i]);
        connect_to(&all[i], gateway.port);
    }
}

int main(int argc, char **argv)
{
    static struct caller all[CONNECTIONS_MAX], direct;
    if (argc != 10) die("usage: latency|load PORT HOST COOKIES BOARDS FUNCTION ...");
    bool is_load = strcmp(argv[1], "load") == 0;
    gateway.port = atoi(argv[2]);
    gateway.host = argv[3];
    gateway.function = argv[6];
    gateway.tls = SSL_CTX_new(TLS_client_method());
    read_lines(argv[4], false, &gateway.cookies);
    read_lines(argv[5], true, &gateway.boards);
    size_t n = is_load ? strtoul(argv[7], NULL, 10) : gateway.boards.n;
    if (!gateway.tls || n == 0 || n > CONNECTIONS_MAX) die("the number of connections");
    start_callers(all, n);
    if (is_load) return under_load(all, n, atol(argv[8]), atol(argv[9])), 0;
    direct = all[0];
    connect_to(&direct, atoi(argv[7]));
    latency(all, n, &direct, atol(argv[8]), atol(argv[9]));
    return 0;
}
