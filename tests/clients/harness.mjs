// What both clients have in common: the site, its user in a browser, and the flows' reports.

const { address, redirectUri, secret, username, password } = JSON.parse(process.argv[2])

export { redirectUri, secret, username }
export const issuer = new URL('/oauth2', address)
export const api = new URL('/api/me/', address)
export const tools = new URL('/mcp', address)

// Every request of the client is noted, so that none is left out unseen.
const send = globalThis.fetch
let sent = []
globalThis.fetch = async (url, options) => {
  const response = await send(url, options)
  sent.push(`${options?.method ?? 'GET'} ${new URL(url).pathname} ${response.status}`)
  return response
}

/** Run the flows one after the other, and print a line of JSON for each. */
export async function run(flows) {
  for (const [flow, steps] of Object.entries(flows)) {
    sent = []
    let error = null
    try {
      await steps()
    } catch (raised) {
      error = [raised.stack, raised.cause && JSON.stringify(raised.cause), raised.cause?.stack].join('\n')
    }
    console.log(JSON.stringify({ flow, requests: sent, error }))
  }
}

/** The browser of the site's user. */
class Browser {
  #cookies = new Map()

  /** Follow an authorization request to where the user, having decided, is sent back to. */
  async authorize(url, { allow = true } = {}) {
    const page = await this.#openSignedIn(url)
    return page.location ?? (await this.#submit(page, allow ? { allow: 'Authorize' } : {})).location
  }

  /** Enter the code that a device shows, and accept or deny the device. */
  async decideOnDevice({ verification_uri, user_code }, action) {
    const page = await this.#openSignedIn(verification_uri)
    const question = await this.#submit(page, { user_code })
    await this.#submit(await this.#open(question.location), { action })
  }

  /** Follow a logout request, and answer whether the user is still signed in. */
  async logOut(url) {
    await this.#submit(await this.#openSignedIn(url), { allow: 'Logout' })
    return (await this.#open(new URL('/oauth2/devices/', address))).location === null
  }

  async #openSignedIn(url) {
    if (!this.#cookies.has('sessionid')) {
      const page = await this.#open(new URL('/accounts/login/', address))
      await this.#submit(page, { username, password })
      if (!this.#cookies.has('sessionid')) throw new Error('The user was not signed in.')
    }
    return await this.#open(url)
  }

  async #open(url, form) {
    const response = await send(url, {
      method: form ? 'POST' : 'GET',
      body: form && new URLSearchParams(form),
      headers: { cookie: [...this.#cookies].map((pair) => pair.join('=')).join('; ') },
      redirect: 'manual',
    })
    for (const cookie of response.headers.getSetCookie()) {
      const [, name, value] = cookie.match(/^([^=]+)=([^;]*)/)
      this.#cookies.set(name, value)
    }
    const text = await response.text()
    if (response.status >= 400) throw new Error(`${url} answered ${response.status}: ${text}`)
    const location = response.headers.get('location')
    return { url, text, location: location && new URL(location, url) }
  }

  async #submit({ url, text }, filledIn) {
    const form = {}
    for (const [input] of text.matchAll(/<input[^>]*type="hidden"[^>]*>/g)) {
      form[input.match(/name="([^"]*)"/)[1]] = unescape(input.match(/value="([^"]*)"/)?.[1] ?? '')
    }
    return await this.#open(url, { ...form, ...filledIn })
  }
}

const ENTITIES = { '&amp;': '&', '&quot;': '"', '&#x27;': "'", '&lt;': '<', '&gt;': '>' }
const unescape = (text) => text.replace(/&(amp|quot|#x27|lt|gt);/g, (entity) => ENTITIES[entity])

export const browser = new Browser()

/** Return what a promise is rejected with. */
export async function refusal(promise) {
  let answer
  try {
    answer = await promise
  } catch (error) {
    return error
  }
  throw new Error(`Not refused, but answered ${JSON.stringify(answer)}`)
}
