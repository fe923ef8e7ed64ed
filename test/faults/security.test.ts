/** What docs/security.md claims and no other test holds: whose files are, and what a worker finds in its environment. */
import assert from 'node:assert/strict'
import {lstatSync, mkdirSync, readdirSync, readlinkSync} from 'node:fs'
import {join} from 'node:path'
import {describe, test} from 'node:test'
import {Home, printed} from '../support/home.ts'
import {RUN_JS} from '../support/jobq.ts'
import {until} from '../support/until.ts'

describe('what jobq makes', {concurrency: 3}, () => {
  for (const umask of ['000', '022', '077'])
    test(`is for its user only, whatever the umask: ${umask}`, async t => {
      const home = new Home(t)
      const env = {
        NODE_COMPILE_CACHE: undefined,
        XDG_DATA_HOME: home.path('new'),
      }
      const command = ['/bin/sh', '-c', `umask ${umask}; exec "$0" "$@"`, process.execPath, RUN_JS]
      assert.deepEqual(await home.jobq(['enqueue', 'F', '--arg', '"secret"'], {env, command}), printed(1))
      const work = home.start(['work', '--exec', 'F=cat >/dev/null; stat -L -c %a:%h /dev/stdin; sleep 60'], {
        env,
        command,
      })
      await work.prints(/^600:0$|\| 600:0$/m) // the argument: a file that has no name
      const made = [
        ['new', 0o700],
        ['new/jobq', 0o700],
        ['new/jobq/jobq.db', 0o600],
        ['new/jobq/jobq.db-wal', 0o600],
        ['new/jobq/jobq.db-shm', 0o600],
        ['.cache', 0o700],
        ['.cache/jobq', 0o700],
      ] as const
      for (const [path, mode] of made) assert.equal(lstatSync(home.path(path)).mode & 0o777, mode, path)
    })

  test('a bulk that is kept in a file has none that could be opened', async t => {
    const home = new Home(t)
    mkdirSync(home.path('tmp'))
    const bulk = home.start(['enqueue', 'F', '--args-from', '-', '--db', 'jobs.db'], {
      env: {TMPDIR: home.path('tmp')},
      stdin: 'open',
    })
    const line = `"${'x'.repeat(1000)}"\n`
    for (let i = 0; i < 20; i++) bulk.child.stdin!.write(line.repeat(1000))
    const files = () => {
      const folder = `/proc/${bulk.pid}/fd`
      return readdirSync(folder).map(fd => {
        try {
          return readlinkSync(join(folder, fd))
        } catch {
          return '' // closed since
        }
      })
    }
    const isNameless = (file: string) => file.startsWith(home.path('tmp')) && file.endsWith(' (deleted)')
    await until('it is kept in a file without a name', () => files().some(isNameless))
    assert.deepEqual(readdirSync(home.path('tmp')), [])
    bulk.child.stdin!.end()
    assert.equal((await bulk.exited).stdout, '20000\n')
  })
})

test('besides what jobq work has, an executable is given these variables, and no password but in JOBQ_DB', async t => {
  const home = new Home(t)
  home.write('jobq.config.json', '{"db": "jobs.db"}')
  await home.jobq(['enqueue', 'F', '--uniqkey', 'k', '--priority', '5'])
  const {code} = await home.jobq(['work', '--once', '--exec', 'F=env -0 > found'])
  assert.equal(code, 0)
  const found = Object.fromEntries(
    home
      .read('found')
      .toString()
      .split('\0')
      .filter(Boolean)
      .map(entry => [entry.split('=', 1)[0]!, entry.slice(entry.indexOf('=') + 1)]),
  )
  const own = Object.entries(found).filter(([name]) => name.startsWith('JOBQ_'))
  assert.deepEqual(Object.fromEntries(own), {
    ...{JOBQ_DB: home.path('jobs.db'), JOBQ_ID: '1', JOBQ_FUNC: 'F', JOBQ_UNIQKEY: 'k', JOBQ_PRIORITY: '5'},
    ...{JOBQ_RETRY_CNT: '0', JOBQ_PROGRESS: '1'},
  })
})
