// The difference of two texts, line by line.
import { h } from "./dom.js";

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
    if (i < x.length && j < y.length && x[i] === y[j]) out.push([" ", x[i]]), i++, j++;
    else if (i < x.length && (j === y.length || common[(i + 1) * w + j] >= common[i * w + j + 1]))
      out.push(["-", x[i++]]);
    else out.push(["+", y[j++]]);
  }
  return out;
}

const KINDS = { " ": "same", "-": "gone", "+": "new" };
const AROUND = 3; // lines shown about what changed

export function diffView(before, after) {
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
  return h("pre", { class: "diff", tabindex: "0", "aria-label": "Difference" }, rows);
}
