// Users, roles, and what each may do.
import { h, button, field, dialog, note } from "./dom.js";
import { call, get, refresh, disableAuthentication, enableAuthentication, who } from "./http.js";
import { accountsCard } from "./accounts.js";
import { mayAll } from "./rights.js";

// The beginnings of configs that this user may read, by environment.
export async function mine() {
  await refresh();
  const found = new Map();
  for (const g of who().roles.flatMap((r) => r.grants))
    if (g.environment && g.verbs.includes("read"))
      found.set(
        g.environment,
        [...new Set([...(found.get(g.environment) || []), g.prefix])].sort(),
      );
  return found;
}

const VERB_ROOTS = "propose|approve|put|delete|publish";
const ROOTS = `config|flag|flagset|log|${VERB_ROOTS}|schema|env|secret|seal|draft|draft-due`;
const OURS = new RegExp(`^confman/(${ROOTS})/`);
const textOf = (key) => (typeof key === "string" ? key : `base64 ${key.base64}`);
// What a role permits besides its grants.
const others = (role) => role.permissions.filter((p) => !OURS.test(textOf(p.prefix ?? p.key)));
function saying(p) {
  if (p.prefix !== undefined)
    return p.prefix === "" || p.prefix === "\0" ? "all keys" : `${textOf(p.prefix)}…`;
  return p.range_end === undefined
    ? textOf(p.key)
    : `${textOf(p.key)} up to ${textOf(p.range_end)}`;
}
const RIGHTS = { read: "read", write: "write", readwrite: "read and write" };

const VERBS = {
  environment: {
    read: "read",
    propose: "propose drafts",
    approve: "approve drafts",
    put: "put",
    delete: "delete",
    publish: "publish drafts",
    write: "all of these, read and write",
    admin: "schemas, parents",
  },
  namespace: { reveal: "reveal", write: "read and write", admin: "rotate keys" },
};
const PROGRAMS = "service:"; // users that stand for service accounts
const userPath = (name, action = "") =>
  `/v1/users/${encodeURIComponent(name)}${action && `?action=${action}`}`;
const rolePath = (name, action = "") =>
  `/v1/roles/${encodeURIComponent(name)}${action && `?action=${action}`}`;

export function access(root) {
  const banner = h("div", { class: "banner" });
  const users = h("section", { class: "card" }),
    roles = h("section", { class: "card" }),
    accounts = accountsCard(() => show());
  root.append(
    h("header", { class: "head" }, h("h1", {}, "Users and roles")),
    banner,
    h("div", { class: "pair" }, users, roles),
    accounts,
  );
  let stopped = false;

  // Does one thing, tells it, and reads all anew.
  const ask = async (options, told) => {
    if (await dialog(options)) {
      note(told());
      show();
    }
  };
  const act = async (what, told) => {
    try {
      await what();
      note(told);
    } catch (e) {
      note(e.message, true);
    }
    show();
  };

  function addUser() {
    const name = h("input", { autofocus: true, autocomplete: "off", spellcheck: "false" });
    const password = h("input", { type: "password", autocomplete: "new-password" });
    ask(
      {
        title: "New user",
        action: "Create",
        body: [
          field("Name", name),
          field(
            "Password",
            password,
            "Up to 72 bytes; left empty, only a certificate or another issuer proves this user.",
          ),
        ],
        submit: async () => {
          if (!name.value) throw new Error("A user needs a name.");
          await call("PUT", userPath(name.value), { roles: [] });
          if (password.value)
            await call("POST", userPath(name.value, "password"), { password: password.value });
        },
      },
      () => `User ${name.value} is created.`,
    );
  }
  function setPassword(user) {
    const password = h("input", {
      type: "password",
      autocomplete: "new-password",
      autofocus: true,
    });
    ask(
      {
        title: `New password for ${user}`,
        action: "Set",
        body: field("Password", password, "Open sessions of this user end."),
        submit: () => call("POST", userPath(user, "password"), { password: password.value }),
      },
      () => "The password is set.",
    );
  }
  function addRole() {
    const name = h("input", { autofocus: true, autocomplete: "off", spellcheck: "false" });
    ask(
      {
        title: "New role",
        action: "Create",
        body: field("Name", name),
        submit: () => {
          if (!name.value) throw new Error("A role needs a name.");
          return call("PUT", rolePath(name.value), { grants: [], permissions: [] });
        },
      },
      () => `Role ${name.value} is created.`,
    );
  }
  function giveRole(u, all) {
    const role = h(
      "select",
      { autofocus: true },
      all.filter((r) => !u.roles.includes(r.name)).map((r) => h("option", {}, r.name)),
    );
    ask(
      {
        title: `Give ${u.name} a role`,
        action: "Give",
        body: field("Role", role),
        submit: () => call("PUT", userPath(u.name), { roles: [...u.roles, role.value] }),
      },
      () => `${u.name} has the role ${role.value}.`,
    );
  }
  function grant(role) {
    const what = h(
      "select",
      {},
      [
        ["environment", "configs and flags"],
        ["namespace", "secrets"],
      ].map(([v, t]) => h("option", { value: v }, t)),
    );
    const place = h("input", { spellcheck: "false" }),
      prefix = h("input", {
        autofocus: true,
        spellcheck: "false",
        class: "mono",
        placeholder: "shop/",
      });
    const placeField = field("Environment", place),
      verbs = h("div", { class: "checks" });
    const turn = () => {
      place.value = what.value === "environment" ? "default" : "secret";
      placeField.querySelector("label").textContent =
        what.value === "environment" ? "Environment" : "Namespace";
      verbs.replaceChildren(
        ...Object.entries(VERBS[what.value]).map(([v, t], i) =>
          h("label", {}, h("input", { type: "checkbox", value: v, checked: i === 0 }), t),
        ),
      );
    };
    what.addEventListener("change", turn);
    turn();
    ask(
      {
        title: `Permit ${role} something`,
        action: "Permit",
        body: [
          h("div", { class: "fields" }, field("What", what), placeField),
          field("That begin with", prefix, "Left empty, it is all of them."),
          h("fieldset", {}, h("legend", {}, "To"), verbs),
        ],
        submit: () =>
          call("POST", rolePath(role, "grant"), {
            [what.value]: place.value,
            prefix: prefix.value,
            verbs: [...verbs.querySelectorAll("input:checked")].map((x) => x.value),
          }),
      },
      () => `${role} is permitted more.`,
    );
  }
  const remove = (title, words, path, told) =>
    ask(
      {
        title,
        action: "Delete",
        danger: true,
        body: h("p", {}, words),
        submit: () => call("DELETE", path),
      },
      () => told,
    );
  function toggle(enabled) {
    const password = h("input", {
      type: "password",
      autocomplete: enabled ? "current-password" : "new-password",
      autofocus: true,
    });
    ask(
      {
        title: enabled ? "Let everybody in?" : "Ask everybody who they are?",
        action: enabled ? "Disable" : "Enable",
        danger: enabled,
        body: [
          h(
            "p",
            {},
            enabled
              ? "Whoever reaches the port may then do everything."
              : "From then on every request needs a user. " +
                  "The user root may do everything; you are signed in as root.",
          ),
          field(enabled ? "Your password" : "New password for root", password),
        ],
        submit: () => {
          if (!password.value) throw new Error("It takes a password.");
          return (enabled ? disableAuthentication : enableAuthentication)(password.value);
        },
      },
      () => (enabled ? "Nobody is asked any more." : "Everybody is asked now."),
    );
  }

  const chip = (label, off, about) =>
    h(
      "span",
      { class: "chip" },
      label,
      off ? button("✕", off, { class: "plain", "aria-label": about }) : null,
    );
  const without = (list, x) => list.filter((y) => y !== x);

  function roleChips(r) {
    if (r.name === "root") return h("span", { class: "hint" }, "may do everything");
    const grants = r.grants.map((g) => {
      const where = g.environment ?? g.namespace,
        words = g.verbs.join(", ");
      return chip(
        [
          h("i", {}, `${g.environment ? "" : "secrets of "}${where}: ${words}`),
          " ",
          h("span", { class: "mono" }, g.prefix ? `${g.prefix}…` : "all"),
        ],
        () =>
          act(() => call("POST", rolePath(r.name, "revoke"), g), `${r.name} is permitted less.`),
        `Take ${words} of ${where} ${g.prefix} from ${r.name}`,
      );
    });
    const rest = others(r).map((p) =>
      chip(
        [h("i", {}, `keys: ${RIGHTS[p.right]}`), " ", h("span", { class: "mono" }, saying(p))],
        () =>
          act(
            () => call("PUT", rolePath(r.name), { permissions: without(r.permissions, p) }),
            `${r.name} is permitted less.`,
          ),
        `Take ${saying(p)} from ${r.name}`,
      ),
    );
    return [
      ...grants,
      ...rest,
      r.permissions.length ? null : h("span", { class: "hint" }, "nothing permitted"),
    ];
  }
  const userRow = (u, all) =>
    h(
      "li",
      {},
      h(
        "div",
        { class: "thing" },
        h("strong", {}, u.name),
        h(
          "span",
          { class: "chips" },
          u.roles.map((r) =>
            chip(
              r,
              () =>
                act(
                  () => call("PUT", userPath(u.name), { roles: without(u.roles, r) }),
                  `${u.name} has ${r} no more.`,
                ),
              `Take ${r} from ${u.name}`,
            ),
          ),
          u.roles.length ? null : h("span", { class: "hint" }, "no role"),
        ),
      ),
      h(
        "div",
        { class: "doing" },
        all.length > u.roles.length
          ? button("Give role", () => giveRole(u, all), { class: "quiet" })
          : null,
        button("Password", () => setPassword(u.name), { class: "quiet" }),
        button(
          "Delete",
          () =>
            remove(
              `Delete user ${u.name}?`,
              "Their sessions end at once.",
              userPath(u.name),
              `User ${u.name} is deleted.`,
            ),
          { class: "quiet danger-text", "aria-label": `Delete user ${u.name}` },
        ),
      ),
    );
  const roleRow = (r) =>
    h(
      "li",
      {},
      h(
        "div",
        { class: "thing" },
        h("strong", {}, r.name),
        h("span", { class: "chips" }, roleChips(r)),
      ),
      h(
        "div",
        { class: "doing" },
        r.name === "root" ? null : button("Permit", () => grant(r.name), { class: "quiet" }),
        button(
          "Delete",
          () =>
            remove(
              `Delete role ${r.name}?`,
              "Whoever has it loses what it permits.",
              rolePath(r.name),
              `Role ${r.name} is deleted.`,
            ),
          { class: "quiet danger-text", "aria-label": `Delete role ${r.name}` },
        ),
      ),
    );

  function draw(allUsers, allRoles) {
    const enabled = who().authentication;
    banner.className = `banner ${enabled ? "good" : "warn"}`;
    banner.replaceChildren(
      h("span", { class: "dot" }),
      h(
        "div",
        {},
        h(
          "strong",
          {},
          enabled
            ? "Everybody is asked who they are"
            : "Everybody who reaches the port may do everything",
        ),
        h(
          "span",
          {},
          enabled
            ? `You are ${who().user || "nobody in particular"}.`
            : "Users and roles take effect once it is enabled.",
        ),
      ),
      button(enabled ? "Disable" : "Enable", () => toggle(enabled)),
    );
    users.replaceChildren(
      h("header", {}, h("h2", {}, "Users"), button("New user", addUser)),
      allUsers.length
        ? h(
            "ul",
            { class: "things" },
            allUsers.map((u) => userRow(u, allRoles)),
          )
        : h("p", { class: "empty" }, "No users yet."),
    );
    roles.replaceChildren(
      h("header", {}, h("h2", {}, "Roles"), button("New role", addRole)),
      allRoles.length
        ? h("ul", { class: "things" }, allRoles.map(roleRow))
        : h("p", { class: "empty" }, "No roles yet."),
    );
  }
  // Somebody who is not root, and may read which service accounts there are.
  async function accountsAlone() {
    banner.className = "banner";
    banner.replaceChildren(
      h("span", { class: "dot" }),
      h("div", {}, h("strong", {}, "Users and roles are told to root alone")),
    );
    await accounts.read([]);
  }
  async function show() {
    try {
      await refresh();
      if (!mayAll()) return await accountsAlone();
      const [u, r] = await Promise.all([get("/v1/users"), get("/v1/roles")]);
      if (stopped) return;
      draw(
        u.users.filter((x) => !x.name.startsWith(PROGRAMS)),
        r.roles,
      );
      await accounts.read(r.roles);
    } catch (e) {
      if (e instanceof TypeError) throw e; // a bug of the page
      if (stopped) return;
      banner.className = "banner bad";
      banner.replaceChildren(
        h("span", { class: "dot" }),
        h("div", {}, h("strong", {}, "Users and roles cannot be read"), h("span", {}, e.message)),
      );
      users.replaceChildren();
      roles.replaceChildren();
      accounts.replaceChildren();
    }
  }
  show();
  return () => (stopped = true);
}
