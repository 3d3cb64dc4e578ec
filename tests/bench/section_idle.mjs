// SPDX-License-Identifier: GPL-3.0-or-later
// Connections that have had one answer and are silent since: their memory, and whether others notice them.
import path from 'node:path';
import { h2load } from './load.mjs';
import { rss } from './proc.mjs';
import { fixed, progress, range } from './report.mjs';
import { rounds, spread } from './rounds.mjs';
import { sleep } from './world.mjs';

const ADDRESSES = 100;
const BUSY = 100;

// Opens `count` idle connections, runs `f`, and makes sure that they were still open at its end.
async function withIdle(stage, system, count, f) {
  const client = stage.world.conversation(path.join(stage.tools, 'bench-tls-client'),
    ['hold', system.port, system.host, count, ADDRESSES, '/1k', system.cookie ?? 'none=1'].map(String));
  const held = await client.line(120000);
  if (held !== `held ${count}`) throw new Error(`${system.label}: ${held}`);
  await sleep(500);
  const result = await f();
  client.child.stdin.end();
  const closed = await client.line(10000);
  await client.exited;
  if (closed !== 'closed 0') throw new Error(`${system.label}: of ${count} idle connections it ${closed}`);
  await sleep(1000); // it has to notice that they are gone
  return result;
}

async function memory(stage, system, count) {
  const before = rss(system.pid);
  const during = await withIdle(stage, system, count, async () => rss(system.pid));
  return { before, during, each: (during - before) / count };
}

// Closed loop: each connection asks again at once. Paced: 20 requests a second each, so that the machine has time to spare.
async function busy(stage, system, seconds) {
  const closed = await h2load(stage.world, system, '/1k', { connections: BUSY, seconds, warmUp: 1, protocol: 'h1' });
  const paced = await h2load(stage.world, system, '/1k', { connections: BUSY, seconds, warmUp: 1, protocol: 'h1', rps: 20 });
  system.emptyLogs();
  return { closed: closed.p99, paced: paced.p99 };
}

async function latency(stage, report, system, count, { n, seconds }) {
  const without = [];
  const among = [];
  for (let i = 0; i < n; i++) {
    progress(`100 busy connections, ${system.label}, round ${i + 1}/${n}`);
    without.push(await busy(stage, system, seconds));
    among.push(await withIdle(stage, system, count, () => busy(stage, system, seconds)));
  }
  const of = (list, key) => spread(list.map((r) => r[key]));
  const name = fixed(count, 0);
  report.line(`p99 of ${BUSY} busy connections of ${system.label}, ${n} rounds of ${seconds} s in turn, medians, ms:`);
  report.table(['', 'alone (min-max)', `among ${name} idle (min-max)`], [
    ['as fast as it goes', range(of(without, 'closed'), 2), range(of(among, 'closed'), 2)],
    ['20 requests/s on each', range(of(without, 'paced'), 2), range(of(among, 'paced'), 2)],
  ]);
  for (const [key, what] of [['closed', 'as fast as it goes'], ['paced', '20 requests/s on each']]) {
    report.bar(`p99 of ${BUSY} busy connections among ${name} idle ones, ${what}, against alone`, of(among, key).median / of(without, key).median, 'most', 1.2, 'x');
  }
  report.endOfBars();
}

export async function idle(stage, report, { quick }) {
  const count = quick ? 2000 : 10000;
  const list = [await stage.nginx(), await stage.mellon(), await stage.sallyport()];
  const sallyport = list[2];
  report.section('Idle connections');
  report.line(`${fixed(count, 0)} TLS connections from ${ADDRESSES} addresses, each after one request for 1 KiB over HTTP/1.1; resident memory of all processes of a system. Apache httpd is the one with mod_auth_mellon.`);
  const results = await rounds(list, 1, (s) => memory(stage, s, count), (t) => progress(`idle connections: ${t}`));
  const kib = (s) => results.get(s).each.median / 1024;
  report.table(['', 'before MiB', 'with them MiB', 'KiB for each'], list.map((s) => [s.label, fixed(results.get(s).before.median / 1024 ** 2), fixed(results.get(s).during.median / 1024 ** 2), fixed(kib(s))]));
  report.bar('Memory of one idle connection', kib(sallyport), 'most', 20, ' KiB', 1);
  report.endOfBars();
  await latency(stage, report, sallyport, count, quick ? { n: 3, seconds: 1 } : { n: 5, seconds: 4 });
}
