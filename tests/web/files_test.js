// Import and export.
const assert = require("node:assert");
const fs = require("node:fs");
const { BASE, accessible, close, open, picture, put, read, row } = require("./browser.js");

module.exports = {
  async a_file_is_shown_before_it_comes_in() {
    await put("filed/old", "same");
    await put("filed/limit", 1);
    const page = await open("#/configs?environment=default");
    await row(page, "filed/limit").waitFor();
    const more = async (what) => {
      await page.locator("summary").filter({ hasText: "More" }).click();
      await page.getByRole("button", { name: what }).click();
    };
    const sheet = page.getByRole("dialog");
    await more("Import a file");
    await sheet.getByLabel("Content").fill("a: [1,");
    await sheet.getByRole("button", { name: "Show what that changes" }).click();
    await sheet.getByRole("alert").filter({ hasText: "line" }).waitFor();
    await sheet.getByLabel("File", { exact: true }).setInputFiles({
      name: "filed.yaml",
      mimeType: "application/yaml",
      buffer: Buffer.from("old: same\nlimit: 2\nnested:\n  deep: [1, 2]\n"),
    });
    await sheet.getByLabel("Put behind").fill("filed/");
    await sheet.getByLabel("objects in one another").check();
    await accessible(page);
    await sheet.getByRole("button", { name: "Show what that changes" }).click();
    await sheet.getByText("2 changes in default: 1 added, 1 changed. 1 are so already.").waitFor();
    await sheet.getByText("filed/nested/deep").waitFor();
    assert.strictEqual((await read("filed/limit")).value, 1);
    await accessible(page);
    await picture(page, "import");
    await sheet.getByRole("button", { name: "Publish 2 changes" }).click();
    await page.getByText(/2 changes published, as revision/).waitFor();
    assert.strictEqual((await read("filed/limit")).value, 2);
    await row(page, "filed/nested/deep").waitFor();

    // what a transaction does not take at once comes in steps, all of it
    await more("Import a file");
    await sheet.getByLabel("It is").selectOption(".env");
    await sheet
      .getByLabel("Content")
      .fill(Array.from({ length: 130 }, (_, i) => `N${i}=${i}`).join("\n"));
    await sheet.getByLabel("Put behind").fill("stepped/");
    await sheet.getByRole("button", { name: "Show what that changes" }).click();
    await sheet.getByText("several transactions").waitFor();
    await sheet.getByRole("button", { name: "Publish 130 changes" }).click();
    await page.getByText(/130 changes published/).waitFor();
    assert.strictEqual((await read("stepped/N129")).value, "129");

    await more("Export a file");
    await sheet.getByLabel("That begin with").fill("filed/");
    await accessible(page);
    const [file] = await Promise.all([
      page.waitForEvent("download"),
      sheet.getByRole("button", { name: "Export" }).click(),
    ]);
    assert.strictEqual(file.suggestedFilename(), "default-filed.yaml");
    assert.match(fs.readFileSync(await file.path(), "utf8"), /^limit: 2$/m);
    await close(page);
  },

  async a_file_is_proposed_as_a_draft() {
    const page = await open("#/configs?environment=default");
    await page.locator("summary").filter({ hasText: "More" }).click();
    await page.getByRole("button", { name: "Import a file" }).click();
    const sheet = page.getByRole("dialog");
    await sheet.getByLabel("Content").fill("proposed/by/file: 12345678901234567890");
    await sheet.getByRole("button", { name: "Show what that changes" }).click();
    await sheet.getByRole("button", { name: "Propose" }).click();
    const words = await page.getByText(/Draft \d+ is proposed/).textContent();
    const draft = await fetch(`${BASE}/v1/drafts/${words.match(/\d+/)[0]}`);
    assert.match(await draft.text(), /12345678901234567890/);
    await close(page);
  },
};
