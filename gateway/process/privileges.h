// SPDX-License-Identifier: GPL-3.0-or-later
// Who the gateway and verifier processes run as. Started as root, the supervisor stays root (it binds and
// restarts), the others become the configured user and cannot come back.
#pragma once

#include <sys/types.h>

#include "gateway/config/config.h"

struct privileges {
    bool drop; // started as root
    uid_t uid;
    gid_t gid;
};
// The user of the configuration; without one "sallyport" if it exists, else "nobody" with a warning.
// ERR_CONFIG when it does not exist or is root itself.
bool privileges_find(const struct config *c, struct privileges *ret, struct err *err);
// Gives the state directory and the session store to that user. Only what root or that user owns is touched,
// and no symbolic or extra hard link is followed.
bool privileges_give_directories(const struct privileges *p, const struct config *c, struct err *err);
// The same, and the operations socket, which must be bound.
bool privileges_give_state(const struct privileges *p, const struct config *c, struct err *err);
// In a child: irrevocably becomes that user, and checks that it stuck.
bool privileges_drop(const struct privileges *p, struct err *err);
