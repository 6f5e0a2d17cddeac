// What the dialog says before anything is published, and when it is.
const assert = require("node:assert");
const { BASE, accessible, close, open, picture, put, read } = require("./browser.js");

const send = (method, path, body) =>
  fetch(`${BASE}/v1/${path}`, {
    method,
    headers: { "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });

// The page on that config of default, with a change under review.
async function reviewed(key, text) {
  const page = await open(`#/configs?environment=default&key=${encodeURIComponent(key)}`);
  await page.getByRole("textbox", { name: "Value" }).fill(text);
  await page.getByRole("button", { name: "Review change" }).click();
  return [page, page.getByRole("dialog"), page.locator(".verdicts")];
}

module.exports = {
  async who_has_to_agree_is_told_before() {
    await put("agreed/limit", 1);
    assert.ok((await send("PUT", "guards/agreed/", { approvals: 2 })).ok);
    const [page, sheet, said] = await reviewed("agreed/limit", "2");
    await said.getByText("2 others have to agree first").waitFor();
    assert.ok(await sheet.getByRole("button", { name: "Publish", exact: true }).isDisabled());
    await accessible(page);
    await picture(page, "guarded");
    await sheet.getByRole("button", { name: "Propose" }).click();
    await page.getByText(/Draft \d+ is proposed/).waitFor();
    assert.strictEqual((await read("agreed/limit")).value, 1);
    assert.ok((await send("DELETE", "guards/agreed/")).ok);
    await close(page);
  },

  async who_inherits_it_is_told_before() {
    assert.ok((await send("PUT", "environments/heir", { parent: "default" })).ok);
    await put("willed/limit", 1);
    const [page, , said] = await reviewed("willed/limit", "2");
    await said.getByText(/heir.* inherits? it/).waitFor();
    await said.getByText("Schemas and guards let it pass.").waitFor();
    await close(page);
    assert.ok((await send("DELETE", "environments/heir")).ok);
  },

  async at_a_time() {
    await put("later/limit", 1);
    const [page, sheet] = await reviewed("later/limit", "2");
    const soon = await page.evaluate(() => {
      const t = new Date(Date.now() + 60000);
      return new Date(t - t.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
    });
    await sheet.getByLabel("When").fill(soon);
    await sheet.getByRole("button", { name: "Schedule" }).click();
    const words = await page.getByText(/Draft \d+ is published/).textContent();
    const id = words.match(/\d+/)[0];
    const state = async () => (await (await send("GET", `drafts/${id}`)).json()).state;
    assert.strictEqual(await state(), "scheduled");
    assert.strictEqual((await read("later/limit")).value, 1);
    assert.ok((await send("POST", `drafts/${id}:cancel`, {})).ok);
    await close(page);
  },
};
