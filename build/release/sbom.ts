/**
 * What a package contains, as CycloneDX: npm's own list of what package-lock.json has, and the Node.js. Without what npm
 * makes up anew each time, a time and a number.
 */
import {createHash} from 'node:crypto'
import {readFileSync} from 'node:fs'
import {join} from 'node:path'
import {run} from './run.ts'
import type {Arch} from './tree.ts'

interface Sbom {
  serialNumber: string
  metadata: {timestamp: string; component: {name: string; 'bom-ref': string}}
  components: object[]
  dependencies: {ref: string; dependsOn: string[]}[]
}

interface Lock {
  packages: Record<string, {version: string; integrity: string}>
}

export function sbomOf(root: string, arch: Arch, epoch: number): string {
  const flags = ['--sbom-format=cyclonedx', '--omit=dev', '--package-lock-only']
  const sbom: Sbom = JSON.parse(run(root, 'npm', 'sbom', ...flags))
  const {component} = sbom.metadata
  component.name = 'jobq'
  const node = nodeOf(arch)
  sbom.components.push(node)
  sbom.dependencies.push({ref: node['bom-ref'], dependsOn: []})
  sbom.dependencies.find(({ref}) => ref === component['bom-ref'])!.dependsOn.push(node['bom-ref'])
  sbom.metadata.timestamp = new Date(epoch * 1000).toISOString()
  const digits = createHash('sha256')
    .update(JSON.stringify({...sbom, serialNumber: ''}))
    .digest('hex')
  // A UUID of version 8: of its maker's own making
  const [, a, b, c, d, e] = /^(.{8})(.{4})(.{3})(.{3})(.{12})/.exec(digits)!
  sbom.serialNumber = `urn:uuid:${a}-${b}-8${c}-8${d}-${e}`
  return `${JSON.stringify(sbom, null, 2)}\n`
}

function nodeOf(arch: Arch) {
  const name = `node-linux-${arch}`
  const lock: Lock = JSON.parse(readFileSync(join(import.meta.dirname, 'package-lock.json'), 'utf8'))
  const {version, integrity} = lock.packages[`node_modules/${name}`]!
  return {
    'bom-ref': `${name}@${version}`,
    type: 'application',
    name,
    version,
    scope: 'required',
    purl: `pkg:npm/${name}@${version}`,
    hashes: [
      {alg: 'SHA-512', content: Buffer.from(integrity.replace('sha512-', ''), 'base64').toString('hex')},
    ],
    licenses: [{license: {id: 'MIT'}}],
  }
}
