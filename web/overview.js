// Who leads, who is behind, and how busy this node is.
import { h, count, rate, bytes, seconds } from "./dom.js";
import { chart } from "./chart.js";
import { get } from "./http.js";
import * as m from "./metrics.js";
import { findings } from "./findings.js";
import { subscribe } from "./stream.js";

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

function leads(c) {
  const leader = c.members.find((x) => x.id === c.leader);
  const n = c.members.length;
  return [
    leader ? `${leader.name} leads in term ${count(c.term)}` : `Term ${count(c.term)}`,
    n === 1 ? "one member" : `${count(n)} members`,
  ].join("; ");
}

const finding = (f) =>
  h(
    "li",
    { class: f.kind },
    h("span", { class: "dot" }),
    h("div", {}, h("strong", {}, f.title), h("span", {}, f.more)),
    f.href ? h("a", { href: f.href }, "Show") : null,
  );

// What not everybody may know, and is not worth asking anybody to sign in for.
const once = (path) => get(path).catch(() => null);

function certificate(end) {
  if (!end) return "no certificate of its own";
  const days = Math.floor((end - Date.now() / 1000) / 86400);
  return days < 0 ? "certificate has ended" : `certificate ends in ${count(days)} days`;
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
  const title = h("strong", {}, "Asking…"),
    under = h("span", {}),
    banner = h(
      "div",
      { class: "banner", role: "status" },
      h("span", { class: "dot" }),
      h("div", {}, title, under),
    );
  const wrong = h("ul", { class: "card findings", "aria-label": "What is not well", hidden: true });
  const revision = stat("Revision"),
    keys = stat("Keys"),
    store = stat("Store"),
    disk = stat("Disk free"),
    people = stat("Connections");
  const pictures = charts();
  const body = h("tbody");
  root.append(
    h("header", { class: "head" }, h("h1", {}, "Overview")),
    banner,
    wrong,
    h("div", { class: "stats" }, revision, keys, store, disk, people),
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
        : `may have ${bytes(v("etcd_server_quota_backend_bytes"))}`,
    );
    disk.set(
      bytes(v("confman_disk_free_bytes")),
      certificate(v("confman_certificate_end_seconds")),
    );
    people.set(
      count(v("confman_connections")),
      `${count(v("etcd_debugging_mvcc_watcher_total"))} watchers`,
    );
  }
  let stopped = false,
    told = "",
    clients = null; // how many run what, as the server counts them
  const deaf = subscribe({ topic: "deliveries" }, undefined, {
    changes: (m) => (clients = m),
    again() {},
    state: (s) => s === "live" || (clients = null),
  });
  function tell(c, found) {
    const n = found.length,
      text =
        n === 0
          ? "Everything is well"
          : n === 1
            ? "One thing is not well"
            : `${n} things are not well`;
    const all = JSON.stringify([text, leads(c), found]);
    banner.className = `banner ${n ? found[0].kind : "good"}`;
    if (all === told) return; // what is read out is not read out again
    told = all;
    title.textContent = text;
    under.textContent = leads(c);
    wrong.hidden = !n;
    wrong.replaceChildren(...found.map(finding));
  }
  async function members() {
    try {
      const [c, seal] = await Promise.all([get("/v1/cluster"), once("/v1/seal")]);
      tell(c, findings(c, clients, seal));
      body.replaceChildren(...c.members.map((x) => memberRow(c, x)));
    } catch (e) {
      if (e instanceof TypeError) throw e; // a bug of the page
      told = "";
      banner.className = "banner bad";
      title.textContent = "This node does not answer";
      under.textContent = `${e.message}: see whether its process runs, or ask another member`;
      wrong.hidden = true;
    }
    if (!stopped) setTimeout(members, EVERY_MS);
  }
  const off = m.onSample(show);
  show();
  members();
  return () => ((stopped = true), off(), deaf());
}
