// SPDX-License-Identifier: GPL-3.0-or-later
// The world of the end-to-end tests, with what a measurement needs: ports of its own, services whose output goes to files (a
// reader of it would take time from what is measured), and load generators that end with us.
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { World, portAnswers, until } from '../e2e/rig/world.mjs';

const PORT_FIRST = Number(process.env.BENCH_PORTS ?? 21000);

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

class Service {
  constructor(name, child, logFile) {
    Object.assign(this, { name, child, logFile });
    this.exited = new Promise((resolve) => {
      child.once('error', (error) => resolve({ code: -1, error }));
      child.once('exit', (code, signal) => resolve({ code, signal }));
    });
    this.exited.then((status) => { this.status = status; });
  }

  get pid() { return this.child.pid; }
  get output() { return readFileSync(this.logFile, 'utf8'); }

  async stop(ms = 15000) {
    if (!this.status) this.child.kill('SIGTERM');
    await Promise.race([this.exited, sleep(ms)]);
    try { process.kill(-this.pid, 'SIGKILL'); } catch { /* nobody left */ }
    return this.exited;
  }
}

export class BenchWorld extends World {
  constructor(name) {
    super(`bench-${name}`);
    this.next = PORT_FIRST;
  }

  async port() {
    for (; this.next < PORT_FIRST + 1000; this.next++) {
      if (!await portAnswers(this.next)) return this.next++;
    }
    throw new Error('no free port');
  }

  // A service in a process group of its own; returns when `port` answers.
  async service(name, command, args, { port, ms = 20000, ...options } = {}) {
    const logFile = this.path(`${name}.log`);
    const log = openSync(logFile, 'a');
    const child = spawn(command, args, { cwd: this.dir, detached: true, ...options, stdio: ['ignore', log, log] });
    closeSync(log);
    const s = new Service(name, child, logFile);
    this.processes.add(s);
    await until(`${name} to answer`, async () => {
      if (s.status) throw Object.assign(new Error(`${name} ended: ${JSON.stringify(s.status)}\n${s.output.slice(-2000)}`), { final: true });
      return portAnswers(port);
    }, { ms });
    return s;
  }

  // A program that runs until it is told to end: { child, line(): its next line, exited }.
  conversation(command, args) {
    const child = spawn(command, args, { cwd: this.dir, detached: true, stdio: ['pipe', 'pipe', 'inherit'] });
    const exited = new Promise((resolve) => { child.once('error', () => resolve(-1)); child.once('exit', resolve); });
    const entry = { get pid() { return child.pid; }, stop: async () => { child.kill('SIGKILL'); return exited; } };
    this.processes.add(entry);
    exited.then(() => this.processes.delete(entry));
    let text = '';
    let closed = false;
    child.stdout.on('data', (d) => { text += d; });
    child.stdout.on('close', () => { closed = true; });
    const line = async (ms) => {
      await until(`${command} to say something`, () => text.includes('\n') || closed, { ms });
      const end = text.indexOf('\n');
      if (end < 0) throw new Error(`${command} ended without a word`);
      const first = text.slice(0, end);
      text = text.slice(end + 1);
      return first;
    };
    return { child, line, exited };
  }

  // A program to its end; gives what it printed. It ends with us, and after `ms`.
  async tool(command, args, { ms = 120000, onStderr = () => {}, ...options } = {}) {
    const child = spawn(command, args, { cwd: this.dir, detached: true, ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    const entry = { get pid() { return child.pid; }, stop: async () => { child.kill('SIGKILL'); } };
    this.processes.add(entry);
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (d) => { stdout += d; });
    child.stderr.on('data', (d) => { stderr += d; onStderr(String(d).trim()); });
    const timer = setTimeout(() => child.kill('SIGKILL'), ms);
    const code = await new Promise((resolve, reject) => { child.once('error', reject); child.once('close', resolve); });
    clearTimeout(timer);
    this.processes.delete(entry);
    if (code !== 0) throw new Error(`${command} ended with ${code}: ${(stderr + stdout).slice(-1500)}`);
    return stdout;
  }
}
