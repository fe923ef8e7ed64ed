/**
 * Lets a user's file say `import {…} from 'jobq'`, or from a part of it, where jobq is installed globally only: what the
 * file's own folder does not resolve is this very package.
 */
import {registerHooks} from 'node:module'
import {EXTENSION, LIBRARY} from '../own-modules.ts'

const PARTS: Record<string, string> = {
  jobq: 'index',
  'jobq/opentelemetry': 'opentelemetry',
  'jobq/prometheus': 'prometheus',
  'jobq/testing': 'testing',
  'jobq/web': 'web',
}
let registered = false

export function makeJobqImportable(): void {
  if (registered) return
  registered = true
  registerHooks({
    resolve(specifier, context, nextResolve) {
      const part = Object.hasOwn(PARTS, specifier) ? PARTS[specifier] : undefined
      if (part === undefined) return nextResolve(specifier, context)
      try {
        return nextResolve(specifier, context)
      } catch {
        return {url: new URL(part + EXTENSION, LIBRARY).href, shortCircuit: true}
      }
    },
  })
}
