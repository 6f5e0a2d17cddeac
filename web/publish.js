// Values as texts, and the dialog that shows what a change does before it is done.
import { h, dialog, ago } from "./dom.js";
import { diffView } from "./diff.js";

export const TYPES = ["string", "number", "boolean", "json", "bytes"];

const isText = (type) => type === "string" || type === "bytes";

export function textOf(item) {
  if (isText(item.type)) return String(item.value);
  return JSON.stringify(item.value, null, item.type === "json" ? 2 : 0);
}

// Numbers go as they were typed: a double would change long ones.
export const bodyOf = (type, text) =>
  `{"type":${JSON.stringify(type)},"value":${isText(type) ? JSON.stringify(text) : text}}`;

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

// What a refusal says, with the places in the value when it names them.
export function faultsOf(e) {
  const all = (e.body && e.body.errors) || [];
  return all.map((x) => `${x.pointer || "the value"}: ${x.message || x.detail}`);
}

// Shows what a change does, and does it if it is still about what was looked at. base: {version,
// updated_by?, updated_at?}, or null for something new; before(base) and after are texts;
// write(base) does it, and is refused with 412 if base is old; read() gives what is there now, or
// null. Gives what write gave, or undefined.
export function review({ title, base, before, after, json, say, write, read }) {
  let now = base;
  const view = h("div", { class: "compare" });
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
  return dialog({
    title,
    body: view,
    wide: true,
    action: "Publish",
    submit: async () => {
      try {
        return await write(now);
      } catch (e) {
        const faults = faultsOf(e);
        if (faults.length) throw Object.assign(new Error(e.message), { faults });
        if (e.status !== 412) throw e;
        const found = await read();
        if (!found && now) throw new Error("It was deleted meanwhile.");
        now = found;
        show();
        throw new Error(
          `Somebody published version ${now ? now.version : 0} meanwhile. ` +
            "Above is what yours would change now.",
        );
      }
    },
  });
}
