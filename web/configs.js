// Configs: the list, the editor, what a change would do, and what was there before.
import { h, button, field, dialog, note, ago, count } from "./dom.js";
import { call, get, watch } from "./http.js";
import { diffView } from "./diff.js";
import { mine } from "./access.js";

const ROW = 44,
  SPARE = 8; // height of a row; rows drawn above and below what is seen
const LIST_MAX = 50000,
  PAGE = 1000; // more are to be narrowed down by a prefix
const WATCHES_MAX = 3; // a browser opens few connections to one server
const HISTORY = 20; // versions shown at a time
const PREVIEW = 160;
const TYPES = ["string", "number", "boolean", "json", "bytes"];

export function textOf(item) {
  if (item.type === "string" || item.type === "bytes") return String(item.value);
  return JSON.stringify(item.value, null, item.type === "json" ? 2 : 0);
}
const preview = (item) =>
  (typeof item.value === "string" ? item.value : JSON.stringify(item.value)).slice(0, PREVIEW);

// What is wrong with a text as a value of that type; "" for nothing.
function wrong(type, text) {
  if (type === "string") return "";
  if (type === "bytes")
    return /^[A-Za-z0-9+/]*={0,2}$/.test(text) && text.length % 4 === 0
      ? ""
      : "This is not base64.";
  try {
    const kind = typeof JSON.parse(text);
    if (type === "number" && kind !== "number") return "This is not a number.";
    if (type === "boolean" && kind !== "boolean") return "This is neither true nor false.";
    return "";
  } catch (e) {
    if (type === "number") return "This is not a number.";
    if (type === "boolean") return "This is neither true nor false.";
    return `This is not JSON: ${e.message}`;
  }
}

const isText = (type) => type === "string" || type === "bytes";

// Numbers go as they were typed: a double would change long ones.
const bodyOf = (type, text) =>
  `{"type":${JSON.stringify(type)},"value":${isText(type) ? JSON.stringify(text) : text}}`;

// Browsers would take "." and ".." between slashes for steps of their own.
const pathOf = (key) =>
  `/v1/config/${
    /(^|\/)\.\.?(\/|$)/.test(key)
      ? encodeURIComponent(key)
      : key.split("/").map(encodeURIComponent).join("/")
  }`;
const put = (key, type, text, conditions) =>
  call("PUT", pathOf(key), bodyOf(type, text), conditions);

// The configs as the server has them, in order of key, and what is to be told of changes.
class Store {
  constructor(changed, state) {
    this.items = new Map();
    this.keys = [];
    this.changed = changed;
    this.state = state;
    this.stop = new AbortController();
    this.more = false;
    this.prefixes = [""];
  }
  async load() {
    const items = new Map();
    let first = null;
    this.more = false;
    for (const prefix of this.prefixes) {
      let token = "";
      do {
        const page = await get(
          `/v1/config?limit=${PAGE}&prefix=${encodeURIComponent(prefix)}` +
            (token && `&page_token=${encodeURIComponent(token)}`),
        );
        for (const item of page.items) items.set(item.key, this.prepared(item));
        first = Math.min(first ?? page.revision, page.revision);
        token = page.next_page_token || "";
        this.state(token ? `reading, ${count(items.size)} so far` : "");
      } while (token && items.size < LIST_MAX && !this.stop.signal.aborted);
      this.more = this.more || Boolean(token);
    }
    this.items = items;
    this.keys = [...items.keys()].sort();
    this.changed(null);
    return first;
  }
  // All of them, or what this user may read.
  async loadMine() {
    try {
      return await this.load();
    } catch (e) {
      const some = e.status === 403 && this.prefixes[0] === "" ? await mine() : [];
      if (!some.length) throw e;
      this.prefixes = some.slice(0, WATCHES_MAX);
      return this.load();
    }
  }
  prepared(item) {
    item.line = preview(item);
    item.text = `${item.key}\n${item.line}`.toLowerCase();
    return item;
  }
  async follow() {
    while (!this.stop.signal.aborted) {
      const revision = await this.loadMine();
      const round = new AbortController(),
        end = () => round.abort();
      this.stop.signal.addEventListener("abort", end);
      await Promise.all(
        this.prefixes.map((prefix) =>
          watch(`prefix=${encodeURIComponent(prefix)}`, revision, {
            signal: round.signal,
            state: (s) => this.state(s === "live" ? "" : "away: what you see may be old"),
            tell: (type, item) => (type === "lost" ? end() : this.tell(type, item)),
          }),
        ),
      );
      this.stop.signal.removeEventListener("abort", end);
      if (!this.stop.signal.aborted) await new Promise((done) => setTimeout(done, 1000));
    }
  }
  tell(type, item) {
    const known = this.items.has(item.key);
    if (known && this.items.get(item.key).revision >= item.revision) return; // read meanwhile
    if (type === "put") this.items.set(item.key, this.prepared(item));
    else this.items.delete(item.key);
    if (known !== (type === "put")) {
      let low = 0,
        high = this.keys.length;
      while (low < high) {
        const mid = (low + high) >> 1;
        if (this.keys[mid] < item.key) low = mid + 1;
        else high = mid;
      }
      if (known) this.keys.splice(low, 1);
      else this.keys.splice(low, 0, item.key);
    }
    this.changed(item.key);
  }
}

// Only what can be seen is in the document, so ten thousand rows cost what twenty do.
function list(pick) {
  const inner = h("div", { class: "rows", role: "presentation" });
  const node = h(
    "div",
    { class: "list", role: "listbox", tabindex: "0", "aria-label": "Configs" },
    inner,
  );
  let keys = [],
    items = new Map(),
    chosen = null,
    find = "",
    fresh = new Map();

  function marked(key) {
    const at = find ? key.toLowerCase().indexOf(find) : -1;
    const cut = key.lastIndexOf("/") + 1;
    if (at < 0) return [h("span", { class: "dim" }, key.slice(0, cut)), key.slice(cut)];
    return [
      key.slice(0, at),
      h("mark", {}, key.slice(at, at + find.length)),
      key.slice(at + find.length),
    ];
  }
  function row(i) {
    const item = items.get(keys[i]);
    const is = keys[i] === chosen,
      changed = Date.now() - (fresh.get(keys[i]) || 0) < 2000;
    return h(
      "div",
      {
        role: "option",
        id: `row-${i}`,
        "aria-selected": String(is),
        "aria-setsize": keys.length,
        "aria-posinset": i + 1,
        class: `row slot-${i % 2}${is ? " chosen" : ""}${changed ? " changed" : ""}`,
        onclick: () => pick(keys[i]),
      },
      h("span", { class: "key" }, marked(item.key)),
      h("span", { class: "value mono" }, item.line),
      h("span", { class: "tag" }, item.type),
      h("span", { class: "when" }, ago(item.updated_at)),
    );
  }
  function draw() {
    const from = Math.max(0, Math.floor(node.scrollTop / ROW) - SPARE);
    const to = Math.min(keys.length, Math.ceil((node.scrollTop + node.clientHeight) / ROW) + SPARE);
    inner.style.height = `${keys.length * ROW}px`;
    const rows = [];
    for (let i = from; i < to; i++) {
      const r = row(i);
      r.style.transform = `translateY(${i * ROW}px)`;
      rows.push(r);
    }
    inner.replaceChildren(...rows);
    const at = keys.indexOf(chosen);
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
      Home: -keys.length,
      End: keys.length,
    }[e.key];
    if (step === undefined || e.ctrlKey || e.metaKey || !keys.length) return;
    e.preventDefault();
    const at = keys.indexOf(chosen);
    pick(keys[Math.min(keys.length - 1, Math.max(0, at < 0 ? 0 : at + step))]);
  });
  return Object.assign(node, {
    show(next) {
      ({ keys, items, chosen, find } = next);
      soon();
    },
    touch(key) {
      if (fresh.size > 1000) fresh = new Map();
      fresh.set(key, Date.now());
    },
    reveal(key) {
      const at = keys.indexOf(key);
      if (at < 0) return;
      if (at * ROW < node.scrollTop) node.scrollTop = at * ROW;
      if ((at + 1) * ROW > node.scrollTop + node.clientHeight)
        node.scrollTop = (at + 1) * ROW - node.clientHeight;
    },
  });
}

const select = (value) =>
  h(
    "select",
    { "aria-label": "Type" },
    TYPES.map((t) => h("option", { value: t, selected: t === value }, t)),
  );

async function create(key, done) {
  const name = h("input", {
    value: key || "",
    autofocus: true,
    spellcheck: "false",
    placeholder: "shop/checkout/timeout",
  });
  const type = select("string"),
    text = h("textarea", { rows: "5", spellcheck: "false", class: "mono" });
  const nameField = field("Key", name, "Slashes make groups."),
    textField = field("Value", text);
  type.addEventListener("change", () =>
    textField.error(text.value && wrong(type.value, text.value)),
  );
  const made = await dialog({
    title: "New config",
    body: [nameField, field("Type", type), textField],
    action: "Create",
    submit: async () => {
      const bad = wrong(type.value, text.value);
      nameField.error(name.value ? "" : "A config needs a key.");
      textField.error(bad);
      if (bad || !name.value) throw new Error("Some of it is not right yet.");
      try {
        return await put(name.value, type.value, text.value, { "if-none-match": "*" });
      } catch (e) {
        throw e.status === 412 ? new Error("There is a config of this key already.") : e;
      }
    },
  });
  if (made) {
    note(`${made.key} is created.`);
    done(made);
  }
}

// Shows what a change does, and does it if the config is still what it was when it was looked at.
async function publish(base, type, text) {
  let now = base;
  const view = h("div", {});
  const show = () =>
    view.replaceChildren(
      h(
        "p",
        { class: "hint" },
        `Version ${now.version} → ${now.version + 1}`,
        now.type !== type ? `, type ${now.type} → ${type}` : "",
        `; last changed by ${now.updated_by} ${ago(now.updated_at)} ago`,
      ),
      diffView(textOf(now), text),
    );
  show();
  return dialog({
    title: `Publish ${base.key}`,
    body: view,
    wide: true,
    action: "Publish",
    submit: async () => {
      try {
        return await put(base.key, type, text, { "if-match": `"${now.version}"` });
      } catch (e) {
        if (e.status !== 412) throw e;
        try {
          now = await get(pathOf(base.key));
        } catch (gone) {
          throw gone.status === 404 ? new Error("It was deleted meanwhile.") : gone;
        }
        show();
        throw new Error(
          `Somebody published version ${now.version} meanwhile. ` +
            "Above is what yours would change now.",
        );
      }
    },
  });
}

// Each version leads to the one before it: what the store held just before it was written.
async function versions(item) {
  const all = [item];
  while (all.length < HISTORY && all[all.length - 1].version > 1) {
    try {
      all.push(await get(`${pathOf(item.key)}?revision=${all[all.length - 1].revision - 1}`));
    } catch (e) {
      if (e.status === 410 || e.status === 404)
        return { all, end: "Older versions were compacted." };
      throw e;
    }
  }
  return { all, end: all[all.length - 1].version > 1 ? "There are older versions." : "" };
}

async function history(item) {
  const view = h("div", { class: "versions" }, h("p", { class: "hint" }, "Reading…"));
  let chosen = null;
  const right = h("div", { class: "compare" });
  const opened = dialog({
    title: `History of ${item.key}`,
    wide: true,
    cancel: "Close",
    action: "Roll back to this version",
    body: [h("div", { class: "split" }, view, right)],
    submit: async () => {
      if (!chosen || chosen.version === item.version)
        throw new Error("Choose an older version first.");
      try {
        return await put(item.key, chosen.type, textOf(chosen), {
          "if-match": `"${item.version}"`,
        });
      } catch (e) {
        throw e.status === 412
          ? new Error("It was changed meanwhile; close this and look again.")
          : e;
      }
    },
  });
  try {
    const { all, end } = await versions(item);
    const pick = (v, before, b) => {
      chosen = v;
      for (const x of view.querySelectorAll("button"))
        x.setAttribute("aria-pressed", String(x === b));
      right.replaceChildren(
        h(
          "p",
          { class: "hint" },
          before ? `What version ${v.version} changed` : `Version ${v.version}`,
        ),
        before
          ? diffView(textOf(before), textOf(v))
          : h("pre", { class: "diff", tabindex: "0", "aria-label": "Value" }, textOf(v)),
      );
    };
    view.replaceChildren(
      ...all.map((v, i) => {
        const b = h(
          "button",
          { type: "button", "aria-pressed": "false", onclick: () => pick(v, all[i + 1], b) },
          h("strong", {}, `Version ${v.version}`),
          h("span", {}, `${v.updated_by}, ${ago(v.updated_at)} ago`),
        );
        return b;
      }),
      h("p", { class: "hint" }, end),
    );
    view.querySelector("button").click();
  } catch (e) {
    view.replaceChildren(h("p", { class: "problem" }, e.message));
  }
  const done = await opened;
  if (done)
    note(`${item.key} is back to what version ${chosen.version} was, as version ${done.version}.`);
}

function editor(close) {
  const node = h("section", { class: "card editor", "aria-label": "Editor" });
  let base = null,
    type = null,
    text = null,
    box = null,
    state = null,
    dirty = false;

  function set(item) {
    base = item;
    dirty = false;
    type = select(item.type);
    text = h("textarea", { class: "mono", spellcheck: "false", rows: "12", value: textOf(item) });
    box = field("Value", text, "Ctrl+S shows what a change would do.");
    state = h("div", {});
    const edited = () => {
      dirty = text.value !== textOf(base) || type.value !== base.type;
      box.error(wrong(type.value, text.value));
      review.disabled = !dirty || Boolean(wrong(type.value, text.value));
    };
    const review = button("Review change", submit, { class: "primary", disabled: true });
    type.addEventListener("change", edited);
    text.addEventListener("input", edited);
    text.addEventListener("keydown", (e) => {
      if (e.key === "s" && (e.ctrlKey || e.metaKey)) {
        e.preventDefault();
        if (!review.disabled) submit();
      }
    });
    async function submit() {
      const done = await publish(base, type.value, text.value);
      if (done) {
        note(`${done.key} is published as version ${done.version}.`);
        set(done);
      }
    }
    const facts = [
      ["Version", count(item.version)],
      ["Revision", count(item.revision)],
      ["Changed by", item.updated_by],
      ["Changed", new Date(item.updated_at).toLocaleString()],
    ];
    node.replaceChildren(
      h(
        "header",
        {},
        h("h2", { class: "key" }, item.key),
        button("✕", close, { class: "plain", "aria-label": "Close the editor" }),
      ),
      h(
        "dl",
        {},
        facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
      ),
      state,
      field("Type", type),
      box,
      h(
        "footer",
        {},
        button("Delete", remove, { class: "quiet danger-text" }),
        button("History", () => history(base)),
        review,
      ),
    );
  }
  async function remove() {
    const done = await dialog({
      title: `Delete ${base.key}?`,
      danger: true,
      action: "Delete",
      body: h(
        "p",
        {},
        "Whoever reads it gets “not found” from then on. " +
          "Its history stays until it is compacted.",
      ),
      submit: async () => {
        try {
          await call("DELETE", pathOf(base.key), undefined, { "if-match": `"${base.version}"` });
        } catch (e) {
          throw e.status === 412
            ? new Error("It was changed meanwhile; look at it again first.")
            : e;
        }
      },
    });
    if (done) {
      note(`${base.key} is deleted.`);
      close();
    }
  }
  return Object.assign(node, {
    open: set,
    key: () => base && base.key,
    dirty: () => dirty,
    // The config that is open has changed elsewhere.
    heard(item) {
      if (!base || (item && item.version === base.version && item.revision === base.revision))
        return;
      if (item && !dirty) {
        set(item);
        node.classList.remove("flash");
        requestAnimationFrame(() => node.classList.add("flash"));
        return;
      }
      state.replaceChildren(
        h(
          "p",
          { class: "problem", role: "status" },
          item
            ? `${item.updated_by} has published version ${item.version} meanwhile. `
            : "It was deleted meanwhile. ",
          item ? button("Take it", () => set(item)) : button("Close", close),
        ),
      );
    },
  });
}

export function configs(root, parameters) {
  const search = h("input", {
    type: "search",
    placeholder: "Search keys and values   /",
    "aria-label": "Search keys and values",
    spellcheck: "false",
    value: parameters.get("find") || "",
  });
  const total = h("span", { class: "hint", role: "status" }),
    state = h("span", { class: "hint" });
  const empty = h("div", { class: "empty", hidden: true });
  const split = h("div", { class: "workbench" });
  let chosen = null;

  const rows = list(pick);
  const edit = editor(() => pick(null));
  const store = new Store(changed, (text) => (state.textContent = text));
  root.append(
    h(
      "header",
      { class: "head" },
      h("h1", {}, "Configs"),
      total,
      state,
      h(
        "div",
        { class: "actions" },
        search,
        button("New config", () => create("", (made) => opened(made)), {
          class: "primary",
          title: "n",
        }),
      ),
    ),
    split,
  );
  split.append(h("div", { class: "card browser" }, rows, empty), edit);
  edit.hidden = true;

  function show() {
    const find = search.value.trim().toLowerCase();
    const keys = find
      ? store.keys.filter((k) => store.items.get(k).text.includes(find))
      : store.keys;
    total.textContent = find
      ? `${count(keys.length)} of ${count(store.keys.length)}`
      : `${count(store.keys.length)}${store.more ? " and more" : ""}`;
    rows.show({ keys, items: store.items, chosen, find });
    empty.hidden = keys.length > 0;
    if (!keys.length)
      empty.replaceChildren(
        find
          ? "Nothing has that in its key or value."
          : h(
              "div",
              {},
              h("h2", {}, "No configs yet"),
              h("p", {}, "Make the first one here, or from a shell:"),
              h(
                "pre",
                {},
                `curl -X PUT ${location.origin}/v1/config/shop/limit -d '{"value": 100}'`,
              ),
            ),
      );
  }
  let waits = false;
  function changed(key) {
    if (key !== null) rows.touch(key);
    if (edit.key() && (key === null || key === edit.key()) && !edit.hidden)
      edit.heard(store.items.get(edit.key()) || null);
    if (waits) return;
    waits = true;
    requestAnimationFrame(() => ((waits = false), show(), wanted()));
  }
  function opened(item) {
    chosen = item.key;
    edit.open(item);
    edit.hidden = false;
    split.classList.add("open");
    show();
    rows.reveal(chosen);
    history_(chosen);
  }
  const history_ = (key) =>
    window.history.replaceState(
      null,
      "",
      key ? `#/configs?key=${encodeURIComponent(key)}` : "#/configs",
    );
  async function pick(key) {
    if (key === chosen && !edit.hidden && key !== null) return;
    if (
      edit.dirty() &&
      !(await dialog({
        title: "Leave your change?",
        action: "Leave it",
        danger: true,
        body: h("p", {}, `What you typed for ${edit.key()} was not published.`),
        submit: () => true,
      }))
    )
      return;
    if (key !== null && store.items.has(key)) {
      opened(store.items.get(key));
      return;
    }
    chosen = null;
    edit.hidden = true;
    split.classList.remove("open");
    show();
    history_(null);
    rows.focus();
  }
  let want = parameters.get("key");
  function wanted() {
    if (want && store.items.has(want)) opened(store.items.get(want));
    want = null;
  }
  search.addEventListener("input", () => ((rows.scrollTop = 0), show()));
  search.addEventListener("keydown", (e) => {
    if (e.key === "ArrowDown") e.preventDefault(), rows.focus();
    if (e.key === "Escape") (search.value = ""), show();
  });
  const minute = setInterval(show, 30000); // "3 min" grows old
  store.follow().catch((e) => {
    state.textContent = "";
    empty.hidden = false;
    empty.replaceChildren(
      h("h2", {}, e.status === 403 ? "You may not read the configs" : "The configs cannot be read"),
      h("p", {}, e.message),
    );
  });
  const stop = () => (clearInterval(minute), store.stop.abort());
  stop.keys = {
    "/": () => search.focus(),
    n: () => create("", opened),
    Escape: () => edit.hidden || pick(null),
  };
  return stop;
}
