// SPDX-License-Identifier: GPL-3.0-or-later
// `main.mjs BUILD-DIRECTORY MARKDOWN-FILE-OR-EMPTY quick|full COMMAND SECTION...`: see ./bench --help.
import path from 'node:path';
import { Report, machine, progress } from './report.mjs';
import * as sections from './sections.mjs';
import { Stage } from './stage.mjs';

const [build, markdown, mode, command, ...wanted] = process.argv.slice(2);

function summary(report) {
  const met = report.bars.filter((b) => b.met).length;
  report.section('All bars');
  for (const b of report.bars.filter((x) => !x.met)) console.log(`  * ${b.text}`);
  report.line(`${met} of ${report.bars.length} bars met.`);
}

async function run() {
  const facts = machine(path.join(build, 'sallyport'));
  const report = new Report();
  for (const [key, fact] of facts) console.log(`${key.padEnd(28)} ${fact}`);
  if (mode === 'quick') report.line('Short rounds (--quick): the figures show that the measurement works, nothing more.');
  const stage = await Stage.start({ build });
  try {
    for (const name of wanted) await sections[name](stage, report, { quick: mode === 'quick' });
  } finally {
    progress('ending everything');
    await stage.close();
  }
  summary(report);
  if (markdown) {
    report.writeMarkdown(markdown, command, facts);
    progress(`written: ${markdown}`);
  }
}

run().then(() => process.exit(0), (e) => {
  console.error(`bench: ${e.stack ?? e}`);
  process.exit(1);
});
