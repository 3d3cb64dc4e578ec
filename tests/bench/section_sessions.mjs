// SPDX-License-Identifier: GPL-3.0-or-later
// What a request costs when the store holds a million sessions, and every request is somebody else's.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { wrk } from './load.mjs';
import { fixed, progress, range } from './report.mjs';
import { rounds } from './rounds.mjs';
import { costOf } from './section_requests.mjs';
import { USER, uidOf } from './systems.mjs';

export const NAME = '__Host-sallyport';
const STORE_BYTES = 16 * 1024 ** 3;
const COOKIES = 20000; // of which each request takes the next

// The same work for the load generator, with one cookie as with many.
const script = (file, system) => `
local requests, n = {}, 0
for line in io.lines("${file}") do
  n = n + 1
  requests[n] = wrk.format("GET", "/1k", { ["Host"] = "${system.host}:${system.port}", ["Cookie"] = "${NAME}=" .. line })
end
local i = 0
request = function()
  i = i % n + 1
  return requests[i]
end
`;

const value = (system) => new RegExp(`${NAME}=([^;]+)`).exec(system.cookie)[1];

// The cookies of sessions that are copies of the one of system.cookie.
export async function fill(stage, system, count) {
  progress(`filling the store with ${fixed(count, 0)} sessions`);
  await system.service.stop();
  const began = Date.now();
  const owner = process.getuid() === 0 ? { uid: uidOf(USER), gid: uidOf(USER) } : {}; // the gateway's own user
  const cookies = await stage.world.tool(path.join(stage.tools, 'bench-fill'),
    [system.state, 'login.test', system.host, STORE_BYTES, count, Math.min(COOKIES, count), value(system)].map(String), { ms: 900000, cwd: '/', onStderr: progress, ...owner });
  progress(`filled in ${fixed((Date.now() - began) / 1000)} s; starting again`);
  await system.start();
  return cookies;
}

// A load: a gateway, and how many sessions take turns in asking. { ...system, title, file }
function turns(stage, system, title, cookies) {
  const file = stage.world.path(`${system.key}-${cookies.length}.cookies`);
  writeFileSync(file, `${cookies.join('\n')}\n`);
  return { ...system, label: title, file };
}

const ASKING = [1, 1000, COOKIES];

export async function sessions(stage, report, { quick }) {
  const [n, seconds, count] = quick ? [3, 1, 100000] : [5, 5, 1000000];
  const [one, many] = [await stage.sallyport(), await stage.many()];
  const cookies = (await fill(stage, many, count)).split('\n').filter(Boolean);
  shuffle(cookies);
  await stage.check(many);
  const name = fixed(count, 0);
  const list = [turns(stage, one, '1', [value(one)]), ...ASKING.map((k) => turns(stage, many, `${name}, ${fixed(k, 0)} in turn`, cookies.slice(0, k)))];
  report.section('Many sessions');
  report.line(`Two gateways, one with the session of one login, the other with ${name} copies of such a session under ids of their own. Each request to it brings the next of so many cookies in random order: ${fixed(ASKING[ASKING.length - 1], 0)} in turn are the people of a busy site. HTTP/1.1, 32 connections, ${n} interleaved rounds of ${seconds} s, medians.`);
  const load = (s, t = seconds) => wrk(stage.world, s, '/1k', { seconds: t, script: script(s.file, s), cookie: false });
  for (const s of list) await load(s, quick ? 1 : 3);
  const results = await rounds(list, n, (s) => costOf(stage, s, load), (t) => progress(`sessions: ${t}`));
  report.table(['sessions in the store', 'CPU/request, us (min-max)', 'requests/s', 'p99 ms', 'RSS MiB'], list.map((s) => {
    const r = results.get(s);
    return [s.label, range(r.us), fixed(r.rate.median, 0), fixed(r.p99.median, 2), fixed(r.memory.median / 1024 ** 2)];
  }));
  const base = results.get(list[0]).us.median;
  for (const s of list.slice(1)) report.bar(`CPU per request, sessions: ${s.label}, against one`, results.get(s).us.median / base, 'most', 1.1, 'x');
  report.endOfBars();
}

function shuffle(list) {
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [list[i], list[j]] = [list[j], list[i]];
  }
}
