// Secrets: their names, their versions, and one of them in the open for as long as it takes to read
// it.
import { h, button, copyButton, field, dialog, note, ago, count } from "./dom.js";
import { call, get, queryOf } from "./http.js";
import { list, marked } from "./list.js";
import { may, mayBelow, secretKey } from "./rights.js";
import { sealBanner, sealStatus } from "./seal.js";

const SHOWN_MS = 30000; // then what was revealed is hidden again
const UP = "..";

const urlOf = (path, values) =>
  `/v1/secrets/${path.split("/").map(encodeURIComponent).join("/")}?${queryOf(values)}`;
const since = (ms) => `${ago(new Date(ms).toISOString())} ago`;

// The members of a secret as rows of name and value.
function members() {
  const rows = h("div", { class: "members" });
  const add = (first) => {
    const name = h("input", {
      "aria-label": "Name",
      placeholder: "password",
      spellcheck: "false",
      autocomplete: "off",
    });
    const value = h("textarea", {
      "aria-label": "Value",
      rows: "1",
      class: "mono",
      spellcheck: "false",
      autocomplete: "off",
    });
    const row = h(
      "div",
      {},
      name,
      value,
      button("✕", () => row.remove(), { class: "plain", "aria-label": "Take this row away" }),
    );
    rows.append(row);
    if (!first) name.focus();
  };
  add(true);
  return Object.assign(
    h(
      "div",
      {},
      rows,
      button("One more", () => add(false), { class: "quiet small" }),
    ),
    {
      data() {
        const all = [...rows.children]
          .map((r) => [r.querySelector("input").value, r.querySelector("textarea").value])
          .filter(([n, v]) => n || v);
        if (!all.length || all.some(([n]) => !n)) throw new Error("Every value needs a name.");
        if (new Set(all.map(([n]) => n)).size < all.length)
          throw new Error("A name is there twice.");
        return Object.fromEntries(all);
      },
    },
  );
}

async function write(namespace, prefix, path, version) {
  const name = h("input", {
    autofocus: !path,
    spellcheck: "false",
    value: path || prefix,
    placeholder: "db/password",
  });
  const body = members();
  const done = await dialog({
    title: path ? `New version of ${path}` : "New secret",
    action: "Store",
    body: [
      path ? null : field("Path", name, "Slashes make groups."),
      h(
        "p",
        { class: "hint" },
        "It is sealed before it leaves this server’s memory, and all earlier versions stay.",
      ),
      body,
    ],
    submit: async () => {
      const data = body.data(),
        at = path || name.value;
      try {
        return await call("PUT", urlOf(at, { namespace, version }), { data });
      } catch (e) {
        throw e.status === 412
          ? new Error(
              path ? "There is a newer version by now." : "There is a secret of this path already.",
            )
          : e;
      }
    },
  });
  if (done) note(`${done.path} is stored as version ${done.version}.`);
  return done;
}

// What one version holds, for a while. Why is asked before.
async function reveal(namespace, path, version, place) {
  const why = h("input", {
    autofocus: true,
    spellcheck: "false",
    placeholder: "rotation of March",
  });
  const found = await dialog({
    title: `Reveal ${path}, version ${version}`,
    action: "Reveal",
    body: field("Reason", why, "It goes to the audit log with your name."),
    submit: () => {
      if (!why.value.trim()) throw new Error("Say why.");
      return get(urlOf(path, { namespace, version, reason: why.value }));
    },
  });
  if (!found) return;
  const hide = () => place.replaceChildren();
  place.replaceChildren(
    h(
      "div",
      { class: "revealed" },
      h(
        "div",
        { class: "line" },
        h("strong", {}, `Version ${version}`),
        h("span", { class: "hint grow" }, "hidden again in half a minute"),
        button("Hide", hide, { class: "quiet small" }),
      ),
      h(
        "dl",
        {},
        Object.entries(found.data).map(([name, value]) => {
          const text = typeof value === "string" ? value : JSON.stringify(value);
          return h(
            "div",
            {},
            h("dt", {}, name),
            h("dd", { class: "mono" }, text, copyButton(text, name)),
          );
        }),
      ),
    ),
  );
  setTimeout(hide, SHOWN_MS);
}

function pane(close, changed) {
  const node = h("section", { class: "card editor", "aria-label": "Secret" });
  const shown = h("div", {});
  let namespace = "",
    path = null;

  async function act(title, words, action, change, told, danger) {
    const done = await dialog({ title, action, danger, body: h("p", {}, words), submit: change });
    if (!done) return;
    note(told);
    changed();
    open(namespace, path);
  }
  const post = (action, versions) => call("POST", urlOf(path, { namespace, action, versions }), {});
  function row(v) {
    const writes = may("write", secretKey(namespace, path));
    const n = v.version,
      gone = v.destroyed,
      deleted = Boolean(v.deleted_at_ms);
    return h(
      "li",
      {},
      h(
        "div",
        { class: "thing" },
        h("strong", {}, `Version ${n}`),
        h(
          "span",
          { class: "hint" },
          since(v.created_at_ms),
          gone ? ", destroyed" : deleted ? `, deleted ${since(v.deleted_at_ms)}` : "",
          `, key ${v.key_version}`,
        ),
      ),
      h(
        "div",
        { class: "doing" },
        gone || deleted
          ? null
          : button("Reveal", () => reveal(namespace, path, n, shown), {
              "aria-label": `Reveal version ${n}`,
            }),
        gone || deleted || !writes
          ? null
          : button(
              "Delete",
              () =>
                act(
                  `Delete version ${n} of ${path}?`,
                  "It can be brought back.",
                  "Delete",
                  () => call("DELETE", urlOf(path, { namespace, versions: n })),
                  `Version ${n} is deleted.`,
                  true,
                ),
              { class: "quiet", "aria-label": `Delete version ${n}` },
            ),
        deleted && !gone && writes
          ? button(
              "Bring back",
              () =>
                post("undelete", n).then(
                  () => (note(`Version ${n} is back.`), open(namespace, path)),
                  (e) => note(e.message, true),
                ),
              { class: "quiet" },
            )
          : null,
        gone || !writes
          ? null
          : button(
              "Destroy",
              () =>
                act(
                  `Destroy version ${n} of ${path}?`,
                  "Its data is thrown away, and nobody can bring it back.",
                  "Destroy",
                  () => post("destroy", n),
                  `Version ${n} is destroyed.`,
                  true,
                ),
              { class: "quiet danger-text", "aria-label": `Destroy version ${n}` },
            ),
      ),
    );
  }
  async function open(space, at) {
    if (at !== path || space !== namespace) shown.replaceChildren();
    [namespace, path] = [space, at];
    let s;
    try {
      s = await get(urlOf(path, { namespace, metadata: "true" }));
    } catch (e) {
      node.replaceChildren(
        h(
          "header",
          {},
          h("h2", {}, path),
          button("✕", close, { class: "plain", "aria-label": "Close" }),
        ),
        h("p", { class: "problem" }, e.message),
      );
      return;
    }
    const versions = [...s.versions].sort((a, b) => b.version - a.version);
    node.replaceChildren(
      h(
        "header",
        {},
        h("h2", { class: "key" }, path),
        button("✕", close, { class: "plain", "aria-label": "Close" }),
      ),
      h(
        "p",
        { class: "hint" },
        `${count(s.versions.length)} of at most ${count(s.max_versions)} versions are kept`,
        s.check_required ? "; writers must say which they saw." : ".",
      ),
      shown,
      h("ul", { class: "things" }, versions.map(row)),
      h(
        "footer",
        { hidden: !may("write", secretKey(namespace, path)) },
        button(
          "Remove",
          () =>
            act(
              `Remove ${path}?`,
              "The secret and all of its versions are thrown away.",
              "Remove",
              async () => (
                await call("DELETE", urlOf(path, { namespace, all: "true" })),
                close(),
                true
              ),
              `${path} is removed.`,
              true,
            ),
          { class: "quiet danger-text" },
        ),
        button(
          "New version",
          async () =>
            (await write(namespace, "", path, s.current_version)) && open(namespace, path),
          { class: "primary" },
        ),
      ),
    );
  }
  return Object.assign(node, { open, hide: () => shown.replaceChildren() });
}

export function secrets(root, parameters) {
  const banner = sealBanner(read);
  const space = h("input", {
    class: "inline",
    "aria-label": "Namespace",
    spellcheck: "false",
    value: parameters.get("namespace") || "secret",
  });
  const crumbs = h("span", { class: "line crumbs" }),
    total = h("span", { class: "hint", role: "status" });
  const empty = h("div", { class: "empty", hidden: true });
  const split = h("div", { class: "workbench" });
  let prefix = parameters.get("prefix") || "",
    names = [],
    chosen = null,
    more = false;
  const rows = list({
    label: "Secrets",
    pick,
    cells: (name, find) => [
      h("span", { class: "key" }, marked(name, find)),
      h("span", { class: "value" }, name === UP ? "" : name.endsWith("/") ? "group" : "secret"),
    ],
  });
  const side = pane(shut, read);
  side.hidden = true;
  const make = () =>
    write(space.value, prefix, null, 0).then((done) => done && read().then(() => show(done.path)));
  const rotates = button("Rotate key", rotate, { class: "quiet" }),
    maker = button("New secret", make, { class: "primary", title: "n" });
  const writes = () => mayBelow("write", secretKey(space.value, prefix));
  root.append(
    h(
      "header",
      { class: "head" },
      h("h1", {}, "Secrets"),
      h("label", { class: "picker" }, h("span", { class: "hint" }, "Namespace"), space),
      crumbs,
      total,
      h(
        "div",
        { class: "actions" },
        button("Seal", () => sealStatus(read).catch((e) => note(e.message, true)), {
          class: "quiet",
        }),
        rotates,
        maker,
      ),
    ),
    banner,
    split,
  );
  split.append(h("div", { class: "card browser" }, rows, empty), side);

  const place = () =>
    window.history.replaceState(
      null,
      "",
      `#/secrets?${queryOf({ namespace: space.value, prefix })}`,
    );
  function draw() {
    maker.hidden = !writes();
    rotates.hidden = !may("write", `confman/seal/${space.value}`);
    const parts = prefix.split("/").filter(Boolean);
    crumbs.replaceChildren(
      ...parts.flatMap((part, i) => [
        h("span", { class: "hint" }, "/"),
        button(part, () => go(`${parts.slice(0, i + 1).join("/")}/`), { class: "plain" }),
      ]),
    );
    rows.show({ ids: [...(prefix ? [UP] : []), ...names], chosen });
    total.textContent = `${count(names.length)}${more ? " and more" : ""}`;
    empty.hidden = names.length > 0 || Boolean(prefix);
    if (!names.length)
      empty.replaceChildren(
        h("h2", {}, "No secrets here yet"),
        h("p", {}, "They are kept in versions, and sealed wherever they are written:"),
        h("pre", {}, "confman secret put db/main user=app password=-"),
      );
  }
  async function read() {
    try {
      await banner.read();
      const page = await get(`/v1/secrets?${queryOf({ namespace: space.value, prefix })}`);
      names = page.names;
      more = page.more;
      draw();
    } catch (e) {
      if (e instanceof TypeError) throw e; // a bug of the page
      [names, more] = [[], false];
      draw();
      empty.hidden = false;
      empty.replaceChildren(
        h(
          "h2",
          {},
          e.status === 403 ? "You may not list these secrets" : "The secrets cannot be listed",
        ),
        h("p", {}, e.message),
      );
    }
  }
  function go(to) {
    prefix = to;
    shut();
    return read();
  }
  function show(path) {
    chosen = path.slice(prefix.length);
    split.classList.add("open");
    side.hidden = false;
    side.open(space.value, path);
    draw();
    rows.reveal(chosen);
  }
  function shut() {
    chosen = null;
    side.hide();
    side.hidden = true;
    split.classList.remove("open");
    draw();
    place();
  }
  function pick(name) {
    if (name === UP) return go(prefix.replace(/[^/]*\/$/, ""));
    if (name.endsWith("/")) return go(prefix + name);
    show(prefix + name);
  }
  async function rotate() {
    const done = await dialog({
      title: `A new key for ${space.value}?`,
      action: "Rotate",
      body: h("p", {}, "What is stored from now on is sealed with it."),
      submit: () =>
        call("POST", `/v1/secrets?${queryOf({ namespace: space.value, action: "rotate" })}`, {}),
    });
    if (done) note(`Key ${done.key_version} seals from now on.`);
  }
  space.addEventListener("change", () => go(""));
  go(prefix);
  const end = () => side.hide();
  end.keys = { n: () => writes() && make(), Escape: () => side.hidden || shut() };
  return end;
}
