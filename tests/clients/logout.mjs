// A server-side application that is told of logouts: openid-client finds the server and its keys, and jose validates
// logout tokens with them, as openid-client has no function for that.

import { createServer } from 'node:http'

import { createRemoteJWKSet, jwtVerify } from 'jose'
import * as client from 'openid-client'

const { address, clientId } = JSON.parse(process.argv[2])

const configuration = await client.discovery(new URL('/oauth2', address), clientId, undefined, undefined, {
  execute: [client.allowInsecureRequests], // without TLS
})
const server = configuration.serverMetadata()
const keys = createRemoteJWKSet(new URL(server.jwks_uri))

const EVENT = 'http://schemas.openid.net/event/backchannel-logout'
const seen = new Set()

/** Validate a logout token (OpenID Connect Back-Channel Logout 1.0 section 2.6), and answer its claims. */
async function validate(token) {
  const { payload } = await jwtVerify(token, keys, {
    issuer: server.issuer,
    audience: clientId,
    algorithms: ['RS256'],
    typ: 'logout+jwt',
    requiredClaims: ['iat', 'exp', 'jti', 'events'],
    maxTokenAge: '2 minutes',
  })
  if (!payload.sub && !payload.sid) throw new Error('neither sub nor sid')
  if (Object.keys(payload.events).join() !== EVENT) throw new Error('another event')
  if (Object.keys(payload.events[EVENT]).length) throw new Error('the event has members')
  if ('nonce' in payload) throw new Error('a nonce')
  if (seen.has(payload.jti)) throw new Error('it was used')
  seen.add(payload.jti)
  return payload
}

async function body(request) {
  let text = ''
  for await (const piece of request.setEncoding('utf8')) text += piece
  return new URLSearchParams(text)
}

const listener = createServer(async (request, response) => {
  try {
    const claims = await validate((await body(request)).get('logout_token'))
    console.log(JSON.stringify({ claims }))
    response.writeHead(200).end()
  } catch (error) {
    console.log(JSON.stringify({ error: error.stack }))
    response.writeHead(400).end()
  }
})

listener.listen(0, '127.0.0.1', () => {
  const supported = [server.backchannel_logout_supported, server.backchannel_logout_session_supported]
  console.log(JSON.stringify({ port: listener.address().port, supported }))
})
