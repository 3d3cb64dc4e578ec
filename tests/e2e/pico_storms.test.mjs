// SPDX-License-Identifier: GPL-3.0-or-later
// Boards and strangers who come again and again, as fast as they can. What they are told, what the log hears of them, and what becomes of others.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { chownSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import { TEXT } from './rig/board.mjs';
import { closeSessions } from './rig/exchange.mjs';
import { HOST, PicoStage } from './rig/pico.mjs';
import { sleep, until } from './rig/world.mjs';

const LOGGED = 20; // LIMIT_PICO_LINKS_LOGGED

const masked = (opcode, payload) => {
  const data = Buffer.from(payload);
  const head = data.length < 126 ? Buffer.from([0x80 | opcode, 0x80 | data.length]) : Buffer.from([0x80 | opcode, 0xfe, data.length >> 8, data.length & 255]);
  return Buffer.concat([head, Buffer.alloc(4), data]); // a mask of zeros is one
};
const message = (m) => masked(TEXT, JSON.stringify(m));
const upgrade = (version = 13, more = '') => Buffer.from(`GET /uplink HTTP/1.1\r\nHost: ${HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\nSec-WebSocket-Version: ${version}\r\n${more}\r\n`);

describe('storms of boards', () => {
  let p;
  before(async () => {
    p = await PicoStage.start('pico-storms', { setup: async (stage) => { stage.plainPort = await stage.world.port(); }, pico: { plain_networks: ['2001:db8::/32'] }, config: { trusted_proxies: ['127.0.6.1/32'] } });
    await p.board('lamp', { flash: (pico, x) => `flashed ${x}` });
  });
  after(() => { closeSessions(); return p?.close(); });

  // Says it all in one packet; gives what was answered until the end, or until `enough`.
  const say = (bytes, localAddress, enough = () => false) => new Promise((resolve) => {
    let got = '';
    const s = net.connect({ port: p.stage.plainPort, host: '127.0.0.1', localAddress, noDelay: true }, () => s.write(bytes));
    s.setTimeout(5000, () => s.destroy());
    s.on('error', () => {}).on('close', () => resolve(got));
    s.on('data', (d) => { got += d.toString('latin1'); if (enough(got)) s.destroy(); });
  });
  // Many times, some at once.
  const storm = async (times, f) => {
    let n = 0;
    await Promise.all(Array.from({ length: 10 }, async () => { while (n++ < times) await f(); }));
  };
  const linesDuring = async (f) => {
    const before = p.gateway.lines().length;
    await f();
    await sleep(300);
    return p.gateway.lines().slice(before);
  };
  const loud = (lines, event) => lines.filter((l) => l.event === event && l.level !== 'debug').length;

  it('a board that logs in, registers and leaves in a loop does not fill the log', async () => {
    const key = await p.add('mad');
    const names = Array.from({ length: 64 }, (_, i) => message({ type: 'REGISTER', name: `${'f'.repeat(100)}${i}` }));
    const all = Buffer.concat([upgrade(), message({ key, v: 7, device: 'PICO_W' }), ...names, message({ type: 'CALL', id: 'done', command: 'anvil.private.echo', args: [] })]);
    const links = 200;
    const lines = await linesDuring(() => storm(links, () => say(all, '127.0.5.1', (got) => got.includes('"done"'))));
    const most = LOGGED * p.gateway.config.workers;
    assert.ok(loud(lines, 'pico.login') >= LOGGED);
    assert.ok(loud(lines, 'pico.login') <= most, `${loud(lines, 'pico.login')} logins`);
    assert.ok(loud(lines, 'pico.registered') <= most * 64, `${loud(lines, 'pico.registered')} registrations`);
    assert.ok(loud(lines, 'pico.closed') <= most, `${loud(lines, 'pico.closed')} ends`);
    assert.ok(lines.filter((l) => l.event === 'pico.login').length >= links, 'the others are there for whoever wants to know more');
    assert.equal(await p.result(p.ann, 'lamp/flash', ['x']), 'flashed x');
  });

  it('strangers who break the protocol in a loop do not fill it either, and are refused before the upgrade in the end', async () => {
    const bad = Buffer.concat([upgrade(), Buffer.alloc(100, 0xff)]);
    const answers = [];
    const lines = await linesDuring(() => storm(600 * p.gateway.config.workers + 100, async () => answers.push(await say(bad, '127.0.5.2'))));
    assert.ok(loud(lines, 'pico.closed') >= LOGGED);
    assert.ok(loud(lines, 'pico.closed') <= LOGGED * p.gateway.config.workers, `${loud(lines, 'pico.closed')} ends`);
    assert.match(answers[0], /^HTTP\/1\.1 101 /);
    assert.ok(answers.some((a) => a.startsWith('HTTP/1.1 429 ')), 'one of the workers has had enough');
    assert.match(await say(bad, '127.0.5.3'), /^HTTP\/1\.1 101 /, 'others are not');
  });

  it('all addresses of one IPv6 customer are one', async () => {
    const from = (address) => say(Buffer.concat([upgrade(13, `X-Forwarded-For: ${address}\r\nX-Forwarded-Proto: http\r\n`), Buffer.alloc(100, 0xff)]), '127.0.6.1');
    const statuses = new Set();
    let n = 0;
    await storm(600 * p.gateway.config.workers + 100, async () => { n += 1; statuses.add((await from(`2001:db8:0:1:${n.toString(16)}::1`)).slice(9, 12)); });
    assert.deepEqual([...statuses].sort(), ['101', '429']);
    assert.match(await from('2001:db8:0:2::1'), /^HTTP\/1\.1 101 /, 'the neighbour is another one');
  });

  it('what comes behind an upgrade that is refused is no request', async () => {
    const answer = await say(Buffer.concat([upgrade(8), Buffer.from(`GET /second HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)]), '127.0.5.4');
    assert.match(answer, /^HTTP\/1\.1 426 /);
    assert.deepEqual(answer.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 426']);
    assert.match(answer, /\r\nConnection: close\r\n/i);
    assert.equal(p.gateway.access().filter((l) => l.path === '/second').length, 0);
  });

  it('without TLS through a proxy: from where the proxy says, and from nowhere when it says nothing', async () => {
    const status = async (address, more) => Number((await say(upgrade(13, more), address, (got) => got.includes('\r\n\r\n'))).slice(9, 12));
    assert.equal(await status('127.0.6.1', ''), 403);
    assert.equal(await status('127.0.6.1', 'X-Forwarded-Proto: http\r\n'), 403);
    assert.equal(await status('127.0.6.1', 'X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n'), 403);
    assert.equal(await status('127.0.6.1', 'X-Forwarded-For: 127.0.0.9, 192.0.2.1\r\nX-Forwarded-Proto: http\r\n'), 403, 'the client said the first one');
    assert.equal(await status('127.0.6.1', 'X-Forwarded-For: 127.0.0.9\r\nX-Forwarded-Proto: http\r\n'), 101);
    assert.equal(await status('127.0.6.2', 'X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n'), 101, 'whoever is no proxy is not believed');
  });

  // Each link knows its device in the table of its login, and each board that is added makes another table.
  it('boards that are added one after the other, and connect: a link costs no table', async () => {
    const file = `${p.gateway.state}/devices.json`;
    const text = readFileSync(file, 'utf8');
    const { version, devices } = JSON.parse(text);
    const keys = [];
    const device = (name) => {
      keys.push(randomBytes(24).toString('base64url'));
      return { id: randomBytes(8).toString('hex'), name, created: 1, functions: '*', keys: [{ sha256: createHash('sha256').update(keys.at(-1)).digest('hex'), created: 1 }] };
    };
    const many = Array.from({ length: 4000 }, (_, i) => device(`many-${i}`));
    const tables = () => p.gateway.lines().filter((l) => l.event === 'pico.devices').length;
    const replace = async (t) => {
      const before = tables();
      const { uid } = statSync(file);
      writeFileSync(`${file}.test`, t, { mode: 0o600 });
      chownSync(`${file}.test`, uid, -1);
      renameSync(`${file}.test`, file);
      await until('the table to be read', () => tables() > before, { every: 2 });
    };
    const add = async (name) => { many.push(device(name)); await replace(JSON.stringify({ version, devices: [...devices, ...many] })); };
    const enter = (key) => new Promise((resolve) => {
      const link = net.connect({ port: p.stage.plainPort, host: '127.0.0.1', localAddress: '127.0.5.5' });
      link.on('error', () => {}).on('close', () => resolve(undefined)).on('data', (d) => { if (d.includes('"auth":"OK"')) resolve(link); });
      link.write(Buffer.concat([upgrade(), message({ key, v: 7 })]));
    });
    const links = [];
    for (let i = 0; i < 30; i++) {
      if (i === 5) p.memory = p.gateway.rss(p.pid); // what a new table takes while the old one is there
      await add(`late-${i}`);
      links.push(await until('the new board to be let in', () => enter(keys.at(-1)), { every: 5 }));
    }
    const grown = p.gateway.rss(p.pid) - p.memory;
    for (const link of links) link.destroy();
    await replace(text);
    assert.ok(grown < 25 * 400 * 1024, `${grown >> 10} KiB for 25 links`); // a table takes about 1 MiB
  });

  it('nothing is left of them', async () => {
    await until('the links to end', async () => await p.gateway.metric('pico_links_open') === 1, { ms: 5000 });
    assert.equal(await p.result(p.ann, 'lamp/flash', ['y']), 'flashed y');
  });
});
