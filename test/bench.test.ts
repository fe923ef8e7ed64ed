/** `npm run bench` begins by building jobq from the files that it names: those are all that a build needs. */
import assert from 'node:assert/strict'
import {spawnSync} from 'node:child_process'
import {test} from 'node:test'
import {Jobq} from '../bench/lib/jobq.ts'

test('the bench builds jobq, and can start it', async () => {
  await Jobq.build()
  const [node, ...words] = (await Jobq.built()).command
  const {status, stdout} = spawnSync(node!, [...words, '--version'], {encoding: 'utf8'})
  assert.equal(status, 0)
  assert.match(stdout, /^jobq\/\d/)
})
