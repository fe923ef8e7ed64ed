/**
 * Prisma, by its own run time and its adapters. What `prisma generate` writes of a schema without models stands here, since
 * that command downloads an engine which nothing of this needs.
 */
import type {Orm} from './orms.ts'
import {fromTools, missingTools} from './tools.ts'

interface Client extends Transaction {
  $transaction<T>(work: (tx: Transaction) => Promise<T>, options: {timeout: number}): Promise<T>
  $disconnect(): Promise<void>
}

interface Transaction {
  $executeRaw(sql: TemplateStringsArray, ...values: unknown[]): Promise<number>
}

/** No types of it come with those of Node.js. */
const {WebAssembly: Wasm} = globalThis as unknown as {
  WebAssembly: {Module: new (bytes: Uint8Array) => object}
}
const PROVIDERS = {MySQL: 'mysql', PostgreSQL: 'postgresql'} as const

export function prismaOn(database: keyof typeof PROVIDERS): Orm {
  return {
    name: 'Prisma',
    database,
    missing: missingTools,
    open: async url => {
      const prisma = await clientOf(database, url)
      return {
        transaction: work => prisma.$transaction(async tx => work(tx), {timeout: 60_000}),
        write: async (tx, name) =>
          void (await (tx as Transaction).$executeRaw`INSERT INTO photo (name) VALUES (${name})`),
        outside: prisma,
        close: () => prisma.$disconnect(),
      }
    },
  }
}

async function clientOf(database: keyof typeof PROVIDERS, url: string): Promise<Client> {
  const provider = PROVIDERS[database]
  const adapters =
    database === 'MySQL'
      ? [(await fromTools('@prisma/adapter-mariadb')).PrismaMariaDb, url.replace('mysql:', 'mariadb:')]
      : [(await fromTools('@prisma/adapter-pg')).PrismaPg, {connectionString: url}]
  const [Adapter, address] = adapters as [new (address: unknown) => object, unknown]
  const {getPrismaClient} = (await fromTools('@prisma/client/runtime/client')) as {
    getPrismaClient: (config: object) => new (options: {adapter: object}) => Client
  }
  const compiler = `@prisma/client/runtime/query_compiler_small_bg.${provider}`
  const Generated = getPrismaClient({
    previewFeatures: [],
    clientVersion: '7.10.0',
    engineVersion: '',
    activeProvider: provider,
    inlineSchema: `datasource db {\n  provider = "${provider}"\n}\n`,
    runtimeDataModel: {models: {}, enums: {}, types: {}},
    parameterizationSchema: {strings: [], graph: 'AAAAAA=='},
    compilerWasm: {
      getRuntime: () => fromTools(`${compiler}.js`),
      getQueryCompilerWasmModule: async () => {
        const {wasm} = (await fromTools(`${compiler}.wasm-base64.js`)) as {wasm: string}
        return new Wasm.Module(Buffer.from(wasm, 'base64'))
      },
      importName: './query_compiler_small_bg.js',
    },
  })
  return new Generated({adapter: new Adapter(address)})
}
