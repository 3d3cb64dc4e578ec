// SPDX-License-Identifier: GPL-3.0-or-later
// The TLS edge: versions, certificates by name, and the plain listener that only points to it.
import assert from 'node:assert/strict';
import http from 'node:http';
import tls from 'node:tls';
import { after, before, describe, it } from 'node:test';
import { request } from './rig/http.mjs';
import { assertStatus } from './rig/journey.mjs';
import { Stage } from './rig/stage.mjs';
import { makeLeaf } from './rig/tls.mjs';

describe('TLS', () => {
  let stage;
  let plain;
  before(async () => {
    stage = await Stage.start('tls', {
      oidc: { op: {} }, idps: false,
      config: async (s) => {
        plain = await s.world.port();
        const blog = await makeLeaf(s.world, s.ca, 'blog', ['blog.test']);
        return {
          listen: [
            { address: `127.0.0.1:${s.gateway.port}`, tls: { certificates: [{ cert: s.edge.cert, key: s.edge.key }, { cert: blog.cert, key: blog.key }] } },
            { address: `127.0.0.1:${plain}`, redirect_to_https: true },
          ],
        };
      },
    });
  });
  after(() => stage?.close());

  const connect = (options) => new Promise((resolve, reject) => {
    const s = tls.connect({ host: '127.0.0.1', port: stage.gateway.port, servername: 'wiki.test', ca: stage.ca.pem, ...options }, () => {
      resolve({ protocol: s.getProtocol(), names: s.getPeerCertificate().subjectaltname, alpn: s.alpnProtocol, authorized: s.authorized });
      s.destroy();
    });
    s.on('error', reject);
  });

  it('speaks TLS 1.2 and 1.3, nothing older, and is trusted by its own CA', async () => {
    for (const v of ['TLSv1.2', 'TLSv1.3']) assert.equal((await connect({ minVersion: v, maxVersion: v })).protocol, v);
    for (const v of ['TLSv1', 'TLSv1.1']) await assert.rejects(connect({ minVersion: v, maxVersion: v, ciphers: 'DEFAULT@SECLEVEL=0' }), v);
    assert.equal((await connect({})).authorized, true);
  });

  it('chooses the certificate by name', async () => {
    assert.equal((await connect({ servername: 'blog.test' })).names, 'DNS:blog.test');
    assert.match((await connect({ servername: 'wiki.test' })).names, /\*\.test/);
    assert.match((await connect({ servername: 'members.test' })).names, /\*\.test/);
  });

  it('answers ALPN with http/1.1', async () => {
    assert.equal((await connect({ ALPNProtocols: ['http/1.1'] })).alpn, 'http/1.1');
  });

  it('offers no weak cipher', async () => {
    for (const ciphers of ['AES128-SHA:@SECLEVEL=0', 'NULL:@SECLEVEL=0', 'RC4:@SECLEVEL=0', 'DES-CBC3-SHA:@SECLEVEL=0']) {
      await assert.rejects(async () => connect({ ciphers, maxVersion: 'TLSv1.2' }), ciphers);
    }
  });

  const ask = (host, path, method = 'GET') => new Promise((resolve, reject) => {
    http.request({ host: '127.0.0.1', port: plain, path, method, headers: { Host: host }, agent: false }, (res) => {
      res.resume();
      res.on('end', () => resolve(res));
    }).on('error', reject).end();
  });

  it('the plain listener points to HTTPS and to nothing else', async () => {
    const seen = stage.backend.seen.length;
    const res = await ask(`open.test:${plain}`, '/echo?a=b');
    assert.ok([301, 302, 307, 308].includes(res.statusCode), `${res.statusCode}`);
    assert.equal(res.headers.location, stage.url('open.test', '/echo?a=b'));
    assert.equal(res.headers['set-cookie'], undefined);
    for (const host of ['evil.test', 'evil.test:80', 'open.test.evil', 'open.test@evil.test', '127.0.0.1']) {
      const other = await ask(host, '/echo');
      assert.doesNotMatch(other.headers.location ?? '', /evil|127\.0\.0\.1/, host);
      assert.ok(other.statusCode >= 400, `${host}: ${other.statusCode}`);
    }
    for (const path of ['//evil.test/', '/\\evil.test', '/%0d%0aLocation:%20https://evil.test']) {
      const other = await ask('open.test', path);
      if (other.headers.location) assert.equal(new URL(other.headers.location).host, `open.test:${stage.gateway.port}`, path);
    }
    assert.equal(stage.backend.seen.length, seen, 'nothing is forwarded from plain HTTP');
  });

  it('a name in the request that is not that of the handshake gets its own route, never another\'s session', async () => {
    const res = await request(stage.url('open.test', '/echo'), { headers: { Host: `wiki.test:${stage.gateway.port}`, Accept: 'application/json' } });
    assert.ok([401, 421].includes(res.status), `${res.status}`);
    assertStatus(await request(stage.url('open.test', '/echo')), 200);
  });
});
