// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/process/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/url.h"

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

static bool address_make(struct str host, uint16_t port, union address *ret, socklen_t *ret_n)
{
    char text[INET6_ADDRSTRLEN + 1];
    union address a = { 0 };
    if (host.n >= sizeof text) return false;
    memcpy(text, host.p, host.n);
    text[host.n] = 0;
    if (inet_pton(AF_INET, text, &a.v4.sin_addr) == 1) {
        a.v4.sin_family = AF_INET;
        a.v4.sin_port = htons(port);
        *ret_n = sizeof a.v4;
    } else if (inet_pton(AF_INET6, text, &a.v6.sin6_addr) == 1) {
        a.v6.sin6_family = AF_INET6;
        a.v6.sin6_port = htons(port);
        *ret_n = sizeof a.v6;
    } else {
        return false;
    }
    *ret = a;
    return true;
}

static int bind_and_listen(const union address *a, socklen_t n)
{
    int one = 1, off = 0;
    int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (a->any.sa_family != AF_UNIX) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (a->any.sa_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, &a->any, n) == 0 && listen(fd, LISTEN_BACKLOG) == 0) return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

int listen_tcp(struct str host, uint16_t port, struct err *err)
{
    union address a;
    socklen_t n;
    if (!address_make(host, port, &a, &n)) {
        err_set(err, ERR_FILE, "%.*s is not an IP address", STR_FMT(host));
        return -1;
    }
    int fd = bind_and_listen(&a, n);
    if (fd < 0)
        err_set(err, ERR_FILE, "cannot listen on %.*s port %u: %s", STR_FMT(host), port, strerror(errno));
    return fd;
}

// Only a socket is removed, never a file that somebody keeps there.
static void remove_stale(const char *path)
{
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) unlink(path);
}

static int listen_unix(struct str path, struct err *err)
{
    union address a = { .local = { .sun_family = AF_UNIX } };
    if (path.n == 0 || path.n >= sizeof a.local.sun_path || memchr(path.p, 0, path.n)) {
        err_set(err, ERR_FILE, "the path of the operations socket is empty or too long");
        return -1;
    }
    memcpy(a.local.sun_path, path.p, path.n);
    remove_stale(a.local.sun_path);
    mode_t before = umask(0077); // nobody else between bind and chmod
    int fd = bind_and_listen(&a, sizeof a.local);
    int why = errno;
    umask(before);
    if (fd < 0) err_set(err, ERR_FILE, "cannot listen on %s: %s", a.local.sun_path, strerror(why));
    return fd;
}

static bool is_loopback(const union address *a)
{
    if (a->any.sa_family == AF_INET) return ntohl(a->v4.sin_addr.s_addr) >> 24 == 127;
    return a->any.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr);
}

int listen_operations(struct str address, struct err *err)
{
    if (str_starts(address, STR("unix:"))) return listen_unix(str_skip(address, 5), err);
    struct arena *arena = arena_new(4096);
    struct str host = STR_NONE;
    bool v6;
    uint16_t port = 0;
    union address a;
    socklen_t n;
    int fd = -1;
    if (!arena || !authority_parse(arena, address, &host, &v6, &port) || !address_make(host, port, &a, &n) ||
        !is_loopback(&a))
        err_set(err, ERR_CONFIG, "operations: %.*s is not a loopback address with a port", STR_FMT(address));
    else
        fd = listen_tcp(host, port, err);
    arena_free(arena);
    return fd;
}

static struct bound *bound_find(struct bound *list, const char *name)
{
    while (list && strcmp(list->name, name) != 0) list = list->next;
    return list;
}

static int bound_keep(struct bound **list, const char *name, int fd, struct err *err)
{
    if (fd < 0) return -1;
    struct bound *b = mem_calloc(1, sizeof *b);
    if (!b) {
        close(fd);
        err_set(err, ERR_NO_MEMORY, "listener");
        return -1;
    }
    *b = (struct bound){ .next = *list, .fd = fd, .wanted = true };
    snprintf(b->name, sizeof b->name, "%s", name);
    *list = b;
    return fd;
}

int bound_get(struct bound **list, const struct listener *l, struct err *err)
{
    char name[sizeof(*list)->name];
    snprintf(name, sizeof name, "%.*s %u", STR_FMT(l->host), l->port);
    struct bound *b = bound_find(*list, name);
    if (!b) return bound_keep(list, name, listen_tcp(l->host, l->port, err), err);
    b->wanted = true;
    return b->fd;
}

int bound_get_operations(struct bound **list, struct str address, struct err *err)
{
    char name[sizeof(*list)->name];
    snprintf(name, sizeof name, "operations %.*s", STR_FMT(address));
    struct bound *b = bound_find(*list, name);
    if (!b) return bound_keep(list, name, listen_operations(address, err), err);
    b->wanted = true;
    return b->fd;
}

void bound_unwant_all(struct bound *list)
{
    for (; list; list = list->next) list->wanted = false;
}

void bound_close_unwanted(struct bound **list)
{
    for (struct bound **at = list; *at;) {
        struct bound *b = *at;
        if (b->wanted) {
            at = &b->next;
            continue;
        }
        *at = b->next;
        close(b->fd);
        mem_free(b);
    }
}
