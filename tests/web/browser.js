// What the tests of the page are made of: a browser, pages that nothing may go wrong on, what is
// asked of the server beside them.
const { chromium } = require("playwright-core");
const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");

const BASE = process.env.PAGE;
const PICTURES = process.env.PICTURES;
const AXE = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const WAIT_MS = Number(process.env.WAIT_MS || 20000);

let browser;
let opened = []; // by the test that runs

// A page that no error, refused script or foreign request may come from.
async function open(hash, options = {}, base = BASE) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT_MS);
  page.wrong = [];
  opened.push(page);
  page.on("pageerror", (e) => page.wrong.push(String(e)));
  page.on("console", (m) => {
    if (m.type() === "error" && !/status of (400|401|404|409|410|412|422)/.test(m.text()))
      page.wrong.push(m.text());
  });
  page.on("request", (r) => r.url().startsWith(base) || page.wrong.push(`asked ${r.url()}`));
  await page.goto(`${base}/ui/${hash}`);
  return page;
}
async function close(page) {
  await page.context().close();
  assert.deepStrictEqual(page.wrong, []);
}

// page.waitForFunction would be a script of its own, which the page's policy refuses.
async function until(page, condition, argument) {
  const end = Date.now() + WAIT_MS;
  while (!(await page.evaluate(condition, argument))) {
    assert.ok(Date.now() < end, `not seen in time: ${condition}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

async function put(key, value, type, environment = "default") {
  const answer = await fetch(`${BASE}/v1/config/${key}?environment=${environment}`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ value, type }),
  });
  assert.ok(answer.ok, `${key}: ${answer.status}`);
  return answer.json();
}
const read = async (key) => (await fetch(`${BASE}/v1/config/${key}`)).json();

async function picture(page, name) {
  await page.evaluate(() => document.querySelector(".notes")?.replaceChildren());
  if (PICTURES) await page.screenshot({ path: path.join(PICTURES, `${name}.png`) });
}

// Serious and critical findings of axe. It comes in by the debugger's door, past the page's policy.
async function accessible(page) {
  await page.evaluate(AXE);
  const found = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  const bad = found.violations
    .filter((v) => ["serious", "critical"].includes(v.impact))
    .map((v) => `${v.id}: ${v.nodes.map((n) => `${n.target} ${n.failureSummary}`).join("; ")}`);
  assert.deepStrictEqual(bad, []);
}

const rows = (page) => page.locator(".list [role=option]");
const row = (page, key) => rows(page).filter({ hasText: key });

async function start() {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}
const stop = () => browser.close();
// Gives the pages that were opened since it was asked last.
const openedSince = () => opened.splice(0);

module.exports = {
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
};
