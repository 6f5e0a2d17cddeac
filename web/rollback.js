// Back to how configs were at a revision: shown first, then written anew as one transaction.
import { h, dialog, field, note, count } from "./dom.js";
import { call } from "./http.js";
import { diffView } from "./diff.js";
import { faultsOf, textOf } from "./publish.js";

const WHAT = {
  configs: "configs of this environment",
  flags: "flags of this environment",
  everything: "all environments, with flags",
};

const side = (v) => (!v || v.value === undefined ? null : textOf(v));

// One change of a plan, as /v1/txn and drafts tell it.
export function plannedChange(item) {
  const json = [item.from, item.to].every((v) => !v || v.type === "json");
  return h(
    "section",
    { class: "change" },
    h(
      "h3",
      {},
      item.kind === "config" ? "" : `${item.kind} `,
      h("span", { class: "mono" }, item.key),
      ` in ${item.environment}`,
    ),
    diffView(side(item.from), side(item.to), { json }),
  );
}

const ask = async (body, dry) => {
  try {
    return await call("POST", `/v1/rollback${dry ? "?dry_run=true" : "?confirm=true"}`, body);
  } catch (e) {
    throw Object.assign(e, { faults: faultsOf(e) });
  }
};

// environment: null, all of them.
export async function rollback(environment) {
  const revision = h("input", { autofocus: true, inputmode: "numeric", spellcheck: "false" });
  const prefix = h("input", { spellcheck: "false", class: "mono", placeholder: "shop/" });
  const what = h(
    "select",
    {},
    Object.entries(WHAT)
      .filter(([v]) => environment || v === "everything")
      .map(([v, t]) => h("option", { value: v }, t)),
  );
  const prefixField = field("That begin with", prefix, "Left empty, it is all of them.");
  what.addEventListener("change", () => (prefixField.hidden = what.value === "everything"));
  prefixField.hidden = !environment;
  let body = null;
  const plan = await dialog({
    title: `Roll back ${environment || "everything"}`,
    action: "Show what that changes",
    body: [
      field("To revision", revision, "Each version in a history tells its revision."),
      field("What", what),
      prefixField,
    ],
    submit: () => {
      if (!/^\d+$/.test(revision.value)) throw new Error("To which revision?");
      const scope =
        what.value === "everything"
          ? { everything: true }
          : { prefix: prefix.value, environment, kind: what.value === "flags" ? "flag" : "config" };
      body = { revision: Number(revision.value), ...scope };
      return ask(body, true);
    },
  });
  if (!plan) return;
  if (!plan.changed) return note(`Nothing is different from revision ${body.revision}.`);
  const why = h("input", { autocomplete: "off" });
  const done = await dialog({
    title: `Back to revision ${count(body.revision)}`,
    wide: true,
    danger: true,
    action: "Roll back",
    body: [
      h(
        "p",
        { class: "hint" },
        `${count(plan.changed)} change${plan.changed === 1 ? "" : "s"}, all or none of them.`,
      ),
      h("div", { class: "planned" }, plan.items.map(plannedChange)),
      field("Why", why, "It is kept with the changes."),
    ],
    submit: () =>
      ask({ ...body, ...(why.value.trim() ? { change_log: why.value.trim() } : {}) }, false),
  });
  if (done) note(`Rolled back, as revision ${done.revision}.`);
}
