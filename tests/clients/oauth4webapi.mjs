// oauth4webapi, which validates all that a server answers, against the site.

import assert from 'node:assert/strict'

import * as oauth from 'oauth4webapi'

import { api, browser, issuer, redirectUri, refusal, run, secret, tools, username } from './harness.mjs'

const insecure = { [oauth.allowInsecureRequests]: true } // without TLS
// As the server's metadata calls the algorithm (RFC 8037).
const remapEd25519 = { [oauth.modifyAssertion]: (header) => void (header.alg === 'Ed25519' && (header.alg = 'EdDSA')) }
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'

const discover = async (algorithm) =>
  oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm, ...insecure }))

const as = await discover('oidc')
const client = (client_id) => ({ client_id })
const basic = oauth.ClientSecretBasic(secret)
const post = oauth.ClientSecretPost(secret)
const none = oauth.None()

/** Let the user decide on an authorization request, and return the validated answer with what belongs to it. */
async function authorize(client_id, parameters, options) {
  const verifier = oauth.generateRandomCodeVerifier()
  const state = oauth.generateRandomState()
  const url = new URL(as.authorization_endpoint)
  url.search = new URLSearchParams({
    client_id,
    redirect_uri: redirectUri,
    response_type: 'code',
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    ...parameters,
  })
  const callback = await browser.authorize(url, options)
  return { verifier, answer: oauth.validateAuthResponse(as, client(client_id), callback, state), callback }
}

/** Redeem the code of an authorization. */
async function redeem(client_id, auth, { answer, verifier }, { nonce, DPoP, ...additionalParameters } = {}) {
  const response = await oauth.authorizationCodeGrantRequest(
    as, client(client_id), auth, answer, redirectUri, verifier, { DPoP, additionalParameters, ...insecure },
  )
  const checks = nonce ? { expectedNonce: nonce, requireIdToken: true } : {}
  const token = await oauth.processAuthorizationCodeResponse(as, client(client_id), response, checks)
  if (nonce) await oauth.validateApplicationLevelSignature(as, response, insecure)
  return token
}

async function tokenFor(client_id, auth, scope, device) {
  return await redeem(client_id, auth, await authorize(client_id, { scope }), { tokenBindingId: device })
}

async function refresh(client_id, auth, { refresh_token }, { DPoP, ...additionalParameters } = {}) {
  const options = { DPoP, additionalParameters, ...insecure }
  const response = await oauth.refreshTokenGrantRequest(as, client(client_id), auth, refresh_token, options)
  return await oauth.processRefreshTokenResponse(as, client(client_id), response)
}

async function clientCredentials(auth, { DPoP, ...parameters } = {}, client_id = 'backend') {
  const options = { DPoP, ...insecure }
  const response = await oauth.clientCredentialsGrantRequest(as, client(client_id), auth, parameters, options)
  return await oauth.processClientCredentialsResponse(as, client(client_id), response)
}

async function introspect(client_id, auth, token) {
  const response = await oauth.introspectionRequest(as, client(client_id), auth, token, insecure)
  return await oauth.processIntrospectionResponse(as, client(client_id), response)
}

async function revoke(client_id, auth, token) {
  const response = await oauth.revocationRequest(as, client(client_id), auth, token, insecure)
  return await oauth.processRevocationResponse(response)
}

const call = (token, url = api, options = {}) =>
  oauth.protectedResourceRequest(token, 'GET', url, undefined, null, { ...options, ...insecure })

async function userInfo(client_id, { access_token }, sub, options = {}) {
  const response = await oauth.userInfoRequest(as, client(client_id), access_token, { ...options, ...insecure })
  return await oauth.processUserInfoResponse(as, client(client_id), sub, response)
}

async function startDevice(parameters) {
  const response = await oauth.deviceAuthorizationRequest(as, client('tv'), none, parameters, insecure)
  return await oauth.processDeviceAuthorizationResponse(as, client('tv'), response)
}

async function poll({ device_code }, additionalParameters = {}) {
  const options = { additionalParameters, ...insecure }
  const response = await oauth.deviceCodeGrantRequest(as, client('tv'), none, device_code, options)
  return await oauth.processDeviceCodeResponse(as, client('tv'), response)
}

async function register(metadata) {
  const response = await oauth.dynamicClientRegistrationRequest(as, metadata, insecure)
  return await oauth.processDynamicClientRegistrationResponse(response)
}

/** What a device proves its key with: a new one, unless it has one. */
const proving = async (keys) => oauth.DPoP({}, keys ?? (await oauth.generateKeyPair('ES256')))

/** Make a request, and make it once more with the nonce that its refusal came with. */
async function withNonce(request) {
  const error = await refusal(request())
  assert.ok(oauth.isDPoPNonceError(error), error.stack)
  return await request()
}

/** The tokens of a device with a key, whose authorization request names the key. */
async function keyedTokenFor(client_id, auth, DPoP, scope, parameters = {}) {
  const answer = await authorize(client_id, { scope, dpop_jkt: await DPoP.calculateThumbprint() })
  return await withNonce(() => redeem(client_id, auth, answer, { DPoP, ...parameters }))
}

/** The first challenge that a client was refused with; the others just name a scheme. */
async function challenge(promise) {
  const error = await refusal(promise)
  assert.ok(error instanceof oauth.WWWAuthenticateChallengeError, error.stack)
  const [{ scheme, parameters }, ...others] = error.cause
  assert.ok(others.every((other) => other.parameters.error === undefined))
  return { status: error.status, scheme, ...parameters }
}

/** The OAuth error that a client was refused with. */
async function oauthError(promise) {
  const error = await refusal(promise)
  assert.ok(error instanceof oauth.ResponseBodyError, error.stack)
  return [error.status, error.error]
}

await run({
  async discovery_rfc8414() {
    assert.deepEqual(await discover('oauth2').then(({ token_endpoint }) => token_endpoint), as.token_endpoint)
  },

  async discovery_oidc() {
    await discover('oidc')
  },

  async authorization_code() {
    const nonce = oauth.generateRandomNonce()
    const token = await redeem('web', basic, await authorize('web', { scope: 'openid read', nonce }), {
      nonce,
      tokenBindingId: 'laptop',
    })
    const { sub } = oauth.getValidatedIdTokenClaims(token)
    await userInfo('web', token, sub)
    assert.equal((await (await call(token.access_token)).json()).username, username)
  },

  async same_device() {
    const [one, again, other] = [
      await tokenFor('web', basic, 'read', 'one'),
      await tokenFor('web', post, 'read', 'one'),
      await tokenFor('web', basic, 'read', 'other'),
    ]
    assert.equal(again.access_token, one.access_token)
    assert.notEqual(other.access_token, one.access_token)
  },

  async jwt_access_token() {
    const { access_token } = await redeem(
      'mobile', none, await authorize('mobile', { scope: 'read', resource: api.href }),
      { tokenBindingId: 'phone', resource: api.href },
    )
    const headers = { authorization: `Bearer ${access_token}` }
    const claims = await oauth.validateJwtAccessToken(as, new Request(api, { headers }), api.href, insecure)
    assert.equal(claims.client_id, 'mobile')
    assert.equal(claims.binding_type, 'client-request')
    assert.equal((await call(access_token)).status, 200)
  },

  async refresh() {
    const token = await tokenFor('mobile', none, 'read write', 'phone')
    const next = await refresh('mobile', none, token, { tokenBindingId: 'phone', scope: 'read' })
    assert.equal((await challenge(call(token.access_token))).error, 'invalid_token')
    assert.equal((await call(next.access_token)).status, 200)
    assert.deepEqual(await oauthError(refresh('mobile', none, next, { tokenBindingId: 'other' })), [400, 'invalid_grant'])
  },

  async refresh_with_id_token() {
    const nonce = oauth.generateRandomNonce()
    const answer = await authorize('web', { scope: 'openid read', nonce })
    const token = await redeem('web', basic, answer, { nonce, tokenBindingId: 'with an ID token' })
    const next = await refresh('web', basic, token)
    assert.equal(oauth.getValidatedIdTokenClaims(next).sub, oauth.getValidatedIdTokenClaims(token).sub)
  },

  async client_credentials() {
    for (const auth of [basic, post]) {
      assert.equal((await clientCredentials(auth, { scope: 'read' })).scope, 'read')
    }
  },

  async empty_scope() {
    // As if it were omitted (RFC 6749 section 3.2).
    assert.equal((await clientCredentials(basic, { scope: '' })).scope, 'read write')
  },

  async wrong_secret() {
    const wrong = [oauth.ClientSecretBasic('wrong'), oauth.ClientSecretPost('wrong')]
    for (const request of [
      (auth) => clientCredentials(auth),
      (auth) => introspect('web', auth, 'token'),
      (auth) => revoke('web', auth, 'token'),
    ]) {
      assert.deepEqual(await challenge(request(wrong[0])).then(({ status, scheme }) => [status, scheme]), [401, 'basic'])
      assert.deepEqual(await oauthError(request(wrong[1])), [401, 'invalid_client'])
    }
  },

  async unknown_client() {
    assert.deepEqual(await oauthError(clientCredentials(none, {}, 'nobody')), [401, 'invalid_client'])
    const { status, scheme } = await challenge(clientCredentials(basic, {}, 'nobody'))
    assert.deepEqual([status, scheme], [401, 'basic'])
  },

  async token_errors() {
    assert.deepEqual(await oauthError(clientCredentials(basic, { scope: 'unknown' })), [400, 'invalid_scope'])
    assert.deepEqual(await oauthError(clientCredentials(basic, {}, 'web')), [400, 'unauthorized_client'])
    assert.deepEqual(await oauthError(refresh('web', basic, { refresh_token: 'x' })), [400, 'invalid_grant'])
    const answer = await authorize('web', { scope: 'read' })
    const id = { tokenBindingId: 'x'.repeat(256) }
    assert.deepEqual(await oauthError(redeem('web', basic, answer, id)), [400, 'invalid_request'])
    await redeem('web', basic, answer)
    assert.deepEqual(await oauthError(redeem('web', basic, answer)), [400, 'invalid_grant'])
  },

  async authorization_errors() {
    for (const [parameters, options, expected] of [
      [{ scope: 'read' }, { allow: false }, 'access_denied'],
      [{ scope: 'unknown' }, {}, 'invalid_scope'],
      [{ scope: 'read', response_type: 'unknown' }, {}, 'unsupported_response_type'],
      [{ scope: 'read', code_challenge_method: 'unknown' }, {}, 'invalid_request'],
      [{ scope: 'read', resource: 'not absolute' }, {}, 'invalid_target'],
      [{ scope: 'openid', prompt: 'none' }, {}, 'consent_required'],
    ]) {
      const error = await refusal(authorize('web', parameters, options))
      assert.ok(error instanceof oauth.AuthorizationResponseError, `${expected}: ${error.stack}`)
      assert.deepEqual([error.error, error.cause.get('iss')], [expected, as.issuer])
    }
  },

  async device_grant() {
    const device = await startDevice({ scope: 'read' })
    assert.deepEqual(await oauthError(poll(device)), [400, 'authorization_pending'])
    assert.deepEqual(await oauthError(poll(device)), [400, 'slow_down'])
    await browser.decideOnDevice(device, 'accept')
    const token = await poll(device, { tokenBindingId: 'living room' })
    assert.equal((await call(token.access_token)).status, 200)
    assert.deepEqual(await oauthError(poll(device)), [400, 'expired_token'])
  },

  async device_denied() {
    const device = await startDevice({ scope: 'read' })
    await browser.decideOnDevice(device, 'deny')
    assert.deepEqual(await oauthError(poll(device)), [400, 'access_denied'])
    assert.deepEqual(await oauthError(poll({ device_code: 'unknown' })), [400, 'invalid_grant'])
    assert.deepEqual(await oauthError(startDevice({ scope: 'unknown' })), [400, 'invalid_scope'])
  },

  async introspection() {
    const { access_token, refresh_token } = await tokenFor('web', basic, 'read', 'introspected')
    for (const token of [access_token, refresh_token]) {
      for (const auth of [basic, post]) {
        const answer = await introspect('web', auth, token)
        assert.deepEqual([answer.active, answer.client_id, answer.binding_type], [true, 'web', 'client-request'])
      }
    }
    assert.deepEqual(await introspect('web', basic, 'unknown'), { active: false })
  },

  async revocation() {
    const token = await tokenFor('mobile', none, 'read', 'lost')
    await revoke('mobile', none, token.refresh_token)
    const { status, scheme, error } = await challenge(call(token.access_token))
    assert.deepEqual([status, scheme, error], [401, 'bearer', 'invalid_token'])
    const opaque = await tokenFor('web', basic, 'read', 'lost')
    await revoke('web', post, opaque.access_token)
    assert.deepEqual(await introspect('web', basic, opaque.access_token), { active: false })
    await revoke('web', basic, 'unknown')
  },

  async registration() {
    for (const [method, auth] of [
      ['client_secret_basic', oauth.ClientSecretBasic],
      ['client_secret_post', oauth.ClientSecretPost],
      ['none', () => none],
    ]) {
      const registered = await register({
        client_name: 'Registered',
        redirect_uris: [redirectUri],
        token_endpoint_auth_method: method,
      })
      assert.equal(registered.token_endpoint_auth_method === 'none', method === 'none')
      const { client_id, client_secret } = registered
      await tokenFor(client_id, auth(client_secret), 'read', 'registered')
    }
    assert.deepEqual(await oauthError(register({ redirect_uris: 1 })), [400, 'invalid_client_metadata'])
  },

  async userinfo_errors() {
    const unknown = await challenge(userInfo('web', { access_token: 'unknown' }, oauth.skipSubjectCheck))
    assert.deepEqual([unknown.status, unknown.scheme, unknown.error], [401, 'bearer', 'invalid_token'])
    const token = await tokenFor('web', basic, 'read', 'no openid')
    const short = await challenge(userInfo('web', token, oauth.skipSubjectCheck))
    assert.deepEqual([short.status, short.scheme, short.error], [403, 'bearer', 'insufficient_scope'])
  },

  async api_errors() {
    const invalid = await challenge(call('unknown'))
    assert.deepEqual([invalid.status, invalid.scheme, invalid.error], [401, 'bearer', 'invalid_token'])
    const { access_token } = await tokenFor('web', basic, 'write', 'writes')
    const short = await challenge(call(access_token))
    assert.deepEqual(
      [short.status, short.scheme, short.error, short.scope],
      [403, 'bearer', 'insufficient_scope', 'read'],
    )
  },

  async protected_resource_metadata() {
    for (const resource of [api, tools]) {
      const { resource_metadata } = await challenge(call('unknown', resource))
      const response = await oauth.resourceDiscoveryRequest(resource, insecure)
      assert.equal(response.url, resource_metadata)
      const metadata = await oauth.processResourceDiscoveryResponse(resource, response)
      assert.deepEqual(metadata.authorization_servers, [as.issuer])
    }
  },

  async token_exchange() {
    const subject = await tokenFor('mobile', none, 'read', 'phone')
    const exchange = async (parameters) => {
      const response = await oauth.genericTokenEndpointRequest(
        as, client('backend'), basic, TOKEN_EXCHANGE,
        { subject_token_type: 'urn:ietf:params:oauth:token-type:access_token', ...parameters }, insecure,
      )
      return await oauth.processGenericTokenEndpointResponse(as, client('backend'), response)
    }
    const token = await exchange({ subject_token: subject.access_token, tokenBindingId: 'worker 1' })
    assert.equal((await introspect('backend', basic, token.access_token)).username, username)
    assert.deepEqual(await oauthError(exchange({ subject_token: 'unknown' })), [400, 'invalid_grant'])
  },

  async dpop_authorization_code() {
    const DPoP = await proving()
    const nonce = oauth.generateRandomNonce()
    const parameters = { scope: 'openid read', nonce, dpop_jkt: await DPoP.calculateThumbprint() }
    const answer = await authorize('keyed-web', parameters)
    const token = await withNonce(() => redeem('keyed-web', basic, answer, { nonce, DPoP, tokenBindingId: 'laptop' }))
    assert.equal(token.token_type, 'dpop')
    await userInfo('keyed-web', token, oauth.getValidatedIdTokenClaims(token).sub, { DPoP })
    assert.equal((await (await call(token.access_token, api, { DPoP })).json()).username, username)
  },

  async dpop_code_of_another_key() {
    const [DPoP, other] = [await proving(), await proving()]
    const answer = await authorize('keyed-web', { scope: 'read', dpop_jkt: await DPoP.calculateThumbprint() })
    const redeemed = withNonce(() => redeem('keyed-web', basic, answer, { DPoP: other }))
    assert.deepEqual(await oauthError(redeemed), [400, 'invalid_grant'])
    await withNonce(() => redeem('keyed-web', basic, answer, { DPoP }))
  },

  async dpop_without_a_proof() {
    const answer = await authorize('keyed-web', { scope: 'read' })
    assert.deepEqual(await oauthError(redeem('keyed-web', basic, answer)), [400, 'invalid_dpop_proof'])
  },

  async dpop_refresh() {
    const [DPoP, other] = [await proving(), await proving()]
    const token = await keyedTokenFor('keyed-mobile', none, DPoP, 'read', { tokenBindingId: 'phone' })
    assert.deepEqual(
      await oauthError(withNonce(() => refresh('keyed-mobile', none, token, { DPoP: other }))),
      [400, 'invalid_grant'],
    )
    const next = await refresh('keyed-mobile', none, token, { DPoP })
    assert.equal(next.token_type, 'dpop')
    const { scheme, error } = await challenge(call(token.access_token, api, { DPoP }))
    assert.deepEqual([scheme, error], ['dpop', 'invalid_token'])
    assert.equal((await call(next.access_token, api, { DPoP })).status, 200)
  },

  async dpop_nonce_of_an_api() {
    const keys = await oauth.generateKeyPair('ES256')
    const token = await keyedTokenFor('keyed-mobile', none, await proving(keys), 'openid read')
    for (const request of [
      (options) => call(token.access_token, api, options),
      (options) => userInfo('keyed-mobile', token, oauth.skipSubjectCheck, options),
    ]) {
      const DPoP = await proving(keys) // the program has started again, and knows no nonce
      await withNonce(() => request({ DPoP }))
    }
  },

  async dpop_stolen_token() {
    const { access_token } = await keyedTokenFor('keyed-mobile', none, await proving(), 'openid read')
    for (const url of [api, tools, new URL(as.userinfo_endpoint)]) {
      const { status, scheme, error } = await challenge(call(access_token, url))
      assert.deepEqual([status, scheme, error], [401, 'bearer', 'invalid_token'])
    }
    const DPoP = await proving() // the thief has a key, too
    const { status, scheme, error } = await challenge(withNonce(() => call(access_token, api, { DPoP })))
    assert.deepEqual([status, scheme, error], [401, 'dpop', 'invalid_token'])
  },

  async dpop_jwt_access_token() {
    const DPoP = await proving()
    const { access_token } = await keyedTokenFor('keyed-mobile', none, DPoP, 'read', { resource: api.href })
    let sent
    const customFetch = (url, options) => {
      sent = new Request(url, { method: options.method, headers: options.headers })
      return fetch(url, options)
    }
    await call(access_token, api, { DPoP, [oauth.customFetch]: customFetch })
    const claims = await oauth.validateJwtAccessToken(as, sent, api.href, { requireDPoP: true, ...insecure })
    assert.equal(claims.cnf.jkt, await DPoP.calculateThumbprint())
  },

  async dpop_introspection() {
    const DPoP = await proving()
    const { access_token } = await keyedTokenFor('keyed-web', basic, DPoP, 'read')
    const { token_type, cnf } = await introspect('keyed-web', basic, access_token)
    assert.deepEqual([token_type, cnf], ['DPoP', { jkt: await DPoP.calculateThumbprint() }])
  },

  async dpop_client_credentials() {
    for (const keys of [
      await oauth.generateKeyPair('ES256'),
      await oauth.generateKeyPair('PS256'),
      await oauth.generateKeyPair('Ed25519'),
    ]) {
      const DPoP = oauth.DPoP({}, keys, remapEd25519)
      const token = await withNonce(() => clientCredentials(basic, { scope: 'read', DPoP }, 'keyed-backend'))
      assert.equal(token.token_type, 'dpop')
    }
  },

  async dpop_not_asked_for() {
    const token = await clientCredentials(basic, { scope: 'read', DPoP: await proving() })
    assert.equal(token.token_type, 'bearer')
  },

  async dpop_registration() {
    const registered = await register({
      client_name: 'Registered',
      redirect_uris: [redirectUri],
      token_endpoint_auth_method: 'none',
      dpop_bound_access_tokens: true,
    })
    assert.equal(registered.dpop_bound_access_tokens, true)
    const token = await keyedTokenFor(registered.client_id, none, await proving(), 'read')
    assert.equal(token.token_type, 'dpop')
    const answer = await authorize(registered.client_id, { scope: 'read' })
    assert.deepEqual(await oauthError(redeem(registered.client_id, none, answer)), [400, 'invalid_dpop_proof'])
  },

  async dpop_metadata() {
    const algorithms = ['ES256', 'EdDSA', 'PS256']
    assert.deepEqual(as.dpop_signing_alg_values_supported, algorithms)
    const response = await oauth.resourceDiscoveryRequest(api, insecure)
    const { dpop_signing_alg_values_supported } = await oauth.processResourceDiscoveryResponse(api, response)
    assert.deepEqual(dpop_signing_alg_values_supported, algorithms)
  },
})
