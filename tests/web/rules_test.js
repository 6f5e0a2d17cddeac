// Schemas, guards, quotas and service accounts.
const assert = require("node:assert");
const { BASE, accessible, close, open, picture, put, row } = require("./browser.js");

const send = (method, path, body) =>
  fetch(`${BASE}/v1/${path}`, {
    method,
    headers: { "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
const at = async (path) => (await send("GET", path)).json();

module.exports = {
  async a_schema_is_written_tried_and_deleted() {
    await put("ruled/one", { host: "a", port: 80 }, "json");
    await put("ruled/two", { host: "b", port: 0 }, "json");
    const page = await open("#/rules");
    await page.getByRole("listbox").waitFor();
    await page.keyboard.press("n");
    const pane = page.getByRole("region", { name: "Editor" });
    await pane.getByLabel("Configs").fill("ruled/");
    const text = pane.getByLabel("JSON Schema");
    await text.fill('{"type": "objct"}');
    await pane.getByText(/\/type: a type is one of/).waitFor();
    await accessible(page);
    await text.fill('{"properties": {"port": {"minimum": 1}}}');
    await pane.getByText("1 of the 2 values that stand are not so").waitFor();
    await pane.getByText("ruled/two in default, /port").waitFor();
    // a value against it, before it is saved
    await pane.getByLabel("Value").fill('{"port": -1}');
    await pane.getByRole("button", { name: "Try" }).click();
    await pane.getByText("It would be refused.").waitFor();
    await pane.getByLabel("Value").fill('{"port": 1}');
    await pane.getByLabel("Value").press("Control+Enter");
    await pane.getByText("It would be taken.").waitFor();
    await pane.getByRole("button", { name: "Save" }).click();
    const sheet = page.getByRole("dialog");
    await sheet.getByText("1 of the 2 values that stand").waitFor();
    await accessible(page);
    await sheet.getByRole("button", { name: "Save" }).click();
    await page.getByText("The schema of ruled/ is saved.").waitFor();
    assert.strictEqual((await at("schemas/ruled/")).schema.properties.port.minimum, 1);
    // it holds, and a deep link leads to it
    assert.strictEqual((await send("PUT", "config/ruled/one", { value: { port: 0 } })).status, 422);
    await pane.getByRole("heading", { name: "ruled/" }).waitFor();
    await page.reload();
    await pane.getByRole("heading", { name: "ruled/" }).waitFor();
    await pane.getByText("1 of the 2 values that stand are not so").waitFor();
    await picture(page, "rules");
    // what somebody else saved meanwhile is not written over
    await send("PUT", "schemas/ruled/", { properties: { port: { minimum: 2 } } });
    await text.fill("true");
    await pane.getByRole("button", { name: "Save" }).click();
    await sheet.getByRole("button", { name: "Save" }).click();
    await sheet.getByText("Somebody saved another one meanwhile").waitFor();
    await page.keyboard.press("Escape");
    await page.reload();
    await pane.getByRole("button", { name: "Delete" }).click();
    await sheet.getByRole("button", { name: "Delete" }).click();
    await page.getByText("The schema of ruled/ is deleted.").waitFor();
    assert.strictEqual((await send("GET", "schemas/ruled/")).status, 404);
    await close(page);
  },

  async a_guard_is_a_form() {
    const page = await open("#/rules");
    await page.getByRole("button", { name: "New guard" }).click();
    const pane = page.getByRole("region", { name: "Editor" });
    await pane.getByLabel("Configs").fill("guarded/");
    await pane.getByLabel("Largest value").fill("64");
    await pane.getByLabel("Approvals needed").fill("99");
    await pane.getByRole("checkbox", { name: "default" }).check();
    await pane.getByRole("button", { name: "Save" }).click();
    await pane.getByText("must be a number from 0 to 10").waitFor();
    await pane.getByLabel("Approvals needed").fill("2");
    await accessible(page);
    await pane.getByRole("button", { name: "Save" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
    await page.getByText("The guard of guarded/ is saved.").waitFor();
    const { guard } = await at("guards/guarded/");
    assert.deepStrictEqual(guard, {
      max_value_bytes: 64,
      max_deleted_percent: 20,
      approvals: 2,
      environments: ["default"],
    });
    await row(page, "guarded/").filter({ hasText: "2 approvals" }).waitFor();
    const refused = await send("PUT", "config/guarded/a", { value: 1 });
    assert.strictEqual((await refused.json()).code, "guard_approvals");
    assert.ok((await send("DELETE", "guards/guarded/")).ok);
    await close(page);
  },

  async quotas_are_set_and_seen_filling() {
    const page = await open("#/quotas");
    await page.getByText("No quotas yet").waitFor();
    await page.keyboard.press("n");
    const sheet = page.getByRole("dialog");
    await sheet.getByRole("button", { name: "Save" }).click();
    await sheet.getByRole("alert").filter({ hasText: "a quota bounds something" }).waitFor();
    await sheet.getByLabel("Name").fill("confman/config/default/filled/");
    await sheet.getByLabel("Keys").fill("4");
    await sheet.getByLabel("Requests a second").fill("500");
    await accessible(page);
    await sheet.getByRole("button", { name: "Save" }).click();
    await page.getByText("0 of 4").waitFor();
    await put("filled/a", 1);
    await put("filled/b", 1);
    await page.reload();
    await page.getByText("2 of 4").waitFor();
    await page.getByRole("button", { name: "Change the quota" }).click();
    await sheet.getByLabel("Keys").fill("2");
    await sheet.getByRole("button", { name: "Save" }).click();
    await page.getByText("2 of 2").waitFor();
    await accessible(page);
    await picture(page, "quotas");
    assert.strictEqual((await send("PUT", "config/filled/c", { value: 1 })).status, 507);
    await page.getByRole("button", { name: "Delete the quota" }).click();
    await sheet.getByRole("button", { name: "Delete" }).click();
    await page.getByText("No quotas yet").waitFor();
    await close(page);
  },

  async a_service_account_gets_a_key_once() {
    await send("PUT", "roles/deploys", { grants: [], permissions: [] });
    const page = await open("#/access");
    await page.getByRole("button", { name: "New service account" }).click();
    const sheet = page.getByRole("dialog");
    await sheet.getByLabel("Name").fill("robot");
    await sheet.getByRole("checkbox", { name: "deploys" }).check();
    await sheet.getByRole("button", { name: "Create" }).click();
    await page.getByText("no key: it cannot come").waitFor();
    for (const again of [false, true]) {
      await page.getByRole("button", { name: "New key for robot" }).click();
      await sheet.getByLabel("It lasts").selectOption("30 days");
      if (again) await sheet.getByLabel("Keys from before end").selectOption("in an hour");
      await sheet.getByRole("button", { name: "Make it" }).click();
      const key = await page.locator(".shown-once code").textContent();
      assert.match(key, /^cmk_robot_/);
      await accessible(page);
      const { keys } = await at("service-accounts/robot");
      assert.ok(keys.some((k) => key.startsWith(`cmk_robot_${k.id}_`)));
      await sheet.getByRole("button", { name: "It is kept" }).click();
      await page.getByText("ends in 30 days").first().waitFor();
      assert.ok(!(await page.textContent("main")).includes(key));
    }
    const card = page.getByRole("region", { name: "Service accounts" });
    assert.strictEqual(await card.locator(".chip").count(), 2);
    await card.getByText("ends within a day").waitFor();
    await page.getByRole("button", { name: "Keep out" }).click();
    await card.getByText("kept out").waitFor();
    await card
      .getByRole("button", { name: /Take key/ })
      .first()
      .click();
    await sheet.getByRole("button", { name: "Take it" }).click();
    await page.getByText("counts no more").waitFor();
    assert.strictEqual((await at("service-accounts/robot")).keys.length, 1);
    await page.getByRole("button", { name: "Delete service account robot" }).click();
    await sheet.getByRole("button", { name: "Delete" }).click();
    await page.getByText("No service accounts yet").waitFor();
    assert.ok((await send("DELETE", "roles/deploys")).ok);
    await close(page);
  },
};
