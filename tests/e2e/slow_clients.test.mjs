// SPDX-License-Identifier: GPL-3.0-or-later
// Clients that send or read as slowly as they can: they are ended in time, cost little, and nobody else waits.
import assert from 'node:assert/strict';
import net from 'node:net';
import tls from 'node:tls';
import { after, before, describe, it } from 'node:test';
import { startNode } from './rig/apps.mjs';
import { closeSessions, fetchAll } from './rig/exchange.mjs';
import { END_HEADERS, END_STREAM, RawH2, TYPE, block, frame, u32 } from './rig/h2_raw.mjs';
import { openSocket } from './rig/socket.mjs';
import { Stage } from './rig/stage.mjs';
import { sleep, until } from './rig/world.mjs';

const MiB = 1 << 20;

// All at the same time: most of it is waiting.
describe('slow clients', { concurrency: true }, () => {
  let stage;
  let gateway;
  before(async () => {
    const apps = {};
    stage = await Stage.start('slow', {
      oidc: { op: {} }, idps: false,
      setup: async ({ world }) => { apps.node = await startNode(world); },
      routes: () => [{ host: 'node.test', backends: [apps.node.url], policy: 'public' }],
      config: { timeouts: { request_head: '2s', idle: '2s' } },
    });
    ({ gateway } = stage);
    await fetchAll('h1', stage.url('node.test', '/same'));
  });
  after(() => { closeSessions(); return stage?.close(); });

  const host = 'node.test';
  const connect = (ALPNProtocols = ['http/1.1']) => new Promise((resolve, reject) => {
    const s = tls.connect({ host: '127.0.0.1', port: gateway.port, servername: host, rejectUnauthorized: false, ALPNProtocols }, () => resolve(s));
    s.text = '';
    s.on('error', reject);
    s.on('close', () => { s.ended = Date.now(); });
  });
  const listen = (s) => s.on('data', (d) => { s.text += d.toString('latin1'); });
  const head = (line, more = '') => `${line} HTTP/1.1\r\nHost: ${host}:${gateway.port}\r\n${more}\r\n`;
  const drip = (write, every = 100) => { const t = setInterval(write, every); return () => clearInterval(t); };
  // How long it took until the connection was ended by the gateway.
  const lifetime = async (s, begun, ms) => {
    await until('the connection to be ended', () => s.ended ?? s.closed, { ms, every: 20 });
    return Date.now() - begun;
  };
  // Nobody else may notice.
  const others = async (f) => {
    let stop = false;
    const late = [];
    const visitor = (async () => {
      while (!stop) {
        const begun = Date.now();
        const answer = await fetchAll('h1', stage.url(host, '/same')).catch((e) => ({ status: e.message }));
        if (answer.status !== 200 || Date.now() - begun > 4000) late.push([answer.status, Date.now() - begun]);
        await sleep(20);
      }
    })();
    const before = gateway.memoryPeak();
    try { await f(); } finally { stop = true; await visitor; }
    assert.deepEqual(late, [], 'the other visitors');
    const more = (gateway.memoryPeak() - before) / MiB;
    assert.ok(more < (gateway.sanitized ? 150 : 48), `${more.toFixed(1)} MiB more`);
  };
  const reasonOf = async (from, reason, least = 1) => until(`${reason} in the log`, () => gateway.lines().slice(from).filter((l) => l.reason === reason).length >= least, { ms: 3000 });

  it('a head byte by byte, from many: all are ended when the time is over, with an answer', async () => {
    const from = gateway.lines().length;
    await others(async () => {
      const all = await Promise.all(Array.from({ length: 100 }, () => connect()));
      const begun = Date.now();
      all.forEach(listen);
      const text = head('GET /same', `X-Long: ${'x'.repeat(2000)}\r\n`);
      let at = 0;
      const stop = drip(() => { all.forEach((s) => { if (!s.ended) s.write(text[at]); }); at++; });
      for (const s of all) assert.ok(await lifetime(s, begun, 6000) < 6000);
      stop();
      assert.ok(Date.now() - begun > 1500, 'they had their time');
      for (const s of all) assert.match(s.text, /^HTTP\/1.1 408 /);
    });
    await reasonOf(from, 'http.timeout', 100);
  });

  it('connections that say nothing, with and without TLS, are ended', async () => {
    await others(async () => {
      const begun = Date.now();
      const plain = Array.from({ length: 50 }, () => net.connect(gateway.port, '127.0.0.1'));
      for (const s of plain) { s.text = ''; s.on('error', () => {}); s.on('close', () => { s.ended = Date.now(); }); }
      const all = [...plain, ...await Promise.all(Array.from({ length: 50 }, () => connect()))];
      all.forEach(listen);
      for (const s of all) await lifetime(s, begun, 6000);
      assert.ok(all.every((s) => s.text === ''), 'without a word');
    });
  });

  it('a body byte by byte goes on as long as it comes, and ends when it does not', async () => {
    const from = gateway.lines().length;
    await others(async () => {
      const [steady, stalled] = [await connect(), await connect()];
      [steady, stalled].forEach(listen);
      const post = head('POST /upload?name=slow', 'Content-Length: 30\r\nConnection: close\r\n');
      const begun = Date.now();
      steady.write(post);
      stalled.write(`${post}just this`);
      const stop = drip(() => { if (!steady.ended) steady.write('x'); });
      await lifetime(steady, begun, 8000);
      stop();
      assert.match(steady.text, /^HTTP\/1.1 200 [\s\S]*"bytes":30,/);
      assert.ok(await lifetime(stalled, begun, 8000) < 6000);
      assert.match(stalled.text, /^HTTP\/1.1 408 /);
    });
    await reasonOf(from, 'http.timeout');
  });

  it('a reader who stops in the middle of a big answer is ended, however many there are', async () => {
    const from = gateway.lines().length;
    await others(async () => {
      const all = await Promise.all(Array.from({ length: 50 }, () => connect()));
      const begun = Date.now();
      for (const s of all) {
        s.bytes = 0;
        s.pause();
        s.on('data', (d) => { s.bytes += d.length; });
        s.pause(); // the listener has started it
        s.write(head('GET /download?blocks=800'));
      }
      // Their clocks begin when what is between us has taken all it can, which is late on a busy machine.
      const cutOff = () => gateway.lines().slice(from).filter((l) => l.event === 'access' && l.reason === 'http.timeout' && l.path === '/download' && l.protocol === 'HTTP/1.1');
      await until('the reason to be in the log of each', () => cutOff().length >= all.length, { ms: 20000 });
      for (const s of all) s.resume();
      for (const s of all) {
        await lifetime(s, begun, 30000);
        assert.ok(s.bytes < 400 * 65536, `${s.bytes} bytes came`);
      }
    });
  });

  it('a reader who is slow but reads goes on', async () => {
    const s = await connect();
    let bytes = 0;
    s.on('data', (d) => { bytes += d.length; s.pause(); });
    const stop = drip(() => s.resume(), 40);
    s.write(head('GET /download?blocks=60', 'Connection: close\r\n'));
    await sleep(4000);
    assert.equal(s.ended, undefined, `ended after ${bytes} bytes`);
    stop();
    s.removeAllListeners('data');
    s.on('data', (d) => { bytes += d.length; });
    s.resume();
    await until('the rest', () => s.ended, { ms: 8000 });
    assert.ok(bytes > 60 * 65536, `${bytes} bytes`);
  });

  it('a WebSocket whose reader sleeps holds its application back, not our memory', async () => {
    await others(async () => {
      const sockets = await Promise.all(Array.from({ length: 10 }, async () => {
        const s = await openSocket(stage.url(host, '/pour'));
        s.ws.pause();
        return s;
      }));
      await sleep(1000);
      for (const s of sockets) s.ws.resume();
      await Promise.all(sockets.map((s) => until('all messages', () => s.got.length === 512, { ms: 20000 })));
      for (const s of sockets) await s.end();
    });
  });

  describe('over HTTP/2', { concurrency: true }, () => {
    it('a head that never ends', async () => {
      const from = gateway.lines().length;
      const c = await RawH2.connect(gateway.port, host);
      const begun = Date.now();
      await until('their SETTINGS', () => c.of(TYPE.SETTINGS).length);
      c.send(frame(TYPE.HEADERS, END_STREAM, 1, block(c.fields('/same'))));
      const stop = drip(() => { if (!c.closed) c.socket.write(Buffer.from([0])); }, 300); // a CONTINUATION's head, byte by byte
      await lifetime(c, begun, 6000);
      stop();
      await reasonOf(from, 'http.timeout');
    });

    it('a body that stops: that stream ends, and no other', async () => {
      const from = gateway.lines().length;
      const c = await RawH2.connect(gateway.port, host);
      await until('their SETTINGS', () => c.of(TYPE.SETTINGS).length);
      const id = c.next();
      c.send(frame(TYPE.HEADERS, END_HEADERS, id, block(c.fields('/upload?name=h2', [['content-length', '100']], { method: 'POST' }))), frame(TYPE.DATA, 0, id, Buffer.from('just this')));
      const stop = drip(() => c.works('/same').catch(() => {}), 300);
      const fate = await c.fate(id, 8000);
      stop();
      assert.ok(fate === 408 || /^reset/.test(`${fate}`), `${fate}`);
      assert.ok(await c.works('/same'), 'the connection goes on');
      await reasonOf(from, 'http.timeout');
      c.end();
    });

    it('a window that stays shut: the stream ends, and little is kept', async () => {
      await others(async () => {
        const all = await Promise.all(Array.from({ length: 10 }, () => RawH2.connect(gateway.port, host, { settings: Buffer.concat([Buffer.from([0, 4]), u32(1)]) })));
        const begun = Date.now();
        for (const c of all) for (let i = 0; i < 20; i++) c.request(c.fields('/download?blocks=100'));
        for (const c of all) await until('the streams to end', () => c.closed || c.of(TYPE.RST_STREAM).length === 20, { ms: 9000 });
        assert.ok(Date.now() - begun > 1500, 'they had their time');
        for (const c of all) c.end();
      });
    });
  });
});
