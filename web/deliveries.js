// Who runs what: clients that subscribe, and the revision that each says it runs.
import { h, button, field, ago, count } from "./dom.js";
import { get, queryOf } from "./http.js";
import { subscribe } from "./stream.js";
import { environmentPicker, chosenEnvironment } from "./environments.js";

const PAGE = 200;
const KINDS = {
  "": "everything",
  key: "the config",
  prefix: "configs that begin with",
  flags: "flags that begin with",
};
const STATES = {
  running: ["good", "run the newest"],
  behind: ["warn", "are behind"],
  failed: ["bad", "could not use it"],
  silent: ["", "have said nothing"],
};

const labels = (c) =>
  Object.entries(c.labels || {}).map(([k, v]) => h("span", { class: "tag" }, `${k} ${v}`));
const what = (s) =>
  s.key !== undefined ? s.key : s.prefix !== undefined ? `${s.prefix}…` : `flags ${s.flags}…`;

function row(c, s, first, members) {
  const [kind] = STATES[s.state] || [""];
  return h(
    "tr",
    {},
    h(
      "td",
      {},
      first
        ? [h("strong", {}, c.client), " ", h("span", { class: "hint" }, c.instance), labels(c)]
        : null,
    ),
    h(
      "td",
      {},
      h("span", { class: "mono" }, what(s)),
      " ",
      h("span", { class: "hint" }, s.environment),
    ),
    h(
      "td",
      {},
      h("span", { class: `dot ${c.connected ? kind : ""}` }),
      c.connected ? s.state : "gone",
    ),
    h("td", { class: "number" }, s.revision === undefined ? "–" : count(s.revision)),
    h("td", { class: "number" }, s.state === "running" ? "–" : count(s.wanted_revision)),
    h(
      "td",
      { class: "hint" },
      s.error
        ? h("span", { class: "bad hint" }, s.error)
        : s.revision_since
          ? `for ${ago(s.revision_since)}`
          : c.connected
            ? `here for ${ago(c.connected_at)}`
            : `gone ${ago(c.gone_at)} ago`,
    ),
    h("td", { class: "hint wide-only" }, members.get(c.member) || c.member),
  );
}

export function deliveries(root, parameters) {
  const kind = h(
    "select",
    {},
    Object.entries(KINDS).map(([v, t]) => h("option", { value: v }, t)),
  );
  const text = h("input", { spellcheck: "false", class: "mono" }),
    client = h("input", { spellcheck: "false", value: parameters.get("client") });
  const which = h(
    "select",
    {},
    ["", ...Object.keys(STATES)].map((s) => h("option", { value: s }, s || "any")),
  );
  which.value = parameters.get("state") || "";
  const textField = field("Key or prefix", text);
  kind.value = parameters.get("key") ? "key" : "";
  text.value = parameters.get("key") || "";
  const stats = h("div", { class: "stats" }),
    body = h("tbody"),
    state = h("span", { class: "hint", role: "status" }),
    away = h("span", { class: "hint" });
  const empty = h(
    "p",
    { class: "empty" },
    "Nobody subscribes to that. A client says who it is on /v1/subscribe, " +
      "and acknowledges what it runs.",
  );
  let environment = chosenEnvironment(parameters, (x) => x !== "*"),
    stopped = false,
    asked = "",
    off = () => {},
    more = PAGE;
  const picker = environmentPicker(environment, {
    changed: (name) => ((environment = name), read()),
  });
  const older = button("More", () => ((more += PAGE), read()), { class: "quiet" });
  root.append(
    h("header", { class: "head" }, h("h1", {}, "Who runs what"), picker, state, away),
    h(
      "div",
      { class: "fields" },
      field("About", kind),
      textField,
      field("Client", client, "Left empty, all of them."),
      field("State", which),
    ),
    stats,
    h(
      "section",
      { class: "card" },
      h(
        "div",
        { class: "scroll", tabindex: "0", role: "group", "aria-label": "Clients" },
        h(
          "table",
          {},
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              ["Client", "Subscribes to", "State"].map((t) => h("th", { scope: "col" }, t)),
              ["Runs", "Should run"].map((t) => h("th", { scope: "col", class: "number" }, t)),
              h("th", { scope: "col" }, "Since"),
              h("th", { scope: "col", class: "wide-only" }, "Member"),
            ),
          ),
          body,
        ),
      ),
      empty,
      older,
    ),
  );

  function where() {
    const about = kind.value && (text.value || kind.value !== "key");
    return about ? { [kind.value]: text.value, environment } : {};
  }
  // Told of each change of what is shown.
  function listen() {
    const of = client.value ? { client: client.value } : {},
      what = { topic: "deliveries", ...where(), ...of };
    if (stopped || asked === JSON.stringify(what)) return;
    asked = JSON.stringify(what);
    off();
    off = subscribe(what, undefined, {
      changes: read,
      again: read,
      state: (s) => (away.textContent = s === "away" ? "away: what you see may be old" : ""),
    });
  }
  async function page(token) {
    const rest = queryOf({
      limit: PAGE,
      client: client.value,
      state: which.value,
      page_token: token,
    });
    return get(`/v1/deliveries?${rest}&${new URLSearchParams(where())}`);
  }
  async function read() {
    textField.hidden = kind.value === "";
    listen();
    try {
      const first = await page("");
      let clients = first.clients,
        token = first.next_page_token;
      while (token && clients.length < more) {
        const p = await page(token);
        clients = [...clients, ...p.clients];
        token = p.next_page_token;
      }
      if (stopped) return;
      const away = first.members.filter((m) => !m.answered),
        names = new Map(first.members.map((m) => [m.id, m.name]));
      state.textContent = away.length ? `${away.map((m) => m.name).join(", ")} did not answer` : "";
      stats.replaceChildren(
        ...Object.entries(STATES).map(([s, [dot, words]]) =>
          h(
            "div",
            { class: "card stat" },
            h("span", { class: "label" }, h("span", { class: `dot ${dot}` }), s),
            h("b", {}, count(first.counts[s])),
            h("span", { class: "more" }, words),
          ),
        ),
      );
      body.replaceChildren(
        ...clients.flatMap((c) => c.subscriptions.map((s, i) => row(c, s, i === 0, names))),
      );
      empty.hidden = clients.length > 0;
      older.hidden = !token;
    } catch (e) {
      if (e instanceof TypeError) throw e; // a bug of the page
      state.textContent = e.message;
    }
  }
  for (const x of [kind, text, client, which]) x.addEventListener("change", read);
  textField.hidden = kind.value === "";
  return () => ((stopped = true), off());
}
