/**
 * The members of a JSON object as they were written: a value keeps its digits, its key order, its blanks and its depth,
 * all of which a parse and a stringify would lose.
 */

/** @param text valid JSON, an object @returns key and value, the value as its text; a key may come twice */
export function* jsonMembers(text: string): Generator<[key: string, value: string]> {
  let at = skipBlanks(text, text.indexOf('{') + 1)
  while (text[at] !== '}') {
    const keyEnd = stringEnd(text, at)
    const key = JSON.parse(text.slice(at, keyEnd)) as string
    const start = skipBlanks(text, text.indexOf(':', keyEnd) + 1)
    const end = valueEnd(text, start)
    yield [key, text.slice(start, end)]
    at = skipBlanks(text, end)
    if (text[at] === ',') at = skipBlanks(text, at + 1)
  }
}

function skipBlanks(text: string, from: number): number {
  let at = from
  while (text.charCodeAt(at) <= 32) at++
  return at
}

/** @param start the opening quote's place */
function stringEnd(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); ; quote = text.indexOf('"', quote + 1)) {
    let backslashes = 0
    while (text[quote - 1 - backslashes] === '\\') backslashes++
    if (backslashes % 2 === 0) return quote + 1
  }
}

function valueEnd(text: string, start: number): number {
  if (text[start] === '"') return stringEnd(text, start)
  if (text[start] === '{' || text[start] === '[') return nestedEnd(text, start)
  let at = start
  while (!/[,}\s]/.test(text[at]!)) at++
  return at
}

function nestedEnd(text: string, start: number): number {
  const marks = /["{}[\]]/g
  marks.lastIndex = start
  for (let depth = 0; ; ) {
    const {index} = marks.exec(text)!
    if (text[index] === '"') marks.lastIndex = stringEnd(text, index)
    else if (text[index] === '{' || text[index] === '[') depth++
    else if (--depth === 0) return index + 1
  }
}
