// Drives the page at /ui/ in Chromium: PAGE (its address), PICTURES (a folder for screenshots, or
// nothing), CHROMIUM. Waits for what is seen, never for time. Prints "N passed, M failed".
const assert = require("node:assert");
const fs = require("node:fs");
const {
  BASE,
  PICTURES,
  accessible,
  close,
  open,
  openedSince,
  picture,
  put,
  read,
  row,
  rows,
  start,
  stop,
  until,
} = require("./browser.js");

const shop = require("./shop.js");

const SHOP = process.env.PAGE_SHOP; // one for pictures
const OIDC = process.env.PAGE_OIDC; // one that an issuer of logins is set up for

const SCREENS = [
  "overview",
  "configs",
  "flags",
  "secrets",
  "drafts",
  "deliveries",
  "rules",
  "quotas",
  "audit",
  "access",
].map((x) => `#/${x}`);
const tests = {
  async overview() {
    await put("shop/limit", 100);
    const page = await open("");
    await page.getByText("Everything is well").waitFor();
    assert.strictEqual(await page.locator("tbody tr").count(), 1);
    await until(page, () => /\d/.test(document.querySelector(".stat b").textContent));
    for (let i = 0; i < 30; i++) await put("shop/limit", i);
    await until(page, () =>
      document.querySelector(".chart path.line-0").getAttribute("d")?.includes("L"),
    );
    await accessible(page);
    await close(page);
  },

  async edit_with_diff_and_history() {
    await put("shop/checkout", { currency: "EUR", retries: 3 }, "json");
    const page = await open("#/configs");
    await row(page, "shop/checkout").click();
    const text = page.getByRole("textbox", { name: "Value" });
    await text.fill('{\n  "currency": "EUR",\n  "retries": }');
    await page.getByText(/This is not JSON/).waitFor();
    assert.ok(await page.getByRole("button", { name: "Review change" }).isDisabled());
    await text.fill('{\n  "currency": "EUR",\n  "retries": 1234567890123456789\n}');
    await text.press("Control+s");
    await page.locator(".diff .gone").filter({ hasText: '"retries": 3' }).waitFor();
    await accessible(page);
    await picture(page, "publish");
    await page.getByRole("button", { name: "Publish", exact: true }).click();
    await page.getByText("published as version 2").waitFor();
    const raw = await (await fetch(`${BASE}/v1/config/shop/checkout`)).text();
    assert.ok(raw.includes("1234567890123456789"), "a long number goes through unharmed");

    await page.getByRole("button", { name: "History" }).click();
    await page.getByRole("button", { name: /Version 1/ }).click();
    await page.getByRole("button", { name: "Roll back to this version" }).click();
    await page.getByText("back to what version 1 was").waitFor();
    assert.strictEqual((await read("shop/checkout")).value.retries, 3);
    await close(page);
  },

  async environments_and_what_they_inherit() {
    await put("inherit/limit", 10, "number", "base");
    await put("inherit/name", "same for all", "string", "base");
    const page = await open("#/configs");
    await page.getByRole("button", { name: "Environments" }).click();
    const sheet = page.getByRole("dialog", { name: "Environments" });
    await sheet.getByLabel("New environment").fill("prod");
    await sheet.getByLabel("Inherits from", { exact: true }).last().selectOption("base");
    await accessible(page);
    await sheet.getByRole("button", { name: "Add" }).click();
    await page.getByText("prod is there.").waitFor();
    await page.getByLabel("Environment", { exact: true }).selectOption("prod");
    await page.getByText("inherits from base").waitFor();
    await row(page, "inherit/limit").filter({ hasText: "from base" }).click();
    await page.getByText("inherited from base").waitFor();
    const text = page.getByRole("textbox", { name: "Value" });
    // what base publishes comes through, as long as prod has none of its own
    await put("inherit/limit", 11, "number", "base");
    await until(page, () => document.querySelector(".editor textarea").value === "11");
    await text.fill("20");
    await page.getByRole("button", { name: "Review change" }).click();
    await page.getByText("does not follow base").waitFor();
    await accessible(page);
    await page.getByRole("button", { name: "Publish", exact: true }).click();
    await page.getByText("published as version 1").waitFor();
    await page.getByText("Here instead of what base has: 11").waitFor();
    await put("inherit/limit", 12, "number", "base");
    await put("inherit/name", "other", "string", "base");
    await row(page, "inherit/name").filter({ hasText: "other" }).waitFor();
    assert.strictEqual(await text.inputValue(), "20");
    // without its own, it follows again
    await page.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await row(page, "inherit/limit")
      .filter({ hasText: "12" })
      .filter({ hasText: "from base" })
      .waitFor();

    // all environments at once, also what changes while one looks
    await put("inherit/limit", 76, "number", "stage");
    await page.reload();
    await page.getByLabel("Environment", { exact: true }).selectOption("*");
    await page.getByRole("searchbox").fill("inherit/");
    await row(page, "inherit/limit").filter({ hasText: "base" }).waitFor();
    await put("inherit/limit", 77, "number", "stage");
    await row(page, "inherit/limit")
      .filter({ hasText: "stage" })
      .filter({ hasText: "77" })
      .waitFor();
    await page.getByRole("searchbox").fill("77");
    await until(page, () => document.querySelectorAll("[role=option]").length === 1);
    await page.getByLabel("Environment", { exact: true }).selectOption("default");
    await close(page);
  },

  async conflict_is_shown_and_not_lost() {
    await put("shop/race", "one");
    const page = await open("#/configs?key=shop%2Frace");
    await page.getByRole("textbox", { name: "Value" }).fill("mine");
    await page.getByRole("button", { name: "Review change" }).click();
    await page.locator(".diff .gone").filter({ hasText: "one" }).waitFor();
    await put("shop/race", "theirs");
    await page.getByRole("button", { name: "Publish", exact: true }).click();
    await page.getByText("Somebody published version 2 meanwhile").waitFor();
    await page.locator(".diff .gone").filter({ hasText: "theirs" }).waitFor();
    assert.strictEqual((await read("shop/race")).value, "theirs");
    await page.getByRole("button", { name: "Publish", exact: true }).click();
    await page.getByText("published as version 3").waitFor();
    assert.strictEqual((await read("shop/race")).value, "mine");
    await close(page);
  },

  async create_and_delete_by_keyboard() {
    const page = await open("#/configs");
    await page.getByRole("listbox").waitFor();
    await page.keyboard.press("n");
    await page.keyboard.type("made/by keys");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    await page.keyboard.type("hello");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.getByText("made/by keys is created in default.").waitFor();
    assert.strictEqual((await read("made/by%20keys")).value, "hello");
    await page.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await page.getByText("made/by keys is deleted.").waitFor();
    assert.strictEqual((await fetch(`${BASE}/v1/config/made/by%20keys`)).status, 404);
    await close(page);
  },

  // No pointer at all: to the screen, into the list, to the editor, through the dialog, and back.
  async everything_by_keyboard() {
    await put("keys/a", "one");
    await put("keys/b", "two");
    const page = await open("#/overview");
    await page.getByText("Everything is well").waitFor();
    await page.keyboard.press("2");
    await row(page, "keys/b").waitFor();
    await page.keyboard.press("/");
    await page.keyboard.type("keys/");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    await page.getByRole("heading", { name: "keys/b" }).waitFor();
    for (let i = 0; i < 20; i++) {
      await page.keyboard.press("Tab");
      if (await page.evaluate(() => document.activeElement.tagName === "TEXTAREA")) break;
    }
    await page.keyboard.press("Control+a");
    await page.keyboard.type("three");
    await page.keyboard.press("Control+s");
    await page.getByRole("dialog", { name: /Publish/ }).waitFor();
    await page.keyboard.type("by hand");
    await page.keyboard.press("Enter");
    await page.getByText("keys/b is published as version 2.").waitFor();
    assert.strictEqual((await read("keys/b")).value, "three");
    await page.keyboard.press("Escape");
    await page.getByRole("region", { name: "Editor" }).waitFor({ state: "hidden" });
    await page.keyboard.press("?");
    await page.getByRole("dialog", { name: "Keys" }).waitFor();
    await page.keyboard.press("Escape");
    for (const [key, name] of [
      ["3", "Flags"],
      ["4", "Secrets"],
      ["5", "Drafts"],
      ["1", "Overview"],
    ]) {
      await page.keyboard.press(key);
      await page.getByRole("heading", { level: 1, name }).waitFor();
    }
    await close(page);
  },

  async what_is_stored_is_never_markup() {
    await put("markup/<b>x", "<img src=x onerror=alert(1)>");
    const page = await open("#/configs");
    await row(page, "markup/<b>x").click();
    assert.strictEqual(await page.locator("main b, main img").count(), 0);
    await close(page);
  },

  async live_in_two_windows() {
    await put("live/value", "before");
    const [a, b] = [await open("#/configs"), await open("#/configs?key=live%2Fvalue")];
    const text = a.getByRole("textbox", { name: "Value" });
    await row(a, "live/value").click();
    await b.getByRole("textbox", { name: "Value" }).waitFor();
    await text.fill("after");
    await a.getByRole("button", { name: "Review change" }).click();
    await a.getByRole("button", { name: "Publish", exact: true }).click();
    await row(b, "live/value").filter({ hasText: "after" }).waitFor();
    await until(b, () => document.querySelector(".editor textarea").value === "after");
    // what somebody is typing stays, and says that it is old
    await b.getByRole("textbox", { name: "Value" }).fill("typing");
    await put("live/value", "third");
    await b.getByText("has published version 3 meanwhile").waitFor();
    assert.strictEqual(await b.getByRole("textbox", { name: "Value" }).inputValue(), "typing");
    await close(a);
    await close(b);
  },

  async flags_switch_editor_and_playground() {
    const page = await open("#/flags");
    await page.getByRole("listbox").waitFor();
    await page.keyboard.press("n");
    const sheet = page.getByRole("dialog");
    await sheet.getByLabel("Name").fill("new-checkout");
    await sheet
      .getByLabel("Definition")
      .fill(JSON.stringify({ variants: { on: true, off: false }, defaultVariant: "nothing" }));
    await sheet.getByRole("button", { name: "Create" }).click();
    await sheet.getByRole("alert").filter({ hasText: "defaultVariant" }).waitFor();
    await sheet.getByLabel("Definition").fill(
      JSON.stringify({
        state: "ENABLED",
        variants: { on: true, off: false },
        defaultVariant: "off",
        targeting: {
          if: [
            { ends_with: [{ var: "email" }, "@example.com"] },
            "on",
            {
              fractional: [
                ["on", 10],
                ["off", 90],
              ],
            },
          ],
        },
      }),
    );
    await sheet.getByRole("button", { name: "Create" }).click();
    await page.getByText("new-checkout is created in default.").waitFor();
    await page.getByLabel("Context").fill('{"targetingKey": "u1", "email": "ann@example.com"}');
    await page.getByRole("button", { name: "Evaluate" }).click();
    await page.locator(".answer").getByText("TARGETING_MATCH", { exact: true }).waitFor();
    await page.locator(".trace li").first().waitFor();
    await accessible(page);
    await picture(page, "flags");

    // the switch is a change like any other
    await page.getByRole("switch").click();
    await page.locator(".diff .new").filter({ hasText: "DISABLED" }).waitFor();
    await page.getByRole("button", { name: "Publish", exact: true }).click();
    await page.getByText("published as version 2").waitFor();
    await page.getByRole("switch", { checked: false }).waitFor();
    await row(page, "new-checkout").filter({ hasText: "off" }).waitFor();
    // another window hears of it
    const other = await open("#/flags?flag=new-checkout");
    await other.getByRole("switch", { checked: false }).click();
    await other.getByRole("button", { name: "Publish", exact: true }).click();
    await page.getByRole("switch", { checked: true }).waitFor();
    await close(other);
    await page.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await page.getByText("No flags here yet").waitFor();
    await close(page);
  },

  async secrets_are_revealed_for_a_reason() {
    const page = await open("#/secrets");
    const sheet = page.getByRole("dialog");
    // a seal of three shares, closed and opened again with two
    await page.getByText("There is no seal yet").waitFor();
    await page.getByRole("button", { name: "Set up" }).click();
    await sheet.getByLabel("Shares").fill("3");
    await sheet.getByLabel("Needed to open").fill("2");
    await sheet.getByRole("button", { name: "Make them" }).click();
    await page.getByRole("dialog", { name: "The shares" }).waitFor();
    await accessible(page);
    const shares = await sheet
      .locator("li")
      .evaluateAll((all) => all.map((x) => x.firstChild.data));
    assert.strictEqual(shares.length, 3);
    await sheet.getByRole("button", { name: "They are kept" }).click();
    await page.getByText("There is no seal yet").waitFor({ state: "hidden" });
    const closed = await fetch(`${BASE}/v1/seal/seal`, { method: "POST" });
    assert.ok(closed.ok, String(closed.status));
    await page.reload();
    for (const share of [shares[2], shares[0]]) {
      await page.getByRole("button", { name: "Unseal" }).click();
      await sheet.getByLabel("A share").fill(share);
      await sheet.getByRole("button", { name: "Give" }).click();
      await sheet.waitFor({ state: "detached" });
    }
    await page.getByText("This node opens secrets.").waitFor();
    await page.getByText("No secrets here yet").waitFor();
    await page.getByRole("button", { name: "New secret" }).click();
    await sheet.getByLabel("Path").fill("db/main");
    await sheet.getByLabel("Name").fill("password");
    await sheet.getByLabel("Value").fill("correct horse");
    await accessible(page);
    await sheet.getByRole("button", { name: "Store" }).click();
    await page.getByText("db/main is stored as version 1.").waitFor();
    await page.getByRole("button", { name: "Seal", exact: true }).click();
    await sheet.getByText("3 shares, of which any 2 open it").waitFor();
    await accessible(page);
    await sheet.getByRole("button", { name: "New root key" }).click();
    await page.getByText("sealed anew, in the background").waitFor();
    assert.ok(!(await page.textContent("main")).includes("correct horse"));
    await page.getByRole("button", { name: "Reveal version 1" }).click();
    await sheet.getByRole("button", { name: "Reveal" }).click();
    await sheet.getByText("Say why.").waitFor();
    await sheet.getByLabel("Reason").fill("a test");
    await sheet.getByRole("button", { name: "Reveal" }).click();
    await page.getByText("correct horse").waitFor();
    await accessible(page);
    await picture(page, "secrets");
    await page.getByRole("button", { name: "Hide" }).click();
    assert.ok(!(await page.textContent("main")).includes("correct horse"));
    await page.getByRole("button", { name: "New version" }).click();
    await sheet.getByLabel("Name").fill("password");
    await sheet.getByLabel("Value").fill("battery staple");
    await sheet.getByRole("button", { name: "Store" }).click();
    await page.getByText("db/main is stored as version 2.").waitFor();
    await page.getByRole("button", { name: "Delete version 1" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await page.getByRole("button", { name: "Bring back" }).click();
    await page.getByText("Version 1 is back.").waitFor();
    await page.getByRole("button", { name: "Destroy version 1" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Destroy" }).click();
    await page.getByText("Version 1 is destroyed.").waitFor();
    await row(page, "db/").click();
    await row(page, "main").waitFor();
    await close(page);
  },

  async what_a_schema_finds_wrong() {
    const schema = { type: "object", required: ["host"], properties: { port: { maximum: 65535 } } };
    const answer = await fetch(`${BASE}/v1/schemas/checked/`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(schema),
    });
    assert.ok(answer.ok);
    await put("checked/db", { host: "one", port: 5432 }, "json");
    const page = await open("#/configs?key=checked%2Fdb");
    await page.getByRole("textbox", { name: "Value" }).fill('{"port": 70000}');
    await page.getByRole("button", { name: "Review change" }).click();
    // before it is published, each place
    const said = page.locator(".verdicts");
    await said.getByText(/host/).waitFor();
    await said.getByText(/\/port/).waitFor();
    assert.ok(await page.getByRole("button", { name: "Publish", exact: true }).isDisabled());
    await accessible(page);
    await page.getByRole("button", { name: "Cancel" }).click();
    assert.strictEqual((await read("checked/db")).value.port, 5432);
    await close(page);
  },

  async a_draft_is_proposed_approved_and_published() {
    await put("shop/drafted", 1);
    const page = await open("#/configs?key=shop%2Fdrafted");
    await page.getByRole("textbox", { name: "Value" }).fill("2");
    await page.getByRole("button", { name: "Review change" }).click();
    await page.getByLabel("Why").fill("more of it");
    await page.getByRole("button", { name: "Propose" }).click();
    await page.getByText(/Draft \d+ is proposed/).waitFor();
    assert.strictEqual((await read("shop/drafted")).value, 1);
    await page.getByRole("link", { name: "Drafts" }).click();
    await row(page, "more of it").click();
    await page.locator(".change .new").filter({ hasText: "2" }).waitFor();
    await page.getByLabel("Comment").fill("fine");
    await page.getByRole("button", { name: "Approve" }).click();
    await page.locator(".said").getByText("fine").waitFor();
    await accessible(page);
    await picture(page, "drafts");
    await page.getByRole("button", { name: "Publish" }).click();
    await page.getByText(/Draft \d+ is published/).waitFor();
    assert.strictEqual((await read("shop/drafted")).value, 2);
    await page.goto(`${BASE}/ui/#/configs?key=shop%2Fdrafted`);
    await page.getByRole("button", { name: "History" }).click();
    await page.getByText("“more of it”").waitFor();
    await close(page);
  },

  async audit_is_searched_and_kept() {
    await put("audited/one", 1);
    await put("audited/two", 2);
    const page = await open("#/audit");
    const lines = page.locator("tbody tr");
    await lines.filter({ hasText: "audited/two" }).waitFor();
    await page.getByLabel("Keys that begin with").fill("confman/config/default/audited/o");
    await page.keyboard.press("Enter");
    await lines.filter({ hasText: "audited/two" }).waitFor({ state: "detached" });
    assert.strictEqual(await lines.count(), 1);
    const [file] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name: "Export" }).click(),
    ]);
    const kept = fs
      .readFileSync(await file.path(), "utf8")
      .trim()
      .split("\n")
      .map(JSON.parse);
    assert.deepStrictEqual(
      kept.map((x) => x.put),
      [["confman/config/default/audited/one"]],
    );
    await page.getByLabel("Keys that begin with").fill("confman/config/");
    await page.keyboard.press("Enter");
    await lines.filter({ hasText: "audited/two" }).waitFor();
    await accessible(page);
    await picture(page, "audit");
    await page.getByRole("textbox", { name: "User" }).fill("nobody at all");
    await page.keyboard.press("Enter");
    await page.getByText("Nothing like that is in the log.").waitFor();
    await close(page);
  },

  async back_to_a_revision() {
    const before = await put("back/one", 1);
    await put("back/one", 2);
    await put("back/two", 2);
    const page = await open("#/configs");
    await row(page, "back/two").waitFor();
    await page.locator("summary").filter({ hasText: "More" }).click();
    await page.getByRole("button", { name: "Roll back" }).click();
    const sheet = page.getByRole("dialog");
    await sheet.getByLabel("To revision").fill(String(before.revision));
    await sheet.getByLabel("That begin with").fill("back/");
    await sheet.getByRole("button", { name: "Show what that changes" }).click();
    await sheet.getByText("2 changes, all or none").waitFor();
    await accessible(page);
    await picture(page, "rollback");
    await sheet.getByRole("button", { name: "Roll back" }).click();
    await page.getByText(/Rolled back, as revision/).waitFor();
    assert.strictEqual((await read("back/one")).value, 1);
    assert.strictEqual((await fetch(`${BASE}/v1/config/back/two`)).status, 404);
    await row(page, "back/two").waitFor({ state: "detached" });
    await close(page);
  },

  async signing_in_at_an_issuer() {
    const page = await open("#/configs", {}, OIDC);
    page.wrong = [];
    await page.getByRole("button", { name: /Sign in at 127/ }).click();
    await page.getByRole("button", { name: "oidc:ann: sign out" }).waitFor();
    page.wrong = page.wrong.filter((m) => !/^asked /.test(m)); // the issuer itself
    await page.goto(`${OIDC}/ui/#/configs`);
    await page.getByRole("button", { name: "New config" }).click();
    await page.getByRole("dialog").getByLabel("Key").fill("app/mine");
    await page.getByRole("dialog").getByRole("button", { name: "Create" }).click();
    await row(page, "app/mine").waitFor();
    page.wrong = page.wrong.filter((m) => !/403/.test(m));
    await close(page);
  },

  async who_runs_what() {
    await put("run/limit", 1);
    const page = await open("#/deliveries?key=run%2Flimit");
    await page.getByText("Nobody subscribes to that").waitFor();
    const client = await open("#/overview");
    const say = (text) => client.evaluate((t) => window.line.send(t), JSON.stringify(text));
    await client.evaluate(
      () =>
        new Promise((done) => {
          window.line = new WebSocket(`ws://${location.host}/v1/subscribe`);
          window.line.onopen = done;
        }),
    );
    await say({ type: "hello", client: "billing", instance: "pod-7", labels: { zone: "a" } });
    await say({ type: "subscribe", id: 1, prefix: "run/" });
    await page.getByRole("cell", { name: "billing" }).waitFor();
    const now = await put("run/limit", 2);
    await say({ type: "ack", revision: now.revision });
    await page.getByRole("cell", { name: "running" }).waitFor();
    await accessible(page);
    await picture(page, "deliveries");
    const next = await put("run/limit", 3);
    await say({ type: "ack", revision: next.revision, error: "too many for me" });
    await page.getByText("too many for me").waitFor();
    await close(client);
    await close(page);
  },

  ...require("./many_test.js"),
  ...require("./rules_test.js"),
  ...require("./files_test.js"),
  ...require("./publish_test.js"),
  ...require("./overview_test.js"),

  async dark_light_and_narrow() {
    for (const options of [{ colorScheme: "dark" }, { viewport: { width: 420, height: 800 } }])
      for (const hash of SCREENS) {
        const page = await open(hash, options);
        await page.getByRole("heading", { level: 1 }).waitFor();
        await accessible(page);
        await close(page);
      }
  },

  // Comes last: from here on everybody is asked.
  async users_roles_and_an_ended_session() {
    await put("shop/limit", 100);
    await put("live/value", "not for ann");
    const page = await open("#/access");
    const made = async (what, fields) => {
      await page.getByRole("button", { name: what }).click();
      for (const [label, text] of Object.entries(fields))
        await page.getByRole("dialog").getByLabel(label).fill(text);
      await page.getByRole("dialog").locator("button[type=submit]").click();
      await page.getByRole("dialog").waitFor({ state: "detached" });
    };
    await made("New user", { Name: "ann", Password: "secret-ann" });
    await made("New role", { Name: "shop" });
    const line = (name) =>
      page.locator(".things li").filter({ has: page.getByText(name, { exact: true }) });
    const give = async (user, role) => {
      await page
        .locator(".pair .card")
        .first()
        .locator("li")
        .filter({ hasText: user })
        .getByRole("button", { name: "Give role" })
        .click();
      await page.getByRole("dialog").getByLabel("Role").selectOption(role);
      await page.getByRole("dialog").locator("button[type=submit]").click();
      await page.getByText(`${user} has the role ${role}.`).waitFor();
    };
    await give("ann", "shop");
    await page.getByRole("button", { name: "Permit" }).click();
    await page.getByRole("dialog").getByLabel("That begin with").fill("shop/");
    await page.getByRole("dialog").getByLabel("read and write").check();
    await accessible(page);
    await page.getByRole("dialog").locator("button[type=submit]").click();
    await line("shop").getByText("shop/…").waitFor();
    await accessible(page);
    await page.getByRole("button", { name: "Enable" }).click();
    await page.getByRole("dialog").getByLabel("New password for root").fill("secret-root");
    await page.getByRole("dialog").getByRole("button", { name: "Enable" }).click();
    await page.getByText("You are root.").waitFor();
    await picture(page, "access");
    await page.getByRole("button", { name: "root: sign out" }).click();

    // somebody is asked now; a wrong password is told, the right one goes on where it was
    const sign = page.getByRole("dialog", { name: "Sign in" });
    await sign.waitFor();
    await accessible(page);
    await sign.getByLabel("User").fill("root");
    await sign.getByLabel("Password").fill("wrong");
    await sign.locator("button[type=submit]").click();
    await sign.getByText("user or password is wrong").waitFor();
    await sign.getByLabel("Password").fill("secret-root");
    await sign.locator("button[type=submit]").click();
    await page.getByText("Everybody is asked who they are").waitFor();

    // the session ends: the page asks again and then does what it was about to do
    const cookies = await page.context().cookies();
    assert.ok(
      cookies.some((c) => c.name === "confman_session" && c.httpOnly && c.sameSite === "Strict"),
    );
    await page.context().addCookies(cookies.map((c) => ({ ...c, value: "aaaaaaaaaaaaaaaa.1" })));
    await page.goto(`${BASE}/ui/#/configs`);
    await sign.getByText("Your session has ended.").waitFor();
    await sign.getByLabel("Password").fill("secret-root");
    await sign.locator("button[type=submit]").click();
    await rows(page).first().waitFor();

    await page.getByRole("button", { name: "root: sign out" }).click();
    await sign.waitFor();
    await sign.getByLabel("User").fill("ann");
    await sign.getByLabel("Password").fill("secret-ann");
    await sign.locator("button[type=submit]").click();
    await row(page, "shop/limit").waitFor(); // hers alone
    assert.strictEqual(await row(page, "live/value").count(), 0);
    // what she may not do is not offered
    const offered = (name) => page.getByRole("link", { name, exact: true }).count();
    assert.deepStrictEqual(
      await Promise.all(["Configs", "Quotas and rates", "Audit", "Users and roles"].map(offered)),
      [1, 0, 0, 0],
    );
    page.wrong = page.wrong.filter((m) => !/403/.test(m));
    await close(page);
  },
};

// What docs/ui/ shows of a node of its own; the dialogs come from the tests.
async function pictures() {
  await shop.fill(SHOP);
  const draft = (await (await fetch(`${SHOP}/v1/drafts`)).json()).items[0].id;
  const payment = "#/configs?environment=prod&key=checkout%2Fpayment";
  for (const [name, hash, ready, options = {}] of [
    ["overview", "", null],
    ["overview-dark", "", null, { colorScheme: "dark" }],
    ["configs", payment, "Review change"],
    ["configs-dark", payment, "Review change", { colorScheme: "dark" }],
    [
      "configs-narrow",
      "#/configs?environment=prod",
      null,
      { viewport: { width: 390, height: 844 } },
    ],
    ["history", payment, "History"],
    ["flags", "#/flags?environment=prod&flag=new-checkout", "Evaluate"],
    ["drafts", `#/drafts?id=${draft}`, "Approve"],
    ["rules", "#/rules?kind=schema&key=checkout%2Fpayment", "Try"],
    ["quotas", "#/quotas", "New quota"],
    ["audit", "#/audit", "Export"],
    ["access", "#/access", "New service account"],
  ]) {
    const page = await open(hash, options, SHOP);
    if (ready) await page.getByRole("button", { name: ready }).first().waitFor();
    if (name === "flags" || name === "history")
      await page.getByRole("button", { name: ready }).first().click();
    if (name === "history") await page.locator(".diff").waitFor();
    if (name === "flags") await page.locator(".trace li").first().waitFor();
    if (!hash) await busy(page);
    await until(page, () => document.fonts.status === "loaded");
    await picture(page, name);
    await close(page);
  }
}

// Until the charts have something to show.
async function busy(page) {
  const of = (method, body) => ({
    method,
    headers: { "content-type": "application/json" },
    body,
  });
  for (let n = 0; n < 14; n++) {
    for (let i = 0; i < 20 + ((n * 17) % 40); i++)
      await Promise.all([
        fetch(`${SHOP}/v1/config/stock/warn_below`, of("PUT", `{"value": ${i}}`)),
        fetch(`${SHOP}/v1/config/search/enabled`),
      ]);
    await until(
      page,
      (k) => document.querySelector(".chart path.line-0").getAttribute("d")?.split("L").length > k,
      n,
    );
  }
}

async function main() {
  await start();
  let passed = 0,
    failed = 0;
  const only = process.argv.slice(2);
  for (const [name, test] of Object.entries(tests)) {
    if (only.length && !only.includes(name)) continue;
    openedSince();
    try {
      const began = Date.now();
      await test();
      passed++;
      if (process.env.TIMES) console.log(`${name}: ${Date.now() - began} ms`);
    } catch (e) {
      failed++;
      console.log(`FAIL ${name}: ${e.stack}`);
      for (const page of openedSince()) {
        console.log(page.wrong.join("\n"));
        if (!page.isClosed()) await picture(page, `failed-${name}`);
      }
    }
  }
  if (PICTURES && (!only.length || only.includes("pictures"))) await pictures();
  await stop();
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
}

main();
