/** Where a storm rages: a store of its own, and the server behind it, if there is one, which can be killed. */
import {join} from 'node:path'
import Sqlite from 'better-sqlite3'
import {createConnection} from 'mysql2/promise'
import pg from 'pg'
import {JobQueue} from '../../../src/lib/index.ts'
import {find} from '../../support/machine.ts'
import {type OwnServer, ownMysql, ownPostgres} from '../../support/own-server.ts'
import {answersPostgres} from '../../support/postgres.ts'
import {answersMysql, type NoServer, none} from '../../support/servers.ts'

export type Row = Record<string, unknown>

export const KINDS = ['SQLite', 'MySQL', 'PostgreSQL'] as const
export type Kind = (typeof KINDS)[number]

export interface Place {
  kind: Kind
  db: string
  server: OwnServer | null
  /** By a connection of its own, past jobq. */
  query(sql: string): Promise<Row[]>
  close(): Promise<void>
}

/** @param folder for the SQLite file */
export async function placeOf(kind: Kind, folder: string): Promise<Place | NoServer> {
  const place = await PLACES[kind](folder)
  if (!('missing' in place)) await JobQueue.init({db: place.db})
  return place
}

const PLACES: Record<Kind, (folder: string) => Promise<Place | NoServer>> = {
  SQLite: async folder => {
    const db = join(folder, 'jobs.db')
    return {kind: 'SQLite', db, server: null, query: async sql => sqliteRows(db, sql), close: async () => {}}
  },
  MySQL: async () => {
    const program = find('mariadbd', 'mysqld')
    if (!program) return none('MySQL', 'PATH', 'apt-get install mariadb-server')
    const server = await ownMysql(program, answersMysql)
    await mysqlRows(server.url, 'CREATE DATABASE jobs')
    const db = Object.assign(new URL(server.url), {pathname: '/jobs'}).href
    return {kind: 'MySQL', db, server, query: sql => mysqlRows(db, sql), close: () => server.stop()}
  },
  PostgreSQL: async () => {
    const program = find('postgres')
    if (!program) return none('PostgreSQL', 'PATH', 'apt-get install postgresql')
    const server = await ownPostgres(program, answersPostgres)
    await postgresRows(server.url, 'CREATE DATABASE jobs')
    const db = Object.assign(new URL(server.url), {pathname: '/jobs'}).href
    return {kind: 'PostgreSQL', db, server, query: sql => postgresRows(db, sql), close: () => server.stop()}
  },
}

function sqliteRows(db: string, sql: string): Row[] {
  const file = new Sqlite(db, {timeout: 10_000})
  try {
    const statement = file.prepare<[], Row>(sql)
    if (statement.reader) return statement.all()
    statement.run()
    return []
  } finally {
    file.close()
  }
}

async function mysqlRows(url: string, sql: string): Promise<Row[]> {
  const connection = await createConnection(url)
  try {
    const [rows] = await connection.query(sql)
    return Array.isArray(rows) ? (rows as Row[]) : []
  } finally {
    await connection.end()
  }
}

async function postgresRows(url: string, sql: string): Promise<Row[]> {
  const client = new pg.Client(url)
  client.on('error', () => {}) // its server is killed
  await client.connect()
  try {
    return (await client.query<Row>(sql)).rows
  } finally {
    await client.end()
  }
}
