// Drafts: what is proposed, what is said about it, and its publishing, now or at a time.
import { h, button, field, dialog, note, ago, count, refill } from "./dom.js";
import { call, get, queryOf } from "./http.js";
import { faultsOf } from "./publish.js";
import { canConfig, canFlag } from "./rights.js";
import { plannedChange } from "./rollback.js";
import { list, marked } from "./list.js";
import { subscribe } from "./stream.js";

const SETTLE_MS = 150, // changes that come together are read at once
  PAGE = 100;
const TAGS = { open: "tag accent", scheduled: "tag accent", failed: "tag warn" };

const pathOf = (id, verb = "") => `/v1/drafts/${id}${verb && `:${verb}`}`;
const told = { comment: "says", approve: "approves", reject: "rejects" };
const when = (iso) => new Date(iso).toLocaleString();

function pane(close, changed) {
  const node = h("section", { class: "card editor", "aria-label": "Draft" });
  const said = h("textarea", {
    rows: "2",
    "aria-label": "Comment",
    placeholder: "Say something about it",
  });
  let id = null,
    seen = "";

  async function act(verb, body, words) {
    try {
      await call("POST", pathOf(id, verb), body);
      said.value = "";
      note(words);
    } catch (e) {
      note([e.message, ...faultsOf(e)].join("\n"), true);
    }
    changed();
    await open(id);
  }
  const say = (verb, words) =>
    act(verb, said.value.trim() ? { text: said.value.trim() } : {}, words);
  async function schedule() {
    const at = h("input", { type: "datetime-local", autofocus: true });
    const done = await dialog({
      title: "Publish at a time",
      action: "Schedule",
      body: field("When", at, "By this browser’s clock and zone."),
      submit: () => {
        if (!at.value) throw new Error("When?");
        return call("POST", pathOf(id, "schedule"), { at: new Date(at.value).toISOString() });
      },
    });
    if (done) (note(`Draft ${id} is published ${when(done.publish_at)}.`), changed(), open(id));
  }
  async function remove() {
    if (
      !(await dialog({
        title: `Delete draft ${id}?`,
        danger: true,
        action: "Delete",
        body: h("p", {}, "With all that was said about it."),
        submit: () => call("DELETE", pathOf(id)),
      }))
    )
      return;
    note(`Draft ${id} is deleted.`);
    close();
    changed();
  }
  function doing(d) {
    const live = d.state === "open" || d.state === "failed",
      waits = d.state === "scheduled";
    const able = (verb) =>
      (d.items || []).every((x) =>
        (x.kind === "flag" ? canFlag : canConfig)(verb, x.environment, x.key),
      );
    const approves = able("approve"),
      publishes = able("publish");
    return h(
      "footer",
      {},
      button("Delete", remove, { class: "quiet danger-text" }),
      d.state === "published"
        ? null
        : button("Comment", () =>
            said.value.trim() ? say("comment", "It is said.") : said.focus(),
          ),
      approves && (live || waits)
        ? button("Reject", () => say("reject", `Draft ${id} is rejected.`))
        : null,
      approves && (live || waits)
        ? button("Approve", () => say("approve", `Draft ${id} is approved.`))
        : null,
      publishes && waits
        ? button("Do not publish then", () =>
            act("cancel", {}, `Draft ${id} is not published at that time.`),
          )
        : null,
      publishes && live ? button("Schedule", schedule) : null,
      publishes && live
        ? button("Publish", () => act("publish", {}, `Draft ${id} is published.`), {
            class: "primary",
          })
        : null,
    );
  }
  function draw(d) {
    const conflicts = d.conflicts || [],
      a = d.approvals;
    const facts = [
      ["Proposed by", `${d.author}, ${ago(d.updated_at)} ago`],
      ["Edit", count(d.edit)],
      [
        "Approvals",
        [
          count(a.given.length),
          a.needed ? ` of ${count(a.needed)} needed` : "",
          a.given.length ? `: ${a.given.join(", ")}` : "",
        ],
      ],
      ["State", h("span", { class: TAGS[d.state] || "tag" }, d.state)],
      ...(d.publish_at ? [["Published", when(d.publish_at)]] : []),
      ...(d.published_revision ? [["At revision", count(d.published_revision)]] : []),
    ];
    refill(
      node,
      h(
        "header",
        {},
        h("h2", {}, `${d.id}  ${d.title}`),
        button("✕", close, { class: "plain", "aria-label": "Close" }),
      ),
      h(
        "dl",
        {},
        facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
      ),
      d.change_log ? h("p", { class: "hint" }, `“${d.change_log}”`) : null,
      d.why ? h("p", { class: "problem" }, d.why) : null,
      conflicts.length
        ? h(
            "p",
            { class: "problem", role: "status" },
            conflicts.map((c) => c.key).join(", "),
            " was changed since this was proposed. Propose it anew.",
          )
        : null,
      (d.items || []).map(plannedChange),
      h(
        "ul",
        { class: "said" },
        d.reviews.map((r) =>
          h(
            "li",
            {},
            h("strong", {}, r.by),
            ` ${told[r.type] || r.type} `,
            h(
              "span",
              { class: "hint" },
              `${ago(r.at)} ago${r.edit === d.edit ? "" : `, of edit ${r.edit}`}`,
            ),
            r.text ? h("p", {}, r.text) : null,
          ),
        ),
      ),
      d.state === "published" ? null : said,
      doing(d),
    );
  }
  async function open(which) {
    if (which !== id) ((said.value = ""), (seen = ""));
    id = which;
    try {
      const d = await get(pathOf(id)),
        text = JSON.stringify(d);
      if (text === seen) return;
      const typing = document.activeElement === said;
      seen = text;
      draw(d);
      if (typing) said.focus();
    } catch (e) {
      if (e instanceof TypeError) throw e; // a bug of the page
      node.replaceChildren(
        h(
          "header",
          {},
          h("h2", {}, `Draft ${id}`),
          button("✕", close, { class: "plain", "aria-label": "Close" }),
        ),
        h("p", { class: "problem" }, e.message),
      );
    }
  }
  return Object.assign(node, { open });
}

export function drafts(root, parameters) {
  const filter = h(
    "select",
    { class: "inline", "aria-label": "State" },
    [
      ["", "all of them"],
      ...["open", "scheduled", "published", "rejected", "failed"].map((s) => [s, s]),
    ].map(([v, t]) => h("option", { value: v }, t)),
  );
  const empty = h("div", { class: "empty", hidden: true }),
    split = h("div", { class: "workbench" }),
    total = h("span", { class: "hint", role: "status" }),
    state = h("span", { class: "hint" });
  let all = new Map(),
    chosen = null,
    timer = 0,
    stopped = false,
    limit = PAGE;
  const rows = list({
    label: "Drafts",
    pick: opened,
    cells: (id) => {
      const d = all.get(id);
      return [
        h("span", { class: "key" }, marked(d.title, "")),
        h(
          "span",
          { class: "value" },
          `${d.author}, ${count(d.change_count)} change${d.change_count === 1 ? "" : "s"}`,
        ),
        h("span", { class: TAGS[d.state] || "tag" }, d.state),
        h("span", { class: "when" }, ago(d.updated_at)),
      ];
    },
  });
  const side = pane(shut, read);
  side.hidden = true;
  const older = button("Older", () => ((limit += PAGE), read()), { class: "quiet", hidden: true });
  root.append(
    h(
      "header",
      { class: "head" },
      h("h1", {}, "Drafts"),
      filter,
      total,
      state,
      h("div", { class: "actions" }, older),
    ),
    split,
  );
  split.append(h("div", { class: "card browser" }, rows, empty), side);

  const show = () => rows.show({ ids: [...all.keys()], chosen });
  async function read() {
    try {
      const found = new Map();
      let before = "";
      do {
        const query = { limit: PAGE, state: filter.value, before };
        const page = await get(`/v1/drafts?${queryOf(query)}`);
        for (const d of page.items) found.set(String(d.id), d);
        before = page.next_before || "";
      } while (before && found.size < limit);
      if (stopped) return;
      all = found;
      older.hidden = !before;
      total.textContent = `${count(all.size)}${before ? " and older ones" : ""}`;
      empty.hidden = all.size > 0;
      empty.replaceChildren(
        h("h2", {}, "No drafts here"),
        h("p", {}, "Propose one where a config or flag is changed: Review change, then Propose."),
      );
      show();
    } catch (e) {
      if (e instanceof TypeError) throw e; // a bug of the page
      empty.hidden = false;
      empty.replaceChildren(h("h2", {}, "The drafts cannot be read"), h("p", {}, e.message));
    }
  }
  // Somebody proposed, said or published something.
  function again() {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (chosen) side.open(chosen);
      read();
    }, SETTLE_MS);
  }
  function opened(id) {
    chosen = id;
    side.hidden = false;
    split.classList.add("open");
    side.open(id);
    show();
    window.history.replaceState(null, "", `#/drafts?id=${id}`);
  }
  function shut() {
    chosen = null;
    side.hidden = true;
    split.classList.remove("open");
    show();
    window.history.replaceState(null, "", "#/drafts");
  }
  filter.addEventListener("change", read);
  read().then(() => parameters.get("id") && opened(parameters.get("id")));
  const away = subscribe({ topic: "drafts" }, undefined, {
    changes: again,
    again,
    state(s) {
      state.textContent = s === "away" ? "away: what you see may be old" : "";
      if (s === "live") again(); // what was missed meanwhile
    },
  });
  const end = () => ((stopped = true), clearTimeout(timer), away());
  end.keys = { Escape: () => side.hidden || shut() };
  return end;
}
