// SPDX-License-Identifier: GPL-3.0-or-later
// Login through SimpleSAMLphp: with a browser, in all the ways it can sign and encrypt, and what must not log anybody in.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { samlSignIn, screenshot } from './rig/browser.mjs';
import { Client, forms, request } from './rig/http.mjs';
import {
  assertReason, assertRefused, assertStatus, cloneClient, echo, isAcs, samlLogin, samlPost, samlUntilResponse, sessionOf,
} from './rig/journey.mjs';
import { decode, forged, signedParts, withoutSignatures, wrappings } from './rig/saml_forge.mjs';
import { LOGIN, Stage } from './rig/stage.mjs';

const utf8 = (header) => Buffer.from(header, 'latin1').toString();

describe('SAML login', () => {
  let stage;
  let gateway;
  let idp;
  before(async () => {
    stage = await Stage.start('saml', {
      nginx: true,
      saml: { corp: {}, cbc: { same: 'corp', provider: { allow_cbc: true } } },
      routes: (s) => [
        { host: 'staff.test', backends: [s.backend.url], policy: 'staff', providers: ['corp'] },
        { host: 'domain.test', backends: [s.backend.url], policy: 'domain', providers: ['corp'] },
        { host: 'app.test', backends: [s.nginx.url], policy: 'staff', providers: ['corp'] },
        { host: 'it.test', backends: [s.backend.url], policy: 'it', providers: ['corp'] },
      ],
      policies: {
        domain: [{ allow: { email_domains: ['example.com'] } }],
        it: [{ allow: { claims: { department: ['it'] } } }],
      },
    });
    ({ gateway } = stage);
    idp = stage.saml.corp;
  });
  after(() => stage?.close());

  // SimpleSAMLphp signs and encrypts as our metadata asks; `edit` changes our metadata for it.
  const idpDoes = async (options, edit = (xml) => xml) => {
    idp.configure(options);
    writeFileSync(stage.spFile, edit(readFileSync(stage.spFile, 'utf8')));
  };
  const anySignature = (xml) => xml.replace(/\s+WantAssertionsSigned="[^"]*"/, '');
  const response = (user, host = 'staff.test', client = new Client()) => samlUntilResponse(client, stage.url(host, '/echo'), user).then((form) => ({ form, client }));

  it('the command line and the endpoint give the same metadata', async () => {
    const fromEndpoint = (await request(stage.url(LOGIN, '/.sallyport/saml/metadata'))).body.trim();
    const fromCli = await gateway.cli('metadata', '--config', gateway.configFile);
    assert.equal(fromCli.code, 0, fromCli.stderr);
    assert.equal(fromCli.stdout.trim(), fromEndpoint);
    assert.ok(fromEndpoint.includes(stage.acs('corp')), 'the ACS of the provider');
    assert.match(fromEndpoint, /use="encryption"/);
  });

  it('a visitor signs in with a browser and the app learns who they are', async () => {
    const context = await (await stage.browser()).visitor();
    const page = await context.newPage();
    await page.goto(stage.url('staff.test', '/page?x=1'));
    await samlSignIn(page, 'ann');
    await page.waitForURL(stage.url('staff.test', '/page?x=1'));
    assert.equal(await page.textContent('#email'), 'ann@example.com');
    assert.equal(await page.textContent('#groups'), 'staff,admins');
    await screenshot(page, 'app-saml');
    const cookies = await context.cookies(stage.url('staff.test'));
    const session = cookies.find((c) => c.name === '__Host-sallyport');
    assert.deepEqual({ ...session, value: '', expires: 0 }, {
      name: '__Host-sallyport', value: '', domain: 'staff.test', path: '/', expires: 0, httpOnly: true, secure: true, sameSite: 'Lax',
    });
    const left = (await context.cookies(stage.url(LOGIN))).filter((c) => c.name.startsWith('__Host-sallyport-') && /saml|login|state/.test(c.name));
    assert.deepEqual(left, [], 'login state is gone after the login');
    await context.close();
  });

  it('the app receives the identity in headers', async () => {
    const client = new Client();
    assertStatus(await samlLogin(client, stage.url('staff.test', '/echo'), 'ann'), 200);
    const { headers } = await echo(client, stage.url('staff.test', '/echo'));
    assert.match(headers['x-sallyport-user'], /^ann/);
    assert.equal(headers['x-sallyport-email'], 'ann@example.com');
    assert.equal(headers['x-sallyport-name'], 'Ann Archer');
    assert.equal(headers['x-sallyport-groups'], 'staff,admins');
    assert.equal(headers['x-sallyport-provider'], 'corp');
    assert.ok(headers['x-sallyport-subject']);
    assert.equal(headers.cookie, undefined);
    const nginx = await client.open(stage.url('app.test', '/nginx/x'));
    assert.match(nginx.body, /x_sallyport_email=ann@example\.com/);
    assertStatus(await client.open(stage.url('it.test', '/')), 200, 'an attribute as a claim');
  });

  it('a name with letters beyond ASCII arrives whole', async () => {
    const client = new Client();
    assertStatus(await samlLogin(client, stage.url('corp.test', '/echo'), 'bob'), 200);
    const name = (await echo(client, stage.url('corp.test', '/echo'))).headers['x-sallyport-name'];
    assert.ok([utf8(name), decodeURIComponent(name), name].includes('Bob Böhm'), `the app received ${name}`);
  });

  it('a user whom the policy does not allow gets a page that says what was asked', async () => {
    const seen = stage.backend.seen.length;
    const client = new Client();
    const res = await assertReason(gateway, 'policy.no_rule', () => samlLogin(client, stage.url('staff.test', '/'), 'bob'));
    assertStatus(res, 403);
    assert.match(res.body, /staff/, 'what the rule asks for');
    assert.doesNotMatch(res.body, /ann@example|admins/, 'nothing about others');
    assert.equal(stage.backend.seen.length, seen, 'nothing was forwarded');
    const json = await client.get(stage.url('staff.test', '/'), { Accept: 'application/json', 'Sec-Fetch-Mode': 'cors' });
    assert.equal(assertStatus(json, 403).headers['content-type'].split(';')[0], 'application/json');
    assert.equal(JSON.parse(json.body).status, 403);
  });

  it('an address with two @ passes no domain check, and markup in a name stays text', async () => {
    const seen = stage.backend.seen.length;
    const client = new Client();
    const res = await samlLogin(client, stage.url('domain.test', '/'), 'eve');
    assert.notEqual(res.status, 200);
    assert.equal(stage.backend.seen.length, seen);
    const whoami = await client.get(stage.url('domain.test', '/.sallyport/'));
    assert.doesNotMatch(whoami.body + res.body, /<script>alert/);
  });

  for (const [what, options, parts] of [
    ['signed response and assertion', { 'saml20.sign.response': true, 'saml20.sign.assertion': true }, { response: 1, assertion: 1 }],
    ['signed response only', { 'saml20.sign.response': true, 'saml20.sign.assertion': false }, { response: 1, assertion: 0 }],
    ['signed assertion only', { 'saml20.sign.response': false, 'saml20.sign.assertion': true }, { response: 0, assertion: 1 }],
  ]) {
    it(`accepts a ${what}`, async () => {
      await idpDoes(options, anySignature);
      const { form, client } = await response('ann');
      assert.deepEqual(signedParts(decode(form)), parts);
      assertStatus(await client.follow(await samlPost(client, form)), 200);
      assert.equal((await echo(client, stage.url('staff.test', '/echo'))).headers['x-sallyport-email'], 'ann@example.com');
    });
  }

  it('accepts RSA-SHA512 and refuses RSA-SHA1', async () => {
    await idpDoes({ 'signature.algorithm': 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha512' });
    const good = await response('ann');
    assertStatus(await good.client.follow(await samlPost(good.client, good.form)), 200);
    await idpDoes({ 'signature.algorithm': 'http://www.w3.org/2000/09/xmldsig#rsa-sha1' });
    const { form, client } = await response('ann');
    assertRefused(await assertReason(gateway, ['saml.algorithm', 'saml.signature'], () => samlPost(client, form)), 400);
  });

  it('accepts an encrypted assertion where the operator allows CBC, refuses CBC elsewhere', async () => {
    await idpDoes({ 'assertion.encryption': true });
    const { form, client } = await response('ann', 'cbc.test');
    assert.match(decode(form), /EncryptedAssertion/);
    assert.doesNotMatch(decode(form), /ann@example/);
    assert.match(decode(form), /xmlenc#aes\d+-cbc/, 'what SimpleSAMLphp encrypts with');
    assertStatus(await client.follow(await samlPost(client, form)), 200);
    assert.equal((await echo(client, stage.url('cbc.test', '/echo'))).headers['x-sallyport-email'], 'ann@example.com');
    const strict = await response('ann', 'staff.test');
    assertRefused(await assertReason(gateway, ['saml.algorithm', 'saml.decrypt'], () => samlPost(strict.client, strict.form)), 400);
  });

  it('accepts an encrypted assertion of which only the response is signed', async () => {
    await idpDoes({ 'assertion.encryption': true, 'saml20.sign.assertion': false }, anySignature);
    const { form, client } = await response('ann', 'cbc.test');
    assertStatus(await client.follow(await samlPost(client, form)), 200);
  });

  it('refuses an encrypted assertion that nobody signed', async () => {
    await idpDoes({ 'assertion.encryption': true, 'saml20.sign.assertion': false, 'saml20.sign.response': false }, anySignature);
    const { form, client } = await response('ann', 'cbc.test');
    assertRefused(await samlPost(client, form), 400);
  });

  it('refuses a response that nobody signed', async () => {
    await idpDoes({ 'saml20.sign.assertion': false, 'saml20.sign.response': false }, anySignature);
    const { form, client } = await response('ann');
    assertRefused(await assertReason(gateway, 'saml.unsigned', () => samlPost(client, form)), 400);
    assert.equal(sessionOf(client, LOGIN), undefined);
  });

  it('refuses a response whose signatures were cut out, or whose content was changed', async () => {
    await idpDoes({});
    const a = await response('bob');
    assertRefused(await assertReason(gateway, 'saml.unsigned', () => samlPost(a.client, forged(a.form, withoutSignatures))), 400);
    const b = await response('bob');
    const changed = forged(b.form, (xml) => xml.replaceAll('guests', 'staff'));
    assertRefused(await assertReason(gateway, 'saml.signature', () => samlPost(b.client, changed)), 400);
  });

  for (const [what, wrap] of Object.entries(wrappings)) {
    it(`refuses signature wrapping: ${what}`, async () => {
      await idpDoes({ 'saml20.sign.response': false, 'saml20.sign.assertion': true });
      const { form, client } = await response('bob');
      const evil = forged(form, wrap);
      assert.notEqual(decode(evil), decode(form));
      assert.match(decode(evil), /ann@example/);
      assertRefused(await samlPost(client, evil), 400);
      assert.notEqual((await client.get(stage.url('staff.test', '/echo'))).status, 200);
    });
  }

  it('a comment inside a value never cuts it', async () => {
    await idpDoes({});
    const { form, client } = await response('ann', 'corp.test');
    const res = await samlPost(client, forged(form, (xml) => xml.replaceAll('ann@example.com', 'ann@<!---->example.com')));
    if (res.status === 400) return;
    await client.follow(res);
    assert.equal((await echo(client, stage.url('corp.test', '/echo'))).headers['x-sallyport-email'], 'ann@example.com');
  });

  it('a response works once: not again, and not in another browser', async () => {
    const { form, client } = await response('ann');
    const thief = new Client();
    assertRefused(await assertReason(gateway, ['login.state', 'saml.in_response_to'], () => samlPost(thief, form)), 400);
    const before = cloneClient(client);
    assertStatus(await client.follow(await samlPost(client, form)), 200);
    assertRefused(await samlPost(client, form), [400, 302, 303], 'the login state is spent');
    assertRefused(await assertReason(gateway, 'login.replay', () => samlPost(before, form)), 400);
  });

  it('a response for another login of the same browser is refused', async () => {
    const { form, client } = await response('ann');
    const second = await samlUntilResponse(client, stage.url('staff.test', '/echo?second'), 'ann');
    const mixed = { ...form, fields: { ...form.fields, RelayState: second.fields.RelayState } };
    assertRefused(await samlPost(client, mixed), 400);
  });

  it('a response is refused at the ACS of another provider', async () => {
    const { form, client } = await response('ann');
    assertRefused(await samlPost(client, { ...form, action: stage.acs('cbc') }), 400);
  });

  it('a login that begins at the provider is refused', async () => {
    const client = new Client();
    const entity = /entityID="([^"]+)"/.exec(readFileSync(stage.spFile, 'utf8'))[1];
    let page = await client.open(`${idp.base}/saml2/idp/SSOService.php?spentityid=${encodeURIComponent(entity)}&RelayState=${encodeURIComponent(stage.url('staff.test'))}`);
    page = await client.follow(await client.submit(forms(page).find((f) => 'username' in f.fields), { username: 'ann', password: 'ann-pw' }));
    const form = forms(page).find((f) => isAcs(f.action));
    assert.doesNotMatch(decode(form), /InResponseTo/);
    assertRefused(await samlPost(client, form), 400);
  });

  it('RelayState chosen by an attacker leads nowhere', async () => {
    const { form, client } = await response('ann');
    const res = await samlPost(client, { ...form, fields: { ...form.fields, RelayState: 'https://evil.test/' } });
    assertRefused(res, 400);
    assert.doesNotMatch(res.body, /href="https:\/\/evil/);
  });

  it('garbage at the ACS is refused with a reason, each', async () => {
    const deep = '<a>'.repeat(5000) + '</a>'.repeat(5000);
    for (const [what, body] of Object.entries({
      'no field': '', 'empty field': 'SAMLResponse=', 'not base64': 'SAMLResponse=%ff%00!!', 'not XML': `SAMLResponse=${encodeURIComponent(Buffer.from('hello').toString('base64'))}`,
      doctype: `SAMLResponse=${encodeURIComponent(Buffer.from('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>').toString('base64'))}`,
      deep: `SAMLResponse=${encodeURIComponent(Buffer.from(deep).toString('base64'))}`,
      twice: 'SAMLResponse=AAAA&SAMLResponse=BBBB', 'separators only': '&&&===&',
    })) {
      const { form, client } = await response('ann');
      const relay = `&RelayState=${encodeURIComponent(form.fields.RelayState ?? '')}`;
      const { result, lines } = await gateway.accessDuring(() => client.send(form.action, {
        method: 'POST', body: body + relay, headers: { 'Content-Type': 'application/x-www-form-urlencoded', 'Sec-Fetch-Site': 'cross-site', Origin: 'null' },
      }));
      assertRefused(result, 400, what);
      assert.equal(lines.length, 1, what);
      assert.ok(lines[0].reason, `${what}: a reason in ${JSON.stringify(lines[0])}`);
      assert.doesNotMatch(result.body, /root:|libxml|xmlsec|\/home|\.c:/, what);
    }
  });

  it('a body that is too large is refused, and the daemon goes on', async () => {
    const { form, client } = await response('ann');
    const res = await client.post(form.action, { ...form.fields, SAMLResponse: 'A'.repeat(4 << 20) }, { 'Sec-Fetch-Site': 'cross-site' }).catch((e) => ({ status: 413, body: e.message, setCookies: [] }));
    assertRefused(res, [400, 413]);
    const good = await response('ann');
    assertStatus(await good.client.follow(await samlPost(good.client, good.form)), 200);
  });
});
