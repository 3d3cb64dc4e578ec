# SPDX-License-Identifier: GPL-3.0-or-later
"""A Starlette application for uvicorn: WebSocket, server-sent events, uploads that can be watched."""
import asyncio
import hashlib

from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

steps = {}  # name -> event that lets the stream of that name go on
uploads = {}  # name -> bytes that have arrived


async def echo(socket):
    wanted = [p.strip() for p in socket.headers.get("sec-websocket-protocol", "").split(",")]
    await socket.accept(subprotocol="echo" if "echo" in wanted else None)
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("bytes") is not None:
                await socket.send_bytes(message["bytes"])
            else:
                await socket.send_text(message["text"])
    except WebSocketDisconnect:
        pass


async def who(socket):
    await socket.accept()
    await socket.send_json({k: v for k, v in socket.headers.items()})
    await socket.close(4000, "that was all")


async def refused(socket):
    await socket.close(1008)  # before accept: uvicorn answers 403


async def events(request):
    """Sends the next event only when it was asked for it."""
    name = request.query_params["name"]
    step = steps.setdefault(name, asyncio.Semaphore(1))

    async def stream():
        for i in range(int(request.query_params.get("count", 5))):
            await step.acquire()
            yield f"id: {i}\ndata: event {i}\n\n".encode()

    return StreamingResponse(stream(), media_type="text/event-stream")


async def more(request):
    steps[request.query_params["name"]].release()
    return JSONResponse({})


async def upload(request):
    name, digest = request.query_params["name"], hashlib.sha256()
    uploads[name] = 0
    async for chunk in request.stream():
        uploads[name] += len(chunk)
        digest.update(chunk)
    return JSONResponse({"bytes": uploads[name], "sha256": digest.hexdigest()})


async def arrived(request):
    return JSONResponse({"bytes": uploads.get(request.query_params["name"], -1)})


app = Starlette(routes=[
    WebSocketRoute("/echo", echo), WebSocketRoute("/who", who), WebSocketRoute("/refused", refused),
    Route("/events", events), Route("/more", more, methods=["POST"]),
    Route("/upload", upload, methods=["POST", "PUT"]), Route("/arrived", arrived),
])
