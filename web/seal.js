// The seal: whether this node can open secrets, its making in shares, and its opening by them.
import { h, button, dialog, field, note, count } from "./dom.js";
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
        made.keys.map((key, i) =>
          h(
            "li",
            {},
            key,
            " ",
            button(
              "Copy",
              () =>
                navigator.clipboard.writeText(key).then(
                  () => note(`Share ${i + 1} is copied.`),
                  (e) => note(e.message, true),
                ),
              { class: "quiet small", "aria-label": `Copy share ${i + 1}` },
            ),
          ),
        ),
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
