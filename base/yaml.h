// SPDX-License-Identifier: GPL-3.0-or-later
// One YAML document as a tree with positions, by libyaml. Only the plain part of YAML: maps with text keys,
// lists and scalars. Anchors, aliases, tags, duplicate keys and several documents are refused: each of them
// makes a file mean something else than it seems to say. Text is UTF-8 without control bytes.
#pragma once

#include "base/arena.h"

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_node {
    enum yaml_kind kind;
    unsigned line, column; // 1-based
    struct str text;       // scalar, NUL-terminated
    bool quoted;           // scalar in quotes: text, whatever it looks like
    struct str key;        // member of a map: its key, absent otherwise
    unsigned key_line, key_column;
    size_t index;                   // position in the parent
    size_t n;                       // members
    const struct yaml_node *parent; // NULL: the root
    struct yaml_node *first, *next; // members in order
};

struct yaml_error {
    unsigned line, column;
    char text[200];
};

// The tree lives in the arena. False with *ret_error otherwise; a document without content is an error as
// well.
bool yaml_read(struct arena *a, struct str text, struct yaml_node **ret, struct yaml_error *ret_error);
// The member with `key`; NULL when there is none or the node is not a map.
const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);
// An unquoted empty scalar, `~` or `null`: a key without a value.
bool yaml_is_null(const struct yaml_node *node);
// "routes[2].policy"; absent when out of memory, empty for the root.
struct str yaml_path(struct arena *a, const struct yaml_node *node);
