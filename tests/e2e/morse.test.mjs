// SPDX-License-Identifier: GPL-3.0-or-later
// The Morse example as it is in examples/morse: its page in a browser, its main.py on its simulated board.
import assert from 'node:assert/strict';
import { copyFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { oidcSignIn, screenshot } from './rig/browser.mjs';
import { Stage } from './rig/stage.mjs';
import { makeLeaf } from './rig/tls.mjs';

const EXAMPLE = fileURLToPath(new URL('../../examples/morse', import.meta.url));
const HOST = 'morse.localhost'; // the simulated board finds names under localhost by itself

// As examples/demo/sallyport.yaml.
const policies = {
  led: [
    { allow: { groups: ['staff'], devices: ['lamp'], functions: ['flash', 'who', 'dark'] } },
    { allow: { groups: ['guests'], functions: ['who'] } },
  ],
};

describe('the Morse example', () => {
  let stage;
  let board;
  const alarms = [];
  const ports = {};

  before(async () => {
    stage = await Stage.start('morse', {
      oidc: { op: {} }, policies,
      setup: async ({ world }) => {
        Object.assign(ports, { app: await world.port(), led: await world.port() });
        await world.start('app', 'python3', [`${EXAMPLE}/app.py`, `${ports.app}`], { port: ports.app });
      },
      routes: () => [
        { host: HOST, backends: [`http://127.0.0.1:${ports.app}`], policy: 'members' },
        { host: HOST, path: '/led', backends: [`http://127.0.0.1:${ports.led}`], policy: 'members' },
        { host: HOST, path: '/boards', pico: {}, policy: 'led' },
      ],
      config: async ({ world, ca, gateway }) => {
        const leaf = await makeLeaf(world, ca, 'morse', ['login.test', '*.test', HOST]);
        return { listen: [{ address: `127.0.0.1:${gateway.port}`, tls: { certificates: [{ cert: leaf.cert, key: leaf.key }] } }] };
      },
    });
    await prepare();
    board = await start();
  });
  after(() => stage?.close());

  // What would be copied onto a Pico W, made as docs/pico.md says.
  async function prepare() {
    const { world, gateway, ca } = stage;
    const dir = world.mkdir('board');
    copyFileSync(`${EXAMPLE}/pico/main.py`, `${dir}/main.py`);
    const der = await world.run('python3', ['-c', 'import ssl, sys\nprint("LETSENCRYPT_ROOT_DER =", ssl.PEM_cert_to_DER_cert(open(sys.argv[1]).read()))', ca.cert]);
    writeFileSync(`${dir}/ca_root.py`, der.stdout);
    const added = await gateway.cli('pico', 'add', 'lamp', '--functions', 'flash,who,dark', '--config', gateway.configFile);
    const [, key] = /^KEY = (".*")$/m.exec(added.stdout) ?? assert.fail(added.stderr);
    const [, url] = /^anvil\.pico\.connect\(KEY, url=(".*")\)$/m.exec(added.stdout) ?? assert.fail(added.stdout);
    writeFileSync(`${dir}/settings.py`, `KEY = ${key}\nURL = ${url}\n`);
  }

  const start = () => stage.world.start('board', 'python3', [`${EXAMPLE}/board.py`, '--led', `${ports.led}`, stage.world.path('board')],
    { port: ports.led, ready: (p) => p.output.includes('Connected') });

  async function open(user, prepared = () => {}) {
    const page = await (await (await stage.browser()).visitor()).newPage();
    page.on('pageerror', (e) => alarms.push(`${e}`));
    page.on('console', (m) => { if (/Content.Security.Policy/i.test(m.text())) alarms.push(m.text()); });
    await prepared(page);
    await page.goto(stage.url(HOST));
    await oidcSignIn(page, user);
    await page.waitForSelector('#flash');
    await connected(page);
    return page;
  }

  const connected = (page, is = true) => page.waitForFunction((text) => document.querySelector('#boards').textContent.includes(text), `lamp is ${is ? '' : 'not '}connected`, { timeout: 15000 });
  async function press(page, button) {
    await page.click(button);
    await page.waitForFunction(() => /good|bad/.test(document.querySelector('#answer').className));
    return page.textContent('#answer');
  }

  // Writes down when the LED on the page changes.
  const record = (page) => page.evaluate(() => {
    window.led = [];
    new MutationObserver(() => window.led.push(document.querySelector('#board').classList.contains('lit')))
      .observe(document.querySelector('#board'), { attributes: true, attributeFilter: ['class'] });
  });
  const flashes = (page, n) => page.waitForFunction((want) => window.led.filter(Boolean).length === want && !window.led.at(-1), n, { timeout: 15000 });

  it('ann flashes: the LED on the page is the board\'s, and the board knows who she is', async () => {
    const page = await open('ann');
    await page.fill('#text', 'Hi!');
    assert.equal(await page.textContent('#morse'), '.... .. -.-.--');
    await page.selectOption('#unit', '60');
    await record(page);
    assert.match(await press(page, '#flash'), /flashes for 2\.2 s\..*you are ann@example\.com/);
    await screenshot(page, 'morse');
    await flashes(page, 12);
    assert.match(board.output, /^ann@example\.com flashes Hi!$/m);
  });

  it('a board that does not tell how its LED is: the page draws what it said that it would do', async () => {
    const page = await open('ann', (p) => p.route('**/led', (route) => route.fulfill({ status: 404 })));
    await page.fill('#text', 'K');
    await page.selectOption('#unit', '60');
    await record(page);
    await press(page, '#flash');
    await flashes(page, 3);
  });

  it('bob may ask who is flashing and is refused when he tries to flash', async () => {
    const [ann, bob] = [await open('ann'), await open('bob')];
    await ann.fill('#text', 'Hello world');
    await press(ann, '#flash');
    assert.match(await press(ann, '#flash'), /busy: ann@example\.com is flashing/);
    assert.match(await press(bob, '#who'), /ann@example\.com is flashing “Hello world”\. The board knows you as bob@example\.org/);
    assert.match(await press(bob, '#flash'), /not allowed/);
    await bob.selectOption('#device', 'lamp');
    assert.match(await press(bob, '#dark'), /not allowed/);
    assert.doesNotMatch(board.output, /bob@example\.org flashes/);
    assert.match(await press(ann, '#dark'), /The LED is off/);
    assert.match(await press(ann, '#who'), /Nobody is flashing/);
  });

  it('the board goes and comes back', async () => {
    const page = await open('ann');
    await board.stop();
    await connected(page, false);
    assert.match(await press(page, '#flash'), /not connected/);
    board = await start();
    await connected(page);
    assert.match(await press(page, '#flash'), /flashes for/);
    assert.deepEqual(alarms, []);
  });
});
