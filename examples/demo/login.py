#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs in to the demo as a browser would, through one protocol, and prints what the application received.

usage: login.py CA_FILE saml|oidc USER URL
"""
import html
import http.client
import json
import re
import socket
import ssl
import sys
import urllib.parse

MAX_STEPS = 20
cookies = {}  # (host, name) -> value; all of ours are host-only


def remember(host, message):
    for line in message.get_all("Set-Cookie") or []:
        name, _, value = line.partition(";")[0].partition("=")
        if "max-age=0" in line.lower():
            cookies.pop((host, name), None)
        else:
            cookies[host, name] = value


class Connection(http.client.HTTPSConnection):
    """Every name under localhost is this machine (RFC 6761), whatever the resolver thinks."""

    def connect(self):
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        self.sock = self._context.wrap_socket(raw, server_hostname=self.host)


def cookies_of(wanted):
    jar = "; ".join(f"{name}={value}" for (host, name), value in cookies.items() if host == wanted)
    return {"Cookie": jar} if jar else {}


def ask(context, method, url, form=None):
    u = urllib.parse.urlsplit(url)
    connection = Connection(u.hostname, u.port or 443, context=context)
    headers = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", **cookies_of(u.hostname)}
    body = None
    if form is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urllib.parse.urlencode(form)
    connection.request(method, (u.path or "/") + ("?" + u.query if u.query else ""), body, headers)
    answer = connection.getresponse()
    remember(u.hostname, answer.msg)
    text = answer.read().decode("utf-8", "replace")
    connection.close()
    return answer.status, answer.getheader("Location"), text


def form_of(page):
    """Action and fields of the page's first form."""
    action = re.search(r'<form[^>]*\baction="([^"]*)"', page)
    if not action:
        return None, {}
    fields = {}
    for tag in re.findall(r"<input[^>]*>", page):
        name = re.search(r'\bname="([^"]*)"', tag)
        value = re.search(r'\bvalue="([^"]*)"', tag)
        if name:
            fields[name.group(1)] = html.unescape(value.group(1)) if value else ""
    return html.unescape(action.group(1)), fields


def choice_of(page, provider):
    for href in re.findall(r'href="([^"]*)"', page):
        href = html.unescape(href)
        if urllib.parse.parse_qs(urllib.parse.urlsplit(href).query).get("idp") == [provider]:
            return href
    return None


def log_in(context, provider, user, url):
    method, form = "GET", None
    for _ in range(MAX_STEPS):
        status, location, text = ask(context, method, url, form)
        method, form = "GET", None
        if location and 300 <= status < 400:
            url = urllib.parse.urljoin(url, location)
            continue
        if status != 200:
            raise SystemExit(f"{url.split('?')[0]} answered {status}")
        choice = choice_of(text, provider)
        if choice:
            url = urllib.parse.urljoin(url, choice)
            continue
        action, fields = form_of(text)
        if action is None:
            return text
        if "password" in fields:
            fields.update(username=user, password=user)
        url, method, form = urllib.parse.urljoin(url, action), "POST", fields
    raise SystemExit("the login did not come to an end")


def main():
    if len(sys.argv) != 5:
        raise SystemExit(__doc__)
    ca, provider, user, url = sys.argv[1:]
    context = ssl.create_default_context(cafile=ca)
    received = json.loads(log_in(context, provider, user, url))
    wanted = {"X-Sallyport-User": user, "X-Sallyport-Provider": provider}
    for name, value in sorted(received.items()):
        if name.lower().startswith("x-sallyport-"):
            print(f"  {name}: {value}")
    if any(received.get(name) != value for name, value in wanted.items()):
        raise SystemExit("the application did not receive the identity that was logged in")
    if "__Host-sallyport" in received.get("Cookie", ""):
        raise SystemExit("the gateway's cookie reached the application")


if __name__ == "__main__":
    main()
