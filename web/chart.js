// A small chart of the last minutes: one or two lines, the newest value in figures, values under
// the pointer.
import { h, svg } from "./dom.js";

const W = 300,
  H = 84,
  SPAN_MS = 300000,
  SPAN_LEAST_MS = 60000;

// A round number at or above what is shown, so that the scale does not tremble.
function top(peak, least, binary) {
  const p = Math.max(peak, least);
  if (binary) return 2 ** Math.ceil(Math.log2(p));
  const unit = 10 ** Math.floor(Math.log10(p));
  return unit * [1, 2, 5, 10].find((m) => m * unit >= p * 0.999);
}

export function chart({ title, format, series, least = 1, binary = false }) {
  const figures = series.map((s, i) =>
    h(
      "span",
      { class: `figure line-${i}` },
      series.length > 1 ? h("i", {}, s.name) : null,
      h("b", {}, "–"),
    ),
  );
  const lines = series.map((s, i) =>
    svg("path", { class: `line line-${i}`, "vector-effect": "non-scaling-stroke" }),
  );
  const area = svg("path", { class: "area" });
  const cursor = svg("path", { class: "cursor", "vector-effect": "non-scaling-stroke" });
  const scale = h("span", { class: "scale" });
  const picture = svg(
    "svg",
    { viewBox: `0 0 ${W} ${H}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("path", {
      class: "grid",
      d: `M0 ${H - 1}H${W}M0 ${H / 2}H${W}M0 1H${W}`,
      "vector-effect": "non-scaling-stroke",
    }),
    area,
    lines,
    cursor,
  );
  const time = h("span", { class: "scale time" });
  const node = h(
    "section",
    { class: "card chart", "aria-label": title },
    h("header", {}, h("h3", {}, title), h("div", { class: "figures" }, figures)),
    h("div", { class: "plot" }, scale, time, picture),
  );
  let data = [],
    pointer = null,
    span = SPAN_MS;

  function path(points, now, high) {
    let d = "",
      pen = "M";
    for (const p of points) {
      if (p.y === null || p.at < now - span) {
        pen = "M";
        continue;
      }
      const x = W - ((now - p.at) / span) * W,
        y = H - 2 - (p.y / high) * (H - 6);
      d += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
      pen = "L";
    }
    return d;
  }

  function draw() {
    const now = Date.now();
    // a young one fills its room
    span = Math.min(SPAN_MS, Math.max(SPAN_LEAST_MS, now - data[0][0].at));
    const high = top(Math.max(0, ...data.flat().map((p) => p.y ?? 0)), least, binary);
    data.forEach((points, i) => lines[i].setAttribute("d", path(points, now, high)));
    const whole = data[0].every((p) => p.y !== null) && data[0].length > 1;
    const x0 = whole ? Math.max(0, W - ((now - data[0][0].at) / span) * W) : 0;
    const x1 = whole ? W - ((now - data[0][data[0].length - 1].at) / span) * W : 0;
    area.setAttribute("d", whole ? `${path(data[0], now, high)}L${x1} ${H}L${x0} ${H}Z` : "");
    scale.textContent = format(high);
    const at = pointer === null ? null : now - (1 - pointer) * span;
    data.forEach((points, i) => {
      const known = points.filter((p) => p.y !== null);
      const p =
        at === null
          ? known[known.length - 1]
          : known.reduce(
              (best, p) => (!best || Math.abs(p.at - at) < Math.abs(best.at - at) ? p : best),
              null,
            );
      figures[i].lastChild.textContent = p ? format(p.y) : "–";
    });
    cursor.setAttribute("d", at === null ? "" : `M${pointer * W} 0V${H}`);
    time.textContent = at === null ? "" : new Date(at).toLocaleTimeString();
  }
  picture.addEventListener("pointermove", (e) => {
    const box = picture.getBoundingClientRect();
    pointer = (e.clientX - box.left) / box.width;
    draw();
  });
  picture.addEventListener("pointerleave", () => ((pointer = null), draw()));
  node.update = () => {
    data = series.map((s) => s.points());
    if (data[0].length) draw();
  };
  return node;
}
