/** The licences of all that is shipped, in one text: jobq's, its packages', Node.js's with what that contains. */
import {globSync, readdirSync, readFileSync} from 'node:fs'
import {dirname, join} from 'node:path'

interface Package {
  name: string
  version: string
  license?: string
}

/** @throws for a package of which no licence is found */
export function copyrightOf(lib: string, node: string): string {
  const places = ['node_modules/{*,@*/*}/package.json', 'node_modules/**/node_modules/{*,@*/*}/package.json']
  const packages = globSync(places, {cwd: lib})
    .map(file => dirname(join(lib, file)))
    .sort()
  const {name, version} = read(node)
  return [
    'jobq, the packages of npm that it needs, and Node.js, which runs it. Each has its own licence, as it follows here.\n',
    part(read(lib), readFileSync(join(lib, '../../share/doc/jobq/LICENSE'), 'utf8')),
    ...packages.map(folder => part(read(folder), licenceIn(folder))),
    part({name: `Node.js (npm's ${name})`, version}, licenceIn(node)),
  ].join('\n')
}

function read(folder: string): Package {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
}

function part({name, version, license}: Package, text: string): string {
  const title = `${name} ${version}${license ? `: ${license}` : ''}`
  return `${title}\n${'='.repeat(title.length)}\n\n${text.trim()}\n`
}

/** Its files' for it, or the part of its README. */
function licenceIn(folder: string): string {
  const names = readdirSync(folder)
  const files = names.filter(name => /^(licen[cs]e|copying|notice)/i.test(name)).sort()
  if (files.length > 0) return files.map(file => readFileSync(join(folder, file), 'utf8')).join('\n')
  const readme = names.find(name => /^readme/i.test(name))
  const text = readme && /^#* *licen[cs]e\s*$(.*)/ims.exec(readFileSync(join(folder, readme), 'utf8'))?.[1]
  if (!text?.trim()) throw new Error(`expected a licence in ${folder}`)
  return text
}
