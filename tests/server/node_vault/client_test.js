// node-vault against the door for Vault's clients: a seal in shares, secrets, logins, tokens.
// VAULT: the door; OTHER: the native one; the server is new, has no seal, and auth is disabled.
'use strict'
const assert = require('assert')

const connect = (token) => require('node-vault')({ endpoint: process.env.VAULT, token })
let passed = 0
let failed = 0

async function test (name, body) {
  try {
    await body()
    passed++
  } catch (e) {
    failed++
    console.log(name + ': ' + e.stack)
  }
}

const refused = (status, call) => assert.rejects(call, (e) => {
  assert.strictEqual(e.response && e.response.statusCode, status, e.message)
  return true
})

async function main () {
  const vault = connect('any')
  let shares

  await test('seal', async () => {
    assert.strictEqual((await vault.initialized()).initialized, false)
    const made = await vault.init({ secret_shares: 3, secret_threshold: 2 })
    shares = made.keys
    assert.strictEqual(shares.length, 3)
    await vault.seal()
    assert.strictEqual((await vault.status()).sealed, true)
    await refused(503, () => vault.read('secret/data/a'))
    await refused(400, () => vault.unseal({ key: 'no share' }))
    assert.strictEqual((await vault.unseal({ key: shares[2] })).progress, 1)
    assert.strictEqual((await vault.unseal({ key: shares[0] })).sealed, false)
    assert.strictEqual((await vault.health()).initialized, true)
  })

  await test('secrets', async () => {
    const put = await vault.write('secret/data/app/db', { data: { user: 'ann' } })
    assert.strictEqual(put.data.version, 1)
    await vault.write('secret/data/app/db', { data: { user: 'bob' }, options: { cas: 1 } })
    await refused(400, () => vault.write('secret/data/app/db', { data: {}, options: { cas: 1 } }))
    assert.deepStrictEqual((await vault.read('secret/data/app/db')).data.data, { user: 'bob' })
    assert.deepStrictEqual((await vault.read('secret/data/app/db?version=1')).data.data,
      { user: 'ann' })
    assert.deepStrictEqual((await vault.list('secret/metadata/app')).data.keys, ['db'])
    await vault.update('secret/data/app/db', { data: { port: 5 } })
    assert.deepStrictEqual((await vault.read('secret/data/app/db')).data.data,
      { user: 'bob', port: 5 })
    await vault.delete('secret/data/app/db')
    await refused(404, () => vault.read('secret/data/app/db'))
    await vault.write('secret/undelete/app/db', { versions: [3] })
    assert.strictEqual((await vault.read('secret/metadata/app/db')).data.current_version, 3)
    await vault.delete('secret/metadata/app/db')
    await refused(404, () => vault.read('secret/metadata/app/db'))
  })

  await test('mounts', async () => {
    await vault.mount({ mount_point: 'team', type: 'kv', options: { version: '2' } })
    assert.ok((await vault.mounts())['team/'])
    await vault.unmount({ mount_point: 'team' })
    assert.ok(!(await vault.mounts())['team/'])
  })

  await test('tokens and logins', async () => {
    await vault.addApproleRole({ role_name: 'app', token_ttl: 1200 })
    const roleId = (await vault.getApproleRoleId({ role_name: 'app' })).data.role_id
    const secretId = (await vault.getApproleRoleSecret({ role_name: 'app' })).data.secret_id
    const mine = connect()
    const login = await mine.approleLogin({ role_id: roleId, secret_id: secretId })
    assert.strictEqual(login.auth.lease_duration, 1200)
    const me = connect(login.auth.client_token)
    assert.strictEqual((await me.tokenLookupSelf()).data.meta.username, 'app')
    const child = await me.tokenCreate({ ttl: '1m' })
    assert.ok(child.auth.lease_duration <= 60)
    const young = connect(child.auth.client_token)
    assert.strictEqual((await young.tokenRenewSelf({ increment: '30s' })).auth.lease_duration, 30)
    await young.tokenRevokeSelf()
    await refused(403, () => young.tokenLookupSelf())
    await refused(400, () => mine.approleLogin({ role_id: roleId, secret_id: 'wrong' }))
    await vault.deleteApproleRole({ role_name: 'app' })
  })

  await test('transit', async () => {
    const plaintext = Buffer.from('clear').toString('base64')
    await vault.write('transit/keys/t', {})
    const { ciphertext } = (await vault.encryptData({ name: 't', plaintext })).data
    assert.strictEqual((await vault.decryptData({ name: 't', ciphertext })).data.plaintext,
      plaintext)
  })

  console.log(passed + ' passed, ' + failed + ' failed')
  process.exit(failed ? 1 : 0)
}

main()
