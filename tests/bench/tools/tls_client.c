// SPDX-License-Identifier: GPL-3.0-or-later
// The client of ./bench for what no load generator does: handshakes alone, and connections that stay idle.
//
//   tls_client info PORT HOST ALPN
//   tls_client handshakes PORT HOST 1.2|1.3 full|resumed SECONDS THREADS
//   tls_client hold PORT HOST COUNT ADDRESSES PATH COOKIE
//
// `hold` makes COUNT connections from ADDRESSES addresses of 127.0.1.0/24, asks each for PATH once, says
// "held N", and keeps them until its input ends; then it says how many the server had closed meanwhile.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { THREADS_MAX = 16, HOLD_THREADS = 4, SECONDS_MAX = 20 };

struct target {
    struct sockaddr_in address;
    const char *host;
    SSL_CTX *ctx;
};

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: tls_client info PORT HOST ALPN\n"
                    "       tls_client handshakes PORT HOST 1.2|1.3 full|resumed SECONDS THREADS\n"
                    "       tls_client hold PORT HOST COUNT ADDRESSES PATH COOKIE\n");
    exit(2);
}

static struct target target_make(const char *port, const char *host)
{
    struct target t = { .host = host, .ctx = SSL_CTX_new(TLS_client_method()) };
    t.address = (struct sockaddr_in){ .sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)atoi(port)),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (!t.ctx) usage();
    // A server that closes without close_notify ends a connection, nothing else.
    SSL_CTX_set_options(t.ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
    return t;
}

// Connected from 127.0.1.(1 + source) when source >= 0; -1 when that fails.
static int connect_from(const struct target *t, int source)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = { .tv_sec = SECONDS_MAX };
    struct sockaddr_in from = { .sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(0x7f000101u + (unsigned)source) };
    if (fd < 0) return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){ 1 }, sizeof(int));
    if ((source < 0 || bind(fd, (struct sockaddr *)&from, sizeof from) == 0) &&
        connect(fd, (const struct sockaddr *)&t->address, sizeof t->address) == 0)
        return fd;
    close(fd);
    return -1;
}

// A connection after its handshake, NULL when that fails. SSL_free leaves the descriptor open.
static SSL *handshake(const struct target *t, int fd, SSL_SESSION *session)
{
    SSL *ssl = SSL_new(t->ctx);
    if (!ssl) return NULL;
    SSL_set_tlsext_host_name(ssl, t->host);
    if (session) SSL_set_session(ssl, session);
    if (SSL_set_fd(ssl, fd) == 1 && SSL_connect(ssl) == 1) return ssl;
    ERR_print_errors_fp(stderr);
    SSL_free(ssl);
    return NULL;
}

// ---- info

static int info(const struct target *t, const char *alpn)
{
    unsigned char wire[64];
    size_t n = strlen(alpn);
    if (n >= sizeof wire) usage();
    wire[0] = (unsigned char)n;
    memcpy(wire + 1, alpn, n);
    SSL_CTX_set_alpn_protos(t->ctx, wire, (unsigned)n + 1);
    int fd = connect_from(t, -1);
    SSL *ssl = fd < 0 ? NULL : handshake(t, fd, NULL);
    if (!ssl) return 1;
    const unsigned char *chosen;
    unsigned chosen_n;
    int digest = NID_undef;
    SSL_get0_alpn_selected(ssl, &chosen, &chosen_n);
    SSL_get_peer_signature_nid(ssl, &digest);
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    printf("%s %s %s %s-%d %s|%.*s\n", SSL_get_version(ssl), SSL_get_cipher(ssl),
           OBJ_nid2sn(SSL_get_negotiated_group(ssl) & 0xffff),
           OBJ_nid2sn(EVP_PKEY_get_base_id(X509_get0_pubkey(certificate))),
           EVP_PKEY_get_bits(X509_get0_pubkey(certificate)), OBJ_nid2sn(digest), (int)chosen_n, chosen);
    SSL_free(ssl);
    close(fd);
    return 0;
}

// ---- handshakes

struct counts {
    long done, resumed, failed;
};

struct shaker {
    const struct target *target;
    pthread_t thread;
    bool resume;
    struct timespec end;
    SSL_SESSION *session; // the newest
    int tickets;          // of the connection under way
    struct counts counts;
};

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct shaker *s = SSL_get_app_data(ssl);
    s->tickets++;
    SSL_SESSION_free(s->session);
    s->session = session;
    return 1;
}

// TLS 1.3: a server sends its tickets when its half of the handshake is done, so the first one tells that.
static bool wait_for_ticket(struct shaker *s, SSL *ssl, int fd)
{
    char byte;
    struct pollfd p = { .fd = fd, .events = POLLIN };
    if (SSL_version(ssl) != TLS1_3_VERSION) return true;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (s->tickets == 0) {
        int n = SSL_read(ssl, &byte, 1);
        if (s->tickets > 0) break;
        if (n > 0 || SSL_get_error(ssl, n) != SSL_ERROR_WANT_READ) return false;
        if (poll(&p, 1, SECONDS_MAX * 1000) != 1) return false;
    }
    return true;
}

static bool shake_on(struct shaker *s, SSL *ssl, int fd)
{
    s->tickets = 0;
    if (SSL_set_fd(ssl, fd) != 1) return false;
    SSL_set_tlsext_host_name(ssl, s->target->host);
    SSL_set_app_data(ssl, s);
    if (s->resume && s->session) SSL_set_session(ssl, s->session);
    if (SSL_connect(ssl) != 1 || !wait_for_ticket(s, ssl, fd)) return false;
    SSL_shutdown(ssl);
    return true;
}

static void shake(struct shaker *s)
{
    int fd = connect_from(s->target, -1);
    SSL *ssl = SSL_new(s->target->ctx);
    bool ok = fd >= 0 && ssl && shake_on(s, ssl, fd);
    s->counts.done += ok;
    s->counts.failed += !ok;
    if (ok && SSL_session_reused(ssl)) s->counts.resumed++;
    SSL_free(ssl);
    if (fd >= 0) close(fd);
}

static bool time_left(const struct timespec *end)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec < end->tv_sec || (now.tv_sec == end->tv_sec && now.tv_nsec < end->tv_nsec);
}

static void *shake_all(void *argument)
{
    struct shaker *s = argument;
    shake(s); // its ticket is for the next
    s->counts = (struct counts){ .failed = s->counts.failed };
    while (s->counts.failed < 10 && time_left(&s->end)) shake(s);
    SSL_SESSION_free(s->session);
    return NULL;
}

static int handshakes(const struct target *t, const char *version, bool resume, double seconds, int threads)
{
    struct shaker all[THREADS_MAX] = { 0 };
    struct counts sum = { 0 };
    struct timespec end;
    int wanted = strcmp(version, "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
    if (threads < 1 || threads > THREADS_MAX) usage();
    SSL_CTX_set_min_proto_version(t->ctx, wanted);
    SSL_CTX_set_max_proto_version(t->ctx, wanted);
    SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(t->ctx, keep_session);
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += (time_t)seconds;
    end.tv_nsec = 0;
    for (int i = 0; i < threads; i++) {
        all[i] = (struct shaker){ .target = t, .resume = resume, .end = end };
        if (pthread_create(&all[i].thread, NULL, shake_all, &all[i]) != 0) return 1;
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(all[i].thread, NULL);
        sum.done += all[i].counts.done;
        sum.resumed += all[i].counts.resumed;
        sum.failed += all[i].counts.failed;
    }
    // The first one of each thread is outside of `done`, but the server worked for it.
    printf("{ \"done\": %ld, \"resumed\": %ld, \"failed\": %ld, \"extra\": %d }\n", sum.done, sum.resumed,
           sum.failed, threads);
    return 0;
}

// ---- idle connections

struct holder {
    const struct target *target;
    pthread_t thread;
    const char *request;
    int *fds;
    int n, addresses, first;
    bool failed;
};

// Whether the whole answer, of which Content-Length tells the length, is there and a 200.
static bool exchange(SSL *ssl, const char *request)
{
    char buffer[16384];
    int n = 0, got;
    if (SSL_write(ssl, request, (int)strlen(request)) <= 0) return false;
    while (n < (int)sizeof buffer - 1 && (got = SSL_read(ssl, buffer + n, (int)sizeof buffer - 1 - n)) > 0) {
        n += got;
        buffer[n] = '\0';
        const char *end = strstr(buffer, "\r\n\r\n"), *length = strcasestr(buffer, "\r\nContent-Length:");
        if (!end || !length || length > end) continue;
        if (buffer + n - end - 4 >= atol(length + 17)) return strncmp(buffer, "HTTP/1.1 200", 12) == 0;
    }
    return false;
}

static int hold_one(const struct holder *h, int source)
{
    int fd = connect_from(h->target, source);
    SSL *ssl = fd < 0 ? NULL : handshake(h->target, fd, NULL);
    bool ok = ssl && exchange(ssl, h->request);
    SSL_free(ssl); // the connection stays; its keys are not needed to be silent
    if (ok) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

static void *hold_some(void *argument)
{
    struct holder *h = argument;
    for (int i = 0; i < h->n && !h->failed; i++) {
        h->fds[i] = hold_one(h, (h->first + i) % h->addresses);
        h->failed = h->fds[i] < 0;
    }
    return NULL;
}

static int count_closed(const int *fds, int n)
{
    int closed = 0;
    for (int i = 0; i < n; i++) {
        struct pollfd p = { .fd = fds[i], .events = POLLIN | POLLRDHUP };
        closed += poll(&p, 1, 0) != 0;
    }
    return closed;
}

static bool hold_all(const struct target *t, int *fds, int count, int addresses, const char *request)
{
    struct holder all[HOLD_THREADS];
    bool ok = true;
    int first = 0;
    for (int i = 0; i < HOLD_THREADS; i++) {
        int n = count / HOLD_THREADS + (i < count % HOLD_THREADS);
        all[i] = (struct holder){ .target = t,
                                  .request = request,
                                  .fds = fds + first,
                                  .n = n,
                                  .addresses = addresses,
                                  .first = first };
        first += n;
        if (pthread_create(&all[i].thread, NULL, hold_some, &all[i]) != 0) exit(1);
    }
    for (int i = 0; i < HOLD_THREADS; i++) {
        pthread_join(all[i].thread, NULL);
        ok = ok && !all[i].failed;
    }
    return ok;
}

static int hold(const struct target *t, int count, int addresses, const char *path, const char *cookie)
{
    char request[8192], line[64];
    int *fds = calloc((size_t)count + 1, sizeof *fds);
    struct rlimit r;
    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
    int n = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s:%d\r\nCookie: %s\r\n\r\n", path,
                     t->host, ntohs(t->address.sin_port), cookie);
    if (!fds || addresses < 1 || addresses > 200 || n >= (int)sizeof request) usage();
    if (!hold_all(t, fds, count, addresses, request)) return fprintf(stderr, "a connection failed\n"), 1;
    printf("held %d\n", count);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) continue;
    printf("closed %d\n", count_closed(fds, count));
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 5) usage();
    struct target t = target_make(argv[2], argv[3]);
    if (strcmp(argv[1], "info") == 0) return info(&t, argv[4]);
    if (strcmp(argv[1], "handshakes") == 0 && argc == 8)
        return handshakes(&t, argv[4], strcmp(argv[5], "resumed") == 0, atof(argv[6]), atoi(argv[7]));
    if (strcmp(argv[1], "hold") == 0 && argc == 8)
        return hold(&t, atoi(argv[4]), atoi(argv[5]), argv[6], argv[7]);
    usage();
}
