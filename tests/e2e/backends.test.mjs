// SPDX-License-Identifier: GPL-3.0-or-later
// Applications that misbehave, die and come back; several of them behind one route; TLS and sockets on the way to them.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { navigation, request } from './rig/http.mjs';
import { assertReason, assertStatus } from './rig/journey.mjs';
import { plain, startRaw } from './rig/raw_backend.mjs';
import { Stage } from './rig/stage.mjs';
import { makeCa, makeClientPair, makeLeaf } from './rig/tls.mjs';
import { sleep, until } from './rig/world.mjs';

const named = (name) => (s, path) => s.write(plain(`${name} ${path}`, `X-Backend: ${name}\r\n`));
// Answers when the test says so.
const held = (name, waiting) => (s, path) => {
  if (path !== '/hold') return named(name)(s, path);
  waiting.push(() => named(name)(s, path));
  return undefined;
};

// What a backend may do instead of answering: [what, answer, status, reason].
const misbehaving = [
  ['stalls', () => {}, 504, 'proxy.timeout'],
  ['stalls in the middle of the head', (s) => s.write('HTTP/1.1 200 OK\r\nContent-Le'), 504, 'proxy.timeout'],
  ['closes', (s) => s.end(), 502, 'proxy.reset'],
  ['resets', (s) => s.resetAndDestroy(), 502, 'proxy.reset'],
  ['disappears in the middle of the head', (s) => s.end('HTTP/1.1 200 OK\r\nContent-Le'), 502, ['proxy.reset', 'upstream.head']],
  ['answers garbage', (s) => s.write('SSH-2.0-OpenSSH_9.2\r\n\r\n'), 502, 'upstream.head'],
  ['answers with an endless head', (s) => { const more = () => s.writable && s.write('X-More: and more and more\r\n'.repeat(500), more); s.write('HTTP/1.1 200 OK\r\n', more); }, 502, 'upstream.head'],
  ['answers with a TLS alert', (s) => s.write(Buffer.from([21, 3, 1, 0, 2, 2, 40])), 502, ['upstream.head', 'proxy.timeout']],
];
// What it may do after the head: the visitor must not take it for the whole.
const truncated = [
  ['disappears in mid-body', (s) => s.end(`HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n${'x'.repeat(50000)}`), 'proxy.reset'],
  ['resets in mid-body', (s) => { s.write(`HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n${'x'.repeat(50000)}`, () => setTimeout(() => s.resetAndDestroy(), 50)); }, 'proxy.reset'],
  ['disappears between two chunks', (s) => s.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n'), 'proxy.reset'],
  ['sends a chunk that is none', (s) => s.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n'), ['upstream.head', 'upstream.body', 'http.chunk']],
  ['stalls in mid-body', (s) => s.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello'), 'proxy.timeout'],
];

describe('backends', () => {
  let stage;
  let gateway;
  const b = {};
  const waiting = { a: [], b: [], q: [] };
  before(async () => {
    stage = await Stage.start('backends', {
      oidc: { op: {} }, idps: false,
      setup: async ({ world, ca }) => {
        const strange = await makeCa(world, 'strange');
        const [leaf, other, foreign] = [await makeLeaf(world, ca, 'app', ['app.internal']), await makeLeaf(world, ca, 'other', ['other.internal']), await makeLeaf(world, strange, 'foreign', ['app.internal'])];
        b.client = await makeClientPair(world, ca, 'gateway');
        const keys = ({ cert, key }) => ({ cert: readFileSync(cert), key: readFileSync(key) });
        b.bad = await startRaw(world, (s, path) => {
          const all = Object.fromEntries([...misbehaving, ...truncated].map(([what, f]) => [`/${what.replaceAll(' ', '-')}`, f]));
          return (all[path] ?? named('bad'))(s, path);
        });
        b.one = await startRaw(world, held('one', waiting.a));
        b.two = await startRaw(world, held('two', waiting.b));
        b.dead = await world.port();
        b.tls = await startRaw(world, named('tls'), { tls: keys(leaf) });
        b.wrong = await startRaw(world, named('wrong'), { tls: keys(other) });
        b.foreign = await startRaw(world, named('foreign'), { tls: keys(foreign) });
        b.mutual = await startRaw(world, (s, path) => s.write(plain(`${s.getPeerCertificate().subject?.CN} ${path}`)), { tls: { ...keys(leaf), requestCert: true, rejectUnauthorized: true, ca: ca.pem } });
        b.unix = await startRaw(world, named('unix'), { path: world.path('app.sock') });
        b.sick = await startRaw(world, (s, path) => s.write(path === '/health' && !b.well ? 'HTTP/1.1 500 Sick\r\nContent-Length: 0\r\n\r\n' : plain(`sick ${path}`, 'X-Backend: sick\r\n')));
        b.well = true;
        b.queued = await startRaw(world, held('queued', waiting.q));
        b.flaky = await startRaw(world, (s, path) => (b.fails ? s.end() : named('flaky')(s, path)));
      },
      routes: ({ ca }) => {
        const tls = (more = {}) => ({ ca: ca.cert, server_name: 'app.internal', ...more });
        const route = (name, backends, more = {}) => ({ host: `${name}.test`, backends: [].concat(backends), policy: 'public', ...more });
        return [
          route('bad', b.bad.url, { timeouts: { response: '1s' } }),
          route('pair', [b.one.url, b.two.url]),
          route('half', [`http://127.0.0.1:${b.dead}`, b.two.url]),
          route('least', [b.one.url, b.two.url], { balance: 'least_connections' }),
          route('tls', b.tls.url, { backend_tls: tls() }),
          route('tls-name', b.tls.url, { backend_tls: { ca: ca.cert } }),
          route('tls-wrong', b.wrong.url, { backend_tls: tls() }),
          route('tls-foreign', b.foreign.url, { backend_tls: tls() }),
          route('tls-any', b.foreign.url, { backend_tls: { verify: false } }),
          route('tls-plain', b.one.url.replace('http:', 'https:'), { backend_tls: tls(), timeouts: { response: '2s', connect: '2s' } }),
          route('mutual', b.mutual.url, { backend_tls: tls({ cert: b.client.cert, key: b.client.key }) }),
          route('mutual-none', b.mutual.url, { backend_tls: tls() }),
          route('unix', b.unix.url),
          route('unix-none', `unix:${ca.dir}/none.sock`),
          route('health', [b.sick.url, b.two.url], { health: { path: '/health', interval: '1s', timeout: '1s', rise: 1, fall: 1 } }),
          route('queue', b.queued.url, { limits: { connections: 2, queue: 2, queue_wait: '1s' } }),
          route('flaky', [b.flaky.url, b.two.url], { eject: { failures: 2, for: '2s' } }),
          route('name', `http://localhost:${b.two.port}`),
          route('prefix', b.one.url, { path: '/api', strip_prefix: true }),
          route('prefix', b.one.url, { path: '/old', rewrite: '/new/place', preserve_host: false }),
          route('prefix', [], { path: '/moved', backends: undefined, redirect: { to: 'https://elsewhere.example/x', status: 308, keep_path: true } }),
        ];
      },
    });
    ({ gateway } = stage);
  });
  after(() => stage?.close());

  const get = (host, path = '/', options = {}) => request(stage.url(`${host}.test`, path), options);
  const whole = (host, path, headers = {}) => request(stage.url(`${host}.test`, path), {
    headers,
    onResponse: (res) => new Promise((resolve) => {
      let bytes = 0;
      res.on('data', (d) => { bytes += d.length; });
      res.on('end', () => resolve({ status: res.statusCode, bytes, complete: res.complete }));
      res.on('error', () => resolve({ status: res.statusCode, bytes, complete: false }));
    }),
  });
  const whoAnswers = async (host, n, options) => {
    const counts = {};
    for (let i = 0; i < n; i++) {
      const res = await get(host, `/${i}`, options);
      const who = res.status === 200 ? res.headers['x-backend'] : res.status;
      counts[who] = (counts[who] ?? 0) + 1;
    }
    return counts;
  };

  describe('misbehaving', () => {
    for (const [what, , status, reason] of misbehaving) {
      it(`one that ${what}: ${status}`, async () => {
        const path = `/${what.replaceAll(' ', '-')}`;
        const begun = Date.now();
        const res = await assertReason(gateway, reason, () => get('bad', path, { headers: navigation }));
        assert.ok([].concat(status).includes(res.status), `${res.status}`);
        assert.match(res.body, /application behind the gateway/);
        assert.ok(Date.now() - begun < 3000);
        assert.equal((await get('bad', '/fine')).body, 'bad /fine', 'the next visitor');
      });
    }

    for (const [what, , reason] of truncated) {
      it(`one that ${what}: the visitor sees that something is missing`, async () => {
        const res = await assertReason(gateway, reason, () => whole('bad', `/${what.replaceAll(' ', '-')}`));
        assert.equal(res.complete, false, JSON.stringify(res));
        assert.equal((await get('bad', '/fine')).body, 'bad /fine', 'the next visitor');
      });
    }
  });

  describe('several', () => {
    it('take turns', async () => {
      const counts = await whoAnswers('pair', 20);
      assert.ok(counts.one >= 6 && counts.two >= 6, JSON.stringify(counts));
    });

    it('a dead one is skipped, also for what may not be sent twice', async () => {
      assert.deepEqual(await whoAnswers('half', 10), { two: 10 });
      assert.deepEqual(await whoAnswers('half', 6, { method: 'POST', body: 'x=1', headers: { 'Content-Length': 3 } }), { two: 6 });
    });

    it('with least_connections a busy one gets no more', async () => {
      const slow = [get('least', '/hold'), get('least', '/hold')];
      await until('both to be held', () => waiting.a.length + waiting.b.length === 2);
      assert.deepEqual([waiting.a.length, waiting.b.length], [1, 1], 'one each');
      const busy = waiting.a.shift();
      waiting.b.shift()();
      await Promise.race(slow);
      assert.deepEqual(await whoAnswers('least', 10), { two: 10 }, 'one has a connection in use');
      busy();
      for (const r of await Promise.all(slow)) assertStatus(r, 200);
    });

    it('one that fails in a row is left alone for a while', async () => {
      b.fails = true;
      const before = b.flaky.requests.length;
      const during = await whoAnswers('flaky', 20, { method: 'POST', body: 'x', headers: { 'Content-Length': 1 } });
      assert.ok(during.two >= 16, JSON.stringify(during));
      assert.ok(b.flaky.requests.length - before <= 4, `${b.flaky.requests.length - before} requests to it`);
      assert.ok(gateway.lines().some((l) => l.event === 'backend.ejected'), 'a line in the log');
      b.fails = false;
      await sleep(2300);
      assert.ok((await whoAnswers('flaky', 10)).flaky >= 3, 'it is back');
    });

    it('health checks take one out, and bring it back', async () => {
      assert.ok((await whoAnswers('health', 10)).sick > 0, 'healthy at first');
      b.well = false;
      await until('the check to notice', () => gateway.lines().some((l) => l.event === 'backend.unhealthy'), { ms: 6000 });
      assert.deepEqual(await whoAnswers('health', 10), { two: 10 });
      b.well = true;
      await until('the check to notice', () => gateway.lines().some((l) => l.event === 'backend.healthy'), { ms: 6000 });
      assert.ok((await whoAnswers('health', 10)).sick > 0, 'healthy again');
      assert.match(await (await gateway.ops('/metrics')).text(), /sallyport_backend_up\{route="health\.test[^}]*\} 1/);
    });
  });

  describe('limits', () => {
    it('more than may be under way wait, more than may wait are answered at once', async () => {
      const first = [get('queue', '/hold'), get('queue', '/hold')];
      await until('two to be under way', () => waiting.q.length === 2);
      const inLine = [get('queue', '/a'), get('queue', '/b')];
      await sleep(200);
      const begun = Date.now();
      const refused = await assertReason(gateway, 'proxy.queue_full', () => get('queue', '/c', { headers: navigation }));
      assert.equal(refused.status, 503);
      assert.ok(Date.now() - begun < 700, 'at once');
      assert.match(refused.body, /too busy/);
      assert.equal(waiting.q.length, 2, 'the application saw two');
      waiting.q.splice(0).forEach((f) => f());
      assert.deepEqual((await Promise.all([...first, ...inLine])).map((r) => r.status), [200, 200, 200, 200]);
    });

    it('who waits too long is told', async () => {
      const first = [get('queue', '/hold'), get('queue', '/hold')];
      await until('two to be under way', () => waiting.q.length === 2);
      const late = await assertReason(gateway, 'proxy.queue_timeout', () => get('queue', '/a'));
      assert.equal(late.status, 503);
      waiting.q.splice(0).forEach((f) => f());
      for (const r of await Promise.all(first)) assertStatus(r, 200);
      assertStatus(await get('queue', '/b'), 200);
    });

    it('a visitor who leaves the line makes room', async () => {
      const first = [get('queue', '/hold'), get('queue', '/hold')];
      await until('two to be under way', () => waiting.q.length === 2);
      const c = new AbortController();
      const left = ['/a', '/b'].map((p) => request(stage.url('queue.test', p), { signal: c.signal }).catch(() => {}));
      await sleep(150);
      c.abort();
      await Promise.all(left);
      await sleep(100);
      const next = get('queue', '/d');
      await sleep(100);
      waiting.q.splice(0).forEach((f) => f());
      assert.equal((await next).status, 200);
      await Promise.all(first);
    });
  });

  describe('the way there', () => {
    it('TLS, verified', async () => {
      for (let i = 0; i < 3; i++) assert.equal((await get('tls', '/x')).body, 'tls /x');
      assert.ok(b.tls.connections <= 2, 'connections are used again');
      assert.equal((await get('tls', '/upload', { method: 'POST', body: Buffer.alloc(1 << 20), headers: { 'Content-Length': 1 << 20 } })).status, 200);
    });

    for (const [host, what] of [['tls-name', 'a certificate without the address in the URL'], ['tls-wrong', 'another name'], ['tls-foreign', 'an authority that nobody trusts'], ['tls-plain', 'no TLS at all']]) {
      it(`${what}: 502, and not a byte is sent`, async () => {
        const raw = { 'tls-wrong': b.wrong, 'tls-foreign': b.foreign, 'tls-name': b.tls, 'tls-plain': b.one }[host];
        const before = raw.requests.length;
        const res = await assertReason(gateway, ['proxy.tls', ...(host === 'tls-plain' ? ['proxy.connect_timeout', 'proxy.connect'] : [])], () => get(host, '/secret', { headers: navigation }));
        assert.ok(res.status === 502 || (host === 'tls-plain' && res.status === 504), `${res.status}`);
        assert.doesNotMatch(res.body, /internal|SSL|certificate/i, 'no internals');
        assert.equal(raw.requests.length, before);
      });
    }

    it('unverified only when the configuration says so', async () => {
      assert.equal((await get('tls-any', '/x')).body, 'foreign /x');
    });

    it('with a certificate of our own, for those who ask', async () => {
      assert.equal((await get('mutual', '/x')).body, 'gateway /x');
      assert.equal((await get('mutual-none', '/x')).status, 502);
    });

    it('a unix socket', async () => {
      for (let i = 0; i < 3; i++) assert.equal((await get('unix', '/x')).body, 'unix /x');
      assert.equal((await assertReason(gateway, 'proxy.connect', () => get('unix-none', '/x'))).status, 502);
    });

    it('a name', async () => {
      assert.equal((await get('name', '/x')).body, 'two /x');
    });

    it('paths and hosts as the route says', async () => {
      const seen = () => b.one.requests.at(-1);
      await get('prefix', '/api/v1?q=1');
      assert.match(seen().head, /^GET \/v1\?q=1 HTTP\/1.1\r\n/);
      assert.match(seen().head, /\r\nx-forwarded-prefix: \/api\r\n/i);
      assert.match(seen().head, new RegExp(`\r\nhost: prefix.test:${gateway.port}\r\n`, 'i'));
      await get('prefix', '/old/x');
      assert.match(seen().head, /^GET \/new\/place\/x HTTP\/1.1\r\n/);
      assert.match(seen().head, new RegExp(`\r\nhost: 127.0.0.1:${b.one.port}\r\n`, 'i'));
      const res = await get('prefix', '/moved/here?a=b');
      assert.deepEqual([res.status, res.headers.location], [308, 'https://elsewhere.example/x/here?a=b']);
      assert.equal((await get('prefix', '/apix')).status, 404, 'prefixes end at segments');
    });
  });
});
