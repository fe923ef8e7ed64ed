import {boolean, string} from '@oclif/core/flags'
import {BaseCommand} from '../lib/cli/base-command.ts'

export default class Web extends BaseCommand {
  static override summary =
    'Serve a page for people: what waits, what fails and why, what runs; and act on it.'
  static override description =
    `One process, no set-up. It prints its address when it listens, and serves until INT or TERM.

Pages: functions with their counts and rates, jobs by function, state, key, argument and time, a job with its attempts and its output while it runs, failures in groups that are alike, workers on every host, schedules, pauses, and a log of what was done from here. Actions: cancel, retry, priority, pause, resume, run a schedule; on one job, on some, or on all that match.

On 127.0.0.1 it needs no token: from elsewhere use \`ssh -L 8321:127.0.0.1:8321 HOST\`. Beyond this machine it starts only with one, in JOBQ_WEB_TOKEN or a file that --token-file names.

For machines: each page is JSON with \`Accept: application/json\`, as the command that shows the same has it; POST /jobs enqueues one, with \`Authorization: Bearer TOKEN\`; /metrics is \`stats --prometheus\`; /healthz is 503 while the database is out of reach.

With --json: {"url":"http://127.0.0.1:8321"} when it listens.

Exits 0 when it is ended, 1 if it can't listen or the database is out of reach at the start, 2 for a bad flag.`
  static override examples = [
    {description: 'For this machine', command: '<%= config.bin %> web'},
    {
      description: 'For a network, by a token',
      command:
        '<%= config.bin %> web --host 0.0.0.0 --token-file /etc/jobq/token --allow-host jobs.example.com',
    },
    {
      description: 'Only to look, below a path of a proxy',
      command: '<%= config.bin %> web --read-only --base-path /jobq --allow-host www.example.com',
    },
  ]
  static override flags = {
    host: string({summary: 'address to listen on; default 127.0.0.1', env: 'JOBQ_WEB_HOST', helpValue: 'H'}),
    port: string({
      summary: 'port to listen on; 0: any that is free; default 8321',
      env: 'JOBQ_WEB_PORT',
      helpValue: 'P',
    }),
    'base-path': string({
      summary: 'path that a proxy has it at, such as /jobq; default the root',
      env: 'JOBQ_WEB_BASE_PATH',
      helpValue: 'PATH',
    }),
    'read-only': boolean({summary: 'refuse every action', env: 'JOBQ_WEB_READ_ONLY'}),
    'token-file': string({
      summary: 'file with the token that lets people and programs in; also the variable JOBQ_WEB_TOKEN',
      env: 'JOBQ_WEB_TOKEN_FILE',
      helpValue: 'FILE',
    }),
    'allow-host': string({
      summary: 'names by which browsers may know it besides localhost, with commas',
      env: 'JOBQ_WEB_ALLOW_HOST',
      helpValue: 'A,B…',
    }),
    'user-header': string({
      summary: 'header in which a proxy says who asks, such as X-Forwarded-User: for the log of actions',
      description: 'Only behind a proxy that sets it itself: whoever can send it is believed.',
      env: 'JOBQ_WEB_USER_HEADER',
      helpValue: 'NAME',
    }),
    'public-metrics': boolean({summary: 'serve /metrics without a token', env: 'JOBQ_WEB_PUBLIC_METRICS'}),
  }
}
