// SPDX-License-Identifier: GPL-3.0-or-later
// Identity providers that are away: the daemon starts, existing sessions go on, logins say so plainly, and work again
// without a restart once the provider is back.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { screenshot } from './rig/browser.mjs';
import { Client, navigation, request } from './rig/http.mjs';
import { assertReason, assertStatus, echo, oidcCallback, oidcLogin, oidcUntilCode, samlLogin } from './rig/journey.mjs';
import { LOGIN, Stage } from './rig/stage.mjs';
import { until } from './rig/world.mjs';

describe('identity providers that are down', () => {
  let stage;
  let gateway;
  const clients = {};
  before(async () => {
    stage = await Stage.start('idp-down', { saml: { corp: {} }, oidc: { op: {} }, idps: false });
    ({ gateway } = stage);
  });
  after(() => stage?.close());

  const loginUrl = (key) => stage.url(LOGIN, `/.sallyport/login?idp=${key}`);
  const unavailable = ['login.unavailable', 'oidc.discovery', 'saml.metadata', 'oidc.jwks'];

  it('the daemon starts and serves what needs no login', async () => {
    assertStatus(await request(stage.url('open.test', '/echo')), 200);
    const res = await new Client().open(stage.url('wiki.test', '/'));
    assert.ok([200, 503].includes(res.status), `the chooser, or that nobody can sign in: ${res.status}`);
  });

  for (const key of ['corp', 'op']) {
    it(`a login with ${key} says plainly that it does not work now`, async () => {
      const res = await assertReason(gateway, unavailable, () => new Client().get(loginUrl(key)));
      assertStatus(res, 503);
      assert.match(res.body, /cannot be (used|reached)/);
      assert.doesNotMatch(res.body, /localhost|curl|ECONN|refused to connect/i, 'no internals');
      const json = await request(loginUrl(key), { headers: { Accept: 'application/json' } });
      assert.ok([401, 503].includes(json.status), `${json.status}`);
    });
  }

  it('shows it in a browser', async () => {
    const context = await (await stage.browser()).visitor();
    const page = await context.newPage();
    const res = await page.goto(loginUrl('op'));
    assert.equal(res.status(), 503);
    await screenshot(page, 'provider-down');
    // Another try does not insist on the provider that is down.
    await Promise.all([page.waitForNavigation(), page.click('a.button')]);
    assert.equal(await page.title(), `Sign in - ${await page.textContent('.site')}`);
    assert.ok(await page.getByText('Cannot be reached').count() > 0, 'the chooser marks what is down');
    await page.goto(stage.url(LOGIN, '/.sallyport/oidc/op/callback?state=x&code=y'));
    assert.match(await page.title(), /^Signing in did not work/);
    assert.equal(await page.getAttribute('a.button', 'href'), '/.sallyport/login');
    await page.goto(stage.url('wiki.test', '/.sallyport/enter?ticket=x'));
    assert.equal(await page.getAttribute('a.button', 'href'), '/.sallyport/');
    await context.close();
  });

  it('is alive for the load balancer meanwhile', async () => {
    assert.equal((await fetch(`http://127.0.0.1:${gateway.opsPort}/healthz`, { headers: { Connection: 'close' } })).status, 200);
  });

  it('logins work once the providers are up, without a restart', async () => {
    const pid = gateway.gatewayPid();
    await stage.saml.corp.start();
    await stage.oidc.start();
    await until('the providers to be found', async () => {
      for (const key of ['corp', 'op']) assert.ok((await request(loginUrl(key), { headers: navigation })).status < 400, key);
      return true;
    }, { ms: 60000, every: 500 });
    clients.saml = new Client();
    assertStatus(await samlLogin(clients.saml, stage.url('corp.test', '/echo'), 'ann'), 200);
    clients.oidc = new Client();
    assertStatus(await oidcLogin(clients.oidc, stage.url('op.test', '/echo'), 'ann'), 200);
    assert.equal(gateway.gatewayPid(), pid);
  });

  it('when they go away, sessions go on, also over a restart', async () => {
    await stage.saml.corp.stop();
    await stage.oidc.stop();
    const go = async () => {
      assert.equal((await echo(clients.saml, stage.url('corp.test', '/echo'))).headers['x-sallyport-email'], 'ann@example.com');
      assert.equal((await echo(clients.oidc, stage.url('op.test', '/echo'))).headers['x-sallyport-email'], 'ann@example.com');
    };
    await go();
    await gateway.restart();
    await go();
  });

  it('an OpenID provider that vanishes in mid-login costs that login only', async () => {
    await stage.oidc.start();
    await gateway.loginsWork('op');
    const client = new Client();
    const location = await oidcUntilCode(client, stage.url('op.test', '/echo'), 'bob');
    await stage.oidc.stop();
    const { result } = await gateway.accessDuring(() => oidcCallback(client, location));
    assert.ok([502, 503].includes(result.status), `${result.status}`);
    assert.match(result.body, /try again/i);
    assertStatus(await clients.oidc.get(stage.url('op.test', '/echo')), 200);
  });

  it('SAML logins can begin from the copy of the metadata on disk', async () => {
    const res = await new Client().get(loginUrl('corp'));
    assert.ok([302, 303, 200].includes(res.status), `${res.status}`);
  });
});
