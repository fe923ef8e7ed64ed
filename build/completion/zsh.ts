/** The completion for zsh: what _arguments needs to know of each command. */
import {
  type Argument,
  type Command,
  type Flag,
  HELP,
  type Manifest,
  plain,
  shownFlags,
  summaryOf,
  type Values,
  valueName,
  valuesOf,
  valuesOfArgument,
} from '../commands.ts'

export function zshCompletion({commands}: Manifest): string {
  const all = Object.values(commands)
  return `#compdef jobq
# jobq's completion for zsh: jobq completion zsh
_jobq() {
  local -a commands
  commands=(
${all.map(({id, summary}) => `    ${quoted(`${id}:${plain(summary).replace(/\.$/, '')}`)}`).join('\n')}
  )
  if ((CURRENT == 2)); then
    if [[ $PREFIX == -* ]]; then
      compadd -- --help --version
    else
      _describe -t commands command commands
    fi
    return
  fi
  # Of the line: how jobq was called, and which queue it is about
  local jobq=\${(Q)words[1]} word flag
  local -a where
  for word in "\${(@)words[3,CURRENT-1]}"; do
    if [[ -n $flag ]]; then
      where+=("$flag=\${\${(Q)word}/#\\~\\//$HOME/}")
      flag=
    elif [[ $word == --(db|config) ]]; then
      flag=$word
    elif [[ $word == --(db|config)=* ]]; then
      where+=("\${word%%=*}=\${\${(Q)word#*=}/#\\~\\//$HOME/}")
    fi
  done
  local command=$words[2]
  local curcontext="\${curcontext%:*:*}:jobq-$command:"
  shift words
  ((CURRENT--))
  case $command in
${all.map(caseOf).join('\n')}
  esac
}

# Asks jobq: a value a line, with a tab and a description behind it
_jobq_values() {
  local line
  local -a values shown
  for line in "\${(@f)$("\${jobq/#\\~\\//$HOME/}" completion --values $1 --prefix="\${(Q)PREFIX}" $where 2>/dev/null </dev/null)}"; do
    [[ -n $line ]] || continue
    values+=("\${line%%$'\\t'*}")
    shown+=("\${line/$'\\t'/  -- }")
  done
  ((\${#values})) || return 1
  compadd -V jobq -l -d shown -a -- values
}

_jobq_commands() {
  _describe -t commands command commands
}

if [[ $funcstack[1] == _jobq ]]; then
  _jobq "$@"
else
  compdef _jobq jobq
fi
`
}

function caseOf(command: Command): string {
  const flags = [...shownFlags(command), HELP].map(flag => quoted(flagSpec(flag, command)))
  const args = Object.values(command.args).map((argument, i) => quoted(argumentSpec(argument, i + 1)))
  return `  ${command.id})
    _arguments -S : \\
${[...flags, ...args].map(spec => `      ${spec}`).join(' \\\n')}
    ;;`
}

function flagSpec(flag: Flag, {bare}: Command): string {
  const {name, type, multiple, exclusive = []} = flag
  const others = exclusive.length > 0 ? `(${exclusive.map(other => `--${other}`).join(' ')})` : ''
  const summary = `[${summaryOf(flag).replace(/[\\[\]:]/g, '\\$&')}]`
  const start = multiple ? '*' : others
  if (type === 'boolean') return `${start}--${name}${summary}`
  const optional = Object.hasOwn(bare, name) ? ':' : ''
  return `${start}--${name}=${summary}:${optional}${message(valueName(flag))}:${action(valuesOf(flag))}`
}

function argumentSpec(argument: Argument, place: number): string {
  const {name, multiple} = argument
  return `${multiple ? '*' : place}:${message(name.toUpperCase())}:${action(valuesOfArgument(argument))}`
}

function action(values: Values): string {
  if (values === null) return ' '
  if (typeof values !== 'string') return `(${values.join(' ')})`
  if (values === 'file') return '_files'
  if (values === 'folder') return '_files -/'
  if (values === 'command') return ' _jobq_commands'
  return ` _jobq_values ${values}`
}

function message(text: string): string {
  return text.replace(/[\\:]/g, '\\$&')
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}
