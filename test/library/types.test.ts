/** What the compiler says of an application's calls: samples in types/, compiled as an application is, by the build's types. */
import assert from 'node:assert/strict'
import {spawnSync} from 'node:child_process'
import {mkdirSync, readFileSync, symlinkSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {describe, test} from 'node:test'
import {tempFolder} from '../support/temp.ts'

const ROOT = join(import.meta.dirname, '../..')
const EXPECTED = /^ *\/\/ @ts-expect-error.*\n/gm

describe('the types of an application', {concurrency: 2}, () => {
  for (const name of ['merged', 'open']) {
    const source = readFileSync(join(import.meta.dirname, 'types', `${name}.ts`), 'utf8')

    test(`${name}: what is right compiles, what is wrong does not`, () => {
      assert.equal(compile(join(import.meta.dirname, 'types', `tsconfig.${name}.json`)), '')
    })

    test(`${name}: each mistake is told, and nothing else`, t => {
      const folder = tempFolder(t)
      mkdirSync(join(folder, 'types'))
      writeFileSync(join(folder, 'types/sample.ts'), source.replaceAll(EXPECTED, ''))
      const options = {
        extends: join(ROOT, 'tsconfig.json'),
        compilerOptions: {
          paths: {jobq: [join(ROOT, 'dist/lib/index.d.ts')], 'jobq/*': [join(ROOT, 'dist/lib/*.d.ts')]},
        },
        include: [],
        files: ['types/sample.ts'],
      }
      symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
      writeFileSync(join(folder, 'package.json'), '{"type": "module"}')
      writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(options))
      const told = new Set(compile(join(folder, 'tsconfig.json')).match(/(?<=sample\.ts\()\d+(?=,)/g))
      const expected = source.match(EXPECTED)!.length
      assert.ok(expected > 5)
      assert.equal(told.size, expected, [...told].join())
    })
  }
})

/** @returns what the compiler says */
function compile(project: string): string {
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  const {stdout, stderr} = spawnSync(process.execPath, [tsc, '-p', project, '--pretty', 'false'], {
    encoding: 'utf8',
  })
  return stdout + stderr
}
