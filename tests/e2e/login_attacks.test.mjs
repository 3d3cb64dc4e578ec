// SPDX-License-Identifier: GPL-3.0-or-later
// What another site, another visitor or another provider could try between a browser and its session.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { Client, forms, request } from './rig/http.mjs';
import {
  assertReason, assertRefused, assertStatus, cloneClient, echo, isAcs, oidcCallback, oidcLogin, oidcUntilCode, samlLogin, samlPost,
  samlUntilResponse, sessionOf, setsSession,
} from './rig/journey.mjs';
import { LOGIN, Stage } from './rig/stage.mjs';

const isEnter = (l) => l.includes('/.sallyport/enter');

describe('attacks on logins', () => {
  let stage;
  let gateway;
  before(async () => {
    stage = await Stage.start('attacks', {
      saml: { corp: {}, uns: { same: 'corp', provider: { allow_unsolicited: true } } },
      oidc: { op: {}, other: {} },
      routes: (s) => [
        { host: 'mixed.test', backends: [s.backend.url], policy: 'partly', providers: ['op'] },
      ],
      policies: { partly: [{ allow: { public: true, paths: ['/echo'] } }, { allow: { groups: ['staff'] } }] },
    });
    ({ gateway } = stage);
  });
  after(() => stage?.close());

  const members = (path = '/echo') => stage.url('members.test', path);
  const wiki = (path = '/echo') => stage.url('wiki.test', path);
  const blog = (path = '/echo') => stage.url('blog.test', path);
  const login = (idp, target, more = '') => stage.url(LOGIN, `/.sallyport/login?idp=${idp}&rd=${encodeURIComponent(target)}${more}`);
  const loginFrom = (host, idp, target) => stage.url(host, `/.sallyport/login?idp=${idp}&rd=${encodeURIComponent(target)}`);
  const isProvider = (l) => l.startsWith(stage.oidc.issuer);
  const assertOutside = async (client, url) => assertStatus(await client.get(url), 302, 'no session');
  const signedIn = async (user = 'ann', url = loginFrom('members.test', 'op', members())) => {
    const client = new Client();
    assertStatus(await oidcLogin(client, url, user), 200);
    return client;
  };

  it('a login that does not count on a route names nobody there, on public pages neither', async () => {
    const client = await signedIn('bob', loginFrom('mixed.test', 'other', stage.url('mixed.test', '/.sallyport/')));
    assert.ok(sessionOf(client, 'mixed.test'), 'a session on the host, of another provider');
    const { headers } = await echo(client, stage.url('mixed.test', '/echo'));
    assert.deepEqual(Object.keys(headers).filter((n) => n.startsWith('x-sallyport')), []);
    const ann = await signedIn('ann', loginFrom('mixed.test', 'op', stage.url('mixed.test', '/echo')));
    assert.equal((await echo(ann, stage.url('mixed.test', '/echo'))).headers['x-sallyport-email'], 'ann@example.com');
  });

  it('an address that the provider did not verify is told to no application', async () => {
    const carl = await signedIn('carl');
    const { headers } = await echo(carl, members());
    assert.equal(headers['x-sallyport-user'], 'carl');
    assert.equal(headers['x-sallyport-email'], undefined);
    const ann = await signedIn('ann');
    assert.equal((await echo(ann, members())).headers['x-sallyport-email'], 'ann@example.com');
  });

  it('a SAML login ends the session that it replaces', async () => {
    const client = await signedIn('bob');
    const planted = cloneClient(client);
    assertStatus(await planted.get(members()), 200);
    assertStatus(await samlLogin(client, loginFrom('members.test', 'corp', members()), 'ann'), 200);
    assert.equal((await echo(client, members())).headers['x-sallyport-provider'], 'corp');
    await assertOutside(planted, members());
  });

  it('a link made for the browser of somebody else brings nobody into a session', async () => {
    const attacker = new Client();
    const start = await attacker.get(wiki());
    const b = new URL(start.headers.location).searchParams.get('b');
    assert.match(b, /^[\w-]{43}$/);
    // The victim is signed in, and follows the attacker's link.
    const victim = await signedIn('ann');
    const res = await victim.open(stage.url(LOGIN, `/.sallyport/login?rd=${encodeURIComponent(wiki())}&b=${b}`), isEnter);
    assert.ok(res.location, 'a ticket for the binding of the attacker');
    assertRefused(await victim.get(res.location), 400, 'the victim\'s browser has another cookie');
    assertRefused(await attacker.get(res.location), 400, 'used up by the try');
    assert.equal(sessionOf(attacker, 'wiki.test'), undefined);
    // The other way round: the attacker's ticket in the victim's browser.
    const own = await signedIn('ann');
    const ticket = (await own.open(blog(), isEnter)).location;
    const fresh = new Client();
    await fresh.get(blog());
    assertRefused(await fresh.get(ticket), 400, 'another browser');
    assert.equal(sessionOf(fresh, 'blog.test'), undefined);
  });

  it('a login that is asked for on one application leads to another one with that one\'s cookie', async () => {
    const client = new Client();
    assertStatus(await oidcLogin(client, loginFrom('members.test', 'op', wiki()), 'ann'), 200);
    assert.ok(sessionOf(client, 'wiki.test'));
    assert.equal(sessionOf(client, 'members.test'), undefined);
  });

  it('a ticket of one host is worth nothing on another, even with the cookie that it is bound to', async () => {
    const client = await signedIn('ann');
    const ticket = (await client.open(blog(), isEnter)).location;
    const elsewhere = new Client();
    elsewhere.jar.set('members.test', new Map(client.jar.get('blog.test')));
    assert.ok(elsewhere.cookies('members.test').has('__Host-sallyport-enter'));
    assertRefused(await elsewhere.get(ticket.replace('blog.test', 'members.test')), 400, 'another host');
    assert.equal(sessionOf(elsewhere, 'members.test'), undefined);
  });

  it('a ticket of a session that has ended brings nobody in', async () => {
    const client = await signedIn('ann');
    const ticket = (await client.open(blog(), isEnter)).location;
    const out = await client.post(members('/.sallyport/logout'), {}, { 'Sec-Fetch-Site': 'same-origin' });
    assertStatus(out, 200);
    await client.get(ticket);
    await assertOutside(client, blog());
    const res = await client.open(blog());
    assert.equal(new URL(res.url).hostname, LOGIN, 'a new login is needed');
  });

  it('a used ticket leads a visitor who is signed in nowhere but to this host', async () => {
    const client = await signedIn('ann', loginFrom('blog.test', 'op', blog()));
    const enter = (rd) => blog(`/.sallyport/enter?ticket=${'A'.repeat(43)}&rd=${encodeURIComponent(rd)}`);
    assert.equal((await client.get(enter(blog('/page')))).headers.location, blog('/page'));
    const { port } = new URL(blog());
    for (const rd of ['https://evil.test/', '//evil.test', '/\\evil.test', `https://blog.test:${port}@evil.test/`, `https://blog.test.evil.test:${port}/`,
      'https://blog.test:1/', `http://blog.test:${port}/`, 'javascript:alert(1)', members('/page'), '']) {
      const res = await client.get(enter(rd));
      assert.equal(res.headers.location, undefined, rd);
      assertStatus(res, 400, rd);
      assert.doesNotMatch(res.body, /href="[^"]*evil/, rd);
    }
  });

  it('parameters of a login that are malformed, or there twice, are refused', async () => {
    const rd = encodeURIComponent(members());
    const b = 'B'.repeat(43);
    for (const query of [
      `rd=${rd}&rd=${rd}`, `rd=${rd}&b=${b}&b=${b}`, `rd=${rd}&idp=op&idp=other`, `rd=${rd}&b=`, `rd=${rd}&b=${b}x`, `rd=${rd}&b=${b.slice(1)}`,
      `rd=${rd}&b=${b.slice(1)}%2F`, `rd=${rd}&b=${b.slice(1)}%00`, `rd=${rd}&b=${b.slice(1)}%0A`, `rd=${rd}&b=${b}&idp=`, `rd=${rd}&b=${b}&idp=none`,
      `rd=${rd}&b=${b}&idp=OP`, `rd=${rd}&b=${b}&idp=op%00`, `rd=${encodeURIComponent(stage.url('mixed.test', '/x'))}&b=${b}&idp=other`, 'rd=%', '%',
    ]) {
      const res = await new Client().get(stage.url(LOGIN, `/.sallyport/login?${query}`));
      assertRefused(res, 400, query);
      assert.deepEqual(res.setCookies, [], query);
    }
  });

  it('a link on another site does not trade a session for one at another provider', async () => {
    const client = await signedIn('ann');
    const b = new URL((await client.get(loginFrom('members.test', 'other', members()))).headers.location).searchParams.get('b');
    const link = login('other', members(), `&b=${b}`);
    assert.ok(isEnter((await client.get(link, { 'Sec-Fetch-Site': 'cross-site' })).headers.location), 'the session that is there counts');
    assert.ok(isProvider((await client.get(link, { 'Sec-Fetch-Site': 'same-origin' })).headers.location), 'the visitor may choose');
  });

  it('a frame of another site starts no login, nor does a background request', async () => {
    for (const dest of ['iframe', 'frame', 'embed', 'object', 'fencedframe']) {
      const client = new Client();
      const res = await client.get(login('corp', members()), { 'Sec-Fetch-Dest': dest, 'Sec-Fetch-Site': 'cross-site' });
      assertStatus(res, 401, dest);
      assert.deepEqual(res.setCookies, [], dest);
    }
    for (const background of [
      { 'Sec-Fetch-Mode': 'cors', 'Sec-Fetch-Dest': 'empty' }, { 'Sec-Fetch-Mode': 'no-cors', 'Sec-Fetch-Dest': 'image' },
      { 'X-Requested-With': 'XMLHttpRequest' }, { 'Sec-Purpose': 'prefetch;prerender' }, { Accept: '*/*' },
    ]) {
      const res = await new Client().get(login('op', members(), `&b=${'B'.repeat(43)}`), background);
      assertStatus(res, 401, JSON.stringify(background));
      assert.deepEqual(res.setCookies, [], JSON.stringify(background));
    }
    const link = await new Client().get(login('op', members()), { 'Sec-Fetch-Site': 'cross-site' });
    assertStatus(link, 302, 'a link does');
  });

  it('logins with long addresses do not fill the browser with more than a request may hold', async () => {
    const client = new Client();
    for (let i = 0; i < 9; i++) await client.open(login('op', wiki(`/echo?${i}${'x'.repeat(2400)}`)), isProvider);
    const size = [...client.cookies(LOGIN)].reduce((n, [name, c]) => n + name.length + c.value.length + 3, 0);
    assert.ok(size <= 16 * 1024, `${size} bytes of cookies`);
    assertStatus(await oidcLogin(client, loginFrom('members.test', 'op', members()), 'ann'), 200);
  });

  it('where logins may begin at the provider, an answer to somebody else\'s request is refused all the same', async () => {
    const attacker = new Client();
    const form = await samlUntilResponse(attacker, loginFrom('members.test', 'uns', members()), 'ann');
    const victim = new Client();
    assertRefused(await assertReason(gateway, 'saml.in_response_to', () => samlPost(victim, form)), 400);
    assertRefused(await samlPost(new Client(), { ...form, fields: { SAMLResponse: form.fields.SAMLResponse } }), 400);
    assertStatus(await attacker.follow(await samlPost(attacker, form)), 200, 'in the browser that asked');
  });

  it('a login that begins at the provider leads to our own page, once', async () => {
    const client = new Client();
    const entity = /entityID="([^"]+)"/.exec(readFileSync(stage.spFile, 'utf8'))[1];
    const query = new URLSearchParams({ spentityid: entity, ConsumerURL: stage.acs('uns'), RelayState: 'https://evil.test/' });
    const page = await client.open(`${stage.saml.uns.base}/saml2/idp/SSOService.php?${query}`);
    const signed = await client.follow(await client.submit(forms(page).find((f) => 'username' in f.fields), { username: 'ann', password: 'ann-pw' }));
    const form = forms(signed).find((f) => isAcs(f.action));
    assert.equal(form.action, stage.acs('uns'));
    const other = { ...form, action: stage.acs('corp') };
    assertRefused(await samlPost(new Client(), other), 400, 'where it is not allowed');
    const res = await samlPost(client, form);
    assert.equal(res.headers.location, stage.url(LOGIN, '/.sallyport/'));
    assert.ok(setsSession(res));
    assertRefused(await assertReason(gateway, 'login.replay', () => samlPost(new Client(), form)), 400);
  });

  it('a login is used up by its first answer, another good one included', async () => {
    const client = new Client();
    const ask = (await client.open(loginFrom('members.test', 'corp', members()), (l) => l.startsWith(stage.saml.corp.base))).location;
    const page = await client.open(ask);
    const signed = await client.follow(await client.submit(forms(page).find((f) => 'username' in f.fields), { username: 'ann', password: 'ann-pw' }));
    const answers = [signed, await client.open(ask)].map((res) => forms(res).find((f) => isAcs(f.action)));
    assert.equal(answers[0].fields.RelayState, answers[1].fields.RelayState);
    assert.notEqual(answers[0].fields.SAMLResponse, answers[1].fields.SAMLResponse);
    const before = cloneClient(client);
    assert.ok(setsSession(await samlPost(client, answers[0])));
    assertRefused(await assertReason(gateway, 'login.replay', () => samlPost(before, answers[1])), 400);
  });

  it('a session of a provider that does not count leads to one that does, not in circles', async () => {
    const client = await signedIn('bob', loginFrom('members.test', 'other', members()));
    const res = await client.open(stage.url('op.test', '/echo'), isProvider);
    assert.ok(new URL(res.location).searchParams.get('client_id') === 'client-op', res.location);
  });

  it('of two answers at the same moment one makes a session', async () => {
    for (let i = 0; i < 3; i++) {
      const client = new Client();
      const form = await samlUntilResponse(client, loginFrom('members.test', 'corp', members()), 'ann');
      const twins = [client, cloneClient(client), cloneClient(client), cloneClient(client)];
      const answers = await Promise.all(twins.map((c) => samlPost(c, form)));
      assert.equal(answers.filter(setsSession).length, 1, answers.map((r) => r.status).join());
    }
    const client = new Client();
    const location = await oidcUntilCode(client, loginFrom('members.test', 'op', members()), 'ann');
    const answers = await Promise.all([client, cloneClient(client), cloneClient(client)].map((c) => oidcCallback(c, location)));
    assert.ok(answers.filter(setsSession).length <= 1, answers.map((r) => r.status).join());
  });

  it('nobody else signs a visitor out', async () => {
    const client = await signedIn();
    const url = members('/.sallyport/logout');
    for (const headers of [
      { 'Sec-Fetch-Site': 'cross-site', Origin: 'https://evil.test' },
      { 'Sec-Fetch-Site': 'cross-site', Origin: 'null' },
      { 'Sec-Fetch-Site': 'same-site', Origin: 'null' },
      { 'Sec-Fetch-Site': 'same-site', Origin: stage.url('wiki.test', '') },
      { 'Sec-Fetch-Site': undefined, Origin: 'null' },
      { 'Sec-Fetch-Site': undefined, Origin: 'https://evil.test' },
      { 'Sec-Fetch-Site': undefined, Origin: 'http://members.test' },
      { 'Sec-Fetch-Site': undefined, Origin: `${new URL(members()).origin}.evil.test` },
      { 'Sec-Fetch-Site': undefined, Origin: '' },
    ]) {
      const cookie = `__Host-sallyport=${sessionOf(client, 'members.test')}`;
      const h = Object.fromEntries(Object.entries({ 'Content-Type': 'application/x-www-form-urlencoded', Cookie: cookie, ...headers }).filter(([, v]) => v !== undefined));
      const res = await request(url, { method: 'POST', headers: h, body: '' });
      assertStatus(res, 403, JSON.stringify(headers));
      assert.deepEqual(res.setCookies, [], JSON.stringify(headers));
    }
    for (const method of ['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']) await client.send(url, { method });
    assertStatus(await client.get(members()), 200, 'still signed in');
  });

  it('no step of a login leaves its address in a Referer or a cache', async () => {
    const client = new Client();
    const asked = await client.get(loginFrom('wiki.test', 'op', wiki()));
    const started = await client.get(asked.headers.location);
    const answered = await oidcCallback(client, await oidcUntilCode(client, started.headers.location, 'ann'));
    const entered = await client.get(answered.headers.location);
    assert.equal(entered.headers.location, wiki());
    for (const res of [asked, started, answered, entered, await client.get(answered.headers.location.replace(/rd=.*/, ''))]) {
      assert.equal(res.headers['referrer-policy'], 'no-referrer', res.url);
      assert.equal(res.headers['cache-control'], 'no-store', res.url);
    }
  });

  it('a session cookie that is worth nothing is taken back', async () => {
    const res = await request(stage.url('open.test', '/.sallyport/logout'), { headers: { Accept: 'text/html', Cookie: '__Host-sallyport=nonsense' } });
    assert.match(res.setCookies.join(), /^__Host-sallyport=;.*Max-Age=0/);
  });

  it('an answer of a provider is a form, not what a script of another site could send as text', async () => {
    const client = new Client();
    const form = await samlUntilResponse(client, loginFrom('members.test', 'corp', members()), 'ann');
    const res = await samlPost(client, form);
    assert.ok(setsSession(res), 'a form');
    const text = await samlUntilResponse(client, loginFrom('members.test', 'corp', members('/echo?2')), 'ann').catch(() => form);
    for (const type of ['text/plain', 'multipart/form-data; boundary=x', 'application/x-www-form-urlencodedx', '']) {
      assertRefused(await client.post(form.action, text.fields, { 'Content-Type': type, 'Sec-Fetch-Site': 'cross-site' }), 400, type);
    }
  });

  it('endpoints of the login host are nowhere else, and take their one method', async () => {
    for (const path of ['/.sallyport/saml/corp/acs', '/.sallyport/oidc/op/callback?code=x&state=y', '/.sallyport/saml/metadata']) {
      for (const method of ['GET', 'POST']) {
        const res = await request(stage.url('wiki.test', path), { method, headers: { Accept: 'text/html', 'Content-Type': 'application/x-www-form-urlencoded' } });
        assertStatus(res, 404, `${method} ${path}`);
      }
    }
    for (const [method, path] of [
      ['GET', '/saml/corp/acs'], ['HEAD', '/saml/corp/acs'], ['OPTIONS', '/saml/corp/acs'], ['PUT', '/saml/corp/acs'], ['POST', '/oidc/op/callback'],
      ['OPTIONS', '/oidc/op/callback'], ['POST', '/login'], ['OPTIONS', '/login'], ['POST', '/enter'], ['DELETE', '/enter'], ['PUT', '/logout'],
      ['POST', '/userinfo'],
    ]) {
      const res = await request(stage.url(LOGIN, `/.sallyport${path}`), { method, headers: { 'Content-Length': '0' } });
      assertStatus(res, 405, `${method} ${path}`);
      assert.ok(res.headers.allow, `${method} ${path} says what is allowed`);
      assert.deepEqual(res.setCookies, [], `${method} ${path}`);
    }
    for (const path of ['/saml/op/acs', '/oidc/corp/callback', '/saml/none/acs', '/saml/corp/acs/', '/saml/corp/ACS']) {
      assertStatus(await request(stage.url(LOGIN, `/.sallyport${path}`)), 404, path);
    }
  });

  it('a provider that is configured no more vouches for nobody', async () => {
    const client = await signedIn('ann', loginFrom('members.test', 'other', members()));
    const stays = await signedIn('ann');
    const waiting = new Client();
    const answer = await oidcUntilCode(waiting, loginFrom('wiki.test', 'op', wiki()), 'ann');
    await gateway.stop();
    const { other, ...rest } = gateway.config.identity_providers;
    assert.ok(other);
    gateway.configure({ ...gateway.config, identity_providers: rest, routes: gateway.config.routes.filter((r) => !['other.test', 'wiki.test'].includes(r.host)) });
    await gateway.start();
    await gateway.loginsWork('op');
    assertStatus(await stays.get(members()), 200, 'a session of a provider that stays');
    await assertOutside(client, members());
    const res = await oidcCallback(waiting, answer);
    assert.equal(res.headers.location, undefined, 'a login that was to lead to a host that is gone leads nowhere');
    assertStatus(res, 400);
  });
});
