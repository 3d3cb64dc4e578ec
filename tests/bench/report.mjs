// SPDX-License-Identifier: GPL-3.0-or-later
// What ./bench says: tables and one line for each bar, on the screen and as Markdown; progress goes to stderr.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';

const BEGIN = '<!-- begin of what ./bench measured -->';
const END = '<!-- end of what ./bench measured -->';

export const fixed = (n, digits = 1) => n.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
export const range = (s, digits = 1) => `${fixed(s.median, digits)} (${fixed(s.min, digits)}-${fixed(s.max, digits)})`;
export const mib = (bytes) => fixed(bytes / 1024 ** 2);

const started = Date.now();
export const progress = (text) => process.stderr.write(`[${String(Math.round((Date.now() - started) / 1000)).padStart(4)} s] ${text}\n`);

const first = (command, ...args) => {
  try { return execFileSync(command, args, { stdio: ['ignore', 'pipe', 'pipe'] }).toString().split('\n')[0].trim(); } catch { return ''; }
};
const packaged = (name) => first('dpkg-query', '-W', '-f', '${Version}', name) || 'not a package';

export function machine(sallyport) {
  const cpuinfo = readFileSync('/proc/cpuinfo', 'utf8');
  return [
    ['Processor', `${/model name\s*: (.*)/.exec(cpuinfo)?.[1] ?? os.cpus()[0]?.model ?? 'unknown'}, ${os.cpus().length} cores${/hypervisor/.test(cpuinfo) ? ', virtual machine' : ''}`],
    ['Memory', `${fixed(os.totalmem() / 1024 ** 3, 0)} GiB`],
    ['Kernel', `${os.type()} ${os.release()}`],
    ['Load before', os.loadavg().map((n) => n.toFixed(2)).join(' ')],
    ['Sallyport', `${first(sallyport, 'version')}, commit ${first('git', 'rev-parse', '--short', 'HEAD') || 'unknown'}, release build by ${first('cc', '--version')}`],
    ...['nginx', 'apache2', 'libapache2-mod-auth-openidc', 'libapache2-mod-auth-mellon', 'libssl3', 'libnghttp2-14', 'wrk', 'nghttp2-client'].map((p) => [p, packaged(p)]),
    ['Date', new Date().toISOString().slice(0, 10)],
  ];
}

const columns = (head, rows) => head.map((_, i) => Math.max(...[head, ...rows].map((r) => String(r[i]).length)));
const padded = (row, widths) => row.map((c, i) => (i ? String(c).padStart(widths[i]) : String(c).padEnd(widths[i])));

export class Report {
  constructor() {
    this.markdown = [];
    this.bars = [];
  }

  line(text) {
    console.log(text);
    this.markdown.push(text, '');
  }

  section(title) {
    console.log(`\n${title}\n${'-'.repeat(title.length)}`);
    this.markdown.push(`### ${title}`, '');
  }

  table(head, rows) {
    const widths = columns(head, rows);
    for (const row of [head, ...rows]) console.log(`  ${padded(row, widths).join('  ')}`);
    const lines = [head, head.map((_, i) => (i ? '---:' : '---')), ...rows];
    this.markdown.push(...lines.map((r) => `| ${r.join(' | ')} |`), '');
  }

  // `at` says on which side of the bar the figure has to be: 'most' or 'least'.
  bar(what, figure, at, limit, unit = '', digits = 2) {
    const met = at === 'most' ? figure <= limit : figure >= limit;
    const text = `${what}: ${fixed(figure, digits)}${unit}, bar: at ${at} ${fixed(limit, digits)}${unit}: ${met ? 'met' : 'missed'}`;
    this.bars.push({ text, met });
    console.log(`  * ${text}`);
    this.markdown.push(`- ${text.replace(/(met|missed)$/, '**$1**')}`);
  }

  // A ratio that says something, but is not promised.
  note(what, figure, unit = '', digits = 2) {
    const text = `${what}: ${fixed(figure, digits)}${unit} (no bar)`;
    console.log(`  * ${text}`);
    this.markdown.push(`- ${text}`);
  }

  // A bar that could not be measured is said, never passed over.
  unmeasured(what, why) {
    this.bars.push({ text: `${what}: not measured: ${why}`, met: false });
    console.log(`  * ${what}: not measured: ${why}`);
    this.markdown.push(`- ${what}: **not measured**: ${why}`);
  }

  endOfBars() { this.markdown.push(''); }

  // Between the two marks of the file when it has them; a new file else.
  writeMarkdown(file, command, facts) {
    const body = [BEGIN, '', `Command: \`${command}\``, '', '| | |', '|---|---|', ...facts.map(([k, v]) => `| ${k} | ${v} |`), '', ...this.markdown, END]
      .join('\n').replace(/\n{3,}/g, '\n\n');
    const old = existsSync(file) ? readFileSync(file, 'utf8') : '';
    const [from, to] = [old.indexOf(BEGIN), old.indexOf(END)];
    writeFileSync(file, from >= 0 && to > from ? old.slice(0, from) + body + old.slice(to + END.length) : `${body}\n`);
  }
}
