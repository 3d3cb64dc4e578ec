// SPDX-License-Identifier: GPL-3.0-or-later
// The relay: boards connect with their keys, people who are logged in and allowed call their functions.
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import { PING, raw } from './rig/board.mjs';
import { closeSessions, fetchAll } from './rig/exchange.mjs';
import { Client, rawTls } from './rig/http.mjs';
import { assertStatus, oidcLogin } from './rig/journey.mjs';
import { oidcUsers } from './rig/oidc.mjs';
import { HOST, PicoStage, assertFailure, lanAddress } from './rig/pico.mjs';
import { until } from './rig/world.mjs';

describe('the relay of boards', () => {
  let p;
  let lamp;
  let door;
  before(async () => {
    const mia = { password: 'mia-pw', claims: { email: 'Mia.Muster@Example.COM', email_verified: true, name: 'Mia', preferred_username: 'mia', groups: ['staff'] } };
    p = await PicoStage.start('pico', {
      users: ['ann', 'bob', 'carl', 'mia'], oidcSetup: { users: { ...oidcUsers, mia } },
      pico: { timeouts: { late: '1s' }, max_arguments: '8KiB' },
      setup: async (stage) => { stage.plainPort = await stage.world.port(); },
      routes: () => [{ host: 'lan.test', path: '/boards', pico: { log_arguments: true, ...(lanAddress && { plain_networks: [lanAddress] }) }, policy: 'boards' }],
    });
  });
  after(() => { closeSessions(); return p?.close(); });

  const lampFunctions = {
    flash: (pico, text = 'nothing') => `flashed ${text}`,
    echo: (pico, x) => x,
    kwargs: (pico) => pico.kwargs,
    args: (pico, ...args) => args,
    fail() { throw new Error('divide by zero'); },
    who: (pico) => pico.email(),
    child: (pico) => pico.childEmail(),
    locked: { f: () => 'open', requireUser: true },
    anns: { f: () => 'for ann', requireUser: 'ann@example.com' },
    bobs: { f: () => 'for bob', requireUser: 'bob@example.org' },
    'gr\u00fc\u00dfe': () => 'hallo',
    raw: (pico, what) => raw(what),
    bytes: (pico, hex) => raw(Buffer.from(hex, 'hex')),
    big: (pico, n) => 'x'.repeat(n),
  };

  // --- a board comes

  it('a key is made on a running gateway, shown once, kept as a hash; the board is in at once', async () => {
    const text = await p.must('add', 'lamp');
    p.keys.lamp = PicoStage.keyIn(text);
    assert.match(text, /anvil\.pico/, 'what to write into main.py');
    assert.match(text, new RegExp(`wss://${HOST.replace('.', '\\.')}:${p.gateway.port}/uplink`));
    const file = `${p.gateway.state}/devices.json`;
    assert.ok(!readFileSync(file, 'utf8').includes(p.keys.lamp), 'the key is not in the file');
    assert.equal(statSync(file).mode & 0o077, 0, 'nobody else reads it');
    assert.equal(statSync(file).uid, statSync(p.gateway.state).uid, 'the daemon does');
    assert.ok(!(await p.must('list')).includes(p.keys.lamp), 'shown once');
    lamp = await p.board('lamp', lampFunctions);
    assert.equal(lamp.logins, 1);
    assert.equal(lamp.sessions.length, 1, 'at the first attempt');
    assert.ok('id' in lamp.session.reply['app-info']);
    assert.equal(await lamp.settled(), 'settled', 'the heartbeat is answered');
  });

  it('without TLS from this machine: frames of one segment, the same otherwise', async () => {
    const board = await p.board('plain', { size: (pico, x) => x.length }, { plain: true, port: p.stage.plainPort });
    assert.equal(board.sessions.length, 1);
    for (const n of [0, 100, 1200]) assert.equal(await p.result(p.ann, 'plain/size', ['x'.repeat(n)]), n);
    for (const n of [1400, 5000]) await p.failure(p.ann, 'plain/size', 413, 'pico.arguments_large', ['x'.repeat(n)]);
    for (let n = 1201; n < 1400; n += 7) { // wherever the limit is: what is taken arrives whole
      const res = await p.call(p.ann, 'plain/size', ['x'.repeat(n)]);
      assert.ok(res.status === 413 || res.json.result === n, `${n}: ${res.text}`);
    }
    assert.equal(board.sessions.length, 1, 'no frame was cut');
    assert.ok(!board.session.shortUnit);
    assert.ok(board.session.frames.every((f) => f.length + 4 <= 1400), 'one segment each');
    board.stop();
  });

  it('without TLS from elsewhere: only where plain_networks has it', { skip: !lanAddress && 'this machine has no address but loopback' }, async () => {
    const elsewhere = { plain: true, host: lanAddress, port: p.stage.plainPort, localAddress: lanAddress, again: false };
    const refused = p.start('plain', {}, elsewhere);
    await refused.session.over;
    assert.equal(refused.session.status, 403);
    const taken = p.start('plain', { size: () => 0 }, { ...elsewhere, name: 'lan.test', path: '/boards/uplink' });
    await taken.online();
    for (const b of [refused, taken]) b.stop();
    const redirected = await fetch(`http://127.0.0.1:${p.stage.plainPort}/uplink`, { headers: { Host: HOST, Connection: 'close' }, redirect: 'manual' });
    assert.notEqual(redirected.status, 200);
  });

  it('the App Server\'s own path will do, with the port in Host or without', async () => {
    door = await p.board('door', { open: () => 'opened', close: () => 'closed' }, { path: '/_/uplink', listed: ['close'] });
    assert.equal(door.sessions.length, 1);
  });

  it('CPython registers before the login is answered', async () => {
    await p.board('early', { f: () => 1 }, { eager: true });
    assert.equal(await p.result(p.ann, 'early/f'), 1);
  });

  it('names that are no device names are refused by the command', async () => {
    for (const name of ['any', 'events', 'assets', 'Lamp', '-x', 'a/b', 'a b', '', 'x'.repeat(64), '<script>']) {
      const r = await p.pico('add', '--', name);
      assert.notEqual(r.code, 0, JSON.stringify(r));
    }
    assert.notEqual((await p.pico('add', 'lamp')).code, 0, 'one that is there');
  });

  it('a wrong key hears so in the words of Anvil, and the connection is closed in order', async () => {
    const board = p.start('lamp', {}, { key: 'W'.repeat(40), again: false });
    await board.session.over;
    assert.deepEqual(board.session.reply, { error: 'Incorrect uplink key' });
    assert.match(board.console[0], /login refused: Incorrect uplink key/);
    const s = board.session;
    await until('TCP to be closed, although the board does not', () => s.peerEnded, { ms: 20000, every: 10 });
    assert.notEqual(s.peerEnded.how, 'RST', 'the message is not lost by a reset');
    assert.equal(lamp.sessions.length, 1, 'the other one did not notice');
  });

  it('a client that is too old hears so', async () => {
    for (const [version, ok] of [[4, false], ['7', false], [null, false], [5, true], [7, true]]) {
      const board = p.start('early', {}, { version, again: false });
      if (ok) await board.online();
      else {
        await board.session.over;
        assert.match(board.session.reply.error, /^You are using an outdated version of the uplink library\. Please use 'pip install --upgrade anvil-uplink' to get a new one\.$/, `${version}`);
      }
      board.stop();
    }
  });

  it('a board with a wrong key comes for ever: it fills no log, and its void attempts are no attacks', async () => {
    const [lines, stray] = [p.gateway.lines().length, await p.gateway.metric('pico_stray_closes_total')];
    const board = p.start('lamp', {}, { key: `wrong-key-${'x'.repeat(30)}`, retry: 1 });
    await until('many attempts', () => board.sessions.filter((s) => s.reply).length >= 60, { ms: 60000 }).finally(() => board.stop());
    const voids = board.sessions.filter((s) => s.void && s.ending === 'void').length;
    assert.ok(voids >= 57, `${voids} void ones`);
    await until('all of them to be counted', async () => await p.gateway.metric('pico_stray_closes_total') >= stray + voids, { ms: 20000 });
    const said = p.gateway.lines().slice(lines).filter((l) => l.client === board.options.localAddress);
    const loud = said.filter((l) => l.level !== 'debug');
    assert.ok(loud.filter((l) => l.event === 'pico.refused').length >= 20);
    assert.ok(loud.filter((l) => l.event === 'pico.refused').length <= 20 * p.gateway.config.workers, 'then it is known');
    assert.deepEqual(loud.filter((l) => l.status === 400 || /^http\./.test(l.reason ?? '')), [], 'void connections are not bad requests');
    assert.equal(await p.result(p.ann, 'lamp/flash', ['x']), 'flashed x');
  });

  it('whoever guesses keys is refused before the upgrade, with any key, for a minute; others are not', async () => {
    const plain = { plain: true, port: p.stage.plainPort, localAddress: p.address(), again: false };
    let [logins, refused] = [0, 0];
    await Promise.all(Array.from({ length: 8 }, async (_, who) => {
      for (let i = 0; !refused && logins < 3000; i++) {
        const guess = p.start('lamp', {}, { ...plain, key: `guess-${who}-${i}-${'x'.repeat(30)}` });
        await guess.session.over;
        if (guess.session.status === 429) refused++;
        else assert.equal(guess.session.reply?.error, 'Incorrect uplink key', JSON.stringify(guess.console));
        logins++;
        guess.stop();
      }
    }));
    assert.ok(logins >= 600 && logins < 3000, `${logins} logins`);
    await p.add('spare');
    const good = await until('the right key to be refused as well', async () => {
      const board = p.start('spare', {}, plain);
      await until('an answer', () => board.session.status, { every: 1 });
      board.stop();
      return board.session.status === 429;
    }, { every: 1 });
    assert.ok(good);
    assert.equal(await p.result(p.ann, 'lamp/flash', ['x']), 'flashed x');
    assert.equal(lamp.sessions.length, 1);
  });

  it('a frame before any TLS, and a connection that says nothing, are no attacks either', async () => {
    const lines = p.gateway.lines().length;
    await rawTls(p.gateway.port, HOST, Buffer.from('8880a1b2c3d4', 'hex'), { ms: 1500 });
    await new Promise((resolve) => { const s = net.connect(p.gateway.port, '127.0.0.1', () => s.end(Buffer.from('8880a1b2c3d4', 'hex'))).on('close', resolve).on('error', resolve).resume(); });
    await p.gateway.settle();
    assert.deepEqual(p.gateway.lines().slice(lines).filter((l) => l.client === '127.0.0.1' && (['warn', 'error'].includes(l.level) || l.status === 400)), []);
  });

  // --- the list

  it('the list has the boards and functions that one may use', async () => {
    const boards = await p.list(p.ann);
    assert.deepEqual(boards.map((b) => b.name), ['door', 'early', 'lamp', 'plain'], 'those that have been here');
    assert.deepEqual(boards.find((b) => b.name === 'lamp').functions.map((f) => f.name).sort(), Object.keys(lampFunctions).sort());
    assert.ok(boards.every((b) => b.functions.every((f) => typeof f.online === 'boolean')));
    assert.deepEqual(boards.find((b) => b.name === 'door').functions, [{ name: 'close', online: true }], 'nobody may open');
    assert.deepEqual(await p.list(p.bob), [{ name: 'lamp', online: true, functions: [{ name: 'flash', online: true }, { name: 'who', online: true }] }]);
    const page = assertStatus(await p.bob.get(p.url('/.sallyport/pico/')), 200);
    assert.match(page.headers['content-type'], /^text\/html/);
    assert.ok(!/door|early|grü/.test(page.body), 'of the others nothing is said');
  });

  it('the route itself leads to the page', async () => {
    const res = await p.ann.get(p.url('/'));
    assert.ok([302, 303, 307].includes(res.status), `${res.status}`);
    assert.equal(new URL(res.headers.location, res.url).pathname, '/.sallyport/pico/');
  });

  it('without a login: the page leads to it, the list and calls are 401, nothing reaches the board', async () => {
    const nobody = new Client();
    const page = await nobody.get(p.url('/.sallyport/pico/'));
    assert.ok([302, 303].includes(page.status), `${page.status}`);
    const n = lamp.calls.length;
    for (const what of ['lamp/flash', 'any/flash', 'nothing/flash']) assert.equal((await p.call(nobody, what)).status, 401, what);
    const list = await nobody.send(p.url('/.sallyport/pico/'), { headers: { Accept: 'application/json', 'Sec-Fetch-Mode': 'cors' } });
    assert.equal(list.status, 401);
    const events = await nobody.send(p.url('/.sallyport/pico/events'), { headers: { Accept: 'text/event-stream', 'Sec-Fetch-Mode': 'cors' } });
    assert.equal(events.status, 401);
    assert.equal(lamp.calls.length, n);
  });

  // --- calls

  for (const protocol of ['h1', 'h2']) {
    it(`calls over ${protocol}: values there and back`, async () => {
      const o = { protocol };
      assert.equal(await p.result(p.ann, 'lamp/flash', ['SOS'], o), 'flashed SOS');
      assert.equal(await p.result(p.ann, 'lamp/flash', undefined, { ...o, body: '{}' }), 'flashed nothing');
      for (const v of [null, true, 0, -1, 1.5, '', 'x"\\\n', '\u00e4\u20ac\u{1f600}', [], {}, [1, [2, [3]]], { a: { b: [null] } }]) {
        assert.deepEqual(await p.result(p.ann, 'lamp/echo', [v], o), v);
      }
      assert.deepEqual(await p.result(p.ann, 'lamp/kwargs', [], { ...o, kwargs: { speed: 3, text: '\u00df' } }), { speed: 3, text: '\u00df' });
      assert.deepEqual(await p.result(p.ann, 'lamp/args', [1, 'a', null], o), [1, 'a', null]);
      assert.equal(await p.result(p.ann, `lamp/${encodeURIComponent('gr\u00fc\u00dfe')}`, [], o), 'hallo');
      assert.equal(await p.result(p.ann, 'any/flash', ['x'], o), 'flashed x');
      assert.equal(await p.result(p.ann, 'lamp/big', [40000], o), 'x'.repeat(40000));
    });

    it(`errors over ${protocol}`, async () => {
      const o = { protocol };
      assert.equal((await p.failure(p.ann, 'lamp/fail', 500, 'pico.function', [], o)).message, 'divide by zero');
      await p.failure(p.ann, 'lamp/nothing', 404, 'pico.unknown', [], o);
      await p.failure(p.ann, 'nothing/flash', 404, 'pico.unknown', [], o);
      await p.failure(p.ann, 'any/nothing', 404, 'pico.unknown', [], o);
    });
  }

  it('escapes of a browser arrive as characters: the board would make two of one', async () => {
    assert.equal(await p.result(p.ann, 'lamp/echo', [], { body: '{"args":["\\ud83d\\ude00\\u00e4\\u0041"]}' }), '\u{1f600}\u00e4A');
    const res = await p.call(p.ann, 'lamp/echo', [], { body: '{"args":[123456789012345678]}' });
    assert.match(res.text, /123456789012345678/, 'an integer is exact');
  });

  it('what reaches the board is what it needs and nothing else', async () => {
    await p.result(p.ann, 'lamp/echo', [1], { kwargs: {} });
    const { message } = lamp.calls.at(-1);
    assert.deepEqual(Object.keys(message).sort(), ['args', 'call-stack-id', 'command', 'id', 'kwargs', 'type']);
    assert.equal(message['call-stack-id'], message.id);
    assert.match(message.id, /^[0-9a-f]{32}$/);
    assert.equal(new Set(lamp.calls.map((c) => c.id)).size, lamp.calls.length, 'ids are never used again');
    assert.ok(lamp.sessions.every((s) => !s.shortUnit), 'every frame in one record');
  });

  it('who is calling: the board may ask, in the task of the call', async () => {
    assert.equal(await p.result(p.ann, 'lamp/who'), 'ann@example.com');
    assert.equal(await p.result(p.bob, 'lamp/who'), 'bob@example.org');
    assert.equal(await p.result(p.mia, 'lamp/who'), 'mia.muster@example.com', 'in small letters');
    assert.equal(await p.result(p.carl, 'lamp/who'), null, 'an address that nobody has verified is none');
    assert.match((await p.failure(p.carl, 'lamp/locked', 500)).message, /^Unauthorised\. You must be logged in/);
    assert.equal(await p.result(p.ann, 'lamp/child'), null, 'a task of its own has nobody');
    assert.equal(await p.result(p.ann, 'lamp/locked'), 'open');
    assert.equal(await p.result(p.ann, 'lamp/anns'), 'for ann');
    assert.match((await p.failure(p.ann, 'lamp/bobs', 500, undefined)).message, /^Unauthorised\. You are not authorised to call this function\.$/);
    const answers = await Promise.all(Array.from({ length: 12 }, async (_, i) => [i, await p.result(i % 2 ? p.ann : p.bob, 'lamp/who')]));
    for (const [i, who] of answers) assert.equal(who, i % 2 ? 'ann@example.com' : 'bob@example.org', 'nobody is taken for another');
  });

  it('outside of calls there is nobody, and other commands are refused at once', async () => {
    assert.equal(await lamp.ask('anvil.private.users.get_current_user_email', [], { allow_remembered: true }), null);
    assert.equal(await lamp.ask('anvil.private.users.get_current_user_email', [], {}, 'f'.repeat(32)), null, 'an invented call');
    assert.equal(await lamp.ask('anvil.private.users.get_current_user_email', [], {}, lamp.calls.at(-1).id), null, 'a call that is over');
    for (const command of ['anvil.private.fetch_lazy_media', 'flash', 'open', '', 'x'.repeat(10000)]) {
      await assert.rejects(lamp.ask(command), (e) => typeof e.message === 'string' && e.message.length > 0, command.slice(0, 20));
    }
    assert.equal(lamp.sessions.length, 1);
    assert.equal(lamp.unknownAnswers, 0);
  });

  it('policy is asked before the board: 403, and the board hears nothing', async () => {
    const n = [lamp.calls.length, door.calls.length];
    for (const [who, what] of [['ann', 'door/open'], ['bob', 'door/open'], ['bob', 'door/close'], ['bob', 'lamp/echo'], ['bob', 'lamp/fail']]) {
      const res = await p.call(p[who], what);
      assert.equal(res.status, 403, `${who} ${what}: ${res.text}`);
      assertFailure(res, 403);
    }
    for (const what of ['any/open', 'any/echo']) assert.ok([403, 404].includes((await p.call(p.bob, what)).status), what);
    assert.deepEqual([lamp.calls.length, door.calls.length], n);
    assert.equal(await p.result(p.ann, 'door/close'), 'closed');
    // Spellings of the same name are no way around it.
    for (const what of ['door/%6fpen', 'DOOR/open', 'door/open/', 'door//open', 'door/open?x', './door/open', 'lamp/../door/open', 'door/open%00', 'door%2fopen', 'door/open;x', 'any/%6fpen']) {
      const res = await p.call(p.ann, what);
      assert.ok([400, 403, 404].includes(res.status), `${what}: ${res.status} ${res.text}`);
    }
    assert.equal(door.calls.filter((c) => c.command === 'open').length, 0);
  });

  it('only pages of this host call: other sites, forms and GET do not', async () => {
    const n = lamp.calls.length;
    const evil = 'https://evil.example';
    const { origin } = new URL(p.url());
    for (const [what, headers] of [
      ['another site', { Origin: evil, 'Sec-Fetch-Site': 'cross-site' }], ['a neighbour', { Origin: p.stage.url('wiki.test').slice(0, -1), 'Sec-Fetch-Site': 'same-site' }],
      ['another site without Sec-Fetch', { Origin: evil, 'Sec-Fetch-Site': undefined, 'Sec-Fetch-Mode': undefined }], ['nowhere', { Origin: 'null', 'Sec-Fetch-Site': undefined }],
      ['only Sec-Fetch-Site says so', { Origin: undefined, 'Sec-Fetch-Site': 'cross-site' }],
      ['the origin is another port', { Origin: `https://${HOST}`, 'Sec-Fetch-Site': undefined }], ['over plain HTTP', { Origin: origin.replace('https', 'http'), 'Sec-Fetch-Site': undefined }],
    ]) {
      const res = await p.call(p.ann, 'lamp/flash', ['x'], { headers });
      assert.equal(res.status, 403, `${what}: ${res.status} ${res.text}`);
    }
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x']) {
      const res = await p.call(p.ann, 'lamp/flash', ['x'], { headers: { 'Content-Type': type, Origin: evil, 'Sec-Fetch-Site': 'cross-site' } });
      assert.equal(res.status, 403, type);
    }
    for (const method of ['GET', 'PUT', 'DELETE']) {
      const res = await fetchAll('h1', p.url('/.sallyport/pico/lamp/flash'), { method, client: p.ann, headers: { Accept: 'application/json', 'Sec-Fetch-Mode': 'cors' } });
      assert.equal(res.status, 405, method);
    }
    assert.equal(lamp.calls.length, n, 'nothing arrived');
  });

  it('arguments that are none are 400, those that are too large 413', async () => {
    const n = lamp.calls.length;
    const bad = {
      'no JSON': 'x', 'nothing': '', 'a list': '[]', 'a string': '"x"', 'args no list': '{"args":{}}', 'kwargs no object': '{"kwargs":[]}', 'another member': '{"args":[],"x":1}', 'a member twice': '{"args":[1],"args":[2]}',
      'something behind it': '{"args":[]} x', 'NaN': '{"args":[NaN]}', 'a float too large for the board': '{"args":[3.5e38]}', 'a very large float': '{"args":[1e999]}', 'an integer beyond 64 bits': '{"args":[92233720368547758080]}',
      'half a character': '{"args":["\\ud83d"]}', 'the other half': '{"args":["\\ude00"]}', 'NUL': '{"args":["\\u0000"]}', 'NUL in a name': '{"kwargs":{"a\\u0000b":1}}', 'a control character': '{"args":["\u0001"]}',
      'a comment': '{"args":[/**/]}', 'a comma': '{"args":[1,]}', 'nested too deep': `{"args":[${'['.repeat(40)}${']'.repeat(40)}]}`, 'a name twice': '{"kwargs":{"a":1,"a":2}}', 'a bom': '\ufeff{"args":[]}',
    };
    for (const [what, body] of Object.entries(bad)) assertFailure(await p.call(p.ann, 'lamp/echo', [], { body }), 400, 'pico.arguments', what);
    for (const bytes of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0xbd], [0xf5, 0x80, 0x80, 0x80]]) {
      const body = Buffer.concat([Buffer.from('{"args":["'), Buffer.from(bytes), Buffer.from('"]}')]);
      assertFailure(await p.call(p.ann, 'lamp/echo', [], { body }), 400, 'pico.arguments', bytes.join());
    }
    for (const protocol of ['h1', 'h2']) {
      assertFailure(await p.call(p.ann, 'lamp/echo', ['x'.repeat(8192)], { protocol }), 413, 'pico.arguments_large', 'more than 8 KiB');
      const huge = await p.call(p.ann, 'lamp/echo', ['x'.repeat(2 << 20)], { protocol }).catch((e) => ({ status: 413, why: e.message })); // closed while we write
      assert.equal(huge.status, 413, 'two MiB');
    }
    assert.equal(lamp.calls.length, n);
    assert.equal((await p.result(p.ann, 'lamp/echo', ['x'.repeat(8000)])).length, 8000);
    assert.equal(lamp.sessions.length, 1);
  });

  it('an answer that is none fails its call only; the next one is well', async () => {
    const broken = ['nan', 'inf', '-inf', '<object>', '{1}', 'range(0, 3)', "bytearray(b'hi')", '<generator>', '{"a": nan}', '[1, inf]', '"x', ''];
    for (const what of broken) {
      await p.failure(p.ann, 'lamp/raw', 502, 'pico.answer', [what]);
      assert.equal(await p.result(p.ann, 'lamp/flash', ['on']), 'flashed on');
    }
    for (const hex of ['22ff22', '22eda0bdedb88022', '22c08022']) {
      await p.failure(p.ann, 'lamp/bytes', 502, 'pico.answer', [hex]);
      assert.equal(await p.result(p.ann, 'lamp/flash', ['on']), 'flashed on');
    }
    const nested = await p.call(p.ann, 'lamp/raw', ['['.repeat(100) + ']'.repeat(100)]);
    assert.equal(nested.status, 502, 'nested too deep');
    assert.equal(await p.result(p.ann, 'lamp/flash', ['on']), 'flashed on');
    assert.equal(lamp.sessions.length, 1, 'the link has lasted');
  });

  it('three such answers in a row close the link, and the board comes back', async () => {
    const bad = await p.board('confused', { bad: () => raw('nan'), good: () => 1 });
    for (let i = 0; i < 3; i++) await p.failure(p.ann, 'confused/bad', 502, undefined);
    await until('the link to be closed', () => bad.sessions[0].ending, { ms: 20000 });
    await bad.online({ logins: 1 });
    await p.seen('confused', { functions: ['bad', 'good'] });
    assert.equal(await p.result(p.ann, 'confused/good'), 1);
    bad.stop();
  });

  // --- what does not belong at the uplink

  it('/uplink is for boards: 426 without an upgrade and over HTTP/2', async () => {
    const host = new URL(p.url()).host;
    for (const path of ['/uplink', '/_/uplink']) {
      for (const protocol of ['h1', 'h2']) {
        for (const method of ['GET', 'POST']) {
          const res = await fetchAll(protocol, p.url(path), { method, client: p.ann, headers: { Accept: '*/*' } });
          assert.equal(res.status, 426, `${protocol} ${method} ${path}`);
        }
      }
      const text = await p.head(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n`);
      assert.match(text, /^HTTP\/1\.1 426 /);
    }
    for (const path of ['/uplink/x', '/uplinks', '/_/uplink/', '/x/uplink', '/UPLINK']) {
      const res = await fetchAll('h1', p.url(path), { client: new Client(), headers: { Accept: '*/*', Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' } }).catch((e) => ({ status: e.message }));
      assert.notEqual(res.status, 101, path);
    }
  });

  it('the upgrade is answered with the accept value that browsers would check', async () => {
    const upgrade = (host, more = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n') => p.head(`GET /uplink HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${more}\r\n`);
    const { host } = new URL(p.url());
    for (const name of [host, HOST, `${HOST}:443`, HOST.toUpperCase()]) {
      const text = await upgrade(name);
      assert.match(text, /^HTTP\/1\.1 101 /, name);
      assert.match(text, /\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n/i);
      assert.doesNotMatch(text, /set-cookie|sec-websocket-extensions|sec-websocket-protocol/i);
    }
    for (const bad of ['Sec-WebSocket-Key: short\r\nSec-WebSocket-Version: 13\r\n', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n', '']) {
      assert.match(await upgrade(host, bad), /^HTTP\/1\.1 4\d\d /, bad);
    }
  });

  it('a cookie, or another origin, makes no difference at the uplink', async () => {
    const n = lamp.logins;
    const other = p.start('early', { f: () => 1 }, { again: false });
    const lines = other.requestLines.bind(other);
    other.requestLines = () => lines().map((l) => (l.startsWith('Origin') ? 'Origin: https://evil.example\r\nCookie: __Host-sallyport=x' : l));
    await other.online();
    assert.equal(lamp.logins, n);
    other.stop();
  });

  it('pings of a board are answered, a close frame too', async () => {
    const board = await p.board('closer', { f: () => 1 });
    board.frame(PING, 'hello?');
    await until('the pong', () => board.session.frames.some((f) => f.opcode === 10 && f.length === 6), { ms: 20000, every: 5 });
    await board.disconnect();
    await p.seen('closer', { online: false });
    await p.failure(p.ann, 'closer/f', 503, 'pico.offline');
    await p.failure(p.ann, 'any/unheard-of', 404, 'pico.unknown');
    board.stop();
  });

  // --- the log

  it('each call is one line in the log, without arguments', async () => {
    const secret = 'planted-argument-4711';
    await p.call(p.ann, 'lamp/the-log-begins');
    const begin = await until('its line', () => p.events_of('pico.call').findIndex((l) => l.function === 'the-log-begins') + 1);
    await p.result(p.ann, 'lamp/flash', [secret]);
    await p.call(p.ann, 'lamp/fail', [secret]);
    await p.call(p.bob, 'lamp/echo', [secret]);
    const lines = await until('three lines', () => { const l = p.events_of('pico.call').slice(begin); return l.length >= 3 && l; }, { ms: 20000 });
    const [ok, failed, denied] = lines;
    assert.equal(lines.length, 3);
    for (const l of lines) {
      assert.ok(l.request_id && l.device === 'lamp' && l.function && l.user, JSON.stringify(l));
      assert.ok(!JSON.stringify(l).includes(secret));
    }
    const [words] = [(l) => [l.user, l.function, l.rule, l.decision, l.outcome]];
    assert.deepEqual(words(ok), ['ann', 'flash', 2, 'policy.allow_rule', 'ok']);
    assert.ok(ok.board_ms >= 0 && ok.waited_ms >= 0 && ok.duration_ms >= 0 && ok.bytes_in > 20 && ok.bytes_out > 20);
    assert.deepEqual([...words(failed), failed.error], ['ann', 'fail', 2, 'policy.allow_rule', 'pico.function', 'divide by zero']);
    assert.deepEqual(words(denied), ['bob', 'echo', undefined, 'policy.no_rule', 'policy.denied']);
    assert.ok(!p.gateway.output.includes(secret), 'nowhere else either');
    assert.ok(!p.gateway.output.includes(p.keys.lamp), 'nor the key');
  });

  it('with log_arguments they are there; a route below a path has its boards there', async () => {
    const below = await p.board('below', { f: () => 1 }, { name: 'lan.test', path: '/boards/_/uplink', plain: true, port: p.stage.plainPort });
    const base = p.stage.url('lan.test');
    const client = new Client();
    assertStatus(await oidcLogin(client, `${base}.sallyport/pico/`, 'ann'), 200);
    const headers = { 'content-type': 'application/json', accept: 'application/json', origin: base.slice(0, -1) };
    const res = await fetchAll('h2', `${base}.sallyport/pico/below/f`, { method: 'POST', client, headers, data: '{"args":["planted-0815"],"kwargs":{"a":1}}' });
    assert.equal(res.status, 200);
    const line = await until('its line', () => p.events_of('pico.call').find((l) => l.device === 'below'));
    assert.deepEqual([line.route, line.args, line.kwargs], ['lan.test', '["planted-0815"]', '{"a":1}']);
    assert.equal((await client.get(`${base}boards`)).status, 302);
    assert.equal((await p.call(p.ann, 'below/f')).status, 200, 'boards belong to all hosts that have them');
    below.stop();
  });

  it('boards are in the log when they come, go, and register what they may not', async () => {
    await p.add('picky', 'allowed,also');
    const board = p.start('picky', { allowed: () => 1, other: () => 2, 'anvil.private.echo': () => 3, 'a:b': () => 4, ['x'.repeat(129)]: () => 5, '<script>alert(1)</script>': () => 6 });
    await board.online();
    await p.seen('picky', { functions: ['allowed'] });
    assert.deepEqual((await p.list()).find((b) => b.name === 'picky').functions, [{ name: 'allowed', online: true }]);
    for (const f of ['other', 'anvil.private.echo', 'a:b', 'x'.repeat(129)]) assert.equal((await p.call(p.ann, `picky/${encodeURIComponent(f)}`)).status, 404, f);
    assert.equal(board.calls.length, 0);
    assert.equal(board.sessions.length, 1, 'the board is not told: it would come again and again');
    board.drop();
    board.stop();
    await p.seen('picky', { online: false, functions: [] });
    const lines = p.gateway.lines().filter((l) => l.device === 'picky');
    assert.deepEqual(lines.filter((l) => l.event === 'pico.registered').map((l) => l.function), ['allowed']);
    const refused = lines.filter((l) => l.event === 'pico.name_refused');
    assert.ok(refused.length >= 1 && refused.every((l) => l.reason === 'uplink.name' && l.level === 'warn'), JSON.stringify(refused));
    assert.equal(lines.filter((l) => l.event === 'pico.login').length, 1);
    const [closed] = lines.filter((l) => l.event === 'pico.closed');
    assert.equal(closed.names_refused, 5, JSON.stringify(closed));
    assert.equal(closed.reason, 'uplink.closed');
    assert.ok(!p.gateway.notJson().length);
  });

  it('the line of a link in the access log is written at its end, and says where it was', async () => {
    const board = await p.board('short-lived', { f: () => 1 });
    for (let i = 0; i < 200; i++) await p.result(p.ann, 'lamp/flash', ['x'.repeat(i * 10)]); // what was its buffer is somebody else's now
    board.drop();
    board.stop();
    const mine = (l) => l.client === board.options.localAddress;
    const line = await until('the line', () => p.gateway.access().find(mine));
    assert.deepEqual([line.method, line.host, line.path, line.status], ['GET', HOST, '/uplink', 101]);
    const strange = p.gateway.access().filter((l) => l.status === 101 && !/^(\/boards)?(\/_)?\/uplink$/.test(l.path));
    assert.deepEqual(strange, []);
  });

  it('metrics', async () => {
    const metrics = async () => Object.fromEntries(await Promise.all(['links_open', 'links_total', 'logins_refused_total', 'calls_total', 'calls_failed_total'].map(async (m) => [m, await p.gateway.metric(`pico_${m}`)])));
    const before = await metrics();
    assert.equal(before.links_open, p.boards.filter((b) => !b.stopped && b.session.loggedIn && !b.session.ending).length);
    assert.ok(before.logins_refused_total >= 600);
    await p.result(p.ann, 'lamp/flash');
    await p.call(p.ann, 'lamp/fail');
    await p.board('counted', { f: () => 1 });
    const after = await metrics();
    assert.deepEqual(Object.fromEntries(Object.keys(after).map((k) => [k, after[k] - before[k]])), { links_open: 1, links_total: 1, logins_refused_total: 0, calls_total: 2, calls_failed_total: 1 });
  });
});
