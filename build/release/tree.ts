/**
 * What is installed below a prefix such as /usr or /usr/local: jobq as npm has packed it, the packages that it needs and
 * a Node.js of its own in lib/jobq, and what others look for in share.
 */
import {
  chmodSync,
  cpSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import {dirname, join} from 'node:path'
import {gzipSync} from 'node:zlib'
import {copyrightOf} from './copyright.ts'

export type Arch = (typeof ARCHS)[number]
export const ARCHS = ['x64', 'arm64'] as const

interface Parts {
  arch: Arch
  /** The unpacked package, with the node_modules that npm has made in it. */
  app: string
  /** npm's package of the Node.js for this architecture. */
  node: string
}

export function makeTree(prefix: string, {arch, app, node}: Parts): void {
  const lib = join(prefix, 'lib/jobq')
  const doc = join(prefix, 'share/doc/jobq')
  cpSync(app, lib, {recursive: true, filter: file => isRun(file.slice(app.length + 1), arch)})
  cpSync(join(node, 'bin/node'), join(lib, 'bin/node'))
  const documents = [
    'docs',
    'examples',
    'bench',
    ...readdirSync(lib).filter(name => /^[A-Z]+(\.md)?$/.test(name)),
  ]
  for (const name of documents) move(join(lib, name), join(doc, name))
  writeFileSync(join(doc, 'copyright'), copyrightOf(lib, node))
  for (const page of readdirSync(join(lib, 'dist/man')))
    put(
      join(prefix, `share/man/man1/${page}.gz`),
      gzipSync(readFileSync(join(lib, 'dist/man', page)), {level: 9}),
    )
  rmSync(join(lib, 'dist/man'), {recursive: true})
  // They are in dist as well, for `jobq completion`
  const completions = join(lib, 'dist/completion')
  for (const [name, place] of [
    ['jobq.bash', 'bash-completion/completions/jobq'],
    ['_jobq', 'zsh/site-functions/_jobq'],
    ['jobq.fish', 'fish/vendor_completions.d/jobq.fish'],
  ] as const)
    put(join(prefix, 'share', place), readFileSync(join(completions, name)))
  put(join(prefix, 'bin/jobq'), readFileSync(new URL('jobq.sh', import.meta.url)))
  chmodSync(join(prefix, 'bin/jobq'), 0o755)
}

/** Neither what npm notes for itself, nor sources and what only a compiler reads, nor other machines' addons. */
function isRun(file: string, arch: Arch): boolean {
  if (/^src\b|^node_modules\/(\.|.*\.d\.[cm]?ts$)|\.map$/.test(file)) return false
  const sqlite = /^node_modules\/better-sqlite3\/(.+)/.exec(file)?.[1]
  if (!sqlite) return true
  return (
    /^(package\.json|LICENSE|README\.md|lib\b.*|prebuilds)$/.test(sqlite) ||
    sqlite === `prebuilds/linux-${arch}.node`
  )
}

export function put(file: string, content: string | Buffer): void {
  mkdirSync(dirname(file), {recursive: true})
  writeFileSync(file, content)
}

export function move(from: string, to: string): void {
  mkdirSync(dirname(to), {recursive: true})
  renameSync(from, to)
}

/** The same for everyone who makes it: modes and times are no longer those of this machine. */
export function settle(path: string, epoch: number): void {
  const its = lstatSync(path)
  if (its.isDirectory()) for (const name of readdirSync(path)) settle(join(path, name), epoch)
  if (!its.isSymbolicLink()) chmodSync(path, its.isDirectory() || its.mode & 0o100 ? 0o755 : 0o644)
  lutimesSync(path, epoch, epoch)
}
