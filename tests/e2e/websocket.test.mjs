// SPDX-License-Identifier: GPL-3.0-or-later
// WebSockets: to real applications and back, under the same policy as everything else, for as long as the session lasts.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { startNode, startQuart, startStarlette } from './rig/apps.mjs';
import { oidcSignIn } from './rig/browser.mjs';
import { Client, forms, rawTls } from './rig/http.mjs';
import { assertReason, assertStatus, oidcLogin } from './rig/journey.mjs';
import { openSocket, refusedSocket } from './rig/socket.mjs';
import { Stage } from './rig/stage.mjs';
import { sleep, until } from './rig/world.mjs';

const MiB = 1 << 20;

describe('WebSockets', () => {
  let stage;
  let gateway;
  let ann;
  let bob;
  before(async () => {
    const apps = {};
    stage = await Stage.start('websocket', {
      oidc: { op: {} },
      setup: async ({ world }) => { [apps.node, apps.starlette, apps.quart] = await Promise.all([startNode(world), startStarlette(world), startQuart(world)]); },
      routes: () => [
        { host: 'node.test', backends: [apps.node.url], policy: 'staff' },
        { host: 'starlette.test', backends: [apps.starlette.url], policy: 'staff' },
        { host: 'quart.test', backends: [apps.quart.url], policy: 'staff' },
        { host: 'free.test', backends: [apps.node.url], policy: 'public', websocket: { origins: ['https://partner.example'] }, timeouts: { stream: '1s' } },
        { host: 'any.test', backends: [apps.node.url], policy: 'public', websocket: { origins: ['*'] } },
        { host: 'none.test', backends: [apps.node.url], policy: 'public', websocket: { allowed: false } },
      ],
    });
    ({ gateway } = stage);
    ann = await signedIn('ann');
    bob = await signedIn('bob');
  });
  after(() => stage?.close());

  const url = (host, path = '/echo') => stage.url(`${host}.test`, path);
  // Signed in on the hosts of the applications as well: each has a cookie of its own.
  const signedIn = async (user, hosts = ['node', 'starlette']) => {
    const client = new Client();
    assertStatus(await oidcLogin(client, stage.url('members.test', '/echo'), user), 200);
    for (const host of hosts) await client.open(url(host, '/'));
    return client;
  };
  const signOut = async (client) => {
    const ask = await client.get(url('node', '/.sallyport/logout'));
    return client.follow(await client.submit(forms(ask).find((f) => f.method === 'POST'), {}, { 'Sec-Fetch-Site': 'same-origin' }));
  };
  const endsSoon = async (socket, what) => {
    const begun = Date.now();
    const end = await Promise.race([socket.closed, sleep(8000)]);
    assert.ok(end, `${what}: the socket was still open after 8 s`);
    return Date.now() - begun;
  };

  for (const host of ['node', 'starlette']) {
    it(`messages of 1 MB come back whole from ${host}`, async () => {
      const socket = await openSocket(url(host), { client: ann });
      const binary = randomBytes(MiB);
      const text = randomBytes(MiB / 2).toString('hex');
      for (let i = 0; i < 3; i++) {
        assert.ok(binary.equals(await socket.ask(binary)), 'binary');
        assert.equal(await socket.ask(text), text, 'text');
      }
      for (const small of ['', 'x', 'ä€']) assert.equal(await socket.ask(small), small);
      socket.ws.close(1000, 'done');
      assert.deepEqual({ ...await socket.closed, at: 0 }, { code: 1000, reason: 'done', at: 0 }, 'the end is that of the application');
    });

    it(`${host} learns in the handshake who it is`, async () => {
      const socket = await openSocket(url(host, '/who'), { client: ann, headers: { 'X-Sallyport-Email': 'root@example.com', X_Sallyport_Email: 'root@example.com' } });
      const headers = JSON.parse(await socket.next());
      assert.equal(headers['x-sallyport-email'], 'ann@example.com');
      assert.equal(headers['x-forwarded-proto'], 'https');
      assert.equal(headers.host, new URL(url(host)).host);
      assert.doesNotMatch(headers.cookie ?? '', /sallyport/);
      assert.doesNotMatch(JSON.stringify(headers), /root@/);
      await socket.end();
    });

    it(`${host} may choose a subprotocol`, async () => {
      const socket = await openSocket(url(host), { client: ann, protocols: ['chat', 'echo'] });
      assert.equal(socket.ws.protocol, 'echo');
      await socket.end();
    });
  }

  it('a hundred at the same time do not mix', async () => {
    const sockets = await Promise.all(Array.from({ length: 100 }, (_, i) => openSocket(url(i % 2 ? 'node' : 'starlette'), { client: ann })));
    await Promise.all(sockets.map(async (s, i) => {
      for (let n = 0; n < 5; n++) {
        const data = Buffer.alloc(5000 + i, `${i}.${n} `);
        assert.ok(data.equals(await s.ask(data)), `socket ${i}, message ${n}`);
      }
    }));
    await Promise.all(sockets.map((s) => s.end()));
  });

  it('whichever speaks first is heard, also when both bytes and handshake come at once', async () => {
    const socket = await openSocket(url('node', '/first'), { client: ann });
    assert.equal(await socket.next(), 'the application speaks first');
    await socket.end();
    // A client may not speak before the handshake is answered, but if it does, nobody mistakes it for a request.
    const host = new URL(url('free')).host;
    const frame = Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]);
    const { text } = await rawTls(gateway.port, 'free.test', [Buffer.concat([Buffer.from(`GET /echo HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\n`
      + 'Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'), frame])], { ms: 700 });
    assert.match(text, /^HTTP\/1.1 101 /);
    assert.match(text, /\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n/i);
    assert.equal(text.slice(text.indexOf('\r\n\r\n') + 4), '\x81\x02hi', 'the echo, once');
  });

  it('without a session the answer is 401, not a redirect', async () => {
    const e = await assertReason(gateway, 'policy.not_logged_in', () => refusedSocket(url('node')));
    assert.equal(e.status, 401, e.message);
    assert.equal(e.headers.location, undefined);
  });

  it('whom the policy denies gets 403', async () => {
    assert.equal((await refusedSocket(url('node'), { client: bob })).status, 403);
  });

  for (const [what, host, path, origin] of [
    ['another site', 'node', '/echo', 'https://evil.example'],
    ['a neighbour', 'node', '/echo', 'https://open.test'],
    ['the own host over plain HTTP', 'node', '/echo', () => url('node', '').replace(/^https/, 'http')],
    ['the own host on another port', 'node', '/echo', 'https://node.test:1'],
    ['a name that begins with ours', 'node', '/echo', () => `${new URL(url('node')).origin}.evil.example`],
    ['nowhere', 'node', '/echo', 'null'],
    ['another site, although one is allowed', 'free', '/echo', 'https://partner.example.evil.example'],
    ['nowhere, although any is allowed', 'any', '/echo', 'null'],
  ]) {
    it(`a page of ${what} is refused`, async () => {
      const e = await assertReason(gateway, 'websocket.origin', () => refusedSocket(url(host, path), { client: ann, origin: typeof origin === 'function' ? origin() : origin }));
      assert.equal(e.status, 403);
    });
  }

  it('pages of sites that are allowed are not, nor are programs', async () => {
    for (const [host, origin] of [['free', 'https://partner.example'], ['any', 'https://anybody.example'], ['free', null]]) {
      const socket = await openSocket(url(host), { origin });
      assert.equal(await socket.ask('x'), 'x', `${origin}`);
      await socket.end();
    }
  });

  it('a route can take none', async () => {
    const e = await assertReason(gateway, 'websocket.not_allowed', () => refusedSocket(url('none')));
    assert.equal(e.status, 403);
  });

  it('an application that refuses is heard', async () => {
    const e = await refusedSocket(url('node', '/refused'), { client: ann });
    assert.equal(e.status, 426);
    assert.equal(e.headers['x-why'], 'not today');
    assert.equal(e.body, 'not so');
    assert.equal((await refusedSocket(url('starlette', '/refused'), { client: ann })).status, 403);
  });

  it('handshakes that are none are refused', async () => {
    const host = new URL(url('free')).host;
    const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n', version = 'Sec-WebSocket-Version: 13\r\n';
    for (const [bad, status, reason] of [[version, 400, 'websocket.handshake'], [`Sec-WebSocket-Key: short\r\n${version}`, 400, 'websocket.handshake'],
      [`${key}${key}${version}`, 400, 'websocket.handshake'], [`${key}Sec-WebSocket-Version: 8\r\n`, 426, 'websocket.version']]) {
      const { text } = await assertReason(gateway, reason, () => rawTls(gateway.port, 'free.test', [
        `GET /echo HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n${bad}\r\n`], { ms: 2000 }));
      assert.ok(text.startsWith(`HTTP/1.1 ${status} `), bad);
      assert.equal(status === 426, /\r\nSec-WebSocket-Version: 13\r\n/.test(text), bad);
    }
  });

  it('other protocols are not changed to', async () => {
    const host = new URL(url('free')).host;
    const { text } = await rawTls(gateway.port, 'free.test', [
      `GET /who HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n`], { ms: 2000 });
    assert.match(text, /^HTTP\/1.1 200 /);
    assert.doesNotMatch(text, /"upgrade"|http2-settings/i);
  });

  it('the application closes, breaks off, or is ended: the visitor is told', async () => {
    const polite = await openSocket(url('starlette', '/who'), { client: ann });
    assert.equal((await polite.closed).code, 4000);
    const rude = await openSocket(url('node', '/gone'), { client: ann });
    assert.equal((await rude.closed).code, 1006);
  });

  it('the visitor who leaves is not kept', async () => {
    const before = await gateway.metric('connections_open');
    const sockets = await Promise.all(Array.from({ length: 20 }, () => openSocket(url('node'), { client: ann })));
    assert.ok(await gateway.metric('connections_open') >= before + 20);
    await Promise.all(sockets.map((s) => s.end()));
    await until('the connections to end', async () => await gateway.metric('connections_open') <= before, { ms: 5000 });
  });

  it('one line in the log for the whole, at its end', async () => {
    const { lines } = await gateway.accessDuring(async () => {
      const socket = await openSocket(url('node'), { client: ann });
      await socket.ask(Buffer.alloc(1000));
      await socket.end();
    }, (l) => l.path === '/echo');
    const [line] = lines.filter((l) => l.path === '/echo');
    assert.equal(line.status, 101);
    assert.ok(line.bytes >= 1000, JSON.stringify(line));
    assert.equal(line.user, 'ann');
  });

  it('silence ends it after timeouts.stream', async () => {
    const quiet = await openSocket(url('free'));
    const busy = await openSocket(url('free'));
    const begun = Date.now();
    let ended;
    quiet.closed.then(() => { ended = Date.now() - begun; });
    while (Date.now() - begun < 2500) {
      assert.equal(await busy.ask('still here'), 'still here');
      await sleep(200);
    }
    assert.ok(ended >= 900, `closed after ${ended} ms`);
    await busy.end();
  });

  it('from a page in Chromium', async () => {
    const context = await (await stage.browser()).visitor();
    const page = await context.newPage();
    await page.goto(stage.url('quart.test'));
    await oidcSignIn(page, 'ann');
    await page.waitForURL(stage.url('quart.test'));
    await page.waitForFunction(() => document.getElementById('said').textContent && document.getElementById('event').textContent);
    assert.equal(await page.textContent('#who'), 'ann@example.com');
    assert.equal(await page.textContent('#said'), 'hello from the page');
    assert.equal(await page.textContent('#event'), 'first event');
    assert.doesNotMatch(await page.title(), /closed/);
    await context.close();
  });

  it('signing out closes the sockets of that session, and no others', async () => {
    const client = await signedIn('ann');
    const [mine, second, other] = await Promise.all([openSocket(url('node'), { client }), openSocket(url('starlette'), { client }), openSocket(url('node'), { client: ann })]);
    assertStatus(await signOut(client), 200);
    await endsSoon(mine, 'signed out');
    await endsSoon(second, 'signed out, on another host');
    assert.equal(await other.ask('x'), 'x');
    await other.end();
    assert.equal((await refusedSocket(url('node'), { client })).status, 401);
  });

  it('revoking the session closes them', async () => {
    const client = await signedIn('bob', []);
    const members = stage.url('members.test', '/echo');
    const socket = await openSocket(url('any'), { client: ann });
    const kept = await openSocket(url('node'), { client: ann });
    assertStatus(await client.get(members), 200);
    await assertReason(gateway, ['session.unknown', 'session.expired'], async () => {
      assert.ok((await gateway.revoke('ann@example.com')).revoked >= 1);
      await endsSoon(kept, 'revoked');
    });
    assertStatus(await client.get(members), 200, 'bob is not ann');
    await socket.end();
    ann = await signedIn('ann');
  });

  it('the end of the session closes them: what the visitor sends is use, what the application sends is not', async () => {
    gateway.configure({ ...gateway.config, session: { idle: '3s', lifetime: '7s' } });
    await gateway.restart();
    await gateway.loginsWork('op');
    const [idle, busy] = [await signedIn('ann', ['node']), await signedIn('ann', ['node'])];
    const begun = Date.now();
    const sockets = { idle: await openSocket(url('node'), { client: idle }), busy: await openSocket(url('node'), { client: busy }) };
    const timer = setInterval(() => { if (sockets.busy.open) sockets.busy.ws.send('x'); }, 300);
    const [a, b] = await Promise.all([sockets.idle.closed, sockets.busy.closed]);
    clearInterval(timer);
    assert.ok(a.at - begun > 2500 && a.at - begun < 7000, `idle: ${a.at - begun} ms of 3 s`);
    assert.ok(b.at - begun > 4500 && b.at - begun < 10000, `busy: ${b.at - begun} ms of 7 s`);
    assert.ok(b.at > a.at, 'use makes a difference');
  });

  it('a stop closes them', async () => {
    gateway.configure({ ...gateway.config, session: {}, timeouts: { drain: '2s' } });
    await gateway.restart();
    const socket = await openSocket(url('any'));
    const begun = Date.now();
    await gateway.stop();
    assert.ok(Date.now() - begun < 6000, `${Date.now() - begun} ms`);
    await endsSoon(socket, 'stopped');
    await gateway.start();
  });
});
