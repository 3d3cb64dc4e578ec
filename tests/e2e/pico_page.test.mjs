// SPDX-License-Identifier: GPL-3.0-or-later
// The page of boards in a browser: calling, watching boards come and go, and what hostile boards put on it.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { oidcSignIn, screenshot } from './rig/browser.mjs';
import { PicoStage, held } from './rig/pico.mjs';

const EVIL = '<img src=x onerror=alert(1)>"\'&\u001b[31m';

describe('the page of boards', () => {
  let p;
  let page;
  const alarms = [];
  const slow = held();
  before(async () => {
    p = await PicoStage.start('pico_page', { users: ['ann'], workers: 2, pico: { timeouts: { slow: '3s', twin: '60s', stay: '60s' } } });
    await p.board('lamp', {
      echo: (pico, ...args) => ({ args, kwargs: pico.kwargs }), fail() { throw new Error(EVIL); }, text: () => EVIL, slow, none: () => null,
    });
    page = await open();
  });
  after(() => p?.close());

  async function open(user = 'ann', options = {}) {
    const context = await (await p.stage.browser()).visitor({ ...options });
    const one = await context.newPage();
    one.on('pageerror', (e) => alarms.push(`${e}`));
    one.on('dialog', (d) => { alarms.push(d.message()); return d.dismiss(); });
    one.on('console', (m) => { if (/Content.Security.Policy|TrustedHTML/i.test(m.text())) alarms.push(m.text()); });
    await one.goto(p.url('/.sallyport/pico/'));
    await oidcSignIn(one, user);
    await one.waitForSelector('h1:has-text("Boards")');
    if (options.javaScriptEnabled !== false) await live(one);
    return one;
  }

  const live = (one = page) => one.waitForSelector('#live[data-state=live]', { timeout: 30000 });
  const names = (one = page) => one.locator('.function bdi').allTextContents();
  const fn = (name, one = page) => one.locator('.function', { has: one.locator(`bdi:text-is("${name}")`) });
  async function call(name, args = '') {
    await fn(name).locator('.args').fill(args);
    await fn(name).locator('button').click();
    await fn(name).locator('.outcome').waitFor();
    await page.waitForFunction(() => !document.querySelector('.running'));
    return fn(name).locator('.answer').innerText();
  }

  it('a function is called with what was typed, and its answer is shown', async () => {
    assert.deepEqual(await names(), ['echo', 'fail', 'none', 'slow', 'text']);
    await fn('echo').locator('summary').click();
    await fn('echo').locator('.kwargs').fill('{"name": [true]}');
    const text = await call('echo', '21, “text”, 9007199254740993');
    assert.match(text, /Answer/);
    assert.match(text, /\d+ ms/);
    for (const part of ['21', '"text"', '9007199254740993', '"name"']) assert.ok(text.includes(part), text);
    assert.match(await call('none'), /gave nothing back/);
    await screenshot(page, 'pico-page');
  });

  it('what is no JSON is not sent: the page says how it is written', async () => {
    const calls = p.boards[0].calls.length;
    assert.match(await call('echo', 'hello'), /Texts stand in double quotes/);
    assert.match(await call('echo', '1],"kwargs":{},"x":[2'), /Not called/);
    assert.equal(p.boards[0].calls.length, calls);
    assert.equal(await fn('echo').locator('.args').getAttribute('aria-invalid'), 'true');
  });

  it('answers and errors of a hostile board are text', async () => {
    const shown = EVIL.replace('\u001b', '\u241b');
    assert.ok((await call('text')).includes(shown));
    const failed = await call('fail');
    assert.ok(failed.includes('The function failed') && failed.includes(shown), failed);
    assert.equal(await page.locator('.boards img').count(), 0);
    assert.deepEqual(alarms, []);
  });

  it('several calls at once; the one that takes too long says so', async () => {
    await fn('slow').locator('button').click();
    await page.waitForSelector('.function.running');
    assert.match(await fn('slow').locator('button').innerText(), /Calling/);
    await fn('none').locator('button').click();
    await fn('none').locator('.outcome').waitFor();
    await slow.arrived(1);
    assert.match(await fn('slow').locator('button').innerText(), /Calling/);
    await fn('slow').locator('.outcome.bad').waitFor({ timeout: 10000 });
    assert.match(await fn('slow').locator('.answer').innerText(), /took too long/);
  });

  it('boards come and go while somebody types', async () => {
    await fn('slow').locator('.args').fill('[1, ');
    await fn('slow').locator('.args').focus();
    const other = await p.board('attic', { fan: () => 1 });
    await fn('fan').waitFor();
    assert.equal((await names())[0], 'fan', 'in the order of names');
    const state = page.locator('.board', { has: page.locator('h2 bdi:text-is("attic")') }).locator('.state');
    assert.equal(await state.innerText(), 'Online');
    other.stop();
    await page.waitForFunction(() => document.querySelector('.board .state').textContent === 'Offline', null, { timeout: 15000 });
    assert.match(await call('fan'), /not connected/);
    await p.must('revoke', 'attic');
    await page.waitForFunction(() => document.querySelector('.board .state').textContent === 'Not available any more', null, { timeout: 15000 });
    assert.equal(await fn('slow').locator('.args').inputValue(), '[1, ');
  });

  it('two boards with one function, and one of them goes in mid-call: each call has the answer of its board', async () => {
    const [hold, other] = [held(), held()];
    const gone = await p.board('twin-a', { twin: hold }, { again: false });
    await p.board('twin-b', { twin: other });
    const of = (name) => page.locator('.board', { has: page.locator(`h2 bdi:text-is("${name}")`) }).locator('.function');
    for (const name of ['twin-a', 'twin-b']) {
      await of(name).locator('.args').fill(`"${name}"`);
      await of(name).locator('button').click();
    }
    await hold.arrived(1);
    await other.arrived(1);
    assert.deepEqual([hold.calls[0].args, other.calls[0].args], [['twin-a'], ['twin-b']]);
    gone.drop();
    await of('twin-a').locator('.outcome.bad').waitFor();
    assert.match(await of('twin-a').locator('.answer').innerText(), /No answer[^]*broke before it answered/);
    assert.match(await of('twin-b').locator('button').innerText(), /Calling/);
    other.calls[0].answer('still here');
    await of('twin-b').locator('.outcome.good').waitFor();
    assert.match(await of('twin-b').locator('.answer').innerText(), /still here/);
    for (const name of ['twin-a', 'twin-b']) await p.must('revoke', name);
    await page.waitForFunction(() => document.querySelectorAll('.board .state.on').length === 1, null, { timeout: 15000 });
  });

  it('others see what they may use, and without a script it is a list', async () => {
    const bob = await open('bob', { javaScriptEnabled: false });
    assert.deepEqual(await names(bob), []);
    assert.match(await bob.locator('#none').innerText(), /No board is connected that you may use/);
    await bob.context().close();
    const ann = await open('ann', { javaScriptEnabled: false });
    assert.deepEqual(await names(ann), ['echo', 'fail', 'none', 'slow', 'text']);
    assert.equal(await ann.locator('.function button').count(), 0);
    await ann.context().close();
  });

  it('the end of the session is said, what was typed stays, and after a login in another tab it goes on', async () => {
    const stay = held();
    await p.board('late', { stay });
    await fn('stay').locator('button').click();
    await stay.arrived(1);
    await fn('slow').locator('.args').fill('"kept"');
    const tab = await page.context().newPage();
    await tab.goto(p.url('/.sallyport/logout'));
    await tab.click('button[type=submit]');
    await tab.waitForSelector('text=Signed out');
    await fn('stay').locator('.outcome.bad').waitFor(); // the call that was under way
    assert.match(await fn('stay').locator('.answer').innerText(), /Signed out[^]*Please sign in again/);
    stay.calls[0].answer('for nobody');
    await page.waitForSelector('#live[data-state=out]', { timeout: 30000 });
    assert.match(await page.locator('#live').innerText(), /Please sign in again/);
    assert.match(await call('none'), /Please sign in again/);
    assert.equal(await fn('slow').locator('.args').inputValue(), '"kept"');
    const [again] = await Promise.all([page.context().waitForEvent('page'), page.locator('#live a').click()]);
    await again.waitForLoadState();
    if (await again.locator('input[name=login]').count()) await oidcSignIn(again, 'ann');
    await live(again);
    await again.close();
    await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
    await live();
    assert.match(await call('none'), /gave nothing back/);
    assert.deepEqual(alarms, []);
  });

  it('a gateway that comes back is found again', async () => {
    await p.gateway.stop();
    await page.waitForSelector('#live[data-state=lost]');
    await p.gateway.start();
    await live();
    assert.match(await call('none'), /gave nothing back/);
  });
});
