// SPDX-License-Identifier: GPL-3.0-or-later
// A Node application: WebSocket, server-sent events, trailers, interim answers, answers before the request is complete.
// Run as `node node_app.mjs PORT`.
import { createHash } from 'node:crypto';
import http from 'node:http';
import { WebSocketServer } from 'ws';

const block = Buffer.alloc(65536, Array.from({ length: 256 }, (_, i) => i).join(','));
const json = (res, value) => res.setHeader('content-type', 'application/json').end(JSON.stringify(value));
const watched = new Map(); // name -> bytes of an upload so far
const streams = new Map(); // name -> answer that is an event stream

function send(res, left) {
  while (left > 0) {
    left--;
    if (!res.write(block)) return res.once('drain', () => send(res, left));
  }
  return res.end();
}

const accepted = new Set(); // numbers of the requests to /load that have arrived

const routes = {
  '/load': (req, res, q) => {
    accepted.add(q.get('id'));
    req.resume().on('end', () => setTimeout(() => res.end(block), Number(q.get('ms'))));
  },
  '/accepted': (req, res, q) => json(res, q.get('ids').split(',').filter((id) => accepted.has(id))),
  '/who': (req, res) => json(res, req.headers),
  '/download': (req, res, q) => {
    const blocks = Number(q.get('blocks'));
    res.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': blocks * block.length });
    send(res, blocks);
  },
  '/upload': (req, res, q) => {
    const hash = createHash('sha256');
    let bytes = 0;
    req.on('data', (d) => { hash.update(d); bytes += d.length; watched.set(q.get('name'), bytes); });
    req.on('end', () => json(res, { bytes, sha256: hash.digest('hex') }));
  },
  '/arrived': (req, res, q) => json(res, { bytes: watched.get(q.get('name')) ?? -1 }),
  '/events': (req, res, q) => {
    res.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store' });
    res.write('data: event 0\n\n');
    streams.set(q.get('name'), res);
    res.on('close', () => streams.delete(q.get('name')));
  },
  '/event': (req, res, q) => {
    streams.get(q.get('name'))?.write(`data: ${q.get('data')}\n\n`);
    json(res, { open: streams.has(q.get('name')) });
  },
  '/trailers': (req, res) => {
    res.writeHead(200, { trailer: 'X-Checksum, X-Sallyport-User' });
    res.write('with trailers');
    res.addTrailers({ 'X-Checksum': '1', 'X-Sallyport-User': 'root' });
    res.end();
  },
  '/hints': (req, res) => {
    res.writeContinue();
    res.writeProcessing();
    res.writeEarlyHints({ link: '</a.css>; rel=preload' });
    res.end('after hints');
  },
  // The answer is complete before the request is.
  '/early': (req, res) => {
    res.writeHead(413, { connection: 'close', 'content-length': 10 });
    res.end('too large\n');
  },
  // Answers at once, and goes on reading.
  '/overlap': (req, res) => {
    res.writeHead(200, { 'content-type': 'text/plain' });
    req.on('data', (d) => res.write(d));
    req.on('end', () => res.end());
  },
  '/empty': (req, res) => res.writeHead(204).end(),
  '/same': (req, res) => (req.headers['if-none-match'] === '"a"' ? res.writeHead(304, { etag: '"a"' }).end() : res.setHeader('etag', '"a"').end('a body')),
};

const server = http.createServer((req, res) => {
  const url = new URL(req.url, 'http://app');
  const route = routes[url.pathname];
  if (route) return route(req, res, url.searchParams);
  return res.writeHead(404).end('no such page');
});
const sockets = new WebSocketServer({ noServer: true, maxPayload: 8 << 20, handleProtocols: (offered) => (offered.has('echo') ? 'echo' : false) });
const talk = {
  '/echo': (ws) => ws.on('message', (data, binary) => ws.send(data, { binary })),
  '/who': (ws, req) => { ws.send(JSON.stringify(req.headers)); },
  '/first': (ws) => ws.send('the application speaks first'),
  '/gone': (ws) => ws.terminate(),
  // Sends much without being asked, to somebody who may not read.
  '/pour': (ws) => { for (let i = 0; i < 512; i++) ws.send(block); },
};
server.on('upgrade', (req, socket, head) => {
  const { pathname } = new URL(req.url, 'http://app');
  if (pathname === '/refused') return socket.end('HTTP/1.1 426 Upgrade Required\r\nX-Why: not today\r\nContent-Length: 6\r\nConnection: close\r\n\r\nnot so');
  if (!talk[pathname]) return socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
  return sockets.handleUpgrade(req, socket, head, (ws) => { ws.on('error', () => {}); talk[pathname](ws, req); });
});
server.requestTimeout = 0;
server.keepAliveTimeout = 60000;
server.listen(Number(process.argv[2]), '127.0.0.1');
