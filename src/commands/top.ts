import {BaseCommand} from '../lib/cli/base-command.ts'

export default class Top extends BaseCommand {
  static override enableJsonFlag = false
  static override summary =
    'Watch functions, running jobs and every `jobq work`, and act on them, on the terminal.'
  static override description =
    `A screen that is looked at anew every second: functions with their jobs, the jobs that run, where and for how long, and every \`<%= config.bin %> work\` of this database on every host. A key is for the row that is marked:
  up, down, k, j, Home, End: another row    Tab: functions, or what runs
  s: sort by the next column
  p: pause the function, or resume it
  r: retry the function's failed jobs (asks first)
  c: cancel the job that runs (asks first)
  q, Ctrl-C: end

A job without a host is worked by Perl, or was begun in the last two seconds.

It needs a terminal: scripts have \`<%= config.bin %> stats\`, \`status\` and \`list --state running\`. Exits 0 when it is ended, 2 without a terminal, 1 when the database goes out of reach.`
  static override examples = [{description: 'What goes on?', command: '<%= config.bin %> top'}]
}
