/**
 * The code blocks of a document. The words behind a fence say what a block is:
 *
 *   ts file=workers/Mail.ts   a file of the document's own project; without a name it still belongs to it
 *   ts run                    run when it has compiled; a `text` block behind it is what it prints
 *   console                   a session in the project's folder: `$ command`, and what that prints
 */
import {readFileSync} from 'node:fs'
import {join} from 'node:path'

export interface Block {
  language: string
  /** Its name within the document's project, or null. */
  file: string | null
  /** The other words behind the fence. */
  words: readonly string[]
  code: string
  line: number
}

const root = join(import.meta.dirname, '../..')

export function blocksOf(document: string): Block[] {
  return parseBlocks(readFileSync(join(root, document), 'utf8'))
}

export function parseBlocks(text: string): Block[] {
  return [...text.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)].map(({1: info = '', 2: code = '', index}) => {
    const [language = '', ...words] = info.split(' ').filter(word => word !== '')
    const file = words.find(word => word.startsWith('file='))?.slice('file='.length) ?? null
    const line = text.slice(0, index).split('\n').length
    return {language, file, words: words.filter(word => !word.startsWith('file=')), code, line}
  })
}

/** Blocks by indentation have no word that says what they are. */
export function indentedBlocks(text: string): number[] {
  const lines = text
    .replace(/^```[\s\S]*?^```$/gm, fenced => '\n'.repeat(fenced.split('\n').length - 1))
    .split('\n')
  return lines.flatMap((line, i) => (/^ {4}\S/.test(line) && !/^\s*([-*|]|\d+\.)/.test(line) ? [i + 1] : []))
}

export interface Exchange {
  command: string
  output: string
}

/** The commands of a console session, each with what it prints. `> ` goes on with the command before. */
export function exchangesOf(code: string): Exchange[] {
  const exchanges: Exchange[] = []
  for (const line of code.trimEnd().split('\n')) {
    const last = exchanges.at(-1)
    if (line.startsWith('$ ')) exchanges.push({command: line.slice(2), output: ''})
    else if (line.startsWith('> ') && last && last.output === '') last.command += `\n${line.slice(2)}`
    else if (last) last.output += `${line}\n`
  }
  return exchanges
}
