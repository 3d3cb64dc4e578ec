// SPDX-License-Identifier: GPL-3.0-or-later
// What a verifier process gives up before it reads its first message: files, sockets, programs, other
// processes, core dumps, unlimited memory and time.
#pragma once

#include "base/err.h"

// Sanitizers need files, memory and signals that the sandbox takes away.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANDBOX_SANITIZED 1
#endif
#endif
#ifndef SANDBOX_SANITIZED
#define SANDBOX_SANITIZED 0
#endif

// CPU seconds of one verifier's whole life: it leaves by itself between two messages after the first, is
// killed at the second.
enum { SANDBOX_CPU_LEAVE = 600, SANDBOX_CPU_KILL = 660 };

// Irrevocable. False: nothing may be parsed. Rlimits on memory and the system call filter are left out of
// sanitizer builds.
bool sandbox_enter(struct err *err);
// Whether the process has used its CPU time and should end.
bool sandbox_spent(void);
