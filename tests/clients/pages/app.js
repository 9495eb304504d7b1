// A public client in a browser: authorization code with PKCE, and a key that each token is bound to (RFC 9449).

import { keyPair } from './keys.js'
import * as oauth from './oauth4webapi/index.js'

const config = await fetch('config.json').then((response) => response.json())
const insecure = { [oauth.allowInsecureRequests]: true } // without TLS
const client = { client_id: 'keyed-page' }
const redirectUri = location.origin + location.pathname
const issuer = new URL(config.issuer)
const as = await oauth.processDiscoveryResponse(
  issuer,
  await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure }),
)
const DPoP = oauth.DPoP(client, await keyPair())

/** Make a request, and make it once more where the server wants its nonce in the proof. */
async function withNonce(request) {
  try {
    return await request()
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error
    return await request()
  }
}

async function signIn() {
  sessionStorage.verifier = oauth.generateRandomCodeVerifier()
  sessionStorage.state = oauth.generateRandomState()
  const url = new URL(as.authorization_endpoint)
  url.search = new URLSearchParams({
    client_id: client.client_id,
    redirect_uri: redirectUri,
    response_type: 'code',
    scope: 'read',
    code_challenge: await oauth.calculatePKCECodeChallenge(sessionStorage.verifier),
    code_challenge_method: 'S256',
    state: sessionStorage.state,
    dpop_jkt: await DPoP.calculateThumbprint(),
  })
  location.assign(url)
}

async function redeem() {
  const answer = oauth.validateAuthResponse(as, client, new URL(location.href), sessionStorage.state)
  history.replaceState(null, '', redirectUri)
  await keep(async () => {
    const response = await oauth.authorizationCodeGrantRequest(
      as, client, oauth.None(), answer, redirectUri, sessionStorage.verifier, { DPoP, ...insecure },
    )
    return await oauth.processAuthorizationCodeResponse(as, client, response)
  })
}

const refresh = () =>
  keep(async () => {
    const { refreshToken } = sessionStorage
    const response = await oauth.refreshTokenGrantRequest(as, client, oauth.None(), refreshToken, { DPoP, ...insecure })
    return await oauth.processRefreshTokenResponse(as, client, response)
  })

async function keep(request) {
  const token = await withNonce(request)
  sessionStorage.accessToken = token.access_token
  sessionStorage.refreshToken = token.refresh_token
  say(`Got a token of the type ${token.token_type}`)
}

async function call() {
  const { accessToken } = sessionStorage
  const options = { DPoP, ...insecure }
  const response = await withNonce(() =>
    oauth.protectedResourceRequest(accessToken, 'GET', new URL(config.api), undefined, null, options),
  )
  say(`Hello, ${(await response.json()).username}`)
}

const say = (text) => (document.querySelector('output').textContent = text)

for (const [id, action] of Object.entries({ 'sign-in': signIn, call, refresh })) {
  document.getElementById(id).onclick = action
}
if (new URL(location.href).searchParams.has('state')) await redeem()
else say('Ready')
