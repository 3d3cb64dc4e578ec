// SPDX-License-Identifier: GPL-3.0-or-later
// The other parts alone, without the gateway: when this fails, nothing else here says anything about the gateway.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startBackend } from './rig/backend.mjs';
import { oidcSignIn, startBrowser } from './rig/browser.mjs';
import { Client, forms, request } from './rig/http.mjs';
import { startNginxBackend } from './rig/nginx.mjs';
import { startOidc } from './rig/oidc.mjs';
import { startSimpleSaml } from './rig/simplesaml.mjs';
import { makeCa, makeLeaf } from './rig/tls.mjs';
import { World } from './rig/world.mjs';

describe('the rig', () => {
  let world;
  let leaf;
  before(async () => {
    world = new World('rig');
    leaf = await makeLeaf(world, await makeCa(world), 'idp', ['localhost', '127.0.0.1']);
  });
  after(() => world?.close());

  it('SimpleSAMLphp gives metadata and signs a user in', async () => {
    const idp = await startSimpleSaml(world, leaf);
    assert.match(await idp.metadata(), /IDPSSODescriptor/);
    const client = new Client();
    const page = await client.open(`${idp.base}/module.php/core/authenticate.php?as=example-userpass`);
    const form = forms(page).find((f) => 'username' in f.fields);
    const status = await client.follow(await client.submit(form, { username: 'ann', password: 'ann-pw' }));
    assert.match(status.body, /ann@example\.com/);
    await idp.stop();
  });

  it('oidc-provider answers discovery, and Chromium signs in there', async () => {
    const callback = 'https://login.test:1/cb';
    const op = await startOidc(world, leaf, { clients: [{ id: 'a', secret: 'x'.repeat(40), callback, alg: 'EdDSA' }] });
    assert.equal(JSON.parse((await request(`${op.issuer}/.well-known/openid-configuration`)).body).issuer, op.issuer);
    const context = await (await startBrowser(world)).visitor();
    const page = await context.newPage();
    const arrived = page.waitForRequest((r) => r.url().startsWith(callback));
    await page.goto(`${op.issuer}/auth?${new URLSearchParams({
      client_id: 'a', response_type: 'code', scope: 'openid', redirect_uri: callback, state: 'x', nonce: 'n',
      code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', code_challenge_method: 'S256',
    })}`);
    await oidcSignIn(page, 'ann').catch(() => {}); // nobody answers at the callback
    assert.match((await arrived).url(), /code=/);
    await op.stop();
  });

  it('nginx and the node backend tell what they received', async () => {
    const nginx = await startNginxBackend(world, (await startBackend(world)).port);
    const get = async (path) => (await fetch(nginx.url + path, { headers: { 'X-Sallyport-User': 'x', Connection: 'close' } })).text();
    assert.match(await get('/nginx/'), /x_sallyport_user=x/);
    assert.equal(JSON.parse(await get('/echo')).headers['x-sallyport-user'], 'x');
  });
});
