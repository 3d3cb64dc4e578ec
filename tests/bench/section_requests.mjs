// SPDX-License-Identifier: GPL-3.0-or-later
// Requests for 1 KiB: what one costs each system, and how fast it is answered.
import { h2load, wrk } from './load.mjs';
import { cpuSeconds, rss } from './proc.mjs';
import { fixed, mib, progress, range } from './report.mjs';
import { rounds } from './rounds.mjs';

const CONNECTIONS = 32;

// One run of `load` against the system with what it cost: { us, rate, p50, p99, memory }. Every answer came from the application,
// which gives 403 to who is not ann (backend.mjs).
export async function costOf(stage, system, load) {
  const seen = await stage.backend.requests();
  const before = cpuSeconds(system.pid);
  const run = await load(system);
  const cpu = cpuSeconds(system.pid) - before;
  const reached = await stage.backend.requests() - seen - 1;
  if (reached < run.requests) throw new Error(`${system.label}: ${run.requests} answers, but only ${reached} requests reached the application`);
  if (run.bytes < run.requests * 1024) throw new Error(`${system.label}: the answers are too short to be the application's`);
  const memory = rss(system.pid);
  system.emptyLogs(); // an access log of many rounds fills disks
  return { us: cpu * 1e6 / run.requests, rate: run.requests / run.seconds, p50: run.p50, p99: run.p99, memory };
}

const HEAD = ['', 'CPU/request, us (min-max)', 'requests/s', 'p50 ms', 'p99 ms', 'RSS MiB'];
const row = (s, r) => [s.label, range(r.us), fixed(r.rate.median, 0), fixed(r.p50.median, 2), fixed(r.p99.median, 2), mib(r.memory.median)];

async function compare(stage, report, list, title, n, load) {
  progress(`${title}: warming up`);
  for (const s of list) await load(s, 1);
  const results = await rounds(list, n, (s) => costOf(stage, s, load), (t) => progress(`${title}: ${t}`));
  for (const s of list) await stage.check(s);
  report.line(`${title}:`);
  report.table(HEAD, list.map((s) => row(s, results.get(s))));
  return (s) => results.get(s).us.median;
}

export async function requests(stage, report, { quick }) {
  const [n, seconds] = quick ? [3, 1] : [5, 5];
  const [nginx, nginxLog, mellon, openidc, sallyport] = [await stage.nginx(), await stage.nginxLog(), await stage.mellon(), await stage.openidc(), await stage.sallyport()];
  const list = [nginx, nginxLog, mellon, openidc, sallyport];
  report.section('Authenticated requests of 1 KiB');
  const tls = await stage.sameTls(list);
  report.line(`All with ${tls}; ${CONNECTIONS} kept connections, one request at a time on each, ${n} interleaved rounds of ${seconds} s, medians. `
    + 'nginx and Apache httpd write no access log, as they are usually measured; Sallyport always does, so nginx is shown with one as well. '
    + 'nginx asks for no login. CPU is that of all processes of a system, without the application behind it. RSS counts shared pages once for each process.');
  const h1 = await compare(stage, report, list, 'HTTP/1.1 (wrk)', n, (s, t = seconds) => wrk(stage.world, s, '/1k', { connections: CONNECTIONS, seconds: t }));
  report.bar('HTTP/1.1, CPU per request against nginx without login', h1(sallyport) / h1(nginx), 'most', 1.2, 'x');
  report.note('HTTP/1.1, against nginx with an access log', h1(sallyport) / h1(nginxLog), 'x');
  report.bar('HTTP/1.1, against mod_auth_mellon', h1(sallyport) / h1(mellon), 'most', 1 / 3, 'x', 3);
  report.bar('HTTP/1.1, against mod_auth_openidc', h1(sallyport) / h1(openidc), 'most', 1 / 6, 'x', 3);
  report.endOfBars();
  if (!await stage.hasH2(sallyport)) {
    report.unmeasured('HTTP/2, CPU per request against nginx without login', 'this build of Sallyport does not negotiate h2');
    report.endOfBars();
    return;
  }
  const h2 = await compare(stage, report, list, 'HTTP/2 (h2load)', n, (s, t = seconds) => h2load(stage.world, s, '/1k', { connections: CONNECTIONS, seconds: t }));
  report.bar('HTTP/2, CPU per request against nginx without login', h2(sallyport) / h2(nginx), 'most', 1.0, 'x');
  report.note('HTTP/2, against nginx with an access log', h2(sallyport) / h2(nginxLog), 'x');
  report.bar('HTTP/2, against mod_auth_mellon', h2(sallyport) / h2(mellon), 'most', 1 / 3, 'x', 3);
  report.bar('HTTP/2, against mod_auth_openidc', h2(sallyport) / h2(openidc), 'most', 1 / 6, 'x', 3);
  report.endOfBars();
  const few = await compare(stage, report, list, 'HTTP/2, 8 connections with 4 requests at a time on each (h2load)', n, (s, t = seconds) => h2load(stage.world, s, '/1k', { connections: 8, streams: 4, seconds: t }));
  report.note('HTTP/2, 8 connections with 4 requests each, against nginx without login', few(sallyport) / few(nginx), 'x');
  report.endOfBars();
}
