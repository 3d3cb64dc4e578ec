// SPDX-License-Identifier: GPL-3.0-or-later
// Processes that die or hang cost at most one login, and no proxied request.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { Client, forms } from './rig/http.mjs';
import {
  assertReason, assertRefused, assertStatus, echo, oidcCallback, oidcLogin, oidcUntilCode, samlLogin, samlPost, samlUntilResponse,
} from './rig/journey.mjs';
import { Stage } from './rig/stage.mjs';
import { sleep, until } from './rig/world.mjs';

describe('processes that die', () => {
  let stage;
  let gateway;
  let ann;
  before(async () => {
    stage = await Stage.start('crash', { saml: { corp: {} }, oidc: { op: {} } });
    ({ gateway } = stage);
    ann = new Client();
    await oidcLogin(ann, stage.url('wiki.test', '/echo').replace('wiki.test', 'op.test'), 'ann');
  });
  after(() => stage?.close());

  // Runs `f` with proxied requests all the while, none of which may fail or wait.
  const withTraffic = async (f) => {
    let stop = false;
    const failures = [];
    let n = 0;
    const loop = async () => {
      while (!stop) {
        const begun = Date.now();
        try {
          const res = await ann.get(stage.url('op.test', '/echo'));
          if (res.status !== 200) failures.push(res.status);
        } catch (e) { failures.push(e.message); }
        if (Date.now() - begun > 2000) failures.push(`${Date.now() - begun} ms`);
        n++;
        await sleep(10);
      }
    };
    const loops = [loop(), loop(), loop()];
    try {
      await f();
    } finally {
      stop = true;
      await Promise.all(loops);
    }
    assert.deepEqual(failures, [], 'proxied requests meanwhile');
    assert.ok(n > 10, `${n} proxied requests meanwhile`);
  };
  const each = (pids, signal) => gateway.signal(pids, signal);
  const whileStopped = async (attempt, then) => {
    const pids = gateway.verifierPids();
    assert.equal(pids.length, 2, 'two verifiers');
    each(pids, 'SIGSTOP');
    const pending = attempt(); // its message waits in a stopped verifier now
    await sleep(700);
    await then(pids);
    return pending;
  };
  const crash = async (pids) => { each(pids, 'SIGSEGV'); each(pids, 'SIGCONT'); };
  const newVerifiers = (old) => until('new verifiers', () => {
    const now = gateway.verifierPids();
    return now.length === 2 && now.every((pid) => !old.includes(pid));
  });

  for (const [what, begin, finish, login] of [
    ['SAML', (c) => samlUntilResponse(c, stage.url('corp.test', '/echo'), 'ann'), (c, form) => samlPost(c, form), (c) => samlLogin(c, stage.url('corp.test', '/echo'), 'ann')],
    ['OpenID Connect', (c) => oidcUntilCode(c, stage.url('op.test', '/echo'), 'ann'), (c, l) => oidcCallback(c, l), (c) => oidcLogin(c, stage.url('op.test', '/echo'), 'ann')],
  ]) {
    it(`a verifier that gets SIGSEGV during a login with ${what} costs that login a page with a way back`, async () => {
      const client = new Client();
      let res;
      await withTraffic(async () => {
        const step = await begin(client);
        let old;
        res = await assertReason(gateway, 'login.crashed', () => whileStopped(() => finish(client, step), async (pids) => { old = pids; await crash(pids); }));
        await newVerifiers(old);
      });
      const body = assertRefused(res, [502, 503]);
      assert.match(body, /try again/i);
      assert.ok(/<a\b[^>]*href/.test(body) || forms(res).length, 'a link to try again');
      assertStatus(await login(new Client()), 200, 'the next login');
    });
  }

  it('a verifier that hangs costs that login only', async () => {
    const client = new Client();
    const form = await samlUntilResponse(client, stage.url('corp.test', '/echo'), 'ann');
    const pids = gateway.verifierPids();
    const begun = Date.now();
    await withTraffic(async () => {
      each(pids, 'SIGSTOP');
      assertRefused(await samlPost(client, form), [502, 503, 504]);
    });
    assert.ok(Date.now() - begun < 25000, `it took ${Date.now() - begun} ms`);
    each(gateway.verifierPids().filter((pid) => pids.includes(pid)), 'SIGCONT');
    await until('two verifiers', () => gateway.verifierPids().length === 2);
    assertStatus(await samlLogin(new Client(), stage.url('corp.test', '/echo'), 'ann'), 200, 'the next login');
  });

  it('verifiers killed again and again come back', async () => {
    for (let i = 0; i < 3; i++) {
      const old = gateway.verifierPids();
      each(old, 'SIGKILL');
      await newVerifiers(old);
    }
    await until('a login', async () => (await oidcLogin(new Client(), stage.url('op.test', '/echo'), 'ann')).status === 200);
  });

  it('verifiers have no network and nobody else\'s environment', async () => {
    for (const pid of gateway.verifierPids()) {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      if (!gateway.sanitized) assert.match(status, /Seccomp:\s+2/, 'a seccomp filter');
      assert.match(status, /NoNewPrivs:\s+1/);
      assert.doesNotMatch(readFileSync(`/proc/${pid}/environ`, 'utf8'), /LASSO|HOME=/);
      if (process.getuid() === 0) assert.doesNotMatch(status, /^Uid:\s+0/m, 'not root');
    }
    if (process.getuid() === 0) assert.doesNotMatch(readFileSync(`/proc/${gateway.gatewayPid()}/status`, 'utf8'), /^Uid:\s+0/m, 'the gateway is not root');
  });

  it('a gateway process that dies is started again on the same port, sessions included', async () => {
    const pid = gateway.gatewayPid();
    process.kill(pid, 'SIGKILL');
    await until('a new gateway process', () => gateway.gatewayPid() && gateway.gatewayPid() !== pid);
    await until('an answer', async () => (await ann.get(stage.url('op.test', '/echo'))).status === 200);
    assert.equal((await echo(ann, stage.url('op.test', '/echo'))).headers['x-sallyport-email'], 'ann@example.com');
    for (const key of ['corp', 'op']) await gateway.loginsWork(key);
    assertStatus(await samlLogin(new Client(), stage.url('corp.test', '/echo'), 'ann'), 200, 'a login after it');
  });

  it('nothing of the daemon is left when it has ended', async () => {
    const pids = gateway.processes().map((p) => p.pid);
    assert.ok(pids.length >= 3);
    await gateway.stop();
    for (const pid of pids) assert.throws(() => process.kill(pid, 0), `process ${pid} is still there`);
    await gateway.start();
  });

  it('nothing is left either when the supervisor is killed', async () => {
    const pids = gateway.processes().map((p) => p.pid);
    const dying = gateway.process;
    dying.kill('SIGKILL');
    await dying.exited;
    await until('its children to end', () => pids.every((pid) => { try { process.kill(pid, 0); return false; } catch { return true; } }), { ms: 10000 });
    gateway.earlier += dying.output;
    await gateway.start();
  });
});
