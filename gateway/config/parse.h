// SPDX-License-Identifier: GPL-3.0-or-later
// Inside of the configuration loader: the table of options, the engine that fills structures from it, and the
// checks. Every problem becomes one entry of `errors`, and loading goes on, so that an operator sees all of
// them at once.
#pragma once

#include "base/limits.h"
#include "base/yaml.h"
#include "gateway/config/config.h"

enum {
    SOCKET_PATH_BYTES = 108, // sizeof sockaddr_un.sun_path, NUL included
    PICO_CALL_MAX = 300,     // seconds
    // A call is one frame, in which the rest, names included, must have room as well.
    PICO_ARGUMENTS_MAX = LIMIT_PICO_FRAME_BYTES - 384,
};

// What loading fills. `config` is what remains of it.
struct config_draft {
    struct config config;
    int64_t connect_timeout, response_timeout, stream_timeout; // defaults of all routes
};

// What section_certificate fills.
struct cert_files {
    struct str cert, key;
};

// What section_route fills.
struct route_draft {
    struct route route;
    struct route_target target;
    struct str policy_name;
};

struct loader {
    struct config_draft *draft;
    struct arena *arena;   // of the configuration
    struct arena *scratch; // gone when loading ends
    struct arena *errors_arena;
    struct config_errors *errors;
    struct str folder; // of the file: what relative paths are relative to, "" or with '/' at the end
    int64_t now;
    const struct yaml_node *root;
    bool certificates_failed; // then who covers what cannot be told
};

enum option_type {
    OPTION_TEXT,     // struct str, not empty
    OPTION_PATH,     // struct str, made absolute or relative to the folder of the file
    OPTION_HOST,     // struct str, canonical
    OPTION_WORD,     // struct str, one of `words`
    OPTION_CHOICE,   // enum, index into `words`
    OPTION_BOOL,     // bool
    OPTION_DURATION, // int64_t seconds, min..max
    OPTION_SIZE,     // int64_t bytes, min..max
    OPTION_NUMBER,   // unsigned, min..max
    OPTION_COUNT,    // int64_t, min..max
    OPTION_PORT,     // uint16_t
    OPTION_LIST,     // struct strlist, not empty, no value twice
    OPTION_SECRET,   // struct str from { file: } or { env: }
    OPTION_SECTION,  // a map with options of its own, in the same or an embedded structure
    OPTION_CUSTOM,   // `parse` does it
};

struct section;
struct option {
    const char *name;
    enum option_type type;
    size_t offset; // of the field in the structure of the section
    bool required;
    const char *preset; // the default as one would write it (lists: separated by spaces); NULL: none
    const char *absent; // for people: what holds without it
    const char *help;
    const char *kind; // for people: the type, where `type` does not say it
    int64_t min, max;
    const char *const *words; // NULL-terminated
    // OPTION_SECTION; for OPTION_CUSTOM the sections of its members, for the reference alone.
    const struct section *section, *section2;
    void (*parse)(struct loader *l, const struct yaml_node *node, void *field);
};

struct section {
    const char *title; // "identity_providers.NAME with protocol: saml"
    const struct option *options;
    size_t n;
    const struct section *sibling; // unknown keys that are known there get a hint
};

// --- the table (options.c)
extern const struct section section_root, section_listener, section_certificate, section_tls,
    section_saml_provider, section_oidc_provider, section_route, section_rule;
// The whole table as Markdown, for `sallyport config reference`.
struct str config_reference(struct arena *a);

// --- errors (error.c)
void config_error_at(struct loader *l, const struct yaml_node *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
// The same at the key in front of the value.
void config_error_key(struct loader *l, const struct yaml_node *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
// "; did you mean X?" for the nearest of `known`, "" when none is near. In the scratch arena.
const char *config_nearest(struct loader *l, struct str word, const struct strlist *known);
// What somebody wrote, for messages: `"text"`, `a list`, `a map`, `nothing`.
const char *config_found(struct loader *l, const struct yaml_node *node);
void config_errors_sort(struct config_errors *errors);

// --- the engine (section.c, value.c)
// Fills `base` with the defaults, then with what stands in `node` (NULL: nothing does).
void config_section(struct loader *l, const struct yaml_node *node, const struct section *section,
                    void *base);
void config_value(struct loader *l, const struct yaml_node *node, const struct option *option, void *field);
bool config_expect_kind(struct loader *l, const struct yaml_node *node, enum yaml_kind kind,
                        const char *example);
// A scalar with text in it.
bool config_text(struct loader *l, const struct yaml_node *node, const char *expected, struct str *ret);
bool config_list(struct loader *l, const struct yaml_node *node, struct strlist *ret);
bool config_host(struct loader *l, const struct yaml_node *node, struct str *ret);
struct str config_resolve_path(struct loader *l, struct str path);
// "debug, info, warn, error"; "duration".
const char *config_type_text(struct arena *a, const struct option *option);

// --- files and secrets (file.c)
void config_secret(struct loader *l, const struct yaml_node *node, struct str *ret);
// A file with certificates in PEM; *ret_pem may be NULL.
bool config_pem_file(struct loader *l, const struct yaml_node *node, struct str path, struct str *ret_pem);

// The key that belongs to the first certificate of `cert_pem`; only its owner can read the file.
bool config_client_key(struct loader *l, const struct yaml_node *node, struct str path, struct str cert_pem,
                       struct str *ret_pem);

// --- values with a shape of their own
void config_parse_address(struct loader *l, const struct yaml_node *node, void *listener);
void config_parse_tls(struct loader *l, const struct yaml_node *node, void *listener);
void config_parse_certificates(struct loader *l, const struct yaml_node *node, void *listener);
void config_parse_listeners(struct loader *l, const struct yaml_node *node, void *config);
void config_parse_operations(struct loader *l, const struct yaml_node *node, void *operations);
void config_parse_store(struct loader *l, const struct yaml_node *node, void *store_path);
void config_parse_entity_id(struct loader *l, const struct yaml_node *node, void *entity_id);
void config_parse_providers(struct loader *l, const struct yaml_node *node, void *config);
void config_parse_issuer(struct loader *l, const struct yaml_node *node, void *issuer);
void config_parse_metadata(struct loader *l, const struct yaml_node *node, void *provider);
void config_parse_metadata_certificate(struct loader *l, const struct yaml_node *node, void *pem);
void config_parse_name_id_format(struct loader *l, const struct yaml_node *node, void *format);
void config_parse_ca(struct loader *l, const struct yaml_node *node, void *ca_pem);
void config_parse_algorithms(struct loader *l, const struct yaml_node *node, void *mask);
void config_parse_routes(struct loader *l, const struct yaml_node *node, void *config);
void config_parse_prefix(struct loader *l, const struct yaml_node *node, void *path);
void config_parse_prefixes(struct loader *l, const struct yaml_node *node, void *paths);
void config_parse_backends(struct loader *l, const struct yaml_node *node, void *target);
void config_parse_rewrite(struct loader *l, const struct yaml_node *node, void *path);
void config_parse_health_path(struct loader *l, const struct yaml_node *node, void *path);
void config_parse_redirect_to(struct loader *l, const struct yaml_node *node, void *to);
void config_parse_redirect_status(struct loader *l, const struct yaml_node *node, void *status);
void config_parse_origins(struct loader *l, const struct yaml_node *node, void *origins);
void config_parse_networks(struct loader *l, const struct yaml_node *node, void *networks);
void config_parse_identity(struct loader *l, const struct yaml_node *node, void *mask);
void config_parse_policies(struct loader *l, const struct yaml_node *node, void *config);
void config_parse_emails(struct loader *l, const struct yaml_node *node, void *emails);
void config_parse_email_domains(struct loader *l, const struct yaml_node *node, void *domains);
void config_parse_methods(struct loader *l, const struct yaml_node *node, void *methods);
void config_parse_rule_claims(struct loader *l, const struct yaml_node *node, void *rule);
void config_parse_devices(struct loader *l, const struct yaml_node *node, void *devices);
void config_parse_functions(struct loader *l, const struct yaml_node *node, void *functions);
void config_parse_pico_timeouts(struct loader *l, const struct yaml_node *node, void *pico);

// --- what only the whole shows (check.c, coverage.c)
void config_check(struct loader *l);
void config_check_coverage(struct loader *l);
// Options of one route that have no effect beside others, and files that only all of them together need.
void config_check_route(struct loader *l, const struct yaml_node *node, struct route_target *t);
// Routes with boards, and the rules of their policies (pico_check.c).
void config_check_pico(struct loader *l);
// "http" URLs are for this machine alone.
bool config_is_loopback(struct str host);
