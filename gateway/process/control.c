// SPDX-License-Identifier: GPL-3.0-or-later
#include "gateway/process/control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union fd_space {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
};

bool control_send(int control, const struct control_message *m, int fd)
{
    union fd_space space = { 0 };
    struct control_message copy = *m;
    struct iovec iov = { &copy, sizeof copy };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    if (fd >= 0) {
        msg.msg_control = space.bytes;
        msg.msg_controllen = sizeof space.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        *c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
                               .cmsg_type = SCM_RIGHTS,
                               .cmsg_len = CMSG_LEN(sizeof fd) };
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    ssize_t n;
    do n = sendmsg(control, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof copy;
}

static int received_fd(struct msghdr *msg)
{
    struct cmsghdr *c = CMSG_FIRSTHDR(msg);
    if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
        c->cmsg_len != CMSG_LEN(sizeof(int)))
        return -1;
    int fd;
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return fd;
}

enum control_result control_receive(int control, struct control_message *ret, int *ret_fd)
{
    for (;;) {
        union fd_space space = { 0 };
        struct control_message m = { 0 };
        struct iovec iov = { &m, sizeof m };
        struct msghdr msg = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space.bytes, .msg_controllen = sizeof space.bytes
        };
        ssize_t n = recvmsg(control, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return CONTROL_NOTHING;
        if (n <= 0) return CONTROL_CLOSED;
        int fd = received_fd(&msg);
        if (n == (ssize_t)sizeof m && (fd >= 0) == (m.kind == CONTROL_VERIFIER)) {
            *ret = m;
            *ret_fd = fd;
            return CONTROL_GOT;
        }
        if (fd >= 0) close(fd);
    }
}

bool control_ready(int control)
{
    return control_send(control, &(struct control_message){ .kind = CONTROL_READY }, -1);
}
