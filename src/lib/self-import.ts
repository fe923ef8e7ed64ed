/**
 * Lets a user's file say `import {…} from 'jobq'` where jobq is installed globally only: what the file's own folder
 * does not resolve is this very package.
 */
import {registerHooks} from 'node:module'

const index = new URL(import.meta.url.endsWith('.ts') ? './index.ts' : './index.js', import.meta.url).href
let registered = false

export function makeJobqImportable(): void {
  if (registered) return
  registered = true
  registerHooks({
    resolve(specifier, context, nextResolve) {
      if (specifier !== 'jobq') return nextResolve(specifier, context)
      try {
        return nextResolve(specifier, context)
      } catch {
        return {url: index, shortCircuit: true}
      }
    },
  })
}
