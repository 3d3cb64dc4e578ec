// SPDX-License-Identifier: GPL-3.0-or-later
// Counters of one worker. Only that worker writes (relaxed atomics), the operations thread reads and sums.
// The X-list gives name, type and help of each; docs/metrics.md and a test are checked against it.
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define METRICS(X)                                                                                           \
    X(connections_total, "counter", "Connections accepted")                                                  \
    X(connections_open, "gauge", "Connections open now")                                                     \
    X(connections_refused_total, "counter", "Connections refused: too many overall")                         \
    X(connections_refused_address_total, "counter", "Connections refused: too many of one address")          \
    X(proxy_headers_refused_total, "counter", "Connections refused: PROXY protocol header")                  \
    X(tls_handshakes_failed_total, "counter", "TLS handshakes that failed")                                  \
    X(requests_total, "counter", "Requests read")                                                            \
    X(requests_refused_total, "counter", "Requests refused as malformed")                                    \
    X(http2_connections_refused_total, "counter", "HTTP/2 connections ended because of what the client did") \
    X(responses_2xx_total, "counter", "Answers with a 2xx status")                                           \
    X(responses_3xx_total, "counter", "Answers with a 3xx status")                                           \
    X(responses_4xx_total, "counter", "Answers with a 4xx status")                                           \
    X(responses_5xx_total, "counter", "Answers with a 5xx status")                                           \
    X(proxied_total, "counter", "Requests forwarded to a backend")                                           \
    X(proxy_errors_total, "counter", "Requests that a backend did not answer")                               \
    X(proxy_retries_total, "counter", "Requests sent again, on another connection or to another backend")    \
    X(proxy_queued_total, "counter", "Requests that waited for a connection to a backend")                   \
    X(proxy_queue_refused_total, "counter", "Requests that found no room to wait, or waited too long")       \
    X(backend_connections_total, "counter", "Connections to backends begun")                                 \
    X(backend_ejections_total, "counter", "Backends taken out of service after failures")                    \
    X(backend_checks_failed_total, "counter", "Health checks that failed")                                   \
    X(decisions_allow_total, "counter", "Policy decisions: allowed")                                         \
    X(decisions_deny_total, "counter", "Policy decisions: denied")                                           \
    X(decisions_login_total, "counter", "Policy decisions: login needed")                                    \
    X(logins_started_total, "counter", "Logins started")                                                     \
    X(logins_total, "counter", "Logins completed")                                                           \
    X(logins_failed_total, "counter", "Logins that failed")                                                  \
    X(logouts_total, "counter", "Sign-outs")                                                                 \
    X(pico_links_open, "gauge", "Boards connected and logged in now")                                        \
    X(pico_links_total, "counter", "Logins of boards")                                                       \
    X(pico_logins_refused_total, "counter", "Logins of boards that were refused")                            \
    X(pico_stray_closes_total, "counter", "Connections of boards that were given up before their request")   \
    X(pico_calls_total, "counter", "Calls of functions on boards")                                           \
    X(pico_calls_failed_total, "counter", "Calls that were refused or got no answer, or an error")           \
    X(bytes_in_total, "counter", "Bytes received from clients, decrypted")                                   \
    X(bytes_out_total, "counter", "Bytes sent to clients, before encryption")

struct worker_metrics {
#define X(name, type, help) _Atomic uint64_t name;
    METRICS(X)
#undef X
};

static inline void metric_add(_Atomic uint64_t *m, uint64_t n)
{
    atomic_store_explicit(m, atomic_load_explicit(m, memory_order_relaxed) + n, memory_order_relaxed);
}
