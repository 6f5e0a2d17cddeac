// Files: configs of an environment as YAML, JSON or .env, out and in; in only after one has seen
// what that would change.
import { h, count, dialog, field, note } from "./dom.js";
import { call, queryOf, textFrom } from "./http.js";
import { faultsOf } from "./publish.js";
import { plannedChange } from "./rollback.js";

const FORMATS = { yaml: "YAML", json: "JSON", env: ".env" };
const ENDINGS = { yaml: "yaml", yml: "yaml", json: "json", env: "env" };
const SHOWN_MAX = 200; // changes that are drawn; all are counted, and done
const ONE_STEP = 60; // changes that one transaction takes, with a reason

const formats = (value) =>
  h(
    "select",
    {},
    Object.entries(FORMATS).map(([v, t]) => h("option", { value: v, selected: v === value }, t)),
  );
const below = (value) =>
  h("input", { spellcheck: "false", class: "mono", placeholder: "shop/", value });
const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

function save(text, name) {
  const url = URL.createObjectURL(new Blob([text]));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

export async function exportFile(environment, prefix = "") {
  const format = formats("yaml"),
    where = below(prefix);
  const all = h("input", { type: "checkbox" });
  await dialog({
    title: `Export ${environment}`,
    action: "Export",
    body: [
      h("div", { class: "fields" }, field("As", format), field("That begin with", where)),
      h("div", { class: "checks" }, h("label", {}, all, "with what it inherits")),
      h("p", { class: "hint" }, "Secrets are not in it, only what refers to them."),
    ],
    submit: async () => {
      const query = { format: format.value, environment, prefix: where.value };
      const text = await textFrom(
        `/v1/export?${queryOf({ ...query, own: all.checked ? "false" : "" })}`,
      );
      const name = [environment, ...where.value.split("/").filter(Boolean)].join("-");
      save(text, `${name.replace(/[^\w.-]/g, "_")}.${format.value}`);
    },
  });
}

const wrapped = (e) => {
  throw Object.assign(e, { faults: faultsOf(e) });
};

function planView(plan, environment) {
  const shown = plan.items.slice(0, SHOWN_MAX);
  const kinds = ["added", "changed", "removed"]
    .map((k) => [k, plan.items.filter((x) => x.change === k).length])
    .filter(([, n]) => n);
  return [
    h(
      "p",
      {},
      `${plural(plan.changed, "change")} in ${environment}: `,
      kinds.map(([k, n]) => `${count(n)} ${k}`).join(", "),
      plan.unchanged ? `. ${count(plan.unchanged)} are so already.` : ".",
    ),
    h(
      "div",
      { class: "planned" },
      shown.map(plannedChange),
      plan.changed > shown.length
        ? h("p", { class: "hint" }, `and ${count(plan.changed - shown.length)} more`)
        : null,
    ),
  ];
}

// One step after the other, each all or nothing: what a transaction takes is bounded.
async function publish(send, why, tell) {
  for (let done = 0; ;) {
    const step = await send({ partial: "true", change_log: why });
    done += step.changed;
    if (!step.left) return { ...step, changed: done };
    if (!step.changed) throw new Error(`${count(step.left)} changes are left, and none was made.`);
    tell(`${count(done)} are written, ${count(step.left)} are left…`);
  }
}

const proposal = (plan, title, why) => {
  if (plan.changed > ONE_STEP)
    throw new Error(`A draft takes ${ONE_STEP} changes; import it in parts, prefix by prefix.`);
  const changes = plan.items.map((x) => ({
    key: x.key,
    environment: x.environment,
    ...(x.to ? { value: x.to.value, type: x.to.type } : { op: "delete" }),
  }));
  return call("POST", "/v1/drafts", { title, changes, ...(why ? { change_log: why } : {}) });
};

// Gives whether something was published.
export async function importFile(environment) {
  const file = h("input", { type: "file", accept: ".yaml,.yml,.json,.env,text/*" });
  const text = h("textarea", {
    class: "mono",
    rows: "8",
    spellcheck: "false",
    placeholder: "shop/limit: 100",
  });
  const format = formats("yaml"),
    where = below("");
  const nested = h("input", { type: "checkbox" }),
    replace = h("input", { type: "checkbox" });
  let name = "a file";
  file.addEventListener("change", async () => {
    const [one] = file.files;
    if (!one) return;
    name = one.name;
    text.value = await one.text();
    const known = ENDINGS[one.name.split(".").pop().toLowerCase()];
    if (known) format.value = known;
  });
  const send = (more) =>
    call(
      "POST",
      `/v1/import?${queryOf({
        format: format.value,
        environment,
        prefix: where.value,
        nested: nested.checked ? "true" : "",
        replace: replace.checked ? "true" : "",
        ...more,
      })}`,
      text.value,
    );
  const plan = await dialog({
    title: `Import into ${environment}`,
    wide: true,
    action: "Show what that changes",
    body: [
      field("File", file, "Or paste it:"),
      field("Content", text),
      h(
        "div",
        { class: "fields" },
        field("It is", format),
        field("Put behind", where, "Names in the file stand behind it."),
      ),
      h(
        "div",
        { class: "checks" },
        h("label", {}, nested, "objects in one another are keys with slashes"),
        h("label", {}, replace, "delete what the file does not have"),
      ),
    ],
    submit: () => {
      if (!text.value.trim()) throw new Error("There is nothing in it.");
      return send({ dry_run: "true", partial: "true" }).catch(wrapped);
    },
  });
  if (!plan) return false;
  if (!plan.changed) return (note("All of that is so already."), false);
  const why = h("input", { autocomplete: "off" }),
    state = h("p", { class: "hint", role: "status" });
  const reason = () => why.value.trim();
  const done = await dialog({
    title: `Import ${name} into ${environment}`,
    wide: true,
    danger: plan.items.some((x) => x.change === "removed"),
    action: `Publish ${plural(plan.changed, "change")}`,
    body: [
      planView(plan, environment),
      plan.changed > ONE_STEP
        ? h(
            "p",
            { class: "hint" },
            "They are written in several transactions, one after the other.",
          )
        : null,
      state,
      field("Why", why, "It is kept with the changes."),
    ],
    submit: () => publish(send, reason(), (words) => (state.textContent = words)).catch(wrapped),
    other: {
      action: "Propose",
      submit: async () => ({
        draft: (await proposal(plan, reason() || `Import ${name}`, reason()).catch(wrapped)).id,
      }),
    },
  });
  if (!done) return false;
  note(
    done.draft
      ? `Draft ${done.draft} is proposed.`
      : `${plural(done.changed, "change")} published, as revision ${done.revision}.`,
  );
  return !done.draft;
}
