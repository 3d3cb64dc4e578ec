// SPDX-License-Identifier: GPL-3.0-or-later
// Login through node oidc-provider: with a browser, with every signature algorithm and both client authentications, and
// what must not log anybody in.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { oidcSignIn, screenshot } from './rig/browser.mjs';
import { Client, forms, request } from './rig/http.mjs';
import {
  assertReason, assertRefused, assertStatus, cloneClient, echo, isCallback, oidcCallback, oidcLogin, oidcUntilCode, sessionOf,
} from './rig/journey.mjs';
import { CLIENT_SECRET, LOGIN, Stage } from './rig/stage.mjs';

const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];

const edit = (location, change) => {
  const u = new URL(location);
  change(u.searchParams, u);
  return u.href;
};

describe('OpenID Connect login', () => {
  let stage;
  let gateway;
  before(async () => {
    stage = await Stage.start('oidc', {
      oidc: {
        basic: { auth: 'client_secret_basic', alg: 'RS256' },
        post: { auth: 'client_secret_post', alg: 'PS256' },
        ...Object.fromEntries(algorithms.map((alg) => [alg.toLowerCase(), { alg }])),
        strict: { alg: 'RS256', provider: { algorithms: ['ES256'] } },
        wrongsecret: { secret: `${CLIENT_SECRET}-another` },
      },
      routes: (s) => [
        { host: 'carl.test', backends: [s.backend.url], policy: 'carl', providers: ['basic'] },
        { host: 'staff.test', backends: [s.backend.url], policy: 'staff', providers: ['basic'] },
      ],
      policies: { carl: [{ allow: { emails: ['carl@example.com'] } }] },
    });
    ({ gateway } = stage);
  });
  after(() => stage?.close());

  const at = (key, path = '/echo') => stage.url(`${key}.test`, path);

  it('a visitor signs in with a browser and the app learns who they are', async () => {
    const context = await (await stage.browser()).visitor();
    const page = await context.newPage();
    await page.goto(at('basic', '/page?x=1&y=%20z'));
    await oidcSignIn(page, 'ann');
    await page.waitForURL(at('basic', '/page?x=1&y=%20z'));
    assert.equal(await page.textContent('#email'), 'ann@example.com');
    await screenshot(page, 'app-oidc');
    await context.close();
  });

  for (const key of ['basic', 'post', ...algorithms.map((a) => a.toLowerCase())]) {
    it(`logs in with ${key}`, async () => {
      const client = new Client();
      assertStatus(await oidcLogin(client, at(key), 'ann'), 200);
      const { headers } = await echo(client, at(key));
      assert.equal(headers['x-sallyport-email'], 'ann@example.com');
      assert.equal(headers['x-sallyport-groups'], 'staff,admins');
      assert.equal(headers['x-sallyport-provider'], key);
      assert.equal(headers['x-sallyport-subject'], 'sub-ann');
    });
  }

  it('the request has state, nonce and PKCE S256, new each time', async () => {
    const ask = async () => {
      const { location } = await new Client().open(at('basic'), (l) => l.startsWith(stage.oidc.issuer));
      return new URL(location).searchParams;
    };
    const [a, b] = [await ask(), await ask()];
    assert.equal(a.get('code_challenge_method'), 'S256');
    assert.equal(a.get('response_type'), 'code');
    assert.equal(a.get('redirect_uri'), stage.callback('basic'));
    for (const name of ['state', 'nonce', 'code_challenge']) {
      assert.ok(a.get(name).length >= 22, name);
      assert.notEqual(a.get(name), b.get(name), name);
    }
  });

  it('an algorithm that the operator did not list is refused', async () => {
    const client = new Client();
    const location = await oidcUntilCode(client, at('strict'), 'ann');
    assertRefused(await assertReason(gateway, 'oidc.algorithm', () => oidcCallback(client, location)), 502);
  });

  it('a wrong client secret gives a page, not a session', async () => {
    const client = new Client();
    const location = await oidcUntilCode(client, at('wrongsecret'), 'ann');
    const body = assertRefused(await assertReason(gateway, 'oidc.token_response', () => oidcCallback(client, location)), 502);
    assert.doesNotMatch(body, /planted|invalid_client.*secret=/);
  });

  it('groups as one string count, a missing claim means none', async () => {
    const bob = new Client();
    assertStatus(await oidcLogin(bob, at('basic'), 'bob'), 200);
    assert.equal((await echo(bob, at('basic'))).headers['x-sallyport-groups'], 'guests');
    const dora = new Client();
    assertStatus(await assertReason(gateway, 'policy.groups_unknown', () => oidcLogin(dora, at('basic'), 'dora')), 403);
  });

  it('an unverified e-mail address counts for nothing', async () => {
    const seen = stage.backend.seen.length;
    const client = new Client();
    assertStatus(await oidcLogin(client, stage.url('carl.test', '/'), 'carl'), 403);
    assert.equal(stage.backend.seen.length, seen);
  });

  it('saying no at the provider gives a page with a way back', async () => {
    const client = new Client();
    const login = await client.open(at('basic'));
    const back = await client.follow(await client.submit(forms(login).find((f) => f.action.endsWith('/abort'))), isCallback);
    const body = assertRefused(await assertReason(gateway, 'oidc.error_response', () => oidcCallback(client, back.location)), 403);
    assert.match(body, /<a\b/, 'a link to try again');
  });

  it('a callback works once: not again, not in another browser', async () => {
    const client = new Client();
    const location = await oidcUntilCode(client, at('basic'), 'ann');
    assertRefused(await assertReason(gateway, 'login.state', () => oidcCallback(new Client(), location)), 400);
    const before = cloneClient(client);
    assertStatus(await client.follow(await oidcCallback(client, location)), 200);
    const again = await oidcCallback(client, location);
    assertRefused(again, [400, 302, 303], 'the login state is spent');
    assertRefused(await oidcCallback(before, location), [400, 502], 'the same with the state cookie put back');
  });

  it("one provider's answer is refused at another's callback", async () => {
    const client = new Client();
    const location = await oidcUntilCode(client, at('basic'), 'ann');
    const other = location.replace(stage.callback('basic'), stage.callback('post'));
    assert.notEqual(other, location);
    assertRefused(await oidcCallback(client, other), 400);
    // also when the browser has a login under way there
    await oidcUntilCode(client, at('post'), 'ann');
    assertRefused(await oidcCallback(client, other), 400);
  });

  for (const [what, change] of Object.entries({
    'state twice': (p) => p.append('state', p.get('state')),
    'code twice': (p) => p.append('code', p.get('code')),
    'iss twice': (p) => p.append('iss', p.get('iss')),
    'no state': (p) => p.delete('state'),
    'no code': (p) => p.delete('code'),
    'another iss': (p) => p.set('iss', 'https://evil.test'),
    'a flipped letter in state': (p) => p.set('state', p.get('state').replace(/.$/, (c) => (c === 'A' ? 'B' : 'A'))),
    'code and error together': (p) => p.set('error', 'access_denied'),
    'no parameter at all': (p, u) => { u.search = ''; },
    'separators only': (p, u) => { u.search = '?&&&=&'; },
  })) {
    it(`a callback with ${what} is refused`, async () => {
      const client = new Client();
      const location = edit(await oidcUntilCode(client, at('basic'), 'ann'), change);
      const { result, lines } = await gateway.accessDuring(() => oidcCallback(client, location));
      assertRefused(result, [400, 403, 502]);
      assert.ok(lines.at(-1)?.reason, JSON.stringify(lines));
      assert.equal(sessionOf(client, LOGIN), undefined);
    });
  }

  it('a code that the provider never gave is refused', async () => {
    const client = new Client();
    const location = edit(await oidcUntilCode(client, at('basic'), 'ann'), (p) => p.set('code', 'made-up'));
    assertRefused(await assertReason(gateway, 'oidc.token_response', () => oidcCallback(client, location)), 502);
  });

  it('text of the provider is escaped on the page', async () => {
    const client = new Client();
    const location = edit(await oidcUntilCode(client, at('basic'), 'ann'), (p) => {
      p.delete('code');
      p.set('error', '"><script>alert(1)</script>');
      p.set('error_description', '<img src=x onerror=alert(1)>');
    });
    const body = assertRefused(await oidcCallback(client, location), [400, 403]);
    assert.doesNotMatch(body, /<script>alert|<img src=x/);
  });

  it('a key that the provider has changed is fetched', async () => {
    const { makeJwks } = await import('./rig/oidc.mjs');
    stage.oidc.setup.jwks = makeJwks().map((k) => ({ ...k, kid: `${k.kid}-new` }));
    await stage.oidc.restart();
    const client = new Client();
    assertStatus(await oidcLogin(client, at('es256'), 'ann'), 200);
  });
});

describe('OpenID Connect login with userinfo', () => {
  let stage;
  before(async () => {
    stage = await Stage.start('userinfo', {
      oidc: { ui: { provider: { userinfo: true } }, plain: {} }, oidcSetup: { conformIdTokenClaims: true },
    });
  });
  after(() => stage?.close());

  it('claims come from userinfo when configured, and only then', async () => {
    const client = new Client();
    assertStatus(await oidcLogin(client, stage.url('ui.test', '/echo'), 'ann'), 200);
    assert.equal((await echo(client, stage.url('ui.test', '/echo'))).headers['x-sallyport-groups'], 'staff,admins');
    assertStatus(await oidcLogin(new Client(), stage.url('plain.test', '/echo'), 'ann'), 403);
  });

  it('the endpoint userinfo tells the app in the browser who is there', async () => {
    const client = new Client();
    await oidcLogin(client, stage.url('ui.test', '/'), 'ann');
    const res = assertStatus(await client.get(stage.url('ui.test', '/.sallyport/userinfo'), { Accept: 'application/json', 'Sec-Fetch-Mode': 'cors' }), 200);
    assert.match(res.headers['content-type'], /application\/json/);
    assert.equal(JSON.parse(res.body).email, 'ann@example.com');
    assertStatus(await request(stage.url('ui.test', '/.sallyport/userinfo'), { headers: { Accept: 'application/json' } }), 401);
  });
});
