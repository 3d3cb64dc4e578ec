// SPDX-License-Identifier: GPL-3.0-or-later
// Session cookies as browsers send them, and session records as if their seal had been broken.
#include <stdlib.h>
#include <string.h>

#include "gateway/store/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t master[SEAL_KEY_BYTES] = { 1 };
    struct session_keys keys;
    struct session session;
    struct err err;
    uint8_t id[SESSION_ID_BYTES];
    struct str input = { (const char *)data, size };
    struct arena *a = arena_new(4 * 1024 * 1024);
    if (!a || !session_keys_derive(master, &keys)) abort();
    if (session_cookie_check(a, &keys, STR("wiki.example.com"), input, id, &err))
        abort(); // nobody guesses a MAC
    if (session_decode(a, input, &session, &err)) {
        // What was read can be written, and reads the same.
        struct session again;
        struct str bytes = session_encode(a, &session);
        if (bytes.p && (!session_decode(a, bytes, &again, &err) || again.expires != session.expires)) abort();
    }
    arena_free(a);
    return 0;
}
