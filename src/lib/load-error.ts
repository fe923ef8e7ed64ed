/** Why a user's file (a configuration, a worker) can't be loaded, where in it, and what to do. */
import {spawnSync} from 'node:child_process'
import {readFileSync} from 'node:fs'
import {findPackageJSON} from 'node:module'
import {basename} from 'node:path'
import {pathToFileURL} from 'node:url'
import {inspected} from './inspected.ts'

/** @returns `FILE:LINE can't be loaded: why`; without the line where nothing tells it */
export function loadErrorMessage(file: string, error: unknown): string {
  const {stack = '', message} = error instanceof Error ? error : {message: text(error)}
  const line =
    placeOfSyntax(stack) ??
    frameIn(file, stack) ??
    (error instanceof SyntaxError ? placeOfSyntax(nodeCheck(file)) : null)
  return `${file}${line === null ? '' : `:${line}`} can't be loaded: ${message}`
}

/** @returns what to do where its package.json says that it is no module, as what `npm init` makes does; else '' */
export function loadErrorHint(file: string, error: unknown): string {
  if (!(error instanceof SyntaxError) || !/outside a module|token 'export'/.test(error.message)) return ''
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
