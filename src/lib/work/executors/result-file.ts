/**
 * Where an executable writes its result: a file without a name, which it opens as /dev/fd/N, or writes to that descriptor. It is
 * read when the process has ended.
 */
import {closeSync, fstatSync, readFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {openNameless} from '../../jobs/nameless-file.ts'
import {checkResultSize, readResult} from '../../jobs/side-tables/results.ts'

export class ResultFile {
  /** For the process; to be closed here once it has that. */
  readonly writing: number
  readonly #reading: number

  /** @throws the system's errors */
  constructor() {
    const {reading, writing} = open()
    this.#reading = reading
    this.writing = writing
  }

  /** As JSON. @throws ArgumentError */
  read(): string {
    checkResultSize(fstatSync(this.#reading).size)
    return readResult(readFileSync(this.#reading))
  }

  close(): void {
    closeSync(this.#reading)
  }
}

function open(): ReturnType<typeof openNameless> {
  try {
    return openNameless('/dev/shm')
  } catch {
    return openNameless(tmpdir())
  }
}
