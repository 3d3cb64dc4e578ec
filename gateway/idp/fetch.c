// SPDX-License-Identifier: GPL-3.0-or-later
#include <string.h>
#include <strings.h>

#include "base/crypto.h"
#include "base/mem.h"
#include "base/url.h"
#include "gateway/idp/private.h"

enum { HEADERS_MAX = 64 * 1024, FETCH_MEMORY = 256 * 1024 };

struct fetch_private {
    struct fetch public;
    struct fetch_private *prev, *next;
    struct idp *idp;
    struct arena *arena;
    CURL *easy;
    struct curl_slist *headers;
    char *p;
    size_t n, cap, max, header_bytes;
    const char *refused; // why a callback ended the transfer
    char why[CURL_ERROR_SIZE];
};

// Only what the operator configured, or what a checked discovery document names, is ever fetched; plain http
// only on this machine.
static bool loopback(const struct url *u)
{
    if (str_eq_c(u->host, "localhost") || str_eq_c(u->host, "::1")) return true;
    for (size_t i = 0; i < u->host.n; i++) // an address, not 127.example.com
        if (u->host.p[i] != '.' && (u->host.p[i] < '0' || u->host.p[i] > '9')) return false;
    return str_starts(u->host, STR("127."));
}

static bool url_allowed(struct arena *a, struct str text, struct url *ret, struct err *err)
{
    if (!url_parse(a, text, ret, err)) return false;
    if (ret->https || loopback(ret)) return true;
    return err_set(err, ERR_URL, "plain http is only for loopback addresses");
}

static size_t on_body(char *p, size_t size, size_t count, void *context)
{
    struct fetch_private *f = context;
    size_t n = size * count;
    if (n > f->max - f->n) {
        f->refused = "the answer is too large";
        return 0;
    }
    if (n > f->cap - f->n) {
        size_t cap = f->cap ? f->cap : 4096;
        while (cap < f->n + n) cap *= 2;
        char *bigger = mem_realloc(f->p, cap);
        if (!bigger) {
            f->refused = "out of memory";
            return 0;
        }
        f->p = bigger;
        f->cap = cap;
    }
    if (n) memcpy(f->p + f->n, p, n);
    f->n += n;
    return n;
}

static size_t on_header(char *p, size_t size, size_t count, void *context)
{
    (void)p;
    struct fetch_private *f = context;
    f->header_bytes += size * count;
    if (f->header_bytes <= HEADERS_MAX) return size * count;
    f->refused = "the answer's headers are too large";
    return 0;
}

static void fetch_free(struct fetch_private *f)
{
    if (!f) return;
    if (f->easy) {
        curl_multi_remove_handle(f->idp->multi, f->easy);
        curl_easy_cleanup(f->easy);
    }
    curl_slist_free_all(f->headers);
    if (f->p) crypto_cleanse(f->p, f->cap); // tokens
    mem_free(f->p);
    arena_free(f->arena);
    mem_free(f);
}

static bool add_header(struct fetch_private *f, const char *name, struct str value)
{
    for (size_t i = 0; i < value.n; i++) // no header injection by a token
        if ((unsigned char)value.p[i] < 0x20 || value.p[i] == 0x7F) return false;
    struct str line = arena_printf(f->arena, "%s: %.*s", name, STR_FMT(value));
    struct curl_slist *list = line.p ? curl_slist_append(f->headers, line.p) : NULL;
    if (!list) return false;
    f->headers = list;
    return true;
}

static bool set_headers(struct fetch_private *f, const struct fetch_request *r)
{
    if (!add_header(f, "Accept", str_c(r->accept))) return false;
    if (r->authorization.p && !add_header(f, "Authorization", r->authorization)) return false;
    return curl_easy_setopt(f->easy, CURLOPT_HTTPHEADER, f->headers) == CURLE_OK;
}

// Redirects are not followed (a redirect is somebody else choosing what we fetch), the environment names no
// proxy, nothing but http(s).
static bool set_safety(CURL *e, bool https, struct str ca_pem)
{
    unsigned bad = 0;
    bad |= curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, https ? "https" : "http");
    bad |= curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    bad |= curl_easy_setopt(e, CURLOPT_PROXY, "");
    bad |= curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    bad |= curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    bad |= curl_easy_setopt(e, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    bad |= curl_easy_setopt(e, CURLOPT_TIMEOUT, (long)LIMIT_BACKCHANNEL_SECONDS);
    bad |= curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT, (long)LIMIT_BACKCHANNEL_SECONDS / 2);
    bad |= curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
    bad |= curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
    bad |= curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    bad |= curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    if (ca_pem.p) { // this one and no other
        struct curl_blob blob = { (void *)(uintptr_t)ca_pem.p, ca_pem.n,
                                  CURL_BLOB_NOCOPY }; // the configuration outlives us
        bad |= curl_easy_setopt(e, CURLOPT_CAINFO_BLOB, &blob);
        bad |= curl_easy_setopt(e, CURLOPT_CAINFO, NULL);
        bad |= curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
    }
    return bad == 0;
}

static bool set_transfer(struct fetch_private *f, const struct fetch_request *r, struct str url)
{
    CURL *e = f->easy;
    unsigned bad = 0;
    bad |= curl_easy_setopt(e, CURLOPT_URL, url.p);
    bad |= curl_easy_setopt(e, CURLOPT_USERAGENT, "sallyport");
    bad |= curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    bad |= curl_easy_setopt(e, CURLOPT_WRITEDATA, f);
    bad |= curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    bad |= curl_easy_setopt(e, CURLOPT_HEADERDATA, f);
    bad |= curl_easy_setopt(e, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)f->max);
    bad |= curl_easy_setopt(e, CURLOPT_PRIVATE, f);
    bad |= curl_easy_setopt(e, CURLOPT_ERRORBUFFER, f->why);
    if (r->body.p) {
        struct str body = arena_str(f->arena, r->body);
        bad |= body.p ? 0U : 1U;
        bad |= curl_easy_setopt(e, CURLOPT_POST, 1L);
        bad |= curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
        bad |= curl_easy_setopt(e, CURLOPT_POSTFIELDS, body.p);
    }
    return bad == 0;
}

static bool fetch_configure(struct fetch_private *f, const struct fetch_request *r, struct err *err)
{
    struct url url;
    if (!url_allowed(f->arena, r->url, &url, err)) return false;
    struct str text = arena_str(f->arena, r->url);
    f->easy = curl_easy_init();
    if (text.p && f->easy && set_safety(f->easy, url.https, r->ca_pem) && set_transfer(f, r, text) &&
        set_headers(f, r))
        return true;
    return err_set(err, ERR_INTERNAL, "a request could not be prepared");
}

static void fetch_link(struct idp *idp, struct fetch_private *f)
{
    f->next = idp->fetches;
    if (f->next) f->next->prev = f;
    idp->fetches = f;
}

static void fetch_unlink(struct fetch_private *f)
{
    if (f->prev)
        f->prev->next = f->next;
    else
        f->idp->fetches = f->next;
    if (f->next) f->next->prev = f->prev;
}

bool fetch_start(struct idp *idp, const struct fetch_request *r, void (*done)(struct fetch *), void *context,
                 struct err *err)
{
    struct fetch_private *f = mem_calloc(1, sizeof *f);
    if (!f) return err_set(err, ERR_NO_MEMORY, "fetch");
    *f = (struct fetch_private){ .idp = idp,
                                 .max = r->max,
                                 .public = { .done = done, .context = context, .private = f } };
    f->arena = arena_new(FETCH_MEMORY);
    if (!f->arena || !fetch_configure(f, r, err) || curl_multi_add_handle(idp->multi, f->easy) != CURLM_OK) {
        if (!f->arena || err->code == ERR_NONE) err_set(err, ERR_NO_MEMORY, "fetch");
        fetch_free(f);
        return false;
    }
    fetch_link(idp, f);
    return true;
}

// The host is named so that an operator sees which one; the path and query are not.
static void fetch_failed(struct fetch_private *f, CURLcode code)
{
    const char *why = f->refused                        ? f->refused
                      : code == CURLE_FILESIZE_EXCEEDED ? "the answer is too large"
                      : f->why[0]                       ? f->why
                                                        : curl_easy_strerror(code);
    char *url = NULL;
    struct url u;
    struct err ignored;
    curl_easy_getinfo(f->easy, CURLINFO_EFFECTIVE_URL, &url);
    bool named = url && url_parse(f->arena, str_c(url), &u, &ignored);
    if (named && str_search(str_c(why), u.host) == strlen(why))
        err_set(&f->public.err, ERR_LOGIN_UNAVAILABLE, "%.*s: %s", STR_FMT(u.host), why);
    else
        err_set(&f->public.err, ERR_LOGIN_UNAVAILABLE, "%s", why);
}

static void fetch_ended(struct fetch_private *f, CURLcode code)
{
    struct fetch *p = &f->public;
    char *type = NULL;
    curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &p->status);
    curl_easy_getinfo(f->easy, CURLINFO_CONTENT_TYPE, &type);
    p->content_type = str_c(type);
    p->body = (struct str){ f->p ? f->p : "", f->n };
    if (code != CURLE_OK)
        fetch_failed(f, code);
    else if (p->status >= 300 && p->status < 400)
        err_set(&p->err, ERR_LOGIN_UNAVAILABLE, "answered with a redirect (%ld), which is not followed",
                p->status);
    fetch_unlink(f);
    p->done(p);
    fetch_free(f);
}

void fetch_perform(struct idp *idp)
{
    int running, left;
    curl_multi_perform(idp->multi, &running);
    for (CURLMsg *m; (m = curl_multi_info_read(idp->multi, &left));) {
        struct fetch_private *f = NULL;
        if (m->msg != CURLMSG_DONE) continue;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &f);
        fetch_ended(f, code);
    }
}

void fetch_drop_all(struct idp *idp)
{
    while (idp->fetches) {
        struct fetch_private *f = idp->fetches;
        fetch_unlink(f);
        fetch_free(f);
    }
}

bool fetch_is_json(const struct fetch *f)
{
    struct str rest = f->content_type, type;
    return rest.p && str_cut(&rest, ';', &type) && str_eq_nocase(str_trim(type), STR("application/json"));
}
