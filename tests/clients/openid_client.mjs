// openid-client, as applications use it: it finds what it needs in the OpenID Connect metadata, and polls by itself.

import assert from 'node:assert/strict'

import * as client from 'openid-client'

import { api, browser, issuer, redirectUri, refusal, run, secret, username } from './harness.mjs'

const insecure = { execute: [client.allowInsecureRequests] } // without TLS
const metadata = await client
  .discovery(issuer, 'web', undefined, undefined, insecure)
  .then((configuration) => configuration.serverMetadata())

function configure(client_id, authentication) {
  const configuration = new client.Configuration(metadata, client_id, {}, authentication)
  client.allowInsecureRequests(configuration)
  client.enableNonRepudiationChecks(configuration) // the signatures of ID tokens
  return configuration
}

const web = configure('web', client.ClientSecretBasic(secret))
const mobile = configure('mobile', client.None())
const tv = configure('tv', client.None())
const backend = configure('backend', client.ClientSecretPost(secret))
const keyedWeb = configure('keyed-web', client.ClientSecretBasic(secret))
const keyedMobile = configure('keyed-mobile', client.None())
const keyedTv = configure('keyed-tv', client.None())
const keyedBackend = configure('keyed-backend', client.ClientSecretPost(secret))

/** Let the user decide on an authorization request, and redeem the code. */
async function logIn(configuration, parameters, additional = {}, { DPoP, ...options } = {}) {
  const checks = {
    pkceCodeVerifier: client.randomPKCECodeVerifier(),
    expectedState: client.randomState(),
    ...(parameters.scope.split(' ').includes('openid') && { expectedNonce: client.randomNonce() }),
  }
  const url = client.buildAuthorizationUrl(configuration, {
    redirect_uri: redirectUri,
    code_challenge: await client.calculatePKCECodeChallenge(checks.pkceCodeVerifier),
    code_challenge_method: 'S256',
    state: checks.expectedState,
    ...(checks.expectedNonce && { nonce: checks.expectedNonce }),
    ...parameters,
  })
  const callback = await browser.authorize(url, options)
  return await client.authorizationCodeGrant(configuration, callback, checks, additional, { DPoP })
}

const call = (configuration, { access_token }, options) =>
  client.fetchProtectedResource(configuration, access_token, api, 'GET', null, undefined, options)

/** What a device with a new key proves it with. The client itself answers nonces. */
const proving = async (configuration) => client.getDPoPHandle(configuration, await client.randomDPoPKeyPair())

/** The status and the OAuth error that an endpoint of the server has refused a client with. */
async function oauthError(promise) {
  const error = await refusal(promise)
  assert.ok(error instanceof client.ResponseBodyError, error.stack)
  return [error.status, error.error]
}

/** The status and the scheme of the first challenge that a client was refused with. */
async function challenge(promise) {
  const error = await refusal(promise)
  assert.ok(error instanceof client.WWWAuthenticateChallengeError, error.stack)
  return [error.status, error.cause[0].scheme]
}

await run({
  async discovery() {
    for (const algorithm of ['oidc', 'oauth2']) {
      const found = await client.discovery(issuer, 'web', undefined, undefined, { algorithm, ...insecure })
      assert.ok(found.serverMetadata().supportsPKCE())
      assert.equal(found.serverMetadata().token_endpoint, metadata.token_endpoint)
    }
  },

  async log_in() {
    const token = await logIn(web, { scope: 'openid read' }, { tokenBindingId: 'laptop' })
    const info = await client.fetchUserInfo(web, token.access_token, token.claims().sub)
    assert.equal(info.sub, token.claims().sub)
    assert.equal((await (await call(web, token)).json()).username, username)
  },

  async same_device() {
    const [one, again, other] = [
      await logIn(web, { scope: 'read' }, { tokenBindingId: 'one' }),
      await logIn(web, { scope: 'read' }, { tokenBindingId: 'one' }),
      await logIn(web, { scope: 'read' }, { tokenBindingId: 'other' }),
    ]
    assert.equal(again.access_token, one.access_token)
    assert.notEqual(other.access_token, one.access_token)
  },

  async refresh() {
    const token = await logIn(mobile, { scope: 'openid read' }, { tokenBindingId: 'phone' })
    const next = await client.refreshTokenGrant(mobile, token.refresh_token, { tokenBindingId: 'phone' })
    assert.deepEqual(await challenge(call(mobile, token)), [401, 'bearer'])
    assert.equal((await call(mobile, next)).status, 200)
  },

  async refused_by_the_user() {
    const error = await refusal(logIn(web, { scope: 'read' }, {}, { allow: false }))
    assert.ok(error instanceof client.AuthorizationResponseError, error.stack)
    assert.equal(error.error, 'access_denied')
  },

  async prompt_none() {
    const error = await refusal(logIn(mobile, { scope: 'openid write', prompt: 'none' }))
    assert.ok(error instanceof client.AuthorizationResponseError, error.stack)
    assert.equal(error.error, 'consent_required')
  },

  async client_credentials() {
    assert.equal((await client.clientCredentialsGrant(backend, { scope: 'read' })).scope, 'read')
    assert.equal((await client.clientCredentialsGrant(backend)).scope, 'read write')
  },

  async wrong_secret() {
    const basic = configure('backend', client.ClientSecretBasic('wrong'))
    assert.deepEqual(await challenge(client.clientCredentialsGrant(basic)), [401, 'basic'])
    assert.deepEqual(await challenge(client.tokenIntrospection(basic, 'unknown')), [401, 'basic'])
    assert.deepEqual(await challenge(client.tokenRevocation(basic, 'unknown')), [401, 'basic'])
  },

  async device_grant() {
    const device = await client.initiateDeviceAuthorization(tv, { scope: 'read' })
    const polling = client.pollDeviceAuthorizationGrant(tv, device, { tokenBindingId: 'living room' })
    setTimeout(() => browser.decideOnDevice(device, 'accept'), 1500 * device.interval)
    assert.equal((await call(tv, await polling)).status, 200)
  },

  async device_denied() {
    const device = await client.initiateDeviceAuthorization(tv, { scope: 'read' })
    await browser.decideOnDevice(device, 'deny')
    assert.deepEqual(await oauthError(client.pollDeviceAuthorizationGrant(tv, device)), [400, 'access_denied'])
  },

  async introspection_and_revocation() {
    const token = await logIn(web, { scope: 'read' }, { tokenBindingId: 'lost' })
    const { active, binding_type } = await client.tokenIntrospection(web, token.access_token)
    assert.deepEqual([active, binding_type], [true, 'client-request'])
    await client.tokenRevocation(web, token.refresh_token)
    assert.deepEqual(await client.tokenIntrospection(web, token.access_token), { active: false })
    assert.deepEqual(await challenge(call(web, token)), [401, 'bearer'])
  },

  async registration() {
    const registered = await client.dynamicClientRegistration(
      issuer,
      { redirect_uris: [redirectUri], token_endpoint_auth_method: 'client_secret_post' },
      undefined,
      insecure,
    )
    await logIn(registered, { scope: 'read' }, { tokenBindingId: 'registered' })
  },

  async token_exchange() {
    const subject = await logIn(mobile, { scope: 'read' }, { tokenBindingId: 'phone' })
    const token = await client.genericGrantRequest(backend, 'urn:ietf:params:oauth:grant-type:token-exchange', {
      subject_token: subject.access_token,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      tokenBindingId: 'worker 1',
    })
    assert.equal((await client.tokenIntrospection(backend, token.access_token)).username, username)
  },

  async dpop_log_in() {
    const DPoP = await proving(keyedWeb)
    const dpop_jkt = await DPoP.calculateThumbprint()
    const token = await logIn(keyedWeb, { scope: 'openid read', dpop_jkt }, { tokenBindingId: 'laptop' }, { DPoP })
    assert.equal(token.token_type, 'dpop')
    const info = await client.fetchUserInfo(keyedWeb, token.access_token, token.claims().sub, { DPoP })
    assert.equal(info.sub, token.claims().sub)
    assert.equal((await (await call(keyedWeb, token, { DPoP })).json()).username, username)
  },

  async dpop_refresh() {
    const DPoP = await proving(keyedMobile)
    const token = await logIn(keyedMobile, { scope: 'read' }, { tokenBindingId: 'phone' }, { DPoP })
    const next = await client.refreshTokenGrant(keyedMobile, token.refresh_token, {}, { DPoP })
    assert.equal(next.token_type, 'dpop')
    assert.deepEqual(await challenge(call(keyedMobile, token, { DPoP })), [401, 'dpop'])
    assert.equal((await call(keyedMobile, next, { DPoP })).status, 200)
  },

  async dpop_nonce_of_an_api() {
    const keys = await client.randomDPoPKeyPair()
    const token = await logIn(keyedMobile, { scope: 'read' }, {}, { DPoP: client.getDPoPHandle(keyedMobile, keys) })
    const restarted = client.getDPoPHandle(keyedMobile, keys)
    assert.equal((await call(keyedMobile, token, { DPoP: restarted })).status, 200)
  },

  async dpop_client_credentials() {
    const DPoP = await proving(keyedBackend)
    for (const scope of ['read', 'write']) {
      const token = await client.clientCredentialsGrant(keyedBackend, { scope }, { DPoP })
      assert.equal(token.token_type, 'dpop')
    }
  },

  async dpop_device_grant() {
    const DPoP = await proving(keyedTv)
    const device = await client.initiateDeviceAuthorization(keyedTv, { scope: 'read' })
    await browser.decideOnDevice(device, 'accept')
    const parameters = { tokenBindingId: 'living room' }
    const token = await client.pollDeviceAuthorizationGrant(keyedTv, device, parameters, { DPoP })
    assert.equal((await call(keyedTv, token, { DPoP })).status, 200)
  },

  // The last one: it signs the user out.
  async log_out() {
    const token = await logIn(web, { scope: 'openid' })
    const url = client.buildEndSessionUrl(web, { id_token_hint: token.id_token })
    assert.equal(await browser.logOut(url), false)
  },
})
