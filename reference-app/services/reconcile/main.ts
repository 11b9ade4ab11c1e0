import { parseArgs } from 'node:util';
import Type from 'typebox';
import { findStrays, giveBack } from './reconcile.ts';
import { describe } from './report.ts';
import { databaseConfig, processConfig, readConfig } from '../shared/config.ts';
import { createSecretsClient, secretLogin } from '../shared/database-login.ts';
import { createPool } from '../shared/database.ts';
import { createLogger } from '../shared/telemetry.ts';

const HELP = `Finds stock that is held or taken for orders that do not exist, as after a restore or a failover that lost transactions.

  node reconcile.js            shows it and changes nothing
  node reconcile.js --apply    gives it back, through the ledger and with an InventoryUpdated for each order

Environment: as for migrate.js. Run it before the relay starts, and again when the queues are empty. It can run beside the services.
Exit code: 0 nothing to do or all done, 1 failed, 2 wrong arguments, 3 found something and changed nothing.
`;
const USAGE = 2;
const FOUND = 3;

const Config = Type.Object({
  LOG_LEVEL: processConfig(0).LOG_LEVEL,
  DB_SECRET_ARN: Type.String({ description: 'the ARN of the secret with username and password of the administrator' }),
  DB_CA_FILE: databaseConfig.DB_CA_FILE,
  DB_WRITER_ENDPOINT: databaseConfig.DB_WRITER_ENDPOINT,
  DB_PORT: databaseConfig.DB_PORT,
  DB_NAME: databaseConfig.DB_NAME,
});

const args = argumentsOf(process.argv.slice(2));
if (typeof args === 'string') {
  process.stderr.write(`${args}\n\n${HELP}`);
  process.exitCode = USAGE;
} else if (args.help) {
  process.stdout.write(HELP);
} else {
  try {
    process.exitCode = await run(args.apply);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exitCode = 1;
  }
}

/** A text says what is wrong with them. */
function argumentsOf(argv: string[]): { apply: boolean; help: boolean } | string {
  try {
    return parseArgs({ args: argv, options: { apply: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } } }).values;
  } catch (error) {
    return (error as Error).message;
  }
}

async function run(apply: boolean): Promise<number> {
  const config = readConfig(Config);
  const pool = createPool({
    endpoint: config.DB_WRITER_ENDPOINT,
    port: config.DB_PORT,
    database: config.DB_NAME,
    login: secretLogin(config.DB_SECRET_ARN, createSecretsClient()),
    ...(config.DB_CA_FILE === undefined ? {} : { tls: { caFile: config.DB_CA_FILE } }),
    applicationName: 'reconcile',
    max: 1,
    // The whole ledger is looked at.
    statementTimeoutMs: 0,
    logger: createLogger({ service: 'reconcile', level: config.LOG_LEVEL }),
  });
  try {
    const strays = await findStrays(pool);
    console.log(describe(strays));
    if (strays.length === 0) return 0;
    if (!apply) {
      console.log('Nothing was changed. Run it with --apply to give this stock back.');
      return FOUND;
    }
    console.log(`The stock of ${await giveBack(pool, strays)} orders was given back.`);
    return 0;
  } finally {
    await pool.end();
  }
}
