# SPDX-License-Identifier: GPL-3.0-or-later
"""A Flask application as people write them, for gunicorn: `gunicorn flask_app:app`. FILES names the folder of /file."""
import hashlib
import os

from flask import Flask, Response, jsonify, make_response, redirect, request, send_from_directory, url_for
from werkzeug.middleware.proxy_fix import ProxyFix

app = Flask(__name__)
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)
BLOCK = bytes(range(256)) * 256


@app.get("/who")
def who():
    return jsonify(user=request.headers.get("X-Sallyport-User"), email=request.headers.get("X-Sallyport-Email"),
                   scheme=request.scheme, host=request.host, url=request.url, address=request.remote_addr)


@app.get("/page")
def page():
    return "<!doctype html><title>Flask</title><p id=email>%s</p>" % request.headers.get("X-Sallyport-Email", "")


@app.post("/upload")
def upload():
    digest, size = hashlib.sha256(), 0
    while chunk := request.stream.read(1 << 16):
        digest.update(chunk)
        size += len(chunk)
    return jsonify(bytes=size, sha256=digest.hexdigest())


@app.post("/form")
def form():
    return jsonify(fields=request.form.to_dict(), files={k: len(f.read()) for k, f in request.files.items()})


@app.post("/small")
def small():
    """Refuses what is too large before it has read it."""
    if (request.content_length or 0) > 1000:
        return Response("larger than 1000 bytes\n", 413, headers={"Connection": "close"})
    return jsonify(bytes=len(request.get_data()))


@app.get("/file/<name>")
def file(name):
    return send_from_directory(os.environ["FILES"], name, conditional=True)


@app.get("/blocks/<int:count>")
def blocks(count):
    return Response((BLOCK for _ in range(count)), mimetype="application/octet-stream",
                    headers={"Content-Length": str(count * len(BLOCK))})


@app.get("/chunked/<int:count>")
def chunked(count):
    return Response((b"part %d\n" % i for i in range(count)), mimetype="text/plain")


@app.get("/old")
def old():
    return redirect(url_for("who", _external=True, came="from"), 301)


@app.get("/cookie")
def cookie():
    answer = make_response(jsonify(dict(request.cookies)))
    answer.set_cookie("visits", str(int(request.cookies.get("visits", 0)) + 1), secure=True, httponly=True, samesite="Lax")
    answer.set_cookie("colour", "blue")
    return answer


@app.delete("/thing")
def thing():
    return "", 204
