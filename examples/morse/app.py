#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Morse example's web application. It has no login code and never speaks to a board: its page calls the gateway.

usage: app.py PORT     listens on 127.0.0.1:PORT
"""
import html
import http.server
import os
import sys

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "page")
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/morse.js": ("morse.js", "text/javascript; charset=utf-8"),
    "/morse.css": ("morse.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self):
        name, kind = FILES.get(self.path.partition("?")[0], (None, None))
        if not name:
            self.send_error(404)
            return
        with open(os.path.join(PAGE, name), encoding="utf-8") as f:
            text = f.read()
        if name == "index.html":
            text = text.replace("{{visitor}}", self.visitor())
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'none'")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def visitor(self):
        """The gateway says who it is."""
        name = self.headers.get("X-Sallyport-Name") or self.headers.get("X-Sallyport-User") or "nobody"
        return html.escape(name.encode("latin-1", "replace").decode("utf-8", "replace"))

    def log_message(self, *args):
        pass


def main():
    if len(sys.argv) != 2 or not sys.argv[1].isdigit():
        sys.exit(__doc__)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
