// A small shop that has something on every screen: what docs/ui/ shows, and what is looked at when
// the page is changed.
const CONFIGS = [
  ["checkout/currency", "EUR"],
  ["checkout/payment", { providers: ["card", "transfer"], retries: 3, timeout_ms: 2500 }],
  ["checkout/limits/daily", 25000],
  ["checkout/limits/per_order", 1500],
  ["mail/sender", "orders@shop.example"],
  ["mail/templates/welcome", "Welcome, {name}. Your first order ships free."],
  ["search/synonyms", { shoe: ["sneaker", "trainer"] }],
  ["search/enabled", true],
  ["stock/warn_below", 12],
  ["stock/warehouses", ["Bremen", "Lyon", "Porto"]],
];
const PAYMENT_SCHEMA = {
  type: "object",
  required: ["providers", "retries"],
  properties: {
    providers: { type: "array", minItems: 1, items: { enum: ["card", "transfer", "invoice"] } },
    retries: { type: "integer", minimum: 0, maximum: 10 },
    timeout_ms: { type: "integer", minimum: 100 },
  },
};
const ON_OFF = { state: "ENABLED", variants: { on: true, off: false }, defaultVariant: "off" };
const FLAGS = {
  "express-shipping": { ...ON_OFF, defaultVariant: "on" },
  "new-checkout": {
    ...ON_OFF,
    targeting: {
      if: [
        { ends_with: [{ var: "email" }, "@shop.example"] },
        "on",
        { fractional: [["on", 10], ["off", 90]] }, // prettier-ignore
      ],
    },
  },
  "search-by-picture": { ...ON_OFF, state: "DISABLED" },
  "free-returns": { ...ON_OFF, percentage: 25 },
};

// base: the server's address. Whatever stands is written over, and nothing else is touched.
async function fill(base) {
  async function ask(method, path, body) {
    const answer = await fetch(`${base}/v1/${path}`, {
      method,
      headers: { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }
  const put = (key, value, environment = "default") =>
    ask("PUT", `config/${key}?environment=${environment}`, { value });
  await ask("PUT", "environments/staging", { parent: "default" });
  await ask("PUT", "environments/prod", { parent: "default" });
  for (const [key, value] of CONFIGS) await put(key, value);
  await put("checkout/limits/daily", 40000, "prod");
  const payment = { providers: ["card", "transfer", "invoice"], retries: 5, timeout_ms: 2500 };
  await put("checkout/payment", payment, "prod");
  await put("checkout/payment", { ...payment, providers: ["card"] }, "prod");
  await ask("PUT", "schemas/checkout/payment", PAYMENT_SCHEMA);
  await ask("PUT", "schemas/stock/warn_below", { type: "integer", minimum: 0 });
  await ask("PUT", "guards/checkout/", {
    max_value_bytes: 65536,
    max_deleted_percent: 20,
    approvals: 1,
    environments: ["prod"],
  });
  for (const [name, flag] of Object.entries(FLAGS))
    await ask("PUT", `flags/${name}?environment=prod`, flag);
  await ask("PUT", "quotas/prefix/confman/config/", {
    max_keys: 5000,
    max_bytes: 4 << 20,
    rate: 500,
    burst: 1000,
  });
  await ask("PUT", "quotas/user/service:ci", { rate: 20, burst: 40 });
  await ask("PUT", "roles/checkout-team", {
    grants: [
      { environment: "prod", prefix: "checkout/", verbs: ["read", "write"] },
      { environment: "staging", prefix: "", verbs: ["read", "write"] },
    ],
    permissions: [],
  });
  await ask("PUT", "roles/deployer", {
    grants: [{ environment: "prod", prefix: "", verbs: ["read"] }],
    permissions: [],
  });
  await ask("PUT", "users/ann", { roles: ["checkout-team"] });
  await ask("PUT", "service-accounts/ci", { roles: ["deployer"] });
  await ask("POST", "service-accounts/ci?action=key", { ttl_s: 7776000 });
  const draft = await ask("POST", "drafts", {
    title: "Invoices for prod again",
    change_log: "the provider is back",
    changes: [{ key: "checkout/payment", environment: "prod", value: payment }],
  });
  await ask("POST", `drafts/${draft.id}:comment`, { text: "Checked with the provider." });
  if ((await ask("GET", "seal")).sealed) return;
  for (const path of ["db/main", "mail/smtp", "payment/stripe"])
    await ask("PUT", `secrets/${path}`, { data: { user: "shop", password: "correct horse" } });
}

module.exports = { fill };
