import {boolean} from '@oclif/core/flags'
import {BaseCommand} from '../lib/cli/base-command.ts'
import {commandSettings} from '../lib/cli/command-queue.ts'
import {complain} from '../lib/cli/output-guard.ts'
import {preparationText} from '../lib/cli/run/init.ts'
import {JobQueue} from '../lib/client/queue.ts'

export default class Init extends BaseCommand {
  static override summary = "Make the schema, or add jobq's indexes and tables to one that Qudo made."
  static override description =
    `A SQLite file is prepared on first use anyway; this is for doing it beforehand, for making again an index that was lost, and for putting a job queue into a database that holds something else. Qudo's four tables stay as they are, and nothing is ever dropped. It is safe to run again, and while Qudo works on the database.

With --json:
  {"databases":[{"database":"/srv/jobs.db","made":["table func",…],"sql":["…",…]}],
   "dry_run":false}

Exits 0, also where there was nothing to do, and 1 if the database is out of reach or has tables of these names that are not Qudo's.`
  static override examples = [
    {description: 'A new queue', command: '<%= config.bin %> init --db /srv/jobs.db'},
    {
      description: 'The SQL of it, for another tool',
      command: '<%= config.bin %> init --db /srv/jobs.db --dry-run',
    },
    {
      description: 'On the database that Perl workers use',
      command: '<%= config.bin %> init --db dbi:SQLite:dbname=/srv/qudo.db',
    },
  ]
  static override flags = {
    'dry-run': boolean({summary: 'change nothing, not even make the file, and print the SQL'}),
  }

  async run(): Promise<Record<string, unknown>> {
    const {flags} = await this.parse(Init)
    const dryRun = flags['dry-run'] ?? false
    await commandSettings(flags)
    const databases = await JobQueue.init({db: flags.db, config: flags.config, dryRun})
    if (!this.jsonEnabled()) {
      const {text, notes} = preparationText(databases, dryRun)
      if (text) this.print(text)
      for (const note of notes) complain(note)
    }
    return {databases, dry_run: dryRun}
  }
}
