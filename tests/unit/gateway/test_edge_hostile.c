// SPDX-License-Identifier: GPL-3.0-or-later
// Peers that mean harm, or that leave at an awkward moment.
#include "edge_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <openssl/bio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { UPDATES = 40 * 1000 };

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
    client_close(&c);
    edge_expect_log(e, "\"event\":\"connection.refused\"", "\"reason\":\"tls.flood\"");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_flood_of_key_updates_ends_the_connection, edge_test_begin),
        cmocka_unit_test_setup(test_a_few_key_updates_are_welcome, edge_test_begin),
    };
    return cmocka_run_group_tests(tests, edge_setup, edge_teardown);
}
