#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A simulated Pico W: runs the main.py of a board, as it is, with modules `machine`, `uasyncio` and `anvil.pico` of its own.

usage: board.py [--led PORT] DIRECTORY

DIRECTORY is what would be on the board: main.py, and what it imports. A ca_root.py there is used as the board uses
it: LETSENCRYPT_ROOT_DER is the one certificate authority that is trusted. Without it those of the system are (the board:
ISRG Root X1). With --led, http://127.0.0.1:PORT/ tells how the LED is, as server-sent events.

It speaks the protocol as a board does, but has none of a board's faults: docs/pico.md.
"""
import argparse
import asyncio
import base64
import hashlib
import inspect
import json
import os
import random
import re
import runpy
import ssl
import struct
import sys
import time
import traceback
import types

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
MESSAGE_BYTES = 64 * 1024
RECONNECT_SECONDS, HEARTBEAT_SECONDS = 1, 10
options = argparse.Namespace(led=None)


# --- the LED

class Pin:
    """machine.Pin. Those named "LED" are one."""

    OUT, IN = 1, 0
    values = {}
    watchers = set()  # a queue for each reader of the event stream

    def __init__(self, name, mode=None, pull=None, value=None):
        self.name = name
        Pin.values.setdefault(name, 0)
        if value is not None:
            self.value(value)

    def value(self, new=None):
        if new is None:
            return Pin.values[self.name]
        changed = Pin.values[self.name] != int(bool(new))
        Pin.values[self.name] = int(bool(new))
        if changed and self.name == "LED":
            for queue in Pin.watchers:
                queue.put_nowait(Pin.values["LED"])

    __call__ = value

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)

    def toggle(self):
        self.value(not self.value())


async def led_stream(reader, writer):
    """One reader of the event stream, whatever it asks for."""
    queue = asyncio.Queue()
    try:
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
                     b"Connection: close\r\n\r\n")
        Pin.watchers.add(queue)
        queue.put_nowait(Pin.values.get("LED", 0))
        while True:
            try:
                event = b'data: {"on":%s}\n\n' % (b"true" if await asyncio.wait_for(queue.get(), 15) else b"false")
            except asyncio.TimeoutError:
                event = b":\n\n"  # so that it is noticed when the reader has gone
            writer.write(event)
            await writer.drain()
    except (OSError, EOFError, asyncio.TimeoutError, asyncio.LimitOverrunError):
        pass
    finally:
        Pin.watchers.discard(queue)
        writer.close()


# --- WebSocket

class WebSocket:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def send(self, opcode, data):
        n, mask = len(data), random.randbytes(4)
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | n) if n < 126 else struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, n)
        self.writer.write(head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))

    async def frame(self):
        first, length = await self.reader.readexactly(2)
        if first & 0x70 or not first & 0x80 or length & 0x80:
            raise Exception("The gateway broke the WebSocket protocol")
        if length == 126:
            length, = struct.unpack("!H", await self.reader.readexactly(2))
        elif length == 127:
            length, = struct.unpack("!Q", await self.reader.readexactly(8))
        if length > MESSAGE_BYTES:
            raise Exception("A message of %d bytes is more than a board can take" % length)
        return first & 0x0F, await self.reader.readexactly(length)

    async def receive(self):
        """The next text; None when the gateway has closed."""
        while True:
            opcode, data = await self.frame()
            if opcode == TEXT:
                return data.decode()
            if opcode == CLOSE:
                return None
            if opcode == PING:
                self.send(PONG, data)

    async def close(self):
        try:
            self.writer.close()
            await asyncio.wait_for(self.writer.wait_closed(), 1)
        except (OSError, asyncio.TimeoutError):
            pass


def tls():
    """What mbedTLS on the board offers: TLS 1.2, ECDHE on P-256, AES-GCM; one certificate authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM")
    context.set_ecdh_curve("prime256v1")
    try:
        from ca_root import LETSENCRYPT_ROOT_DER
    except ImportError:
        context.load_default_certs()
    else:
        context.load_verify_locations(cadata=LETSENCRYPT_ROOT_DER)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


async def dial(url):
    match = re.fullmatch(r"(wss?)://([A-Za-z0-9.-]+)(?::([0-9]+))?(/.*)?", url)
    if not match:
        raise Exception("%s is no address that a board understands" % url)
    scheme, host, port, path = match.groups()
    port = int(port or (443 if scheme == "wss" else 80))
    # Every name under localhost is this machine (RFC 6761), whatever the resolver thinks.
    address = "127.0.0.1" if host.endswith(".localhost") else host
    secure = {"ssl": tls(), "server_hostname": host} if scheme == "wss" else {}
    ws = WebSocket(*await asyncio.open_connection(address, port, **secure))
    key = base64.b64encode(random.randbytes(16)).decode()
    ws.writer.write(("GET %s HTTP/1.1\r\nHost: %s:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                     "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\nOrigin: http://localhost\r\n\r\n"
                     % (path or "/", host, port, key)).encode())
    head = (await ws.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    if not head.startswith("HTTP/1.1 101 "):
        await ws.close()
        raise Exception("The gateway answered: " + head.split("\r\n")[0])
    accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
    if accept not in head:
        await ws.close()
        raise Exception("What answered does not speak WebSocket")
    return ws


# --- anvil.pico

functions = {}  # name -> (function, is_async, require_user)
answers = {}    # id of a call of ours -> where its answer is waited for
callers = {}    # task -> id of the call that it works on
link = None


def callable_(name_or_function=None, is_async=False, require_user=None):
    def register(function, name=None):
        functions[name or function.__name__] = (function, is_async, require_user)
        return function
    if inspect.isfunction(name_or_function):
        return register(name_or_function)
    return lambda function: register(function, name_or_function)


def callable_async(name_or_function=None, require_user=None):
    return callable_(name_or_function, is_async=True, require_user=require_user)


def send(message):
    if link:
        link.send(TEXT, json.dumps(message, ensure_ascii=False).encode())


async def call(command, *args, **kwargs):
    """Asks the gateway. Like the board's, it waits as long as it takes."""
    number = "pico-call-%d-%d" % (time.time(), random.randint(1, 99999))
    message = {"type": "CALL", "command": command, "id": number, "args": args, "kwargs": kwargs}
    if asyncio.current_task() in callers:
        message["call-stack-id"] = callers[asyncio.current_task()]
    answers[number] = asyncio.get_running_loop().create_future()
    try:
        send(message)
        answer = await answers[number]
    finally:
        del answers[number]
    if "response" not in answer:
        raise Exception(answer["error"]["message"])
    return answer["response"]


async def get_user_email(allow_remembered=True):
    return await call("anvil.private.users.get_current_user_email", allow_remembered=allow_remembered)


async def check_user(required):
    email = await get_user_email() if required else None
    if required and not email:
        raise Exception("Unauthorised. You must be logged in to call this function.")
    if isinstance(required, str) and email != required:
        raise Exception("Unauthorised. You are not authorised to call this function.")


async def work(message):
    """A call from the gateway, in a task of its own."""
    callers[asyncio.current_task()] = message.get("call-stack-id")
    try:
        function, is_async, require_user = functions[message.get("command")]
        await check_user(require_user)
        result = function(*message["args"], **message["kwargs"])
        send({"id": message["id"], "response": await result if is_async else result})
    except Exception as e:  # whatever the function raises is its answer
        traceback.print_exc()
        send({"id": message["id"], "error": {"message": str(e)}})
    finally:
        del callers[asyncio.current_task()]


async def listen(ws):
    tasks = set()  # the loop holds weak references only
    while (text := await ws.receive()) is not None:
        message = json.loads(text)
        if "response" in message or "error" in message:
            waiting = answers.get(message.get("id"))
            if waiting and not waiting.done():
                waiting.set_result(message)
        elif message.get("type") == "CALL":
            task = asyncio.create_task(work(message))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


async def log_in(ws, key):
    ws.send(TEXT, json.dumps({"key": key, "v": 7, "device": "PICO_W"}).encode())
    text = await ws.receive()
    answer = json.loads(text) if text else {}
    if answer.get("auth") != "OK":
        raise Exception("Connection failed: %s" % answer)
    for name in functions:
        ws.send(TEXT, json.dumps({"type": "REGISTER", "name": name}).encode())


async def heartbeat():
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        await call("anvil.private.echo", "keep-alive")


async def blink(led):
    while True:
        led.toggle()
        await asyncio.sleep(0.1)


async def session(key, url, led):
    """From connecting to the end of the connection."""
    global link
    helpers, ws = [], None
    try:
        if led:
            helpers.append(asyncio.create_task(blink(led)))
        print("Connecting to", url, flush=True)
        ws = await dial(url)
        await log_in(ws, key)
        link = ws
        print("Connected, with", ", ".join(functions), flush=True)
        if led:
            helpers.pop().cancel()
            led.on()
        helpers.append(asyncio.create_task(heartbeat()))
        await listen(ws)
        print("The gateway has closed the connection", flush=True)
    finally:
        link = None
        for task in helpers:
            task.cancel()
        if ws:
            await ws.close()


async def connect_async(key, on_first_connect=None, on_every_connect=None, url=None, no_led=False):
    if on_first_connect or on_every_connect:
        raise Exception("on_first_connect and on_every_connect are not simulated")
    if not url:
        raise Exception("Without url= a board goes to Anvil's own server")
    server = await asyncio.start_server(led_stream, "127.0.0.1", options.led) if options.led else None
    led = None if no_led else Pin("LED", Pin.OUT, value=1)
    while server or not options.led:
        try:
            await session(key, url, led)
        except (Exception, asyncio.IncompleteReadError) as e:  # a board tries again, whatever it was
            print("Exception in uplink reconnection loop:", str(e) or type(e).__name__, flush=True)
        await asyncio.sleep(RECONNECT_SECONDS)


def connect(*args, **kwargs):
    asyncio.run(connect_async(*args, **kwargs))


# --- the modules that main.py imports

def module(name, **members):
    made = types.ModuleType(name)
    vars(made).update(members)
    sys.modules[name] = made
    return made


def install_modules():
    module("machine", Pin=Pin)
    names = ("CancelledError", "Event", "Lock", "TimeoutError", "create_task", "current_task", "gather", "run", "sleep", "wait_for")
    module("uasyncio", sleep_ms=lambda ms: asyncio.sleep(ms / 1000),
           wait_for_ms=lambda what, ms: asyncio.wait_for(what, ms / 1000), **{n: getattr(asyncio, n) for n in names})
    pico = module("anvil.pico", callable=callable_, callable_async=callable_async, call=call, connect=connect,
                  connect_async=connect_async, get_user_email=get_user_email)
    module("anvil", pico=pico)


def main():
    parser = argparse.ArgumentParser(description="A simulated Pico W.")
    parser.add_argument("--led", type=int, metavar="PORT", help="tell how the LED is on this port of 127.0.0.1")
    parser.add_argument("directory", metavar="DIRECTORY", help="what would be on the board: main.py and others")
    parser.parse_args(namespace=options)
    program = os.path.join(options.directory, "main.py")
    if not os.path.isfile(program):
        parser.error(f"there is no {program}")
    sys.dont_write_bytecode = True
    sys.path.insert(0, options.directory)
    install_modules()
    try:
        runpy.run_path(program, run_name="__main__")
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
