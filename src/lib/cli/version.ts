/** `jobq --version`. */
import {readFileSync} from 'node:fs'

/** @param root the package's folder. @returns what is printed */
export function versionText(root: string | URL, json: boolean): string {
  const file = typeof root === 'string' ? `${root}/package.json` : new URL('package.json', root)
  const {name, version} = JSON.parse(readFileSync(file, 'utf8'))
  const platform = `${process.platform}-${process.arch}`
  const text = `${name}/${version} ${platform} node-${process.version}`
  const document = {name, version, platform, node: process.version}
  return `${json ? JSON.stringify(document) : text}\n`
}

export function isVersion(word: string | undefined): boolean {
  return word === '--version' || word === '-v'
}
