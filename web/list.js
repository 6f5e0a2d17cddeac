// A list of which only what can be seen is in the document, so ten thousand rows cost what twenty
// do. Arrows, j and k, Page, Home and End move in it.
import { h } from "./dom.js";

const ROW = 44,
  SPARE = 8; // height of a row; rows drawn above and below what is seen

// A text with what is looked for marked in it; else what stands before the last slash is dim.
export function marked(text, find) {
  const at = find ? text.toLowerCase().indexOf(find) : -1;
  const cut = text.lastIndexOf("/", text.length - 2) + 1;
  if (at < 0) return [h("span", { class: "dim" }, text.slice(0, cut)), text.slice(cut)];
  return [
    text.slice(0, at),
    h("mark", {}, text.slice(at, at + find.length)),
    text.slice(at + find.length),
  ];
}

// cells(id, find) gives what stands in a row, pick(id) is told of a choice.
export function list({ label, cells, pick }) {
  const inner = h("div", { class: "rows", role: "presentation" });
  const node = h(
    "div",
    { class: "list", role: "listbox", tabindex: "0", "aria-label": label },
    inner,
  );
  let ids = [],
    chosen = null,
    find = "",
    fresh = new Map();

  function row(i) {
    const id = ids[i],
      is = id === chosen;
    const changed = Date.now() - (fresh.get(id) || 0) < 2000;
    return h(
      "div",
      {
        role: "option",
        id: `row-${i}`,
        "aria-selected": String(is),
        "aria-setsize": ids.length,
        "aria-posinset": i + 1,
        class: `row${is ? " chosen" : ""}${changed ? " changed" : ""}`,
        onclick: () => pick(id),
      },
      cells(id, find),
    );
  }
  function draw() {
    const from = Math.max(0, Math.floor(node.scrollTop / ROW) - SPARE);
    const to = Math.min(ids.length, Math.ceil((node.scrollTop + node.clientHeight) / ROW) + SPARE);
    inner.style.height = `${ids.length * ROW}px`;
    const rows = [];
    for (let i = from; i < to; i++) {
      const r = row(i);
      r.style.transform = `translateY(${i * ROW}px)`;
      rows.push(r);
    }
    inner.replaceChildren(...rows);
    const at = ids.indexOf(chosen);
    if (at >= from && at < to) node.setAttribute("aria-activedescendant", `row-${at}`);
    else node.removeAttribute("aria-activedescendant");
  }
  let waits = false;
  const soon = () => {
    if (waits) return;
    waits = true;
    requestAnimationFrame(() => ((waits = false), draw()));
  };
  node.addEventListener("scroll", soon, { passive: true });
  new ResizeObserver(soon).observe(node);
  node.addEventListener("keydown", (e) => {
    const page = Math.max(1, Math.floor(node.clientHeight / ROW) - 1);
    const step = {
      ArrowDown: 1,
      j: 1,
      ArrowUp: -1,
      k: -1,
      PageDown: page,
      PageUp: -page,
      Home: -ids.length,
      End: ids.length,
    }[e.key];
    if (step === undefined || e.ctrlKey || e.metaKey || !ids.length) return;
    e.preventDefault();
    const at = ids.indexOf(chosen);
    pick(ids[Math.min(ids.length - 1, Math.max(0, at < 0 ? 0 : at + step))]);
  });
  return Object.assign(node, {
    show(next) {
      ({ ids, chosen, find = "" } = next);
      soon();
    },
    // It has changed just now.
    touch(id) {
      if (fresh.size > 1000) fresh = new Map();
      fresh.set(id, Date.now());
    },
    reveal(id) {
      const at = ids.indexOf(id);
      if (at < 0) return;
      if (at * ROW < node.scrollTop) node.scrollTop = at * ROW;
      if ((at + 1) * ROW > node.scrollTop + node.clientHeight)
        node.scrollTop = (at + 1) * ROW - node.clientHeight;
    },
  });
}

// What narrows a list down: changed() on every key; down goes into the list, Esc takes it away.
export function searchBox(label, rows, changed, value) {
  const node = h("input", {
    type: "search",
    placeholder: "Search   /",
    "aria-label": label,
    spellcheck: "false",
    value,
  });
  node.addEventListener("input", () => ((rows.scrollTop = 0), changed()));
  node.addEventListener("keydown", (e) => {
    if (e.key === "ArrowDown") (e.preventDefault(), rows.focus());
    if (e.key === "Escape") ((node.value = ""), changed());
  });
  return node;
}
