// SPDX-License-Identifier: GPL-3.0-or-later
// One suite's world: a temporary folder, ports, processes started by it, and the promise that all of it is gone at the end,
// also when a test fails or the run is interrupted.
import { spawn } from 'node:child_process';
import { chmodSync, createWriteStream, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';

const PORT_FIRST = 23000;
const PORT_LAST = 23999;

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Polls until `probe` gives something true; the last failure is part of the message. An error that is `final` ends it.
export async function until(what, probe, { ms = 15000, every = 50 } = {}) {
  const end = Date.now() + ms;
  let last = '';
  for (;;) {
    try {
      const value = await probe();
      if (value) return value;
    } catch (e) {
      if (e.final) throw e;
      last = `: ${e.message}`;
    }
    if (Date.now() > end) throw new Error(`gave up waiting for ${what}${last}`);
    await sleep(every);
  }
}

export function portAnswers(port) {
  return new Promise((resolve) => {
    const s = net.connect(port, '127.0.0.1');
    s.once('connect', () => { s.destroy(); resolve(true); });
    s.once('error', () => resolve(false));
  });
}

function portFree(port) {
  return new Promise((resolve) => {
    const s = net.createServer();
    s.once('error', () => resolve(false));
    s.listen(port, '127.0.0.1', () => s.close(() => resolve(true)));
  });
}

export class Process {
  // killGroup: its children do not end with it, so do not wait for that.
  constructor(name, child, logFile, killGroup = false) {
    Object.assign(this, { name, child, logFile, killGroup, output: '' });
    this.exited = new Promise((resolve) => {
      child.once('error', (error) => resolve({ code: -1, error }));
      child.once('exit', (code, signal) => resolve({ code, signal }));
    });
    this.exited.then((status) => { this.status = status; });
    const file = createWriteStream(logFile);
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data) => { this.output += data; file.write(data); });
    }
  }

  get pid() { return this.child.pid; }

  kill(signal) {
    if (!this.status) this.child.kill(signal);
  }

  // SIGTERM, then SIGKILL to the whole group: nothing that it started may stay.
  async stop(ms = 5000) {
    if (!this.killGroup) {
      this.kill('SIGTERM');
      await Promise.race([this.exited, new Promise((resolve) => { setTimeout(resolve, ms).unref(); })]);
    }
    try { process.kill(-this.pid, 'SIGKILL'); } catch { /* nobody left */ }
    return this.exited;
  }
}

const worlds = new Set();

export class World {
  constructor(name) {
    this.name = name;
    this.dir = mkdtempSync(path.join(os.tmpdir(), `sallyport-e2e-${name}-`));
    chmodSync(this.dir, 0o755); // the daemon gives up root and still has to reach its files
    this.processes = new Set();
    this.cleanups = [];
    this.taken = new Set();
    worlds.add(this);
  }

  path(...parts) { return path.join(this.dir, ...parts); }

  mkdir(name, mode = 0o755) {
    const dir = this.path(name);
    mkdirSync(dir, { recursive: true });
    chmodSync(dir, mode);
    return dir;
  }

  onClose(f) { this.cleanups.push(f); }

  async port() {
    for (let i = 0; i < 2000; i++) {
      const port = PORT_FIRST + Math.floor(Math.random() * (PORT_LAST - PORT_FIRST + 1));
      if (!this.taken.has(port) && await portFree(port)) {
        this.taken.add(port);
        return port;
      }
    }
    throw new Error('no free port');
  }

  // Starts a program in a process group of its own. With `port`, returns when that port answers.
  async start(name, command, args = [], { env = process.env, cwd = this.dir, port, ms = 20000, ready, killGroup } = {}) {
    const child = spawn(command, args, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    const p = new Process(name, child, this.path(`${name}.log`), killGroup);
    this.processes.add(p);
    if (port || ready) {
      try {
        await until(`${name} to answer`, async () => {
          if (p.status) throw Object.assign(new Error(`${name} ended: ${JSON.stringify(p.status)}`), { final: true });
          return (!port || await portAnswers(port)) && (!ready || await ready(p));
        }, { ms });
      } catch (e) {
        await p.stop();
        throw new Error(`${e.message}\n${p.output.slice(-2000)}`);
      }
      if (p.status) throw new Error(`${name} ended: ${p.output.slice(-2000)}`);
    }
    return p;
  }

  // Runs a program to its end.
  async run(command, args = [], options = {}) {
    const { input, ms = 30000, ...rest } = options;
    const child = spawn(command, args, { cwd: this.dir, ...rest, stdio: ['pipe', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (d) => { stdout += d; });
    child.stderr.on('data', (d) => { stderr += d; });
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    const timer = setTimeout(() => child.kill('SIGKILL'), ms);
    const code = await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    clearTimeout(timer);
    return { code, stdout, stderr };
  }

  async must(command, args, options) {
    const r = await this.run(command, args, options);
    if (r.code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${r.code}\n${r.stdout}${r.stderr}`);
    return r.stdout;
  }

  async close() {
    for (const f of this.cleanups.reverse()) {
      try { await f(); } catch (e) { console.error(`${this.name}: cleaning up: ${e.message}`); }
    }
    await Promise.all([...this.processes].map((p) => p.stop()));
    worlds.delete(this);
    if (!process.env.E2E_KEEP) rmSync(this.dir, { recursive: true, force: true });
    else console.error(`${this.name}: files kept in ${this.dir}`);
  }

  killNow() {
    for (const p of this.processes) {
      try { process.kill(-p.pid, 'SIGKILL'); } catch { /* gone */ }
    }
    if (!process.env.E2E_KEEP) rmSync(this.dir, { recursive: true, force: true });
  }
}

process.on('exit', () => worlds.forEach((w) => w.killNow()));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));
