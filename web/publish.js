// Values as texts, and the dialog that shows what a change does before it is done.
import { h, button, count, dialog, field, note, since } from "./dom.js";
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

// How many have to agree, by the guards that ask for it; 0: whoever may not read guards is told
// only that there is one.
async function approvalsOf(faults) {
  const names = new Set(faults.filter((x) => x.guard !== undefined).map((x) => x.guard));
  try {
    const { items } = await get("/v1/guards");
    const asked = items.filter((x) => names.has(x.key)).map((x) => x.guard.approvals || 0);
    return Math.max(0, ...asked);
  } catch {
    return 0;
  }
}

const verdict = (kind, ...words) =>
  h("li", { class: kind }, h("span", { class: "dot" }), h("span", {}, words));

async function refusedBefore(e) {
  const faults = (e.body && e.body.errors) || [];
  const others = faults.filter((x) => x.guard === undefined || !/approvals/.test(x.detail));
  const waits = faults.length > others.length;
  const lines = faultsOf({ body: { errors: others } }).map((x) => verdict("bad", x));
  if (!faults.length) lines.push(verdict("bad", e.message));
  if (!waits) return { lines, publish: false, propose: false };
  const n = await approvalsOf(faults);
  const who = n > 1 ? `${count(n)} others have` : "somebody else has";
  lines.push(verdict("warn", `A guard asks that ${who} to agree first: propose it.`));
  return { lines, publish: false, propose: !others.length };
}

// What schemas and guards say of a change before it is made. Gives {lines, publish, propose}:
// whether either would pass.
async function judged(dry) {
  try {
    const heirs = (await dry()).inherited_by || [];
    const lines = [verdict("good", "Schemas and guards let it pass.")];
    const one = heirs.length === 1;
    if (heirs.length)
      lines.push(
        verdict(
          "",
          `${heirs.join(", ")} ${one ? "inherits it, and gets" : "inherit it, and get"} it.`,
        ),
      );
    return { lines, publish: true, propose: true };
  } catch (e) {
    // that somebody was faster is told when it is done
    if (e.status === 412) return { lines: [], publish: true, propose: true };
    return refusedBefore(e);
  }
}

// Shows what a change does and what schemas and guards say of it, and does it, now or at a time, if
// it is still about what was looked at, or proposes it. base: {version, updated_by?, updated_at?},
// or null for something new; before(base) and after are texts; change(version) is the change; dry()
// asks the server what it would say; read() gives what is there now, or null; puts: this user may
// publish it, and else propose it. Gives what stands there then, {draft: id}, or undefined.
export function review(of) {
  const { title, base, before, after, json, say, change, dry, read, audience, puts } = of;
  let now = base,
    buttons = [];
  const view = h("div", { class: "compare" }),
    why = h("input", { autocomplete: "off", autofocus: true }),
    at = h("input", { type: "datetime-local" }),
    verdicts = h(
      "ul",
      { class: "verdicts", "aria-live": "polite" },
      verdict("", "Asking the guards…"),
    );
  const hear = hearers(audience);
  const changes = () => change(now ? now.version : 0);
  async function judge() {
    const plan = bodyWith(changes(), {});
    const ask = dry || (() => call("POST", "/v1/txn?dry_run=true", plan));
    const [said, heard] = await Promise.all([judged(ask), hear]);
    const [go, second] = buttons;
    verdicts.replaceChildren(...said.lines, ...(heard ? [verdict("", heard)] : []));
    go.disabled = !(puts ? said.publish : said.propose);
    if (!second) return;
    second.disabled = !said.propose;
    second.classList.toggle("primary", said.propose && !said.publish);
  }
  const show = () =>
    view.replaceChildren(
      h(
        "p",
        { class: "hint" },
        now ? `Version ${now.version} → ${now.version + 1}` : "Version 1",
        say ? say(now) : "",
        now && now.updated_by
          ? ["; last changed by ", now.updated_by, " ", since(now.updated_at)]
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
  const draft = () =>
    call(
      "POST",
      "/v1/drafts",
      bodyWith(changes(), {
        title: why.value.trim() || title.replace("Publish", "Change"),
        ...reason(),
      }),
    ).catch(refused);
  async function later() {
    const when = new Date(at.value),
      { id } = await draft();
    try {
      await call("POST", `/v1/drafts/${id}:schedule`, { at: when.toISOString() });
    } catch (e) {
      throw new Error(`Draft ${id} is proposed, but not for a time: ${e.message}`);
    }
    note(`Draft ${id} is published ${when.toLocaleString()}.`);
    return { draft: id };
  }
  const publish = {
    action: "Publish",
    submit: async () => {
      if (at.value) return later();
      await call("POST", "/v1/txn", bodyWith(changes(), reason())).catch(refused);
      return read();
    },
  };
  const propose = {
    action: "Propose",
    submit: async () => {
      const { id } = await draft();
      note(`Draft ${id} is proposed.`);
      return { draft: id };
    },
  };
  at.addEventListener("input", () => {
    buttons[0].textContent = at.value ? "Schedule" : "Publish";
  });
  return dialog({
    title: puts ? title : title.replace("Publish", "Propose"),
    body: [
      view,
      verdicts,
      h(
        "div",
        { class: "fields" },
        field("Why", why, "It is kept with the change."),
        puts ? field("When", at, "Left empty: now. By this browser’s clock.") : null,
      ),
    ],
    wide: true,
    begun: (...both) => ((buttons = both), judge()),
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
