// Schemas and guards: what configs must be, and how much of them may be changed at once by whom.
import { h, button, count, dialog, field, note, refill, since } from "./dom.js";
import { call, get } from "./http.js";
import { diffView } from "./diff.js";
import { environments } from "./environments.js";
import { list, marked, searchBox } from "./list.js";
import { bodyOf, faultsOf, mayLeave, TYPES, wrong } from "./publish.js";
import { may, mayBelow } from "./rights.js";

const SETTLE_MS = 400; // after the last key, what was typed is looked at
const KINDS = {
  schema: { path: "/v1/schemas", root: "confman/schema/", title: "Schema" },
  guard: { path: "/v1/guards", root: "confman/guard/", title: "Guard" },
};
const NEW_SCHEMA = `{
  "type": "object",
  "required": ["host"],
  "properties": {
    "host": { "type": "string" },
    "port": { "type": "integer", "minimum": 1, "maximum": 65535 }
  }
}`;

const named = (key) => key || "all configs";
const pathOf = (kind, key) =>
  `${KINDS[kind].path}/${key.split("/").map(encodeURIComponent).join("/")}`;
const idOf = (r) => `${r.kind}\n${r.key}`;
const textOf = (r) => JSON.stringify(r[r.kind], null, 2);

function summary(r) {
  if (r.kind === "schema") return "what they must be";
  const g = r.guard;
  return [
    g.approvals ? `${count(g.approvals)} approval${g.approvals === 1 ? "" : "s"}` : "",
    g.max_value_bytes === undefined ? "" : `at most ${count(g.max_value_bytes)} bytes each`,
    g.max_deleted_percent === undefined ? "" : `at most ${g.max_deleted_percent} % deleted at once`,
    g.environments ? `in ${g.environments.join(", ")}` : "everywhere",
  ]
    .filter(Boolean)
    .join(", ");
}

// What a schema says of the values that stand.
function told(values) {
  const rest = values.complete ? "" : " Not all of them were looked at.";
  if (!values.broken)
    return h(
      "p",
      { class: "hint" },
      values.checked
        ? `All of the ${count(values.checked)} values that stand are so.`
        : "No value of that name stands yet.",
      rest,
    );
  return h(
    "div",
    { class: "problem" },
    `${count(values.broken)} of the ${count(values.checked)} values that stand are not so` +
      `; they stay, and whoever changes them next has to set them right.${rest}`,
    h(
      "ul",
      {},
      values.errors.map((x) =>
        h("li", {}, `${x.key} in ${x.environment}, ${x.pointer || "the value"}: ${x.detail}`),
      ),
    ),
  );
}

// A schema as text. key(): of which configs; changed() is told of every change of what could be
// saved.
function schemaForm(r, key, changed) {
  const text = h("textarea", {
    class: "mono",
    rows: "14",
    spellcheck: "false",
    value: r.schema === undefined ? NEW_SCHEMA : textOf(r),
  });
  const box = field("JSON Schema", text, "Draft 2020-12, or the one that $schema names.");
  const state = h("div", { role: "status" });
  let timer = 0,
    asked = 0;
  async function look() {
    const mine = ++asked;
    const show = (...what) => mine === asked && refill(state, ...what);
    try {
      const plan = await call("PUT", `${pathOf("schema", key())}?dry_run=true`, text.value);
      if (mine === asked) box.error("");
      show(told(plan.values));
    } catch (e) {
      if (mine === asked) box.error([...faultsOf(e)].join("\n") || e.message);
      show();
    }
  }
  const settle = () => {
    clearTimeout(timer);
    const bad = wrong("json", text.value);
    box.error(bad);
    refill(state);
    if (!bad) timer = setTimeout(look, SETTLE_MS);
    changed();
  };
  text.addEventListener("input", settle);
  timer = setTimeout(look, 0);
  return {
    nodes: [box, state, trial(key, text)],
    renamed: settle,
    text: () => text.value,
    wrong: () => wrong("json", text.value),
    end: () => (clearTimeout(timer), asked++),
  };
}

// Would this value be taken? What is asked is the schema as it stands in the editor.
function trial(key, schema) {
  const type = h(
    "select",
    { class: "inline" },
    TYPES.map((t) => h("option", { value: t, selected: t === "json" }, t)),
  );
  const text = h("textarea", { class: "mono", rows: "3", spellcheck: "false", value: "{}" });
  const box = field("Value", text),
    answer = h("div", { role: "status" });
  async function run() {
    const bad = wrong(type.value, text.value);
    box.error(bad);
    if (bad) return;
    try {
      await call(
        "POST",
        pathOf("schema", key()),
        `{"schema":${schema.value},${bodyOf(type.value, text.value).slice(1)}`,
      );
      refill(answer, h("p", { class: "good-words" }, "It would be taken."));
    } catch (e) {
      const faults = faultsOf(e);
      refill(
        answer,
        h(
          "div",
          { class: "problem" },
          faults.length ? "It would be refused." : e.message,
          faults.length
            ? h(
                "ul",
                {},
                faults.map((x) => h("li", {}, x)),
              )
            : null,
        ),
      );
    }
  }
  text.addEventListener("keydown", (e) => {
    if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) (e.preventDefault(), run());
  });
  return h(
    "section",
    { class: "playground", "aria-label": "Try it" },
    h("h3", {}, "Try a value against it, as it stands above"),
    box,
    h(
      "div",
      { class: "line" },
      button("Try", run),
      h("label", { class: "picker" }, h("span", { class: "hint" }, "as a"), type),
      h("span", { class: "hint" }, "Ctrl+Enter"),
    ),
    answer,
  );
}

const whole = (input) => (input.value.trim() === "" ? undefined : Number(input.value));

// A guard as a form.
function guardForm(r, _, changed) {
  const g = r.guard || { max_deleted_percent: 20, approvals: 1 };
  const number = (value, max) =>
    h("input", { type: "number", min: "0", max, step: "1", value: value ?? "" });
  const bytes = number(g.max_value_bytes, 2147483647),
    deleted = number(g.max_deleted_percent, 100),
    approvals = number(g.approvals, 10);
  const author = h("input", { type: "checkbox", checked: g.author_may_approve });
  const places = h("div", { class: "checks" });
  const fields = {
    max_value_bytes: field("Largest value, in bytes", bytes, "Left empty: any."),
    max_deleted_percent: field(
      "Deleted at once, in percent",
      deleted,
      "Of the configs below the name, by one transaction in one environment; left empty: any.",
    ),
    approvals: field(
      "Approvals needed",
      approvals,
      "Others who agree to a draft before it counts.",
    ),
  };
  const box = (name, checked) =>
    h("label", {}, h("input", { type: "checkbox", value: name, checked }), name);
  environments()
    .then((all) => {
      const names = [...new Set([...all.map((x) => x.name), ...(g.environments || [])])];
      places.replaceChildren(...names.map((n) => box(n, (g.environments || []).includes(n))));
    })
    .catch((e) => refill(places, h("p", { class: "hint" }, e.message)));
  function text() {
    const chosen = [...places.querySelectorAll("input:checked")].map((x) => x.value);
    const held = {
      max_value_bytes: whole(bytes),
      max_deleted_percent: whole(deleted),
      approvals: whole(approvals),
      author_may_approve: author.checked || undefined,
      environments: chosen.length ? chosen : places.childElementCount ? undefined : g.environments,
    };
    return JSON.stringify(held, null, 2);
  }
  const form = h(
    "div",
    { class: "guard" },
    Object.values(fields),
    h("div", { class: "checks" }, h("label", {}, author, "who proposes it counts as one of them")),
    h(
      "fieldset",
      {},
      h("legend", {}, "In these environments"),
      places,
      h("p", { class: "hint" }, "None chosen: in all of them."),
    ),
  );
  form.addEventListener("input", changed);
  return {
    nodes: [form],
    text,
    renamed() {},
    wrong: () => "",
    end: () => {},
    refused(e) {
      for (const [name, node] of Object.entries(fields)) {
        const fault = ((e.body && e.body.errors) || []).find((x) => x.pointer === `/${name}`);
        node.error(fault ? fault.detail : "");
      }
    },
  };
}

function editor(close, saved) {
  const node = h("section", { class: "card editor", "aria-label": "Editor" });
  let r = null,
    form = null,
    before = "",
    name = null;
  const fresh = () => r.version === undefined;
  const dirty = () => Boolean(form) && (fresh() || form.text() !== before);

  async function save() {
    const key = fresh() ? name.value.trim() : r.key;
    const conditions = fresh() ? { "if-none-match": "*" } : { "if-match": `"${r.version}"` };
    const at = pathOf(r.kind, key),
      text = form.text();
    let plan = null;
    try {
      plan = await call("PUT", `${at}?dry_run=true`, text);
    } catch (e) {
      if (form.refused) form.refused(e);
      note([e.message, ...faultsOf(e)].join("\n"), true);
      return;
    }
    const done = await dialog({
      title: `${KINDS[r.kind].title} of ${named(key)}`,
      wide: true,
      action: "Save",
      body: [
        diffView(fresh() ? null : before, text, { json: true }),
        plan.values ? told(plan.values) : null,
      ],
      submit: async () => {
        try {
          return await call("PUT", at, text, conditions);
        } catch (e) {
          if (e.status !== 412) throw Object.assign(e, { faults: faultsOf(e) });
          throw new Error(
            fresh()
              ? "There is one of this name already."
              : "Somebody saved another one meanwhile: close this and look at it first.",
          );
        }
      },
    });
    if (!done) return;
    note(`The ${r.kind} of ${named(key)} is saved.`);
    form = null;
    saved({ ...done, kind: r.kind });
  }
  async function remove() {
    const done = await dialog({
      title: `Delete the ${r.kind} of ${named(r.key)}?`,
      danger: true,
      action: "Delete",
      body: h(
        "p",
        {},
        r.kind === "schema"
          ? "From then on any value is taken, unless another schema holds."
          : "From then on they may be changed without it, unless another guard holds.",
      ),
      submit: () =>
        call("DELETE", pathOf(r.kind, r.key), undefined, { "if-match": `"${r.version}"` }),
    });
    if (!done) return;
    note(`The ${r.kind} of ${named(r.key)} is deleted.`);
    form = null;
    close();
    saved(null);
  }
  function open(rule) {
    if (form) form.end();
    r = rule;
    const writes = may("write", KINDS[r.kind].root + r.key);
    const go = button("Save", save, { class: "primary", disabled: true });
    const edited = () => (go.disabled = !dirty() || Boolean(form.wrong()));
    form = (r.kind === "schema" ? schemaForm : guardForm)(r, () => r.key, edited);
    before = r.version === undefined ? "" : form.text();
    name = h("input", { spellcheck: "false", class: "mono", placeholder: "shop/", value: r.key });
    name.addEventListener("input", () => {
      r = { ...r, key: name.value.trim() };
      form.renamed();
    });
    refill(
      node,
      h(
        "header",
        {},
        h("h2", { class: "key" }, fresh() ? `New ${r.kind}` : named(r.key)),
        h("span", { class: "tag" }, r.kind),
        button("✕", close, { class: "plain", "aria-label": "Close the editor" }),
      ),
      fresh()
        ? field(
            "Configs",
            name,
            "A key, or what keys begin with, up to a slash; left empty: all configs.",
          )
        : h(
            "p",
            { class: "hint" },
            `Version ${count(r.version)}, by ${r.updated_by} `,
            since(r.updated_at),
            writes ? "" : ". You may read it, not change it.",
          ),
      form.nodes,
      h(
        "footer",
        {},
        fresh() || !writes ? null : button("Delete", remove, { class: "quiet danger-text" }),
        writes || fresh() ? go : null,
      ),
    );
    edited();
    if (fresh()) name.focus();
  }
  return Object.assign(node, {
    open,
    dirty: () => Boolean(form) && r && (fresh() ? name.value.trim() !== "" : dirty()),
    name: () => named(r.key),
    end: () => form && form.end(),
  });
}

export function rules(root, parameters) {
  const total = h("span", { class: "hint", role: "status" });
  const empty = h("div", { class: "empty", hidden: true });
  const split = h("div", { class: "workbench" });
  let all = new Map(),
    chosen = null,
    stopped = false;
  const rows = list({
    label: "Schemas and guards",
    pick,
    cells: (id, find) => {
      const r = all.get(id);
      return [
        h("span", { class: "key" }, r.key ? marked(r.key, find) : h("em", {}, named(""))),
        h("span", { class: "value" }, summary(r)),
        h("span", { class: r.kind === "guard" ? "tag accent" : "tag" }, r.kind),
        h("span", { class: "when" }, since(r.updated_at, "")),
      ];
    },
  });
  const search = searchBox("Search schemas and guards", rows, show);
  const side = editor(() => pick(null), changed);
  side.hidden = true;
  const make = (kind) => () => pick(null).then((left) => left && opened({ kind, key: "" }));
  const makers = Object.keys(KINDS).filter((kind) => mayBelow("write", KINDS[kind].root));
  root.append(
    h(
      "header",
      { class: "head" },
      h("h1", {}, "Schemas and guards"),
      total,
      h(
        "div",
        { class: "actions" },
        search,
        makers.map((kind) =>
          button(`New ${kind}`, make(kind), {
            class: kind === "schema" ? "primary" : "",
            title: kind === "schema" ? "n" : undefined,
          }),
        ),
      ),
    ),
    split,
  );
  split.append(h("div", { class: "card browser" }, rows, empty), side);

  function show() {
    const find = search.value.trim().toLowerCase();
    const ids = [...all.keys()].filter((id) => id.toLowerCase().includes(find));
    total.textContent = find ? `${count(ids.length)} of ${count(all.size)}` : count(all.size);
    rows.show({ ids, chosen, find });
    empty.hidden = ids.length > 0;
    if (!ids.length)
      refill(
        empty,
        find
          ? h("p", {}, "No schema or guard has that in its name.")
          : [
              h("h2", {}, "No schemas and no guards yet"),
              h("p", {}, "A schema says what configs must be, a guard how they may be changed:"),
              h(
                "pre",
                {},
                "confman schema set shop/ shop.schema.json\nconfman guard set shop/ guard.json",
              ),
            ],
      );
  }
  async function read() {
    try {
      const [schemas, guards] = await Promise.all(
        Object.values(KINDS).map((k) => get(k.path).then((page) => page.items)),
      );
      if (stopped) return;
      const found = [
        ...schemas.map((x) => ({ ...x, kind: "schema" })),
        ...guards.map((x) => ({ ...x, kind: "guard" })),
      ].sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.kind < b.kind ? 1 : -1));
      all = new Map(found.map((x) => [idOf(x), x]));
      show();
    } catch (e) {
      if (e instanceof TypeError) throw e; // a bug of the page
      empty.hidden = false;
      refill(
        empty,
        h("h2", {}, e.status === 403 ? "You may not read these" : "They cannot be read"),
        h("p", {}, e.message),
      );
    }
  }
  async function changed(r) {
    await read();
    if (r) opened(r);
  }
  async function opened(r) {
    try {
      side.open(
        r.version === undefined ? r : { kind: r.kind, ...(await get(pathOf(r.kind, r.key))) },
      );
    } catch (e) {
      note(e.message, true);
      return;
    }
    chosen = r.version === undefined ? null : idOf(r);
    side.hidden = false;
    split.classList.add("open");
    show();
    rows.reveal(chosen);
    place();
  }
  const place = () =>
    window.history.replaceState(
      null,
      "",
      chosen
        ? `#/rules?${new URLSearchParams({ kind: all.get(chosen).kind, key: all.get(chosen).key })}`
        : "#/rules",
    );
  // Gives whether what was open could be left.
  async function pick(id) {
    if (id !== null && id === chosen) return true;
    if (!side.hidden && side.dirty() && !(await mayLeave(side.name()))) return false;
    if (id !== null && all.has(id)) {
      opened(all.get(id));
      return true;
    }
    side.end();
    chosen = null;
    side.hidden = true;
    split.classList.remove("open");
    show();
    place();
    rows.focus();
    return true;
  }
  read().then(() => {
    const want = all.get(`${parameters.get("kind")}\n${parameters.get("key")}`);
    if (want) opened(want);
  });
  const end = () => ((stopped = true), side.end());
  end.keys = {
    "/": () => search.focus(),
    n: () => makers.length && make(makers[0])(),
    Escape: () => side.hidden || pick(null),
  };
  return end;
}
