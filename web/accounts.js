// Service accounts: programs that come with a key of ours, which is told once.
import { h, button, copyButton, dialog, field, note, since } from "./dom.js";
import { call, get } from "./http.js";
import { mayAll } from "./rights.js";

const DAY_S = 86400;
const LASTS = [
  [30 * DAY_S, "30 days"],
  [90 * DAY_S, "90 days"],
  [365 * DAY_S, "a year"],
  [0, "until it is taken"],
];
const GRACE = [
  ["", "when they would have"],
  [0, "at once"],
  [3600, "in an hour"],
  [DAY_S, "in a day"],
  [7 * DAY_S, "in a week"],
];

const pathOf = (name, query = "") =>
  `/v1/service-accounts/${encodeURIComponent(name)}${query && `?${query}`}`;
const select = (all, value) =>
  h(
    "select",
    {},
    all.map(([v, t]) => h("option", { value: v, selected: v === value }, t)),
  );
const iso = (ms) => new Date(ms).toISOString();
function ends(ms) {
  if (!ms) return "does not end";
  const days = Math.ceil((ms - Date.now()) / (DAY_S * 1000));
  const words = days <= 0 ? "has ended" : days === 1 ? "ends within a day" : `ends in ${days} days`;
  return h("time", { datetime: iso(ms), title: new Date(ms).toLocaleString() }, words);
}

const told = (name, key) =>
  dialog({
    title: `The new key of ${name}`,
    wide: true,
    cancel: "It is kept",
    body: [
      h("p", {}, "It is shown this once: only a hash of it is stored."),
      h(
        "p",
        { class: "line shown-once" },
        h("code", { class: "mono" }, key),
        copyButton(key, "The key"),
      ),
      h("p", { class: "hint" }, "It goes wherever a token goes:"),
      h("pre", {}, `curl -H "Authorization: Bearer $KEY" ${location.origin}/v1/me`),
    ],
  });

// The card; changed() is told after each change.
export function accountsCard(changed) {
  const node = h("section", { class: "card wide-card", "aria-label": "Service accounts" });

  async function make(roles) {
    const name = h("input", { autofocus: true, spellcheck: "false", autocomplete: "off" });
    const boxes = h("div", { class: "checks" }, roleBoxes(roles, []));
    const done = await dialog({
      title: "New service account",
      action: "Create",
      body: [
        field("Name", name, "It is the user service:NAME."),
        h("fieldset", {}, h("legend", {}, "Roles"), boxes),
      ],
      submit: async () => {
        if (!name.value) throw new Error("A service account needs a name.");
        await call("PUT", pathOf(name.value), { roles: chosen(boxes) }, { "if-none-match": "*" });
      },
    });
    if (!done) return;
    note(`${name.value} is made; it has no key yet.`);
    changed();
  }
  const roleBoxes = (roles, has) =>
    roles.length
      ? roles.map((r) =>
          h(
            "label",
            {},
            h("input", { type: "checkbox", value: r.name, checked: has.includes(r.name) }),
            r.name,
          ),
        )
      : h("p", { class: "hint" }, "There are no roles yet; without one it may do nothing.");
  const chosen = (boxes) => [...boxes.querySelectorAll("input:checked")].map((x) => x.value);

  async function setRoles(a, roles) {
    const boxes = h("div", { class: "checks" }, roleBoxes(roles, a.roles));
    const done = await dialog({
      title: `Roles of ${a.name}`,
      action: "Save",
      body: boxes,
      submit: () => call("PUT", pathOf(a.name), { roles: chosen(boxes), disabled: a.disabled }),
    });
    if (done) (note(`${a.name} has these roles.`), changed());
  }
  async function key(a) {
    const ttl = select(LASTS, 90 * DAY_S),
      grace = select(GRACE, "");
    const made = await dialog({
      title: `A new key for ${a.name}`,
      action: "Make it",
      body: [field("It lasts", ttl), a.keys.length ? field("Keys from before end", grace) : null],
      submit: () => {
        const rotates = a.keys.length > 0 && grace.value !== "";
        return call("POST", pathOf(a.name, `action=${rotates ? "rotate" : "key"}`), {
          ...(Number(ttl.value) ? { ttl_s: Number(ttl.value) } : {}),
          ...(rotates ? { grace_s: Number(grace.value) } : {}),
        });
      },
    });
    if (!made) return;
    changed();
    await told(a.name, made.key);
  }
  const ask = async (options, words) => {
    if (await dialog({ danger: true, ...options })) (note(words), changed());
  };
  const revoke = (a, id) =>
    ask(
      {
        title: `Take key ${id} of ${a.name}?`,
        action: "Take it",
        body: h("p", {}, "Whoever comes with it is refused, within a second."),
        submit: () => call("DELETE", pathOf(a.name, `key=${id}`)),
      },
      `Key ${id} counts no more.`,
    );
  const remove = (a) =>
    ask(
      {
        title: `Delete ${a.name}?`,
        action: "Delete",
        body: h("p", {}, "Its keys count no more, and its user goes with it."),
        submit: () => call("DELETE", pathOf(a.name)),
      },
      `${a.name} is deleted.`,
    );
  async function turn(a) {
    try {
      await call("PUT", pathOf(a.name), { roles: a.roles, disabled: !a.disabled });
      note(a.disabled ? `${a.name} may come again.` : `${a.name} is kept out.`);
    } catch (e) {
      note(e.message, true);
    }
    changed();
  }
  const keyRow = (a, k) =>
    h(
      "span",
      { class: "chip" },
      h("span", { class: "mono" }, k.id),
      h("i", {}, "made ", since(iso(k.created_at_ms)), ", ", ends(k.expires_at_ms)),
      mayAll()
        ? button("✕", () => revoke(a, k.id), {
            class: "plain",
            "aria-label": `Take key ${k.id} of ${a.name}`,
          })
        : null,
    );
  const row = (a, roles) =>
    h(
      "li",
      {},
      h(
        "div",
        { class: "thing" },
        h(
          "span",
          { class: "line" },
          h("strong", {}, a.name),
          a.disabled ? h("span", { class: "tag warn" }, "kept out") : null,
          a.roles.length
            ? a.roles.map((r) => h("span", { class: "tag accent" }, r))
            : h("span", { class: "hint" }, "no role"),
        ),
        h(
          "span",
          { class: "chips" },
          a.keys.length
            ? a.keys.map((k) => keyRow(a, k))
            : h("span", { class: "hint" }, "no key: it cannot come"),
        ),
      ),
      mayAll()
        ? h(
            "div",
            { class: "doing" },
            button("New key", () => key(a), { "aria-label": `New key for ${a.name}` }),
            button("Roles", () => setRoles(a, roles), {
              class: "quiet",
              "aria-label": `Roles of ${a.name}`,
            }),
            button(a.disabled ? "Let in" : "Keep out", () => turn(a), { class: "quiet" }),
            button("Delete", () => remove(a), {
              class: "quiet danger-text",
              "aria-label": `Delete service account ${a.name}`,
            }),
          )
        : null,
    );

  // roles: all there are.
  node.read = async (roles) => {
    const { service_accounts: all } = await get("/v1/service-accounts");
    node.replaceChildren(
      h(
        "header",
        {},
        h("h2", {}, "Service accounts"),
        mayAll() ? button("New service account", () => make(roles)) : "",
      ),
      all.length
        ? h(
            "ul",
            { class: "things" },
            all.map((a) => row(a, roles)),
          )
        : h(
            "p",
            { class: "empty" },
            "No service accounts yet: programs get one, with a key of their own.",
          ),
    );
  };
  return node;
}
