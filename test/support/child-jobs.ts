/** Workers whose jobs are several in one process (`--jobs-per-child`), and what they note of themselves. */
import {until} from './until.ts'
import type {Workplace} from './workplace.ts'

export const worker = (body: string, settings = '') => `import {spawn} from 'node:child_process'
import {existsSync, writeFileSync, writeSync} from 'node:fs'
import {setTimeout as sleep} from 'node:timers/promises'
import {note} from './_note.mjs'
void spawn, existsSync, writeFileSync, writeSync, sleep
const here = (name: string) => process.env.HOME + '/' + name
export default {${settings} async work(job: any) {
  note({word: 'begin', id: job.id, func: job.func, pid: process.pid})
  ${body}
  note({word: 'end', id: job.id, func: job.func, pid: process.pid})
}}
`
/** Until the test has written the file that its argument names. */
export const WAITS = worker('while (!existsSync(here(job.arg))) await sleep(5)')

export interface Note {
  word: 'begin' | 'end'
  id: number
  func: string
  pid: number
}

export const noted = (site: Workplace, word: Note['word']): Note[] =>
  site.notes<Note>().filter(note => note.word === word)

export const ids = (notes: readonly Note[]): number[] => notes.map(({id}) => id)

export const pids = (notes: readonly Note[]): number[] => [...new Set(notes.map(({pid}) => pid))]

export const begun = (site: Workplace, count: number): Promise<void> =>
  until(`${count} have begun`, () => noted(site, 'begin').length >= count)
