import {execFileSync, spawnSync} from 'node:child_process'

/** @returns what it prints; its errors are shown. @throws if it fails */
export function run(cwd: string, file: string, ...args: string[]): string {
  return execFileSync(file, args, {cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit']})
}

/** Shows what it prints. @throws if it fails, or prints what `complaint` matches */
export function examine(cwd: string, complaint: RegExp, file: string, ...args: string[]): void {
  const {status, stdout, stderr, error} = spawnSync(file, args, {cwd, encoding: 'utf8'})
  process.stderr.write(`${stdout}${stderr}`)
  if (error) throw error
  if (status !== 0 || complaint.test(stdout + stderr))
    throw new Error(`${file} ${args.join(' ')} has something to complain of`)
}
