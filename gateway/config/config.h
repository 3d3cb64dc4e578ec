// SPDX-License-Identifier: GPL-3.0-or-later
// The configuration as the daemon uses it: loaded from one YAML file, checked as a whole, immutable
// afterwards. One table (options.c) declares name, type, default and description of every option; it drives
// the parser, the defaults, `sallyport config reference` and the check of the man page. docs/configuration.md
// is the operators' view.
#pragma once

#include "base/ip.h"
#include "certs/certs.h"
#include "http/policy.h"
#include "oidc/oidc.h"
#include "policy/policy.h"
#include "saml/saml.h"

enum protocol { PROTOCOL_SAML, PROTOCOL_OIDC };

struct provider {
    struct str key;   // name in the configuration: [a-z0-9][a-z0-9_-]*
    struct str label; // shown to people
    enum protocol protocol;
    size_t index;      // position in config.providers
    struct str ca_pem; // authorities trusted for calls to this provider; absent: the system's
    struct oidc_client oidc;
    struct saml_client saml;
    struct str metadata; // SAML: https URL or path of a file
    bool metadata_is_url;
    int64_t metadata_refresh; // seconds
};

struct listener {
    struct str address; // as configured, "[::]:443"
    struct str host;    // numeric
    uint16_t port;
    bool tls;
    bool redirect_to_https; // plain HTTP that only redirects
    bool proxy_protocol;    // every connection begins with a PROXY protocol header of a trusted proxy
    struct cert_pair *certificates;
    size_t ncertificates;
};

struct backend {
    struct str url;       // as configured
    bool tls;             // https://
    struct str unix_path; // unix:PATH; absent: TCP
    struct str host;      // name or address; with unix: "localhost"
    uint16_t port;
    struct str authority; // host[:port] or unix:PATH, for messages and, without preserve_host, for Host
    size_t index;         // among all backends of all routes: resolver, shared health
};

enum balance { BALANCE_ROUND_ROBIN, BALANCE_LEAST_CONNECTIONS };

// How https:// backends of a route are spoken to.
struct backend_tls {
    struct str ca_pem;              // authorities; absent: the system's
    struct str cert_path, key_path; // for messages
    struct str cert_pem, key_pem;   // our client certificate; absent: none
    struct str server_name;         // for SNI and the check; absent: the host in the URL
    bool verify;                    // default true
};

// Active checks: GET path from time to time. path absent: none.
struct health_check {
    struct str path;
    int64_t interval, timeout; // seconds
    unsigned rise, fall;       // so many good (bad) answers in a row make a backend healthy (unhealthy)
};

// Passive: so many failures in a row (no connection, no answer, broken answer) take a backend out for a time.
struct ejection {
    unsigned failures;
    int64_t seconds;
};

// Answers every request of the route with a redirect.
struct redirect {
    struct str to;  // absolute URL or path; absent: the route has backends
    int status;     // 301, 302, 303, 307, 308
    bool keep_path; // the part of the path behind the route's prefix, and the query, are appended
};

struct websocket {
    bool allowed;           // Upgrade: websocket is passed on (default true)
    struct strlist origins; // "https://other.example.com": allowed beside the host's own; "*" alone: any
};

// A route that has boards (Pico relay) in place of backends.
struct pico {
    bool served;
    int64_t call_timeout; // seconds, for every function but those named in `timeouts`
    struct pico_timeout {
        struct str function;
        int64_t seconds;
    } * timeouts;
    size_t ntimeouts;
    int64_t dead_after;       // seconds without any frame of a board
    int64_t max_arguments;    // bytes of a call's arguments as they are sent to the board
    struct ip_networks plain; // from where boards may connect without TLS, beside loopback
    bool log_arguments;
};

enum identity_preset {
    IDENTITY_NONE = 0,
    IDENTITY_SALLYPORT = 1,
    IDENTITY_OAUTH2_PROXY = 2,
    IDENTITY_REMOTE_USER = 4
};

struct route_target {
    size_t index; // position, for per-worker pools
    struct backend *backends;
    size_t nbackends;
    unsigned identity; // mask of enum identity_preset
    enum secure_headers secure_headers;
    int64_t connect_timeout, response_timeout; // seconds
    int64_t stream_timeout; // seconds without a byte in either direction on a WebSocket or an event stream
    enum balance balance;
    struct backend_tls tls;
    struct health_check health;
    struct ejection eject;
    int64_t max_connections; // to each backend at the same time, all workers together; 0: no limit
    int64_t max_queue;       // requests that wait for one of these, all workers together
    int64_t queue_timeout;   // seconds
    int64_t max_body;        // bytes of a request body; -1: no limit
    struct str prefix;       // the route's path
    bool strip_prefix;       // the prefix is taken off before forwarding
    struct str rewrite;      // put in its place; absent: nothing
    bool preserve_host;      // Host as the browser sent it (default), else the backend's
    struct redirect redirect;
    struct websocket websocket;
    struct pico pico;
};

struct config {
    struct arena *arena; // everything below lives here
    struct str path;
    struct str login_host; // canonical
    uint16_t public_port;  // port in URLs that browsers use
    struct listener *listeners;
    size_t nlisteners;
    struct provider *providers;
    size_t nproviders;
    struct route_table routes;
    size_t nbackends; // of all routes together: backend.index is below it
    struct policy *policies;
    size_t npolicies;

    struct str state_dir;                   // default /var/lib/sallyport
    struct str store_path;                  // directory of the LMDB environment; default <state>/sessions
    int64_t store_size;                     // bytes of the map
    int64_t session_idle, session_lifetime; // seconds

    struct str operations; // "127.0.0.1:9090" or "unix:/path"; absent: no listener
    struct str user;       // to become after binding when started as root
    unsigned workers;      // 0: one per core
    unsigned verifiers;
    int64_t timeout_request_head, timeout_idle, timeout_drain; // seconds
    int64_t max_connections;                                   // of clients, overall; more are closed at once
    int64_t max_connections_per_address;                       // IPv6: per /64
    int64_t max_streams;                                       // concurrent ones of an HTTP/2 connection
    struct ip_networks trusted_proxies; // whose PROXY headers, X-Forwarded-* and Forwarded are believed
    struct str site_name;               // title of pages
    struct str log_level;
    struct str saml_entity_id; // default https://<login host>/.sallyport/saml/metadata
};

// Problems found, in order. `check` prints them all.
struct config_error {
    unsigned line, column;
    struct str key;     // path of the key, "routes[2].policy"
    struct str message; // what is wrong, what was expected, the nearest known key
};
struct config_errors {
    struct config_error v[LIMIT_CONFIG_ERRORS];
    size_t n;
};

// Loads and checks everything that can be checked without the network: files, keys, certificates, references.
// NULL and errors otherwise. The caller frees with config_free. The errors' strings live in `errors_arena`.
struct config *config_load(const char *path, struct arena *errors_arena, struct config_errors *errors);
void config_free(struct config *c); // NULL is accepted
// Sets the variables of a .env file (NAME=value lines, # comments, optional quotes) in the environment where
// they are not set yet.
bool config_env_file(const char *path, struct err *err);

// The route of this (canonical) host that has boards, NULL when there is none: at most one.
const struct route *config_pico_route(const struct config *c, struct str host);
bool config_has_pico(const struct config *c);
const struct provider *config_provider(const struct config *c, struct str key);
// "https://login.example.com[:port]" of any host.
struct str config_origin(struct arena *a, const struct config *c, struct str host);
// Our SAML service provider as configured, with keys from the state directory.
struct saml_sp config_saml_sp(struct arena *a, const struct config *c, const struct state_keys *keys);
