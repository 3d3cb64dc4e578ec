// SPDX-License-Identifier: GPL-3.0-or-later
// Binding the operations address, by the supervisor while it may still do so.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/url.h"
#include "gateway/ops/ops.h"

enum { OPS_BACKLOG = 64, UNIX_MODE = 0660 };

static int fail_with(int fd, struct err *err, struct str address)
{
    int why = errno;
    bool no_folder = why == ENOENT && str_starts(address, STR("unix:"));
    err_set(err, ERR_FILE, "cannot listen on the operations address %.*s: %s%s", STR_FMT(address),
            strerror(why), no_folder ? " (the directory of the socket must exist)" : "");
    if (fd >= 0) close(fd);
    return -1;
}

// Left behind by a process that was killed: nobody answers there.
static bool socket_is_stale(const struct sockaddr_un *sa)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return false;
    bool refused = connect(fd, (const struct sockaddr *)sa, sizeof *sa) != 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

static bool clear_path(const struct sockaddr_un *sa, struct err *err)
{
    struct stat st;
    if (lstat(sa->sun_path, &st) != 0) return true; // bind says what else is wrong
    if (!S_ISSOCK(st.st_mode))
        return err_set(err, ERR_FILE, "unix:%s: there is a file that is no socket", sa->sun_path);
    if (!socket_is_stale(sa))
        return err_set(err, ERR_FILE, "unix:%s: another process listens there", sa->sun_path);
    return unlink(sa->sun_path) == 0 || err_set(err, ERR_FILE, "unix:%s: %s", sa->sun_path, strerror(errno));
}

// Nobody can connect between bind and listen, so the mode is right from the first connection on.
static int listen_unix(struct str address, struct err *err)
{
    struct str path = str_skip(address, 5);
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    if (path.n == 0 || path.p[0] != '/' || path.n >= sizeof sa.sun_path || memchr(path.p, 0, path.n)) {
        err_set(err, ERR_CONFIG, "%.*s: an absolute path of at most %zu bytes is needed", STR_FMT(address),
                sizeof sa.sun_path - 1);
        return -1;
    }
    memcpy(sa.sun_path, path.p, path.n);
    if (!clear_path(&sa, err)) return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) != 0 || chmod(sa.sun_path, UNIX_MODE) != 0 ||
        listen(fd, OPS_BACKLOG) != 0)
        return fail_with(fd, err, address);
    return fd;
}

static socklen_t loopback_address(struct str host, bool ipv6, uint16_t port, struct sockaddr_storage *ret)
{
    char text[64] = "";
    if (str_eq_c(host, "localhost")) host = STR("127.0.0.1");
    if (host.n >= sizeof text) return 0;
    memcpy(text, host.p, host.n);
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
    if (ipv6) {
        *v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(port) };
        return inet_pton(AF_INET6, text, &v6->sin6_addr) == 1 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr)
                   ? sizeof *v6
                   : 0;
    }
    *v4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port) };
    return inet_pton(AF_INET, text, &v4->sin_addr) == 1 && ntohl(v4->sin_addr.s_addr) >> 24 == 127
               ? sizeof *v4
               : 0;
}

static int listen_tcp(struct str address, const struct sockaddr_storage *sa, socklen_t n, struct err *err)
{
    int fd = socket(sa->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (const struct sockaddr *)sa, n) != 0 || listen(fd, OPS_BACKLOG) != 0)
        return fail_with(fd, err, address);
    return fd;
}

int ops_listen(struct str address, struct err *err)
{
    if (str_starts(address, STR("unix:"))) return listen_unix(address, err);
    struct arena *a = arena_new(4096);
    struct sockaddr_storage sa = { .ss_family = AF_UNSPEC };
    struct str host;
    bool ipv6;
    uint16_t port;
    socklen_t n = 0;
    if (a && authority_parse(a, address, &host, &ipv6, &port) && port > 0)
        n = loopback_address(host, ipv6, port, &sa);
    arena_free(a);
    if (n > 0) return listen_tcp(address, &sa, n, err);
    err_set(err, ERR_CONFIG, "%.*s: unix:/path or a loopback address with port is needed", STR_FMT(address));
    return -1;
}
