// Configs: the list, the editor, and what a change would do.
import { h, button, field, dialog, menu, note, ago, count, since } from "./dom.js";
import { call, get, queryOf } from "./http.js";
import { list, marked, searchBox } from "./list.js";
import { Store, idOf, previewOf, urlOf } from "./store.js";
import { chosenEnvironment, environmentPicker } from "./environments.js";
import {
  TYPES,
  bodyOf,
  changeOf,
  faultsOf,
  mayLeave,
  meanwhile,
  review,
  textOf,
  wrong,
} from "./publish.js";
import { history } from "./history.js";
import { rollback } from "./rollback.js";
import { exportFile, importFile } from "./transfer.js";
import { canConfig, canConfigs } from "./rights.js";

const put = (key, environment, type, text, conditions) =>
  call("PUT", urlOf(key, environment), bodyOf(type, text), conditions);

const select = (value) =>
  h(
    "select",
    { "aria-label": "Type" },
    TYPES.map((t) => h("option", { value: t, selected: t === value }, t)),
  );

async function create({ environment, known }, done) {
  const all = known.map((x) => x.name);
  const name = h("input", {
    autofocus: true,
    spellcheck: "false",
    placeholder: "shop/checkout/timeout",
  });
  const where = h(
    "select",
    {},
    all.map((x) => h("option", { selected: x === environment }, x)),
  );
  const type = select("string"),
    text = h("textarea", { rows: "5", spellcheck: "false", class: "mono" });
  const nameField = field("Key", name, "Slashes make groups."),
    textField = field("Value", text);
  type.addEventListener("change", () =>
    textField.error(text.value && wrong(type.value, text.value)),
  );
  const made = await dialog({
    title: "New config",
    action: "Create",
    body: [
      nameField,
      h("div", { class: "fields" }, field("Environment", where), field("Type", type)),
      textField,
    ],
    submit: async () => {
      const bad = wrong(type.value, text.value);
      nameField.error(name.value ? "" : "A config needs a key.");
      textField.error(bad);
      if (bad || !name.value) throw new Error("Some of it is not right yet.");
      try {
        return await put(name.value, where.value, type.value, text.value, { "if-none-match": "*" });
      } catch (e) {
        textField.error(faultsOf(e).join("\n"));
        throw e.status === 412 ? new Error("There is a config of this key already.") : e;
      }
    },
  });
  if (made) {
    note(`${made.key} is created in ${made.environment}.`);
    done(made);
  }
}

// What the environment has itself, or null.
async function own(key, environment) {
  try {
    return await get(urlOf(key, environment, "&own=true"));
  } catch (e) {
    if (e.status === 404) return null;
    throw e;
  }
}

const publish = (item, type, text) =>
  review({
    title: `Publish ${item.key} in ${item.environment}`,
    base: item.from ? null : item,
    after: text,
    json: type === "json" && item.type === "json",
    before: (now) => textOf(now || item),
    say: (now) =>
      now
        ? now.type !== type
          ? `, type ${now.type} → ${type}`
          : ""
        : `: from then on ${item.environment} has its own and does not follow ${item.from}`,
    change: (version) =>
      changeOf({ environment: item.environment, key: item.key }, type, text, version),
    dry: () => call("PUT", urlOf(item.key, item.environment, "&dry_run=true"), bodyOf(type, text)),
    read: () => own(item.key, item.environment),
    audience: { key: item.key, environment: item.environment },
    puts: canConfig("put", item.environment, item.key),
  });

// What would count if the environment had none of its own.
async function hidden(item, chain) {
  if (item.from || chain.length < 2) return null;
  try {
    const other = await get(urlOf(item.key, chain[1]));
    const whose = other.from || other.environment;
    return `Here instead of what ${whose} has: ${previewOf(other)}`;
  } catch {
    return null;
  }
}

function editor(close) {
  const node = h("section", { class: "card editor", "aria-label": "Editor" });
  let base = null,
    type = null,
    text = null,
    box = null,
    state = null,
    dirty = false,
    chain = [];

  function set(item) {
    base = item;
    dirty = false;
    const able = (verb) => canConfig(verb, item.environment, item.key),
      writes = able("propose");
    type = select(item.type);
    text = h("textarea", { class: "mono", spellcheck: "false", rows: "12", value: textOf(item) });
    text.readOnly = !writes;
    type.disabled = !writes;
    box = field(
      "Value",
      text,
      writes ? "Ctrl+S shows what a change would do." : "You may read it, not change it.",
    );
    state = h("div", {});
    const edited = () => {
      dirty = text.value !== textOf(base) || type.value !== base.type;
      box.error(wrong(type.value, text.value));
      go.disabled = !dirty || Boolean(wrong(type.value, text.value));
    };
    const go = button("Review change", submit, {
      class: "primary",
      disabled: true,
      hidden: !writes,
    });
    type.addEventListener("change", edited);
    text.addEventListener("input", edited);
    text.addEventListener("keydown", (e) => {
      if (e.key === "s" && (e.ctrlKey || e.metaKey)) {
        e.preventDefault();
        if (!go.disabled) submit();
      }
    });
    async function submit() {
      const done = await publish(base, type.value, text.value);
      if (done && done.draft) set(base);
      else if (done) {
        note(`${done.key} is published as version ${done.version}.`);
        set(done);
      }
    }
    const facts = [
      [
        "Environment",
        item.from
          ? h("span", { class: "tag accent" }, `inherited from ${item.from}`)
          : item.environment,
      ],
      ["Version", `${count(item.version)} (revision ${count(item.revision)})`],
      ["Changed by", item.updated_by],
      ["Changed", since(item.updated_at)],
    ];
    const over = h("p", { class: "hint over" }),
      { environment } = item;
    hidden(item, chain).then((words) => (over.textContent = words || ""));
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
      over,
      state,
      field("Type", type),
      box,
      h(
        "footer",
        {},
        item.from || !able("delete")
          ? h("span", { class: "grow" })
          : button("Delete", remove, { class: "quiet danger-text" }),
        button(
          "Who runs it",
          () => (location.hash = `#/deliveries?${queryOf({ key: base.key, environment })}`),
          { class: "quiet" },
        ),
        button("History", () => history(base.key, base.from || base.environment)),
        go,
      ),
    );
  }
  async function remove() {
    const done = await dialog({
      title: `Delete ${base.key} in ${base.environment}?`,
      danger: true,
      action: "Delete",
      body: h(
        "p",
        {},
        "Whoever reads it gets what the environment inherits, or “not found”. " +
          "Its history stays until it is compacted.",
      ),
      submit: async () => {
        try {
          await call("DELETE", urlOf(base.key, base.environment), undefined, {
            "if-match": `"${base.version}"`,
          });
        } catch (e) {
          throw e.status === 412
            ? new Error("It was changed meanwhile; look at it again first.")
            : e;
        }
      },
    });
    if (done) {
      note(`${base.key} is deleted.`);
      dirty = false;
      close();
    }
  }
  return Object.assign(node, {
    open: (item, levels) => ((chain = levels), set(item)),
    which: () => base && idOf(base),
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
      state.replaceChildren(meanwhile(item, () => set(item), close));
    },
  });
}

export function configs(root, parameters) {
  const total = h("span", { class: "hint", role: "status" }),
    state = h("span", { class: "hint" });
  const empty = h("div", { class: "empty", hidden: true });
  const split = h("div", { class: "workbench" });
  let chosen = null,
    waits = false,
    stopped = false,
    want = parameters.get("key");

  const rows = list({ label: "Configs", pick, cells });
  const search = searchBox("Search keys and values", rows, show, parameters.get("find"));
  const edit = editor(() => pick(null));
  const tell = (text) => (state.textContent = text);
  const first = chosenEnvironment(parameters);
  let store = new Store(first, [{ name: first }], changed, tell); // until the others are known
  const picker = environmentPicker(first, { all: true, changed: follow });
  picker.ready.catch(failed);
  const here = () => (store.all() ? null : store.environment);
  const writes = () => store.sources.some((x) => canConfigs("put", x));
  const more = h("span", { class: "contents" }),
    maker = button("New config", create_, { class: "primary", title: "n" });
  // What may be done in the environment that is looked at.
  function offer() {
    const may = writes(),
      one = here();
    maker.hidden = !may;
    more.replaceChildren(
      menu("More", [
        one && ["Export a file", () => exportFile(one, "")],
        one && may && ["Import a file", () => importFile(one)],
        may && ["Roll back", () => rollback(one)],
        !one && ["Files: choose an environment", () => picker.querySelector("select").focus()],
      ]),
    );
  }
  offer();
  root.append(
    h(
      "header",
      { class: "head" },
      h("h1", {}, "Configs"),
      picker,
      total,
      state,
      h("div", { class: "actions" }, search, more, maker),
    ),
    split,
  );
  split.append(h("div", { class: "card browser" }, rows, empty), edit);
  edit.hidden = true;

  function create_() {
    create(
      store,
      (made) => (store.all() || made.environment === store.environment) && opened(made),
    );
  }
  function cells(id, find) {
    const item = store.items.get(id),
      from = store.all() ? item.environment : item.from;
    return [
      h("span", { class: item.from ? "key inherited" : "key" }, marked(item.key, find)),
      h("span", { class: "value mono" }, item.line),
      h(
        "span",
        { class: from && !store.all() ? "tag accent" : "tag" },
        from ? (store.all() ? from : `from ${from}`) : item.type,
      ),
      h("span", { class: "when" }, ago(item.updated_at)),
    ];
  }
  function show() {
    const find = search.value.trim().toLowerCase();
    const ids = find ? store.ids.filter((k) => store.items.get(k).text.includes(find)) : store.ids;
    total.textContent = find
      ? `${count(ids.length)} of ${count(store.ids.length)}`
      : `${count(store.ids.length)}${store.more ? " and more" : ""}`;
    rows.show({ ids, chosen, find });
    empty.hidden = ids.length > 0;
    if (ids.length) return;
    const key = search.value.trim();
    empty.replaceChildren(
      ...(find
        ? [
            h("p", {}, "Nothing has that in its key or value."),
            store.all()
              ? null
              : button(`Was there a config “${key}”?`, () => history(key, store.environment)),
          ].filter(Boolean)
        : [
            h("h2", {}, "No configs yet"),
            h("p", {}, "Make the first one here, or from a shell:"),
            h("pre", {}, `curl -X PUT ${location.origin}/v1/config/shop/limit -d '{"value": 100}'`),
          ]),
    );
  }
  function changed(id) {
    if (id !== null) rows.touch(id);
    if (edit.which() && (id === null || id === edit.which()) && !edit.hidden)
      edit.heard(store.items.get(edit.which()) || null);
    if (waits) return;
    waits = true;
    requestAnimationFrame(() => ((waits = false), stopped || show(), wanted()));
  }
  function opened(item) {
    chosen = idOf(item);
    edit.open(item, store.chain);
    edit.hidden = false;
    split.classList.add("open");
    show();
    rows.reveal(chosen);
    place(item.key);
  }
  const place = (key) =>
    window.history.replaceState(
      null,
      "",
      `#/configs?${new URLSearchParams({
        environment: store.environment,
        ...(key ? { key } : {}),
      })}`,
    );
  async function pick(id) {
    if (id === chosen && !edit.hidden && id !== null) return;
    if (edit.dirty() && !(await mayLeave(edit.key()))) return;
    if (id !== null && store.items.has(id)) {
      opened(store.items.get(id));
      return;
    }
    shut();
    rows.focus();
  }
  function shut() {
    chosen = null;
    edit.hidden = true;
    split.classList.remove("open");
    show();
    place(null);
  }
  function wanted() {
    const id = want && store.ids.find((x) => store.items.get(x).key === want);
    if (id) opened(store.items.get(id));
    want = null;
  }
  function failed(e) {
    if (e instanceof TypeError) throw e; // a bug of the page
    state.textContent = "";
    empty.hidden = false;
    empty.replaceChildren(
      h(
        "h2",
        {},
        e.status === 403 ? "You may not read these configs" : "The configs cannot be read",
      ),
      h("p", {}, e.message),
    );
  }
  function follow(environment, known) {
    if (stopped) return;
    store.stop();
    rows.show({ ids: [], chosen: null });
    store = new Store(environment, known, changed, tell);
    if (!edit.hidden) shut();
    offer();
    store.follow().catch(failed);
  }
  const minute = setInterval(show, 30000); // "3 min" grows old
  const stop = () => ((stopped = true), clearInterval(minute), store.stop());
  stop.keys = {
    "/": () => search.focus(),
    n: () => writes() && create_(),
    Escape: () => edit.hidden || pick(null),
  };
  return stop;
}
