// SPDX-License-Identifier: GPL-3.0-or-later
// wrk and h2load: running them and reading what they print. Every run gives { requests, seconds, p50, p99 (ms), bytes } or an
// error: a run with a failed request is no figure.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';

const SCALE = { us: 1e-3, ms: 1, s: 1e3, m: 6e4 };
const BYTES = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3, TB: 1024 ** 4 };

const must = (text, pattern, what) => {
  const m = pattern.exec(text);
  if (!m) throw new Error(`${what} printed no ${pattern}:\n${text.slice(-1500)}`);
  return m;
};
const milliseconds = (m) => Number(m[1]) * SCALE[m[2]];

function readWrk(text) {
  const bad = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text);
  if (bad && bad.slice(1).some((n) => n !== '0')) throw new Error(`wrk: ${bad[0]}`);
  const status = /Non-2xx or 3xx responses: \d+/.exec(text);
  if (status) throw new Error(`wrk: ${status[0]}`);
  const sum = must(text, /(\d+) requests in ([\d.]+)(us|ms|s|m), ([\d.]+)([KMGT]?B) read/, 'wrk');
  const requests = Number(sum[1]);
  if (!requests) throw new Error('wrk: not one request was answered');
  return {
    requests, seconds: Number(sum[2]) * SCALE[sum[3]] / 1e3, bytes: Number(sum[4]) * BYTES[sum[5]],
    p50: milliseconds(must(text, /50%\s+([\d.]+)(us|ms|s|m)/, 'wrk')), p99: milliseconds(must(text, /99%\s+([\d.]+)(us|ms|s|m)/, 'wrk')),
  };
}

// HTTP/1.1. `script`: text of a Lua script.
export async function wrk(world, system, path, { connections = 32, threads = 1, seconds, script, cookie = true }) {
  const args = ['-t', threads, '-c', connections, '-d', `${seconds}s`, '--latency', '--timeout', '20s', '-H', `Host: ${system.host}:${system.port}`];
  if (cookie && system.cookie) args.push('-H', `Cookie: ${system.cookie}`);
  if (script) {
    writeFileSync(world.path('wrk.lua'), script);
    args.push('-s', world.path('wrk.lua'));
  }
  return readWrk(await world.tool('wrk', [...args, `https://localhost:${system.port}${path}`].map(String), { ms: seconds * 1000 + 60000 }));
}

const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];

function readH2load(text, log, protocol) {
  must(text, protocol === 'h1' ? /Application protocol: http\/1\.1/ : /Application protocol: h2/, 'h2load');
  const sum = must(text, /requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout/, 'h2load');
  const codes = must(text, /status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx/, 'h2load');
  if ([sum[3], sum[4], sum[5], codes[2], codes[3], codes[4]].some((n) => n !== '0')) throw new Error(`h2load: ${sum[0]}; ${codes[0]}`);
  const times = log.split('\n').filter(Boolean).map((line) => Number(line.split('\t')[2])).sort((a, b) => a - b);
  if (!times.length) throw new Error('h2load: not one request was answered');
  const finished = must(text, /finished in ([\d.]+)(us|ms|s|m)/, 'h2load');
  return {
    requests: Number(sum[2]), seconds: milliseconds(finished) / 1e3, bytes: Number(must(text, /traffic: [\d.]+\w* \((\d+)\) total/, 'h2load')[1]),
    p50: quantile(times, 0.5) / 1e3, p99: quantile(times, 0.99) / 1e3,
  };
}

// HTTP/2 (or HTTP/1.1 with protocol h1). `body`: a file to POST; `total`: a number of requests instead of a time. `warmUp`:
// seconds before those that count, in which the connections are made.
export async function h2load(world, system, path, { connections = 32, streams = 1, seconds, warmUp, total, rps, body, protocol = 'h2' }) {
  const file = world.path('h2load.log');
  rmSync(file, { force: true });
  const args = ['-t', 1, '-c', connections, '-m', streams, ...(total ? ['-n', total] : ['-D', seconds]), '-T', '600s', '-N', '60s', '--log-file', file,
    '--connect-to', `127.0.0.1:${system.port}`];
  if (protocol === 'h1') args.push('--h1');
  if (rps) args.push('--rps', rps);
  if (warmUp) args.push('--warm-up-time', warmUp);
  if (body) args.push('-d', body);
  if (system.cookie) args.push('-H', `cookie: ${system.cookie}`);
  const text = await world.tool('h2load', [...args, `https://${system.host}:${system.port}${path}`].map(String), { ms: (seconds ?? 240) * 1000 + 60000 });
  return readH2load(text, readFileSync(file, 'utf8'), protocol);
}
