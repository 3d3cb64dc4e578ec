// SPDX-License-Identifier: GPL-3.0-or-later
// A backend that a test writes byte by byte, on TCP, TLS or a unix socket: for each request head `answer(socket, path, request)` is
// called, and nothing is done that it does not do.
import { chmodSync } from 'node:fs';
import net from 'node:net';
import tls from 'node:tls';

export const plain = (body, more = '') => `HTTP/1.1 200 OK\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${more}\r\n${body}`;

// `options.tls`: options of tls.createServer. `options.path`: a unix socket. `pause`: takes connections, reads nothing.
export async function startRaw(world, answer, { tls: secure, path, pause = false } = {}) {
  const port = path ? undefined : await world.port();
  const sockets = new Set();
  const raw = { port, path, requests: [], connections: 0, answer, get open() { return sockets.size; } };
  const serve = (s) => {
    raw.connections++;
    sockets.add(s);
    s.on('error', () => {});
    s.on('close', () => sockets.delete(s));
    if (pause) return s.pause();
    let got = '';
    let body = 0; // bytes of a body that are still to come, and of no interest
    return s.on('data', (d) => {
      got += d.toString('latin1');
      for (;;) {
        const skip = Math.min(body, got.length);
        body -= skip;
        got = got.slice(skip);
        const end = got.indexOf('\r\n\r\n');
        if (body || end < 0) return;
        const head = got.slice(0, end);
        got = got.slice(end + 4);
        body = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
        const [method, url] = head.split(' ', 2);
        const request = { method, url, head };
        raw.requests.push(request);
        raw.answer(s, url, request);
      }
    });
  };
  const server = secure ? tls.createServer(secure, serve) : net.createServer({ allowHalfOpen: false }, serve);
  server.on('tlsClientError', (e) => { raw.tlsError = e; });
  raw.listen = () => new Promise((resolve) => { server.listen(path ?? { port, host: '127.0.0.1' }, () => { if (path) chmodSync(path, 0o777); resolve(); }); });
  raw.stop = () => new Promise((resolve) => { server.close(resolve); sockets.forEach((s) => s.destroy()); });
  await raw.listen();
  world.onClose(raw.stop);
  raw.url = path ? `unix:${path}` : `http${secure ? 's' : ''}://127.0.0.1:${port}`;
  return raw;
}
