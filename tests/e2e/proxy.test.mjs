// SPDX-License-Identifier: GPL-3.0-or-later
// Forwarding: large bodies in bounded memory, applications that are down or slow, and an orderly end.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import https from 'node:https';
import { Readable } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import { downloadHash } from './rig/backend.mjs';
import { screenshot } from './rig/browser.mjs';
import { navigation, request } from './rig/http.mjs';
import { assertReason, assertStatus } from './rig/journey.mjs';
import { Stage } from './rig/stage.mjs';
import { sleep } from './rig/world.mjs';

const MiB = 1 << 20;
const BLOCKS = 1024; // of 64 KiB
const SIZE = BLOCKS * 65536;

const hashOf = (res, onData = () => {}) => new Promise((resolve, reject) => {
  const h = createHash('sha256');
  let bytes = 0;
  res.on('data', (d) => { h.update(d); bytes += d.length; onData(bytes, res); });
  res.on('end', () => resolve({ status: res.statusCode, bytes, sha256: h.digest('hex') }));
  res.on('error', reject);
  res.on('aborted', () => reject(new Error(`aborted after ${bytes} bytes`)));
});

function* pieces(total) {
  const piece = Buffer.alloc(65536, 'sallyport');
  for (let n = 0; n < total; n += piece.length) yield piece;
}

describe('forwarding', () => {
  let stage;
  let gateway;
  before(async () => {
    stage = await Stage.start('proxy', {
      oidc: { op: {} }, idps: false, nginx: true,
      routes: (s) => [
        { host: 'nobody.test', backends: ['http://127.0.0.1:9'], policy: 'public' },
        { host: 'slow.test', backends: [s.backend.url], policy: 'public', timeouts: { connect: '1s', response: '1s' } },
        { host: 'unresolved.test', backends: ['http://no-such-host.invalid:80'], policy: 'public' },
        { host: 'open-nginx.test', backends: [s.nginx.url], policy: 'public' },
      ],
      config: { timeouts: { drain: '10s' } },
    });
    ({ gateway } = stage);
  });
  after(() => stage?.close());

  const open = (path) => stage.url('open.test', path);
  // The most memory that the gateway process had more than before, while `f` ran.
  const growth = async (f) => {
    const pid = gateway.gatewayPid();
    const before = gateway.rss(pid);
    let most = before;
    const timer = setInterval(() => { most = Math.max(most, gateway.rss(pid)); }, 20);
    await f();
    clearInterval(timer);
    return Math.max(most, gateway.rss(pid)) - before;
  };
  const assertBounded = (bytes) => assert.ok(bytes < 12 * MiB, `${(bytes / MiB).toFixed(1)} MiB more while ${SIZE / MiB} MiB passed`);

  const download = (host = 'open.test', onData) => request(stage.url(host, `/download?blocks=${BLOCKS}`), { onResponse: (res) => hashOf(res, onData) });
  const upload = (host, headers = { 'Content-Length': SIZE }) => request(stage.url(host, '/upload'), { method: 'POST', headers, body: Readable.from(pieces(SIZE)) });

  it('64 MiB come through whole, in bounded memory', async () => {
    assertStatus(await request(open('/echo')), 200);
    await request(open('/download?blocks=64'));
    let got;
    assertBounded(await growth(async () => { got = await download(); }));
    assert.deepEqual(got, { status: 200, bytes: SIZE, sha256: downloadHash(BLOCKS) });
  });

  it('a slow reader holds the backend back, not the memory of the gateway', async () => {
    let paused = false;
    assertBounded(await growth(async () => {
      const got = await download('open.test', (bytes, res) => {
        if (paused || bytes < MiB) return;
        paused = true;
        res.pause();
        setTimeout(() => res.resume(), 1500);
      });
      assert.equal(got.sha256, downloadHash(BLOCKS));
    }));
  });

  for (const [what, headers] of [['with a length', { 'Content-Length': SIZE }], ['in chunks', { 'Transfer-Encoding': 'chunked' }]]) {
    it(`64 MiB go up whole ${what}, in bounded memory`, async () => {
      const want = createHash('sha256');
      for (const p of pieces(SIZE)) want.update(p);
      let res;
      assertBounded(await growth(async () => { res = await upload('open.test', headers); }));
      assertStatus(res, 200);
      assert.deepEqual(JSON.parse(res.body), { bytes: SIZE, sha256: want.digest('hex') });
    });
  }

  it('the same through nginx', async () => {
    assert.equal((await download('open-nginx.test')).sha256, downloadHash(BLOCKS));
    assert.equal(JSON.parse((await upload('open-nginx.test')).body).bytes, SIZE);
  });

  it('an answer comes piece by piece, as the application gives it', async () => {
    const times = [];
    await request(open('/trickle'), { onResponse: (res) => hashOf(res, () => times.push(Date.now())) });
    assert.ok(times.at(-1) - times[0] > 1000, 'it was held back until the end');
  });

  it('HEAD, 304 and empty answers leave the connection in order', async () => {
    const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
    for (const method of ['HEAD', 'GET', 'HEAD', 'OPTIONS', 'DELETE', 'GET']) assertStatus(await request(open('/echo'), { method, agent }), 200, method);
    agent.destroy();
  });

  it('visitors who leave in the middle harm nobody', async () => {
    for (let i = 0; i < 5; i++) await download('open.test', (bytes, res) => { if (bytes > MiB) res.destroy(); }).catch(() => {});
    await request(open('/upload'), { method: 'POST', headers: { 'Content-Length': SIZE }, body: Readable.from((function* () { yield Buffer.alloc(65536); throw new Error('gone'); })()) }).catch(() => {});
    assertStatus(await request(open('/echo')), 200);
  });

  for (const [what, host, path, status, reason] of [
    ['an application that is not running', 'nobody.test', '/', 502, ['proxy.connect']],
    ['an application that breaks off', 'open.test', '/broken', 502, ['proxy.reset']],
    ['an application that answers garbage', 'open.test', '/garbage', 502, ['upstream.head']],
    ['an application that is slow', 'slow.test', '/slow?ms=4000', 504, ['proxy.timeout']],
    ['a name that nobody knows', 'unresolved.test', '/', 502, ['proxy.resolve']],
  ]) {
    it(`${what} gives ${status} and says so`, async () => {
      const res = await assertReason(gateway, reason, () => request(stage.url(host, path), { headers: navigation }));
      assertStatus(res, status);
      assert.match(res.headers['content-type'], /text\/html/);
      assert.match(res.body, /application behind the gateway/);
      assert.doesNotMatch(res.body, /127\.0\.0\.1|ECONN|errno|\.invalid/, 'no internals');
      const json = assertStatus(await request(stage.url(host, path), { headers: { Accept: 'application/json' } }), status);
      assert.equal(JSON.parse(json.body).error, reason[0]);
    });
  }

  it('the page for it looks like one for people', async () => {
    const context = await (await stage.browser()).visitor();
    const page = await context.newPage();
    await page.goto(stage.url('nobody.test', '/'));
    await screenshot(page, 'app-down');
    await context.close();
  });

  it('an application that was down is found when it is back', async () => {
    await stage.backend.stop();
    assertStatus(await request(open('/echo')), 502);
    await stage.backend.listen();
    assertStatus(await request(open('/echo')), 200);
  });

  it('a request with a body is not sent twice', async () => {
    const before = stage.backend.seen.filter((r) => r.url === '/broken?once').length;
    await request(open('/broken?once'), { method: 'POST', body: 'x=1', headers: { 'Content-Length': 3 } });
    assert.equal(stage.backend.seen.filter((r) => r.url === '/broken?once').length - before, 1);
  });

  it('the operations listener tells health and counts', async () => {
    const ops = async (path) => fetch(`http://127.0.0.1:${gateway.opsPort}${path}`, { headers: { Connection: 'close' } });
    assert.equal((await ops('/healthz')).status, 200);
    const metrics = await (await ops('/metrics')).text();
    assert.match(metrics, /^# TYPE sallyport_\w+ counter$/m);
    assert.match(metrics, /proxied_total\S* [1-9]/);
    assert.equal((await request(open('/metrics'))).headers['content-type']?.includes('openmetrics') ?? false, false);
  });

  it('each request leaves one line with the agreed fields', async () => {
    const { lines } = await gateway.accessDuring(() => request(open('/echo?q=1')));
    assert.equal(lines.length, 1);
    const [l] = lines;
    for (const field of ['time', 'level', 'event', 'request_id', 'client', 'host', 'method', 'path', 'status', 'bytes', 'duration_ms']) assert.ok(l[field] !== undefined, `${field} in ${JSON.stringify(l)}`);
    assert.equal(l.path, '/echo');
    assert.equal(l.status, 200);
    assert.equal(l.host, 'open.test');
  });

  it('SIGTERM lets a running request end, and takes no new ones', async () => {
    let first;
    const begun = new Promise((resolve) => { first = resolve; });
    const running = request(open('/trickle'), { onResponse: (res) => hashOf(res, () => first(true)) });
    await begun;
    const process = gateway.process;
    process.kill('SIGTERM');
    await sleep(300);
    const late = await request(open('/echo')).then((r) => r.status, () => 'refused');
    assert.ok(['refused', 503].includes(late), `a new request got ${late}`);
    const expected = createHash('sha256').update(Array.from({ length: 10 }, (_, i) => `tick ${i}\n`).join('') + 'end\n').digest('hex');
    assert.equal((await running).sha256, expected, 'the running request came to its end');
    const status = await Promise.race([process.exited, sleep(8000)]);
    assert.deepEqual(status, { code: 0, signal: null });
    gateway.earlier += process.output;
    await gateway.start();
  });

  it('SIGTERM does not wait for ever for one that never ends', async () => {
    gateway.configure({ ...gateway.config, timeouts: { drain: '1s' } });
    await gateway.restart();
    const running = request(open('/slow?ms=20000')).catch(() => 'broken off');
    await sleep(300);
    const begun = Date.now();
    await gateway.stop();
    assert.ok(Date.now() - begun < 6000, `${Date.now() - begun} ms`);
    await running;
    await gateway.start();
  });
});
