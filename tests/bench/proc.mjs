// SPDX-License-Identifier: GPL-3.0-or-later
// What the kernel accounts to a system: the process that was started and everything below it.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';

const TICKS = Number(execFileSync('getconf', ['CLK_TCK']).toString());

function stat(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const f = text.slice(text.lastIndexOf(')') + 2).split(' '); // proc(5): f[0] is field 3, state
    return { pid: Number(pid), parent: Number(f[1]), ticks: f.slice(11, 15).reduce((sum, n) => sum + Number(n), 0) };
  } catch { return undefined; }
}

function tree(root) {
  const all = readdirSync('/proc').filter((n) => /^\d+$/.test(n)).map(stat).filter(Boolean);
  const found = all.filter((p) => p.pid === root);
  for (let i = 0; i < found.length; i++) found.push(...all.filter((p) => p.parent === found[i].pid));
  if (!found.length) throw new Error(`process ${root} is gone`);
  return found;
}

// utime + stime + cutime + cstime of all, in seconds: a child that ended moves its time to its parent.
export const cpuSeconds = (root) => tree(root).reduce((sum, p) => sum + p.ticks, 0) / TICKS;

const field = (pid, name) => {
  try {
    return Number(new RegExp(`${name}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024;
  } catch { return 0; }
};

// Resident bytes of all processes of the system, shared pages counted in each.
export const rss = (root) => tree(root).reduce((sum, p) => sum + field(p.pid, 'VmRSS'), 0);
export const peakRss = (root) => tree(root).reduce((sum, p) => sum + field(p.pid, 'VmHWM'), 0);
export const processes = (root) => tree(root).length;

// proc(5), clear_refs: 5 sets the peak back to what is resident now. False where that is not allowed.
export function resetPeak(root) {
  try {
    for (const p of tree(root)) writeFileSync(`/proc/${p.pid}/clear_refs`, '5');
    return true;
  } catch { return false; }
}

// Leaves these processors to a system.
export function pin(root, cpus) {
  for (const p of tree(root)) execFileSync('taskset', ['-apc', cpus, String(p.pid)], { stdio: 'ignore' });
}
