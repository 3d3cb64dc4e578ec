// SPDX-License-Identifier: GPL-3.0-or-later
// The application behind the gateway: tells what it received, and misbehaves when asked to.
import { createHash } from 'node:crypto';
import http from 'node:http';

const page = (req) => `<!doctype html><meta charset="utf-8"><title>app</title><h1>App at ${req.headers.host}</h1>
<p>You are <b id="user">${req.headers['x-sallyport-user'] ?? 'unknown'}</b>,
<span id="email">${req.headers['x-sallyport-email'] ?? ''}</span>,
groups <span id="groups">${req.headers['x-sallyport-groups'] ?? ''}</span></p>`;

const sha256 = (data) => createHash('sha256').update(data).digest('hex');

// The 64 KiB block that downloads repeat.
const block = Buffer.alloc(65536, Array.from({ length: 256 }, (_, i) => i).join(','));

function download(res, blocks) {
  res.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': blocks * block.length });
  let left = blocks;
  const more = () => {
    while (left > 0) {
      left--;
      if (!res.write(block)) return res.once('drain', more);
    }
    res.end();
  };
  more();
}

export function downloadHash(blocks) {
  const h = createHash('sha256');
  for (let i = 0; i < blocks; i++) h.update(block);
  return h.digest('hex');
}

function upload(req, res) {
  const h = createHash('sha256');
  let bytes = 0;
  req.on('data', (d) => { h.update(d); bytes += d.length; });
  req.on('end', () => res.end(JSON.stringify({ bytes, sha256: h.digest('hex') })));
}

const routes = {
  '/echo': (req, res) => {
    let body = '';
    req.on('data', (d) => { body += d; });
    req.on('end', () => {
      res.setHeader('content-type', 'application/json');
      res.end(JSON.stringify({ method: req.method, url: req.url, headers: req.headers, raw: req.rawHeaders, body }));
    });
  },
  '/cookies': (req, res) => {
    res.setHeader('set-cookie', ['first=1; Path=/', 'second=2; Path=/; HttpOnly', 'third="3 3"; Path=/x',
      '__Host-sallyport=planted-by-app; Path=/; Secure']);
    res.setHeader('x-powered-by', 'test');
    res.setHeader('server', 'backend/1');
    res.end('cookies');
  },
  '/own-headers': (req, res) => {
    res.setHeader('x-frame-options', 'SAMEORIGIN');
    res.setHeader('referrer-policy', 'unsafe-url');
    res.end('own');
  },
  '/slow': (req, res, url) => { setTimeout(() => res.end('slow done'), Number(url.searchParams.get('ms') ?? 1000)).unref(); },
  '/trickle': async (req, res) => {
    for (let i = 0; i < 10; i++) {
      res.write(`tick ${i}\n`);
      await new Promise((r) => setTimeout(r, 200));
    }
    res.end('end\n');
  },
  '/broken': (req) => req.socket.destroy(),
  '/garbage': (req) => req.socket.end('HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde'),
  '/download': (req, res, url) => download(res, Number(url.searchParams.get('blocks') ?? 16)),
  '/upload': upload,
};

export async function startBackend(world) {
  const port = await world.port();
  const seen = []; // every request that got through
  const server = http.createServer((req, res) => {
    seen.push({ method: req.method, url: req.url, headers: req.headers, raw: req.rawHeaders });
    const url = new URL(req.url, 'http://app');
    const route = routes[url.pathname];
    if (route) return route(req, res, url);
    res.setHeader('content-type', 'text/html');
    res.end(page(req));
  });
  server.requestTimeout = 0;
  server.keepAliveTimeout = 30000;
  const listen = () => new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  const stop = () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); });
  await listen();
  world.onClose(stop);
  return { port, seen, listen, stop, url: `http://127.0.0.1:${port}` };
}

export { sha256 };
