// SPDX-License-Identifier: GPL-3.0-or-later
// The daemon under test: writes its configuration, starts and stops it, reads its log and looks at its processes.
import { execFileSync } from 'node:child_process';
import { chownSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { request } from './http.mjs';
import { portAnswers, sleep, until } from './world.mjs';

const SALLYPORT = process.env.SALLYPORT ?? fileURLToPath(new URL('../../../build/sallyport', import.meta.url));

const USER = 'nobody'; // whom the daemon becomes when the tests run as root

const isRoot = process.getuid() === 0;
const idOf = (user) => Number(execFileSync('id', ['-u', user]).toString());

// Limits on what a sanitizer keeps back, so that memory bounds mean something in such builds as well.
const sanitizers = {
  ASAN_OPTIONS: `quarantine_size_mb=2:detect_leaks=0:${process.env.ASAN_OPTIONS ?? ''}`,
  UBSAN_OPTIONS: `print_stacktrace=1:${process.env.UBSAN_OPTIONS ?? ''}`,
};

export class Gateway {
  constructor(world, { port, opsPort }) {
    Object.assign(this, { world, port, opsPort, generation: 0, earlier: '', log: [], read: 0, killed: new Set() });
    this.configFile = world.path('sallyport.yaml');
    this.state = world.mkdir('state', 0o700);
    if (isRoot) chownSync(this.state, idOf(USER), -1);
  }

  origin(host) { return `https://${host}:${this.port}`; }
  url(host, path = '/') { return this.origin(host) + path; }

  // JSON is YAML.
  configure(config) {
    this.config = {
      state: this.state, operations: `127.0.0.1:${this.opsPort}`, log_level: 'debug', workers: 2, verifiers: 2,
      ...(isRoot && { user: USER }), ...config,
    };
    writeFileSync(this.configFile, `${JSON.stringify(this.config, null, 2)}\n`);
  }

  cli(...args) { return this.world.run(SALLYPORT, args, { env: { ...process.env, ...sanitizers, ...this.env } }); }

  async start() {
    const [env, name] = [{ ...process.env, ...sanitizers, ...this.env }, `sallyport-${this.generation++}`];
    this.process = await this.world.start(name, SALLYPORT, ['serve', '--config', this.configFile], {
      env, port: this.port, ms: 30000, ready: (p) => { this.process = p; return this.gatewayPid() !== undefined; },
    });
    return this;
  }

  // The orderly end; anything else than exit status 0 is an error.
  async stop({ ms = 40000 } = {}) {
    const { process: p } = this;
    if (!p) return;
    this.process = undefined;
    const status = await p.stop(ms);
    this.earlier += p.output;
    if (status.code !== 0) throw new Error(`the daemon ended with ${JSON.stringify(status)}:\n${p.output.slice(-3000)}`);
    await until('the port to close', async () => !await portAnswers(this.port));
  }

  async restart() { await this.stop(); await this.start(); }

  get output() { return this.earlier + (this.process?.output ?? ''); }

  // Whether it was built with AddressSanitizer, which writes reports of its own and cannot live with seccomp filters.
  get sanitized() { return readFileSync(SALLYPORT).includes('__asan_init'); }

  // Sends a signal to processes of the daemon; what a sanitizer says about that is no finding.
  signal(pids, signal) {
    for (const pid of pids) {
      if (/SEGV|ABRT/.test(signal)) this.killed.add(pid);
      process.kill(pid, signal);
    }
  }

  // What no daemon may ever write.
  findings() {
    const ours = (line) => this.killed.size > 0
      && (this.killed.has(Number(/^==(\d+)==/.exec(line)?.[1])) || /^SUMMARY: AddressSanitizer: SEGV/.test(line));
    const lines = this.output.split('\n').filter((l) => /Sanitizer: |runtime error:|Assertion .* failed/.test(l) && !ours(l));
    if (this.killed.size === 0) lines.push(...this.notJson().slice(0, 5).map((l) => `not a JSON line in the log: ${l.slice(0, 300)}`));
    return lines;
  }

  // The whole lines of the log so far: { text, json }, json undefined for what is none. Each is parsed once.
  parsed() {
    const all = this.output;
    for (let end; (end = all.indexOf('\n', this.read)) >= 0; this.read = end + 1) {
      const text = all.slice(this.read, end);
      let json;
      try { json = JSON.parse(text); } catch { /* said by notJson */ }
      if (text) this.log.push({ text, json });
    }
    return this.log;
  }

  lines() { return this.parsed().map((l) => l.json).filter(Boolean); }
  notJson() { return this.parsed().filter((l) => typeof l.json !== 'object').map((l) => l.text); }
  access() { return this.lines().filter((l) => l.event === 'access'); }

  // A line is written when its answer has been sent, so the reader of the answer may be first.
  async settle(quiet = 30, ms = 600) {
    const end = Date.now() + ms;
    for (let n = -1; n !== this.access().length && Date.now() < end;) {
      n = this.access().length;
      await sleep(quiet);
    }
  }

  // Runs `f` and gives the access lines written because of it; with `wanted`, does not wait longer than for that.
  async accessDuring(f, wanted = () => false) {
    await this.settle();
    const before = this.access().length;
    const result = await f();
    const lines = () => this.access().slice(before);
    await until('the access line', () => lines().some(wanted) || (lines().length && wanted.length === 0), { ms: 3000, every: 10 }).catch(() => {});
    if (wanted.length === 0) await this.settle();
    return { result, lines: lines() };
  }

  processes() {
    const all = readdirSync('/proc').filter((n) => /^\d+$/.test(n)).flatMap((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        const rest = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        return [{ pid: Number(pid), parent: Number(rest[1]), state: rest[0], args: readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0') }];
      } catch { return []; }
    });
    return all.filter((p) => p.parent === this.process.pid && p.state !== 'Z');
  }

  verifierPids() { return this.processes().filter((p) => p.args.some((a) => a.includes('verifier'))).map((p) => p.pid); }
  gatewayPid() { return this.processes().find((p) => !p.args.some((a) => a.includes('verifier')))?.pid; }

  ops(path, options = {}) { return fetch(`http://127.0.0.1:${this.opsPort}${path}`, { ...options, headers: { Connection: 'close', ...options.headers } }); }

  async metric(name) {
    const text = await (await this.ops('/metrics')).text();
    return Number(new RegExp(`^sallyport_${name} (\\S+)$`, 'm').exec(text)?.[1]);
  }

  // Ends all sessions of a user, as an operator does.
  async revoke(user) { return (await this.ops('/admin/sessions/revoke', { method: 'POST', body: new URLSearchParams({ user }) })).json(); }

  rss(pid = this.gatewayPid()) { return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024; }

  memoryPeak(pid = this.gatewayPid()) { return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024; }

  // Until logins with the provider can begin.
  async loginsWork(key, host = 'login.test') {
    await until(`logins with ${key}`, async () => {
      const r = await request(this.url(host, `/.sallyport/login?idp=${key}`), { headers: { Accept: 'text/html', 'Sec-Fetch-Mode': 'navigate' } });
      if (r.status >= 400) throw new Error(`it answers ${r.status}: ${r.body.replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ').slice(0, 300)}`);
      return true;
    }, { ms: 20000, every: 200 });
  }
}
