// SPDX-License-Identifier: GPL-3.0-or-later
// HTTP/2: who gets it, what it carries, and what no two readers could understand alike.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import tls from 'node:tls';
import { startFlask, startNode } from './rig/apps.mjs';
import { downloadHash } from './rig/backend.mjs';
import { oidcSignIn } from './rig/browser.mjs';
import { begin, closeSessions, fetchAll, h2Session } from './rig/exchange.mjs';
import { END_HEADERS, END_STREAM, RawH2, TYPE, block, frame, u32 } from './rig/h2_raw.mjs';
import { Client } from './rig/http.mjs';
import { assertReason, assertStatus, oidcLogin } from './rig/journey.mjs';
import { Stage } from './rig/stage.mjs';
import { sleep, until } from './rig/world.mjs';

const MiB = 1 << 20;

describe('HTTP/2', () => {
  let stage;
  let gateway;
  let ann;
  before(async () => {
    const apps = {};
    stage = await Stage.start('h2', {
      oidc: { op: {} },
      setup: async ({ world }) => { [apps.flask, apps.node] = await Promise.all([startFlask(world, world.dir), startNode(world)]); },
      routes: () => [
        { host: 'flask.test', backends: [apps.flask.url], policy: 'staff' },
        { host: 'node.test', backends: [apps.node.url], policy: 'public' },
      ],
    });
    ({ gateway } = stage);
    ann = new Client();
    assertStatus(await oidcLogin(ann, stage.url('wiki.test', '/echo'), 'ann'), 200);
  });
  after(() => { closeSessions(); return stage?.close(); });

  const url = (host, path = '/') => stage.url(`${host}.test`, path);
  const curl = (...args) => stage.world.must('curl', ['-sk', '--connect-to', `::127.0.0.1:${gateway.port}`, ...args]);
  const raw = (host = 'open.test', options = {}) => RawH2.connect(gateway.port, host, options);

  describe('who gets it', () => {
    it('curl, by ALPN, and HTTP/1.1 when it asks for that', async () => {
      for (const [option, version] of [['--http2', '2'], ['--http1.1', '1.1']]) {
        assert.equal(await curl(option, url('open', '/echo'), '-o', '/dev/null', '-w', '%{http_version} %{http_code}'), `${version} 200`);
      }
    });

    it('whoever asks for something else or nothing gets HTTP/1.1 or no connection', async () => {
      const alpn = (ALPNProtocols) => new Promise((resolve) => {
        const s = tls.connect({ host: '127.0.0.1', port: gateway.port, servername: 'open.test', rejectUnauthorized: false, ALPNProtocols }, () => { resolve(s.alpnProtocol); s.destroy(); });
        s.on('error', () => resolve('refused'));
      });
      assert.equal(await alpn(['h2', 'http/1.1']), 'h2');
      assert.equal(await alpn(['http/1.1', 'h2']), 'h2', 'we choose');
      assert.equal(await alpn(['http/1.1']), 'http/1.1');
      assert.equal(await alpn(undefined), false);
      assert.ok(['refused', false].includes(await alpn(['spdy/3'])));
    });

    it('Chromium, through a login, and the application knows who it is', async () => {
      const context = await (await stage.browser()).visitor();
      const page = await context.newPage();
      await page.goto(url('flask', '/page'));
      await oidcSignIn(page, 'ann');
      await page.waitForURL(url('flask', '/page'));
      assert.equal(await page.textContent('#email'), 'ann@example.com');
      await page.reload();
      assert.equal(await page.evaluate(() => performance.getEntriesByType('navigation')[0].nextHopProtocol), 'h2');
      const posted = await page.evaluate(async () => (await fetch('/form', { method: 'POST', body: new URLSearchParams({ a: 'b c' }) })).json());
      assert.deepEqual(posted, { fields: { a: 'b c' }, files: {} });
      const big = await page.evaluate(async () => (await fetch('/upload', { method: 'POST', body: new Blob([new Uint8Array(20 << 20)]) })).json());
      assert.equal(big.bytes, 20 * MiB);
      await context.close();
    });

    it('the log says which protocol it was', async () => {
      const { lines } = await gateway.accessDuring(() => fetchAll('h2', url('open', '/echo')));
      assert.equal(lines[0].protocol, 'HTTP/2.0', JSON.stringify(lines));
    });
  });

  describe('what it carries', () => {
    it('the same request as HTTP/1.1, to the application', async () => {
      const seen = async (p) => {
        const { headers, raw: fields, ...rest } = JSON.parse((await fetchAll(p, url('wiki', '/echo?a=b'), { client: ann, headers: { 'x-app': '1', 'X-Sallyport-User': 'root' } })).text);
        delete headers.traceparent;
        return { headers, fields: fields.length, ...rest };
      };
      const [one, two] = [await seen('h1'), await seen('h2')];
      assert.deepEqual(two, one);
      assert.equal(two.headers['x-sallyport-email'], 'ann@example.com');
      assert.equal(two.headers.host, new URL(url('wiki')).host);
    });

    it('cookies in several fields are one for the application, without ours', async () => {
      const c = await raw('wiki.test');
      const session = ann.cookieHeader(url('wiki'));
      const id = c.request(c.fields('/echo', [['cookie', 'a=1'], ['cookie', session], ['cookie', 'b=2']]));
      assert.equal(await c.fate(id), 200);
      await until('the body', () => c.body(id).endsWith('}'));
      const { headers } = JSON.parse(c.body(id));
      assert.equal(headers.cookie, 'a=1; b=2');
      assert.equal(headers['x-sallyport-email'], 'ann@example.com');
      c.end();
    });

    it('downloads and small requests side by side on one connection', async () => {
      const big = Array.from({ length: 12 }, () => begin('h2', url('node', '/download?blocks=64')));
      const answers = await Promise.all(big.map((x) => x.answer));
      const times = [];
      for (let i = 0; i < 10; i++) {
        const begun = Date.now();
        assert.equal((await fetchAll('h2', url('node', '/same'))).text, 'a body');
        times.push(Date.now() - begun);
      }
      for (const a of answers) assert.equal(await a.sha256(), downloadHash(64));
      assert.ok(Math.max(...times) < 3000, `${times} ms`);
    });

    it('uploads side by side, whole', async () => {
      const data = randomBytes(3 * MiB);
      const want = createHash('sha256').update(data).digest('hex');
      const all = await Promise.all(Array.from({ length: 8 }, (_, i) => fetchAll('h2', url('node', `/upload?name=u${i}`), { method: 'POST', data })));
      for (const a of all) assert.equal(JSON.parse(a.text).sha256, want);
    });

    it('a stream that its reader leaves alone holds up no other, and costs little', async () => {
      const session = h2Session(url('node'));
      const before = gateway.memoryPeak();
      const paused = Array.from({ length: 20 }, () => session.request({ ':path': '/download?blocks=400' }));
      await Promise.all(paused.map((s) => new Promise((resolve) => { s.once('response', resolve); s.pause(); })));
      await sleep(300);
      const s = session.request({ ':path': '/same' });
      let text = '';
      s.on('data', (d) => { text += d; });
      await until('the other stream', () => text === 'a body', { ms: 3000 });
      assert.ok(gateway.memoryPeak() - before < 12 * MiB, `${(gateway.memoryPeak() - before) / MiB} MiB`);
      session.destroy();
    });

    it('what a visitor breaks off is broken off at the application, and the connection goes on', async () => {
      const id = `broken${Date.now()}`;
      const x = begin('h2', url('node', `/events?name=${id}`));
      await (await x.answer).until('event 0');
      x.stream.close(8); // CANCEL
      await until('the application to notice', async () => !JSON.parse((await fetchAll('h2', url('node', `/event?name=${id}&data=x`))).text).open);
    });

    it('more streams than are allowed do not reach the application', async () => {
      const c = await raw('open.test');
      await c.works('/echo');
      const before = stage.backend.seen.length;
      const ids = Array.from({ length: 100 }, () => c.request(c.fields('/slow?ms=700')));
      await until('100 requests', () => stage.backend.seen.length === before + 100);
      const refused = c.request(c.fields('/slow?ms=1'));
      assert.match(`${await c.fate(refused)}`, /^(reset 7|goaway 1)$/);
      if (!c.goaway) for (const id of ids) assert.equal(await c.fate(id), 200);
      assert.equal(stage.backend.seen.length, before + 100);
      c.end();
    });

    it('a stop lets streams end and says GOAWAY', async () => {
      const c = await raw('open.test');
      const id = c.request(c.fields('/slow?ms=1500'));
      await sleep(200);
      const stopped = gateway.stop();
      assert.equal(await c.fate(id), 200);
      await until('the body', () => c.body(id) === 'slow done');
      assert.equal(c.goaway?.code, 0);
      await stopped;
      await c.ended();
      await gateway.start();
      await gateway.loginsWork('op');
    });
  });

  describe('what is refused', () => {
    // [what, fields => fields, reason]: each alone, and the connection goes on.
    const swap = (name, value) => (f) => f.map(([n, v]) => (n === name ? [n, value] : [n, v]));
    const add = (...more) => (f) => [...f, ...more];
    const drop = (name) => (f) => f.filter(([n]) => n !== name);
    for (const [what, change] of [
      ['a name in upper case', add(['X-App', '1'])],
      ['a name with a space', add(['x app', '1'])],
      ['a name with a colon', add(['x:app', '1'])],
      ['an empty name', add(['', '1'])],
      ['a value with CR LF', add(['x-app', '1\r\nx-sallyport-user: root'])],
      ['a value with LF', add(['x-app', '1\nx-sallyport-user: root'])],
      ['a value with NUL', add(['x-app', '1\0'])],
      ['a value that begins with a space', add(['x-app', ' 1'])],
      ['connection', add(['connection', 'close'])],
      ['transfer-encoding', add(['transfer-encoding', 'chunked'])],
      ['upgrade', add(['upgrade', 'websocket'])],
      ['te', add(['te', 'gzip'])],
      ['two lengths', add(['content-length', '0'], ['content-length', '0'])],
      ['a length that is not met', add(['content-length', '5'])],
      ['another host', add(['host', 'wiki.test'])],
      ['no authority', drop(':authority')],
      ['an empty authority', swap(':authority', '')],
      ['user information', swap(':authority', 'ann@open.test')],
      ['no path', drop(':path')],
      ['an empty path', swap(':path', '')],
      ['a path without a slash', swap(':path', 'echo')],
      ['a path with a fragment', swap(':path', '/echo#x')],
      ['a path with a space', swap(':path', '/echo x')],
      ['a path with CR LF', swap(':path', '/echo HTTP/1.1\r\nX-Sallyport-User: root\r\n\r\nGET /x')],
      ['an encoded slash', swap(':path', '/a%2fb')],
      ['a whole URL as path', swap(':path', 'https://open.test/echo')],
      ['a path above the root', swap(':path', '/../etc')],
      ['an 8-bit byte in the path', swap(':path', '/\xff')],
      ['two paths', add([':path', '/x'])],
      ['an unknown pseudo-field', (f) => [[':admin', '1'], ...f]],
      ['a pseudo-field behind the others', (f) => [...f.slice(0, 3), ['x-app', '1'], f[3]]],
      [':status', (f) => [[':status', '200'], ...f]],
      ['no method', drop(':method')],
      ['a method with a space', swap(':method', 'GET /x')],
      ['another scheme', swap(':scheme', 'ftp')],
      ['plain HTTP as scheme', swap(':scheme', 'http')],
      ['CONNECT', (f) => drop(':path')(drop(':scheme')(swap(':method', 'CONNECT')(f)))],
      ['CONNECT with a protocol', (f) => [[':protocol', 'websocket'], ...swap(':method', 'CONNECT')(f)]],
      ['too many fields', add(...Array.from({ length: 200 }, (_, i) => [`x-${i}`, '1']))],
    ]) {
      it(what, async () => {
        const before = stage.backend.seen.length;
        const c = await raw('open.test');
        assert.ok(await c.works('/echo'));
        const fate = await c.fate(c.request(change(c.fields('/echo'))));
        assert.ok([400, 404, 405, 421, 431, 501].includes(fate) || /^(reset 1|goaway 1)$/.test(fate), `${fate}`);
        await sleep(20);
        assert.equal(stage.backend.seen.length - before, 1, 'the application saw only the good one');
        if (typeof fate === 'number' || fate.startsWith('reset')) assert.ok(await c.works('/echo'), 'the connection goes on');
        c.end();
      });
    }

    it('a body that is longer or shorter than it says', async () => {
      const c = await raw('open.test');
      for (const [length, data] of [[3, 'toolong'], [30, 'short']]) {
        const id = c.next();
        c.send(frame(TYPE.HEADERS, END_HEADERS, id, block(c.fields('/upload', [['content-length', `${length}`]], { method: 'POST' }))), frame(TYPE.DATA, END_STREAM, id, Buffer.from(data)));
        assert.match(`${await c.fate(id)}`, /^(reset 1|goaway 1|400)$/);
      }
      c.end();
    });

    // [what, frames, what the connection ends with]
    for (const [what, frames, codes] of [
      ['HTTP/1.1 in place of the preface', () => Buffer.from('GET / HTTP/1.1\r\nHost: open.test\r\n\r\n'), ['closed', 1]],
      ['DATA on stream 0', (c) => frame(TYPE.DATA, 0, 0, Buffer.from('x')), [1]],
      ['HEADERS on an even stream', (c) => frame(TYPE.HEADERS, END_HEADERS | END_STREAM, 2, block(c.fields())), [1]],
      ['a frame that is larger than allowed', () => frame(TYPE.PING, 0, 0, Buffer.alloc(20000)), [6]],
      ['a PING of 7 bytes', () => frame(TYPE.PING, 0, 0, Buffer.alloc(7)), [6]],
      ['SETTINGS of 5 bytes', () => frame(TYPE.SETTINGS, 0, 0, Buffer.alloc(5)), [6]],
      ['a window of nothing', () => frame(TYPE.WINDOW_UPDATE, 0, 0, u32(0)), [1]],
      ['a window that overflows', () => frame(TYPE.WINDOW_UPDATE, 0, 0, u32(0x7fffffff)), [3]],
      ['a header block that is none', () => frame(TYPE.HEADERS, END_HEADERS | END_STREAM, 1, Buffer.alloc(50, 0xff)), [9]],
      ['another frame within a header block', (c) => Buffer.concat([frame(TYPE.HEADERS, 0, 1, block(c.fields())), frame(TYPE.PING, 0, 0, Buffer.alloc(8))]), [1]],
      ['CONTINUATION out of nowhere', () => frame(TYPE.CONTINUATION, END_HEADERS, 1, Buffer.alloc(3)), [1]],
      ['PUSH_PROMISE from a client', () => frame(TYPE.PUSH_PROMISE, END_HEADERS, 1, Buffer.alloc(10)), [1]],
    ]) {
      it(`${what} ends the connection`, async () => {
        const c = await raw('open.test', { quiet: what.startsWith('HTTP/1.1') });
        const begun = gateway.lines().length;
        if (!what.startsWith('HTTP/1.1')) await until('their SETTINGS', () => c.of(TYPE.SETTINGS).length);
        c.send(frames(c));
        const code = await c.ended();
        assert.ok(codes.includes(code), `${code}`);
        await until('a line in the log', () => gateway.lines().slice(begun).some((l) => l.event === 'http2.connection' && l.reason === 'http2.protocol'), { ms: 2000 });
      });
    }

    it('whatever it was, the gateway goes on', async () => {
      assert.equal((await fetchAll('h2', url('open', '/echo'))).status, 200);
      await assertReason(gateway, 'policy.public', () => fetchAll('h2', url('open', '/echo')));
    });
  });
});
