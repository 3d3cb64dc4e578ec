// SPDX-License-Identifier: GPL-3.0-or-later
// A simulated Pico W: it speaks the uplink protocol as the stock firmware (anvil.pico 0.3.0 on MicroPython) does, with all of its weaknesses.
//
//   - A unit of a frame (2 bytes of head, 2 or 8 of length, the payload) is read by one call, and what that yields is taken as if it were
//     complete. Here one call yields what one TLS record has left (node gives each record as one 'data' event; board.test.mjs makes sure), on
//     plain TCP at most one segment. So a frame in two records makes the board lose its step. The real one survives that when the second
//     record is there already; this one never does.
//   - A frame leaves as three writes, so three records: head, mask, payload. The upgrade leaves line by line.
//   - The first frame after the upgrade must be the answer to the login, and text: a ping there breaks the login.
//   - A session that ends is begun again after a second, for ever. When it ended by an error while the firmware thought that it was open, the
//     next attempt is void: a stray close frame before any HTTP, then nothing.
//   - A socket that is not needed any more is not closed. A close frame is not answered.
//   - There is one sender for all sessions: an answer to a call of an earlier session goes out in this one, with the old id.
//   - Each session starts a heartbeat, and none ends.
//   - What its JSON encoder does not know it prints: nan, inf, <object>, <generator>, bytes that are no UTF-8.
//   - A synchronous function stops everything else, answers to pings too.
//
// For the tests it also tells what it saw (`sessions`, `got`, `calls`), and misbehaves on request (`frame`, `raw`, `hooks`).
import { randomBytes, randomInt } from 'node:crypto';
import net from 'node:net';
import tls from 'node:tls';
import { sleep, until } from './world.mjs';

// mbedTLS as MicroPython configures it. 1: no extended master secret, 1 << 14: no tickets, 1 << 19: no encrypt-then-MAC.
const TLS_OPTIONS = {
  minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2', ecdhCurve: 'P-256',
  ciphers: 'ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256',
  sigalgs: 'ECDSA+SHA512:RSA+SHA512:ECDSA+SHA384:RSA+SHA384:ECDSA+SHA256:RSA+SHA256', secureOptions: 1 | (1 << 14) | (1 << 19),
};
const RECORD_OUT = 4096;
const SEGMENT = 1460;

export const TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10;

class SessionError extends Error {}

// What the encoder prints as it is: raw('nan'), raw(Buffer).
class Raw { constructor(bytes) { this.bytes = Buffer.from(bytes); } }
export const raw = (bytes) => new Raw(bytes);

// Characters beyond the BMP that come as escapes are two characters to MicroPython. They travel in a private plane here.
const halves = (text) => text.replace(/\\\\|\\u(d[89a-f][0-9a-f]{2})/gi, (all, hex) => (hex ? String.fromCodePoint(0x100000 + parseInt(hex, 16)) : all));
// Floats have single precision, integers any size.
const numbers = (text) => text.replace(/"(?:[^"\\]|\\.)*"|-?\d+(\.\d+)?([eE][+-]?\d+)?/g, (all, fraction, exponent) => {
  if (all[0] === '"') return all;
  if (!fraction && !exponent) return Number.isSafeInteger(Number(all)) ? all : `"\ue000${all}"`;
  const single = Math.fround(Number(all));
  return Number.isFinite(single) ? String(single) : `${single < 0 ? '-' : ''}1e999`;
});

export function parse(bytes) {
  try {
    return JSON.parse(numbers(halves(bytes.toString('utf8'))), (key, v) => (typeof v === 'string' && v[0] === '\ue000' ? BigInt(v.slice(1)) : v));
  } catch { throw new SessionError('syntax error in JSON'); }
}

function encodeString(text) {
  const parts = [...JSON.stringify(text)].map((c) => {
    const code = c.codePointAt(0) - 0x100000;
    return code >= 0xd800 && code <= 0xdfff ? Buffer.from([0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f)]) : Buffer.from(c);
  });
  return Buffer.concat(parts);
}

// json.dumps: ", " and ": " as separators, no complaint about anything.
export function encode(v) {
  const list = (items, open, close) => Buffer.concat([Buffer.from(open), ...items.flatMap((b, i) => (i ? [Buffer.from(', '), b] : [b])), Buffer.from(close)]);
  if (v instanceof Raw) return v.bytes;
  if (v === null || v === undefined) return Buffer.from('null');
  if (typeof v === 'string') return encodeString(v);
  if (typeof v === 'number' && !Number.isInteger(v)) return Buffer.from(Number.isFinite(v) ? String(Number(v.toPrecision(7))) : String(v).replace('Infinity', 'inf').replace('NaN', 'nan'));
  if (['number', 'bigint', 'boolean'].includes(typeof v)) return Buffer.from(String(v));
  if (Array.isArray(v)) return list(v.map(encode), '[', ']');
  if (v instanceof Promise) return Buffer.from('<generator>');
  if (Object.getPrototypeOf(v) === Object.prototype) return list(Object.entries(v).map(([k, x]) => Buffer.concat([encodeString(k), Buffer.from(': '), encode(x)])), '{', '}');
  return Buffer.from('<object>');
}

function masked(payload, mask) {
  const out = Buffer.from(payload);
  for (let i = 0; i < out.length; i++) out[i] ^= mask[i & 3];
  return out;
}

// `form`: bytes of the length field (0, 2, 8), the shortest when not given.
function frameHead(opcode, length, { fin = true, rsv = 0, mask = true, form } = {}) {
  const size = form ?? (length < 126 ? 0 : length < 65536 ? 2 : 8);
  const head = Buffer.alloc(2 + size);
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  head[1] = (mask ? 0x80 : 0) | (size === 0 ? length : size === 2 ? 126 : 127);
  if (size === 2) head.writeUInt16BE(length, 2);
  if (size === 8) head.writeBigUInt64BE(BigInt(length), 2);
  return head;
}

// One connection and what became of it. The reader reads units; the writer keeps writes apart.
class Session {
  constructor(board, number) {
    Object.assign(this, { board, number, begun: Date.now(), records: [], got: [], frames: [], written: Promise.resolve(), waiting: undefined, open: false });
    // What a witness says: how it ended, and what the other side did to its connection.
    Object.assign(this, { status: undefined, loggedIn: false, ending: undefined, closeCode: undefined, peerEnded: undefined, void: false });
    this.over = new Promise((resolve) => { this.setOver = resolve; });
  }

  connect({ host, port, name, ca, plain, localAddress, tcp }) {
    this.tcp = (this.number === 0 && tcp) || net.connect({ host, port, localAddress, allowHalfOpen: true }).setNoDelay(true);
    this.tcp.on('error', () => {});
    this.socket = plain ? this.tcp : tls.connect({ ...TLS_OPTIONS, socket: this.tcp, servername: name, ca });
    if (!plain) this.socket.setMaxSendFragment(RECORD_OUT);
    const ended = (how) => () => { this.peerEnded ??= { how, at: Date.now() }; this.wake(); };
    this.socket.on('data', (d) => { if (!this.ending) { this.records.push(d); this.wake(); } });
    this.socket.on('end', ended('FIN'));
    this.socket.on('close', ended('closed'));
    return new Promise((resolve, reject) => {
      this.socket.once(plain ? 'connect' : 'secureConnect', resolve);
      this.socket.on('error', (e) => { ended('RST')(); reject(new SessionError(`connection: ${e.message}`)); });
    });
  }

  wake() { const w = this.waiting; this.waiting = undefined; w?.(); }

  // What one read call yields, at most `n` bytes; '' at the end.
  async read(n) {
    for (;;) {
      if (this.board.busy) await this.board.busy;
      else if (this.records.length) break;
      else if (this.peerEnded) return Buffer.alloc(0);
      else await new Promise((resolve) => { this.waiting = resolve; });
    }
    const size = this.board.options.plain ? Math.min(n, SEGMENT) : n;
    const got = this.records[0].subarray(0, size);
    this.recordDone = got.length === this.records[0].length;
    if (this.recordDone) this.records.shift();
    else this.records[0] = this.records[0].subarray(got.length);
    return got;
  }

  // A line, or what of it is in the record.
  async line() {
    let text = '';
    for (;;) {
      const b = await this.read(1);
      text += b.toString('latin1');
      if (!b.length || text.endsWith('\n') || this.recordDone) return text;
    }
  }

  async unit(n, what) {
    const got = await this.read(n);
    if (!got.length) return undefined;
    if (got.length < n) this.shortUnit ??= `${got.length} of ${n} bytes of the ${what}`;
    return got;
  }

  // undefined: the connection has ended.
  async frame() {
    const head = await this.unit(2, 'head');
    if (!head) return undefined;
    if (head.length < 2) throw new SessionError('half a head');
    let length = head[1] & 0x7f;
    if (length >= 126) {
      const size = length === 126 ? 2 : 8;
      const more = await this.unit(size, 'length');
      if (more?.length !== size) throw new SessionError('half a length');
      length = size === 2 ? more.readUInt16BE() : Number(more.readBigUInt64BE());
    }
    const mask = head[1] & 0x80 ? await this.unit(4, 'mask') : undefined;
    const payload = length ? await this.unit(length, 'payload') ?? Buffer.alloc(0) : Buffer.alloc(0);
    const f = { fin: head[0] >> 7 === 1, opcode: head[0] & 15, length, payload: mask ? masked(payload, mask) : payload };
    this.frames.push({ opcode: f.opcode, length, at: Date.now() });
    if (!f.fin || ![TEXT, BINARY, CLOSE, PING, PONG].includes(f.opcode)) throw new SessionError(`frame with FIN ${f.fin}, opcode ${f.opcode}`);
    return f;
  }

  // Writes one after the other, each on its own; `parts` stay together. Nothing reports what was lost.
  write(...parts) {
    this.written = this.written.then(async () => {
      for (const p of parts) {
        if (this.board.busy) await this.board.busy;
        if (p.length && !this.socket.destroyed && this.socket.writable) await new Promise((resolve) => { this.socket.write(p, () => resolve()); });
      }
    });
    return this.written;
  }

  send(opcode, payload, options = {}) {
    const mask = randomBytes(4);
    const { lose = 0 } = options;
    const data = options.mask === false ? payload : masked(payload, mask);
    return this.write(frameHead(opcode, options.length ?? payload.length, options), options.mask === false ? Buffer.alloc(0) : mask, data.subarray(0, data.length - lose));
  }
}

// options: { name (host), port, key, ca, path, plain, localAddress, functions, heartbeat, retry, again, eager, version, hooks }
//   functions: { name: f } or { name: { f, sync, requireUser } }; f(pico, ...args), pico: { email, kwargs, call, child }
//   tcp: a connection for the first session. again: false: one session only. eager: registers before the login is answered (as CPython does).
//   hooks: { message(m, session): true when it is dealt with; login(session): in place of the login; opened(session) }
export class Board {
  constructor(options) {
    this.options = { host: '127.0.0.1', path: '/uplink', functions: {}, heartbeat: 10000, retry: 1000, again: true, version: 7, hooks: {}, ...options };
    Object.assign(this, { sessions: [], waiting: new Map(), heartbeats: 0, calls: [], unknownAnswers: 0, console: [], timers: new Set(), stale: false, busy: undefined, stopped: false });
  }

  get session() { return this.sessions.at(-1); }
  // All messages of all sessions, in order.
  get got() { return this.sessions.flatMap((s) => s.got); }
  get logins() { return this.sessions.filter((s) => s.loggedIn).length; }
  get origin() { return `${this.options.plain ? 'ws' : 'wss'}://${this.options.name}:${this.options.port}`; }

  start() {
    this.running = this.run().catch((e) => { this.crashed = e; });
    return this;
  }

  async run() {
    while (!this.stopped) {
      await this.attempt();
      if (!this.options.again) return;
      await this.pause(this.options.retry);
    }
  }

  pause(ms) {
    return new Promise((resolve) => {
      const t = setTimeout(() => { this.timers.delete(t); resolve(); }, ms);
      this.timers.add(t);
    });
  }

  // One session from its beginning to its end, which is told and not thrown.
  async attempt() {
    const s = new Session(this, this.sessions.length);
    this.sessions.push(s);
    try {
      await s.connect(this.options);
      if (this.stale) await this.voidAttempt(s);
      else await this.converse(s);
      s.ending ??= 'closed';
    } catch (e) {
      if (!(e instanceof SessionError)) throw e;
      s.ending = e.message;
      this.stale = s.open;
      this.console.push(e.message);
    }
    s.open = false;
    s.setOver(s.ending);
  }

  // The state of the old session is closed on the new socket.
  async voidAttempt(s) {
    s.void = true;
    this.stale = false;
    await s.send(CLOSE, Buffer.alloc(0));
    s.ending = 'void';
    s.socket.end();
    s.socket.destroy();
  }

  async converse(s) {
    if (!await this.upgrade(s)) throw new SessionError('no login reply');
    s.open = true;
    await (this.options.hooks.login?.(s) ?? this.login(s));
    this.heartbeat();
    if (!this.options.eager) await this.register(s);
    await this.options.hooks.opened?.(s);
    for (;;) {
      const f = await s.frame();
      if (!f) return;
      if (f.opcode === TEXT) this.receive(s, f.payload);
      else if (f.opcode === PING) s.send(PONG, f.payload);
      else if (f.opcode === CLOSE) { s.closeCode = f.length >= 2 ? f.payload.readUInt16BE() : 1005; return; }
    }
  }

  requestLines() {
    const { name, port, path } = this.options;
    return [`GET ${path} HTTP/1.1`, `Host: ${name}:${port}`, 'Connection: Upgrade', 'Upgrade: websocket',
      `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`, 'Sec-WebSocket-Version: 13', 'Origin: http://localhost', ''];
  }

  async upgrade(s) {
    for (const line of this.requestLines()) await s.write(Buffer.from(`${line}\r\n`));
    const first = await s.line();
    s.status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first)?.[1]);
    s.head = first;
    if (!first.startsWith('HTTP/1.1 101 ')) return false;
    for (let line; (line = await s.line()) && line !== '\r\n';) s.head += line;
    return true;
  }

  async login(s) {
    await s.send(TEXT, encode({ key: this.options.key, v: this.options.version, device: 'PICO_W' }));
    if (this.options.eager) await this.register(s);
    const f = await s.frame();
    if (f?.opcode !== TEXT) throw new SessionError('no login reply');
    const reply = parse(f.payload);
    s.reply = reply;
    if (reply.auth !== 'OK') throw new SessionError(`login refused: ${reply.error}`);
    if (!('id' in (reply['app-info'] ?? {}))) throw new SessionError('KeyError: id');
    s.loggedIn = true;
  }

  async register(s) {
    for (const name of Object.keys(this.options.functions)) await s.send(TEXT, encode({ type: 'REGISTER', name }));
  }

  // A task that calls, waits for the answer, and is never ended.
  async heartbeat() {
    this.heartbeats++;
    while (!this.stopped) {
      await this.pause(this.options.heartbeat);
      if (this.stopped) return;
      await this.call('anvil.private.echo', ['keep-alive']);
    }
  }

  // The global sender: whatever session is open now.
  send(message, options) {
    const s = this.session;
    if (!s?.open) return Promise.resolve();
    return s.send(TEXT, Buffer.isBuffer(message) ? message : typeof message === 'string' ? Buffer.from(message) : encode(message), options);
  }

  // A call of ours; waits for ever when nobody answers.
  async call(command, args = [], kwargs = {}, stack = undefined) {
    const id = `pico-call-${Math.floor(Date.now() / 1000)}-${randomInt(1, 100000)}`;
    const answer = new Promise((resolve) => { this.waiting.set(id, resolve); });
    await this.send({ type: 'CALL', id, ...(stack !== undefined && { 'call-stack-id': stack }), command, args, kwargs });
    const m = await answer;
    if ('error' in m) throw new Error(m.error?.message);
    return m.response;
  }

  receive(s, payload) {
    const m = parse(payload);
    s.got.push(m);
    if (typeof m !== 'object' || m === null || Array.isArray(m)) throw new SessionError('not an object');
    if (this.options.hooks.message?.(m, s)) return;
    if (m.objects?.length) {
      this.send({ id: m.id, error: { message: `Cannot send objects of type ${JSON.stringify(m.objects.map((o) => o.type))} to anvil.pico` } });
    } else if ('response' in m || 'error' in m) {
      if (m.id === undefined) throw new SessionError(`KeyError: ${JSON.stringify(m)}`);
      const waiting = this.waiting.get(m.id);
      if (!waiting) this.unknownAnswers++;
      this.waiting.delete(m.id);
      waiting?.(m);
    } else if (m.output) {
      this.console.push(`Server: ${m.output}`);
    } else if (m.type === 'CALL') {
      this.serve(m);
    }
  }

  async serve(m) {
    const call = { id: m.id, command: m.command, args: m.args, kwargs: m.kwargs, message: m, begun: Date.now() };
    this.calls.push(call);
    let answer;
    try {
      answer = { id: m.id, response: await this.run1(m) };
    } catch (e) {
      answer = { id: m.id, error: { message: e.message } };
    }
    call.ended = Date.now();
    if (m.id !== undefined) await this.send(answer);
  }

  async run1(m) {
    const known = this.options.functions;
    if (!Object.hasOwn(known, m.command)) throw new Error(String(m.command ?? 'None'));
    const { f, sync = false, requireUser = false } = typeof known[m.command] === 'function' ? { f: known[m.command] } : known[m.command];
    if (!Array.isArray(m.args) || !m.kwargs) throw new Error('args');
    const ask = (stack) => this.call('anvil.private.users.get_current_user_email', [], { allow_remembered: true }, stack);
    const pico = { kwargs: m.kwargs, id: m.id, email: () => ask(m['call-stack-id']), childEmail: () => ask(undefined), call: (...a) => this.call(...a) };
    if (requireUser) await this.requireUser(pico, requireUser);
    const result = f(pico, ...m.args);
    if (sync) await this.block(result);
    return result;
  }

  async requireUser(pico, who) {
    const email = await pico.email();
    if (!email) throw new Error('Unauthorised. You must be logged in to call this function.');
    if (who !== true && who !== email) throw new Error('Unauthorised. You are not authorised to call this function.');
  }

  // Nothing else happens on the board until `work` is done.
  async block(work) {
    const done = Promise.resolve(work).catch(() => {}).then(() => { if (this.busy === done) this.busy = undefined; });
    this.busy = done;
    await done;
  }

  // --- for the tests

  // Until it is logged in (once more than `logins` times).
  async online({ logins = 0, ms = 40000 } = {}) {
    await until('the board to be logged in', () => {
      if (this.crashed) throw Object.assign(this.crashed, { final: true });
      if (this.logins > logins && this.session.loggedIn && !this.session.ending) return true;
      throw new Error(`${this.sessions.length} sessions, the last: ${this.session.status}, ${this.session.ending ?? 'not ended'}; said: ${this.console.at(-1) ?? 'nothing'}`);
    }, { ms, every: 10 });
    return this.session;
  }

  // A call for the tests: fails when the session ends before the answer.
  async ask(...call) {
    const { over } = this.session;
    return Promise.race([this.call(...call), over.then((why) => { throw new Error(`the session ended before the answer: ${why}`); })]);
  }

  // What the other side has read when this is answered: everything before.
  settled() { return this.ask('anvil.private.echo', ['settled']); }

  frame(opcode, payload = '', options = {}) { return this.session.send(opcode, Buffer.from(payload), options); }
  raw(...parts) { return this.session.write(...parts.map((p) => Buffer.from(p))); }

  // anvil.pico.disconnect(): a close frame without a code, and TCP is closed; there is no further attempt.
  async disconnect() {
    this.options.again = false;
    await this.session.send(CLOSE, Buffer.alloc(0));
    this.session.ending ??= 'disconnected';
    this.session.socket.destroy();
    this.session.wake();
  }

  // The power is cut.
  drop({ reset = false } = {}) {
    const { socket, tcp } = this.session;
    if (reset) tcp.resetAndDestroy();
    socket.destroy();
    tcp.destroy();
    this.session.peerEnded ??= { how: 'dropped', at: Date.now() };
    this.session.wake();
  }

  // Away from now on: its sockets stay open and nothing is read or said (a board that hangs, a cable that is out).
  freeze() {
    this.options.again = false;
    this.busy = new Promise(() => {});
    for (const s of this.sessions) s.socket?.pause();
  }

  stop() {
    this.stopped = true;
    this.options.again = false;
    this.busy = undefined;
    for (const t of this.timers) clearTimeout(t);
    for (const s of this.sessions) { s.socket?.destroy(); s.tcp?.destroy(); s.peerEnded ??= { how: 'stopped', at: Date.now() }; s.wake(); }
  }
}
