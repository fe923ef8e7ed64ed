/** The completion for fish: a line for each command, flag and argument. */
import {
  type Command,
  type Flag,
  HELP,
  type Manifest,
  plain,
  shownFlags,
  summaryOf,
  type Values,
  valuesOf,
  valuesOfArgument,
} from '../commands.ts'

export function fishCompletion({commands}: Manifest): string {
  const all = Object.values(commands)
  return `# jobq's completion for fish: jobq completion fish
function __jobq_is_first
    test (count (commandline -opc)) -eq 1
end

function __jobq_is
    set -l words (commandline -opc)
    test (count $words) -gt 1; and test $words[2] = $argv[1]
end

# COMMAND PLACE FLAG…: is that the argument at the cursor, where these flags have a value? PLACE + is any
function __jobq_is_at
    __jobq_is $argv[1]; or return
    string match -q -- '-*' (commandline -ct); and return 1
    test $argv[2] = +; and return
    set -l place 1
    set -l is_value 0
    for word in (commandline -opc)[3..]
        if test $is_value = 1
            set is_value 0
        else if contains -- $word $argv[3..]
            set is_value 1
        else if not string match -q -- '-*' $word
            set place (math $place + 1)
        end
    end
    test $place = $argv[2]
end

# Asks jobq, about the queue that the line names: a value a line, with a tab and a description behind it
function __jobq_values
    set -l words (commandline -opc)
    set -l where
    set -l flag
    for word in $words[3..]
        if test -n "$flag"
            set -a where $flag=(string replace -r '^~/' "$HOME/" -- $word)
            set flag
        else if contains -- $word --db --config
            set flag $word
        else if string match -qr -- '^--(db|config)=' $word
            set -a where (string replace -r '=~/' "=$HOME/" -- $word)
        end
    end
    set -l start (string replace -r '^--[a-z-]+=' '' -- (commandline -ct) | string unescape)
    set -l jobq (string replace -r '^~/' "$HOME/" -- $words[1])
    command $jobq completion --values $argv[1] --prefix="$start" $where 2>/dev/null </dev/null
end

complete -c jobq -f
complete -c jobq -n __jobq_is_first -l help -d 'show help'
complete -c jobq -n __jobq_is_first -l version -d 'show the version'
${all.map(({id, summary}) => `complete -c jobq -n __jobq_is_first -a ${id} -d ${quoted(plain(summary).replace(/\.$/, ''))}`).join('\n')}
${all.flatMap(command => linesOf(command, Object.keys(commands))).join('\n')}
`
}

function linesOf(command: Command, ids: readonly string[]): string[] {
  const {id, args, bare} = command
  const flags = [...shownFlags(command), HELP]
  const valued = flags.filter(({type}) => type === 'option').map(({name}) => `--${name}`)
  const start = `complete -c jobq -n '__jobq_is ${id}'`
  const ofFlag = (flag: Flag) => {
    const value =
      flag.type === 'boolean'
        ? ''
        : offered(valuesOf(flag), ids, Object.hasOwn(bare, flag.name) && valuesOf(flag) === null)
    return `${start} -l ${flag.name}${value} -d ${quoted(summaryOf(flag))}`
  }
  const arguments_ = Object.values(args).map((argument, i) => {
    const place = argument.multiple ? '+' : [i + 1, ...valued].join(' ')
    return `complete -c jobq -n '__jobq_is_at ${id} ${place}'${offered(valuesOfArgument(argument), ids, true)}`
  })
  return [...flags.map(ofFlag), ...arguments_]
}

/** @param isOptional it may be left out, or is no flag's */
function offered(values: Values, ids: readonly string[], isOptional: boolean): string {
  if (values === 'file') return `${isOptional ? '' : ' -r'} -F`
  const must = isOptional ? '' : ' -x'
  if (values === null) return must
  if (values === 'folder') return `${must} -a '(__fish_complete_directories (commandline -ct))'`
  if (values === 'command') return `${must} -a ${quoted(ids.join(' '))}`
  if (typeof values === 'string') return `${must} -k -a '(__jobq_values ${values})'`
  return `${must} -a ${quoted(values.join(' '))}`
}

function quoted(text: string): string {
  return `'${text.replace(/[\\']/g, '\\$&')}'`
}
