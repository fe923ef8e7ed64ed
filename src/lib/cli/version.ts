/** `jobq --version`. */
import {readFileSync} from 'node:fs'

/** @param root the package's folder. @returns what is printed */
export function versionText(root: string, json: boolean): string {
  const {name, version} = JSON.parse(readFileSync(`${root}/package.json`, 'utf8'))
  const platform = `${process.platform}-${process.arch}`
  const text = `${name}/${version} ${platform} node-${process.version}`
  const document = {name, version, platform, node: process.version}
  return `${json ? JSON.stringify(document) : text}\n`
}

export function isVersion(word: string | undefined): boolean {
  return word === '--version' || word === '-v'
}
