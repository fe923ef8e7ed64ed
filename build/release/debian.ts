/** A Debian package of a tree, by dpkg-deb. Its scripts are in debian/. */
import {createHash} from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  globSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import {join} from 'node:path'
import {run} from './run.ts'
import {type Arch, move, put, settle} from './tree.ts'

const DEBIAN_ARCH: Record<Arch, string> = {x64: 'amd64', arm64: 'arm64'}

/**
 * What a Debian made by debootstrap has already. The addon of better-sqlite3 asks for the most: GLIBC_2.34 and
 * GLIBCXX_3.4.29.
 */
const DEPENDS = 'libc6 (>= 2.34), libgcc-s1, libstdc++6 (>= 11), passwd'

export interface Package {
  version: string
  description: string
  homepage?: string
  author?: string | {name: string; email?: string}
}

/** Moves the tree at `prefix` into a package in `out`. @returns the package's file name */
export function makeDebian(
  prefix: string,
  {stage, out, arch, epoch, its}: {stage: string; out: string; arch: Arch; epoch: number; its: Package},
): string {
  const usr = join(stage, 'usr')
  move(prefix, usr)
  // Debian knows where its Node is: no shell is needed to find it. The flag is jobq.sh's
  const entry = join(usr, 'lib/jobq/bin/run.js')
  writeFileSync(
    entry,
    readFileSync(entry, 'utf8').replace(/^#!.*/, '#!/usr/lib/jobq/bin/node --min-semi-space-size=4'),
  )
  chmodSync(entry, 0o755)
  rmSync(join(usr, 'bin/jobq'))
  symlinkSync('../lib/jobq/bin/run.js', join(usr, 'bin/jobq'))
  move(join(usr, 'share/zsh/site-functions'), join(usr, 'share/zsh/vendor-completions'))
  const unit = 'lib/systemd/system/jobq.service'
  put(join(usr, unit), readFileSync(join(usr, 'share/doc/jobq/examples/systemd/jobq.service')))
  mkdirSync(join(stage, 'etc/jobq'), {recursive: true})

  const files = globSync('{usr,etc}/**', {cwd: stage, withFileTypes: true})
    .filter(file => file.isFile())
    .map(file => join(file.parentPath, file.name))
    .sort()
  const sums = files.map(file => `${digest(file, 'md5')}  ${file.slice(stage.length + 1)}\n`)
  const size = files.reduce((sum, file) => sum + Math.ceil(lstatSync(file).size / 1024), 0)
  const version = its.version.replace('-', '~')
  put(join(stage, 'DEBIAN/control'), control(its, {version, arch, size}))
  put(join(stage, 'DEBIAN/md5sums'), sums.join(''))
  for (const script of ['postinst', 'prerm', 'postrm']) {
    copyFileSync(join(import.meta.dirname, 'debian', script), join(stage, 'DEBIAN', script))
    chmodSync(join(stage, 'DEBIAN', script), 0o755)
  }
  settle(stage, epoch)
  const name = `jobq_${version}_${DEBIAN_ARCH[arch]}.deb`
  run(out, 'dpkg-deb', '--root-owner-group', '-Zxz', '--build', stage, name)
  return name
}

export function digest(file: string, algorithm: 'md5' | 'sha256'): string {
  return createHash(algorithm).update(readFileSync(file)).digest('hex')
}

function control(
  {description, homepage, author}: Package,
  {version, arch, size}: {version: string; arch: Arch; size: number},
): string {
  const {name, email} = typeof author === 'string' ? {name: author, email: ''} : (author ?? {name: 'jobq'})
  const fields = {
    Package: 'jobq',
    Version: version,
    Architecture: DEBIAN_ARCH[arch],
    Maintainer: email ? `${name} <${email}>` : name,
    'Installed-Size': size,
    Depends: DEPENDS,
    Section: 'admin',
    Priority: 'optional',
    ...(homepage ? {Homepage: homepage} : {}),
    Description: `${description}\n Jobs are kept in a SQLite file, or in a MySQL, MariaDB or PostgreSQL database, and worked by TypeScript or\n JavaScript files or executables. The Node.js that runs them is in this package.`,
  }
  return Object.entries(fields)
    .map(([field, value]) => `${field}: ${value}\n`)
    .join('')
}
