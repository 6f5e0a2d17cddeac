// OpenFeature's own providers, unmodified, against the servers of ENDPOINTS (one, or the members
// of a cluster): each reads at one server, what changes is written at another. Prints what failed,
// and the sum.
'use strict';
const assert = require('assert');
const server = require('@openfeature/server-sdk');
const web = require('@openfeature/web-sdk');
const { OFREPProvider } = require('@openfeature/ofrep-provider');
const { OFREPWebProvider } = require('@openfeature/ofrep-web-provider');
const { FlagdProvider } = require('@openfeature/flagd-provider');

const endpoints = process.env.ENDPOINTS.split(',');
const writes = endpoints[endpoints.length - 1];
const tests = {};

const flags = {
  'new-page': {
    state: 'ENABLED', variants: { on: true, off: false }, defaultVariant: 'off',
    targeting: { if: [{ ends_with: [{ var: 'email' }, '@example.com'] }, 'on', null] },
    metadata: { owner: 'shop' },
  },
  colour: { state: 'ENABLED', variants: { red: '#f00', blue: '#00f' }, defaultVariant: 'red' },
  size: { state: 'ENABLED', variants: { a: 1.5, b: 3 }, defaultVariant: 'a' },
  tree: {
    state: 'ENABLED', variants: { a: { l: [1, 'x'], o: { deep: true } } }, defaultVariant: 'a',
  },
  split: {
    state: 'ENABLED', variants: { a: 'A', b: 'B' }, defaultVariant: 'a',
    targeting: { fractional: [['a', 50], ['b', 50]] },
  },
  share: { percentage: 30 },
  off: { state: 'DISABLED', variants: { a: 'A' }, defaultVariant: 'a' },
};

async function put(name, flag, environment = 'default') {
  const answer = await fetch(`http://${writes}/v1/flags/${name}?environment=${environment}`, {
    method: 'PUT', body: JSON.stringify(flag), headers: { 'content-type': 'application/json' },
  });
  assert(answer.ok, `${answer.status} ${await answer.text()}`);
}

// Until what is asked is so: within a bound, never by sleeping blindly.
async function until(what, ask) {
  const end = Date.now() + 20000;
  for (;;) {
    const last = await ask();
    if (last) return;
    if (Date.now() > end) throw new Error(`not within 20 s: ${what}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

// What every provider has to say of the flags; calls may answer at once or promise.
async function check(client, contexts) {
  const ann = { targetingKey: 'ann', email: 'ann@example.com' };
  const bob = { targetingKey: 'bob', email: 'bob@example.org' };
  await contexts(ann);
  const page = await client.getBooleanDetails('new-page', false, ann);
  assert.deepStrictEqual([page.value, page.variant, page.reason], [true, 'on', 'TARGETING_MATCH']);
  assert.strictEqual(page.flagMetadata.owner, 'shop');
  assert.strictEqual(await client.getStringValue('colour', '-', ann), '#f00');
  assert.strictEqual(await client.getNumberValue('size', 0, ann), 1.5);
  assert.deepStrictEqual(await client.getObjectValue('tree', {}, ann), flags.tree.variants.a);
  const wrong = await client.getBooleanDetails('colour', true, ann);
  assert.deepStrictEqual([wrong.value, wrong.errorCode], [true, 'TYPE_MISMATCH']);
  const none = await client.getStringDetails('no-such-flag', 'mine', ann);
  assert.deepStrictEqual([none.value, none.errorCode], ['mine', 'FLAG_NOT_FOUND']);
  assert.strictEqual(await client.getStringValue('off', 'mine', ann), 'mine');
  await contexts(bob);
  assert.strictEqual(await client.getBooleanValue('new-page', true, bob), false);
}

// Who gets what of splits: one answer for all providers.
async function sides(client, contexts) {
  let out = '';
  for (let i = 0; i < 40; i++) {
    const context = { targetingKey: `user-${i}` };
    await contexts(context);
    out += await client.getStringValue('split', '-', context);
    out += (await client.getBooleanValue('share', false, context)) ? '1' : '0';
  }
  return out;
}

const told = {};

async function follow(name, client) {
  for (const [side, value] of [['blue', '#00f'], ['red', '#f00']]) {
    await put('colour', { ...flags.colour, defaultVariant: side });
    await until(`${name} sees ${side}`, async () =>
      (await client.getStringValue('colour', '-')) === value);
  }
}

async function run(name, client, contexts) {
  await check(client, contexts);
  told[name] = await sides(client, contexts);
  await contexts({ targetingKey: 'u' });
  await follow(name, client);
}

const still = async () => {};
const place = (i) => endpoints[i % endpoints.length].split(':');

tests.ofrep = async () => {
  const [host, port] = place(0);
  await server.OpenFeature.setProviderAndWait('ofrep', new OFREPProvider({
    baseUrl: `http://${host}:${port}`,
  }));
  await run('ofrep', server.OpenFeature.getClient('ofrep'), still);
};

tests.ofrep_web = async () => {
  const [host, port] = place(1);
  await web.OpenFeature.setProviderAndWait('ofrep-web', new OFREPWebProvider({
    baseUrl: `http://${host}:${port}`, pollInterval: 50,
  }));
  const contexts = (context) => web.OpenFeature.setContext('ofrep-web', context);
  await run('ofrep_web', web.OpenFeature.getClient('ofrep-web'), contexts);
};

async function flagd(name, i, options, ask) {
  const [host, port] = place(i);
  await server.OpenFeature.setProviderAndWait(name, new FlagdProvider({
    host, port: Number(port), ...options,
  }));
  const client = server.OpenFeature.getClient(name);
  let changes = 0;
  client.addHandler(server.ProviderEvents.ConfigurationChanged, () => { changes++; });
  await ask(name, client, still);
  await until(`${name} is told of changes`, () => changes >= 2);
}

tests.flagd_rpc = () => flagd('flagd-rpc', 0, { resolverType: 'rpc', cache: 'disabled' }, run);
// Its cache keeps what is static until the stream says that it has changed.
tests.flagd_rpc_cached = () =>
  flagd('flagd-cached', 2, { resolverType: 'rpc', cache: 'lru' }, follow);
tests.flagd_in_process = () => flagd('flagd-local', 1, { resolverType: 'in-process' }, run);

tests.flagd_selector = async () => {
  const [host, port] = place(2);
  await put('colour', { ...flags.colour, defaultVariant: 'blue' }, 'other');
  for (const resolverType of ['rpc', 'in-process']) {
    const name = `selector-${resolverType}`;
    await server.OpenFeature.setProviderAndWait(name, new FlagdProvider({
      host, port: Number(port), resolverType, selector: 'flagSetId=other',
    }));
    const client = server.OpenFeature.getClient(name);
    assert.strictEqual(await client.getStringValue('colour', '-'), '#00f', resolverType);
    assert.strictEqual((await client.getStringDetails('size', '-')).errorCode, 'FLAG_NOT_FOUND');
  }
};

tests.one_side_for_all = async () => {
  const all = Object.values(told);
  assert.strictEqual(all.length, 4);
  for (const other of all) assert.strictEqual(other, all[0]);
  assert(/A/.test(all[0]) && /B/.test(all[0]) && /0/.test(all[0]) && /1/.test(all[0]));
};

(async () => {
  let passed = 0, failed = 0;
  for (const [name, flag] of Object.entries(flags)) await put(name, flag);
  for (const endpoint of endpoints) // they are all there
    await until('the flags are everywhere', async () =>
      (await (await fetch(`http://${endpoint}/v1/flags`)).json()).flags.length ===
        Object.keys(flags).length);
  for (const [name, test] of Object.entries(tests)) {
    try {
      await test();
      passed++;
    } catch (e) {
      failed++;
      console.log(`${name}: ${e.stack}`);
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
})();
