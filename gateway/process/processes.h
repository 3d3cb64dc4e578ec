// SPDX-License-Identifier: GPL-3.0-or-later
// The processes of `sallyport serve` and what passes between them. Drawn in ARCHITECTURE.md.
//
//   supervisor --fork--> gateway
//     over a control socket (control.h): "verifier", a slot and a connected socket
//   supervisor --exec--> verifier
//     with an empty environment; descriptor 3 is its end of that socket; limits, then seccomp
//
// A verifier that dies closes its end: the gateway fails the one message that it had (ERR_LOGIN_CRASHED), and
// the supervisor starts another and passes a new socket. A gateway that dies is started again on the same
// listening sockets.
#pragma once

#include "gateway/config/config.h"

// `sallyport serve`: returns the exit status. Runs in the foreground until SIGTERM or SIGINT.
int supervisor_run(const char *config_path);

// What the gateway process gets.
struct gateway_setup {
    const struct config *config;
    struct state_keys *keys;
    int *listen_fds;   // one per config listener, bound and listening
    int operations_fd; // bound and listening, -1: none
    int control;       // see above
};
// The gateway process' main: returns its exit status when drained after SIGTERM.
int gateway_run(const struct gateway_setup *setup);

// `sallyport verifier` (not for people): serves fd 3 until it closes.
int verifier_run(void);
