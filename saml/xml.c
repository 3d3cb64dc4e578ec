// SPDX-License-Identifier: GPL-3.0-or-later
#include "saml/xml.h"

#include <libxml/parser.h>
#include <libxml/xmlerror.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"

// --- before the parser

// Past the end of `close`, or NULL when it does not come.
static const char *skip_past(const char *p, const char *end, struct str close)
{
    struct str rest = { p, (size_t)(end - p) };
    size_t at = str_search(rest, close);
    return at == rest.n ? NULL : p + at + close.n;
}

// A start tag from after '<' to after '>'. libxml2 compares each attribute of an element with all others:
// 100,000 of them (1.2 MB) take 16 s. Each attribute has a '=' outside of quotes.
static const char *skip_tag(const char *p, const char *end, size_t *ret_attributes)
{
    char quote = 0;
    size_t n = 0;
    for (; p < end; p++) {
        if (quote) {
            if (*p == quote) quote = 0;
        } else if (*p == '"' || *p == '\'') {
            quote = *p;
        } else if (*p == '=') {
            n++;
        } else if (*p == '>') {
            *ret_attributes = n;
            return p + 1;
        }
    }
    return NULL;
}

// "<!" begins a comment, a CDATA section or a DTD. The last is refused here, before any parser looks at it.
static const char *skip_declaration(const char *p, const char *end, struct err *err)
{
    struct str rest = { p, (size_t)(end - p) };
    const char *after = NULL;
    if (str_starts(rest, STR("!--")))
        after = skip_past(p + 3, end, STR("-->"));
    else if (str_starts(rest, STR("![CDATA[")))
        after = skip_past(p + 8, end, STR("]]>"));
    else
        err_set(err, ERR_SAML_XML, "the document has a DTD");
    if (!after && err->code == ERR_NONE) err_set(err, ERR_SAML_XML, "the document ends inside a comment");
    return after;
}

static bool prescan(struct str s, struct err *err)
{
    const char *p = s.p, *end = s.p + s.n;
    struct err why = { 0 };
    while (p && p < end && (p = memchr(p, '<', (size_t)(end - p)))) {
        size_t attributes = 0;
        p++;
        if (p < end && *p == '!')
            p = skip_declaration(p, end, &why);
        else if (p < end && *p == '?')
            p = skip_past(p, end, STR("?>"));
        else
            p = skip_tag(p, end, &attributes);
        if (attributes > XML_MAX_ATTRIBUTES)
            return err_set(err, ERR_SAML_XML, "an element has more than %d attributes", XML_MAX_ATTRIBUTES);
        if (!p)
            return err_set(err, ERR_SAML_XML, "%s", why.code ? why.detail : "the document ends inside a tag");
    }
    return true;
}

static bool check_bytes(struct str s, size_t max, struct err *err)
{
    if (s.n > max) return err_set(err, ERR_TOO_LARGE, "%zu bytes of XML, %zu are allowed", s.n, max);
    if (s.n == 0) return err_set(err, ERR_SAML_ENCODING, "the message is empty");
    if (memchr(s.p, 0, s.n)) return err_set(err, ERR_SAML_ENCODING, "the message holds a NUL byte");
    if (!str_is_utf8(s, false)) return err_set(err, ERR_SAML_ENCODING, "the message is not UTF-8");
    return prescan(s, err);
}

// --- the parser

static void release_doc(void *doc)
{
    xmlFreeDoc(doc);
}

// xml:id makes an ID that SAML does not know: signatures could be led to it.
static bool no_xml_id(xmlNodePtr root, struct err *err)
{
    for (xmlNodePtr n = root; n; n = xml_walk(n, root))
        for (xmlAttrPtr at = n->properties; at; at = at->next)
            if (at->ns && !strcmp((const char *)at->ns->href, (const char *)XML_XML_NAMESPACE) &&
                !strcmp((const char *)at->name, "id"))
                return err_set(err, ERR_SAML_XML, "xml:id is not allowed");
    return true;
}

static bool check_doc(xmlDocPtr doc, struct err *err)
{
    xmlNodePtr root = xmlDocGetRootElement(doc);
    if (doc->intSubset || doc->extSubset) return err_set(err, ERR_SAML_XML, "the document has a DTD");
    // The bytes are UTF-8; a document that says otherwise (UTF-7) would be read as something else than was
    // checked.
    if (doc->encoding && xmlStrcasecmp(doc->encoding, BAD_CAST "UTF-8"))
        return err_set(err, ERR_SAML_ENCODING, "the document declares another encoding than UTF-8");
    if (!root) return err_set(err, ERR_SAML_XML, "the document has no element");
    return no_xml_id(root, err);
}

// libxml2 goes on after some failed allocations and would hand out a document in which something is missing,
// so not only the result counts but also that it has nothing to report.
static xmlDocPtr parse_clean(struct str s, struct err *err)
{
    xmlResetLastError();
    xmlParserCtxtPtr ctxt = xmlNewParserCtxt();
    if (!ctxt) {
        err_set(err, ERR_NO_MEMORY, "XML parser");
        return NULL;
    }
    xmlDocPtr doc = xmlCtxtReadMemory(ctxt, s.p, (int)s.n, NULL, NULL,
                                      XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    const xmlError *last = xmlGetLastError();
    bool memory = ctxt->errNo == XML_ERR_NO_MEMORY || (last && last->code == XML_ERR_NO_MEMORY);
    bool clean = doc && !memory && ctxt->wellFormed && ctxt->nsWellFormed && ctxt->errNo == XML_ERR_OK;
    if (!clean) {
        if (memory)
            err_set(err, ERR_NO_MEMORY, "XML parser");
        else
            err_set(err, ERR_SAML_XML, "not well-formed (libxml2 error %d, line %d)", ctxt->errNo,
                    ctxt->lastError.line);
        xmlFreeDoc(doc);
        doc = NULL;
    }
    xmlFreeParserCtxt(ctxt);
    return doc;
}

xmlDocPtr xml_parse(struct arena *a, struct str bytes, size_t max, struct err *err)
{
    if (!check_bytes(bytes, max, err)) return NULL;
    xmlDocPtr doc = parse_clean(bytes, err);
    if (!doc) return NULL;
    if (!arena_defer(a, release_doc, doc)) {
        err_set(err, ERR_NO_MEMORY, "XML document");
        return NULL;
    }
    return check_doc(doc, err) ? doc : NULL;
}

// --- questions

bool xml_in_ns(const xmlNode *node, const char *ns)
{
    return node->type == XML_ELEMENT_NODE && node->ns && node->ns->href &&
           !strcmp((const char *)node->ns->href, ns);
}

bool xml_is(const xmlNode *node, const char *ns, const char *name)
{
    return node && xml_in_ns(node, ns) && !strcmp((const char *)node->name, name);
}

static xmlNodePtr element_from(xmlNodePtr n)
{
    while (n && n->type != XML_ELEMENT_NODE) n = n->next;
    return n;
}

xmlNodePtr xml_first(const xmlNode *parent)
{
    return parent ? element_from(parent->children) : NULL;
}

xmlNodePtr xml_following(const xmlNode *node)
{
    return element_from(node->next);
}

static xmlNodePtr named_from(xmlNodePtr n, const char *ns, const char *name)
{
    while (n && !xml_is(n, ns, name)) n = n->next;
    return n;
}

xmlNodePtr xml_child(const xmlNode *parent, const char *ns, const char *name)
{
    return parent ? named_from(parent->children, ns, name) : NULL;
}

xmlNodePtr xml_again(const xmlNode *previous)
{
    return named_from(previous->next, (const char *)previous->ns->href, (const char *)previous->name);
}

size_t xml_count(const xmlNode *parent, const char *ns, const char *name)
{
    size_t n = 0;
    for (xmlNodePtr c = xml_child(parent, ns, name); c; c = xml_again(c)) n++;
    return n;
}

xmlNodePtr xml_only(const xmlNode *parent, const char *ns, const char *name)
{
    xmlNodePtr n = xml_child(parent, ns, name);
    return n && !xml_again(n) ? n : NULL;
}

xmlNodePtr xml_walk(xmlNodePtr node, const xmlNode *root)
{
    xmlNodePtr down = xml_first(node);
    if (down) return down;
    while (node != root) {
        xmlNodePtr next = xml_following(node);
        if (next) return next;
        node = node->parent;
    }
    return NULL;
}

static bool is_text(const xmlNode *n)
{
    return (n->type == XML_TEXT_NODE || n->type == XML_CDATA_SECTION_NODE) && n->content;
}

// The next node of any type below `root` in document order.
static const xmlNode *any_walk(const xmlNode *n, const xmlNode *root)
{
    if (n->type == XML_ELEMENT_NODE && n->children) return n->children;
    while (n != root) {
        if (n->next) return n->next;
        n = n->parent;
    }
    return NULL;
}

struct str xml_text(struct arena *a, const xmlNode *element)
{
    struct sbuf b;
    sbuf_init(&b, a, SIZE_MAX / 4);
    for (const xmlNode *n = element; n; n = any_walk(n, element))
        if (is_text(n)) sbuf_add_c(&b, (const char *)n->content);
    return sbuf_str(&b);
}

struct str xml_trim(struct str s)
{
    while (s.n && strchr(" \t\r\n", s.p[0])) s = str_skip(s, 1);
    while (s.n && strchr(" \t\r\n", s.p[s.n - 1])) s.n--;
    return s;
}

struct str xml_value(struct arena *a, const xmlNode *element)
{
    if (!element || xml_first(element)) return STR_NONE;
    return xml_trim(xml_text(a, element));
}

xmlAttrPtr xml_attr_node(const xmlNode *element, const char *name)
{
    for (xmlAttrPtr at = element->properties; at; at = at->next)
        if (!at->ns && !strcmp((const char *)at->name, name)) return at;
    return NULL;
}

static struct str attr_text(struct arena *a, const xmlAttr *at)
{
    const xmlNode *n = at->children;
    if (n && !n->next && is_text(n)) return arena_str_c(a, (const char *)n->content);
    struct sbuf b;
    sbuf_init(&b, a, SIZE_MAX / 4);
    for (; n; n = n->next)
        if (is_text(n)) sbuf_add_c(&b, (const char *)n->content);
    return sbuf_str(&b);
}

struct str xml_attr(struct arena *a, const xmlNode *element, const char *name)
{
    const xmlAttr *at = xml_attr_node(element, name);
    return at ? attr_text(a, at) : STR_NONE;
}

struct str xml_escape(struct arena *a, struct str text)
{
    return encode_html(a, text); // the same five characters, in spellings that XML knows too
}

// --- IDs

static bool is_id(const xmlAttr *at)
{
    return !at->ns && !xmlStrcasecmp(at->name, BAD_CAST "id");
}

static int compare(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static size_t count_ids(xmlNodePtr root)
{
    size_t n = 0;
    for (xmlNodePtr e = root; e; e = xml_walk(e, root))
        for (const xmlAttr *at = e->properties; at; at = at->next) n += is_id(at);
    return n;
}

bool xml_ids_unique(struct arena *a, xmlNodePtr root, struct err *err)
{
    size_t max = count_ids(root), n = 0;
    struct str *ids = arena_array(a, max, sizeof *ids);
    if (!ids) return err_set(err, ERR_NO_MEMORY, "IDs");
    for (xmlNodePtr e = root; e; e = xml_walk(e, root))
        for (const xmlAttr *at = e->properties; at; at = at->next)
            if (is_id(at)) ids[n++] = attr_text(a, at);
    if (arena_failed(a)) return err_set(err, ERR_NO_MEMORY, "IDs");
    qsort(ids, n, sizeof *ids, compare);
    for (size_t i = 1; i < n; i++)
        if (str_eq(ids[i - 1], ids[i]))
            return err_set(err, ERR_SAML_DUPLICATE_ID, "two elements have the ID '%.60s'", ids[i].p);
    return true;
}
