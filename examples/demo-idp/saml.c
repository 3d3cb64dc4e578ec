// SPDX-License-Identifier: GPL-3.0-or-later
// The SAML 2.0 half: single sign-on service with HTTP-Redirect in, HTTP-POST out, built on lasso.
#include <lasso/lasso.h>
#include <lasso/xml/misc_text_node.h>
#include <lasso/xml/saml-2.0/saml2_assertion.h>
#include <lasso/xml/saml-2.0/saml2_attribute.h>
#include <lasso/xml/saml-2.0/saml2_attribute_statement.h>
#include <lasso/xml/saml-2.0/saml2_attribute_value.h>
#include <lasso/xml/saml-2.0/saml2_strings.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/encode.h"
#include "base/url.h"
#include "examples/demo-idp/idp.h"

#define METADATA                                                                                             \
    "<?xml version=\"1.0\"?>\n<md:EntityDescriptor xmlns:md=\"urn:oasis:names:tc:SAML:2.0:metadata\" "       \
    "entityID=\"%s/saml/metadata\"><md:IDPSSODescriptor WantAuthnRequestsSigned=\"true\" "                   \
    "protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:2.0:protocol\"><md:KeyDescriptor use=\"signing\">" \
    "<ds:KeyInfo xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"><ds:X509Data><ds:X509Certificate>%s"        \
    "</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor><md:SingleSignOnService "            \
    "Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect\" Location=\"%s/saml/sso\"/>"              \
    "</md:IDPSSODescriptor></md:EntityDescriptor>\n"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; // lasso keeps process-wide state
static LassoServer *server;
static char *metadata;

// The base64 between the BEGIN and END lines.
static char *certificate_body(const char *pem)
{
    const char *from = strchr(pem, '\n'), *to = from ? strstr(from, "-----END") : NULL;
    return to ? g_strndup(from, (gsize)(to - from)) : NULL;
}

bool demo_saml_init(const char *key_pem, const char *certificate_pem)
{
    char *body = certificate_body(certificate_pem), *sp = NULL;
    if (!body || lasso_init() != 0) return false;
    metadata = g_strdup_printf(METADATA, demo_options.base, body, demo_options.base);
    g_free(body);
    server = lasso_server_new_from_buffers(metadata, key_pem, NULL, certificate_pem);
    if (!server || !g_file_get_contents(demo_options.sp_metadata, &sp, NULL, NULL)) return false;
    server->signature_method = LASSO_SIGNATURE_METHOD_RSA_SHA256;
    int failure = lasso_server_add_provider_from_buffer(server, LASSO_PROVIDER_ROLE_SP, sp, NULL, NULL);
    g_free(sp);
    if (failure) fprintf(stderr, "demo-idp: the SP metadata cannot be used: %s\n", lasso_strerror(failure));
    return failure == 0;
}

static void add_attribute(LassoSaml2AttributeStatement *statement, const char *name,
                          const char *const *values)
{
    LassoSaml2Attribute *attribute = LASSO_SAML2_ATTRIBUTE(lasso_saml2_attribute_new());
    attribute->Name = g_strdup(name);
    attribute->NameFormat = g_strdup(LASSO_SAML2_ATTRIBUTE_NAME_FORMAT_BASIC);
    for (; *values; values++) {
        LassoMiscTextNode *text = LASSO_MISC_TEXT_NODE(lasso_misc_text_node_new_with_string(*values));
        text->text_child = TRUE;
        LassoSaml2AttributeValue *value = LASSO_SAML2_ATTRIBUTE_VALUE(lasso_saml2_attribute_value_new());
        value->any = g_list_append(NULL, text);
        attribute->AttributeValue = g_list_append(attribute->AttributeValue, value);
    }
    statement->Attribute = g_list_append(statement->Attribute, attribute);
}

static void add_attributes(LassoSaml2Assertion *assertion, const struct demo_user *u)
{
    LassoSaml2AttributeStatement *s = LASSO_SAML2_ATTRIBUTE_STATEMENT(lasso_saml2_attribute_statement_new());
    add_attribute(s, "uid", (const char *const[]){ u->name, NULL });
    add_attribute(s, "mail", (const char *const[]){ u->email, NULL });
    add_attribute(s, "displayName", (const char *const[]){ u->display, NULL });
    add_attribute(s, "groups", (const char *const[]){ u->groups[0], u->groups[1], NULL });
    assertion->AttributeStatement = g_list_append(NULL, s);
}

static struct str instant(struct arena *a, time_t t)
{
    struct tm tm;
    char text[32];
    gmtime_r(&t, &tm);
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return arena_str(a, (struct str){ text, n });
}

static int build_response(struct arena *a, LassoLogin *login, const struct demo_user *u)
{
    time_t now = time(NULL);
    int failure = lasso_login_validate_request_msg(login, TRUE, FALSE);
    if (!failure)
        failure = lasso_login_build_assertion(login, LASSO_SAML2_AUTHN_CONTEXT_PASSWORD_PROTECTED_TRANSPORT,
                                              instant(a, now).p, NULL, instant(a, now - 60).p,
                                              instant(a, now + 300).p);
    if (failure) return failure;
    LassoSaml2Assertion *assertion = LASSO_SAML2_ASSERTION(lasso_login_get_assertion(login));
    add_attributes(assertion, u);
    failure = lasso_login_build_authn_response_msg(login);
    g_object_unref(assertion);
    return failure;
}

static struct str post_page(struct arena *a, const LassoProfile *p)
{
    struct str url = encode_html(a, str_c(p->msg_url)), body = encode_html(a, str_c(p->msg_body)),
               relay = encode_html(a, str_c(p->msg_relayState ? p->msg_relayState : ""));
    return arena_printf(
        a,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Signing in</title></head>"
        "<body onload=\"document.forms[0].submit()\"><form method=\"post\" action=\"%.*s\">"
        "<input type=\"hidden\" name=\"SAMLResponse\" value=\"%.*s\">"
        "<input type=\"hidden\" name=\"RelayState\" value=\"%.*s\">"
        "<noscript><button type=\"submit\">Continue</button></noscript></form></body></html>",
        STR_FMT(url), STR_FMT(body), STR_FMT(relay));
}

// `request` is the raw query of the single sign-on request; u NULL: only its signature is checked.
static bool respond(struct arena *a, struct str request, const struct demo_user *u, struct str *ret_page)
{
    LassoLogin *login = lasso_login_new(server);
    int failure = lasso_login_process_authn_request_msg(login, arena_str(a, request).p);
    if (!failure && u) failure = build_response(a, login, u);
    if (failure) fprintf(stderr, "demo-idp: SAML request refused: %s\n", lasso_strerror(failure));
    if (!failure && u) *ret_page = post_page(a, LASSO_PROFILE(login));
    g_object_unref(login);
    return failure == 0;
}

static void single_sign_on(const struct demo_request *r, struct demo_answer *ret)
{
    struct form form = { 0 };
    struct str request = r->query, name = STR(""), password = STR("");
    const struct demo_user *u = NULL;
    if (r->body.p && form_parse(r->arena, r->body, 8, &form)) {
        form_get(&form, "request", &request);
        form_get(&form, "username", &name);
        form_get(&form, "password", &password);
        u = demo_user_check(arena_str(r->arena, name).p, arena_str(r->arena, password).p);
    }
    pthread_mutex_lock(&lock);
    bool ok = request.p && respond(r->arena, request, u, &ret->body);
    pthread_mutex_unlock(&lock);
    if (!ok) {
        ret->status = 400;
        ret->body =
            demo_message_page(r->arena, "Refused", "That is not a valid request of the service provider.");
    } else if (!u) {
        ret->body = demo_login_page(r->arena, "/saml/sso", request,
                                    r->body.p ? "Wrong user name or password." : NULL);
    }
}

bool demo_saml_serve(const struct demo_request *r, struct demo_answer *ret)
{
    if (strcmp(r->path, "/saml/metadata") == 0) {
        ret->content_type = "application/samlmetadata+xml";
        ret->body = str_c(metadata);
        return true;
    }
    if (strcmp(r->path, "/saml/sso") != 0) return false;
    single_sign_on(r, ret);
    return true;
}
