// Requests as whoever has signed in. The session is a cookie that scripts cannot read.
import { h, button, field, dialog } from "./dom.js";

let me = { user: null, authentication: false, admin: true, roles: [] };
let asking = null;
const ROOT = "root";
const listeners = new Set();

// As /v1/me tells: {user, authentication, admin, roles}.
export const who = () => me;
export const onSession = (f) => listeners.add(f);

function remember(next) {
  const before = me;
  me = next;
  for (const f of listeners) f(me, before);
}

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

async function send(method, path, body, headers) {
  const all = { ...headers };
  if (body !== undefined) all["content-type"] = "application/json";
  try {
    return await fetch(path, {
      method,
      body,
      headers: all,
      credentials: "same-origin",
      cache: "no-store",
    });
  } catch {
    throw new Error("the server cannot be reached");
  }
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

async function once(method, path, body, headers) {
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  const answer = await send(method, path, text, headers);
  if (!answer.ok) throw await refusal(answer);
  return JSON.parse((await answer.text()) || "null", exact);
}

// Whoever is asked to sign in, and does, gets the answer they were after.
export async function call(method, path, body, headers) {
  for (let tries = 0; ; tries++) {
    const used = me;
    try {
      return await once(method, path, body, headers);
    } catch (e) {
      if (e.status !== 401 || tries > 2) throw e;
      if (me === used && !(await login(used.user ? "Your session has ended." : ""))) throw e;
    }
  }
}
// Of a path: what is empty is left out.
export const queryOf = (values) =>
  String(
    new URLSearchParams(Object.entries(values).filter(([, v]) => v !== "" && v !== undefined)),
  );
export const get = (path) => call("GET", path);

// As it is: files, metrics.
export async function textFrom(path) {
  const answer = await send("GET", path);
  if (!answer.ok) throw await refusal(answer);
  return answer.text();
}

export const refresh = async () => remember(await get("/v1/me"));

export async function logout() {
  await once("POST", "/v1/logout", {});
  remember({ ...me, user: null, admin: false, roles: [] });
}

// A token that somebody already has. Until the browser closes, it stands where a session would.
async function bring(token) {
  const found = await once("GET", "/v1/me", undefined, { authorization: `Bearer ${token}` }).catch(
    (e) => {
      throw e.status === 401 ? new Error("this token proves nobody") : e;
    },
  );
  if (/[^\w.~+/=-]/.test(token)) throw new Error("this is not a token");
  await once("POST", "/v1/logout", {});
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `confman_session=${token}; Path=/; SameSite=Strict${secure}`;
  return found;
}

// Asks once, however many requests wait for it. Resolves false when it was left.
export function login(why) {
  asking = asking || ask(why).finally(() => (asking = null));
  return asking;
}

const host = (url) => {
  try {
    return new URL(url).host;
  } catch {
    return url;
  }
};

async function ask(why) {
  const { methods } = await once("GET", "/v1/login");
  const name = h("input", { autocomplete: "username", autofocus: true, spellcheck: "false" });
  const password = h("input", { type: "password", autocomplete: "current-password" });
  const token = h("input", { type: "password", autocomplete: "off" });
  if (me.user) name.value = me.user;
  return Boolean(
    await dialog({
      title: "Sign in",
      body: [
        why ? h("p", { class: "hint" }, why) : null,
        methods
          .filter((m) => m.type === "oidc")
          .map((m) =>
            button(`Sign in at ${host(m.issuer)}`, () => location.assign(m.url), {
              class: "primary",
            }),
          ),
        field("User", name),
        field("Password", password),
        h("details", {}, h("summary", {}, "Use a token instead"), field("Token", token)),
      ],
      action: "Sign in",
      submit: async () => {
        if (token.value) {
          remember(await bring(token.value));
          return;
        }
        try {
          await enter(name.value, password.value);
        } catch (e) {
          throw e.status === 401 || e.status === 403 ? new Error("user or password is wrong") : e;
        }
      },
    }),
  );
}

// Signs in as that user.
async function enter(user, password) {
  await once("POST", "/v1/login", { user, password, cookie: true });
  remember(await once("GET", "/v1/me"));
}

// From then on everybody is asked who they are. It takes a user root of the role root, who is made
// if there is none, with this password, and signed in.
export async function enableAuthentication(password) {
  const [{ users }, { roles }] = await Promise.all([get("/v1/users"), get("/v1/roles")]);
  const root = users.find((u) => u.name === ROOT),
    known = root ? root.roles : [];
  const path = `/v1/users/${ROOT}`;
  if (!roles.some((r) => r.name === ROOT)) await once("POST", "/v3/auth/role/add", { name: ROOT });
  if (!known.includes(ROOT)) await once("PUT", path, { roles: [...known, ROOT] });
  await once("POST", `${path}?action=password`, { password });
  await once("POST", "/v3/auth/enable", {});
  await enter(ROOT, password);
}

// It takes the password once more.
export async function disableAuthentication(password) {
  const { token } = await once("POST", "/v1/login", { user: me.user, password });
  await once("POST", "/v3/auth/disable", {}, { authorization: `Bearer ${token}` });
  await refresh();
}
