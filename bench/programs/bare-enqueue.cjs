// The least that Node needs to do what `jobq enqueue FUNC --arg JSON` does: one durable insert, and the id on stdout.
const Database = require('better-sqlite3')

const [path, arg] = process.argv.slice(2)
JSON.parse(arg)
const db = new Database(path)
db.pragma('synchronous = FULL')
const now = Math.floor(Date.now() / 1000)
const {lastInsertRowid} = db
  .prepare(
    `INSERT INTO job (func_id, arg, uniqkey, enqueue_time, grabbed_until, run_after, retry_cnt, priority)
     VALUES ((SELECT id FROM func WHERE name = 'Bench'), ?, NULL, ?, 0, ?, 0, 0)`,
  )
  .run(arg, now, now)
db.close()
process.stdout.write(`${lastInsertRowid}\n`)
