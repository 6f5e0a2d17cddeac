// What /metrics said over the last minutes: samples, rates and quantiles between two of them.
import { textFrom } from "./http.js";

const EVERY_MS = 2000,
  KEEP = 150; // five minutes

const samples = [];
const listeners = new Set();
export const onSample = (f) => (listeners.add(f), () => listeners.delete(f));
export const all = () => samples;
export const last = () => samples[samples.length - 1];

function parse(text) {
  const values = new Map();
  for (const line of text.split("\n")) {
    if (!line || line[0] === "#") continue;
    const at = line.lastIndexOf(" ");
    values.set(line.slice(0, at), Number(line.slice(at + 1)));
  }
  return values;
}

export const value = (s, name) => (s ? s.values.get(name) : undefined);

// Of each pair of neighbours: how much it grew in a second. A restart begins anew.
export function rates(...names) {
  const sum = (s) => names.reduce((n, name) => n + (s.values.get(name) || 0), 0);
  return samples.slice(1).map((s, i) => {
    const grown = sum(s) - sum(samples[i]);
    return { at: s.at, y: s.missing || grown < 0 ? null : (grown * 1000) / (s.at - samples[i].at) };
  });
}
export const gauges = (name) =>
  samples.slice(1).map((s) => ({ at: s.at, y: s.values.get(name) ?? null }));

// A quantile of what a histogram counted between neighbours, linear within a bucket; null: nothing.
export function quantiles(name, q) {
  return samples.slice(1).map((s, i) => ({ at: s.at, y: quantile(samples[i], s, name, q) }));
}
const bounds = new Map(); // of a histogram: [the bucket's series, its upper bound]
function buckets(s, name) {
  if (!bounds.has(name) && s.values.size) {
    const begin = `${name}_bucket{le="`;
    bounds.set(
      name,
      [...s.values.keys()]
        .filter((k) => k.startsWith(begin))
        .map((k) => [k, k.includes("+Inf") ? Infinity : parseFloat(k.slice(begin.length))])
        .sort((a, b) => a[1] - b[1]),
    );
  }
  return bounds.get(name) || [];
}
function quantile(before, now, name, q) {
  const counted = buckets(now, name).map(([series, le]) => [
    le,
    (now.values.get(series) || 0) - (before.values.get(series) || 0),
  ]);
  const total = counted.length ? counted[counted.length - 1][1] : 0;
  if (!(total > 0)) return null;
  let low = 0,
    below = 0;
  for (const [le, n] of counted) {
    if (n >= q * total)
      return le === Infinity
        ? low
        : low + ((le - low) * (q * total - below)) / Math.max(1, n - below);
    ((low = le), (below = n));
  }
  return low;
}

async function sample() {
  let values = new Map(),
    missing = false;
  try {
    values = parse(await textFrom("/metrics"));
  } catch {
    missing = true;
    values = samples.length ? last().values : values;
  }
  samples.push({ at: Date.now(), values, missing });
  if (samples.length > KEEP) samples.shift();
  for (const f of listeners) f();
}

export function start() {
  sample();
  setInterval(() => document.hidden || sample(), EVERY_MS);
  document.addEventListener("visibilitychange", () => document.hidden || sample());
}
