// What an operator is told first: what is not well, and what to do about it.
const assert = require("node:assert");
const { accessible, close, open, put, picture } = require("./browser.js");

module.exports = {
  async what_is_not_well_is_told_with_where_to_look() {
    const now = await put("sick/limit", 1);
    const page = await open("");
    await page.getByText("Everything is well").waitFor();
    // a client that cannot use what was published
    await page.evaluate(
      (revision) =>
        new Promise((done) => {
          const say = (m) => window.line.send(JSON.stringify(m));
          window.line = new WebSocket(`ws://${location.host}/v1/subscribe`);
          window.line.onopen = () => {
            say({ type: "hello", client: "sick", instance: "pod-1" });
            say({ type: "subscribe", id: 1, prefix: "sick/" });
          };
          window.line.onmessage = ({ data }) => {
            if (JSON.parse(data).type !== "subscribed") return;
            say({ type: "ack", revision, error: "limit too low" });
            done();
          };
        }),
      now.revision,
    );
    await page.getByText("One thing is not well").waitFor();
    const wrong = page.getByRole("list", { name: "What is not well" });
    await wrong.getByText("1 client could not use what was published").waitFor();
    await accessible(page);
    await picture(page, "overview-bad");
    await wrong.getByRole("link", { name: "Show" }).click();
    await page.getByText("limit too low").waitFor();
    assert.strictEqual(await page.getByLabel("State").inputValue(), "failed");
    await page.goBack();
    await page.evaluate(() => window.line.close());
    await page.getByText("Everything is well").waitFor();
    await close(page);
  },
};
