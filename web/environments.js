// Environments: which there are, which one is looked at, and what each inherits from.
import { h, button, dialog, field, note } from "./dom.js";
import { call, get } from "./http.js";
import { mine } from "./access.js";

export const ALL = "*";
const KEPT = "confman.environment"; // the one that was looked at last
const DEFAULT = "default";

// [{name, parent}...] in order of name; whoever may not read them all sees those of their own.
export async function environments() {
  let items = [];
  try {
    items = (await get("/v1/environments")).items;
  } catch (e) {
    if (e.status !== 403) throw e;
    items = [...(await mine()).keys()].map((name) => ({ name, parent: null }));
  }
  if (!items.some((x) => x.name === DEFAULT)) items.push({ name: DEFAULT, parent: null });
  return items.sort((a, b) => (a.name < b.name ? -1 : 1));
}

// The environment and those it inherits from, nearest first.
export function chainOf(all, name) {
  const chain = [name];
  for (;;) {
    const at = all.find((x) => x.name === chain[chain.length - 1]);
    if (!at || !at.parent || chain.includes(at.parent)) return chain;
    chain.push(at.parent);
  }
}

export const chosenEnvironment = (parameters, allowed = () => true) =>
  [parameters.get("environment"), localStorage.getItem(KEPT)].find((x) => x && allowed(x)) ||
  DEFAULT;

export const inEnvironment = (name) => `environment=${encodeURIComponent(name)}`;

const options = (all, value, extra = []) =>
  [...extra, ...all.map((x) => [x.name, x.name])].map(([v, t]) =>
    h("option", { value: v, selected: v === value }, t),
  );

// A select of environments, and the way to change them. changed(name, all) is told at first too.
export function environmentPicker(current, { all = false, changed }) {
  const select = h(
    "select",
    { class: "inline", "aria-label": "Environment" },
    h("option", {}, current === ALL ? "All environments" : current),
  );
  const chain = h("span", { class: "hint" });
  const node = h(
    "div",
    { class: "picker" },
    select,
    chain,
    button("Environments", () => manage().then(read), { class: "quiet small" }),
  );
  let known = [];
  function told() {
    localStorage.setItem(KEPT, select.value);
    const [, ...above] = select.value === ALL ? [] : chainOf(known, select.value);
    chain.textContent = above.length ? `inherits from ${above.join(", then ")}` : "";
    changed(select.value, known);
  }
  async function read() {
    known = await environments();
    const value = known.some((x) => x.name === current) || current === ALL ? current : DEFAULT;
    if (value === current && current !== ALL && !known.some((x) => x.name === current))
      known.push({ name: current, parent: null });
    select.replaceChildren(...options(known, value, all ? [[ALL, "All environments"]] : []));
    told();
  }
  select.addEventListener("change", () => ((current = select.value), told()));
  node.ready = read();
  return node;
}

const path = (name) => `/v1/environments/${encodeURIComponent(name)}`;

async function manage() {
  const rows = h("tbody");
  const name = h("input", { autofocus: true, spellcheck: "false", placeholder: "prod" });
  const parent = h("select", {});
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const act = async (what, told) => {
    problem.hidden = true;
    try {
      await what();
      note(told);
    } catch (e) {
      problem.textContent = e.message;
      problem.hidden = false;
    }
    await draw();
  };
  const none = [["", "nothing"]];
  async function draw() {
    const all = await environments();
    parent.replaceChildren(...options(all, "", none));
    rows.replaceChildren(
      ...all.map((x) => {
        const from = h(
          "select",
          { "aria-label": `${x.name} inherits from` },
          options(
            all.filter((y) => y !== x),
            x.parent || "",
            none,
          ),
        );
        from.addEventListener("change", () =>
          act(
            () => call("PUT", path(x.name), from.value ? { parent: from.value } : {}),
            `${x.name} inherits from ${from.value || "nothing"}.`,
          ),
        );
        return h(
          "tr",
          {},
          h("td", {}, h("strong", {}, x.name)),
          h("td", {}, from),
          h(
            "td",
            {},
            x.revision === undefined
              ? null
              : button(
                  "Forget",
                  () => act(() => call("DELETE", path(x.name)), `${x.name} inherits from nothing.`),
                  { class: "quiet", "aria-label": `Forget what ${x.name} inherits from` },
                ),
          ),
        );
      }),
    );
  }
  const opened = dialog({
    title: "Environments",
    cancel: "Close",
    action: "Add",
    body: [
      h(
        "p",
        { class: "hint" },
        "A config that an environment does not have is the one of what it inherits from.",
      ),
      h(
        "div",
        { class: "scroll" },
        h(
          "table",
          {},
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              ["Name", "Inherits from", ""].map((t) => h("th", { scope: "col" }, t)),
            ),
          ),
          rows,
        ),
      ),
      problem,
      h("div", { class: "fields" }, field("New environment", name), field("Inherits from", parent)),
    ],
    submit: async () => {
      if (!name.value) throw new Error("An environment needs a name.");
      await call("PUT", path(name.value), parent.value ? { parent: parent.value } : {}, {});
      note(`${name.value} is there.`);
    },
  });
  await draw();
  return opened;
}
