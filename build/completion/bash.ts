/**
 * The completion for bash, 3.2 or later, without the package bash-completion. A table of the commands, and code that knows
 * none of them. Nothing that is on the line, or a name in the database, is ever evaluated: so no `compgen -W`.
 */
import {
  type Command,
  HELP,
  type Manifest,
  shownFlags,
  valuesOf,
  valuesOfArgument,
  valuesWord,
} from '../commands.ts'

export function bashCompletion({commands}: Manifest): string {
  const all = Object.values(commands)
  return `# jobq's completion for bash: jobq completion bash
_jobq() {
  local IFS=$' \\t\\n' command names='${all.map(({id}) => id).join(' ')}'
  local flags='' takes='' bare='' args='' many=''
  local words=() cur where=() kind='' flag at=0 candidates=() word i
  COMPREPLY=()
  _jobq_words
  if ((\${#words[@]} == 1)); then
    candidates=($names)
    [[ $cur == -* ]] && candidates=(--help --version)
    _jobq_reply
    return
  fi
  command=\${words[1]}
  case $command in
${all.map(row).join('\n')}
  *) return ;;
  esac
  # Up to the word at the cursor: which argument it is, or of which flag the value; and which queue the line is about
  for ((i = 2; i < \${#words[@]}; i++)); do
    word=\${words[i]}
    if [[ $kind && ! ($bare == *" $flag "* && $word == -*) ]]; then
      [[ $flag == --db || $flag == --config ]] && where+=("$flag=$(_jobq_plain "$word")")
      kind=''
      continue
    fi
    kind=''
    case $word in
    --*=*)
      [[ $word == --db=* || $word == --config=* ]] && where+=("\${word%%=*}=$(_jobq_plain "\${word#*=}")")
      ;;
    -*)
      flag=$word
      kind=$(_jobq_taken "$flag")
      ;;
    *) ((at++)) ;;
    esac
  done
  if [[ $kind && ! ($bare == *" $flag "* && $cur == -*) ]]; then
    _jobq_of "$kind"
  elif [[ $cur == --*=* ]]; then
    kind=$(_jobq_taken "\${cur%%=*}")
    cur=\${cur#*=}
    [[ $kind ]] && _jobq_of "$kind"
  elif [[ $cur == -* ]]; then
    candidates=($flags)
    _jobq_reply
  elif [[ $args ]]; then
    args=($args)
    if ((at < \${#args[@]})); then
      _jobq_of "\${args[at]}"
    elif [[ $many ]]; then
      _jobq_of "\${args[\${#args[@]} - 1]}"
    fi
  fi
}

# Into words and cur the line up to the cursor. bash breaks words at : and =, which functions and --flag=value have
_jobq_words() {
  local rest=\${COMP_LINE:0:COMP_POINT} word i
  for ((i = 0; i <= COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if ((i > 0)) && [[ $rest == "\${rest#[[:blank:]]}" ]]; then
      words[\${#words[@]} - 1]+=$word
    else
      words+=("$word")
    fi
    rest=\${rest#"\${rest%%[![:blank:]]*}"}
    if [[ $word == "$rest"* ]]; then # the cursor is in it
      word=\${words[\${#words[@]} - 1]}
      words[\${#words[@]} - 1]=\${word:0:\${#word} - \${#COMP_WORDS[i]} + \${#rest}}
      break
    fi
    rest=\${rest#"$word"}
  done
  i=$((\${#words[@]} - 1))
  cur=\${words[i]}
  unset "words[i]"
}

# What the value of a flag is; nothing of one that has none
_jobq_taken() {
  local pair
  for pair in $takes; do
    [[ $pair == "$1":* ]] && printf '%s' "\${pair#*:}"
  done
}

_jobq_of() {
  local IFS=$'\\n' line
  case $1 in
  -) ;;
  =*)
    IFS='|'
    candidates=(\${1#=})
    IFS=$' \\t\\n'
    _jobq_reply
    ;;
  command)
    IFS=' '
    candidates=($names)
    _jobq_reply
    ;;
  file) compopt -o default 2>/dev/null || COMPREPLY=($(compgen -f -- "$cur")) ;;
  folder) compopt -o dirnames 2>/dev/null || COMPREPLY=($(compgen -d -- "$cur")) ;;
  *)
    while IFS= read -r line; do
      candidates+=("\${line%%$'\\t'*}")
    done < <("$(_jobq_plain "\${words[0]}")" completion --values "$1" --prefix="$(_jobq_plain "$cur")" \${where[@]+"\${where[@]}"} 2>/dev/null </dev/null)
    _jobq_reply
    ;;
  esac
}

# The candidates that begin as the word does, from behind its last colon where bash takes that for a new word
_jobq_reply() {
  local start candidate cut=''
  start=$(_jobq_plain "$cur")
  [[ $cur != [\\'\\"]* && $cur == *:* && $COMP_WORDBREAKS == *:* ]] && cut=\${start%"\${start##*:}"}
  for candidate in \${candidates[@]+"\${candidates[@]}"}; do
    [[ $candidate == "$start"* ]] || continue
    candidate=\${candidate#"$cut"}
    if [[ $cur != [\\'\\"]* ]]; then
      printf -v candidate %q "$candidate"
      candidate=\${candidate//\\\\,/,}
    fi
    COMPREPLY+=("$candidate")
  done
}

# A word without its quotes; a variable in it stays one
_jobq_plain() {
  local word=$1
  [[ $word == '~/'* ]] && word=$HOME\${word#'~'}
  word=\${word//[\\\\\\'\\"]/}
  printf '%s' "$word"
}

complete -F _jobq jobq
`
}

function row(command: Command): string {
  const {id, args, bare} = command
  const flags = [...shownFlags(command), HELP]
  const values = Object.values(args)
  const taking = flags.filter(({type}) => type === 'option')
  const parts = {
    flags: flags.map(({name}) => `--${name}`),
    takes: taking.map(flag => `--${flag.name}:${valuesWord(valuesOf(flag))}`),
    bare: Object.keys(bare).length > 0 ? ['', ...Object.keys(bare).map(name => `--${name}`), ''] : [],
    args: values.map(argument => valuesWord(valuesOfArgument(argument))),
    many: values.some(({multiple}) => multiple) ? ['1'] : [],
  }
  const set = Object.entries(parts).filter(([, words]) => words.length > 0)
  return `  ${id})
${set.map(([name, words]) => `    ${name}='${words.join(' ')}'`).join('\n')}
    ;;`
}
