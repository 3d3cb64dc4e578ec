// SPDX-License-Identifier: GPL-3.0-or-later
// Boards (Pico relay): what one costs while nobody calls it, how long a call takes beside the board's own time, and how many
// calls a second there can be. Boards and callers are simulated (tools/boards.c, tools/callers.c) and run on the same cores.
import { readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { cpuSeconds, pin, rss } from './proc.mjs';
import { fixed, mib, progress, range } from './report.mjs';
import { spread } from './rounds.mjs';
import { fill, NAME } from './section_sessions.mjs';
import { USER, uidOf } from './systems.mjs';
import { sleep } from './world.mjs';

const FUNCTION = 'echo';
const VISITORS = 100;
const CORES = '0,1';
const NEAR = 8; // boards for latency: some on the worker that has the caller, some on the other
const MANY = 50;
const EACH = 4; // calls at a time for each board, as many as the gateway gives it
const RATE = 2000;
const HEARTBEAT = 10000;

const pinned = os.cpus().length > 2;
const onCores = (program, args) => (pinned ? ['taskset', ['-c', CORES, program, ...args]] : [program, args]);

// A gateway with sessions of many visitors and `count` boards in its files. { system, cookies, keys: the lines of all boards }
async function prepare(stage, count) {
  const system = await stage.boards();
  const owner = process.getuid() === 0 ? { uid: uidOf(USER), gid: uidOf(USER) } : {};
  const keys = (await stage.world.tool(path.join(stage.tools, 'bench-devices'), [system.state, String(count), FUNCTION], { cwd: '/', ...owner })).split('\n').filter(Boolean);
  const visitors = (await fill(stage, system, VISITORS)).split('\n').filter(Boolean);
  await stage.check(system);
  const cookies = stage.world.path('boards.cookies');
  writeFileSync(cookies, visitors.map((v) => `${NAME}=${v}\n`).join(''));
  if (pinned) pin(system.pid, CORES);
  return { system, cookies, keys };
}

// Runs `f({ file, direct })` while the first `count` boards are connected, and makes sure that they all stayed so.
async function withBoards(stage, scene, count, f) {
  const file = stage.world.path(`boards-${count}.keys`);
  writeFileSync(file, scene.keys.slice(0, count).map((k) => `${k}\n`).join(''), { mode: 0o600 });
  const { system } = scene;
  const direct = await stage.world.port();
  const args = [system.port, system.host, '/boards/uplink', file, FUNCTION, 0, direct, stage.edge.cert, stage.edge.key].map(String);
  const tool = stage.world.conversation(...onCores(path.join(stage.tools, 'bench-boards'), args));
  const ready = await tool.line(60000);
  if (ready !== `ready ${count}`) throw new Error(`boards: ${ready}`);
  await sleep(300); // what they registered has to be known to all workers
  const result = await f({ file, direct });
  tool.child.stdin.end();
  const end = JSON.parse(await tool.line(10000));
  await tool.exited;
  if (end.lost) throw new Error(`of ${count} boards ${end.lost} were cut off`);
  await sleep(500);
  return { ...result, end };
}

// Why links have ended, as the gateway says it.
const closedLinks = (system) => readFileSync(system.service.logFile, 'utf8').split('\n').filter((l) => l.includes('"pico.closed"') && !l.includes('"uplink.closed"')).slice(0, 5).join('\n');

const callers = async (stage, { system, cookies }, mode, file, ...rest) => {
  const args = [mode, system.port, system.host, cookies, file, FUNCTION, ...rest].map(String);
  try {
    return JSON.parse(await stage.world.tool(...onCores(path.join(stage.tools, 'bench-callers'), args), { ms: 120000 }));
  } catch (e) {
    throw new Error(`${e.message}\n${closedLinks(system)}`);
  }
};

// ---- memory

async function memory(stage, report, scene, { count, wait }) {
  progress(`${count} idle boards`);
  const before = rss(scene.system.pid);
  const { idle, used, cpu, end } = await withBoards(stage, scene, count, async ({ file }) => {
    const spent = cpuSeconds(scene.system.pid);
    await sleep(wait);
    const first = rss(scene.system.pid);
    const busy = (cpuSeconds(scene.system.pid) - spent) / (wait / 1e3);
    await callers(stage, scene, 'load', file, NEAR, 2, 0);
    await sleep(2000);
    return { idle: first, used: rss(scene.system.pid), cpu: busy };
  });
  if (end.calls < count) throw new Error(`${end.calls} calls reached ${count} boards`);
  const kib = (n) => (n - before) / count / 1024;
  report.line(`${fixed(count, 0)} boards, all connected, each with one function and a heartbeat every 10 s; resident memory of all processes of Sallyport. Then each was called some times, by ${NEAR} connections that have gone again.`);
  report.table(['', 'MiB', 'KiB for each'], [['before', mib(before), ''], ['connected', mib(idle), fixed(kib(idle))], ['after calls', mib(used), fixed(kib(used))]]);
  report.bar('Memory of one idle board', kib(idle), 'most', 60, ' KiB', 1);
  report.bar('Memory of one idle board that was called before', kib(used), 'most', 60, ' KiB', 1);
  report.note(`CPU of ${fixed(count, 0)} idle boards`, cpu * 100, ' % of a core', 1);
  report.endOfBars();
}

// ---- latency

const PAUSES = [[0, 'one call after the other'], [5000, 'a pause of 5 ms before each']];
const PARTS = ['total', 'added', 'there', 'back', 'direct'];

async function latencyRound(stage, scene, file, direct, count, pause) {
  const r = await callers(stage, scene, 'latency', file, direct, pause ? Math.ceil(count / 5) : count, pause);
  return Object.fromEntries(PARTS.flatMap((part) => [[`${part}50`, r[part].p50 / 1e3], [`${part}99`, r[part].p99 / 1e3]]));
}

const spreads = (list) => Object.fromEntries(Object.keys(list[0]).map((k) => [k, spread(list.map((r) => r[k]))]));

async function latency(stage, report, scene, { n, count }) {
  const results = PAUSES.map(() => []);
  await withBoards(stage, scene, NEAR, async ({ file, direct }) => {
    for (let i = 0; i < n; i++) {
      for (const [j, [pause, title]] of PAUSES.entries()) {
        progress(`latency of a call, ${title}, round ${i + 1}/${n}`);
        results[j].push(await latencyRound(stage, scene, file, direct, count, pause));
      }
    }
  });
  report.line(`One call at a time to ${NEAR} boards in turn, over kept connections of visitors who are logged in; in turn with each the same request to the boards' own port over TLS, without a gateway. Times beside the board's own: until the call was at the board, and from when its answer was about to leave. ${n} interleaved rounds, medians, ms.`);
  const all = results.map(spreads);
  report.table(['', 'p50 (min-max)', 'p99', 'p50 to the board', 'p50 back', 'direct p50', 'direct p99'], PAUSES.map(([, title], j) => {
    const r = all[j];
    return [title, range(r.added50, 3), fixed(r.added99.median, 3), fixed(r.there50.median, 3), fixed(r.back50.median, 3), fixed(r.direct50.median, 3), fixed(r.direct99.median, 3)];
  }));
  for (const [j, [, title]] of PAUSES.entries()) report.bar(`A call beside the board's own time, p50, ${title}`, all[j].added50.median, 'most', 1, ' ms', 3);
  for (const [j, [, title]] of PAUSES.entries()) report.note(`The same without what a direct call takes, ${title}`, all[j].added50.median - all[j].direct50.median, ' ms', 3);
  report.endOfBars();
}

// ---- throughput

async function loadRound(stage, scene, file, seconds, rate) {
  const before = cpuSeconds(scene.system.pid);
  const began = Date.now();
  const r = await callers(stage, scene, 'load', file, MANY * EACH, seconds, rate);
  const cpu = cpuSeconds(scene.system.pid) - before;
  const result = { rate: r.counted / r.seconds, us: cpu * 1e6 / r.calls, cores: cpu / ((Date.now() - began) / 1e3), p50: r.total.p50 / 1e3, p99: r.total.p99 / 1e3, memory: rss(scene.system.pid) };
  scene.system.emptyLogs();
  return result;
}

async function throughput(stage, report, scene, { n, seconds }) {
  const paces = [[0, 'as fast as it goes'], [RATE, `${fixed(RATE, 0)} calls/s asked for`]];
  const results = paces.map(() => []);
  await withBoards(stage, scene, MANY, async ({ file }) => {
    await loadRound(stage, scene, file, 1, 0);
    for (let i = 0; i < n; i++) {
      for (const [j, [rate, title]] of paces.entries()) {
        progress(`calls to ${MANY} boards, ${title}, round ${i + 1}/${n}`);
        results[j].push(await loadRound(stage, scene, file, seconds, rate));
      }
    }
  });
  const all = results.map(spreads);
  report.line(`Calls to ${MANY} boards by ${VISITORS} visitors on ${MANY * EACH} kept connections, ${EACH} for each board; gateway, boards and callers share two cores. ${n} interleaved rounds of ${seconds} s, medians. CPU is Sallyport's, handshakes of the callers included.`);
  report.table(['', 'calls/s (min-max)', 'CPU/call, us (min-max)', 'cores busy', 'p50 ms', 'p99 ms', 'RSS MiB'], paces.map(([, title], j) => {
    const r = all[j];
    return [title, range(r.rate, 0), range(r.us), fixed(r.cores.median, 2), fixed(r.p50.median, 2), fixed(r.p99.median, 2), mib(r.memory.median)];
  }));
  report.bar(`Calls to ${MANY} boards on two cores`, all[0].rate.median, 'least', RATE, '/s', 0);
  report.endOfBars();
}

export async function boards(stage, report, { quick }) {
  const count = quick ? 100 : 500;
  const scene = await prepare(stage, count);
  report.section('Boards');
  await memory(stage, report, scene, { count, wait: quick ? 1000 : HEARTBEAT + 2000 });
  await latency(stage, report, scene, quick ? { n: 1, count: 500 } : { n: 3, count: 2000 });
  await throughput(stage, report, scene, quick ? { n: 1, seconds: 1 } : { n: 3, seconds: 3 });
  await stage.check(scene.system);
}
