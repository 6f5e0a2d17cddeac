// What a config was before: its versions, what differs between any two, and the way back to one.
import { h, button, dialog, note, ago, refill } from "./dom.js";
import { call, get } from "./http.js";
import { diffView } from "./diff.js";
import { bodyOf, textOf } from "./publish.js";
import { urlOf } from "./store.js";

const PAGE = 30;

const named = (v) => (v.deleted ? "Deleted" : `Version ${v.version}`);
const textBefore = (v) => (!v || v.deleted ? null : textOf(v));

export async function history(key, environment) {
  const list = h("div", { class: "versions" }, h("p", { class: "hint" }, "Reading…"));
  const right = h("div", { class: "compare" });
  const against = h("select", { class: "inline", "aria-label": "Compare with" });
  let all = [],
    next = 0,
    chosen = null,
    end = "";

  const opened = dialog({
    title: `History of ${key} in ${environment}`,
    wide: true,
    cancel: "Close",
    action: "Roll back to this version",
    body: h("div", { class: "split" }, list, right),
    submit: async () => {
      const now = all[0];
      if (!chosen || chosen === now) throw new Error("Choose an older version first.");
      if (chosen.deleted) throw new Error("That is where it was deleted; choose a version.");
      try {
        return await call(
          "PUT",
          urlOf(key, environment),
          bodyOf(chosen.type, textOf(chosen)),
          now.deleted ? { "if-none-match": "*" } : { "if-match": `"${now.version}"` },
        );
      } catch (e) {
        throw e.status === 412
          ? new Error("It was changed meanwhile; close this and look again.")
          : e;
      }
    },
  });

  async function more() {
    const path = urlOf(key, environment, `&limit=${PAGE}${next ? `&revision=${next}` : ""}`);
    const page = await get(path.replace("/v1/config/", "/v1/history/"));
    all = [...all, ...page.items];
    next = page.next_revision || 0;
    const oldest = all[all.length - 1];
    end = next || !oldest || oldest.version === 1 ? "" : "Older versions were compacted.";
  }
  function compare() {
    const i = all.indexOf(chosen);
    const other = against.value === "before" ? all[i + 1] : all[Number(against.value)];
    const [old, new_] = all.indexOf(other) > i || !other ? [other, chosen] : [chosen, other];
    refill(
      right,
      h(
        "div",
        { class: "line" },
        h("span", { class: "hint" }, `${named(chosen)} compared with`),
        against,
      ),
      chosen.change_log ? h("p", {}, `“${chosen.change_log}”`) : null,
      diffView(textBefore(old), textBefore(new_), {
        json: [old, new_].every((v) => !v || v.deleted || v.type === "json"),
      }),
    );
  }
  function pick(v, node) {
    chosen = v;
    for (const x of list.querySelectorAll("button"))
      if (x.ariaPressed) x.ariaPressed = String(x === node);
    const i = all.indexOf(v);
    against.replaceChildren(
      h("option", { value: "before" }, "the one before"),
      ...all
        .map((x, k) =>
          k === i
            ? null
            : h("option", { value: k }, k === 0 ? `the newest: ${named(x)}` : named(x)),
        )
        .filter(Boolean),
    );
    compare();
  }
  against.addEventListener("change", compare);
  function draw() {
    list.replaceChildren(
      ...all.map((v) => {
        const b = h(
          "button",
          { type: "button", "aria-pressed": "false", onclick: () => pick(v, b) },
          h("strong", {}, named(v)),
          h("span", {}, `${v.updated_by}, ${ago(v.updated_at)} ago`),
        );
        return b;
      }),
      next
        ? button("Older", () => more().then(draw), { class: "quiet" })
        : h("p", { class: "hint" }, end),
    );
    const at = all.indexOf(chosen);
    list.querySelectorAll("button")[at < 0 ? 0 : at].click();
  }
  try {
    await more();
    if (all.length) draw();
    else list.replaceChildren(h("p", { class: "hint" }, "There is no history of it here."));
  } catch (e) {
    list.replaceChildren(h("p", { class: "problem" }, e.message));
  }
  const done = await opened;
  if (done)
    note(`${key} is back to what version ${chosen.version} was, as version ${done.version}.`);
  return done;
}
