// SPDX-License-Identifier: GPL-3.0-or-later
// One request whose body and answer are handled piece by piece, over HTTP/1.1 or HTTP/2: what a program does that streams.
import { createHash } from 'node:crypto';
import http2 from 'node:http2';
import https from 'node:https';
import { until } from './world.mjs';

const sessions = new Map(); // origin -> HTTP/2 connection

// Node itself would refuse streams with ENHANCE_YOUR_CALM above 10 MiB of unsent data.
export function h2Session(url, options = {}) {
  const u = new URL(url);
  const session = http2.connect(u.origin, { host: '127.0.0.1', servername: u.hostname, rejectUnauthorized: false, maxSessionMemory: 1000, lookup: (name, o, f) => (o.all ? f(null, [{ address: '127.0.0.1', family: 4 }]) : f(null, '127.0.0.1', 4)), ...options });
  session.on('error', () => {});
  return session;
}

function shared(url) {
  const { origin } = new URL(url);
  const there = sessions.get(origin);
  if (there && !there.closed && !there.destroyed) return there;
  const session = h2Session(url);
  sessions.set(origin, session);
  return session;
}

export function closeSessions() {
  for (const s of sessions.values()) s.destroy();
  sessions.clear();
}

// What has come of an answer, and what will.
class Answer {
  constructor(status, headers, stream) {
    Object.assign(this, { status, headers, stream, text: '', bytes: 0, hash: createHash('sha256'), read: 0 });
    this.ended = new Promise((resolve) => {
      stream.on('data', (d) => { this.hash.update(d); this.bytes += d.length; if (this.text.length < (1 << 20)) this.text += d.toString('latin1'); });
      stream.once('end', () => resolve(true));
      stream.once('aborted', () => resolve(false));
      stream.once('error', () => resolve(false));
      stream.once('close', () => resolve(false));
    });
  }

  // Until the answer has this text, behind what was waited for before.
  async until(text, ms = 8000) {
    let over = false;
    this.ended.then(() => { over = true; });
    await until(`'${text}' in the answer`, () => this.text.indexOf(text, this.read) >= 0 || over, { ms, every: 2 });
    const at = this.text.indexOf(text, this.read);
    if (at < 0) throw new Error(`the answer ended without '${text}': ${this.text.slice(-200)}`);
    this.read = at + text.length;
  }

  // The whole body; fails when it was cut off. Node calls an answer aborted as well when it is complete and RST_STREAM follows.
  async whole() {
    if (!await this.ended && this.bytes !== Number(this.headers['content-length'])) throw new Error(`the answer was cut off after ${this.bytes} bytes`);
    return this.text;
  }

  async sha256() {
    await this.whole();
    return this.hash.digest('hex');
  }
}

function overH2(url, method, headers, body, session = shared(url)) {
  const u = new URL(url);
  const stream = session.request({ ':method': method, ':path': u.pathname + u.search, ...headers }, { endStream: !body });
  const informed = [];
  const answer = new Promise((resolve, reject) => {
    stream.on('headers', (h) => informed.push(h[':status']));
    stream.once('response', (h) => resolve(new Answer(h[':status'], h, stream)));
    stream.once('error', reject);
    stream.once('close', () => reject(new Error(`the stream was closed without an answer, code ${stream.rstCode}`)));
  });
  return { stream, answer, informed };
}

function overH1(url, method, headers, body, agent = false) {
  const u = new URL(url);
  const stream = https.request({ host: '127.0.0.1', port: u.port, servername: u.hostname, path: u.pathname + u.search, method, agent, rejectUnauthorized: false, headers: { Host: u.host, ...headers } });
  const informed = [];
  const answer = new Promise((resolve, reject) => {
    stream.on('information', (i) => informed.push(i.statusCode));
    stream.once('response', (res) => resolve(new Answer(res.statusCode, res.headers, res)));
    stream.once('error', reject);
  });
  if (!body) stream.end();
  return { stream, answer, informed };
}

// `body`: the request has one, which is written to `stream`. `session`: an HTTP/2 connection, else one for all of an origin.
export function begin(protocol, url, { method = 'GET', headers = {}, body = false, client, agent, session } = {}) {
  const cookie = client?.cookieHeader(url);
  const all = { ...headers, ...(cookie && { cookie }) };
  const x = protocol === 'h2' ? overH2(url, method, all, body, session) : overH1(url, method, all, body, agent);
  x.answer.catch(() => {});
  x.stream.on('error', () => {});
  return x;
}

export async function fetchAll(protocol, url, { data, ...options } = {}) {
  const x = begin(protocol, url, { ...options, body: data !== undefined });
  if (data !== undefined) x.stream.end(data);
  const answer = await x.answer;
  await answer.whole();
  return answer;
}
