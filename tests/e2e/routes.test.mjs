// SPDX-License-Identifier: GPL-3.0-or-later
// What a route does to requests and answers: paths and hosts that the backend knows under other names, redirects, bodies of
// bounded size, rules about addresses.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import { after, before, describe, it } from 'node:test';
import { Client, rawTls, request } from './rig/http.mjs';
import { assertReason, assertStatus, oidcLogin } from './rig/journey.mjs';
import { Stage } from './rig/stage.mjs';

// Tells what it was asked for; ?location= and ?content-location= are what it answers with.
async function startApp(world) {
  const port = await world.port();
  const app = { port, url: `http://127.0.0.1:${port}`, bodies: [] };
  const server = http.createServer((req, res) => {
    const query = new URL(req.url, 'http://app').searchParams;
    let bytes = 0;
    const body = { bytes: 0, complete: false };
    app.bodies.push(body);
    req.on('data', (d) => { bytes += d.length; body.bytes = bytes; });
    req.on('end', () => {
      body.complete = true;
      for (const name of ['location', 'content-location', 'refresh']) if (query.has(name)) res.setHeader(name, query.get(name));
      if (query.has('cookie')) res.setHeader('set-cookie', query.get('cookie'));
      res.statusCode = query.has('location') ? 302 : 200;
      res.end(JSON.stringify({ url: req.url, method: req.method, headers: req.headers, bytes }));
    });
  });
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  world.onClose(() => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); }));
  return app;
}

describe('routes', () => {
  let stage;
  let app;
  let gateway;
  const publicRoutes = () => [
    { host: 'r.test', path: '/strip', strip_prefix: true },
    { host: 'r.test', path: '/deep/strip', strip_prefix: true },
    { host: 'r.test', path: '/rewrite', rewrite: '/app' },
    { host: 'r.test', path: '/plain' },
    { host: 'r.test', path: '/own-host', preserve_host: false },
    { host: 'r.test', path: '/both', preserve_host: false, rewrite: '/app' },
    { host: 'r.test', path: '/small', limits: { body: '64KiB' } },
    { host: 'front.test', path: '/', rewrite: '/app' },
  ].map((r) => ({ backends: [app.url], policy: 'public', ...r }));
  const redirects = [
    ...[301, 302, 303, 307, 308].map((status) => ({ path: `/to-${status}`, policy: 'public', redirect: { to: 'https://new.test/x?own=1', status } })),
    { path: '/default', policy: 'public', redirect: { to: 'https://new.test' } },
    { path: '/local', policy: 'public', redirect: { to: '/elsewhere', keep_path: false } },
    { path: '/private', policy: 'members', redirect: { to: 'https://new.test', status: 308 } },
  ].map((r) => ({ host: 'old.test', ...r }));
  const byAddress = () => ['here', 'elsewhere', 'not_here', 'not_elsewhere'].map((policy) => ({
    host: 'where.test', path: `/${policy}`, backends: [app.url], policy,
  }));

  before(async () => {
    stage = await Stage.start('routes', {
      oidc: { op: {} },
      setup: async (s) => { app = await startApp(s.world); },
      routes: () => [...publicRoutes(), ...redirects, ...byAddress()],
      policies: {
        here: [{ allow: { public: true, addresses: ['127.0.0.0/8'] } }],
        elsewhere: [{ allow: { public: true, addresses: ['192.0.2.0/24', '::1'] } }],
        not_here: [{ deny: { addresses: ['127.0.0.1'] } }, { allow: { public: true } }],
        not_elsewhere: [{ deny: { addresses: ['192.0.2.0/24'] } }, { allow: { public: true } }],
      },
    });
    ({ gateway } = stage);
  });
  after(() => stage?.close());

  const get = (path, options, host = 'r.test') => request(stage.url(host, path), options);
  const asked = async (path, host) => {
    const r = await get(path, {}, host);
    assertStatus(r, 200, path);
    return JSON.parse(r.body);
  };
  const authority = (host) => new URL(stage.url(host)).host;

  it('strip_prefix takes the prefix off at segments and says which', async () => {
    const rows = [['/strip', '/'], ['/strip/', '/'], ['/strip/a/b?q=/strip', '/a/b?q=/strip'], ['/strip/strip', '/strip'],
      ['/strip?x', '/?x'], ['/strip/a%2Cb', '/a%2Cb']];
    for (const [path, want] of rows) {
      const got = await asked(path);
      assert.equal(got.url, want, path);
      assert.equal(got.headers['x-forwarded-prefix'], '/strip');
      assert.equal(got.headers.host, authority('r.test'));
    }
    assert.equal((await asked('/deep/strip/a')).headers['x-forwarded-prefix'], '/deep/strip');
    assertStatus(await get('/stripped'), 404); // no route: another segment
  });

  it('nobody gets out of the prefix', async () => {
    const raw = async (path) => (await rawTls(gateway.port, 'r.test', `GET ${path} HTTP/1.1\r\nHost: ${authority('r.test')}\r\nConnection: close\r\n\r\n`)).text;
    for (const path of ['/strip//evil', '/strip/%2e%2e/x', '/strip/..%2fx', '/strip/%2fx', '/strip/../../x']) assert.match(await raw(path), /^HTTP\/1\.1 400 /, path);
    assert.match(await raw('/strip/../secret'), /^HTTP\/1\.1 404 /); // outside of every route
    assert.match(await raw('/strip/x/../y'), /"url":"\/y"/);
  });

  it('rewrite puts another in its place', async () => {
    for (const [path, want] of [['/rewrite', '/app'], ['/rewrite/', '/app/'], ['/rewrite/a?b', '/app/a?b'], ['/rewrite/rewrite', '/app/rewrite']]) {
      const got = await asked(path);
      assert.equal(got.url, want, path);
      assert.equal(got.headers['x-forwarded-prefix'], '/rewrite');
    }
    const got = await asked('/a', 'front.test');
    assert.equal(got.url, '/app/a');
    assert.equal(got.headers['x-forwarded-prefix'], undefined); // nothing was taken off
    assert.equal((await asked('/', 'front.test')).url, '/app/');
  });

  it('X-Forwarded-Prefix of a client is nobody\'s word', async () => {
    const headers = { 'X-Forwarded-Prefix': '/evil' };
    for (const [path, want] of [['/plain/x', undefined], ['/strip/x', '/strip']]) {
      const got = JSON.parse((await get(path, { headers })).body);
      assert.equal(got.headers['x-forwarded-prefix'], want, path);
    }
  });

  it('preserve_host: false sends the backend\'s own host, and the real one beside it', async () => {
    const got = await asked('/own-host/x');
    assert.equal(got.url, '/own-host/x');
    assert.equal(got.headers.host, `127.0.0.1:${app.port}`);
    assert.equal(got.headers['x-forwarded-host'], authority('r.test'));
    assert.ok(got.headers.forwarded.includes(authority('r.test')));
    assert.equal((await asked('/plain/x')).headers.host, authority('r.test'));
  });

  const location = async (path, value, name = 'location', host = 'r.test') => {
    const r = await get(`${path}?${new URLSearchParams({ [name]: value })}`, {}, host);
    return r.headers[name];
  };

  it('Location names public addresses', async () => {
    const [own, origin] = [`http://127.0.0.1:${app.port}`, stage.url('r.test', '')];
    const rows = [
      // where, what the application says, what the browser gets
      ['/own-host', `${own}/own-host/b?c#d`, `${origin}/own-host/b?c#d`],
      ['/own-host', `${own.replace('http', 'https')}/b`, `${origin}/b`],
      ['/own-host', '/b', '/b'],
      ['/own-host', 'http://127.0.0.1:1/b', 'http://127.0.0.1:1/b'],
      ['/own-host', 'https://idp.example.com/', 'https://idp.example.com/'],
      ['/plain', `${own}/b`, `${own}/b`],
      ['/plain', '/b', '/b'],
      ['/strip', '/b?c', '/strip/b?c'],
      ['/strip', '/', '/strip/'],
      ['/strip', '/strip/b', '/strip/b'],
      ['/strip', `${origin}/b`, `${origin}/strip/b`],
      ['/strip', 'b', 'b'],
      ['/strip', 'https://idp.example.com/b', 'https://idp.example.com/b'],
      ['/rewrite', '/app/b', '/rewrite/b'],
      ['/rewrite', '/b', '/b'],
      ['/both', `${own}/app/b`, `${origin}/both/b`],
      ['/both', '/app', '/both'],
    ];
    for (const [path, value, want] of rows) assert.equal(await location(path, value), want, `${path} ${value}`);
    assert.equal(await location('/both', `${own}/app/b`, 'content-location'), `${origin}/both/b`);
    assert.equal(await location('/both', `0; url=${own}/app/b`, 'refresh'), `0; url=${own}/app/b`);
    assert.equal(await location('/', '/app/b', 'location', 'front.test'), '/b');
    assert.equal(await location('/', '/app//evil.test', 'location', 'front.test'), '/app//evil.test'); // no way to another host
    assert.deepEqual((await get(`/strip?${new URLSearchParams({ cookie: 'a=1; Path=/b' })}`)).setCookies, ['a=1; Path=/b']);
  });

  it('redirects of every status, with path and query', async () => {
    for (const status of [301, 302, 303, 307, 308]) {
      for (const method of ['GET', 'POST', 'PUT']) {
        const r = await get(`/to-${status}/a/b?q=1`, { method, body: method === 'GET' ? undefined : 'body' }, 'old.test');
        assertStatus(r, status, method);
        assert.equal(r.headers.location, 'https://new.test/x/a/b?own=1&q=1');
        assert.equal(r.headers['cache-control'], status === 301 || status === 308 ? undefined : 'no-store');
      }
    }
    const r = await get('/default/a', {}, 'old.test');
    assertStatus(r, 302);
    assert.equal(r.headers.location, 'https://new.test/a');
    assert.equal((await get('/local/a?q', {}, 'old.test')).headers.location, '/elsewhere');
  });

  it('a redirect is for those whom the policy allows', async () => {
    const r = await get('/private/a', { headers: { Accept: 'application/json' } }, 'old.test');
    assertStatus(r, 401);
    assert.equal(r.headers.location, undefined);
    const end = await oidcLogin(new Client(), stage.url('old.test', '/private/a'), 'ann');
    assertStatus(end, 308);
    assert.equal(end.headers.location, 'https://new.test/a');
    assert.equal(end.headers['cache-control'], 'private'); // what one person may know
  });

  it('a body of known size is refused before anything reaches the backend', async () => {
    const [fits, large] = [Buffer.alloc(64 << 10), Buffer.alloc((64 << 10) + 1)];
    const r = await get('/small', { method: 'POST', body: fits, headers: { 'Content-Length': fits.length } });
    assertStatus(r, 200);
    assert.equal(JSON.parse(r.body).bytes, fits.length);
    const before = app.bodies.length;
    await assertReason(gateway, 'http.body_too_large', async () => {
      assertStatus(await get('/small', { method: 'POST', body: large, headers: { 'Content-Length': large.length } }), 413);
    });
    assert.equal(app.bodies.length, before);
    // Who asks first is told before sending anything.
    const asksFirst = await rawTls(gateway.port, 'r.test', `POST /small HTTP/1.1\r\nHost: ${authority('r.test')}\r\nContent-Length: ${large.length}\r\nExpect: 100-continue\r\n\r\n`);
    assert.match(asksFirst.text, /^HTTP\/1\.1 413 /);
  });

  it('a body of unknown size is cut off where it is too large', async () => {
    const chunked = (bytes) => ({ method: 'POST', headers: { 'Transfer-Encoding': 'chunked' }, body: Buffer.alloc(bytes) });
    const r = await get('/small', chunked(64 << 10));
    assertStatus(r, 200);
    assert.equal(JSON.parse(r.body).bytes, 64 << 10);
    await assertReason(gateway, 'http.body_too_large', async () => { assertStatus(await get('/small', chunked((64 << 10) + 1)), 413); });
    assert.equal(app.bodies.at(-1).complete, false); // the application does not take the part for the whole
    assertStatus(await get('/plain', chunked(1 << 20)), 200);
  });

  it('over HTTP/2 as well', async () => {
    const [fits, large] = [64 << 10, (64 << 10) + 1].map((n) => {
      const file = stage.world.path(`body-${n}`);
      writeFileSync(file, Buffer.alloc(n));
      return file;
    });
    const ask = async (path, ...args) => {
      const { stdout } = await stage.world.run('curl', ['-sk', '--http2', '--resolve', `r.test:${gateway.port}:127.0.0.1`, '-w', ' %{http_version} %{http_code}', ...args, stage.url('r.test', path)]);
      return stdout;
    };
    assert.match(await ask('/small', '-T', fits, '-X', 'POST', '-H', 'Content-Length:'), / 2 200$/);
    assert.match(await ask('/small', '-T', large, '-X', 'POST', '-H', 'Content-Length:'), /http\.body_too_large[^]* 2 413$/); // nobody says how long it is
    assert.match(await ask('/small', '--data-binary', `@${large}`), /http\.body_too_large[^]* 2 413$/);
    assert.match(await ask('/strip/a'), /"url":"\/a"[^]* 2 200$/);
  });

  it('rules ask for the visitor\'s address', async () => {
    const status = async (policy) => (await get(`/${policy}`, {}, 'where.test')).status;
    assert.deepEqual([await status('here'), await status('elsewhere'), await status('not_here'), await status('not_elsewhere')], [200, 403, 403, 200]);
    // Not what a client says of itself.
    const forged = { 'X-Forwarded-For': '192.0.2.1', Forwarded: 'for=192.0.2.1', 'X-Real-IP': '192.0.2.1' };
    assert.equal((await get('/elsewhere', { headers: forged }, 'where.test')).status, 403);
    assert.equal((await get('/not_here', { headers: forged }, 'where.test')).status, 403);
  });
});
