// SPDX-License-Identifier: GPL-3.0-or-later
// The log at its most talkative level, searched for every secret that passed through the daemon.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { Client } from './rig/http.mjs';
import { assertStatus, cloneClient, isCallback, oidcCallback, oidcUntilCode, samlPost, samlUntilResponse } from './rig/journey.mjs';
import { CLIENT_SECRET, Stage } from './rig/stage.mjs';

describe('secrets', () => {
  let stage;
  let gateway;
  const secrets = new Map(); // what it is -> value
  const tell = (what, value) => { if (value && value.length >= 8) secrets.set(what, value); };
  const tellCookies = (what, client) => {
    for (const [host, jar] of client.jar) {
      if (host !== 'localhost') for (const [name, c] of jar) tell(`${what}: cookie ${name} of ${host}`, c.value);
    }
  };

  before(async () => {
    stage = await Stage.start('secrets', {
      saml: { corp: {} }, oidc: { op: {}, post: { auth: 'client_secret_post' }, bad: { secret: `${CLIENT_SECRET}-another` } }, oidcSetup: { reportTokens: true },
    });
    ({ gateway } = stage);
  });
  after(() => stage?.close());

  const noteTargets = (url) => {
    const p = new URL(url).searchParams;
    for (const name of ['state', 'nonce', 'code_challenge', 'code', 'SAMLRequest', 'RelayState', 'ticket', 'Signature']) tell(`${name} in a redirect`, p.get(name));
    return false;
  };

  it('logs in, well and badly, with both protocols', async () => {
    const saml = new Client();
    await cloneClient(saml).open(stage.url('corp.test', '/echo?target=planted-target-secret'), noteTargets);
    const form = await samlUntilResponse(saml, stage.url('corp.test', '/echo?target=planted-target-secret'), 'ann');
    tell('SAMLResponse', form.fields.SAMLResponse.slice(0, 64));
    tell('SAMLResponse, middle', form.fields.SAMLResponse.slice(2000, 2064));
    tell('RelayState', form.fields.RelayState);
    tell('assertion as XML', '<saml:Assertion');
    tellCookies('SAML under way', saml);
    assertStatus(await saml.follow(await samlPost(saml, form), noteTargets), 200);
    tellCookies('SAML done', saml);
    await samlPost(saml, form);
    const again = await samlUntilResponse(saml, stage.url('corp.test', '/echo?again'), 'ann').catch(() => undefined);
    if (again) await samlPost(saml, { ...again, fields: { ...again.fields, SAMLResponse: again.fields.SAMLResponse.replace(/.{40}$/, '') } });

    for (const key of ['op', 'post', 'bad']) {
      const client = new Client();
      await client.open(stage.url(`${key}.test`, '/echo?target=planted-target-secret'), (l) => noteTargets(l) || l.startsWith(stage.oidc.issuer));
      const location = await oidcUntilCode(client, stage.url(`${key}.test`, '/echo?target=planted-target-secret'), 'ann');
      noteTargets(location);
      tellCookies(`${key} under way`, client);
      const res = await client.follow(await oidcCallback(client, location), noteTargets);
      if (key !== 'bad') assertStatus(res, 200);
      tellCookies(`${key} done`, client);
      await oidcCallback(client, location); // once more
      await oidcCallback(new Client(), location);
      await client.get(stage.url(`${key}.test`, '/echo?q=planted-query-secret'), { Authorization: 'Bearer planted-bearer-secret', 'X-Api-Key': 'planted-api-key-secret' });
      await client.post(stage.url(`${key}.test`, '/echo'), { password: 'planted-body-secret' });
      await client.get(stage.url(`${key}.test`, '/.sallyport/enter?ticket=planted-ticket-secret'));
      await client.get(stage.url(`${key}.test`, '/.sallyport/login?rd=planted-rd-secret'));
    }
    assert.ok(isCallback(stage.callback('op')));
    tell('client secret', CLIENT_SECRET);
    tell('client secret in Basic', Buffer.from(`client-op:${CLIENT_SECRET}`).toString('base64').slice(0, 40));
    for (const name of ['target', 'query', 'bearer', 'api-key', 'body', 'ticket', 'rd']) tell(`planted ${name}`, `planted-${name}-secret`);
    for (const line of stage.oidc.process.output.split('\n').filter((l) => l.startsWith('TOKENS '))) {
      for (const [name, value] of Object.entries(JSON.parse(line.slice(7)))) tell(`${name} ${secrets.size}`, value);
    }
  });

  it('found the kinds of secrets that it looks for', () => {
    const kinds = [...secrets.keys()].join('\n');
    for (const kind of ['state', 'nonce', 'code', 'SAMLRequest', 'RelayState', 'ticket', 'SAMLResponse', 'cookie __Host-sallyport of', 'cookie __Host-sallyport-', 'code_verifier', 'id_token', 'access_token']) {
      assert.ok(kinds.includes(kind), `no ${kind} among\n${kinds}`);
    }
  });

  it('none of them is in the log', () => {
    const log = gateway.output;
    assert.ok(gateway.lines().some((l) => l.level === 'debug'), 'the log is at its most talkative');
    const found = [...secrets].filter(([, value]) => log.includes(value) || log.includes(encodeURIComponent(value)) || (value.length > 40 && log.includes(value.slice(0, 32))))
      .map(([what, value]) => `${what}: ${log.split('\n').find((l) => l.includes(value.slice(0, 32)) || l.includes(encodeURIComponent(value)))?.slice(0, 400)}`);
    assert.deepEqual(found, []);
  });

  it('neither is the master secret, and its files are the daemon\'s alone', () => {
    const walk = (dir) => readdirSync(dir).flatMap((n) => (statSync(`${dir}/${n}`).isDirectory() ? walk(`${dir}/${n}`) : [`${dir}/${n}`]));
    const files = walk(gateway.state);
    assert.ok(files.length > 1);
    for (const file of files) {
      if (/key|secret/i.test(file.slice(gateway.state.length)) && !/\.(crt|cert)/.test(file)) assert.equal(statSync(file).mode & 0o077, 0, `${file} can be read by others`);
      const bytes = readFileSync(file);
      if (bytes.length >= 16 && bytes.length <= 64) {
        for (const form of ['hex', 'base64', 'base64url']) assert.ok(!gateway.output.includes(bytes.toString(form)), file);
      }
    }
  });

  it('the store holds no cookie, name or address in clear', () => {
    const walk = (dir) => readdirSync(dir).flatMap((n) => (statSync(`${dir}/${n}`).isDirectory() ? walk(`${dir}/${n}`) : [`${dir}/${n}`]));
    for (const file of walk(gateway.state).filter((f) => f.endsWith('.mdb'))) {
      const text = readFileSync(file).toString('latin1');
      assert.ok(!text.includes('ann@example.com'), `${file}: an address in clear`);
      for (const [what, value] of secrets) {
        if (/cookie __Host-sallyport of/.test(what)) assert.ok(!text.includes(value), `${file}: ${what}`);
      }
    }
  });
});
