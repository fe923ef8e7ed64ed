/** `jobq enqueue --each`, a process that stays open: one line at a time through its pipe, and ten thousand at once. */
import {once} from 'node:events'
import {writeFileSync} from 'node:fs'
import {ARG, Floor, FUNC, makeDatabase} from '../lib/floor.ts'
import type {Jobq} from '../lib/jobq.ts'
import {interleave, named, perSecond, ratio} from '../lib/measure.ts'
import type {Scenario} from '../lib/scenario.ts'

const AT_ONCE = 10_000

export const stream: Scenario = {
  name: 'stream',
  title: 'Enqueueing from a coprocess',
  about: `\`jobq enqueue ${FUNC} --args-from - --each\`, open all the time: a line is written to its pipe, the id is read from
it, then comes the next line. The floor: bare inserts in one process, a commit each, with synchronous FULL. And ${AT_ONCE.toLocaleString('en')} lines
at once, the whole process with its start, beside \`--args-from\` without \`--each\`, which is one transaction.`,
  async run({jobq, folder, pick, defer}) {
    const lines = `${folder()}/lines`
    writeFileSync(lines, `${JSON.stringify(ARG)}\n`.repeat(AT_ONCE))
    const floor = new Floor(await makeDatabase(jobq, folder()), 'FULL')
    defer(() => floor.close())
    const coprocess = new Coprocess(jobq, await makeDatabase(jobq, folder()))
    defer(() => coprocess.end())
    const count = 300
    // In many short rounds, since the disk's speed changes quickly
    const oneByOne = await interleave(
      pick(80, 12),
      [
        {name: 'floor, FULL', unit: 'jobs/s', run: () => perSecond(count, () => floor.enqueue(count))},
        {
          name: 'jobq enqueue --each, line by line',
          unit: 'jobs/s',
          run: () =>
            perSecond(count, async () => {
              for (let i = 0; i < count; i++) await coprocess.ask(JSON.stringify(ARG))
            }),
        },
      ],
      5,
    )
    const whole = (name: string, ...more: string[]) => ({
      name,
      unit: 'jobs/s' as const,
      run: async () => {
        const db = await makeDatabase(jobq, folder())
        const words = ['enqueue', FUNC, '--args-from', lines, '--db', db, ...more]
        return perSecond(AT_ONCE, async () => {
          const [code] = await once(jobq.start(words, {stdio: 'ignore'}), 'exit')
          if (code !== 0) throw new Error(`exit ${code}`)
        })
      },
    })
    const together = await interleave(pick(15, 5), [
      whole(`${AT_ONCE.toLocaleString('en')} lines, --each`, '--each'),
      whole(`${AT_ONCE.toLocaleString('en')} lines, in one transaction`),
    ])
    const [each, bulk] = together as [(typeof together)[0], (typeof together)[0]]
    return {
      series: [...oneByOne, ...together],
      goals: [
        {
          what: '`enqueue --each` line by line / the floor one by one, FULL',
          ...ratio(named(oneByOne, 'jobq enqueue --each, line by line'), named(oneByOne, 'floor, FULL')),
          is: '>=',
          bound: 0.5,
        },
        {
          what: `${AT_ONCE.toLocaleString('en')} lines at once, \`--each\` / in one transaction, whole processes`,
          ...ratio(each, bulk),
          is: '>=',
          bound: 0.3,
        },
      ],
    }
  },
}

/** Who asks waits for each id. */
class Coprocess {
  readonly #child
  #heard = (_id: string) => {}

  constructor(jobq: Jobq, db: string) {
    const words = ['enqueue', FUNC, '--args-from', '-', '--each', '--db', db]
    this.#child = jobq.start(words, {stdio: ['pipe', 'pipe', 'inherit']})
    this.#child.stdout!.setEncoding('utf8').on('data', (id: string) => this.#heard(id))
  }

  ask(line: string): Promise<string> {
    return new Promise(resolve => {
      this.#heard = resolve
      this.#child.stdin!.write(`${line}\n`)
    })
  }

  async end(): Promise<void> {
    this.#child.stdin!.end()
    await once(this.#child, 'exit')
  }
}
