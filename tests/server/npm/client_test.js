// The npm client etcd3 against the server at ENDPOINT: prints what failed, and the sum.
'use strict';
const assert = require('assert');
const { Etcd3 } = require('etcd3');

// The client's own numbers; it exports names for them to TypeScript only.
const Isolation = { SerializableSnapshot: 0, Serializable: 1, ReadCommitted: 3 };

const client = new Etcd3({ hosts: process.env.ENDPOINT });
const tests = {};

// Rejects when the promise takes longer; nothing here may wait for ever.
function within(ms, promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function once(emitter, event) {
  return within(10000, new Promise((resolve) => emitter.once(event, resolve)), event);
}

tests.put_get = async (space) => {
  await space.put('k').value('bar');
  assert.strictEqual(await space.get('k').string(), 'bar');
  assert.strictEqual(await space.get('none').string(), null);
  await space.put('n').value(12);
  assert.strictEqual(await space.get('n').number(), 12);
  await space.put('j').value(JSON.stringify({ a: [1] }));
  assert.deepStrictEqual(await space.get('j').json(), { a: [1] });
  const before = await space.put('k').value('new').getPrevious();
  assert.strictEqual(before.value.toString(), 'bar');
};

tests.ranges = async (space) => {
  for (const [k, v] of [['a', '3'], ['b', '1'], ['c', '2']]) await space.put(k).value(v);
  assert.deepStrictEqual(await space.getAll().strings(), { a: '3', b: '1', c: '2' });
  assert.deepStrictEqual(await space.getAll().prefix('b').keys(), ['b']);
  assert.deepStrictEqual(await space.getAll().sort('Value', 'Descend').limit(2).keys(),
    ['a', 'c']);
  assert.strictEqual(await space.getAll().count(), 3);
  assert.strictEqual(await space.getAll().exec().then((r) => Number(r.count)), 3);
};

tests.removal = async (space) => {
  for (const k of ['a', 'b', 'c']) await space.put(k).value(k);
  assert.strictEqual(Number((await space.delete().key('a')).deleted), 1);
  const gone = await space.delete().all().getPrevious();
  assert.deepStrictEqual(gone.map((kv) => kv.value.toString()), ['b', 'c']);
  assert.strictEqual(await space.getAll().count(), 0);
};

tests.transaction = async (space) => {
  const create = () => space.if('k', 'Create', '==', 0)
    .then(space.put('k').value('first')).else(space.get('k')).commit();
  assert.strictEqual((await create()).succeeded, true);
  const second = await create();
  assert.strictEqual(second.succeeded, false);
  assert.strictEqual(second.responses[0].response_range.kvs[0].value.toString(), 'first');
  const compared = await space.if('k', 'Value', '==', 'first').and('k', 'Version', '<', 2)
    .then(space.delete().key('k')).commit();
  assert.strictEqual(compared.succeeded, true);
};

tests.watch = async (space) => {
  const watcher = await space.watch().prefix('w/').create();
  const heard = [];
  const both = new Promise((resolve) => {
    watcher.on('put', (kv, previous) => heard.push(['put', kv.value.toString(), previous]));
    watcher.on('delete', (kv) => { heard.push(['delete', kv.key.toString()]); resolve(); });
  });
  await space.put('w/1').value('one');
  await space.put('other').value('x');
  await space.delete().key('w/1');
  await within(10000, both, 'the delete event');
  assert.deepStrictEqual(heard.map((e) => e[0]), ['put', 'delete']);
  assert.strictEqual(heard[0][1], 'one');
  await watcher.cancel();
};

tests.watch_past = async (space) => {
  const first = await space.put('k').value('1');
  await space.put('k').value('2');
  const watcher = await space.watch().key('k').startRevision(first.header.revision).create();
  const values = [];
  await within(10000, new Promise((resolve) => watcher.on('put', (kv) => {
    values.push(kv.value.toString());
    if (values.length === 2) resolve();
  })), 'two past events');
  assert.deepStrictEqual(values, ['1', '2']);
  await watcher.cancel();
};

tests.lease = async (space) => {
  const lease = space.lease(10, { autoKeepAlive: false });
  await lease.put('k').value('v');
  const id = await lease.grant();
  assert.strictEqual((await space.get('k').exec()).kvs[0].lease, id);
  await lease.keepaliveOnce();
  await lease.revoke();
  assert.strictEqual(await space.get('k').string(), null);
  await assert.rejects(lease.keepaliveOnce());
};

tests.lease_kept_alive = async (space) => {
  const lease = space.lease(2);
  await lease.put('k').value('v');
  await once(lease, 'keepaliveSucceeded');
  await new Promise((resolve) => setTimeout(resolve, 2500));
  assert.strictEqual(await space.get('k').string(), 'v');
  await lease.revoke();
};

tests.lock = async (space) => {
  const first = space.lock('l').ttl(10);
  await first.acquire();
  await assert.rejects(space.lock('l').acquire());
  await first.release();
  const again = await space.lock('l').do(() => 'inside');
  assert.strictEqual(again, 'inside');
};

tests.election = async (space) => {
  const election = space.election('e', 5);
  const campaign = election.campaign('me');
  await once(campaign, 'elected');
  assert.strictEqual(await election.leader(), 'me');
  const observer = await election.observe();
  if (observer.leader() === undefined) await once(observer, 'change');
  assert.strictEqual(observer.leader(), 'me');
  await campaign.proclaim('still me');
  if (observer.leader() !== 'still me') await once(observer, 'change');
  assert.strictEqual(observer.leader(), 'still me');
  await observer.cancel();
  await campaign.resign();
};

tests.stm = async (space) => {
  await space.put('a').value(10);
  await space.put('b').value(0);
  const move = (isolation) => space.stm({ retries: 50, isolation }).transact(async (tx) => {
    const a = await tx.get('a').number();
    const b = await tx.get('b').number();
    await tx.put('a').value(a - 1);
    await tx.put('b').value(b + 1);
  });
  await Promise.all([0, 1, 2, 3, 4].map(() => move(Isolation.Serializable)));
  await move(Isolation.SerializableSnapshot);
  await move(Isolation.ReadCommitted);
  assert.deepStrictEqual(await space.getAll().numbers(), { a: 3, b: 7 });
};

tests.refusals = async () => {
  await assert.rejects(client.put('').value('x'), /key is not provided/);
  await assert.rejects(client.kv.range({ key: Buffer.from('k'), revision: '999999999' }),
    /future revision/);
};

tests.status = async () => {
  const status = await client.maintenance.status();
  assert.match(status.version, /^3\.\d+\.\d+$/);
  const members = await client.cluster.memberList({});
  assert.strictEqual(members.members.length, 1);
};

async function main() {
  let passed = 0;
  let failed = 0;
  for (const [name, test] of Object.entries(tests)) {
    try {
      await within(30000, test(client.namespace(`npm/${name}/`)), name);
      passed += 1;
    } catch (e) {
      failed += 1;
      console.log(`FAIL npm ${name}: ${e.stack}`);
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
}

main();
