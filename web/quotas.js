// Quotas: how many keys and bytes prefixes may have, how many requests a second they and users get.
import { h, button, bytes, count, dialog, field, note, refill } from "./dom.js";
import { call, get } from "./http.js";
import { faultsOf } from "./publish.js";
import { mayAll } from "./rights.js";

const textOf = (x) => (typeof x === "string" ? x : `base64 ${x.base64}`);
const isUser = (q) => q.user !== undefined;
const nameOf = (q) => textOf(isUser(q) ? q.user : q.prefix);
const saying = (q) =>
  isUser(q) ? nameOf(q) || "whoever is not known" : nameOf(q) ? `${nameOf(q)}…` : "all keys";
const pathOf = (user, name) => `/v1/quotas/${user ? "user" : "prefix"}/${encodeURIComponent(name)}`;

function used(now, most, format, what) {
  if (!most)
    return h("td", { class: "hint" }, now === undefined ? "–" : `${format(now)}, unbounded`);
  const part = now / most;
  return h(
    "td",
    {},
    h("meter", {
      min: 0,
      max: most,
      high: most * 0.8,
      optimum: 0,
      value: now,
      "aria-label": `${what}: ${Math.round(part * 100)} %`,
    }),
    h("span", { class: part >= 1 ? "bad hint" : "hint" }, `${format(now)} of ${format(most)}`),
  );
}

const ratio = (q) =>
  q.rate ? `${count(q.rate)} a second${q.burst ? `, ${count(q.burst)} at once` : ""}` : "unbounded";

async function ask(q) {
  const kind = h(
    "select",
    {},
    [
      ["prefix", "keys that begin with"],
      ["user", "a user"],
    ].map(([v, t]) =>
      h("option", { value: v, selected: q ? isUser(q) === (v === "user") : false }, t),
    ),
  );
  const number = (value) => h("input", { type: "number", min: "0", step: "1", value: value || "" });
  const name = h("input", {
    spellcheck: "false",
    class: "mono",
    value: q ? nameOf(q) : "",
    placeholder: "confman/config/prod/",
    autofocus: !q,
  });
  const keys = number(q && q.max_keys),
    size = number(q && q.max_bytes),
    rate = number(q && q.rate),
    burst = number(q && q.burst);
  const store = h(
    "div",
    { class: "fields" },
    field("Keys", keys, "At most; left empty: any."),
    field("Bytes", size, "Of keys and newest values."),
  );
  const nameField = field("Name", name);
  const turn = () => {
    store.hidden = kind.value === "user";
    name.placeholder = kind.value === "user" ? "ann" : "confman/config/prod/";
  };
  kind.addEventListener("change", turn);
  turn();
  const value = (input) => (input.value === "" ? 0 : Number(input.value));
  return dialog({
    title: q ? `Quota of ${saying(q)}` : "New quota",
    action: "Save",
    body: [
      q ? null : [field("Of", kind), nameField],
      store,
      h(
        "div",
        { class: "fields" },
        field("Requests a second", rate, "At each member; left empty: any."),
        field("At once", burst, "How many may come together; left empty: as many as a second has."),
      ),
    ],
    submit: async () => {
      const user = kind.value === "user";
      const body = {
        ...(user ? {} : { max_keys: value(keys), max_bytes: value(size) }),
        rate: value(rate),
        burst: value(burst),
      };
      try {
        await call("PUT", pathOf(user, name.value), body);
      } catch (e) {
        throw Object.assign(e, { faults: faultsOf(e) });
      }
      note("The quota is saved.");
    },
  });
}

export function quotas(root) {
  const total = h("span", { class: "hint", role: "status" }),
    place = h("section", { class: "card" });
  let stopped = false;
  const make = () => ask(null).then((done) => done && read());
  root.append(
    h(
      "header",
      { class: "head" },
      h("h1", {}, "Quotas and rates"),
      total,
      h(
        "div",
        { class: "actions" },
        mayAll() ? button("New quota", make, { class: "primary", title: "n" }) : null,
      ),
    ),
    place,
  );
  async function remove(q) {
    const done = await dialog({
      title: `Delete the quota of ${saying(q)}?`,
      action: "Delete",
      danger: true,
      body: h("p", {}, "From then on nothing but the bounds of the whole node holds."),
      submit: () => call("DELETE", pathOf(isUser(q), nameOf(q))),
    });
    if (done) (note("The quota is deleted."), read());
  }
  const row = (q) =>
    h(
      "tr",
      {},
      h("td", {}, h("span", { class: "mono" }, saying(q))),
      h("td", {}, h("span", { class: "tag" }, isUser(q) ? "user" : "prefix")),
      isUser(q)
        ? [h("td", { class: "hint" }, "–"), h("td", { class: "hint" }, "–")]
        : [used(q.keys, q.max_keys, count, "Keys"), used(q.bytes, q.max_bytes, bytes, "Bytes")],
      h("td", {}, ratio(q)),
      h(
        "td",
        { class: "doing" },
        mayAll() && typeof (q.user ?? q.prefix) === "string"
          ? [
              button("Change", () => ask(q).then((done) => done && read()), {
                class: "quiet",
                "aria-label": `Change the quota of ${saying(q)}`,
              }),
              button("Delete", () => remove(q), {
                class: "quiet danger-text",
                "aria-label": `Delete the quota of ${saying(q)}`,
              }),
            ]
          : null,
      ),
    );
  async function read() {
    try {
      const { quotas: all } = await get("/v1/quotas");
      if (stopped) return;
      total.textContent = count(all.length);
      refill(
        place,
        all.length
          ? h(
              "div",
              { class: "scroll", tabindex: "0", role: "group", "aria-label": "Quotas" },
              h(
                "table",
                {},
                h(
                  "thead",
                  {},
                  h(
                    "tr",
                    {},
                    ["Of", "Kind", "Keys", "Bytes", "Requests"].map((t) =>
                      h("th", { scope: "col" }, t),
                    ),
                    h("td", {}),
                  ),
                ),
                h("tbody", {}, all.map(row)),
              ),
            )
          : h(
              "div",
              { class: "empty" },
              h("h2", {}, "No quotas yet"),
              h("p", {}, "Only the bounds of the whole node hold. One for a team:"),
              h(
                "pre",
                {},
                "confman quota set prefix confman/config/prod/ --max-keys 10000 --rate 500",
              ),
            ),
      );
    } catch (e) {
      if (e instanceof TypeError) throw e; // a bug of the page
      total.textContent = "";
      refill(
        place,
        h("p", { class: "empty" }, e.status === 403 ? "You may not read the quotas." : e.message),
      );
    }
  }
  read();
  const end = () => (stopped = true);
  end.keys = { n: () => mayAll() && make() };
  return end;
}
