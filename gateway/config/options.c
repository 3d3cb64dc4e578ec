// SPDX-License-Identifier: GPL-3.0-or-later
// Every option of the configuration: name, type, default, description. The parser, the defaults, `sallyport
// config reference` and the check of docs/configuration.md and the man page all read this one table.
#include "gateway/config/parse.h"

#define COUNT(options) (sizeof(options) / sizeof *(options))
#define SECTION(title, options, ...)                                                                         \
    {                                                                                                        \
        title, options, COUNT(options), __VA_ARGS__                                                          \
    }

enum { MINUTE = 60, HOUR = 3600, DAY = 86400 };
#define GIB ((int64_t)1 << 30)
#define MILLION 1000000

static const char *const log_levels[] = { "debug", "info", "warn", "error", NULL };
static const char *const protocols[] = { "saml", "oidc", NULL };                    // enum protocol
static const char *const secure_levels[] = { "off", "balanced", "strict", NULL };   // enum secure_headers
static const char *const balances[] = { "round_robin", "least_connections", NULL }; // enum balance
static const char *const token_auths[] = { "client_secret_basic", "client_secret_post",
                                           NULL }; // enum oidc_token_auth
_Static_assert(SECURE_OFF == 0 && SECURE_BALANCED == 1 && SECURE_STRICT == 2, "order of secure_levels");
_Static_assert(OIDC_AUTH_BASIC == 0 && OIDC_AUTH_POST == 1, "order of token_auths");
_Static_assert(BALANCE_ROUND_ROBIN == 0 && BALANCE_LEAST_CONNECTIONS == 1, "order of balances");
_Static_assert(PROTOCOL_SAML == 0 && PROTOCOL_OIDC == 1, "order of protocols");
_Static_assert(sizeof(enum secure_headers) == sizeof(unsigned) &&
                   sizeof(enum oidc_token_auth) == sizeof(unsigned) &&
                   sizeof(enum protocol) == sizeof(unsigned) && sizeof(enum balance) == sizeof(unsigned),
               "OPTION_CHOICE writes an unsigned");

// --- listen

#define AT(field) offsetof(struct cert_files, field)
static const struct option certificate_options[] = {
    { "cert", OPTION_PATH, AT(cert), .required = true,
      .help = "The certificate, followed by its intermediate certificates, PEM." },
    { "key", OPTION_PATH, AT(key), .required = true,
      .help = "The private key of the certificate, PEM, readable by its owner alone." },
};
#undef AT
const struct section section_certificate = SECTION("listen[].tls.certificates[]", certificate_options, NULL);

static const struct option tls_options[] = {
    { "certificates", OPTION_CUSTOM, 0, .required = true, .kind = "list", .section = &section_certificate,
      .parse = config_parse_certificates,
      .help =
          "Certificates with their keys. With several, the name that the browser asks for (SNI) chooses." },
};
const struct section section_tls = SECTION("listen[].tls", tls_options, NULL);

#define AT(field) offsetof(struct listener, field)
static const struct option listener_options[] = {
    { "address", OPTION_CUSTOM, 0, .required = true, .kind = "address", .parse = config_parse_address,
      .help = "Numeric address and port to listen on, such as \"[::]:443\" or \"0.0.0.0:80\"." },
    { "tls", OPTION_CUSTOM, 0, .kind = "map", .section = &section_tls, .parse = config_parse_tls,
      .absent = "plain HTTP", .help = "Makes this an HTTPS listener." },
    { "redirect_to_https", OPTION_BOOL, AT(redirect_to_https), .preset = "false",
      .help = "Makes this a plain HTTP listener that sends everybody to HTTPS." },
    { "proxy_protocol", OPTION_BOOL, AT(proxy_protocol), .preset = "false",
      .help = "Every connection begins with a PROXY protocol header (v1 or v2) of a trusted proxy." },
};
#undef AT
const struct section section_listener = SECTION("listen[]", listener_options, NULL);

// --- identity providers

#define CLAIMS(member, field) (offsetof(struct provider, member) + offsetof(struct claim_mapping, field))
#define SAML_ABSENT "the usual attribute names"
static const struct option saml_claim_options[] = {
    { "subject", OPTION_LIST, CLAIMS(saml.mapping, subject), .absent = "the NameID",
      .help = "Attributes for the stable id of the account; the first one present wins." },
    { "email", OPTION_LIST, CLAIMS(saml.mapping, email), .absent = SAML_ABSENT,
      .help = "For the e-mail address." },
    { "username", OPTION_LIST, CLAIMS(saml.mapping, username), .absent = SAML_ABSENT,
      .help = "For the short name." },
    { "name", OPTION_LIST, CLAIMS(saml.mapping, name), .absent = SAML_ABSENT,
      .help = "For the display name." },
    { "groups", OPTION_LIST, CLAIMS(saml.mapping, groups), .absent = SAML_ABSENT, .help = "For the groups." },
};
static const struct section section_saml_claims =
    SECTION("identity_providers.NAME.claims with protocol: saml", saml_claim_options, NULL);

static const struct option oidc_claim_options[] = {
    { "subject", OPTION_LIST, CLAIMS(oidc.mapping, subject), .preset = "sub",
      .help = "Claims for the stable id of the account; the first one present wins." },
    { "email", OPTION_LIST, CLAIMS(oidc.mapping, email), .preset = "email",
      .help = "For the e-mail address." },
    { "username", OPTION_LIST, CLAIMS(oidc.mapping, username), .preset = "preferred_username",
      .help = "For the short name." },
    { "name", OPTION_LIST, CLAIMS(oidc.mapping, name), .preset = "name", .help = "For the display name." },
    { "groups", OPTION_LIST, CLAIMS(oidc.mapping, groups), .preset = "groups", .help = "For the groups." },
};
static const struct section section_oidc_claims =
    SECTION("identity_providers.NAME.claims with protocol: oidc", oidc_claim_options, NULL);

#define AT(field) offsetof(struct provider, field)
#define OPTION_PROTOCOL                                                                                      \
    {                                                                                                        \
        "protocol", OPTION_CHOICE, AT(protocol),                                                             \
            .required = true, .words = protocols,                                                            \
            .help = "The protocol that the provider speaks; it decides which options there are."             \
    }
#define OPTION_LABEL                                                                                         \
    {                                                                                                        \
        "label", OPTION_TEXT, AT(label), .absent = "the name of the provider",                               \
                                         .help = "What visitors choose from on the login page."              \
    }
#define OPTION_CA                                                                                            \
    {                                                                                                        \
        "ca", OPTION_CUSTOM, AT(ca_pem), .kind = "path", .parse = config_parse_ca, .absent = "the system's", \
                                         .help = "Certificate authorities (PEM) for calls to this provider." \
    }

static const struct option saml_provider_options[] = {
    OPTION_PROTOCOL,
    OPTION_LABEL,
    { "metadata", OPTION_CUSTOM, 0, .required = true, .kind = "URL or path", .parse = config_parse_metadata,
      .help = "The provider's SAML metadata: an https:// URL or a file." },
    { "metadata_refresh", OPTION_DURATION, AT(metadata_refresh), .preset = "1h", .min = MINUTE,
      .max = 7 * DAY, .help = "How often metadata is read again." },
    { "metadata_certificate", OPTION_CUSTOM, AT(saml.metadata_certificate_pem), .kind = "path",
      .parse = config_parse_metadata_certificate, .absent = "signatures on metadata are not asked for",
      .help = "Metadata must be signed with the key of this certificate (PEM)." },
    { "entity_id", OPTION_CUSTOM, AT(saml.entity_id), .kind = "URI", .parse = config_parse_entity_id,
      .absent = "that of the one provider in the metadata",
      .help = "The provider's entity id; needed when the metadata describes several." },
    { "name_id_format", OPTION_CUSTOM, AT(saml.name_id_format),
      .kind = "persistent, transient, email or unspecified", .parse = config_parse_name_id_format,
      .absent = "the provider chooses", .help = "The kind of NameID to ask for." },
    { "authn_context", OPTION_LIST, AT(saml.authn_context), .absent = "none",
      .help = "Authentication context classes to ask for; the provider must meet one exactly." },
    { "force_authn", OPTION_BOOL, AT(saml.force_authn), .preset = "false",
      .help = "Asks the provider to authenticate again at every login." },
    { "allow_unsolicited", OPTION_BOOL, AT(saml.allow_unsolicited), .preset = "false",
      .help = "Accepts logins that begin at the identity provider." },
    { "allow_sha1", OPTION_BOOL, AT(saml.allow_sha1), .preset = "false",
      .help = "Accepts signatures with SHA-1, which is broken." },
    { "allow_cbc", OPTION_BOOL, AT(saml.allow_cbc), .preset = "false",
      .help = "Accepts AES-CBC encryption, which can be tampered with." },
    { "clock_skew", OPTION_DURATION, AT(saml.clock_skew), .preset = "60s", .min = 0, .max = 10 * MINUTE,
      .help = "How far the provider's clock may be from ours." },
    OPTION_CA,
    { "claims", OPTION_SECTION, 0, .section = &section_saml_claims, .kind = "map",
      .help = "Which attributes feed the identity." },
};

static const struct option oidc_provider_options[] = {
    OPTION_PROTOCOL,
    OPTION_LABEL,
    { "issuer", OPTION_CUSTOM, AT(oidc.issuer), .required = true, .kind = "URL", .parse = config_parse_issuer,
      .help = "The provider's issuer, exactly as it calls itself; discovery starts there." },
    { "client_id", OPTION_TEXT, AT(oidc.client_id), .required = true, .help = "Our name at the provider." },
    { "client_secret", OPTION_SECRET, AT(oidc.client_secret), .required = true,
      .help = "Our password at the provider: { file: PATH } or { env: NAME }." },
    { "token_auth", OPTION_CHOICE, AT(oidc.token_auth), .preset = "client_secret_basic", .words = token_auths,
      .help = "How the secret is sent to the token endpoint." },
    { "scopes", OPTION_LIST, AT(oidc.scopes), .preset = "openid email profile",
      .help = "Scopes to ask for; openid is always among them." },
    { "algorithms", OPTION_CUSTOM, AT(oidc.algorithms), .preset = "RS256 ES256", .kind = "list",
      .parse = config_parse_algorithms, .help = "Signature algorithms that ID tokens may have." },
    { "userinfo", OPTION_BOOL, AT(oidc.userinfo), .preset = "false",
      .help = "Asks the userinfo endpoint for further claims." },
    { "trust_email", OPTION_BOOL, AT(oidc.trust_email), .preset = "false",
      .help = "Lets e-mail addresses count although the provider never sends email_verified." },
    { "clock_skew", OPTION_DURATION, AT(oidc.clock_skew), .preset = "60s", .min = 0, .max = 10 * MINUTE,
      .help = "How far the provider's clock may be from ours." },
    OPTION_CA,
    { "claims", OPTION_SECTION, 0, .section = &section_oidc_claims, .kind = "map",
      .help = "Which claims feed the identity." },
};
#undef AT
const struct section section_saml_provider =
    SECTION("identity_providers.NAME with protocol: saml", saml_provider_options, &section_oidc_provider);
const struct section section_oidc_provider =
    SECTION("identity_providers.NAME with protocol: oidc", oidc_provider_options, &section_saml_provider);

// --- routes

#define AT(field) offsetof(struct route_draft, field)
static const struct option route_timeout_options[] = {
    { "connect", OPTION_DURATION, AT(target.connect_timeout), .absent = "timeouts.connect", .min = 1,
      .max = HOUR, .help = "For a connection to the backend, TLS included." },
    { "response", OPTION_DURATION, AT(target.response_timeout), .absent = "timeouts.response", .min = 1,
      .max = DAY, .help = "For the backend's answer to begin, and for pauses within it." },
    { "stream", OPTION_DURATION, AT(target.stream_timeout), .absent = "timeouts.stream", .min = 1,
      .max = 7 * DAY, .help = "For silence on a WebSocket or an event stream." },
};
static const struct section section_timeouts, section_limits;
static const struct section section_route_timeouts =
    SECTION("routes[].timeouts", route_timeout_options, &section_timeouts);

static const struct option route_limit_options[] = {
    { "connections", OPTION_COUNT, AT(target.max_connections), .absent = "no limit", .min = 1, .max = MILLION,
      .help = "Connections to each backend at the same time; more requests wait." },
    { "queue", OPTION_COUNT, AT(target.max_queue), .preset = "128", .min = 0, .max = MILLION,
      .help = "Requests that wait for a connection; more are answered with 503." },
    { "queue_wait", OPTION_DURATION, AT(target.queue_timeout), .preset = "10s", .min = 1, .max = HOUR,
      .help = "How long a request waits for a connection; then it is answered with 503." },
    { "body", OPTION_SIZE, AT(target.max_body), .absent = "no limit", .min = 1 << 10, .max = 1024 * GIB,
      .help = "The largest request body; more is answered with 413." },
};
static const struct section section_route_limits =
    SECTION("routes[].limits", route_limit_options, &section_limits);

static const struct option backend_tls_options[] = {
    { "ca", OPTION_CUSTOM, AT(target.tls.ca_pem), .kind = "path", .parse = config_parse_ca,
      .absent = "the system's", .help = "Certificate authorities (PEM) of the backends." },
    { "cert", OPTION_PATH, AT(target.tls.cert_path), .absent = "none",
      .help = "The gateway's own certificate for the backends (PEM), which ask for one." },
    { "key", OPTION_PATH, AT(target.tls.key_path), .absent = "none",
      .help = "The private key of that certificate (PEM), readable by its owner alone." },
    { "server_name", OPTION_HOST, AT(target.tls.server_name), .absent = "the host in the backend's URL",
      .help = "The name to ask for (SNI), which must stand in the backend's certificate." },
    { "verify", OPTION_BOOL, AT(target.tls.verify), .preset = "true",
      .help = "With false, anybody on the way to the backend can read and change everything." },
};
static const struct section section_backend_tls = SECTION("routes[].backend_tls", backend_tls_options, NULL);

static const struct option health_options[] = {
    { "path", OPTION_CUSTOM, AT(target.health.path), .required = true, .kind = "path",
      .parse = config_parse_health_path,
      .help = "What every backend is asked for, as it knows it; 2xx and 3xx are good answers." },
    { "interval", OPTION_DURATION, AT(target.health.interval), .preset = "10s", .min = 1, .max = HOUR,
      .help = "How often." },
    { "timeout", OPTION_DURATION, AT(target.health.timeout), .preset = "3s", .min = 1, .max = HOUR,
      .help = "For the whole check; at most the interval." },
    { "rise", OPTION_NUMBER, AT(target.health.rise), .preset = "2", .min = 1, .max = 100,
      .help = "So many good answers in a row bring a backend back." },
    { "fall", OPTION_NUMBER, AT(target.health.fall), .preset = "3", .min = 1, .max = 100,
      .help = "So many bad ones in a row take it out." },
};
static const struct section section_health = SECTION("routes[].health", health_options, NULL);

static const struct option eject_options[] = {
    { "failures", OPTION_NUMBER, AT(target.eject.failures), .preset = "3", .min = 0, .max = 1000,
      .help = "So many failed requests in a row take a backend out; 0: never." },
    { "for", OPTION_DURATION, AT(target.eject.seconds), .preset = "10s", .min = 1, .max = DAY,
      .help = "How long it stays out." },
};
static const struct section section_eject = SECTION("routes[].eject", eject_options, NULL);

static const struct option websocket_options[] = {
    { "allowed", OPTION_BOOL, AT(target.websocket.allowed), .preset = "true",
      .help = "Passes WebSockets on." },
    { "origins", OPTION_CUSTOM, AT(target.websocket.origins), .kind = "list of origins",
      .parse = config_parse_origins, .absent = "the route's own host",
      .help = "Other sites whose pages may open WebSockets here; \"*\" alone: any." },
};
static const struct section section_websocket = SECTION("routes[].websocket", websocket_options, NULL);

static const struct option redirect_options[] = {
    { "to", OPTION_CUSTOM, AT(target.redirect.to), .required = true, .kind = "URL or path",
      .parse = config_parse_redirect_to, .help = "Where everybody is sent whom the policy allows." },
    { "status", OPTION_CUSTOM, AT(target.redirect.status), .preset = "302", .kind = "301, 302, 303, 307, 308",
      .parse = config_parse_redirect_status,
      .help = "301 and 308 are remembered by browsers; 307 and 308 keep the method and the body." },
    { "keep_path", OPTION_BOOL, AT(target.redirect.keep_path), .preset = "true",
      .help = "Appends the rest of the path behind the route's prefix, and the query." },
};
static const struct section section_redirect = SECTION("routes[].redirect", redirect_options, NULL);

static const struct option pico_options[] = {
    { "call_timeout", OPTION_DURATION, AT(target.pico.call_timeout), .preset = "30s", .min = 1,
      .max = PICO_CALL_MAX, .help = "How long a call may take, waiting for its turn included." },
    { "timeouts", OPTION_CUSTOM, AT(target.pico), .kind = "map of durations",
      .absent = "call_timeout for all", .parse = config_parse_pico_timeouts,
      .help = "The same for single functions, by name." },
    { "dead_after", OPTION_DURATION, AT(target.pico.dead_after), .preset = "60s", .min = 25, .max = HOUR,
      .help = "A board that says nothing for so long counts as gone, also while a function keeps it busy." },
    { "max_arguments", OPTION_SIZE, AT(target.pico.max_arguments), .preset = "8KiB", .min = 64,
      .max = PICO_ARGUMENTS_MAX,
      .help = "The most bytes of a call's arguments; more are answered with 413." },
    { "plain_networks", OPTION_CUSTOM, AT(target.pico.plain), .kind = "list of networks",
      .parse = config_parse_networks, .absent = "this machine alone",
      .help = "Where boards may be that connect without TLS: anybody on the way can read their keys." },
    { "log_arguments", OPTION_BOOL, AT(target.pico.log_arguments), .preset = "false",
      .help = "Writes the arguments of calls to the log." },
};
static const struct section section_pico = SECTION("routes[].pico", pico_options, NULL);

static const struct option route_options[] = {
    { "host", OPTION_HOST, AT(route.host), .required = true, .help = "The host in the browser's address." },
    { "path", OPTION_CUSTOM, AT(route.path), .preset = "/", .kind = "path prefix",
      .parse = config_parse_prefix,
      .help = "The beginning of the path, cut at segments. The longest one that matches wins." },
    { "backends", OPTION_CUSTOM, AT(target), .kind = "list of URLs", .parse = config_parse_backends,
      .absent = "none with redirect or pico, else required",
      .help = "Where requests go: http://HOST:PORT, https://HOST:PORT or unix:PATH." },
    { "balance", OPTION_CHOICE, AT(target.balance), .preset = "round_robin", .words = balances,
      .help = "How one of several backends is chosen." },
    { "backend_tls", OPTION_SECTION, 0, .section = &section_backend_tls, .kind = "map",
      .help = "How https:// backends are spoken to." },
    { "health", OPTION_SECTION, 0, .section = &section_health, .kind = "map", .absent = "no checks",
      .help = "Asks every backend now and then whether it is well." },
    { "eject", OPTION_SECTION, 0, .section = &section_eject, .kind = "map",
      .help = "Takes a backend out for a while after failures." },
    { "limits", OPTION_SECTION, 0, .section = &section_route_limits, .kind = "map",
      .help = "What a route takes at most." },
    { "strip_prefix", OPTION_BOOL, AT(target.strip_prefix), .preset = "false",
      .help = "Takes the route's path off before a request is forwarded." },
    { "rewrite", OPTION_CUSTOM, AT(target.rewrite), .kind = "path", .parse = config_parse_rewrite,
      .absent = "the path stays",
      .help = "Stands in place of the route's path when a request is forwarded." },
    { "preserve_host", OPTION_BOOL, AT(target.preserve_host), .preset = "true",
      .help = "Sends the browser's Host to the backend; with false, the backend's own." },
    { "websocket", OPTION_SECTION, 0, .section = &section_websocket, .kind = "map", .help = "WebSockets." },
    { "redirect", OPTION_SECTION, 0, .section = &section_redirect, .kind = "map", .absent = "none",
      .help = "Answers every request with a redirect, in place of backends." },
    { "pico", OPTION_SECTION, 0, .section = &section_pico, .kind = "map", .absent = "none",
      .help = "Boards connect here and are called by people, in place of backends; {} will do." },
    { "providers", OPTION_LIST, AT(route.providers), .absent = "all",
      .help = "The identity providers whose logins count here." },
    { "policy", OPTION_TEXT, AT(policy_name), .required = true, .kind = "name",
      .help = "The name of a policy, or public." },
    { "identity", OPTION_CUSTOM, AT(target.identity), .preset = "sallyport",
      .kind = "sallyport, oauth2-proxy, remote-user, none, or a list", .parse = config_parse_identity,
      .help = "The headers that tell the backend who it is." },
    { "secure_headers", OPTION_CHOICE, AT(target.secure_headers), .preset = "balanced",
      .words = secure_levels, .help = "Security headers added to answers where the application set none." },
    { "timeouts", OPTION_SECTION, 0, .section = &section_route_timeouts, .kind = "map",
      .help = "Other timeouts than the general ones." },
};
#undef AT
const struct section section_route = SECTION("routes[]", route_options, NULL);

// --- policies

#define AT(field) offsetof(struct rule, field)
static const struct option rule_options[] = {
    { "public", OPTION_BOOL, AT(is_public), .absent = "false",
      .help = "Allow rules: also for visitors who are not logged in." },
    { "groups", OPTION_LIST, AT(groups), .absent = "any", .help = "In one of these groups." },
    { "emails", OPTION_CUSTOM, AT(emails), .absent = "any", .kind = "list", .parse = config_parse_emails,
      .help = "With one of these verified e-mail addresses." },
    { "email_domains", OPTION_CUSTOM, AT(email_domains), .absent = "any", .kind = "list",
      .parse = config_parse_email_domains,
      .help = "With a verified e-mail address at one of these domains." },
    { "providers", OPTION_LIST, AT(providers), .absent = "any",
      .help = "Logged in with one of these providers." },
    { "claims", OPTION_CUSTOM, 0, .absent = "any", .kind = "map of lists", .parse = config_parse_rule_claims,
      .help = "Each of these claims has one of its values." },
    { "methods", OPTION_CUSTOM, AT(methods), .absent = "any", .kind = "list", .parse = config_parse_methods,
      .help = "The request has one of these methods." },
    { "paths", OPTION_CUSTOM, AT(paths), .absent = "any", .kind = "list", .parse = config_parse_prefixes,
      .help = "The path begins with one of these, cut at segments." },
    { "devices", OPTION_CUSTOM, AT(devices), .absent = "any", .kind = "list", .parse = config_parse_devices,
      .help = "Routes with pico: one of these boards is called." },
    { "functions", OPTION_CUSTOM, AT(functions), .absent = "any", .kind = "list",
      .parse = config_parse_functions, .help = "Routes with pico: one of these functions is called." },
    { "addresses", OPTION_CUSTOM, AT(addresses), .absent = "any", .kind = "list of networks",
      .parse = config_parse_networks, .help = "The client's address is in one of these networks." },
};
#undef AT
const struct section section_rule =
    SECTION("policies.NAME[].allow and policies.NAME[].deny", rule_options, NULL);

// --- the whole

#define AT(field) offsetof(struct config_draft, config.field)
static const struct option login_options[] = {
    { "host", OPTION_HOST, AT(login_host), .required = true,
      .help = "The one host that identity providers know; all logins happen there." },
    { "port", OPTION_PORT, AT(public_port), .min = 1, .max = 65535,
      .absent = "that of the first TLS listener",
      .help = "The port in browsers' URLs, when something in front of the gateway changes it." },
};
static const struct section section_login = SECTION("login", login_options, NULL);

static const struct option session_options[] = {
    { "idle", OPTION_DURATION, AT(session_idle), .preset = "1h", .min = 1, .max = 30 * DAY,
      .help = "A session ends when it was not used for so long." },
    { "lifetime", OPTION_DURATION, AT(session_lifetime), .preset = "8h", .min = 1, .max = 90 * DAY,
      .help = "A session ends so long after the login." },
    { "store", OPTION_CUSTOM, AT(store_path), .kind = "lmdb:PATH", .parse = config_parse_store,
      .absent = "sessions in the state directory", .help = "Where sessions are kept." },
    { "size", OPTION_SIZE, AT(store_size), .preset = "1GiB", .min = 1 << 20, .max = 1024 * GIB,
      .help = "The most that the store may grow to." },
};
static const struct section section_session = SECTION("session", session_options, NULL);

static const struct option timeout_options[] = {
    { "request_head", OPTION_DURATION, AT(timeout_request_head), .preset = "10s", .min = 1, .max = HOUR,
      .help = "For a request's head to arrive." },
    { "idle", OPTION_DURATION, AT(timeout_idle), .preset = "60s", .min = 1, .max = DAY,
      .help = "For connections without a request, and for pauses within one." },
    { "drain", OPTION_DURATION, AT(timeout_drain), .preset = "30s", .min = 1, .max = HOUR,
      .help = "For requests under way when the gateway stops." },
    { "connect", OPTION_DURATION, offsetof(struct config_draft, connect_timeout), .preset = "5s", .min = 1,
      .max = HOUR, .help = "For a connection to a backend, TLS included." },
    { "response", OPTION_DURATION, offsetof(struct config_draft, response_timeout), .preset = "60s", .min = 1,
      .max = DAY, .help = "For a backend's answer to begin, and for pauses within it." },
    { "stream", OPTION_DURATION, offsetof(struct config_draft, stream_timeout), .preset = "1h", .min = 1,
      .max = 7 * DAY, .help = "For silence on a WebSocket or an event stream." },
};
static const struct section section_timeouts = SECTION("timeouts", timeout_options, &section_route_timeouts);

static const struct option limit_options[] = {
    { "connections", OPTION_COUNT, AT(max_connections), .preset = "16384", .min = 16, .max = MILLION,
      .help = "Connections of clients at the same time; more are refused." },
    { "connections_per_address", OPTION_COUNT, AT(max_connections_per_address), .preset = "512", .min = 1,
      .max = MILLION, .help = "The same for one client address (IPv6: for one /64)." },
    { "streams", OPTION_COUNT, AT(max_streams), .preset = "100", .min = 1, .max = 1000,
      .help = "Concurrent requests of one HTTP/2 connection." },
};
static const struct section section_limits = SECTION("limits", limit_options, &section_route_limits);

static const struct option saml_options[] = {
    { "entity_id", OPTION_CUSTOM, AT(saml_entity_id), .kind = "URI", .parse = config_parse_entity_id,
      .absent = "https://LOGIN.HOST/.sallyport/saml/metadata",
      .help = "Our name at SAML identity providers." },
};
static const struct section section_saml = SECTION("saml", saml_options, NULL);

static const struct option root_options[] = {
    { "site_name", OPTION_TEXT, AT(site_name), .absent = "the login host",
      .help = "Title of the gateway's pages." },
    { "login", OPTION_SECTION, 0, .required = true, .section = &section_login, .kind = "map",
      .help = "Where logins happen." },
    { "listen", OPTION_CUSTOM, 0, .required = true, .kind = "list", .section = &section_listener,
      .parse = config_parse_listeners, .help = "Addresses that browsers connect to." },
    { "trusted_proxies", OPTION_CUSTOM, AT(trusted_proxies), .kind = "list of networks",
      .parse = config_parse_networks, .absent = "none",
      .help = "Proxies in front of the gateway, who are believed when they say whom they speak for." },
    { "operations", OPTION_CUSTOM, AT(operations), .kind = "address", .parse = config_parse_operations,
      .absent = "none", .help = "Loopback address or unix:PATH for health, metrics and administration." },
    { "state", OPTION_PATH, AT(state_dir), .preset = "/var/lib/sallyport",
      .help = "Directory for keys, sessions and copies of metadata." },
    { "user", OPTION_TEXT, AT(user), .absent = "sallyport, else nobody",
      .help = "The user to become after binding, when started as root." },
    { "workers", OPTION_NUMBER, AT(workers), .min = 1, .max = 256, .absent = "one per core",
      .help = "Threads that serve requests." },
    { "verifiers", OPTION_NUMBER, AT(verifiers), .preset = "2", .min = 1, .max = 64,
      .help = "Processes that check what identity providers send." },
    { "log_level", OPTION_WORD, AT(log_level), .preset = "info", .words = log_levels,
      .help = "The least that is logged." },
    { "session", OPTION_SECTION, 0, .section = &section_session, .kind = "map",
      .help = "How long logins last." },
    { "timeouts", OPTION_SECTION, 0, .section = &section_timeouts, .kind = "map",
      .help = "How long things may take." },
    { "limits", OPTION_SECTION, 0, .section = &section_limits, .kind = "map",
      .help = "What clients may have at the same time." },
    { "saml", OPTION_SECTION, 0, .section = &section_saml, .kind = "map", .help = "Our side of SAML." },
    { "identity_providers", OPTION_CUSTOM, 0, .kind = "map by name", .section = &section_saml_provider,
      .section2 = &section_oidc_provider, .parse = config_parse_providers, .absent = "none",
      .help = "Who says who people are." },
    { "routes", OPTION_CUSTOM, 0, .required = true, .kind = "list", .section = &section_route,
      .parse = config_parse_routes, .help = "What is behind the gateway." },
    { "policies", OPTION_CUSTOM, 0, .kind = "map by name", .section = &section_rule,
      .parse = config_parse_policies, .absent = "none but public",
      .help = "Lists of rules; the first one that applies decides, none: denied." },
};
#undef AT
const struct section section_root = SECTION("the file", root_options, NULL);
