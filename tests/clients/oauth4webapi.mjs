// oauth4webapi, which validates all that a server answers, against the site.

import assert from 'node:assert/strict'

import * as oauth from 'oauth4webapi'

import { api, browser, issuer, redirectUri, refusal, run, secret, tools, username } from './harness.mjs'

const insecure = { [oauth.allowInsecureRequests]: true } // without TLS
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
async function redeem(client_id, auth, { answer, verifier }, { nonce, ...additionalParameters } = {}) {
  const response = await oauth.authorizationCodeGrantRequest(
    as, client(client_id), auth, answer, redirectUri, verifier, { additionalParameters, ...insecure },
  )
  const checks = nonce ? { expectedNonce: nonce, requireIdToken: true } : {}
  const token = await oauth.processAuthorizationCodeResponse(as, client(client_id), response, checks)
  if (nonce) await oauth.validateApplicationLevelSignature(as, response, insecure)
  return token
}

async function tokenFor(client_id, auth, scope, device) {
  return await redeem(client_id, auth, await authorize(client_id, { scope }), { tokenBindingId: device })
}

async function refresh(client_id, auth, { refresh_token }, additionalParameters = {}) {
  const options = { additionalParameters, ...insecure }
  const response = await oauth.refreshTokenGrantRequest(as, client(client_id), auth, refresh_token, options)
  return await oauth.processRefreshTokenResponse(as, client(client_id), response)
}

async function clientCredentials(auth, parameters = {}, client_id = 'backend') {
  const response = await oauth.clientCredentialsGrantRequest(as, client(client_id), auth, parameters, insecure)
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

const call = (token, url = api) => oauth.protectedResourceRequest(token, 'GET', url, undefined, null, insecure)

async function userInfo(client_id, { access_token }, sub) {
  const response = await oauth.userInfoRequest(as, client(client_id), access_token, insecure)
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

/** The one challenge that a client was refused with. */
async function challenge(promise) {
  const error = await refusal(promise)
  assert.ok(error instanceof oauth.WWWAuthenticateChallengeError, error.stack)
  assert.equal(error.cause.length, 1)
  return { status: error.status, scheme: error.cause[0].scheme, ...error.cause[0].parameters }
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
})
