// SPDX-License-Identifier: GPL-3.0-or-later
// What backends receive and what browsers receive: nobody but the gateway says who the user is.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Client, navigation, request, rawTls } from './rig/http.mjs';
import { assertStatus, echo, oidcLogin, sessionOf } from './rig/journey.mjs';
import { Stage } from './rig/stage.mjs';

// Every name by which any of the known gateways tells applications who the user is.
const identityNames = [
  'X-Sallyport-User', 'X-Sallyport-Email', 'X-Sallyport-Name', 'X-Sallyport-Groups', 'X-Sallyport-Subject', 'X-Sallyport-Provider',
  'X-Forwarded-User', 'X-Forwarded-Email', 'X-Forwarded-Groups', 'X-Forwarded-Preferred-Username', 'X-Forwarded-Access-Token',
  'X-Auth-Request-User', 'X-Auth-Request-Email', 'X-Auth-Request-Groups', 'X-Auth-Request-Preferred-Username', 'X-Auth-Request-Access-Token',
  'Remote-User', 'Remote-Groups', 'Remote-Name', 'Remote-Email',
  'X-Pomerium-Jwt-Assertion', 'Cf-Access-Jwt-Assertion', 'Cf-Access-Authenticated-User-Email',
  'X-Goog-Iap-Jwt-Assertion', 'X-Goog-Authenticated-User-Email', 'X-Goog-Authenticated-User-Id',
  'X-Auth-Userid', 'X-Auth-Username', 'X-Auth-Email', 'X-Auth-Groups', 'X-Auth-Roles', 'X-Auth-Subject',
];
const spellings = [
  (n) => n, (n) => n.toLowerCase(), (n) => n.toUpperCase(), (n) => n.replaceAll('-', '_'), (n) => n.toUpperCase().replaceAll('-', '_'),
  (n) => n.replace('-', '_'),
];
const PLANTED = 'planted-by-the-visitor';

const names = (raw) => raw.filter((_, i) => i % 2 === 0);
const valuesOf = (raw, name) => raw.flatMap((n, i) => (i % 2 === 0 && n.toLowerCase() === name ? [raw[i + 1]] : []));

describe('headers', () => {
  let stage;
  let gateway;
  let ann;
  before(async () => {
    stage = await Stage.start('headers', {
      oidc: { op: {} }, nginx: true,
      routes: (s) => [
        { host: 'preset-o2p.test', backends: [s.backend.url], policy: 'staff', identity: 'oauth2-proxy' },
        { host: 'preset-remote.test', backends: [s.backend.url], policy: 'staff', identity: 'remote-user' },
        { host: 'preset-both.test', backends: [s.backend.url], policy: 'staff', identity: ['sallyport', 'remote-user'] },
        { host: 'preset-none.test', backends: [s.backend.url], policy: 'staff', identity: 'none' },
        { host: 'strict.test', backends: [s.backend.url], policy: 'public', secure_headers: 'strict' },
        { host: 'off.test', backends: [s.backend.url], policy: 'public', secure_headers: 'off' },
        { host: 'open-nginx.test', backends: [s.nginx.url], policy: 'public' },
      ],
    });
    ({ gateway } = stage);
    ann = new Client();
    await oidcLogin(ann, stage.url('wiki.test', '/echo'), 'ann');
  });
  after(() => stage?.close());

  const at = (host, path = '/echo') => stage.url(host, path);
  const asAnn = async (host, headers, path) => {
    assertStatus(await ann.open(at(host)), 200, 'the session of this test');
    return echo(ann, at(host, path), headers);
  };
  // Raw request with the header lines as they are; the backend's report.
  const raw = async (host, lines, client) => {
    const cookie = client ? [`Cookie: ${client.cookieHeader(at(host))}`] : [];
    const head = ['GET /echo HTTP/1.1', `Host: ${host}:${gateway.port}`, 'Connection: close', ...cookie, ...lines, '', ''].join('\r\n');
    const { text } = await rawTls(gateway.port, host, head);
    assert.match(text, /^HTTP\/1\.1 200 /, text.slice(0, 300));
    return JSON.parse(/\{.*\}/s.exec(text)[0]);
  };

  it('forged identity never arrives, in no spelling, on public and on protected routes', async () => {
    for (const spell of spellings) {
      const lines = identityNames.map((n) => `${spell(n)}: ${PLANTED}`);
      for (const [host, client] of [['open.test'], ['wiki.test', ann]]) {
        const got = await raw(host, lines, client);
        const through = got.raw.filter((_, i) => got.raw[i + 1] === PLANTED || got.raw[i + 1]?.includes(PLANTED));
        assert.deepEqual(through, [], `${host}, spelt as ${spell('X-Forwarded-User')}`);
      }
    }
  });

  it('forged identity together with real identity leaves only the real one', async () => {
    const got = await raw('wiki.test', ['X-Sallyport-User: root', 'x-sallyport-USER: root', 'X_Sallyport_User: root', 'X-Sallyport-Email: root@example.com'], ann);
    assert.equal(valuesOf(got.raw, 'x-sallyport-user').length, 1);
    assert.deepEqual(valuesOf(got.raw, 'x-sallyport-email'), ['ann@example.com']);
    assert.ok(!got.raw.includes('root'));
  });

  it('an absent value is deleted, not left as the visitor sent it', async () => {
    const got = await raw('open.test', ['X-Sallyport-Name: Root', 'X-Sallyport-Groups: admins']);
    assert.deepEqual(names(got.raw).filter((n) => /sallyport/i.test(n)), []);
  });

  it('Connection cannot make anybody drop the identity', async () => {
    for (const line of ['Connection: close, X-Sallyport-User, X-Sallyport-Email', 'Connection: x-sallyport-email', 'Connection: X-Forwarded-For, Cookie, Host']) {
      const got = await raw('wiki.test', [line], ann);
      assert.deepEqual(valuesOf(got.raw, 'x-sallyport-email'), ['ann@example.com'], line);
      assert.deepEqual(valuesOf(got.raw, 'x-forwarded-for'), ['127.0.0.1'], line);
    }
  });

  it('hop-by-hop headers and those that Connection names stay here', async () => {
    const got = await raw('open.test', ['Connection: X-Custom, keep-alive', 'X-Custom: 1', 'Keep-Alive: timeout=5', 'TE: trailers', 'Proxy-Connection: keep-alive', 'Proxy-Authorization: Basic x', 'Proxy: http://evil.test', 'X-Kept: 1']);
    const lower = names(got.raw).map((n) => n.toLowerCase());
    for (const gone of ['x-custom', 'keep-alive', 'te', 'proxy-connection', 'proxy-authorization', 'proxy']) assert.ok(!lower.includes(gone), gone);
    assert.ok(lower.includes('x-kept'));
  });

  it("the gateway's cookies never reach a backend, the app's do", async () => {
    const session = sessionOf(ann, 'wiki.test');
    const variants = [
      `theme=dark; __Host-sallyport=${session}; lang=en`, `__Host-sallyport=${session};theme=dark`, `theme=dark;  __host-SALLYPORT=x; lang=en; __Host-sallyport-abc=1`,
      `theme=dark; "__Host-sallyport"=x; __Host-sallyport =x`,
    ];
    for (const cookie of variants) {
      for (const host of cookie.includes('"') ? ['open.test'] : ['open.test', 'wiki.test']) {
        const lines = host === 'wiki.test' ? [`Cookie: __Host-sallyport=${session}`, `Cookie: ${cookie.replaceAll(`__Host-sallyport=${session}`, 'z=1')}`] : [`Cookie: ${cookie}`];
        const got = await raw(host, lines);
        assert.match(got.headers.cookie, /theme=dark/, cookie);
        assert.doesNotMatch(got.headers.cookie, /sallyport/i, `${host}: ${cookie}`);
      }
    }
    assert.equal((await raw('wiki.test', [], ann)).headers.cookie, undefined);
  });

  it('forwarding headers are the gateway\'s own', async () => {
    const lie = ['X-Forwarded-For: 6.6.6.6', 'X-Forwarded-Host: evil.test', 'X-Forwarded-Proto: http', 'Forwarded: for=6.6.6.6;host=evil.test', 'X-Real-IP: 6.6.6.6', 'X-Forwarded-Uri: /admin', 'X-Original-URL: /admin', 'X-Rewrite-URL: /admin', 'X_Forwarded_For: 6.6.6.6'];
    const { headers, raw: list } = await raw('open.test', lie);
    assert.equal(headers['x-forwarded-for'], '127.0.0.1');
    assert.equal(headers['x-forwarded-proto'], 'https');
    assert.equal(headers['x-forwarded-host'], `open.test:${gateway.port}`);
    assert.equal(headers.host, `open.test:${gateway.port}`);
    assert.match(headers.forwarded, /for="?127\.0\.0\.1/);
    assert.match(headers.forwarded, /proto=https/);
    assert.ok(!list.some((v) => /6\.6\.6\.6|evil\.test|\/admin/.test(v)), JSON.stringify(list));
  });

  it('presets give the names that applications know', async () => {
    const o2p = (await asAnn('preset-o2p.test')).headers;
    assert.equal(o2p['x-forwarded-email'], 'ann@example.com');
    assert.equal(o2p['x-forwarded-groups'], 'staff,admins');
    assert.ok(o2p['x-forwarded-user']);
    assert.ok(o2p['x-forwarded-preferred-username']);
    assert.equal(o2p['x-sallyport-user'], undefined);
    const remote = (await asAnn('preset-remote.test')).headers;
    assert.equal(remote['remote-email'], 'ann@example.com');
    assert.equal(remote['remote-groups'], 'staff,admins');
    assert.equal(remote['remote-name'], 'Ann Archer');
    assert.ok(remote['remote-user']);
    const both = (await asAnn('preset-both.test')).headers;
    assert.equal(both['remote-email'], both['x-sallyport-email']);
    const none = (await asAnn('preset-none.test')).headers;
    assert.deepEqual(Object.keys(none).filter((n) => /remote-|sallyport|forwarded-(user|email|groups)/.test(n)), []);
  });

  it('behind the gateway nginx sees the same', async () => {
    const res = assertStatus(await request(at('open-nginx.test', '/nginx/'), { headers: { ...navigation, 'X-Sallyport-User': PLANTED } }), 200);
    assert.match(res.body, /x_sallyport_user=\n/);
    assert.match(res.body, /x_forwarded_proto=https\n/);
    assert.equal(res.headers.server, undefined, 'nginx sends Server; the gateway removes it');
  });

  it('several Set-Cookie stay apart and in order; one of our names is dropped', async () => {
    const res = assertStatus(await request(at('open.test', '/cookies')), 200);
    assert.deepEqual(res.setCookies, ['first=1; Path=/', 'second=2; Path=/; HttpOnly', 'third="3 3"; Path=/x']);
    assert.equal(res.headers['x-powered-by'], undefined);
    assert.equal(res.headers.server, undefined);
  });

  it('secure headers are there where the application set none', async () => {
    const res = assertStatus(await request(at('open.test')), 200);
    assert.match(res.headers['strict-transport-security'], /max-age=\d{7,}/);
    assert.equal(res.headers['x-content-type-options'], 'nosniff');
    assert.ok(res.headers['referrer-policy']);
    assert.ok(res.headers['permissions-policy']);
    assert.match(`${res.headers['x-frame-options']} ${res.headers['content-security-policy']}`, /deny|sameorigin|frame-ancestors/i);
    const own = assertStatus(await request(at('open.test', '/own-headers')), 200);
    assert.equal(own.headers['x-frame-options'], 'SAMEORIGIN');
    assert.equal(own.headers['referrer-policy'], 'unsafe-url');
    assert.equal(own.headers['x-content-type-options'], 'nosniff');
    const strict = assertStatus(await request(at('strict.test')), 200);
    assert.match(strict.headers['content-security-policy'], /default-src|frame-ancestors/);
    const off = assertStatus(await request(at('off.test')), 200);
    for (const name of ['strict-transport-security', 'x-frame-options', 'permissions-policy', 'content-security-policy']) assert.equal(off.headers[name], undefined, name);
  });

  it('the paths of the gateway are never the backend\'s', async () => {
    const seen = stage.backend.seen.length;
    for (const path of ['/.sallyport/', '/.sallyport/nothing', '/.sallyport/login', '/.sallyport', '/.sallyport/saml/op/acs', '/.sallyport/oidc/op/callback', '/.Sallyport/', '/%2esallyport/login', '/x/../.sallyport/login', '/.sallyport//login', '/.sallyport/%61']) {
      const { text } = await rawTls(gateway.port, 'open.test', `GET ${path} HTTP/1.1\r\nHost: open.test:${gateway.port}\r\nConnection: close\r\n\r\n`);
      assert.match(text, /^HTTP\/1\.1 \d/, path);
      if (path === '/.Sallyport/') continue; // paths know case: this one is the application's
      assert.ok(!stage.backend.seen.slice(seen).some((r) => /\.sallyport/.test(decodeURIComponent(r.url))), path);
    }
  });
});
