// What is not well, worst first, each with what can be done about it: read off /v1/cluster,
// /metrics and who runs what. An operator reads this first.
import { bytes, count, seconds } from "./dom.js";
import * as m from "./metrics.js";

const LAG = 1000, // entries: more is told
  SLOW_SYNC_S = 0.25,
  SYNCS = 15, // samples looked at: half of them slow is slow, one is not
  SYNCS_LEAST = 5,
  FILLED = 0.8, // of what may be used
  FREE_LEAST_BYTES = 2 << 30,
  CERTIFICATE_DAYS = 14,
  DAY_S = 86400,
  ELECTIONS = 2; // in what is kept of samples, five minutes

const bad = (title, more, href) => ({ kind: "bad", title, more, href });
const warn = (title, more, href) => ({ kind: "warn", title, more, href });
const names = (members) => members.map((x) => x.name || x.id).join(", ");

function ofCluster(c) {
  const votes = c.members.filter((x) => x.role !== "learner");
  const away = c.members.filter((x) => !x.connected);
  const here = votes.filter((x) => x.connected).length;
  const late = c.members.filter((x) => x.connected && x.lag > LAG);
  return [
    !c.leader &&
      bad(
        "No leader",
        `Writes wait. ${here} of ${votes.length} voters are here, it takes ` +
          `${Math.floor(votes.length / 2) + 1}: bring back those that are away.`,
      ),
    away.length > 0 &&
      warn(
        `${names(away)} cannot be reached`,
        `${here} of ${votes.length} voters are here. Look whether the process runs, ` +
          "and whether its peer address can be reached from here.",
      ),
    late.length > 0 &&
      warn(
        `${names(late)} ${late.length === 1 ? "is" : "are"} behind`,
        late.map((x) => `${x.name} lacks ${count(x.lag)} entries`).join(", ") +
          ": it reads old values until it is level. Look at its disk and network.",
      ),
  ];
}

const grown = (name) => {
  const all = m.all();
  const first = all.length ? m.value(all[0], name) : undefined,
    last = m.value(m.last(), name);
  return first === undefined || last === undefined ? 0 : last - first;
};

// What the slowest hundredth of syncs took, in half of the newest samples or more.
function usualSync() {
  const all = m.quantiles("confman_log_sync_seconds", 0.99).slice(-SYNCS);
  const known = all.filter((p) => p.y !== null).map((p) => p.y);
  return known.length < SYNCS_LEAST ? 0 : known.sort((a, b) => a - b)[known.length >> 1];
}

function ofNode() {
  const v = (name) => m.value(m.last(), name) || 0;
  const slow = usualSync();
  const store = v("etcd_mvcc_db_total_size_in_bytes") / v("etcd_server_quota_backend_bytes");
  const end = v("confman_certificate_end_seconds"),
    days = (end - Date.now() / 1000) / DAY_S;
  const free = v("confman_disk_free_bytes"),
    files = v("process_open_fds") / v("process_max_fds");
  const elections = grown("etcd_server_leader_changes_seen_total"),
    lost = grown("confman_audit_dropped_total"),
    refused = grown("confman_requests_overloaded_total");
  return [
    v("confman_corrupt") > 0 &&
      bad(
        "Members have different states",
        "The alarm CORRUPT is raised. Find the one that differs with etcdctl endpoint hashkv, " +
          "and replace it.",
      ),
    v("confman_nospace") > 0 &&
      bad(
        "Writes are refused: no room",
        `${bytes(free)} are free on the disk, the store has ` +
          `${bytes(v("etcd_mvcc_db_total_size_in_bytes"))}. Delete keys, compact, or make room.`,
      ),
    !v("confman_nospace") &&
      free > 0 &&
      free < FREE_LEAST_BYTES &&
      warn("The disk is filling", `${bytes(free)} are free where the data is.`),
    store >= FILLED &&
      warn(
        "The store is filling",
        `${Math.round(store * 100)} % of what it may have. Compact, delete keys, or raise it.`,
      ),
    end > 0 &&
      days < CERTIFICATE_DAYS &&
      (days < 0 ? bad : warn)(
        days < 0 ? "The certificate has ended" : `The certificate ends in ${Math.ceil(days)} days`,
        "Put a new one in place of the file: it is read without a restart.",
      ),
    slow > SLOW_SYNC_S &&
      warn(
        "The disk is slow",
        `Writing the log takes up to ${seconds(slow)}; every write waits for that.`,
      ),
    elections >= ELECTIONS &&
      warn(
        `The leader changed ${count(elections)} times in the last minutes`,
        "Look at the network between members, and at their disks.",
      ),
    refused > 0 &&
      warn(
        `${count(refused)} requests were refused: too much is in progress`,
        "See which user or prefix asks so much, and bound it.",
        "#/quotas",
      ),
    files > FILLED &&
      warn(
        "Few descriptors are left",
        `${count(v("process_open_fds"))} files and connections are open.`,
      ),
    lost > 0 &&
      warn(`${count(lost)} lines of the audit log are lost`, "The disk did not take them."),
  ];
}

function ofClients(d) {
  if (!d) return [];
  const { failed = 0, behind = 0 } = d.counts;
  const clients = (n) => `${count(n)} client${n === 1 ? "" : "s"}`;
  return [
    failed > 0 &&
      bad(
        `${clients(failed)} could not use what was published`,
        "See which, since when, and what each says.",
        "#/deliveries?state=failed",
      ),
    behind > 0 &&
      warn(
        `${clients(behind)} ${behind === 1 ? "is" : "are"} behind`,
        "They run an older revision than they should.",
        "#/deliveries?state=behind",
      ),
  ];
}

const ofSeal = (seal) => [
  seal &&
    seal.sealed &&
    seal.initialized &&
    warn("This node is sealed", "It cannot open secrets until shares come.", "#/secrets"),
];

// c: /v1/cluster; d: /v1/deliveries; seal: /v1/seal; d and seal may be null: not to be known.
export function findings(c, d, seal) {
  const all = [...ofCluster(c), ...(m.last() ? ofNode() : []), ...ofClients(d), ...ofSeal(seal)];
  const found = all.filter(Boolean);
  return [...found.filter((f) => f.kind === "bad"), ...found.filter((f) => f.kind !== "bad")];
}
