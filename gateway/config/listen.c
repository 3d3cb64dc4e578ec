// SPDX-License-Identifier: GPL-3.0-or-later
// Listeners, their certificates, the operations address, the store.
#include <arpa/inet.h>
#include <string.h>

#include "base/url.h"
#include "gateway/config/parse.h"

bool config_is_loopback(struct str host)
{
    char text[INET6_ADDRSTRLEN] = { 0 };
    struct in_addr v4;
    if (str_eq_c(host, "localhost") || str_ends(host, STR(".localhost")) || str_eq_c(host, "::1"))
        return true;
    if (host.n >= sizeof text) return false;
    memcpy(text, host.p, host.n);
    return inet_pton(AF_INET, text, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

static bool is_numeric(struct str host)
{
    char text[INET6_ADDRSTRLEN] = { 0 };
    uint8_t address[16];
    if (host.n >= sizeof text) return false;
    memcpy(text, host.p, host.n);
    return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

#define ADDRESS_EXAMPLE                                                                                      \
    "a numeric address with a port, such as \"[::]:443\", \"0.0.0.0:443\" or \"127.0.0.1:8443\""

static bool numeric_address(struct loader *l, const struct yaml_node *node, struct str *ret_text,
                            struct str *ret_host, uint16_t *ret_port)
{
    struct str text, host;
    bool ipv6;
    uint16_t port;
    if (!config_text(l, node, ADDRESS_EXAMPLE, &text)) return false;
    if (!authority_parse(l->arena, text, &host, &ipv6, &port) || port == 0 || !is_numeric(host)) {
        config_error_at(l, node, "expected " ADDRESS_EXAMPLE ", found %s", config_found(l, node));
        return false;
    }
    *ret_text = text;
    *ret_host = host;
    *ret_port = port;
    return true;
}

void config_parse_address(struct loader *l, const struct yaml_node *node, void *field)
{
    struct listener *listener = field;
    numeric_address(l, node, &listener->address, &listener->host, &listener->port);
}

// A file that cannot be read is named at the beginning of the message.
static bool is_about_file(const struct err *err, struct str path)
{
    struct str detail = str_c(err->detail);
    return str_starts(detail, path) && str_starts(str_skip(detail, path.n), STR(": "));
}

static const char *which_file(const struct err *err, struct str key_path)
{
    bool key =
        err->code == ERR_CERT_KEY || err->code == ERR_CERT_MISMATCH || err->code == ERR_CERT_PERMISSIONS;
    return key || is_about_file(err, key_path) ? "key" : "cert";
}

static bool load_pair(struct loader *l, const struct yaml_node *item, struct cert_pair *ret)
{
    struct cert_files files = { 0 };
    struct err err = { 0 };
    config_section(l, item, &section_certificate, &files);
    if (!files.cert.p || !files.key.p) return false;
    if (cert_pair_load(l->arena, files.cert.p, files.key.p, l->now, ret, &err)) return true;
    const struct yaml_node *at = yaml_get(item, which_file(&err, files.key));
    config_error_at(l, at ? at : item, "%s", err.detail);
    return false;
}

void config_parse_certificates(struct loader *l, const struct yaml_node *node, void *field)
{
    struct listener *listener = field;
    if (!config_expect_kind(l, node, YAML_LIST, "a list of { cert: PATH, key: PATH }")) return;
    if (node->n == 0) config_error_at(l, node, "expected at least one { cert: PATH, key: PATH }");
    listener->certificates = arena_array(l->arena, node->n, sizeof *listener->certificates);
    for (const struct yaml_node *item = node->first; item && listener->certificates; item = item->next) {
        if (load_pair(l, item, &listener->certificates[listener->ncertificates]))
            listener->ncertificates++;
        else
            l->certificates_failed = true;
    }
}

void config_parse_tls(struct loader *l, const struct yaml_node *node, void *field)
{
    struct listener *listener = field;
    listener->tls = true;
    config_section(l, node, &section_tls, listener);
}

void config_parse_listeners(struct loader *l, const struct yaml_node *node, void *field)
{
    struct config *c = field;
    if (!config_expect_kind(l, node, YAML_LIST, "a list of listeners")) return;
    c->listeners = arena_array(l->arena, node->n, sizeof *c->listeners);
    for (const struct yaml_node *item = node->first; item && c->listeners; item = item->next)
        config_section(l, item, &section_listener, &c->listeners[c->nlisteners++]);
}

#define OPERATIONS_EXAMPLE "a loopback address such as \"127.0.0.1:9090\", or unix:PATH"

static void operations_socket(struct loader *l, const struct yaml_node *node, struct str path,
                              struct str *ret)
{
    struct str resolved = config_resolve_path(l, path);
    if (path.n == 0)
        config_error_at(l, node, "expected " OPERATIONS_EXAMPLE ", found %s", config_found(l, node));
    else if (resolved.n >= SOCKET_PATH_BYTES)
        config_error_at(l, node, "the path of a socket has at most %d bytes, this one has %zu",
                        SOCKET_PATH_BYTES - 1, resolved.n);
    else
        *ret = arena_printf(l->arena, "unix:%.*s", STR_FMT(resolved));
}

void config_parse_operations(struct loader *l, const struct yaml_node *node, void *field)
{
    struct str text, host;
    uint16_t port;
    if (!config_text(l, node, OPERATIONS_EXAMPLE, &text)) return;
    if (str_starts(text, STR("unix:"))) {
        operations_socket(l, node, str_skip(text, 5), field);
        return;
    }
    if (!numeric_address(l, node, &text, &host, &port)) return;
    if (config_is_loopback(host))
        *(struct str *)field = text;
    else
        config_error_at(l, node,
                        "the operations listener has no login, so it is for this machine alone: "
                        "expected " OPERATIONS_EXAMPLE ", found %s",
                        config_found(l, node));
}

void config_parse_store(struct loader *l, const struct yaml_node *node, void *field)
{
    struct str text;
    if (!config_text(l, node, "lmdb:PATH", &text)) return;
    if (str_starts(text, STR("lmdb:")) && text.n > 5)
        *(struct str *)field = config_resolve_path(l, str_skip(text, 5));
    else
        config_error_at(l, node, "expected lmdb:PATH, found %s", config_found(l, node));
}
