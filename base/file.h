// SPDX-License-Identifier: GPL-3.0-or-later
// Reading from a descriptor.
#pragma once

#include <stdbool.h>
#include <stddef.h>

// Reads to the end, so that files without a size (/proc, pipes) work as well, but at most `room` bytes:
// whoever asks for one more than they accept sees what is too long. False: reading failed, errno says how.
bool file_read_up_to(int fd, char *buf, size_t room, size_t *ret_n);
