import {string} from '@oclif/core/flags'
import {BaseCommand} from '../lib/cli/base-command.ts'

export default class Check extends BaseCommand {
  static override summary = 'Tell a monitoring system how the queue is, in one line.'
  static override description =
    `For Nagios, Icinga, check_by_ssh and whatever else runs monitoring plugins: how many jobs are ready, how many were given up and not retried, and for how long the oldest ready one has been due. More than --max-… is CRITICAL, more than --warn-… WARNING. With --workers fewer workers are: those of every \`<%= config.bin %> work\` that this database has seen within a minute, that work --func if it is given.

Prints one line: the state, why, and behind a bar the numbers with their limits:
  JOBQ CRITICAL - 240 ready (at most 100) | ready=240;50;100;0 failed=0;;;0 age=12s;;;0
With --json: {"status":"CRITICAL","ready":240,"failed":0,"age":12}

Exits 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN: the database is out of reach, or has not answered within 2 s, a flag or a function that is not known. No other command has these.`
  static override examples = [
    {
      description: 'Critical if a job has been ready for five minutes, or one was given up',
      command: '<%= config.bin %> check --max-age 5m --max-failed 0',
    },
    {
      description: 'Critical if no `jobq work` runs anywhere, or works this function',
      command: '<%= config.bin %> check --func Notify --workers 1',
    },
    {
      description: 'One function, with a warning before',
      command: '<%= config.bin %> check --func Notify --warn-ready 50 --max-ready 500',
    },
  ]
  static override flags = {
    func: string({summary: 'only a function', helpValue: 'F'}),
    'max-age': string({summary: 'critical if the oldest ready job has been due for longer', helpValue: 'D'}),
    'max-ready': string({summary: 'critical if more jobs are ready', helpValue: 'N'}),
    'max-failed': string({summary: 'critical if more jobs were given up and not retried', helpValue: 'N'}),
    'warn-age': string({summary: 'a warning if it has been due for longer', helpValue: 'D'}),
    'warn-ready': string({summary: 'a warning if more are ready', helpValue: 'N'}),
    'warn-failed': string({summary: 'a warning if more were given up', helpValue: 'N'}),
    workers: string({
      summary: 'critical if fewer jobs can be worked at once, of --func, on all hosts',
      helpValue: 'N',
    }),
  }
}
