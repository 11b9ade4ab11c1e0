// Runs the tests of a package with the runner of Node.js, with one file more at a time than there are processors: most tests wait for
// processes and servers that they started, and Node.js itself would leave a processor free. Arguments are those of `node --test`, such as
// a file or --test-name-pattern.
import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';

/** The limit of each test, for a machine that is many times slower than a usual one. Node.js itself has none, and a test that hangs would block. */
const TEST_MINUTES = 5;

const given = process.argv.slice(2);
const concurrency = availableParallelism() + 1;
const { status } = spawnSync(process.execPath, [
  '--test', '--test-force-exit', `--test-concurrency=${concurrency}`, `--test-timeout=${TEST_MINUTES * 60_000}`,
  ...['whole-report', 'blocked'].flatMap((name) => ['--import', import.meta.resolve(`./lib/${name}.mjs`)]),
  ...given, ...given.every((argument) => argument.startsWith('-')) ? ['**/*.test.ts'] : [],
], { stdio: 'inherit' });
process.exitCode = status ?? 1;
