/** A request that is not answered as it was meant, and why: an HTTP status, and one sentence for people. */
export class Refusal extends Error {
  readonly status: number
  readonly code: string
  readonly hint: string
  readonly headers: Readonly<Record<string, string>>

  constructor(
    status: number,
    code: string,
    message: string,
    {hint = '', headers = {}}: {hint?: string; headers?: Readonly<Record<string, string>>} = {},
  ) {
    super(message)
    this.status = status
    this.code = code
    this.hint = hint
    this.headers = headers
  }
}

/** An error's message and what to do about it. */
export function messageOf({message, hint}: {message: string; hint: string}): string {
  return hint ? `${message} (${hint})` : message
}
