// A Node that has better-sqlite3 and a database open, and waits; with a second word, it looks into it every so many ms.
const Database = require('better-sqlite3')

const db = new Database(process.argv[2])
const count = db.prepare('SELECT count(*) FROM job')
count.get()
process.on('SIGTERM', () => process.exit(0))
const every = Number(process.argv[3])
if (every > 0) {
  const [begin, commit] = [db.prepare('BEGIN'), db.prepare('COMMIT')]
  setInterval(() => {
    begin.run()
    count.get()
    commit.run()
  }, every)
} else setInterval(() => {}, 2 ** 30)
