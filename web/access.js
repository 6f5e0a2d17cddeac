// Users, roles, and what each may do: over etcd's JSON door.
import { h, button, field, dialog, note } from "./dom.js";
import { v3, who } from "./http.js";
import { encode, decode, prefixEnd } from "./keys.js";

const CONFIGS = "confman/config/";
// What may be permitted: in words, as a key, and whether it is of an environment.
const WHAT = {
  config: [
    "configs that begin with",
    (key, environment) => `${CONFIGS}${environment}/${key}`,
    true,
  ],
  flag: ["flags that begin with", (key, environment) => `confman/flag/${environment}/${key}`, true],
  secret: ["secrets that begin with", (key) => `confman/secret/secret/${key}`],
  prefix: ["keys that begin with", (key) => key],
  key: ["one key", (key) => key],
};
function saying(perm) {
  const key = decode(perm.key),
    end = perm.range_end || "";
  if (end === btoa("\0")) return key && key !== "\0" ? `all from ${key} on` : "all keys";
  if (!end) return key;
  return end === prefixEnd(key) ? `${key}…` : `${key} up to ${decode(end)}`;
}
const verbs = (perm) =>
  ({ WRITE: "write", READWRITE: "read and write" })[perm.permType || "READ"] || "read";

// The beginnings of configs that this user may read, by environment.
export async function mine() {
  const name = who(),
    found = new Map();
  if (!name) return found;
  const roles = (await v3("auth/user/get", { name })).roles || [];
  const perms = (await Promise.all(roles.map((role) => v3("auth/role/get", { role })))).flatMap(
    (r) => r.perm || [],
  );
  for (const p of perms) {
    const key = decode(p.key);
    const [environment, ...rest] = key.slice(CONFIGS.length).split("/");
    if (p.permType === "WRITE" || !p.range_end || !key.startsWith(CONFIGS) || !rest.length)
      continue;
    found.set(
      environment,
      [...new Set([...(found.get(environment) || []), rest.join("/")])].sort(),
    );
  }
  return found;
}

async function read() {
  const status = await v3("auth/status");
  const users = (await v3("auth/user/list")).users || [],
    roles = (await v3("auth/role/list")).roles || [];
  const [byUser, byRole] = await Promise.all([
    Promise.all(
      users.map(async (name) => ({
        name,
        roles: (await v3("auth/user/get", { name })).roles || [],
      })),
    ),
    Promise.all(
      roles.map(async (role) => ({
        name: role,
        perm: (await v3("auth/role/get", { role })).perm || [],
      })),
    ),
  ]);
  return { enabled: Boolean(status.enabled), users: byUser, roles: byRole };
}

export function access(root) {
  const banner = h("div", { class: "banner" });
  const users = h("section", { class: "card" }),
    roles = h("section", { class: "card" });
  root.append(
    h("header", { class: "head" }, h("h1", {}, "Users and roles")),
    banner,
    h("div", { class: "pair" }, users, roles),
  );
  let stopped = false;

  // Does one thing, tells it, and reads all anew.
  const ask = async (options, told) => {
    if (await dialog(options)) {
      note(told());
      show();
    }
  };
  const act = async (path, body, told) => {
    try {
      await v3(path, body);
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
        body: [field("Name", name), field("Password", password, "Up to 72 bytes.")],
        submit: () => v3("auth/user/add", { name: name.value, password: password.value }),
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
        submit: () => v3("auth/user/changepw", { name: user, password: password.value }),
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
        submit: () => v3("auth/role/add", { name: name.value }),
      },
      () => `Role ${name.value} is created.`,
    );
  }
  function giveRole(user, all) {
    const role = h(
      "select",
      { autofocus: true },
      all.map((r) => h("option", {}, r.name)),
    );
    ask(
      {
        title: `Give ${user.name} a role`,
        action: "Give",
        body: field("Role", role),
        submit: () => v3("auth/user/grant", { user: user.name, role: role.value }),
      },
      () => `${user.name} has the role ${role.value}.`,
    );
  }
  function permit(role) {
    const kind = h(
      "select",
      {},
      [
        ["READ", "read"],
        ["WRITE", "write"],
        ["READWRITE", "read and write"],
      ].map(([v, t]) => h("option", { value: v }, t)),
    );
    const what = h(
      "select",
      {},
      Object.entries(WHAT).map(([v, [t]]) => h("option", { value: v }, t)),
    );
    const environment = h("input", { spellcheck: "false", value: "default" });
    const key = h("input", { autofocus: true, spellcheck: "false", class: "mono" });
    const environmentField = field("Environment", environment);
    what.addEventListener("change", () => (environmentField.hidden = !WHAT[what.value][2]));
    ask(
      {
        title: `Permit ${role} something`,
        action: "Permit",
        body: [
          field("To", kind),
          field("What", what),
          environmentField,
          field("Key", key, "Left empty, it is all of them."),
        ],
        submit: () => {
          const full = WHAT[what.value][1](key.value, environment.value);
          if (what.value === "key" && !full) throw new Error("Which key?");
          const perm = { permType: kind.value, key: full ? encode(full) : btoa("\0") };
          if (what.value !== "key") perm.range_end = prefixEnd(full);
          return v3("auth/role/grant", { name: role, perm });
        },
      },
      () => `${role} is permitted more.`,
    );
  }
  const confirm = (title, words, path, body, told) =>
    ask(
      {
        title,
        action: "Delete",
        danger: true,
        body: h("p", {}, words),
        submit: () => v3(path, body),
      },
      () => told,
    );
  function toggle(enabled) {
    ask(
      {
        title: enabled ? "Let everybody in?" : "Ask everybody who they are?",
        action: enabled ? "Disable" : "Enable",
        danger: enabled,
        body: h(
          "p",
          {},
          enabled
            ? "Whoever reaches the port may then do everything."
            : "From then on every request needs a user. " +
                "It takes a user root that has the role root; sign in as that one next.",
        ),
        submit: () => v3(enabled ? "auth/disable" : "auth/enable"),
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

  function draw(all) {
    banner.className = `banner ${all.enabled ? "good" : "warn"}`;
    banner.replaceChildren(
      h("span", { class: "dot" }),
      h(
        "div",
        {},
        h(
          "strong",
          {},
          all.enabled
            ? "Everybody is asked who they are"
            : "Everybody who reaches the port may do everything",
        ),
        h(
          "span",
          {},
          all.enabled
            ? `You are ${who() || "nobody in particular"}.`
            : "Users and roles take effect once it is enabled.",
        ),
      ),
      button(all.enabled ? "Disable" : "Enable", () => toggle(all.enabled)),
    );
    users.replaceChildren(
      h("header", {}, h("h2", {}, "Users"), button("New user", addUser)),
      all.users.length
        ? h(
            "ul",
            { class: "things" },
            all.users.map((u) =>
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
                            "auth/user/revoke",
                            { name: u.name, role: r },
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
                  all.roles.length
                    ? button("Give role", () => giveRole(u, all.roles), { class: "quiet" })
                    : null,
                  button("Password", () => setPassword(u.name), { class: "quiet" }),
                  button(
                    "Delete",
                    () =>
                      confirm(
                        `Delete user ${u.name}?`,
                        "Their sessions end at once.",
                        "auth/user/delete",
                        { name: u.name },
                        `User ${u.name} is deleted.`,
                      ),
                    { class: "quiet danger-text", "aria-label": `Delete user ${u.name}` },
                  ),
                ),
              ),
            ),
          )
        : h("p", { class: "empty" }, "No users yet."),
    );
    roles.replaceChildren(
      h("header", {}, h("h2", {}, "Roles"), button("New role", addRole)),
      all.roles.length
        ? h(
            "ul",
            { class: "things" },
            all.roles.map((r) =>
              h(
                "li",
                {},
                h(
                  "div",
                  { class: "thing" },
                  h("strong", {}, r.name),
                  h(
                    "span",
                    { class: "chips" },
                    r.name === "root"
                      ? h("span", { class: "hint" }, "may do everything")
                      : r.perm.map((p) =>
                          chip(
                            [h("i", {}, verbs(p)), " ", h("span", { class: "mono" }, saying(p))],
                            () =>
                              act(
                                "auth/role/revoke",
                                { role: r.name, key: p.key || "", range_end: p.range_end || "" },
                                `${r.name} is permitted less.`,
                              ),
                            `Take ${saying(p)} from ${r.name}`,
                          ),
                        ),
                    r.perm.length || r.name === "root"
                      ? null
                      : h("span", { class: "hint" }, "nothing permitted"),
                  ),
                ),
                h(
                  "div",
                  { class: "doing" },
                  r.name === "root"
                    ? null
                    : button("Permit", () => permit(r.name), { class: "quiet" }),
                  button(
                    "Delete",
                    () =>
                      confirm(
                        `Delete role ${r.name}?`,
                        "Whoever has it loses what it permits.",
                        "auth/role/delete",
                        { role: r.name },
                        `Role ${r.name} is deleted.`,
                      ),
                    { class: "quiet danger-text", "aria-label": `Delete role ${r.name}` },
                  ),
                ),
              ),
            ),
          )
        : h("p", { class: "empty" }, "No roles yet."),
    );
  }
  async function show() {
    try {
      const all = await read();
      if (!stopped) draw(all);
    } catch (e) {
      if (stopped) return;
      banner.className = "banner bad";
      banner.replaceChildren(
        h("span", { class: "dot" }),
        h("div", {}, h("strong", {}, "Users and roles cannot be read"), h("span", {}, e.message)),
      );
      users.replaceChildren();
      roles.replaceChildren();
    }
  }
  show();
  return () => (stopped = true);
}
