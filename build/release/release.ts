/**
 * npm run release [-- x64|arm64]: into release/, the package for npm, examined; for each architecture of Linux a .tar.gz
 * that is unpacked anywhere and a Debian package, both with a Node.js of their own, and what they contain as CycloneDX;
 * SHA256SUMS. The same source makes the same bytes: every date is SOURCE_DATE_EPOCH's, else the last commit's.
 */
import {cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {digest, makeDebian, type Package} from './debian.ts'
import {examine, run} from './run.ts'
import {sbomOf} from './sbom.ts'
import {ARCHS, makeTree, settle} from './tree.ts'

const NPM = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
const here = import.meta.dirname
const root = join(here, '../..')
const out = join(root, 'release')
const archs = ARCHS.filter(arch => process.argv.length < 3 || process.argv.includes(arch))
if (process.platform !== 'linux' || archs.length === 0) {
  process.stderr.write(`expected Linux and one of ${ARCHS.join(', ')}, or none for all\n`)
  process.exit(2)
}
process.env.SOURCE_DATE_EPOCH ??= run(root, 'git', 'log', '-1', '--format=%ct').trim()
const epoch = Number(process.env.SOURCE_DATE_EPOCH)
const its: Package = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const stage = mkdtempSync(join(tmpdir(), 'jobq-release-'))
try {
  rmSync(out, {recursive: true, force: true})
  mkdirSync(out)
  run(root, 'npm', 'pack', '--pack-destination', out, '--loglevel=error')
  const pack = join(out, `jobq-${its.version}.tgz`)
  examinePackage(pack)
  const app = installed(pack)
  for (const arch of archs) {
    const name = `jobq-${its.version}-linux-${arch}`
    const prefix = join(stage, name)
    makeTree(prefix, {arch, app, node: nodeFor(arch)})
    settle(prefix, epoch)
    say(`${name}.tar.gz`)
    archive(name)
    const deb = makeDebian(prefix, {stage: join(stage, `deb-${arch}`), out, arch, epoch, its})
    say(deb)
    writeFileSync(join(out, `${name}.cdx.json`), sbomOf(root, arch, epoch))
  }
  const files = readdirSync(out).sort()
  writeFileSync(
    join(out, 'SHA256SUMS'),
    files.map(file => `${digest(join(out, file), 'sha256')}  ${file}\n`).join(''),
  )
} finally {
  rmSync(stage, {recursive: true, force: true})
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}

/** As a registry's users would find it, in modules and in CommonJS, with each way to find types. */
function examinePackage(pack: string): void {
  run(here, 'npm', 'ci', '--omit=optional', ...NPM)
  const bin = join(here, 'node_modules/.bin')
  examine(here, /suggestion|warning/i, join(bin, 'publint'), 'run', '--strict', pack)
  examine(here, /⚠️|❌/, join(bin, 'attw'), '--profile=node16', pack)
  // A tag, since the highest version that the registry has of this name is not looked at here
  examine(root, /npm warn (?!publish .* logged in)/i, 'npm', 'publish', '--dry-run', '--tag=next', pack)
}

/** The package with what it needs, in the versions of package-lock.json. */
function installed(pack: string): string {
  run(stage, 'tar', '-xzf', pack)
  const app = join(stage, 'package')
  cpSync(join(root, 'package-lock.json'), join(app, 'package-lock.json'))
  run(app, 'npm', 'ci', '--omit=dev', '--omit=optional', ...NPM)
  rmSync(join(app, 'package-lock.json'))
  return app
}

/** npm takes the one for the named machine, whatever this one is, in the version and with the hash of the lock file. */
function nodeFor(arch: string): string {
  const folder = join(stage, `node-${arch}`)
  for (const file of ['package.json', 'package-lock.json']) cpSync(join(here, file), join(folder, file))
  run(folder, 'npm', 'ci', '--omit=dev', '--os=linux', `--cpu=${arch}`, ...NPM)
  return join(folder, `node_modules/node-linux-${arch}`)
}

function archive(name: string): void {
  const same = ['--sort=name', '--format=gnu', '--owner=0', '--group=0', '--numeric-owner']
  run(stage, 'tar', ...same, '--use-compress-program=gzip -9n', '-cf', join(out, `${name}.tar.gz`), name)
}
