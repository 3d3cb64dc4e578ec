# SPDX-License-Identifier: GPL-3.0-or-later
"""A Quart application for hypercorn: WebSocket, server-sent events, a page that uses both."""
from quart import Quart, jsonify, make_response, request, websocket

app = Quart(__name__)

PAGE = """<!doctype html><title>Quart</title><p id=who>%s</p><p id=said></p><p id=event></p>
<script>
const socket = new WebSocket(`wss://${location.host}/echo`);
socket.onopen = () => socket.send('hello from the page');
socket.onmessage = (m) => { document.getElementById('said').textContent = m.data; };
socket.onclose = (e) => { document.title = `closed ${e.code}`; };
new EventSource('/events').onmessage = (m) => { document.getElementById('event').textContent = m.data; };
</script>"""


@app.get("/")
async def page():
    return PAGE % request.headers.get("X-Sallyport-Email", "")


@app.websocket("/echo")
async def echo():
    while True:
        await websocket.send(await websocket.receive())


@app.get("/events")
async def events():
    async def stream():
        yield b"data: first event\n\n"

    answer = await make_response(stream(), {"Content-Type": "text/event-stream"})
    answer.timeout = None
    return answer


@app.post("/form")
async def form():
    return jsonify((await request.form).to_dict())
