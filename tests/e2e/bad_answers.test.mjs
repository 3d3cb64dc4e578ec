// SPDX-License-Identifier: GPL-3.0-or-later
// Applications that answer what no two readers understand alike, byte by byte: the visitor gets a 502 that says so or sees that the
// answer is cut off, and no byte of one visitor's answer reaches another.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import { rawTls, request } from './rig/http.mjs';
import { assertStatus } from './rig/journey.mjs';
import { Stage } from './rig/stage.mjs';
import { sleep } from './rig/world.mjs';

const file = (name) => readFileSync(new URL(`../../tests/vectors/http/response/${name}.txt`, import.meta.url), 'latin1');
// The refused heads that the parser's unit tests have, too.
const vectors = file('index').split('\n').filter((l) => l && !/^#| accepted/.test(l)).map((l) => l.split(' ')[0]);

const plain = (body, more = '') => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${more}\r\n${body}`;
const chunked = (body) => `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${body}`;
const EVIL = plain('somebody else\'s');

// An application that answers each request with bytes chosen by the test: /NAME -> answers[NAME], anything else -> its own URL.
// `seen` says which connection brought which request.
async function startRaw(world) {
  const raw = { port: await world.port(), answers: {}, seen: [] };
  const sockets = new Set();
  let connections = 0;
  const server = net.createServer((s) => {
    const connection = connections++;
    let got = '';
    sockets.add(s);
    s.on('error', () => {});
    s.on('close', () => sockets.delete(s));
    s.on('data', (d) => {
      got += d.toString('latin1');
      for (let end; (end = got.indexOf('\r\n\r\n')) >= 0; got = got.slice(end + 4)) {
        const [method, url] = got.split(' ', 2);
        raw.seen.push({ connection, method, url });
        const answer = raw.answers[url.slice(1)] ?? plain(url);
        if (typeof answer === 'function') answer(s);
        else s.write(answer, 'latin1');
      }
    });
  });
  await new Promise((resolve) => { server.listen(raw.port, '127.0.0.1', resolve); });
  world.onClose(() => new Promise((resolve) => { server.close(resolve); sockets.forEach((s) => s.destroy()); }));
  return raw;
}

describe('bad answers', () => {
  let stage;
  let raw;
  let served = 0;
  before(async () => {
    stage = await Stage.start('answers', { oidc: { op: {} }, idps: false, start: false });
    raw = await startRaw(stage.world);
    const route = { host: 'raw.test', backends: [`http://127.0.0.1:${raw.port}`], policy: 'public', timeouts: { response: '3s' } };
    const { config } = stage.gateway;
    stage.gateway.configure({ ...config, workers: 1, routes: [...config.routes, route] }); // one pool of connections
    await stage.gateway.start();
  });
  after(() => stage?.close());

  const get = (path, options) => request(stage.url('raw.test', path), { headers: { Accept: 'application/json' }, ...options });

  // The next visitor gets an answer of their own, from a connection that nothing was left on.
  async function assertNextIsClean(connection, what) {
    const url = `/good-${served++}`;
    const res = assertStatus(await get(url), 200, what);
    assert.equal(res.body, url, `${what}: somebody else's answer`);
    const mine = raw.seen.find((r) => r.url === url);
    if (connection !== undefined) assert.notEqual(mine.connection, connection, `${what}: the connection was used again`);
  }

  async function ask(name, answer, options) {
    raw.answers[name] = answer;
    const from = raw.seen.length;
    const res = await get(`/${name}`, options).catch((error) => ({ error }));
    const asked = raw.seen.slice(from).filter((r) => r.url === `/${name}`);
    // A kept connection that ends without an answer may have been closed before it was asked: once more, on a fresh one.
    assert.ok(asked.length === 1 || (name === 'nothing' && asked.length === 2), `${name}: asked ${asked.length} times`);
    return { ...res, connection: asked.at(-1).connection };
  }

  async function assertRefused(name, answer, reason = 'upstream.head') {
    const begun = Date.now();
    const res = assertStatus(await ask(name, answer), 502, name);
    assert.equal(JSON.parse(res.body).error, reason, name);
    assert.ok(Date.now() - begun < 2000, `${name}: at once, not when the time is over`);
    assert.doesNotMatch(res.body + JSON.stringify(res.raw), /hello|set-cookie/i, `${name}: nothing of it gets through`);
    await assertNextIsClean(res.connection, name);
  }

  it(`${vectors.length} heads that no two readers understand alike`, async () => {
    for (const name of vectors) await assertRefused(name, file(name));
  });

  for (const [name, answer, reason] of [
    ['nothing', (s) => s.end(), 'proxy.reset'],
    ['half-a-head', (s) => s.end('HTTP/1.1 200 OK\r\nContent-Le'), 'proxy.reset'],
    ['http09', (s) => s.end('<html>hello</html>'), 'upstream.head'],
    ['interim-flood', 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'.repeat(100) + plain('hello'), 'upstream.head'],
    ['endless-interim', (s) => { const t = setInterval(() => s.write('HTTP/1.1 102 Processing\r\n\r\n'.repeat(10)), 5); s.on('close', () => clearInterval(t)); }, 'upstream.head'],
    ['switching-unasked', 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello', 'upstream.head'],
    ['switching-to-h2c', `HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n${EVIL}`, 'upstream.head'],
    ['hidden-in-interim', `HTTP/1.1 103 Early Hints\r\nContent-Length: ${EVIL.length}\r\n\r\n${EVIL}${plain('hello')}`, 'upstream.head'],
    ['endless-head', (s) => { const t = setInterval(() => s.write(`X: ${'hello'.repeat(1000)}\r\n`), 2); s.write('HTTP/1.1 200 OK\r\n'); s.on('close', () => clearInterval(t)); }, 'upstream.head'],
  ]) {
    it(`${name} is 502`, () => assertRefused(name, answer, reason));
  }

  // The head was good and is on its way: the visitor must see that the rest is missing.
  for (const [name, answer] of [
    ['shorter than its length', (s) => s.end('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello')],
    ['chunks without their end', (s) => s.end(chunked('5\r\nhello\r\n'))],
    ['a chunk cut in the middle', (s) => s.end(chunked('9\r\nhello'))],
    ['chunk size with a sign', chunked('5\r\nhello\r\n+5\r\nhello\r\n0\r\n\r\n')],
    ['chunk size 0x', chunked('5\r\nhello\r\n0x5\r\nhello\r\n0\r\n\r\n')],
    ['chunk size beyond 64 bits', chunked('5\r\nhello\r\n10000000000000005\r\nhello\r\n0\r\n\r\n')],
    ['an empty chunk size', chunked('5\r\nhello\r\n\r\nhello\r\n0\r\n\r\n')],
    ['bare LF after a chunk size', chunked('5\r\nhello\r\n5\nhello\r\n0\r\n\r\n')],
    ['bare LF in a chunk extension', chunked('5\r\nhello\r\n5;\nhello\r\n0\r\n\r\n')],
    ['a chunk longer than its size', chunked('5\r\nhelloX\r\n0\r\n\r\n')],
    ['an endless size line', chunked(`5\r\nhello\r\n5;${'x'.repeat(300)}\r\nhello\r\n0\r\n\r\n`)],
    ['trailers that are none', chunked('5\r\nhello\r\n0\r\nHTTP/1.1 200 OK\r\n\r\n')],
    ['trailers that are too long', chunked(`5\r\nhello\r\n0\r\nX: ${'x'.repeat(9000)}\r\n\r\n`)],
  ]) {
    it(`${name}: cut off`, async () => {
      const key = name.replaceAll(' ', '-');
      raw.answers[key] = answer;
      const res = await get(`/${key}`, { onResponse: (r) => new Promise((resolve) => {
        let body = '';
        r.on('data', (d) => { body += d; });
        r.on('end', () => resolve({ body, complete: r.complete }));
        r.on('error', () => resolve({ body, complete: false }));
      }) }).catch(() => ({ body: '', complete: false }));
      assert.equal(res.complete, false, `it looked complete: ${res.body}`);
      assert.ok('hello'.startsWith(res.body), res.body);
      await assertNextIsClean(raw.seen.find((r) => r.url === `/${key}`).connection, name);
    });
  }

  // The answer ends where it says; what comes behind is nobody's, and the connection is not used again.
  for (const [name, answer, { body = 'hello', status = 200, method = 'GET' } = {}] of [
    ['more than its length', plain('hello') + EVIL],
    ['more than nothing', plain('') + EVIL, { body: '' }],
    ['more behind the last chunk', chunked('5\r\nhello\r\n0\r\n\r\n') + EVIL],
    ['one line end too many', `${plain('hello')}\r\n`],
    ['204 with a body', `HTTP/1.1 204 No Content\r\n\r\n${EVIL}`, { body: '', status: 204 }],
    ['204 with a length', `HTTP/1.1 204 No Content\r\nContent-Length: ${EVIL.length}\r\n\r\n${EVIL}`, { body: '', status: 204 }],
    ['204 in chunks', `HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n${EVIL.length.toString(16)}\r\n${EVIL}\r\n0\r\n\r\n`, { body: '', status: 204 }],
    ['304 with a body', `HTTP/1.1 304 Not Modified\r\nContent-Length: ${EVIL.length}\r\n\r\n${EVIL}`, { body: '', status: 304 }],
    ['HEAD with a body', `HTTP/1.1 200 OK\r\nContent-Length: ${EVIL.length}\r\n\r\n${EVIL}`, { body: '', method: 'HEAD' }],
    ['more, a moment later', (s) => { s.write(plain('hello')); setTimeout(() => s.write(EVIL), 30); }],
    ['HEAD with a body, a moment later', (s) => { s.write(`HTTP/1.1 200 OK\r\nContent-Length: ${EVIL.length}\r\n\r\n`); setTimeout(() => s.write(EVIL), 30); }, { body: '', method: 'HEAD' }],
    ['204 with a length, a moment later', (s) => { s.write('HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n'); setTimeout(() => s.write('hello'), 30); }, { body: '', status: 204 }],
    ['to the end of the connection', (s) => s.end('HTTP/1.1 200 OK\r\n\r\nhello')],
    ['HTTP/1.0', (s) => s.end('HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello')],
    ['Connection: close, but it stays', plain('hello', 'Connection: close\r\n')],
  ]) {
    it(`${name}: no byte for the next`, async () => {
      const res = assertStatus(await ask(encodeURIComponent(name.replaceAll(/[^\w]/g, '-')), answer, { method }), status, name);
      assert.equal(res.body, body);
      if (/later/.test(name)) await sleep(100);
      await assertNextIsClean(res.connection, name);
    });
  }

  it('an answer before the request was complete: the connection is not used again', async () => {
    raw.answers.early = plain('hello');
    const { text } = await rawTls(stage.gateway.port, 'raw.test', `POST /early HTTP/1.1\r\nHost: raw.test:${stage.gateway.port}\r\nContent-Length: 100000\r\n\r\nabc`);
    assert.match(text, /^HTTP\/1\.1 200 [\s\S]*hello$/);
    await assertNextIsClean(raw.seen.find((r) => r.url === '/early').connection, 'early');
  });

  it('a connection on which all was well is used again', async () => {
    await get('/well-1');
    await get('/well-2');
    const [one, two] = ['/well-1', '/well-2'].map((url) => raw.seen.find((r) => r.url === url).connection);
    assert.equal(one, two, 'otherwise the tests above show nothing');
  });

  it('interim answers are no answers', async () => {
    const res = await ask('hints', `HTTP/1.1 100 Continue\r\n\r\n${'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nSet-Cookie: a=b\r\n\r\n'.repeat(3)}${plain('hello')}`);
    assertStatus(res, 200);
    assert.equal(res.body, 'hello');
    assert.equal(res.headers['set-cookie'], undefined);
  });

  it('of many visitors at once, everyone gets their own', async () => {
    for (let i = 0; i < 20; i++) raw.answers[`extra-${i}`] = `${plain(`/extra-${i}`)}${EVIL}`;
    const one = async (n) => {
      const url = n % 3 ? `/own-${n}` : `/extra-${n % 20}`;
      const res = await get(url);
      assert.equal(res.status === 200 ? res.body : url, url);
      return res.status;
    };
    for (let round = 0; round < 5; round++) {
      const statuses = await Promise.all(Array.from({ length: 30 }, (_, i) => one(round * 30 + i)));
      assert.deepEqual(statuses.filter((s) => s !== 200), []);
    }
  });
});
