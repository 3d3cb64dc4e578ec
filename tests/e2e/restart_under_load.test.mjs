// SPDX-License-Identifier: GPL-3.0-or-later
// A reload and a crash under steady load, over HTTP/1.1 and HTTP/2: no request that the application has accepted is lost by a reload, and a
// crash costs what was under way at that moment.
import assert from 'node:assert/strict';
import https from 'node:https';
import { after, before, describe, it } from 'node:test';
import { startNode } from './rig/apps.mjs';
import { begin, closeSessions, fetchAll, h2Session } from './rig/exchange.mjs';
import { Client } from './rig/http.mjs';
import { assertStatus, oidcLogin } from './rig/journey.mjs';
import { openSocket } from './rig/socket.mjs';
import { Stage } from './rig/stage.mjs';
import { sleep, until } from './rig/world.mjs';

const BLOCK = 65536;

describe('restarts under load', () => {
  let stage;
  let gateway;
  let client;
  before(async () => {
    const apps = {};
    stage = await Stage.start('restart', {
      oidc: { op: {} },
      setup: async ({ world }) => { apps.node = await startNode(world); },
      routes: () => [{ host: 'node.test', backends: [apps.node.url], policy: 'staff' }],
      config: { timeouts: { drain: '10s' } },
    });
    ({ gateway } = stage);
    client = new Client();
    assertStatus(await oidcLogin(client, stage.url('node.test', '/who'), 'ann'), 200);
  });
  after(() => { closeSessions(); return stage?.close(); });

  const url = (path) => stage.url('node.test', path);
  let number = 0;

  // One visitor who asks again and again. HTTP/2: over a connection of its own, a new one after GOAWAY.
  const visitor = (protocol, { keepAlive = true, data }, load) => {
    const agent = protocol === 'h1' && keepAlive ? new https.Agent({ keepAlive: true, maxSockets: 1 }) : false;
    let session;
    const connection = () => {
      if (protocol === 'h1') return undefined;
      if (!session || session.closed || session.destroyed || session.gone) {
        session = h2Session(url('/'));
        session.on('goaway', () => { session.gone = true; });
      }
      return session;
    };
    return (async () => {
      while (!load.over) {
        const id = `${number++}`;
        const begun = Date.now();
        try {
          const answer = await fetchAll(protocol, url(`/load?id=${id}&ms=${number % 7 === 0 ? 300 : 5}`), { client, agent, session: connection(), ...(data && { method: 'POST', data }) });
          if (answer.status !== 200 || answer.bytes !== BLOCK) throw new Error(`${answer.status}, ${answer.bytes} bytes`);
          load.served++;
          load.slowest = Math.max(load.slowest, Date.now() - begun);
        } catch (e) {
          load.failed.push({ id, protocol, keepAlive, why: e.message, at: Date.now() });
          await sleep(20);
        }
      }
      agent?.destroy?.();
      session?.destroy();
    })();
  };
  const kinds = [['h1', {}], ['h1', {}], ['h1', { data: Buffer.alloc(100000) }], ['h1', { keepAlive: false }], ['h2', {}], ['h2', {}], ['h2', { data: Buffer.alloc(100000) }]];
  const underLoad = async (f) => {
    const load = { served: 0, failed: [], slowest: 0 };
    const visitors = kinds.map(([protocol, options]) => visitor(protocol, options, load));
    await sleep(400);
    try {
      await f(load);
    } finally {
      load.over = true;
      await Promise.all(visitors);
    }
    return load;
  };
  const reloaded = async (change) => {
    const old = gateway.gatewayPid();
    if (change) gateway.configure(change(gateway.config));
    const seen = gateway.lines().filter((l) => l.event === 'gateway.ready').length;
    gateway.process.kill('SIGHUP');
    await until('a new gateway to be ready', () => gateway.lines().filter((l) => l.event === 'gateway.ready').length > seen, { ms: 15000 });
    return old;
  };

  it('reloads lose no request that the application has accepted', async () => {
    const slow = begin('h2', url('/load?id=slow2&ms=2500'), { client });
    const slow1 = begin('h1', url('/load?id=slow1&ms=2500'), { client });
    let long;
    const load = await underLoad(async () => {
      long = begin('h1', url('/download?blocks=1600'), { client }); // 100 MiB that begin before the first and end after it
      await (await long.answer);
      for (let i = 0; i < 3; i++) {
        await reloaded((c) => ({ ...c, site_name: `Reloaded ${i}` }));
        await sleep(300);
      }
    });
    const ids = load.failed.map((x) => x.id);
    const lost = ids.length ? JSON.parse((await fetchAll('h1', url(`/accepted?ids=${ids.join(',')}`), { client })).text) : [];
    assert.deepEqual(load.failed.filter((x) => lost.includes(x.id)), [], 'accepted, but not answered');
    // What else may fail: a request on a kept connection that was closed in that moment (HTTP/1.1 has no way to say so before), and a
    // stream behind GOAWAY, of which the client knows that it may send it again.
    const expected = (x) => (x.protocol === 'h1' ? x.keepAlive : /REFUSED_STREAM|GOAWAY/.test(x.why));
    assert.deepEqual(load.failed.filter((x) => !expected(x)), [], 'nothing else may');
    assert.ok(load.failed.length <= 9, JSON.stringify(load.failed));
    assert.ok(load.served > 100, `${load.served} served`);
    assert.ok(load.slowest < 4000, `the slowest took ${load.slowest} ms`);
    for (const x of [slow, slow1]) assert.equal((await (await x.answer).whole()).length, BLOCK, 'one that took longer than the reload');
    await (await long.answer).whole();
    assert.equal((await long.answer).bytes, 1600 * BLOCK, 'a download that began before it');
    await until('the old ones to end', () => gateway.processes().filter((p) => !p.args.some((a) => a.includes('verifier'))).length === 1, { ms: 15000 });
  });

  it('a reload that is refused changes nothing, and nobody notices', async () => {
    const good = gateway.config;
    const load = await underLoad(async () => {
      const pid = gateway.gatewayPid();
      gateway.configure({ ...good, routes: [{ host: 'x' }] });
      gateway.process.kill('SIGHUP');
      await until('the refusal', () => gateway.lines().some((l) => l.event === 'reload.failed'));
      await sleep(200);
      assert.equal(gateway.gatewayPid(), pid);
    });
    gateway.configure(good);
    assert.deepEqual(load.failed, []);
  });

  it('kill -9 of the gateway costs what is under way, and service returns', async () => {
    let killed;
    let back;
    const load = await underLoad(async (l) => {
      const pid = gateway.gatewayPid();
      killed = Date.now();
      process.kill(pid, 'SIGKILL');
      const served = l.served;
      await until('the next answer', () => l.served > served + 20, { ms: 10000 });
      back = Date.now();
      await sleep(500);
    });
    assert.ok(back - killed < 8000, `${back - killed} ms`);
    // One of each visitor, and one more for who had connected to the dying process.
    assert.ok(load.failed.length >= 1 && load.failed.length <= 2 * kinds.length, JSON.stringify(load.failed));
    assert.ok(load.failed.every((x) => x.at < back + 200), 'only then');
    assert.equal(JSON.parse((await fetchAll('h2', url('/who'), { client })).text)['x-sallyport-email'], 'ann@example.com', 'the session is there');
    const socket = await openSocket(url('/echo'), { client });
    assert.equal(await socket.ask('x'), 'x');
    await socket.end();
  });
});
