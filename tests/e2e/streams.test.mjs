// SPDX-License-Identifier: GPL-3.0-or-later
// Answers and uploads that go on for a while, and everything of HTTP that an application may use: nothing is held back, nothing grows.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { truncateSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import { after, before, describe, it } from 'node:test';
import { startFlask, startNode, startStarlette } from './rig/apps.mjs';
import { begin, closeSessions, fetchAll } from './rig/exchange.mjs';
import { Client } from './rig/http.mjs';
import { assertReason, assertStatus, oidcLogin } from './rig/journey.mjs';
import { Stage } from './rig/stage.mjs';
import { sleep, until } from './rig/world.mjs';

const MiB = 1 << 20;
const BIG = 200 * MiB;
const PROTOCOLS = (process.env.PROTOCOLS ?? 'h1,h2').split(',');

describe('streams', () => {
  let stage;
  let gateway;
  let files;
  before(async () => {
    const apps = {};
    stage = await Stage.start('streams', {
      oidc: { op: {} },
      setup: async ({ world }) => {
        files = world.mkdir('files');
        writeFileSync(`${files}/digits.txt`, '0123456789'.repeat(100));
        writeFileSync(`${files}/big.bin`, '');
        truncateSync(`${files}/big.bin`, BIG);
        [apps.flask, apps.node, apps.starlette] = await Promise.all([startFlask(world, files), startNode(world), startStarlette(world)]);
      },
      routes: () => [
        { host: 'flask.test', backends: [apps.flask.url], policy: 'public' },
        { host: 'node.test', backends: [apps.node.url], policy: 'public', timeouts: { response: '1s' } },
        { host: 'starlette.test', backends: [apps.starlette.url], policy: 'public' },
        { host: 'small.test', backends: [apps.node.url], policy: 'public', limits: { body: '1MiB' } },
        { host: 'private.test', backends: [apps.node.url], policy: 'staff' },
      ],
    });
    ({ gateway } = stage);
  });
  after(() => { closeSessions(); return stage?.close(); });

  const url = (host, path) => stage.url(`${host}.test`, path);
  let names = 0;
  const name = () => `n${names++}`;
  const curl = async (args, options) => {
    const r = await stage.world.run('curl', ['-sk', '--connect-to', `::127.0.0.1:${gateway.port}`, ...args], { ms: 60000, ...options });
    return r;
  };
  // How much more memory than ever before the gateway had, while `f` ran.
  const growth = async (f) => {
    const before = gateway.memoryPeak();
    await f();
    return gateway.memoryPeak() - before;
  };

  for (const p of PROTOCOLS) {
    describe(p === 'h2' ? 'HTTP/2' : 'HTTP/1.1', () => {
      it('each event is there before the next one is made', async () => {
        const id = name();
        const answer = await begin(p, url('starlette', `/events?name=${id}&count=5`)).answer;
        assert.equal(answer.status, 200);
        assert.match(answer.headers['content-type'], /^text\/event-stream/);
        for (let i = 0; i < 5; i++) {
          await answer.until(`data: event ${i}\n\n`);
          assert.equal((await fetchAll(p, url('starlette', `/more?name=${id}`), { method: 'POST', data: '' })).status, 200);
        }
        await answer.whole();
      });

      it('an event stream may be silent longer than answers may take, and its visitor may leave', async () => {
        const id = name();
        const x = begin(p, url('node', `/events?name=${id}`));
        const answer = await x.answer;
        await answer.until('event 0');
        await sleep(2200);
        const event = async (data) => JSON.parse((await fetchAll(p, url('node', `/event?name=${id}&data=${data}`))).text);
        assert.deepEqual(await event('late'), { open: true });
        await answer.until('data: late');
        x.stream.destroy();
        await until('the application to notice', async () => !(await event('gone')).open, { ms: 5000 });
      });

      it('an event stream ends with the session', async () => {
        const client = new Client();
        assertStatus(await oidcLogin(client, url('private', '/who'), 'ann'), 200);
        const id = name();
        const [x, other] = [begin(p, url('private', `/events?name=${id}`), { client }), begin(p, url('node', `/events?name=${name()}`))];
        const [answer, kept] = [await x.answer, await other.answer];
        await answer.until('event 0');
        let open = true;
        kept.ended.then(() => { open = false; });
        await gateway.revoke('ann@example.com');
        const ended = await Promise.race([answer.ended.then(() => 'ended'), sleep(8000)]);
        assert.equal(ended, 'ended', 'the stream was still open after 8 s');
        assert.ok(open, 'streams without a session go on');
        other.stream.destroy();
      });

      for (const [what, headers] of [['in chunks', {}], ['with a length', { 'content-length': 300000 }]]) {
        it(`the application gets the first part of an upload ${what} before the last is sent`, async () => {
          const id = name();
          const x = begin(p, url('starlette', `/upload?name=${id}`), { method: 'POST', body: true, headers });
          const arrived = async () => JSON.parse((await fetchAll(p, url('starlette', `/arrived?name=${id}`))).text).bytes;
          for (const part of [1, 2, 3]) {
            x.stream.write(Buffer.alloc(100000, `${part}`));
            await until(`part ${part}`, async () => await arrived() === part * 100000, { ms: 8000 });
          }
          x.stream.end();
          assert.equal(JSON.parse(await (await x.answer).whole()).bytes, 300000);
        });
      }

      it('request and answer overlap', async () => {
        const x = begin(p, url('node', '/overlap'), { method: 'POST', body: true });
        x.stream.write('one.');
        const answer = await x.answer;
        for (const word of ['two.', 'three.', 'four.']) {
          x.stream.write(word);
          await answer.until(word);
        }
        x.stream.end();
        assert.equal(await answer.whole(), 'one.two.three.four.');
      });

      it('an answer that comes before the upload is complete arrives', async () => {
        for (const [host, path] of [['node', '/early'], ['flask', '/small']]) {
          const x = begin(p, url(host, path), { method: 'POST', body: true, headers: { 'content-length': 50 * MiB } });
          const piece = Buffer.alloc(65536);
          let open = true;
          x.stream.on('close', () => { open = false; });
          const timer = setInterval(() => { if (open && x.stream.writable && !x.stream.writableNeedDrain) x.stream.write(piece); }, 1);
          try {
            const answer = await x.answer;
            assert.equal(answer.status, 413, `from ${host}`);
            assert.match(await answer.whole(), /^(too large|larger than 1000 bytes)\n$/);
          } finally {
            clearInterval(timer);
            x.stream.destroy();
          }
        }
      });

      it('ranges', async () => {
        const get = (range, more = {}) => fetchAll(p, url('flask', '/file/digits.txt'), { headers: { range, ...more } });
        const part = await get('bytes=10-14');
        assert.deepEqual([part.status, part.text, part.headers['content-range']], [206, '01234', 'bytes 10-14/1000']);
        assert.equal((await get('bytes=-3')).text, '789');
        assert.equal((await get('bytes=2000-')).status, 416);
        const { etag } = part.headers;
        assert.equal((await get('bytes=0-1', { 'if-range': etag })).status, 206);
        assert.equal((await get('bytes=0-1', { 'if-range': '"another"' })).status, 200);
      });

      it('HEAD, 304, 204 and others on one connection, in order', async () => {
        const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
        const file = url('flask', '/file/digits.txt');
        const { headers: { etag, 'last-modified': modified } } = await fetchAll(p, file, { agent });
        for (let i = 0; i < 2; i++) {
          for (const [options, status, length, bytes, at = file] of [
            [{ method: 'HEAD' }, 200, '1000', 0],
            [{}, 200, '1000', 1000],
            [{ headers: { 'if-none-match': etag } }, 304, undefined, 0],
            [{ headers: { 'if-modified-since': modified } }, 304, undefined, 0],
            [{ method: 'DELETE' }, 204, undefined, 0, url('flask', '/thing')],
            [{ method: 'OPTIONS' }, 200, '0', 0],
            [{}, 200, undefined, 4 * 7 - 7, url('flask', '/chunked/3')],
            [{ method: 'HEAD' }, 200, undefined, 0, url('flask', '/chunked/3')],
          ]) {
            const answer = await fetchAll(p, at, { ...options, agent });
            const what = `${options.method ?? 'GET'} ${at}`;
            assert.equal(answer.status, status, what);
            assert.equal(answer.bytes, bytes, what);
            if (length) assert.equal(answer.headers['content-length'], length, what);
            assert.ok(status !== 204 || !('content-length' in answer.headers), '204 has no length');
          }
        }
        agent.destroy();
      });

      it('interim answers and trailers do no harm', async () => {
        const hints = begin(p, url('node', '/hints'));
        assert.equal(await (await hints.answer).whole(), 'after hints');
        const x = begin(p, url('node', '/trailers'));
        let trailers;
        x.stream.on('trailers', (t) => { trailers = t; });
        const answer = await x.answer;
        assert.equal(await answer.whole(), 'with trailers');
        assert.equal(answer.headers.trailer, undefined);
        assert.deepEqual({ ...(answer.stream.trailers ?? {}), ...trailers }, {}, 'no trailers');
        assert.equal((await fetchAll(p, url('node', '/same'))).text, 'a body');
      });

      it('redirects, cookies and forms of a Flask application', async () => {
        const old = await fetchAll(p, url('flask', '/old'));
        assert.deepEqual([old.status, old.headers.location], [301, url('flask', '/who?came=from')]);
        const who = JSON.parse((await fetchAll(p, url('flask', '/who'))).text);
        assert.deepEqual(who, { address: '127.0.0.1', email: null, host: new URL(url('flask', '')).host, scheme: 'https', url: url('flask', '/who'), user: null });
        const cookie = await fetchAll(p, url('flask', '/cookie'), { headers: { cookie: 'visits=41; other=x' } });
        assert.deepEqual(JSON.parse(cookie.text), { visits: '41', other: 'x' });
        assert.match(cookie.headers['set-cookie'][0], /^visits=42; Secure; HttpOnly; Path=\/; SameSite=Lax$/);
        assert.equal(cookie.headers['set-cookie'][1], 'colour=blue; Path=/');
        const form = await fetchAll(p, url('flask', '/form'), { method: 'POST', data: 'a=1&b=%C3%A4+b', headers: { 'content-type': 'application/x-www-form-urlencoded' } });
        assert.deepEqual(JSON.parse(form.text), { fields: { a: '1', b: 'ä b' }, files: {} });
      });

      it('Expect: 100-continue from curl, files in forms', async () => {
        const file = stage.world.path('upload.bin');
        writeFileSync(file, randomBytes(2 * MiB));
        const version = p === 'h2' ? '--http2' : '--http1.1';
        const expect = await curl([version, '-v', '-H', 'Expect: 100-continue', '--expect100-timeout', '20', '--data-binary', `@${file}`, url('node', '/upload?name=c'), '-w', ' %{http_version} %{time_total}']);
        assert.match(expect.stdout, /^\{"bytes":2097152,"sha256":"\w{64}"\} /, expect.stderr);
        assert.ok(Number(expect.stdout.split(' ').at(-1)) < 10, `curl waited: ${expect.stdout}`);
        if (p === 'h1') assert.match(expect.stderr, /< HTTP\/1.1 100 Continue/i);
        const form = await curl([version, '-F', `file=@${file}`, '-F', 'word=x y', url('flask', '/form')]);
        assert.deepEqual(JSON.parse(form.stdout), { fields: { word: 'x y' }, files: { file: 2 * MiB } });
      });

      it('a body larger than the route allows is refused before it is sent, or as soon as it is', async () => {
        const at = url('small', '/upload?name=s');
        const refused = (write, headers) => assertReason(gateway, 'http.body_too_large', async () => {
          const x = begin(p, at, { method: 'POST', body: true, headers });
          let asked = false;
          x.stream.on('continue', () => { asked = true; });
          write(x.stream);
          const answer = await x.answer;
          assert.equal(answer.status, 413);
          assert.match(await answer.whole(), /http.body_too_large/);
          x.stream.destroy();
          return asked;
        });
        assert.equal(await refused(() => {}, { 'content-length': 2 * MiB, expect: '100-continue' }), false, 'not a byte was asked for');
        await refused((stream) => stream.write(Buffer.alloc(2 * MiB)), {});
        const fits = await fetchAll(p, at, { method: 'POST', data: Buffer.alloc(MiB) });
        assert.equal(JSON.parse(fits.text).bytes, MiB);
      });

      it('200 MiB up and down in constant memory', async () => {
        const version = p === 'h2' ? '--http2' : '--http1.1';
        const warm = await curl([version, url('node', '/download?blocks=160'), '-o', '/dev/null', '-w', '%{http_version}']);
        assert.equal(warm.stdout, p === 'h2' ? '2' : '1.1');
        await curl([version, '-T', `${files}/digits.txt`, url('node', '/upload?name=w')]);
        const more = await growth(async () => {
          const down = await curl([version, url('node', '/download?blocks=3200'), '-o', '/dev/null', '-w', '%{size_download} %{http_code}']);
          assert.equal(down.stdout, `${BIG} 200`);
          const up = await curl([version, '-T', `${files}/big.bin`, url('node', '/upload?name=b')]);
          assert.equal(JSON.parse(up.stdout).bytes, BIG);
        });
        assert.ok(more < 5 * MiB, `${(more / MiB).toFixed(1)} MiB more while ${BIG / MiB} MiB passed in each direction`);
      });
    });
  }
});
