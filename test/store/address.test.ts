/** What an address is read as: URLs, files, and Perl's DSNs as its drivers read them. */
import assert from 'node:assert/strict'
import {userInfo} from 'node:os'
import {describe, type TestContext, test} from 'node:test'
import pg from 'pg'
import {UsageError} from '../../src/lib/jobs/errors.ts'
import {addressName, addressText, parseAddress, splitAddresses} from '../../src/lib/store/address.ts'
import {connectionOptions} from '../../src/lib/store/mysql/connections/address.ts'
import {configOf} from '../../src/lib/store/postgres/connections/client.ts'
import {urlsOf} from '../../src/lib/store/shared/host-list.ts'
import {timeoutsOf} from '../../src/lib/store/shared/silence.ts'

const read = (text: string) => {
  const address = parseAddress(text, '/here')
  return address.driver === 'sqlite' ? address.path : address.url
}

/** As `DBI->connect($dsn)` finds them. */
function login(t: TestContext, user?: string, password?: string): void {
  for (const [name, value] of Object.entries({DBI_USER: user, DBI_PASS: password})) {
    const before = process.env[name]
    t.after(() => setVariable(name, before))
    setVariable(name, value)
  }
}

function setVariable(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name]
  else process.env[name] = value
}

describe("Perl's DSNs", () => {
  const dsns: [dsn: string, is: string][] = [
    // DBD::mysql and DBD::MariaDB part at ; and : alike
    ['dbi:mysql:jobs', 'mysql://localhost/jobs'],
    ['dbi:mysql:jobs:db.example.com', 'mysql://db.example.com/jobs'],
    ['dbi:mysql:jobs:db.example.com:3307', 'mysql://db.example.com:3307/jobs'],
    ['DBI:mysql:jobs:db_1;port=3307', 'mysql://db_1:3307/jobs'],
    ['dbi:mysql:database=jobs:host=h', 'mysql://h/jobs'],
    ['dbi:mysql:host=h:jobs', 'mysql://h/jobs'],
    ['dbi:mysql:dbname=jobs;hostname=h;port=3307', 'mysql://h:3307/jobs'],
    ['dbi:mysql:db=jobs; host = h', 'mysql://h/jobs'],
    ['dbi:mysql:jobs:[::1]:3307', 'mysql://[::1]:3307/jobs'],
    ['dbi:mysql(RaiseError=>1):jobs:h', 'mysql://h/jobs'],
    ['dbi:MariaDB:jobs:h:3307', 'mysql://h:3307/jobs'],
    ['dbi:mysql:jobs;host=h;user=u;password=p:w/@', 'mysql://u:p%3Aw%2F%40@h/jobs'],
    ['dbi:mysql:jobs;mysql_socket=/run/my.sock', 'mysql://localhost/jobs?socket=%2Frun%2Fmy.sock'],
    ['dbi:MariaDB:jobs;mariadb_socket=/run/my.sock', 'mysql://localhost/jobs?socket=%2Frun%2Fmy.sock'],
    ['dbi:mysql:jobs:h;mysql_ssl=1;mysql_ssl_ca_file=/ca.pem', 'mysql://h/jobs?ssl=true&ssl-ca=%2Fca.pem'],
    ['dbi:mysql:jobs:h;mysql_ssl=0;mysql_enable_utf8=1', 'mysql://h/jobs'],
    // DBD::Pg hands libpq's words on, with ; for blanks
    ['dbi:Pg:dbname=jobs', 'postgres://localhost/jobs'],
    ['dbi:Pg:dbname=jobs;host=h;port=5433;user=u;password=p w', 'postgres://u:p@h:5433/jobs'],
    ["dbi:Pg:dbname=jobs;host=h;user=u;password='p w;\\'x'", "postgres://u:p%20w%3B'x@h/jobs"],
    ['dbi:Pg:dbname=jobs host=h user=u', 'postgres://u@h/jobs'],
    ["dbi:Pg: dbname = jobs ; host = 'h'; user= u ", 'postgres://u@h/jobs'],
    ['dbi:Pg:database=jobs;hostaddr=10.0.0.1', 'postgres://10.0.0.1/jobs'],
    ['dbi:Pg:db=jobs;host=::1', 'postgres://[::1]/jobs'],
    ['dbi:Pg:dbname=jobs;host=/run/pg;user=u', 'postgres://u@localhost/jobs?host=%2Frun%2Fpg'],
    ['dbi:Pg:dbname=jobs;host=h;sslmode=verify-full', 'postgres://h/jobs?sslmode=verify-full'],
    ['dbi:Pg:dbname=jobs;application_name=a', 'postgres://localhost/jobs?application_name=a'],
    ['dbi:Pg:dbname=jobs;host=h;sslmode=prefer', 'postgres://h/jobs'],
    // DBD::SQLite
    ['dbi:SQLite:jobs.db', '/here/jobs.db'],
    ['dbi:SQLite:a;b.db', '/here/a;b.db'],
    ['dbi:SQLite:dbname=jobs.db;sqlite_unicode=1', '/here/jobs.db'],
    ['dbi:SQLite:database=jobs.db', '/here/jobs.db'],
    ['dbi:SQLite:uri=file:jobs.db', '/here/jobs.db'],
    ['dbi:SQLite:uri=file:jobs.db?mode=rwc', '/here/jobs.db'],
    ['dbi:SQLite:uri=file:/data/jobs%20here.db', '/data/jobs here.db'],
    ['dbi:SQLite:uri=file:///data/jobs.db', '/data/jobs.db'],
    ['dbi:SQLite:uri=file://localhost/data/jobs.db#x', '/data/jobs.db'],
    ['dbi:SQLite:uri=jobs.db', '/here/jobs.db'],
    ['dbi:SQLite:uri=file::memory:', ':memory:'],
  ]
  for (const [dsn, is] of dsns)
    test(dsn, t => {
      login(t)
      assert.equal(read(dsn), is)
    })

  test('DBI_USER and DBI_PASS: behind the DSN on MySQL, before it on PostgreSQL, as in Perl; with a socket, too', t => {
    login(t, 'env', 'se/cret')
    for (const [dsn, is] of [
      ['dbi:mysql:jobs:h', 'mysql://env:se%2Fcret@h/jobs'],
      ['dbi:mysql:jobs:h;user=u;password=p', 'mysql://u:p@h/jobs'],
      ['dbi:mysql:jobs;mysql_socket=/s', 'mysql://env:se%2Fcret@localhost/jobs?socket=%2Fs'],
      ['dbi:Pg:dbname=jobs;host=h;user=u;password=p', 'postgres://env:se%2Fcret@h/jobs'],
      ['dbi:Pg:dbname=jobs;host=/run/pg', 'postgres://env:se%2Fcret@localhost/jobs?host=%2Frun%2Fpg'],
    ] as const)
      assert.equal(read(dsn), is)
  })

  for (const [dsn, says] of [
    ['dbi:mysql:jobs@h:3306', /^the DSN has an @ in the name of its database$/],
    ['dbi:mysql:host=h', /^the DSN names no database$/],
    ['dbi:Pg:host=h', /^the DSN names no database$/],
    ['dbi:mysql:jobs:h:port', /^the DSN has a host or a port that is none$/],
    ['dbi:mysql:jobs:a b', /^the DSN has a host or a port that is none$/],
    ['dbi:SQLite:uri=file:jobs.db?mode=ro', /^expected a SQLite file, got one with the parameter "mode"$/],
    ['dbi:SQLite:uri=file://host/jobs.db', /^expected a file: URI of a SQLite file/],
    ['dbi:SQLite:uri=file:%zz', /^expected a file: URI of a SQLite file/],
  ] as const)
    test(`${dsn}: refused`, t => {
      login(t)
      assert.throws(() => read(dsn), refusal(says))
    })
})

describe('a file', () => {
  for (const [text, path] of [
    ['jobs@host.db', '/here/jobs@host.db'],
    ['data/@team/jobs.db', '/here/data/@team/jobs.db'],
    ['a=b.db', '/here/a=b.db'],
    ['what?.db', '/here/what?.db'],
    ['x:1.db', '/here/x:1.db'],
    ['./user=1.db', '/here/user=1.db'],
    ['./mysqll://u@h/d', '/here/mysqll:/u@h/d'],
    ['../u:p@h.db', '/u:p@h.db'],
    ['/data/host=1/u:p@h.db', '/data/host=1/u:p@h.db'],
    ['sqlite:jobs.db?mode=rwc', '/here/jobs.db'],
    ['sqlite:///data/jobs.db', '/data/jobs.db'],
    ['sqlite:///data/jobs%20here.db', '/data/jobs here.db'],
    ['sqlite:100%25.db', '/here/100%.db'],
    ['sqlite:q%23.db', '/here/q#.db'],
    ['q#.db', '/here/q#.db'],
    ['100%25.db', '/here/100%25.db'],
  ] as const)
    test(text, () => assert.equal(read(text), path))

  for (const text of ['sqlite:///x.db?mode=ro', 'sqlite:x.db?mode=memory', 'sqlite:x.db?mode=rwc&mode=ro'])
    test(`${text}: refused, with the parameter that would not be obeyed`, () => {
      assert.throws(
        () => read(text),
        refusal(/got one with the parameter "mode"$/, /reads and writes the file/),
      )
    })

  for (const [text, says, hint] of [
    ['sqlite:100%.db', /got one with a % that starts no escape$/, /%25/],
    ['sqlite:///x%00y.db', /got a NUL in its name$/, /./],
    ['dbi:SQLite:uri=file:x%00y.db', /got a NUL in its name$/, /./],
    ['sqlite:///q.db#frag', /got one with a #/, /%23/],
    ['jobs.db-wal', /got "jobs\.db-wal", a name that SQLite itself takes$/, /is part of jobs\.db, /],
    ['dbi:Pg:dbname=\ud83d', /got one with half a character in it$/, /./],
    ['\udc00.db', /got one with half a character in it$/, /./],
  ] as const)
    test(`${text}: refused, with what is wrong`, () => {
      assert.throws(() => read(text), refusal(says, hint))
    })

  test('sqlite:x.db?cache=shared: refused likewise', () => {
    assert.throws(() => read('sqlite:x.db?cache=shared'), refusal(/the parameter "cache"$/))
  })

  for (const text of [
    'my_sql://u:p@h/d',
    'u:p@h/d',
    'u@h/d',
    'p@h:3306/d',
    'host=h dbname=d',
    'dbname=d',
    'user = u host = h',
    'Server=h;Database=d',
    'jobs.db?password=x',
  ])
    test(`${text} is none, but looks like the address of a server`, () => {
      const says = /^expected a database, got what looks like the address of a server$/
      assert.throws(() => read(text), refusal(says, /mysql:\/\/user:password@host\/db.*\.\/NAME/))
    })
})

describe("a server's", () => {
  for (const [text, url] of [
    ['postgres://u@/d?host=/run/pg', 'postgres://u@localhost/d?host=/run/pg'],
    ['postgresql://u:p%2F@:5433/d?host=/run/pg', 'postgresql://u:p%2F@localhost:5433/d?host=/run/pg'],
    ['postgres://:5433/d', 'postgres://localhost:5433/d'],
    ['postgres:///d?host=/run/pg', 'postgres:///d?host=/run/pg'],
    ['mysql://:p@/d?socket=/run/my.sock', 'mysql://:p@localhost/d?socket=/run/my.sock'],
    ['mysql://u@/d?socket=/run/my.sock', 'mysql://u@localhost/d?socket=/run/my.sock'],
  ] as const)
    test(`${text}, without a host`, () => assert.equal(read(text), url))

  test('a password without a user is the default user’s, in DSNs, too', t => {
    login(t)
    for (const text of ['mysql://:1@h/d', 'mysql://:1@h:3306/d', 'dbi:mysql:d:h;password=1']) {
      const {user, password, host} = connectionOptions(read(text), 'd')
      assert.deepEqual([user, password, host], ['root', '1', 'h'], text)
    }
    const {user} = new pg.Client(configOf(read('postgres://h/d')))
    for (const text of ['postgres://:1@h/d', 'dbi:Pg:dbname=d;host=h;password=1']) {
      const client = new pg.Client(configOf(read(text)))
      assert.deepEqual([client.user, client.password, client.host], [user, '1', 'h'], text)
    }
    login(t, undefined, '1')
    assert.equal(connectionOptions(read('dbi:mysql:d:h'), 'd').user, 'root')
  })

  test('without a user on PostgreSQL it is the system’s, where USER and PGUSER are not set', t => {
    for (const name of ['USER', 'PGUSER']) {
      const before = process.env[name]
      t.after(() => setVariable(name, before))
      setVariable(name, undefined)
    }
    const userOf = (text: string) => new pg.Client(configOf(read(text))).user
    for (const text of ['postgres://h/d', 'postgres:///d?host=/run/pg', 'dbi:Pg:dbname=d'])
      assert.equal(userOf(text), userInfo().username, text)
    assert.equal(userOf('postgres:///d?host=/run/pg&user=u'), 'u')
    assert.equal(userOf('postgres://u@h/d'), 'u')
    setVariable('PGUSER', 'p')
    assert.equal(userOf('postgres://h/d'), 'p')
  })

  for (const text of ['mysql://u:p/w@/d', 'postgres://u:p@w@/d', 'postgres://u:p?w@/d'])
    test(`${text}: refused, the password is cut`, () => {
      assert.throws(() => read(text), refusal(/^expected a URL of \w+, got one that can't be read$/))
    })

  const drivers = [
    ['mysql', connectionOptions, ['pwd', 'unix_socket', 'charset', 'schema']],
    ['postgres', configOf, ['pwd', 'dbname', 'target_session_attrs', 'schema']],
  ] as const
  for (const [scheme, use, names] of drivers) {
    for (const name of names)
      test(`${scheme}: the parameter ${name}, which would not be obeyed, is refused`, () => {
        const says = new RegExp(`^the address has a parameter "${name}" that would not be obeyed$`)
        assert.throws(
          () => use(`${scheme}://h/d?${name}=x`, 'h'),
          refusal(says, /known are .*connect-timeout/),
        )
      })

    test(`${scheme}: what may be a piece of a password is not repeated`, () => {
      for (const query of ['?hunter', '?hunter2=x'])
        assert.throws(
          () => use(`${scheme}://h/d${query}`, 'h'),
          refusal(/^the address has a parameter that would not be obeyed$/),
        )
    })
  }

  test('the mode of TLS on PostgreSQL is read alike in URLs and DSNs: none where the server may choose', () => {
    for (const mode of ['prefer', 'allow']) {
      for (const text of [`postgres://h/d?sslmode=${mode}`, `dbi:Pg:dbname=d;host=h;sslmode=${mode}`]) {
        const {ssl, mayTellPassword} = configOf(read(text))
        assert.deepEqual([ssl, mayTellPassword], [undefined, false], text)
      }
    }
    assert.throws(
      () => configOf('postgres://h/d?sslmode=maybe'),
      refusal(/^sslmode: expected .*got "maybe"$/),
    )
  })

  test('TLS on MySQL: a word that is none is refused, with the choices', () => {
    for (const [query, says] of [
      ['ssl-mode=bogus', /^ssl-mode: expected DISABLED, PREFERRED, .* got "bogus"$/],
      ['sslmode=bogus', /^ssl-mode: expected DISABLED/],
      ['ssl=maybe', /^ssl: expected true or false, got something else$/],
      ['ssl=on&ssl-verify=maybe', /^ssl-verify: expected true or false/],
    ] as const)
      assert.throws(() => connectionOptions(`mysql://h/d?${query}`, 'h'), refusal(says))
    const verifies = (query: string) =>
      (connectionOptions(`mysql://h/d?${query}`, 'h').ssl as {rejectUnauthorized: boolean} | undefined)
        ?.rejectUnauthorized
    for (const query of ['ssl=1', 'ssl-mode=required', 'ssl-mode=VERIFY-CA', 'sslmode=verify-full'])
      assert.equal(verifies(query), true, query)
    for (const query of [
      '',
      'ssl=',
      'ssl-mode=',
      'ssl=off',
      'ssl-mode=Preferred',
      'sslmode=allow',
      'ssl=1&sslmode=disable',
    ])
      assert.equal(verifies(query), undefined, query)
    assert.equal(verifies('ssl=yes&ssl-verify=off'), false)
  })

  test('a URL of MySQL without a database, a key of a dbi:Pg: DSN that would not be obeyed: refused', t => {
    login(t)
    assert.throws(
      () => connectionOptions(read('mysql://h'), 'mysql://h'),
      refusal(/^mysql:\/\/h names no database$/),
    )
    assert.throws(
      () => configOf(read('dbi:Pg:dbname=d;passwd=hunter2')),
      error => {
        assert.ok(!String((error as UsageError).message + (error as UsageError).hint).includes('hunter2'))
        return refusal(/"passwd" that would not be obeyed$/, /password/)(error)
      },
    )
  })

  test('a time-out of 0 is the default, as for libpq it is none', () => {
    assert.deepEqual(
      timeoutsOf('postgres://h/d?connect_timeout=0&answer-timeout=0'),
      timeoutsOf('postgres://h/d'),
    )
    for (const value of ['', '-1', 'x', '1e9'])
      assert.throws(
        () => timeoutsOf(`mysql://h/d?connect-timeout=${value}`),
        refusal(/at most 86400 seconds, or 0 for the default/, /^$/),
      )
  })
})

describe('several hosts', () => {
  for (const [text, urls, name] of [
    [
      'mysql://u:p@h1:3306,h2,[::1]:3307/d',
      ['mysql://u:p@h1:3306/d', 'mysql://u:p@h2/d', 'mysql://u:p@[::1]:3307/d'],
      'mysql://u:***@h1:3306,h2,[::1]:3307/d',
    ],
    [
      'postgres://u:p%40,w@h1,h2:5433/d?sslmode=disable',
      ['postgres://u:p%40%2Cw@h1/d?sslmode=disable', 'postgres://u:p%40%2Cw@h2:5433/d?sslmode=disable'],
      'postgres://u:***@h1,h2:5433/d?sslmode=disable',
    ],
    [
      'mariadb://u:p@w@h1,h2/d',
      ['mariadb://u:p%40w@h1/d', 'mariadb://u:p%40w@h2/d'],
      'mariadb://u:***@h1,h2/d',
    ],
    ['postgresql://h1,h2', ['postgresql://h1/', 'postgresql://h2/'], 'postgresql://h1,h2/'],
    [
      'dbi:Pg:dbname=d;host=h1,h2;port=5433;user=u;password=a,b',
      ['postgres://u:a%2Cb@h1:5433/d', 'postgres://u:a%2Cb@h2:5433/d'],
      'postgres://u:***@h1:5433,h2:5433/d',
    ],
    [
      'dbi:Pg:dbname=d host=h1,::1 port=1,2',
      ['postgres://h1:1/d', 'postgres://[::1]:2/d'],
      'postgres://h1:1,[::1]:2/d',
    ],
  ] as const)
    test(text, t => {
      login(t)
      const address = parseAddress(text)
      assert.deepEqual(address.driver === 'sqlite' ? [] : urlsOf(address.url), urls)
      assert.equal(addressName(address), name)
      // So it gets into the environment of a job, and out of it
      const both = splitAddresses(`${addressText(address)},jobs.db`).map(each => parseAddress(each, '/here'))
      assert.deepEqual(both, [address, parseAddress('jobs.db', '/here')])
    })

  const hint = /^write (mysql|postgres):\/\//
  for (const [text, says] of [
    [
      'mysql://u:secret@h1,,h3/d',
      /^expected a host, got an empty one: the 2\. of 3 hosts in the URL of mysql$/,
    ],
    ['mysql://u:secret@,h2/d', /an empty one: the 1\. of 2/],
    ['postgres://u:secret@h1,/d', /an empty one: the 2\. of 2/],
    ['postgres://u:secret@h1,:5433/d', /a port up to 65535, got neither: the 2\. of 2/],
    ['mysql://u:secret@h1:port,h2/d', /got neither: the 1\. of 2/],
    ['mysql://u:secret@h1,h2:65536/d', /got neither: the 2\. of 2/],
    ['mysql://u:secret@h1,::1/d', /got neither: the 2\. of 2/],
    ['mysql://u:secret,x/y@h1/d', /got neither: the 1\. of 2/],
    ['mysql://u:secret@h1,h2,h1:3306/d', /^expected different hosts, got the 1\. again: the 3\. of 3/],
    ['mysql://u:secret@h1/d,h2/e', /^expected one database, behind all hosts, got a list of them$/],
    ['mysql://u:secret@h1,h2/d,e', /^expected one database/],
    [
      'postgres://u:secret@h1,h2/d?host=/run',
      /^expected hosts between @ and \/, got one in the parameter host, too$/,
    ],
    ['mysql://u:secret@h1,h2/d?socket=/s', /in the parameter socket, too$/],
    [
      'postgres://u:secret@h1,u@h2/d',
      /^expected user and password once, before all hosts, in the URL of postgres$/,
    ],
    ['mysql://u:secret@h1,u:secret@h2:3306/d', /^expected user and password once, before all hosts/],
  ] as const)
    test(`${text}: refused`, () => {
      assert.throws(
        () => read(text),
        error => {
          const {message, hint: what} = error as UsageError
          assert.doesNotMatch(`${message} ${what}`, /secret/)
          return refusal(says, hint)(error)
        },
      )
    })

  test('of SQLite: refused; so is a DSN with as many ports as no hosts', () => {
    assert.throws(
      () => read('sqlite://h1,h2/jobs.db'),
      refusal(/^expected a SQLite file, got a URL with a host$/),
    )
    assert.throws(
      () => read('dbi:Pg:dbname=d;host=h1,h2,h3;port=1,2'),
      refusal(/^expected one port, or 3 as there are hosts, got 2$/),
    )
    assert.throws(() => read('dbi:Pg:dbname=d;host=h1,'), refusal(/an empty one: the 2\. of 2/))
  })

  for (const [text, parts] of [
    ['mysql://u:p@h1:3306,h2,h3/db', ['mysql://u:p@h1:3306,h2,h3/db']],
    ['a.db,mysql://h1,[::1]:3306/db,b.db', ['a.db', 'mysql://h1,[::1]:3306/db', 'b.db']],
    ['mysql://h1/db,mysql://h2,h3/db', ['mysql://h1/db', 'mysql://h2,h3/db']],
    [
      'postgres://h1,postgres://h2,h3?sslmode=disable,x',
      ['postgres://h1', 'postgres://h2,h3?sslmode=disable', 'x'],
    ],
    ['postgres://h1,./a.db', ['postgres://h1', './a.db']],
    ['postgres://h1/,a.db', ['postgres://h1/', 'a.db']],
    ['postgres://h1,dbi:SQLite:a.db', ['postgres://h1', 'dbi:SQLite:a.db']],
    ['a.db, b.db', ['a.db', ' b.db']],
  ] as const)
    test(`JOBQ_DB=${text}`, () => assert.deepEqual(splitAddresses(text), parts))
})

test('a name shows what tells one database from another, and nothing else of the parameters', () => {
  for (const [text, name] of [
    ['mysql://u:p@h:1/d?socket=/s&ssl-key=k&pwd=x&x', 'mysql://u:***@h:1/d?socket=%2Fs'],
    [
      'postgres://u@h/d?options=-c%20search_path%3Da&password=x',
      'postgres://u@h/d?options=-c+search_path%3Da',
    ],
    [
      'postgres:///d?host=/run/pg&user=u&sslmode=disable',
      'postgres:///d?host=%2Frun%2Fpg&user=u&sslmode=disable',
    ],
    ['dbi:Pg:dbname=d;host=h;user=u;password=p', 'postgres://u:***@h/d'],
  ] as const)
    assert.equal(addressName(parseAddress(text)), name)
})

function refusal(message: RegExp, hint = /./) {
  return (error: unknown) => {
    assert.ok(error instanceof UsageError, String(error))
    assert.match(error.message, message)
    assert.match(error.hint, hint)
    return true
  }
}
