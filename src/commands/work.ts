import {boolean, string} from '@oclif/core/flags'
import {BaseCommand} from '../lib/cli/base-command.ts'
import {ALL} from '../lib/cli/run/work-flags.ts'
import {ADMIN_PORT} from '../lib/jobs/names.ts'

export default class Work extends BaseCommand {
  static override summary = 'Work jobs: the most important first, each as soon as it is due.'
  static override description =
    `Takes jobs strictly by priority and starts them within milliseconds of their enqueueing.

A worker for FUNC is, in this order: --exec; the configuration's workers; in the workers folder FUNC.ts .mts .js .mjs .cjs, or an executable FUNC or FUNC.*. :: in a name is a folder. TypeScript and JavaScript run in child processes; an executable gets the argument on stdin and the job's facts as JOBQ_ID, JOBQ_FUNC, JOBQ_UNIQKEY, JOBQ_PRIORITY, JOBQ_RETRY_CNT and JOBQ_DB, and says by its exit status how it went: 0 completed, 100 abort, anything else failed.

TERM or INT: take no more, finish what runs, for at most --shutdown-timeout; then, or at a second signal, stop it and release the jobs. HUP: replace the children, with the workers' code and the configuration as they are now, no job interrupted. TTIN, TTOU: one of --max-workers more, one fewer. USR1: open the --log file anew.

Exits 0 when done, 5 if a job failed, 6 if none was ready for --once, 4 if the job of --job is not there, runs, or waits for others, 2 if a worker or the configuration can't be used, 130 or 143 if it was cut short.`
  static override examples = [
    {description: 'Work everything that workers/ has a worker for', command: '<%= config.bin %> work'},
    {
      description: 'Two functions, four jobs at once',
      command: '<%= config.bin %> work --abilities Notify,Thumbnail --max-workers 4',
    },
    {
      description: 'A hundred HTTP requests at once, in two processes',
      command: '<%= config.bin %> work --max-workers 2 --jobs-per-child 50',
    },
    {
      description: 'A command line as a worker',
      command: `<%= config.bin %> work --exec Notify='curl -sf -d @- http://127.0.0.1:8080/notify'`,
    },
    {
      description: 'One job, now, to see what it does',
      command: '<%= config.bin %> work --job 17 --debug',
    },
    {
      description: 'From cron: what is ready now, then stop',
      command: '<%= config.bin %> work --drain --max-time 5m',
    },
  ]
  static override bare = {abilities: ALL}
  static override flags = {
    abilities: string({
      summary: 'functions to work, with commas; bare or not given: all that a worker is found for',
      env: 'JOBQ_ABILITIES',
      helpValue: 'A,B…',
    }),
    workers: string({
      summary: 'folder of the workers; default workers/',
      env: 'JOBQ_WORKERS',
      helpValue: 'DIR',
    }),
    exec: string({summary: 'a command line for a function', multiple: true, helpValue: 'FUNC=COMMAND'}),
    once: boolean({summary: 'work one job; exit 0, 5 or 6', exclusive: ['drain']}),
    drain: boolean({summary: 'work until nothing is ready', exclusive: ['job']}),
    job: string({
      summary: 'work this job, whatever is before it, due or not, paused or not; exit 0, 5 or 4',
      helpValue: 'ID',
    }),
    'max-workers': string({
      summary: 'jobs at once, or children that have several; default 1',
      env: 'JOBQ_MAX_WORKERS',
      helpValue: 'N',
    }),
    'jobs-per-child': string({
      summary: 'jobs of modules at once in each child, for jobs that mostly wait; default 1',
      description:
        'They share a process and its event loop: one that computes keeps the others waiting, and one that has to be killed takes the process with it; the others run again. An executable always has a process of its own.',
      env: 'JOBQ_JOBS_PER_CHILD',
      helpValue: 'N',
    }),
    'min-spare-workers': string({
      summary: 'fewer idle children than this, and one more is started; default 1',
      env: 'JOBQ_MIN_SPARE_WORKERS',
      helpValue: 'N',
    }),
    'max-spare-workers': string({
      summary: 'more idle children than this, and one is ended; default --max-workers',
      env: 'JOBQ_MAX_SPARE_WORKERS',
      helpValue: 'N',
    }),
    'max-request-per-child': string({
      summary: 'replace a child after so many jobs, against leaks; 0: never; default 30 for each at once',
      env: 'JOBQ_MAX_REQUEST_PER_CHILD',
      helpValue: 'N',
    }),
    'max-child-memory': string({
      summary: 'replace a child that is larger than this after a job, such as 300M; default: any size',
      env: 'JOBQ_MAX_CHILD_MEMORY',
      helpValue: 'SIZE',
    }),
    'keep-output': string({
      summary: 'how much of what a failed attempt wrote is kept for `jobq logs`, all or none; default 16k',
      description:
        'Of workers that say nothing of it. A size up to 1M: the last so many bytes of what a failed attempt wrote; all: of every attempt, up to 1 MiB each.',
      env: 'JOBQ_KEEP_OUTPUT',
      helpValue: 'SIZE',
    }),
    prefetch: string({
      summary: 'take so many jobs more than can start, and settle together; default 0: strict priority',
      env: 'JOBQ_PREFETCH',
      helpValue: 'N',
    }),
    fair: boolean({
      summary: 'among functions of equal priority serve each in turn, so that none starves another',
      env: 'JOBQ_FAIR',
    }),
    durable: boolean({
      summary:
        'wait for the disk with each turn: no crash of a server or machine makes a job run twice for it',
      env: 'JOBQ_DURABLE',
    }),
    'work-delay': string({
      summary: 'look for jobs at least every so many seconds, whatever is noticed; default 5',
      env: 'JOBQ_WORK_DELAY',
      helpValue: 'SECONDS',
    }),
    'max-jobs': string({summary: 'end after so many jobs', env: 'JOBQ_MAX_JOBS', helpValue: 'N'}),
    'max-time': string({summary: 'end after so long', env: 'JOBQ_MAX_TIME', helpValue: 'D'}),
    'shutdown-timeout': string({
      summary: 'how long running jobs may take to finish after TERM or INT; default 30s',
      env: 'JOBQ_SHUTDOWN_TIMEOUT',
      helpValue: 'D',
    }),
    'admin-host': string({
      summary: 'address of the admin port; default 127.0.0.1',
      env: 'JOBQ_ADMIN_HOST',
      helpValue: 'H',
    }),
    'admin-port': string({
      summary: `serve the scoreboard line on this port; ${ADMIN_PORT} if only --admin-host is given`,
      description: `Who connects gets one line, a character for each job that may run at once ('.' no worker, '_' idle, 'A' working), as from Qudo::Parallel::Manager. Its default of 90000 is no TCP port: Perl cuts it to 16 bits, so its clients connect to ${ADMIN_PORT}, which works here unchanged.`,
      env: 'JOBQ_ADMIN_PORT',
      helpValue: 'P',
    }),
    log: string({
      summary: 'write the log to a file; USR1 opens it anew, for logrotate',
      env: 'JOBQ_LOG',
      helpValue: 'FILE',
    }),
    debug: boolean({summary: 'tell what the dispatcher decides', env: 'JOBQ_DEBUG_WORK'}),
  }
}
