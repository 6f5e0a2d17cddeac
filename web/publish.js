// Values as texts, and the dialog that shows what a change does before it is done.
import { h, ago, button, count, dialog, field, note } from "./dom.js";
import { call, get, queryOf } from "./http.js";
import { diffView } from "./diff.js";

export const TYPES = ["string", "number", "boolean", "json", "bytes"];

const isText = (type) => type === "string" || type === "bytes";

export function textOf(item) {
  if (isText(item.type)) return String(item.value);
  return JSON.stringify(item.value, null, item.type === "json" ? 2 : 0);
}

const raw = (type, text) => (isText(type) ? JSON.stringify(text) : text);

// Numbers go as they were typed: a double would change long ones.
export const bodyOf = (type, text) => `{"type":${JSON.stringify(type)},"value":${raw(type, text)}}`;

// What is wrong with a text as a value of that type; "" for nothing.
export function wrong(type, text) {
  if (type === "string") return "";
  if (type === "bytes")
    return /^[A-Za-z0-9+/]*={0,2}$/.test(text) && text.length % 4 === 0
      ? ""
      : "This is not base64.";
  try {
    const kind = typeof JSON.parse(text);
    if (type === "number" && kind !== "number") return "This is not a number.";
    if (type === "boolean" && kind !== "boolean") return "This is neither true nor false.";
    return "";
  } catch (e) {
    if (type === "number") return "This is not a number.";
    if (type === "boolean") return "This is neither true nor false.";
    return `This is not JSON: ${e.message}`;
  }
}

// What a refusal says, with the places when it names them; of several configs, which one.
export function faultsOf(e) {
  const all = (e.body && e.body.errors) || [];
  const several = new Set(all.map((x) => `${x.environment}/${x.key}`)).size > 1;
  const place = (x) =>
    x.pointer || (x.guard === undefined ? "the value" : `guard ${x.guard || "of all"}`);
  return all.map(
    (x) =>
      `${several && x.key !== undefined ? `${x.key} in ${x.environment}, ` : ""}${place(x)}: ` +
      (x.message || x.detail),
  );
}

// One change as /v1/txn and /v1/drafts take it. of: {kind, environment, key}; text: of the value;
// version: what it must have, 0: none.
export const changeOf = (of, type, text, version) =>
  JSON.stringify({ ...of, type, if_version: version }).replace(
    /}$/,
    () => `,"value":${raw(type, text)}}`,
  );
const bodyWith = (changes, more) => {
  const rest = Object.entries(more).map(([k, v]) => `,${JSON.stringify(k)}:${JSON.stringify(v)}`);
  return `{"changes":[${changes}]${rest.join("")}}`;
};

// Who would see it: clients that subscribe to it now.
async function hearers(audience) {
  try {
    const { counts, complete } = await get(`/v1/deliveries?${queryOf({ ...audience, limit: 1 })}`);
    const n = Object.values(counts).reduce((sum, x) => sum + x, 0);
    if (!n && complete) return "No named client subscribes to it now.";
    const who = n === 1 ? "One named client hears" : `${count(n)} named clients hear`;
    return `${who} of it at once${complete ? "" : "; not all members have answered"}.`;
  } catch {
    return ""; // who may publish may not be allowed to know
  }
}

// Shows what a change does, and does it if it is still about what was looked at, or proposes it.
// base: {version, updated_by?, updated_at?}, or null for something new; before(base) and after are
// texts; change(version) is the change; read() gives what is there now, or null; puts: this user
// may publish it, and else propose it. Gives what stands there then, {draft: id}, or undefined.
export function review(of) {
  const { title, base, before, after, json, say, change, read, audience, puts } = of;
  let now = base;
  const view = h("div", { class: "compare" }),
    why = h("input", { autocomplete: "off" }),
    hear = h("p", { class: "hint" });
  hearers(audience).then((words) => (hear.textContent = words));
  const show = () =>
    view.replaceChildren(
      h(
        "p",
        { class: "hint" },
        now ? `Version ${now.version} → ${now.version + 1}` : "Version 1",
        say ? say(now) : "",
        now && now.updated_by
          ? `; last changed by ${now.updated_by} ${ago(now.updated_at)} ago`
          : "",
      ),
      diffView(before(now), after, { json }),
    );
  show();
  const reason = () => (why.value.trim() ? { change_log: why.value.trim() } : {});
  async function refused(e) {
    if (e.status !== 412) throw Object.assign(e, { faults: faultsOf(e) });
    const found = await read();
    if (!found && now) throw new Error("It was deleted meanwhile.");
    now = found;
    show();
    throw new Error(
      `Somebody published version ${now ? now.version : 0} meanwhile. ` +
        "Above is what yours would change now.",
    );
  }
  const changes = () => change(now ? now.version : 0);
  const publish = {
    action: "Publish",
    submit: async () => {
      await call("POST", "/v1/txn", bodyWith(changes(), reason())).catch(refused);
      return read();
    },
  };
  const propose = {
    action: "Propose",
    submit: async () => {
      const draft = await call(
        "POST",
        "/v1/drafts",
        bodyWith(changes(), {
          title: why.value.trim() || title.replace("Publish", "Change"),
          ...reason(),
        }),
      ).catch(refused);
      note(`Draft ${draft.id} is proposed.`);
      return { draft: draft.id };
    },
  };
  return dialog({
    title: puts ? title : title.replace("Publish", "Propose"),
    body: [view, hear, field("Why", why, "It is kept with the change.")],
    wide: true,
    ...(puts ? { ...publish, other: propose } : propose),
  });
}

// What somebody is changing was changed elsewhere. newer: null, it was deleted.
export const meanwhile = (newer, take, close) =>
  h(
    "p",
    { class: "problem", role: "status" },
    newer
      ? `${newer.updated_by || "Somebody"} has published version ${newer.version} meanwhile. `
      : "It was deleted meanwhile. ",
    newer ? button("Take it", take) : button("Close", close),
  );

export const mayLeave = (name) =>
  dialog({
    title: "Leave your change?",
    action: "Leave it",
    danger: true,
    body: h("p", {}, `What you typed for ${name} was not published.`),
    submit: () => true,
  });
