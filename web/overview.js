// Who leads, who is behind, and how busy this node is.
import { h, count, rate, bytes, seconds } from "./dom.js";
import { chart } from "./chart.js";
import { get } from "./http.js";
import * as m from "./metrics.js";

const EVERY_MS = 2000;

function stat(label) {
  const figure = h("b", {}, "–"),
    more = h("span", { class: "more" }, "\u00a0");
  const node = h("div", { class: "card stat" }, h("span", { class: "label" }, label), figure, more);
  node.set = (text, under) => {
    figure.textContent = text;
    more.textContent = under || "\u00a0";
  };
  return node;
}

const SYNC = "confman_log_sync_seconds";

function charts() {
  return [
    chart({
      title: "Writes a second",
      format: rate,
      series: [
        {
          points: () =>
            m.rates("etcd_mvcc_put_total", "etcd_mvcc_delete_total", "etcd_mvcc_txn_total"),
        },
      ],
    }),
    chart({
      title: "Reads a second",
      format: rate,
      series: [{ points: () => m.rates("etcd_mvcc_range_total") }],
    }),
    chart({
      title: "Log sync",
      format: seconds,
      least: 0.0005,
      series: [
        { name: "p99", points: () => m.quantiles(SYNC, 0.99) },
        { name: "p50", points: () => m.quantiles(SYNC, 0.5) },
      ],
    }),
    chart({
      title: "Events to watchers a second",
      format: rate,
      series: [{ points: () => m.rates("etcd_debugging_mvcc_events_total") }],
    }),
    chart({
      title: "Entries the slowest member lacks",
      format: count,
      least: 10,
      series: [{ points: () => m.gauges("confman_raft_lag_max") }],
    }),
    chart({
      title: "Resident memory",
      format: bytes,
      least: 1 << 24,
      binary: true,
      series: [{ points: () => m.gauges("process_resident_memory_bytes") }],
    }),
  ];
}

function health(c) {
  const away = c.members.filter((x) => !x.connected);
  const votes = c.members.filter((x) => x.role !== "learner");
  if (!c.leader) return ["bad", "No leader", "Writes wait until a majority can be reached."];
  const leader = c.members.find((x) => x.id === c.leader);
  const under = `${leader ? leader.name : c.leader} leads in term ${count(c.term)}`;
  if (away.length) {
    const here = votes.filter((x) => x.connected).length;
    return [
      "warn",
      `${away.map((x) => x.name).join(", ")} cannot be reached`,
      `${under}; ${here} of ${votes.length} voters are here`,
    ];
  }
  const n = c.members.length;
  const who = n === 1 ? "one member" : `all ${n} members are connected`;
  return ["good", "Everything is well", `${under}; ${who}`];
}

function memberRow(c, x) {
  const lag = x.lag === undefined ? null : x.lag;
  return h(
    "tr",
    {},
    h(
      "td",
      {},
      h("span", { class: x.connected ? "dot good" : "dot bad" }),
      h("strong", {}, x.name || "unnamed"),
      x.self ? h("span", { class: "tag" }, "this node") : null,
    ),
    h("td", {}, h("span", { class: x.role === "leader" ? "tag accent" : "tag" }, x.role)),
    h("td", { class: "mono wide-only" }, x.id),
    h("td", { class: "mono wide-only" }, x.client || "–"),
    h("td", { class: "number" }, lag === null ? "–" : lag === 0 ? "none" : count(lag)),
    h(
      "td",
      { class: "number" },
      x.self ? "–" : x.heard_ms_ago === undefined ? "–" : `${count(x.heard_ms_ago)} ms`,
    ),
    h("td", {}, x.connected ? "connected" : "away"),
  );
}

export function overview(root) {
  const title = h("strong", {}),
    under = h("span", {}),
    banner = h(
      "div",
      { class: "banner", role: "status" },
      h("span", { class: "dot" }),
      h("div", {}, title, under),
    );
  const revision = stat("Revision"),
    keys = stat("Keys"),
    store = stat("Store"),
    people = stat("Connections");
  const pictures = charts();
  const body = h("tbody");
  root.append(
    h("header", { class: "head" }, h("h1", {}, "Overview")),
    banner,
    h("div", { class: "stats" }, revision, keys, store, people),
    h("div", { class: "charts" }, pictures),
    h(
      "section",
      { class: "card" },
      h("header", {}, h("h2", {}, "Members")),
      h(
        "div",
        { class: "scroll", tabindex: "0", role: "group", "aria-label": "Members" },
        h(
          "table",
          {},
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              ["Name", "Role"].map((t) => h("th", { scope: "col" }, t)),
              ["Id", "For clients"].map((t) => h("th", { scope: "col", class: "wide-only" }, t)),
              ["Behind", "Heard of"].map((t) => h("th", { scope: "col", class: "number" }, t)),
              h("th", { scope: "col" }, "State"),
            ),
          ),
          body,
        ),
      ),
    ),
  );

  function show() {
    const v = (name) => m.value(m.last(), name);
    for (const p of pictures) p.update();
    if (!m.last()) return;
    revision.set(
      count(v("etcd_debugging_mvcc_current_revision")),
      v("etcd_debugging_mvcc_compact_revision") > 0
        ? `kept from ${count(v("etcd_debugging_mvcc_compact_revision"))} on`
        : "all of the history is kept",
    );
    keys.set(
      count(v("etcd_debugging_mvcc_keys_total")),
      `${count(v("confman_store_versions"))} versions`,
    );
    store.set(
      bytes(v("etcd_mvcc_db_total_size_in_bytes")),
      v("confman_nospace")
        ? "full: writes are refused"
        : `${bytes(v("etcd_mvcc_db_total_size_in_use_in_bytes"))} of it newest`,
    );
    people.set(
      count(v("confman_connections")),
      `${count(v("etcd_debugging_mvcc_watcher_total"))} watchers`,
    );
  }
  let stopped = false;
  async function members() {
    try {
      const c = await get("/v1/cluster");
      const [kind, text, more] = health(c);
      banner.className = `banner ${kind}`;
      if (title.textContent !== text) title.textContent = text;
      if (under.textContent !== more) under.textContent = more;
      body.replaceChildren(...c.members.map((x) => memberRow(c, x)));
    } catch (e) {
      banner.className = "banner bad";
      title.textContent = "This node does not answer";
      under.textContent = e.message;
    }
    if (!stopped) setTimeout(members, EVERY_MS);
  }
  const off = m.onSample(show);
  show();
  members();
  return () => ((stopped = true), off());
}
