// SPDX-License-Identifier: GPL-3.0-or-later
// Whatever a client sends after the preface: a whole connection of the HTTP/2 engine in front of a gateway
// that serves no site, so that every request is answered by itself. The first byte says in which pieces it
// arrives, and whether the client reads and the worker drains.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/edge/h2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct config config;
static struct listener listener;
static struct shared shared;
static struct worker worker;

static void begin(void)
{
    static bool quiet;
    if (!quiet) log_to_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
    quiet = true;
    config = (struct config){ .listeners = &listener,
                              .nlisteners = 1,
                              .login_host = STR("login.example.com"),
                              .timeout_request_head = 10,
                              .timeout_idle = 10,
                              .max_streams = 20,
                              .site_name = STR("fuzz") };
    shared = (struct shared){ .config = &config };
    memset(&worker, 0, sizeof worker);
    worker.shared = &shared;
    buffer_pool_init(&worker.in_buffers, CONN_IN_BYTES, 1);
    buffer_pool_init(&worker.out_buffers, CONN_OUT_BYTES, 1);
    worker.h2 = h2_worker_new(16);
    if (!worker.h2 || !loop_init(&worker.loop)) abort();
}

static struct conn *open_conn(int fd)
{
    struct conn *c = calloc(1, sizeof *c);
    if (!c) abort();
    *c = (struct conn){ .io = { .fd = fd },
                        .worker = &worker,
                        .listener = &listener,
                        .in.pool = &worker.in_buffers,
                        .out.pool = &worker.out_buffers,
                        .handshaken = true,
                        .writable = true };
    conn_prepare(c);
    conn_link(c);
    timer_clear(&worker.loop, &c->timer);
    if (!h2_protocol.start(c)) abort();
    c->protocol = &h2_protocol;
    return c;
}

static void turn(struct conn *c, struct str bytes)
{
    if (bytes.n && !buffer_append(&c->in, bytes)) return;
    c->protocol->run(c);
    h2_worker_flush(worker.h2);
}

// A connection that closes is not freed before the loop ends its round: here, at the end.
static void feed(struct conn *c, int peer, struct str bytes, uint8_t how)
{
    static const size_t pieces[] = { 1, 9, 100, 4096, 16384 };
    static char scrap[65536];
    size_t piece = pieces[how % 5];
    turn(c, STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"));
    while (bytes.n && !c->closed) {
        struct str now = str_take(bytes, bytes.n < piece ? bytes.n : piece);
        turn(c, now);
        bytes = str_skip(bytes, now.n);
        while (!(how & 0x40) && read(peer, scrap, sizeof scrap) > 0) c->writable = true;
    }
    if ((how & 0x80) && !c->closed) c->protocol->drain(c);
    for (int i = 0; i < 3 && !c->closed; i++) {
        worker.loop.now_ms += 11000;
        c->protocol->timeout(c);
        h2_worker_flush(worker.h2);
    }
    if (!c->closed) conn_close(c);
}

static void end(void)
{
    if (worker.conns || worker.nconns) abort();
    while (worker.free_exchanges) {
        struct exchange *x = worker.free_exchanges;
        worker.free_exchanges = x->next_free;
        arena_free(x->arena);
        free(x);
    }
    h2_worker_free(worker.h2);
    buffer_pool_done(&worker.in_buffers);
    buffer_pool_done(&worker.out_buffers);
    loop_done(&worker.loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int sv[2];
    if (size < 1 || size > 200000) return 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv) != 0) abort();
    begin();
    feed(open_conn(sv[0]), sv[1], (struct str){ (const char *)data + 1, size - 1 }, data[0]);
    end();
    close(sv[1]);
    return 0;
}
