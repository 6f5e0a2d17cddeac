// The frame: where one is, who one is, light or dark, and the keys.
import { h, icon, button, dialog, note } from "./dom.js";
import { login, logout, onSession, refresh, who } from "./http.js";
import { reconnect } from "./stream.js";
import * as metrics from "./metrics.js";
import { overview } from "./overview.js";
import { configs } from "./configs.js";
import { flags } from "./flags.js";
import { secrets } from "./secrets.js";
import { drafts } from "./drafts.js";
import { deliveries } from "./deliveries.js";
import { rules } from "./rules.js";
import { quotas } from "./quotas.js";
import { audit } from "./audit.js";
import { access } from "./access.js";
import { mayAll, mayBelow } from "./rights.js";

// may: whether somebody who is not root has any business there.
const SCREENS = {
  overview: { title: "Overview", open: overview },
  configs: { title: "Configs", open: configs },
  flags: { title: "Flags", open: flags },
  secrets: { title: "Secrets", open: secrets },
  drafts: { title: "Drafts", open: drafts },
  deliveries: { title: "Who runs what", open: deliveries },
  rules: {
    title: "Schemas and guards",
    open: rules,
    may: () => mayBelow("read", "confman/schema/") || mayBelow("read", "confman/guard/"),
  },
  quotas: { title: "Quotas and rates", open: quotas, may: mayAll },
  audit: { title: "Audit", open: audit, may: () => mayBelow("read", "confman/audit/") },
  access: {
    title: "Users and roles",
    open: access,
    may: () => mayBelow("read", "confman/account/"),
  },
};
const NAMES = Object.keys(SCREENS);
const keyOf = (name) => String((NAMES.indexOf(name) + 1) % 10); // the tenth has 0

const main = h("main", { id: "main", tabindex: "0" });
const links = Object.entries(SCREENS).map(([name, s]) =>
  h(
    "a",
    {
      href: `#/${name}`,
      "data-screen": name,
      "aria-label": s.title,
      title: `${s.title}: ${keyOf(name)}`,
    },
    icon(name),
    h("span", {}, s.title),
  ),
);
const session = h("button", { type: "button", onclick: () => (who().user ? leave() : enter()) });
const theme = button([icon("theme"), h("span", {}, "Light or dark")], turn, {
  "aria-label": "Light or dark",
});
document.body.append(
  h(
    "a",
    { class: "skip-link", href: "#main", onclick: (e) => (e.preventDefault(), main.focus()) },
    "To the content",
  ),
  h(
    "nav",
    { "aria-label": "Screens" },
    h(
      "a",
      { class: "brand", href: "#/overview", "aria-label": "confman" },
      h("img", { src: "icon.svg", alt: "", width: "26", height: "26" }),
      h("span", {}, "confman"),
    ),
    links,
    h("div", { class: "grow" }),
    theme,
    session,
  ),
  main,
);

// Numbers that a double would change need it; what lacks it would publish others than were shown.
const able = Boolean(JSON.rawJSON);

let close = () => {};
let keys = {};

function show() {
  const [name, query] = location.hash.replace(/^#\/?/, "").split("?");
  const at = SCREENS[name] ? name : "overview";
  close();
  main.replaceChildren();
  for (const a of links)
    if (a.dataset.screen === at) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  links
    .find((a) => a.dataset.screen === at)
    .scrollIntoView({ inline: "nearest", block: "nearest" });
  document.title = `${SCREENS[at].title} · confman`;
  close = SCREENS[at].open(main, new URLSearchParams(query || ""));
  keys = close.keys || {};
}

// Which theme was chosen; without a choice it is the system's.
const KEPT = "confman.theme";
const dark = () =>
  (document.documentElement.dataset.theme ||
    (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
function turn() {
  document.documentElement.dataset.theme = dark() ? "light" : "dark";
  localStorage.setItem(KEPT, document.documentElement.dataset.theme);
}
const kept = localStorage.getItem(KEPT);
if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;

function named() {
  const { user, authentication } = who();
  for (const a of links) a.hidden = SCREENS[a.dataset.screen].may?.() === false;
  session.hidden = !authentication && !user;
  session.setAttribute("aria-label", user ? `${user}: sign out` : "Sign in");
  session.replaceChildren(icon("door"), h("span", {}, user ? `${user}: sign out` : "Sign in"));
}
const leave = () => logout().then(show, (e) => note(e.message, true));
const enter = async () => (await login("")) && show();
onSession((now, before) => {
  named();
  if (now.user !== before.user) reconnect();
});
named();

const HELP = [
  ["1 … 9, 0", "go to a screen"],
  ["/", "search"],
  ["n", "new: a config, a flag, a secret, a schema, a quota"],
  ["↑ ↓ or k j", "move in the list"],
  ["Ctrl+S", "review a change"],
  ["Ctrl+Enter", "try it: evaluate a flag, judge a value"],
  ["Esc", "close"],
  ["?", "this"],
];
const help = () =>
  dialog({
    title: "Keys",
    cancel: "Close",
    body: h(
      "dl",
      { class: "keys" },
      HELP.map(([k, t]) => h("div", {}, h("dt", {}, h("kbd", {}, k)), h("dd", {}, t))),
    ),
  });

document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector("dialog[open]")) return;
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName);
  if (typing && e.key !== "Escape") return;
  const screen = NAMES.find((name) => keyOf(name) === e.key);
  const act = screen ? () => (location.hash = `#/${screen}`) : e.key === "?" ? help : keys[e.key];
  if (!act || (typing && e.target.type === "search")) return;
  e.preventDefault();
  act();
});

if (able) {
  addEventListener("hashchange", show);
  metrics.start();
  refresh().then(show, (e) => (show(), note(e.message, true)));
} else {
  main.append(
    h("h1", {}, "This browser is too old"),
    h(
      "p",
      {},
      "The page needs JSON.rawJSON: Chrome or Edge 123, Firefox 135, Safari 18.4, or newer.",
    ),
  );
}
