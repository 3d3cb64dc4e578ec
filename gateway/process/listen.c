// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/process/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "gateway/ops/ops.h"

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
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
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
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
    if (fd < 0) {
        bool low = errno == EACCES && port < 1024;
        err_set(err, ERR_FILE, "cannot listen on %.*s port %u: %s%s", STR_FMT(host), port, strerror(errno),
                low ? "; ports below 1024 need root or CAP_NET_BIND_SERVICE" : "");
    }
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
    if (!b) return bound_keep(list, name, ops_listen(address, err), err);
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
