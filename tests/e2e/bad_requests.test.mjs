// SPDX-License-Identifier: GPL-3.0-or-later
// Malformed requests over raw TLS: each gets its status, forwards nothing, leaves one line in the log with a reason.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import { rawTls, request } from './rig/http.mjs';
import { assertStatus } from './rig/journey.mjs';
import { Stage } from './rig/stage.mjs';
import { until } from './rig/world.mjs';

// Sent behind everything that is refused: whoever goes on reading there takes it for a request.
const NEXT = 'GET /smuggled HTTP/1.1\r\nHost: open.test\r\n\r\n';

const file = (name) => readFileSync(new URL(`../../${name}`, import.meta.url), 'latin1');
// reason name -> status, as the daemon has them.
const statuses = Object.fromEntries([...file('base/errors.def').matchAll(/^ERR\(\w+, "([^"]+)", (\d+),/gm)].map((m) => [m[1], Number(m[2])]));
// The refused heads that the parser's unit tests have, too: [name, reason].
const vectors = file('tests/vectors/http/request/index.txt').split('\n').filter((l) => l && !/^#| accepted/.test(l)).map((l) => l.split(' '));

// name: [bytes with %H for the host, wanted status, wanted reason]. Every one is on a public route: forwarded, if accepted.
const cases = {
  'bare LF after the request line': ['GET /echo HTTP/1.1\nHost: %H\r\n\r\n', 400, 'http.bare_lf'],
  'bare LF after a header': ['GET /echo HTTP/1.1\r\nHost: %H\nX: y\r\n\r\n', 400, 'http.bare_lf'],
  'bare LF everywhere': ['GET /echo HTTP/1.1\nHost: %H\n\n', 400, 'http.bare_lf'],
  'bare CR in a value': ['GET /echo HTTP/1.1\r\nHost: %H\r\nX: a\rb\r\n\r\n', 400],
  'NUL in a value': ['GET /echo HTTP/1.1\r\nHost: %H\r\nX: a\0b\r\n\r\n', 400, 'http.header_value'],
  'NUL in a name': ['GET /echo HTTP/1.1\r\nHost: %H\r\nX\0: a\r\n\r\n', 400, 'http.header_name'],
  'NUL in the target': ['GET /ec\0ho HTTP/1.1\r\nHost: %H\r\n\r\n', 400],
  'obs-fold': ['GET /echo HTTP/1.1\r\nHost: %H\r\nX-: admin\r\n Remote-User: x\r\n\r\n', 400, 'http.obs_fold'],
  'obs-fold with a tab': ['GET /echo HTTP/1.1\r\nHost: %H\r\nX: a\r\n\tb\r\n\r\n', 400, 'http.obs_fold'],
  'a fold as the first line': ['GET /echo HTTP/1.1\r\n Host: %H\r\n\r\n', 400],
  'space before the colon': ['GET /echo HTTP/1.1\r\nHost: %H\r\nContent-Length : 5\r\n\r\nhello', 400, 'http.header_name'],
  'tab before the colon': ['GET /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n', 400, 'http.header_name'],
  'an empty name': ['GET /echo HTTP/1.1\r\nHost: %H\r\n: x\r\n\r\n', 400, 'http.header_name'],
  'a line without a colon': ['GET /echo HTTP/1.1\r\nHost: %H\r\nnonsense\r\n\r\n', 400],
  'a name with brackets': ['GET /echo HTTP/1.1\r\nHost: %H\r\nX(y): z\r\n\r\n', 400, 'http.header_name'],
  'a name beyond ASCII': ['GET /echo HTTP/1.1\r\nHost: %H\r\nX\xff: z\r\n\r\n', 400, 'http.header_name'],
  'Content-Length twice, different': ['POST /echo HTTP/1.1\r\nHost: %H\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd', 400, 'http.content_length'],
  'Content-Length twice, same': ['POST /echo HTTP/1.1\r\nHost: %H\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc', 400, 'http.content_length'],
  'Content-Length list': ['POST /echo HTTP/1.1\r\nHost: %H\r\nContent-Length: 3, 3\r\n\r\nabc', 400, 'http.content_length'],
  'Content-Length +3': ['POST /echo HTTP/1.1\r\nHost: %H\r\nContent-Length: +3\r\n\r\nabc', 400, 'http.content_length'],
  'Content-Length -1': ['POST /echo HTTP/1.1\r\nHost: %H\r\nContent-Length: -1\r\n\r\n', 400, 'http.content_length'],
  'Content-Length 0x3': ['POST /echo HTTP/1.1\r\nHost: %H\r\nContent-Length: 0x3\r\n\r\nabc', 400, 'http.content_length'],
  'Content-Length empty': ['POST /echo HTTP/1.1\r\nHost: %H\r\nContent-Length: \r\n\r\n', 400, 'http.content_length'],
  'Content-Length beyond 64 bits': ['POST /echo HTTP/1.1\r\nHost: %H\r\nContent-Length: 99999999999999999999999\r\n\r\n', 400, 'http.content_length'],
  'Content-Length with Transfer-Encoding': [`POST /echo HTTP/1.1\r\nHost: %H\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${NEXT}`, 400],
  'Transfer-Encoding with Content-Length': [`POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${NEXT}`, 400],
  'Transfer-Encoding identity': ['POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: identity\r\n\r\n', 400, 'http.transfer_encoding'],
  'Transfer-Encoding xchunked': ['POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n', 400, 'http.transfer_encoding'],
  'Transfer-Encoding gzip, chunked': ['POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n', 400, 'http.transfer_encoding'],
  'Transfer-Encoding chunked, chunked': ['POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n', 400, 'http.transfer_encoding'],
  'Transfer-Encoding twice': ['POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n', 400, 'http.transfer_encoding'],
  'Transfer-Encoding with a vertical tab': ['POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n', 400],
  'Transfer_Encoding': [`POST /echo HTTP/1.1\r\nHost: %H\r\nContent-Length: 0\r\nTransfer_Encoding: chunked\r\n\r\n${NEXT.replace('GET', 'BAD(')}`, 200],
  'chunked in HTTP/1.0': ['POST /echo HTTP/1.0\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400, 'http.transfer_encoding'],
  'no Host': ['GET /echo HTTP/1.1\r\nX: y\r\n\r\n', 400, 'http.host'],
  'two Hosts': ['GET /echo HTTP/1.1\r\nHost: %H\r\nHost: wiki.test\r\n\r\n', 400, 'http.host'],
  'two equal Hosts': ['GET /echo HTTP/1.1\r\nHost: %H\r\nHost: %H\r\n\r\n', 400, 'http.host'],
  'an empty Host': ['GET /echo HTTP/1.1\r\nHost: \r\n\r\n', 400, 'http.host'],
  'a Host with a path': ['GET /echo HTTP/1.1\r\nHost: open.test/x\r\n\r\n', 400, 'http.host'],
  'a Host with credentials': ['GET /echo HTTP/1.1\r\nHost: a@open.test\r\n\r\n', 400, 'http.host'],
  'a Host list': ['GET /echo HTTP/1.1\r\nHost: open.test, wiki.test\r\n\r\n', 400, 'http.host'],
  'absolute form of another host': ['GET https://wiki.test/echo HTTP/1.1\r\nHost: %H\r\n\r\n', 400, 'http.host'],
  'absolute form of http': ['GET http://open.test/echo HTTP/1.1\r\nHost: %H\r\n\r\n', 400, 'http.host'],
  'no leading slash': ['GET echo HTTP/1.1\r\nHost: %H\r\n\r\n', 400],
  'CONNECT': ['CONNECT open.test:443 HTTP/1.1\r\nHost: %H\r\n\r\n', 400, 'http.method'],
  'a star with GET': ['GET * HTTP/1.1\r\nHost: %H\r\n\r\n', 400],
  'a space in the target': ['GET /echo x HTTP/1.1\r\nHost: %H\r\n\r\n', 400],
  'two spaces': ['GET  /echo HTTP/1.1\r\nHost: %H\r\n\r\n', 400],
  'a tab for a space': ['GET\t/echo\tHTTP/1.1\r\nHost: %H\r\n\r\n', 400],
  'a fragment': ['GET /echo#x HTTP/1.1\r\nHost: %H\r\n\r\n', 400],
  'bytes beyond ASCII in the target': ['GET /ech\xf6 HTTP/1.1\r\nHost: %H\r\n\r\n', 400],
  'HTTP/2.0': ['GET /echo HTTP/2.0\r\nHost: %H\r\n\r\n', 505, 'http.version'],
  'HTTP/1.2': ['GET /echo HTTP/1.2\r\nHost: %H\r\n\r\n', 505, 'http.version'],
  'http/1.1': ['GET /echo http/1.1\r\nHost: %H\r\n\r\n', 400, 'http.request_line'],
  'HTTP/0.9': ['GET /echo\r\n\r\n', 400, 'http.request_line'],
  'a method with brackets': ['G(T /echo HTTP/1.1\r\nHost: %H\r\n\r\n', 400, 'http.method'],
  'an empty method': [' /echo HTTP/1.1\r\nHost: %H\r\n\r\n', 400],
  'a TLS hello in TLS': ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n', 400],
  'an HTTP/2 preface': ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505, 'http.version'],
  'a PROXY line that nobody expects': ['PROXY TCP4 6.6.6.6 6.6.6.6 1 1\r\nGET /echo HTTP/1.1\r\nHost: %H\r\n\r\n', 400, 'http.request_line'],
  'one header too long': [`GET /echo HTTP/1.1\r\nHost: %H\r\nX: ${'a'.repeat(200000)}\r\n\r\n`, 431, 'http.headers_too_large'],
  'too many headers': [`GET /echo HTTP/1.1\r\nHost: %H\r\n${'X: y\r\n'.repeat(5000)}\r\n`, 431, 'http.headers_too_large'],
  'a target too long': [`GET /${'a'.repeat(200000)} HTTP/1.1\r\nHost: %H\r\n\r\n`, 431, 'http.headers_too_large'],
  'Expect of something else': ['POST /echo HTTP/1.1\r\nHost: %H\r\nExpect: a-miracle\r\nContent-Length: 0\r\n\r\n', 417, 'http.expect'],
  // chunks
  'chunk size with a sign': ['POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n', 400, 'http.chunk', 'forwarded'],
  'chunk size 0x3': ['POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n', 400, 'http.chunk', 'forwarded'],
  'chunk size beyond 64 bits': ['POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n', 400, 'http.chunk', 'forwarded'],
  'chunk size with a space': ['POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n 3\r\nabc\r\n0\r\n\r\n', 400, 'http.chunk', 'forwarded'],
  'chunk lines with bare LF': ['POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n', 400, 'http.chunk', 'forwarded'],
  'no CRLF after a chunk': ['POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX0\r\n\r\n', 400, 'http.chunk', 'forwarded'],
  'a chunk size line without end': [`POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n3;${'x'.repeat(100000)}\r\nabc\r\n0\r\n\r\n`, 400, 'http.chunk', 'forwarded'],
  'chunk size with an underscore': ['POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n0_3\r\nabc\r\n0\r\n\r\n', 400, 'http.chunk', 'forwarded'],
  'chunk size of many zeros': [`POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n${'0'.repeat(17)}3\r\nabc\r\n0\r\n\r\n`, 400, 'http.chunk', 'forwarded'],
  'a size line that ends in CR': ['POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n3\rabc\r\n0\r\n\r\n', 400, 'http.chunk', 'forwarded'],
  'LF right after the semicolon': ['POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n2;\nxx\r\n4c\r\n0\r\n\r\n', 400, 'http.chunk', 'forwarded'],
  'a chunk longer than its size': ['POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n', 400, 'http.chunk', 'forwarded'],
  'two bytes instead of the end of a chunk': ['POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n', 400, 'http.chunk', 'forwarded'],
  'a trailer with a bare LF': ['POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n', 400, 'http.chunk', 'forwarded'],
  'a folded trailer': ['POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n z\r\n\r\n', 400, 'http.chunk', 'forwarded'],
  'trailers that are too long': [`POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ${'y'.repeat(8192)}\r\n\r\n`, 400, 'http.chunk', 'forwarded'],
  'a request where trailers belong': [`POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${NEXT}`, 400, 'http.chunk', 'forwarded'],
  'a size line of 257 bytes': [`POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n3;${'x'.repeat(255)}\r\nabc\r\n0\r\n\r\n`, 400, 'http.chunk', 'forwarded'],
  // beyond a limit by one (docs/limits.md)
  '129 headers': [`GET /echo HTTP/1.1\r\nHost: %H\r\n${'X: y\r\n'.repeat(128)}\r\n`, 431, 'http.headers_too_large'],
  '129 cookies': [`GET /echo HTTP/1.1\r\nHost: %H\r\nCookie: ${'a=b; '.repeat(129)}\r\n\r\n`, 431, 'http.headers_too_large'],
  'a target of 16385 bytes': [`GET /${'a'.repeat(16384)} HTTP/1.1\r\nHost: %H\r\n\r\n`, 414, 'http.target_too_long'],
  'a method of 33 bytes': [`${'A'.repeat(33)} /echo HTTP/1.1\r\nHost: %H\r\n\r\n`, 400, 'http.method'],
  '33 names in Connection': [`GET /echo HTTP/1.1\r\nHost: %H\r\nConnection: ${'x,'.repeat(32)}x\r\n\r\n`, 400, 'http.header_value'],
  'LF inside a chunk extension': ['POST /echo HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n3;a="\n"\r\nabc\r\n0\r\n\r\n', 400, 'http.chunk', 'forwarded'],
};

// One path that two parsers could read differently is none.
const paths = ['/a/../b', '/a/..', '/..', '/%2e%2e/x', '/a/%2e/b', '/a/.%2e/b', '/a%2fb', '/a%5cb', '/a\\b', '//a', '/a//b', '/a;x=1', '/a%00b', '/a%3bx', '/%',
  '/%zz', '/%c0%ae', '/%ff', '/a%252fb', '/%2e%2e%2fx', '/a%0d%0ab', '/a%0ab', '/%u002e', '/a%7fb'];

describe('bad requests', () => {
  let stage;
  let gateway;
  before(async () => {
    stage = await Stage.start('bad', { routes: (s) => [{ host: 'open.test', path: '/admin', backends: [s.backend.url], policy: 'nobody' }], policies: { nobody: [{ allow: { groups: ['nobody-is-in-this'] } }] }, config: {
      timeouts: { request_head: '2s' },
      identity_providers: { down: { protocol: 'saml', label: 'not running', metadata: 'https://127.0.0.1:9/metadata' } },
    } });
    ({ gateway } = stage);
  });
  after(() => stage?.close());

  const send = (text, options) => rawTls(gateway.port, 'open.test', text.replaceAll('%H', `open.test:${gateway.port}`), options);
  const statusOf = (text) => Number(/^HTTP\/1\.1 (\d{3}) /.exec(text)?.[1]);

  for (const [what, [text, statuses, reason, forwarded]] of Object.entries(cases)) {
    it(what, async () => {
      const seen = stage.backend.seen.length;
      const { result, lines } = await gateway.accessDuring(() => send(text + NEXT));
      const wanted = [].concat(statuses);
      assert.ok(wanted.includes(statusOf(result.text)), `wanted ${wanted}, got ${JSON.stringify(result.text.slice(0, 300))}`);
      assert.ok(!/\/smuggled/.test(JSON.stringify(stage.backend.seen.slice(seen))), 'a second request was read out of the first');
      if (wanted.includes(200)) return;
      assert.ok(result.closed, 'the connection is closed');
      assert.equal((result.text.match(/^HTTP\/1\.1 /gm) ?? []).length, 1, 'one answer');
      if (!forwarded) assert.equal(stage.backend.seen.length, seen, 'something was forwarded');
      assert.equal(lines.length, 1, `one line: ${JSON.stringify(lines)}`);
      assert.ok(lines[0].reason, `a reason: ${JSON.stringify(lines[0])}`);
      if (reason) assert.equal(lines[0].reason, reason);
    });
  }

  // What the parser refuses in its unit tests it refuses on the wire: the same reason, one answer, nothing behind it.
  it(`${vectors.length} heads that no two servers read alike`, async () => {
    await gateway.settle();
    const [seen, logged] = [stage.backend.seen.length, gateway.access().length];
    for (const [name, reason] of vectors) {
      const { text, closed } = await rawTls(gateway.port, 'open.test', file(`tests/vectors/http/request/${name}.txt`) + NEXT);
      assert.equal(statusOf(text), statuses[reason], `${name}: ${JSON.stringify(text.slice(0, 200))}`);
      assert.ok(closed, `${name}: the connection is closed`);
      assert.equal(text.match(/^HTTP\/1\.1 /gm).length, 1, `${name}: one answer`);
      assert.match(text, /^Connection: close\r$/m, name);
    }
    assert.equal(stage.backend.seen.length, seen, 'something was forwarded');
    await until('the log', async () => gateway.access().length >= logged + vectors.length);
    assert.deepEqual(gateway.access().slice(logged).map((l) => l.reason), vectors.map(([, reason]) => reason));
  });

  // A body belongs to its request, whatever the method: it must never become a request of its own.
  for (const method of ['GET', 'HEAD', 'OPTIONS', 'DELETE', 'POST']) {
    it(`a body with ${method} is a body`, async () => {
      const seen = stage.backend.seen.length;
      const { text } = await send(`${method} /echo HTTP/1.1\r\nHost: %H\r\nContent-Length: ${NEXT.length}\r\n\r\n${NEXT}${method} /echo?2 HTTP/1.1\r\nHost: %H\r\nConnection: close\r\n\r\n`);
      assert.equal(text.match(/HTTP\/1\.1 200 /g)?.length, 2, text);
      assert.deepEqual(stage.backend.seen.slice(seen).map((r) => r.url), ['/echo', '/echo?2']);
    });
  }

  it('TRACE is not passed on, with a body or without', async () => {
    for (const more of ['', `Content-Length: ${NEXT.length}\r\n`]) {
      const seen = stage.backend.seen.length;
      const { text } = await send(`TRACE /echo HTTP/1.1\r\nHost: %H\r\nConnection: close\r\n${more}\r\n${NEXT}`);
      assert.equal(statusOf(text), 405);
      assert.equal(text.match(/^HTTP\/1\.1 /gm).length, 1);
      assert.equal(stage.backend.seen.length, seen);
    }
  });

  it('OPTIONS for the whole server reaches no application', async () => {
    const seen = stage.backend.seen.length;
    const { text } = await send('OPTIONS * HTTP/1.1\r\nHost: %H\r\nConnection: close\r\n\r\n');
    assert.equal(statusOf(text), 404);
    assert.equal(stage.backend.seen.length, seen);
  });

  it('nothing is read behind the last request of a connection', async () => {
    for (const head of ['GET /echo HTTP/1.1\r\nHost: %H\r\nConnection: close\r\n\r\n', 'GET /echo HTTP/1.0\r\nHost: %H\r\n\r\n',
      'GET /echo HTTP/1.1\r\nHost: %H\r\nConnection: keep-alive, close\r\n\r\n', 'GET /echo HTTP/1.1\r\nHost: %H\r\nConnection: keep-alive\r\nConnection: CLOSE\r\n\r\n',
      'GET /echo HTTP/1.0\r\nHost: %H\r\nConnection: keep-alive, close\r\n\r\n']) {
      const seen = stage.backend.seen.length;
      const { text, closed } = await send(head + NEXT);
      assert.ok(closed, head);
      assert.equal(text.match(/HTTP\/1\.1 200 /g)?.length, 1, head);
      assert.deepEqual(stage.backend.seen.slice(seen).map((r) => r.url), ['/echo']);
    }
  });

  it('no request turns the connection into HTTP/2 or, in HTTP/1.0, into a WebSocket', async () => {
    for (const [head, ms] of [['GET /echo HTTP/1.1\r\nHost: %H\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n'],
      ['GET /echo HTTP/1.0\r\nHost: %H\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n']]) {
      const seen = stage.backend.seen.length;
      const { text } = await send(`${head}GET /echo?2 HTTP/1.1\r\nHost: %H\r\nConnection: close\r\n\r\n`, { ms });
      assert.equal(statusOf(text), 200, head);
      assert.doesNotMatch(text, /HTTP\/1\.1 101/);
      for (const r of stage.backend.seen.slice(seen)) assert.doesNotMatch(r.raw.join(' '), /upgrade|http2-settings/i);
    }
  });

  it('an expectation is met here, and never passed on', async () => {
    const seen = stage.backend.seen.length;
    const { text } = await send(`POST /echo HTTP/1.1\r\nHost: %H\r\nExpect: 100-Continue\r\nContent-Length: ${NEXT.length}\r\n\r\n${NEXT}GET /echo?2 HTTP/1.1\r\nHost: %H\r\nConnection: close\r\n\r\n`);
    assert.equal(text.match(/HTTP\/1\.1 200 /g)?.length, 2, text);
    const got = stage.backend.seen.slice(seen);
    assert.deepEqual(got.map((r) => r.url), ['/echo', '/echo?2']);
    assert.equal(got[0].headers.expect, undefined);
  });

  it('names that some servers read as others do not reach the application', async () => {
    const names = ['X_Remote_User', 'Remote.User', 'X~Sallyport~User', "X'Forwarded'User", 'Content_Length', 'Transfer.Encoding', 'X-Forwarded-Anything'];
    const { text } = await send(`GET /echo HTTP/1.1\r\nHost: %H\r\nConnection: close\r\n${names.map((n) => `${n}: planted\r\n`).join('')}\r\n`);
    assert.equal(statusOf(text), 200);
    assert.doesNotMatch(text, /planted/);
  });

  // The gateway's own pages (docs/limits.md): [request, status, reason, whether the connection stays].
  const form = (body, length = `Content-Length: ${body.length}`) => `POST /.sallyport/saml/down/acs HTTP/1.1\r\nHost: login.test:%P\r\nAccept: application/json\r\nContent-Type: application/x-www-form-urlencoded\r\n${length}\r\n\r\n${body}`;
  const login = (query) => `GET /.sallyport/login?${query} HTTP/1.1\r\nHost: login.test:%P\r\nAccept: text/html\r\nSec-Fetch-Mode: navigate\r\n\r\n`;
  const chunk = 'x'.repeat(65536);
  for (const [what, text, status, reason, stays] of [
    ['a form that says it is too long', form('x', 'Content-Length: 262145'), 413, 'too_large', false],
    ['a form in chunks that is too long', form(`${`10000\r\n${chunk}\r\n`.repeat(5)}0\r\n\r\n`, 'Transfer-Encoding: chunked'), 413, 'too_large', false],
    ['a form of 17 fields', form('a=b&'.repeat(16) + 'a=b'), 400, 'http.query', true],
    ['a query of 33 parameters', login('a=b&'.repeat(32) + 'a=b'), 400, 'http.query', true],
    ['an address to return to of 4097 bytes', login(`rd=https://login.test:%P/.sallyport/${'a'.repeat(4097)}`), 400, 'login.target', true],
  ]) {
    it(`${what} is ${status}, and the connection ${stays ? 'stays' : 'ends'}`, async () => {
      const next = 'GET /.sallyport/style.css HTTP/1.1\r\nHost: login.test:%P\r\nConnection: close\r\n\r\n';
      const { result, lines } = await gateway.accessDuring(() => rawTls(gateway.port, 'login.test', (text + next).replaceAll('%P', gateway.port)));
      assert.equal(statusOf(result.text), status, result.text.slice(0, 300));
      assert.equal(lines[0].reason, reason);
      assert.equal(result.text.match(/HTTP\/1\.1 \d{3} /g).length, stays ? 2 : 1, result.text);
    });
  }

  it('128 cookies are read, and ours among them is taken out', async () => {
    const { text } = await send(`GET /echo HTTP/1.1\r\nHost: %H\r\nConnection: close\r\nCookie: ${'a=b; '.repeat(127)}__Host-sallyport=planted\r\n\r\n`);
    assert.equal(statusOf(text), 200);
    assert.doesNotMatch(text, /planted/);
  });

  it('paths that can be read in two ways', async () => {
    for (const path of paths) {
      const seen = stage.backend.seen.length;
      const { result, lines } = await gateway.accessDuring(() => send(`GET ${path} HTTP/1.1\r\nHost: %H\r\nConnection: close\r\n\r\n`));
      if (statusOf(result.text) === 200) { // harmless when what is matched is what is forwarded
        const url = stage.backend.seen.at(-1).url;
        assert.doesNotMatch(url, /\.\.|%2e|%2f|%5c|\\|\/\/|;|%00|%3b|%25|%0|%7f|%c0|%ff/i, `${path} reached the backend as ${url}`);
      } else {
        assert.equal(statusOf(result.text), 400, `${path}: ${result.text.slice(0, 100)}`);
        assert.equal(stage.backend.seen.length, seen, path);
        assert.ok(lines[0]?.reason, path);
      }
    }
  });

  it('a protected path is not reached by another spelling', async () => {
    for (const path of ['/admin', '/admin/', '/admin/x', '/./admin', '/x/../admin', '/%61dmin', '/admin%2fx', '//admin', '/admin;x', '/ADMIN/../admin', '/%2561dmin', '/a/%2e%2e/admin', '/admin/..;/x', '/\\admin', '/admin%5cx', '/admin?x', '/adm%69n/x']) {
      const seen = stage.backend.seen.length;
      const { text } = await send(`GET ${path} HTTP/1.1\r\nHost: %H\r\nConnection: close\r\n\r\n`);
      assert.notEqual(statusOf(text), 200, path);
      assert.equal(stage.backend.seen.length, seen, path);
    }
    assert.equal(statusOf((await send('GET /administration HTTP/1.1\r\nHost: %H\r\nConnection: close\r\n\r\n')).text), 200, 'a prefix ends at a slash');
  });

  it('hosts are compared without letter case, trailing dot and port; others are nobody', async () => {
    const status = async (host) => statusOf((await rawTls(gateway.port, 'wiki.test', `GET /echo HTTP/1.1\r\nHost: ${host}\r\nAccept: application/json\r\nConnection: close\r\n\r\n`)).text);
    for (const host of ['wiki.test', 'WIKI.test', 'wiki.test.', `Wiki.Test:${gateway.port}`]) assert.ok([401, 400, 421].includes(await status(host)), host);
    for (const host of ['unknown.test', 'open.test.evil', 'xwiki.test', '127.0.0.1', `localhost:${gateway.port}`]) assert.ok([400, 404, 421].includes(await status(host)), host);
  });

  it('a head that never ends is cut off', async () => {
    const { text, closed } = await send('GET /echo HTTP/1.1\r\nHost: %H\r\nX: ', { ms: 8000 });
    assert.ok(closed, 'closed within its time');
    if (text) assert.equal(statusOf(text), 408);
  });

  it('plain HTTP and noise on the TLS port harm nobody', async () => {
    for (const bytes of ['GET / HTTP/1.1\r\nHost: x\r\n\r\n', '\0\0\0\0', Buffer.from(Array.from({ length: 500 }, (_, i) => (i * 37) & 255))]) {
      await new Promise((resolve) => {
        const s = net.connect(gateway.port, '127.0.0.1', () => s.write(bytes));
        s.setTimeout(2000, () => s.destroy());
        s.on('error', () => {});
        s.on('data', () => {});
        s.on('close', resolve);
      });
    }
  });

  it('pipelined requests are answered in order', async () => {
    const one = (n, close) => `GET /echo?${n} HTTP/1.1\r\nHost: %H\r\n${close ? 'Connection: close\r\n' : ''}\r\n`;
    const { text } = await send(one(1) + one(2) + one(3, true));
    assert.deepEqual([...text.matchAll(/"url":"\/echo\?(\d)"/g)].map((m) => m[1]), ['1', '2', '3']);
  });

  it('what is honest and unusual works', async () => {
    const ok = async (text, what) => assert.equal(statusOf((await send(text)).text), 200, what);
    await ok('GET /echo HTTP/1.0\r\nHost: %H\r\n\r\n', 'HTTP/1.0');
    await ok('GET /echo HTTP/1.1\r\nhOsT: %H\r\nconnection: close\r\nX-Empty:\r\nX-Tab:\ta\t\r\n\r\n', 'spaces around values');
    await ok('POST /echo HTTP/1.1\r\nHost: %H\r\nConnection: close\r\nTransfer-Encoding: Chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n', 'chunks with extension and trailer');
    await ok('REPORT /echo HTTP/1.1\r\nHost: %H\r\nConnection: close\r\nContent-Length: 0\r\n\r\n', 'another method');
    await ok(`GET https://open.test:${'%P'}/echo HTTP/1.1\r\nHost: %H\r\nConnection: close\r\n\r\n`.replace('%P', gateway.port), 'absolute form');
    const { text } = await send(['POST /echo HTTP/1.1\r\nHost: %H\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n'.replace('%H', `open.test:${gateway.port}`), 'abc'].join(''));
    assert.match(text, /"body":"abc"/);
  });

  it('after all this the daemon serves, and has not been restarted', async () => {
    await until('an answer', async () => (await request(stage.url('open.test', '/echo'))).status === 200);
    assertStatus(await request(stage.url('open.test', '/echo')), 200);
    const restarts = gateway.lines().filter((l) => /crash|died|restart/i.test(`${l.event} ${l.message ?? ''}`));
    assert.deepEqual(restarts, []);
  });
});
