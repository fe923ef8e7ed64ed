/** results.md and results.json: a table of the goals, then every scenario's figures. */
import {existsSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import type {Machine} from './machine.ts'
import {median, type Series} from './measure.ts'
import type {Goal, Result} from './scenario.ts'

export interface Finished {
  name: string
  title: string
  about: string
  quick: boolean
  seconds: number
  machine: Machine
  result?: Result
  /** Why there is no result. */
  error?: string
}

const LINE_WIDTH = 110

export function readResults(folder: string): Finished[] {
  const path = join(folder, 'results.json')
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Finished[]) : []
}

export function writeResults(folder: string, results: readonly Finished[]): void {
  writeFileSync(join(folder, 'results.json'), `${JSON.stringify(results, shorter, 1)}\n`)
  writeFileSync(join(folder, 'results.md'), report(results))
}

/** A scenario for the terminal. */
export function tableOf(finished: Finished): string {
  return `${section(finished)}\n${goalTable(finished.result?.goals ?? []).join('\n')}\n`
}

function report(results: readonly Finished[]): string {
  const goals = results.flatMap(({result}) => result?.goals ?? [])
  return `# What jobq's benchmark measured

Written by \`npm run bench\`; docs/performance.md says what it means. Figures move from machine to machine, and with
whatever else runs: only ratios of medians within one scenario are worth comparing. In parentheses: least and greatest.

${machines(results)}
## Goals

${goalTable(goals).join('\n')}

![Throughput](plots/throughput.svg)
![Start-up](plots/start-up.svg)
![Latency](plots/latency.svg)
![Cost by depth](plots/depth.svg)
![Cost by priorities and functions](plots/lanes.svg)

${results.map(section).join('\n')}`
}

/** One list if all were measured alike, which a full run is. */
function machines(results: readonly Finished[]): string {
  const distinct = new Map(results.map(({machine}) => [machine.when, machine]))
  return [...distinct.values()]
    .map(({when, ...machine}) => {
      const of = results.filter(one => one.machine.when === when)
      const which = distinct.size > 1 ? ` (${of.map(({name}) => name).join(', ')})` : ''
      return `${when}${of.some(({quick}) => quick) ? ', --quick' : ''}${which}\n\n${Object.entries(machine)
        .map(([key, value]) => `- ${key}: ${value}`)
        .join('\n')}\n`
    })
    .join('\n')
}

function section({name, title, about, seconds, result, error}: Finished): string {
  const head = `## ${title}\n\n${wrapped(`\`${name}\`, ${seconds} s. ${about}`)}\n`
  if (!result) return `${head}\nNot measured: ${error}\n`
  const rows = result.series.map(series => `| ${series.name} | ${figure(series)} |`)
  const lines = [...(result.notes ?? []), ...(result.leftOut ?? []).map(line => `Left out: ${line}`)]
  return [
    head,
    '| what | median (least – greatest) |',
    '|---|---|',
    ...rows,
    '',
    ...lines.map(line => `- ${line}`),
    '',
  ]
    .join('\n')
    .replace(/\n{3,}/g, '\n\n')
}

function goalTable(goals: readonly Goal[]): string[] {
  if (goals.length === 0) return []
  return [
    '| what | goal | measured | |',
    '|---|---|---|---|',
    ...goals.map(goal => {
      const {what, ratio, range, is, bound, unit} = goal
      const spread = range ? ` (${number(range[0])} – ${number(range[1])})` : ''
      const word = isReached(goal) ? 'reached' : '**missed**'
      return `| ${what} | ${is} ${bound}${unit ? ` ${unit}` : ''} | ${number(ratio)}${unit ? ` ${unit}` : ''}${spread} | ${word} |`
    }),
  ]
}

export function isReached({ratio, is, bound}: Goal): boolean {
  return is === '<=' ? ratio <= bound : ratio >= bound
}

function figure({values, unit}: Series): string {
  const range = values.length > 1 ? ` (${number(Math.min(...values))} – ${number(Math.max(...values))})` : ''
  return `${number(median(values))} ${unit}${range}`
}

function number(value: number): string {
  if (!Number.isFinite(value)) return '–'
  const size = Math.abs(value)
  if (size >= 1000) return Math.round(Number(value.toPrecision(3))).toLocaleString('en')
  return size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(2)
}

/** More digits say nothing. */
function shorter(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value
}

function wrapped(text: string): string {
  const lines = ['']
  for (const word of text.split(/\s+/)) {
    const line = lines.at(-1)!
    if (line !== '' && line.length + word.length >= LINE_WIDTH) lines.push(word)
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`
  }
  return lines.join('\n')
}
