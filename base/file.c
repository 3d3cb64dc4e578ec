// SPDX-License-Identifier: GPL-3.0-or-later
#include "base/file.h"

#include <errno.h>
#include <unistd.h>

bool file_read_up_to(int fd, char *buf, size_t room, size_t *ret_n)
{
    size_t n = 0;
    while (n < room) {
        ssize_t got = read(fd, buf + n, room - n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return false;
        if (got == 0) break;
        n += (size_t)got;
    }
    *ret_n = n;
    return true;
}
