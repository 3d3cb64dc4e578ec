// SPDX-License-Identifier: GPL-3.0-or-later
// Hostile XML in, a tree without surprises out: UTF-8, no DTD and so no entities, no xml:id, bounded
// attributes, nothing fetched. And the few questions that the rest of the folder asks of such a tree. Nothing
// here changes a document.
#pragma once

#include <libxml/tree.h>

#include "base/arena.h"
#include "base/err.h"

enum { XML_MAX_ATTRIBUTES = 64 };

// The document owns itself through the arena. ERR_TOO_LARGE, ERR_SAML_ENCODING, ERR_SAML_XML, ERR_NO_MEMORY.
xmlDocPtr xml_parse(struct arena *a, struct str bytes, size_t max, struct err *err);

bool xml_is(const xmlNode *node, const char *ns, const char *name);
bool xml_in_ns(const xmlNode *node, const char *ns);
// First element child, next element sibling; NULL at the end.
xmlNodePtr xml_first(const xmlNode *parent);
xmlNodePtr xml_following(const xmlNode *node);
// The first child `ns:name`, and the one after `previous` of the same name.
xmlNodePtr xml_child(const xmlNode *parent, const char *ns, const char *name);
xmlNodePtr xml_again(const xmlNode *previous);
size_t xml_count(const xmlNode *parent, const char *ns, const char *name);
// The child `ns:name` when there is exactly one, else NULL.
xmlNodePtr xml_only(const xmlNode *parent, const char *ns, const char *name);
// The next element in document order below `root`, NULL after the last one. Starts with node == root.
xmlNodePtr xml_walk(xmlNodePtr node, const xmlNode *root);

// All text below the element, in order. Comments and processing instructions are no text and never cut it
// (`admin@a.com<!---->.evil.com` is one value). Absent only when out of memory.
struct str xml_text(struct arena *a, const xmlNode *element);
// The same without XML white space at both ends, and absent when the element is NULL or holds other elements.
struct str xml_value(struct arena *a, const xmlNode *element);
// The attribute without a namespace; absent when there is none.
struct str xml_attr(struct arena *a, const xmlNode *element, const char *name);
xmlAttrPtr xml_attr_node(const xmlNode *element, const char *name);
// Text with & < > " ' as entities.
struct str xml_escape(struct arena *a, struct str text);
struct str xml_trim(struct str s);

// Every ID-typed attribute in the document (ID, Id, id) has its own value. ERR_SAML_DUPLICATE_ID.
bool xml_ids_unique(struct arena *a, xmlNodePtr root, struct err *err);
