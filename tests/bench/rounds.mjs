// SPDX-License-Identifier: GPL-3.0-or-later
// Interleaved rounds (A B C A B C ...): what else happens on the machine meets all alike. Medians with their spread.

export function spread(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { median, min: sorted[0], max: sorted[sorted.length - 1] };
}

// `measure(system)` gives an object of numbers. Returns a Map: system -> { name: { median, min, max } }.
export async function rounds(systems, n, measure, progress = () => {}) {
  const all = new Map(systems.map((s) => [s, []]));
  for (let i = 0; i < n; i++) {
    for (const s of systems) {
      progress(`round ${i + 1}/${n} ${s.label}`);
      all.get(s).push(await measure(s));
    }
  }
  return new Map([...all].map(([s, results]) => [s, Object.fromEntries(Object.keys(results[0]).map((k) => [k, spread(results.map((r) => r[k]))]))]));
}
