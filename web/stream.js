// Changes as they happen: one WebSocket a tab (docs/push.md), for all who want to hear.
import { exact, get } from "./http.js";

const WAIT_MAX_MS = 15000;

let socket = null,
  welcome = false,
  tries = 0,
  wait_ms = 300,
  next = 1;
const all = new Map(); // by id: what is subscribed to, what was seen of it, and who is told

function send(id) {
  const { what, revision } = all.get(id);
  socket.send(JSON.stringify({ type: "subscribe", id, ...what, revision }));
}

const TOLD = {
  welcome(m) {
    [welcome, tries, wait_ms] = [true, 0, m.reconnect_ms];
    for (const id of all.keys()) send(id);
  },
  goodbye(m) {
    wait_ms = m.reconnect_ms;
  },
  subscribed(m, to) {
    to.state("live");
  },
  changes(m, to) {
    to.changes(m.changes);
  },
  deliveries(m, to) {
    to.changes(m);
  },
  compacted(m, to) {
    to.again();
  },
  environment(m, to) {
    to.again();
  },
  denied(m, to) {
    to.state("denied");
  },
};

function heard(text) {
  const m = JSON.parse(text, exact),
    of = all.get(m.id);
  if (m.id !== undefined && !of) return; // it has ended meanwhile
  if (m.type === "progress" && m.id === undefined)
    for (const x of all.values()) x.revision = Math.max(x.revision, m.revision);
  if (of && m.revision !== undefined) of.revision = Math.max(of.revision, m.revision);
  if (TOLD[m.type]) TOLD[m.type](m, of && of.on);
}

// A connection that breaks comes back, each time later and never all clients at once. Why one was
// refused is not told to scripts: /v1/me says whether there is still a session, and asks for one.
async function back() {
  const wait = Math.min(WAIT_MAX_MS, wait_ms * 2 ** tries++) * (0.5 + Math.random());
  await new Promise((done) => setTimeout(done, wait));
  try {
    await get("/v1/me");
  } catch {
    /* it is away, or nobody signed in: the next try will show */
  }
  if (all.size && !socket) connect();
}

function connect() {
  const s = new WebSocket(
    `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/subscribe`,
  );
  [socket, welcome] = [s, false];
  s.onmessage = (event) => s === socket && heard(event.data);
  s.onclose = () => {
    if (s !== socket) return;
    socket = null;
    for (const x of all.values()) x.on.state("away");
    if (all.size) back();
  };
}

// what: {prefix, environment, own?}, {flags, environment}, {topic: "drafts"}, or {topic:
// "deliveries"} with what it is about; revision: what was read already, undefined: from now on. on:
// changes(items), again() when all is to be read anew, state("live" | "away" | "denied"). Gives
// the function that ends it.
export function subscribe(what, revision, on) {
  const id = next++;
  all.set(id, { what, revision, on });
  if (!socket) connect();
  else if (welcome) send(id);
  return () => {
    all.delete(id);
    if (!all.size && socket) socket.close();
    else if (welcome && socket) socket.send(JSON.stringify({ type: "unsubscribe", id }));
    if (!all.size) socket = null;
  };
}

// Whoever asks changes: what the old session was allowed is asked for anew.
export function reconnect() {
  if (socket) socket.close();
}
