// SPDX-License-Identifier: GPL-3.0-or-later
// The pages of the gateway in a real browser: chooser, who-am-I, denied, signed out; keyboard, phone, no JavaScript.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { oidcSignIn, samlSignIn, screenshot } from './rig/browser.mjs';
import { Client, forms, links, request } from './rig/http.mjs';
import { assertReason, assertRefused, assertStatus, oidcLogin } from './rig/journey.mjs';
import { LOGIN, Stage } from './rig/stage.mjs';

describe('pages in a browser', () => {
  let stage;
  let chromium;
  before(async () => {
    stage = await Stage.start('chooser', { saml: { corp: {} }, oidc: { op: {} } });
    chromium = await stage.browser();
  });
  after(() => stage?.close());

  const open = async (options, path = '/page') => {
    const context = await chromium.visitor(options);
    const page = await context.newPage();
    page.problems = [];
    page.on('console', (m) => { if (['error', 'warning'].includes(m.type()) && page.url().includes('/.sallyport/')) page.problems.push(m.text()); });
    const response = await page.goto(stage.url('wiki.test', path));
    return { context, page, response };
  };

  // Presses Tab until the focus is on something with this text.
  const tabTo = async (page, text) => {
    for (let i = 0; i < 20; i++) {
      await page.keyboard.press('Tab');
      const focused = await page.evaluate(() => document.activeElement?.textContent ?? '');
      if (text.test(focused.trim()) && focused.length < 200) return;
    }
    assert.fail(`Tab never reaches ${text}`);
  };

  it('the chooser shows both providers, and the keyboard alone signs in', async () => {
    const { context, page } = await open();
    assert.equal(new URL(page.url()).host, `${LOGIN}:${stage.gateway.port}`);
    const text = await page.textContent('body');
    assert.match(text, /Corporate login corp/);
    assert.match(text, /OpenID op/);
    await screenshot(page, 'chooser');
    await tabTo(page, /OpenID op/);
    await page.keyboard.press('Enter');
    await page.waitForSelector('input[name=login]');
    await page.focus('input[name=login]');
    await page.keyboard.type('ann');
    await page.keyboard.press('Tab');
    await page.keyboard.type('ann-pw');
    await page.keyboard.press('Enter');
    await page.waitForURL(stage.url('wiki.test', '/page'));
    assert.equal(await page.textContent('#email'), 'ann@example.com');
    assert.deepEqual(page.problems, []);
    await context.close();
  });

  it('the other provider of the chooser works as well', async () => {
    const { context, page } = await open();
    await page.click('text=Corporate login corp');
    await samlSignIn(page, 'ann');
    await page.waitForURL(stage.url('wiki.test', '/page'));
    await context.close();
  });

  it('works without JavaScript', async () => {
    const { context, page } = await open({ javaScriptEnabled: false });
    await page.click('text=OpenID op');
    await oidcSignIn(page, 'ann');
    await page.waitForURL(stage.url('wiki.test', '/page'));
    await context.close();
  });

  it('fits a phone, light and dark', async () => {
    for (const colorScheme of ['light', 'dark']) {
      const { context, page } = await open({ viewport: { width: 320, height: 640 }, isMobile: true, hasTouch: true, colorScheme });
      const [wide, inner] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
      assert.ok(wide <= inner, `${wide} pixels wide on a screen of ${inner}`);
      const height = await page.locator('text=OpenID op').first().evaluate((e) => e.closest('a,button').getBoundingClientRect().height);
      assert.ok(height >= 40, `a target of ${height} pixels for a thumb`);
      await screenshot(page, `chooser-phone-${colorScheme}`);
      await context.close();
    }
  });

  it('has a strict policy and no script', async () => {
    const client = new Client();
    const page = await client.open(stage.url('wiki.test', '/page'));
    const csp = page.headers['content-security-policy'];
    assert.match(csp, /default-src 'none'/);
    assert.match(csp, /frame-ancestors 'none'/);
    assert.doesNotMatch(csp, /unsafe-inline|unsafe-eval|\*/);
    assert.doesNotMatch(page.body, /<script|\son\w+=|style="|javascript:/i);
    assert.match(page.headers['cache-control'], /no-store/);
    assert.equal(page.headers['x-content-type-options'], 'nosniff');
    const css = /href="([^"]+\.css)"/.exec(page.body)[1];
    const style = assertStatus(await request(new URL(css, page.url).href), 200, 'the style sheet');
    assert.match(style.headers['content-type'], /text\/css/);
  });

  it('an unknown provider is refused', async () => {
    assertRefused(await assertReason(stage.gateway, 'login.provider', () => request(stage.url(LOGIN, '/.sallyport/login?idp=nobody'), { headers: { Accept: 'text/html' } })), 400);
  });

  it('a login of one provider does not count where only another may be used', async () => {
    const client = new Client();
    assertStatus(await oidcLogin(client, stage.url('op.test', '/echo'), 'ann'), 200);
    const seen = stage.backend.seen.length;
    const res = await client.open(stage.url('corp.test', '/echo'), (l) => l.startsWith(stage.saml.corp.base));
    assert.ok(res.location || res.status === 403, `${res.status}: the SAML provider's login, or a refusal`);
    assert.equal(stage.backend.seen.length, seen, 'nothing was forwarded');
  });

  it('a denied visitor sees why, and can sign in as somebody else', async () => {
    const { context, page } = await open();
    await page.click('text=OpenID op');
    const answer = page.waitForResponse((r) => r.url() === stage.url('wiki.test', '/page') && r.status() === 403);
    await oidcSignIn(page, 'bob');
    await answer;
    await page.waitForLoadState();
    const text = await page.textContent('body');
    assert.match(text, /staff/);
    assert.match(text, /signed in as bob/i);
    assert.doesNotMatch(text, /ann@example/);
    await screenshot(page, 'denied');
    await context.close();
  });

  it('an address without anything shows a page for people', async () => {
    const context = await chromium.visitor();
    const page = await context.newPage();
    await page.goto(stage.url(LOGIN, '/nothing-here'));
    assert.match(await page.textContent('body'), /nothing at this address|not found/i);
    await screenshot(page, 'not-found');
    await context.close();
  });

  it('who-am-I says who is there and signs out', async () => {
    const { context, page } = await open();
    await page.click('text=OpenID op');
    await oidcSignIn(page, 'ann');
    await page.waitForURL(stage.url('wiki.test', '/page'));
    await page.goto(stage.url('wiki.test', '/.sallyport/'));
    const text = await page.textContent('body');
    assert.match(text, /ann@example\.com/);
    assert.match(text, /admins/);
    await screenshot(page, 'who-am-i');
    const before = (await context.cookies(stage.url('wiki.test'))).find((c) => c.name === '__Host-sallyport').value;

    await page.goto(stage.url('wiki.test', '/.sallyport/logout'));
    assert.match(await page.textContent('body'), /sign out/i);
    assert.equal(await page.getAttribute('a.button', 'href'), '/', 'back to the application');
    await screenshot(page, 'sign-out');
    const login = await context.newPage();
    await login.goto(stage.url(LOGIN, '/.sallyport/logout'));
    assert.equal(await login.getAttribute('a.button', 'href'), '/.sallyport/', 'there is no application here');
    await login.close();
    const cookies = await context.cookies(stage.url('wiki.test'));
    assert.equal(cookies.find((c) => c.name === '__Host-sallyport')?.value, before, 'asking signs nobody out');

    await page.click('form[method=post] button');
    await page.waitForLoadState();
    assert.match(await page.textContent('body'), /signed out/i);
    await screenshot(page, 'signed-out');
    const stolen = new Client();
    stolen.cookies('wiki.test').set('__Host-sallyport', { value: before, path: '/' });
    assert.equal((await stolen.get(stage.url('wiki.test', '/echo'))).status, 302, 'the cookie is worth nothing any more');
    const app = await page.goto(stage.url('wiki.test', '/page'));
    assert.match(app.url(), new RegExp(`${LOGIN}|localhost`), 'the app asks for a login again');
    await context.close();
  });

  it('another site cannot sign a visitor out', async () => {
    const client = new Client();
    await oidcLogin(client, stage.url('op.test', '/echo'), 'ann');
    const logout = stage.url('op.test', '/.sallyport/logout');
    const res = await assertReason(stage.gateway, 'login.cross_site', () => client.post(logout, {}, { Origin: 'https://evil.test', 'Sec-Fetch-Site': 'same-site' }));
    assertRefused(res, 403);
    assertStatus(await client.get(stage.url('op.test', '/echo')), 200, 'still signed in');
    // and the honest form does
    const ask = assertStatus(await client.get(logout), 200);
    const form = forms(ask).find((f) => f.method === 'POST');
    await client.follow(await client.submit(form, {}, { 'Sec-Fetch-Site': 'same-origin' }));
    assert.notEqual((await client.get(stage.url('op.test', '/echo'))).status, 200);
  });

  it('every link on the chooser leads to the gateway itself', async () => {
    const page = await new Client().open(stage.url('wiki.test', '/page'));
    for (const href of links(page)) assert.equal(new URL(href).host, `${LOGIN}:${stage.gateway.port}`, href);
  });
});
