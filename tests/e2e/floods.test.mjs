// SPDX-License-Identifier: GPL-3.0-or-later
// Clients that make much work with little effort: they are ended with a reason in the log, and nobody else waits for it. And two thousand
// honest ones at once.
import assert from 'node:assert/strict';
import tls from 'node:tls';
import { after, before, describe, it } from 'node:test';
import { startNode } from './rig/apps.mjs';
import { downloadHash } from './rig/backend.mjs';
import { begin, closeSessions, fetchAll, h2Session } from './rig/exchange.mjs';
import { ACK, END_HEADERS, END_STREAM, RawH2, TYPE, block, frame, u32 } from './rig/h2_raw.mjs';
import { Stage } from './rig/stage.mjs';
import { sleep, until } from './rig/world.mjs';

const MiB = 1 << 20;
const repeat = (n, f) => Buffer.concat(Array.from({ length: n }, (_, i) => f(i)));

describe('floods', () => {
  let stage;
  let gateway;
  before(async () => {
    const apps = {};
    stage = await Stage.start('floods', {
      oidc: { op: {} }, idps: false,
      setup: async ({ world }) => { apps.node = await startNode(world); },
      routes: () => [{ host: 'node.test', backends: [apps.node.url], policy: 'public' }],
      config: { limits: { connections_per_address: 4000 } },
    });
    ({ gateway } = stage);
    await fetchAll('h1', stage.url('node.test', '/same'));
  });
  after(() => { closeSessions(); return stage?.close(); });

  const host = 'open.test';
  // Runs `f` while another visitor goes on asking: every answer is right and soon.
  const whileServed = async (f, { slowest = 2000, memory = 16 } = {}) => {
    let stop = false;
    const times = [];
    const failures = [];
    const visitor = async (protocol) => {
      while (!stop) {
        const begun = Date.now();
        const answer = await fetchAll(protocol, stage.url('node.test', '/same')).catch((e) => ({ status: e.message }));
        if (answer.status !== 200) failures.push(answer.status);
        times.push(Date.now() - begun);
        await sleep(10);
      }
    };
    const visitors = [visitor('h1'), visitor('h2')];
    const before = gateway.memoryPeak();
    try {
      await f();
    } finally {
      stop = true;
      await Promise.all(visitors);
    }
    assert.deepEqual(failures, [], 'the other visitors');
    times.sort((a, b) => a - b);
    const p99 = times[Math.floor(times.length * 0.99)];
    assert.ok(p99 < slowest, `p99 ${p99} ms of ${times.length} requests`);
    const more = (gateway.memoryPeak() - before) / MiB;
    assert.ok(more < memory * (gateway.sanitized ? 4 : 1), `${more.toFixed(1)} MiB more`);
  };
  // Sends `burst(connection, i)` until the connection ends.
  const pour = async (c, burst, { ms = 6000 } = {}) => {
    const end = Date.now() + ms;
    for (let i = 0; !c.closed && Date.now() < end; i++) {
      c.send(burst(c, i));
      await new Promise((resolve) => { setImmediate(resolve); });
      if (c.socket.writableNeedDrain) await Promise.race([new Promise((resolve) => { c.socket.once('drain', resolve); }), until('the end', () => c.closed, { ms }).catch(() => {})]);
    }
    return c.closed;
  };

  const ping = frame(TYPE.PING, 0, 0, Buffer.alloc(8));
  const settings = frame(TYPE.SETTINGS, 0, 0, Buffer.from([0, 3, 0, 0, 0, 100]));
  const priority = (i) => frame(TYPE.PRIORITY, 0, 2 * i + 1, Buffer.from([0, 0, 0, 0, 1]));
  const opened = (c, method = 'POST', path = '/upload') => { const id = c.next(); return [id, frame(TYPE.HEADERS, END_HEADERS, id, block(c.fields(path, [], { method })))]; };
  // [what, reason, (connection) => burst]; the protocol error is that of more concurrent requests than are allowed.
  const floods = [
    ['rapid reset', /^http2\.(flood|protocol)$/, () => (c) => repeat(50, () => { const id = c.next(); return Buffer.concat([frame(TYPE.HEADERS, END_HEADERS | END_STREAM, id, block(c.fields('/slow?ms=100'))), frame(TYPE.RST_STREAM, 0, id, u32(8))]); })],
    ['resets that the client provokes', /^http2\.(flood|protocol)$/, () => (c) => repeat(50, () => { const id = c.next(); return Buffer.concat([frame(TYPE.HEADERS, END_HEADERS, id, block(c.fields('/upload', [['content-length', '1']], { method: 'POST' }))), frame(TYPE.DATA, END_STREAM, id, Buffer.from('toolong'))]); })],
    ['requests that are refused again and again', /^http2\.(flood|protocol)$/, () => (c) => repeat(50, () => { const id = c.next(); return frame(TYPE.HEADERS, END_HEADERS | END_STREAM, id, block([...c.fields('/echo'), ['X-Upper', '1']])); })],
    ['PING', /^http2\.flood$/, () => () => repeat(200, () => ping)],
    ['SETTINGS', /^http2\.flood$/, () => () => repeat(200, () => settings)],
    ['PRIORITY', /^http2\.flood$/, () => (c, i) => repeat(200, (n) => priority(i * 200 + n))],
    ['frames of no known type', /^http2\.flood$/, () => () => repeat(200, () => frame(0x42, 0, 0, Buffer.alloc(3)))],
    ['window updates', /^http2\.flood$/, (c) => { const [id, f] = opened(c); c.send(f); return () => repeat(200, () => frame(TYPE.WINDOW_UPDATE, 0, id, u32(1))); }],
    ['empty DATA', /^http2\.flood$/, (c) => { const [id, f] = opened(c); c.send(f); return () => repeat(200, () => frame(TYPE.DATA, 0, id)); }],
    ['empty DATA in padding', /^http2\.flood$/, (c) => { const [id, f] = opened(c); c.send(f); return () => repeat(100, () => frame(TYPE.DATA, 8, id, Buffer.from([3, 0, 0, 0]))); }],
    ['CONTINUATION', /^http2\.flood$/, (c) => { c.send(frame(TYPE.HEADERS, END_STREAM, 1, block(c.fields()))); return () => repeat(20, () => frame(TYPE.CONTINUATION, 0, 1, block([['x', 'y']]))); }],
    ['empty CONTINUATION', /^http2\.flood$/, (c) => { c.send(frame(TYPE.HEADERS, END_STREAM, 1, block(c.fields()))); return () => repeat(20, () => frame(TYPE.CONTINUATION, 0, 1)); }],
    ['a header block that unpacks to megabytes', /^http2\.flood$/, () => (c) => repeat(10, () => {
      // One long field in the dynamic table, then named again in one byte each.
      const id = c.next();
      const long = Buffer.concat([Buffer.from([0x40, 1]), Buffer.from('x'), Buffer.from([0x7f, 0xa1, 0x1e]), Buffer.alloc(4000, 'y')]);
      return frame(TYPE.HEADERS, END_HEADERS | END_STREAM, id, Buffer.concat([block(c.fields('/echo')), long, Buffer.alloc(8000, 0xbe)]));
    })],
  ];
  for (const [what, reason, begun] of floods) {
    it(`${what}: the connection ends, with a reason`, async () => {
      const from = gateway.lines().length;
      await whileServed(async () => {
        const c = await RawH2.connect(gateway.port, host);
        await until('their SETTINGS', () => c.of(TYPE.SETTINGS).length);
        assert.ok(await pour(c, begun(c)), 'the connection goes on and on');
        c.end();
      });
      const lines = () => gateway.lines().slice(from).filter((l) => l.event === 'http2.connection');
      await until('a line in the log', () => lines().length, { ms: 2000 });
      assert.match(lines()[0].reason, reason, JSON.stringify(lines()));
    });
  }

  it('who sends and never reads is not answered without end', async () => {
    await whileServed(async () => {
      const all = await Promise.all(Array.from({ length: 10 }, () => RawH2.connect(gateway.port, host, { deaf: true, settings: Buffer.from([0, 4, 0x7f, 0xff, 0xff, 0xff]) })));
      for (const c of all) {
        c.send(frame(TYPE.WINDOW_UPDATE, 0, 0, u32(0x7fff0000)));
        for (let i = 0; i < 50; i++) c.request(c.fields('/download?blocks=64'));
      }
      await sleep(1000);
      for (const c of all) { c.send(repeat(50, () => ping)); c.send(frame(TYPE.SETTINGS, ACK)); }
      await sleep(500);
      for (const c of all) c.end();
    }, { slowest: 8000, memory: 80 }); // five hundred requests under way, each with a full buffer; the application is this process
  });

  it('h2load: many streams on many connections are all served', async () => {
    await whileServed(async () => {
      const out = await stage.world.must('h2load', ['-n', '4000', '-c', '40', '-m', '50', '--connect-to', `127.0.0.1:${gateway.port}`, stage.url('node.test', '/same')], { ms: 60000 });
      assert.match(out, /4000 total, 4000 started, 4000 done, 4000 succeeded, 0 failed, 0 errored, 0 timeout/, out);
    }, { slowest: 5000, memory: 80 }); // two thousand
  });

  it('handshakes that are begun and left', async () => {
    await whileServed(async () => {
      for (let round = 0; round < 5; round++) {
        const all = Array.from({ length: 60 }, () => {
          const s = tls.connect({ host: '127.0.0.1', port: gateway.port, servername: host, rejectUnauthorized: false });
          s.on('error', () => {});
          return s;
        });
        await sleep(30);
        all.forEach((s) => s.destroy());
      }
    });
  });

  it('two thousand downloads at the same time are complete and right', async () => {
    const want = `200 ${downloadHash(1)}`;
    const path = stage.url('node.test', '/download?blocks=1');
    // Half on connections of their own, half as streams of ten connections. All are asked for before the first is read.
    const sessions = Array.from({ length: 10 }, () => h2Session(path));
    const all = Array.from({ length: 2000 }, (_, i) => (i % 2 ? begin('h1', path) : begin('h2', path, { session: sessions[(i / 2) % 10] })));
    const hash = async (x) => { const answer = await x.answer; return `${answer.status} ${await answer.sha256()}`; };
    const got = await Promise.allSettled(all.map(hash));
    const wrong = got.map((r) => r.value ?? `${r.reason}`).filter((v) => v !== want);
    assert.deepEqual(wrong.slice(0, 5), [], `${wrong.length} of 2000`);
    sessions.forEach((s) => s.destroy());
  });

  it('afterwards nothing is left', async () => {
    closeSessions();
    await until('the connections to end', async () => await gateway.metric('connections_open') <= 2, { ms: 5000 });
    assert.ok((await gateway.metric('http2_connections_refused_total')) >= floods.length);
  });
});
