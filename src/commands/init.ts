import {boolean} from '@oclif/core/flags'
import {BaseCommand} from '../lib/cli/base-command.ts'

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
}
