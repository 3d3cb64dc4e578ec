// SPDX-License-Identifier: GPL-3.0-or-later
// HTTP/2 frame by frame, for what no well-behaved client sends. Of the answers it understands the frames and :status.
import tls from 'node:tls';
import { until } from './world.mjs';

export const TYPE = { DATA: 0, HEADERS: 1, PRIORITY: 2, RST_STREAM: 3, SETTINGS: 4, PUSH_PROMISE: 5, PING: 6, GOAWAY: 7, WINDOW_UPDATE: 8, CONTINUATION: 9 };
export const END_STREAM = 1;
export const END_HEADERS = 4;
export const ACK = 1;
const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

export function frame(type, flags = 0, stream = 0, payload = Buffer.alloc(0)) {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export const u32 = (n) => { const b = Buffer.alloc(4); b.writeUInt32BE(n >>> 0); return b; };

// HPACK, literals without index and without Huffman (RFC 7541 section 6.2.2).
function integer(n, prefix) {
  const most = (1 << prefix) - 1;
  if (n < most) return Buffer.from([n]);
  const bytes = [most];
  for (n -= most; n >= 128; n = Math.floor(n / 128)) bytes.push((n % 128) | 128);
  bytes.push(n);
  return Buffer.from(bytes);
}
const literal = (s) => { const b = Buffer.from(s, 'latin1'); return Buffer.concat([integer(b.length, 7), b]); };
export const block = (fields) => Buffer.concat(fields.flatMap(([n, v]) => [Buffer.from([0]), literal(n), literal(v)]));

// :status of a header block: an index of the static table, or digits, plain or in Huffman code.
function statusOf(payload) {
  let at = 0;
  while ((payload[at] & 0xe0) === 0x20) at++;
  const table = { 0x88: 200, 0x89: 204, 0x8a: 206, 0x8b: 304, 0x8c: 400, 0x8d: 404, 0x8e: 500 };
  if (table[payload[at]]) return table[payload[at]];
  if (![0x48, 0x08, 0x18].includes(payload[at])) return undefined;
  const [length, huffman] = [payload[at + 1] & 0x7f, payload[at + 1] & 0x80];
  const text = payload.subarray(at + 2, at + 2 + length);
  if (!huffman) return Number(text.toString());
  let bits = [...text].map((b) => b.toString(2).padStart(8, '0')).join('');
  let digits = '';
  while (digits.length < 3) {
    const short = { '00000': 0, '00001': 1, '00010': 2 }[bits.slice(0, 5)];
    digits += short ?? parseInt(bits.slice(0, 6), 2) - 22;
    bits = bits.slice(short === undefined ? 6 : 5);
  }
  return Number(digits);
}

export class RawH2 {
  // `quiet`: sends nothing by itself, not even the preface; reads nothing when `deaf`.
  static async connect(port, servername, { quiet = false, deaf = false, settings = Buffer.alloc(0) } = {}) {
    const raw = new RawH2();
    Object.assign(raw, { frames: [], rest: Buffer.alloc(0), closed: false, stream: 1, authority: `${servername}:${port}` });
    raw.socket = tls.connect({ host: '127.0.0.1', port, servername, rejectUnauthorized: false, ALPNProtocols: ['h2'] });
    raw.socket.on('error', (e) => { raw.error = e; });
    raw.socket.on('close', () => { raw.closed = true; });
    await new Promise((resolve, reject) => { raw.socket.once('secureConnect', resolve); raw.socket.once('close', () => reject(raw.error ?? new Error('closed'))); });
    raw.alpn = raw.socket.alpnProtocol;
    if (!deaf) raw.socket.on('data', (d) => raw.take(d));
    if (!quiet) {
      raw.socket.write(PREFACE);
      raw.send(frame(TYPE.SETTINGS, 0, 0, settings));
    }
    return raw;
  }

  take(data) {
    this.rest = Buffer.concat([this.rest, data]);
    while (this.rest.length >= 9) {
      const n = this.rest.readUIntBE(0, 3);
      if (this.rest.length < 9 + n) return;
      const f = { type: this.rest[3], flags: this.rest[4], stream: this.rest.readUInt32BE(5), payload: this.rest.subarray(9, 9 + n) };
      this.rest = this.rest.subarray(9 + n);
      this.frames.push(f);
      if (f.type === TYPE.SETTINGS && !(f.flags & ACK)) this.send(frame(TYPE.SETTINGS, ACK));
    }
  }

  send(...frames) { if (!this.closed && !this.socket.destroyed) return this.socket.write(Buffer.concat(frames)); return false; }

  fields(path = '/', more = [], { method = 'GET' } = {}) {
    return [[':method', method], [':scheme', 'https'], [':authority', this.authority], [':path', path], ...more];
  }

  next() { const id = this.stream; this.stream += 2; return id; }

  // A request of exactly these fields; gives its stream.
  request(fields, { end = true, flags = 0 } = {}) {
    const id = this.next();
    this.send(frame(TYPE.HEADERS, END_HEADERS | (end ? END_STREAM : 0) | flags, id, block(fields)));
    return id;
  }

  of(type, stream) { return this.frames.filter((f) => f.type === type && (stream === undefined || f.stream === stream)); }
  get goaway() { const [f] = this.of(TYPE.GOAWAY).slice(-1); return f && { code: f.payload.readUInt32BE(4), text: f.payload.subarray(8).toString() }; }
  reset(stream) { const [f] = this.of(TYPE.RST_STREAM, stream); return f?.payload.readUInt32BE(0); }
  status(stream) { const [f] = this.of(TYPE.HEADERS, stream); return f && statusOf(f.payload); }
  body(stream) { return Buffer.concat(this.of(TYPE.DATA, stream).map((f) => f.payload)).toString(); }

  // What became of a stream: a status, 'reset N', 'goaway N' or 'closed'.
  async fate(stream, ms = 5000) {
    return until('an answer', () => {
      if (this.status(stream)) return this.status(stream);
      if (this.reset(stream) !== undefined) return `reset ${this.reset(stream)}`;
      if (this.goaway && this.goaway.code !== 0) return `goaway ${this.goaway.code}`;
      return this.closed && 'closed';
    }, { ms, every: 5 });
  }

  // Waits for the end of the connection.
  async ended(ms = 5000) {
    await until('the end of the connection', () => this.closed, { ms, every: 10 });
    return this.goaway?.code ?? 'closed';
  }

  async works(path = '/') {
    const id = this.request(this.fields(path));
    return await this.fate(id) === 200;
  }

  end() { this.socket.destroy(); }
}
