#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns the pages and assets of this folder into C arrays: embed.py OUTPUT FILE...

Each page is put into layout.html, and {{asset:NAME}} becomes the path of the asset with a hash of its content, so that
browsers may keep assets for ever and still get a new one at once.
"""
import hashlib
import pathlib
import re
import sys

TYPES = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".js": "text/javascript; charset=utf-8"}
PREFIX = "/.sallyport/assets/"


def literal(data):
    lines = [data[i:i + 20] for i in range(0, len(data), 20)]
    return ",\n".join(", ".join(str(b) for b in line) for line in lines) + ", 0"


def hashed(path, data):
    return f"{path.stem}.{hashlib.sha256(data).hexdigest()[:12]}{path.suffix}"


def emit(kind, entries, fields):
    out = []
    for i, entry in enumerate(entries):
        out.append(f"static const unsigned char {kind}_{i}[] = {{\n{literal(entry[-1])} }};\n")
    out.append(f"const struct page_{kind} page_{kind}s[] = {{\n")
    for i, entry in enumerate(entries):
        names = ", ".join(f'"{f}"' for f in fields(entry))
        out.append(f"    {{ {names}, {{ (const char *){kind}_{i}, {len(entry[-1])} }} }},\n")
    out.append(f"}};\nconst size_t page_{kind}_count = {len(entries)};\n")
    return "".join(out)


def main():
    output, files = sys.argv[1], [pathlib.Path(f) for f in sys.argv[2:]]
    by_name = {f.name: f.read_bytes() for f in files}
    assets = [(f.name, hashed(f, by_name[f.name]), TYPES[f.suffix], by_name[f.name]) for f in files if f.suffix in TYPES]
    where = {name: PREFIX + hashed_name for name, hashed_name, _, _ in assets}
    layout = by_name["layout.html"].decode()
    pages = []
    for f in sorted(by_name):
        if f.endswith(".html") and f != "layout.html":
            text = layout.replace("{{content}}", by_name[f].decode().strip())
            text = re.sub(r"\{\{asset:([^}]*)\}\}", lambda m: where[m.group(1)], text)
            pages.append((f[:-len(".html")], text.encode()))
    body = '// Made by embed.py.\n#include "gateway/pages/pages_embedded.h"\n'
    body += emit("template", pages, lambda e: e[:1]) + emit("asset", assets, lambda e: e[:3])
    pathlib.Path(output).write_text(body)


main()
