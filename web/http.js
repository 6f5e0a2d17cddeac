// Requests as whoever has logged in, and the stream of changes.
import { h, field, dialog } from "./dom.js";
import { encode, decode, prefixEnd } from "./keys.js";

const KEPT = "confman.session"; // of this tab, gone with it

let session = JSON.parse(sessionStorage.getItem(KEPT) || "null");
let asking = null;
const listeners = new Set();

export const who = () => session && session.name;
export const onSession = (f) => listeners.add(f);

function remember(next) {
  session = next;
  if (next) sessionStorage.setItem(KEPT, JSON.stringify(next));
  else sessionStorage.removeItem(KEPT);
  for (const f of listeners) f();
}
export const logout = () => remember(null);

export class Refused extends Error {
  constructor(status, body) {
    super((body && (body.detail || body.message)) || `the server answered ${status}`);
    this.status = status;
    this.code = body && body.code;
    this.body = body;
  }
}

// Numbers that a double would change stay as they were written.
export const exact = (key, value, context) =>
  typeof value === "number" && context.source !== String(value)
    ? JSON.rawJSON(context.source)
    : value;

// Without cookies and the browser's own login window: a token in a header is all there is.
function send(method, path, body, headers, signal) {
  const all = { ...headers };
  if (session) all.authorization = `Bearer ${session.token}`;
  if (body !== undefined) all["content-type"] = "application/json";
  return fetch(path, {
    method,
    body,
    headers: all,
    signal,
    credentials: "omit",
    cache: "no-store",
  });
}

// "Nobody is proven to ask" in REST's words, and in those of etcd's JSON door.
function unproven(refused) {
  return (
    refused.status === 401 ||
    /user name is empty|invalid auth token|revision of auth store is old/.test(refused.message)
  );
}

async function refusal(answer) {
  let body = null;
  try {
    body = await answer.json();
  } catch {
    /* not JSON: the status says it */
  }
  return new Refused(answer.status, body);
}

async function open(method, path, body, headers, signal) {
  for (let tries = 0; ; tries++) {
    const used = session;
    let answer;
    try {
      answer = await send(method, path, body, headers, signal);
    } catch (e) {
      if (e.name === "AbortError") throw e;
      throw new Error("the server cannot be reached");
    }
    if (answer.ok) return answer;
    const refused = await refusal(answer);
    if (!unproven(refused) || tries > 2) throw refused;
    if (session === used && !(await login(used ? "Your session has ended." : ""))) throw refused;
  }
}

export async function call(method, path, body, headers) {
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  const answer = await open(method, path, text, headers);
  return JSON.parse((await answer.text()) || "null", exact);
}
export const get = (path) => call("GET", path);
export const v3 = (path, body = {}) => call("POST", `/v3/${path}`, body);

export async function metricsText() {
  const answer = await send("GET", "/metrics");
  if (!answer.ok) throw await refusal(answer);
  return answer.text();
}

// Asks once, however many requests wait for it. Resolves false when it was left.
export function login(why) {
  asking = asking || ask(why).finally(() => (asking = null));
  return asking;
}

async function ask(why) {
  const name = h("input", { autocomplete: "username", autofocus: true, spellcheck: "false" });
  const password = h("input", { type: "password", autocomplete: "current-password" });
  const token = h("input", { type: "password", autocomplete: "off" });
  if (session && session.name) name.value = session.name;
  return Boolean(
    await dialog({
      title: "Sign in",
      body: [
        why ? h("p", { class: "hint" }, why) : null,
        field("User", name),
        field("Password", password),
        h("details", {}, h("summary", {}, "Use a token instead"), field("Token", token)),
      ],
      action: "Sign in",
      submit: async () => {
        if (token.value) {
          const answer = await fetch("/v1/status", {
            credentials: "omit",
            cache: "no-store",
            headers: { authorization: `Bearer ${token.value}` },
          });
          if (answer.status === 401) throw new Error("this token proves nobody");
          remember({ name: "token", token: token.value });
          return;
        }
        const answer = await fetch("/v3/auth/authenticate", {
          method: "POST",
          credentials: "omit",
          body: JSON.stringify({ name: name.value, password: password.value }),
        });
        if (!answer.ok) {
          const refused = await refusal(answer);
          throw /authentication failed/.test(refused.message)
            ? new Error("user or password is wrong")
            : refused;
        }
        remember({ name: name.value, token: (await answer.json()).token });
      },
    }),
  );
}

// Keeps a stream going for as long as signal lets it: once(heard) reads it to its end and calls
// heard when something came. A connection that breaks comes back, each time later and never all
// clients at once. Ends when it may not be read, and calls lost when its place in history is gone.
async function steadily(signal, { state, lost }, once) {
  for (let tries = 0; !signal.aborted; tries++) {
    try {
      await once(() => (tries = 0));
    } catch (e) {
      if (signal.aborted) return;
      if (e.status === 403) return state("away");
      if (e.status === 410) return lost();
    }
    if (signal.aborted) return;
    state("away");
    const wait = Math.min(15000, 300 * 2 ** tries) * (0.5 + Math.random());
    await new Promise((done) => setTimeout(done, wait));
  }
}
const gone = () => Object.assign(new Error("its history is gone"), { status: 410 });
const denied = () => Object.assign(new Error("this may not be read any more"), { status: 403 });

// Changes of configs from a revision on: tell(type, data) gets put and delete, and "lost" once its
// place in history is gone: then the list is to be read again. state("live" | "away") says how it
// goes.
export function watch(query, revision, { tell, state, signal }) {
  return steadily(signal, { state, lost: () => tell("lost") }, async (heard) => {
    const path = `/v1/watch?${query}&revision=${revision}`;
    for await (const event of events(await open("GET", path, undefined, {}, signal))) {
      heard();
      if (event.type === "ready") state("live");
      if (event.type === "denied") throw denied();
      if (event.type === "compacted") throw gone();
      if (event.type === "put" || event.type === "delete") tell(event.type, event.data);
      revision = Math.max(revision, Number(event.id) || 0);
    }
  });
}

// Which keys below a prefix changed, by etcd's JSON door: tell(type, key, revision).
export function watchKeys(prefix, revision, { tell, state, signal, lost }) {
  const range = { key: encode(prefix), range_end: prefixEnd(prefix) };
  return steadily(signal, { state, lost }, async (heard) => {
    const create_request = { ...range, start_revision: revision + 1 };
    const answer = await open("POST", "/v3/watch", JSON.stringify({ create_request }), {}, signal);
    for await (const line of pieces(answer.body, "\n")) {
      const { result } = JSON.parse(line);
      heard();
      if (result.created) state("live");
      if (Number(result.compact_revision) > 0) throw gone();
      if (result.canceled) throw denied();
      for (const event of result.events || []) {
        revision = Number(event.kv.mod_revision);
        tell(event.type === "DELETE" ? "delete" : "put", decode(event.kv.key), revision);
      }
    }
  });
}

// Calls changed() when a flag of the environment may have changed.
export function watchFlags(query, { changed, state, signal }) {
  return steadily(signal, { state, lost: changed }, async (heard) => {
    const answer = await open("GET", `/ofrep/v1/events?${query}`, undefined, {}, signal);
    state("live");
    changed(); // what was missed meanwhile
    for await (const event of events(answer)) {
      heard();
      if (event.type === "denied") throw denied();
      changed();
    }
  });
}

// A stream of texts, cut at mark.
async function* pieces(body, mark) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const parts = text.split(mark);
    text = parts.pop();
    yield* parts.filter((part) => part.trim());
  }
}

// The events of a text/event-stream.
async function* events(answer) {
  for await (const part of pieces(answer.body, "\n\n")) {
    const event = {};
    for (const line of part.split("\n")) {
      const at = line.indexOf(":");
      const name = line.slice(0, at),
        rest = line.slice(at + 1).trimStart();
      if (name === "event") event.type = rest;
      if (name === "id") event.id = rest;
      if (name === "data") event.data = JSON.parse(rest, exact);
    }
    if (event.type) yield event;
  }
}
