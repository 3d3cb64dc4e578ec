// SPDX-License-Identifier: GPL-3.0-or-later
#include "http/parse.h"

static bool refuse(struct err *err, const char *why)
{
    return err_set(err, ERR_UPSTREAM_HEAD, "%s", why);
}

// RFC 9112 section 4: "HTTP/1.1 200 OK". Many applications leave the reason out, some the space before it as
// well.
static bool parse_status_line(struct scan *s, struct http_response_head *h, struct err *err)
{
    struct str line = { s->p, (size_t)(s->end - s->p) };
    if (!str_starts(line, STR("HTTP/1.")) || line.p[7] < '0' || line.p[7] > '1' ||
        line.n < sizeof "HTTP/1.1 200\r\n\r\n" - 1)
        return refuse(err, "the answer does not begin with HTTP/1.0 or HTTP/1.1");
    h->minor = line.p[7] - '0';
    uint64_t status;
    if (line.p[8] != ' ' || !str_to_u64((struct str){ line.p + 9, 3 }, 599, &status) || status < 100)
        return refuse(err, "no status from 100 to 599 after the version");
    h->status = (int)status;
    const char *p = line.p + 12;
    if (*p == ' ')
        p++;
    else if (*p != '\r')
        return refuse(err, "something after the status");
    const char *stop = http_skip_value(p, s->end);
    if (stop[0] != '\r' || stop[1] != '\n') return refuse(err, "a control byte in the status line");
    h->reason = (struct str){ p, (size_t)(stop - p) };
    s->p = stop + 2;
    return true;
}

// RFC 9110 sections 15.2 and 15.3.5: these have no body, whatever their fields say.
static bool is_bodiless(int status)
{
    return status < 200 || status == 204 || status == 304;
}

static bool take_fields(struct http_response_head *h, struct err *err)
{
    struct http_connection c = { .content_length = -1 };
    for (size_t i = 0; i < h->fields.n; i++)
        if (!http_connection_take(&c, &h->fields.v[i], err)) return false;
    if (!http_connection_check(&c, h->minor, err)) return false;
    h->content_length = c.content_length;
    h->chunked = c.chunked;
    // 304 may say how long the body would have been; the others must not (RFC 9110 section 8.6), and who does
    // may send one.
    bool stray = is_bodiless(h->status) && h->status != 304 && (c.chunked || c.content_length > 0);
    // An interim answer is skipped, and what it announced would be read as the head of the final one.
    if (stray && h->status < 200) return refuse(err, "an interim answer that announces a body");
    h->keep_alive = http_connection_persists(&c, h->minor) && !stray;
    return true;
}

// What cannot become a status line is refused before a whole head has come: HTTP/0.9, other protocols, and
// what is left of a body that was longer than it said. Waiting for its end would be waiting for the timeout.
static bool begins_well(const char *buf, size_t len, struct err *err)
{
    struct str version = STR("HTTP/1.");
    size_t n = len < version.n ? len : version.n;
    return str_eq(str_take(version, n), (struct str){ buf, n }) ||
           refuse(err, "the answer does not begin with HTTP/1.0 or HTTP/1.1");
}

static bool parse_head(struct scan *s, struct http_response_head *h, struct err *err)
{
    return parse_status_line(s, h, err) && http_parse_fields(s, &h->fields, err) && take_fields(h, err);
}

enum http_parse http_response_parse(const char *buf, size_t len, size_t *scanned,
                                    struct http_response_head *ret, struct err *err)
{
    size_t end = 0;
    if (!begins_well(buf, len, err)) return HTTP_BAD;
    enum http_parse result = http_find_end(buf, len, LIMIT_RESPONSE_HEAD_BYTES, scanned, &end, err);
    struct scan s = { buf, buf + end };
    if (result == HTTP_DONE && !parse_head(&s, ret, err)) result = HTTP_BAD;
    // The parts shared with requests name errors of requests; these are none of the client's doing.
    if (result == HTTP_BAD) err->code = ERR_UPSTREAM_HEAD;
    if (result == HTTP_DONE) ret->bytes = end;
    return result;
}

enum http_framing http_response_framing(const struct http_response_head *head, struct str request_method)
{
    if (is_bodiless(head->status) || str_eq(request_method, STR("HEAD"))) return FRAMING_NONE;
    if (head->chunked) return FRAMING_CHUNKED;
    return head->content_length >= 0 ? FRAMING_LENGTH : FRAMING_CLOSE;
}

const char *http_status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } texts[] = {
        // the IANA registry
        { 100, "Continue" },
        { 101, "Switching Protocols" },
        { 102, "Processing" },
        { 103, "Early Hints" },
        { 200, "OK" },
        { 201, "Created" },
        { 202, "Accepted" },
        { 203, "Non-Authoritative Information" },
        { 204, "No Content" },
        { 205, "Reset Content" },
        { 206, "Partial Content" },
        { 207, "Multi-Status" },
        { 208, "Already Reported" },
        { 226, "IM Used" },
        { 300, "Multiple Choices" },
        { 301, "Moved Permanently" },
        { 302, "Found" },
        { 303, "See Other" },
        { 304, "Not Modified" },
        { 305, "Use Proxy" },
        { 307, "Temporary Redirect" },
        { 308, "Permanent Redirect" },
        { 400, "Bad Request" },
        { 401, "Unauthorized" },
        { 402, "Payment Required" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 406, "Not Acceptable" },
        { 407, "Proxy Authentication Required" },
        { 408, "Request Timeout" },
        { 409, "Conflict" },
        { 410, "Gone" },
        { 411, "Length Required" },
        { 412, "Precondition Failed" },
        { 413, "Content Too Large" },
        { 414, "URI Too Long" },
        { 415, "Unsupported Media Type" },
        { 416, "Range Not Satisfiable" },
        { 417, "Expectation Failed" },
        { 421, "Misdirected Request" },
        { 422, "Unprocessable Content" },
        { 423, "Locked" },
        { 424, "Failed Dependency" },
        { 425, "Too Early" },
        { 426, "Upgrade Required" },
        { 428, "Precondition Required" },
        { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" },
        { 451, "Unavailable For Legal Reasons" },
        { 500, "Internal Server Error" },
        { 501, "Not Implemented" },
        { 502, "Bad Gateway" },
        { 503, "Service Unavailable" },
        { 504, "Gateway Timeout" },
        { 505, "HTTP Version Not Supported" },
        { 506, "Variant Also Negotiates" },
        { 507, "Insufficient Storage" },
        { 508, "Loop Detected" },
        { 511, "Network Authentication Required" },
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].status == status) return texts[i].text;
    return "Unknown";
}
