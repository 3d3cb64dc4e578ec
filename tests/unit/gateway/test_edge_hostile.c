// SPDX-License-Identifier: GPL-3.0-or-later
// Peers that mean harm, or that leave at an awkward moment.
#include "edge_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <openssl/bio.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { UPDATES = 2000 };

static void add_updates(SSL *ssl, int n)
{
    for (int i = 0; i < n; i++) {
        assert_int_equal(SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(ssl), 1);
    }
}

// Each makes the gateway derive keys, and none gives a byte: within one SSL_read, as long as more come.
static void test_a_flood_of_key_updates_ends_the_connection(void **state)
{
    struct edge *e = *state;
    struct client c;
    char *flood;
    client_open(e, &c);
    BIO *memory = BIO_new(BIO_s_mem());
    BIO_up_ref(memory);
    SSL_set0_wbio(c.ssl, memory);
    add_updates(c.ssl, UPDATES);
    size_t n = (size_t)BIO_get_mem_data(memory, &flood);
    ssize_t sent = send(c.fd, flood, n, MSG_NOSIGNAL); // fails when the gateway has had enough already
    (void)sent;
    BIO_free(memory);
    edge_expect_log(e, "\"event\":\"connection.refused\"", "\"reason\":\"tls.flood\"");
    client_close(&c); // not before: a reset would overtake what was sent
}

// An honest client changes its keys now and then.
static void test_a_few_key_updates_are_welcome(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    for (int i = 0; i < 8; i++) {
        add_updates(c.ssl, 4);
        client_send(&c, "GET / HTTP/1.1\r\nHost: dead.example.com\r\n\r\n");
        client_expect(&c, "HTTP/1.1 502 ");
        client_forget(&c);
        usleep(10 * 1000);
    }
    client_close(&c);
}

// --- awkward moments

static void sleep_a_little(struct worker *w)
{
    (void)w;
    usleep(200 * 1000);
}

static void *keep_busy(void *e)
{
    edge_on_thread(e, sleep_a_little);
    return NULL;
}

#define ASK                                                                                                  \
    "GET /ws HTTP/1.1\r\n" HOST_APP "Connection: Upgrade\r\nUpgrade: websocket\r\n"                          \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
#define YES                                                                                                  \
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"                      \
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

// Many clients close the socket without close_notify as soon as they have sent their last message.
static void test_last_words_in_a_tunnel_arrive(void **state)
{
    struct edge *e = *state;
    struct client c;
    pthread_t busy;
    int b = ask_and_answer(e, &c, ASK, YES);
    client_expect(&c, "\r\n\r\n");
    pthread_create(&busy, NULL, keep_busy, e);
    usleep(50 * 1000);
    client_send(&c, "last words;"); // both are there when the worker looks again
    client_close(&c);
    backend_await(b, "last words;");
    assert_true(backend_is_closed(b));
    pthread_join(busy, NULL);
    close(b);
}

// A page that is closed says goodbye properly. Its event stream, which may be silent for an hour, ends all
// the same: nobody waits for an answer that has no end. Whichever comes first, the goodbye or the answer's
// head.
static void test_nobody_listens_to_an_event_stream(void **state)
{
    struct edge *e = *state;
    for (int early = 0; early < 2; early++) {
        struct client c;
        client_open(e, &c);
        client_send(&c, GET_APP);
        int b = backend_accept(e, RIG_WAIT_MS);
        backend_await(b, "\r\n\r\n");
        for (int i = 0; i < 2; i++) {
            if (i == early) {
                backend_send(b, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
                if (!early) client_expect(&c, "\r\n\r\n");
            } else {
                SSL_shutdown(c.ssl);
                shutdown(c.fd, SHUT_WR);
                usleep(50 * 1000);
            }
        }
        assert_true(backend_is_closed(b));
        client_close(&c);
        close(b);
    }
}

// Who has said everything may still listen.
static void test_a_half_closed_client_gets_its_answer(void **state)
{
    struct edge *e = *state;
    struct client c;
    client_open(e, &c);
    client_send(&c, GET_APP);
    int b = backend_accept(e, RIG_WAIT_MS);
    SSL_shutdown(c.ssl);
    shutdown(c.fd, SHUT_WR);
    usleep(100 * 1000);
    backend_await(b, "\r\n\r\n");
    backend_send(b, OK_EMPTY);
    client_expect(&c, "HTTP/1.1 200 OK");
    client_close(&c);
    close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_flood_of_key_updates_ends_the_connection, edge_test_begin),
        cmocka_unit_test_setup(test_a_few_key_updates_are_welcome, edge_test_begin),
        cmocka_unit_test_setup(test_last_words_in_a_tunnel_arrive, edge_test_begin),
        cmocka_unit_test_setup(test_nobody_listens_to_an_event_stream, edge_test_begin),
        cmocka_unit_test_setup(test_a_half_closed_client_gets_its_answer, edge_test_begin),
    };
    return cmocka_run_group_tests(tests, edge_setup, edge_teardown);
}
