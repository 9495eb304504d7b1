// A page that has the texts of somebody's tokens, and a key of its own.

import { keyPair } from './keys.js'
import * as oauth from './oauth4webapi/index.js'

const { issuer, api } = await fetch('config.json').then((response) => response.json())
const insecure = { [oauth.allowInsecureRequests]: true } // without TLS

const described = ({ status, cause: [{ scheme, parameters }] }) => [status, `${scheme} ${parameters.error}`]

/** Call the API, and again with the nonce that it asks for; return what it says. */
async function call(accessToken, options, again = true) {
  try {
    const request = [accessToken, 'GET', new URL(api), undefined, null, { ...options, ...insecure }]
    return [(await oauth.protectedResourceRequest(...request)).status]
  } catch (error) {
    if (again && oauth.isDPoPNonceError(error)) return await call(accessToken, options, false)
    if (error instanceof oauth.WWWAuthenticateChallengeError) return described(error)
    throw error
  }
}

async function refresh(refreshToken) {
  const as = { issuer, token_endpoint: `${issuer}/token/` }
  const client = { client_id: 'keyed-page' }
  const options = { DPoP: oauth.DPoP(client, await keyPair()), ...insecure }
  try {
    return (await oauth.refreshTokenGrantRequest(as, client, oauth.None(), refreshToken, options)).status
  } catch (error) {
    return error.message
  }
}

window.attempts = {
  asBearer: ({ accessToken }) => call(accessToken),
  withAnotherKey: async ({ accessToken }) => call(accessToken, { DPoP: oauth.DPoP({}, await keyPair()) }),
  atTheTokenEndpoint: ({ refreshToken }) => refresh(refreshToken),
}
