// Audit: who did what, and when, as this node has written it down.
import { h, button, field, count } from "./dom.js";
import { get, queryOf } from "./http.js";

const PAGE = 100;

const textOf = (x) => (typeof x === "string" ? x : `base64 ${x.base64}`);
const short = (key) => textOf(key).replace(/^confman\//, "");

// What it was about: the keys that it wrote, or what it names.
function about(line) {
  const put = (line.put || []).filter((k) => !textOf(k).startsWith("confman/log/"));
  const more = (line.put_more || 0) + (line.deleted_more || 0);
  return [
    put.map((k) => h("span", { class: "chip mono" }, short(k))),
    (line.deleted || []).map((k) => h("span", { class: "chip mono gone" }, short(k))),
    more ? h("span", { class: "hint" }, `and ${count(more)} more`) : null,
    line.path !== undefined
      ? h("span", { class: "chip mono" }, `secret/${textOf(line.namespace)}/${textOf(line.path)}`)
      : null,
    ["about_user", "about_role", "key", "prefix"].map((n) =>
      line[n] === undefined ? null : h("span", { class: "chip mono" }, short(line[n])),
    ),
    line.reason ? h("span", {}, `“${textOf(line.reason)}”`) : null,
  ];
}

const row = (line) =>
  h(
    "tr",
    {},
    h("td", { class: "when" }, new Date(line.time).toLocaleString()),
    h(
      "td",
      {},
      h("strong", {}, textOf(line.user) || "anonymous"),
      " ",
      h("span", { class: "hint from" }, line.from),
    ),
    h("td", {}, line.request.replace(/_/g, " "), " ", h("span", { class: "hint" }, line.door)),
    h("td", { class: "wrap" }, h("span", { class: "chips" }, about(line))),
    h("td", {}, line.result === "ok" ? "ok" : h("span", { class: "bad hint" }, line.result)),
    h("td", { class: "number" }, line.revision === undefined ? "–" : count(line.revision)),
  );

export function audit(root) {
  const user = h("input", { spellcheck: "false" }),
    prefix = h("input", {
      spellcheck: "false",
      class: "mono",
      placeholder: "confman/config/prod/",
    });
  const since = h("input", { type: "datetime-local" });
  const body = h("tbody"),
    state = h("span", { class: "hint", role: "status" }),
    empty = h("p", { class: "empty", hidden: true });
  const older = button("Older", () => read(next), { class: "quiet", hidden: true });
  let next = "",
    stopped = false;
  root.append(
    h(
      "header",
      { class: "head" },
      h("h1", {}, "Audit"),
      state,
      h(
        "div",
        { class: "actions" },
        button("Export", keep),
        button("Look again", () => read("")),
      ),
    ),
    h(
      "div",
      { class: "fields" },
      field("User", user),
      field("Keys that begin with", prefix),
      field("Since", since),
    ),
    h(
      "section",
      { class: "card" },
      h(
        "div",
        { class: "scroll", tabindex: "0", role: "group", "aria-label": "Audit log" },
        h(
          "table",
          {},
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              ["When", "Who", "Did", "About", "Result"].map((t) => h("th", { scope: "col" }, t)),
              h("th", { scope: "col", class: "number" }, "Revision"),
            ),
          ),
          body,
        ),
      ),
      empty,
      older,
    ),
  );

  const query = (more) =>
    queryOf({
      user: user.value,
      prefix: prefix.value,
      since: since.value && new Date(since.value).toISOString(),
      ...more,
    });
  async function read(until) {
    try {
      const page = await get(`/v1/audit?${query({ limit: PAGE, until })}`);
      if (stopped) return;
      if (!until) body.replaceChildren();
      body.append(...page.items.map(row));
      next = page.next_until || "";
      older.hidden = !next;
      state.textContent = `what ${page.member} was asked to do; each member keeps its own`;
      empty.hidden = body.children.length > 0;
      empty.textContent = "Nothing like that is in the log.";
    } catch (e) {
      if (e instanceof TypeError) throw e; // a bug of the page
      body.replaceChildren();
      [older.hidden, empty.hidden, state.textContent] = [true, false, ""];
      empty.textContent = e.status === 403 ? "You may not read the audit log." : e.message;
    }
  }
  function keep() {
    const link = h("a", {
      href: `/v1/audit?${query({ limit: 1000, format: "lines" })}`,
      download: "audit.jsonl",
    });
    link.click();
  }
  for (const x of [user, prefix, since]) x.addEventListener("change", () => read(""));
  read("");
  return () => (stopped = true);
}
