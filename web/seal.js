// The seal: whether this node can open secrets, its making in shares, and its opening by them.
import { h, button, copyButton, dialog, field, note, count } from "./dom.js";
import { may } from "./rights.js";
import { call, get } from "./http.js";

// New shares are told once, here.
async function init() {
  const shares = h("input", { inputmode: "numeric", value: "5", autofocus: true });
  const threshold = h("input", { inputmode: "numeric", value: "3" });
  const made = await dialog({
    title: "A seal in shares",
    action: "Make them",
    body: [
      h(
        "p",
        { class: "hint" },
        "The key that opens secrets is cut into shares, for as many people. " +
          "Each node forgets it when it stops, and needs some of them to open again.",
      ),
      h("div", { class: "fields" }, field("Shares", shares), field("Needed to open", threshold)),
    ],
    submit: () =>
      call("POST", "/v1/seal/init", {
        shares: Number(shares.value),
        threshold: Number(threshold.value),
      }),
  });
  if (!made) return false;
  await dialog({
    title: "The shares",
    wide: true,
    cancel: "They are kept",
    body: [
      h(
        "p",
        {},
        `They are shown this once. With fewer than ${made.threshold} of them all secrets are lost.`,
      ),
      h(
        "ol",
        { class: "shares mono" },
        made.keys.map((key, i) => h("li", {}, key, " ", copyButton(key, `Share ${i + 1}`))),
      ),
    ],
  });
  return true;
}

async function unseal() {
  const share = h("input", {
    type: "password",
    autocomplete: "off",
    autofocus: true,
    class: "mono",
  });
  const now = await dialog({
    title: "Unseal this node",
    action: "Give",
    body: field("A share", share, "They may come from several people, one after the other."),
    submit: () => call("POST", "/v1/seal/unseal", { share: share.value.trim() }),
  });
  if (now)
    note(
      now.sealed
        ? `${count(now.progress)} of ${count(now.threshold)} shares have come.`
        : "This node opens secrets.",
    );
  return now;
}

const KINDS = {
  none: () => "none yet: no secret can be stored",
  static: () => "a key in a file, the same on all members",
  shamir: (s) => `${count(s.shares)} shares, of which any ${count(s.threshold)} open it`,
};
const words = (s) => (KINDS[s.type] ? KINDS[s.type](s) : s.type);

// How secrets are sealed, and what may be done about it. changed: it may have been closed.
export async function sealStatus(changed) {
  const seal = await get("/v1/seal");
  const facts = [
    ["Seal", words(seal)],
    ["This node", seal.sealed ? "is sealed: it opens no secrets" : "opens secrets"],
    ["Root keys", count(seal.root_keys)],
    [
      "Rotation",
      seal.rewrap_waiting
        ? `${count(seal.rewrapped)} records are sealed anew, ${count(seal.rewrap_waiting)} wait`
        : "nothing is left to do",
    ],
  ];
  const writes = may("write", "confman/seal") && !seal.sealed;
  const act = (text, told, path, rest = {}) =>
    button(
      text,
      async (e) => {
        e.target.disabled = true;
        try {
          await call("POST", `/v1/seal/${path}`, {});
          note(told);
          e.target.closest("dialog").close();
          changed();
        } catch (x) {
          note(x.message, true);
          e.target.disabled = false;
        }
      },
      rest,
    );
  await dialog({
    title: "The seal",
    cancel: "Close",
    body: [
      h(
        "dl",
        { class: "facts" },
        facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
      ),
      writes
        ? h(
            "div",
            { class: "line" },
            act("New root key", "What is sealed is sealed anew, in the background.", "rotate"),
            seal.type === "shamir"
              ? act("Seal this node", "This node opens no secrets any more.", "seal", {
                  class: "danger-text",
                })
              : null,
          )
        : null,
      h("p", { class: "hint" }, "New shares: confman seal init --renew --shares 5 --threshold 3"),
    ],
  });
}

// A banner that is there while the node is sealed. changed: it may have been opened.
export function sealBanner(changed) {
  const node = h("div", { class: "banner warn", hidden: true });
  const say = (title, more, what) =>
    node.replaceChildren(
      h("span", { class: "dot" }),
      h("div", {}, h("strong", {}, title), h("span", {}, more)),
      ...what,
    );
  node.read = async () => {
    const seal = await get("/v1/seal");
    node.hidden = !seal.sealed;
    const then = (act) => async () => (await act()) && changed();
    if (!seal.initialized && seal.type === "none")
      say(
        "There is no seal yet",
        "Without one no secret can be stored: here in shares, or with --seal-key-file.",
        [button("Set up", then(init), { class: "primary" })],
      );
    else if (seal.type === "shamir")
      say(
        "This node is sealed",
        `${seal.progress} of ${seal.threshold} shares have come; everything else works.`,
        [button("Unseal", then(unseal), { class: "primary" })],
      );
    else
      say(
        "This node is sealed",
        "It has no key that opens secrets; everything else works. See confman seal status.",
        [],
      );
  };
  return node;
}
