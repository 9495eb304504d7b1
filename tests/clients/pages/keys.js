// The key of this browser: made once, and kept as an object that signs and that no script can read out.

import { generateKeyPair } from './oauth4webapi/index.js'

const done = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })

export async function keyPair() {
  const opening = indexedDB.open('keys')
  opening.onupgradeneeded = () => opening.result.createObjectStore('keys')
  const database = await done(opening)
  const store = (mode) => database.transaction('keys', mode).objectStore('keys')
  const kept = await done(store('readonly').get('dpop'))
  if (kept) return kept
  const made = await generateKeyPair('ES256', { extractable: false })
  await done(store('readwrite').put(made, 'dpop'))
  return made
}
