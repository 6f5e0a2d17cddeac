// Flags: the list, the switch, the editor, and why a flag is what it is for somebody.
import { h, button, field, dialog, note, count } from "./dom.js";
import { call, get } from "./http.js";
import { subscribe } from "./stream.js";
import { list, marked, searchBox } from "./list.js";
import { canFlag, canFlags } from "./rights.js";
import { chosenEnvironment, environmentPicker, inEnvironment } from "./environments.js";
import { changeOf, faultsOf, mayLeave, meanwhile, review, wrong } from "./publish.js";

const SETTLE_MS = 150; // changes that come together are read at once
const LIST_MAX = 10000;
const SHARED = "$evaluators";
const KEPT = "confman.context"; // what was tried last, of this tab

const urlOf = (name, environment, verb = "") =>
  `/v1/flags/${encodeURIComponent(name)}${verb}?${inEnvironment(environment)}`;
const textOf = (flag) => JSON.stringify(flag.definition, null, 2);
// With what is searched in it.
const prepared = (flag) => ({
  ...flag,
  text: `${flag.name}\n${JSON.stringify(flag.definition)}`.toLowerCase(),
});
const off = (d) => !d || d.state === "DISABLED" || d.kill === true;

const NEW = {
  state: "ENABLED",
  variants: { on: true, off: false },
  defaultVariant: "off",
  targeting: {
    fractional: [
      ["on", 10],
      ["off", 90],
    ],
  },
};

function summary(d) {
  if (!d) return "not a flag";
  const rules =
    d.targeting && Object.keys(d.targeting).length
      ? "rules"
      : d.percentage !== undefined
        ? `${d.percentage} %`
        : "";
  return [
    d.defaultVariant === undefined ? "" : `else ${d.defaultVariant}`,
    rules,
    d.schedule ? "schedule" : "",
  ]
    .filter(Boolean)
    .join(", ");
}

async function readAll(environment) {
  const all = new Map();
  let after = "",
    revision = 0;
  do {
    const page = await get(
      `/v1/flags?${inEnvironment(environment)}&own=true${
        after && `&after=${encodeURIComponent(after)}`
      }`,
    );
    for (const flag of page.flags) all.set(flag.name, prepared(flag));
    revision = revision || page.revision;
    after = page.next || "";
  } while (after && all.size < LIST_MAX);
  return { all, revision };
}

async function one(name, environment) {
  try {
    return await get(`${urlOf(name, environment)}&own=true`);
  } catch (e) {
    if (e.status === 404) return null;
    throw e;
  }
}

const put = (name, environment, text, conditions) =>
  call("PUT", urlOf(name, environment), text, conditions);

const publish = (flag, environment, text) =>
  review({
    title: `Publish ${flag.name} in ${environment}`,
    base: flag,
    after: text,
    json: true,
    before: (now) => textOf(now || flag),
    change: (version) =>
      changeOf({ kind: "flag", environment, key: flag.name }, undefined, text, version),
    read: () => one(flag.name, environment),
    audience: { flags: flag.name, environment },
    puts: canFlag("put", environment, flag.name),
  });

async function create(environment, done) {
  const name = h("input", { autofocus: true, spellcheck: "false", placeholder: "new-checkout" });
  const text = h("textarea", {
    class: "mono",
    rows: "12",
    spellcheck: "false",
    value: JSON.stringify(NEW, null, 2),
  });
  const nameField = field("Name", name),
    textField = field("Definition", text, "In flagd's form: variants, targeting, defaultVariant.");
  const made = await dialog({
    title: `New flag in ${environment}`,
    action: "Create",
    body: [nameField, textField],
    submit: async () => {
      const bad = wrong("json", text.value);
      nameField.error(name.value ? "" : "A flag needs a name.");
      textField.error(bad);
      if (bad || !name.value) throw new Error("Some of it is not right yet.");
      try {
        return await put(name.value, environment, text.value, { "if-none-match": "*" });
      } catch (e) {
        if (e.status === 412) throw new Error("There is a flag of this name already.");
        throw Object.assign(e, { faults: faultsOf(e) });
      }
    },
  });
  if (!made) return;
  note(`${made.name} is created in ${environment}.`);
  done(made);
}

// Who gets what, and why, as the flag is published.
function playground() {
  const context = h("textarea", {
    class: "mono",
    rows: "3",
    spellcheck: "false",
    value: sessionStorage.getItem(KEPT) || '{\n  "targetingKey": "user-7"\n}',
  });
  const box = field("Context", context, "Who asks: targetingKey is what splits go by.");
  const answer = h("div", { class: "answer", role: "status" });
  let which = null;
  const run = button("Evaluate", evaluate);
  async function evaluate() {
    box.error(wrong("json", context.value));
    if (wrong("json", context.value) || !which) return;
    sessionStorage.setItem(KEPT, context.value);
    run.disabled = true;
    try {
      const a = await call(
        "POST",
        urlOf(which.name, which.environment, ":explain"),
        `{"context":${context.value}}`,
      );
      const value = a.value === undefined ? "the caller's own default" : JSON.stringify(a.value);
      answer.replaceChildren(
        h(
          "p",
          {},
          h("strong", { class: "mono" }, a.errorCode ? a.errorDetails || a.errorCode : value),
          " ",
          h("span", { class: "tag accent" }, a.errorCode || a.reason),
          a.variant === undefined ? null : h("span", { class: "tag" }, a.variant),
        ),
        h(
          "ol",
          { class: "trace mono" },
          (a.trace || []).map((line) => h("li", {}, line)),
        ),
      );
    } catch (e) {
      answer.replaceChildren(h("p", { class: "problem" }, e.message));
    }
    run.disabled = false;
    answer.scrollIntoView({ block: "nearest" });
  }
  context.addEventListener("keydown", (e) => {
    if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) (e.preventDefault(), evaluate());
  });
  return Object.assign(
    h(
      "section",
      { class: "playground", "aria-label": "Try it" },
      h("h3", {}, "Try it: what is published, for somebody"),
      box,
      h("div", { class: "line" }, run, h("span", { class: "hint" }, "Ctrl+Enter")),
      answer,
    ),
    {
      about(name, environment) {
        if (which && which.name === name && which.environment === environment)
          return which.asked && evaluate();
        which = { name, environment };
        answer.replaceChildren();
      },
    },
  );
}

function editor(environment, close) {
  const node = h("section", { class: "card editor", "aria-label": "Editor" });
  const trial = playground();
  let base = null,
    text = null,
    state = null,
    dirty = false;
  function set(flag) {
    base = flag;
    dirty = false;
    const on = !off(flag.definition);
    text = h("textarea", { class: "mono", spellcheck: "false", rows: "10", value: textOf(flag) });
    state = h("div", {});
    const able = (verb) => canFlag(verb, environment(), flag.name),
      writes = able("propose");
    text.readOnly = !writes;
    const box = field(
      "Definition",
      text,
      writes ? "Ctrl+S shows what a change would do." : "You may read it, not change it.",
    );
    const go = button("Review change", () => submit(text.value), {
      class: "primary",
      disabled: true,
      hidden: !writes,
    });
    const edited = () => {
      dirty = text.value !== textOf(base);
      box.error(wrong("json", text.value));
      go.disabled = !dirty || Boolean(wrong("json", text.value));
    };
    text.addEventListener("input", edited);
    text.addEventListener("keydown", (e) => {
      if (e.key === "s" && (e.ctrlKey || e.metaKey))
        (e.preventDefault(), go.disabled || submit(text.value));
    });
    const turn = h(
      "button",
      {
        type: "button",
        role: "switch",
        "aria-checked": String(on),
        class: "switch",
        "aria-label": `${flag.name} is on`,
        disabled: !flag.definition || !writes,
        onclick: () => submit(JSON.stringify(turned(on), null, 2)),
      },
      h("span", {}),
      on ? "On" : "Off",
    );
    node.replaceChildren(
      h(
        "header",
        {},
        h("h2", { class: "key" }, flag.name),
        turn,
        button("✕", close, { class: "plain", "aria-label": "Close the editor" }),
      ),
      h(
        "p",
        { class: "hint" },
        `Version ${count(flag.version)}, revision ${count(flag.revision)}`,
        on ? "" : ": callers get their own default, or the default variant",
      ),
      state,
      box,
      h(
        "footer",
        {},
        button("Delete", remove, { class: "quiet danger-text", hidden: !able("delete") }),
        go,
      ),
      trial,
    );
    trial.about(flag.name, environment());
  }
  function turned(on) {
    const d = { ...base.definition, state: on ? "DISABLED" : "ENABLED" };
    if (!on) delete d.kill;
    return d;
  }
  async function submit(after) {
    const done = await publish(base, environment(), after);
    if (done && done.draft) set(base);
    else if (done) {
      note(`${done.name} is published as version ${done.version}.`);
      set(done);
    }
  }
  async function remove() {
    const done = await dialog({
      title: `Delete ${base.name}?`,
      danger: true,
      action: "Delete",
      body: h("p", {}, "Whoever asks for it gets their own default from then on."),
      submit: async () => {
        try {
          await call("DELETE", urlOf(base.name, environment()), undefined, {
            "if-match": `"${base.version}"`,
          });
        } catch (e) {
          throw e.status === 412
            ? new Error("It was changed meanwhile; look at it again first.")
            : e;
        }
      },
    });
    if (!done) return;
    note(`${base.name} is deleted.`);
    dirty = false;
    close();
  }
  return Object.assign(node, {
    open: set,
    which: () => base && base.name,
    dirty: () => dirty,
    heard(flag) {
      if (flag && flag.revision === base.revision) return;
      if (flag && !dirty) return set(flag);
      state.replaceChildren(meanwhile(flag, () => set(flag), close));
    },
  });
}

export function flags(root, parameters) {
  const total = h("span", { class: "hint", role: "status" }),
    state = h("span", { class: "hint" });
  const empty = h("div", { class: "empty", hidden: true });
  const split = h("div", { class: "workbench" });
  let environment = chosenEnvironment(parameters, (x) => x !== "*"),
    all = new Map(),
    ids = [];
  let chosen = null,
    stop = () => {},
    want = parameters.get("flag");

  const rows = list({ label: "Flags", pick, cells });
  const search = searchBox("Search flags", rows, show);
  const edit = editor(
    () => environment,
    () => pick(null),
  );
  const picker = environmentPicker(environment, { changed: follow });
  picker.ready.catch(failed);
  const writes = () => canFlags("put", environment);
  const maker = button("New flag", make, { class: "primary", title: "n", hidden: !writes() });
  root.append(
    h(
      "header",
      { class: "head" },
      h("h1", {}, "Flags"),
      picker,
      total,
      state,
      h("div", { class: "actions" }, search, maker),
    ),
    split,
  );
  split.append(h("div", { class: "card browser" }, rows, empty), edit);
  edit.hidden = true;

  function cells(name, find) {
    const { definition: d, version } = all.get(name);
    return [
      h(
        "span",
        { class: "key" },
        h("span", { class: off(d) ? "dot" : "dot good" }),
        marked(name, find),
      ),
      h("span", { class: "value" }, summary(d)),
      h("span", { class: "tag" }, off(d) ? "off" : "on"),
      h("span", { class: "when" }, `v${version}`),
    ];
  }
  function show() {
    const find = search.value.trim().toLowerCase();
    const shown = find ? ids.filter((x) => all.get(x).text.includes(find)) : ids;
    total.textContent = find ? `${count(shown.length)} of ${count(ids.length)}` : count(ids.length);
    rows.show({ ids: shown, chosen, find });
    empty.hidden = shown.length > 0;
    if (!shown.length)
      empty.replaceChildren(
        ...(find
          ? ["No flag has that in its name or definition."]
          : [
              h("h2", {}, "No flags here yet"),
              h("p", {}, "Make the first one here, or from a shell:"),
              h(
                "pre",
                {},
                `confman flag set new-checkout --environment ${environment} < new-checkout.json`,
              ),
            ]),
      );
  }
  function changed(items) {
    for (const item of items) {
      const flag = { ...item, name: item.flag };
      if (flag.name === SHARED) continue; // rules that flags share: none of them has changed itself
      if (flag.deleted) all.delete(flag.name);
      else all.set(flag.name, prepared(flag));
      rows.touch(flag.name);
      if (edit.which() === flag.name && !edit.hidden) edit.heard(all.get(flag.name) || null);
    }
    ids = [...all.keys()].sort();
    show();
  }
  async function read() {
    const of = environment;
    let revision;
    try {
      const found = await readAll(of);
      if (of !== environment) return;
      ({ all, revision } = found);
    } catch (e) {
      return failed(e);
    }
    stop = subscribe({ flags: "", environment: of }, revision, {
      changes: changed,
      again: () => (stop(), read()),
      state: (s) => (state.textContent = s === "live" ? "" : "away: what you see may be old"),
    });
    changed([]);
    if (edit.which() && !edit.hidden) edit.heard(all.get(edit.which()) || null);
    if (want && all.has(want)) opened(all.get(want));
    want = null;
  }
  function follow(name) {
    stop();
    environment = name;
    maker.hidden = !writes();
    [all, ids] = [new Map(), []];
    if (!edit.hidden) shut();
    show();
    empty.hidden = true;
    read();
  }
  const made = (flag) => (all.set(flag.name, prepared(flag)), opened(flag));
  function make() {
    create(environment, made);
  }
  function opened(flag) {
    chosen = flag.name;
    edit.open(flag);
    edit.hidden = false;
    split.classList.add("open");
    show();
    rows.reveal(chosen);
    place();
  }
  const place = () =>
    window.history.replaceState(
      null,
      "",
      `#/flags?${new URLSearchParams({ environment, ...(chosen ? { flag: chosen } : {}) })}`,
    );
  function shut() {
    chosen = null;
    edit.hidden = true;
    split.classList.remove("open");
    show();
    place();
  }
  async function pick(name) {
    if (name !== null && name === chosen) return;
    if (edit.dirty() && !(await mayLeave(edit.which()))) return;
    if (name !== null && all.has(name)) return opened(all.get(name));
    shut();
    rows.focus();
  }
  function failed(e) {
    if (e instanceof TypeError) throw e; // a bug of the page
    empty.hidden = false;
    empty.replaceChildren(
      h("h2", {}, e.status === 403 ? "You may not read these flags" : "The flags cannot be read"),
      h("p", {}, e.message),
    );
  }
  const end = () => stop();
  end.keys = {
    "/": () => search.focus(),
    n: () => writes() && make(),
    Escape: () => edit.hidden || pick(null),
  };
  return end;
}
