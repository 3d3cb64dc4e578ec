// SPDX-License-Identifier: GPL-3.0-or-later
// Nobody gets a visitor to another site by way of a login here.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Client } from './rig/http.mjs';
import { assertStatus, isCallback, oidcLogin, oidcUntilCode } from './rig/journey.mjs';
import { LOGIN, Stage } from './rig/stage.mjs';

describe('return addresses', () => {
  let stage;
  let ours;
  let ann;
  before(async () => {
    stage = await Stage.start('redirects', { oidc: { op: {} } });
    ours = new Set([LOGIN, 'wiki.test', 'blog.test', 'members.test', 'open.test', 'op.test'].map((h) => `${h}:${stage.gateway.port}`));
    ann = new Client();
    await oidcLogin(ann, stage.url('wiki.test', '/echo'), 'ann');
  });
  after(() => stage?.close());

  const foreign = (port) => [
    'https://evil.test', 'https://evil.test/', `https://evil.test:${port}/`, 'http://evil.test/', '//evil.test', '///evil.test', '////evil.test',
    '/\\evil.test', '\\/evil.test', '\\\\evil.test', '/ /evil.test', '/\t/evil.test', '/\v/evil.test', '/\n/evil.test', '/\r/evil.test', '/ \\evil.test',
    '/\t\\evil.test', '/./\\evil.test', '/.//evil.test', '/%09/evil.test', '/%5cevil.test', '/%2f%2fevil.test', '/%0a/evil.test', '/%0d%0aLocation:%20https://evil.test',
    'https:/evil.test', 'https:evil.test', 'https:///evil.test', 'https:\\\\evil.test', 'https:/\\evil.test',
    `https://wiki.test:${port}@evil.test/`, `https://wiki.test@evil.test:${port}/`, `https://evil.test\\@wiki.test:${port}/`, `https://evil.test\\.wiki.test:${port}/`,
    `https://evil.test#@wiki.test:${port}/`, `https://evil.test?@wiki.test:${port}/`, `https://wiki.test:${port}.evil.test/`, `https://wiki.test.evil.test:${port}/`,
    `https://evilwiki.test:${port}/`, `https://wiki.test.:${port}.evil.test/`, `https://user:pw@wiki.test:${port}/`,
    'https://wiki.test/', 'https://wiki.test:1/', `https://wiki.test:${port + 65536}/`, `https://wiki.test:0${port}/`, `https://wiki.test:+${port}/`, `http://wiki.test:${port}/`, `ftp://wiki.test:${port}/`,
    `https://2130706433:${port}/`, `https://0x7f000001:${port}/`, `https://017700000001:${port}/`, `https://127.1:${port}/`, `https://[::1]:${port}/`, `https://127.0.0.1:${port}/`,
    'javascript:alert(1)', 'JaVaScRiPt:alert(1)', 'data:text/html,x', 'vbscript:x', 'file:///etc/passwd', '\u0001javascript:alert(1)', ' javascript:alert(1)', 'java\nscript:alert(1)',
    `https://wiki.test\0.evil.test:${port}/`, 'https://wiki.test%00.evil.test/', `https://wiki.test:${port}\u3002evil.test/`, `https://wiki\u3002test.evil.test/`, `https://\u0435vil.test/`,
    `https://wiki.test:${port}/\r\nSet-Cookie: a=b`, ' https://evil.test', '\thttps://evil.test', 'https://evil.test ', `https://wiki.test:${port}\t@evil.test`, `https://%65vil.test/`, `https://wiki.test%2f@evil.test/`,
    'evil.test', '.evil.test', '@evil.test', ':443', '?https://evil.test', '#https://evil.test', `${'/'.repeat(3000)}evil.test`,
  ];

  // Where a visitor ends who follows this address, finishing the login at the provider when asked; every host on the way.
  const follow = async (client, url) => {
    const hosts = [];
    const stop = (l) => { hosts.push(new URL(l).host); return !ours.has(hosts.at(-1)) && hosts.at(-1) !== `localhost:${stage.oidc.port}`; };
    const res = await client.open(url, stop);
    return { res, hosts, end: new URL(res.location ?? res.url).host };
  };

  for (const host of [LOGIN, 'wiki.test']) {
    it(`no address of another site is accepted at ${host}`, async () => {
      for (const rd of foreign(stage.gateway.port)) {
        const client = new Client();
        for (const [h, jar] of ann.jar) if (h === 'localhost') client.jar.set(h, new Map(jar)); // signed in at the provider only
        const { res, end } = await follow(client, stage.url(host, `/.sallyport/login?idp=op&rd=${encodeURIComponent(rd)}`));
        assert.ok(ours.has(end), `${JSON.stringify(rd)} leads to ${end}`);
        assert.ok([400, 431, 414].includes(res.status), `${JSON.stringify(rd)} is not refused: ${res.status} at ${res.url}`);
        assert.doesNotMatch(res.body, /href="[^"]*evil/, rd);
      }
    });
  }

  it('nor for a visitor who is signed in already', async () => {
    for (const rd of foreign(stage.gateway.port)) {
      const { res, end } = await follow(ann, stage.url(LOGIN, `/.sallyport/login?rd=${encodeURIComponent(rd)}`));
      assert.ok(ours.has(end), `${JSON.stringify(rd)} leads to ${end}`);
      assert.equal(res.status >= 400 && res.status < 500, true, `${JSON.stringify(rd)}: ${res.status}`);
    }
  });

  it('two values are refused', async () => {
    const good = encodeURIComponent(stage.url('wiki.test', '/echo'));
    const res = await new Client().get(stage.url(LOGIN, `/.sallyport/login?idp=op&rd=${good}&rd=https%3A%2F%2Fevil.test`));
    assertStatus(res, 400);
  });

  it('honest addresses work, whole', async () => {
    for (const path of ['/echo', '/echo?a=b&c=%20d%26', '/echo?next=https://evil.test/', '/echo?x=%2F%2Fevil.test', '/echo?q=a+b&%C3%B6=%E2%82%AC']) {
      const client = new Client();
      const location = await oidcUntilCode(client, stage.url('wiki.test', path), 'ann');
      assert.ok(isCallback(location));
      const res = assertStatus(await client.follow(await client.get(location)), 200, path);
      assert.equal(new URL(res.url).host, `wiki.test:${stage.gateway.port}`);
      assert.equal(JSON.parse(res.body).url, path);
    }
  });

  it('without an address the login ends on a page of our own', async () => {
    const client = new Client();
    const res = await oidcLogin(client, stage.url(LOGIN, '/.sallyport/login?idp=op'), 'ann');
    assertStatus(res, 200);
    assert.ok(ours.has(new URL(res.url).host));
  });
});
