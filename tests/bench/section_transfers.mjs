// SPDX-License-Identifier: GPL-3.0-or-later
// Large bodies: throughput against nginx, and what a stream of 1 GiB leaves in memory.
import { truncateSync, writeFileSync } from 'node:fs';
import { HUGE, LARGE, MIB } from './backend.mjs';
import { h2load, wrk } from './load.mjs';
import { cpuSeconds, peakRss, resetPeak, rss } from './proc.mjs';
import { fixed, mib, progress, range } from './report.mjs';
import { rounds } from './rounds.mjs';
import { sleep } from './world.mjs';

const CONNECTIONS = 4;

const uploadScript = (file) => `
local f = io.open("${file}", "rb")
wrk.method = "POST"
wrk.body = f:read("*a")
f:close()
`;

// MiB/s of bodies that arrived whole, and CPU milliseconds for each 10 MiB.
async function throughput(stage, system, upload, load) {
  const received = await stage.backend.received();
  const before = cpuSeconds(system.pid);
  const run = await load(system);
  const cpu = cpuSeconds(system.pid) - before;
  if (upload && await stage.backend.received() - received < run.requests * LARGE) throw new Error(`${system.label}: uploads did not arrive whole`);
  if (!upload && run.bytes < run.requests * LARGE) throw new Error(`${system.label}: downloads were not whole`);
  system.emptyLogs();
  return { speed: run.requests * LARGE / MIB / run.seconds, cpu: cpu * 1e3 / run.requests };
}

async function compare(stage, report, list, title, { n, upload, load }) {
  const results = await rounds(list, n, (s) => throughput(stage, s, upload, load), (t) => progress(`${title}: ${t}`));
  report.line(`${title}:`);
  report.table(['', 'MiB/s (min-max)', 'CPU ms per 10 MiB (min-max)'], list.map((s) => [s.label, range(results.get(s).speed, 0), range(results.get(s).cpu)]));
  const [nginx, sallyport] = list.map((s) => results.get(s).speed.median);
  report.bar(`${title}, throughput against nginx`, sallyport / nginx, 'least', 0.9, 'x');
  report.endOfBars();
}

// Seconds for one body of 1 GiB, checked to be whole.
async function curl(stage, system, upload, file) {
  const url = `https://${system.host}:${system.port}${upload ? '/upload' : '/1g'}`;
  const args = ['-sS', '-k', '--fail', '--http1.1', '--resolve', `${system.host}:${system.port}:127.0.0.1`, '-H', `Cookie: ${system.cookie ?? ''}`,
    '-H', 'Expect:', '-w', '%{http_code} %{size_download} %{size_upload} %{time_total}', '-o', '/dev/null', ...(upload ? ['-X', 'POST', '-T', file] : []), url];
  const [status, down, up, seconds] = (await stage.world.tool('curl', args, { ms: 300000 })).split(' ');
  if (status !== '200' || Number(upload ? up : down) !== HUGE) throw new Error(`${system.label}: the stream of 1 GiB was not whole: ${status}, ${down} down, ${up} up`);
  return Number(seconds);
}

// h2load for HTTP/2: what curl 7.88 uploads over it is held up by curl itself.
async function h2stream(stage, system, upload, file) {
  const received = await stage.backend.received();
  const run = await h2load(stage.world, system, upload ? '/upload' : '/1g', { connections: 1, total: 1, ...(upload && { body: file }) });
  const bytes = upload ? await stage.backend.received() - received : run.bytes;
  if (bytes < HUGE) throw new Error(`${system.label}: the stream of 1 GiB was not whole: ${bytes}`);
  return run.seconds;
}

// The memory of the system before, at its highest, and after.
async function stream(stage, system, transfer) {
  const base = rss(system.pid);
  const exact = resetPeak(system.pid);
  let peak = base;
  let busy = true;
  const watch = (async () => { while (busy) { peak = Math.max(peak, rss(system.pid)); await sleep(50); } })();
  const seconds = await transfer().finally(() => { busy = false; });
  await watch;
  if (exact) peak = peakRss(system.pid);
  return { base, peak, after: rss(system.pid), speed: HUGE / MIB / seconds };
}

// Buffers that earlier loads left behind would hide what a stream adds. The session outlives it.
async function restart(stage, system) {
  await system.service.stop();
  await system.start();
  await stage.check(system);
}

async function streams(stage, report, list, protocols) {
  const file = stage.world.path('1g.upload');
  writeFileSync(file, '');
  truncateSync(file, HUGE);
  const rows = [];
  const bars = [];
  await restart(stage, list.find((s) => s.login));
  for (const [name, transfer] of protocols) {
    for (const upload of [false, true]) {
      for (const s of list) {
        progress(`1 GiB ${upload ? 'upload' : 'download'}, ${name}, ${s.label}`);
        const r = await stream(stage, s, () => transfer(stage, s, upload, file));
        rows.push([`${s.label}, ${name} ${upload ? 'upload' : 'download'}`, mib(r.base), mib(r.peak), mib(r.after), fixed(r.speed, 0)]);
        if (s.login) bars.push([`1 GiB ${upload ? 'upload' : 'download'}, ${name}: added to resident memory at its highest`, (r.peak - r.base) / MIB]);
      }
    }
  }
  report.line('One stream of 1 GiB each (curl for HTTP/1.1, h2load for HTTP/2), after a new start of Sallyport; resident memory of the system:');
  report.table(['', 'before MiB', 'highest MiB', 'after MiB', 'MiB/s'], rows);
  for (const [text, figure] of bars) report.bar(text, figure, 'most', 5, ' MiB');
  report.endOfBars();
}

export async function transfers(stage, report, { quick }) {
  const [n, seconds] = quick ? [3, 2] : [5, 5];
  const list = [await stage.nginx(), await stage.sallyport()];
  const h2 = await stage.hasH2(list[1]);
  const { world } = stage;
  const file = `${stage.backend.files}/10m`;
  report.section('Downloads and uploads');
  report.line(`Bodies of 10 MiB on ${CONNECTIONS} connections, ${n} interleaved rounds of ${seconds} s, medians. nginx streams uploads (proxy_request_buffering off), as Sallyport does, and its window for HTTP/2 uploads is as large (256 KiB).`);
  await compare(stage, report, list, 'Downloads, HTTP/1.1', { n, load: (s) => wrk(world, s, '/10m', { connections: CONNECTIONS, seconds }) });
  await compare(stage, report, list, 'Uploads, HTTP/1.1', { n, upload: true, load: (s) => wrk(world, s, '/upload', { connections: CONNECTIONS, seconds, script: uploadScript(file) }) });
  if (h2) {
    await compare(stage, report, list, 'Downloads, HTTP/2', { n, load: (s) => h2load(world, s, '/10m', { connections: CONNECTIONS, seconds }) });
    await compare(stage, report, list, 'Uploads, HTTP/2', { n, upload: true, load: (s) => h2load(world, s, '/upload', { connections: CONNECTIONS, seconds, body: file }) });
  } else {
    report.unmeasured('Transfers over HTTP/2', 'this build of Sallyport does not negotiate h2');
    report.endOfBars();
  }
  await streams(stage, report, list, [['HTTP/1.1', curl], ...(h2 ? [['HTTP/2', h2stream]] : [])]);
}
