// SPDX-License-Identifier: GPL-3.0-or-later
// The life of links and calls: who gets a call, what becomes of it when its time is out, when the board or the caller goes, when keys change, when
// the gateway is reloaded, restarted or killed; on several workers.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { begin, closeSessions } from './rig/exchange.mjs';
import { forms } from './rig/http.mjs';
import { assertStatus } from './rig/journey.mjs';
import { PicoStage, assertFailure, held, within } from './rig/pico.mjs';
import { sleep, until } from './rig/world.mjs';

describe('links and calls of boards', () => {
  let p;
  let quiet;
  before(async () => {
    p = await PicoStage.start('pico-links', {
      users: ['ann', 'bob', 'carl'],
      pico: { timeouts: { late: '1s', hold: '100s' } },
      config: { timeouts: { drain: '20s' } },
    });
    quiet = await p.board('quiet', { f: () => 'still here' }, { heartbeat: 3600000 });
  });
  after(() => { closeSessions(); return p?.close(); });

  const signOut = async (client) => {
    const ask = await client.get(p.url('/.sallyport/logout'));
    return client.follow(await client.submit(forms(ask).find((f) => f.method === 'POST'), {}, { 'Sec-Fetch-Site': 'same-origin' }));
  };
  const pending = (client, what, args, options) => {
    const call = p.call(client, what, args, { protocol: 'h2', ...options }); // one connection: what is asked later is read later
    call.then((r) => { call.done = r; }, (e) => { call.failed = e; });
    return call;
  };
  // What was sent over HTTP/2 has arrived at the board's worker: requests behind it have been answered, and mail between workers is read in order.
  const settledQueue = async () => {
    await p.call(p.ann, 'settled/settled', [], { protocol: 'h2' });
    for (let i = 0; i < 3; i++) await Promise.all((await p.agents()).map((agent) => p.list(p.ann, agent)));
  };
  const soon = (call, what, ms = 20000) => within(call, what, ms);
  // A board of this device on another worker than `session` is on.
  const boardElsewhere = async (session, device, functions) => {
    const worker = p.workerOf(session.tcp);
    assert.ok(worker);
    const connections = await p.connections();
    const [[, tcp]] = [...connections].filter(([w]) => w !== worker);
    for (const s of connections.values()) if (s !== tcp) s.destroy();
    const board = p.start(device, functions, { tcp });
    await board.online();
    assert.notEqual(p.workerOf(tcp), worker);
    return board;
  };

  // --- whom a call goes to

  it('every worker finds the board, wherever it is: many calls on many connections', async () => {
    const boards = await Promise.all(['near', 'far'].map((name) => p.board(name, { echo: (pico, x) => x })));
    const agents = await p.agents();
    assert.equal(agents.length, p.gateway.config.workers);
    await Promise.all(boards.flatMap((b, n) => agents.map(async (agent, a) => {
      for (let i = 0; i < 25; i++) assert.equal(await p.result(p.ann, `${n ? 'far' : 'near'}/echo`, [`${n}.${a}.${i}`], { agent }), `${n}.${a}.${i}`);
    })));
    await Promise.all(Array.from({ length: 10 }, async (_, i) => assert.equal(await p.result(p.ann, 'near/echo', [i], { protocol: i % 2 ? 'h1' : 'h2' }), i)));
    for (const b of boards) { assert.equal(b.sessions.length, 1); assert.ok(!b.session.shortUnit); b.stop(); }
  });

  it('`any` takes the least busy one of those that have the function, and that the caller may use', async () => {
    const [a, b, c] = [held(), held(), held()];
    await p.board('any-a', { blink: a });
    await p.board('any-b', { blink: b });
    await p.board('any-c', { other: c });
    const calls = [];
    for (let i = 1; i <= 4; i++) {
      calls.push(pending(p.ann, 'any/blink'));
      await until('the call', () => a.calls.length + b.calls.length === i, { every: 2 });
      assert.ok(Math.abs(a.calls.length - b.calls.length) <= 1, `${a.calls.length} and ${b.calls.length}`);
    }
    for (const x of a.calls) x.answer('a');
    for (const x of b.calls) x.answer('b');
    const results = (await Promise.all(calls)).map((r) => r.json.result).sort();
    assert.deepEqual(results, ['a', 'a', 'b', 'b']);
    assert.equal(c.calls.length, 0);
    const [known, unknown] = [await p.call(p.bob, 'any/blink'), await p.call(p.bob, 'any/unheard-of')];
    assert.deepEqual([known.status, known.json.error], [unknown.status, unknown.json.error], 'whoever may not use any of them does not learn that there are some');
  });

  it('two boards with one function: each has its address, and one that goes leaves the other', async () => {
    const [x, y] = await Promise.all([p.board('twin-x', { name: () => 'x' }), p.board('twin-y', { name: () => 'y' })]);
    assert.equal(await p.result(p.ann, 'twin-x/name'), 'x');
    assert.equal(await p.result(p.ann, 'twin-y/name'), 'y');
    x.drop();
    x.stop();
    await p.seen('twin-x', { online: false });
    await p.failure(p.ann, 'twin-x/name', 503, 'pico.offline');
    for (let i = 0; i < 4; i++) assert.equal(await p.result(p.ann, 'any/name'), 'y');
    y.stop();
    await p.seen('twin-y', { online: false });
    const none = await p.failure(p.ann, 'any/name', 503, 'pico.offline');
    assert.ok(none.headers['retry-after']);
  });

  // --- how many

  it('4 calls are on the board, 3 of one person; 16 wait, 8 of one person; the next is told to come later', async () => {
    const wait = held();
    await p.board('shared', { hold: wait });
    const agents = await p.agents();
    const calls = [];
    const call = (who, i) => calls.push(pending(p[who], 'shared/hold', [`${who} ${i}`]));
    for (let i = 0; i < 11; i++) call('ann', i);
    await wait.arrived(3);
    const busy = async (who, agent) => {
      const f = await p.failure(p[who], 'shared/hold', 503, 'pico.busy', [], { agent });
      assert.match(f.headers['retry-after'], /^\d+$/);
      assert.ok(f.ms < 15000);
    };
    await settledQueue();
    for (const agent of agents) await busy('ann', agent);
    assert.equal(wait.calls.length, 3, 'one place is left for others');
    for (let i = 0; i < 9; i++) call('bob', i);
    await wait.arrived(4);
    assert.equal(wait.calls[3].args[0], 'bob 0');
    await settledQueue();
    await busy('carl');
    await busy('bob');
    assert.equal(wait.calls.length, 4, 'no more than four at a time');
    const begun = new Set();
    while (begun.size < 20) {
      const next = await until('the next call', () => wait.calls.find((c) => !begun.has(c)), { every: 2 });
      assert.ok(wait.calls.length - begun.size <= 4, 'never more than four');
      begun.add(next);
      next.answer(next.args[0]);
    }
    const results = (await Promise.all(calls)).map((r) => { assert.equal(r.status, 200, r.text); return r.json.result; });
    assert.deepEqual(results, [...Array.from({ length: 11 }, (_, i) => `ann ${i}`), ...Array.from({ length: 9 }, (_, i) => `bob ${i}`)], 'each its own answer');
    assert.equal(wait.calls.length, 20);
  });

  // --- how long: these wait for something most of the time

  describe('time', { concurrency: true }, () => {
    it('a call has its time: 504, and the late answer is dropped', async () => {
      const wait = held();
      const board = await p.board('sleepy', { late: wait, quick: () => 'quick' });
      const late = await p.failure(p.ann, 'sleepy/late', 504, 'pico.timeout');
      assert.ok(late.ms >= 900 && late.ms < 20000, `${late.ms} ms of 1 s`);
      const again = pending(p.ann, 'sleepy/late');
      await wait.arrived(2);
      wait.calls[0].answer('too late');
      await board.settled();
      assert.equal(again.done, undefined, 'nobody else gets it');
      wait.calls[1].answer('in time');
      assert.equal((await again).json.result, 'in time');
      assert.equal(await p.result(p.ann, 'sleepy/quick'), 'quick');
      assert.equal(board.sessions.length, 1);
      board.drop();
      board.stop();
      const closed = await until('its line', () => p.events_of('pico.closed').find((l) => l.device === 'sleepy'));
      assert.equal(closed.late, 1, JSON.stringify(closed));
      assert.equal(closed.unknown, 0);
    });

    it('time in the queue counts, and what has waited too long is not sent', async () => {
      const wait = held();
      const late = held();
      const board = await p.board('queued', { hold: wait, late });
      const calls = Array.from({ length: 3 }, () => pending(p.ann, 'queued/hold')); // all that she may have there
      await wait.arrived(3);
      await p.failure(p.ann, 'queued/late', 504, 'pico.timeout');
      for (const c of wait.calls) c.answer(1);
      await Promise.all(calls);
      await board.settled();
      assert.equal(late.calls.length, 0);
    });

    it('the session is revoked in mid-call: the caller does not wait', async () => {
      const wait = held();
      await p.board('revoked', { hold: wait });
      const call = pending(p.carl, 'revoked/hold');
      await wait.arrived(1);
      assert.ok((await p.gateway.revoke('sub-carl')).revoked + (await p.gateway.revoke('carl')).revoked >= 1);
      const res = await soon(call, 'revoked');
      assert.equal(res.status, 401, res.text);
      wait.calls[0].answer(); // a reload would wait for it
      p.carl = await p.signedIn('carl');
    });

    it('a board that left its link open and comes again: the new one is taken, no call goes to the dead', async () => {
      const zombie = await p.board('undead', { who: () => 'zombie' }, { heartbeat: 3600000 });
      zombie.freeze();
      const board = p.start('undead', { who: () => 'alive' });
      await board.online();
      await until('the change', async () => (await p.call(p.ann, 'undead/who')).json?.result === 'alive', { every: 10 });
      await until('the gateway to have let go of the old connection', () => p.workerOf(zombie.session.tcp) === undefined, { ms: 40000 });
      assert.equal(board.sessions.length, 1);
      zombie.stop();
    });

    it('an event stream ends with its session', async () => {
      const client = await p.signedIn('bob');
      const stream = await p.events(client);
      await stream.next();
      assertStatus(await signOut(client), 200);
      await soon(stream.answer.ended.then(() => true), 'the end of the stream');
    });
  });

  // --- who goes

  for (const [how, go] of [['the power is cut', (b) => b.drop()], ['the connection is reset', (b) => b.drop({ reset: true })], ['it leaves in order', (b) => b.disconnect()], ['it breaks the protocol', (b) => b.raw(Buffer.from([0xff, 0xff]))]]) {
    it(`the board goes in mid-call, ${how}: 502 at once, for those that wait too`, async () => {
      const wait = held();
      const board = await p.board('leaver', { hold: wait }, { again: false });
      const calls = Array.from({ length: 6 }, () => pending(p.ann, 'leaver/hold'));
      await wait.arrived(3);
      await settledQueue();
      const begun = Date.now();
      await go(board);
      for (const c of calls) assertFailure(await soon(c, how), 502, 'pico.lost');
      assert.ok(Date.now() - begun < 15000, `${Date.now() - begun} ms`);
      await p.seen('leaver', { online: false });
      board.stop();
    });
  }

  it('the caller goes: a call that waits is not sent, an answer is dropped', async () => {
    const wait = held();
    const other = held();
    const board = await p.board('left', { hold: wait, other });
    const calls = Array.from({ length: 3 }, () => pending(p.ann, 'left/hold'));
    await wait.arrived(3);
    const url = p.url('/.sallyport/pico/left/other');
    const leaving = ['h1', 'h2'].map((protocol) => {
      const x = begin(protocol, url, { method: 'POST', client: p.ann, body: true, headers: { 'content-type': 'application/json', accept: 'application/json', origin: new URL(url).origin } });
      x.stream.end('{}');
      return x;
    });
    await settledQueue();
    for (const x of leaving) x.stream.destroy();
    await settledQueue();
    for (const c of wait.calls) c.answer(1);
    for (const c of calls) assert.equal((await c).status, 200);
    await board.settled();
    assert.equal(other.calls.length, 0, 'nobody waits for it any more');
    assert.equal(board.sessions.length, 1);
  });

  it('the caller signs out in mid-call: the board is not told who it was, and the answer is not theirs', async () => {
    const wait = held();
    const board = await p.board('loyal', { ask: async (pico) => { await wait(pico); return pico.email(); }, locked: { f: () => 'open', requireUser: true } });
    const client = await p.signedIn('ann');
    const call = pending(client, 'loyal/ask');
    await wait.arrived(1);
    assertStatus(await signOut(client), 200);
    const email = board.got.length;
    wait.calls[0].answer();
    const res = await soon(call, 'after the sign-out');
    assert.ok(res.status === 401 || (res.status === 200 && res.json.result === null), `${res.status} ${res.text}`);
    const answers = await until('the answer of the look-up', () => { const a = board.got.slice(email).filter((m) => 'response' in m); return a.length && a; });
    assert.deepEqual(answers.map((m) => m.response), [null]);
    assert.equal((await p.call(client, 'loyal/locked')).status, 401);
    assert.equal(await p.result(p.ann, 'loyal/locked'), 'open', 'the other session of the same person goes on');
  });

  // --- one key, two links

  for (const where of ['on the same worker or not', 'on another worker']) {
    it(`a second login with the same key, ${where}: the old link ends and its calls fail at once`, async () => {
      const wait = held();
      const old = await p.board('super', { hold: wait, who: () => 'old' }, { again: false });
      const calls = Array.from({ length: 6 }, () => pending(p.ann, 'super/hold'));
      await wait.arrived(3);
      await settledQueue();
      const functions = { who: () => 'new' };
      let board;
      if (where === 'on another worker') {
        board = await boardElsewhere(old.session, 'super', functions);
      } else {
        board = p.start('super', functions);
      }
      await board.online();
      const begun = Date.now();
      for (const c of calls) assertFailure(await soon(c, 'superseded'), 502, 'pico.lost');
      await soon(old.session.over, 'the old link');
      await until('TCP to be closed, although the board does not close it', () => old.session.peerEnded, { ms: 20000, every: 5 });
      assert.ok(Date.now() - begun < 15000, `${Date.now() - begun} ms`);
      await until('the new functions', async () => (await p.call(p.ann, 'super/who')).json?.result === 'new', { every: 10 });
      for (const agent of await p.agents()) assert.equal(await p.result(p.ann, 'super/who', [], { agent }), 'new');
      assertFailure(await p.call(p.ann, 'super/hold'), 404, 'pico.unknown', 'what the new one has not registered');
      await until('its line', () => p.events_of('pico.closed').some((l) => l.device === 'super' && l.reason === 'uplink.superseded'));
      old.stop();
      board.stop();
      await p.seen('super', { online: false });
    });
  }

  it('an answer of the old link that comes over the new one is dropped, and one that is asked anew is not mixed up', async () => {
    const wait = held();
    const board = await p.board('ghost', { hold: wait });
    const first = pending(p.ann, 'ghost/hold');
    await wait.arrived(1);
    board.drop();
    assertFailure(await soon(first, 'dropped'), 502, 'pico.lost');
    await board.online({ logins: 1 });
    await p.seen('ghost', { functions: ['hold'] });
    const second = pending(p.ann, 'ghost/hold');
    await wait.arrived(2);
    wait.calls[0].answer('the old answer');
    await board.settled();
    assert.equal(second.done, undefined);
    wait.calls[1].answer('the new answer');
    assert.equal((await second).json.result, 'the new answer');
    assert.equal(board.logins, 2, 'it did no harm to the link');
    assert.equal(board.heartbeats, 2);
  });

  it('heartbeats that multiply are all answered', async () => {
    const board = await p.board('hearty', { f: () => 1 }, { heartbeat: 60, retry: 5 });
    for (let n = 1; n <= 8; n++) {
      board.drop();
      await board.online({ logins: n });
    }
    const answered = () => board.session.got.filter((m) => m.response === 'keep-alive').length;
    await until('many answers', () => answered() > 30, { ms: 40000 });
    assert.ok(board.heartbeats >= 9);
    board.stop();
  });

  // --- keys

  it('revoke: the link is closed at once, and the key is of no use', async () => {
    const wait = held();
    const board = await p.board('banned', { hold: wait });
    const call = pending(p.ann, 'banned/hold');
    await wait.arrived(1);
    await p.must('revoke', 'banned');
    await soon(board.sessions[0].over, 'the link');
    assertFailure(await soon(call, 'the call'), 502, 'pico.lost');
    await until('the next login', () => board.sessions.at(-1).reply?.error, { ms: 20000, every: 5 });
    assert.equal(board.sessions.at(-1).reply.error, 'Incorrect uplink key');
    await p.failure(p.ann, 'banned/hold', 404, 'pico.unknown');
    assert.ok(!(await p.list()).some((b) => b.name === 'banned'));
    board.stop();
    assert.notEqual((await p.pico('revoke', 'banned')).code, 0, 'there is no such device any more');
    await p.add('banned'); // the same name, another device
    await p.board('banned', { f: () => 'new' });
    assert.equal(await p.result(p.ann, 'banned/f'), 'new');
  });

  it('rotate: both keys are valid for a while, with --now only the new one', async () => {
    const functions = { f: () => 1 };
    const board = await p.board('rotated', functions);
    const old = p.keys.rotated;
    const next = PicoStage.keyIn(await p.must('rotate', 'rotated'));
    assert.notEqual(next, old);
    const login = async (key) => {
      const b = p.start('rotated', functions, { key, again: false });
      await until('an answer', () => b.session.reply, { every: 5 });
      b.stop();
      return b.session.reply.auth ?? b.session.reply.error;
    };
    assert.equal(await p.result(p.ann, 'rotated/f'), 1);
    assert.equal(board.sessions.length, 1, 'the link stays');
    await until('the new key', async () => await login(next) === 'OK', { every: 50 });
    assert.equal(await login(old), 'OK');
    board.stop();
    const fresh = p.start('rotated', functions, { key: next, again: false });
    await fresh.online();
    const last = PicoStage.keyIn(await p.must('rotate', 'rotated', '--now'));
    await soon(fresh.session.over, 'the link with the key that is gone');
    assert.equal(await login(next), 'Incorrect uplink key');
    assert.equal(await login(old), 'Incorrect uplink key');
    assert.equal(await login(last), 'OK');
  });

  it('rename: the link stays, calls go to the new name, rules hold for it', async () => {
    const board = await p.board('before', { f: () => 'here', open: () => 'opened' });
    await p.must('rename', 'before', 'after');
    await p.seen('after', { functions: ['f'] });
    assert.equal(await p.result(p.ann, 'after/f'), 'here');
    await p.failure(p.ann, 'before/f', 404, 'pico.unknown');
    assert.equal(board.sessions.length, 1);
    assert.notEqual((await p.pico('rename', 'after', 'quiet')).code, 0, 'that name is taken');
    await p.must('rename', 'after', 'door2');
    await p.seen('door2', { functions: ['f'] });
    assert.equal(await p.result(p.ann, 'door2/open'), 'opened');
    await p.must('rename', 'door2', 'door');
    await p.seen('door', { functions: ['f'] });
    assert.equal((await p.call(p.ann, 'door/open')).status, 403, 'nobody opens the door');
    assert.equal(board.calls.filter((c) => c.command === 'open').length, 1);
    board.stop();
  });

  it('other functions for the key: what it may not register any more is gone', async () => {
    await p.add('narrow', 'one,two');
    const board = await p.board('narrow', { one: () => 1, two: () => 2, three: () => 3 }, { listed: ['one', 'two'] });
    await p.must('functions', 'narrow', '--functions', 'two,three');
    await until('the change', async () => (await p.call(p.ann, 'narrow/three')).status === 200, { ms: 30000, every: 20 });
    await p.failure(p.ann, 'narrow/one', 404, 'pico.unknown');
    assert.equal(await p.result(p.ann, 'narrow/two'), 2);
    board.stop();
  });

  it('a damaged file of devices changes nothing', async () => {
    const file = `${p.gateway.state}/devices.json`;
    const good = readFileSync(file);
    const seen = p.events_of('pico.devices').filter((l) => l.level === 'error').length;
    writeFileSync(file, good.subarray(0, good.length / 2));
    await until('the complaint', () => p.events_of('pico.devices').filter((l) => l.level === 'error').length > seen, { ms: 40000 });
    assert.equal(await p.result(p.ann, 'quiet/f'), 'still here');
    assert.notEqual((await p.pico('add', 'another')).code, 0, 'nor does the command make it worse');
    writeFileSync(file, good);
    await until('it to be read', () => p.events_of('pico.devices').at(-1).level !== 'error', { ms: 40000 });
  });

  // --- events

  it('event streams tell when boards come, go, and register, each visitor their own', async () => {
    const [anns, bobs] = [await p.events(p.ann), await p.events(p.bob, 'h1')];
    const first = await anns.next();
    assert.ok(first.some((b) => b.name === 'quiet' && b.online));
    assert.equal(anns.answer.headers['content-type'], 'text/event-stream');
    await bobs.next();
    const has = (online) => (boards) => boards.find((b) => b.name === 'lamp')?.online === online;
    const lamp = p.start('lamp', {}, { key: p.keys.lamp ?? await p.add('lamp') });
    lamp.options.functions = { flash: () => 1, secret: () => 2 };
    const came = (await anns.next((boards) => has(true)(boards) && boards.find((b) => b.name === 'lamp').functions.length === 2)).find((b) => b.name === 'lamp');
    assert.deepEqual(came, { name: 'lamp', online: true, functions: [{ name: 'flash', online: true }, { name: 'secret', online: true }] });
    const bob = (await bobs.next(has(true))).filter((b) => b.name !== 'shared');
    assert.deepEqual(bob, [{ name: 'lamp', online: true, functions: [{ name: 'flash', online: true }] }]);
    lamp.drop();
    lamp.stop();
    const went = (await anns.next(has(false))).find((b) => b.name === 'lamp');
    assert.deepEqual(went.functions, [{ name: 'flash', online: false }, { name: 'secret', online: false }], 'what it had');
    await bobs.next(has(false));
    assert.doesNotMatch(bobs.answer.text, /secret|quiet|frozen/);
    anns.end();
    bobs.end();
  });

  it('16 event streams for one visitor, no more', async () => {
    const streams = [];
    let refused;
    for (let i = 0; i < 16 * p.gateway.config.workers + 1 && !refused; i++) {
      const s = await p.events(p.bob, 'h1');
      if (s.answer.status === 200) streams.push(s);
      else refused = s;
    }
    assert.ok(streams.length >= 16);
    assert.equal(refused.answer.status, 503);
    const other = await p.events(p.ann, 'h1');
    assert.equal(other.answer.status, 200, 'of that visitor');
    for (const s of [...streams, other]) s.end();
  });

  // --- the gateway itself

  const reload = async (change) => {
    if (change) p.gateway.configure(change(p.gateway.config));
    const seen = p.gateway.lines().filter((l) => l.event === 'gateway.ready').length;
    p.gateway.process.kill('SIGHUP');
    await until('a new gateway to be ready', () => p.gateway.lines().filter((l) => l.event === 'gateway.ready').length > seen, { ms: 40000 });
  };
  
  it('a reload: a call that was taken gets its answer, the boards come over, and no call is without an answer', async () => {
    const wait = held();
    const board = await p.board('mover', { hold: wait, quick: () => 'quick' });
    const call = pending(p.ann, 'mover/hold');
    await wait.arrived(1);
    const others = [];
    let over = false;
    const caller = (async () => { while (!over) { others.push(await p.call(p.ann, 'quiet/f').catch((e) => ({ status: e.message }))); await sleep(10); } })();
    await reload();
    await until('the other board to come over', () => quiet.logins === 2, { ms: 40000 });
    wait.calls[0].answer('from before');
    assert.equal((await soon(call, 'the call from before')).json?.result, 'from before');
    await board.online({ logins: 1 });
    await p.seen('mover', { functions: ['quick'] });
    assert.equal(await p.result(p.ann, 'mover/quick'), 'quick');
    await p.seen('quiet', { functions: ['f'] });
    over = true;
    await caller;
    const strange = others.filter((r) => ![200, 502, 503].includes(r.status) && !/ECONNRESET|hang up|ECONNREFUSED/.test(r.status));
    assert.deepEqual(strange, []);
    assert.ok(others.some((r) => r.status === 200));
    board.stop();
  });

  it('a reload with another policy: what was allowed is not', async () => {
    const { config } = p.gateway;
    await reload((c) => ({ ...c, policies: { ...c.policies, boards: [{ deny: { functions: ['f'] } }, ...c.policies.boards] } }));
    await p.seen('quiet', { online: false });
    assert.equal((await p.call(p.ann, 'quiet/f')).status, 403);
    await reload(() => config);
    await until('the board', () => quiet.logins >= 4 || quiet.session.loggedIn, { ms: 40000 });
    await p.seen('quiet', { functions: ['f'], ms: 30000 });
  });

  it('a restart, and a gateway that is killed: the boards come back by themselves', async () => {
    const wait = held();
    const board = await p.board('faithful', { f: () => 'here', hold: wait });
    const call = pending(p.ann, 'faithful/hold');
    await wait.arrived(1);
    process.kill(p.pid, 'SIGKILL');
    await call.catch(() => {});
    assert.ok(call.failed || call.done?.status >= 500, 'the call did not succeed silently');
    await board.online({ logins: 1, ms: 30000 });
    await p.seen('faithful', { functions: ['f'], ms: 30000 });
    assert.equal(await p.result(p.ann, 'faithful/f'), 'here');
    wait.calls[0].answer('of another life');
    await board.settled();
    const { logins } = board;
    await p.gateway.restart();
    await board.online({ logins, ms: 30000 });
    await p.seen('faithful', { functions: ['f'], ms: 30000 });
    assert.equal(await p.result(p.ann, 'faithful/f'), 'here');
  });
});
