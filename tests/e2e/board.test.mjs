// SPDX-License-Identifier: GPL-3.0-or-later
// The simulated board alone, against a small server made here: that it has the weaknesses of the real one, so that a gateway which does not
// respect them is found out. When this fails, the suites of the relay say nothing.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import tls from 'node:tls';
import { WebSocketServer } from 'ws';
import { BINARY, Board, CLOSE, PING, PONG, TEXT, encode, parse, raw } from './rig/board.mjs';
import { makeCa, makeLeaf } from './rig/tls.mjs';
import { World, sleep, until } from './rig/world.mjs';

const OK = { auth: 'OK', priv: 'uplink', 'app-info': { id: null } };

// A frame as servers send it.
function frame(opcode, payload, first = 0x80 | opcode) {
  const data = Buffer.from(typeof payload === 'object' && !Buffer.isBuffer(payload) ? JSON.stringify(payload) : payload);
  const head = data.length < 126 ? Buffer.from([first, data.length]) : Buffer.from([first, 126, data.length >> 8, data.length & 255]);
  return Buffer.concat([head, data]);
}

// What a board sent: the request, then frames, with the sizes of the records that they came in.
class Connection {
  constructor(socket, { autoLogin = true, status = '101 Switching Protocols' } = {}) {
    Object.assign(this, { socket, autoLogin, status, records: [], bytes: Buffer.alloc(0), request: undefined, frames: [], ended: false });
    socket.on('data', (d) => { this.records.push(d.length); this.bytes = Buffer.concat([this.bytes, d]); this.take(); });
    socket.on('error', () => {});
    socket.on('close', () => { this.ended = true; });
    socket.on('end', () => { this.ended = true; });
  }

  take() {
    if (this.request === undefined) {
      const end = this.bytes.indexOf('\r\n\r\n');
      if (end < 0) return;
      this.request = this.bytes.subarray(0, end).toString();
      this.bytes = this.bytes.subarray(end + 4);
      this.requestRecords = this.records.splice(0).length;
      this.write(`HTTP/1.1 ${this.status}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n`);
    }
    for (let f; (f = this.next());) {
      this.frames.push(f);
      if (this.autoLogin && this.frames.length === 1) this.json(OK);
    }
  }

  next() {
    const b = this.bytes;
    if (b.length < 2) return undefined;
    const short = b[1] & 127;
    const at = 2 + (short === 126 ? 2 : short === 127 ? 8 : 0);
    if (b.length < at) return undefined;
    const length = short === 126 ? b.readUInt16BE(2) : short === 127 ? Number(b.readBigUInt64BE(2)) : short;
    if (b.length < at + 4 + length) return undefined;
    const mask = b.subarray(at, at + 4);
    const payload = Buffer.from(b.subarray(at + 4, at + 4 + length)).map((c, i) => c ^ mask[i & 3]);
    this.bytes = b.subarray(at + 4 + length);
    return { opcode: b[0] & 15, fin: b[0] >> 7, masked: b[1] >> 7, at, payload: Buffer.from(payload), text: Buffer.from(payload).toString(), records: this.records.splice(0) };
  }

  write(bytes) { return new Promise((resolve) => { this.socket.write(bytes, resolve); }); }
  json(message) { return this.write(frame(TEXT, message)); }
  get messages() { return this.frames.filter((f) => f.opcode === TEXT).map((f) => f.text); }

  async answerTo(id) {
    const f = await until(`the answer to ${id}`, () => this.frames.find((x) => x.opcode === TEXT && x.text.startsWith(`{"id": "${id}"`)), { every: 2 });
    return f.text;
  }

  async call(id, command, args = [], more = {}) {
    await this.json({ type: 'CALL', id, 'call-stack-id': id, command, args, kwargs: {}, ...more });
    return this.answerTo(id);
  }
}

describe('the simulated board', () => {
  let world;
  let ca;
  let leaf;
  before(async () => {
    world = new World('board');
    ca = await makeCa(world);
    leaf = await makeLeaf(world, ca, 'pico', ['pico.test']);
  });
  after(() => world?.close());

  const made = [];
  // A server and a board that connects to it. Options of connections, then of the board.
  const serve = async (server = {}, options = {}) => {
    const port = await world.port();
    const connections = [];
    const accept = (socket) => connections.push(new Connection(socket, { ...server, ...server.nth?.(connections.length) }));
    const listener = server.plain ? net.createServer({ allowHalfOpen: true }, accept) : tls.createServer({ key: readFileSync(leaf.key), cert: readFileSync(leaf.cert), allowHalfOpen: true, ...server.tls }, accept);
    listener.on('tlsClientError', () => {});
    await new Promise((resolve) => { listener.listen(port, '127.0.0.1', resolve); });
    const board = new Board({ name: 'pico.test', port, ca: ca.pem, key: 'KEY', plain: server.plain, retry: 60, ...options });
    made.push({ listener, board, connections });
    board.start();
    const connection = (n = 0) => until(`connection ${n}`, () => connections[n], { every: 2 });
    return { board, connections, connection, listener };
  };
  const finish = () => {
    for (const { listener, board, connections } of made.splice(0)) {
      board.stop();
      listener.close();
      for (const c of connections) c.socket.destroy();
      assert.equal(board.crashed, undefined);
    }
  };
  // A board that is logged in, its connection and functions.
  const online = async (functions = {}, options = {}, server = {}) => {
    const all = await serve(server, { functions, ...options });
    await all.board.online();
    const c = await all.connection();
    await until('the registrations', () => c.messages.length === 1 + Object.keys(functions).length, { every: 2 });
    return { ...all, c };
  };
  const test = (name, f) => it(name, { timeout: 60000 }, async () => { try { await f(); } finally { finish(); } });

  test('upgrades, logs in and registers as the firmware does', async () => {
    const { c, board } = await online({ flash() {}, 'b\u00e4r'() {} });
    assert.match(c.request, new RegExp('^GET /uplink HTTP/1\\.1\r\nHost: pico\\.test:\\d+\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n'
      + 'Sec-WebSocket-Key: [\\w+/]{22}==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://localhost$'));
    assert.ok(c.requestRecords >= 7, 'line by line');
    assert.deepEqual(c.messages, ['{"key": "KEY", "v": 7, "device": "PICO_W"}', '{"type": "REGISTER", "name": "flash"}', '{"type": "REGISTER", "name": "b\u00e4r"}']);
    assert.ok(c.frames.every((f) => f.masked && f.fin), 'masked, whole');
    assert.equal(board.session.status, 101);
  });

  test('the hello is that of mbedTLS in MicroPython', async () => {
    const port = await world.port();
    const hello = new Promise((resolve) => {
      const server = net.createServer((s) => s.once('data', (d) => { resolve(d); s.destroy(); server.close(); }));
      server.listen(port, '127.0.0.1', () => { made.push({ listener: server, connections: [], board: new Board({ name: 'pico.test', port, ca: ca.pem, again: false }).start() }); });
    });
    const d = await hello;
    assert.equal(d.readUInt16BE(9), 0x0303, 'TLS 1.2');
    let at = 11 + 32;
    at += 1 + d[at];
    const ciphers = [];
    for (let i = 0; i < d.readUInt16BE(at); i += 2) ciphers.push(d.readUInt16BE(at + 2 + i));
    assert.deepEqual(ciphers.filter((c) => c !== 0xff), [0xc02c, 0xc030, 0xc02b, 0xc02f], 'ECDHE with AES-GCM');
    at += 2 + d.readUInt16BE(at);
    at += 1 + d[at] + 2;
    const extensions = new Map();
    for (; at < d.length; at += 4 + d.readUInt16BE(at + 2)) extensions.set(d.readUInt16BE(at), d.subarray(at + 4, at + 4 + d.readUInt16BE(at + 2)));
    assert.deepEqual([...extensions.keys()].sort((a, b) => a - b), [0, 10, 11, 13], 'server_name, groups, points, signatures; no ALPN, no tickets, no extended master secret');
    assert.equal(extensions.get(10).toString('hex'), '00020017', 'P-256');
    const signatures = extensions.get(13).toString('hex', 2).match(/.{4}/g);
    assert.ok(signatures.length && signatures.every((s) => /^0[456]0[13]$/.test(s)), `no RSA-PSS: ${signatures}`);
  });

  for (const [what, options, server] of [
    ['another authority', { ca: undefined }, {}], ['another name', { name: 'other.test' }, {}], ['TLS 1.3 only', {}, { tls: { minVersion: 'TLSv1.3' } }],
    ['X25519 only', {}, { tls: { ecdhCurve: 'X25519' } }],
  ]) {
    test(`${what}: it does not connect, and tries for ever`, async () => {
      const { board, connections } = await serve(server, options);
      await until('three attempts', () => board.sessions.length >= 3, { every: 5 });
      assert.equal(connections.filter((c) => c.request).length, 0);
      assert.equal(board.logins, 0);
    });
  }

  test('a record is a data event, whatever arrives together', async () => {
    const { c, board } = await online();
    const sizes = [1, 2, 5000, 16384, 3, 16384, 16384, 1];
    const s = board.session;
    board.block(new Promise(() => {})); // nothing of it is read
    s.socket.pause();
    for (const n of sizes) await c.write(Buffer.alloc(n));
    await sleep(50);
    s.socket.resume();
    await until('all of it to be read', () => s.records.reduce((sum, r) => sum + r.length, 0) === sizes.reduce((sum, n) => sum + n), { every: 2 });
    assert.deepEqual(s.records.map((r) => r.length), sizes);
  });

  test('three records per frame, 4 KiB at most in one', async () => {
    const { c } = await online({ echo: (pico, x) => x });
    await c.call('1', 'echo', ['x'.repeat(10000)]);
    assert.deepEqual(c.frames[0].records, [2, 4, c.frames[0].payload.length], 'the login');
    assert.deepEqual(c.frames.at(-1).records.slice(0, 2), [4, 4]);
    assert.deepEqual(c.frames.at(-1).records.slice(2), [4096, 4096, c.frames.at(-1).payload.length - 8192]);
  });

  test('a whole frame in a record, of 16 KiB; several frames in one; a split behind the head: all fine', async () => {
    const { c, board } = await online({ size: (pico, x) => x.length });
    const call = (id, n) => frame(TEXT, { type: 'CALL', id, 'call-stack-id': id, command: 'size', args: ['x'.repeat(n)], kwargs: {} });
    const big = call('big', 16384 - call('big', 200).length + 200);
    assert.equal(big.length, 16384);
    await c.write(big);
    assert.match(await c.answerTo('big'), /"response": 16\d\d\d\}$/);
    await c.write(Buffer.concat([call('a', 1), call('b', 2), call('c', 300)]));
    for (const [id, n] of [['a', 1], ['b', 2], ['c', 300]]) assert.equal(await c.answerTo(id), `{"id": "${id}", "response": ${n}}`);
    const two = call('d', 100);
    await c.write(two.subarray(0, 4));
    await sleep(20);
    await c.write(two.subarray(4));
    assert.equal(await c.answerTo('d'), '{"id": "d", "response": 100}');
    assert.equal(board.session.shortUnit, undefined);
    assert.equal(board.sessions.length, 1);
  });

  for (const [what, at] of [['in its head', 1], ['in its length', 3], ['in its payload', 50]]) {
    test(`a frame that is split ${what} breaks the session`, async () => {
      const { c, board, connection } = await online({ size: (pico, x) => x.length });
      const f = frame(TEXT, { type: 'CALL', id: 'x', command: 'size', args: ['x'.repeat(300)], kwargs: {} });
      await c.write(f.subarray(0, at));
      await c.write(f.subarray(at));
      await board.sessions[0].over;
      assert.ok(board.sessions[0].shortUnit, 'a unit was cut');
      assert.equal(board.calls.length, 0);
      await connection(1);
    });
  }

  test('a frame over two records of 16 KiB breaks the session', async () => {
    const { c, board } = await online({ size: (pico, x) => x.length });
    await c.json({ type: 'CALL', id: 'x', command: 'size', args: ['x'.repeat(20000)], kwargs: {} });
    await board.sessions[0].over;
    assert.match(board.sessions[0].shortUnit, /^\d+ of 20\d+ bytes of the payload$/);
  });

  test('without TLS a frame beyond a segment breaks the session, a smaller one does not', async () => {
    const { c, board } = await online({ size: (pico, x) => x.length }, {}, { plain: true });
    assert.equal(await c.call('small', 'size', ['x'.repeat(1200)]), '{"id": "small", "response": 1200}');
    await c.json({ type: 'CALL', id: 'x', command: 'size', args: ['x'.repeat(3000)], kwargs: {} });
    await board.sessions[0].over;
    assert.match(board.sessions[0].shortUnit, /^1460 of /);
  });

  test('the answer to the upgrade in two records is not understood', async () => {
    const { board } = await serve({ status: '101' }); // `HTTP/1.1 101\r\n`: no space behind it
    await until('two attempts', () => board.sessions.length >= 2, { every: 5 });
    assert.equal(board.logins, 0);
    finish();
    const port = await world.port();
    const server = tls.createServer({ key: readFileSync(leaf.key), cert: readFileSync(leaf.cert) }, (s) => {
      s.on('error', () => {});
      s.once('data', () => { s.write('HTTP/1.1', () => s.write(' 101 Switching Protocols\r\n\r\n')); });
    });
    await new Promise((resolve) => { server.listen(port, '127.0.0.1', resolve); });
    const b = new Board({ name: 'pico.test', port, ca: ca.pem, key: 'KEY', retry: 30 });
    made.push({ listener: server, board: b, connections: [] });
    b.start();
    await until('two attempts', () => b.sessions.length >= 2, { every: 5 });
    assert.equal(b.sessions[0].head, 'HTTP/1.1');
    assert.equal(b.logins, 0);
  });

  test('another status: it fails and comes back, and that attempt is not void', async () => {
    const { board, connection } = await serve({ status: '503 Service Unavailable' });
    const c = await connection(1);
    await until('the request', () => c.request, { every: 2 });
    assert.equal(board.sessions[0].status, 503);
    assert.equal((await connection(0)).frames.length, 0, 'it sent nothing more');
  });

  for (const [what, bytes] of [['a ping', frame(PING, 'x')], ['a binary frame', frame(BINARY, '{}')], ['no app-info', frame(TEXT, { auth: 'OK' })],
    ['auth in small letters', frame(TEXT, { ...OK, auth: 'ok' })], ['no JSON', frame(TEXT, 'x')]]) {
    test(`${what} before the login reply breaks the login`, async () => {
      const { board, connection } = await serve({ autoLogin: false });
      const c = await connection();
      await until('the login', () => c.frames.length, { every: 2 });
      await c.write(bytes);
      await c.json(OK);
      await board.sessions[0].over;
      assert.equal(board.sessions[0].loggedIn, false);
      assert.equal(c.messages.length, 1, 'nothing was registered');
      assert.equal(c.ended, false, 'the socket is not closed');
    });
  }

  test('a login that is refused: every second attempt is void, for ever', async () => {
    const { board, connections, connection } = await serve({ autoLogin: false });
    for (const n of [0, 2, 4]) {
      const c = await connection(n);
      await until('the login', () => c.frames.length, { every: 2 });
      await c.json({ error: 'Incorrect uplink key' });
      const v = await connection(n + 1);
      await until('the end of the void attempt', () => v.ended, { every: 2 });
      assert.equal(v.request, undefined);
      assert.equal(v.bytes.length, 6);
      assert.equal(v.bytes.subarray(0, 2).toString('hex'), '8880', 'a stray close frame, masked');
      assert.equal(c.ended, false, 'the old socket stays open');
    }
    assert.ok(connections.length >= 6);
    assert.match(board.console[0], /Incorrect uplink key/);
  });

  test('pings are answered with their payload, a close frame is not answered, and the socket stays open', async () => {
    const { c, board, connection } = await online();
    for (const payload of ['', 'x', 'y'.repeat(125)]) {
      await c.write(frame(PING, payload));
      const f = await until('the pong', () => c.frames.find((x) => x.opcode === PONG && x.text === payload), { every: 2 });
      assert.equal(f.masked, 1);
    }
    await c.write(frame(CLOSE, Buffer.from([3, 0xe8])));
    const next = await connection(1);
    await until('the next login', () => next.frames.length, { every: 2 });
    assert.equal(board.sessions[0].closeCode, 1000);
    assert.equal(c.frames.filter((f) => f.opcode === CLOSE).length, 0);
    assert.equal(c.ended, false);
    assert.ok(!board.sessions.some((s) => s.void), 'no void attempt after a close frame');
  });

  for (const [what, f] of [['a continuation', (c) => c.write(frame(0, 'x', 0x80))], ['FIN 0', (c) => c.write(frame(TEXT, '{}', 0x01))],
    ['an unknown opcode', (c) => c.write(frame(3, 'x', 0x83))], ['no JSON', (c) => c.write(frame(TEXT, 'nan'))], ['no object', (c) => c.write(frame(TEXT, '[]'))],
    ['an error without id', (c) => c.json({ error: 'x' })]]) {
    test(`${what} ends the session, and a void attempt follows`, async () => {
      const { c, board, connection } = await online();
      await f(c);
      const next = await connection(2);
      await until('the next login', () => next.frames.length, { every: 2 });
      assert.deepEqual(board.sessions.map((s) => s.void), [false, true, false]);
    });
  }

  for (const [what, end] of [['FIN', (c) => c.socket.end()], ['RST', (c) => c.socket.destroy()]]) {
    test(`${what}: it reconnects after the pause and registers again`, async () => {
      const { c, board, connection } = await online({ flash() {} });
      end(c);
      const next = await connection(1);
      await until('the registration', () => next.messages.length === 2, { every: 2 });
      assert.ok(board.sessions[1].begun - board.sessions[0].begun >= 50);
      assert.ok(!board.sessions[1].void);
    });
  }

  test('answers: values, errors, unknown names, wrong calls', async () => {
    const { c } = await online({ echo: (pico, x) => x, kw: (pico) => pico.kwargs, fail() { throw new Error('divide by zero'); } });
    const result = async (x) => (await c.call(`${Math.random()}`, 'echo', [x])).replace(/^.*?"response": /, '').slice(0, -1);
    assert.equal(await result([1, 'a', null, true, { x: 'y' }]), '[1, "a", null, true, {"x": "y"}]');
    assert.equal(await result('\u{1f600}'), '"\u{1f600}"', 'raw UTF-8 is right');
    assert.equal(await c.call('E', 'fail'), '{"id": "E", "error": {"message": "divide by zero"}}');
    assert.equal(await c.call('U', 'nobody'), '{"id": "U", "error": {"message": "nobody"}}');
    assert.equal(await c.call('K', 'kw', [], { kwargs: { a: 1 } }), '{"id": "K", "response": {"a": 1}}');
    assert.match(await c.call('A', 'echo', [], { args: undefined }), /"error"/);
    assert.match(await c.call('B', 'echo', [], { kwargs: undefined }), /"error"/);
    assert.match(await c.call('C', undefined), /"message": "None"/);
    const before = c.frames.length;
    await c.json({ type: 'CALL', command: 'echo', args: [1], kwargs: {} });
    await c.call('last', 'echo', [1]);
    assert.equal(c.frames.length, before + 1, 'without an id there is no answer');
  });

  test('messages that mean nothing to it are ignored, and members win over the type', async () => {
    const { c, board } = await online({ echo: (pico, x) => x });
    for (const m of [{ type: 'LAUNCH_BACKGROUND', id: 'x' }, { type: 'KILL_TASK' }, {}, { output: 'deprecated' }]) await c.json(m);
    await c.json({ type: 'CALL', id: 'lost', command: 'echo', args: [1], kwargs: {}, response: null });
    await c.json({ type: 'CALL', id: 'lost2', command: 'echo', args: [1], kwargs: {}, output: 'x' });
    await c.call('1', 'echo', [1]);
    assert.equal(board.calls.length, 1);
    assert.deepEqual(board.console, ['Server: deprecated', 'Server: x']);
    assert.equal(board.unknownAnswers, 1);
  });

  test('objects are bounced', async () => {
    const { c } = await online({ echo: (pico, x) => x });
    assert.equal(await c.call('O', 'echo', [null], { objects: [{ path: ['args', 0], type: ['Date'] }] }),
      '{"id": "O", "error": {"message": "Cannot send objects of type [[\\"Date\\"]] to anvil.pico"}}');
    assert.equal(await c.call('P', 'echo', [1], { objects: [] }), '{"id": "P", "response": 1}');
  });

  it('numbers, escapes and what the encoder does not know', () => {
    const through = (text) => encode(parse(Buffer.from(text))).toString('latin1');
    assert.equal(through('123456789012345678901234567890'), '123456789012345678901234567890');
    assert.equal(through('0.123456789'), '0.1234568');
    assert.equal(through('[1e39, -1e39]'), '[inf, -inf]');
    assert.equal(through('"1e39 \\" 12345678901234567890"'), '"1e39 \\" 12345678901234567890"');
    assert.equal(through('"\\ud83d\\ude00"'), '"\xed\xa0\xbd\xed\xb8\x80"', 'no UTF-8');
    assert.equal(through('"\\\\ud83d"'), '"\\\\ud83d"');
    assert.equal(encode({ id: 'x', response: NaN }).toString(), '{"id": "x", "response": nan}');
    assert.equal(encode([Infinity, new Map(), Promise.resolve(), raw('{1}')]).toString(), '[inf, <object>, <generator>, {1}]');
  });

  test('who is calling: asked in the task of the call, and a child task does not know', async () => {
    const { c, board } = await online({
      who: (pico) => pico.email(), child: (pico) => pico.childEmail(), locked: { f: () => 'open', requireUser: true }, ann: { f: () => 'open', requireUser: 'ann@example.com' },
    });
    const ask = async (id, command, response) => {
      const n = c.messages.length;
      const done = c.call(id, command);
      const m = JSON.parse(await until('the question', () => c.messages[n], { every: 2 }));
      assert.equal(m.command, 'anvil.private.users.get_current_user_email');
      assert.deepEqual([m.type, m.args, m.kwargs, m['call-stack-id']], ['CALL', [], { allow_remembered: true }, command === 'child' ? undefined : id]);
      assert.match(m.id, /^pico-call-\d+-\d+$/);
      await c.json({ id: m.id, ...response });
      return done;
    };
    assert.equal(await ask('1', 'who', { response: 'ann@example.com' }), '{"id": "1", "response": "ann@example.com"}');
    assert.equal(await ask('2', 'child', { response: null }), '{"id": "2", "response": null}');
    assert.match(await ask('3', 'locked', { response: null }), /Unauthorised\. You must be logged in to call this function\./);
    assert.match(await ask('4', 'locked', { response: 'x@y' }), /"response": "open"/);
    assert.match(await ask('5', 'ann', { response: 'Ann@example.com' }), /Unauthorised\. You are not authorised to call this function\./);
    assert.match(await ask('6', 'ann', { response: 'ann@example.com' }), /"response": "open"/);
    assert.match(await ask('7', 'who', { error: { message: 'no users' } }), /"error": \{"message": "no users"\}/);
    assert.equal(board.sessions.length, 1);
  });

  test('the heartbeats multiply, and the echo is what they wait for', async () => {
    const { board, connection } = await serve({}, { heartbeat: 150, retry: 10 });
    for (let n = 0; n < 3; n++) {
      const c = await connection(n);
      await board.online({ logins: n });
      c.socket.end();
    }
    const c = await connection(3);
    const beats = () => c.messages.filter((m) => m.includes('anvil.private.echo'));
    await until('heartbeats of all four', () => beats().length >= 4, { every: 5 });
    const ids = new Set(beats().map((m) => JSON.parse(m).id));
    assert.ok(ids.size >= 4);
    assert.match(beats()[0], /^\{"type": "CALL", "id": "pico-call-\d+-\d+", "command": "anvil\.private\.echo", "args": \["keep-alive"\], "kwargs": \{\}\}$/);
    await sleep(350);
    assert.equal(beats().length, 4, 'nobody answered: they wait for ever');
    assert.equal(board.heartbeats, 4);
  });

  test('an answer that comes late goes out in the next session, with the old id', async () => {
    let release;
    const { c, connection } = await online({ slow: () => new Promise((resolve) => { release = resolve; }) });
    await c.json({ type: 'CALL', id: 'OLD', 'call-stack-id': 'OLD', command: 'slow', args: [], kwargs: {} });
    await until('the call', () => release, { every: 2 });
    c.socket.end();
    const next = await connection(1);
    await until('the next login', () => next.messages.length >= 1, { every: 2 });
    release(7);
    assert.equal(await next.answerTo('OLD'), '{"id": "OLD", "response": 7}');
  });

  test('a synchronous function stops everything, an asynchronous one nothing', async () => {
    let release;
    const wait = () => new Promise((resolve) => { release = resolve; });
    const { c } = await online({ sync: { f: wait, sync: true }, async: wait, echo: (pico, x) => x });
    for (const command of ['async', 'sync']) {
      release = undefined;
      const id = `long-${command}`;
      await c.json({ type: 'CALL', id, 'call-stack-id': id, command, args: [], kwargs: {} });
      await until('the call', () => release, { every: 2 });
      const pongs = () => c.frames.filter((f) => f.opcode === PONG).length;
      const before = pongs();
      await c.write(frame(PING, 'alive?'));
      await c.json({ type: 'CALL', id: `short-${command}`, command: 'echo', args: [1], kwargs: {} });
      if (command === 'async') await c.answerTo(`short-${command}`);
      else await sleep(100);
      assert.equal(pongs() - before, command === 'async' ? 1 : 0);
      assert.equal(c.messages.some((m) => m.includes(`short-${command}`)), command === 'async');
      release('done');
      await c.answerTo(id);
      await c.answerTo(`short-${command}`);
      await until('the pong', () => pongs() === before + 1, { every: 2 });
    }
  });

  test('misbehaviour: frames of any kind, lost bytes, raw bytes, no answer', async () => {
    const { c, board } = await online({}, { hooks: { message: (m) => m.command === 'hang' } });
    const n = c.frames.length;
    const last = async () => { await until('a frame', () => c.frames.length > n, { every: 2 }); return c.frames.splice(n)[0]; };
    await board.frame(BINARY, 'abc', { fin: false });
    assert.deepEqual(((f) => [f.opcode, f.fin, f.text])(await last()), [BINARY, 0, 'abc']);
    await board.frame(TEXT, 'abc', { form: 8 });
    assert.equal((await last()).at, 10, 'a length that is not the shortest');
    await c.json({ type: 'CALL', id: 'h', command: 'hang', args: [], kwargs: {} });
    await board.send({ id: 'x' });
    assert.equal((await last()).text, '{"id": "x"}');
    await board.send({ id: 'lost' }, { lose: 5 });
    await board.raw('abcde');
    assert.notEqual((await last()).text, '{"id": "lost"}', 'what is lost makes garbage of what follows');
    await board.frame(TEXT, 'abc', { mask: false });
    await until('the bytes', () => c.bytes.toString('latin1').includes('\x81\x03abc'), { every: 2 });
  });

  test('disconnect, a cut cable, silence', async () => {
    const one = await online();
    await one.board.disconnect();
    await until('the end', () => one.c.ended, { every: 2 });
    assert.equal(one.c.frames.at(-1).opcode, CLOSE);
    assert.equal(one.c.frames.at(-1).payload.length, 0);
    const two = await online();
    two.board.drop({ reset: true });
    await until('the end', () => two.c.socket.destroyed || two.c.ended, { every: 2 });
    await two.connection(1);
    const three = await online();
    three.board.freeze();
    await three.c.write(frame(PING, 'x'));
    await sleep(100);
    assert.equal(three.c.frames.at(-1).opcode, TEXT, 'no pong');
    assert.equal(three.c.ended, false);
  });

  it('an independent server understands it', async () => {
    const port = await world.port();
    const server = https.createServer({ key: readFileSync(leaf.key), cert: readFileSync(leaf.cert) });
    const wss = new WebSocketServer({ server });
    await new Promise((resolve) => { server.listen(port, '127.0.0.1', resolve); });
    const got = [];
    wss.on('connection', (ws) => ws.on('message', (data) => {
      const m = JSON.parse(data);
      if (m.key) ws.send(JSON.stringify(OK));
      else if (m.type === 'REGISTER') ws.send(JSON.stringify({ type: 'CALL', id: 'ws', command: m.name, args: ['x'.repeat(9000)], kwargs: {} }));
      else got.push(m);
    }));
    const board = new Board({ name: 'pico.test', port, ca: ca.pem, key: 'KEY', functions: { echo: (pico, x) => x } }).start();
    try {
      await until('the answer', () => got.length, { every: 2 });
      assert.deepEqual(got, [{ id: 'ws', response: 'x'.repeat(9000) }]);
    } finally {
      board.stop();
      for (const ws of wss.clients) ws.terminate();
      server.close();
    }
  });
});
