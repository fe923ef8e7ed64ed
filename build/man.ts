/**
 * The man pages: jobq(1), with what all commands share, and one for each, of its help. A text is escaped letter by letter,
 * so that what is shown is what was written: a hyphen that can be copied into a shell, a quote that is one.
 */
import {
  type Command,
  type Flag,
  HELP,
  type Manifest,
  plain,
  shownFlags,
  summaryOf,
  valueName,
} from './commands.ts'

interface Package {
  version: string
  /** Of the page, as YYYY-MM-DD; '' where nothing tells: never that of the build. */
  date: string
  /** A table of docs/commands.md: `| 0 | done |` … */
  exitStatuses: readonly (readonly [status: string, meaning: string])[]
}

/** @returns the pages by their file names */
export function manPages({commands}: Manifest, its: Package): Record<string, string> {
  const all = Object.values(commands)
  const pages = all.map(command => [`jobq-${command.id}.1`, commandPage(command, its)] as const)
  return {'jobq.1': overview(all, its), ...Object.fromEntries(pages)}
}

/** Text as roff reads it, on lines that are none of its requests. */
export function escaped(text: string): string {
  return text.replace(/[^\na-zA-Z0-9 ]/gu, escapedLetter).replace(/^ /gm, '\\& ')
}

function escapedLetter(letter: string, at: number, text: string): string {
  if (letter === '.') return /\s/.test(text[at - 1] ?? ' ') ? '\\&.' : '.'
  const named = {
    '\\': '\\e',
    '-': '\\-',
    "'": '\\(aq',
    '`': '\\(ga',
    '^': '\\(ha',
    '~': '\\(ti',
    '"': '\\(dq',
  }
  if (Object.hasOwn(named, letter)) return named[letter as keyof typeof named]
  const code = letter.codePointAt(0)!
  return code < 0x80 ? letter : `\\[u${code.toString(16).toUpperCase().padStart(4, '0')}]`
}

function overview(commands: readonly Command[], its: Package): string {
  const shared = commands.find(({flags}) => flags.db)!
  return page('jobq', its, [
    section('NAME', 'jobq \\- a job queue that a shell script can call'),
    section('SYNOPSIS', '.B jobq', `.I COMMAND`, escaped('[ARGUMENT…] [FLAG…]')),
    section(
      'DESCRIPTION',
      prose(
        'A script or an application stores jobs with `jobq enqueue`, in a SQLite file or in a MySQL, MariaDB or PostgreSQL database; `jobq work` does them, the most important first, each within milliseconds of being due.\n\nResults go to standard output, everything else to standard error. On a terminal listings are tables, elsewhere lines with tabs, and with --json one document.',
      ),
    ),
    section('COMMANDS', ...commands.map(({id, summary}) => item(bold(`jobq-${id}`, '(1)'), prose(summary)))),
    options('GLOBAL FLAGS', [...shownFlags(shared).filter(({helpGroup}) => helpGroup === 'GLOBAL'), HELP]),
    section(
      'EXIT STATUS',
      ...its.exitStatuses.map(([status, meaning]) => item(bold(status), prose(meaning))),
    ),
    environment([
      ['JOBQ_DB', 'the database, as --db names it; several with commas between'],
      ['JOBQ_CONFIG', 'the configuration file, as --config'],
      ['JOBQ_DEBUG', '1: an error shows where it came from'],
      ['NO_COLOR', 'no colours, whatever it is set to'],
      ...commands.flatMap(command => ofEnvironment(command, ` of jobq ${command.id}`)),
    ]),
    section(
      'FILES',
      item(
        escaped('$XDG_DATA_HOME/jobq/jobq.db, ~/.local/share/jobq/jobq.db'),
        prose('the default database'),
      ),
      item(
        escaped('jobq.config.ts, .mts, .js, .mjs, .json'),
        prose('the configuration, in this folder or one above'),
      ),
      item(escaped('workers/'), prose('the workers, beside the configuration or in this folder')),
    ),
    seeAlso(commands.map(({id}) => id)),
  ])
}

function commandPage(command: Command, its: Package): string {
  const {id, summary, description, args, examples = []} = command
  const flags = shownFlags(command)
  const isGlobal = ({helpGroup}: Flag) => helpGroup === 'GLOBAL'
  const paragraphs = plain(description, command).split('\n\n')
  const exits = paragraphs.filter(text => text.startsWith('Exits '))
  return page(`jobq-${id}`, its, [
    section('NAME', `${escaped(`jobq-${id}`)} \\- ${inline(plain(lowerFirst(summary)).replace(/\.$/, ''))}`),
    section('SYNOPSIS', ...synopsis(command)),
    section('DESCRIPTION', prose(paragraphs.filter(text => !exits.includes(text)).join('\n\n'))),
    section(
      'ARGUMENTS',
      ...Object.values(args).map(({name, description}) =>
        item(italic(name.toUpperCase()), prose(plain(description))),
      ),
    ),
    options(
      'FLAGS',
      flags.filter(flag => !isGlobal(flag)),
      command,
    ),
    options('GLOBAL FLAGS', [...flags.filter(isGlobal), HELP], command),
    section('EXIT STATUS', exits.length > 0 ? prose(exits.join('\n\n')) : prose('As in `jobq`(1).')),
    environment(ofEnvironment(command)),
    section(
      'EXAMPLES',
      ...examples.flatMap(({description, command: line}) => [
        '.PP',
        `${inline(plain(description))}:`,
        literal(plain(line)),
      ]),
    ),
    seeAlso([]),
  ])
}

function page(name: string, {version, date}: Package, sections: readonly string[]): string {
  const title = `.TH ${escaped(name.toUpperCase())} 1 "${date}" "jobq ${version}" "jobq"`
  return `${['.\\" Made of oclif.manifest.json by the build.', title, '.nh', '.ad l', ...sections.filter(Boolean)].join('\n')}\n`
}

/** '' without anything in it. */
function section(title: string, ...parts: string[]): string {
  const body = parts.filter(Boolean).join('\n')
  // A paragraph begins after a heading by itself
  return body && `.SH ${title}\n${body.replace(/^\.PP\n/, '')}`
}

function item(title: string, text: string): string {
  return `.TP\n${title}\n${text.replaceAll(/^\.PP$/gm, '.IP')}`
}

function synopsis(command: Command): string[] {
  const {id, usage, args, bare} = command
  if (usage)
    return usage.map((line, i) => {
      const [, ...words] = plain(line, {id: 'COMMAND'}).split(' ')
      return `${i > 0 ? '.br\n' : ''}${bold(`jobq ${id}`)} ${escaped(words.join(' '))}`
    })
  const words = Object.values(args).map(
    ({name, multiple}) => `[${italic(name.toUpperCase())}${multiple ? escaped('…') : ''}]`,
  )
  const flags = shownFlags(command).map(flag => {
    const {name, type, multiple} = flag
    if (type === 'boolean') return `[${bold(`--${name}`)}]`
    return `[${bold(`--${name}`)} ${italic(shownValue(flag, bare))}]${multiple ? escaped('…') : ''}`
  })
  return [[bold(`jobq ${id}`), ...words, ...flags].join('\n')]
}

function options(title: string, flags: readonly Flag[], {bare}: Pick<Command, 'bare'> = {bare: {}}): string {
  return section(
    title,
    ...flags.map(flag => {
      const {name, type, env, multiple, description = ''} = flag
      const text = [
        summaryOf(flag),
        flag.summary ? plain(description) : '',
        multiple ? 'May be given several times.' : '',
        env ? `Environment: ${env}.` : '',
      ]
      const value = type === 'boolean' ? '' : ` ${italic(shownValue(flag, bare))}`
      return item(
        bold(`--${name}${name === 'help' ? ', -h' : ''}`) + value,
        prose(text.filter(Boolean).map(sentence).join(' ')),
      )
    }),
  )
}

/** In brackets if it may be left out. */
function shownValue(flag: Flag, bare: Command['bare']): string {
  const name = valueName(flag)
  return Object.hasOwn(bare, flag.name) && !name.startsWith('[') ? `[${name}]` : name
}

function sentence(text: string): string {
  return /[.:!?]$/.test(text) ? text : `${text}.`
}

function ofEnvironment(command: Command, where = ''): (readonly [name: string, text: string])[] {
  return shownFlags(command).flatMap(({name, env}) => (env ? [[env, `--${name}${where}`] as const] : []))
}

function environment(variables: readonly (readonly [name: string, text: string])[]): string {
  return section('ENVIRONMENT', ...variables.map(([name, text]) => item(bold(name), prose(text))))
}

function seeAlso(ids: readonly string[]): string {
  const pages = ids.length > 0 ? ids.map(id => `jobq-${id}`) : ['jobq']
  return section('SEE ALSO', pages.map(name => bold(name, '(1)')).join(',\n'))
}

/** Paragraphs; in them, lines that begin with blanks stay as they are. */
function prose(text: string): string {
  const paragraphs = plain(text)
    .split('\n\n')
    .map(paragraph => {
      const parts: readonly string[] = paragraph.match(/(^ {2}.*\n?)+|(^(?! {2}).*\n?)+/gm) ?? []
      return parts.map(part => {
        const lines = part.replace(/\n$/, '')
        return lines.startsWith('  ') ? literal(lines.replace(/^ {2}/gm, '')) : inline(lines)
      })
    })
  return paragraphs.map(parts => parts.join('\n')).join('\n.PP\n')
}

/** What is between backquotes is bold. */
function inline(text: string): string {
  const parts = text.split('`')
  const isEven = parts.length % 2 === 0
  return breakable(
    isEven ? escaped(text) : parts.map((part, i) => (i % 2 === 1 ? bold(part) : escaped(part))).join(''),
  )
}

/** A line may end within a long document. */
function breakable(text: string): string {
  return text.replace(/,(?=\S)/g, ',\\:')
}

function literal(text: string): string {
  return `.RS 4\n.nf\n${escaped(text)}\n.fi\n.RE`
}

function bold(text: string, after = ''): string {
  return `\\fB${escaped(text)}\\fR${after}`
}

function italic(text: string): string {
  return `\\fI${escaped(text)}\\fR`
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1)
}
