// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/edge/tls_socket.h"

#include <errno.h>
#include <openssl/bio.h>
#include <pthread.h>
#include <sys/socket.h>

#include "base/limits.h"

static BIO_METHOD *method;
static pthread_once_t once = PTHREAD_ONCE_INIT;

bool tls_socket_floods(const struct tls_socket *s)
{
    return s->late > LIMIT_TLS_LATE_RECORDS + (s->received >> 20);
}

// Called with the head of each record, and with what it really is once it is decrypted (TLS 1.3).
static void on_record(int sent, int version, int what, const void *bytes, size_t n, SSL *ssl, void *arg)
{
    (void)version;
    struct tls_socket *s = arg;
    if (sent || n == 0 || (what != SSL3_RT_HEADER && what != SSL3_RT_INNER_CONTENT_TYPE)) return;
    if (*(const uint8_t *)bytes == SSL3_RT_HANDSHAKE && SSL_is_init_finished(ssl)) s->late++;
}

static int socket_read(BIO *bio, char *p, size_t n, size_t *ret_n)
{
    struct tls_socket *s = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (tls_socket_floods(s)) return 0;
    ssize_t got = recv(s->fd, p, n, 0);
    if (got > 0) s->received += (size_t)got;
    if (got > 0 && (size_t)got < n && !*s->hung_up) *s->readable = false;
    if (got == 0) s->eof = true;
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
    *ret_n = got > 0 ? (size_t)got : 0;
    return got > 0;
}

static int socket_write(BIO *bio, const char *p, size_t n, size_t *ret_n)
{
    const struct tls_socket *s = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t done = send(s->fd, p, n, MSG_NOSIGNAL);
    if (done < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
    *ret_n = done > 0 ? (size_t)done : 0;
    return done > 0;
}

static long control(BIO *bio, int command, long number, void *p)
{
    (void)number, (void)p;
    const struct tls_socket *s = BIO_get_data(bio);
    if (command == BIO_CTRL_EOF) return s && s->eof;
    return command == BIO_CTRL_FLUSH;
}

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket of the loop");
    if (!method) return;
    BIO_meth_set_read_ex(method, socket_read);
    BIO_meth_set_write_ex(method, socket_write);
    BIO_meth_set_ctrl(method, control);
}

bool tls_socket_attach(SSL *ssl, struct tls_socket *s)
{
    pthread_once(&once, make_method);
    BIO *bio = method ? BIO_new(method) : NULL;
    if (!bio) return false;
    BIO_set_data(bio, s);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_msg_callback(ssl, on_record);
    SSL_set_msg_callback_arg(ssl, s);
    return true;
}
