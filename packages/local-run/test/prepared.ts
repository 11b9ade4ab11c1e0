import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { atEnd, temporaryFolder } from './temporary.ts';
import type { Assembly } from '../src/assembly/assembly.ts';
import { prepareRun } from '../src/prepare.ts';
import type { PreparedRun } from '../src/prepare.ts';
import { Leftovers } from '../src/processes/leftovers.ts';

/** A run of these stacks whose endpoints listen, and of which nothing else is started. */
export async function prepared(context: TestContext, assembly: Assembly): Promise<PreparedRun> {
  const dataDir = temporaryFolder(context);
  const run = prepareRun(assembly, {}, { dataDir, logDir: dataDir, leftovers: new Leftovers(join(dataDir, 'processes.json')), log: () => undefined });
  await run.builtIn.sqs.start();
  atEnd(context, () => run.builtIn.sqs.stop());
  atEnd(context, () => run.context.workloads.stop());
  return run;
}
