// SPDX-License-Identifier: GPL-3.0-or-later
// TLS handshakes alone: how many one second of CPU is good for.
import path from 'node:path';
import { cpuSeconds } from './proc.mjs';
import { fixed, progress, range } from './report.mjs';
import { rounds } from './rounds.mjs';

const THREADS = 4;
const KINDS = [['1.3', 'full'], ['1.3', 'resumed'], ['1.2', 'full'], ['1.2', 'resumed']];

async function measure(stage, system, version, kind, seconds) {
  const before = cpuSeconds(system.pid);
  const run = JSON.parse(await stage.world.tool(path.join(stage.tools, 'bench-tls-client'),
    ['handshakes', system.port, system.host, version, kind, seconds, THREADS].map(String)));
  const cpu = cpuSeconds(system.pid) - before;
  if (run.failed || !run.done) throw new Error(`${system.label}: ${run.failed} of ${run.done} handshakes failed`);
  const wrong = kind === 'full' ? run.resumed : run.done - run.resumed;
  if (wrong) throw new Error(`${system.label}: ${wrong} of ${run.done} handshakes of TLS ${version} were not ${kind}`);
  return { rate: (run.done + run.extra) / cpu, us: cpu * 1e6 / (run.done + run.extra) };
}

export async function handshakes(stage, report, { quick }) {
  const [n, seconds] = quick ? [3, 1] : [5, 4];
  const list = [await stage.nginx(), await stage.sallyport()];
  report.section('TLS handshakes');
  report.line(`Full ones by a client without sessions, resumed ones each with the ticket of the one before; ${THREADS} connections at a time, ${n} interleaved rounds of ${seconds} s, medians. ${await stage.sameTls(list)}.`);
  const rows = [];
  const bars = [];
  for (const [version, kind] of KINDS) {
    const title = `TLS ${version}, ${kind}`;
    const results = await rounds(list, n, (s) => measure(stage, s, version, kind, seconds), (t) => progress(`${title}: ${t}`));
    for (const s of list) rows.push([`${title}, ${s.label}`, range(results.get(s).rate, 0), fixed(results.get(s).us.median)]);
    const [nginx, sallyport] = list.map((s) => results.get(s).rate.median);
    bars.push([kind, `${title}: handshakes per CPU second against nginx`, sallyport / nginx]);
  }
  report.table(['', 'per CPU second (min-max)', 'us each'], rows);
  for (const [kind, text, ratio] of bars) {
    if (kind === 'full') report.bar(text, ratio, 'least', 1.0, 'x');
    else report.note(`${text} (each of them was resumed)`, ratio, 'x');
  }
  report.endOfBars();
}
