// SPDX-License-Identifier: GPL-3.0-or-later
// The file of boards from the gateway's side: a key whose grace is over, a file that is damaged when the gateway starts.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { closeSessions } from './rig/exchange.mjs';
import { PicoStage } from './rig/pico.mjs';
import { sleep, until } from './rig/world.mjs';

describe('the file of boards', () => {
  let p;
  before(async () => { p = await PicoStage.start('pico-devices'); });
  after(() => { closeSessions(); return p?.close(); });

  it('a link ends when the grace of its key does, with nobody changing anything', async () => {
    const board = await p.board('lamp', { f: () => 1 });
    const begun = Date.now();
    const next = PicoStage.keyIn(await p.must('rotate', 'lamp', '--grace', '3s'));
    await sleep(1000);
    assert.equal(await p.result(p.ann, 'lamp/f'), 1);
    assert.equal(board.sessions.length, 1);
    await board.sessions[0].over;
    const ms = Date.now() - begun;
    assert.ok(ms > 2000 && ms < 6000, `${ms} ms`);
    await until('the next login', () => board.sessions.at(-1).reply?.error, { ms: 5000, every: 5 });
    assert.equal(board.sessions.at(-1).reply.error, 'Incorrect uplink key');
    board.stop();
    const fresh = p.start('lamp', { f: () => 2 }, { key: next });
    await fresh.online();
    await p.seen('lamp', { functions: ['f'] });
    assert.equal(await p.result(p.ann, 'lamp/f'), 2);
    fresh.stop();
  });

  it('damaged at the start: everything but boards is served, and boards from when it is mended', async () => {
    const file = `${p.gateway.state}/devices.json`;
    await p.add('door');
    const good = readFileSync(file);
    writeFileSync(file, `${good}oops`);
    await p.gateway.restart();
    const denied = await p.pico('list');
    assert.notEqual(denied.code, 0);
    assert.match(denied.stderr, /devices\.json: line \d+, column \d+: /);
    assert.deepEqual(await p.list(), []);
    const board = p.start('door', { f: () => 1 });
    await until('a refusal', () => board.sessions.some((s) => s.reply?.error), { every: 5 });
    await until('the log', () => p.events_of('pico.devices').some((l) => l.level === 'error' && /devices\.json: line/.test(l.detail)));
    writeFileSync(file, good);
    await p.seen('door', { functions: ['f'] });
    assert.equal(await p.result(p.ann, 'door/f'), 1);
    board.stop();
  });
});
