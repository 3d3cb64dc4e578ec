// SPDX-License-Identifier: GPL-3.0-or-later
#include "saml/claims.h"

#include "base/limits.h"
#include "saml/names.h"
#include "saml/timestamp.h"

// Absent and unreadable times are refusals, never "no limit".
static bool get_time(const struct claims_context *c, const xmlNode *e, const char *name, int64_t *ret,
                     struct err *err)
{
    struct str text = xml_attr(c->arena, e, name);
    if (timestamp_parse(text, ret)) return true;
    return err_set(err, ERR_SAML_TIME, "%s of %s is '%.*s'", name, (const char *)e->name, STR_FMT(text));
}

// core 2.5.1.2: the moment NotOnOrAfter itself is too late.
static bool check_not_on_or_after(const struct claims_context *c, const xmlNode *e, int64_t *ret,
                                  struct err *err)
{
    int64_t t;
    if (!get_time(c, e, "NotOnOrAfter", &t, err)) return false;
    if (c->expect->now - c->client->clock_skew >= t)
        return err_set(err, ERR_SAML_TIME, "%s was valid until %lld seconds ago", (const char *)e->name,
                       (long long)(c->expect->now - t));
    *ret = t;
    return true;
}

static bool check_not_before(const struct claims_context *c, const xmlNode *e, struct err *err)
{
    int64_t t;
    if (!xml_attr_node(e, "NotBefore")) return true;
    if (!get_time(c, e, "NotBefore", &t, err)) return false;
    if (c->expect->now + c->client->clock_skew < t)
        return err_set(err, ERR_SAML_TIME, "%s becomes valid in %lld seconds", (const char *)e->name,
                       (long long)(t - c->expect->now));
    return true;
}

// core 2.3.3, 3.2.2: Version "2.0", ID and IssueInstant are required of both. Made in the future: the clocks
// disagree.
static bool check_envelope(const struct claims_context *c, const xmlNode *e, struct err *err)
{
    int64_t issued;
    if (!str_eq_c(xml_attr(c->arena, e, "Version"), "2.0"))
        return err_set(err, ERR_SAML_STRUCTURE, "%s is not of version 2.0", (const char *)e->name);
    if (xml_attr(c->arena, e, "ID").n == 0)
        return err_set(err, ERR_SAML_STRUCTURE, "%s has no ID", (const char *)e->name);
    if (!get_time(c, e, "IssueInstant", &issued, err)) return false;
    if (issued > c->expect->now + c->client->clock_skew)
        return err_set(err, ERR_SAML_TIME, "%s was made %lld seconds in the future", (const char *)e->name,
                       (long long)(issued - c->expect->now));
    return true;
}

// profiles 4.1.4.2: Issuer is the provider's entity id; its Format is omitted or "entity".
static bool check_issuer(const struct claims_context *c, const xmlNode *e, bool required, struct err *err)
{
    const xmlNode *issuer = xml_only(e, NS_ASSERTION, "Issuer");
    if (!issuer && xml_count(e, NS_ASSERTION, "Issuer") == 0 && !required) return true;
    struct str value = xml_value(c->arena, issuer);
    struct str format = issuer ? xml_attr(c->arena, issuer, "Format") : STR_NONE;
    if (!value.p || !str_eq(value, c->idp_entity_id))
        return err_set(err, ERR_SAML_ISSUER, "%s comes from '%.*s', '%.*s' was asked", (const char *)e->name,
                       STR_FMT(value), STR_FMT(c->idp_entity_id));
    if (format.p && !str_eq_c(format, SAML_FORMAT_ENTITY))
        return err_set(err, ERR_SAML_ISSUER, "the Issuer of %s has the format '%.*s'", (const char *)e->name,
                       STR_FMT(format));
    return true;
}

// bindings 3.5.5.2: where the message was sent is where it arrived.
static bool check_destination(const struct claims_context *c, const xmlNode *response, struct err *err)
{
    struct str value = xml_attr(c->arena, response, "Destination");
    if (value.p && str_eq(value, c->acs_url)) return true;
    return err_set(err, ERR_SAML_DESTINATION, "sent to '%.*s', this is '%.*s'", STR_FMT(value),
                   STR_FMT(c->acs_url));
}

// profiles 4.1.4.3 and 4.1.5: the answer to our request; or to none, if the operator allows that and the
// answer does not claim to be one (an answer made for somebody else's request must not start a session here:
// login CSRF).
static bool check_in_response_to(const struct claims_context *c, const xmlNode *e, struct err *err)
{
    struct str value = xml_attr(c->arena, e, "InResponseTo");
    struct str want = c->expect->request_id;
    if (!want.p && !c->client->allow_unsolicited)
        return err_set(err, ERR_SAML_IN_RESPONSE_TO, "no login was started here");
    if (want.p ? value.p && want.n && str_eq(value, want) : !value.p) return true;
    return err_set(err, ERR_SAML_IN_RESPONSE_TO, "InResponseTo of %s is '%.*s', the request was '%.*s'",
                   (const char *)e->name, STR_FMT(value), STR_FMT(want));
}

bool claims_check_response(const struct claims_context *c, const xmlNode *response, struct err *err)
{
    return check_envelope(c, response, err) && check_issuer(c, response, false, err) &&
           check_destination(c, response, err) && check_in_response_to(c, response, err);
}

bool claims_check_status(struct arena *a, const xmlNode *response, struct err *err)
{
    const xmlNode *status = xml_only(response, NS_PROTOCOL, "Status");
    const xmlNode *code = xml_only(status, NS_PROTOCOL, "StatusCode");
    struct str value = code ? xml_attr(a, code, "Value") : STR_NONE;
    if (str_eq_c(value, SAML_STATUS_SUCCESS)) return true;
    const xmlNode *second = xml_child(code, NS_PROTOCOL, "StatusCode");
    struct str why = second ? xml_attr(a, second, "Value") : STR_NONE;
    struct str words = xml_value(a, xml_child(status, NS_PROTOCOL, "StatusMessage"));
    return err_set(err, ERR_SAML_STATUS, "status '%.*s' '%.*s' %.*s", STR_FMT(value), STR_FMT(why),
                   STR_FMT(words));
}

// --- subject confirmation

// profiles 4.1.4.2 for one bearer confirmation: Recipient, NotOnOrAfter and InResponseTo are all demanded.
static bool check_bearer(const struct claims_context *c, const xmlNode *confirmation, int64_t *ret_until,
                         struct err *err)
{
    const xmlNode *data = xml_only(confirmation, NS_ASSERTION, "SubjectConfirmationData");
    if (!data) return err_set(err, ERR_SAML_CONFIRMATION, "a bearer confirmation without data");
    struct str recipient = xml_attr(c->arena, data, "Recipient");
    if (!recipient.p || !str_eq(recipient, c->acs_url))
        return err_set(err, ERR_SAML_RECIPIENT, "meant for '%.*s', this is '%.*s'", STR_FMT(recipient),
                       STR_FMT(c->acs_url));
    return check_not_before(c, data, err) && check_not_on_or_after(c, data, ret_until, err) &&
           check_in_response_to(c, data, err);
}

// profiles 4.1.4.3: at least one bearer confirmation that is valid in all respects. Other methods do not
// count. The replay memory must last as long as any of them can be used.
static bool check_subject(const struct claims_context *c, const xmlNode *assertion, int64_t *ret_until,
                          struct err *err)
{
    const xmlNode *subject = xml_only(assertion, NS_ASSERTION, "Subject");
    struct err why = { 0 };
    bool confirmed = false;
    int64_t until = 0;
    err_set(&why, ERR_SAML_CONFIRMATION, "no bearer confirmation");
    for (const xmlNode *s = xml_child(subject, NS_ASSERTION, "SubjectConfirmation"); s; s = xml_again(s)) {
        int64_t one = 0;
        if (!str_eq_c(xml_attr(c->arena, s, "Method"), SAML_METHOD_BEARER)) continue;
        if (!check_bearer(c, s, &one, &why)) continue;
        confirmed = true;
        if (one > until) until = one;
    }
    if (!confirmed) {
        *err = why;
        return false;
    }
    *ret_until = until;
    return true;
}

// --- conditions

// core 2.5.1.4: "the audiences ... evaluate to Valid if and only if the SAML relying party is a member of one
// or more"; several restrictions are each to be met.
static bool check_audience(const struct claims_context *c, const xmlNode *restriction, struct err *err)
{
    struct str last = STR_NONE;
    for (const xmlNode *e = xml_first(restriction); e; e = xml_following(e)) {
        if (!xml_is(e, NS_ASSERTION, "Audience"))
            return err_set(err, ERR_SAML_CONDITION, "<%.60s> in an AudienceRestriction",
                           (const char *)e->name);
        last = xml_value(c->arena, e);
        if (last.p && str_eq(last, c->sp_entity_id)) return true;
    }
    return err_set(err, ERR_SAML_AUDIENCE, "meant for '%.*s', we are '%.*s'", STR_FMT(last),
                   STR_FMT(c->sp_entity_id));
}

// core 2.5.1: a condition that is not understood makes the assertion invalid. OneTimeUse asks for what we do
// anyway (nothing is used twice), ProxyRestriction concerns those who issue assertions in turn.
static bool check_condition(const struct claims_context *c, const xmlNode *e, size_t *audiences,
                            struct err *err)
{
    if (xml_is(e, NS_ASSERTION, "AudienceRestriction")) {
        ++*audiences;
        return check_audience(c, e, err);
    }
    if (xml_is(e, NS_ASSERTION, "OneTimeUse") || xml_is(e, NS_ASSERTION, "ProxyRestriction")) return true;
    return err_set(err, ERR_SAML_CONDITION, "the condition <%.60s> is not known", (const char *)e->name);
}

static bool check_conditions(const struct claims_context *c, const xmlNode *assertion, int64_t *ret_until,
                             struct err *err)
{
    const xmlNode *conditions = xml_only(assertion, NS_ASSERTION, "Conditions");
    size_t audiences = 0;
    if (!conditions) return err_set(err, ERR_SAML_CONDITION, "the assertion must have Conditions, once");
    if (!check_not_before(c, conditions, err) || !check_not_on_or_after(c, conditions, ret_until, err))
        return false;
    for (const xmlNode *e = xml_first(conditions); e; e = xml_following(e))
        if (!check_condition(c, e, &audiences, err)) return false;
    // profiles 4.1.4.2: bearer assertions carry an AudienceRestriction that names us.
    return audiences ? true
                     : err_set(err, ERR_SAML_AUDIENCE, "the assertion does not say who it is meant for");
}

// --- authentication

// A class was asked for exactly (core 3.3.2.2.1); an answer with another one did not do what we asked.
static bool check_context_class(const struct claims_context *c, const xmlNode *statement, struct err *err)
{
    const xmlNode *context = xml_only(statement, NS_ASSERTION, "AuthnContext");
    struct str value = xml_value(c->arena, xml_only(context, NS_ASSERTION, "AuthnContextClassRef"));
    if (c->client->authn_context.n == 0 || (value.p && strlist_has(c->client->authn_context, value)))
        return true;
    return err_set(err, ERR_SAML_AUTHN_STATEMENT, "the provider used '%.*s', which was not asked for",
                   STR_FMT(value));
}

// With ForceAuthn the provider must have authenticated for this login, and a login lasts LIMIT_LOGIN_SECONDS
// at most.
static bool check_authn_instant(const struct claims_context *c, const xmlNode *statement, int64_t *ret,
                                struct err *err)
{
    int64_t t;
    if (!get_time(c, statement, "AuthnInstant", &t, err)) return false;
    if (t > c->expect->now + c->client->clock_skew)
        return err_set(err, ERR_SAML_TIME, "the authentication lies in the future");
    if (c->client->force_authn && t < c->expect->now - c->client->clock_skew - LIMIT_LOGIN_SECONDS)
        return err_set(err, ERR_SAML_AUTHN_STATEMENT,
                       "a fresh authentication was asked for, this one is old");
    *ret = t;
    return true;
}

// core 2.7.2: SessionNotOnOrAfter ends our session too.
static bool check_session_end(const struct claims_context *c, const xmlNode *statement, int64_t *ret,
                              struct err *err)
{
    int64_t t;
    if (!xml_attr_node(statement, "SessionNotOnOrAfter")) return true;
    if (!get_time(c, statement, "SessionNotOnOrAfter", &t, err)) return false;
    if (t <= c->expect->now) return err_set(err, ERR_SAML_TIME, "the provider's session has ended");
    if (*ret == 0 || t < *ret) *ret = t;
    return true;
}

// profiles 4.1.4.2: at least one AuthnStatement; each must hold.
static bool check_authn(const struct claims_context *c, const xmlNode *assertion, struct identity *id,
                        struct err *err)
{
    const xmlNode *first = xml_child(assertion, NS_ASSERTION, "AuthnStatement");
    if (!first) return err_set(err, ERR_SAML_AUTHN_STATEMENT, "no AuthnStatement");
    for (const xmlNode *s = first; s; s = xml_again(s)) {
        int64_t instant = 0;
        if (!check_authn_instant(c, s, &instant, err) || !check_session_end(c, s, &id->not_after, err) ||
            !check_context_class(c, s, err))
            return false;
        if (s == first) id->auth_time = instant;
    }
    struct str index = xml_attr(c->arena, first, "SessionIndex");
    if (index.p && !str_is_utf8(index, true))
        return err_set(err, ERR_SAML_AUTHN_STATEMENT, "the SessionIndex holds control characters");
    id->session_index = index;
    return true;
}

bool claims_check_assertion(const struct claims_context *c, const xmlNode *assertion,
                            struct saml_login *login, struct err *err)
{
    int64_t confirmed = 0, valid = 0;
    if (!check_envelope(c, assertion, err) || !check_issuer(c, assertion, true, err) ||
        !check_subject(c, assertion, &confirmed, err) || !check_conditions(c, assertion, &valid, err) ||
        !check_authn(c, assertion, &login->identity, err))
        return false;
    login->assertion_id = xml_attr(c->arena, assertion, "ID");
    login->replay_until = (confirmed < valid ? confirmed : valid) + c->client->clock_skew + 1;
    return true;
}
