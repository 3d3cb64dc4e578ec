// SPDX-License-Identifier: GPL-3.0-or-later
// Headless Chromium, as Debian packages it, driven by playwright-core.
import { mkdirSync } from 'node:fs';
import { chromium } from 'playwright-core';

const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage', '--host-resolver-rules=MAP *.test 127.0.0.1,MAP localhost 127.0.0.1'];

const shots = process.env.E2E_SCREENSHOTS;

export async function startBrowser(world) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: FLAGS, timeout: 60000,
    env: { ...process.env, HOME: world.mkdir('home'), TZ: 'UTC' },
  });
  world.onClose(() => browser.close());
  return {
    // A fresh visitor: nobody's cookies.
    async visitor(options = {}) {
      const context = await browser.newContext({ ignoreHTTPSErrors: true, locale: 'en-GB', ...options });
      context.setDefaultTimeout(20000);
      return context;
    },
    close: () => browser.close(),
  };
}

// A picture for people, into the folder E2E_SCREENSHOTS when it is given.
export async function screenshot(page, name) {
  if (!shots) return;
  mkdirSync(shots, { recursive: true });
  await page.screenshot({ path: `${shots}/${name}.png`, fullPage: true });
}

export async function samlSignIn(page, user, password = `${user}-pw`) {
  await page.waitForSelector('input[name=username]');
  await page.fill('input[name=username]', user);
  await page.fill('input[name=password]', password);
  await page.click('button[type=submit], input[type=submit]');
}

export async function oidcSignIn(page, user, password = `${user}-pw`) {
  await page.waitForSelector('input[name=login]');
  await page.fill('input[name=login]', user);
  await page.fill('input[name=password]', password);
  await page.click('button[type=submit]');
}
