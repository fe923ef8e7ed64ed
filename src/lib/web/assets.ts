/**
 * The script, the stylesheet and the icon, as files with a hash of what is in them in their names: a browser keeps them for
 * good, and asks for others when they have changed.
 */
import {createHash} from 'node:crypto'
import {readFileSync} from 'node:fs'
import {LIBRARY} from '../own-modules.ts'

const TYPES = {
  'page.css': 'text/css; charset=utf-8',
  'page.js': 'text/javascript; charset=utf-8',
  'icon.svg': 'image/svg+xml',
}
type Name = keyof typeof TYPES

interface Asset {
  path: string
  content: Buffer<ArrayBuffer>
  type: string
}

let assets: ReadonlyMap<string, Asset> | null = null

/** Below the base path. */
export function assetPath(name: Name): string {
  return all().get(name)!.path
}

/** @param file the last part of the path. @returns null if there is none of that name and hash */
export function assetOf(file: string): Response | null {
  const asset = [...all().values()].find(({path}) => path === `/assets/${file}`)
  if (!asset) return null
  const {content, type} = asset
  return new Response(content, {
    headers: {'content-type': type, 'cache-control': 'public, max-age=31536000, immutable'},
  })
}

/** Read when the first is asked for. */
function all(): ReadonlyMap<string, Asset> {
  assets ??= new Map(
    Object.entries(TYPES).map(([name, type]) => {
      const content = readFileSync(new URL(`web/assets/${name}`, LIBRARY))
      const hash = createHash('sha256').update(content).digest('hex').slice(0, 12)
      return [name, {path: `/assets/${name.replace('.', `-${hash}.`)}`, content, type}]
    }),
  )
  return assets
}
