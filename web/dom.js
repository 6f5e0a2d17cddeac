// Elements, dialogs and notes. Text goes in as text only, so nothing that is stored becomes markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(9).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);
export const svg = (tag, props, ...children) =>
  fill(document.createElementNS(SVG, tag), props, children);

// What stands in a node from now on; null stands for nothing.
export function refill(node, ...children) {
  node.replaceChildren();
  return fill(node, {}, children);
}

export function button(text, onclick, props = {}) {
  return h("button", { type: "button", onclick, ...props }, text);
}

const ICONS = {
  overview: "M3 12h4l3 8 4-16 3 8h4",
  configs: "M4 6h16M4 12h16M4 18h10",
  flags: "M5 21V4M5 4h12l-2 4 2 4H5",
  secrets: "M7 11V8a5 5 0 0 1 10 0v3M5 11h14v9H5ZM12 15v2",
  drafts: "M4 20h4L19 9l-4-4L4 16ZM13 7l4 4",
  deliveries: "M4 12h6M14 6h6M14 12h6M14 18h6M10 12V6h4M10 12v6h4",
  rules: "M12 3l8 3v6c0 4.5-3.4 7.6-8 9-4.6-1.4-8-4.5-8-9V6ZM8.5 12l2.5 2.5 4.5-5",
  quotas: "M4 18a8 8 0 1 1 16 0M12 18l4-6",
  audit: "M5 4h14v16H5ZM8.5 9h7M8.5 13h7M8.5 17h4",
  access: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM4 21c0-4 4-6 8-6s8 2 8 6",
  theme: "M21 13A9 9 0 1 1 11 3a7 7 0 0 0 10 10Z",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14ZM20 20l-4-4",
  door: "M14 4h5v16h-5M4 12h11M11 8l4 4-4 4",
};
export const icon = (name) =>
  svg(
    "svg",
    { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" },
    svg("path", { d: ICONS[name] }),
  );

// A labelled field; its error stands below it and is read out with it.
let fields = 0;
export function field(label, input, hint) {
  const id = `field-${++fields}`;
  const note = h("p", { id: `${id}-note`, class: "hint" }, hint || "");
  input.id = id;
  input.setAttribute("aria-describedby", note.id);
  const box = h("div", { class: "field" }, h("label", { for: id }, label), input, note);
  box.error = (text) => {
    note.textContent = text || hint || "";
    note.className = text ? "hint bad" : "hint";
    input.setAttribute("aria-invalid", text ? "true" : "false");
  };
  return box;
}

// A modal dialog. submit may throw: its words are shown and the dialog stays. Resolves with what
// submit gave, or undefined when it was left. other: {action, submit}, another way to end it.
// begun(go, second): told of the two buttons.
export function dialog(of) {
  const { title, body, action, submit, other, danger, wide, cancel = "Cancel", begun } = of;
  return new Promise((resolve) => {
    let result,
      busy = false;
    const problem = h("div", { class: "problem", role: "alert", hidden: true });
    const go =
      action && h("button", { type: "submit", class: danger ? "danger" : "primary" }, action);
    const second = other && button(other.action, () => send(other.submit));
    const node = h(
      "dialog",
      { class: wide ? "wide" : "", "aria-label": title },
      h(
        "form",
        { onsubmit: (e) => (e.preventDefault(), go && send(submit)) },
        h("h2", {}, title),
        body,
        problem,
        h(
          "footer",
          {},
          button(cancel, () => node.close()),
          second,
          go,
        ),
      ),
    );
    async function send(how) {
      const pressed = how === submit ? go : second;
      if (busy || pressed.disabled) return;
      busy = pressed.disabled = true;
      problem.hidden = true;
      try {
        result = (await how()) ?? true;
        node.close();
      } catch (e) {
        const faults = (e.faults || []).map((x) => h("li", {}, x));
        problem.replaceChildren(e.message, ...(faults.length ? [h("ul", {}, faults)] : []));
        problem.hidden = false;
      } finally {
        busy = pressed.disabled = false;
      }
    }
    node.addEventListener("close", () => {
      node.remove();
      resolve(result);
    });
    document.body.append(node);
    node.showModal();
    if (begun) begun(go, second);
    const first = node.querySelector("[autofocus], input, textarea") || go;
    if (first) first.focus();
  });
}

// A button that opens a list of further ones: [[text, what it does]...]; false stands for none.
export function menu(label, items) {
  const node = h("details", { class: "menu" }, h("summary", {}, label));
  node.append(
    h(
      "div",
      { class: "card" },
      items
        .filter(Boolean)
        .map(([text, act]) => button(text, () => ((node.open = false), act()), { class: "plain" })),
    ),
  );
  node.addEventListener("keydown", (e) => {
    if (e.key !== "Escape" || !node.open) return;
    e.stopPropagation();
    node.open = false;
    node.firstChild.focus();
  });
  return node;
}
document.addEventListener("pointerdown", (e) => {
  for (const open of document.querySelectorAll("details.menu[open]"))
    if (!open.contains(e.target)) open.open = false;
});

export const copyButton = (text, name) =>
  button(
    "Copy",
    () =>
      navigator.clipboard.writeText(text).then(
        () => note(`${name} is copied.`),
        (e) => note(e.message, true),
      ),
    { class: "quiet small", "aria-label": `Copy ${name}` },
  );

// How long ago that was; when exactly, under the pointer.
export const since = (iso, words = "ago") =>
  h(
    "time",
    { datetime: iso, title: new Date(iso).toLocaleString() },
    `${ago(iso)}${words && ` ${words}`}`,
  );

let notes;
export function note(text, bad) {
  if (!notes) document.body.append((notes = h("div", { class: "notes", role: "status" })));
  const line = h("p", { class: bad ? "note bad" : "note" }, text);
  notes.append(line);
  setTimeout(() => line.remove(), bad ? 9000 : 4000);
}

export function ago(iso) {
  const s = Math.max(0, (Date.now() - Date.parse(iso)) / 1000);
  if (s < 1) return "1 s";
  for (const [unit, length] of [
    ["d", 86400],
    ["h", 3600],
    ["min", 60],
  ])
    if (s >= length) return `${Math.floor(s / length)} ${unit}`;
  return `${Math.floor(s)} s`;
}

const whole = new Intl.NumberFormat("en");
export const count = (n) =>
  n === undefined || Number.isNaN(n) ? "–" : whole.format(Math.round(n));
export function rate(n) {
  if (n >= 10000) return `${(n / 1000).toFixed(n >= 100000 ? 0 : 1)}k`;
  return n >= 100 || n === 0 ? count(n) : n.toFixed(1);
}
export function bytes(n) {
  if (n === undefined) return "–";
  let unit = 0;
  while (n >= 1024 && unit < 4) ((n /= 1024), unit++);
  const name = ["B", "KiB", "MiB", "GiB", "TiB"][unit];
  return `${n >= 100 || unit === 0 ? Math.round(n) : n.toFixed(1)} ${name}`;
}
export function seconds(s) {
  if (!s) return "–";
  return s < 0.001
    ? `${Math.round(s * 1e6)} µs`
    : s < 1
      ? `${(s * 1000).toFixed(s < 0.1 ? 1 : 0)} ms`
      : `${s.toFixed(1)} s`;
}
