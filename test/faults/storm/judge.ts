/**
 * The oracle: what must be in the database, by what the processes wrote outside of it.
 *
 *  - Each acknowledged job is completed, or has failed for good with an exception that says why; once.
 *  - What was refused never ran; what was not acknowledged is there whole or not at all.
 *  - A job begins again only if its run failed, or who ran it was killed before its end was settled.
 *  - exception_log and job_status have a row for each attempt that counts; job and what travels beside it are empty.
 *    (jobq_death is swept with the next death.)
 */
import assert from 'node:assert/strict'
import {grouped, type Kill, type Offer, type Run, type Story, type Told} from './journal.ts'
import type {Place, Row} from './place.ts'
import {MAX_RETRIES} from './workers.ts'

export interface Verdict {
  kills: Record<string, number>
  /** Jobs: acknowledged, refused, of unknown fate, and of these stored all the same. */
  acknowledged: number
  refused: number
  unknown: number
  storedUnacknowledged: number
  runs: number
  /** Runs that began again after one that a kill had ended, and of these those that only the server's kill explains. */
  again: number
  againByServer: number
  exceptions: number
  /** Jobs that failed with their third death. */
  buried: number
}

/**
 * A server that is killed may take back what it did in the last second (asynchronous commits), and what a turn took
 * before may start some time later: docs/servers.md, "What can run twice".
 */
const TAKEN_BACK_MS = 1500
const WAITED_MS = 2000
const BURIED = /^its worker died 3 times: 1\. .*; 2\. .*; 3\. .*$/

/** A job in the database's logs. */
interface Ends {
  messages: string[]
  completed: number
  failed: number
}

interface Token {
  name: string
  func: 'Mod' | 'Exec'
  runs: readonly Run[]
  ends: Ends
}

/**
 * @param isDurable whether all worked with --durable: then a killed server takes nothing back
 * @throws AssertionError for the first promise that is broken
 */
export async function judge(story: Story, place: Place, isDurable = false): Promise<Verdict> {
  assert.deepEqual(story.strange, [], 'lines that no one should have written')
  await checkTables(place)
  const ends = await endsOf(place)
  const clock = new Clock(story, isDurable)
  const tokenOf = (name: string, func: string): Token => ({
    name,
    func: func as 'Mod' | 'Exec',
    runs: story.runs.get(name) ?? [],
    ends: ends.get(name) ?? {messages: [], completed: 0, failed: 0},
  })
  const verdict: Verdict = {
    kills: counted(story.kills),
    acknowledged: 0,
    refused: 0,
    unknown: 0,
    storedUnacknowledged: 0,
    runs: [...story.runs.values()].flat().length,
    again: 0,
    againByServer: 0,
    exceptions: 0,
    buried: 0,
  }
  const known = new Set<string>()
  const ids = new Map<number, string>()
  const look = (token: Token, before: readonly Run[] = []): boolean => {
    known.add(token.name)
    if (isAbsent(token)) return false
    checkIds(token, before, clock)
    checkToken(token, story, clock, verdict)
    for (const {id} of token.runs.slice(0, 1)) {
      assert.equal(ids.get(id) ?? token.name, token.name, `job ${id} is two`)
      ids.set(id, token.name)
    }
    const then = tokenOf(`${token.name}.then`, 'Mod')
    const isReplaced = token.ends.completed === 1 && token.runs.at(-1)!.outcome === 'replaced'
    assert.equal(
      !isAbsent(then),
      isReplaced,
      `${then.name} is there if ${token.name} was replaced, and not else`,
    )
    if (isReplaced) look(then, token.runs)
    return true
  }
  for (const [name, offer] of story.offers) {
    const tokens = offer.tokens.map(token => tokenOf(token, offer.func))
    const there = tokens.filter(token => look(token))
    checkOffer(name, offer, tokens, there, verdict)
  }
  for (const name of new Set([...story.runs.keys(), ...ends.keys()]))
    assert.ok(known.has(name), `${name} was never enqueued`)
  checkKeys(story)
  return verdict
}

function isAbsent({runs, ends}: Token): boolean {
  return runs.length === 0 && ends.messages.length === 0 && ends.completed === 0
}

// ---- what was enqueued

function checkOffer(
  name: string,
  {fate, id}: Offer,
  all: readonly Token[],
  there: readonly Token[],
  verdict: Verdict,
): void {
  const size = all.length
  if (fate === 'stored') {
    verdict.acknowledged += size
    assert.equal(
      there.length,
      size,
      `${name}: ${size} jobs were acknowledged, ${size - there.length} are lost`,
    )
    const [run] = all[0]!.runs
    if (id !== null && run) assert.equal(run.id, id, `${name} has another id than was printed`)
  } else if (fate === null || fate === 'UNCERTAIN') {
    verdict.unknown += size
    verdict.storedUnacknowledged += there.length
    assert.ok(there.length === 0 || there.length === size, `${name}: half of ${size} jobs was stored`)
  } else {
    verdict.refused += size
    assert.equal(there.length, 0, `${name} was refused (${fate}), and stored`)
  }
}

/** While one with a key is there, no other is. */
function checkKeys({offers, runs}: Story): void {
  const byKey = new Map<string, Run[][]>()
  for (const {key, tokens} of offers.values()) {
    const list = runs.get(tokens[0]!)
    if (key !== null && list) grouped(byKey, key).push(list)
  }
  for (const [key, lists] of byKey) {
    const inOrder = lists.sort((a, b) => a[0]!.at - b[0]!.at)
    for (const [i, list] of inOrder.slice(1).entries())
      assert.ok(inOrder[i]!.at(-1)!.at < list[0]!.at, `two jobs with the key ${key} at once`)
  }
}

// ---- what ran

/**
 * A token is one job. Only a replacement is stored again, with what it replaces, where a killed server has taken back that
 * end of the job before it.
 */
function checkIds({name, runs}: Token, before: readonly Run[], clock: Clock): void {
  for (const [i, next] of runs.slice(1).entries()) {
    const run = runs[i]!
    if (next.id === run.id) continue
    const made = before.findLast(({at, outcome}) => outcome === 'replaced' && at < run.at)
    assert.ok(made && clock.isTakenBack(made), `${name} was stored twice, as ${run.id} and ${next.id}`)
  }
}

function checkToken(token: Token, story: Story, clock: Clock, verdict: Verdict): void {
  const {name, runs, ends} = token
  for (const [i, next] of runs.slice(1).entries()) {
    const told = story.told.get(runs[i]!.id) ?? []
    checkAgain(name, runs[i]!, next, told, clock, verdict)
  }
  checkEnds(token, clock)
  verdict.exceptions += ends.messages.length
  if (ends.messages.some(message => BURIED.test(message))) verdict.buried++
}

function checkAgain(
  name: string,
  run: Run,
  next: Run,
  told: readonly Told[],
  clock: Clock,
  verdict: Verdict,
): void {
  const settled = told.find(
    ({at, outcome}) => at > run.at && at < next.at && /completed|replaced/.test(outcome),
  )
  const isOver = run.end !== null && run.end < next.at
  const isKilled = clock.isKilled(run)
  if (run.outcome === 'failed' && isOver) return
  verdict.again++
  if (isKilled && !settled && (isOver || run.end === null)) return
  verdict.againByServer++
  assert.ok(
    clock.isTakenBack(run),
    `${name} (job ${run.id}) began again at line ${next.at}: the run of line ${run.at}
    had ${settled ? `been settled at line ${settled.at}` : isKilled ? 'gone on' : 'not been killed'}`,
  )
}

/** Exceptions and statuses are those of the attempts that count. */
function checkEnds({name, func, runs, ends}: Token, clock: Clock): void {
  const {messages, completed, failed} = ends
  assert.ok(completed <= 1, `${name} was completed ${completed} times`)
  const buried = messages.filter(message => BURIED.test(message))
  // Who finds the last lease run out does not know whether the worker wants a status
  const silent = buried.filter(message => /3\. its lease ran out/.test(message))
  assert.equal(failed, messages.length - silent.length, `${name}: as many failed statuses as exceptions`)
  const own = messages.length - buried.length
  if (completed === 0) {
    assert.ok(messages.length > 0, `${name} has neither been completed nor failed`)
    // A killed server may take back the row of an attempt, and the job's next end is the last all the same
    const takenBack = runs.filter(run => run.outcome === 'failed' && clock.isTakenBack(run)).length
    const wanted = MAX_RETRIES[func] + 1
    const isSpent = own <= wanted && own + takenBack >= wanted
    assert.ok(buried.length === 1 || isSpent, `${name} is gone after ${own} failed attempts`)
  } else assert.ok(buried.length === 0, `${name} was completed after it had failed for good`)
  const isDisturbed = (run: Run) => clock.isTakenBack(run) || clock.isKilled(run)
  const least = runs.filter(run => run.outcome === 'failed' && !isDisturbed(run)).length
  const most = runs.filter(run => run.outcome === 'failed' || (func === 'Exec' && clock.isKilled(run))).length
  assert.ok(least <= own && own <= most, `${name}: ${own} exceptions for ${least} to ${most} failed attempts`)
  const deaths = runs.filter(run => run.end === null && clock.isKilled(run) && !clock.isTakenBack(run))
  if (func === 'Mod') assert.ok(deaths.length <= 3, `${name} has died ${deaths.length} times`)
}

/** Who was killed when. */
class Clock {
  readonly #story: Story
  readonly #servers: {from: number; to: number}[]

  constructor(story: Story, isDurable: boolean) {
    this.#story = story
    const servers = isDurable ? [] : story.kills.filter(({what}) => what === 'server')
    this.#servers = servers.map(({from, to}) => ({from: this.#ms(from), to: this.#ms(to)}))
  }

  /**
   * Was who ran it killed after it had begun, or its dispatcher? What that one has handed out may begin a moment later,
   * before the guardian ends it.
   */
  isKilled({at, pid, parent}: Run): boolean {
    const {kills, dispatchers} = this.#story
    const started = dispatchers.findLast(dispatcher => dispatcher.pid === parent && dispatcher.at < at)
    if (!started) return true // an orphan, whose parent is gone
    return kills.some(
      ({what, pid: victim, to}) =>
        (what === 'child' && victim === pid && to > at) ||
        (what === 'dispatcher' && victim === parent && to > started.at),
    )
  }

  /** May a killed server have taken back that it was taken, or how it ended? */
  isTakenBack({at, end}: Run): boolean {
    const [begun, ended] = [this.#ms(at), end === null ? Infinity : this.#ms(end)]
    return this.#servers.some(({from, to}) => to > begun - WAITED_MS && from < ended + TAKEN_BACK_MS)
  }

  /** When a line was written, as near as the ticks tell. */
  #ms(at: number): number {
    const {ticks} = this.#story
    let [low, high] = [0, ticks.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (ticks[middle]!.at < at) low = middle + 1
      else high = middle
    }
    return ticks[Math.min(low, ticks.length - 1)]?.ms ?? 0
  }
}

// ---- what the database says

async function checkTables({kind, query}: Place): Promise<void> {
  for (const table of ['job', 'jobq_context', 'jobq_wait'])
    assert.deepEqual(await query(`SELECT * FROM ${table}`), [], `${table} is empty in the end`)
  if (kind === 'SQLite') assert.deepEqual(await query('PRAGMA integrity_check'), [{integrity_check: 'ok'}])
}

async function endsOf({query}: Place): Promise<Map<string, Ends>> {
  const ends = new Map<string, Ends>()
  const of = ({arg}: Row) => {
    const [name = ''] = JSON.parse(String(arg)).split(' ')
    const own = ends.get(name) ?? {messages: [], completed: 0, failed: 0}
    ends.set(name, own)
    return own
  }
  for (const row of await query('SELECT arg, message FROM exception_log ORDER BY id'))
    of(row).messages.push(String(row.message))
  for (const row of await query('SELECT arg, status FROM job_status ORDER BY id'))
    of(row)[row.status as 'completed' | 'failed']++
  return ends
}

function counted(kills: readonly Kill[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const {what} of kills) counts[what] = (counts[what] ?? 0) + 1
  return counts
}
