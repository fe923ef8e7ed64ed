/**
 * A disk that loses its power. What was synced is there. Of what was done to a file since its last sync anything may be:
 * nothing, all of it, what came first, some of the writes, or some sectors of each; the file may be as long as it was, or
 * as it had become, with zeros or junk where no data came. (That a later write comes before an earlier one is the same as
 * that the earlier one is missing.) A name that was made, moved or removed is what it was or what it had become, until its
 * folder was synced.
 */
import {dirname} from 'node:path'
import type {Random} from '../support/random.ts'
import type {Change} from './recording.ts'

type Write = {kind: 'written'; offset: number; data: Buffer} | {kind: 'truncated'; length: number}
type Numbered<T> = T & {nth: number}

/** Which of what was not synced is there. */
interface Choice {
  name: string
  /** Of a change as a whole: a name, a length. */
  keeps(nth: number): boolean
  /** In bytes: each such part of a write is asked for by itself; null: a write is there or it is not. */
  sector: number | null
  /** Of a write. */
  keepsWrite(nth: number): boolean
  /** What is at a place that a file was lengthened to, where no data came; null: the file was not lengthened. */
  filler(): number | 'junk' | null
}

class File {
  /** What is synced; longer than `size` as a rule. */
  #bytes: Buffer = Buffer.alloc(0)
  #size = 0
  /** What is not, in its order. */
  #changes: Numbered<Write>[] = []
  /** Where each thread's sync that goes on has begun. */
  readonly #syncing = new Map<number, number>()

  add(change: Numbered<Write>): void {
    this.#changes.push(change)
  }

  beginSync(thread: number, nth: number): void {
    this.#syncing.set(thread, nth)
  }

  endSync(thread: number): void {
    const begun = this.#syncing.get(thread) ?? 0
    this.#syncing.delete(thread)
    const synced = this.#changes.filter(({nth}) => nth < begun)
    this.#changes = this.#changes.slice(synced.length)
    for (const change of synced) {
      if (change.kind === 'truncated') this.#resize(change.length)
      else this.#write(change.offset, change.data)
    }
  }

  get isSynced(): boolean {
    return this.#changes.length === 0
  }

  /** What of it is there after a power cut now. */
  left(choice: Choice, random: Random): Buffer {
    if (this.isSynced) return this.#bytes.subarray(0, this.#size)
    const left = new File()
    left.#write(0, this.#bytes.subarray(0, this.#size))
    for (const change of this.#changes) {
      if (change.kind === 'truncated') {
        if (choice.keeps(change.nth)) left.#resize(change.length)
        continue
      }
      const {offset, data, nth} = change
      const step = choice.sector ?? data.length
      // Sectors are those of the disk, wherever a write begins
      for (let from = 0; from < data.length; ) {
        const to = Math.min(
          data.length,
          choice.sector === null ? step : from + step - ((offset + from) % step),
        )
        if (choice.keepsWrite(nth)) left.#write(offset + from, data.subarray(from, to))
        else left.#lengthen(offset + to, choice.filler(), random)
        from = to
      }
    }
    return left.#bytes.subarray(0, left.#size)
  }

  #lengthen(size: number, filler: ReturnType<Choice['filler']>, random: Random): void {
    if (filler === null || size <= this.#size) return
    const from = this.#size
    this.#resize(size)
    for (let at = from; at < size; at++) this.#bytes[at] = filler === 'junk' ? random.below(256) : filler
  }

  #write(offset: number, data: Buffer): void {
    if (offset + data.length > this.#size) this.#resize(offset + data.length)
    data.copy(this.#bytes, offset)
  }

  #resize(size: number): void {
    if (size > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(size, 2 * this.#bytes.length))
      this.#bytes.copy(larger, 0, 0, this.#size)
      this.#bytes = larger
    }
    if (size > this.#size) this.#bytes.fill(0, this.#size, size)
    this.#size = size
  }
}

/** Names, each with the inode it leads to; null: it is gone. */
class Folder {
  readonly #names = new Map<string, bigint>()
  #changes: {nth: number; name: string; inode: bigint | null}[] = []
  readonly #syncing = new Map<number, number>()

  /** Where a name leads to now, for those who have not lost their power. */
  find(name: string): bigint | null {
    return this.#changes.findLast(change => change.name === name)?.inode ?? this.#names.get(name) ?? null
  }

  add(nth: number, name: string, inode: bigint | null): void {
    this.#changes.push({nth, name, inode})
  }

  beginSync(thread: number, nth: number): void {
    this.#syncing.set(thread, nth)
  }

  endSync(thread: number): void {
    const begun = this.#syncing.get(thread) ?? 0
    this.#syncing.delete(thread)
    for (const {nth, name, inode} of this.#changes) if (nth < begun) set(this.#names, name, inode)
    this.#changes = this.#changes.filter(({nth}) => nth >= begun)
  }

  left(choice: Choice): Map<string, bigint> {
    const names = new Map(this.#names)
    for (const {nth, name, inode} of this.#changes) if (choice.keeps(nth)) set(names, name, inode)
    return names
  }
}

function set(names: Map<string, bigint>, name: string, inode: bigint | null): void {
  if (inode === null) names.delete(name)
  else names.set(name, inode)
}

export class Disk {
  readonly #root = new Folder()
  readonly #files = new Map<bigint, File>()
  readonly #folders: Map<bigint, Folder>
  /** By its path, now. */
  readonly #paths: Map<string, Folder>
  #nth = 0

  /** @param root the inode of the folder that all is in */
  constructor(root: bigint) {
    this.#folders = new Map([[root, this.#root]])
    this.#paths = new Map([['.', this.#root]])
  }

  apply(change: Change): void {
    const nth = ++this.#nth
    switch (change.kind) {
      case 'opened':
        if (this.#folderOf(change.name).find(change.name) === change.inode) break
        this.#files.set(change.inode, new File())
        this.#name(nth, change.name, change.inode)
        break
      case 'folder made': {
        const folder = new Folder()
        this.#paths.set(change.name, folder)
        this.#folders.set(change.inode, folder)
        this.#name(nth, change.name, change.inode)
        break
      }
      case 'unlinked':
        this.#name(nth, change.name, null)
        break
      case 'renamed':
        this.#name(nth, change.name, null)
        this.#name(nth, change.to, change.inode)
        break
      case 'syncing':
        this.#at(change.inode).beginSync(change.thread, nth)
        break
      case 'synced':
        this.#at(change.inode).endSync(change.thread)
        break
      default:
        this.#files.get(change.inode)!.add({...change, nth})
    }
  }

  #name(nth: number, name: string, inode: bigint | null): void {
    this.#folderOf(name).add(nth, name, inode)
  }

  /** What is there when the power comes back, by its path; null is a folder. And how it was chosen, to be told. */
  cut(random: Random): {files: Map<string, Buffer | null>; how: string} {
    const choice = choose(random, this.#nth)
    const files = new Map<string, Buffer | null>()
    const gather = (folder: Folder) => {
      for (const [name, inode] of folder.left(choice)) {
        const inner = this.#folders.get(inode)
        files.set(name, inner ? null : this.#files.get(inode)!.left(choice, random))
        if (inner) gather(inner)
      }
    }
    gather(this.#root)
    return {files, how: choice.name}
  }

  #at(inode: bigint): File | Folder {
    return this.#files.get(inode) ?? this.#folders.get(inode)!
  }

  #folderOf(name: string): Folder {
    return this.#paths.get(dirname(name))!
  }
}

function choose(random: Random, now: number): Choice {
  const filler = () => random.pick([null, null, 0, 'junk'] as const)
  const all = (keeps: boolean) => () => keeps
  const chance = random.pick([0.1, 0.5, 0.9])
  const perhaps = () => random.chance(chance)
  const bound = now - Math.floor(random.below(40) ** 1.5)
  const upTo = (nth: number) => nth <= bound
  return random.pick<Choice>([
    {name: 'nothing', keeps: all(false), sector: null, keepsWrite: all(false), filler: () => null},
    {name: 'names only', keeps: all(true), sector: null, keepsWrite: all(false), filler},
    {name: 'all but names', keeps: all(false), sector: null, keepsWrite: all(true), filler},
    {name: 'all', keeps: all(true), sector: null, keepsWrite: all(true), filler},
    {
      name: `what came before the last ${now - bound}`,
      keeps: upTo,
      sector: null,
      keepsWrite: upTo,
      filler: () => null,
    },
    {name: `some (${chance})`, keeps: perhaps, sector: null, keepsWrite: perhaps, filler},
    {name: `some of 4096 (${chance})`, keeps: perhaps, sector: 4096, keepsWrite: perhaps, filler},
    {name: `some of 512 (${chance})`, keeps: perhaps, sector: 512, keepsWrite: perhaps, filler},
  ])
}
