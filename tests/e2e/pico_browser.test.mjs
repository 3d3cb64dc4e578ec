// SPDX-License-Identifier: GPL-3.0-or-later
// People in Chromium and boards that come and go under their calls: what they see, whom they reach, and what other sites' pages may not do.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { oidcSignIn, screenshot } from './rig/browser.mjs';
import { PicoStage, held } from './rig/pico.mjs';
import { until } from './rig/world.mjs';

const SCRIPT = '<script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">';

describe('calls of boards in a browser', () => {
  let p;
  let ann;
  let bob;
  let lamp;
  const wait = held();
  const alarms = [];
  before(async () => {
    p = await PicoStage.start('pico-browser', { users: ['ann'] });
    lamp = await p.board('lamp', {
      flash: (pico, text) => `flashed ${text}`, who: (pico) => pico.email(), divide: () => { throw new Error('divide by zero'); }, hold: wait,
      secret: () => 'for staff', [SCRIPT.replaceAll('/', '|')]: () => SCRIPT, bad: () => { throw new Error(SCRIPT); },
    });
    await p.board('twin', { flash: (pico, text) => `the other flashed ${text}` });
    [ann, bob] = await Promise.all(['ann', 'bob'].map(visitor));
  });
  after(() => p?.close());

  const visitor = async (user) => {
    const context = await (await p.stage.browser()).visitor();
    const page = await context.newPage();
    page.on('dialog', (d) => { alarms.push(d.message()); return d.dismiss(); });
    page.on('pageerror', (e) => alarms.push(String(e)));
    await page.goto(p.url('/')); // the route leads to the login, and then to the page
    await oidcSignIn(page, user);
    await page.waitForURL(p.url('/.sallyport/pico/'));
    await page.waitForSelector('#live[data-state=live]');
    return page;
  };
  const board = (page, name) => page.locator('.board', { has: page.locator(`h2 bdi:text-is("${name}")`) });
  const fn = (page, device, name) => board(page, device).locator('.function', { has: page.locator(`bdi:text-is("${name}")`) });
  const press = async (page, device, name, args) => {
    if (args !== undefined) await fn(page, device, name).locator('.args').fill(args);
    await fn(page, device, name).locator('button').click();
  };
  const outcome = async (page, device, name, text) => {
    await fn(page, device, name).locator(`.outcome:has-text(${JSON.stringify(text)})`).waitFor();
    return fn(page, device, name).locator('.answer').innerText();
  };

  it('log in, call, see the answer, and the error', async () => {
    await press(ann, 'lamp', 'flash', '"SOS"');
    await outcome(ann, 'lamp', 'flash', 'flashed SOS');
    await press(ann, 'lamp', 'who');
    await outcome(ann, 'lamp', 'who', 'ann@example.com');
    await press(ann, 'lamp', 'divide');
    assert.match(await outcome(ann, 'lamp', 'divide', 'divide by zero'), /The function failed/);
    await screenshot(ann, 'pico-calls');
  });

  it('two boards with one function: each is called where its button stands', async () => {
    await press(ann, 'twin', 'flash', '"hi"');
    await outcome(ann, 'twin', 'flash', 'the other flashed hi');
    await outcome(ann, 'lamp', 'flash', 'flashed SOS');
  });

  it('another user sees less, and is refused when they ask all the same', async () => {
    assert.deepEqual(await bob.locator('.function bdi').allTextContents(), ['flash', 'hold', 'who']);
    await press(bob, 'lamp', 'who');
    await outcome(bob, 'lamp', 'who', 'bob@example.org');
    const n = lamp.calls.length;
    const ask = (what) => bob.evaluate(async (path) => {
      const r = await fetch(`/.sallyport/pico/${path}`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{}' });
      return [r.status, (await r.json()).error.type];
    }, what);
    assert.deepEqual(await ask('lamp/secret'), [403, 'policy.denied']);
    assert.deepEqual(await ask('twin/flash'), [403, 'policy.denied']);
    assert.equal((await ask('any/secret'))[0], 403);
    assert.equal(lamp.calls.length, n);
  });

  it('pages of other sites call nothing, although the browser has the cookie', async () => {
    const n = lamp.calls.length;
    const page = await ann.context().newPage();
    await page.goto(p.stage.url('open.test', '/echo'));
    const tried = await page.evaluate(async (url) => {
      const json = { 'Content-Type': 'application/json' };
      const all = [{ method: 'POST', headers: json, body: '{}' }, { method: 'POST', mode: 'no-cors', body: '{}' }, { method: 'POST', body: '{}' }, { method: 'GET' }];
      return Promise.all(all.map((o) => fetch(url, { credentials: 'include', ...o }).then((r) => r.type, (e) => e.name)));
    }, p.url('/.sallyport/pico/lamp/flash'));
    assert.deepEqual(tried, ['TypeError', 'opaque', 'TypeError', 'TypeError']);
    await page.setContent(`<form method="post" enctype="text/plain" action="${p.url('/.sallyport/pico/lamp/flash')}"><input name='{"args":["x' value='"]}'><button>go</button></form>`);
    await Promise.all([page.waitForNavigation(), page.click('button')]);
    assert.doesNotMatch(await page.content(), /flashed/);
    await page.close();
    assert.equal(lamp.calls.length, n);
  });

  it('script in every string is shown as text', async () => {
    const name = SCRIPT.replaceAll('/', '|');
    assert.ok((await ann.locator('.function bdi').allTextContents()).includes(name));
    const strange = ann.locator('.function').filter({ hasText: 'owned' }).first();
    await strange.locator('button').click();
    await strange.locator('.outcome').waitFor();
    await press(ann, 'lamp', 'bad');
    assert.ok((await outcome(ann, 'lamp', 'bad', 'The function failed')).includes(SCRIPT));
    assert.doesNotMatch(await ann.title(), /owned/);
    assert.equal(await ann.locator('#boards img, #boards script').count(), 0);
    assert.deepEqual(alarms, []);
  });

  it('the board drops in mid-call: said at once, and the page follows it out and in', async () => {
    await press(ann, 'lamp', 'hold');
    await wait.arrived(1);
    lamp.options.retry = 2000;
    lamp.drop();
    assert.match(await outcome(ann, 'lamp', 'hold', 'No answer'), /connection to the board broke/);
    await board(ann, 'lamp').locator('.state:text-is("Offline")').waitFor();
    await board(bob, 'lamp').locator('.state:text-is("Offline")').waitFor();
    await board(ann, 'lamp').locator('.state:text-is("Online")').waitFor();
    wait.calls[0].answer('of the old link');
    await press(ann, 'lamp', 'hold');
    await wait.arrived(2);
    wait.calls[1].answer('of the new link');
    await outcome(ann, 'lamp', 'hold', 'of the new link');
  });

  it('the board is revoked while the page is open', async () => {
    await p.must('revoke', 'twin');
    await board(ann, 'twin').locator('.state:text-is("Not available any more")').waitFor();
    await press(ann, 'twin', 'flash', '"x"');
    await outcome(ann, 'twin', 'flash', 'Not there');
  });

  it('logout in mid-call: the page says so, the board is told of nobody', async () => {
    await press(ann, 'lamp', 'hold');
    await wait.arrived(3);
    const tab = await ann.context().newPage();
    await tab.goto(p.url('/.sallyport/logout'));
    await tab.click('button[type=submit]');
    await tab.waitForSelector('text=Signed out');
    const email = wait.calls[2].pico.email();
    assert.equal(await email, null);
    await outcome(ann, 'lamp', 'hold', 'Signed out');
    wait.calls[2].answer('for nobody');
    const n = lamp.calls.length;
    await press(ann, 'lamp', 'flash', '"again"');
    await outcome(ann, 'lamp', 'flash', 'Signed out');
    assert.equal(lamp.calls.length, n);
    await until('bob to be served', async () => { await press(bob, 'lamp', 'who'); return outcome(bob, 'lamp', 'who', 'bob@example.org'); });
    assert.deepEqual(alarms, []);
  });
});
