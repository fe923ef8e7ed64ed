// A Node that has better-sqlite3 and a database open, and waits.
const Database = require('better-sqlite3')

const db = new Database(process.argv[2])
db.prepare('SELECT count(*) FROM job').get()
process.on('SIGTERM', () => process.exit(0))
setInterval(() => {}, 2 ** 30)
