// SPDX-License-Identifier: GPL-3.0-or-later
// Memory for nghttp2. Each of its sessions has a buffer of 16 KiB for one frame of its own, of which it uses
// little and an idle one nothing. From malloc it would come with pages that others have used: resident, for
// as long as the connection lives. Here such buffers have pages of their own, which the system provides when
// they are touched and takes back when the session ends. Everything else is malloc's.
#pragma once

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    H2_BLOCKS_MAX = 64 * 1024,
    H2_BLOCK_BYTES = 20 * 1024,
    H2_BLOCK_FROM = 16 * 1024
}; // requests from .. to .. bytes get a block

struct h2_memory {
    nghttp2_mem mem;      // for nghttp2_session_server_new3; points back here
    char *region;         // of address space, not of memory
    size_t blocks, fresh; // fresh: the first that was never used
    uint32_t *free;
    size_t nfree;
};

// `sessions`: so many, up to H2_BLOCKS_MAX, get a block. The buffers of more, and of all where there is no
// address space, come from malloc.
void h2_memory_init(struct h2_memory *m, size_t sessions);
void h2_memory_done(struct h2_memory *m); // no session is left
