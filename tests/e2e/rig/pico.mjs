// SPDX-License-Identifier: GPL-3.0-or-later
// A set-up with boards: `pico.test` in front of them, people who may call them, and the command that makes their keys.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import https from 'node:https';
import net from 'node:net';
import { networkInterfaces } from 'node:os';
import tls from 'node:tls';
import { Board } from './board.mjs';
import { begin, fetchAll } from './exchange.mjs';
import { Client } from './http.mjs';
import { assertStatus, oidcLogin } from './journey.mjs';
import { Stage } from './stage.mjs';
import { until } from './world.mjs';

export const HOST = 'pico.test';

// Nobody opens the door, staff may do all else, guests may flash the lamp.
const policies = {
  boards: [
    { deny: { devices: ['door'], functions: ['open'] } },
    { allow: { groups: ['staff'] } },
    { allow: { groups: ['guests'], devices: ['lamp', 'shared'], functions: ['flash', 'who', 'hold'] } },
  ],
};

// What a page of ours sends with fetch().
const fromPage = (origin) => ({ Accept: 'application/json', 'Content-Type': 'application/json', Origin: origin, 'Sec-Fetch-Site': 'same-origin', 'Sec-Fetch-Mode': 'cors', 'Sec-Fetch-Dest': 'empty' });
// Whoever waits for ever says for what.
export function within(promise, what, ms = 60000) {
  let timer;
  const late = new Promise((resolve, reject) => { timer = setTimeout(() => reject(new Error(`${what}: nothing after ${ms} ms`)), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const defined = (headers) => Object.fromEntries(Object.entries(headers).filter(([, v]) => v !== undefined));
const lowerCase = (headers) => Object.fromEntries(Object.entries(defined(headers)).map(([k, v]) => [k.toLowerCase(), v]));

// An address of this machine that is not loopback, if it has one.
export const [lanAddress] = Object.values(networkInterfaces()).flat().filter((a) => a.family === 'IPv4' && !a.internal).map((a) => a.address);

// A second listener, without TLS, and the same for the neighbourhood.
const plainListener = (stage) => stage.plainPort && {
  listen: [
    { address: `127.0.0.1:${stage.gateway.port}`, tls: { certificates: [{ cert: stage.edge.cert, key: stage.edge.key }] } },
    ...['127.0.0.1', ...(lanAddress ? [lanAddress] : [])].map((a) => ({ address: `${a}:${stage.plainPort}`, redirect_to_https: true })),
  ],
};

export class PicoStage {
  static async start(name, { pico = {}, users = ['ann'], workers = 2, ...options } = {}) {
    const p = new PicoStage();
    Object.assign(p, { boards: [], keys: {}, addresses: 1 });
    p.stage = await Stage.start(name, {
      oidc: { op: {} }, ...options,
      routes: (stage) => [{ host: HOST, pico, policy: 'boards' }, ...(options.routes?.(stage) ?? [])],
      policies: { ...policies, ...options.policies },
      config: (stage) => ({ workers, ...plainListener(stage), ...options.config }),
    });
    p.gateway = p.stage.gateway;
    try {
      for (const user of users) p[user] = await p.signedIn(user);
    } catch (e) {
      await p.stage.close().catch(() => {});
      throw e;
    }
    return p;
  }

  async close() {
    this.dropAgents();
    for (const b of this.boards) b.stop();
    await this.stage.close();
    for (const b of this.boards) assert.equal(b.crashed, undefined);
  }

  url(path = '/') { return this.stage.url(HOST, path); }

  async signedIn(user) {
    const client = new Client();
    assertStatus(await oidcLogin(client, this.url('/.sallyport/pico/'), user), 200, `${user} logs in`);
    return client;
  }

  // --- keys

  async pico(...args) {
    const [command, ...rest] = args;
    const r = await this.gateway.cli('pico', command, '--config', this.gateway.configFile, ...rest);
    return { ...r, args };
  }

  async must(...args) {
    const r = await this.pico(...args);
    assert.equal(r.code, 0, `sallyport pico ${args.join(' ')}: ${r.stdout}${r.stderr}`);
    return r.stdout;
  }

  static keyIn(text) {
    const [key] = /(?<![\w-])[\w-]{32,}(?![\w-])/.exec(text) ?? [];
    assert.ok(key, `no key in ${text}`);
    return key;
  }

  // A key that the gateway knows.
  async add(device, functions) {
    const read = () => this.events_of('pico.devices').length;
    const before = read();
    this.keys[device] = PicoStage.keyIn(await this.must('add', device, ...(functions ? ['--functions', functions] : [])));
    await until('the gateway to read the keys', () => read() > before, { every: 5 });
    return this.keys[device];
  }

  // --- boards

  // An address of this machine's own, so that what a board does wrong is held against nobody else.
  address() { this.addresses += 1; return `127.0.${this.addresses >> 8}.${this.addresses & 255}`; }

  // A board that has begun to connect. Short pauses between its attempts.
  start(device, functions = {}, options = {}) {
    const board = new Board({
      name: HOST, port: this.gateway.port, ca: this.stage.ca.pem, key: this.keys[device], functions, retry: 200, localAddress: this.address(), ...options,
    });
    this.boards.push(board);
    return board.start();
  }

  // A device that is new, a board that is online as it, and its functions may be called whatever worker is asked. `listed`: those of
  // them that ann may call.
  async board(device, functions = {}, { listed = Object.keys(functions), ...options } = {}) {
    if (!this.keys[device]) await this.add(device);
    const board = this.start(device, functions, options);
    await board.online();
    if (listed.length) await this.seen(device, { functions: listed });
    return board;
  }

  // Until every worker says that the board is online (or not).
  async seen(device, { online = true, functions = [], client = this.ann, ms = 40000 } = {}) {
    const right = (boards) => {
      const b = boards.find((x) => x.name === device);
      return (b?.online ?? false) === online && functions.every((f) => b?.functions.some((x) => x.name === f && x.online === online));
    };
    const agents = await this.agents();
    await until(`${device} to be ${online ? 'online' : 'offline'} for everybody`, async () => (await Promise.all(agents.map((agent) => this.list(client, agent)))).every(right), { ms, every: 10 });
  }

  async list(client = this.ann, agent = undefined) {
    const res = await within(fetchAll('h1', this.url('/.sallyport/pico/'), { client, agent, headers: { Accept: 'application/json', 'Sec-Fetch-Site': 'same-origin', 'Sec-Fetch-Mode': 'cors', 'Sec-Fetch-Dest': 'empty' } }), 'the list');
    assert.equal(res.status, 200, `the list: ${res.text}`);
    return JSON.parse(Buffer.from(res.text, 'latin1').toString()).boards;
  }

  // --- workers

  // The gateway process; while an old one still ends, the new one.
  get pid() { return Math.max(...this.gateway.processes().filter((x) => !x.args.some((a) => a.includes('verifier'))).map((x) => x.pid)); }

  // The workers that have these connections of ours: the epoll descriptors that watch their other ends.
  workersOf(sockets) {
    const proc = `/proc/${this.pid}`;
    const hex = (n, digits) => n.toString(16).toUpperCase().padStart(digits, '0');
    const address = ({ localAddress = '', localPort = 0 }) => `${localAddress.split('.').reverse().map((n) => hex(Number(n), 2)).join('')}:${hex(localPort, 4)}`;
    const rows = readFileSync(`${proc}/net/tcp`, 'utf8').split('\n').map((l) => l.trim().split(/\s+/)).filter((c) => c[9] && c[9] !== '0');
    const inodes = new Map(rows.map((c) => [c[2], `socket:[${c[9]}]`]));
    const links = readdirSync(`${proc}/fd`).map((fd) => { try { return [readlinkSync(`${proc}/fd/${fd}`), fd]; } catch { return ['', fd]; } });
    const fds = new Map(links);
    const watchers = new Map();
    for (const [, epoll] of links.filter(([to]) => to === 'anon_inode:[eventpoll]')) {
      for (const [, fd] of readFileSync(`${proc}/fdinfo/${epoll}`, 'utf8').matchAll(/^tfd:\s+(\d+) /gm)) watchers.set(fd, epoll);
    }
    return sockets.map((s) => watchers.get(fds.get(inodes.get(address(s)))));
  }

  workerOf(socket) { return this.workersOf([socket])[0]; }

  // A TCP connection to each worker. An idle worker takes every connection that comes. But when the process is stopped while many come, all
  // workers are woken, and each takes some when it goes on.
  async connections() {
    const { pid } = this;
    const { workers } = this.gateway.config;
    const found = new Map();
    await until('a connection to each worker', async () => {
      const made = [];
      process.kill(pid, 'SIGSTOP');
      try {
        await Promise.all(Array.from({ length: 40 * workers }, () => new Promise((resolve, reject) => {
          const s = net.connect({ host: '127.0.0.1', port: this.gateway.port, allowHalfOpen: true }, resolve).setNoDelay(true).once('error', reject);
          made.push(s);
        })));
      } finally {
        process.kill(pid, 'SIGCONT');
      }
      const workersOf = await until('all to be accepted', () => { const all = this.workersOf(made); return all.every(Boolean) && all; }, { every: 5 });
      made.forEach((s, i) => { if (!found.has(workersOf[i])) found.set(workersOf[i], s); else s.destroy(); });
      return found.size === workers;
    }, { ms: 60000 });
    return found;
  }

  // A kept connection to each worker, for requests.
  async agents() {
    const { pid } = this;
    if (this.kept?.pid === pid && this.kept.sockets.every((s) => !s.destroyed)) return this.kept.agents;
    this.dropAgents();
    const sockets = [...(await this.connections()).values()].map((socket) => tls.connect({ socket, servername: HOST, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] }));
    const agents = sockets.map((socket) => {
      const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
      agent.createConnection = () => { assert.ok(!socket.destroyed, 'the gateway has closed a kept connection'); return socket; };
      return agent;
    });
    this.kept = { pid, sockets, agents };
    return agents;
  }

  dropAgents() {
    for (const s of this.kept?.sockets ?? []) s.destroy();
    this.kept = undefined;
  }

  // --- calls

  // Gives { status, headers, json, text, ms }. `what`: 'lamp/flash'. `body`: in place of {"args"...}.
  async call(client, what, args = [], { kwargs, body, headers = {}, protocol = 'h1', method = 'POST', agent } = {}) {
    const url = this.url(`/.sallyport/pico/${what}`);
    const data = body ?? JSON.stringify({ args, ...(kwargs && { kwargs }) });
    const all = { ...fromPage(new URL(url).origin), ...headers };
    const begun = Date.now();
    const sent = protocol === 'h2' ? lowerCase(all) : { ...defined(all), 'Content-Length': Buffer.byteLength(data) };
    const a = await within(fetchAll(protocol, url, { method, headers: sent, client, data, agent }), `the answer of ${what.slice(0, 100)}`);
    const res = { status: a.status, headers: a.headers, text: Buffer.from(a.text, 'latin1').toString() };
    let json;
    try { json = JSON.parse(res.text); } catch { /* some answers are none */ }
    return { ...res, json, ms: Date.now() - begun };
  }

  // The result of a call that has to succeed.
  async result(client, what, args, options) {
    const res = await this.call(client, what, args, options);
    assert.equal(res.status, 200, `${what}: ${res.status} ${res.text.slice(0, 500)}`);
    assert.deepEqual(Object.keys(res.json), ['result'], res.text);
    return res.json.result;
  }

  // A call that has to fail; gives its error.
  async failure(client, what, status, type, args, options) {
    const res = await this.call(client, what, args, options);
    assertFailure(res, status, type, what);
    return { ...res.json.error, headers: res.headers, ms: res.ms };
  }

  // The event stream: `next()` gives the boards of the next event.
  async events(client = this.ann, protocol = 'h2') {
    const x = begin(protocol, this.url('/.sallyport/pico/events'), { client, headers: { accept: 'text/event-stream', 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors' } });
    const answer = await x.answer;
    let read = 0;
    return {
      answer,
      async next(wanted = () => true, ms = 40000) {
        return until('the event', () => {
          for (let end; (end = answer.text.indexOf('\n\n', read)) >= 0;) {
            const event = answer.text.slice(read, end);
            read = end + 2;
            if (event.startsWith(':')) continue;
            assert.match(event, /^event: boards\ndata: [^\n]*$/);
            const { boards } = JSON.parse(Buffer.from(event.slice(event.indexOf('\ndata: ') + 7), 'latin1').toString());
            if (wanted(boards)) return { boards };
          }
          return undefined;
        }, { ms, every: 5 }).then((e) => e.boards);
      },
      end() { x.stream.destroy(); },
    };
  }

  // Bytes over TLS; gives the head of what comes back, or '' when the connection ends before.
  head(bytes, host = HOST) {
    const s = tls.connect({ host: '127.0.0.1', port: this.gateway.port, servername: host, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] }, () => s.write(bytes));
    let got = '';
    const head = new Promise((resolve) => {
      s.on('data', (d) => { got += d.toString('latin1'); if (got.includes('\r\n\r\n')) resolve(got.slice(0, got.indexOf('\r\n\r\n') + 4)); });
      s.on('error', () => resolve(''));
      s.on('close', () => resolve(''));
    });
    return within(head, 'the head of an answer').finally(() => s.destroy());
  }

  // --- what the daemon says

  events_of(event) { return this.gateway.lines().filter((l) => l.event === event); }
}

export function assertFailure(res, status, type, what = '') {
  assert.equal(res.status, status, `${what}: ${res.status} ${res.text.slice(0, 500)}`);
  assert.match(res.headers['content-type'], /^application\/json/);
  assert.ok(typeof res.json?.error?.message === 'string' && (res.json.error.message || status === 500), `${what}: ${res.text.slice(0, 500)}`);
  if (type) assert.equal(res.json.error.type, type, res.text.slice(0, 500));
  assert.ok(res.json.request_id, `${what}: no request_id in ${res.text.slice(0, 500)}`);
}

// A function that answers when the test says so: `calls` has { args, answer(value), fail(message) } in order of arrival.
export function held() {
  const calls = [];
  const f = (pico, ...args) => new Promise((resolve, reject) => calls.push({ pico, args, answer: resolve, fail: (m) => reject(new Error(m)) }));
  return Object.assign(f, { calls, arrived: (n, ms = 40000) => until(`call ${n} to arrive`, () => calls.length >= n, { ms, every: 5 }) });
}
