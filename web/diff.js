// The difference of two texts, line by line; of JSON by its values, whatever the order of members.
import { h } from "./dom.js";
import { exact } from "./http.js";

const CELLS_MAX = 4e6; // of the table of common lines; beyond it what differs is one block

// [[" " | "-" | "+", line]...]
export function lines(before, after) {
  const a = before === null ? [] : before.split("\n"),
    b = after === null ? [] : after.split("\n");
  let head = 0,
    tail = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  while (
    tail < a.length - head &&
    tail < b.length - head &&
    a[a.length - 1 - tail] === b[b.length - 1 - tail]
  )
    tail++;
  const x = a.slice(head, a.length - tail),
    y = b.slice(head, b.length - tail);
  return [
    ...a.slice(0, head).map((l) => [" ", l]),
    ...middle(x, y),
    ...a.slice(a.length - tail).map((l) => [" ", l]),
  ];
}

function middle(x, y) {
  const w = y.length + 1,
    out = [];
  if (x.length * y.length > CELLS_MAX)
    return [...x.map((l) => ["-", l]), ...y.map((l) => ["+", l])];
  const common = new Uint32Array((x.length + 1) * w); // of the rests from i and j on
  for (let i = x.length - 1; i >= 0; i--)
    for (let j = y.length - 1; j >= 0; j--)
      common[i * w + j] =
        x[i] === y[j]
          ? common[(i + 1) * w + j + 1] + 1
          : Math.max(common[(i + 1) * w + j], common[i * w + j + 1]);
  let i = 0,
    j = 0;
  while (i < x.length || j < y.length) {
    if (i < x.length && j < y.length && x[i] === y[j]) (out.push([" ", x[i]]), i++, j++);
    else if (i < x.length && (j === y.length || common[(i + 1) * w + j] >= common[i * w + j + 1]))
      out.push(["-", x[i++]]);
    else out.push(["+", y[j++]]);
  }
  return out;
}

// Raw numbers (http.js) are objects, and leaves all the same.
const inner = (v) => v !== null && typeof v === "object" && !JSON.isRawJSON(v);

function sorted(v) {
  if (!inner(v)) return v;
  if (Array.isArray(v)) return v.map(sorted);
  return Object.fromEntries(
    Object.keys(v)
      .sort()
      .map((k) => [k, sorted(v[k])]),
  );
}

const CHANGES_MAX = 8; // named above the lines

// The JSON Pointers of what differs.
function changes(a, b, at = "", out = []) {
  if (out.length > CHANGES_MAX) return out;
  if (inner(a) && inner(b) && Array.isArray(a) === Array.isArray(b)) {
    for (const k of new Set([...Object.keys(a), ...Object.keys(b)]))
      changes(a[k], b[k], `${at}/${k.replace(/~/g, "~0").replace(/\//g, "~1")}`, out);
  } else if (JSON.stringify(a) !== JSON.stringify(b)) out.push(at);
  return out;
}

function summary(a, b) {
  const all = changes(a, b);
  if (!all.length || all.includes("")) return null;
  return h(
    "p",
    { class: "chips" },
    all.slice(0, CHANGES_MAX).map((x) => h("span", { class: "chip mono" }, x)),
    all.length > CHANGES_MAX ? h("span", { class: "hint" }, "and more") : null,
  );
}

const KINDS = { " ": "same", "-": "gone", "+": "new" };
const AROUND = 3; // lines shown about what changed

// null: there was, or will be, nothing.
export function diffView(before, after, { json = false } = {}) {
  let above = null;
  if (json)
    try {
      const [a, b] = [before, after].map((t) =>
        t === null ? undefined : sorted(JSON.parse(t, exact)),
      );
      above = before === null || after === null ? null : summary(a, b);
      [before, after] = [a, b].map((v) => (v === undefined ? null : JSON.stringify(v, null, 2)));
    } catch {
      /* not JSON after all */
    }
  const all = lines(before, after);
  const near = all.map(() => false);
  all.forEach(([kind], i) => {
    if (kind !== " ")
      for (let k = Math.max(0, i - AROUND); k <= Math.min(all.length - 1, i + AROUND); k++)
        near[k] = true;
  });
  if (all.every(([kind]) => kind === " "))
    return h("p", { class: "hint" }, "The values are the same.");
  const rows = [];
  all.forEach(([kind, line], i) => {
    if (near[i])
      rows.push(
        h("div", { class: KINDS[kind] }, h("span", { "aria-hidden": "true" }, kind), `${line}\n`),
      );
    else if (i === 0 || near[i - 1]) rows.push(h("div", { class: "skip" }, "⋯"));
  });
  return h(
    "div",
    { class: "compare" },
    above,
    h("pre", { class: "diff", tabindex: "0", "aria-label": "Difference" }, rows),
  );
}
