// SPDX-License-Identifier: GPL-3.0-or-later
// WebSockets through the gateway, with the cookies of a Client.
import WebSocket from 'ws';
import { until } from './world.mjs';

export class Refused extends Error {
  constructor(status, headers, body) {
    super(`the handshake was answered with ${status}: ${body.slice(0, 300)}`);
    Object.assign(this, { status, headers, body });
  }
}

async function text(res) {
  let body = '';
  for await (const part of res) body += part;
  return body;
}

// Resolves when the socket is open. `next()` gives its messages one after the other, `closed` its end.
export function openSocket(url, { client, origin = new URL(url).origin, headers = {}, protocols = [], ...options } = {}) {
  const u = new URL(url);
  const cookie = client?.cookieHeader(url);
  const ws = new WebSocket(`wss://127.0.0.1:${u.port}${u.pathname}${u.search}`, protocols, {
    servername: u.hostname, rejectUnauthorized: false, perMessageDeflate: false, maxPayload: 16 << 20, handshakeTimeout: 15000,
    headers: { Host: u.host, ...(origin && { Origin: origin }), ...(cookie && { Cookie: cookie }), ...headers }, ...options,
  });
  const got = [];
  const socket = { ws, got, open: true };
  ws.on('message', (data, binary) => got.push(binary ? data : data.toString()));
  socket.closed = new Promise((resolve) => {
    ws.on('close', (code, reason) => { socket.open = false; resolve({ code, reason: reason.toString(), at: Date.now() }); });
  });
  socket.next = async (ms = 10000) => {
    await until('a message', () => got.length || !socket.open, { ms, every: 2 });
    if (!got.length) throw new Error(`the socket was closed instead: ${JSON.stringify(await socket.closed)}`);
    return got.shift();
  };
  socket.ask = (data) => { ws.send(data); return socket.next(); };
  socket.end = () => { ws.terminate(); return socket.closed; };
  return new Promise((resolve, reject) => {
    ws.once('open', () => resolve(socket));
    ws.once('error', reject);
    ws.once('unexpected-response', async (req, res) => reject(new Refused(res.statusCode, res.headers, await text(res))));
  });
}

// The answer to a handshake that must not succeed.
export async function refusedSocket(url, options) {
  let socket;
  try {
    socket = await openSocket(url, options);
  } catch (e) {
    if (e instanceof Refused) return e;
    throw e;
  }
  await socket.end();
  throw new Error(`a WebSocket to ${url} was opened`);
}
