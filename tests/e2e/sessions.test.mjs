// SPDX-License-Identifier: GPL-3.0-or-later
// Sessions: one login for several hosts, restart in mid-session, limits, and cookies in the wrong hands.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Client, forms, navigation, request } from './rig/http.mjs';
import {
  assertReason, assertRefused, assertStatus, cloneClient, echo, oidcCallback, oidcLogin, oidcUntilCode, sessionOf, setsSession,
} from './rig/journey.mjs';
import { LOGIN, Stage } from './rig/stage.mjs';
import { sleep } from './rig/world.mjs';
import { oidcSignIn } from './rig/browser.mjs';

const isEnter = (l) => l.includes('/.sallyport/enter');

describe('sessions', () => {
  let stage;
  let gateway;
  before(async () => {
    stage = await Stage.start('sessions', { oidc: { op: {}, other: {} }, apps: { providers: ['op'] } });
    ({ gateway } = stage);
  });
  after(() => stage?.close());

  const wiki = (path = '/echo') => stage.url('wiki.test', path);
  const blog = (path = '/echo') => stage.url('blog.test', path);
  const signedIn = async (user = 'ann', url = wiki()) => {
    const client = new Client();
    await oidcLogin(client, url, user);
    return client;
  };
  const isProvider = (l) => l.startsWith(stage.oidc.issuer);
  const withCookie = (host, value) => {
    const c = new Client();
    c.cookies(host).set('__Host-sallyport', { value, path: '/' });
    return c;
  };
  // Not signed in: a navigation is sent to the login.
  const assertOutside = async (client, url) => assertStatus(await client.get(url), 302, 'no session');

  it('one login serves two hosts, without a second prompt', async () => {
    const client = await signedIn();
    const res = await client.open(blog(), isProvider);
    assert.equal(res.location, undefined, 'the provider was asked again');
    assertStatus(res, 200);
    assert.equal((await echo(client, blog())).headers['x-sallyport-email'], 'ann@example.com');
    assert.notEqual(sessionOf(client, 'wiki.test'), sessionOf(client, 'blog.test'), 'each host has a cookie of its own');
  });

  it('the same in a browser', async () => {
    const context = await (await stage.browser()).visitor();
    const page = await context.newPage();
    await page.goto(wiki('/a'));
    await oidcSignIn(page, 'ann');
    await page.waitForURL(wiki('/a'));
    const asked = [];
    page.on('request', (r) => { if (isProvider(r.url())) asked.push(r.url()); });
    await page.goto(blog('/b?c=d'));
    await page.waitForURL(blog('/b?c=d'));
    assert.equal(await page.textContent('#email'), 'ann@example.com');
    assert.deepEqual(asked, []);
    await page.goBack();
    assert.equal(await page.textContent('#email'), 'ann@example.com');
    await context.close();
  });

  it('a session survives a restart of the daemon', async () => {
    const client = await signedIn();
    await gateway.restart();
    assert.equal((await echo(client, wiki())).headers['x-sallyport-email'], 'ann@example.com');
    await gateway.loginsWork('op');
  });

  it('a login begun before a restart ends after it', async () => {
    const client = new Client();
    const location = await oidcUntilCode(client, wiki(), 'ann');
    await gateway.restart();
    await gateway.loginsWork('op');
    assertStatus(await client.follow(await oidcCallback(client, location)), 200);
  });

  it('a cookie of one host is worth nothing on another', async () => {
    const client = await signedIn();
    await assertOutside(withCookie('blog.test', sessionOf(client, 'wiki.test')), blog());
    await assertOutside(withCookie('wiki.test', sessionOf(client, LOGIN)), wiki());
    const again = withCookie('wiki.test', sessionOf(client, 'wiki.test'));
    assertStatus(await again.get(wiki()), 200, 'this test has an effective cookie');
  });

  it('a damaged cookie is worth nothing', async () => {
    const value = sessionOf(await signedIn(), 'wiki.test');
    for (let i = 0; i < value.length; i += 5) {
      const c = value[i] === 'A' ? 'B' : 'A';
      const damaged = value.slice(0, i) + c + value.slice(i + 1);
      await assertOutside(withCookie('wiki.test', damaged), wiki());
    }
    for (const v of ['', 'A', value.slice(0, -1), `${value}A`, `${value}=`, `"${value}`, 'A'.repeat(3000), '%00', value.toLowerCase()]) {
      await assertOutside(withCookie('wiki.test', v), wiki());
    }
    const twice = new Client();
    assertStatus(await twice.get(wiki(), { Cookie: `__Host-sallyport=${value}; __Host-sallyport=${value.slice(0, -2)}AA` }), 302, 'two different ones');
  });

  it('strange Cookie headers harm nobody', async () => {
    for (const cookie of [';', ';;;;', '=', '==;=', 'a', '"', 'a="', '__Host-sallyport', '__Host-sallyport=', ',', ' ; ; ', `a=${'b'.repeat(4000)}`, Array(200).fill('a=b').join('; '), '__Host-sallyport-99999999=1']) {
      const res = await new Client().get(wiki(), { Cookie: cookie });
      assert.ok([302, 400, 431].includes(res.status), `${cookie.slice(0, 30)}: ${res.status}`);
    }
  });

  it('a login gives a new session, and a planted one dies', async () => {
    const members = stage.url('members.test', '/echo');
    const loginWith = (key) => stage.url('members.test', `/.sallyport/login?idp=${key}&rd=${encodeURIComponent(members)}`);
    const planted = await signedIn('bob', loginWith('op'));
    assertStatus(await planted.get(members), 200);
    const victim = new Client(); // with bob's cookies, the provider's ones excepted
    for (const host of [LOGIN, 'members.test']) victim.jar.set(host, new Map(planted.jar.get(host)));
    assertStatus(await oidcLogin(victim, loginWith('other'), 'ann'), 200);
    assert.equal((await echo(victim, members)).headers['x-sallyport-email'], 'ann@example.com');
    for (const host of [LOGIN, 'members.test']) assert.notEqual(sessionOf(victim, host), sessionOf(planted, host), host);
    await assertOutside(planted, members);
  });

  it('a cookie planted on an application alone is replaced by the login', async () => {
    const planted = await signedIn('bob', stage.url('op.test', '/echo'));
    const victim = new Client();
    victim.jar.set('op.test', new Map(planted.jar.get('op.test')));
    const login = stage.url('op.test', `/.sallyport/login?idp=op&rd=${encodeURIComponent(stage.url('op.test', '/echo'))}`);
    assertStatus(await oidcLogin(victim, login, 'ann'), 200);
    assert.equal((await echo(victim, stage.url('op.test', '/echo'))).headers['x-sallyport-email'], 'ann@example.com');
    assert.notEqual(sessionOf(victim, 'op.test'), sessionOf(planted, 'op.test'));
  });

  it('a link to the login host that names an application leads there', async () => {
    const link = stage.url(LOGIN, `/.sallyport/login?idp=op&rd=${encodeURIComponent(wiki())}`);
    const client = new Client();
    assertStatus(await oidcLogin(client, link, 'ann'), 200);
    const again = await client.open(link);
    assert.equal(assertStatus(again, 200, 'signed in already').url, wiki());
  });

  it('a ticket works once, in the browser that asked, on its host', async () => {
    const client = await signedIn();
    const entered = await client.open(blog(), isEnter);
    assert.ok(entered.location, 'a ticket for the second host');
    assertRefused(await new Client().get(entered.location), [400, 302, 303], 'another browser');
    const elsewhere = entered.location.replace('blog.test', 'members.test');
    assertRefused(await cloneClient(client).get(elsewhere), [400, 302, 303], 'another host');
    // a refused try may cost the ticket; so a new one
    const fresh = await client.open(blog(), isEnter);
    const before = cloneClient(client);
    const used = await client.get(fresh.location);
    assert.ok(setsSession(used), `the ticket sets a session: ${used.status}`);
    assertRefused(await before.get(fresh.location), [400, 302, 303], 'a second time');
    for (const bad of ['', '?ticket=', '?ticket=AAAA', `?ticket=${'A'.repeat(5000)}`, '?ticket=%00', '?&&']) {
      assertRefused(await new Client().get(blog(`/.sallyport/enter${bad}`)), [400, 431, 414], `enter${bad.slice(0, 20)}`);
    }
  });

  it('at most seven logins wait in one browser', async () => {
    const client = new Client();
    for (let i = 0; i < 12; i++) await client.open(wiki(`/echo?${i}`), isProvider);
    const waiting = [...client.cookies(LOGIN).keys()].filter((n) => n.startsWith('__Host-sallyport-'));
    assert.ok(waiting.length <= 7, `${waiting.length} state cookies`);
    assertStatus(await oidcLogin(client, wiki('/echo?last'), 'ann'), 200, 'and the last one still works');
  });

  it('requests that are not page navigations start no login', async () => {
    for (const [what, headers, method] of [
      ['fetch', { 'Sec-Fetch-Mode': 'cors', 'Sec-Fetch-Dest': 'empty' }],
      ['an image', { 'Sec-Fetch-Mode': 'no-cors', 'Sec-Fetch-Dest': 'image', Accept: 'image/*' }],
      ['XMLHttpRequest', { 'X-Requested-With': 'XMLHttpRequest' }],
      ['no text/html', { Accept: 'application/json', 'Sec-Fetch-Mode': undefined }],
      ['a WebSocket', { 'Sec-Fetch-Mode': 'websocket', Upgrade: 'websocket', Connection: 'Upgrade', 'Sec-WebSocket-Key': 'x', 'Sec-WebSocket-Version': '13' }],
      ['a POST of fetch', { 'Sec-Fetch-Mode': 'cors', 'Content-Length': '0' }, 'POST'],
    ]) {
      const h = Object.fromEntries(Object.entries({ ...navigation, ...headers }).filter(([, v]) => v !== undefined));
      const { result, lines } = await gateway.accessDuring(() => request(wiki(), { method, headers: h }));
      assertStatus(result, 401, what);
      assert.match(result.headers['content-type'], /application\/json/, what);
      const json = JSON.parse(result.body);
      assert.equal(json.status, 401, what);
      assert.ok(json.error && json.login, what);
      assert.deepEqual(result.setCookies, [], what);
      assert.ok(lines.at(-1)?.reason, what);
    }
  });

  it('a form that is sent without a session leads to the login, by GET', async () => {
    const seen = stage.backend.seen.length;
    const res = await new Client().post(wiki('/echo'), { a: 1 }, { 'Sec-Fetch-Site': 'same-origin' });
    assertStatus(res, 303, 'a POST of a page');
    assert.match(res.headers.location, new RegExp(`^https://${LOGIN}:`));
    assert.equal(stage.backend.seen.length, seen);
  });

  it('signing out on one host signs out on all', async () => {
    const client = await signedIn();
    await client.open(blog());
    const before = cloneClient(client);
    const ask = await client.get(wiki('/.sallyport/logout'));
    await client.follow(await client.submit(forms(ask).find((f) => f.method === 'POST'), {}, { 'Sec-Fetch-Site': 'same-origin' }));
    for (const url of [wiki(), blog()]) await assertOutside(before, url);
    const res = await before.open(wiki(), isProvider);
    assert.ok(res.location, 'the login host knows no session either');
  });

  it('an idle session ends, and so does an old one', async () => {
    await gateway.stop();
    gateway.configure({ ...gateway.config, session: { idle: '3s', lifetime: '8s' } });
    await gateway.start();
    await gateway.loginsWork('op');
    const idle = await signedIn();
    const busy = await signedIn();
    const begun = Date.now();
    await sleep(4500);
    await assertReason(gateway, ['session.expired', 'session.unknown', 'policy.not_logged_in'], () => assertOutside(idle, wiki()));
    const busy2 = await signedIn();
    while (Date.now() - begun < 13000) {
      const res = await busy2.get(wiki());
      if (res.status !== 200) break;
      await sleep(700);
    }
    const lived = Date.now() - begun - 4500;
    assert.ok(lived > 5500, `used all the time, it lived ${lived} ms of 8 s`);
    assert.ok(lived < 9500, `it lived ${lived} ms of 8 s`);
    await assertOutside(busy, wiki());
  });
});
