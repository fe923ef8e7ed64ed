/** Why a user's file (a configuration, a worker) can't be loaded, where in it, and what to do. */
import {spawnSync} from 'node:child_process'
import {readFileSync} from 'node:fs'
import {findPackageJSON} from 'node:module'
import {basename} from 'node:path'
import {pathToFileURL} from 'node:url'
import {inspected} from '../jobs/value.ts'

/** `FILE:LINE can't be loaded: why`, without the line where nothing tells it; and what to do, '' where nothing is known. */
export function loadError(file: string, error: unknown): {message: string; hint: string} {
  const {stack = '', message} = error instanceof Error ? error : {message: text(error)}
  const line =
    placeOfSyntax(stack) ??
    frameIn(file, stack) ??
    (error instanceof SyntaxError ? placeOfSyntax(nodeCheck(file)) : null)
  return {
    message: `${file}${line === null ? '' : `:${line}`} can't be loaded: ${message}`,
    hint: isUnknownModule(error) ? commonJsHint(file) : '',
  }
}

/** import and export are not known where they stand. */
function isUnknownModule(error: unknown): boolean {
  return error instanceof SyntaxError && /outside a module|token 'export'/.test(error.message)
}

/** For a package that says so of its files, as what `npm init` makes does. */
function commonJsHint(file: string): string {
  const manifest = findPackageJSON(pathToFileURL(file))
  if (manifest === undefined || JSON.parse(readFileSync(manifest, 'utf8')).type !== 'commonjs') return ''
  const name = basename(file).replace(/\.([jt]s)$/, '.m$1')
  return `${manifest} says "type": "commonjs": make it "module", or name the file ${name}`
}

/** Anything may be thrown. */
function text(thrown: unknown): string {
  return typeof thrown === 'string' ? thrown : inspected(thrown)
}

/** A syntax error's place is no part of its message: TypeScript's is the first line of the stack. */
function placeOfSyntax(report: string): string | null {
  return /^(?:file:|\/|[A-Z]:).*:(\d+)\n/.exec(report)?.[1] ?? null
}

/** The innermost frame of this file, for what it throws. */
function frameIn(file: string, stack: string): string | null {
  for (const name of [pathToFileURL(file).href, file]) {
    const [, frame] = stack.split(name, 2)
    const line = frame === undefined ? undefined : /^(?:\?[^:]*)?:(\d+):\d+/.exec(frame)?.[1]
    if (line !== undefined) return line
  }
  return null
}

/** JavaScript's is told only by `node --check`. */
function nodeCheck(file: string): string {
  return spawnSync(process.execPath, ['--check', file], {encoding: 'utf8'}).stderr
}
