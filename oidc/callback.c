// SPDX-License-Identifier: GPL-3.0-or-later
// The callback's query: written by anyone who can make a browser follow a link.
#include "base/limits.h"
#include "base/url.h"
#include "oidc/oidc.h"

enum { STATE_MAX_BYTES = 256, ERROR_MAX_BYTES = 64 };

// RFC 6749 appendix A: VSCHAR, without the space.
static bool is_visible(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7F) return false;
    return s.n > 0;
}

// RFC 6749 section 3.1: "Request and response parameters MUST NOT be included more than once." Two readers
// that choose differently among them are how one user's code meets another's state.
static bool check_no_duplicates(const struct form *f, struct err *err)
{
    for (size_t i = 0; i < f->n; i++)
        for (size_t k = 0; k < i; k++)
            if (str_eq(f->v[i].name, f->v[k].name))
                return err_set(err, ERR_OIDC_CALLBACK, "a parameter occurs twice");
    return true;
}

static bool read_query(struct arena *a, struct str query, struct form *ret, struct err *err)
{
    struct form f;
    if (query.n > LIMIT_TARGET_BYTES) return err_set(err, ERR_OIDC_CALLBACK, "the query is too long");
    if (!form_parse(a, query, LIMIT_QUERY_FIELDS, &f)) {
        if (arena_failed(a)) return err_set(err, ERR_NO_MEMORY, "reading a callback");
        return err_set(err, ERR_OIDC_CALLBACK, "the query is malformed or has too many parameters");
    }
    if (!check_no_duplicates(&f, err)) return false;
    *ret = f;
    return true;
}

static struct str parameter(const struct form *f, const char *name)
{
    struct str value = STR_NONE;
    (void)form_get(f, name, &value); // duplicates were refused
    return value;
}

static bool read_state(const struct form *f, struct str *ret, struct err *err)
{
    struct str state = parameter(f, "state");
    if (!is_visible(state) || state.n > STATE_MAX_BYTES)
        return err_set(err, ERR_OIDC_CALLBACK, "state is missing or malformed");
    *ret = state;
    return true;
}

// RFC 9207 section 2.4: an answer of another issuer than the one asked is a mix-up attack, error answers
// included.
static bool check_iss(const struct form *f, const struct oidc_client *client,
                      const struct oidc_provider *provider, struct err *err)
{
    struct str iss = parameter(f, "iss");
    if (!iss.p && !provider->iss_parameter_supported) return true;
    if (!iss.p)
        return err_set(err, ERR_OIDC_ISSUER, "the callback lacks iss, which the provider always sends");
    if (str_eq(iss, client->issuer)) return true;
    return err_set(err, ERR_OIDC_ISSUER, "the callback is from another issuer");
}

// RFC 6749 section 4.1.2.1. The description is free text of unknown origin: only the code is kept.
static bool check_no_error(const struct form *f, struct err *err)
{
    struct str error = parameter(f, "error");
    if (!error.p) return true;
    if (parameter(f, "code").p) return err_set(err, ERR_OIDC_CALLBACK, "both code and error");
    if (!is_visible(error) || error.n > ERROR_MAX_BYTES) error = STR("(malformed)");
    return err_set(err, ERR_OIDC_ERROR_RESPONSE, "the provider answered error '%.*s'", STR_FMT(error));
}

static bool read_code(const struct form *f, struct str *ret, struct err *err)
{
    struct str code = parameter(f, "code");
    if (!is_visible(code) || code.n > LIMIT_URL_BYTES)
        return err_set(err, ERR_OIDC_CALLBACK, "code is missing or malformed");
    *ret = code;
    return true;
}

bool oidc_callback_state(struct arena *a, struct str query, struct str *ret_state, struct err *err)
{
    struct form f;
    return read_query(a, query, &f, err) && read_state(&f, ret_state, err);
}

bool oidc_callback_parse(struct arena *a, struct str query, const struct oidc_client *client,
                         const struct oidc_provider *provider, struct oidc_callback *ret, struct err *err)
{
    struct form f;
    struct oidc_callback c;
    if (!read_query(a, query, &f, err) || !read_state(&f, &c.state, err) ||
        !check_iss(&f, client, provider, err) || !check_no_error(&f, err) || !read_code(&f, &c.code, err))
        return false;
    *ret = c;
    return true;
}
