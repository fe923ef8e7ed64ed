/** `jobq completion`, in real shells: the words at a TAB, as bash's function, zsh's line editor and fish have them. */
import assert from 'node:assert/strict'
import {execFileSync} from 'node:child_process'
import {readFileSync} from 'node:fs'
import {join} from 'node:path'
import {describe, type TestContext, test} from 'node:test'
import {Home} from './support/home.ts'
import {RUN_JS} from './support/jobq.ts'
import {assertRefused, usage} from './support/refusal.ts'
import type {Started} from './support/started.ts'

const SCRIPTS = join(RUN_JS, '../../dist/completion')
const manifest = JSON.parse(readFileSync(join(RUN_JS, '../../oclif.manifest.json'), 'utf8')) as {
  commands: Record<string, {flags: Record<string, {hidden?: boolean}>}>
}
const COMMANDS = Object.keys(manifest.commands)
const FUNCS = ['Notify', 'MyApp::Worker::Image', 'Two Words', '$(touch pwned)', "it's", 'a\u001b[31m']
const STATES = ['delayed', 'ready', 'running', 'waiting']

/** Jobs 1 to 6 in jobs.db, the first of which has failed, and jobq in PATH. */
async function site(t: TestContext): Promise<{home: Home; env: Record<string, string>}> {
  const home = new Home(t)
  for (const func of FUNCS) assert.equal((await home.call(['enqueue', func, '--db', 'jobs.db'])).code, 0)
  const failing = ['work', '--drain', '--exec', 'Notify=exit 3', '--db', 'jobs.db']
  assert.equal((await home.jobq(failing)).code, 5)
  home.write('bin/jobq', `#!/bin/sh\nexec '${process.execPath}' '${RUN_JS}' "$@"\n`)
  execFileSync('chmod', ['+x', home.path('bin/jobq')])
  home.write('funcs/x', '')
  return {home, env: {PATH: `${home.path('bin')}:${process.env.PATH}`, JOBQ_DB: home.path('jobs.db')}}
}

/** What is offered, in order of the alphabet. */
const OFFERED: [line: string, offered: readonly string[]][] = [
  ['jobq wor', ['work']],
  ['jobq ', COMMANDS],
  ['jobq list --state ', STATES],
  ['jobq list --state r', ['ready', 'running']],
  ['jobq list --func No', ['Notify']],
  ['jobq enqueue MyApp::Wo', ['MyApp::Worker::Image']],
  ['jobq show ', ['1', '2', '3', '4', '5', '6']],
  ['jobq show 3 4', ['4']],
  ['jobq cancel --all --func Two', ['Two Words']],
  ['jobq retry ', ['1']],
  ['jobq retry --job ', ['1', '2', '3', '4', '5', '6']],
  ['jobq retry 1 --pri', ['--priority']],
  ['jobq work --max-j', ['--max-jobs']],
  ['jobq work --abilities Notify,My', ['Notify,MyApp::Worker::Image']],
  ['jobq work --abilities --onc', ['--once']],
  ['jobq work --workers f', ['funcs/']],
  ['jobq enqueue Notify ', []],
  ['jobq enqueue --priority 5 No', ['Notify']],
  ['jobq list --db none.db --func ', []],
  ['jobq help wo', ['work']],
  ['jobq completion ', ['bash', 'fish', 'zsh']],
  ['jobq nonsense ', []],
]

describe('bash', {concurrency: 2}, () => {
  test('is offered by the function', async t => {
    const {home, env} = await site(t)
    const script = home.write('offered.bash', BASH)
    const offered = shellOutput(['bash', '--norc', script, ...OFFERED.map(([line]) => line)], {home, env})
    for (const [i, [line, expected]] of OFFERED.entries()) {
      // From behind the colon that was typed last, since that is where bash's word begins
      const cut = /[^ ]*:|$/.exec(line)![0]
      assert.deepEqual(
        sorted(offered[i]!.map(word => word.replaceAll(/\\(?=.)/g, ''))),
        sorted(expected.map(word => word.slice(cut.length).replace(/\/$/, ''))),
        line,
      )
    }
    assert.ok(!Object.keys(home.files()).includes('pwned'))
  })

  test('a TAB completes the line', async t => {
    const bash = await terminal(t, {
      command: ['bash', '--norc', '--noprofile', '-i'],
      start: `PS1=; source ${SCRIPTS}/jobq.bash; bind -x '"\\C-xs": echo "[[$READLINE_LINE]]"'`,
    })
    await bash.tab('jobq wor', 'jobq work ')
    await bash.tab('jobq list --sta', 'jobq list --state ')
    await bash.tab('jobq list --state del', 'jobq list --state delayed ')
    await bash.tab('jobq list --state=del', 'jobq list --state=delayed ')
    await bash.tab('jobq enqueue MyApp::W', 'jobq enqueue MyApp::Worker::Image ')
    await bash.tab('jobq list --func=MyA', 'jobq list --func=MyApp::Worker::Image ')
    await bash.tab('jobq enqueue Two', 'jobq enqueue Two\\ Words ')
    await bash.tab("jobq enqueue 'Two", "jobq enqueue 'Two Words' ")
    await bash.tab('jobq enqueue \\$', 'jobq enqueue \\$\\(touch\\ pwned\\) ')
    await bash.tab('jobq enqueue F --arg-file fun', 'jobq enqueue F --arg-file funcs/')
    await bash.tab('jobq work --workers fun', 'jobq work --workers funcs/')
    await bash.tab('JOBQ_DB=x jobq show --d', 'JOBQ_DB=x jobq show --db ')
  })
})

describe('zsh', () => {
  test('a TAB completes the line, and shows what there is', async t => {
    const zsh = await terminal(t, {
      command: ['zsh', '-f', '-i'],
      start: `PS1=; fpath=(${SCRIPTS} $fpath); autoload -Uz compinit; compinit -u -D
        show() print -r -- "[[$BUFFER]]"; zle -N show; bindkey '^Xs' show`,
    })
    await zsh.tab('jobq wor', 'jobq work ')
    await zsh.tab('jobq list --sta', 'jobq list --state=')
    await zsh.tab('jobq list --state del', 'jobq list --state delayed ')
    await zsh.tab('jobq list --state=del', 'jobq list --state=delayed ')
    await zsh.tab('jobq enqueue MyApp::W', 'jobq enqueue MyApp::Worker::Image ')
    await zsh.tab('jobq pause MyApp', 'jobq pause MyApp::Worker::Image ')
    await zsh.tab('jobq pause F MyApp::W', 'jobq pause F MyApp::Worker::Image ')
    await zsh.tab('jobq list --func Two', 'jobq list --func Two\\ Words ')
    await zsh.tab('jobq enqueue \\$', 'jobq enqueue \\$\\(touch\\ pwned\\) ')
    await zsh.tab('jobq work --abilities Notify,My', 'jobq work --abilities Notify,MyApp::Worker::Image ')
    await zsh.tab('jobq retry ', 'jobq retry 1 ')
    await zsh.tab('jobq list --db none.db --func No', 'jobq list --db none.db --func No')
    await zsh.tab('jobq enqueue F --arg-file fun', 'jobq enqueue F --arg-file funcs/')
    await zsh.tab('jobq help wo', 'jobq help work ')
    await zsh.tab('jobq list --fin', 'jobq list --finished ')
    await zsh.shows('jobq work --max-', /--max-jobs +-- end after so many jobs/)
    await zsh.shows('jobq show ', /2 {2}-- MyApp::Worker::Image ready/)
  })

  test('sourced, too', async t => {
    const zsh = await terminal(t, {
      command: ['zsh', '-f', '-i'],
      start: `PS1=; autoload -Uz compinit; compinit -u -D; source <(jobq completion zsh)
        show() print -r -- "[[$BUFFER]]"; zle -N show; bindkey '^Xs' show`,
    })
    await zsh.tab('jobq wor', 'jobq work ')
    await zsh.tab('jobq enqueue No', 'jobq enqueue Notify ')
  })
})

describe('fish', () => {
  test('is offered, with a summary', async t => {
    const {home, env} = await site(t)
    const script = `source ${SCRIPTS}/jobq.fish
      for line in $argv; complete -C $line; echo END; end`
    const lines = [...OFFERED.map(([line]) => line), 'jobq show ', 'jobq work --max-j']
    const offered = shellOutput(['fish', '--no-config', '-c', script, ...lines], {home, env})
    for (const [i, [line, expected]] of OFFERED.entries()) {
      // fish also offers what only has the letters: those that begin so come first, and are what counts here
      if (line.includes('--abilities --')) continue // to fish that is its value
      const word = /[^ ]*$/.exec(line)![0]
      const starting = offered[i]!.map(text => text.split('\t')[0]!).filter(text => text.startsWith(word))
      assert.deepEqual(sorted(starting), sorted(expected), line)
    }
    assert.ok(offered.at(-2)!.includes('2\tMyApp::Worker::Image ready'))
    assert.deepEqual(offered.at(-1), ['--max-jobs\tend after so many jobs'])
    assert.ok(!Object.keys(home.files()).includes('pwned'))
  })
})

describe('jobq completion', {concurrency: 4}, () => {
  for (const [shell, file] of [
    ['bash', 'jobq.bash'],
    ['zsh', '_jobq'],
    ['fish', 'jobq.fish'],
  ] as const)
    test(`${shell}: a script that it can read, with every command and flag`, async t => {
      const home = new Home(t)
      const {code, stdout, stderr} = await home.jobq(['completion', shell])
      assert.deepEqual([code, stderr, stdout], [0, '', readFileSync(join(SCRIPTS, file), 'utf8')])
      execFileSync(shell, ['-n', home.write('script', stdout)])
      for (const [id, {flags}] of Object.entries(manifest.commands)) {
        assert.match(stdout, new RegExp(`\\b${id}\\b`))
        for (const [flag, {hidden = false}] of Object.entries(flags))
          assert.ok(hidden || new RegExp(`--${flag}\\b|-l ${flag}\\b`).test(stdout), flag)
      }
      const document = await home.call(['completion', shell, '--json'])
      assert.deepEqual(JSON.parse(document.stdout), {shell, script: stdout})
    })

  test('without a shell, and for another one: which there are, and where each is kept', async t => {
    const says = [
      'expected a shell, got none',
      '~/.bashrc',
      '~/.zfunc/_jobq',
      '~/.config/fish/completions/jobq.fish',
    ]
    await assertRefused(new Home(t), ['completion'], usage(...says))
    const other = ['SHELL: expected one of bash, zsh, fish, got "fihs"', 'did you mean fish?']
    await assertRefused(new Home(t), ['completion', 'fihs'], usage(...other))
  })

  test('values: nothing that a terminal would obey; of a million ids, fifty', async t => {
    const {home} = await site(t)
    const values = async (...words: string[]) =>
      (await home.call(['completion', '--db', 'jobs.db', '--values', ...words])).stdout
        .split('\n')
        .slice(0, -1)
    assert.deepEqual(await values('func'), sorted(FUNCS.slice(0, -1)))
    home.write('lines', '\n'.repeat(300))
    await home.call(['enqueue', 'Notify', '--db', 'jobs.db', '--args-from', 'lines', '--serializer', 'none'])
    assert.equal((await values('id')).length, 50)
    const ids = await values('id', '--prefix', '12')
    assert.deepEqual(
      sorted(ids.map(line => line.split('\t')[0]!)),
      sorted(['12', ...Array.from({length: 10}, (_, i) => `12${i}`)]),
    )
  })

  test('values where something is wrong: none, and no message; no database is made', async t => {
    const home = new Home(t)
    home.write('broken.db', 'no database'.repeat(1000))
    home.write('bad.json', '{')
    const before = home.files()
    for (const words of [
      ['--db', 'none.db'],
      ['--db', 'broken.db'],
      ['--db', 'nonsense://x'],
      ['--config', 'bad.json'],
      ['--db', 'postgres://u@127.0.0.1:1/d'],
    ])
      for (const kind of ['func', 'id', 'exception', 'func-list']) {
        const {stdout, stderr, code} = await home.call(['completion', '--values', kind, ...words])
        assert.deepEqual([stdout, stderr, code], ['', '', 0], words.join(' '))
      }
    assert.deepEqual(home.files(), before)
  })
})

/** Runs the function for each line that it is given, as bash would call it; prints what it offers, then END. */
const BASH = `
source '${SCRIPTS}/jobq.bash'
complete -p jobq >/dev/null || exit
COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
for COMP_LINE; do
  COMP_POINT=\${#COMP_LINE}
  # At blanks, and before and after : and =, as bash breaks the line
  broken=$(sed -E 's/([:=]+)/ \\1 /g' <<<"$COMP_LINE")
  read -ra COMP_WORDS <<<"$broken"
  [[ $COMP_LINE == *' ' ]] && COMP_WORDS+=('')
  COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
  _jobq
  ((\${#COMPREPLY[@]})) && printf '%s\\n' "\${COMPREPLY[@]}"
  echo END
done
`

function shellOutput(
  [command = '', ...words]: readonly string[],
  {home, env}: {home: Home; env: Record<string, string>},
): string[][] {
  const output = execFileSync(command, words, {
    cwd: home.folder,
    encoding: 'utf8',
    env: {HOME: home.folder, TERM: 'dumb', LANG: 'C.UTF-8', ...env},
  })
  const parts = output.split('END\n').slice(0, -1)
  return parts.map(part => part.split('\n').slice(0, -1))
}

interface Terminal {
  /** Types a line and a TAB: expects the line that becomes of it. */
  tab(typed: string, line: string): Promise<void>
  shows(typed: string, pattern: RegExp): Promise<void>
}

/** A shell on a terminal, in which Ctrl-X s prints the line in [[ ]]. */
async function terminal(
  t: TestContext,
  {command, start}: {command: string[]; start: string},
): Promise<Terminal> {
  const {home, env} = await site(t)
  const shell: Started = home.start([], {
    command,
    env: {...env, LANG: 'C.UTF-8'},
    tty: 'all',
    stdin: 'open',
    columns: 200,
  })
  const write = (text: string) => shell.child.stdin!.write(text)
  write(`${start}\necho rea''dy\n`)
  await shell.prints(/^ready/m)
  const type = (typed: string) => {
    shell.stdout = ''
    write(`${typed}\t`)
  }
  return {
    async tab(typed, line) {
      type(typed)
      write('\x18s')
      const [, found] = await shell.prints(/\[\[(.*)\]\]/)
      write('\x15')
      assert.equal(found, line)
    },
    async shows(typed, pattern) {
      type(typed)
      await shell.prints(pattern)
      write('\x15')
    },
  }
}

function sorted(words: readonly string[]): string[] {
  return [...words].sort()
}
