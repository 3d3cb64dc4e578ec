// SPDX-License-Identifier: GPL-3.0-or-later
// Boards and callers that mean harm, or have lost their senses: they hurt themselves. All the while somebody calls a good board and has to get every
// answer.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import { BINARY, CLOSE, PING, PONG, TEXT } from './rig/board.mjs';
import { begin, closeSessions } from './rig/exchange.mjs';
import { PicoStage, assertFailure, held } from './rig/pico.mjs';
import { sleep, until } from './rig/world.mjs';

const MiB = 1 << 20;
const SCRIPT = '<script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">';

describe('hostile boards and callers', () => {
  let p;
  let witness;
  let slow;
  let silent;
  let memory;
  before(async () => {
    p = await PicoStage.start('pico-hostile', { users: ['ann', 'bob'], pico: { call_timeout: '20s', timeouts: { late: '1s', block: '100s' }, dead_after: '25s' } });
    await p.board('good', { echo: (pico, x) => x, who: (pico) => pico.email() });
    witness = watch();
    memory = p.gateway.rss(p.pid);
    slow = await beSlow();
    silent = await beSilent();
  });
  after(async () => {
    if (witness) witness.over = true;
    clearTimeout(silent?.answer);
    await witness?.done;
    closeSessions();
    await p?.close();
  });

  // Calls one after the other, on every worker in turn.
  const watch = () => {
    const w = { served: 0, failed: [], slowest: 0, over: false };
    w.done = (async () => {
      for (let i = 0; !w.over; i++) {
        const agents = await p.agents();
        const res = await p.call(p.ann, 'good/echo', [i], { agent: agents[i % agents.length] }).catch((e) => ({ status: e.message }));
        if (res.status === 200 && res.json.result === i) w.served++;
        else w.failed.push({ i, status: res.status, text: res.text });
        w.slowest = Math.max(w.slowest, res.ms ?? 0);
        await sleep(10);
      }
    })();
    return w;
  };
  const unharmed = async () => {
    const { served } = witness;
    await until('the good board to be served', () => witness.served > served + 2, { ms: 60000, every: 5 });
    assert.deepEqual(witness.failed, []);
  };

  let number = 0;
  // A board of its own that does nothing by itself once it is logged in, and does not come again.
  const enemy = async (functions = {}, options = {}) => {
    const device = `enemy-${number++}`;
    await p.add(device);
    const board = p.start(device, functions, { again: false, heartbeat: 3600000, ...options });
    board.device = device;
    return board;
  };
  const loggedIn = async (functions, options) => {
    const board = await enemy(functions, { again: true, ...options }); // every worker has the key soon
    await board.online();
    board.options.again = false;
    if (Object.keys(functions ?? {}).length) await p.seen(board.device, { functions: Object.keys(functions) });
    return board;
  };
  const over = (board, what, ms = 40000) => until(`the end of the connection: ${what}`, () => board.session.peerEnded, { ms, every: 5 });
  const reasonOf = (board) => until(`why ${board.device} was closed`, () => p.events_of('pico.closed').find((l) => l.device === board.device)?.reason, { ms: 20000, every: 5 });
  const closedFor = async (board, reason, what) => {
    await over(board, what);
    assert.equal(await reasonOf(board), reason, what);
    board.stop();
  };

  // Connections that stop at some point, or go on a byte at a time. They are looked at when the rest of the suite is through.
  const beSlow = async () => {
    const list = [];
    const add = (what, board, limit) => list.push({ what, board, limit, begun: Date.now() });
    const nothing = await enemy({}, { hooks: { login: () => new Promise(() => {}) } });
    add('upgraded, and no login', nothing, 10);
    add('half a login', await enemy({}, { hooks: { login: async (s) => { await s.write(Buffer.from([0x81, 0xa0, 1, 2, 3, 4, 5, 6])); return new Promise(() => {}); } } }), 10);
    const half = await loggedIn();
    await half.raw(Buffer.from([0x81]));
    add('half a head', half, 10);
    const payload = await loggedIn();
    await payload.send('{"type": "REGISTER", "name": "x"}', { lose: 10 });
    add('a frame without its end', payload, 10);
    const drip = await loggedIn();
    await drip.raw(Buffer.from([0x81, 0xfd, 0, 0, 0, 0]));
    drip.timer = setInterval(() => { drip.raw('x').catch(() => {}); }, 300);
    drip.timer.unref();
    add('a byte at a time', drip, 10);
    const fragments = await loggedIn();
    await fragments.frame(TEXT, '{"type"', { fin: false });
    fragments.timer = setInterval(() => { fragments.frame(PING, ''); }, 300);
    fragments.timer.unref();
    add('a message without its last fragment, pings between', fragments, 10);
    return list;
  };

  // One board hangs, one only answers pings, one is in a synchronous function for less than `dead_after`.
  const beSilent = async () => {
    const begun = Date.now();
    const wait = held();
    const hour = { heartbeat: 3600000 };
    const frozen = await p.board('frozen', { f: () => 1 }, hour);
    const quiet = await p.board('quiet', { f: () => 'still here' }, hour);
    const busy = await p.board('busy', { block: { f: wait, sync: true } }, hour);
    const call = p.call(p.ann, 'busy/block');
    await wait.arrived(1);
    const answer = setTimeout(() => wait.calls[0].answer('done'), begun + 22000 - Date.now()); // a ping is due at 20 s
    frozen.freeze();
    const gone = until('the frozen board to be gone', async () => (await p.list()).some((b) => b.name === 'frozen' && !b.online), { ms: 60000, every: 250 }).then(() => Date.now() - begun, (e) => e);
    return { begun, frozen, quiet, busy, call, gone, answer };
  };

  // --- frames

  const close = (...bytes) => (b) => b.frame(CLOSE, Buffer.from(bytes));
  for (const [what, reason, send] of [
    ['an unmasked frame', 'uplink.frame', (b) => b.frame(TEXT, '{}', { mask: false })],
    ['RSV1', 'uplink.frame', (b) => b.frame(TEXT, '{}', { rsv: 4 })],
    ['RSV2', 'uplink.frame', (b) => b.frame(TEXT, '{}', { rsv: 2 })],
    ['RSV3', 'uplink.frame', (b) => b.frame(PING, '', { rsv: 1 })],
    ['opcode 3', 'uplink.frame', (b) => b.frame(3, '{}')],
    ['opcode 7', 'uplink.frame', (b) => b.frame(7, '')],
    ['opcode 11', 'uplink.frame', (b) => b.frame(11, '')],
    ['opcode 15', 'uplink.frame', (b) => b.frame(15, '')],
    ['a ping of 126 bytes', 'uplink.frame', (b) => b.frame(PING, 'x'.repeat(126))],
    ['a ping that is not the last', 'uplink.frame', (b) => b.frame(PING, 'x', { fin: false })],
    ['a close frame that is not the last', 'uplink.frame', (b) => b.frame(CLOSE, '', { fin: false })],
    ['a length that could be shorter, 2 bytes', 'uplink.frame', (b) => b.frame(TEXT, '{}', { form: 2 })],
    ['a length that could be shorter, 8 bytes', 'uplink.frame', (b) => b.frame(TEXT, '{}', { form: 8 })],
    ['a continuation of nothing', 'uplink.frame', (b) => b.frame(0, '{}')],
    ['a message within a message', 'uplink.frame', async (b) => { await b.frame(TEXT, '{', { fin: false }); await b.frame(TEXT, '{}'); }],
    ['a giant frame is only announced', 'uplink.too_large', (b) => b.raw(Buffer.from([0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4]))],
    ['a frame of 2^63 bytes', undefined, (b) => b.raw(Buffer.from([0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]))],
    ['a frame of 2^64 - 1 bytes', undefined, (b) => b.raw(Buffer.from([0x81, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4]))],
    ['64 KiB and a byte', 'uplink.too_large', (b) => b.frame(TEXT, 'x'.repeat(65537))],
    ['64 KiB and a byte in fragments', 'uplink.too_large', async (b) => { for (let i = 0; i < 65; i++) await b.frame(i ? 0 : TEXT, 'x'.repeat(1024), { fin: false }); }],
    ['a close frame of one byte', undefined, close(3)],
    ['a close frame with a code that is none', undefined, close(0, 1)],
    ['noise', undefined, (b) => b.raw(randomBytes(100000))],
    ['zeros', 'uplink.frame', (b) => b.raw(Buffer.alloc(100000))],
    ['HTTP', undefined, (b) => b.raw('GET / HTTP/1.1\r\nHost: pico.test\r\n\r\n')],
  ]) {
    it(`${what} ends the link, and only that one`, async () => {
      const board = await loggedIn({ f: () => 1 });
      await send(board);
      await over(board, what);
      const found = await reasonOf(board);
      if (reason) assert.equal(found, reason, what);
      else assert.match(found, /^uplink\.(frame|too_large|closed)$/, what);
      await p.failure(p.ann, `${board.device}/f`, 503, 'pico.offline');
      board.stop();
      await unharmed();
    });
  }

  it('the same before the login: nothing is taken from whoever has not said who it is', async () => {
    for (const [what, send] of [
      ['unmasked', (s) => s.send(TEXT, Buffer.from('{}'), { mask: false })], ['noise', (s) => s.write(randomBytes(70000))], ['a giant', (s) => s.write(Buffer.from([0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4]))],
      ['no JSON', async (s) => { for (let i = 0; i < 3; i++) await s.send(TEXT, Buffer.from('x')); }],
    ]) {
      const board = await enemy({}, { hooks: { login: async (s) => { await send(s); return new Promise(() => {}); } } });
      await over(board, what);
      assert.equal(board.logins, 0);
      board.stop();
    }
    await unharmed();
  });

  it('10,000 registrations and calls before the login, and never a login', async () => {
    const board = await enemy({}, { hooks: { login: async (s) => {
      for (let i = 0; i < 10000 && !s.peerEnded; i++) s.send(TEXT, Buffer.from(`{"type": "REGISTER", "name": "f${i}"}`));
      return new Promise(() => {});
    } } });
    await over(board, 'registrations without a login');
    board.stop();
    assert.ok(!(await p.list()).some((b) => b.name === board.device));
    await unharmed();
  });

  it('logins that are none', async () => {
    for (const [what, login] of [
      ['a key that is a number', '{"key": 7, "v": 7, "device": "PICO_W"}'], ['a key that is a list', '{"key": [], "v": 7}'], ['an empty key', '{"key": "", "v": 7}'], ['no key', '{"v": 7, "device": "PICO_W"}'],
      ['a very long key', `{"key": "${'k'.repeat(60000)}", "v": 7}`], ['the key twice', () => `{"key": "x", "key": "${p.keys.good}", "v": 7}`], ['the hash in place of the key', '{"key": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb", "v": 7}'],
      ['a key with NUL', () => `{"key": "${p.keys.good}\\u0000", "v": 7}`], ['the beginning of a key', () => `{"key": "${p.keys.good.slice(0, -1)}", "v": 7}`], ['a key in capitals', () => `{"key": "${p.keys.good.toUpperCase()}", "v": 7}`],
      ['binary', { opcode: BINARY, text: '{}' }],
    ]) {
      const text = typeof login === 'function' ? login() : login.text ?? login;
      const board = await enemy({}, { hooks: { login: async (s) => {
        await s.send(login.opcode ?? TEXT, Buffer.from(text));
        const f = await s.frame();
        s.answer = f?.opcode === TEXT ? f.payload.toString() : f?.opcode;
      } } });
      await until(`an answer, or the end: ${what}`, () => board.session.peerEnded || board.session.answer, { ms: 40000, every: 5 });
      assert.doesNotMatch(String(board.session.answer), /"OK"/, what);
      await over(board, what);
      board.stop();
    }
    await unharmed();
  });

  it('a second login on the link changes nothing', async () => {
    const board = await loggedIn({ f: () => 'mine' });
    await board.send({ key: p.keys.good, v: 7, device: 'PICO_W' });
    await board.send({ type: 'REGISTER', name: 'echo' });
    await board.send({ key: 'nonsense', v: 7 });
    assert.notEqual((await p.call(p.ann, `${board.device}/f`)).status, 500);
    assert.ok(!(await p.list()).find((b) => b.name === 'good').functions.some((f) => f.name === 'f'), 'it has not become the other');
    board.stop();
    await unharmed();
  });

  // --- messages

  it('fragments that are whole are a message, and what means nothing is ignored', async () => {
    const board = await loggedIn({ f: () => 1 });
    await board.frame(TEXT, '{"type": "REG', { fin: false });
    await board.frame(PING, 'between');
    await board.frame(0, 'ISTER", "name"', { fin: false });
    await board.frame(0, ': "late"}');
    for (const m of ['{}', '{"type": "NOTHING"}', '{"output": "x"}', '{"type": 7}', '{"id": "x"}', '{"type": "CHUNK_HEADER", "requestId": "x"}']) await board.send(m);
    await board.frame(BINARY, randomBytes(1000));
    await board.frame(PONG, 'nobody asked');
    await board.settled();
    await p.seen(board.device, { functions: ['f', 'late'] });
    assert.equal(board.session.ending, undefined);
    board.stop();
  });

  for (const [what, text] of [['no JSON', 'x'], ['nothing', ''], ['a list', '[]'], ['null', 'null'], ['half an object', '{"id":'], ['no UTF-8', Buffer.from('{"id": "\xff"}', 'latin1')], ['a member twice', '{"id": "a", "id": "b"}'],
    ['nested deep', `{"id": ${'['.repeat(30000)}${']'.repeat(30000)}}`], ['nested deep, without end', '['.repeat(60000)], ['NUL', Buffer.from([0, 0, 0])]]) {
    it(`three messages of ${what} in a row end the link, two do not`, async () => {
      const board = await loggedIn({ f: () => 1 });
      for (let i = 0; i < 2; i++) await board.send(text);
      await board.settled();
      assert.equal(board.session.ending, undefined);
      for (let i = 0; i < 3; i++) await board.send(text);
      await closedFor(board, 'uplink.message', what);
      await unharmed();
    });
  }

  it('10,000 registrations: 64 are taken, the link stays or goes, the rest of the world does not notice', async () => {
    const board = await loggedIn({ first: () => 'first' });
    for (let i = 0; i < 10000 && !board.session.peerEnded; i++) board.send(`{"type": "REGISTER", "name": "f${i}"}`);
    await board.session.written;
    await until('the list', async () => {
      const b = (await p.list()).find((x) => x.name === board.device);
      return b?.functions.length === 64 || !b?.online;
    }, { ms: 60000 });
    assert.ok((await p.list()).find((x) => x.name === board.device).functions.length <= 64);
    assert.equal((await p.call(p.ann, `${board.device}/f9999`)).status, 404);
    assert.ok(p.events_of('pico.name_refused').filter((l) => l.device === board.device).length < 100, 'nor does it fill the log');
    board.stop();
    await unharmed();
  });

  it('the same name again and again is one', async () => {
    const board = await loggedIn({ same: () => 1 });
    for (let i = 0; i < 500; i++) await board.send('{"type": "REGISTER", "name": "same"}');
    await board.settled();
    await p.seen(board.device, { functions: ['same'] });
    assert.equal((await p.list()).find((x) => x.name === board.device).functions.length, 1);
    board.stop();
  });

  it('answers to calls that it was not given are dropped, and so are questions about them', async () => {
    const wait = held();
    const victim = await p.board('victim', { hold: wait });
    const board = await loggedIn({ f: () => 'well' });
    const call = p.call(p.ann, 'victim/hold');
    await wait.arrived(1);
    const { id } = victim.calls[0];
    for (const m of [{ id, response: 'forged' }, { id, error: { message: 'forged' } }, { id: id.toUpperCase(), response: 1 }, { id: ` ${id}`, response: 1 }, { id: '', response: 1 }, { id: 'x'.repeat(10000), response: 1 }]) await board.send(m);
    for (let i = 0; i < 50; i++) await board.send({ id: randomBytes(16).toString('hex'), response: 1 });
    for (const m of [...[7, null, [], {}].map((strange) => ({ id: strange, response: 1 })), { id, response: 'a', error: { message: 'b' } }]) {
      await board.send(m);
      await board.settled(); // three that are none would be too many
    }
    assert.equal(await board.ask('anvil.private.users.get_current_user_email', [], { allow_remembered: true }, id), null, 'whose call that is remains between ann and the victim');
    assert.equal(await p.result(p.ann, `${board.device}/f`), 'well');
    wait.calls[0].answer('real');
    assert.equal((await call).json.result, 'real');
    board.drop();
    const closed = await until('its line', () => p.events_of('pico.closed').find((l) => l.device === board.device));
    assert.ok(closed.unknown >= 50, JSON.stringify(closed));
    board.stop();
    await unharmed();
  });

  it('one call, many answers: the first counts', async () => {
    const board = await loggedIn({ f: () => new Promise(() => {}) });
    const call = p.call(p.ann, `${board.device}/f`);
    await until('the call', () => board.calls.length, { every: 2 });
    const { id } = board.calls[0];
    await board.send({ id, response: 'first' });
    for (let i = 0; i < 20; i++) await board.send({ id, response: `again ${i}` });
    assert.equal((await call).json.result, 'first');
    await board.settled();
    assert.equal(board.session.ending, undefined);
    board.stop();
  });

  for (const [what, answer] of [['response and error', '"response": 1, "error": {"message": "x"}'], ['an error that is a string', '"error": "x"'], ['an error without a message', '"error": {}'], ['a message that is a number', '"error": {"message": 7}'], ['null as error', '"error": null'],
    ['objects', '"response": null, "objects": [{"path": ["response"], "type": ["DataMedia"], "id": "x"}]'], ['the id twice', '"id": "x", "response": 1'], ['a response twice', '"response": 1, "response": 2']]) {
    it(`an answer with ${what} is an error or a result, and no surprise`, async () => {
      const board = await loggedIn({ f: () => new Promise(() => {}) });
      const call = p.call(p.ann, `${board.device}/f`);
      await until('the call', () => board.calls.length, { every: 2 });
      await board.send(`{"id": "${board.calls[0].id}", ${answer}}`);
      const res = await call;
      assert.ok([500, 502].includes(res.status), `${res.status} ${res.text}`);
      assertFailure(res, res.status);
      board.stop();
    });
  }

  it('an answer of more than 64 KiB costs the link, and its caller hears so', async () => {
    const board = await loggedIn({ big: (pico, n) => 'x'.repeat(n), hold: held() });
    assert.equal((await p.result(p.ann, `${board.device}/big`, [60000])).length, 60000);
    await p.failure(p.ann, `${board.device}/big`, 502, 'pico.lost', [200000]);
    await closedFor(board, 'uplink.too_large', 'a giant answer');
    await unharmed();
  });

  it('script in every string is data: in JSON, in the page, in the log', async () => {
    const names = ['<script>alert(1)', '"><img src=x onerror=alert(2)>', '<img src=x onerror=alert(3)>', "'-alert(4)-'", '&lt&amp', '{{user}}', '\u202eevil', 'a\u2028b', '${7*7}', 'line break']; // in a name there is no : / \\ % ;
    const board = await loggedIn(Object.fromEntries([...names.map((n) => [n, () => SCRIPT]), ['fail', () => { throw new Error(SCRIPT); }], ['typed', () => new Promise(() => {})]]));
    for (const n of names) {
      const res = await p.call(p.ann, `${board.device}/${encodeURIComponent(n)}`);
      assert.equal(res.json?.result, SCRIPT, `${n}: ${res.text}`);
    }
    const res = await p.call(p.ann, `${board.device}/fail`);
    assertFailure(res, 500);
    assert.equal(res.json.error.message, SCRIPT);
    assert.equal(res.headers['x-content-type-options'], 'nosniff');
    const call = p.call(p.ann, `${board.device}/typed`);
    const typed = await until('the call', () => board.calls.find((c) => c.command === 'typed'), { every: 2 });
    await board.send({ id: typed.id, error: { type: SCRIPT, message: `${SCRIPT}\n{"event":"forged"}\r\nSet-Cookie: x=y${'\u00e4'.repeat(5000)}`, trace: [[SCRIPT, 1]] } });
    const { error } = (await call).json;
    assert.equal(error.type, SCRIPT);
    assert.ok(error.message.startsWith(SCRIPT));
    assert.ok(Buffer.byteLength(error.message) <= 1024, 'cut off');
    assert.ok(!error.message.includes('\ufffd'), 'between two characters');
    const page = await p.ann.get(p.url('/.sallyport/pico/'));
    assert.ok(!/<script>(alert|document)|<img src=x/.test(page.body), 'escaped in the page');
    assert.match(page.headers['content-security-policy'], /script-src 'self'|default-src 'none'/);
    assert.doesNotMatch(page.headers['content-security-policy'], /unsafe-inline/);
    assert.deepEqual(p.gateway.notJson(), []);
    assert.deepEqual(p.events_of('forged'), []);
    board.stop();
  });

  // --- too much

  const flood = async (board, send, what) => {
    const begun = Date.now();
    while (!board.session.peerEnded && Date.now() - begun < 60000) await send();
    assert.ok(board.session.peerEnded, `${what}: nobody minds`);
    board.stop();
    await unharmed();
  };

  it('a flood of messages ends the link', async () => {
    const board = await loggedIn();
    const many = Buffer.concat(Array.from({ length: 500 }, () => Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x7b, 0x7d])));
    await flood(board, () => board.raw(many), 'messages');
    assert.equal(await reasonOf(board), 'uplink.flood');
  });

  it('a flood of pings ends the link', async () => {
    const board = await loggedIn();
    const many = Buffer.concat(Array.from({ length: 500 }, () => Buffer.from([0x89, 0x80, 0, 0, 0, 0])));
    await flood(board, () => board.raw(many), 'pings');
    assert.match(await reasonOf(board), /^uplink\.(flood|output)$/);
  });

  it('a flood of large messages ends the link', async () => {
    const board = await loggedIn();
    await flood(board, () => board.frame(TEXT, `{"x": "${'x'.repeat(60000)}"}`), 'large messages');
    assert.equal(await reasonOf(board), 'uplink.flood');
  });

  it('a flood of questions whose answers are not read ends the link', async () => {
    const board = await loggedIn();
    board.session.socket.pause();
    const one = Buffer.from('{"type":"CALL","command":"anvil.private.echo","args":["keep-alive"],"kwargs":{},"id":"pico-call-1-1"}');
    const many = Buffer.concat(Array.from({ length: 200 }, () => Buffer.concat([Buffer.from([0x81, 0x80 | one.length, 0, 0, 0, 0]), one])));
    for (let i = 0; i < 200 && !board.session.peerEnded && !p.events_of('pico.closed').some((l) => l.device === board.device); i++) await Promise.race([board.raw(many), sleep(200)]);
    assert.match(await reasonOf(board), /^uplink\.(flood|output)$/);
    board.stop();
    await unharmed();
  });

  it('a board that takes nothing: its calls end in time, and the next are told that it is busy', async () => {
    const board = await loggedIn({ late: () => 1 });
    board.freeze();
    const calls = await Promise.all(Array.from({ length: 30 }, () => p.call(p.ann, `${board.device}/late`, [], { protocol: 'h2' })));
    const statuses = new Set(calls.map((c) => c.status));
    assert.deepEqual([...statuses].sort(), [503, 504]);
    assert.ok(calls.filter((c) => c.status === 504).length >= 11, '3 and 8 of ann');
    board.stop();
    await unharmed();
  });

  it('a hundred links with one key supersede each other, and one is left', async () => {
    const board = await loggedIn({ f: () => 1 });
    const crowd = Array.from({ length: 40 }, () => p.start(board.device, { f: () => 1 }, { key: p.keys[board.device], again: false }));
    await until('all to be logged in once', () => crowd.every((b) => b.logins || b.session.ending), { ms: 60000 });
    await until('one to be left', () => [board, ...crowd].filter((b) => !b.session.peerEnded).length === 1, { ms: 40000 });
    await until('it to answer', async () => (await p.call(p.ann, `${board.device}/f`)).status === 200, { ms: 40000 });
    for (const b of [board, ...crowd]) b.stop();
    await unharmed();
  });

  // --- callers

  it('addresses that are none: no call, no error of ours', async () => {
    const n = p.boards[0].calls.filter((c) => c.command !== 'echo').length;
    for (const what of ['good', 'good/', '/echo', 'good/echo/more', 'good/%00', 'good/%0d%0aX-Injected:%20x', 'good/%ff', `good/${'x'.repeat(7000)}`, `${'x'.repeat(7000)}/echo`, 'good%5cecho', 'good/echo%2f', 'GOOD/echo', 'any', 'any/', 'events/x', 'assets/x', '__proto__/constructor', 'good/__proto__', '%67ood/nothing']) {
      const res = await p.call(p.ann, what, [1]).catch((e) => ({ status: 400, text: e.message, headers: {} }));
      assert.ok(res.status >= 400 && res.status < 500, `${what}: ${res.status} ${res.text}`);
      assert.equal(res.headers['x-injected'], undefined);
    }
    assert.equal(p.boards[0].calls.filter((c) => c.command !== 'echo').length, n);
    await unharmed();
  });

  it('bodies: endless, false, slow, deep', async () => {
    const url = p.url('/.sallyport/pico/good/echo');
    const headers = { 'content-type': 'application/json', accept: 'application/json', origin: new URL(url).origin };
    for (const protocol of ['h1', 'h2']) {
      const x = begin(protocol, url, { method: 'POST', client: p.ann, body: true, headers });
      let answered = false;
      x.answer.then(() => { answered = true; }, () => { answered = true; });
      for (let i = 0; i < 400 && !answered; i++) { x.stream.write('['.repeat(16384)); await sleep(1); }
      x.stream.destroy();
      const status = await x.answer.then((a) => a.status, (e) => e.message);
      assert.ok(status === 413 || status === 400 || /ECONNRESET|EPIPE|closed/.test(status), `${protocol}: ${status}`);
      const idle = begin(protocol, url, { method: 'POST', client: p.ann, body: true, headers });
      idle.stream.write('{"args": [');
      await sleep(20);
      idle.stream.destroy();
    }
    for (const body of ['['.repeat(7000), `{"args":[${'['.repeat(3000)}${']'.repeat(3000)}]}`, '{"a":'.repeat(1000), `{"args":[${'1e999999999'}]}`, `{"args":[-0.${'0'.repeat(3000)}1]}`.replace(']}', ',]}')]) {
      assertFailure(await p.call(p.ann, 'good/echo', [], { body }), 400, 'pico.arguments', body.slice(0, 20));
    }
    await unharmed();
  });

  it('one caller with hundreds of calls takes their share of the board, and others have theirs', async () => {
    const wait = held();
    await p.board('lamp', { flash: wait });
    const calls = Array.from({ length: 100 }, (_, i) => p.call(p.ann, 'lamp/flash', [i], { protocol: i % 2 ? 'h1' : 'h2' }));
    let refused = 0;
    for (const c of calls) c.then((r) => { if (r.status === 503) refused++; });
    await until('89 to be refused', () => refused === 89, { ms: 60000, every: 5 });
    const bob = p.call(p.bob, 'lamp/flash', ['bob']);
    await wait.arrived(4);
    assert.equal(wait.calls[3].args[0], 'bob', 'although all of hers are still at work');
    wait.calls[3].answer('bob');
    assert.equal((await bob).json.result, 'bob');
    for (let n = 1; n <= 12; n++) { await wait.arrived(n); wait.calls[n - 1].answer(wait.calls[n - 1].args[0]); }
    assert.equal((await Promise.all(calls)).filter((r) => r.status === 200).length, 11);
    await unharmed();
  });

  it('callers who come and go by the hundred leave nothing behind', async () => {
    const wait = held();
    const board = await p.board('deserted', { hold: wait, f: () => 'free' });
    const url = p.url('/.sallyport/pico/deserted/hold');
    for (let round = 0; round < 10; round++) {
      const crowd = Array.from({ length: 20 }, (_, i) => {
        const x = begin(i % 2 ? 'h1' : 'h2', url, { method: 'POST', client: p.ann, body: true, headers: { 'content-type': 'application/json', accept: 'application/json', origin: new URL(url).origin } });
        x.stream.end('{}');
        return x;
      });
      await sleep(20);
      for (const x of crowd) x.stream.destroy();
    }
    await wait.arrived(3);
    for (const c of wait.calls) c.answer(0);
    await until('the board to be free', async () => {
      for (const c of wait.calls) c.answer(0);
      return (await p.call(p.ann, 'deserted/f')).status === 200;
    }, { ms: 40000 });
    await board.settled();
    assert.ok(wait.calls.length < 50, `${wait.calls.length} of 200 were sent`);
    await unharmed();
  });

  it('what is said at the uplink before and beside WebSocket', async () => {
    const host = new URL(p.url()).host;
    const upgrade = `GET /uplink HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n`;
    for (const [what, bytes, wanted] of [
      ['a body', `${upgrade}Content-Length: 5\r\n\r\nhello`, /^(?!HTTP\/1\.1 101)/], ['a chunked body', `${upgrade}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, /^(?!HTTP\/1\.1 101)/],
      ['POST', upgrade.replace('GET', 'POST') + '\r\n', /^HTTP\/1\.1 4/], ['HTTP/1.0', upgrade.replace('1.1\r\n', '1.0\r\n') + '\r\n', /^(?!HTTP\/1\.1 101)/],
      ['frames at once', Buffer.concat([Buffer.from(`${upgrade}\r\n`), Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x7b, 0x7d])]), /^HTTP\/1\.1 101 /],
    ]) {
      const text = await p.head(bytes);
      assert.match(text, wanted, `${what}: ${text.slice(0, 200)}`);
    }
    for (let i = 0; i < 20; i++) {
      await new Promise((resolve) => { const s = net.connect({ port: p.gateway.port, host: '127.0.0.1', localAddress: p.address() }, () => { s.write(randomBytes(200)); setTimeout(() => { s.destroy(); resolve(); }, 5); }).on('error', resolve); });
    }
    await unharmed();
  });

  // --- the end

  it('slow ones are ended in time', async () => {
    for (const { what, board, limit, begun } of slow) {
      await until(`the end of ${what}`, () => board.session.peerEnded, { ms: 60000, every: 20 });
      const ms = board.session.peerEnded.at - begun;
      assert.ok(ms > limit * 1000 - 1500 && ms < limit * 1000 + 15000, `${what}: ended after ${ms} ms`);
      clearInterval(board.timer);
      board.stop();
    }
    await unharmed();
  });

  it('a board that is silent for dead_after is gone; one that answers pings, or is busy for less, is not', async () => {
    const ms = await silent.gone;
    assert.ok(ms > 24000 && ms < 50000, `${ms} ms of 25 s`);
    await p.failure(p.ann, 'frozen/f', 503, 'pico.offline');
    const pings = silent.quiet.session.frames.filter((f) => f.opcode === 9);
    assert.ok(pings.length >= 1, 'pings');
    assert.equal(silent.quiet.sessions.length, 1);
    assert.equal(await p.result(p.ann, 'quiet/f'), 'still here');
    assert.equal((await silent.call).json.result, 'done');
    assert.equal(silent.busy.sessions.length, 1);
    assert.ok(p.events_of('pico.closed').some((l) => l.device === 'frozen' && l.reason === 'uplink.silent'));
    silent.frozen.stop();
    silent.busy.stop();
  });

  it('somebody who called a good board all the while got every answer', async () => {
    assert.deepEqual(witness.failed, []);
    assert.ok(witness.served > 100, `${witness.served}`);
    assert.ok(witness.slowest < 15000, `${witness.slowest} ms`);
    const good = p.boards[0];
    assert.equal(good.sessions.length, 1);
    assert.equal(good.unknownAnswers, 0);
    assert.equal(await p.result(p.ann, 'good/who'), 'ann@example.com');
    const grown = p.gateway.rss(p.pid) - memory;
    assert.ok(grown < (p.gateway.sanitized ? 300 : 64) * MiB, `${Math.round(grown / MiB)} MiB more`);
  });
});
