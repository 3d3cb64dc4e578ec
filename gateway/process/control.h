// SPDX-License-Identifier: GPL-3.0-or-later
// The control socket between supervisor and gateway (SOCK_SEQPACKET): one small message per packet, a
// descriptor beside it where the kind says so.
#pragma once

#include "base/err.h"

enum control_kind {
    CONTROL_VERIFIER = 1, // supervisor -> gateway: a verifier is running; its connection comes as SCM_RIGHTS
    CONTROL_STUCK, // gateway -> supervisor: that verifier does not answer, or answered nonsense; end it
    CONTROL_READY, // gateway -> supervisor: serving
};

struct control_message {
    uint32_t kind;   // enum control_kind
    uint32_t slot;   // 0 .. config.verifiers - 1
    uint32_t serial; // which of the processes that the slot has had
};

// False when the other end is gone or the socket is full. `fd` -1: none.
bool control_send(int control, const struct control_message *m, int fd);

enum control_result { CONTROL_GOT, CONTROL_NOTHING, CONTROL_CLOSED };
// Never blocks. *ret_fd is -1 when none came; otherwise the caller owns it (close-on-exec). Malformed packets
// are skipped.
enum control_result control_receive(int control, struct control_message *ret, int *ret_fd);

// For gateway_run: call once when requests are served. The supervisor then tells systemd, and ends the
// generation before.
bool control_ready(int control);
