#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls the demo's board as the page of the Morse example does: once as ann, who may, and once as bob, who may not.

usage: flash.py CA_FILE URL     URL: of the Morse application
"""
import json
import ssl
import sys
import time
import urllib.parse

sys.dont_write_bytecode = True
import login  # beside this file

TEXT, UNIT_MS = "HI", 60
CONNECT_SECONDS = 15


class Visitor:
    """Somebody's browser, logged in, on one host."""

    def __init__(self, context, user, url):
        login.cookies.clear()
        login.log_in(context, "oidc", user, url)
        self.context, self.url = context, urllib.parse.urlsplit(url)
        self.cookies = login.cookies_of(self.url.hostname)

    def request(self, method, path, body=None, accept="application/json"):
        connection = login.Connection(self.url.hostname, self.url.port or 443, context=self.context)
        headers = {"Accept": accept, "Sec-Fetch-Site": "same-origin", **self.cookies}
        if body is not None:
            headers.update({"Content-Type": "application/json", "Origin": f"https://{self.url.netloc}"})
        connection.request(method, path, body, headers)
        return connection.getresponse()

    def boards(self):
        answer = self.request("GET", "/.sallyport/pico/")
        if answer.status != 200:
            raise SystemExit(f"the list of boards answered {answer.status}")
        return json.loads(answer.read())["boards"]

    def call(self, device, function, *args):
        answer = self.request("POST", f"/.sallyport/pico/{device}/{function}", json.dumps({"args": args}))
        return answer.status, json.loads(answer.read())


def wait_for_board(visitor, name):
    end = time.monotonic() + CONNECT_SECONDS
    while time.monotonic() < end:
        if any(b["name"] == name and b["online"] and b["functions"] for b in visitor.boards()):
            return
        time.sleep(0.2)
    raise SystemExit(f"the board {name} did not connect")


def count_flashes(stream, flashes):
    """Reads how the LED is until it has been on so often."""
    seen = 0
    while seen < flashes:
        line = stream.readline()
        if not line:
            raise SystemExit(f"the LED's stream ended after {seen} flashes")
        seen += line.strip() == b'data: {"on":true}'
    return seen


def flash_as_ann(ann):
    led = ann.request("GET", "/led", accept="text/event-stream")
    if led.status != 200:
        raise SystemExit(f"/led answered {led.status}")
    status, answer = ann.call("lamp", "flash", TEXT, UNIT_MS)
    print(f"ann calls flash({TEXT!r}): {status} {json.dumps(answer)}")
    if status != 200 or answer["result"]["who"] != "ann@example.com":
        raise SystemExit("the board should have flashed for ann@example.com")
    symbols = sum(answer["result"]["morse"].count(s) for s in ".-")
    print(f"  The LED was on {count_flashes(led, symbols)} times; the board says that {answer['result']['who']} called.")


def refuse_bob(bob):
    status, answer = bob.call("lamp", "who")
    print(f"bob calls who(): {status} {json.dumps(answer)}")
    if status != 200 or answer["result"]["you"] != "bob@example.com":
        raise SystemExit("the board should have known bob@example.com")
    status, answer = bob.call("lamp", "flash", TEXT)
    print(f"bob calls flash({TEXT!r}): {status} {json.dumps(answer)}")
    if status != 403:
        raise SystemExit("bob should have been refused")


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    context = ssl.create_default_context(cafile=sys.argv[1])
    ann = Visitor(context, "ann", sys.argv[2])
    wait_for_board(ann, "lamp")
    flash_as_ann(ann)
    refuse_bob(Visitor(context, "bob", sys.argv[2]))


main()
